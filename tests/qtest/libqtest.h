/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/qtest/libqtest.h: drives one device of a whole machine from a test.
 *
 * The program under test (RHEA_BINARY) runs with no CPU; the test makes the
 * accesses a guest would make, moves the guest's time, and speaks QMP.
 * Everything that goes wrong ends the test with a message: there are no error
 * returns, except from qtest_qmp_try().
 *
 *     QTest *q = qtest_start("-machine pc -device isa-debug-exit");
 *     qtest_outb(q, 0x70, 0x0a);
 *     g_assert_cmphex(qtest_inb(q, 0x71) & 0x80, ==, 0);
 *     qtest_quit(q);
 */
#ifndef RHEA_TESTS_LIBQTEST_H
#define RHEA_TESTS_LIBQTEST_H

#include "util/json.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct QTest QTest;

/*
 * Starts the program with -accel qtest -display none -nodefaults and the words of the text;
 * shell quoting is understood.
 */
QTest *qtest_start(const char *args_fmt, ...) G_GNUC_PRINTF(1, 2);
/* Tells it to quit; it must do so with status 0 and without a word on stderr from a sanitizer. */
void qtest_quit(QTest *q);
/* Waits for it to end by itself; its exit status. Frees. */
int qtest_wait_exit(QTest *q);
/* Kills it, wherever it is. Frees. */
void qtest_kill(QTest *q);
/* Runs the program to its end; status, and what it said on stderr (caller frees). */
int qtest_run_to_end(char **stderr_text, const char *args_fmt, ...) G_GNUC_PRINTF(2, 3);
/* A fresh empty directory that goes away with the QTest (or at exit for NULL). */
const char *qtest_tmpdir(QTest *q);

/* ---- ports ---- */
uint8_t qtest_inb(QTest *q, uint16_t port);
uint16_t qtest_inw(QTest *q, uint16_t port);
uint32_t qtest_inl(QTest *q, uint16_t port);
void qtest_outb(QTest *q, uint16_t port, uint8_t v);
void qtest_outw(QTest *q, uint16_t port, uint16_t v);
void qtest_outl(QTest *q, uint16_t port, uint32_t v);

/* ---- memory ---- */
uint8_t qtest_readb(QTest *q, uint64_t addr);
uint16_t qtest_readw(QTest *q, uint64_t addr);
uint32_t qtest_readl(QTest *q, uint64_t addr);
uint64_t qtest_readq(QTest *q, uint64_t addr);
void qtest_writeb(QTest *q, uint64_t addr, uint8_t v);
void qtest_writew(QTest *q, uint64_t addr, uint16_t v);
void qtest_writel(QTest *q, uint64_t addr, uint32_t v);
void qtest_writeq(QTest *q, uint64_t addr, uint64_t v);
void qtest_memread(QTest *q, uint64_t addr, void *buf, size_t len);
void qtest_memwrite(QTest *q, uint64_t addr, const void *buf, size_t len);
void qtest_memset(QTest *q, uint64_t addr, uint8_t byte, size_t len);

/* ---- time, in nanoseconds; all return the new time ---- */
int64_t qtest_clock_step(QTest *q, int64_t ns);
int64_t qtest_clock_step_next(QTest *q); /* to the next timer */
int64_t qtest_clock_set(QTest *q, int64_t ns);

/* ---- interrupts ---- */
/* From now on the lines into `path` ("ioapic") are watched instead of delivered. */
void qtest_irq_intercept_in(QTest *q, const char *path);
void qtest_irq_intercept_out(QTest *q, const char *path);
bool qtest_irq(QTest *q, int n);            /* level now */
unsigned qtest_irq_raised(QTest *q, int n); /* how often it went up since the last call */

/* ---- monitors ---- */
/*
 * Executes; `args` is JSON text with single quotes, may be NULL:
 * qtest_qmp(q, "device_add", "{'driver':'%s'}", name).  The "return" value; caller unrefs.
 */
Json *qtest_qmp(QTest *q, const char *command, const char *args_fmt, ...) G_GNUC_PRINTF(3, 4);
/* The same; the whole answer, with "return" or "error". */
Json *qtest_qmp_try(QTest *q, const char *command, const char *args_fmt, ...) G_GNUC_PRINTF(3, 4);
/* Sends the command only: the answer is nobody's, and qtest_kill() is what comes next. */
void qtest_qmp_send(QTest *q, const char *command, const char *args_fmt, ...) G_GNUC_PRINTF(3, 4);
/* Waits for the event and takes it; its whole object. */
Json *qtest_qmp_event(QTest *q, const char *name);
char *qtest_hmp(QTest *q, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/*
 * Polls until the condition holds, letting the program work in between (disk I/O, network are
 * asynchronous); fails the test after ten seconds.
 */
#define qtest_wait_for(q, condition)                                                     \
    do {                                                                                 \
        int wait_rounds_ = 0;                                                            \
        while (!(condition)) {                                                           \
            if (++wait_rounds_ > 10000) {                                                \
                g_error("%s:%d: waited in vain for %s", __FILE__, __LINE__, #condition); \
            }                                                                            \
            qtest_breathe(q);                                                            \
        }                                                                                \
    } while (0)
void qtest_breathe(QTest *q); /* a millisecond of real time, and 100 us of the guest's */

#endif
