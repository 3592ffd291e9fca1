/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/kvm/kvm.h: what the parts of the engine "kvm" share.
 *
 * The kernel's interface is described in Documentation/virt/kvm/api.rst.  One Kvm a
 * machine, one KvmCpu a vCPU.  kvm.c: options, capabilities, life.  vcpu.c: the run
 * loop.  slots.c: guest memory.  irq.c: lines, messages, eventfds.  The state of a CPU
 * goes in and out in target/i386/kvm/.
 *
 * Threads: a KvmCpu belongs to its vCPU's thread, but for `run->immediate_exit` and
 * `in_run`, by which others get its attention.  A vCPU that runs holds no lock.
 */
#ifndef RHEA_ACCEL_KVM_KVM_H
#define RHEA_ACCEL_KVM_KVM_H

#include "accel/accel.h"

#include <linux/kvm.h>
#include <pthread.h>

typedef struct Kvm Kvm;
typedef struct KvmCpu KvmCpu;
typedef struct KvmSpace KvmSpace;

typedef enum KvmIrqchipMode {
    KVM_IRQCHIP_MODE_ON,
    KVM_IRQCHIP_MODE_OFF,
    KVM_IRQCHIP_MODE_SPLIT
} KvmIrqchipMode;

#define KVM_MAX_PINS 24
#define KVM_MAX_ROUTES 1024

/* One address space of the guest: 0 the ordinary one, 1 that of system-management mode. */
struct KvmSpace {
    MemoryListener listener;
    Kvm *kvm;
    unsigned id;
    bool listening;
    GArray *slots;  /* KvmSlot: what the kernel has */
    GArray *wanted; /* KvmSlot: what the view being made needs */
};

typedef struct KvmSlot {
    uint64_t gpa, size, hva;
    uint32_t flags;
    unsigned id;
    RamBlock *ram; /* referenced */
    uint64_t ram_offset;
} KvmSlot;

struct Kvm {
    Accel *accel;
    int fd, vm;
    size_t run_size;
    KvmIrqchipMode irqchip;
    GArray *missing; /* unsigned: indexes of capabilities that the kernel lacks */
    uint32_t msr_count;
    uint32_t *msrs; /* that the kernel saves: sorted */
    struct kvm_cpuid2 *cpuid;
    bool smm, xsave2_large, sregs2, debugregs, xcrs, vcpu_events, triple_fault;
    bool readonly_mem, intr_shadow, block_irqs, exception_payload, mce, clock_ctrl, adjust_clock,
        signal_msi;
    uint32_t xsave_size, nested_size;
    uint32_t dirty_ring; /* entries; 0: bitmaps */
    bool dirty_ring_acq_rel;
    unsigned coalesced_page; /* of struct kvm_run; 0: none */
    bool coalesced_pio;

    /* memory: slots.c; `lock` is taken last */
    KvmSpace spaces[2];
    MemoryListener io_listener;
    bool io_listening;
    pthread_mutex_t lock;
    uint64_t slot_ids[512]; /* bitmap of ids in use, both spaces */
    unsigned max_slots;
    pthread_mutex_t dirty_lock;
    pthread_mutex_t ring_lock; /* of coalesced writes */

    /* vCPUs: irq_lock guards the list and the routes */
    GPtrArray *cpus; /* KvmCpu* */
    bool inhibit;    /* atomic: no vCPU may enter the guest */
    pthread_mutex_t inhibit_lock;
    pthread_cond_t inhibit_cond;

    /* irq.c */
    AccelIrqchip ops;
    pthread_mutex_t irq_lock;
    struct kvm_irq_routing *routes; /* KVM_MAX_ROUTES entries */
    uint32_t pins_routed;           /* split: pins with a message */
    uint64_t msi_used[KVM_MAX_ROUTES / 64];
    void (*eoi)(void *opaque, uint8_t vector);
    void *eoi_opaque;
    void (*pit_running)(void *opaque, bool run);
    void *pit_opaque;

    bool clock_valid;
    uint64_t clock; /* kvm-clock while the machine stands still */
};

struct KvmCpu {
    Kvm *kvm;
    Vcpu *vcpu;
    int fd;
    struct kvm_run *run;
    struct kvm_dirty_gfn *ring;
    uint32_t ring_next;
    bool dirty;    /* CPUX86 is newer than the kernel */
    bool synced;   /* CPUX86 is what the kernel has; ends when the guest runs */
    bool in_run;   /* atomic */
    bool complete; /* an access is to be completed by entering once more */
    bool started;  /* CPUID and the like are set */
    bool said;     /* complained about an MSR */
    int64_t tsc_offset;
    uint8_t *xsave;
    struct kvm_nested_state *nested;
    bool debug_stale; /* atomic enough: written while it is paused */
    bool debugging;
};

static inline Kvm *kvm_of(const Accel *a)
{
    return a->data;
}
static inline KvmCpu *kvm_cpu(const Vcpu *v)
{
    return v->cpu.engine;
}
static inline bool kvm_kernel_apic(const Kvm *k)
{
    return k->irqchip != KVM_IRQCHIP_MODE_OFF;
}
/* What Rhea asks of the kernel, for `info jit`, -d unimp and tests. */
typedef struct KvmCapability {
    int cap;
    const char *name;
    const char *loss; /* what does not work without it; NULL: nothing works */
} KvmCapability;
const KvmCapability *kvm_capabilities(unsigned *n);

int kvm_ioctl(int fd, unsigned long request, void *arg);
int kvm_check(const Kvm *k, int cap);

/* ---- vcpu.c ---- */
bool kvm_vcpu_create(Accel *a, Vcpu *v, Error **errp);
void kvm_vcpu_destroy(Vcpu *v);
RunExit kvm_run(Vcpu *v);
void kvm_kick(Vcpu *v);
bool kvm_sync_out(Vcpu *v, Error **errp);
bool kvm_sync_in(Vcpu *v, Error **errp);
/* No vCPU is in the guest between the two; not from a vCPU in kvm_run()'s innermost part. */
void kvm_inhibit_begin(Kvm *k);
void kvm_inhibit_end(Kvm *k);

/* ---- debug.c ---- */
bool kvm_debug_check(Accel *a, Error **errp);
void kvm_debug_changed(Accel *a);
void kvm_debug_update(KvmCpu *kc);
bool kvm_debug_exit(KvmCpu *kc);

/* ---- report.c ---- */
void kvm_report_exit(KvmCpu *kc, const char *what);

/* ---- slots.c ---- */
/* From now on the kernel knows the guest's memory. Idempotent; no vCPU runs. */
void kvm_memory_start(Kvm *k);
void kvm_memory_stop(Kvm *k);
void kvm_memory_init(Kvm *k);
void kvm_memory_fini(Kvm *k);
void kvm_dirty_ring_reap(Kvm *k);
/* Does the writes that the kernel has put off. */
void kvm_flush_coalesced(KvmCpu *kc);

/* ---- irq.c ---- */
bool kvm_irqchip_create(Kvm *k, Error **errp);
void kvm_irqchip_fini(Kvm *k);
void kvm_eventfds(MemoryListener *l, bool pio);

/* ---- target/i386/kvm/ ---- */
/* cpuid.c: what -cpu can ask for; tells the kernel what was chosen. */
bool kvm_cpu_engine(Accel *a, CpuEngineInfo *info, Error **errp);
bool kvm_read_cpuid(Kvm *k, Error **errp);
bool kvm_set_cpuid(KvmCpu *kc, Error **errp);
/* hyperv.c: what the kernel has; before and after a vCPU gets its CPUID; MSRs. */
void kvm_hyperv_host(const Kvm *k, HyperVHost *h);
bool kvm_hyperv_setup(KvmCpu *kc, Error **errp);
bool kvm_hyperv_start(KvmCpu *kc, Error **errp);
void kvm_get_hyperv(KvmCpu *kc);
void kvm_put_hyperv(KvmCpu *kc);
/* What the guest said when it crashed; the state is in CPUX86. */
void kvm_hyperv_crash(KvmCpu *kc, uint64_t info[5]);
/* false: nobody knows this exit. */
bool kvm_hyperv_exit(KvmCpu *kc);
/* state.c, msr.c, xsave.c: CPUX86 and the kernel. */
bool kvm_get_state(KvmCpu *kc, Error **errp);
bool kvm_put_state(KvmCpu *kc, Error **errp);
bool kvm_read_msr_list(Kvm *k, Error **errp);
bool kvm_get_msrs(KvmCpu *kc, Error **errp);
bool kvm_put_msrs(KvmCpu *kc, Error **errp);
bool kvm_get_xsave(KvmCpu *kc, Error **errp);
bool kvm_put_xsave(KvmCpu *kc, Error **errp);
/*
 * nested.c: a guest's own guests.  Before control registers are put, prepare() brings the
 * kernel to rest if something else is to follow; put_nested() then, if put_later says so.
 */
void kvm_nested_create(KvmCpu *kc);
void kvm_nested_destroy(KvmCpu *kc);
bool kvm_get_nested(KvmCpu *kc, Error **errp);
bool kvm_nested_prepare(KvmCpu *kc, bool *put_later, Error **errp);
bool kvm_put_nested(KvmCpu *kc, Error **errp);
/* Also for tests: between CPUX86 and an XSAVE area in the standard format. */
void kvm_xsave_unpack(CPUX86 *cpu, const uint8_t *area, size_t size);
void kvm_xsave_pack(const CPUX86 *cpu, uint8_t *area, size_t size);

#endif
