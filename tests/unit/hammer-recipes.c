/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/hammer-recipes.h"

#include "util/bits.h"

#include <string.h>

typedef struct Kitchen {
    Fixture *f;
    GRand *rng;
    PciDevice *found;
    unsigned seen;
} Kitchen;

/* ---- ingredients ---- */

static uint32_t rnd(Kitchen *k, uint32_t below)
{
    return g_rand_int(k->rng) % below;
}

static void st(Kitchen *k, hwaddr addr, unsigned size, uint64_t v)
{
    address_space_st(k->f->m->as_memory, addr, MEM_ATTRS_NONE, size, v);
}

static uint64_t ld(Kitchen *k, hwaddr addr, unsigned size)
{
    uint64_t v = 0;

    address_space_ld(k->f->m->as_memory, addr, MEM_ATTRS_NONE, size, &v);
    return v;
}

static void out(Kitchen *k, hwaddr port, unsigned size, uint64_t v)
{
    address_space_st(k->f->m->as_io, port, MEM_ATTRS_NONE, size, v);
}

/* Mostly somewhere in RAM, now and then over its end, in a hole, or in the device itself. */
static uint64_t place(Kitchen *k)
{
    uint32_t v = g_rand_int(k->rng);

    switch (rnd(k, 32)) {
    case 0:
        return k->f->m->ram_size - (v & 0xfff);
    case 1:
        return 0xe0000000u + (v & 0xfffffffu);
    case 2:
        return UINT64_MAX - (v & 0xff);
    case 3:
        return 0xa0000u + (v & 0x5ffffu);
    default:
        return 0x100000u + (v & 0xffffffu);
    }
}

/* A page in RAM for a ring or table. */
static uint64_t table(Kitchen *k)
{
    return 0x100000u + (uint64_t)rnd(k, 1024) * 4096;
}

static uint32_t length(Kitchen *k)
{
    static const uint32_t usual[] = {0, 1, 12, 16, 512, 1514, 4096, 65536, 0x3fffff, UINT32_MAX};

    return rnd(k, 4) ? usual[rnd(k, ARRAY_LEN(usual))] : g_rand_int(k->rng) >> rnd(k, 32);
}

/* ---- virtio ---- */

typedef struct VirtioParts {
    hwaddr common, notify;
    uint32_t multiplier;
} VirtioParts;

static bool find_parts(PciDevice *d, VirtioParts *p)
{
    uint8_t pos = d->config[PCI_CAPABILITY_LIST];

    *p = (VirtioParts){0};
    for (unsigned n = 0; pos && n < 48; n++, pos = d->config[pos + 1]) {
        const uint8_t *c = d->config + pos;
        hwaddr bar;

        if (c[0] != PCI_CAP_ID_VNDR || c[4] >= 6 || d->bars[c[4]].addr == PCI_UNMAPPED) {
            continue;
        }
        bar = d->bars[c[4]].addr + ld_le32(c + 8);
        if (c[3] == 1) {
            p->common = bar;
        } else if (c[3] == 2) {
            p->notify = bar;
            p->multiplier = ld_le32(c + 16);
        }
    }
    return p->common && p->notify;
}

static void fill_queue(Kitchen *k, uint64_t desc, uint64_t avail, unsigned size)
{
    unsigned n = rnd(k, size) + 1;

    for (unsigned i = 0; i < size && i < 64; i++) {
        st(k, desc + 16 * i, 8, place(k));
        st(k, desc + 16 * i + 8, 4, length(k));
        st(k, desc + 16 * i + 12, 2, rnd(k, 4) ? rnd(k, 4) : rnd(k, 8));
        st(k, desc + 16 * i + 14, 2, rnd(k, 8) ? (i + 1) % size : rnd(k, 65536));
    }
    for (unsigned i = 0; i < n; i++) {
        st(k, avail + 4 + 2 * i, 2, rnd(k, 16) ? rnd(k, size) : rnd(k, 65536));
    }
    st(k, avail, 2, rnd(k, 2));
    st(k, avail + 2, 2, ld(k, avail + 2, 2) + n);
    /* Where a disk's request begins: a type that exists. */
    for (unsigned i = 0; i < 4; i++) {
        uint64_t at = ld(k, desc + 16 * i, 8);

        if (at < k->f->m->ram_size - 16) {
            static const uint8_t types[] = {0, 1, 4, 8, 11, 13, 14, 99};

            st(k, at, 4, types[rnd(k, ARRAY_LEN(types))]);
            st(k, at + 8, 8, rnd(k, 4) ? rnd(k, 1 << 17) : g_rand_int(k->rng));
        }
    }
}

static void cook_virtio(Kitchen *k, PciDevice *d)
{
    VirtioParts p;
    unsigned queues;

    if (!find_parts(d, &p)) {
        return;
    }
    if (rnd(k, 3) == 0) {
        st(k, p.common + 0x14, 1, 0);
        st(k, p.common + 0x14, 1, 1);
        st(k, p.common + 0x14, 1, 3);
        for (unsigned half = 0; half < 2; half++) {
            uint32_t offered;

            st(k, p.common, 4, half);
            offered = (uint32_t)ld(k, p.common + 4, 4);
            st(k, p.common + 8, 4, half);
            st(k, p.common + 0xc, 4, rnd(k, 4) ? offered : offered & g_rand_int(k->rng));
        }
        st(k, p.common + 0x14, 1, 11);
    }
    queues = (unsigned)ld(k, p.common + 0x12, 2);
    for (unsigned q = 0; q < queues && q < 4; q++) {
        uint64_t desc = table(k), avail = table(k), used = table(k);
        unsigned size = 1u << rnd(k, 9);

        st(k, p.common + 0x16, 2, q);
        st(k, p.common + 0x18, 2, size);
        st(k, p.common + 0x20, 8, desc);
        st(k, p.common + 0x28, 8, avail);
        st(k, p.common + 0x30, 8, used);
        st(k, avail + 2, 2, 0);
        st(k, p.common + 0x1c, 2, 1);
        st(k, p.common + 0x14, 1, 15);
        fill_queue(k, desc, avail, size);
        st(k, p.notify + ld(k, p.common + 0x1e, 2) * p.multiplier, 2, q);
    }
}

/* ---- e1000 ---- */

static void cook_e1000(Kitchen *k, PciDevice *d)
{
    hwaddr bar = d->bars[0].addr;
    uint64_t ring = table(k);
    unsigned n = 8u << rnd(k, 5);

    if (bar == PCI_UNMAPPED) {
        return;
    }
    for (unsigned i = 0; i < n && i < 64; i++) {
        st(k, ring + 16 * i, 8, place(k));
        st(k, ring + 16 * i + 8, 4, rnd(k, 2) ? length(k) : g_rand_int(k->rng));
        st(k, ring + 16 * i + 12, 4, g_rand_int(k->rng));
    }
    if (rnd(k, 2)) {
        st(k, bar + 0x2800, 4, ring);
        st(k, bar + 0x2804, 4, 0);
        st(k, bar + 0x2808, 4, n * 16);
        st(k, bar + 0x2810, 4, rnd(k, n));
        st(k, bar + 0x2818, 4, rnd(k, n + 2));
        st(k, bar + 0x100, 4, (g_rand_int(k->rng) & ~1u) | 2);
    } else {
        st(k, bar + 0x3800, 4, ring);
        st(k, bar + 0x3804, 4, 0);
        st(k, bar + 0x3808, 4, n * 16);
        st(k, bar + 0x3810, 4, rnd(k, n));
        st(k, bar + 0x400, 4, (g_rand_int(k->rng) & ~1u) | 2);
        st(k, bar + 0x3818, 4, rnd(k, n + 2));
    }
}

/* ---- disks ---- */

static const uint8_t ata_commands[] = {0x00, 0x06, 0x08, 0x10, 0x20, 0x24, 0x25, 0x29, 0x30, 0x34,
                                       0x35, 0x39, 0x40, 0x42, 0x60, 0x61, 0x70, 0x90, 0x91, 0xa0,
                                       0xa1, 0xb0, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xe0, 0xe1, 0xe3,
                                       0xe5, 0xe6, 0xe7, 0xea, 0xec, 0xef, 0xf5, 0xf8};
static const uint8_t packet_commands[] = {0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28,
                                          0x2b, 0x35, 0x42, 0x43, 0x46, 0x4a, 0x51, 0x52,
                                          0x55, 0x5a, 0xa8, 0xac, 0xad, 0xbb, 0xbd, 0xbe};

static void fill_fis(Kitchen *k, uint64_t at)
{
    st(k, at, 1, rnd(k, 16) ? 0x27 : rnd(k, 256));
    st(k, at + 1, 1, rnd(k, 16) ? 0x80 : rnd(k, 256));
    st(k, at + 2, 1, ata_commands[rnd(k, ARRAY_LEN(ata_commands))]);
    st(k, at + 3, 1, rnd(k, 256));
    st(k, at + 4, 4, rnd(k, 2) ? rnd(k, 0x20000) | 0x40000000 : g_rand_int(k->rng));
    st(k, at + 8, 4, rnd(k, 2) ? 0 : g_rand_int(k->rng));
    st(k, at + 12, 4, rnd(k, 2) ? rnd(k, 32) : g_rand_int(k->rng));
    for (unsigned i = 0; i < 16; i++) {
        st(k, at + 0x40 + i, 1, rnd(k, 256));
    }
    st(k, at + 0x40, 1, packet_commands[rnd(k, ARRAY_LEN(packet_commands))]);
}

static void cook_ahci(Kitchen *k, PciDevice *d)
{
    hwaddr bar = d->bars[5].addr, port = bar + 0x100 + 0x80 * rnd(k, 6);
    uint64_t list = table(k), cmd = table(k);
    unsigned slot = rnd(k, 32), prds = rnd(k, 9);

    if (bar == PCI_UNMAPPED) {
        return;
    }
    fill_fis(k, cmd);
    for (unsigned i = 0; i < prds; i++) {
        st(k, cmd + 0x80 + 16 * i, 8, place(k));
        st(k, cmd + 0x80 + 16 * i + 12, 4, rnd(k, 4) ? length(k) : g_rand_int(k->rng));
    }
    st(k, list + 32 * slot, 4,
       (rnd(k, 8) ? 5 : rnd(k, 32)) | (g_rand_int(k->rng) & 0x7e0) |
           (rnd(k, 16) ? prds : rnd(k, 65536)) << 16);
    st(k, list + 32 * slot + 8, 8, rnd(k, 16) ? cmd : place(k));
    st(k, bar + 4, 4, 0x80000002);
    st(k, port + 0x18, 4, 0);
    st(k, port + 0, 8, list);
    st(k, port + 8, 8, rnd(k, 16) ? table(k) : place(k) & ~0xffull);
    st(k, port + 0x18, 4, 0x10);
    st(k, port + 0x18, 4, 0x11 | (rnd(k, 16) ? 0 : g_rand_int(k->rng)));
    st(k, port + 0x34, 4, rnd(k, 2) ? 1u << slot : 0);
    st(k, port + 0x38, 4, rnd(k, 8) ? 1u << slot : g_rand_int(k->rng));
}

static void cook_ide(Kitchen *k, PciDevice *d)
{
    hwaddr bm = d->bars[4].addr + 8 * rnd(k, 2);
    uint16_t base = rnd(k, 2) ? 0x1f0 : 0x170;
    uint64_t prd = table(k);
    unsigned n = rnd(k, 6);

    for (unsigned i = 0; i < 6; i++) {
        st(k, prd + 8 * i, 4, place(k));
        st(k, prd + 8 * i + 4, 4, length(k) | (i == n ? 0x80000000u : 0));
    }
    out(k, base + 6, 1, 0xa0 | rnd(k, 2) << 4 | rnd(k, 2) << 6 | rnd(k, 16));
    out(k, base + 1, 1, rnd(k, 2));
    for (unsigned i = 2; i < 6; i++) {
        out(k, base + i, 1, rnd(k, 3) ? rnd(k, 4) : rnd(k, 256));
    }
    if (d->bars[4].addr != PCI_UNMAPPED) {
        out(k, bm, 1, 0);
        out(k, bm + 4, 4, prd);
        out(k, bm + 2, 1, 0x66);
    }
    out(k, base + 7, 1, ata_commands[rnd(k, ARRAY_LEN(ata_commands))]);
    if (d->bars[4].addr != PCI_UNMAPPED) {
        out(k, bm, 1, 1 | rnd(k, 2) << 3);
    }
    if (rnd(k, 2)) {
        uint8_t packet[12] = {packet_commands[rnd(k, ARRAY_LEN(packet_commands))]};

        for (unsigned i = 1; i < 12; i++) {
            packet[i] = (uint8_t)rnd(k, 256);
        }
        for (unsigned i = 0; i < 12; i += 2) {
            out(k, base, 2, ld_le16(packet + i));
        }
    }
}

/* ---- fw_cfg ---- */

static void cook_fw_cfg(Kitchen *k)
{
    uint64_t at = table(k);

    st(k, at, 4, __builtin_bswap32(rnd(k, 64) << 16 | rnd(k, 32)));
    st(k, at + 4, 4, __builtin_bswap32(length(k)));
    st(k, at + 8, 8, __builtin_bswap64(place(k)));
    out(k, 0x514, 4, 0);
    out(k, 0x518, 4, __builtin_bswap32((uint32_t)at));
}

/* ---- the menu ---- */

static void choose(PciDevice *d, void *opaque)
{
    Kitchen *k = opaque;

    /* Each with the same chance, whatever their number. */
    if (rnd(k, ++k->seen) == 0) {
        k->found = d;
    }
}

void hammer_recipe(Fixture *f, GRand *rng)
{
    Kitchen k = {.f = f, .rng = rng};
    const char *name;

    if (rnd(&k, 8) == 0) {
        cook_fw_cfg(&k);
        return;
    }
    pci_each(PCI_BUS(f->m->root_bus), choose, &k);
    if (!k.found) {
        return;
    }
    name = k.found->dev.obj.type->name;
    if (g_str_has_prefix(name, "virtio-")) {
        cook_virtio(&k, k.found);
    } else if (g_str_has_prefix(name, "e1000")) {
        cook_e1000(&k, k.found);
    } else if (strstr(name, "ahci")) {
        cook_ahci(&k, k.found);
    } else if (strstr(name, "-ide")) {
        cook_ide(&k, k.found);
    }
}
