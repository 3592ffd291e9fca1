/* SPDX-License-Identifier: GPL-2.0-or-later */
/* info tlb, info mem: what the guest's page tables map (SDM vol. 3, chapter 4). */
#include "monitor/internal.h"
#include "util/bits.h"

#include <inttypes.h>

#define MAX_LINES 20000 /* a hostile guest can map 2^48 bytes in circles */

typedef struct Walk {
    Hmp *h;
    CPUX86 *cpu;
    /* Called for each mapped page; false: stop. flags: AND of R/W and U/S along the way. */
    bool (*page)(struct Walk *w, uint64_t linear, uint64_t entry, uint64_t size, unsigned flags);
    unsigned lines;
    uint64_t steps;
    /* info mem: the run being collected */
    uint64_t start, end;
    unsigned flags;
    bool open;
} Walk;

static uint64_t address_mask(void)
{
    return 0x000ffffffffff000ull;
}

/* One table; `level` 1 maps pages of 4 KiB. `wide`: entries of eight bytes. */
static bool walk_table(Walk *w, uint64_t table, int level, bool wide, uint64_t linear,
                       unsigned flags)
{
    unsigned n = wide ? 512 : 1024, shift = 12 + (wide ? 9 : 10) * (unsigned)(level - 1);
    uint64_t steps_max = 4000000;
    for (unsigned i = 0; i < n; i++) {
        uint64_t e = 0;
        if (++w->steps > steps_max ||
            address_space_ld(cpu_as(w->cpu), table + i * (wide ? 8 : 4), MEM_ATTRS_NONE,
                             wide ? 8 : 4, &e) != MEM_OK) {
            return w->steps <= steps_max;
        }
        if (!(e & 1)) {
            continue;
        }
        uint64_t at = linear | (uint64_t)i << shift;
        if (shift + (wide ? 9 : 10) == 48 && wide && at & 1ull << 47) {
            at |= 0xffffull << 48; /* canonical */
        } else if (shift + 9 == 57 && at & 1ull << 56) {
            at |= 0x7full << 57;
        }
        unsigned f = flags & (unsigned)e;
        bool large = level > 1 && e & 0x80 && level <= 3 && (wide || w->cpu->cr4 & 0x10);
        bool ok = level == 1 || large ? w->page(w, at, e, 1ull << shift, f)
                                      : walk_table(w, e & address_mask(), level - 1, wide, at, f);
        if (!ok) {
            return false;
        }
    }
    return true;
}

static bool walk_pae(Walk *w)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t e = 0;
        address_space_ld(cpu_as(w->cpu), (w->cpu->cr3 & 0xffffffe0) + i * 8, MEM_ATTRS_NONE, 8, &e);
        if (e & 1 && !walk_table(w, e & address_mask(), 2, true, (uint64_t)i << 30, 7)) {
            return false;
        }
    }
    return true;
}

static void walk(Walk *w)
{
    CPUX86 *c = w->cpu;
    bool whole;
    if (!(c->cr0 & 0x80000000u)) {
        hmp_printf(w->h, "PG disabled\n");
        return;
    }
    if (c->hflags & HF_LMA) {
        whole = walk_table(w, c->cr3 & address_mask(), c->cr4 & 0x1000 ? 5 : 4, true, 0, 7);
    } else if (c->cr4 & 0x20) {
        whole = walk_pae(w);
    } else {
        whole = walk_table(w, c->cr3 & 0xfffff000, 2, false, 0, 7);
    }
    if (!whole) {
        hmp_printf(w->h, "(more is not shown)\n");
    }
}

static bool tlb_page(Walk *w, uint64_t linear, uint64_t e, uint64_t size, unsigned flags)
{
    uint64_t phys = e & address_mask() & ~(size - 1);
    hmp_printf(w->h, "%016" PRIx64 ": %016" PRIx64 " %c%c%c%c%c%c%c%c%c\n", linear, phys,
               e >> 63 ? 'X' : '-', e & 0x100 ? 'G' : '-', size > 4096 ? 'P' : '-',
               e & 0x40 ? 'D' : '-', e & 0x20 ? 'A' : '-', e & 0x10 ? 'C' : '-',
               e & 0x08 ? 'T' : '-', e & 0x04 ? 'U' : '-', e & 0x02 ? 'W' : '-');
    return ++w->lines < MAX_LINES;
}

static void print_run(Walk *w)
{
    if (w->open) {
        int width = w->cpu->hflags & HF_LMA ? 16 : 8;
        hmp_printf(w->h, "%0*" PRIx64 "-%0*" PRIx64 " %0*" PRIx64 " %cr%c\n", width, w->start,
                   width, w->end, width, w->end - w->start, w->flags & 4 ? 'u' : '-',
                   w->flags & 2 ? 'w' : '-');
        w->lines++;
    }
    w->open = false;
}

static bool mem_page(Walk *w, uint64_t linear, uint64_t e, uint64_t size, unsigned flags)
{
    flags &= 6;
    if (w->open && w->end == linear && w->flags == flags) {
        w->end += size;
        return true;
    }
    print_run(w);
    w->open = true;
    w->start = linear;
    w->end = linear + size;
    w->flags = flags;
    return w->lines < MAX_LINES;
}

static void do_tlb(Hmp *h, CPUX86 *cpu, void *opaque)
{
    Walk w = {.h = h, .cpu = cpu, .page = tlb_page};
    walk(&w);
}

static void do_mem(Hmp *h, CPUX86 *cpu, void *opaque)
{
    Walk w = {.h = h, .cpu = cpu, .page = mem_page};
    walk(&w);
    print_run(&w);
}

bool hmp_info_tlb(Hmp *h, Error **errp)
{
    return hmp_with_cpu(h, do_tlb, NULL, errp);
}

bool hmp_info_mem(Hmp *h, Error **errp)
{
    return hmp_with_cpu(h, do_mem, NULL, errp);
}
