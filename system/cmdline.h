/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * system/cmdline.h: the command line, split into options and checked for form.
 *
 * The table of options (options.c) is the only source: forms, help, and what QEMU has
 * that Rhea lacks, which is refused by name.  All mistakes of the whole line are
 * collected and reported together before anything is done.
 */
#ifndef RHEA_SYSTEM_CMDLINE_H
#define RHEA_SYSTEM_CMDLINE_H

#include "util/error.h"
#include "util/option.h"

#include <stdbool.h>
#include <stdio.h>

typedef enum OptionId {
    OPT_NONE,
    OPT_HELP,
    OPT_VERSION,
    OPT_MACHINE,
    OPT_CPU,
    OPT_ACCEL,
    OPT_ENABLE_KVM,
    OPT_SMP,
    OPT_NUMA,
    OPT_M,
    OPT_MEM_PATH,
    OPT_MEM_PREALLOC,
    OPT_K,
    OPT_GLOBAL,
    OPT_BOOT,
    OPT_DEVICE,
    OPT_OBJECT,
    OPT_NAME,
    OPT_UUID,
    OPT_FD, /* -fda, -fdb */
    OPT_HD, /* -hda … -hdd */
    OPT_CDROM,
    OPT_BLOCKDEV,
    OPT_DRIVE,
    OPT_PFLASH,
    OPT_SNAPSHOT,
    OPT_USB,
    OPT_DISPLAY,
    OPT_NOGRAPHIC,
    OPT_VGA,
    OPT_VNC,
    OPT_NO_FD_BOOTCHK,
    OPT_ACPITABLE,
    OPT_SMBIOS,
    OPT_NETDEV,
    OPT_NIC,
    OPT_NET,
    OPT_CHARDEV,
    OPT_SERIAL,
    OPT_PARALLEL,
    OPT_MONITOR,
    OPT_QMP,
    OPT_QMP_PRETTY,
    OPT_MON,
    OPT_DEBUGCON,
    OPT_KERNEL,
    OPT_INITRD,
    OPT_APPEND,
    OPT_BIOS,
    OPT_L,
    OPT_FW_CFG,
    OPT_PIDFILE,
    OPT_DAEMONIZE,
    OPT_S,
    OPT_D,
    OPT_LOGFILE,
    OPT_DFILTER,
    OPT_PERFMAP,
    OPT_GDB,
    OPT_GDB_DEFAULT,
    OPT_TRACE,
    OPT_RTC,
    OPT_NO_REBOOT,
    OPT_NO_SHUTDOWN,
    OPT_ACTION,
    OPT_WATCHDOG_ACTION,
    OPT_ECHR,
    OPT_NODEFAULTS,
    OPT_NO_USER_CONFIG,
    OPT_READCONFIG,
    OPT_SANDBOX,
    OPT_ICOUNT,
    OPT_OVERCOMMIT,
    OPT_MSG,
    OPT_RUN_WITH,
    OPT_QTEST,
    OPT_QTEST_LOG,
    OPT_COMPAT,
    OPT_ISCSI,
} OptionId;

typedef enum ArgKind {
    ARG_NONE,
    ARG_TEXT,  /* taken as it is */
    ARG_KEYS,  /* option syntax; see OptionDef.implied */
    ARG_SHORT, /* a character device's short form */
} ArgKind;

typedef struct OptionDef {
    const char *name; /* without '-' */
    OptionId id;
    ArgKind arg;
    const char *implied; /* ARG_KEYS: key of a first word without '=' */
    const char *form;    /* for help: "[type=]name[,prop=value…]" */
    const char *help;
    const char *const *lists; /* ARG_KEYS: keys that may be repeated */
    int n;                    /* which of several: 1 for -fdb */
    /* ARG_KEYS: "name:type" of what management programs look for before they use it; or NULL */
    const char *const *params;
} OptionDef;
extern const OptionDef option_table[]; /* ends with {0} */
/* QEMU's options that are not offered, each with why or what to use; ends with {0}. */
typedef struct RefusedOption {
    const char *name;
    bool has_arg;
    const char *why;
} RefusedOption;
extern const RefusedOption refused_options[];
void print_option_help(FILE *out);

/* One option as it was given. */
typedef struct GivenOption {
    const OptionDef *def;
    const char *arg;  /* NULL for ARG_NONE */
    OptionText *text; /* ARG_KEYS */
} GivenOption;

typedef struct Cmdline {
    GPtrArray *given;  /* GivenOption*, in order */
    GPtrArray *errors; /* Error* */
} Cmdline;

Cmdline *cmdline_new(void);
void cmdline_free(Cmdline *c);
/* Splits argv; a disk image may stand without an option. Mistakes go to c->errors. */
void cmdline_parse(Cmdline *c, int argc, char **argv);
/* One more option, as from a configuration file. The strings are copied. */
void cmdline_add(Cmdline *c, const char *option, const char *arg);
/* The sections of a file in QEMU's -readconfig form. */
void cmdline_read_config(Cmdline *c, const char *path);
/* Notes an error (NULL is fine). */
void cmdline_error(Cmdline *c, Error *err);
/* Prints all errors; false if there were any. */
bool cmdline_report(Cmdline *c);
/* The last given of a kind, or NULL; and the first or next (`after` NULL: first). */
const GivenOption *cmdline_last(const Cmdline *c, OptionId id);
const GivenOption *cmdline_next(const Cmdline *c, OptionId id, const GivenOption *after);
#define CMDLINE_EACH(c, id, g) \
    for (const GivenOption *g = cmdline_next(c, id, NULL); g; g = cmdline_next(c, id, g))

#endif
