/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Local APICs that the engine has: messages to them, and their registers as the
 * device keeps them for reset, snapshots and the monitor.
 */
#include "hw/intc/apic_int.h"
#include "util/log.h"

#include <string.h>

void apic_message_encode(const ApicMessage *msg, uint64_t *address, uint32_t *data)
{
    uint32_t dest = msg->dest == DEST_ALL ? 0xff : msg->dest;

    *address = APIC_DEFAULT_BASE | (uint64_t)(dest & 0xff) << 12 | (uint64_t)(dest & ~0xffu) << 32;
    if (msg->logical) {
        *address |= 1u << 2;
    }
    if (msg->mode == APIC_LOWEST) {
        *address |= 1u << 3;
    }
    *data = msg->vector | (uint32_t)msg->mode << 8 | (msg->level ? 3u << 14 : 0);
}

void apic_kernel_deliver(ApicBus *bus, const ApicMessage *msg)
{
    uint64_t address;
    uint32_t data;

    apic_message_encode(msg, &address, &data);
    apic_bus_chip(bus)->msi(bus->machine->accel, address, data);
}

static void lint1_on_vcpu(Vcpu *v, void *opaque)
{
    Apic *a = opaque;
    uint32_t e;

    if (!vcpu_sync_out(v, NULL)) {
        return;
    }
    e = APIC_LOAD(a->lvt[LVT_LINT1]);
    if (!apic_enabled(a) || (!(e & LVT_MASKED) && (e >> LVT_MODE_SHIFT & 7) == APIC_NMI)) {
        cpu_interrupt(&v->cpu, IRQ_NMI);
    }
}

void apic_kernel_lint1(Apic *a)
{
    vcpu_run_on_async(a->vcpu, lint1_on_vcpu, a);
}

/* ---- the register page ---- */

static uint32_t get(const ApicPage *p, unsigned reg)
{
    return ld_le32(p->regs + reg * 16);
}

static void put(ApicPage *p, unsigned reg, uint32_t v)
{
    st_le32(p->regs + reg * 16, v);
}

void apic_get_page(void *apic, ApicPage *p)
{
    Apic *a = apic;

    memset(p, 0, sizeof(*p));
    p->base = APIC_LOAD(a->base);
    p->tsc_deadline = apic_timer_deadline(a);
    put(p, REG_ID, apic_x2(a) ? a->id : a->id << 24);
    put(p, REG_VERSION, 0x14u | (LVT_COUNT - 1u) << 16);
    put(p, REG_TPR, a->tpr);
    put(p, REG_LDR, a->ldr);
    put(p, REG_DFR, a->dfr);
    put(p, REG_SVR, a->svr);
    for (unsigned i = 0; i < 8; i++) {
        put(p, REG_ISR + i, a->isr[i]);
        put(p, REG_TMR + i, a->tmr[i]);
        put(p, REG_IRR + i, a->irr[i]);
    }
    put(p, REG_ESR, a->esr | a->esr_pending);
    put(p, REG_ICR_LO, a->icr_lo);
    put(p, REG_ICR_HI, a->icr_hi);
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        put(p, REG_LVT + i, a->lvt[i]);
    }
    put(p, REG_INITIAL_COUNT, a->initial_count);
    put(p, REG_CURRENT_COUNT, apic_timer_count(a));
    put(p, REG_DIVIDE, a->divide);
}

void apic_set_page(void *apic, const ApicPage *p)
{
    Apic *a = apic;

    APIC_STORE(a->base, p->base);
    APIC_STORE(a->id, apic_x2(a) ? get(p, REG_ID) : get(p, REG_ID) >> 24);
    APIC_STORE(a->tpr, get(p, REG_TPR) & 0xff);
    APIC_STORE(a->ldr, get(p, REG_LDR));
    APIC_STORE(a->dfr, get(p, REG_DFR));
    APIC_STORE(a->svr, get(p, REG_SVR));
    for (unsigned i = 0; i < 8; i++) {
        APIC_STORE(a->isr[i], get(p, REG_ISR + i));
        APIC_STORE(a->tmr[i], get(p, REG_TMR + i));
        APIC_STORE(a->irr[i], get(p, REG_IRR + i));
    }
    a->esr = get(p, REG_ESR);
    APIC_STORE(a->esr_pending, 0);
    a->icr_lo = get(p, REG_ICR_LO);
    a->icr_hi = get(p, REG_ICR_HI);
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        APIC_STORE(a->lvt[i], get(p, REG_LVT + i));
    }
    a->divide = get(p, REG_DIVIDE) & 0xb;
    apic_timer_set_current(a, get(p, REG_INITIAL_COUNT), get(p, REG_CURRENT_COUNT),
                           p->tsc_deadline);
}
