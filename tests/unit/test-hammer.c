/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that writes garbage: random accesses to every port and register of
 * every device of a machine, with garbage in the RAM that they read by DMA.
 * Nothing is expected but that the process lives, and that no access takes long.
 *
 * The sequence follows from RHEA_HAMMER_SEED (1); it goes on for
 * RHEA_HAMMER_SECONDS (2) a machine.  RHEA_HAMMER_TRACE=1 prints each step;
 * RHEA_HAMMER_ONLY=text restricts it to regions whose name has the text.
 */
#include "hw/pci/pci.h"
#include "tests/unit/hammer-recipes.h"
#include "tests/unit/machine-fixture.h"
#include "util/bits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RAM_SIZE (32 * MiB)
#define SLOW_US 3000000

typedef struct Target {
    AddressSpace *as;
    hwaddr start, last;
    const char *name; /* for the trace; copied */
} Target;

typedef struct Hammer {
    MemoryListener listener;
    Fixture *f;
    GRand *rng;
    GPtrArray *targets; /* Target*: I/O ranges visible now */
    bool trace;
    const char *only;
    uint32_t next_io;
    uint64_t next_mem;
    uint8_t next_bus;
    uint64_t steps;
} Hammer;

/* ---- what can be hit ---- */

static void target_free(gpointer p)
{
    g_free((char *)((Target *)p)->name);
    g_free(p);
}

static void on_add(MemoryListener *l, const MemSection *s)
{
    Hammer *h = container_of(l, Hammer, listener);
    Target *t;

    if (s->as != h->f->m->as_memory && s->as != h->f->m->as_io) {
        return;
    }
    if (s->region->kind != REGION_IO && s->region->kind != REGION_ROMD) {
        return;
    }
    if (h->only && !strstr(s->region->name, h->only)) {
        return;
    }
    t = g_new(Target, 1);
    *t =
        (Target){.as = s->as, .start = s->addr, .last = s->last, .name = g_strdup(s->region->name)};
    g_ptr_array_add(h->targets, t);
}

static void on_del(MemoryListener *l, const MemSection *s)
{
    Hammer *h = container_of(l, Hammer, listener);

    for (guint i = 0; i < h->targets->len; i++) {
        Target *t = h->targets->pdata[i];

        if (t->as == s->as && t->start == s->addr) {
            g_ptr_array_remove_index_fast(h->targets, i);
            return;
        }
    }
}

/* ---- PCI set-up as a firmware would do it ---- */

static void config_write(Hammer *h, unsigned bdf, unsigned reg, uint32_t v, unsigned size)
{
    AddressSpace *io = h->f->m->as_io;

    address_space_st(io, 0xcf8, MEM_ATTRS_NONE, 4, 0x80000000u | bdf << 8 | (reg & 0xfc));
    address_space_st(io, 0xcfc + (reg & 3), MEM_ATTRS_NONE, size, v);
}

static void place_bar(Hammer *h, PciDevice *d, unsigned bdf, unsigned n)
{
    const PciBar *b = &d->bars[n];
    unsigned reg = n == PCI_ROM_SLOT ? (d->secondary ? 0x38 : 0x30) : 0x10 + 4 * n;
    uint64_t size = MAX(b->size, 16u);

    if (!b->region) {
        return;
    }
    if (n != PCI_ROM_SLOT && (b->type & PCI_BASE_ADDRESS_SPACE_IO)) {
        h->next_io = (uint32_t)ALIGN_UP(h->next_io, size);
        config_write(h, bdf, reg, h->next_io, 4);
        h->next_io += (uint32_t)size;
        if (h->next_io > 0xf000) {
            h->next_io = 0xc000;
        }
        return;
    }
    h->next_mem = ALIGN_UP(h->next_mem, size);
    config_write(h, bdf, reg, (uint32_t)h->next_mem | (n == PCI_ROM_SLOT), 4);
    if (n != PCI_ROM_SLOT && (b->type & PCI_BASE_ADDRESS_MEM_TYPE_64)) {
        config_write(h, bdf, reg + 4, 0, 4);
    }
    h->next_mem += size;
    if (h->next_mem > 0xf8000000) {
        h->next_mem = 0xe0000000;
    }
}

static void place_function(PciDevice *d, void *opaque)
{
    Hammer *h = opaque;
    unsigned bdf = (unsigned)pci_bus_number(pci_device_bus(d)) << 8 | (unsigned)d->devfn;

    for (unsigned n = 0; n < PCI_BAR_COUNT; n++) {
        place_bar(h, d, bdf, n);
    }
    if (d->secondary) {
        h->next_bus++;
        config_write(h, bdf, 0x18, 0x00ff0000u | (uint32_t)h->next_bus << 8 | (bdf >> 8), 4);
        config_write(h, bdf, 0x1c, 0xf0c0, 2);
        config_write(h, bdf, 0x20, 0xf7f0e000, 4);
    }
    config_write(h, bdf, 4, 7, 2);
}

static void place_all(Hammer *h)
{
    h->next_io = 0xc000;
    h->next_mem = 0xe0000000;
    h->next_bus = 0;
    pci_each(PCI_BUS(h->f->m->root_bus), place_function, h);
}

/* ---- one step ---- */

static uint64_t random_value(Hammer *h)
{
    uint64_t v = (uint64_t)g_rand_int(h->rng) << 32 | g_rand_int(h->rng);

    switch (g_rand_int_range(h->rng, 0, 8)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return v & 0xff;
    case 3:
        return 1ull << (v & 63);
    case 4:
    case 5: /* an address in the first megabyte of RAM */
        return v & 0xfffff & ~(uint64_t)(v >> 60 & 0xf);
    default:
        return v;
    }
}

static void note(Hammer *h, const char *what, const char *name, hwaddr off, unsigned size,
                 uint64_t v)
{
    if (h->trace) {
        fprintf(stderr, "%" PRIu64 " %s %s+0x%" PRIx64 " size %u 0x%" PRIx64 "\n", h->steps, what,
                name, off, size, v);
    }
}

static void hit_register(Hammer *h)
{
    Target *t;
    uint64_t span, off, v = random_value(h);
    unsigned size = 1u << g_rand_int_range(h->rng, 0, 4);

    if (!h->targets->len) {
        return;
    }
    t = h->targets->pdata[g_rand_int_range(h->rng, 0, (gint32)h->targets->len)];
    span = t->last - t->start;
    off = (uint64_t)g_rand_int(h->rng) << 16 ^ g_rand_int(h->rng);
    /* Most registers are at the beginning, and aligned. */
    if (span > 0x200 && g_rand_int_range(h->rng, 0, 4)) {
        off &= 0x1ff;
    }
    off %= span + 1 ? span + 1 : UINT64_MAX;
    if (g_rand_int_range(h->rng, 0, 8)) {
        off &= ~(uint64_t)(size - 1);
    }
    if (t->as == h->f->m->as_io && size == 8) {
        size = 4;
    }
    if (g_rand_boolean(h->rng)) {
        note(h, "write", t->name, off, size, v);
        address_space_st(t->as, t->start + off, MEM_ATTRS_NONE, size, v);
    } else {
        note(h, "read", t->name, off, size, 0);
        address_space_ld(t->as, t->start + off, MEM_ATTRS_NONE, size, &v);
    }
}

static void hit_config(Hammer *h)
{
    unsigned bdf = (unsigned)g_rand_int_range(h->rng, 0, 256);
    unsigned reg = (unsigned)g_rand_int_range(h->rng, 0, 256);
    unsigned size = 1u << g_rand_int_range(h->rng, 0, 3);

    if (g_rand_int_range(h->rng, 0, 4) == 0) {
        bdf |= (unsigned)g_rand_int_range(h->rng, 0, 4) << 8;
    }
    note(h, "config", "bdf", bdf << 8 | reg, size, 0);
    config_write(h, bdf, reg & ~(size - 1), (uint32_t)random_value(h), size);
}

static void litter_ram(Hammer *h)
{
    uint64_t at = (uint64_t)g_rand_int_range(h->rng, 0, 0x100000) & ~7ull;
    unsigned n = (unsigned)g_rand_int_range(h->rng, 1, 64);

    note(h, "litter", "ram", at, n * 8, 0);
    for (unsigned i = 0; i < n; i++) {
        uint64_t v = random_value(h);

        address_space_write(h->f->m->as_memory, at + 8 * i, MEM_ATTRS_NONE, &v, 8);
    }
}

static void step(Hammer *h)
{
    gint32 what = g_rand_int_range(h->rng, 0, 1000);

    h->steps++;
    if (what < 700) {
        hit_register(h);
    } else if (what < 860) {
        note(h, "recipe", "any", 0, 0, 0);
        hammer_recipe(h->f, h->rng);
    } else if (what < 890) {
        hit_config(h);
    } else if (what < 950) {
        litter_ram(h);
    } else if (what < 995) {
        int64_t ns = 1ll << g_rand_int_range(h->rng, 0, 28);

        note(h, "step", "clock", 0, 0, (uint64_t)ns);
        fixture_step(h->f, ns);
    } else if (what < 999) {
        note(h, "place", "all", 0, 0, 0);
        place_all(h);
    } else {
        note(h, "reset", "machine", 0, 0, 0);
        loop_lock(h->f->platform);
        machine_reset(h->f->m);
        loop_unlock(h->f->platform);
        place_all(h);
    }
}

static uint64_t number_from(const char *name, uint64_t def)
{
    const char *s = getenv(name);

    return s ? g_ascii_strtoull(s, NULL, 0) : def;
}

static void test_hammer(gconstpointer board)
{
    Error *err = NULL;
    Hammer h = {.f = fixture_new(board, RAM_SIZE, &err)};
    gint64 end = g_get_monotonic_time() + (gint64)number_from("RHEA_HAMMER_SECONDS", 2) * 1000000;
    uint64_t stop = number_from("RHEA_HAMMER_STEPS", UINT64_MAX);
    uint32_t seed = (uint32_t)number_from("RHEA_HAMMER_SEED", 1);

    if (!h.f) {
        g_test_skip(error_message(err));
        error_free(err);
        return;
    }
    fixture_add_all(h.f);
    h.f->m->ready = true;
    h.rng = g_rand_new_with_seed(seed);
    h.trace = number_from("RHEA_HAMMER_TRACE", 0);
    h.only = getenv("RHEA_HAMMER_ONLY");
    h.targets = g_ptr_array_new_with_free_func(target_free);
    h.listener = (MemoryListener){.name = "hammer", .add = on_add, .del = on_del};
    memory_listener_add(h.f->memsys, &h.listener);
    place_all(&h);
    while (h.steps < stop) {
        gint64 before = g_get_monotonic_time(), after;

        step(&h);
        after = g_get_monotonic_time();
        if (after - before > SLOW_US) {
            g_error("step %" PRIu64 " (seed %u) took %" PRId64 " ms", h.steps, seed,
                    (after - before) / 1000);
        }
        if (after > end) {
            break;
        }
    }
    g_test_message("%s: %" PRIu64 " steps, seed %u, %u resets, %u shutdowns asked for",
                   (const char *)board, h.steps, seed, h.f->resets, h.f->shutdowns);
    memory_listener_del(h.f->memsys, &h.listener);
    g_ptr_array_free(h.targets, TRUE);
    g_rand_free(h.rng);
    fixture_free(h.f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/hammer/pc", "pc", test_hammer);
    g_test_add_data_func("/hammer/q35", "q35", test_hammer);
    return g_test_run();
}
