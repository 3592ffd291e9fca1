/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `info registers`, in QEMU's layout. */
#include "target/i386/cpu.h"

#include <inttypes.h>

#define P g_string_append_printf

static bool wide(const CPUX86 *cpu)
{
    return cpu->hflags & HF_CS64;
}

static void print_general(const CPUX86 *cpu, GString *out)
{
    static const char *const names[] = {"AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP"};
    static const uint8_t order[] = {R_RAX, R_RBX, R_RCX, R_RDX, R_RSI, R_RDI, R_RBP, R_RSP};

    for (unsigned i = 0; i < 8; i++) {
        char end = i % 4 == 3 ? '\n' : ' ';

        if (wide(cpu)) {
            P(out, "R%s=%016" PRIx64 "%c", names[i], cpu->regs[order[i]], end);
        } else {
            P(out, "E%s=%08x%c", names[i], (uint32_t)cpu->regs[order[i]], end);
        }
    }
    for (unsigned i = 8; wide(cpu) && i < 16; i++) {
        P(out, "R%-2u=%016" PRIx64 "%c", i, cpu->regs[i], i % 4 == 3 ? '\n' : ' ');
    }
}

static void print_rip(const CPUX86 *cpu, GString *out)
{
    static const struct {
        uint32_t bit;
        char c;
    } flags[] = {{FLAG_DF, 'D'}, {FLAG_OF, 'O'}, {FLAG_SF, 'S'}, {FLAG_ZF, 'Z'},
                 {FLAG_AF, 'A'}, {FLAG_PF, 'P'}, {FLAG_CF, 'C'}};
    char text[8] = "-------";

    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (cpu->rflags & flags[i].bit) {
            text[i] = flags[i].c;
        }
    }
    if (wide(cpu)) {
        P(out, "RIP=%016" PRIx64 " RFL=%08x", cpu->rip, (uint32_t)cpu->rflags);
    } else {
        P(out, "EIP=%08x EFL=%08x", (uint32_t)cpu->rip, (uint32_t)cpu->rflags);
    }
    P(out, " [%s] CPL=%u II=%d A20=%d SMM=%d HLT=%d\n", text, cpu_cpl(cpu),
      !!(cpu->hflags & HF_INHIBIT), !cpu->a20_masked, cpu->smm, cpu->halted);
}

static void print_type(const CPUX86 *cpu, const Segment *s, GString *out)
{
    static const char *const system[2][16] = {
        {"Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate", "IntGate16",
         "TrapGate16", "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved",
         "IntGate32", "TrapGate32"},
        {"<hiword>", "Reserved", "LDT", "Reserved", "Reserved", "Reserved", "Reserved", "Reserved",
         "Reserved", "TSS64-avl", "Reserved", "TSS64-busy", "CallGate64", "Reserved", "IntGate64",
         "TrapGate64"},
    };
    unsigned type = s->attr & SEG_TYPE_MASK;

    P(out, " DPL=%u ", (s->attr >> SEG_DPL_SHIFT) & 3);
    if (!(s->attr & SEG_S)) {
        g_string_append(out, system[!!(cpu->hflags & HF_LMA)][type]);
        return;
    }
    if (type & SEG_TYPE_CODE) {
        P(out, "%s [%c%c",
          s->attr & SEG_L    ? "CS64"
          : s->attr & SEG_DB ? "CS32"
                             : "CS16",
          type & SEG_TYPE_DC ? 'C' : '-', type & SEG_TYPE_RW ? 'R' : '-');
    } else {
        P(out, "%s [%c%c", s->attr & SEG_DB || (cpu->hflags & HF_LMA) ? "DS  " : "DS16",
          type & SEG_TYPE_DC ? 'E' : '-', type & SEG_TYPE_RW ? 'W' : '-');
    }
    P(out, "%c]", type & SEG_TYPE_ACCESSED ? 'A' : '-');
}

static void print_segment(const CPUX86 *cpu, const char *name, const Segment *s, GString *out)
{
    uint32_t attr = (uint32_t)(s->attr & 0xff) << 8 | (uint32_t)(s->attr & 0xf00) << 12;

    if (s->attr & SEG_UNUSABLE) {
        attr &= ~(uint32_t)(SEG_P << 8);
    }
    if (wide(cpu)) {
        P(out, "%-3.3s=%04x %016" PRIx64 " %08x %08x", name, s->selector, s->base, s->limit, attr);
    } else {
        P(out, "%-3.3s=%04x %08x %08x %08x", name, s->selector, (uint32_t)s->base, s->limit, attr);
    }
    if ((cpu->hflags & HF_PE) && (attr & SEG_P << 8)) {
        print_type(cpu, s, out);
    }
    g_string_append_c(out, '\n');
}

static void print_system(const CPUX86 *cpu, GString *out)
{
    static const char *const names[] = {"ES ", "CS ", "SS ", "DS ", "FS ", "GS "};

    for (unsigned i = 0; i < SEG_COUNT; i++) {
        print_segment(cpu, names[i], &cpu->segs[i], out);
    }
    print_segment(cpu, "LDT", &cpu->ldtr, out);
    print_segment(cpu, "TR ", &cpu->tr, out);
    if (wide(cpu)) {
        P(out, "GDT=     %016" PRIx64 " %08x\nIDT=     %016" PRIx64 " %08x\n", cpu->gdtr.base,
          cpu->gdtr.limit, cpu->idtr.base, cpu->idtr.limit);
        P(out, "CR0=%08x CR2=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%08x\n", (uint32_t)cpu->cr0,
          cpu->cr2, cpu->cr3, (uint32_t)cpu->cr4);
    } else {
        P(out, "GDT=     %08x %08x\nIDT=     %08x %08x\n", (uint32_t)cpu->gdtr.base,
          cpu->gdtr.limit, (uint32_t)cpu->idtr.base, cpu->idtr.limit);
        P(out, "CR0=%08x CR2=%08x CR3=%08x CR4=%08x\n", (uint32_t)cpu->cr0, (uint32_t)cpu->cr2,
          (uint32_t)cpu->cr3, (uint32_t)cpu->cr4);
    }
    for (unsigned i = 0; i < 4; i++) {
        P(out, "DR%u=%016" PRIx64 " ", i, cpu->dr[i]);
    }
    P(out, "\nDR6=%016" PRIx64 " DR7=%016" PRIx64 "\nEFER=%016" PRIx64 "\n", cpu->dr[6], cpu->dr[7],
      cpu->efer);
}

static void print_fpu(const CPUX86 *cpu, GString *out)
{
    const X87 *f = &cpu->x87;
    unsigned vectors = wide(cpu) ? 16 : 8;

    P(out, "FCW=%04x FSW=%04x [ST=%d] FTW=%02x MXCSR=%08x\n", f->cw,
      (f->sw & ~0x3800) | (f->top & 7) << 11, f->top, (uint8_t)~f->empty, cpu->mxcsr);
    for (unsigned i = 0; i < 8; i++) {
        P(out, "FPR%u=%016" PRIx64 " %04x%c", i, f->r[i].mant, f->r[i].exp, i % 2 ? '\n' : ' ');
    }
    for (unsigned i = 0; i < vectors; i++) {
        const Vec *v = &cpu->vec[i];

        if (cpu->hflags & HF_AVX_OK) {
            P(out, "YMM%02u=%016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 "\n", i,
              v->u64[3], v->u64[2], v->u64[1], v->u64[0]);
        } else {
            P(out, "XMM%02u=%016" PRIx64 " %016" PRIx64 "%c", i, v->u64[1], v->u64[0],
              i % 2 ? '\n' : ' ');
        }
    }
}

void cpu_print(const CPUX86 *cpu, GString *out, bool fpu)
{
    print_general(cpu, out);
    print_rip(cpu, out);
    print_system(cpu, out);
    if (fpu) {
        print_fpu(cpu, out);
    }
}
