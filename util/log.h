/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/log.h: what Rhea tells its developers and the curious (`-d`, `-D`).
 *
 * Not for errors a user must see (util/error.h) and not for events of one
 * device (util/trace.h).  The mask and the output file are switches of the
 * process, not state of a machine; they are the documented exception to the
 * rule that no room keeps globals.
 */
#ifndef RHEA_UTIL_LOG_H
#define RHEA_UTIL_LOG_H

#include "util/error.h"

#include <stdint.h>
#include <stdio.h>

/* QEMU's item names, see `-d help`. */
typedef enum LogItem {
    LOG_IN_ASM = 1 << 0,
    LOG_OP = 1 << 1,
    LOG_OP_OPT = 1 << 2,
    LOG_OUT_ASM = 1 << 3,
    LOG_INT = 1 << 4,
    LOG_EXEC = 1 << 5,
    LOG_CPU = 1 << 6,
    LOG_MMU = 1 << 7,
    LOG_PCALL = 1 << 8,
    LOG_CPU_RESET = 1 << 9,
    LOG_UNIMP = 1 << 10,
    LOG_GUEST_ERROR = 1 << 11,
    LOG_PAGE = 1 << 12,
    LOG_NOCHAIN = 1 << 13,
    LOG_FPU = 1 << 14,
    LOG_STRACE = 1 << 15,
} LogItem;

extern uint32_t log_mask;

static inline bool log_enabled(LogItem item)
{
    return G_UNLIKELY(log_mask & item);
}

/*
 * -dfilter: "FIRST..LAST", "START+LENGTH" and "END-LENGTH", separated by commas.  What is
 * logged about code (in_asm, op, op_opt, out_asm, exec, cpu) is then about these linear
 * addresses only.
 */
bool log_set_filter(const char *ranges, Error **errp);
/* Is code at `addr` to be logged? */
bool log_wants_address(uint64_t addr);

void log_printf(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
#define LOG(item, ...)               \
    do {                             \
        if (log_enabled(item)) {     \
            log_printf(__VA_ARGS__); \
        }                            \
    } while (0)

/*
 * The guest did something the hardware's documentation forbids or leaves
 * undefined.  `device` names the device or CPU.  Never fatal.
 */
#define guest_error(device, fmt, ...) LOG(LOG_GUEST_ERROR, "%s: " fmt "\n", device, ##__VA_ARGS__)

/* `-d item,item`: parses the list; "help" prints the items. */
bool log_set_items(const char *items, Error **errp);
void log_print_help(FILE *out);
/* `-D file`; "%d" in the name becomes the process id.  Default is stderr. */
bool log_set_file(const char *path, Error **errp);
/* Raw access for multi-line dumps; lock held in between. */
FILE *log_begin(void);
void log_end(FILE *out);

#endif
