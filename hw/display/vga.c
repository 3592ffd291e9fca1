/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VGA registers: ports, VBE DISPI, life and state. */
#include "hw/display/vga.h"

#include "hw/core/machine.h"
#include "util/log.h"
#include "util/trace.h"

#include <string.h>

TRACE_EVENT(vga_port_write, "port 0x%x value 0x%x")
TRACE_EVENT(vga_vbe_write, "reg %u value 0x%x")

/* Which bits of the registers exist. */
static const uint8_t seq_mask[VGA_SEQ_REGS] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0xff};
static const uint8_t gfx_mask[VGA_GFX_REGS] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03,
                                               0x7b, 0x0f, 0x0f, 0xff};

#define FRAME_NS (NS_PER_SEC / 70)
#define LINE_NS 31778 /* 31.469 kHz */

/* Input status 1: where the beam would be. Bit 3: vertical retrace, bit 0: blanked. */
static uint8_t status1(VgaState *s)
{
    int64_t t = clock_virtual(s->clocks) % FRAME_NS;
    s->attr_data_next = false;
    if (t >= FRAME_NS * 400 / 449) {
        return t < FRAME_NS * 402 / 449 ? 0x01 : t < FRAME_NS * 412 / 449 ? 0x09 : 0x01;
    }
    return t % LINE_NS > LINE_NS * 8 / 10 ? 0x01 : 0x00;
}

static uint8_t dac_data_read(VgaState *s)
{
    uint8_t v = s->dac[s->dac_read * 3 + s->dac_sub];
    if (++s->dac_sub == 3) {
        s->dac_sub = 0;
        s->dac_read++;
    }
    return v;
}

/* Three writes make one entry; it becomes visible with the third. */
static void dac_data_write(VgaState *s, uint8_t v)
{
    s->dac_cache[s->dac_sub] = v;
    if (++s->dac_sub == 3) {
        memcpy(&s->dac[s->dac_write * 3], s->dac_cache, 3);
        s->dac_sub = 0;
        s->dac_write++;
        s->palette_stale = true;
    }
}

static bool mono_port(uint16_t port)
{
    return port >= 0x3b0 && port <= 0x3bf;
}

uint8_t vga_port_read(VgaState *s, uint16_t port)
{
    /* The CRTC answers at 3Dxh or 3Bxh, by bit 0 of the miscellaneous output register. */
    if ((mono_port(port) && (s->misc & 1)) || (port >= 0x3d0 && port <= 0x3df && !(s->misc & 1))) {
        return 0xff;
    }
    switch (port) {
    case 0x3c0:
        return s->attr_data_next ? 0 : s->attr_index;
    case 0x3c1:
        return (s->attr_index & 0x1f) < 21 ? s->attr[s->attr_index & 0x1f] : 0;
    case 0x3c2:
        return 0x10; /* switch sense: a colour monitor */
    case 0x3c4:
        return s->seq_index;
    case 0x3c5:
        return s->seq[s->seq_index & 7];
    case 0x3c6:
        return s->dac_mask;
    case 0x3c7:
        return s->dac_state;
    case 0x3c8:
        return s->dac_write;
    case 0x3c9:
        return dac_data_read(s);
    case 0x3ca:
        return s->feature;
    case 0x3cc:
        return s->misc;
    case 0x3ce:
        return s->gfx_index;
    case 0x3cf:
        return s->gfx[s->gfx_index & 15];
    case 0x3b4:
    case 0x3d4:
        return s->crtc_index;
    case 0x3b5:
    case 0x3d5:
        return s->crtc_index < VGA_CRTC_REGS ? s->crtc[s->crtc_index] : 0xff;
    case 0x3ba:
    case 0x3da:
        return status1(s);
    default:
        return 0xff;
    }
}

static void attr_write(VgaState *s, uint8_t v)
{
    static const uint8_t mask[] = {
        [0x10] = 0xef, [0x11] = 0xff, [0x12] = 0x3f, [0x13] = 0x0f, [0x14] = 0x0f};
    if (!s->attr_data_next) {
        if ((s->attr_index ^ v) & 0x20) {
            s->full_redraw = true; /* the screen goes on or off */
        }
        s->attr_index = v & 0x3f;
    } else {
        unsigned n = s->attr_index & 0x1f;
        if (n < 0x10) {
            s->attr[n] = v & 0x3f;
        } else if (n < sizeof(mask)) {
            s->attr[n] = v & mask[n];
        }
        s->full_redraw = true;
    }
    s->attr_data_next = !s->attr_data_next;
}

static void crtc_write(VgaState *s, uint8_t v)
{
    unsigned n = s->crtc_index;
    if (n >= VGA_CRTC_REGS) {
        return;
    }
    if (n <= 7 && (s->crtc[0x11] & 0x80)) {
        /* Write-protected; bit 4 of the overflow register (line compare) is not. */
        if (n == 7) {
            s->crtc[7] = (uint8_t)((s->crtc[7] & ~0x10) | (v & 0x10));
        }
        return;
    }
    s->crtc[n] = v;
    /* The cursor's registers need no new picture. */
    if (n != 0x0a && n != 0x0b && n != 0x0e && n != 0x0f) {
        s->full_redraw = true;
    }
}

void vga_port_write(VgaState *s, uint16_t port, uint8_t v)
{
    trace(vga_port_write, port, v);
    if ((mono_port(port) && (s->misc & 1)) || (port >= 0x3d0 && port <= 0x3df && !(s->misc & 1))) {
        return;
    }
    switch (port) {
    case 0x3c0:
        attr_write(s, v);
        break;
    case 0x3c2:
        s->misc = v & 0xef;
        break;
    case 0x3c4:
        s->seq_index = v & 7;
        break;
    case 0x3c5:
        s->seq[s->seq_index] = v & seq_mask[s->seq_index];
        s->full_redraw = true;
        break;
    case 0x3c6:
        s->dac_mask = v;
        s->palette_stale = true;
        break;
    case 0x3c7:
        s->dac_read = v;
        s->dac_sub = 0;
        s->dac_state = 3;
        break;
    case 0x3c8:
        s->dac_write = v;
        s->dac_sub = 0;
        s->dac_state = 0;
        break;
    case 0x3c9:
        dac_data_write(s, v);
        break;
    case 0x3ce:
        s->gfx_index = v & 15;
        break;
    case 0x3cf:
        s->gfx[s->gfx_index] = v & gfx_mask[s->gfx_index];
        s->full_redraw = s->full_redraw || s->gfx_index >= 5;
        break;
    case 0x3b4:
    case 0x3d4:
        s->crtc_index = v;
        break;
    case 0x3b5:
    case 0x3d5:
        crtc_write(s, v);
        break;
    case 0x3ba:
    case 0x3da:
        s->feature = v & 0x10;
        break;
    default:
        break;
    }
}

/* ---- VBE ---- */

static unsigned vbe_bits(const VgaState *s)
{
    return s->vbe[VBE_BPP] == 15 ? 16 : s->vbe[VBE_BPP];
}

uint32_t vga_vbe_pitch(const VgaState *s)
{
    /* Four planes share a byte address: 4 bpp modes have 8 pixels in 4 plane bytes. */
    return (uint32_t)s->vbe[VBE_VIRT_WIDTH] * vbe_bits(s) / 8;
}

/* Brings the registers into what the memory can hold; called when a mode is on. */
static void vbe_fix(VgaState *s)
{
    uint16_t *r = s->vbe;
    r[VBE_XRES] = (uint16_t)CLAMP(r[VBE_XRES] & ~7, 8, VBE_MAX_XRES);
    r[VBE_VIRT_WIDTH] = (uint16_t)MIN(r[VBE_VIRT_WIDTH] & ~7, VBE_MAX_XRES);
    if (r[VBE_VIRT_WIDTH] < r[VBE_XRES]) {
        r[VBE_VIRT_WIDTH] = r[VBE_XRES];
    }
    uint32_t max_lines = s->vram_size / vga_vbe_pitch(s);
    if (!max_lines) {
        r[VBE_XRES] = r[VBE_VIRT_WIDTH] = 8;
        max_lines = s->vram_size / vga_vbe_pitch(s);
    }
    r[VBE_YRES] = (uint16_t)CLAMP(r[VBE_YRES], 1, MIN(max_lines, VBE_MAX_YRES));
    r[VBE_VIRT_HEIGHT] = (uint16_t)MIN(max_lines, UINT16_MAX);
    if (r[VBE_X_OFFSET] + r[VBE_XRES] > r[VBE_VIRT_WIDTH]) {
        r[VBE_X_OFFSET] = (uint16_t)(r[VBE_VIRT_WIDTH] - r[VBE_XRES]);
    }
    if (r[VBE_Y_OFFSET] + r[VBE_YRES] > (int)max_lines) {
        r[VBE_Y_OFFSET] = (uint16_t)(max_lines - r[VBE_YRES]);
    }
}

static void vbe_enable(VgaState *s, uint16_t v)
{
    bool was_on = vga_vbe_on(s);
    s->vbe[VBE_ENABLE] = v & (VBE_ENABLED | VBE_GETCAPS | VBE_8BIT_DAC | VBE_LFB | VBE_NOCLEAR);
    s->palette_stale = true;
    if (!(v & VBE_ENABLED)) {
        s->vbe[VBE_BANK] = 0;
        return;
    }
    if (!was_on) {
        s->vbe[VBE_VIRT_WIDTH] = 0;
        s->vbe[VBE_X_OFFSET] = s->vbe[VBE_Y_OFFSET] = 0;
    }
    vbe_fix(s);
    if (!was_on && !(v & VBE_NOCLEAR)) {
        uint64_t len = (uint64_t)vga_vbe_pitch(s) * s->vbe[VBE_YRES];
        memset(s->ram->host, 0, MIN(len, s->vram_size));
        ram_mark_dirty(s->ram, 0, MIN(len, s->vram_size));
    }
}

uint16_t vga_vbe_read(VgaState *s, unsigned reg)
{
    if (reg >= VBE_REGS) {
        return 0;
    }
    if (reg == VBE_MEMORY_64K) {
        return (uint16_t)(s->vram_size / 65536);
    }
    if (s->vbe[VBE_ENABLE] & VBE_GETCAPS) {
        switch (reg) {
        case VBE_XRES:
            return VBE_MAX_XRES;
        case VBE_YRES:
            return VBE_MAX_YRES;
        case VBE_BPP:
            return 32;
        default:
            break;
        }
    }
    return s->vbe[reg];
}

void vga_vbe_write(VgaState *s, unsigned reg, uint16_t v)
{
    trace(vga_vbe_write, reg, v);
    switch (reg) {
    case VBE_ID:
        if (v >= 0xb0c0 && v <= 0xb0c5) {
            s->vbe[VBE_ID] = v;
        }
        return;
    case VBE_BPP:
        if (v != 4 && v != 8 && v != 15 && v != 16 && v != 24 && v != 32) {
            v = v ? s->vbe[VBE_BPP] : 8;
        }
        s->vbe[VBE_BPP] = v;
        break;
    case VBE_ENABLE:
        vbe_enable(s, v);
        break;
    case VBE_BANK:
        s->vbe[VBE_BANK] = (uint16_t)(v % (s->vram_size / 65536));
        return;
    case VBE_XRES:
    case VBE_YRES:
    case VBE_VIRT_WIDTH:
    case VBE_X_OFFSET:
    case VBE_Y_OFFSET:
        s->vbe[reg] = v;
        break;
    default:
        return; /* read-only or unknown */
    }
    if (vga_vbe_on(s)) {
        vbe_fix(s);
    }
    s->full_redraw = true;
}

/* ---- regions ---- */

/* The four port regions differ in their base; the callback's opaque is the VGA. */
#define PORT_OPS(name, base)                                                      \
    static uint64_t name##_read(void *opaque, hwaddr off, unsigned size)          \
    {                                                                             \
        return vga_port_read(opaque, (uint16_t)((base) + off));                   \
    }                                                                             \
    static void name##_write(void *opaque, hwaddr off, uint64_t v, unsigned size) \
    {                                                                             \
        vga_port_write(opaque, (uint16_t)((base) + off), (uint8_t)v);             \
    }                                                                             \
    static const RegionOps name##_ops = {                                         \
        .read = name##_read, .write = name##_write, .impl_min = 1, .impl_max = 1};
PORT_OPS(port_3b4, 0x3b4)
PORT_OPS(port_3ba, 0x3ba)
PORT_OPS(port_3c0, 0x3c0)
PORT_OPS(port_3d4, 0x3d4)
PORT_OPS(port_3da, 0x3da)

/* 1CEh: index; 1CFh and 1D0h: data. 16 bits wide. */
static uint64_t vbe_port_read(void *opaque, hwaddr off, unsigned size)
{
    VgaState *s = opaque;
    return off == 0 ? s->vbe_index : vga_vbe_read(s, s->vbe_index);
}

static void vbe_port_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    VgaState *s = opaque;
    if (off == 0) {
        s->vbe_index = (uint16_t)v;
    } else {
        vga_vbe_write(s, s->vbe_index, (uint16_t)v);
    }
}

static const RegionOps vbe_port_ops = {.read = vbe_port_read,
                                       .write = vbe_port_write,
                                       .valid_min = 1,
                                       .valid_max = 2,
                                       .impl_min = 1,
                                       .impl_max = 2};

void vga_map_legacy(VgaState *s, Region *mem, Region *io)
{
    region_add_overlap(mem, 0xa0000, &s->window, 1);
    region_add_overlap(io, 0x3b4, &s->ports_3b4, 1);
    region_add_overlap(io, 0x3ba, &s->ports_3ba, 1);
    region_add_overlap(io, 0x3c0, &s->ports_3c0, 1);
    region_add_overlap(io, 0x3d4, &s->ports_3d4, 1);
    region_add_overlap(io, 0x3da, &s->ports_3da, 1);
    region_add_overlap(io, 0x1ce, &s->ports_vbe, 1);
}

static const ConsoleOps console_ops = {
    .update = vga_draw,
    .invalidate = vga_invalidate,
    .text = vga_text,
};

bool vga_realize(VgaState *s, Device *dev, uint32_t vram_mb, Error **errp)
{
    Machine *m = dev->machine;
    if (!IS_POWER_OF_2(vram_mb) || vram_mb > 512) {
        error_set(errp, "%s: vgamem_mb=%u: expected a power of two from 1 to 512",
                  dev->obj.type->name, vram_mb);
        return false;
    }
    s->dev = dev;
    s->clocks = m->clocks;
    s->vram_size = vram_mb * (uint32_t)MiB;
    s->ram = ram_block_new(m->memsys, "vga.vram", s->vram_size, NULL, errp);
    if (!s->ram) {
        return false;
    }
    s->loop = dev->owner.loop;
    region_init_ram(&s->vram, "vga.vram", s->ram);
    region_set_dirty_log(&s->vram, DIRTY_VGA, true);
    region_init_io(&s->window, &dev->owner, &vga_window_ops, s, "vga-lowmem", 0x20000);
    s->window.coalesced = true;
    region_init_io(&s->ports_3b4, &dev->owner, &port_3b4_ops, s, "vga", 2);
    region_init_io(&s->ports_3ba, &dev->owner, &port_3ba_ops, s, "vga", 1);
    region_init_io(&s->ports_3c0, &dev->owner, &port_3c0_ops, s, "vga", 16);
    region_init_io(&s->ports_3d4, &dev->owner, &port_3d4_ops, s, "vga", 2);
    region_init_io(&s->ports_3da, &dev->owner, &port_3da_ops, s, "vga", 1);
    region_init_io(&s->ports_vbe, &dev->owner, &vbe_port_ops, s, "vbe", 3);
    s->cells = g_new(uint32_t, VGA_TEXT_CELLS_MAX);
    if (m->ui) {
        s->con = console_new(m->ui, &console_ops, s, dev->owner.loop, "vga", &dev->obj);
    }
    vga_reset(s);
    return true;
}

void vga_unrealize(VgaState *s)
{
    console_free(s->con);
    s->con = NULL;
    region_fini(&s->window);
    region_fini(&s->ports_3b4);
    region_fini(&s->ports_3ba);
    region_fini(&s->ports_3c0);
    region_fini(&s->ports_3d4);
    region_fini(&s->ports_3da);
    region_fini(&s->ports_vbe);
    region_fini(&s->vram);
    ram_block_unref(s->ram);
    s->ram = NULL;
    g_clear_pointer(&s->cells, g_free);
}

void vga_reset(VgaState *s)
{
    s->misc = 0;
    s->feature = 0;
    s->seq_index = s->gfx_index = s->attr_index = s->crtc_index = 0;
    memset(s->seq, 0, sizeof(s->seq));
    memset(s->gfx, 0, sizeof(s->gfx));
    memset(s->attr, 0, sizeof(s->attr));
    memset(s->crtc, 0, sizeof(s->crtc));
    memset(s->dac, 0, sizeof(s->dac));
    s->dac_mask = 0xff;
    s->dac_read = s->dac_write = s->dac_sub = s->dac_state = 0;
    s->attr_data_next = false;
    s->latch = 0;
    s->vbe_index = 0;
    memset(s->vbe, 0, sizeof(s->vbe));
    s->vbe[VBE_ID] = 0xb0c5;
    s->vbe[VBE_BPP] = 8;
    /* The memory keeps its content, as on the card; untouched pages cost nothing. */
    s->full_redraw = s->palette_stale = true;
}

/* ---- state ---- */

static bool vga_check(const void *opaque, Error **errp)
{
    const VgaState *s = opaque;
    const uint16_t *r = s->vbe;
    unsigned bpp = r[VBE_BPP];
    if (bpp != 4 && bpp != 8 && bpp != 15 && bpp != 16 && bpp != 24 && bpp != 32) {
        error_set(errp, "vga: field vbe: %u bits per pixel do not exist", bpp);
        return false;
    }
    if (!vga_vbe_on(s)) {
        return true;
    }
    uint64_t lines = r[VBE_VIRT_WIDTH] >= 8 ? s->vram_size / vga_vbe_pitch(s) : 0;
    if (r[VBE_XRES] < 8 || (r[VBE_XRES] & 7) || (r[VBE_VIRT_WIDTH] & 7) || !r[VBE_YRES] ||
        r[VBE_X_OFFSET] + r[VBE_XRES] > r[VBE_VIRT_WIDTH] ||
        (uint64_t)r[VBE_Y_OFFSET] + r[VBE_YRES] > lines || r[VBE_BANK] >= s->vram_size / 65536) {
        error_set(errp, "vga: field vbe: a mode of %ux%u does not fit", r[VBE_XRES], r[VBE_YRES]);
        return false;
    }
    return true;
}

static void vga_loaded(void *opaque)
{
    VgaState *s = opaque;
    s->full_redraw = s->palette_stale = true;
}

static const StateField vga_fields[] = {
    STATE_F_UINT(VgaState, misc),
    STATE_F_UINT(VgaState, feature),
    STATE_F_UINT_MAX(VgaState, seq_index, VGA_SEQ_REGS - 1),
    STATE_F_BYTES(VgaState, seq),
    STATE_F_UINT_MAX(VgaState, gfx_index, VGA_GFX_REGS - 1),
    STATE_F_BYTES(VgaState, gfx),
    STATE_F_UINT_MAX(VgaState, attr_index, 0x3f),
    STATE_F_BYTES(VgaState, attr),
    STATE_F_BOOL(VgaState, attr_data_next),
    STATE_F_UINT(VgaState, crtc_index),
    STATE_F_BYTES(VgaState, crtc),
    STATE_F_BYTES(VgaState, dac),
    STATE_F_UINT(VgaState, dac_mask),
    STATE_F_UINT(VgaState, dac_read),
    STATE_F_UINT(VgaState, dac_write),
    STATE_F_UINT_MAX(VgaState, dac_sub, 2),
    STATE_F_UINT_MAX(VgaState, dac_state, 3),
    STATE_F_BYTES(VgaState, dac_cache),
    STATE_F_UINT(VgaState, latch),
    STATE_F_UINT(VgaState, vbe_index),
    STATE_F_UINT_ARRAY(VgaState, vbe),
    {0},
};
const StateDesc vga_state_desc = {
    .name = "vga",
    .version = 1,
    .fields = vga_fields,
    .check = vga_check,
    .loaded = vga_loaded,
};
