/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APICs and the I/O APIC with CPUs that run nothing. */
#include "accel/accel.h"
#include "chips-test.h"
#include "hw/intc/apic.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"

#define APIC(reg) (APIC_DEFAULT_BASE + (reg))

typedef struct Rig {
    Board *b;
    ApicBus *bus;
    Vcpu *v[3];
    IoApic *io;
} Rig;

static const AccelClass idle_class = {.name = "idle"};
OBJECT_TYPE(idle_type, .name = "idle-accel", .parent = TYPE_ACCEL, .size = sizeof(Accel),
            .klass = &idle_class)
static const VcpuHooks no_hooks = {0};

static void rig_init(Rig *r)
{
    r->b = board_new();
    r->b->m->smp.max_cpus = 3;
    r->b->m->accel = accel_new("idle", NULL);
    r->bus = apic_bus_new(r->b->m);
    region_add_overlap(&r->b->m->memory, APIC_DEFAULT_BASE, apic_bus_region(r->bus), 1);
    for (unsigned i = 0; i < 3; i++) {
        CpuConfig c = {.apic_id = i, .phys_bits = 40, .tsc_hz = 1000000000};

        c.features[FEAT_1_ECX] = 1u << 21 | 1u << 24;
        r->v[i] = vcpu_new(r->b->m->accel, i, &c, &no_hooks, NULL, NULL);
        r->v[i]->cpu.clocks = r->b->m->clocks;
        g_ptr_array_add(r->b->m->cpus, r->v[i]);
        g_assert_nonnull(apic_new(r->bus, r->b->m, r->v[i], NULL));
    }
    r->io = ioapic_new(r->b->m, r->bus, NULL);
    region_add_overlap(&r->b->m->memory, IOAPIC_DEFAULT_BASE, ioapic_region(r->io), 1);
}

static void rig_done(Rig *r)
{
    Board *b = r->b;
    Accel *a = b->m->accel;

    loop_lock(b->m->platform);
    for (unsigned i = 0; i < 3; i++) {
        device_unrealize((Device *)r->v[i]->cpu.apic);
    }
    device_unrealize((Device *)r->io);
    loop_unlock(b->m->platform);
    region_del(&b->m->memory, apic_bus_region(r->bus));
    apic_bus_free(r->bus);
    for (unsigned i = 0; i < 3; i++) {
        vcpu_free(r->v[i]);
    }
    board_free(b);
    object_unref(&a->obj);
}

static int ack(Rig *r, unsigned i)
{
    return r->v[i]->cpu.apic_ops->ack_interrupt(r->v[i]->cpu.apic);
}
static bool pending(Rig *r, unsigned i, uint32_t irq)
{
    return __atomic_load_n(&r->v[i]->cpu.irq_pending, __ATOMIC_SEQ_CST) & irq;
}
static bool wrmsr(Rig *r, unsigned i, uint32_t msr, uint64_t v)
{
    return r->v[i]->cpu.apic_ops->write_msr(r->v[i]->cpu.apic, msr, v);
}
static bool rdmsr(Rig *r, unsigned i, uint32_t msr, uint64_t *v)
{
    return r->v[i]->cpu.apic_ops->read_msr(r->v[i]->cpu.apic, msr, v);
}
static bool set_base(Rig *r, unsigned i, uint64_t v)
{
    return r->v[i]->cpu.apic_ops->set_base(r->v[i]->cpu.apic, v);
}
/* Software enable of the first CPU's APIC; of another's by way of x2APIC mode. */
static void enable_first(Rig *r)
{
    mem_write(r->b, APIC(0xf0), 4, 0x1ff);
}
static void enable_x2(Rig *r, unsigned i)
{
    g_assert_true(set_base(r, i, APIC_DEFAULT_BASE | 0xc00 | (i ? 0 : 0x100)));
    g_assert_true(wrmsr(r, i, 0x80f, 0x1ff));
}

static void test_registers(void)
{
    Rig r;

    rig_init(&r);
    g_assert_cmphex(mem_read(r.b, APIC(0x30), 4), ==, 0x50014);
    g_assert_cmphex(mem_read(r.b, APIC(0xf0), 4), ==, 0xff);
    g_assert_cmphex(mem_read(r.b, APIC(0x350), 4), ==, 0x700); /* the first CPU: virtual wire */
    mem_write(r.b, APIC(0x360), 4, 0x400);
    g_assert_cmphex(mem_read(r.b, APIC(0x360), 4), ==, 0x10400); /* masked while off */
    enable_first(&r);
    mem_write(r.b, APIC(0x360), 4, 0xffffffff);
    g_assert_cmphex(mem_read(r.b, APIC(0x360), 4), ==, 0x1a7ff);
    mem_write(r.b, APIC(0xe0), 4, 0);
    g_assert_cmphex(mem_read(r.b, APIC(0xe0), 4), ==, 0x0fffffff);
    mem_write(r.b, APIC(0x80), 4, 0x55);
    g_assert_cmphex(mem_read(r.b, APIC(0xa0), 4), ==, 0x55); /* PPR */
    g_assert_cmphex(mem_read(r.b, APIC(0x81), 1), ==, 0);
    g_assert_cmphex(mem_read(r.b, APIC(0x84), 4), ==, 0);
    rig_done(&r);
}

static void test_priority(void)
{
    Rig r;

    rig_init(&r);
    enable_first(&r);
    mem_write(r.b, APIC(0x300), 4, 0x40041); /* to itself */
    mem_write(r.b, APIC(0x300), 4, 0x40062);
    g_assert_true(pending(&r, 0, IRQ_HARD));
    g_assert_cmpint(ack(&r, 0), ==, 0x62);
    g_assert_false(pending(&r, 0, IRQ_HARD));
    g_assert_cmpint(ack(&r, 0), ==, -1);
    g_assert_cmphex(mem_read(r.b, APIC(0x130), 4), ==, 4); /* ISR 0x62 */
    g_assert_cmphex(mem_read(r.b, APIC(0xa0), 4), ==, 0x60);
    mem_write(r.b, APIC(0xb0), 4, 0);
    g_assert_true(pending(&r, 0, IRQ_HARD));
    mem_write(r.b, APIC(0x80), 4, 0x40); /* the priority rises above it */
    g_assert_false(pending(&r, 0, IRQ_HARD));
    g_assert_cmpint(ack(&r, 0), ==, -1);
    mem_write(r.b, APIC(0x80), 4, 0x3f);
    g_assert_cmpint(ack(&r, 0), ==, 0x41);
    /* Illegal vectors end up in the error status. */
    mem_write(r.b, APIC(0x300), 4, 0x40005);
    mem_write(r.b, APIC(0x280), 4, 0);
    g_assert_cmphex(mem_read(r.b, APIC(0x280), 4), ==, 0x20);
    rig_done(&r);
}

static void test_ipi(void)
{
    Rig r;

    rig_init(&r);
    enable_first(&r);
    mem_write(r.b, APIC(0x310), 4, 1u << 24);
    mem_write(r.b, APIC(0x300), 4, 0x4500); /* INIT */
    g_assert_true(pending(&r, 1, IRQ_INIT));
    g_assert_false(pending(&r, 2, IRQ_INIT));
    mem_write(r.b, APIC(0x300), 4, 0xc0600 | 0x9f); /* SIPI to all but self */
    g_assert_true(pending(&r, 1, IRQ_SIPI) && pending(&r, 2, IRQ_SIPI));
    g_assert_false(pending(&r, 0, IRQ_SIPI));
    g_assert_cmphex(r.v[2]->cpu.sipi_vector, ==, 0x9f);
    mem_write(r.b, APIC(0x310), 4, 2u << 24);
    mem_write(r.b, APIC(0x300), 4, 0x400);
    g_assert_true(pending(&r, 2, IRQ_NMI));
    g_assert_false(pending(&r, 1, IRQ_NMI));
    mem_write(r.b, APIC(0x310), 4, 0xffu << 24);
    mem_write(r.b, APIC(0x300), 4, 0x200);
    g_assert_true(pending(&r, 0, IRQ_SMI) && pending(&r, 1, IRQ_SMI));
    rig_done(&r);
}

static void test_x2apic(void)
{
    Rig r;
    uint64_t v;

    rig_init(&r);
    g_assert_false(rdmsr(&r, 1, 0x802, &v)); /* not in that mode */
    enable_x2(&r, 1);
    enable_x2(&r, 2);
    g_assert_true(rdmsr(&r, 1, 0x802, &v));
    g_assert_cmphex(v, ==, 1);
    g_assert_true(rdmsr(&r, 2, 0x80d, &v));
    g_assert_cmphex(v, ==, 4);
    g_assert_false(wrmsr(&r, 1, 0x802, 5));                     /* read-only */
    g_assert_false(wrmsr(&r, 1, 0x80b, 1));                     /* EOI takes 0 only */
    g_assert_false(wrmsr(&r, 1, 0x808, 0x100));                 /* reserved bits */
    g_assert_false(rdmsr(&r, 1, 0x80e, &v));                    /* no DFR */
    g_assert_false(set_base(&r, 1, APIC_DEFAULT_BASE | 0x800)); /* not straight back */
    g_assert_false(set_base(&r, 0, APIC_DEFAULT_BASE | 0x400));
    g_assert_true(wrmsr(&r, 1, 0x830, 2ull << 32 | 0x51));
    g_assert_cmpint(ack(&r, 2), ==, 0x51);
    g_assert_true(wrmsr(&r, 1, 0x830, 6ull << 32 | 0x852)); /* logical: 1 and 2 */
    g_assert_cmpint(ack(&r, 1), ==, 0x52);
    g_assert_cmpint(ack(&r, 2), ==, -1); /* 0x51 is in service */
    g_assert_true(wrmsr(&r, 2, 0x80b, 0));
    g_assert_cmpint(ack(&r, 2), ==, 0x52);
    g_assert_true(wrmsr(&r, 1, 0x83f, 0x77));
    g_assert_cmpint(ack(&r, 1), ==, 0x77);
    /* Off and on again brings xAPIC mode. */
    g_assert_true(set_base(&r, 1, APIC_DEFAULT_BASE));
    g_assert_true(set_base(&r, 1, APIC_DEFAULT_BASE | 0x800));
    rig_done(&r);
}

static void test_msi(void)
{
    Rig r;
    MemAttrs pci = {.requester = 0x10};

    rig_init(&r);
    enable_first(&r);
    enable_x2(&r, 1);
    enable_x2(&r, 2);
    address_space_st(r.b->m->as_memory, 0xfee01000, pci, 4, 0x61);
    g_assert_cmpint(ack(&r, 1), ==, 0x61);
    g_assert_cmpint(ack(&r, 0), ==, -1);
    address_space_st(r.b->m->as_memory, 0xfee00000, pci, 4, 0x62);
    g_assert_cmpint(ack(&r, 0), ==, 0x62);
    /* Logical, lowest priority, flat: CPU 0 only has an LDR. */
    mem_write(r.b, APIC(0xd0), 4, 0x01000000);
    address_space_st(r.b->m->as_memory, 0xfee0100c, pci, 4, 0x163);
    mem_write(r.b, APIC(0xb0), 4, 0);
    g_assert_cmpint(ack(&r, 0), ==, 0x63);
    address_space_st(r.b->m->as_memory, 0xfeeff000, pci, 4, 0x464); /* NMI to all */
    g_assert_true(pending(&r, 0, IRQ_NMI) && pending(&r, 2, IRQ_NMI));
    rig_done(&r);
}

static void test_timer(void)
{
    Rig r;
    uint64_t v;

    rig_init(&r);
    enable_first(&r);
    mem_write(r.b, APIC(0x3e0), 4, 0x3); /* divide by 16 */
    mem_write(r.b, APIC(0x320), 4, 0x71);
    mem_write(r.b, APIC(0x380), 4, 100000); /* 1.6 ms */
    step(r.b, NS_PER_MS);
    g_assert_cmpuint(mem_read(r.b, APIC(0x390), 4), ==, 37500);
    g_assert_cmpint(ack(&r, 0), ==, -1);
    step(r.b, NS_PER_MS);
    g_assert_cmpint(ack(&r, 0), ==, 0x71);
    g_assert_cmpuint(mem_read(r.b, APIC(0x390), 4), ==, 0);
    mem_write(r.b, APIC(0xb0), 4, 0);
    mem_write(r.b, APIC(0x320), 4, 0x20072); /* periodic */
    mem_write(r.b, APIC(0x380), 4, 62500);   /* 1 ms */
    for (int i = 0; i < 10; i++) {
        step(r.b, NS_PER_MS);
        g_assert_cmpint(ack(&r, 0), ==, 0x72);
        mem_write(r.b, APIC(0xb0), 4, 0);
    }
    mem_write(r.b, APIC(0x380), 4, 0);
    step(r.b, 10 * NS_PER_MS);
    g_assert_cmpint(ack(&r, 0), ==, -1);
    /* TSC deadline: no count, and the register falls to 0 when it has passed. */
    g_assert_true(wrmsr(&r, 0, 0x6e0, 1)); /* not in that mode: ignored */
    g_assert_true(rdmsr(&r, 0, 0x6e0, &v));
    g_assert_cmpuint(v, ==, 0);
    mem_write(r.b, APIC(0x320), 4, 0x40073);
    g_assert_true(wrmsr(&r, 0, 0x6e0, 1)); /* long past */
    step(r.b, 1000);
    g_assert_cmpint(ack(&r, 0), ==, 0x73);
    g_assert_true(rdmsr(&r, 0, 0x6e0, &v));
    g_assert_cmpuint(v, ==, 0);
    rig_done(&r);
}

static void test_extint(void)
{
    Rig r;
    I8259 *p;

    rig_init(&r);
    p = i8259_new_pair(r.b->m, &r.b->isa, apic_bus_extint(r.bus), NULL);
    apic_bus_set_extint(r.bus, i8259_ack, (bool (*)(void *))i8259_pending, p);
    outb(r.b, 0x20, 0x11);
    outb(r.b, 0x21, 0x08);
    outb(r.b, 0x21, 0x04);
    outb(r.b, 0x21, 0x01);
    outb(r.b, 0x21, 0x00);
    irq_raise(i8259_input(p, 0));
    g_assert_true(pending(&r, 0, IRQ_HARD));
    g_assert_false(pending(&r, 1, IRQ_HARD));
    g_assert_cmpint(ack(&r, 0), ==, 8);
    outb(r.b, 0x20, 0x20);
    /* Masked at LINT0 it stays outside; with the APIC off it comes straight in. */
    mem_write(r.b, APIC(0x350), 4, 0x10700);
    irq_lower(i8259_input(p, 0));
    irq_raise(i8259_input(p, 0));
    g_assert_cmpint(ack(&r, 0), ==, -1);
    g_assert_true(set_base(&r, 0, APIC_DEFAULT_BASE | 0x100));
    g_assert_cmphex(mem_read(r.b, APIC(0x30), 4), ==, 0xffffffff);
    g_assert_cmpint(ack(&r, 0), ==, 8);
    rig_done(&r);
}

static void io_write(Rig *r, unsigned reg, uint32_t v)
{
    mem_write(r->b, IOAPIC_DEFAULT_BASE, 4, reg);
    mem_write(r->b, IOAPIC_DEFAULT_BASE + 0x10, 4, v);
}
static uint32_t io_read(Rig *r, unsigned reg)
{
    mem_write(r->b, IOAPIC_DEFAULT_BASE, 4, reg);
    return (uint32_t)mem_read(r->b, IOAPIC_DEFAULT_BASE + 0x10, 4);
}

static void test_ioapic(void)
{
    Rig r;

    rig_init(&r);
    enable_first(&r);
    g_assert_cmphex(io_read(&r, 1), ==, 0x00170020);
    g_assert_cmphex(io_read(&r, 0x10), ==, 0x10000);
    io_write(&r, 0x12, 0x31); /* pin 1: edge, to CPU 0 */
    irq_raise(ioapic_input(r.io, 1));
    g_assert_cmpint(ack(&r, 0), ==, 0x31);
    mem_write(r.b, APIC(0xb0), 4, 0);
    g_assert_cmpint(ack(&r, 0), ==, -1); /* once */
    /* Pin 10: level; again after each EOI while the line is up. */
    io_write(&r, 0x24, 0xa000 | 0x42);
    irq_raise(ioapic_input(r.io, 10));
    g_assert_cmphex(io_read(&r, 0x24) & 0x4000, ==, 0x4000);
    g_assert_cmpint(ack(&r, 0), ==, 0x42);
    g_assert_cmphex(mem_read(r.b, APIC(0x1a0), 4), ==, 4); /* TMR */
    g_assert_cmpint(ack(&r, 0), ==, -1);
    mem_write(r.b, APIC(0xb0), 4, 0);
    g_assert_cmpint(ack(&r, 0), ==, 0x42);
    irq_lower(ioapic_input(r.io, 10));
    mem_write(r.b, APIC(0xb0), 4, 0);
    g_assert_cmpint(ack(&r, 0), ==, -1);
    g_assert_cmphex(io_read(&r, 0x24) & 0x4000, ==, 0);
    /* Masked: an edge is lost, a level waits. */
    io_write(&r, 0x12, 0x10031);
    irq_pulse(ioapic_input(r.io, 1));
    io_write(&r, 0x12, 0x31);
    g_assert_cmpint(ack(&r, 0), ==, -1);
    io_write(&r, 0x24, 0x1a042);
    irq_raise(ioapic_input(r.io, 10));
    g_assert_cmpint(ack(&r, 0), ==, -1);
    io_write(&r, 0x24, 0xa042);
    g_assert_cmpint(ack(&r, 0), ==, 0x42);
    /* The EOI register. */
    irq_lower(ioapic_input(r.io, 10));
    mem_write(r.b, IOAPIC_DEFAULT_BASE + 0x40, 4, 0x42);
    g_assert_cmphex(io_read(&r, 0x24) & 0x4000, ==, 0);
    rig_done(&r);
}

static void test_moved(void)
{
    Rig r;

    rig_init(&r);
    g_assert_true(set_base(&r, 0, 0xfed80000 | 0x900));
    g_assert_cmphex(mem_read(r.b, 0xfed80030, 4), ==, 0x50014);
    g_assert_cmphex(mem_read(r.b, APIC(0x30), 4), ==, 0xffffffff);
    g_assert_true(set_base(&r, 0, APIC_DEFAULT_BASE | 0x900));
    g_assert_cmphex(mem_read(r.b, APIC(0x30), 4), ==, 0x50014);
    g_assert_false(set_base(&r, 0, 1ull << 45 | 0x900));
    rig_done(&r);
}

static void self_ipi(Rig *r, uint8_t vector)
{
    mem_write(r->b, APIC(0x300), 4, 0x40000u | vector);
}

/* KVM's end of interrupt by a flag in memory. */
#define PV_EOI_MSR 0x4b564d04u
static const hwaddr flag = 0x5000;

static void rig_init_pv_eoi(Rig *r)
{
    rig_init(r);
    r->v[0]->cpu.as = r->b->m->as_memory;
    enable_first(r);
    g_assert_false(wrmsr(r, 0, PV_EOI_MSR, flag | 3));
    g_assert_true(wrmsr(r, 0, PV_EOI_MSR, flag | 1));
}

static void test_pv_eoi(void)
{
    Rig r;

    rig_init_pv_eoi(&r);
    /* Given, cleared, ended. */
    self_ipi(&r, 0x41);
    g_assert_cmpint(ack(&r, 0), ==, 0x41);
    g_assert_cmphex(mem_read(r.b, flag, 4), ==, 1);
    g_assert_cmphex(mem_read(r.b, APIC(0x120), 4), ==, 2);
    mem_write(r.b, flag, 4, 0);
    g_assert_cmphex(mem_read(r.b, APIC(0x120), 4), ==, 0);
    /* Something comes before the end: the flag is taken back. */
    self_ipi(&r, 0x41);
    g_assert_cmpint(ack(&r, 0), ==, 0x41);
    self_ipi(&r, 0x35);
    g_assert_true(pending(&r, 0, IRQ_HARD));
    g_assert_cmpint(ack(&r, 0), ==, -1);
    g_assert_false(pending(&r, 0, IRQ_HARD));
    g_assert_cmphex(mem_read(r.b, flag, 4), ==, 0);
    mem_write(r.b, APIC(0xb0), 4, 0);
    g_assert_true(pending(&r, 0, IRQ_HARD));
    g_assert_cmpint(ack(&r, 0), ==, 0x35);
    /* Something comes after it. */
    g_assert_cmphex(mem_read(r.b, flag, 4), ==, 1);
    mem_write(r.b, flag, 4, 0);
    self_ipi(&r, 0x33);
    g_assert_true(pending(&r, 0, IRQ_HARD));
    g_assert_cmpint(ack(&r, 0), ==, 0x33);
    g_assert_cmphex(mem_read(r.b, APIC(0x110), 4), ==, 1u << 19);
    mem_write(r.b, flag, 4, 0);
    /* One within the other. */
    self_ipi(&r, 0x41);
    g_assert_cmpint(ack(&r, 0), ==, 0x41);
    self_ipi(&r, 0x62);
    g_assert_cmpint(ack(&r, 0), ==, 0x62);
    g_assert_cmphex(mem_read(r.b, flag, 4), ==, 1);
    mem_write(r.b, flag, 4, 0);
    mem_write(r.b, APIC(0xb0), 4, 0);
    g_assert_cmphex(mem_read(r.b, APIC(0x120), 4) | mem_read(r.b, APIC(0x130), 4), ==, 0);
    rig_done(&r);
}

static void test_pv_eoi_register(void)
{
    uint64_t v;
    Rig r;

    rig_init_pv_eoi(&r);
    /* Another one waits, or it is a level: by the register. */
    self_ipi(&r, 0x35);
    self_ipi(&r, 0x41);
    g_assert_cmpint(ack(&r, 0), ==, 0x41);
    g_assert_cmphex(mem_read(r.b, flag, 4), ==, 0);
    mem_write(r.b, APIC(0xb0), 4, 0);
    g_assert_cmpint(ack(&r, 0), ==, 0x35);
    mem_write(r.b, flag, 4, 0);
    apic_bus_msi(r.bus, APIC_DEFAULT_BASE, 0xc045);
    g_assert_cmpint(ack(&r, 0), ==, 0x45);
    g_assert_cmphex(mem_read(r.b, flag, 4), ==, 0);
    mem_write(r.b, APIC(0xb0), 4, 0);
    /* No memory there; disabled. */
    g_assert_true(wrmsr(&r, 0, PV_EOI_MSR, APIC_DEFAULT_BASE | 1));
    self_ipi(&r, 0x41);
    g_assert_cmpint(ack(&r, 0), ==, 0x41);
    mem_write(r.b, APIC(0xb0), 4, 0);
    g_assert_true(wrmsr(&r, 0, PV_EOI_MSR, flag | 1));
    self_ipi(&r, 0x41);
    g_assert_cmpint(ack(&r, 0), ==, 0x41);
    g_assert_cmphex(mem_read(r.b, flag, 4), ==, 1);
    g_assert_true(wrmsr(&r, 0, PV_EOI_MSR, 0));
    g_assert_cmphex(mem_read(r.b, flag, 4), ==, 0);
    g_assert_cmphex(mem_read(r.b, APIC(0x120), 4), ==, 2);
    g_assert_false(rdmsr(&r, 0, PV_EOI_MSR, &v)); /* target/i386/tcg/pv.c answers that */
    rig_done(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/apic/registers", test_registers);
    g_test_add_func("/apic/priority", test_priority);
    g_test_add_func("/apic/ipi", test_ipi);
    g_test_add_func("/apic/x2apic", test_x2apic);
    g_test_add_func("/apic/msi", test_msi);
    g_test_add_func("/apic/timer", test_timer);
    g_test_add_func("/apic/extint", test_extint);
    g_test_add_func("/apic/moved", test_moved);
    g_test_add_func("/apic/pv-eoi", test_pv_eoi);
    g_test_add_func("/apic/pv-eoi-register", test_pv_eoi_register);
    g_test_add_func("/ioapic/pins", test_ioapic);
    return g_test_run();
}
