/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/fuzz/fuzz-engine.h"

#include "accel/tcg/icount.h"
#include "target/i386/model.h"
#include "util/bits.h"

#include <cpuid.h>
#include <string.h>

/* Guest-physical addresses. */
enum {
    AT_GDT = 0x1000,
    AT_IDT = 0x2000,
    AT_TSS = 0x3000,
    AT_HANDLERS = 0x4000,
    AT_STACK = 0x8000,
    AT_PML4 = 0x10000,
    AT_PDPT = 0x11000,
    AT_PD = 0x12000,
    AT_PT = 0x13000,
    AT_KERNEL_PDPT = 0x14000,
    AT_KERNEL_PD = 0x15000,
    AT_RW = 0x200000,
    AT_RO = AT_RW + FZ_RW_SIZE,
    AT_AREA = 0x208000,
    AT_CODE = 0x280000,
    RAM = 4 * MiB,
};
enum { CS0 = 0x10, SS0 = 0x18, SS3 = 0x2b, CS3 = 0x33, TR = 0x40 };

/* The tables lie where user mode has nothing, as an operating system does it. */
#define KERNEL 0xffffffff80000000ull

#define USER 4u
#define WRITE 2u
#define NO_EXEC ((uint64_t)1 << 63)

static void put64(Engine *e, uint64_t at, uint64_t v)
{
    st_le64(e->h->ram->host + at, v);
}

static void map_user(Engine *e, uint64_t linear, uint64_t phys, uint64_t size, uint64_t bits)
{
    for (uint64_t o = 0; o < size; o += 4096) {
        put64(e, AT_PT + ((linear + o) >> 12 & 511) * 8, (phys + o) | bits | USER | 0x61);
    }
}

static void make_tables(Engine *e)
{
    const uint64_t ptr = 0x67;
    put64(e, AT_PML4, AT_PDPT | ptr);
    put64(e, AT_PDPT, AT_PD | ptr);
    put64(e, AT_PML4 + 511 * 8, AT_KERNEL_PDPT | ptr);
    put64(e, AT_KERNEL_PDPT + 510 * 8, AT_KERNEL_PD | ptr);
    put64(e, AT_KERNEL_PD, 0xe3); /* the first 2 MiB, supervisor's */
    put64(e, AT_PD + (FZ_RW >> 21 & 511) * 8, AT_PT | ptr);
    map_user(e, FZ_RW, AT_RW, FZ_RW_SIZE, WRITE | NO_EXEC);
    map_user(e, FZ_RO, AT_RO, FZ_RO_SIZE, NO_EXEC);
    map_user(e, FZ_AREA, AT_AREA, FZ_AREA_SIZE, WRITE | NO_EXEC);
    map_user(e, FZ_CODE, AT_CODE, FZ_SLOTS * FZ_SLOT, 0);
    put64(e, AT_GDT + CS0, 0x00af9b000000ffff);
    put64(e, AT_GDT + SS0, 0x00cf93000000ffff);
    put64(e, AT_GDT + (SS3 & ~3), 0x00cff3000000ffff);
    put64(e, AT_GDT + (CS3 & ~3), 0x00affb000000ffff);
    put64(e, AT_TSS + 4, KERNEL + AT_STACK);
    st_le16(e->h->ram->host + AT_TSS + 102, 0x68); /* no port is allowed */
    for (unsigned v = 0; v < 256; v++) {
        uint64_t handler = KERNEL + AT_HANDLERS + v * 4, dpl = v == 3 || v == 4 ? 3 : 0;
        st_le32(e->h->ram->host + AT_HANDLERS + v * 4, 0xfdebf4); /* hlt; jmp back */
        put64(e, AT_IDT + v * 16,
              (handler & 0xffff) | CS0 << 16 | (0x8e00 | dpl << 13) << 32 |
                  (handler & 0xffff0000) << 32);
        put64(e, AT_IDT + v * 16 + 8, handler >> 32);
    }
}

/* The words that user mode's instructions depend on, from the host. */
void fz_limit_features(CpuConfig *c)
{
    uint32_t a, b, cx, d, host[FEATURE_WORDS];
    memset(host, 0xff, sizeof(host));
    __cpuid(1, a, b, cx, d);
    host[FEAT_1_EDX] = d;
    host[FEAT_1_ECX] = cx;
    __cpuid_count(7, 0, a, b, cx, d);
    host[FEAT_7_0_EBX] = b;
    host[FEAT_7_0_ECX] = cx;
    host[FEAT_7_0_EDX] = d;
    __cpuid_count(7, 1, a, b, cx, d);
    host[FEAT_7_1_EAX] = a;
    __cpuid(0x80000001, a, b, cx, d);
    host[FEAT_80000001_EDX] = d | 1u << 11;
    host[FEAT_80000001_ECX] = cx;
    __cpuid_count(13, 1, a, b, cx, d);
    host[FEAT_XSAVE] = a;
    for (unsigned i = 0; i < FEATURE_WORDS; i++) {
        c->features[i] &= host[i];
    }
}

static void set_segment(Segment *s, uint16_t selector, uint16_t attr)
{
    *s = (Segment){.selector = selector, .attr = attr, .limit = UINT32_MAX};
}

/* Everything that a sequence of user mode can't change. */
static void enter_long_mode(Engine *e)
{
    CPUX86 *cpu = e->h->cpu;
    cpu_reset(cpu, true);
    cpu->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_ET | CR0_WP | CR0_MP | CR0_AM;
    cpu->cr3 = AT_PML4;
    cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    if (cpu_has(cpu, FEAT_1_ECX, 1u << 26)) {
        cpu->cr4 |= CR4_OSXSAVE;
        cpu->xcr0 = cpu_has(cpu, FEAT_1_ECX, 1u << 28) ? 7 : 3;
    }
    if (cpu_has(cpu, FEAT_7_0_EBX, 1)) {
        cpu->cr4 |= CR4_FSGSBASE;
    }
    cpu->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    cpu->gdtr = (TableReg){.base = KERNEL + AT_GDT, .limit = 0x4f};
    cpu->idtr = (TableReg){.base = KERNEL + AT_IDT, .limit = 0xfff};
    cpu->tr = (Segment){.selector = TR, .base = KERNEL + AT_TSS, .limit = 0x67, .attr = SEG_P | 11};
    cpu->ldtr.attr = SEG_UNUSABLE;
}

void fz_set_heat(const Accel *a, uint32_t heat)
{
    Tcg *t = a->data;
    if (t->heat_limit != UINT32_MAX) {
        t->heat_limit = heat;
    }
}

uint64_t fz_executed(const Accel *a)
{
    const Tcg *t = a->data;
    return t->icount ? icount_executed(t->icount) : 0;
}

Engine *engine_new(const char *name, Error **errp)
{
    Harness *h = harness_new_engine(RAM, 16, name, errp);
    if (!h) {
        return NULL;
    }
    Engine *e = g_new0(Engine, 1);
    e->name = name;
    e->h = h;
    fz_limit_features(&h->cpu->config);
    make_tables(e);
    enter_long_mode(e);
    return e;
}

void engine_free(Engine *e)
{
    harness_free(e->h);
    g_free(e);
}

const uint32_t *engine_features(const Engine *e)
{
    return e->h->cpu->config.features;
}

void engine_load(Engine *e, const FzBatch *b)
{
    harness_write(e->h, AT_CODE, b->code, sizeof(b->code));
    memcpy(e->h->ram->host + AT_RO, b->ro, FZ_RO_SIZE);
}

/* ---- state ---- */

void fz_load_vectors(CPUX86 *cpu, const uint8_t *a)
{
    X87 *f = &cpu->x87;
    f->cw = ld_le16(a);
    uint16_t sw = ld_le16(a + 2);
    f->sw = sw & 0xc7ff;
    f->top = sw >> 11 & 7;
    f->empty = (uint8_t)~a[4];
    f->fop = f->fcs = f->fds = 0;
    f->fip = f->fdp = 0;
    f->pending = sw & ~f->cw & 0x3f;
    for (unsigned i = 0; i < 8; i++) {
        Float80 *r = &f->r[(f->top + i) & 7];
        r->mant = ld_le64(a + 32 + 16 * i);
        r->exp = ld_le16(a + 40 + 16 * i);
    }
    cpu->mxcsr = ld_le32(a + 24);
    for (unsigned i = 0; i < 16; i++) {
        memset(&cpu->vec[i], 0, sizeof(Vec));
        memcpy(cpu->vec[i].u8, a + 160 + 16 * i, 16);
        if (cpu->xcr0 & 4) {
            memcpy(cpu->vec[i].u8 + 16, a + 576 + 16 * i, 16);
        }
    }
}

void fz_save_vectors(const CPUX86 *cpu, uint8_t *a)
{
    const X87 *f = &cpu->x87;
    memset(a, 0, FZ_XSAVE_SIZE);
    st_le16(a, f->cw);
    st_le16(a + 2, (uint16_t)(f->sw | f->top << 11));
    a[4] = (uint8_t)~f->empty;
    for (unsigned i = 0; i < 8; i++) {
        const Float80 *r = &f->r[(f->top + i) & 7];
        st_le64(a + 32 + 16 * i, r->mant);
        st_le16(a + 40 + 16 * i, r->exp);
    }
    st_le32(a + 24, cpu->mxcsr);
    for (unsigned i = 0; i < 16; i++) {
        memcpy(a + 160 + 16 * i, cpu->vec[i].u8, 16);
        if (cpu->xcr0 & 4) {
            memcpy(a + 576 + 16 * i, cpu->vec[i].u8 + 16, 16);
        }
    }
}

static void go_to_user(CPUX86 *cpu, uint64_t rip, uint64_t rflags)
{
    const uint16_t data = SEG_P | SEG_S | SEG_TYPE_RW | SEG_TYPE_ACCESSED | 3 << SEG_DPL_SHIFT;
    set_segment(&cpu->segs[SEG_CS], CS3, data | SEG_TYPE_CODE | SEG_L | SEG_G);
    set_segment(&cpu->segs[SEG_SS], SS3, data | SEG_DB | SEG_G);
    cpu->rip = rip;
    cpu->rflags = rflags;
    cpu_update_hflags(cpu);
}

static void load_state(CPUX86 *cpu, const FzState *s)
{
    memcpy(cpu->regs, s->gpr, sizeof(cpu->regs));
    fz_load_vectors(cpu, s->xsave);
    static const uint8_t null[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    for (unsigned i = 0; i < 4; i++) {
        set_segment(&cpu->segs[null[i]], 0, SEG_UNUSABLE);
    }
    cpu->segs[SEG_GS].base = s->gs_base;
    cpu->exception_vector = -1;
    cpu->dr[6] = 0xffff0ff0;
    cpu->debug_pending = 0;
    go_to_user(cpu, s->rip, s->rflags);
}

/* What a handler that halted was told. false: it did not halt in one. */
static bool read_event(const Engine *e, FzEvent *ev, uint64_t *rsp)
{
    const CPUX86 *cpu = e->h->cpu;
    uint64_t at = cpu->rip - 1 - KERNEL;
    if (at < AT_HANDLERS || at >= AT_HANDLERS + 1024 || at % 4) {
        return false;
    }
    unsigned v = (unsigned)((at - AT_HANDLERS) / 4);
    bool error = v == 8 || (v >= 10 && v <= 14) || v == 17;
    if (cpu->regs[R_RSP] != KERNEL + AT_STACK - (error ? 48 : 40)) {
        return false;
    }
    const uint8_t *frame = e->h->ram->host + (cpu->regs[R_RSP] - KERNEL);
    *ev = (FzEvent){.vector = v};
    if (error) {
        ev->error = (uint32_t)ld_le64(frame);
        frame += 8;
    }
    ev->rip = ld_le64(frame);
    ev->rflags = ld_le64(frame + 16);
    *rsp = ld_le64(frame + 24);
    ev->addr = v == EXC_PF ? cpu->cr2 : 0;
    return true;
}

static void save_state(const Engine *e, const FzEvent *last, FzResult *r)
{
    const CPUX86 *cpu = e->h->cpu;
    const uint8_t *ram = e->h->ram->host;
    memcpy(r->state.gpr, cpu->regs, sizeof(cpu->regs));
    r->state.rip = last->rip;
    r->state.rflags = last->rflags;
    r->state.gs_base = cpu->segs[SEG_GS].base;
    fz_save_vectors(cpu, r->state.xsave);
    memcpy(r->mem.rw, ram + AT_RW, FZ_RW_SIZE);
    memcpy(r->mem.area, ram + AT_AREA, FZ_AREA_SIZE);
}

bool engine_run(Engine *e, const FzBatch *b, const FzCase *c, FzResult *r)
{
    CPUX86 *cpu = e->h->cpu;
    const FzSeq *s = &b->seq[c->seq];
    uint8_t *ram = e->h->ram->host;
    memcpy(ram + AT_RW, b->pool[c->pool].rw, FZ_RW_SIZE);
    memcpy(ram + AT_AREA, b->pool[c->pool].area, FZ_AREA_SIZE);
    load_state(cpu, &c->in);
    for (r->n_events = 0;;) {
        FzEvent *ev = &r->events[r->n_events];
        uint64_t rsp;
        if (harness_run(e->h) != RUN_EXIT_HALTED || !read_event(e, ev, &rsp)) {
            *ev = (FzEvent){.vector = UINT32_MAX, .rip = cpu->rip, .rflags = cpu->rflags};
            r->n_events++;
            cpu_interrupt_clear(cpu, IRQ_EXIT);
            save_state(e, ev, r);
            return false;
        }
        r->n_events++;
        cpu->regs[R_RSP] = rsp;
        uint64_t resume = r->n_events < FZ_EVENTS ? fz_resume(s, ev->vector, ev->rip) : 0;
        if (!resume) {
            save_state(e, ev, r);
            return true;
        }
        uint64_t drop = FLAG_RF | (resume != ev->rip ? FZ_ARITH : 0);
        go_to_user(cpu, resume, ev->rflags & ~drop);
    }
}
