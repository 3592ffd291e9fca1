/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/accel.h: what an engine is, and the threads that run vCPUs.
 *
 * An engine is one table: create, per-vCPU create, run until something needs
 * the rest of the house, state in and out.  Everything around it (thread, halt,
 * stop and continue, work from other threads) is here once, for all engines.
 *
 * Threads: vcpu_* may be called from any thread unless said otherwise.  A vCPU
 * thread holds no lock while it runs guest code.
 */
#ifndef RHEA_ACCEL_ACCEL_H
#define RHEA_ACCEL_ACCEL_H

#include "accel/irqchip.h"
#include "qom/object.h"
#include "target/i386/cpu.h"
#include "target/i386/model.h"

#include <pthread.h>

typedef struct Accel Accel;
typedef struct AccelClass AccelClass;
typedef struct Vcpu Vcpu;

typedef enum RunExit {
    RUN_EXIT_INTERRUPTED, /* IRQ_EXIT was seen, or a time slice ended */
    RUN_EXIT_HALTED,      /* cpu.halted is set and nothing is pending */
    RUN_EXIT_SHUTDOWN,    /* triple fault */
    RUN_EXIT_DEBUG,       /* gdb break- or watchpoint, single step */
    RUN_EXIT_ERROR,       /* engine failure; message already reported */
} RunExit;

/* TypeInfo.klass of types below "accel". */
struct AccelClass {
    const char *name; /* "tcg" */
    bool (*create)(Accel *a, MemorySystem *mem, Error **errp);
    void (*destroy)(Accel *a);
    bool (*vcpu_create)(Accel *a, Vcpu *v, Error **errp); /* on the vCPU's thread */
    void (*vcpu_destroy)(Vcpu *v);
    RunExit (*run)(Vcpu *v);                 /* NULL: no CPU runs (qtest) */
    void (*kick)(Vcpu *v);                   /* make run() return soon; NULL: IRQ_EXIT is enough */
    bool (*sync_out)(Vcpu *v, Error **errp); /* engine's state into CPUX86; NULL: it is there */
    bool (*sync_in)(Vcpu *v, Error **errp);
    void (*info)(Accel *a, GString *out); /* info jit */
    void (*debug_changed)(Accel *a);      /* debug_points changed; NULL: none are possible */
    /* Can it stop at all of debug_points? NULL: at any number of any kind. */
    bool (*debug_check)(Accel *a, Error **errp);
    /* What -cpu can ask for; NULL: what TCG has. After create. */
    bool (*cpu_engine)(Accel *a, CpuEngineInfo *info, Error **errp);
    /* The machine goes on, or stands still: vCPUs paused, control thread. NULL: fine. */
    void (*running)(Accel *a, bool run);
    bool manual_clock; /* qtest */
    bool eventfds;     /* doorbells by eventfd spare it an exit */
    bool has_icount;
    size_t vcpu_data_size; /* of its own data, behind each Vcpu */
};

/* A place where a debugger wants CPUs to stop, by linear address; valid on every CPU. */
typedef enum DebugKind { DEBUG_EXEC, DEBUG_WRITE, DEBUG_READ, DEBUG_ACCESS } DebugKind;
typedef struct DebugPoint {
    DebugKind kind;
    uint64_t addr, len;
} DebugPoint;

/* Why run() ended with RUN_EXIT_DEBUG. */
typedef enum DebugReason { DEBUG_STOP_NONE, DEBUG_STOP_STEP, DEBUG_STOP_POINT } DebugReason;
typedef struct DebugStop {
    DebugReason why;
    DebugPoint point; /* DEBUG_STOP_POINT; `addr`: of the access, for data */
} DebugStop;

/* -icount; `on`: the guest's time is counted in instructions of 1 << shift ns. */
typedef struct IcountConfig {
    bool on;
    bool adaptive; /* shift=auto */
    bool sleep;    /* idle time passes as the host's does */
    bool align;    /* sleeps when the guest's time runs ahead */
    unsigned shift;
} IcountConfig;

struct Accel {
    Object obj;
    MemorySystem *mem;
    ClockSet *clocks;
    AddressSpace *as_memory, *as_io;
    GArray *debug_points; /* DebugPoint; changes only while all vCPUs are paused */
    AddressSpace *as_smm; /* what CPUs see in system-management mode; = as_memory without it */
    const AccelIrqchip *irqchip; /* what the engine has of interrupt controllers; NULL: nothing */
    const char *no_smm;          /* why there is no system-management mode; NULL: there is */
    IcountConfig icount;         /* before create() */
    bool perfmap;                /* -perfmap; before create() */
    uint64_t ram_size;           /* the guest's memory at start, about; 0: unknown */
    void *data;                  /* the engine's */
};
#define TYPE_ACCEL "accel"
#define ACCEL(o) OBJECT_CAST(Accel, o, TYPE_ACCEL)
static inline const AccelClass *accel_class(const Accel *a)
{
    return object_class(&a->obj);
}

typedef struct VcpuHooks {
    /* On the vCPU thread, no lock held. */
    void (*shutdown)(void *opaque, Vcpu *v); /* triple fault */
    void (*debug)(void *opaque, Vcpu *v);    /* v->debug_stop says why */
    void (*error)(void *opaque, Vcpu *v);
    /* The guest says that it has crashed; it goes on running.  `info`, the callee's from then on:
     * what QMP's GuestPanicInformation says. */
    void (*crashed)(void *opaque, Vcpu *v, Json *info);
} VcpuHooks;

struct Vcpu {
    CPUX86 cpu;
    size_t allocated; /* bytes, with the engine's data */
    Accel *accel;
    const VcpuHooks *hooks;
    void *hooks_opaque;
    pthread_t thread;
    int tid;
    /* guarded by `lock` */
    pthread_mutex_t lock;
    pthread_cond_t wake, stopped_cond;
    bool created, failed, stop, stopped, quit, let_go;
    bool kicked, waiting; /* atomic: something to look at; the thread sleeps (or is about to) */
    Error *create_error;
    GQueue work;
    Object *device; /* the CPU's device, for paths */
    /*
     * The debugger's; written while the vCPU is paused, debug_stop also by its run().
     * `step`: run() ends after one instruction or one exception; interrupts are taken
     * meanwhile only with step_irqs (or when the CPU is halted).
     */
    bool step, step_irqs;
    DebugStop debug_stop;
};

/*
 * An engine's data for a vCPU (AccelClass.vcpu_data_size) lies at this distance from the
 * Vcpu, so that translated code reaches both from one register.
 */
#define VCPU_ENGINE_OFFSET ALIGN_UP(sizeof(Vcpu), (size_t)64)
/*
 * Zeroed memory for a Vcpu and its engine's data, on a page of its own; NULL: none.  It
 * costs only what is touched of it: engines have tables in there.
 */
Vcpu *vcpu_allocate(const Accel *a);
void vcpu_deallocate(Vcpu *v);
/* Allocates, starts the thread in the stopped state, waits for creation. */
Vcpu *vcpu_new(Accel *a, unsigned index, const CpuConfig *config, const VcpuHooks *hooks,
               void *opaque, Error **errp);
void vcpu_free(Vcpu *v); /* ends the thread */
/* Wakes it from halt and out of guest code so that it looks at irq_pending. */
void vcpu_kick(Vcpu *v);
static inline void vcpu_interrupt(Vcpu *v, uint32_t irq)
{
    cpu_interrupt(&v->cpu, irq);
    vcpu_kick(v);
}
/*
 * Runs fn on the vCPU's thread between two instructions and waits (directly if we are it).
 * Not with a loop's lock held, unless all vCPUs are paused: the vCPU may be waiting for it.
 */
void vcpu_run_on(Vcpu *v, void (*fn)(Vcpu *v, void *opaque), void *opaque);
/* The same without waiting; `opaque` stays valid until it ran. */
void vcpu_run_on_async(Vcpu *v, void (*fn)(Vcpu *v, void *opaque), void *opaque);
/*
 * Stops all and waits until none runs guest code; they still run queued work.  Not from a vCPU
 * thread, nor with a loop's lock held.  Resume lets a vCPU go on whose run ended with shutdown,
 * debug or error.
 */
void vcpus_pause(GPtrArray *vcpus);
void vcpus_resume(GPtrArray *vcpus);
/*
 * On a vCPU's thread: it executes nothing more after this instruction, until it is paused
 * and resumed: it has asked for what will do that.
 */
void vcpu_stop_current(void);
Vcpu *vcpu_current(void); /* the calling thread's, or NULL */
/* With the vCPU stopped or on its thread: state is in, goes back to, the engine. */
bool vcpu_sync_out(Vcpu *v, Error **errp);
bool vcpu_sync_in(Vcpu *v, Error **errp);
/*
 * Debugging; all vCPUs paused.  Setting a point that is set already is fine; false: there
 * are DEBUG_POINTS_MAX already, it is empty, or the engine has none.  Removing one that is
 * not set does nothing.
 */
#define DEBUG_POINTS_MAX 1024u
bool accel_debug_add(Accel *a, DebugPoint p, Error **errp);
void accel_debug_remove(Accel *a, DebugPoint p);
void accel_debug_clear(Accel *a);
/* Makes an Accel from "-accel NAME" / machine accel=; the caller sets properties and create()s. */
Accel *accel_new(const char *name, Error **errp);

#endif
