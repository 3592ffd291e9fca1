/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tools/tool.h: what the disk tools share: command lines, a block graph without a machine,
 * images by name, progress, and being interrupted.
 *
 * A tool is one thread; its loop is served where something is waited for.
 */
#ifndef RHEA_TOOLS_TOOL_H
#define RHEA_TOOLS_TOOL_H

#include "block/image.h"
#include "util/option.h"

/* ---- command lines ---- */
typedef struct ToolOption {
    const char *name; /* long, without "--"; NULL: end of the table */
    char letter;      /* 0: none */
    char other;       /* another letter that means the same, or 0 */
    const char *arg;  /* name of the argument, or NULL: none */
    const char *help;
} ToolOption;

typedef struct ToolArgs ToolArgs;
/*
 * argv[1…] by GNU's rules: -x ARG, -xARG, -xyz, --long ARG, --long=ARG, "--" ends options.
 * NULL and one error that names every mistake, with the nearest option for each.
 */
ToolArgs *tool_args_parse(int argc, char **argv, const ToolOption *options, Error **errp);
void tool_args_free(ToolArgs *a);
bool tool_has(const ToolArgs *a, const char *name);
const char *tool_get(const ToolArgs *a, const char *name); /* the last; NULL: not given */
GPtrArray *tool_all(const ToolArgs *a, const char *name);  /* const char*; borrowed */
unsigned tool_n_words(const ToolArgs *a);                  /* what is no option */
const char *tool_word(const ToolArgs *a, unsigned i);
/* The options in the order they were given, for commands where that matters: NULL after the last. */
const char *tool_nth(const ToolArgs *a, unsigned i, const char **value);
/* For values; a mistake is noted and reported with the others by tool_args_finish(). */
uint64_t tool_size(ToolArgs *a, const char *name, uint64_t def);
uint64_t tool_uint(ToolArgs *a, const char *name, uint64_t def, uint64_t min, uint64_t max);
int tool_enum(ToolArgs *a, const char *name, const char *const *words, int def);
void tool_mistake(ToolArgs *a, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Also that the number of words is within bounds; `what` names them for the message. */
bool tool_args_finish(ToolArgs *a, unsigned min, unsigned max, const char *what, Error **errp);
void tool_print_options(const ToolOption *options);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ToolArgs, tool_args_free)

/* ---- the graph ---- */
typedef struct Tool {
    Object *root;
    ClockSet *clocks;
    EventLoop *loop;
    BlockGraph *graph;
} Tool;
bool tool_start(Tool *t, Error **errp);
void tool_stop(Tool *t);
/* --object of the command line. */
bool tool_add_objects(Tool *t, const ToolArgs *a, Error **errp);

typedef struct ToolOpen {
    const char *format; /* NULL: probed */
    bool image_opts;    /* the name is a list of options */
    const char *cache;  /* NULL: writeback */
    bool write;
    bool force_share;
    bool no_backing;
    bool no_io; /* only information is wanted */
    bool check;
    bool discard;
    const char *aio; /* NULL: the default */
} ToolOpen;
/* A reference is returned, the image is taken with tool_close() to give up; NULL on error. */
BlockNode *tool_open(Tool *t, const char *name, const ToolOpen *o, Error **errp);
void tool_close(Tool *t, BlockNode *n); /* flushes; NULL is fine */
/* The same, and whether that last flush worked. */
bool tool_close_checked(Tool *t, BlockNode *n, Error **errp);
bool tool_cache_flags(const char *cache, BlockOpenFlags *f, bool *writethrough, Error **errp);
/* -o, possibly several times, as one object; `o` may be NULL. */
Json *tool_create_options(const ToolArgs *a, const char *name, Error **errp);
/* "help" among -o: prints the options of a format. */
bool tool_options_help(Tool *t, const ToolArgs *a, const char *name, const char *format,
                       bool amend);

/* ---- interruption and progress ---- */
/* SIGINT, SIGTERM and SIGHUP set a flag from now on; SIGUSR1 asks for a line of progress. */
void tool_catch_signals(void);
bool tool_interrupted(void);
/* The process ends as the signal would have ended it. */
void tool_die_of_signal(void);

typedef struct ToolProgress {
    bool shown, terminal;
    const char *what;
    uint64_t done, total;
    int64_t started, printed; /* microseconds */
} ToolProgress;
void tool_progress_start(ToolProgress *p, bool shown);
/* Bytes; false: the user interrupted. */
bool tool_progress(ToolProgress *p, uint64_t done, uint64_t total);
void tool_progress_end(ToolProgress *p);

char *tool_human_size(uint64_t bytes); /* "1.5 GiB", as QEMU's tools write it */

#endif
