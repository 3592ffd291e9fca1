/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The qtest protocol's commands. */
#include "accel/qtest/qtest.h"

#include "util/bits.h"
#include "util/option.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

/* A client that never ends its line is cut off here. */
#define LINE_MAX_BYTES (2 * MiB)
/* Twice that in hexadecimal fits into what a character device buffers. */
#define TRANSFER_MAX (448 * KiB)

struct QtestServer {
    QtestTarget target;
    CharFrontend fe;
    GString *input;
    bool too_long;
    bool intercepting;
    pthread_mutex_t irq_lock;
    FILE *log;          /* or NULL */
    int64_t log_start;  /* us: its times count from here */
    GHashTable *levels; /* line number + 1 -> level + 1, what the client was told */
};

static const MemAttrs attrs = {.requester = 0xffff};

/* ---- the log ---- */

/* `text` without its newline; R: received, S: sent. Any thread. */
static void write_log(QtestServer *s, char direction, const char *text, size_t len)
{
    int64_t us = g_get_monotonic_time() - s->log_start;

    if (s->log) {
        fprintf(s->log, "[%c +%" PRId64 ".%06" PRId64 "] %.*s\n", direction, us / G_USEC_PER_SEC,
                us % G_USEC_PER_SEC, (int)len, text);
    }
}

/* One whole line, with its newline, to the client. */
static void send_line(QtestServer *s, const char *line)
{
    size_t len = strlen(line);

    char_write_all(&s->fe, (const uint8_t *)line, len);
    write_log(s, 'S', line, len && line[len - 1] == '\n' ? len - 1 : len);
}

/* ---- helpers ---- */

static void say(GString *out, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static void say(GString *out, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_string_append_vprintf(out, fmt, ap);
    va_end(ap);
    g_string_append_c(out, '\n');
}

static bool number(char **words, unsigned i, uint64_t *v)
{
    return words[0] && i < g_strv_length(words) && parse_uint(words[i], v);
}

static bool bad(GString *out, const char *what)
{
    say(out, "FAIL %s", what);
    return false;
}

/* Address and size of a bulk transfer, sane. */
static bool span(char **words, uint64_t *addr, uint64_t *len, GString *out)
{
    if (!number(words, 1, addr) || !number(words, 2, len)) {
        return bad(out, "expected an address and a size");
    }
    if (*len > TRANSFER_MAX) {
        return bad(out, "the size is too large");
    }
    return true;
}

/* ---- single accesses ---- */

static unsigned size_of_letter(char c)
{
    return c == 'b' ? 1 : c == 'w' ? 2 : c == 'l' ? 4 : c == 'q' ? 8 : 0;
}

/* in/out + b, w, l; read/write + b, w, l, q; false if the word is none of these. */
static bool single_access(QtestServer *s, char **words, GString *out)
{
    const char *w = words[0];
    bool in = g_str_has_prefix(w, "in"), put = g_str_has_prefix(w, "out");
    bool read = g_str_has_prefix(w, "read"), write = g_str_has_prefix(w, "write");
    size_t stem = in ? 2 : put ? 3 : read ? 4 : write ? 5 : 0;
    unsigned size = stem && strlen(w) == stem + 1 ? size_of_letter(w[stem]) : 0;
    uint64_t addr, v = 0;

    if (!size || ((in || put) && size == 8)) {
        return false;
    }
    if (!number(words, 1, &addr) || ((put || write) && !number(words, 2, &v))) {
        bad(out, put || write ? "expected an address and a value" : "expected an address");
        return true;
    }
    if ((in || put) && addr > 0xffff) {
        bad(out, "ports end at 0xffff");
    } else if (in) {
        address_space_ld(s->target.as_io, addr, attrs, size, &v);
        say(out, "OK 0x%04" PRIx64, v);
    } else if (put) {
        address_space_st(s->target.as_io, addr, attrs, size, v);
        say(out, "OK");
    } else if (read) {
        address_space_ld(s->target.as_memory, addr, attrs, size, &v);
        say(out, "OK 0x%016" PRIx64, v);
    } else {
        address_space_st(s->target.as_memory, addr, attrs, size, v);
        say(out, "OK");
    }
    return true;
}

/* ---- bulk ---- */

static void cmd_read(QtestServer *s, char **words, GString *out)
{
    g_autofree uint8_t *buf = NULL;
    uint64_t addr, len;

    if (!span(words, &addr, &len, out)) {
        return;
    }
    buf = g_malloc(len + 1);
    address_space_read(s->target.as_memory, addr, attrs, buf, len);
    g_string_append(out, "OK 0x");
    for (uint64_t i = 0; i < len; i++) {
        g_string_append_printf(out, "%02x", buf[i]);
    }
    g_string_append_c(out, '\n');
}

static void cmd_b64read(QtestServer *s, char **words, GString *out)
{
    g_autofree uint8_t *buf = NULL;
    g_autofree char *text = NULL;
    uint64_t addr, len;

    if (!span(words, &addr, &len, out)) {
        return;
    }
    buf = g_malloc(len + 1);
    address_space_read(s->target.as_memory, addr, attrs, buf, len);
    text = g_base64_encode(buf, len);
    say(out, "OK %s", text);
}

static void cmd_write(QtestServer *s, char **words, GString *out)
{
    g_autofree uint8_t *buf = NULL;
    uint64_t addr, len;
    const char *hex;

    if (!span(words, &addr, &len, out)) {
        return;
    }
    hex = g_strv_length(words) > 3 ? words[3] : "";
    if (!g_str_has_prefix(hex, "0x")) {
        bad(out, "expected data as 0x and hexadecimal digits");
        return;
    }
    hex += 2;
    /* Data shorter than the size is filled up with zeroes. */
    buf = g_malloc0(len + 1);
    for (uint64_t i = 0; i < len && g_ascii_isxdigit(hex[0]) && g_ascii_isxdigit(hex[1]); i++) {
        buf[i] = (uint8_t)(g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]));
        hex += 2;
    }
    address_space_write(s->target.as_memory, addr, attrs, buf, len);
    say(out, "OK");
}

static void cmd_b64write(QtestServer *s, char **words, GString *out)
{
    g_autofree uint8_t *data = NULL;
    uint64_t addr, len;
    gsize got = 0;

    if (!span(words, &addr, &len, out)) {
        return;
    }
    if (g_strv_length(words) > 3) {
        data = g_base64_decode(words[3], &got);
    }
    if (got != len) {
        bad(out, "the data are not of the size that was said");
        return;
    }
    address_space_write(s->target.as_memory, addr, attrs, data, len);
    say(out, "OK");
}

static void cmd_memset(QtestServer *s, char **words, GString *out)
{
    g_autofree uint8_t *buf = NULL;
    uint64_t addr, len, v;

    if (!span(words, &addr, &len, out)) {
        return;
    }
    if (!number(words, 3, &v)) {
        bad(out, "expected a byte");
        return;
    }
    buf = g_malloc(len + 1);
    memset(buf, (int)(v & 0xff), len);
    address_space_write(s->target.as_memory, addr, attrs, buf, len);
    say(out, "OK");
}

/* ---- time ---- */

static int64_t sooner(int64_t a, int64_t b)
{
    return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

static int64_t next_deadline(QtestServer *s)
{
    return sooner(loop_next_deadline(s->target.platform), loop_next_deadline(s->target.control));
}

static void run_timers_at(QtestServer *s, int64_t now)
{
    EventLoop *platform = s->target.platform, *control = s->target.control;

    /* The lock keeps the loop's own thread from running them with us. */
    loop_lock(platform);
    clock_virtual_set(s->target.clocks, now);
    loop_run_timers(platform);
    loop_unlock(platform);
    if (control != platform) {
        loop_lock(control);
        loop_run_timers(control);
        loop_unlock(control);
    }
}

/* To `goal`, stopping at every timer on the way. */
static void warp(QtestServer *s, int64_t goal)
{
    int64_t now = clock_virtual(s->target.clocks), next;

    while ((next = next_deadline(s)) >= 0 && next < goal) {
        /* One that is due already runs now; the clock never goes back. */
        now = next > now ? next : now;
        run_timers_at(s, now);
    }
    run_timers_at(s, goal > now ? goal : now);
}

static void cmd_clock(QtestServer *s, char **words, GString *out)
{
    int64_t now = clock_virtual(s->target.clocks), goal;
    bool step = strcmp(words[0], "clock_step") == 0;
    uint64_t v = 0;

    if (!clock_is_manual(s->target.clocks)) {
        bad(out, "the clock runs by itself: use -accel qtest");
        return;
    }
    if (words[1] && (!parse_uint(words[1], &v) || v > INT64_MAX)) {
        bad(out, "expected nanoseconds");
        return;
    }
    if (step && !words[1]) {
        int64_t next = next_deadline(s);

        goal = next > now ? next : now;
    } else if (step) {
        goal = v > (uint64_t)(INT64_MAX - now) ? INT64_MAX : now + (int64_t)v;
    } else {
        goal = (int64_t)v;
    }
    warp(s, goal);
    say(out, "OK %" PRId64, clock_virtual(s->target.clocks));
}

/* ---- interrupts ---- */

static void irq_changed(void *opaque, int n, int level)
{
    QtestServer *s = opaque;
    gpointer key = GINT_TO_POINTER(n + 1);
    char text[48];

    level = level != 0;
    pthread_mutex_lock(&s->irq_lock);
    if (GPOINTER_TO_INT(g_hash_table_lookup(s->levels, key)) != level) {
        g_hash_table_insert(s->levels, key, GINT_TO_POINTER(level));
        snprintf(text, sizeof(text), "IRQ %s %d\n", level ? "raise" : "lower", n);
        send_line(s, text);
    }
    pthread_mutex_unlock(&s->irq_lock);
}

static void cmd_intercept(QtestServer *s, char **words, GString *out)
{
    bool output = strcmp(words[0], "irq_intercept_out") == 0;
    g_autoptr(Error) err = NULL;

    if (!words[1]) {
        bad(out, "expected a device's path");
    } else if (s->intercepting) {
        bad(out, "interrupts are intercepted already");
    } else if (!s->target.intercept) {
        bad(out, "interrupts cannot be intercepted here");
    } else if (!s->target.intercept(s->target.opaque, words[1], words[2], output, irq_changed, s,
                                    &err)) {
        bad(out, error_message(err));
    } else {
        s->intercepting = true;
        say(out, "OK");
    }
}

static void cmd_set_irq(QtestServer *s, char **words, GString *out)
{
    g_autoptr(Error) err = NULL;
    uint64_t n, level;
    const char *name;

    if (g_strv_length(words) != 5 || !parse_uint(words[3], &n) || !parse_uint(words[4], &level) ||
        n > INT_MAX) {
        bad(out, "expected path, name, number and level");
        return;
    }
    name = strcmp(words[2], "unnamed-gpio-in") == 0 ? NULL : words[2];
    if (!s->target.drive) {
        bad(out, "interrupts cannot be driven here");
    } else if (!s->target.drive(s->target.opaque, words[1], name, (int)n, level != 0, &err)) {
        bad(out, error_message(err));
    } else {
        say(out, "OK");
    }
}

/* ---- the table ---- */

static void cmd_endianness(QtestServer *s, char **words, GString *out)
{
    say(out, "OK little");
}

static void cmd_module(QtestServer *s, char **words, GString *out)
{
    bad(out, "this program has no loadable modules");
}

static const struct {
    const char *name;
    void (*fn)(QtestServer *s, char **words, GString *out);
} commands[] = {
    {"read", cmd_read},
    {"write", cmd_write},
    {"b64read", cmd_b64read},
    {"b64write", cmd_b64write},
    {"memset", cmd_memset},
    {"clock_step", cmd_clock},
    {"clock_set", cmd_clock},
    {"irq_intercept_in", cmd_intercept},
    {"irq_intercept_out", cmd_intercept},
    {"set_irq_in", cmd_set_irq},
    {"endianness", cmd_endianness},
    {"module_load", cmd_module},
};

static void nothing(void *opaque)
{
}

static void settle(QtestServer *s)
{
    /* Deferred calls run in order: when this one has run, so have those before it. */
    if (s->target.platform != s->target.control) {
        loop_call(s->target.platform, nothing, NULL);
    }
}

static void execute(QtestServer *s, char **words, GString *out)
{
    if (!words[0]) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(words[0], commands[i].name) == 0) {
            commands[i].fn(s, words, out);
            settle(s);
            return;
        }
    }
    if (single_access(s, words, out)) {
        settle(s);
    } else {
        say(out, "FAIL Unknown command '%s'", words[0]);
    }
}

char *qtest_command(QtestServer *s, const char *line)
{
    g_auto(GStrv) raw = g_strsplit_set(line, " \t\r", -1);
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    GString *out = g_string_new(NULL);

    for (char **w = raw; *w; w++) {
        if (**w) {
            g_ptr_array_add(words, *w);
        }
    }
    /* Commands look at a word or two beyond their arguments: NULLs for these. */
    for (int i = 0; i < 6; i++) {
        g_ptr_array_add(words, NULL);
    }
    execute(s, (char **)words->pdata, out);
    return g_string_free(out, FALSE);
}

/* ---- the client's line ---- */

static void run_line(QtestServer *s)
{
    g_autofree char *answer = NULL;

    write_log(s, 'R', s->input->str, s->input->len);
    answer =
        s->too_long ? g_strdup("FAIL the line is too long\n") : qtest_command(s, s->input->str);
    send_line(s, answer);
    g_string_truncate(s->input, 0);
    s->too_long = false;
}

static size_t can_receive(void *opaque)
{
    return 4096;
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
    QtestServer *s = opaque;

    for (size_t i = 0; i < len; i++) {
        if (buf[i] == '\n') {
            run_line(s);
        } else if (s->input->len >= LINE_MAX_BYTES) {
            s->too_long = true;
        } else if (buf[i]) {
            g_string_append_c(s->input, (char)buf[i]);
        }
    }
}

static void event(void *opaque, CharEvent ev)
{
    QtestServer *s = opaque;

    if (ev == CHAR_EVENT_OPENED) {
        g_string_truncate(s->input, 0);
        s->too_long = false;
        pthread_mutex_lock(&s->irq_lock);
        g_hash_table_remove_all(s->levels);
        pthread_mutex_unlock(&s->irq_lock);
    }
}

static const CharHandlers handlers = {
    .can_receive = can_receive,
    .receive = receive,
    .event = event,
};

QtestServer *qtest_server_new(const QtestTarget *target, Chardev *chr, Error **errp)
{
    QtestServer *s = g_new0(QtestServer, 1);

    s->target = *target;
    s->input = g_string_new(NULL);
    s->levels = g_hash_table_new(NULL, NULL);
    pthread_mutex_init(&s->irq_lock, NULL);
    if (chr && !char_attach(&s->fe, chr, &handlers, s, target->control, errp)) {
        qtest_server_free(s);
        return NULL;
    }
    return s;
}

void qtest_server_log(QtestServer *s, FILE *log)
{
    s->log = log;
    s->log_start = g_get_monotonic_time();
    setlinebuf(log);
}

void qtest_server_free(QtestServer *s)
{
    if (!s) {
        return;
    }
    if (s->fe.chr) {
        char_detach(&s->fe);
    }
    if (s->log) {
        fclose(s->log);
    }
    g_string_free(s->input, TRUE);
    g_hash_table_destroy(s->levels);
    pthread_mutex_destroy(&s->irq_lock);
    g_free(s);
}
