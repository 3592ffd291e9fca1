/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A CPU with memory and nothing else, for tests of its system side. */
#include "tests/unit/x86-guest.h"

#include "event/clock.h"
#include "target/i386/paging.h"

#include <signal.h>
#include <unistd.h>

#define RAM_SIZE (4 * MiB)

static CPUX86 *alarm_cpu;

static void on_alarm(int sig)
{
    if (alarm_cpu) {
        cpu_interrupt(alarm_cpu, IRQ_EXIT);
    }
}

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    Guest *g = opaque;

    g->ins++;
    return g->in_value;
}

static void io_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    Guest *g = opaque;

    g->outs++;
    g->out_port = (unsigned)off + 0x500;
    g->out_value = (uint32_t)v;
}

static const RegionOps io_ops = {.read = io_read, .write = io_write};

Guest *guest_new(const char *model)
{
    Guest *g = guest_new_engine(model, NULL, false, RAM_SIZE, NULL);
    g_assert_nonnull(g);
    alarm_cpu = g->cpu;
    signal(SIGALRM, on_alarm);
    return g;
}

static void free_spaces(Guest *g)
{
    address_space_free(g->as_io);
    address_space_free(g->as);
    region_fini(&g->io_region);
    region_fini(&g->io_root);
    region_fini(&g->ram_region);
    region_fini(&g->root);
    ram_block_unref(g->ram);
    clock_set_free(g->clocks);
    memory_system_free(g->sys);
    g_free(g);
}

static Guest *make_guest(const char *model, const char *engine_name, bool one_insn,
                         uint64_t ram_size, bool icount, Error **errp)
{
    Guest *g = g_new0(Guest, 1);
    CpuEngineInfo engine;
    const AccelClass *k;

    g->sys = memory_system_new();
    region_init_container(&g->root, "root", MEMORY_WHOLE);
    g->ram = ram_block_new(g->sys, "ram", ram_size, NULL, NULL);
    g_assert_nonnull(g->ram);
    region_init_ram(&g->ram_region, "ram", g->ram);
    region_add(&g->root, 0, &g->ram_region);
    g->as = address_space_new(g->sys, &g->root, "memory");
    g->owner.name = "ports";
    region_init_container(&g->io_root, "io", 0x10000);
    region_init_io(&g->io_region, &g->owner, &io_ops, g, "ports", 0x100);
    region_add(&g->io_root, 0x500, &g->io_region);
    g->as_io = address_space_new(g->sys, &g->io_root, "io");
    g->clocks = clock_set_new();
    clock_virtual_enable(g->clocks, true);

    g->accel = accel_new("tcg", NULL);
    g_assert_nonnull(g->accel);
    g->accel->mem = g->sys;
    g->accel->clocks = g->clocks;
    g->accel->as_memory = g->as;
    g->accel->as_io = g->as_io;
    k = type_class(g->accel->obj.type);
    if (!engine_name) { /* the same tests run on both engines (tests/meson.build) */
        engine_name = g_getenv("RHEA_TEST_ENGINE");
    }
    object_set_uint(&g->accel->obj, "x-heat", 0);
    object_set_bool(&g->accel->obj, "one-insn-per-tb", one_insn);
    g->accel->icount.on = icount;
    if ((engine_name && !object_set_string(&g->accel->obj, "engine", engine_name, errp)) ||
        !k->create(g->accel, g->sys, errp)) {
        object_unref(&g->accel->obj);
        free_spaces(g);
        return NULL;
    }

    g->v = vcpu_allocate(g->accel);
    g->v->accel = g->accel;
    g->cpu = &g->v->cpu;
    g->cpu->vcpu = g->v;
    g->cpu->as = g->cpu->as_smm = g->as;
    g->cpu->as_io = g->as_io;
    g->cpu->clocks = g->clocks;
    cpu_engine_tcg(&engine);
    g_assert_true(cpu_model_parse(model, &engine, &g->cpu->config, NULL));
    cpu_reset(g->cpu, true);
    g_assert_true(k->vcpu_create(g->accel, g->v, NULL));
    return g;
}

Guest *guest_new_engine(const char *model, const char *engine_name, bool one_insn,
                        uint64_t ram_size, Error **errp)
{
    return make_guest(model, engine_name, one_insn, ram_size, false, errp);
}

Guest *guest_new_icount(const char *model, const char *engine_name, bool one_insn,
                        uint64_t ram_size, Error **errp)
{
    return make_guest(model, engine_name, one_insn, ram_size, true, errp);
}

void guest_free(Guest *g)
{
    const AccelClass *k = type_class(g->accel->obj.type);

    alarm_cpu = NULL;
    k->vcpu_destroy(g->v);
    vcpu_deallocate(g->v);
    k->destroy(g->accel);
    object_unref(&g->accel->obj);
    free_spaces(g);
}

uint64_t guest_ld(const Guest *g, hwaddr a, unsigned size)
{
    g_assert_cmpuint(a + size, <=, g->ram->size);
    return ld_le(g->ram->host + a, size);
}

void guest_st(Guest *g, hwaddr a, uint64_t v, unsigned size)
{
    uint8_t b[8];

    st_le(b, size, v);
    g_assert_cmpint(address_space_write(g->as, a, MEM_ATTRS_NONE, b, size), ==, MEM_OK);
}

void guest_segment(Guest *g, uint16_t sel, uint32_t base, uint32_t limit, uint16_t attr)
{
    uint64_t d = 0;

    if (attr & SEG_G) {
        limit >>= 12;
    }
    d |= (limit & 0xffff) | (uint64_t)(limit & 0xf0000) << 32;
    d |= (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base & 0xff000000) << 32;
    d |= (uint64_t)(attr & 0xff) << 40 | (uint64_t)(attr & 0xf00) << 44;
    guest_st(g, AT_GDT + (sel & 0xfff8u), d, 8);
}

void guest_gate(Guest *g, hwaddr at, uint16_t sel, uint64_t offset, uint8_t type, uint8_t dpl,
                unsigned low, bool wide)
{
    guest_st(g, at, (offset & 0xffff) | (uint32_t)sel << 16, 4);
    guest_st(g, at + 4,
             (offset & 0xffff0000) | 0x8000u | (uint32_t)dpl << 13 | (uint32_t)type << 8 | low, 4);
    if (wide) {
        guest_st(g, at + 8, offset >> 32, 8);
    }
}

void guest_load(Guest *g, unsigned seg, uint16_t sel)
{
    uint64_t d = guest_ld(g, AT_GDT + (sel & 0xfff8u), 8);
    Segment *s = seg < SEG_COUNT ? &g->cpu->segs[seg] : seg == 100 ? &g->cpu->tr : &g->cpu->ldtr;

    s->selector = sel;
    s->base = (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000);
    s->limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000));
    s->attr = (uint16_t)((d >> 40 & 0xff) | (d >> 44 & 0xf00));
    if (s->attr & SEG_G) {
        s->limit = s->limit << 12 | 0xfff;
    }
}

static void build_gdt(Guest *g, bool wide)
{
    const uint16_t p = SEG_P | SEG_S, flat = SEG_G | SEG_DB, user = 3 << SEG_DPL_SHIFT;

    guest_segment(g, SEL_CODE32, 0, UINT32_MAX, p | flat | 0xb);
    guest_segment(g, SEL_DATA32, 0, UINT32_MAX, p | flat | 0x3);
    guest_segment(g, SEL_CODE64, 0, UINT32_MAX, p | SEG_G | SEG_L | 0xb);
    guest_segment(g, SEL_CODE16, 0, 0xffff, p | 0xb);
    guest_segment(g, SEL_DATA16, 0, 0xffff, p | 0x3);
    guest_segment(g, SEL_UCODE32, 0, UINT32_MAX, p | flat | user | 0xb);
    guest_segment(g, SEL_UDATA32, 0, UINT32_MAX, p | flat | user | 0x3);
    guest_segment(g, SEL_UCODE64, 0, UINT32_MAX, p | SEG_G | SEG_L | user | 0xb);
    guest_segment(g, SEL_TSS, AT_TSS, 0x68 + 0x90, SEG_P | 9);
    guest_segment(g, SEL_LDT, AT_LDT, 0x1f, SEG_P | 2);
    guest_segment(g, SEL_TSS_B, AT_TSS_B, 0x67, SEG_P | 9);
    guest_gate(g, AT_GDT + SEL_TASK_GATE, SEL_TSS_B, 0, 5, 3, 0, false);
    guest_segment(g, SEL_ABSENT, 0, UINT32_MAX, SEG_S | flat | user | 0x3);
    guest_segment(g, SEL_CONFORMING, 0, UINT32_MAX, p | flat | 0xe);
    guest_segment(g, SEL_EXEC_ONLY, 0, UINT32_MAX, p | flat | user | 0x8);
    guest_segment(g, SEL_EXPAND_DOWN, 0, 0xffff, p | SEG_DB | user | 0x6);
    guest_segment(g, SEL_READ_ONLY, 0, UINT32_MAX, p | flat | user | 0x0);
    guest_segment(g, SEL_SMALL, AT_DATA, 0x20, p | SEG_DB | user | 0x2);
    guest_segment(g, SEL_TSS16, AT_TSS_B, 0x2b, SEG_P | 1);
    g->cpu->gdtr = (TableReg){.base = AT_GDT, .limit = GDT_SIZE - 1};
}

static void build_idt(Guest *g, bool wide)
{
    for (unsigned v = 0; v < 256; v++) {
        uint32_t handler = AT_HANDLERS + v * 4;
        uint8_t dpl = v == 3 || v == 4 || v == 0x21 || v == 0x80 ? 3 : 0;

        guest_st(g, handler, 0xfdebf4, 4); /* hlt; jmp back */
        guest_gate(g, AT_IDT + v * (wide ? 16 : 8), wide ? SEL_CODE64 : SEL_CODE32, handler, 14,
                   dpl, 0, wide);
    }
    g->cpu->idtr = (TableReg){.base = AT_IDT, .limit = wide ? 0xfff : 0x7ff};
}

static void build_ivt(Guest *g)
{
    for (unsigned v = 0; v < 256; v++) {
        guest_st(g, AT_HANDLERS + v * 4, 0xfdebf4, 4);
        guest_st(g, v * 4, AT_HANDLERS + v * 4, 4);
    }
    g->cpu->idtr = (TableReg){.base = 0, .limit = 0x3ff};
}

static void build_tss(Guest *g, bool wide)
{
    if (wide) {
        guest_st(g, AT_TSS + 4, AT_STACK0, 8);
        guest_st(g, AT_TSS + 0x24, AT_IST, 8);
    } else {
        guest_st(g, AT_TSS + 4, AT_STACK0, 4);
        guest_st(g, AT_TSS + 8, SEL_DATA32, 2);
    }
    /* Redirection bitmap at 0x68: all to protected mode; I/O bitmap at 0x88: all refused. */
    guest_st(g, AT_TSS + 102, 0x88, 2);
    memset(g->ram->host + AT_TSS + 0x68, 0xff, 0x91);
    guest_load(g, 100, SEL_TSS);
    g->cpu->tr.attr |= 2;
    g->ram->host[AT_GDT + SEL_TSS + 5] |= 2;
}

void guest_paging(Guest *g, bool wide)
{
    CPUX86 *cpu = g->cpu;

    if (wide) {
        guest_st(g, AT_TABLES, (AT_TABLES + 0x1000) | 7, 8);
        guest_st(g, AT_TABLES + 0x1000, (AT_TABLES + 0x2000) | 7, 8);
        guest_st(g, AT_TABLES + 0x2000, AT_PT | 7, 8);
        for (unsigned i = 0; i < 512; i++) {
            guest_st(g, AT_PT + i * 8, i << 12 | 7, 8);
        }
    } else {
        guest_st(g, AT_TABLES, AT_PT | 7, 4);
        for (unsigned i = 0; i < 1024; i++) {
            guest_st(g, AT_PT + i * 4, i << 12 | 7, 4);
        }
    }
    cpu->cr3 = AT_TABLES;
    cpu->cr0 |= CR0_PG | CR0_WP;
    cpu->cr4 |= wide ? CR4_PAE : 0;
    cpu_update_hflags(cpu);
}

static void enter_protected(Guest *g, uint16_t cs, uint16_t ds, uint64_t rsp, bool wide)
{
    CPUX86 *cpu = g->cpu;

    cpu->cr0 = CR0_PE | CR0_ET | CR0_NE;
    build_gdt(g, wide);
    build_idt(g, wide);
    build_tss(g, wide);
    if (wide) {
        guest_paging(g, true);
        cpu->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    }
    guest_load(g, SEG_CS, cs);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (i != SEG_CS) {
            guest_load(g, i, ds);
        }
    }
    cpu->regs[R_RSP] = rsp;
}

static void enter_v86(Guest *g)
{
    CPUX86 *cpu = g->cpu;

    enter_protected(g, SEL_CODE32, SEL_DATA32, 0, false);
    build_ivt(g);
    build_idt(g, false);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->segs[i] = (Segment){.limit = 0xffff, .attr = 0xf3};
    }
    cpu->regs[R_RSP] = AT_USER_STACK;
    cpu->rflags |= FLAG_VM | FLAG_IOPL;
}

void guest_enter(Guest *g, GuestMode mode)
{
    CPUX86 *cpu = g->cpu;

    memset(g->ram->host, 0, g->ram->size);
    ram_mark_dirty(g->ram, 0, g->ram->size);
    cpu_reset(cpu, true);
    cpu_interrupt(cpu, IRQ_TLB_FLUSH);
    switch (mode) {
    case GUEST_REAL:
        cpu->cr0 = CR0_ET;
        build_ivt(g);
        cpu->segs[SEG_CS].selector = 0;
        cpu->segs[SEG_CS].base = 0;
        cpu->regs[R_RSP] = AT_STACK;
        break;
    case GUEST_PROT32:
        enter_protected(g, SEL_CODE32, SEL_DATA32, AT_STACK, false);
        break;
    case GUEST_USER32:
        enter_protected(g, SEL_UCODE32, SEL_UDATA32, AT_USER_STACK, false);
        break;
    case GUEST_V86:
        enter_v86(g);
        break;
    case GUEST_LONG:
        enter_protected(g, SEL_CODE64, SEL_DATA32, AT_STACK, true);
        break;
    case GUEST_LONG_USER:
        enter_protected(g, SEL_UCODE64, SEL_UDATA32, AT_USER_STACK, true);
        break;
    case GUEST_COMPAT_USER:
        enter_protected(g, SEL_UCODE32, SEL_UDATA32, AT_USER_STACK, true);
        break;
    }
    cpu->rip = AT_CODE;
    cpu->halted = false;
    g->outs = g->ins = 0;
    cpu_update_hflags(cpu);
}

void guest_code(Guest *g, const void *bytes, size_t len)
{
    g_assert_cmpint(address_space_write(g->as, AT_CODE, MEM_ATTRS_NONE, bytes, len), ==, MEM_OK);
}

void guest_run(Guest *g)
{
    const AccelClass *k = type_class(g->accel->obj.type);

    alarm(5);
    rcu_read_lock();
    g->exit = k->run(g->v);
    rcu_read_unlock();
    alarm(0);
    cpu_interrupt_clear(g->cpu, IRQ_EXIT);
}

void guest_exec(Guest *g, const void *bytes, size_t len)
{
    guest_code(g, bytes, len);
    guest_run(g);
}

int guest_vector(const Guest *g)
{
    uint64_t at = g->cpu->segs[SEG_CS].base + g->cpu->rip - 1;

    if (g->exit != RUN_EXIT_HALTED || at < AT_HANDLERS || at >= AT_HANDLERS + 1024 || at % 4) {
        return -1;
    }
    return (int)((at - AT_HANDLERS) / 4);
}

bool guest_finished(const Guest *g, size_t code_len)
{
    return g->exit == RUN_EXIT_HALTED &&
           g->cpu->segs[SEG_CS].base + g->cpu->rip == AT_CODE + code_len;
}

uint64_t guest_frame(const Guest *g, unsigned n, unsigned size)
{
    return guest_ld(g, g->cpu->segs[SEG_SS].base + g->cpu->regs[R_RSP] + n * size, size);
}
