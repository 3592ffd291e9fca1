/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/intc/apic_int.h: shared by the parts of the local APIC (apic.c: registers
 * and priorities, apic_timer.c, apic_bus.c: messages and memory).  Not for others.
 */
#ifndef RHEA_HW_INTC_APIC_INT_H
#define RHEA_HW_INTC_APIC_INT_H

#include "hw/intc/apic.h"

#include <pthread.h>

enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

#define LVT_VECTOR 0xffu
#define LVT_MODE_SHIFT 8
#define LVT_REMOTE_IRR (1u << 14)
#define LVT_LEVEL (1u << 15)
#define LVT_MASKED (1u << 16)
#define LVT_TIMER_MODE_SHIFT 17

#define SVR_ENABLE (1u << 8)
#define SVR_FOCUS (1u << 9)

#define BASE_BSP (1u << 8)
#define BASE_X2APIC (1u << 10)
#define BASE_ENABLE (1u << 11)

#define ESR_SEND_ILLEGAL (1u << 5)
#define ESR_RECEIVE_ILLEGAL (1u << 6)
#define ESR_REGISTER (1u << 7)

#define DEST_ALL UINT32_MAX

struct Apic {
    Device dev;
    ApicBus *bus;
    Vcpu *vcpu;
    unsigned index; /* on the bus */

    /* Read by others when they look for a destination: atomic. */
    uint64_t base;
    uint32_t id; /* in x2APIC mode the whole; else 8 bits count */
    uint32_t ldr, dfr, svr, tpr;
    uint32_t irr[8], tmr[8]; /* set by anybody */
    uint32_t isr[8];
    uint32_t lvt[LVT_COUNT];
    uint32_t esr_pending;
    uint32_t extint_latched; /* an ExtINT message arrived */

    uint32_t pv_flag; /* 1: the guest may have ended the interrupt (apic_pv.c) */

    /* The vCPU's own. */
    uint32_t esr, icr_lo, icr_hi;
    uint64_t pv_ended; /* how many it has ended so, for `info pic` */

    /* The timer: its lock is below everything but nothing else is called under it. */
    pthread_mutex_t timer_lock;
    Timer timer;
    uint32_t initial_count, divide;
    int64_t timer_start; /* when the count was loaded, CLOCK_VIRTUAL */
    int64_t timer_next;  /* when it expires, or -1 */
    uint64_t tsc_deadline;

    bool kernel; /* the engine has the real one: this is where its state is kept meanwhile */

    Region relocated; /* mapped when the guest has moved the page */
    bool relocated_mapped;
};

struct ApicBus {
    Machine *machine;
    Region region;
    MemOwner owner;
    Apic **apics; /* by index; entries are set once */
    unsigned max, count;
    unsigned lowest_turn;
    int (*ext_ack)(void *opaque);
    bool (*ext_pending)(void *opaque);
    void *ext_opaque;
    uint32_t extint_level;
    struct {
        ApicEoiFn *fn;
        void *opaque;
    } eoi[8];
    unsigned n_eoi;
};

#define APIC(o) OBJECT_CAST(Apic, o, TYPE_APIC)
#define APIC_LOAD(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define APIC_STORE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_SEQ_CST)

static inline bool apic_enabled(const Apic *a)
{
    return APIC_LOAD(a->base) & BASE_ENABLE;
}
static inline bool apic_x2(const Apic *a)
{
    return (APIC_LOAD(a->base) & (BASE_ENABLE | BASE_X2APIC)) == (BASE_ENABLE | BASE_X2APIC);
}
static inline bool apic_software_on(const Apic *a)
{
    return apic_enabled(a) && (APIC_LOAD(a->svr) & SVR_ENABLE);
}
/* Highest set bit of a 256-bit vector, or -1. */
static inline int apic_highest(const uint32_t *words)
{
    for (int i = 7; i >= 0; i--) {
        uint32_t w = APIC_LOAD(words[i]);

        if (w) {
            return i * 32 + 31 - __builtin_clz(w);
        }
    }
    return -1;
}

/* Register numbers: MMIO offset >> 4, and MSR - 800h. */
enum {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_APR = 0x09,
    REG_PPR = 0x0a,
    REG_EOI = 0x0b,
    REG_RRD = 0x0c,
    REG_LDR = 0x0d,
    REG_DFR = 0x0e,
    REG_SVR = 0x0f,
    REG_ISR = 0x10,
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_ICR_LO = 0x30,
    REG_ICR_HI = 0x31,
    REG_LVT = 0x32,
    REG_INITIAL_COUNT = 0x38,
    REG_CURRENT_COUNT = 0x39,
    REG_DIVIDE = 0x3e,
    REG_SELF_IPI = 0x3f,
};

/* ---- apic.c ---- */
/* Any thread: tells the vCPU to look. */
void apic_signal(Apic *a, uint32_t irq);
uint8_t apic_ppr(const Apic *a);
/* Is there something the CPU would take now? */
bool apic_deliverable(const Apic *a);
/* Any thread: after a change that may make something deliverable. */
void apic_poke(Apic *a);
void apic_accept(Apic *a, uint8_t vector, bool level);
/* A local source: the entry's mode decides what happens. */
void apic_local(Apic *a, unsigned lvt);
/* One access to register `reg` (offset >> 4). false: no such register, or not so. */
bool apic_reg_read(Apic *a, unsigned reg, uint32_t *v);
bool apic_reg_write(Apic *a, unsigned reg, uint32_t v);
void apic_send_ipi(Apic *a, uint32_t dest, uint32_t icr_lo);
extern const ApicOps apic_cpu_ops;
/* On the vCPU: ends the interrupt that the guest has ended by its flag. */
void apic_pv_settle(Apic *a);

/* ---- apic_pv.c: KVM's paravirtual EOI; on the vCPU ---- */
/* Has the guest cleared the flag that it was given? */
bool apic_pv_ended(Apic *a);
/* The guest must write to the register again. */
void apic_pv_take_back(Apic *a);
/* The CPU has taken `vector`: may it use the flag? */
void apic_pv_offer(Apic *a, uint8_t vector);
/* A write of MSR_KVM_PV_EOI_EN; false: #GP. */
bool apic_pv_enable(Apic *a, uint64_t v);

/* ---- apic_timer.c ---- */
void apic_timer_init(Apic *a, EventLoop *loop);
void apic_timer_reset(Apic *a);
void apic_timer_set_count(Apic *a, uint32_t v);
void apic_timer_set_divide(Apic *a, uint32_t v);
void apic_timer_set_lvt(Apic *a, uint32_t v);
uint32_t apic_timer_count(Apic *a);
void apic_timer_set_deadline(Apic *a, uint64_t tsc);
uint64_t apic_timer_deadline(Apic *a);
void apic_timer_rearm(Apic *a); /* after a load */
/* The count goes from here (a timer that ran elsewhere). */
void apic_timer_set_current(Apic *a, uint32_t initial, uint32_t current, uint64_t deadline);

/* ---- apic_kernel.c ---- */
/* The message as a write to memory. */
void apic_message_encode(const ApicMessage *msg, uint64_t *address, uint32_t *data);
void apic_kernel_deliver(ApicBus *bus, const ApicMessage *msg);
void apic_kernel_lint1(Apic *a); /* the NMI line of a CPU whose APIC is in the kernel */
void apic_get_page(void *apic, ApicPage *p);
void apic_set_page(void *apic, const ApicPage *p);
static inline const AccelIrqchip *apic_bus_chip(const ApicBus *bus)
{
    return bus->machine->accel ? bus->machine->accel->irqchip : NULL;
}

/* ---- apic_bus.c ---- */
bool apic_bus_attach(ApicBus *bus, Apic *a, Error **errp);
void apic_bus_detach(ApicBus *bus, Apic *a);
/* The page at `base` answers for this CPU too. From the vCPU's thread, no lock held. */
void apic_bus_remap(ApicBus *bus, Apic *a);
void apic_bus_eoi(ApicBus *bus, uint8_t vector);

#endif
