/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gdb server's connection: packets, checksums, acknowledgements; its life. */
#include "system/gdbstub-internal.h"
#include "util/trace.h"

#include <string.h>

TRACE_EVENT(gdb_packet_in, "%s")
TRACE_EVENT(gdb_packet_out, "%s")
TRACE_EVENT(gdb_bad_checksum, "got %02x, expected %02x")

/* ---- hexadecimal ---- */
bool gdb_parse_hex(const char **p, uint64_t *v)
{
    unsigned n = 0;
    *v = 0;
    for (; gdb_hex_digit(**p) >= 0; (*p)++) {
        if (++n > 16) {
            return false;
        }
        *v = *v << 4 | (unsigned)gdb_hex_digit(**p);
    }
    return n != 0;
}

bool gdb_parse_bytes(const char *p, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++, p += 2) {
        int hi = gdb_hex_digit(p[0]), lo = hi < 0 ? -1 : gdb_hex_digit(p[1]);
        if (lo < 0) {
            return false;
        }
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return *p == 0;
}

void gdb_append_hex(GString *out, const void *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        g_string_append_printf(out, "%02x", ((const uint8_t *)data)[i]);
    }
}

/* ---- out ---- */
static void send_raw(GdbServer *s, const char *data, size_t len)
{
    char_write_all(&s->fe, (const uint8_t *)data, len);
}

void gdb_reply_bytes(GdbServer *s, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint8_t sum = 0;
    g_string_assign(s->last, "$");
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '#' || p[i] == '$' || p[i] == '}' || p[i] == '*') {
            g_string_append_c(s->last, '}');
            g_string_append_c(s->last, (char)(p[i] ^ 0x20));
        } else {
            g_string_append_c(s->last, (char)p[i]);
        }
    }
    for (size_t i = 1; i < s->last->len; i++) {
        sum = (uint8_t)(sum + (uint8_t)s->last->str[i]);
    }
    trace(gdb_packet_out, s->last->str);
    g_string_append_printf(s->last, "#%02x", sum);
    send_raw(s, s->last->str, s->last->len);
}

void gdb_reply(GdbServer *s, const char *text)
{
    gdb_reply_bytes(s, text, strlen(text));
}

void gdb_reply_error(GdbServer *s, unsigned number)
{
    char text[8];
    g_snprintf(text, sizeof(text), "E%02u", number % 100);
    gdb_reply(s, text);
}

/* ---- in ---- */
static void complete(GdbServer *s)
{
    uint8_t zero = 0;
    if (s->sum != s->sum_given) {
        trace(gdb_bad_checksum, s->sum_given, s->sum);
        if (!s->no_ack) {
            send_raw(s, "-", 1);
        }
        return;
    }
    if (!s->no_ack) {
        send_raw(s, "+", 1);
    }
    if (s->too_long) {
        gdb_reply_error(s, 22);
        return;
    }
    size_t len = s->packet->len;
    g_byte_array_append(s->packet, &zero, 1);
    trace(gdb_packet_in, (const char *)s->packet->data);
    gdb_handle_packet(s, (const char *)s->packet->data, len);
}

static void put(GdbServer *s, uint8_t c)
{
    if (s->packet->len < GDB_PACKET_MAX) {
        g_byte_array_append(s->packet, &c, 1);
    } else {
        s->too_long = true;
    }
}

static void idle_byte(GdbServer *s, uint8_t c)
{
    switch (c) {
    case '$':
        g_byte_array_set_size(s->packet, 0);
        s->too_long = false;
        s->sum = 0;
        s->in = GDB_IN_DATA;
        break;
    case '-': /* the last packet did not arrive */
        if (!s->no_ack && s->last->len) {
            send_raw(s, s->last->str, s->last->len);
        }
        break;
    case 3: /* Ctrl-C */
        if (s->vm->running) {
            vm_stop(s->vm, Q_RUN_STATE_PAUSED);
        } else if (s->waiting) {
            gdb_reply_stop(s, GDB_SIGINT);
        }
        break;
    default: /* '+', and noise */
        break;
    }
}

static void data_byte(GdbServer *s, uint8_t c)
{
    switch (c) {
    case '#':
        s->in = GDB_IN_SUM_1;
        return;
    case '$': /* a packet that was cut off */
        s->in = GDB_IN_IDLE;
        idle_byte(s, c);
        return;
    case '}':
        s->in = GDB_IN_ESCAPE;
        break;
    default:
        put(s, c);
        break;
    }
    s->sum = (uint8_t)(s->sum + c);
}

static void input_byte(GdbServer *s, uint8_t c)
{
    switch (s->in) {
    case GDB_IN_IDLE:
        idle_byte(s, c);
        break;
    case GDB_IN_DATA:
        data_byte(s, c);
        break;
    case GDB_IN_ESCAPE:
        put(s, c ^ 0x20);
        s->sum = (uint8_t)(s->sum + c);
        s->in = GDB_IN_DATA;
        break;
    default: {
        int d = gdb_hex_digit((char)c);
        if (d < 0) { /* no checksum: no packet */
            s->in = GDB_IN_IDLE;
            if (!s->no_ack) {
                send_raw(s, "-", 1);
            }
        } else if (s->in == GDB_IN_SUM_1) {
            s->sum_given = (uint8_t)(d << 4);
            s->in = GDB_IN_SUM_2;
        } else {
            s->sum_given |= (uint8_t)d;
            s->in = GDB_IN_IDLE;
            complete(s);
        }
        break;
    }
    }
}

static size_t can_receive(void *opaque)
{
    return 4096;
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
    GdbServer *s = opaque;
    s->busy = true;
    for (size_t i = 0; i < len; i++) {
        input_byte(s, buf[i]);
    }
    s->busy = false;
}

static void forget_session(GdbServer *s)
{
    s->connected = s->no_ack = s->waiting = s->physical = false;
    s->swbreak = s->hwbreak = false;
    s->in = GDB_IN_IDLE;
    s->cpu = s->cont_cpu = s->list_next = 0;
    s->step_flags = GDB_STEP_ENABLE | GDB_STEP_NOIRQ | GDB_STEP_NOTIMER;
    g_string_truncate(s->last, 0);
}

static void event(void *opaque, CharEvent ev)
{
    GdbServer *s = opaque;
    if (ev == CHAR_EVENT_OPENED) {
        forget_session(s);
        s->connected = true;
        vm_stop(s->vm, Q_RUN_STATE_PAUSED);
    } else if (ev == CHAR_EVENT_CLOSED && s->connected) {
        /* Nobody could see them hit: the guest stays as it is, without breakpoints. */
        forget_session(s);
        gdb_remove_all(s->vm);
    }
}

static const CharHandlers handlers = {can_receive, receive, event};

/* ---- life ---- */
/* gdb is waited for, not called: sockets listen, and don't hold the machine up. */
static char *listening(const char *device)
{
    bool socket = g_str_has_prefix(device, "tcp:") || g_str_has_prefix(device, "unix:");
    if (!socket || strstr(device, ",server")) {
        return g_strdup(device);
    }
    return g_strdup_printf("%s,server=on,wait=off%s", device, *device == 't' ? ",nodelay=on" : "");
}

static Chardev *find_chardev(Vm *vm, const char *device, bool *own, Error **errp)
{
    Chardev *chr = chardev_find(&vm->obj, device, NULL);
    if (chr) {
        return chr;
    }
    bool none;
    g_autofree char *text = listening(device);
    chr = chardev_new_short(&vm->obj, "gdb", text, vm->control, &none, NULL, errp);
    *own = chr && !g_str_has_prefix(device, "chardev:");
    return chr;
}

bool gdb_server_open(Vm *vm, const char *device, Error **errp)
{
    if (vm->gdb && vm->gdb->busy) {
        error_set(errp, "a gdb session can't replace its own server");
        return false;
    }
    gdb_server_close(vm);
    if (!strcmp(device, "none")) {
        return true;
    }
    if (!accel_class(vm->accel)->debug_changed) {
        error_set(errp, "the engine '%s' cannot be debugged", accel_class(vm->accel)->name);
        error_hint(errp, "use -accel tcg");
        return false;
    }
    bool own = false;
    Chardev *chr = find_chardev(vm, device, &own, errp);
    if (!chr) {
        return false;
    }
    GdbServer *s = g_new0(GdbServer, 1);
    *s = (GdbServer){.vm = vm, .chr = chr, .own_chr = own};
    s->packet = g_byte_array_new();
    s->last = g_string_new(NULL);
    forget_session(s);
    vm->gdb = s;
    if (!char_attach(&s->fe, chr, &handlers, s, vm->control, errp)) {
        s->fe.chr = NULL;
        gdb_server_close(vm);
        return false;
    }
    return true;
}

void gdb_server_close(Vm *vm)
{
    GdbServer *s = vm->gdb;
    if (!s) {
        return;
    }
    if (s->connected && vm->quit) {
        char text[8];
        g_snprintf(text, sizeof(text), "W%02x", (unsigned)vm->exit_code & 0xff);
        gdb_reply(s, text);
    }
    if (s->fe.chr) {
        char_detach(&s->fe);
    }
    if (s->own_chr) {
        object_unparent((Object *)s->chr);
    }
    gdb_remove_all(vm);
    g_byte_array_unref(s->packet);
    g_string_free(s->last, TRUE);
    g_free(s);
    vm->gdb = NULL;
}
