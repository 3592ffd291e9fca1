/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC: registers, priorities, what its CPU asks of it.
 *
 * Order of memory: whoever requests sets IRR first and then compares with the
 * processor's priority; the vCPU changes its priority first and then looks at
 * IRR.  One of them sees the other's change, so no request is left waiting.
 */
#include "hw/intc/apic_int.h"
#include "util/log.h"
#include "util/trace.h"

#include <string.h>

TRACE_EVENT(apic_accept, "cpu %u vector 0x%02x level %d")
TRACE_EVENT(apic_ack, "cpu %u vector %d")
TRACE_EVENT(apic_reg_write, "cpu %u reg 0x%02x value 0x%08x")

#define APIC_VERSION (0x14u | ((LVT_COUNT - 1u) << 16))
#define IA32_TSC_DEADLINE 0x6e0u
#define IA32_X2APIC_BASE 0x800u
#define KVM_PV_EOI_EN 0x4b564d04u
#define CPUID_X2APIC (1u << 21)
#define CPUID_TSC_DEADLINE (1u << 24)

/* The bits of each entry that software may set (SDM vol. 3, figure "Local Vector Table"). */
static const uint32_t lvt_writable[LVT_COUNT] = {
    [LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PERF] = 0x107ff,
    [LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff,   [LVT_ERROR] = 0x100ff,
};

void apic_signal(Apic *a, uint32_t irq)
{
    cpu_interrupt(&a->vcpu->cpu, irq);
    /* Its own thread looks at irq_pending before the next instruction anyway. */
    if (vcpu_current() != a->vcpu) {
        vcpu_kick(a->vcpu);
    }
}

uint8_t apic_ppr(const Apic *a)
{
    uint32_t tpr = APIC_LOAD(a->tpr);
    int isrv = apic_highest(a->isr);

    if (isrv < 0 || (tpr & 0xf0) >= ((uint32_t)isrv & 0xf0)) {
        return (uint8_t)tpr;
    }
    return (uint8_t)(isrv & 0xf0);
}

/* The vector the CPU would take now, or -1. */
static int next_vector(const Apic *a)
{
    int v = a->kernel ? -1 : apic_highest(a->irr);

    return v >= 0 && apic_software_on(a) && (v & 0xf0) > (apic_ppr(a) & 0xf0) ? v : -1;
}

/* Does the 8259's output reach this CPU? */
static bool extint_wanted(const Apic *a)
{
    uint32_t lint0;

    if (a->kernel) {
        /* The kernel looks at LINT0 itself, when it is offered the interrupt. */
        return a->index == 0 && APIC_LOAD(a->bus->extint_level);
    }
    if (!apic_enabled(a)) {
        /* LINT0 is then the CPU's INTR pin; only the first CPU is wired to the 8259. */
        return APIC_LOAD(a->base) & BASE_BSP && APIC_LOAD(a->bus->extint_level);
    }
    if (APIC_LOAD(a->extint_latched)) {
        return true;
    }
    lint0 = APIC_LOAD(a->lvt[LVT_LINT0]);
    return !(lint0 & LVT_MASKED) && (lint0 >> LVT_MODE_SHIFT & 7) == APIC_EXTINT &&
           APIC_LOAD(a->bus->extint_level);
}

bool apic_deliverable(const Apic *a)
{
    return next_vector(a) >= 0 || extint_wanted(a);
}

/* With the guest's flag out, only the vCPU knows what is still in service. */
static bool must_look(const Apic *a)
{
    return APIC_LOAD(a->pv_flag) && apic_highest(a->irr) >= 0;
}

void apic_poke(Apic *a)
{
    if (must_look(a) || apic_deliverable(a)) {
        apic_signal(a, IRQ_HARD);
    }
}

/* On the vCPU: after its priority or mask may have risen, too. */
static void reconsider(Apic *a)
{
    cpu_interrupt_clear(&a->vcpu->cpu, IRQ_HARD);
    apic_poke(a);
}

/* Records an error; the first one pending raises LVT error (SDM, "Error Handling"). */
static void set_error(Apic *a, uint32_t bit)
{
    uint32_t old = __atomic_fetch_or(&a->esr_pending, bit, __ATOMIC_SEQ_CST);

    if (!(old & bit)) {
        apic_local(a, LVT_ERROR);
    }
}

void apic_accept(Apic *a, uint8_t vector, bool level)
{
    uint32_t bit = 1u << (vector & 31);

    if (!apic_software_on(a)) {
        return;
    }
    trace(apic_accept, a->index, vector, level);
    if (vector < 16) {
        /* LVT error itself may be the one with the bad vector: no endless loop. */
        if (!(__atomic_fetch_or(&a->esr_pending, ESR_RECEIVE_ILLEGAL, __ATOMIC_SEQ_CST) &
              ESR_RECEIVE_ILLEGAL)) {
            apic_local(a, LVT_ERROR);
        }
        return;
    }
    if (level) {
        __atomic_fetch_or(&a->tmr[vector >> 5], bit, __ATOMIC_SEQ_CST);
    } else {
        __atomic_fetch_and(&a->tmr[vector >> 5], ~bit, __ATOMIC_SEQ_CST);
    }
    __atomic_fetch_or(&a->irr[vector >> 5], bit, __ATOMIC_SEQ_CST);
    apic_poke(a);
}

void apic_local(Apic *a, unsigned lvt)
{
    uint32_t e = APIC_LOAD(a->lvt[lvt]);

    if ((e & LVT_MASKED) || !apic_enabled(a)) {
        return;
    }
    switch (lvt == LVT_TIMER || lvt == LVT_ERROR ? APIC_FIXED : (e >> LVT_MODE_SHIFT & 7)) {
    case APIC_FIXED:
        if (lvt == LVT_LINT0 && (e & LVT_LEVEL)) {
            uint32_t old = __atomic_fetch_or(&a->lvt[lvt], LVT_REMOTE_IRR, __ATOMIC_SEQ_CST);

            if (!(old & LVT_REMOTE_IRR)) {
                apic_accept(a, e & LVT_VECTOR, true);
            }
        } else {
            apic_accept(a, e & LVT_VECTOR, false);
        }
        break;
    case APIC_SMI:
        apic_signal(a, IRQ_SMI);
        break;
    case APIC_NMI:
        apic_signal(a, IRQ_NMI);
        break;
    case APIC_INIT:
        apic_signal(a, IRQ_INIT);
        break;
    case APIC_EXTINT:
        apic_poke(a);
        break;
    default:
        guest_error("apic", "local vector table entry %u has the reserved mode %u", lvt,
                    e >> LVT_MODE_SHIFT & 7);
        break;
    }
}

/* ---- what the CPU asks ---- */

static int ack_interrupt(void *opaque)
{
    Apic *a = opaque;
    int v;

    apic_pv_settle(a);
    cpu_interrupt_clear(&a->vcpu->cpu, IRQ_HARD);
    if (must_look(a)) { /* something waits for the end of the interrupt in service */
        apic_pv_take_back(a);
    }
    v = next_vector(a);
    if (v >= 0) {
        uint32_t bit = 1u << (v & 31);

        APIC_STORE(a->isr[v >> 5], a->isr[v >> 5] | bit);
        __atomic_fetch_and(&a->irr[v >> 5], ~bit, __ATOMIC_SEQ_CST);
        apic_pv_offer(a, (uint8_t)v);
    } else if (extint_wanted(a)) {
        APIC_STORE(a->extint_latched, 0);
        v = a->bus->ext_ack ? a->bus->ext_ack(a->bus->ext_opaque) : -1;
    }
    trace(apic_ack, a->index, v);
    apic_poke(a);
    return v;
}

static void end_of_interrupt(Apic *a)
{
    int v = apic_highest(a->isr);
    uint32_t bit, lint0;

    if (v < 0) {
        return;
    }
    bit = 1u << (v & 31);
    APIC_STORE(a->isr[v >> 5], a->isr[v >> 5] & ~bit);
    if (APIC_LOAD(a->tmr[v >> 5]) & bit) {
        apic_bus_eoi(a->bus, (uint8_t)v);
        lint0 = APIC_LOAD(a->lvt[LVT_LINT0]);
        if ((lint0 & LVT_REMOTE_IRR) && (int)(lint0 & LVT_VECTOR) == v) {
            __atomic_fetch_and(&a->lvt[LVT_LINT0], ~LVT_REMOTE_IRR, __ATOMIC_SEQ_CST);
            if (APIC_LOAD(a->bus->extint_level)) {
                apic_local(a, LVT_LINT0);
            }
        }
    }
    reconsider(a);
}

void apic_pv_settle(Apic *a)
{
    if (apic_pv_ended(a)) {
        APIC_STORE(a->pv_flag, 0);
        a->pv_ended++;
        end_of_interrupt(a);
    }
}

static uint8_t get_tpr(void *opaque)
{
    return (uint8_t)APIC_LOAD(((Apic *)opaque)->tpr);
}

static void set_tpr(void *opaque, uint8_t tpr)
{
    Apic *a = opaque;

    apic_pv_settle(a);
    APIC_STORE(a->tpr, tpr);
    reconsider(a);
}

/* Power-up and INIT values (SDM, "Local APIC State After Power-Up or Reset"). */
static void registers_reset(Apic *a)
{
    for (int i = 0; i < 8; i++) {
        APIC_STORE(a->irr[i], 0);
        APIC_STORE(a->isr[i], 0);
        APIC_STORE(a->tmr[i], 0);
    }
    APIC_STORE(a->tpr, 0);
    APIC_STORE(a->svr, 0xff);
    APIC_STORE(a->dfr, UINT32_MAX);
    APIC_STORE(a->ldr, 0);
    for (int i = 0; i < LVT_COUNT; i++) {
        APIC_STORE(a->lvt[i], LVT_MASKED);
    }
    /* The first CPU starts in virtual-wire mode, so that 8259-only software works. */
    if (APIC_LOAD(a->base) & BASE_BSP) {
        APIC_STORE(a->lvt[LVT_LINT0], APIC_EXTINT << LVT_MODE_SHIFT);
    }
    APIC_STORE(a->esr_pending, 0);
    APIC_STORE(a->extint_latched, 0);
    a->esr = a->icr_lo = a->icr_hi = 0;
    APIC_STORE(a->pv_flag, 0);
    if (!a->kernel) {
        a->vcpu->cpu.kvm_eoi = 0;
    }
    apic_timer_reset(a);
}

static void init_signal(void *opaque)
{
    Apic *a = opaque;

    registers_reset(a);
    if (apic_x2(a)) {
        APIC_STORE(a->ldr, (a->id >> 4) << 16 | 1u << (a->id & 15));
    }
    reconsider(a);
}

static uint64_t get_base(void *opaque)
{
    return APIC_LOAD(((Apic *)opaque)->base);
}

static bool set_base(void *opaque, uint64_t base)
{
    Apic *a = opaque;
    const CPUX86 *cpu = &a->vcpu->cpu;
    uint64_t old = APIC_LOAD(a->base);
    uint64_t valid = (BIT(cpu->config.phys_bits ? cpu->config.phys_bits : 36) - 1) & ~0xfffull;
    uint64_t mode_old = old & (BASE_ENABLE | BASE_X2APIC);
    uint64_t mode = base & (BASE_ENABLE | BASE_X2APIC);

    valid |= BASE_BSP | BASE_ENABLE;
    if (cpu_has(cpu, FEAT_1_ECX, CPUID_X2APIC)) {
        valid |= BASE_X2APIC;
    }
    /* The legal changes of mode: SDM, figure "Local x2APIC State Transitions". */
    if ((base & ~valid) || mode == BASE_X2APIC ||
        (mode_old == (BASE_ENABLE | BASE_X2APIC) && mode == BASE_ENABLE) ||
        (mode_old == 0 && mode == (BASE_ENABLE | BASE_X2APIC))) {
        return false;
    }
    APIC_STORE(a->base, base);
    if (mode != mode_old) {
        if (!(mode & BASE_ENABLE) || !(mode_old & BASE_ENABLE)) {
            registers_reset(a);
            APIC_STORE(a->id, cpu->config.apic_id);
        } else { /* to x2APIC */
            APIC_STORE(a->id, cpu->config.apic_id);
            APIC_STORE(a->ldr, (a->id >> 4) << 16 | 1u << (a->id & 15));
        }
    }
    apic_bus_remap(a->bus, a);
    reconsider(a);
    return true;
}

/* ---- registers ---- */

void apic_send_ipi(Apic *a, uint32_t dest, uint32_t icr)
{
    ApicMessage msg = {
        .dest = dest,
        .logical = icr & (1u << 11),
        .mode = (ApicDelivery)(icr >> 8 & 7),
        .vector = (uint8_t)icr,
        .level = icr & (1u << 15),
        .assert = !(icr & (1u << 15)) || (icr & (1u << 14)),
    };
    unsigned n = __atomic_load_n(&a->bus->count, __ATOMIC_ACQUIRE);

    if ((msg.mode == APIC_FIXED || msg.mode == APIC_LOWEST) && msg.vector < 16) {
        set_error(a, ESR_SEND_ILLEGAL);
        return;
    }
    /* Only INIT knows a level; all other messages go as edges (SDM, "ICR"). */
    if (msg.mode != APIC_INIT) {
        msg.level = false;
        msg.assert = true;
    }
    switch (icr >> 18 & 3) {
    case 0:
        apic_bus_deliver(a->bus, &msg);
        break;
    case 1: /* self */
        if (msg.mode == APIC_FIXED) {
            apic_accept(a, msg.vector, false);
        } else {
            guest_error("apic", "IPI to self with mode %d", msg.mode);
        }
        break;
    default: /* all, and all but self */
        for (unsigned i = 0; i < n; i++) {
            Apic *t = APIC_LOAD(a->bus->apics[i]);

            if (t && !((icr >> 18 & 3) == 3 && t == a)) {
                msg.logical = false;
                msg.dest = t->id;
                apic_bus_deliver(a->bus, &msg);
            }
        }
        break;
    }
}

static uint32_t lvt_read(const Apic *a, unsigned n)
{
    return APIC_LOAD(a->lvt[n]);
}

static void lvt_write(Apic *a, unsigned n, uint32_t v)
{
    v &= lvt_writable[n];
    if (!(APIC_LOAD(a->svr) & SVR_ENABLE)) {
        v |= LVT_MASKED;
    }
    if (n == LVT_TIMER) {
        apic_timer_set_lvt(a, v);
        return;
    }
    if (n == LVT_LINT0 && (v & LVT_LEVEL)) {
        v |= APIC_LOAD(a->lvt[n]) & LVT_REMOTE_IRR;
    }
    APIC_STORE(a->lvt[n], v);
    if (n == LVT_LINT0) {
        if ((v & LVT_LEVEL) && (v >> LVT_MODE_SHIFT & 7) == APIC_FIXED &&
            APIC_LOAD(a->bus->extint_level)) {
            apic_local(a, n);
        }
        reconsider(a);
    }
}

static void svr_write(Apic *a, uint32_t v)
{
    APIC_STORE(a->svr, v & 0x3ff);
    if (!(v & SVR_ENABLE)) {
        for (unsigned i = 0; i < LVT_COUNT; i++) {
            if (i == LVT_TIMER) {
                apic_timer_set_lvt(a, a->lvt[i] | LVT_MASKED);
            } else {
                __atomic_fetch_or(&a->lvt[i], LVT_MASKED, __ATOMIC_SEQ_CST);
            }
        }
    }
    reconsider(a);
}

bool apic_reg_read(Apic *a, unsigned reg, uint32_t *v)
{
    bool x2 = apic_x2(a);

    switch (reg) {
    case REG_ID:
        *v = x2 ? a->id : a->id << 24;
        return true;
    case REG_VERSION:
        *v = APIC_VERSION;
        return true;
    case REG_TPR:
        *v = a->tpr;
        return true;
    case REG_PPR:
        apic_pv_settle(a);
        *v = apic_ppr(a);
        return true;
    case REG_LDR:
        *v = a->ldr;
        return true;
    case REG_DFR:
        *v = a->dfr;
        return !x2;
    case REG_SVR:
        *v = a->svr;
        return true;
    case REG_ISR ... REG_ISR + 7:
        apic_pv_settle(a);
        *v = a->isr[reg & 7];
        return true;
    case REG_TMR ... REG_TMR + 7:
        *v = APIC_LOAD(a->tmr[reg & 7]);
        return true;
    case REG_IRR ... REG_IRR + 7:
        *v = APIC_LOAD(a->irr[reg & 7]);
        return true;
    case REG_ESR:
        *v = a->esr;
        return true;
    case REG_ICR_LO:
        *v = a->icr_lo;
        return true;
    case REG_ICR_HI:
        *v = a->icr_hi;
        return !x2;
    case REG_LVT ... REG_LVT + LVT_COUNT - 1:
        *v = lvt_read(a, reg - REG_LVT);
        return true;
    case REG_INITIAL_COUNT:
        *v = a->initial_count;
        return true;
    case REG_CURRENT_COUNT:
        *v = apic_timer_count(a);
        return true;
    case REG_DIVIDE:
        *v = a->divide;
        return true;
    case REG_APR:
    case REG_RRD:
    case REG_EOI:
        *v = 0;
        return !x2;
    default:
        return false;
    }
}

bool apic_reg_write(Apic *a, unsigned reg, uint32_t v)
{
    bool x2 = apic_x2(a);

    trace(apic_reg_write, a->index, reg, v);
    switch (reg) {
    case REG_ID:
        if (!x2) {
            APIC_STORE(a->id, v >> 24);
        }
        return !x2;
    case REG_TPR:
        set_tpr(a, (uint8_t)v);
        return true;
    case REG_EOI:
        apic_pv_settle(a);
        apic_pv_take_back(a); /* it was for the interrupt that ends now */
        end_of_interrupt(a);
        return true;
    case REG_LDR:
        if (!x2) {
            APIC_STORE(a->ldr, v & 0xff000000);
        }
        return !x2;
    case REG_DFR:
        if (!x2) {
            APIC_STORE(a->dfr, v | 0x0fffffff);
        }
        return !x2;
    case REG_SVR:
        svr_write(a, v);
        return true;
    case REG_ESR:
        a->esr = __atomic_exchange_n(&a->esr_pending, 0, __ATOMIC_SEQ_CST);
        return true;
    case REG_ICR_LO:
        a->icr_lo = v & 0xccfff;
        apic_send_ipi(a, a->icr_hi >> 24 == 0xff ? DEST_ALL : a->icr_hi >> 24, a->icr_lo);
        return true;
    case REG_ICR_HI:
        a->icr_hi = v & 0xff000000;
        return !x2;
    case REG_LVT ... REG_LVT + LVT_COUNT - 1:
        lvt_write(a, reg - REG_LVT, v);
        return true;
    case REG_INITIAL_COUNT:
        apic_timer_set_count(a, v);
        return true;
    case REG_DIVIDE:
        apic_timer_set_divide(a, v & 0xb);
        return true;
    default:
        return false;
    }
}

/* ---- x2APIC registers ---- */

static bool read_msr(void *opaque, uint32_t msr, uint64_t *v)
{
    Apic *a = opaque;
    uint32_t lo;

    if (msr == IA32_TSC_DEADLINE) {
        *v = apic_timer_deadline(a);
        return cpu_has(&a->vcpu->cpu, FEAT_1_ECX, CPUID_TSC_DEADLINE);
    }
    if (!apic_x2(a) || msr < IA32_X2APIC_BASE || msr > IA32_X2APIC_BASE + 0xff) {
        return false;
    }
    if (!apic_reg_read(a, msr - IA32_X2APIC_BASE, &lo)) {
        return false;
    }
    *v = lo;
    if (msr - IA32_X2APIC_BASE == REG_ICR_LO) {
        *v |= (uint64_t)a->icr_hi << 32;
    }
    return true;
}

/* Which bits of each register must be zero, over and above bits 63:32. */
static bool x2_reserved(unsigned reg, uint32_t v)
{
    switch (reg) {
    case REG_TPR:
        return v & ~0xffu;
    case REG_EOI:
    case REG_ESR:
        return v;
    case REG_SVR:
        return v & ~0x3ffu;
    case REG_LVT ... REG_LVT + LVT_COUNT - 1:
        return v & ~(lvt_writable[reg - REG_LVT] | 1u << 12 | LVT_REMOTE_IRR);
    case REG_DIVIDE:
        return v & ~0xbu;
    case REG_SELF_IPI:
        return v & ~0xffu;
    default:
        return false;
    }
}

static bool write_msr(void *opaque, uint32_t msr, uint64_t v)
{
    Apic *a = opaque;
    unsigned reg = msr - IA32_X2APIC_BASE;

    if (msr == IA32_TSC_DEADLINE) {
        if (!cpu_has(&a->vcpu->cpu, FEAT_1_ECX, CPUID_TSC_DEADLINE)) {
            return false;
        }
        apic_timer_set_deadline(a, v);
        return true;
    }
    if (msr == KVM_PV_EOI_EN) {
        return apic_pv_enable(a, v);
    }
    if (!apic_x2(a) || reg > 0xff) {
        return false;
    }
    if (reg == REG_ICR_LO) {
        if ((uint32_t)v & ~0xccfffu) {
            return false;
        }
        a->icr_hi = (uint32_t)(v >> 32);
        a->icr_lo = (uint32_t)v;
        apic_send_ipi(a, a->icr_hi, a->icr_lo);
        return true;
    }
    if (v >> 32 || x2_reserved(reg, (uint32_t)v)) {
        return false;
    }
    if (reg == REG_SELF_IPI) {
        apic_send_ipi(a, 0, (uint32_t)v | 1u << 18);
        return true;
    }
    return apic_reg_write(a, reg, (uint32_t)v);
}

static void send_ipi(void *opaque, uint32_t dest, uint32_t icr)
{
    apic_send_ipi(opaque, dest, icr);
}

const ApicOps apic_cpu_ops = {
    .ack_interrupt = ack_interrupt,
    .get_tpr = get_tpr,
    .set_tpr = set_tpr,
    .get_base = get_base,
    .set_base = set_base,
    .read_msr = read_msr,
    .write_msr = write_msr,
    .send_ipi = send_ipi,
    .init = init_signal,
    .get_page = apic_get_page,
    .set_page = apic_set_page,
};

/* ---- the device ---- */

static bool apic_realize(Device *dev, Error **errp)
{
    Apic *a = APIC(dev);

    if (!a->bus) {
        error_set(errp, "an APIC is part of a CPU and cannot be made alone");
        return false;
    }
    dev->owner.loop = NULL;
    apic_timer_init(a, dev->machine->platform);
    if (!apic_bus_attach(a->bus, a, errp)) {
        timer_fini(&a->timer);
        return false;
    }
    a->kernel = apic_bus_chip(a->bus) != NULL;
    a->vcpu->cpu.apic = a;
    a->vcpu->cpu.apic_ops = &apic_cpu_ops;
    return true;
}

static void apic_unrealize(Device *dev)
{
    Apic *a = APIC(dev);

    a->vcpu->cpu.apic_ops = NULL;
    a->vcpu->cpu.apic = NULL;
    apic_bus_detach(a->bus, a);
    timer_fini(&a->timer);
}

static void apic_reset(Device *dev)
{
    Apic *a = APIC(dev);

    APIC_STORE(a->base, APIC_DEFAULT_BASE | BASE_ENABLE | (a->index == 0 ? BASE_BSP : 0));
    APIC_STORE(a->id, a->vcpu->cpu.config.apic_id);
    registers_reset(a);
    apic_bus_remap(a->bus, a);
    cpu_interrupt_clear(&a->vcpu->cpu, IRQ_HARD);
}

static void apic_loaded(void *obj)
{
    Apic *a = obj;

    if (!a->kernel) {
        apic_timer_rearm(a);
    }
    apic_bus_remap(a->bus, a);
    apic_poke(a);
}

static const StateDesc apic_state = {
    .name = "apic",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_UINT(Apic, base),
            STATE_F_UINT(Apic, id),
            STATE_F_UINT(Apic, ldr),
            STATE_F_UINT(Apic, dfr),
            STATE_F_UINT(Apic, svr),
            STATE_F_UINT_MAX(Apic, tpr, 0xff),
            STATE_F_UINT_ARRAY(Apic, irr),
            STATE_F_UINT_ARRAY(Apic, tmr),
            STATE_F_UINT_ARRAY(Apic, isr),
            STATE_F_UINT_ARRAY(Apic, lvt),
            STATE_F_UINT(Apic, esr_pending),
            STATE_F_UINT_MAX(Apic, extint_latched, 1),
            STATE_F_UINT_MAX(Apic, pv_flag, 1),
            STATE_F_UINT(Apic, esr),
            STATE_F_UINT(Apic, icr_lo),
            STATE_F_UINT(Apic, icr_hi),
            STATE_F_UINT(Apic, initial_count),
            STATE_F_UINT_MAX(Apic, divide, 0xb),
            STATE_F_INT_RANGE(Apic, timer_start, 0, INT64_MAX / 2),
            STATE_F_UINT(Apic, tsc_deadline),
            {0},
        },
    .loaded = apic_loaded,
};

static void apic_instance_init(Object *obj)
{
    Apic *a = (Apic *)obj;

    pthread_mutex_init(&a->timer_lock, NULL);
    a->timer_next = -1;
}

static void apic_finalize(Object *obj)
{
    pthread_mutex_destroy(&((Apic *)obj)->timer_lock);
}

static const DeviceClass apic_class = {
    .realize = apic_realize,
    .unrealize = apic_unrealize,
    .reset = apic_reset,
    .state = &apic_state,
    .category = DEVICE_CATEGORY_CPU,
    .not_hotpluggable = true,
};

OBJECT_TYPE(apic_type, .name = TYPE_APIC, .parent = TYPE_DEVICE, .help = "local APIC of a CPU",
            .size = sizeof(Apic), .klass = &apic_class, .init = apic_instance_init,
            .finalize = apic_finalize)

Apic *apic_new(ApicBus *bus, Machine *m, Vcpu *v, Error **errp)
{
    Apic *a = APIC(device_new(TYPE_APIC));

    a->bus = bus;
    a->vcpu = v;
    return device_realize(&a->dev, m, NULL, errp) ? a : NULL;
}

uint32_t apic_id(const Apic *a)
{
    return APIC_LOAD(a->id);
}

static void print_vectors(GString *out, const char *name, const uint32_t *words)
{
    g_string_append_printf(out, "%s\t", name);
    for (int v = 0, any = 0; v < 256; v++) {
        if (words[v >> 5] >> (v & 31) & 1) {
            g_string_append_printf(out, " %d", v);
            any = 1;
        } else if (v == 255 && !any) {
            g_string_append(out, " (none)");
        }
    }
    g_string_append_c(out, '\n');
}

void apic_print(Apic *a, GString *out)
{
    static const char *const names[LVT_COUNT] = {"LVTT", "LVTTHMR", "LVTPC",
                                                 "LVT0", "LVT1",    "LVTERR"};

    g_string_append_printf(out, "dumping local APIC state for CPU %u\n\n", a->index);
    for (int i = 0; i < LVT_COUNT; i++) {
        g_string_append_printf(out, "%s\t 0x%08x\n", names[i], a->lvt[i]);
    }
    g_string_append_printf(out, "Timer\t DCR=0x%x initial_count = %u current_count = %u\n",
                           a->divide, a->initial_count, apic_timer_count(a));
    g_string_append_printf(out, "SPIV\t 0x%08x APIC %s, focus=%s, spurious vec %u\n", a->svr,
                           a->svr & SVR_ENABLE ? "enabled" : "disabled",
                           a->svr & SVR_FOCUS ? "off" : "on", a->svr & 0xff);
    g_string_append_printf(out, "ICR\t 0x%08x dest 0x%08x\nESR\t 0x%08x\n", a->icr_lo, a->icr_hi,
                           a->esr);
    print_vectors(out, "ISR", a->isr);
    print_vectors(out, "IRR", a->irr);
    if (a->vcpu->cpu.kvm_eoi & 1) {
        g_string_append_printf(out, "\nPV EOI\t 0x%llx %s, %llu ended\n",
                               (unsigned long long)(a->vcpu->cpu.kvm_eoi & ~1ull),
                               APIC_LOAD(a->pv_flag) ? "given" : "not given",
                               (unsigned long long)a->pv_ended);
    }
    g_string_append_printf(out, "\nTPR 0x%02x DFR 0x%x LDR 0x%02x PPR 0x%02x base 0x%llx id %u\n",
                           a->tpr, a->dfr >> 28, a->ldr >> 24, apic_ppr(a),
                           (unsigned long long)a->base, a->id);
}
