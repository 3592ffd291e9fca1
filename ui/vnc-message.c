/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a VNC client says and what it is answered: RFC 6143, sections 7.4 to 7.6. */
#include "ui/vnc-internal.h"
#include "util/bits.h"

#include <string.h>

/* ---- pixel formats ---- */

void vnc_default_format(VncClient *c, uint8_t f[16])
{
    static const uint8_t ours[16] = {32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0};
    bool ok;
    memcpy(f, ours, 16);
    vnc_set_format(c, f, &ok);
}

/* Where the three used bytes of a 32-bit pixel lie on the wire, or the whole pixel. */
static void set_cpixel(VncFormat *f)
{
    uint64_t used = 0;
    for (int i = 0; i < 3; i++) {
        used |= (uint64_t)f->max[i] << f->shift[i];
    }
    f->cpixel_bytes = f->bytes;
    f->cpixel_offset = 0;
    if (f->bytes == 4 && f->depth <= 24) {
        bool low = !(used & ~0xffffffull), high = !(used & 0xffull) && used <= UINT32_MAX;
        if (low || high) {
            f->cpixel_bytes = 3;
            f->cpixel_offset = low == f->big_endian ? 1 : 0;
        }
    }
}

void vnc_set_format(VncClient *c, const uint8_t p[16], bool *ok)
{
    VncFormat f = {.bytes = p[0] / 8, .depth = p[1], .big_endian = p[2] != 0};
    *ok = (p[0] == 8 || p[0] == 16 || p[0] == 32) && p[3]; /* no colour maps */
    for (int i = 0; i < 3; i++) {
        f.max[i] = ld_be16(p + 4 + i * 2);
        f.shift[i] = p[10 + i];
        *ok = *ok && f.max[i] && f.shift[i] < p[0];
    }
    if (*ok) {
        f.standard = f.bytes == 4 && !f.big_endian && f.max[0] == 255 && f.max[1] == 255 &&
                     f.max[2] == 255 && f.shift[0] == 16 && f.shift[1] == 8 && f.shift[2] == 0;
        set_cpixel(&f);
        c->format = f;
    }
}

/* ---- updates ---- */

static void put_pseudo_rect(VncClient *c, int x, int y, int w, int h, int32_t encoding)
{
    vnc_put16(c, (uint16_t)x);
    vnc_put16(c, (uint16_t)y);
    vnc_put16(c, (uint16_t)w);
    vnc_put16(c, (uint16_t)h);
    vnc_put32(c, (uint32_t)encoding);
}

/* A message with nothing but pseudo-rectangles. */
static void send_pseudo(VncClient *c, int x, int w, int h, int32_t encoding)
{
    vnc_put8(c, 0);
    vnc_put8(c, 0);
    vnc_put16(c, 1);
    put_pseudo_rect(c, x, 0, w, h, encoding);
}

static void tell_size(VncClient *c)
{
    const Surface *s = c->server->surface;
    c->size_changed = false;
    if (c->can_resize) {
        c->width = surface_width(s);
        c->height = surface_height(s);
        send_pseudo(c, 0, c->width, c->height, VNC_ENC_DESKTOP_SIZE);
    }
}

void vnc_try_update(VncClient *c)
{
    const Surface *s = c->server->surface;
    if (!c->ready || !c->update_wanted || c->out->len > VNC_OUT_HIGH) {
        return;
    }
    bool absolute = input_is_absolute(c->server->ui);
    if (c->can_pointer_type && absolute != c->told_absolute) {
        c->told_absolute = absolute;
        send_pseudo(c, absolute, c->width, c->height, VNC_ENC_POINTER_TYPE);
        c->update_wanted = false;
        return;
    }
    if (c->size_changed) {
        tell_size(c);
        if (c->can_resize) { /* the rest follows when it asks for the new size */
            c->update_wanted = false;
            return;
        }
    }
    int w = MIN(c->width, surface_width(s)), h = MIN(c->height, surface_height(s)), n;
    pixman_region_intersect_rect(&c->dirty, &c->dirty, 0, 0, (unsigned)w, (unsigned)h);
    pixman_box16_t *box = pixman_region_rectangles(&c->dirty, &n);
    if (!n) {
        return;
    }
    vnc_put8(c, 0);
    vnc_put8(c, 0);
    vnc_put16(c, (uint16_t)MIN(n, 0xffff));
    for (int i = 0; i < n && i < 0xffff; i++) {
        vnc_send_rect(c, box[i].x1, box[i].y1, box[i].x2 - box[i].x1, box[i].y2 - box[i].y1);
    }
    pixman_region_fini(&c->dirty);
    pixman_region_init(&c->dirty);
    c->update_wanted = false;
}

static void update_request(VncClient *c, const uint8_t *d)
{
    c->update_wanted = true;
    if (!d[1]) { /* not incremental: all of it */
        pixman_region_union_rect(&c->dirty, &c->dirty, ld_be16(d + 2), ld_be16(d + 4),
                                 ld_be16(d + 6), ld_be16(d + 8));
    }
}

static void set_encodings(VncClient *c, const uint8_t *d, unsigned n)
{
    c->encoding = -1;
    c->can_resize = c->can_pointer_type = false;
    bool ext_key = false;
    for (unsigned i = 0; i < n; i++) {
        int32_t e = (int32_t)ld_be32(d + i * 4);
        switch (e) {
        case VNC_ENC_RAW:
        case VNC_ENC_HEXTILE:
        case VNC_ENC_ZRLE:
            if (c->encoding < 0) {
                c->encoding = e; /* in the client's order of preference */
            }
            break;
        case VNC_ENC_DESKTOP_SIZE:
            c->can_resize = true;
            break;
        case VNC_ENC_POINTER_TYPE:
            c->can_pointer_type = true;
            break;
        case VNC_ENC_EXT_KEY:
            ext_key = true;
            break;
        default:
            break;
        }
    }
    c->encoding = MAX(c->encoding, VNC_ENC_RAW);
    if (ext_key && !c->can_ext_key) {
        c->can_ext_key = true;
        send_pseudo(c, 0, c->width, c->height, VNC_ENC_EXT_KEY);
    }
}

/* ---- input ---- */

static void send_key(VncClient *c, int code, bool down)
{
    InputEvent ev = {.kind = INPUT_KEY, .code = code, .down = down};
    if (code == KEY_CODE_SHIFT || code == KEY_CODE_SHIFT_R) {
        c->shift_down = down;
    }
    input_send(c->server->ui, &ev, 1);
}

/* Scripted clients send 'A' without a shift key: then it is pressed for them. */
static void key_event(VncClient *c, uint32_t keysym, bool down)
{
    int shift, code = keycode_from_keysym(keysym, &shift);
    if (code < 0) {
        return;
    }
    bool add_shift = shift && down && !c->shift_down;
    if (add_shift) {
        send_key(c, KEY_CODE_SHIFT, true);
    }
    send_key(c, code, down);
    if (add_shift) {
        send_key(c, KEY_CODE_SHIFT, false);
    }
}

static void pointer_event(VncClient *c, uint8_t mask, int x, int y)
{
    static const InputButton buttons[] = {INPUT_BUTTON_LEFT, INPUT_BUTTON_MIDDLE,
                                          INPUT_BUTTON_RIGHT, INPUT_BUTTON_WHEEL_UP,
                                          INPUT_BUTTON_WHEEL_DOWN};
    InputEvent ev[8];
    unsigned n = 0;
    x = MIN(x, MAX(c->width - 1, 0));
    y = MIN(y, MAX(c->height - 1, 0));
    if (input_is_absolute(c->server->ui)) {
        ev[n++] = (InputEvent){
            .kind = INPUT_ABS, .code = 0, .value = x * INPUT_ABS_MAX / MAX(c->width - 1, 1)};
        ev[n++] = (InputEvent){
            .kind = INPUT_ABS, .code = 1, .value = y * INPUT_ABS_MAX / MAX(c->height - 1, 1)};
    } else if (c->last_x >= 0 && (x != c->last_x || y != c->last_y)) {
        ev[n++] = (InputEvent){.kind = INPUT_REL, .code = 0, .value = x - c->last_x};
        ev[n++] = (InputEvent){.kind = INPUT_REL, .code = 1, .value = y - c->last_y};
    }
    c->last_x = x;
    c->last_y = y;
    for (unsigned b = 0; b < ARRAY_LEN(buttons); b++) {
        if (((mask ^ c->buttons) >> b) & 1) {
            ev[n++] = (InputEvent){
                .kind = INPUT_BUTTON, .code = (int)buttons[b], .down = (mask >> b) & 1};
        }
    }
    c->buttons = mask;
    if (n) {
        input_send(c->server->ui, ev, n);
    }
}

void vnc_release_input(VncClient *c)
{
    if (c->ready && c->buttons) {
        pointer_event(c, 0, c->last_x, c->last_y);
    }
    if (c->shift_down) {
        send_key(c, KEY_CODE_SHIFT, false);
    }
}

/* ---- the dispatcher ---- */

static size_t handle_ext(VncClient *c, const uint8_t *d, size_t len)
{
    if (len < 2) {
        return 0;
    }
    if (d[1] != 0) { /* only the extended key event is offered */
        c->dead = true;
        return 2;
    }
    if (len < 12) {
        return 0;
    }
    uint32_t xt = ld_be32(d + 8);
    int code = keycode_from_xt((int)(xt > 0xff ? 0 : xt));
    if (code >= 0) {
        send_key(c, code, ld_be16(d + 2));
    } else {
        key_event(c, ld_be32(d + 4), ld_be16(d + 2));
    }
    return 12;
}

size_t vnc_handle_message(VncClient *c, const uint8_t *d, size_t len)
{
    static const uint8_t fixed[] = {[0] = 20, [2] = 4, [3] = 10, [4] = 8, [5] = 6, [6] = 8};
    uint8_t type = d[0];
    if (type == 255) {
        return handle_ext(c, d, len);
    }
    if (type >= sizeof(fixed) || !fixed[type]) {
        c->dead = true; /* unknown length: the stream is lost */
        return 1;
    }
    if (len < fixed[type]) {
        return 0;
    }
    bool ok = true;
    size_t need = fixed[type];
    switch (type) {
    case 0:
        vnc_set_format(c, d + 4, &ok);
        c->dead = !ok;
        break;
    case 2:
        need += 4u * ld_be16(d + 2);
        if (len < need) {
            return 0;
        }
        set_encodings(c, d + 4, ld_be16(d + 2));
        break;
    case 3:
        update_request(c, d);
        break;
    case 4:
        key_event(c, ld_be32(d + 4), d[1]);
        break;
    case 5:
        pointer_event(c, d[1], ld_be16(d + 2), ld_be16(d + 4));
        break;
    default: /* ClientCutText: the guest has no clipboard to put it in */
        if (ld_be32(d + 4) > VNC_CUT_TEXT_MAX) {
            c->dead = true;
            return need;
        }
        need += ld_be32(d + 4);
        return len < need ? 0 : need;
    }
    return need;
}
