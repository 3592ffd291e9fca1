/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM's paravirtual end of interrupt (Linux: Documentation/virt/kvm/x86/msr.rst, MSR_KVM_PV_EOI_EN):
 * with an interrupt the CPU gets a flag in memory of the guest's choice, and may end the interrupt
 * by clearing it instead of writing to the APIC.
 *
 * The flag is given when nothing waits for the end of the interrupt, and is looked at when the
 * CPU next has to do with its APIC; until then ISR may still have the interrupt that the guest has
 * ended (Apic.pv_flag).  What arrives meanwhile makes the CPU look (apic_poke()).  All but that
 * happens on the vCPU's thread, between two of its instructions.
 */
#include "hw/intc/apic_int.h"
#include "memory/memory.h"
#include "util/rcu.h"

#define PV_EOI_ENABLED 1u
#define PV_EOI_RESERVED 2u

/* The guest's flag, and what to put there; false: that is no RAM. */
static bool access_flag(Apic *a, bool write, uint8_t *value)
{
    const CPUX86 *cpu = &a->vcpu->cpu;
    hwaddr addr = cpu->kvm_eoi & ~(uint64_t)(PV_EOI_ENABLED | PV_EOI_RESERVED);
    MemTarget t;
    bool ok;

    rcu_read_lock();
    address_space_lookup(cpu->as, addr, &t);
    ok = t.host && t.ram && t.writable;
    if (ok && write) {
        __atomic_store_n(t.host, *value, __ATOMIC_RELAXED);
        ram_mark_dirty(t.ram, t.ram_offset, 1);
    } else if (ok) {
        *value = __atomic_load_n(t.host, __ATOMIC_RELAXED);
    }
    rcu_read_unlock();
    return ok;
}

bool apic_pv_ended(Apic *a)
{
    uint8_t flag = 0;

    /* A flag whose memory is gone cannot have been cleared. */
    return APIC_LOAD(a->pv_flag) && access_flag(a, false, &flag) && !(flag & 1);
}

void apic_pv_take_back(Apic *a)
{
    uint8_t flag = 0;

    if (APIC_LOAD(a->pv_flag)) {
        (void)access_flag(a, true, &flag);
        APIC_STORE(a->pv_flag, 0);
    }
}

void apic_pv_offer(Apic *a, uint8_t vector)
{
    uint8_t flag = 1;

    /* I/O APICs want to hear of the end of level interrupts. */
    if (!(a->vcpu->cpu.kvm_eoi & PV_EOI_ENABLED) || a->kernel ||
        (APIC_LOAD(a->tmr[vector >> 5]) >> (vector & 31) & 1) || apic_highest(a->irr) >= 0) {
        return;
    }
    APIC_STORE(a->pv_flag, 1); /* before IRR is looked at again, as apic_poke() does */
    if (!access_flag(a, true, &flag)) {
        APIC_STORE(a->pv_flag, 0);
    }
}

bool apic_pv_enable(Apic *a, uint64_t v)
{
    if (v & PV_EOI_RESERVED) {
        return false;
    }
    apic_pv_settle(a);
    apic_pv_take_back(a);
    a->vcpu->cpu.kvm_eoi = v;
    return true;
}
