/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `info tlb` and `info mem`: the whole page tables, in QEMU's layout. */
#include "target/i386/paging.h"

#include <inttypes.h>

#define PTE_P (1ull << 0)
#define PTE_W (1ull << 1)
#define PTE_U (1ull << 2)
#define PTE_PS (1ull << 7)
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull
/* Page tables that contain themselves describe any amount of memory: stop somewhere. */
#define MAX_TABLES 65536u

typedef struct Mapping {
    uint64_t linear, size, entry, phys;
    uint64_t rights; /* PTE_W and PTE_U of all levels */
} Mapping;

typedef struct Visitor {
    CPUX86 *cpu;
    GString *out;
    void (*leaf)(struct Visitor *v, const Mapping *m);
    unsigned tables;
    unsigned top_bit; /* the sign bit of linear addresses; 0: none */
    /* info mem: the run being collected */
    uint64_t start, end, rights;
    bool open;
} Visitor;

static bool read_table(Visitor *v, hwaddr addr, void *buf, size_t len)
{
    CPUX86 *cpu = v->cpu;

    if (v->tables++ >= MAX_TABLES) {
        return false;
    }
    if (cpu->a20_masked) {
        addr &= ~(1ull << 20);
    }
    return address_space_read(cpu_as(cpu), addr, cpu_attrs(cpu), buf, len) == MEM_OK;
}

static uint64_t sign_extend(const Visitor *v, uint64_t linear)
{
    bool high = v->top_bit && (linear >> v->top_bit & 1);

    return high ? linear | ~((2ull << v->top_bit) - 1) : linear;
}

static void visit_8(Visitor *v, hwaddr table, unsigned level, uint64_t linear, uint64_t rights)
{
    uint64_t entries[512];
    unsigned shift = 12 + 9 * (level - 1);

    if (!read_table(v, table, entries, sizeof(entries))) {
        return;
    }
    for (unsigned i = 0; i < 512; i++) {
        uint64_t e = entries[i], at = linear | (uint64_t)i << shift;

        if (!(e & PTE_P)) {
            continue;
        }
        if (level == 1 || (level <= 3 && (e & PTE_PS))) {
            Mapping m = {.linear = sign_extend(v, at),
                         .size = 1ull << shift,
                         .entry = e,
                         .phys = e & PTE_ADDR & ~((1ull << shift) - 1),
                         .rights = rights & e};
            v->leaf(v, &m);
        } else {
            visit_8(v, e & PTE_ADDR, level - 1, at, rights & e);
        }
    }
}

static void visit_pae(Visitor *v)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t e = v->cpu->pdpte[i];

        if (e & PTE_P) {
            visit_8(v, e & PTE_ADDR, 2, (uint64_t)i << 30, PTE_W | PTE_U);
        }
    }
}

static void visit_32(Visitor *v)
{
    uint32_t directory[1024], table[1024];

    if (!read_table(v, v->cpu->cr3 & 0xfffff000, directory, sizeof(directory))) {
        return;
    }
    for (unsigned i = 0; i < 1024; i++) {
        uint32_t pde = directory[i];

        if (!(pde & PTE_P)) {
            continue;
        }
        if ((pde & PTE_PS) && (v->cpu->cr4 & CR4_PSE)) {
            Mapping m = {.linear = (uint64_t)i << 22,
                         .size = 4 * MiB,
                         .entry = pde,
                         .phys = (pde & 0xffc00000) | (uint64_t)(pde & 0x1fe000) << 19,
                         .rights = pde};
            v->leaf(v, &m);
            continue;
        }
        if (!read_table(v, pde & 0xfffff000, table, sizeof(table))) {
            continue;
        }
        for (unsigned j = 0; j < 1024; j++) {
            if (table[j] & PTE_P) {
                Mapping m = {.linear = (uint64_t)i << 22 | j << 12,
                             .size = 4 * KiB,
                             .entry = table[j],
                             .phys = table[j] & 0xfffff000,
                             .rights = pde & table[j]};
                v->leaf(v, &m);
            }
        }
    }
}

static void visit_all(Visitor *v)
{
    CPUX86 *cpu = v->cpu;

    if (!(cpu->cr0 & CR0_PG)) {
        g_string_append(v->out, "PG disabled\n");
        return;
    }
    if (cpu->efer & EFER_LMA) {
        unsigned levels = cpu->cr4 & CR4_LA57 ? 5 : 4;

        v->top_bit = levels == 5 ? 56 : 47;
        visit_8(v, cpu->cr3 & PTE_ADDR, levels, 0, PTE_W | PTE_U);
    } else if (cpu->cr4 & CR4_PAE) {
        visit_pae(v);
    } else {
        visit_32(v);
    }
}

static void note_limit(const Visitor *v)
{
    if (v->tables > MAX_TABLES) {
        g_string_append_printf(v->out, "(stopped after %u page tables)\n", MAX_TABLES);
    }
}

static void print_entry(Visitor *v, const Mapping *m)
{
    static const struct {
        uint64_t bit;
        char c;
    } flags[] = {{PTE_NX, 'X'},  {1u << 8, 'G'}, {PTE_PS, 'P'}, {1u << 6, 'D'}, {1u << 5, 'A'},
                 {1u << 4, 'C'}, {1u << 3, 'T'}, {PTE_U, 'U'},  {PTE_W, 'W'}};
    bool large = m->size > 4 * KiB;

    g_string_append_printf(v->out, "%016" PRIx64 ": %016" PRIx64 " ", m->linear, m->phys);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        /* Bit 7 of a 4 KiB entry is its PAT bit. */
        bool on = (m->entry & flags[i].bit) && (flags[i].bit != PTE_PS || large);

        g_string_append_c(v->out, on ? flags[i].c : '-');
    }
    g_string_append_c(v->out, '\n');
}

static void flush_run(Visitor *v)
{
    if (v->open) {
        g_string_append_printf(v->out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n",
                               v->start, v->end, v->end - v->start, v->rights & PTE_U ? 'u' : '-',
                               v->rights & PTE_W ? 'w' : '-');
    }
    v->open = false;
}

static void extend_run(Visitor *v, const Mapping *m)
{
    uint64_t rights = m->rights & (PTE_U | PTE_W);

    if (!v->open || v->end != m->linear || v->rights != rights) {
        flush_run(v);
        v->open = true;
        v->start = m->linear;
        v->rights = rights;
    }
    v->end = m->linear + m->size;
}

void x86_print_tlb(CPUX86 *cpu, GString *out)
{
    Visitor v = {.cpu = cpu, .out = out, .leaf = print_entry};

    visit_all(&v);
    note_limit(&v);
}

void x86_print_mem(CPUX86 *cpu, GString *out)
{
    Visitor v = {.cpu = cpu, .out = out, .leaf = extend_run};

    visit_all(&v);
    flush_run(&v);
    note_limit(&v);
}
