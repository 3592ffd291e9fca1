/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw, Hextile and ZRLE: RFC 6143, sections 7.7.1, 7.7.4 and 7.7.6. */
#include "ui/vnc-internal.h"
#include "util/bits.h"

#include <string.h>

#define HEXTILE_RAW 1
#define HEXTILE_BACKGROUND 2
#define HEXTILE_FOREGROUND 4
#define HEXTILE_SUBRECTS 8
#define PALETTE_MAX 16

/* ---- pixels ---- */

static uint32_t to_client(const VncFormat *f, uint32_t rgb)
{
    uint32_t v = 0;
    for (int i = 0; i < 3; i++) {
        uint32_t c = (rgb >> (16 - i * 8)) & 0xff;
        v |= (c * f->max[i] + 127) / 255 << f->shift[i];
    }
    return v;
}

static void append_pixel(GByteArray *out, const VncFormat *f, uint32_t rgb, bool compact)
{
    uint8_t b[4];
    uint32_t v = f->standard ? rgb : to_client(f, rgb);
    if (f->bytes == 1) {
        b[0] = (uint8_t)v;
    } else if (f->bytes == 2) {
        f->big_endian ? st_be16(b, (uint16_t)v) : st_le16(b, (uint16_t)v);
    } else {
        f->big_endian ? st_be32(b, v) : st_le32(b, v);
    }
    g_byte_array_append(out, b + (compact ? f->cpixel_offset : 0),
                        compact ? f->cpixel_bytes : f->bytes);
}

/* A block of the surface as 0x00RRGGBB; the surface is x8r8g8b8. */
static void fetch(const VncClient *c, int x, int y, int w, int h, uint32_t *out)
{
    const Surface *s = c->server->surface;
    for (int j = 0; j < h; j++) {
        const uint8_t *row = surface_data(s) + (size_t)(y + j) * (size_t)surface_stride(s);
        memcpy(out + j * w, row + (size_t)x * 4, (size_t)w * 4);
        for (int i = 0; i < w; i++) {
            out[j * w + i] &= 0xffffff;
        }
    }
}

/* Distinct colours of a tile, up to `max`; more: max + 1. */
static unsigned find_palette(const uint32_t *px, int n, uint32_t *palette, unsigned max)
{
    unsigned found = 0;
    for (int i = 0; i < n; i++) {
        unsigned k = 0;
        if (i && px[i] == px[i - 1]) {
            continue;
        }
        while (k < found && palette[k] != px[i]) {
            k++;
        }
        if (k == found) {
            if (found == max) {
                return max + 1;
            }
            palette[found++] = px[i];
        }
    }
    return found;
}

static void put_header(VncClient *c, int x, int y, int w, int h, int32_t encoding)
{
    vnc_put16(c, (uint16_t)x);
    vnc_put16(c, (uint16_t)y);
    vnc_put16(c, (uint16_t)w);
    vnc_put16(c, (uint16_t)h);
    vnc_put32(c, (uint32_t)encoding);
}

/* ---- Raw ---- */

static void send_raw(VncClient *c, int x, int y, int w, int h)
{
    g_autofree uint32_t *row = g_new(uint32_t, (size_t)w);
    for (int j = 0; j < h; j++) {
        fetch(c, x, y + j, w, 1, row);
        for (int i = 0; i < w; i++) {
            append_pixel(c->out, &c->format, row[i], false);
        }
    }
}

/* ---- Hextile ---- */

/* The two-coloured tile as background and horizontal runs of foreground. */
static void hextile_runs(VncClient *c, const uint32_t *px, int w, int h, uint32_t fg)
{
    guint count_at = c->out->len;
    unsigned count = 0;
    vnc_put8(c, 0);
    for (int j = 0; j < h; j++) {
        for (int i = 0; i < w; i++) {
            int from = i;
            while (i < w && px[j * w + i] == fg) {
                i++;
            }
            if (i > from) {
                vnc_put8(c, (uint8_t)(from << 4 | j));
                vnc_put8(c, (uint8_t)((i - from - 1) << 4));
                count++;
            }
        }
    }
    c->out->data[count_at] = (uint8_t)count; /* at most 8 runs in each of 16 rows */
}

static void hextile_tile(VncClient *c, const uint32_t *px, int w, int h)
{
    uint32_t palette[2] = {0};
    unsigned n = find_palette(px, w * h, palette, 2);
    if (n > 2) {
        vnc_put8(c, HEXTILE_RAW);
        for (int i = 0; i < w * h; i++) {
            append_pixel(c->out, &c->format, px[i], false);
        }
        return;
    }
    vnc_put8(c, n == 1 ? HEXTILE_BACKGROUND
                       : HEXTILE_BACKGROUND | HEXTILE_FOREGROUND | HEXTILE_SUBRECTS);
    append_pixel(c->out, &c->format, palette[0], false);
    if (n == 2) {
        append_pixel(c->out, &c->format, palette[1], false);
        hextile_runs(c, px, w, h, palette[1]);
    }
}

/* ---- ZRLE ---- */

/* Palette indices, packed from the high bit, rows start on a byte. */
static void zrle_packed(GByteArray *out, const uint32_t *px, int w, int h, const uint32_t *palette,
                        unsigned n)
{
    unsigned bits = n <= 2 ? 1 : n <= 4 ? 2 : 4;
    for (int j = 0; j < h; j++) {
        unsigned acc = 0, filled = 0;
        for (int i = 0; i < w; i++) {
            unsigned k = 0;
            while (palette[k] != px[j * w + i]) {
                k++;
            }
            acc = acc << bits | k;
            filled += bits;
            if (filled == 8 || i == w - 1) {
                uint8_t byte = (uint8_t)(acc << (8 - filled));
                g_byte_array_append(out, &byte, 1);
                acc = filled = 0;
            }
        }
    }
}

static void zrle_tile(VncClient *c, const uint32_t *px, int w, int h)
{
    uint32_t palette[PALETTE_MAX];
    unsigned n = find_palette(px, w * h, palette, PALETTE_MAX);
    uint8_t sub = (uint8_t)(n > PALETTE_MAX ? 0 : n); /* 0: raw, 1: solid, 2-16: packed */
    g_byte_array_append(c->tile_buf, &sub, 1);
    for (unsigned i = 0; i < sub; i++) {
        append_pixel(c->tile_buf, &c->format, palette[i], true);
    }
    if (sub == 0) {
        for (int i = 0; i < w * h; i++) {
            append_pixel(c->tile_buf, &c->format, px[i], true);
        }
    } else if (sub > 1) {
        zrle_packed(c->tile_buf, px, w, h, palette, n);
    }
}

/* Compresses the gathered tiles; one zlib stream lasts as long as the connection. */
static void zrle_flush(VncClient *c)
{
    guint at = c->out->len;
    uint8_t chunk[16384];
    vnc_put32(c, 0);
    c->zlib.next_in = c->tile_buf->data;
    c->zlib.avail_in = c->tile_buf->len;
    do {
        c->zlib.next_out = chunk;
        c->zlib.avail_out = sizeof(chunk);
        if (deflate(&c->zlib, Z_SYNC_FLUSH) == Z_STREAM_ERROR) {
            c->dead = true;
            return;
        }
        vnc_put(c, chunk, sizeof(chunk) - c->zlib.avail_out);
    } while (c->zlib.avail_out == 0);
    st_be32(c->out->data + at, c->out->len - at - 4);
    g_byte_array_set_size(c->tile_buf, 0);
}

/* ---- rectangles ---- */

static void send_tiles(VncClient *c, int x, int y, int w, int h, int size,
                       void (*tile)(VncClient *c, const uint32_t *px, int w, int h))
{
    uint32_t px[64 * 64];
    for (int ty = 0; ty < h; ty += size) {
        for (int tx = 0; tx < w; tx += size) {
            int tw = MIN(size, w - tx), th = MIN(size, h - ty);
            fetch(c, x + tx, y + ty, tw, th, px);
            tile(c, px, tw, th);
        }
    }
}

void vnc_send_rect(VncClient *c, int x, int y, int w, int h)
{
    if (c->encoding == VNC_ENC_ZRLE && !c->zlib_ready) {
        c->zlib_ready = deflateInit(&c->zlib, 3) == Z_OK;
        if (!c->zlib_ready) {
            c->encoding = VNC_ENC_HEXTILE;
        }
    }
    put_header(c, x, y, w, h, c->encoding);
    switch (c->encoding) {
    case VNC_ENC_HEXTILE:
        send_tiles(c, x, y, w, h, 16, hextile_tile);
        break;
    case VNC_ENC_ZRLE:
        send_tiles(c, x, y, w, h, 64, zrle_tile);
        zrle_flush(c);
        break;
    default:
        send_raw(c, x, y, w, h);
        break;
    }
}
