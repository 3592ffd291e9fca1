/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From registers and video memory to a picture.  Text is drawn cell by cell,
 * only what changed; VBE modes line by line, by the dirty log; the planar and
 * chained modes as a whole when anything in their memory changed.
 */
#include "hw/display/vga.h"

#include <string.h>

/* Others get the device's lock after so many lines; registers may have changed then. */
#define DRAW_LINES 16

/* What the CRTC is told, unpacked. */
typedef struct Timing {
    unsigned columns;    /* character clocks shown */
    unsigned lines;      /* scan lines shown */
    unsigned row_height; /* scan lines of a character row */
    unsigned start;      /* address of the first one */
    unsigned offset;     /* address step between rows */
    unsigned line_compare;
    unsigned preset_row;
    unsigned pan; /* pixels */
    bool double_scan;
} Timing;

static void get_timing(const VgaState *s, Timing *t)
{
    const uint8_t *c = s->crtc;
    t->columns = c[0x01] + 1u;
    t->lines = (c[0x12] | (c[0x07] & 0x02) << 7 | (c[0x07] & 0x40) << 3) + 1u;
    t->row_height = (c[0x09] & 0x1f) + 1u;
    t->double_scan = c[0x09] & 0x80;
    t->start = (unsigned)(c[0x0c] << 8 | c[0x0d]) + ((c[0x08] >> 5) & 3);
    t->offset = (c[0x13] ? c[0x13] : 0x100u) * 2;
    t->line_compare = c[0x18] | (c[0x07] & 0x10u) << 4 | (c[0x09] & 0x40u) << 3;
    t->preset_row = c[0x08] & 0x1f;
    t->pan = s->attr[0x13] & 0x0f;
    if (c[0x17] & 4) { /* the row counter runs at half speed */
        t->lines *= 2;
        t->lines = MIN(t->lines, 2048);
    }
}

/* ---- colours ---- */

static void update_palette(VgaState *s)
{
    bool wide = vga_vbe_on(s) && (s->vbe[VBE_ENABLE] & VBE_8BIT_DAC);
    if (!s->palette_stale) {
        return;
    }
    for (unsigned i = 0; i < 256; i++) {
        uint32_t rgb = 0;
        for (unsigned k = 0; k < 3; k++) {
            unsigned v = s->dac[(i & s->dac_mask) * 3 + k];
            v = wide ? v : (v & 0x3f) << 2 | (v & 0x3f) >> 4;
            rgb = rgb << 8 | v;
        }
        s->palette[i] = rgb;
    }
    s->palette_stale = false;
    s->full_redraw = true;
}

/* The attribute controller's way from four bits to a DAC index. */
static uint8_t attr_colour(const VgaState *s, unsigned four_bits)
{
    unsigned v = s->attr[four_bits & 0x0f & s->attr[0x12]];
    if (s->attr[0x10] & 0x80) {
        v = (v & 0x0f) | (s->attr[0x14] & 3u) << 4;
    }
    return (uint8_t)((v & 0x3f) | (s->attr[0x14] & 0x0cu) << 4);
}

/* ---- surfaces ---- */

static uint32_t *pixel_row(const Surface *surface, int y)
{
    return (uint32_t *)(surface_data(surface) + (size_t)y * (size_t)surface_stride(surface));
}

/* A surface of this size; a new one forces a full redraw. */
static Surface *want_surface(VgaState *s, unsigned w, unsigned h, uint32_t mode)
{
    Surface *old = console_surface(s->con);
    if (surface_width(old) != (int)w || surface_height(old) != (int)h) {
        console_set_surface(s->con, surface_new((int)w, (int)h));
        s->full_redraw = true;
    } else if (s->drawn_mode != mode) {
        s->full_redraw = true;
    }
    s->drawn_mode = mode;
    return console_surface(s->con);
}

static void draw_blank(VgaState *s)
{
    Surface *surface = console_surface(s->con);
    if (!s->full_redraw && s->drawn_mode == 'B') {
        return;
    }
    s->drawn_mode = 'B';
    int w = surface_width(surface), h = surface_height(surface);
    for (int y = 0; y < h; y++) {
        memset(pixel_row(surface, y), 0, (size_t)w * 4);
    }
    console_damage(s->con, 0, 0, w, h);
    s->full_redraw = false;
}

/* ---- text ---- */

typedef struct TextMode {
    Timing t;
    unsigned cell_width, rows;
    unsigned font_offset[2]; /* words of plane 2 */
    bool blink_enabled, blink_phase, line_graphics, mono;
    int cursor_cell; /* address, -1: hidden now */
    unsigned cursor_start, cursor_end;
} TextMode;

/* Character map select: bits of map B (attribute bit 3 set: map A) in 8 KiB units. */
static unsigned font_offset(unsigned select)
{
    return ((select & 3) << 14) | ((select & 4) << 11);
}

static void get_text_mode(VgaState *s, TextMode *m)
{
    int64_t ms = clock_virtual(s->clocks) / NS_PER_MS;
    unsigned sel = s->seq[3];
    get_timing(s, &m->t);
    m->cell_width = (s->seq[1] & 1) ? 8 : 9;
    m->t.columns = MIN(m->t.columns, 256u);
    m->rows = MIN(MAX(m->t.lines / m->t.row_height, 1u), 256u);
    m->font_offset[0] = font_offset((sel & 3) | (sel & 0x10) >> 2);
    m->font_offset[1] = font_offset(((sel >> 2) & 3) | (sel & 0x20) >> 3);
    m->blink_enabled = s->attr[0x10] & 8;
    m->blink_phase = m->blink_enabled && (ms / 533 & 1); /* 32 frames of 60 Hz */
    m->line_graphics = s->attr[0x10] & 4;
    m->mono = s->attr[0x10] & 2;
    m->cursor_start = s->crtc[0x0a] & 0x1f;
    m->cursor_end = s->crtc[0x0b] & 0x1f;
    bool on = !(s->crtc[0x0a] & 0x20) && m->cursor_start <= m->cursor_end && !(ms / 266 & 1);
    m->cursor_cell = on ? (s->crtc[0x0e] << 8 | s->crtc[0x0f]) : -1;
}

static uint32_t text_word(const VgaState *s, unsigned cell)
{
    /* Word mode: the CRTC's address times two, as odd/even addressing stored it. */
    unsigned a = (s->crtc[0x17] & 0x40) ? cell : cell << 1;
    return ((const uint32_t *)s->ram->host)[a & 0xffff];
}

static void draw_cell(const VgaState *s, const TextMode *m, const Surface *surface, unsigned col,
                      unsigned row, uint32_t word, bool cursor)
{
    uint8_t ch = (uint8_t)word, attr = (uint8_t)(word >> 8);
    const uint32_t *font =
        (const uint32_t *)s->ram->host + m->font_offset[(attr & 8) ? 1 : 0] + ch * 32u;
    unsigned fg = attr & 0x0f, bg = attr >> 4;
    if (m->blink_enabled) {
        if ((bg & 8) && m->blink_phase) {
            fg = bg & 7;
        }
        bg &= 7;
    }
    bool underline = m->mono && (attr & 7) == 1;
    uint32_t colours[2] = {s->palette[attr_colour(s, bg)], s->palette[attr_colour(s, fg)]};
    for (unsigned y = 0; y < m->t.row_height; y++) {
        unsigned py = row * m->t.row_height + y;
        if (py >= (unsigned)surface_height(surface)) {
            break;
        }
        unsigned bits = (font[y & 31] >> 16) & 0xff;
        if (underline && y == (s->crtc[0x14] & 0x1fu)) {
            bits = 0xff;
        }
        /* Column nine repeats column eight for line-drawing characters only. */
        unsigned ninth = m->line_graphics && ch >= 0xc0 && ch <= 0xdf ? bits & 1 : 0;
        if (cursor && y >= m->cursor_start && y <= m->cursor_end) {
            bits = 0xff;
            ninth = 1;
        }
        uint32_t *out = pixel_row(surface, (int)py) + col * m->cell_width;
        for (unsigned x = 0; x < 8; x++) {
            out[x] = colours[(bits >> (7 - x)) & 1];
        }
        if (m->cell_width == 9) {
            out[8] = colours[ninth];
        }
    }
}

static void draw_text(VgaState *s)
{
    TextMode m;
    get_text_mode(s, &m);
    unsigned w = m.t.columns * m.cell_width, h = m.rows * m.t.row_height;
    Surface *surface = want_surface(s, w, h, 'T' | m.cell_width << 8 | m.t.row_height << 16);
    bool full = s->full_redraw || s->cells_n != m.t.columns * m.rows;
    s->cells_n = m.t.columns * m.rows;
    /* Fonts lie in plane 2 and may change at any time: any write there shows. */
    unsigned addr = m.t.start;
    for (unsigned row = 0; row < m.rows; row++) {
        unsigned first = m.t.columns, last = 0;
        if (row * m.t.row_height > m.t.line_compare &&
            (row - 1) * m.t.row_height <= m.t.line_compare) {
            addr = 0; /* the split screen's lower part */
        }
        for (unsigned col = 0; col < m.t.columns; col++) {
            uint32_t word = text_word(s, addr + col) & 0xffff;
            bool cursor = m.cursor_cell == (int)((addr + col) & 0xffff);
            bool blinking = m.blink_enabled && (word & 0x8000) && m.blink_phase;
            uint32_t sum = 0;
            const uint32_t *font = (const uint32_t *)s->ram->host +
                                   m.font_offset[(word & 0x800) ? 1 : 0] + (word & 0xff) * 32;
            for (unsigned y = 0; y < m.t.row_height; y++) {
                sum = sum * 31 + ((font[y & 31] >> 16) & 0xff);
            }
            uint32_t key = word ^ (sum << 18) ^ (cursor ? 1u << 16 : 0) ^
                           (blinking ? 1u << 17 : 0) ^
                           (cursor ? (m.cursor_start << 20 | m.cursor_end << 26) : 0);
            uint32_t *drawn = &s->cells[row * m.t.columns + col];
            if (full || *drawn != key) {
                *drawn = key;
                draw_cell(s, &m, surface, col, row, word, cursor);
                first = MIN(first, col);
                last = col;
            }
        }
        if (first <= last && first < m.t.columns) {
            console_damage(s->con, (int)(first * m.cell_width), (int)(row * m.t.row_height),
                           (int)((last - first + 1) * m.cell_width), (int)m.t.row_height);
        }
        addr += m.t.offset;
    }
    s->full_redraw = false;
}

char *vga_text(void *opaque)
{
    VgaState *s = opaque;
    TextMode m;
    if (!vga_is_text(s)) {
        return NULL;
    }
    get_text_mode(s, &m);
    GString *out = g_string_new(NULL);
    for (unsigned row = 0; row < m.rows; row++) {
        gsize line = out->len, end = line;
        for (unsigned col = 0; col < m.t.columns; col++) {
            uint8_t ch = (uint8_t)text_word(s, m.t.start + row * m.t.offset + col);
            g_string_append_c(out, ch >= 0x20 && ch < 0x7f ? (char)ch : ch == 0 ? ' ' : '.');
            end = ch == ' ' || ch == 0 ? end : out->len;
        }
        g_string_truncate(out, end);
        g_string_append_c(out, '\n');
    }
    return g_string_free(out, FALSE);
}

/* ---- planar, CGA-like and 256-colour VGA modes ---- */

/* The CRTC's address counter to a word of memory, with the wiring of register 17h. */
static unsigned crtc_address(const VgaState *s, unsigned ma, unsigned row_scan)
{
    uint8_t mode = s->crtc[0x17];
    unsigned a;
    if (s->crtc[0x14] & 0x40) { /* double word */
        a = ma << 2 | ((ma >> 12) & 3);
    } else if (mode & 0x40) { /* byte */
        a = ma;
    } else {
        a = ma << 1 | ((ma >> ((mode & 0x20) ? 15 : 13)) & 1);
    }
    if (!(mode & 1)) {
        a = (a & ~0x2000u) | (row_scan & 1) << 13;
    }
    if (!(mode & 2)) {
        a = (a & ~0x4000u) | (row_scan & 2) << 13;
    }
    return a & 0xffff;
}

/* Eight (256 colours: four) pixels of one character clock. */
static uint32_t *draw_clock(const VgaState *s, uint32_t word, uint32_t *out)
{
    if (s->gfx[5] & 0x40) {
        for (unsigned p = 0; p < 4; p++) {
            *out++ = s->palette[(word >> (p * 8)) & 0xff];
        }
    } else if (s->gfx[5] & 0x20) {
        /* Two bits a pixel: planes 0 and 1 give the low, 2 and 3 the high two. */
        for (unsigned p = 0; p < 2; p++) {
            unsigned lo = (word >> (p * 8)) & 0xff, hi = (word >> (p * 8 + 16)) & 0xff;
            for (int b = 6; b >= 0; b -= 2) {
                *out++ = s->palette[attr_colour(s, ((lo >> b) & 3) | ((hi >> b) & 3) << 2)];
            }
        }
    } else {
        for (int b = 7; b >= 0; b--) {
            unsigned v = ((word >> b) & 1) | ((word >> (b + 8)) & 1) << 1 |
                         ((word >> (b + 16)) & 1) << 2 | ((word >> (b + 24)) & 1) << 3;
            *out++ = s->palette[attr_colour(s, v)];
        }
    }
    return out;
}

static void draw_graphics(VgaState *s)
{
    Timing t;
    get_timing(s, &t);
    bool deep = s->gfx[5] & 0x40;
    unsigned per_clock = deep ? 4 : 8;
    unsigned pan = deep ? (t.pan & 7) / 2 : t.pan & 7;
    /* Repeated scan lines are shown once, unless the row counter picks the memory. */
    unsigned repeat = t.double_scan ? 2 : 1;
    if ((s->crtc[0x17] & 3) == 3) {
        repeat *= t.row_height;
    }
    unsigned h = MAX(t.lines / repeat, 1u), w = t.columns * per_clock;
    Surface *surface = want_surface(s, w, h, 'G' | (uint32_t)per_clock << 8);
    bool dirty = ram_test_clear_dirty(s->ram, DIRTY_VGA, 0, 4 * 65536);
    if (!dirty && !s->full_redraw) {
        return;
    }
    s->full_redraw = false;
    unsigned row_addr = t.start, row_scan = t.preset_row, line = 0;
    /* Zeroed: the guest may change its mind about the clocks' width while this is drawn. */
    g_autofree uint32_t *buf = g_new0(uint32_t, (t.columns + 1) * 8);
    for (unsigned y = 0; y < h; y++) {
        uint32_t *out = buf;
        for (unsigned c = 0; c <= t.columns; c++) {
            unsigned a = crtc_address(s, row_addr + c, row_scan);
            out = draw_clock(s, ((const uint32_t *)s->ram->host)[a], out);
        }
        memcpy(pixel_row(surface, (int)y), buf + pan, w * sizeof(uint32_t));
        if (y % DRAW_LINES == 0) {
            loop_yield(s->loop);
        }
        for (unsigned r = 0; r < repeat; r++) {
            if (line++ == t.line_compare) {
                row_addr = 0;
                row_scan = 0;
                pan = (s->attr[0x10] & 0x20) ? 0 : pan;
            } else if (!t.double_scan || (r & 1)) {
                if (++row_scan >= t.row_height) {
                    row_scan = 0;
                    row_addr += t.offset;
                }
            }
        }
    }
    console_damage(s->con, 0, 0, (int)w, (int)h);
}

/* ---- VBE ---- */

static void vbe_line(const VgaState *s, unsigned bpp, const uint8_t *in, uint32_t *out, unsigned w)
{
    switch (bpp) {
    case 8:
        for (unsigned x = 0; x < w; x++) {
            out[x] = s->palette[in[x]];
        }
        break;
    case 15:
        for (unsigned x = 0; x < w; x++) {
            unsigned v = ld_le16(in + x * 2), r = (v >> 10) & 31, g = (v >> 5) & 31, b = v & 31;
            out[x] = (r << 3 | r >> 2) << 16 | (g << 3 | g >> 2) << 8 | (b << 3 | b >> 2);
        }
        break;
    case 16:
        for (unsigned x = 0; x < w; x++) {
            unsigned v = ld_le16(in + x * 2), r = v >> 11, g = (v >> 5) & 63, b = v & 31;
            out[x] = (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
        }
        break;
    case 24:
        for (unsigned x = 0; x < w; x++) {
            out[x] = in[x * 3] | (uint32_t)in[x * 3 + 1] << 8 | (uint32_t)in[x * 3 + 2] << 16;
        }
        break;
    case 32:
        for (unsigned x = 0; x < w; x++) {
            out[x] = ld_le32(in + x * 4) & 0xffffff;
        }
        break;
    default: /* 4: planar, one word is eight pixels */
        for (unsigned x = 0; x < w; x += 8) {
            draw_clock(s, ld_le32(in + x / 2), out + x);
        }
        break;
    }
}

/* A picture's lines in video memory. */
typedef struct VbeLines {
    VgaState *s;
    uint64_t start;
    uint32_t pitch, len;
    unsigned n; /* that lie within it */
    bool all;   /* to be drawn, changed or not */
} VbeLines;

static uint64_t line_at(const VbeLines *l, unsigned y)
{
    return l->start + (uint64_t)y * l->pitch;
}

static bool line_dirty(const VbeLines *l, unsigned y)
{
    return l->all || ram_test_dirty(l->s->ram, DIRTY_VGA, line_at(l, y), l->len);
}

/*
 * Takes the next lines that changed off the dirty log, [*first, *end), from `y` on; returns
 * where to go on.  The log has pages: lines that share one with those are among them.
 */
static unsigned take_changed(const VbeLines *l, unsigned y, unsigned *first, unsigned *end)
{
    while (y < l->n && !line_dirty(l, y)) {
        y++;
    }
    *first = *end = y;
    while (*end < l->n && *end - y < DRAW_LINES && line_dirty(l, *end)) {
        (*end)++;
    }
    if (*end == y) {
        return y;
    }
    unsigned next = *end;
    uint64_t from = line_at(l, y), to = line_at(l, *end - 1) + l->len;
    /* First off the log, then drawn: what the guest writes meanwhile is drawn next time. */
    ram_test_clear_dirty(l->s->ram, DIRTY_VGA, from, to - from);
    from = ALIGN_DOWN(from, 4096);
    to = ALIGN_UP(to, 4096);
    while (*first && line_at(l, *first - 1) + l->len > from) {
        (*first)--;
    }
    while (*end < l->n && line_at(l, *end) < to) {
        (*end)++;
    }
    return next;
}

static void draw_vbe(VgaState *s)
{
    const uint16_t *r = s->vbe;
    unsigned w = r[VBE_XRES], h = r[VBE_YRES], bpp = r[VBE_BPP];
    uint32_t pitch = vga_vbe_pitch(s);
    unsigned bits = bpp == 15 ? 16 : bpp;
    VbeLines l = {.s = s,
                  .start = (uint64_t)r[VBE_Y_OFFSET] * pitch + (uint64_t)r[VBE_X_OFFSET] * bits / 8,
                  .pitch = pitch,
                  .len = w * bits / 8};
    while (l.n < h && line_at(&l, l.n) + l.len <= s->vram_size) {
        l.n++;
    }
    Surface *surface = want_surface(s, w, h, 'V' | (uint32_t)bits << 8);
    l.all = s->full_redraw;
    s->full_redraw = false;
    unsigned y = 0, first, end;
    while (y = take_changed(&l, y, &first, &end), first < end) {
        for (unsigned i = first; i < end; i++) {
            vbe_line(s, bpp, s->ram->host + line_at(&l, i), pixel_row(surface, (int)i), w);
        }
        console_damage(s->con, 0, (int)first, (int)w, (int)(end - first));
        loop_yield(s->loop);
    }
}

void vga_draw(void *opaque)
{
    VgaState *s = opaque;
    update_palette(s);
    ram_sync_dirty(s->ram);
    if (vga_vbe_on(s)) {
        draw_vbe(s);
    } else if (!(s->attr_index & 0x20) || (s->seq[1] & 0x20)) {
        draw_blank(s); /* palette access, or screen off */
    } else if (vga_is_text(s)) {
        draw_text(s);
    } else {
        draw_graphics(s);
    }
}

void vga_invalidate(void *opaque)
{
    ((VgaState *)opaque)->full_redraw = true;
}
