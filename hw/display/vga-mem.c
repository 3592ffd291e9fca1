/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 128 KiB window at A0000h: how the graphics controller turns CPU accesses
 * into accesses of four planes.
 */
#include "hw/display/vga.h"

#define PLANE_WORDS 65536u

/* The window's place by graphics register 6; false: the address is not ours. */
static bool window_offset(const VgaState *s, hwaddr *addr)
{
    static const struct {
        uint32_t start, size;
    } maps[4] = {{0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}};
    unsigned m = (s->gfx[6] >> 2) & 3;
    if (*addr < maps[m].start || *addr - maps[m].start >= maps[m].size) {
        return false;
    }
    *addr -= maps[m].start;
    return (s->misc & 2) != 0; /* RAM enable */
}

static uint32_t *planes(const VgaState *s)
{
    return (uint32_t *)s->ram->host;
}

static uint32_t expand(unsigned four_bits)
{
    return ((four_bits & 1) ? 0xffu : 0) | ((four_bits & 2) ? 0xff00u : 0) |
           ((four_bits & 4) ? 0xff0000u : 0) | ((four_bits & 8) ? 0xff000000u : 0);
}

/* VBE modes of 8 bits and more: a linear 64 KiB bank. */
static bool linear_offset(const VgaState *s, hwaddr addr, hwaddr *lin)
{
    if (!vga_vbe_on(s) || s->vbe[VBE_BPP] == 4) {
        return false;
    }
    *lin = ((uint64_t)s->vbe[VBE_BANK] << 16) + (addr & 0xffff);
    return *lin < s->vram_size;
}

/* Odd/even addressing: A0 picks the plane; the page bit of `misc` stands in for it. */
static unsigned odd_even_word(const VgaState *s, hwaddr addr)
{
    return (unsigned)((addr & ~1ull) | ((s->gfx[6] & 2) ? ((s->misc & 0x20) ? 0 : 1) : 0)) &
           (PLANE_WORDS - 1);
}

static uint64_t window_read(void *opaque, hwaddr addr, unsigned size)
{
    VgaState *s = opaque;
    hwaddr lin;
    if (!window_offset(s, &addr)) {
        return 0xff;
    }
    if (linear_offset(s, addr, &lin)) {
        return s->ram->host[lin];
    }
    unsigned plane = s->gfx[4] & 3, word = (unsigned)addr & (PLANE_WORDS - 1);
    if (s->seq[4] & 8) { /* chain 4 */
        plane = addr & 3;
        word &= ~3u;
    } else if (s->gfx[5] & 0x10) {
        plane = (plane & 2) | (addr & 1);
        word = odd_even_word(s, addr);
    }
    s->latch = planes(s)[word];
    if (!(s->gfx[5] & 8) || (s->seq[4] & 8)) {
        return (s->latch >> (plane * 8)) & 0xff;
    }
    /* Read mode 1: a bit is set where the pixel equals the compare colour. */
    uint32_t differ = (s->latch ^ expand(s->gfx[2])) & expand(s->gfx[7]);
    return (uint8_t) ~(differ | differ >> 8 | differ >> 16 | differ >> 24);
}

static uint32_t alu(const VgaState *s, uint32_t v)
{
    switch ((s->gfx[3] >> 3) & 3) {
    case 1:
        return v & s->latch;
    case 2:
        return v | s->latch;
    case 3:
        return v ^ s->latch;
    default:
        return v;
    }
}

/* The four plane bytes a CPU byte becomes, by write mode. */
static uint32_t write_value(const VgaState *s, uint8_t v)
{
    unsigned rot = s->gfx[3] & 7;
    uint8_t rotated = (uint8_t)(v >> rot | v << (8 - rot));
    uint32_t bit_mask = s->gfx[8] * 0x01010101u;
    uint32_t data;
    switch (s->gfx[5] & 3) {
    case 0: {
        uint32_t sr = expand(s->gfx[1]);
        data = (rotated * 0x01010101u & ~sr) | (expand(s->gfx[0]) & sr);
        data = alu(s, data);
        break;
    }
    case 1:
        return s->latch;
    case 2:
        data = alu(s, expand(v));
        break;
    default:
        bit_mask = (s->gfx[8] & rotated) * 0x01010101u;
        data = expand(s->gfx[0]);
        break;
    }
    return (data & bit_mask) | (s->latch & ~bit_mask);
}

static void window_write(void *opaque, hwaddr addr, uint64_t v, unsigned size)
{
    VgaState *s = opaque;
    hwaddr lin;
    if (!window_offset(s, &addr)) {
        return;
    }
    if (linear_offset(s, addr, &lin)) {
        s->ram->host[lin] = (uint8_t)v;
        ram_mark_dirty(s->ram, lin, 1);
        return;
    }
    unsigned enabled = s->seq[2], word = (unsigned)addr & (PLANE_WORDS - 1);
    uint32_t data;
    if (s->seq[4] & 8) {
        enabled &= 1u << (addr & 3);
        word &= ~3u;
        data = (uint8_t)v * 0x01010101u;
    } else {
        if (!(s->seq[4] & 4)) { /* odd/even writes */
            enabled &= (addr & 1) ? 0xa : 0x5;
            word = odd_even_word(s, addr);
        }
        data = write_value(s, (uint8_t)v);
    }
    uint32_t mask = expand(enabled), *p = &planes(s)[word];
    *p = (*p & ~mask) | (data & mask);
    ram_mark_dirty(s->ram, word * 4, 4);
}

const RegionOps vga_window_ops = {.read = window_read,
                                  .write = window_write,
                                  .valid_min = 1,
                                  .valid_max = 8,
                                  .impl_min = 1,
                                  .impl_max = 1};
