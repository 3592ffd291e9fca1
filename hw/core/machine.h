/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/core/machine.h: the machine: one value from which everything of one
 * virtual computer can be reached.
 *
 * `system/` makes it from the command line; it is /machine in the composition
 * tree.  Machine types (hw/i386/) supply `init`.
 */
#ifndef RHEA_HW_CORE_MACHINE_H
#define RHEA_HW_CORE_MACHINE_H

#include "event/clock.h"
#include "event/loop.h"
#include "hw/core/device.h"
#include "memory/memory.h"

typedef struct MachineClass MachineClass;
typedef struct Accel Accel; /* accel/accel.h */
typedef struct Vcpu Vcpu;
typedef struct UiContext UiContext;   /* ui/console.h */
typedef struct BlockGraph BlockGraph; /* block/block.h */

typedef struct SmpTopology {
    unsigned cpus, max_cpus, sockets, dies, clusters, cores, threads;
} SmpTopology;

typedef struct NumaNode {
    uint64_t mem;
    GArray *cpus; /* unsigned: CPU indexes */
    char *memdev; /* id of a memory backend, or NULL */
    bool present;
    uint8_t distance[128];
} NumaNode;

typedef struct BootConfig {
    char *order; /* "cad", as -boot order= */
    char *once;
    bool menu, strict;
    char *splash;
    int64_t splash_time;    /* ms; -1: default */
    int64_t reboot_timeout; /* ms; -1: default */
} BootConfig;

typedef struct NicConfig {
    char *model;  /* "e1000"; NULL: the board's default */
    char *netdev; /* id of a network backend, or NULL */
    char *id;     /* of the device, or NULL */
    char *addr;   /* PCI address as with -device, or NULL */
    uint8_t mac[6];
    bool mac_set;
    bool made;
} NicConfig;

/* One -global driver.property=value. */
typedef struct GlobalProperty {
    char *driver, *property, *value;
    bool used;
} GlobalProperty;

typedef enum ResetReason { RESET_GUEST, RESET_HOST, RESET_PANIC } ResetReason;
typedef enum ShutdownReason {
    SHUTDOWN_GUEST,
    SHUTDOWN_GUEST_RESET, /* -no-reboot */
    SHUTDOWN_HOST_QMP,
    SHUTDOWN_HOST_SIGNAL,
    SHUTDOWN_HOST_UI,
    SHUTDOWN_PANIC,
} ShutdownReason;

/*
 * What devices may ask of `system/`: set by it before init.  All may be called
 * from any thread; the work is done later on the control thread.
 */
typedef struct MachineHooks {
    void (*reset)(Machine *m, ResetReason why);
    void (*shutdown)(Machine *m, ShutdownReason why, int exit_code);
    void (*suspend)(Machine *m);
    void (*wakeup)(Machine *m, const char *why);
    /* `info`: QMP's GuestPanicInformation, the callee's from then on; NULL: the guest gave none. */
    void (*panicked)(Machine *m, Json *info);
    /* The engine cannot run a CPU on: the machine stops for good. */
    void (*internal_error)(Machine *m);
    /* A watchdog expired: does what -watchdog-action says. */
    void (*watchdog)(Machine *m);
    /* Emits a QMP event; `data` is owned by the callee, may be NULL. */
    void (*event)(Machine *m, const char *name, Json *data);
    /* A vCPU stopped for the debugger (Vcpu.debug_stop). */
    void (*debug)(Machine *m);
    /* Control thread: the monitor's gdbserver command. NULL: there is no such server. */
    bool (*gdbserver)(Machine *m, const char *device, Error **errp);
} MachineHooks;

struct Machine {
    Object obj;
    /* given by system/ */
    ClockSet *clocks;
    EventLoop *control, *platform;
    MemorySystem *memsys;
    Accel *accel;
    UiContext *ui;     /* pictures and input; NULL in tests without */
    BlockGraph *block; /* all disks; NULL in tests without */
    const MachineHooks *hooks;
    void *hooks_opaque;

    /* configuration: properties of the type "machine" or filled by system/ */
    uint64_t ram_size, max_ram_size;
    uint32_t ram_slots;
    char *ram_backend_id; /* memory-backend= */
    SmpTopology smp;
    GArray *numa; /* NumaNode */
    BootConfig boot;
    char *cpu_type;   /* "-cpu" text: model[,features] */
    char *firmware;   /* -bios; NULL: the default */
    char **data_dirs; /* -L, NULL-terminated, or NULL: hw/core/datafile.h */
    char *kernel, *initrd, *append;
    char *vga; /* -vga; NULL: default */
    uint8_t uuid[16];
    bool uuid_set;
    char *name;
    bool usb, graphics, mem_merge, dump_guest_core, nodefaults;
    /* What -serial, -parallel and -nic/-net nic (or their defaults) ask of the board. */
    GPtrArray *serials, *parallels; /* Chardev* by port number; a NULL entry: no such port */
    GPtrArray *nics;                /* NicConfig*; the board makes each and sets `made` */
    GPtrArray *globals;             /* GlobalProperty*, in order: machine_add_global() */
    Json *smbios, *acpitables;      /* arrays of option objects */
    int64_t rtc_offset_ns;          /* guest wall clock = CLOCK_HOST + this, from -rtc base= */
    int64_t rtc_start_ns;           /* what it is when the machine is made, instead; 0: not given */
    ClockType rtc_clock;
    bool rtc_driftfix_slew, rtc_localtime;

    /* made by the machine type's init */
    AddressSpace *as_memory, *as_io;
    Region memory, io; /* the roots */
    RamBlock *ram;
    GPtrArray *cpus;         /* Vcpu* */
    Bus *root_bus;           /* the PCI root bus */
    GPtrArray *boot_devices; /* Device*, bootindex order is decided when asked */
    void *isa;               /* IsaBus*, hw/isa/isa.h */
    void *fw_cfg;            /* FwCfg*, hw/nvram/fw_cfg.h */
    bool ready;              /* init done: from now on devices are hot-plugged */
    bool no_shutdown_on_panic;

    /* Set by the board (NULL: it cannot): `tap` sees the inputs of the I/O APIC instead of it. */
    void (*irq_intercept)(Machine *m, IrqTap *tap, void *opaque);
    /* Set by the board (NULL: it has none): the NMI button; what its interrupt controllers hold. */
    void (*inject_nmi)(Machine *m);
    void (*print_irqs)(Machine *m, GString *out);
    void (*print_irq_counts)(Machine *m, GString *out);

    /*
     * Set by the board's power management (NULL: it has none); platform loop's lock held.
     * power_button: system_powerdown.  wake: after suspend; sets the wake status and asks for
     * the reset that starts the firmware's resume path; `why` is "rtc", "pmtimer" or "other".
     */
    void (*power_button)(void *opaque);
    void (*wake)(void *opaque, const char *why);
    void *power_opaque;
};

struct MachineClass {
    const char *desc;  /* as `-machine help` shows it */
    const char *alias; /* "pc" */
    bool is_default;
    unsigned max_cpus;
    const char *default_cpu;
    const char *default_nic, *default_display;
    bool has_floppy, has_cdrom;
    const char *default_disk_if; /* "ide" */
    bool pcie;
    bool (*init)(Machine *m, Error **errp);
    /* After all -device: ACPI tables, boot order, kernel; before the first reset. */
    bool (*done)(Machine *m, Error **errp);
    void (*boot_changed)(Machine *m); /* m->boot is another: -boot once= has had its turn */
    void (*reset)(Machine *m);        /* order of the devices' reset; NULL: tree order, then CPUs */
};

#define TYPE_MACHINE "machine"
#define MACHINE(o) OBJECT_CAST(Machine, o, TYPE_MACHINE)
static inline const MachineClass *machine_class(const Machine *m)
{
    return object_class(&m->obj);
}
Machine *machine_of(Object *any_object); /* by way of the root; NULL if none */

/* Convenience for devices; forward to the hooks. */
void machine_request_reset(Machine *m, ResetReason why);
void machine_request_shutdown(Machine *m, ShutdownReason why, int exit_code);
void machine_event(Machine *m, const char *name, Json *data);
/* What -watchdog-action says; a reset unless system/ is there. */
void machine_watchdog_expired(Machine *m);
/*
 * A default for a property of every device of type `driver` (or below it), which gives way to
 * what is set on the device itself.
 */
void machine_add_global(Machine *m, const char *driver, const char *property, const char *value);
/* Warns of globals whose driver no device type has, or that no device took. */
void machine_check_globals(Machine *m);
/*
 * System reset: the class's order, or the devices from the roots down, then the CPUs.  On the
 * control thread, vCPUs paused, platform loop's lock held.
 */
void machine_reset(Machine *m);
/* The two halves of the default order, for classes with an order of their own. */
void machine_reset_devices(Machine *m);
void machine_reset_cpus(Machine *m);
/* Unrealizes every device, the last one made first. */
void machine_unrealize_all(Machine *m);

#endif
