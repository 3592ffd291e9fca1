/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/crash-test.h: for tests of a format that is disturbed: requests to the image file or
 * allocations fail (crash_arm()), or the machine stops between two writes (crash_image_at()), and
 * then the image must be sound.  The image is bt->mem.
 */
#ifndef RHEA_TESTS_CRASH_TEST_H
#define RHEA_TESTS_CRASH_TEST_H

#include "block/image.h"
#include "tests/unit/alloc-fail.h"
#include "tests/unit/block-test.h"

/* ---- soundness ---- */

static inline void crash_note_(void *opaque, const char *text)
{
    g_string_append_printf(opaque, "%s\n", text);
}

/*
 * What is in memory now has no errors, and leaks at most; then all is repaired.  `open` opens the
 * image, for a check if it is told so; `leaks_stay`: its check has no means against leaks.  `when`
 * names the case in messages.
 */
static inline void crash_expect_sound(BlockNode *(*open)(unsigned check, Error **errp),
                                      bool leaks_stay, const char *when)
{
    Error *err = NULL;
    BlockCheck c;
    g_autoptr(GString) text = g_string_new(NULL);
    BlockProgress p = {.message = crash_note_, .opaque = text};
    BlockNode *n = open(1, &err);

    if (!n) {
        g_error("%s: does not open: %s", when, error_message(err));
    }
    int ret = image_check(n, 0, &p, &c, &err);
    if (ret < 0 || c.corruptions || c.check_errors) {
        g_error("%s: %s\n%s", when, err ? error_message(err) : "errors", text->str);
    }
    ret = image_check(n, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &p, &c, &err);
    g_assert_cmpint(ret, ==, 0);
    ret = image_check(n, 0, &p, &c, &err);
    if (ret < 0 || c.corruptions || c.check_errors || (c.leaks && !leaks_stay)) {
        g_error("%s: not repaired\n%s", when, text->str);
    }
    node_unref(n);
}

/* ---- failures ---- */

/* What fails in turn. */
typedef enum Fault { FAULT_REQUEST, FAULT_MEMORY } Fault;

/* The at-th from now on fails, and if `on` all after it. */
static inline void crash_arm(Fault fault, int at, bool on)
{
    static const int errors[] = {EIO, ENOSPC, ENOMEM};

    if (fault == FAULT_REQUEST) {
        bt->mem.ops = 0;
        bt->mem.fail_at = at;
        bt->mem.fail_on = on;
        bt->mem.fail_errno = errors[at % 3];
    } else {
        alloc_fault.n = 0;
        alloc_fault.fail_at = at;
        alloc_fault.fail_on = on;
    }
}

/* Nothing fails any more; was the at-th reached? */
static inline bool crash_disarm(int at)
{
    bool reached = bt->mem.fail_at ? bt->mem.ops >= at : alloc_fault.n >= at;

    bt->mem.fail_at = alloc_fault.fail_at = 0;
    return reached;
}

static inline char *crash_fault_text(Fault fault, int at, bool on)
{
    return g_strdup_printf("%s %d failing%s", fault == FAULT_MEMORY ? "allocation" : "request", at,
                           on ? " and all after it" : "");
}

/* ---- crashes ---- */

/* From now on bt->mem remembers what is written; *size bytes that are there are returned. */
static inline uint8_t *crash_log_begin(uint64_t *size)
{
    *size = bt->mem.size;
    bt->mem.log = g_array_new(FALSE, FALSE, sizeof(MemWrite));
    return g_memdup2(bt->mem.data, *size);
}

/*
 * The file when the log has the length `upto`, with all, none or some of what was not flushed:
 * bt->mem.room bytes, of which *size count.  `start`: how it was at crash_log_begin().
 */
static inline uint8_t *crash_image_at(guint upto, GRand *rng, const uint8_t *start,
                                      uint64_t start_size, uint64_t *size)
{
    const GArray *log = bt->mem.log;
    uint8_t *img = g_malloc0(bt->mem.room);
    int keep = g_rand_int_range(rng, 0, 4);
    guint flushed = 0;

    for (guint i = 0; i < upto; i++) {
        flushed = g_array_index(log, MemWrite, i).data ? flushed : i;
    }
    memcpy(img, start, start_size);
    *size = start_size;
    for (guint i = 0; i < upto; i++) {
        const MemWrite *w = &g_array_index(log, MemWrite, i);

        if (!w->data || !(i < flushed || keep == 0 || (keep > 1 && g_rand_boolean(rng)))) {
            continue;
        }
        if (w->truncate) {
            memset(img + w->off, 0, w->off < *size ? *size - w->off : 0);
            *size = w->off;
        } else {
            memcpy(img + w->off, w->data, w->len);
            *size = MAX(*size, w->off + w->len);
        }
    }
    return img;
}

/* It is the file now. */
static inline void crash_put(const uint8_t *img, uint64_t size)
{
    memcpy(bt->mem.data, img, bt->mem.room);
    bt->mem.size = size;
}

/* Rounds, each with a seed of its own: `n`, or as many as RHEA_CRASH_SECONDS allow, from a random
 * seed on.  round() returns how many cuts it has tried. */
static inline void crash_rounds(unsigned n, unsigned (*round)(const void *what, unsigned seed),
                                const void *what)
{
    const char *seconds = g_getenv("RHEA_CRASH_SECONDS");
    gint64 end = seconds ? g_get_monotonic_time() + atoi(seconds) * G_USEC_PER_SEC : 0;
    unsigned seed = seconds ? g_random_int() : 0, i = 0;
    uint64_t cuts = 0;

    while (seconds ? g_get_monotonic_time() < end : i < n) {
        cuts += round(what, seed + ++i);
    }
    g_test_message("%" G_GUINT64_FORMAT " cuts in %u rounds", cuts, i);
}

#endif
