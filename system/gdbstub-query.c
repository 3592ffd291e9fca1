/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gdb server: q and Q packets: features, threads, target description, the monitor. */
#include "monitor/monitor.h"
#include "system/gdbstub-internal.h"

#include <string.h>

#define ERR_INVALID 22u

/* ---- features ---- */
static void supported(GdbServer *s, const char *theirs)
{
    g_auto(GStrv) each = g_strsplit(theirs, ";", 0);
    s->swbreak = g_strv_contains((const char *const *)each, "swbreak+");
    s->hwbreak = g_strv_contains((const char *const *)each, "hwbreak+");
    g_autofree char *text = g_strdup_printf(
        "PacketSize=%x;qXfer:features:read+;vContSupported+;QStartNoAckMode+;swbreak+;hwbreak+",
        GDB_PACKET_MAX);
    gdb_reply(s, text);
}

/* "target.xml:OFFSET,LENGTH" */
static void features(GdbServer *s, const char *p)
{
    const char *colon = strchr(p, ':');
    g_autofree char *name = colon ? g_strndup(p, (gsize)(colon - p)) : NULL;
    g_autofree char *xml = name ? gdb_target_xml(&gdb_cpu(s, 0)->cpu, name) : NULL;
    uint64_t offset, len;
    if (!xml) {
        gdb_reply(s, "E00"); /* the annex is not there */
        return;
    }
    p = colon + 1;
    size_t total = strlen(xml);
    if (!gdb_parse_hex(&p, &offset) || *p++ != ',' || !gdb_parse_hex(&p, &len) || *p ||
        offset > total) {
        gdb_reply_error(s, ERR_INVALID);
        return;
    }
    size_t n = MIN(total - offset, MIN(len, (uint64_t)GDB_PACKET_MAX / 2));
    g_autofree char *text =
        g_strdup_printf("%c%.*s", offset + n < total ? 'm' : 'l', (int)n, xml + offset);
    gdb_reply(s, text);
}

/* ---- threads ---- */
static void list_threads(GdbServer *s)
{
    g_autoptr(GString) out = g_string_new("m");
    unsigned n = s->vm->machine->cpus->len;
    for (; s->list_next < n && out->len < GDB_PACKET_MAX / 2; s->list_next++) {
        g_string_append_printf(out, "%s%02x", out->len > 1 ? "," : "", s->list_next + 1);
    }
    gdb_reply(s, out->len > 1 ? out->str : "l");
}

static void thread_info(GdbServer *s, const char *p)
{
    int cpu;
    if (!gdb_parse_thread(s, &p, &cpu) || *p || cpu < 0) {
        gdb_reply_error(s, ERR_INVALID);
        return;
    }
    g_autoptr(GString) out = g_string_new(NULL);
    g_autofree char *text = g_strdup_printf(
        "CPU#%d [%s]", cpu, gdb_cpu(s, (unsigned)cpu)->cpu.halted ? "halted " : "running");
    gdb_append_hex(out, text, strlen(text));
    gdb_reply(s, out->str);
}

/* ---- the monitor ---- */
static void command(GdbServer *s, const char *hex)
{
    size_t n = strlen(hex) / 2;
    g_autofree char *line = g_malloc0(n + 1);
    if (!gdb_parse_bytes(hex, (uint8_t *)line, n)) {
        gdb_reply_error(s, ERR_INVALID);
        return;
    }
    g_autofree char *answer = monitor_human_command(&s->vm->obj, line, s->cpu);
    size_t len = strlen(answer), max = GDB_PACKET_MAX / 2 - 16;
    for (size_t done = 0; done < len; done += max) {
        g_autoptr(GString) out = g_string_new("O");
        gdb_append_hex(out, answer + done, MIN(len - done, max));
        gdb_reply(s, out->str);
    }
    gdb_reply(s, "OK");
}

/* ---- which ---- */
void gdb_query(GdbServer *s, const char *text)
{
    if (g_str_has_prefix(text, "Supported")) {
        supported(s, text[strlen("Supported")] == ':' ? text + strlen("Supported:") : "");
    } else if (g_str_has_prefix(text, "Xfer:features:read:")) {
        features(s, text + strlen("Xfer:features:read:"));
    } else if (g_str_equal(text, "fThreadInfo")) {
        s->list_next = 0;
        list_threads(s);
    } else if (g_str_equal(text, "sThreadInfo")) {
        list_threads(s);
    } else if (g_str_has_prefix(text, "ThreadExtraInfo,")) {
        thread_info(s, text + strlen("ThreadExtraInfo,"));
    } else if (g_str_equal(text, "C")) {
        g_autofree char *id = g_strdup_printf("QC%02x", s->cpu + 1);
        gdb_reply(s, id);
    } else if (g_str_has_prefix(text, "Attached")) {
        gdb_reply(s, "1");
    } else if (g_str_has_prefix(text, "Rcmd,")) {
        command(s, text + strlen("Rcmd,"));
    } else if (g_str_equal(text, "qemu.sstepbits")) {
        g_autofree char *bits = g_strdup_printf("ENABLE=%x,NOIRQ=%x,NOTIMER=%x", GDB_STEP_ENABLE,
                                                GDB_STEP_NOIRQ, GDB_STEP_NOTIMER);
        gdb_reply(s, bits);
    } else if (g_str_equal(text, "qemu.sstep")) {
        g_autofree char *flags = g_strdup_printf("0x%x", s->step_flags);
        gdb_reply(s, flags);
    } else if (g_str_equal(text, "qemu.PhyMemMode")) {
        gdb_reply(s, s->physical ? "1" : "0");
    } else {
        gdb_reply(s, "");
    }
}

/* "qemu.sstep=0x7", "qemu.sstep:7": one number; true if it was there. */
static bool assignment(const char *text, const char *name, uint64_t *v)
{
    size_t n = strlen(name);
    if (strncmp(text, name, n) != 0 || (text[n] != '=' && text[n] != ':')) {
        return false;
    }
    const char *p = text + n + 1;
    p += g_str_has_prefix(p, "0x") ? 2 : 0;
    if (!gdb_parse_hex(&p, v) || *p) {
        *v = UINT64_MAX;
    }
    return true;
}

void gdb_set(GdbServer *s, const char *text)
{
    uint64_t v;
    if (g_str_equal(text, "StartNoAckMode")) {
        gdb_reply(s, "OK"); /* gdb acknowledges this reply for the last time */
        s->no_ack = true;
    } else if (assignment(text, "qemu.sstep", &v)) {
        bool ok = v <= (GDB_STEP_ENABLE | GDB_STEP_NOIRQ | GDB_STEP_NOTIMER);
        s->step_flags = ok ? (unsigned)v : s->step_flags;
        gdb_reply(s, ok ? "OK" : "E22");
    } else if (assignment(text, "qemu.PhyMemMode", &v)) {
        s->physical = v <= 1 ? v : s->physical;
        gdb_reply(s, v <= 1 ? "OK" : "E22");
    } else {
        gdb_reply(s, "");
    }
}
