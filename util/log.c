/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/log.h"

#include "util/bits.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

uint32_t log_mask;
static FILE *log_file; /* NULL: stderr */

static const struct {
    uint32_t item;
    const char *name, *help;
} log_items[] = {
    {LOG_IN_ASM, "in_asm", "guest instructions of each block when it is translated"},
    {LOG_OP, "op", "intermediate code as translated"},
    {LOG_OP_OPT, "op_opt", "intermediate code after optimization"},
    {LOG_OUT_ASM, "out_asm", "generated host instructions of each block"},
    {LOG_INT, "int", "interrupts and exceptions, short form"},
    {LOG_EXEC, "exec", "each block when it is entered"},
    {LOG_CPU, "cpu", "CPU registers before each block"},
    {LOG_FPU, "fpu", "with 'cpu': FPU registers too"},
    {LOG_MMU, "mmu", "address translation: TLB flushes and page faults"},
    {LOG_PCALL, "pcall", "protected-mode far calls, returns and exceptions"},
    {LOG_CPU_RESET, "cpu_reset", "CPU state before a reset"},
    {LOG_UNIMP, "unimp", "features of the hardware that are not emulated, when used"},
    {LOG_GUEST_ERROR, "guest_errors", "what the guest does wrong"},
    {LOG_PAGE, "page", "memory layout of user-mode programs"},
    {LOG_NOCHAIN, "nochain", "do not link blocks, so that 'exec' and 'cpu' are complete"},
    {LOG_STRACE, "strace", "system calls of user-mode programs"},
};

bool log_set_items(const char *items, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(items, ",", -1);
    uint32_t mask = 0;
    for (char **w = words; *w; w++) {
        unsigned i;
        for (i = 0; i < ARRAY_LEN(log_items); i++) {
            if (!strcmp(*w, log_items[i].name)) {
                mask |= log_items[i].item;
                break;
            }
        }
        if (i == ARRAY_LEN(log_items)) {
            const char *names[ARRAY_LEN(log_items) + 1] = {0};
            for (i = 0; i < ARRAY_LEN(log_items); i++) {
                names[i] = log_items[i].name;
            }
            const char *near = nearest_word(*w, names);
            error_set(errp, "-d %s: there is no log item \"%s\"", items, *w);
            if (near) {
                error_hint(errp, "did you mean \"%s\"?", near);
            }
            error_hint(errp, "-d help lists the items");
            return false;
        }
    }
    log_mask = mask;
    return true;
}

void log_print_help(FILE *out)
{
    fprintf(out, "Log items (comma separated):\n");
    for (unsigned i = 0; i < ARRAY_LEN(log_items); i++) {
        fprintf(out, "%-15s %s\n", log_items[i].name, log_items[i].help);
    }
}

bool log_set_file(const char *path, Error **errp)
{
    g_autofree char *name = g_strdup(path);
    char *pct = strstr(name, "%d");
    if (pct) {
        char *expanded = g_strdup_printf("%.*s%d%s", (int)(pct - name), name, getpid(), pct + 2);
        g_free(name);
        name = expanded;
    }
    FILE *f = fopen(name, "w");
    if (!f) {
        error_set_errno(errp, errno, "-D %s: can't open the log file for writing", path);
        return false;
    }
    setvbuf(f, NULL, _IOLBF, 0);
    if (log_file) {
        fclose(log_file);
    }
    log_file = f;
    return true;
}

FILE *log_begin(void)
{
    FILE *f = log_file ? log_file : stderr;
    flockfile(f);
    return f;
}

void log_end(FILE *out)
{
    funlockfile(out);
}

void log_printf(const char *fmt, ...)
{
    FILE *f = log_begin();
    va_list ap;
    va_start(ap, fmt);
    vfprintf(f, fmt, ap);
    va_end(ap);
    log_end(f);
}
