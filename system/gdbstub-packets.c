/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gdb server: registers, memory, breakpoints, and which packet goes where. */
#include "system/gdbstub-internal.h"

#include <string.h>

#define ERR_FAULT 14u
#define ERR_INVALID 22u
#define ERR_NO_SPACE 28u
/* A memory reply is hexadecimal. */
#define MEMORY_MAX ((GDB_PACKET_MAX - 16u) / 2)

static CPUX86 *current(GdbServer *s)
{
    return &gdb_cpu(s, s->cpu)->cpu;
}

static void reply_ok(GdbServer *s, bool ok, unsigned error)
{
    if (ok) {
        gdb_reply(s, "OK");
    } else {
        gdb_reply_error(s, error);
    }
}

/* ---- registers ---- */
static void read_registers(GdbServer *s)
{
    CPUX86 *cpu = current(s);
    g_autoptr(GString) out = g_string_new(NULL);
    uint8_t buf[16];
    vcpu_sync_out(gdb_cpu(s, s->cpu), NULL);
    for (unsigned n = 0; n < gdb_register_count(cpu); n++) {
        gdb_append_hex(out, buf, gdb_register_read(cpu, n, buf));
    }
    gdb_reply(s, out->str);
}

static void read_register(GdbServer *s, const char *p)
{
    uint64_t n;
    uint8_t buf[16];
    vcpu_sync_out(gdb_cpu(s, s->cpu), NULL);
    unsigned size = gdb_parse_hex(&p, &n) && !*p && n < UINT32_MAX
                        ? gdb_register_read(current(s), (unsigned)n, buf)
                        : 0;
    if (!size) {
        gdb_reply_error(s, ERR_INVALID);
        return;
    }
    g_autoptr(GString) out = g_string_new(NULL);
    gdb_append_hex(out, buf, size);
    gdb_reply(s, out->str);
}

static bool store_register(CPUX86 *cpu, unsigned n, const char *hex)
{
    uint8_t buf[16];
    unsigned size = gdb_register_size(cpu, n);
    return size && gdb_parse_bytes(hex, buf, size) && gdb_register_write(cpu, n, buf);
}

static void write_register(GdbServer *s, const char *p)
{
    uint64_t n;
    bool ok = gdb_parse_hex(&p, &n) && *p == '=' && n < UINT32_MAX &&
              store_register(current(s), (unsigned)n, p + 1);
    vcpu_sync_in(gdb_cpu(s, s->cpu), NULL);
    reply_ok(s, ok, ERR_INVALID);
}

/* All or the first of them; each that differs from what is there must be acceptable. */
static void write_registers(GdbServer *s, const char *p)
{
    CPUX86 *cpu = current(s);
    bool ok = true;
    for (unsigned n = 0; ok && *p && n < gdb_register_count(cpu); n++) {
        size_t len = 2 * (size_t)gdb_register_size(cpu, n);
        g_autofree char *hex = g_strndup(p, len);
        ok = strlen(hex) == len && store_register(cpu, n, hex);
        p += MIN(len, strlen(p));
    }
    vcpu_sync_in(gdb_cpu(s, s->cpu), NULL);
    reply_ok(s, ok && !*p, ERR_INVALID);
}

/* ---- memory ---- */
static bool access_memory(GdbServer *s, uint64_t addr, void *buf, size_t len, bool write)
{
    CPUX86 *cpu = current(s);
    if (!s->physical) {
        return cpu_debug_rw(cpu, addr, buf, len, write);
    }
    MemResult r = write ? address_space_write_rom(cpu_as(cpu), addr, buf, len)
                        : address_space_read(cpu_as(cpu), addr, cpu_attrs(cpu), buf, len);
    return r == MEM_OK;
}

static bool parse_span(const char **p, uint64_t *addr, uint64_t *len)
{
    return gdb_parse_hex(p, addr) && *(*p)++ == ',' && gdb_parse_hex(p, len);
}

static void read_memory(GdbServer *s, const char *p)
{
    uint64_t addr, len, done = 0;
    if (!parse_span(&p, &addr, &len) || *p || len > MEMORY_MAX) {
        gdb_reply_error(s, ERR_INVALID);
        return;
    }
    g_autofree uint8_t *buf = g_malloc(len + 1);
    /* What can be read before a page that is not mapped. */
    while (done < len) {
        size_t n = MIN(len - done, 4096 - ((addr + done) & 4095));
        if (!access_memory(s, addr + done, buf + done, n, false)) {
            break;
        }
        done += n;
    }
    if (len && !done) {
        gdb_reply_error(s, ERR_FAULT);
        return;
    }
    g_autoptr(GString) out = g_string_new(NULL);
    gdb_append_hex(out, buf, done);
    gdb_reply(s, out->str);
}

static void write_memory(GdbServer *s, const char *p, const char *end, bool binary)
{
    uint64_t addr, len;
    if (!parse_span(&p, &addr, &len) || *p++ != ':' || len > GDB_PACKET_MAX ||
        (binary && (uint64_t)(end - p) != len)) {
        gdb_reply_error(s, ERR_INVALID);
        return;
    }
    g_autofree uint8_t *buf = g_malloc(len + 1);
    if (binary) {
        memcpy(buf, p, len);
    } else if ((uint64_t)(end - p) != 2 * len || !gdb_parse_bytes(p, buf, len)) {
        gdb_reply_error(s, ERR_INVALID);
        return;
    }
    reply_ok(s, access_memory(s, addr, buf, len, true), ERR_FAULT);
}

/* ---- breakpoints ---- */
static void breakpoint(GdbServer *s, const char *p, bool insert)
{
    static const DebugKind kinds[] = {DEBUG_EXEC, DEBUG_EXEC, DEBUG_WRITE, DEBUG_READ,
                                      DEBUG_ACCESS};
    DebugPoint b;
    if (*p < '0' || *p > '4') {
        gdb_reply(s, "");
        return;
    }
    b.kind = kinds[*p++ - '0'];
    if (*p++ != ',' || !parse_span(&p, &b.addr, &b.len) || *p) {
        gdb_reply_error(s, ERR_INVALID);
        return;
    }
    if (b.kind == DEBUG_EXEC) {
        b.len = 1; /* gdb's is the size of its breakpoint instruction */
    } else if (!b.len) {
        gdb_reply_error(s, ERR_INVALID);
        return;
    }
    if (insert) {
        reply_ok(s, accel_debug_add(s->vm->accel, b, NULL), ERR_NO_SPACE);
    } else {
        accel_debug_remove(s->vm->accel, b);
        gdb_reply(s, "OK");
    }
}

/* ---- threads and life ---- */
static void choose_thread(GdbServer *s, const char *p)
{
    char what = *p ? *p++ : 0;
    int cpu;
    if ((what != 'g' && what != 'c') || !gdb_parse_thread(s, &p, &cpu) || *p) {
        gdb_reply_error(s, ERR_INVALID);
        return;
    }
    if (cpu >= 0) {
        *(what == 'g' ? &s->cpu : &s->cont_cpu) = (unsigned)cpu;
    }
    gdb_reply(s, "OK");
}

static void thread_alive(GdbServer *s, const char *p)
{
    int cpu;
    reply_ok(s, gdb_parse_thread(s, &p, &cpu) && !*p, ERR_INVALID);
}

/* c, C, s and S: with an address, execution goes on there. */
static void go_on(GdbServer *s, const char *p, bool with_signal, bool step)
{
    uint64_t v;
    if (with_signal) {
        if (!gdb_parse_hex(&p, &v) || (*p && *p != ';')) {
            gdb_reply_error(s, ERR_INVALID);
            return;
        }
        p += *p == ';';
    }
    if (*p) {
        if (!gdb_parse_hex(&p, &v) || *p) {
            gdb_reply_error(s, ERR_INVALID);
            return;
        }
        Vcpu *c = gdb_cpu(s, s->cont_cpu);
        c->cpu.rip = v;
        vcpu_sync_in(c, NULL);
    }
    gdb_continue(s, step);
}

static void verbose(GdbServer *s, const char *p)
{
    if (g_str_equal(p, "Cont?")) {
        gdb_reply(s, "vCont;c;C;s;S");
    } else if (g_str_has_prefix(p, "Cont")) {
        gdb_vcont(s, p + strlen("Cont"));
    } else if (g_str_has_prefix(p, "Attach;")) {
        vm_stop(s->vm, Q_RUN_STATE_PAUSED);
        gdb_reply_stop(s, GDB_SIGTRAP);
    } else if (g_str_has_prefix(p, "Kill;")) {
        gdb_reply(s, "OK");
        vm_request_shutdown(s->vm, Q_SHUTDOWN_CAUSE_HOST_QMP_QUIT, 0);
    } else {
        gdb_reply(s, "");
    }
}

static void why(GdbServer *s)
{
    gdb_remove_all(s->vm); /* a new session; what an earlier one left is not its */
    gdb_reply_stop(s, GDB_SIGTRAP);
}

/* Sessions, threads, and the guest's going on; false: it is none of these. */
static bool control(GdbServer *s, char letter, const char *p)
{
    switch (letter) {
    case '!':
        gdb_reply(s, "OK");
        return true;
    case '?':
        why(s);
        return true;
    case 'c':
    case 'C':
        go_on(s, p, letter == 'C', false);
        return true;
    case 's':
    case 'S':
        go_on(s, p, letter == 'S', true);
        return true;
    case 'D':
        gdb_reply(s, "OK");
        gdb_detach(s);
        return true;
    case 'H':
        choose_thread(s, p);
        return true;
    case 'T':
        thread_alive(s, p);
        return true;
    case 'k':
        vm_request_shutdown(s->vm, Q_SHUTDOWN_CAUSE_HOST_QMP_QUIT, 0);
        return true;
    default:
        return false;
    }
}

void gdb_handle_packet(GdbServer *s, const char *text, size_t len)
{
    const char *p = text + 1;
    if (s->vm->running) { /* a running guest is stopped before anybody looks at it */
        s->waiting = false;
        vm_stop(s->vm, Q_RUN_STATE_PAUSED);
    }
    if (len && control(s, *text, p)) {
        return;
    }
    switch (len ? *text : 0) {
    case 'g':
        read_registers(s);
        break;
    case 'G':
        write_registers(s, p);
        break;
    case 'm':
        read_memory(s, p);
        break;
    case 'M':
    case 'X':
        write_memory(s, p, text + len, *text == 'X');
        break;
    case 'p':
        read_register(s, p);
        break;
    case 'P':
        write_register(s, p);
        break;
    case 'q':
        gdb_query(s, p);
        break;
    case 'Q':
        gdb_set(s, p);
        break;
    case 'v':
        verbose(s, p);
        break;
    case 'Z':
    case 'z':
        breakpoint(s, p, *text == 'Z');
        break;
    default: /* also what gdb only asks for to hear that it is unknown */
        gdb_reply(s, "");
        break;
    }
}
