/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * system/setup.h: from the command line to a machine, in steps.  Each step goes through
 * all it has to do and notes every mistake in the command line's list; the next step is
 * made only if there was none.
 */
#ifndef RHEA_SYSTEM_SETUP_H
#define RHEA_SYSTEM_SETUP_H

#include "system/cmdline.h"
#include "system/vm.h"

/* -sandbox */
typedef struct SandboxRules {
    bool on, allow_obsolete, deny_rights, deny_rights_of_children, deny_spawn, deny_resources;
} SandboxRules;

/* What the options say, put together: pure values, nothing touched yet. */
typedef struct Config {
    const char *machine_type;          /* as given, or NULL */
    Json *kvm_props;                   /* of all -machine, what is -accel kvm's; or NULL */
    Json *machine_props;               /* of all -machine, without the type */
    const GivenOption *machine_option; /* the last one, for messages */
    GPtrArray *accels;                 /* OptionText* or plain names: AccelChoice */
    SmpTopology smp;
    uint64_t ram_size, max_ram_size, ram_slots;
    BootConfig boot;
    char *cpu;
    char *name, *process_name;
    uint8_t uuid[16];
    bool uuid_set;
    int64_t rtc_offset_ns, rtc_start_ns;
    ClockType rtc_clock;
    bool rtc_localtime, rtc_slew;
    QRebootAction on_reboot;
    QShutdownAction on_shutdown;
    QPanicAction on_panic;
    QWatchdogAction on_watchdog;
    bool nographic, nodefaults, snapshot, stopped, daemonize, mem_prealloc, mem_lock, usb;
    bool display_none, fd_bootchk;
    const char *vnc, *vga, *pidfile, *mem_path;
    const char *kernel, *initrd, *append, *bios;
    char *chroot_dir, *user;
    SandboxRules sandbox;
    IcountConfig icount;
    bool perfmap;
    uint8_t escape;
    bool refuse_deprecated, refuse_unstable; /* -compat */
    const char *qtest_log;                   /* or NULL */
} Config;

typedef struct AccelChoice {
    char *name;
    OptionText *text; /* its properties, or NULL; borrowed */
} AccelChoice;

void config_init(Config *cfg);
void config_free(Config *cfg);
/* Everything that is a mere value. */
void config_read(Config *cfg, Cmdline *c);
/* -smp, -m, -numa, -boot, -rtc: config-machine.c */
void config_read_machine(Config *cfg, Cmdline *c);
/* Names and values of properties: what can be wrong before anything is made. check.c */
void check_options(const Config *cfg, Cmdline *c);
/* Prints what some "help" asks for; true: that was all the user wanted. */
bool print_help_if_asked(Cmdline *c);

/* Machine type of that name or alias, NULL: the default; NULL and an error if unknown. */
const TypeInfo *machine_type_find(const char *name, Error **errp);
char *machine_type_name(const TypeInfo *t); /* "pc-q35-11.1"; caller frees */

/* -object, -chardev, -blockdev, -drive, -netdev, monitors, serial ports. */
void setup_backends(Vm *vm, const Config *cfg, Cmdline *c);
/* The machine object with its configuration, and the engine. */
void setup_machine(Vm *vm, const Config *cfg, Cmdline *c);
/* Realizes it: board, then -device, then the rest. */
void setup_devices(Vm *vm, const Config *cfg, Cmdline *c);
/* VNC, qtest, gdb: what listens to the world once the machine is there. */
void setup_displays(Vm *vm, const Config *cfg, Cmdline *c);

/* ---- process.c ---- */
/* -daemonize: forks; the parent waits for daemon_ready() and exits with the child's word. */
bool daemon_start(Error **errp);
void daemon_ready(void);
bool pidfile_write(const char *path, Error **errp);
void pidfile_remove(void);
/* SIGINT, SIGTERM, SIGHUP shut the machine down. */
bool signals_setup(Vm *vm, Error **errp);
/* -run-with user=, chroot=. */
bool rights_drop(const char *user, const char *chroot_dir, Error **errp);

/* ---- sandbox.c ---- */
/* For good, and for all threads that there are and will be (docs/sandbox.md). */
bool sandbox_enter(const SandboxRules *r, Error **errp);

#endif
