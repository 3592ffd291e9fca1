/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HMP sessions: prompt, finding and running commands, help, completion. */
#include "accel/accel.h"
#include "config.h"
#include "monitor/internal.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

/* ---- for commands ---- */
void hmp_printf(Hmp *h, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_string_append_vprintf(h->out, fmt, ap);
    va_end(ap);
}

const char *hmp_arg(const Hmp *h, unsigned n)
{
    return n < h->args->len ? h->args->pdata[n] : NULL;
}

static Vcpu *session_vcpu(Hmp *h, Error **errp)
{
    GPtrArray *cpus = h->machine ? h->machine->cpus : NULL;
    unsigned n = *h->cpu < 0 ? 0 : (unsigned)*h->cpu;
    if (!cpus || n >= cpus->len) {
        error_set(errp, cpus && cpus->len ? "There is no CPU %u" : "There is no CPU", n);
        return NULL;
    }
    return cpus->pdata[n];
}

CPUX86 *hmp_cpu(Hmp *h, Error **errp)
{
    Vcpu *v = session_vcpu(h, errp);
    return v ? &v->cpu : NULL;
}

typedef struct WithCpu {
    Hmp *h;
    void (*fn)(Hmp *h, CPUX86 *cpu, void *opaque);
    void *opaque;
} WithCpu;

static void with_cpu(Vcpu *v, void *opaque)
{
    WithCpu *w = opaque;
    vcpu_sync_out(v, NULL);
    memory_settle(w->h->machine->memsys);
    w->fn(w->h, &v->cpu, w->opaque);
}

bool hmp_with_cpu(Hmp *h, void (*fn)(Hmp *h, CPUX86 *cpu, void *opaque), void *opaque, Error **errp)
{
    Vcpu *v = session_vcpu(h, errp);
    WithCpu w = {h, fn, opaque};
    if (v) {
        vcpu_run_on(v, with_cpu, &w);
    }
    return v != NULL;
}

/* ---- finding and running ---- */
static bool name_matches(const char *names, const char *word, size_t len)
{
    for (const char *p = names; *p;) {
        size_t n = strcspn(p, "|");
        if (n == len && !strncmp(p, word, len)) {
            return true;
        }
        p += n + (p[n] == '|');
    }
    return false;
}

const HmpCommand *hmp_find(const HmpCommand *table, const char *name)
{
    for (const HmpCommand *c = table; c->names; c++) {
        if (name_matches(c->names, name, strlen(name))) {
            return c;
        }
    }
    return NULL;
}

/* Words; "quoted parts" may have blanks, \" and \\. */
static GPtrArray *split_words(const char *text)
{
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
    while (*text) {
        while (isspace((unsigned char)*text)) {
            text++;
        }
        if (!*text) {
            break;
        }
        GString *w = g_string_new(NULL);
        bool quoted = false;
        for (; *text && (quoted || !isspace((unsigned char)*text)); text++) {
            if (*text == '"') {
                quoted = !quoted;
            } else {
                text += quoted && *text == '\\' && text[1];
                g_string_append_c(w, *text);
            }
        }
        g_ptr_array_add(words, g_string_free(w, FALSE));
    }
    return words;
}

static void unknown_command(const HmpCommand *table, const char *what, const char *name,
                            GString *out)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    for (const HmpCommand *c = table; c->names; c++) {
        g_auto(GStrv) each = g_strsplit(c->names, "|", 0);
        for (char **n = each; *n; n++) {
            g_ptr_array_add(names, g_strdup(*n));
        }
    }
    g_ptr_array_add(names, NULL);
    const char *near = nearest_word(name, (const char *const *)names->pdata);
    g_string_append_printf(out, "unknown %scommand: '%s'", what, name);
    if (near) {
        g_string_append_printf(out, ", did you mean '%s'?", near);
    }
    g_string_append_c(out, '\n');
}

void hmp_run(Object *root, const char *line, int64_t *cpu, GString *out)
{
    while (isspace((unsigned char)*line)) {
        line++;
    }
    /* "x/10i" and "p/x": the format belongs to the arguments */
    size_t n = strcspn(line, " \t/");
    if (!n || *line == '#') {
        return;
    }
    g_autofree char *name = g_strndup(line, n);
    const HmpCommand *table = hmp_commands, *c = hmp_find(table, name);
    const char *what = "", *rest = line + n;
    if (c && !strcmp(c->names, "info") && rest[strspn(rest, " \t")]) {
        rest += strspn(rest, " \t");
        n = strcspn(rest, " \t");
        g_free(name);
        name = g_strndup(rest, n);
        rest += n;
        table = hmp_info_commands;
        c = hmp_find(table, name);
        what = "info ";
    }
    if (!c) {
        unknown_command(table, what, name, out);
        return;
    }
    g_autofree char *trimmed = g_strstrip(g_strdup(rest));
    g_autoptr(GPtrArray) args = split_words(trimmed);
    Hmp h = {.root = root,
             .machine = machine_of(root),
             .out = out,
             .cpu = cpu,
             .rest = trimmed,
             .args = args};
    Error *err = NULL;
    if (!c->run(&h, &err)) {
        g_string_append_printf(out, "Error: %s\n", error_message(err));
        if (*error_hints(err)) {
            g_string_append_printf(out, "Hint: %s", error_hints(err));
        }
        error_free(err);
    }
}

char *monitor_human_command(Object *root, const char *line, int64_t cpu)
{
    GString *out = g_string_new(NULL);
    hmp_run(root, line, &cpu, out);
    /* people's line ends; QEMU has them in this answer as well */
    g_autofree char *text = g_string_free(out, FALSE);
    g_auto(GStrv) lines = g_strsplit(text, "\n", 0);
    return g_strjoinv("\r\n", lines);
}

/* ---- the session ---- */
static void write_text(void *opaque, const char *text, size_t len)
{
    Monitor *mon = opaque;
    char_write_all(&mon->fe, (const uint8_t *)text, len);
}

static void print_lines(Monitor *mon, const char *text)
{
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        write_text(mon, p, n);
        p += n;
        if (*p == '\n') {
            write_text(mon, "\r\n", 2);
            p++;
        }
    }
}

static void run_line(void *opaque, const char *line)
{
    Monitor *mon = opaque;
    g_autoptr(GString) out = g_string_new(NULL);
    hmp_run(mon->root, line, &mon->cpu, out);
    print_lines(mon, out->str);
}

static void add_names(GPtrArray *out, const HmpCommand *table, const char *word)
{
    for (const HmpCommand *c = table; c->names; c++) {
        g_auto(GStrv) names = g_strsplit(c->names, "|", 0);
        for (char **n = names; *n; n++) {
            if (g_str_has_prefix(*n, word)) {
                g_ptr_array_add(out, g_strdup(*n));
            }
        }
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **complete(void *opaque, const char *line)
{
    Monitor *mon = opaque;
    GPtrArray *out = g_ptr_array_new();
    g_auto(GStrv) words = g_strsplit(line, " ", 0);
    unsigned n = g_strv_length(words);
    const HmpCommand *c = n ? hmp_find(hmp_commands, words[0]) : NULL;
    if (n <= 1) {
        add_names(out, hmp_commands, n ? words[0] : "");
    } else if (c && !strcmp(c->names, "info")) {
        add_names(out, hmp_info_commands, words[n - 1]);
    } else if (c && !strcmp(c->names, "help|?")) {
        add_names(out, hmp_commands, words[n - 1]);
    } else if (c && c->complete) {
        g_auto(GStrv) more = c->complete(mon->root, words[n - 1]);
        for (char **w = more; w && *w; w++) {
            g_ptr_array_add(out, g_strdup(*w));
        }
    }
    qsort(out->pdata, out->len, sizeof(char *), compare_names);
    g_ptr_array_add(out, NULL);
    return (char **)g_ptr_array_free(out, FALSE);
}

static const ReadlineOps readline_ops = {write_text, run_line, complete};

static void greet(Monitor *mon)
{
    if (!mon->greeted) {
        mon->greeted = true;
        print_lines(mon, "Rhea " RHEA_VERSION " monitor - type 'help' for more information\n");
    }
    readline_show(mon->rl);
}

static void event(void *opaque, CharEvent ev)
{
    Monitor *mon = opaque;
    bool shared = mon->fe.chr && object_is_a((Object *)mon->fe.chr, "chardev-mux");
    switch (ev) {
    case CHAR_EVENT_OPENED:
        if (!shared) { /* on a mux, people come by the escape key */
            mon->greeted = false;
            readline_reset(mon->rl);
            greet(mon);
        }
        break;
    case CHAR_EVENT_MUX_IN:
        print_lines(mon, "\n");
        greet(mon);
        break;
    case CHAR_EVENT_MUX_OUT:
        print_lines(mon, "\n");
        break;
    default:
        break;
    }
}

static size_t can_receive(void *opaque)
{
    return 512;
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
    readline_feed(((Monitor *)opaque)->rl, buf, len);
}

const CharHandlers hmp_handlers = {can_receive, receive, event};

void hmp_session_init(Monitor *mon)
{
    mon->rl = readline_new(&readline_ops, mon, "(qemu) ");
}

void hmp_session_fini(Monitor *mon)
{
    readline_free(mon->rl);
}
