/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What system mode's sequences contain besides single instructions. */
#include "tests/fuzz/fuzz-system.h"

#include "tests/fuzz/fuzz-flags.h"
#include "tests/fuzz/fuzz-units.h"
#include "tests/unit/x86-guest.h"

#include <string.h>

/* ---- single instructions ---- */

/* Time, chance, what waits for interrupts, state that engines may keep differently. */
static bool never(unsigned op)
{
    switch (op) {
    case OP_INVALID:
    case OP_RDTSC:
    case OP_RDTSCP:
    case OP_RDPMC:
    case OP_RDRAND:
    case OP_RDSEED:
    case OP_HLT:
    case OP_MWAIT:
    case OP_MONITOR:
    case OP_RDMSR:
    case OP_WRMSR:
    case OP_FXSAVE:
    case OP_FXRSTOR:
    case OP_XSAVE:
    case OP_XSAVEOPT:
    case OP_XSAVEC:
    case OP_XSAVES:
    case OP_XRSTOR:
    case OP_XRSTORS:
    case OP_POPF:
    case OP_SYSCALL: /* by STAR as it was reset, to segments from where no interrupt returns */
    case OP_SYSRET:
        return true;
    default:
        return false;
    }
}

/* What mostly ends a sequence early. */
static bool seldom(unsigned op)
{
    switch (op) {
    case OP_LGDT:
    case OP_LIDT:
    case OP_LMSW:
    case OP_MOV_TO_CR:
    case OP_MOV_TO_DR:
    case OP_LTR:
    case OP_LLDT:
    case OP_XSETBV:
    case OP_SYSENTER:
    case OP_SYSEXIT:
    case OP_JMP_IND:
    case OP_CALL_IND:
    case OP_RET:
    case OP_RET_FAR:
    case OP_JMP_FAR:
    case OP_CALL_FAR:
    case OP_IRET:
    case OP_SWAPGS:
        return true;
    default:
        return false;
    }
}

bool system_allowed(Gen *g, const DecodedInsn *in)
{
    /* Interrupts that come at any time need their stack and, in long mode, their tables. */
    if (in->op == OP_INT && (in->imm & 0xff) == 2) {
        return false;
    }
    if (g->opt.ring0_paged && g->opt.bits == 64 && (in->op == OP_LIDT || in->op == OP_LGDT)) {
        return false;
    }
    if (g->opt.no_stale &&
        in->op == OP_CLZERO) { /* at RAX, which may be the page table's address */
        return false;
    }
    if (never(in->op) || (seldom(in->op) && rng(&g->rng, 12))) {
        return false;
    }
    return gen_exact(g, in);
}

/* ---- units ---- */

/* The linear address, and offset, of what is emitted next. */
static uint64_t here(const Gen *g)
{
    return g->seq->start + g->len;
}

static void mov_ax(Gen *g, uint16_t v)
{
    gen_mov(g, R_RAX, v);
}

static void load_segment(Gen *g)
{
    static const uint16_t selectors[] = {SEL_DATA32,
                                         SEL_DATA16,
                                         SEL_UDATA32,
                                         SEL_SMALL,
                                         SEL_READ_ONLY,
                                         SEL_EXPAND_DOWN,
                                         SEL_ABSENT,
                                         SEL_EXEC_ONLY,
                                         SEL_CODE32,
                                         0,
                                         3};
    static const uint8_t segs[] = {SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_FS, SEG_GS, SEG_SS};
    uint16_t v = selectors[rng(&g->rng, G_N_ELEMENTS(selectors))];
    unsigned seg = segs[rng(&g->rng, sizeof(segs))];
    if (!g->opt.protected_mode) { /* mostly so that offsets stay good */
        v = rng(&g->rng, 3) ? 0 : (uint16_t)(rng(&g->rng, 0x40));
    } else if (seg == SEG_SS && rng(&g->rng, 4)) {
        v = SEL_DATA32;
    }
    uint8_t mov[2] = {0x8e, (uint8_t)(0xc0 | seg << 3)};
    mov_ax(g, v);
    gen_emit(g, mov, 2);
    if (seg != SEG_FS && seg != SEG_GS && rng(&g->rng, 2)) { /* and back */
        mov_ax(g, g->opt.protected_mode ? SEL_DATA32 : 0);
        gen_emit(g, mov, 2);
    }
}

static void push_label(Gen *g, unsigned more)
{
    if (g->opt.bits == 64) {
        static const uint8_t lea[7] = {0x48, 0x8d, 0x05};
        gen_emit(g, lea, 7);
        gen_label(g, g->len - 4, 4);
        g->labels[g->n_labels - 1].after = (uint8_t)more;
        gen_emit(g, "\x50", 1);
        return;
    }
    /* call over nothing leaves the address; then it is moved on */
    static const uint8_t call32[] = {0xe8, 0, 0, 0, 0}, call16[] = {0xe8, 0, 0};
    unsigned n = g->opt.bits == 32 ? 5 : 3;
    gen_emit(g, n == 5 ? call32 : call16, n);
}

/* Behind push_label() of 16- and 32-bit code: what it pushed shall lead behind `n` more bytes. */
static void add_to_top(Gen *g, uint8_t n)
{
    if (g->opt.bits == 32) { /* add dword [esp], n */
        uint8_t add[] = {0x83, 0x04, 0x24, n};
        gen_emit(g, add, 4);
    } else { /* mov bp,sp; add word [bp], n */
        uint8_t add[] = {0x83, 0x46, 0, n};
        gen_emit(g, "\x89\xe5", 2);
        gen_emit(g, add, 4);
    }
}

static void fresh_stack(Gen *g)
{
    gen_mov(g, R_RSP, g->opt.at.rw + 0x800 + (rng(&g->rng, 0x1000) & ~7u));
    g->pointers |= 1u << R_RSP;
}

/* push cs; push target; far return. */
static void far_return(Gen *g)
{
    fresh_stack(g);
    if (g->opt.bits == 64) {
        static const uint8_t mov_cs[] = {0x8c, 0xc8};
        gen_emit(g, mov_cs, 2);
        gen_emit(g, "\x50", 1);
        push_label(g, 0);
        gen_emit(g, "\x48\xcb", 2);
        return;
    }
    gen_emit(g, "\x0e", 1);
    push_label(g, 0);
    add_to_top(g, g->opt.bits == 32 ? 5 : 7);
    gen_emit(g, "\xcb", 1);
}

static void interrupt_return(Gen *g)
{
    uint32_t flags = (uint32_t)(rng64(&g->rng) & FLAGS_ARITH) | FLAG_ONE;
    if (rng(&g->rng, 8) == 0) {
        flags |= (uint32_t)rng64(&g->rng) & (FLAG_DF | FLAG_AC | FLAG_ID | FLAG_IF | FLAG_TF);
    }
    fresh_stack(g);
    if (g->opt.bits == 64) {
        gen_mov(g, R_RCX, g->opt.at.rw + 0x1000);
        gen_mov(g, R_RDX, flags);
        gen_emit(g, "\x8c\xd0", 2); /* mov eax,ss; push; push rcx; push rdx */
        gen_emit(g, "\x50", 1);
        gen_emit(g, "\x51", 1);
        gen_emit(g, "\x52", 1);
        gen_emit(g, "\x8c\xc8", 2);
        gen_emit(g, "\x50", 1);
        push_label(g, 0);
        gen_emit(g, "\x48\xcf", 2);
    } else {
        gen_mov(g, R_RDX, flags);
        gen_emit(g, "\x52", 1);
        gen_emit(g, "\x0e", 1);
        push_label(g, 0);
        add_to_top(g, g->opt.bits == 32 ? 5 : 7);
        gen_emit(g, "\xcf", 1);
    }
    g->undefined = 0;
}

static void interrupt(Gen *g)
{
    static const uint8_t vectors[] = {3, 4, 0x20, 0x21, 0x80, 0x81, 1};
    uint8_t insn[2] = {0xcd, vectors[rng(&g->rng, sizeof(vectors))]};
    if (rng(&g->rng, 4)) {
        fresh_stack(g);
    }
    gen_emit(g, insn, 2);
}

/* The code changes the instruction after next, or the one after that. */
static void modify(Gen *g)
{
    static const uint8_t ops[] = {0xb0, 0x04, 0x0c, 0x24, 0x2c, 0x34, 0x3c};
    unsigned filler = rng(&g->rng, 3);
    bool opcode = rng(&g->rng, 2);
    unsigned store = g->len;
    uint8_t v = opcode ? ops[rng(&g->rng, sizeof(ops))] : (uint8_t)rng64(&g->rng);
    gen_store(g, here(g), v, 1);
    unsigned at = g->len - 1 - (g->opt.bits == 16 ? 2 : 4); /* its address */
    for (unsigned i = 0; i < filler; i++) {
        gen_emit(g, g->opt.bits == 64 ? "\x48\xff\xc2" : "\x42\x42\x42", 3);
    }
    uint8_t insn[2] = {ops[rng(&g->rng, sizeof(ops))], 1};
    uint64_t target = here(g) + (opcode ? 0 : 1);
    gen_emit(g, insn, 2);
    memcpy(g->code + at, &target, g->opt.bits == 16 ? 2 : 4);
    (void)store;
    g->undefined |= FLAG_AF;
}

/* Write protection of a data page comes or goes; all of a table is loaded again. */
static void paging(Gen *g)
{
    uint64_t page = g->opt.at.rw + 0x1000;
    uint64_t entry = AT_PT + (page >> 12) * (g->opt.bits == 64 ? 8 : 4);
    gen_absolute(g, "\x83", 1, 6, entry, 2, 1, 4); /* xor dword [entry], 2 */
    g->undefined = FLAG_AF;
    if (rng(&g->rng, 2)) {
        gen_absolute(g, "\x0f\x01", 2, 7, page, 0, 0, g->opt.bits == 16 ? 2 : 4); /* invlpg */
    } else {
        gen_emit(g, "\x0f\x20\xd8", 3);
        gen_emit(g, "\x0f\x22\xd8", 3);
    }
}

static void model_specific(Gen *g)
{
    static const uint32_t msrs[] = {0xc0000080, 0xc0000081, 0xc0000082, 0xc0000084, 0xc0000100,
                                    0xc0000101, 0xc0000102, 0x174,      0x175,      0x176,
                                    0x277,      0xc0000103, 0x1b,       0xdeadbeef};
    gen_mov(g, R_RCX, msrs[rng(&g->rng, G_N_ELEMENTS(msrs))]);
    gen_emit(g, "\x0f\x32", 2);
    if (rng(&g->rng, 2)) {
        gen_emit(g, "\x0f\x30", 2);
    }
}

static void set_flags(Gen *g)
{
    uint32_t v = (uint32_t)rng64(&g->rng) & FLAGS_ARITH;
    if (rng(&g->rng, 4) == 0) {
        v |= (uint32_t)rng64(&g->rng) &
             (FLAG_IOPL | FLAG_IF | FLAG_NT | FLAG_ID | FLAG_DF | FLAG_AC);
    }
    if (rng(&g->rng, 16) == 0) {
        v |= FLAG_TF;
    }
    fresh_stack(g);
    gen_mov(g, R_RDX, v);
    gen_emit(g, "\x52", 1);
    gen_emit(g, "\x9d", 1);
    g->undefined = 0;
}

void system_unit(Gen *g)
{
    Rng *r = &g->rng;
    gen_unit(g);
    if (g->opt.ring0_paged && rng(r, 4) == 0) {
        system_paging(g);
        return;
    }
    switch (rng(r, 20)) {
    case 0:
    case 1:
    case 2:
        load_segment(g);
        break;
    case 3:
    case 4:
        if (g->n_labels < GEN_LABELS) {
            far_return(g);
        }
        break;
    case 5:
    case 6:
        if (g->n_labels < GEN_LABELS) {
            interrupt_return(g);
        }
        break;
    case 7:
    case 8:
        interrupt(g);
        break;
    case 9 ... 11:
        modify(g);
        break;
    case 12:
    case 13:
        system_code_changes(g);
        break;
    case 14:
    case 15:
        if (g->opt.ring0_paged) {
            system_paging(g);
        } else if (!g->opt.no_stale) {
            paging(g);
        }
        break;
    case 16:
        model_specific(g);
        break;
    default:
        set_flags(g);
        break;
    }
}
