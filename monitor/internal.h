/* SPDX-License-Identifier: GPL-2.0-or-later */
/* monitor/internal.h: what the files of this room share. */
#ifndef RHEA_MONITOR_INTERNAL_H
#define RHEA_MONITOR_INTERNAL_H

#include "hw/core/machine.h"
#include "monitor/monitor.h"
#include "monitor/readline.h"
#include "qapi/qapi.h"
#include "target/i386/cpu.h"

struct Monitor {
    Object *root;
    CharFrontend fe;
    MonitorMode mode;
    EventLoop *loop;
    bool greeted; /* the banner was shown, the greeting sent */
    /* QMP */
    bool pretty, negotiated;
    JsonStream *parser;
    /* HMP */
    Readline *rl;
    int64_t cpu;
};

/* ---- monitor.c ---- */
/* By the policy of -compat; false and an error if not. */
const MonitorSubset *monitor_subset(Object *root); /* NULL: everything */
bool monitor_allows(Object *root, const QmpCommand *cmd, Error **errp);

/* ---- qmp.c ---- */
extern const CharHandlers qmp_handlers;
void qmp_session_init(Monitor *mon);
void qmp_session_fini(Monitor *mon);
void qmp_session_event(Monitor *mon, const char *name, const Json *data);

/* ---- hmp.c ---- */
extern const CharHandlers hmp_handlers;
void hmp_session_init(Monitor *mon);
void hmp_session_fini(Monitor *mon);

/* One command being run. */
typedef struct Hmp {
    Object *root;
    Machine *machine; /* NULL before there is one */
    GString *out;
    int64_t *cpu;     /* the session's */
    const char *rest; /* what follows the command's name, trimmed */
    GPtrArray *args;  /* the same, as words; quotes are honoured */
} Hmp;
typedef struct HmpCommand {
    const char *names; /* "quit|q" */
    const char *args;  /* for help: "[-f] expr" */
    const char *help;
    bool (*run)(Hmp *h, Error **errp);
    /* Words for completion, NULL-terminated, caller frees; may be NULL. */
    char **(*complete)(Object *root, const char *word);
} HmpCommand;
extern const HmpCommand hmp_commands[];      /* hmp-commands.c; ends with {0} */
extern const HmpCommand hmp_info_commands[]; /* hmp-info.c; ends with {0} */
void hmp_run(Object *root, const char *line, int64_t *cpu, GString *out);
const HmpCommand *hmp_find(const HmpCommand *table, const char *name);
void hmp_printf(Hmp *h, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
const char *hmp_arg(const Hmp *h, unsigned n); /* NULL beyond the last */
/* The session's CPU, or NULL with an error. */
CPUX86 *hmp_cpu(Hmp *h, Error **errp);
/* Calls fn with the CPU at rest (on its own thread, or directly when all stand). */
bool hmp_with_cpu(Hmp *h, void (*fn)(Hmp *h, CPUX86 *cpu, void *opaque), void *opaque,
                  Error **errp);

/* ---- hmp-expr.c ---- */
/* An expression with C's operators and $registers; *end after it. cpu may be NULL. */
bool hmp_expression(CPUX86 *cpu, const char *text, const char **end, uint64_t *value, Error **errp);

/* ---- hmp-memory.c ---- */
bool hmp_x(Hmp *h, Error **errp);
bool hmp_xp(Hmp *h, Error **errp);
bool hmp_print(Hmp *h, Error **errp);
bool hmp_gva2gpa(Hmp *h, Error **errp);
bool hmp_port_in(Hmp *h, Error **errp);
bool hmp_port_out(Hmp *h, Error **errp);

/* ---- hmp-mce.c ---- */
bool hmp_mce(Hmp *h, Error **errp);

/* ---- hmp-paging.c ---- */
bool hmp_info_tlb(Hmp *h, Error **errp);
bool hmp_info_mem(Hmp *h, Error **errp);

#endif
