/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/log.h"

#include "util/bits.h"
#include "util/option.h"

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
    {LOG_PCALL, "pcall", "protected-mode far jumps, calls and returns"},
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
        if (!strcmp(*w, "none") && !words[1]) {
            break;
        }
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

/* ---- -dfilter ---- */
typedef struct LogRange {
    uint64_t first, last;
} LogRange;
static LogRange *log_ranges;
static unsigned n_log_ranges;

static bool parse_range(const char *word, LogRange *r)
{
    const char *ops[] = {"..", "+", "-"};
    for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
        const char *op = strstr(word, ops[i]);
        g_autofree char *left = op ? g_strndup(word, (gsize)(op - word)) : NULL;
        uint64_t a, b;
        if (!op) {
            continue;
        }
        if (!parse_uint(left, &a) || !parse_uint(op + strlen(ops[i]), &b)) {
            return false;
        }
        switch (i) {
        case 0:
            *r = (LogRange){a, b};
            return a <= b;
        case 1:
            *r = (LogRange){a, a + b - 1};
            return b && a + b - 1 >= a;
        default:
            *r = (LogRange){a - b + 1, a};
            return b && b - 1 <= a;
        }
    }
    return false;
}

bool log_set_filter(const char *ranges, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(*ranges ? ranges : ",", ",", -1);
    unsigned n = g_strv_length(words);
    g_autofree LogRange *r = g_new(LogRange, n + 1);
    for (unsigned i = 0; i < n; i++) {
        if (!parse_range(words[i], &r[i])) {
            error_set(errp, "\"%s\" is no range of addresses", words[i]);
            error_hint(errp, "a range is FIRST..LAST, START+LENGTH or END-LENGTH");
            return false;
        }
    }
    g_free(log_ranges);
    log_ranges = g_steal_pointer(&r);
    n_log_ranges = n;
    return true;
}

bool log_wants_address(uint64_t addr)
{
    for (unsigned i = 0; i < n_log_ranges; i++) {
        if (addr >= log_ranges[i].first && addr <= log_ranges[i].last) {
            return true;
        }
    }
    return !n_log_ranges;
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
