/* SPDX-License-Identifier: GPL-2.0-or-later */
/* system/gdbstub-internal.h: what the files of the gdb server share. */
#ifndef RHEA_SYSTEM_GDBSTUB_INTERNAL_H
#define RHEA_SYSTEM_GDBSTUB_INTERNAL_H

#include "chardev/chardev.h"
#include "system/gdbstub.h"

#define GDB_PACKET_MAX 0x4000u /* of a packet's text, as qSupported tells */
#define GDB_SIGINT 2
#define GDB_SIGTRAP 5

typedef enum GdbInput {
    GDB_IN_IDLE,
    GDB_IN_DATA,
    GDB_IN_ESCAPE,
    GDB_IN_SUM_1,
    GDB_IN_SUM_2,
} GdbInput;

/* "qqemu.sstep": how single steps are made. */
#define GDB_STEP_ENABLE 1u
#define GDB_STEP_NOIRQ 2u
#define GDB_STEP_NOTIMER 4u

struct GdbServer {
    Vm *vm;
    Chardev *chr;
    CharFrontend fe;
    bool own_chr;
    /* input */
    GdbInput in;
    GByteArray *packet; /* unescaped text of the packet being received */
    bool too_long;
    bool busy; /* a packet is being handled */
    uint8_t sum, sum_given;
    /* the session */
    bool connected, no_ack;
    bool waiting;          /* gdb waits for a stop reply */
    bool swbreak, hwbreak; /* gdb knows these reasons */
    bool physical;
    unsigned step_flags;
    unsigned cpu, cont_cpu; /* Hg, Hc */
    unsigned list_next;     /* qsThreadInfo */
    GString *last;          /* sent, to be sent again on '-' */
};

static inline Vcpu *gdb_cpu(const GdbServer *s, unsigned n)
{
    return s->vm->machine->cpus->pdata[n];
}

/* ---- gdbstub.c: one packet out; `len` bytes, escaped as needed ---- */
void gdb_reply(GdbServer *s, const char *text);
void gdb_reply_bytes(GdbServer *s, const void *data, size_t len);
void gdb_reply_error(GdbServer *s, unsigned number);

/* ---- gdbstub-packets.c ---- */
/* `text` is NUL-terminated behind its `len` bytes. */
void gdb_handle_packet(GdbServer *s, const char *text, size_t len);

/* ---- gdbstub-query.c: q, Q and v packets ---- */
void gdb_query(GdbServer *s, const char *text);
void gdb_set(GdbServer *s, const char *text);

/* ---- gdbstub-run.c ---- */
/* Why the threads stand. */
void gdb_reply_stop(GdbServer *s, int signal);
/* vCont's actions "c:1;s"; without ':': for all others. */
void gdb_vcont(GdbServer *s, const char *text);
/* The old c, C, s, S: `step` of the CPU chosen by Hc. */
void gdb_continue(GdbServer *s, bool step);
/* The thread's CPU: *cpu; -1 for "all". false: there is no such thread. */
bool gdb_parse_thread(const GdbServer *s, const char **p, int *cpu);
void gdb_detach(GdbServer *s);
/* Breakpoints and steps; the machine may be running. */
void gdb_remove_all(Vm *vm);

/* ---- gdbstub-regs.c ---- */
/* The target description's document `name`, or NULL; caller frees. */
char *gdb_target_xml(const CPUX86 *cpu, const char *name);
unsigned gdb_register_count(const CPUX86 *cpu);
/* Little-endian value of register n; its size, 0: there is none. `buf` has 16 bytes. */
unsigned gdb_register_read(const CPUX86 *cpu, unsigned n, uint8_t *buf);
/* Size of register n, 0: none. */
unsigned gdb_register_size(const CPUX86 *cpu, unsigned n);
/* false: the register can't have this value. `buf` has gdb_register_size() bytes. */
bool gdb_register_write(CPUX86 *cpu, unsigned n, const uint8_t *buf);

/* ---- hexadecimal ---- */
static inline int gdb_hex_digit(char c)
{
    return g_ascii_isxdigit(c) ? g_ascii_xdigit_value(c) : -1;
}
/* A number of at most 16 digits at *p, which moves behind it. */
bool gdb_parse_hex(const char **p, uint64_t *v);
/* Exactly n bytes of hex; false if there are others. */
bool gdb_parse_bytes(const char *p, uint8_t *out, size_t n);
void gdb_append_hex(GString *out, const void *data, size_t n);

#endif
