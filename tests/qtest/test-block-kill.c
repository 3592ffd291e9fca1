/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kill -9 of a machine at any time: a virtio disk is written, zeroed and flushed with several
 * requests under way while snapshots, mirrors, commits and resizes happen, and the program is
 * killed.  The image then opens, `check` (ours and the distribution's) finds leaks at most, and
 * every sector holds what was acknowledged and flushed, or something written since.  The next
 * round goes on with the same image.
 *
 * RHEA_KILL_ROUNDS=N: so many kills (24 otherwise), from a random seed on.
 */
#include "tests/qtest/libqtest-virtio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECTORS 8192u /* of the disk that are looked at */
#define SLOTS 8u
#define SLOT_SECTORS 64u
#define T_OUT 1u
#define T_FLUSH 4u
#define T_DISCARD 11u
#define T_WRITE_ZEROES 13u
#define ROUNDS_PER_IMAGE 5u

typedef struct Write {
    uint32_t first, n, stamp; /* stamp 0: zeroes */
    bool discard;             /* or whatever was there */
    uint64_t acked;           /* when, by Fixture.clock; 0: not yet */
} Write;

typedef struct Slot {
    bool busy;
    uint32_t type;
    uint64_t at;    /* guest memory: header, status, data */
    uint64_t clock; /* when it was submitted */
    uint32_t first, n, stamp;
} Slot;

typedef struct Fixture {
    QTest *q;
    QVirtio v;
    QVirtQueue vq;
    GRand *rng;
    char *dir, *img;
    GPtrArray *chain; /* file names, base first */
    char *next;       /* what may have become the active image, unanswered; or NULL */
    bool commits;     /* `next` is the chain's base */
    bool judge;       /* there is a qemu-img */
    unsigned files, snapshots, stamps;
    uint64_t size, clock;
    Slot slots[SLOTS];
    uint32_t flushed[SECTORS];
    GArray *recent;  /* Write, in order of submission */
    const char *job; /* what runs: "mirror", "commit", or NULL */
    unsigned kills, operations, flushes;
    uint64_t writes;
} Fixture;

static const char *const shapes[] = {"cluster_size=64k", "cluster_size=4k", "extended_l2=on",
                                     "compat=0.10", "cluster_size=512,refcount_bits=8"};

static int G_GNUC_PRINTF(2, 3) sh(Fixture *f, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *cmd = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_autofree char *all = g_strdup_printf("cd '%s' && { %s; } >out 2>&1", f->dir, cmd);
    int st = system(all);
    return WIFEXITED(st) ? WEXITSTATUS(st) : 255;
}

static void G_GNUC_NORETURN fail(Fixture *f, const char *what, const char *file)
{
    g_autofree char *path = g_build_filename(f->dir, "out", NULL), *text = NULL;
    g_file_get_contents(path, &text, NULL, NULL);
    g_error("kill %u: %s: %s\n%s", f->kills, file, what, text ? text : "");
}

static bool chance(Fixture *f, unsigned percent)
{
    return (unsigned)g_rand_int_range(f->rng, 0, 100) < percent;
}

static const char *top(const Fixture *f)
{
    return f->chain->pdata[f->chain->len - 1];
}

static char *new_file(Fixture *f)
{
    return g_strdup_printf("d%u.qcow2", f->files++);
}

/* ---- the guest ---- */

static void start_machine(Fixture *f)
{
    f->q = qtest_start("-machine q35 -m 64 -drive id=d0,if=none,format=qcow2,discard=unmap,"
                       "file=%s/%s -device virtio-blk-pci,drive=d0,num-queues=1",
                       f->dir, top(f));
    qvirtio_open(&f->v, f->q, 2);
    qvirtio_negotiate(&f->v, ~0ull & ~(1ull << 29));
    qvirtio_queue(&f->v, &f->vq, 0);
    qvirtio_driver_ok(&f->v);
    for (unsigned i = 0; i < SLOTS; i++) {
        f->slots[i] = (Slot){.at = qvirtio_alloc(&f->v, 4096 + SLOT_SECTORS * 512)};
    }
    f->job = NULL;
}

static void put_descriptor(Fixture *f, unsigned i, uint64_t addr, uint32_t len, unsigned flags)
{
    uint64_t at = f->vq.desc + 16ull * i;
    qtest_writeq(f->q, at, addr);
    qtest_writel(f->q, at + 8, len);
    qtest_writew(f->q, at + 12, (uint16_t)flags);
    qtest_writew(f->q, at + 14, (uint16_t)(i + 1));
}

static void submit(Fixture *f, unsigned slot, uint32_t type, uint32_t bytes)
{
    Slot *s = &f->slots[slot];
    bool range = type == T_DISCARD || type == T_WRITE_ZEROES;
    s->busy = true;
    s->type = type;
    s->clock = ++f->clock;
    qtest_writel(f->q, s->at, type);
    qtest_writel(f->q, s->at + 4, 0);
    qtest_writeq(f->q, s->at + 8, type == T_OUT ? s->first : 0);
    qtest_writeb(f->q, s->at + 16, 0xee);
    put_descriptor(f, slot * 3, s->at, 16, 1);
    unsigned last = slot * 3 + 1;
    if (range || type == T_OUT) {
        put_descriptor(f, last++, s->at + 4096, bytes, 1);
    }
    put_descriptor(f, last, s->at + 16, 1, 2);
    qvirtio_kick(&f->v, &f->vq, (uint16_t)(slot * 3));
}

/* What a sector of a write looks like: its stamp and its number, over and over. */
static void fill(uint32_t *words, uint32_t sector, uint32_t stamp)
{
    for (unsigned i = 0; i < 128; i += 2) {
        words[i] = stamp;
        words[i + 1] = stamp ? sector ^ i : 0;
    }
}

static bool overlaps(const Fixture *f, uint32_t first, uint32_t n)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        const Slot *s = &f->slots[i];
        if (s->busy && s->type != T_FLUSH && first < s->first + s->n && s->first < first + n) {
            return true;
        }
    }
    return false;
}

static void submit_write(Fixture *f, unsigned slot)
{
    Slot *s = &f->slots[slot];
    unsigned kind = (unsigned)g_rand_int_range(f->rng, 0, 10);
    uint32_t type = kind < 8 ? T_OUT : kind == 8 ? T_WRITE_ZEROES : T_DISCARD;
    uint32_t most = type == T_OUT ? SLOT_SECTORS : 600;
    uint32_t n = (uint32_t)g_rand_int_range(f->rng, 1, chance(f, 70) ? 17 : (int)most + 1);
    uint32_t first = (uint32_t)g_rand_int_range(f->rng, 0, (int)(SECTORS - n));
    if (overlaps(f, first, n)) {
        return;
    }
    s->first = first;
    s->n = n;
    s->stamp = type == T_OUT ? ++f->stamps : 0;
    Write w = {first, n, s->stamp, type == T_DISCARD, 0};
    if (type == T_OUT) {
        uint32_t data[SLOT_SECTORS][128];
        for (uint32_t i = 0; i < n; i++) {
            fill(data[i], first + i, s->stamp);
        }
        qtest_memwrite(f->q, s->at + 4096, data, n * 512ull);
    } else {
        qtest_writeq(f->q, s->at + 4096, first);
        qtest_writel(f->q, s->at + 4104, n);
        qtest_writel(f->q, s->at + 4108, type == T_WRITE_ZEROES && chance(f, 50));
    }
    g_array_append_val(f->recent, w);
    submit(f, slot, type, type == T_OUT ? n * 512 : 16);
    f->writes++;
}

/* A flush has ended: what was acknowledged before it began is to stay. */
static void settle(Fixture *f, uint64_t began)
{
    guint kept = 0;
    for (guint i = 0; i < f->recent->len; i++) {
        Write *w = &g_array_index(f->recent, Write, i);
        /* What a discard leaves is not said: it stays an answer until something is written. */
        if (!w->acked || w->acked > began || w->discard) {
            g_array_index(f->recent, Write, kept++) = *w;
            continue;
        }
        for (uint32_t s = w->first; s < w->first + w->n; s++) {
            f->flushed[s] = w->stamp;
        }
    }
    g_array_set_size(f->recent, kept);
}

static void finished(Fixture *f, unsigned slot)
{
    Slot *s = &f->slots[slot];
    g_assert_cmpuint(qtest_readb(f->q, s->at + 16), ==, 0);
    s->busy = false;
    f->clock++;
    if (s->type == T_FLUSH) {
        settle(f, s->clock);
        f->flushes++;
        return;
    }
    for (guint i = 0; i < f->recent->len; i++) {
        Write *w = &g_array_index(f->recent, Write, i);
        if (!w->acked && w->first == s->first && w->n == s->n && w->stamp == s->stamp) {
            w->acked = f->clock;
        }
    }
}

static void reap(Fixture *f)
{
    while (qtest_readw(f->q, f->vq.used + 2) != f->vq.used_idx) {
        uint64_t at = f->vq.used + 4 + 8ull * (f->vq.used_idx++ % f->vq.size);
        finished(f, qtest_readl(f->q, at) / 3);
    }
}

static void traffic(Fixture *f, unsigned steps)
{
    while (steps--) {
        unsigned slot = (unsigned)g_rand_int_range(f->rng, 0, SLOTS);
        if (!f->slots[slot].busy && chance(f, 12)) {
            submit(f, slot, T_FLUSH, 0);
        } else if (!f->slots[slot].busy) {
            submit_write(f, slot);
        }
        reap(f);
        if (chance(f, 10)) {
            qtest_breathe(f->q);
        }
    }
}

/* ---- operations ---- */

/* The command's answer is waited for, or not: then true, and the machine is about to die. */
static bool G_GNUC_PRINTF(4, 5)
    order(Fixture *f, bool die, const char *command, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *args = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    f->operations++;
    if (die) {
        qtest_qmp_send(f->q, command, "%s", args);
        traffic(f, (unsigned)g_rand_int_range(f->rng, 0, 6));
    } else {
        g_autoptr(Json) answer = qtest_qmp_try(f->q, command, "%s", args);
        const Json *e = json_get(answer, "error");
        /* Version 2 cannot have both snapshots and other sizes: a commit may ask for these, too. */
        if (e && !strcmp(command, "block-commit") &&
            strstr(json_get_str(e, "desc"), "version 2 cannot")) {
            f->job = NULL;
        } else if (e && strcmp(command, "block_resize")) {
            g_error("%s %s: %s", command, args, json_get_str(e, "desc"));
        }
    }
    return die;
}

static void took_over(Fixture *f)
{
    if (f->commits) {
        g_ptr_array_set_size(f->chain, 1);
    } else if (f->job) { /* a full mirror has no backing file */
        g_ptr_array_set_size(f->chain, 0);
        g_ptr_array_add(f->chain, g_strdup(f->next));
    } else {
        g_ptr_array_add(f->chain, g_strdup(f->next));
    }
    g_clear_pointer(&f->next, g_free);
    f->commits = false;
    f->job = NULL;
}

static bool begin_job(Fixture *f, bool die)
{
    if (f->chain->len > 1 && chance(f, 70)) {
        f->job = "commit";
        return order(f, die, "block-commit", "{'job-id':'j','device':'d0'}");
    }
    f->job = "mirror";
    g_autofree char *name = new_file(f);
    f->next = g_strdup(name);
    return order(f, die, "drive-mirror",
                 "{'job-id':'j','device':'d0','target':'%s/%s','format':'qcow2','sync':'full'}",
                 f->dir, name);
}

static bool end_job(Fixture *f, bool die)
{
    json_unref(qtest_qmp_event(f->q, "BLOCK_JOB_READY"));
    f->commits = !strcmp(f->job, "commit");
    if (f->commits) {
        f->next = g_strdup(f->chain->pdata[0]);
    }
    if (order(f, die, "block-job-complete", "{'device':'j'}")) {
        return true;
    }
    json_unref(qtest_qmp_event(f->q, "BLOCK_JOB_COMPLETED"));
    took_over(f);
    return false;
}

/* Returns true if the machine is about to die with the command unanswered. */
static bool operate(Fixture *f, bool die)
{
    if (f->job) {
        return end_job(f, die);
    }
    switch (g_rand_int_range(f->rng, 0, 6)) {
    case 0:
    case 1:
        if (f->chain->len < 4) {
            f->next = new_file(f);
            if (order(f, die, "blockdev-snapshot-sync",
                      "{'device':'d0','snapshot-file':'%s/%s','format':'qcow2'}", f->dir,
                      f->next)) {
                return true;
            }
            took_over(f);
            return false;
        }
        return begin_job(f, die);
    case 2:
        return begin_job(f, die);
    case 3:
        f->size += 65536;
        return order(f, die, "block_resize", "{'device':'d0','size':%" G_GUINT64_FORMAT "}",
                     f->size);
    default:
        return order(f, die, "blockdev-snapshot-internal-sync", "{'device':'d0','name':'s%u'}",
                     f->snapshots++);
    }
}

/* ---- after the kill ---- */

static bool acceptable(const Fixture *f, uint32_t s, uint32_t stamp)
{
    if (stamp == f->flushed[s]) {
        return true;
    }
    for (guint i = 0; i < f->recent->len; i++) {
        const Write *w = &g_array_index(f->recent, Write, i);
        if (s >= w->first && s < w->first + w->n && w->stamp == stamp) {
            return true;
        }
    }
    return false;
}

/* Does the image hold what it must? Then that is what it holds from now on. */
static bool holds(Fixture *f, const char *file, char **why)
{
    g_autofree char *raw = g_build_filename(f->dir, "raw", NULL), *text = NULL;
    uint32_t want[128], now[SECTORS];
    gsize len;
    if (sh(f, "'%s' convert -O raw %s raw", f->img, file) ||
        !g_file_get_contents(raw, &text, &len, NULL) || len < SECTORS * 512ull) {
        *why = g_strdup("cannot be read");
        return false;
    }
    for (uint32_t s = 0; s < SECTORS; s++) {
        const char *p = text + s * 512ull;
        memcpy(&now[s], p, 4);
        fill(want, s, now[s]);
        if (memcmp(want, p, 512) || !acceptable(f, s, now[s])) {
            *why = g_strdup_printf("sector %u has stamp %u, was flushed as %u", s, now[s],
                                   f->flushed[s]);
            return false;
        }
    }
    memcpy(f->flushed, now, sizeof(now));
    g_array_set_size(f->recent, 0);
    unlink(raw);
    return true;
}

static void expect_sound(Fixture *f)
{
    for (guint i = 0; i < f->chain->len; i++) {
        const char *file = f->chain->pdata[i];
        int ours = sh(f, "'%s' check -q %s", f->img, file);
        if (ours != 0 && ours != 3) {
            fail(f, "check finds errors", file);
        }
        /*
         * A count that is too high beside the flag "copied" is what a snapshot that was being made
         * leaves.  It costs space only; the other program calls it an error, with its own too.
         */
        if (f->judge && sh(f,
                           "qemu-img check -q %s >judged || [ $? = 3 ] || "
                           "! grep ERROR judged | grep -v 'OFLAG_COPIED.*refcount=[2-9]'",
                           file)) {
            fail(f, "qemu-img check finds errors", file);
        }
        if (ours == 3 && sh(f, "'%s' check -q -r leaks %s", f->img, file)) {
            fail(f, "leaks are not repaired", file);
        }
        if (f->judge && sh(f, "qemu-img check -q %s", file)) {
            fail(f, "qemu-img check finds errors or leaks after the repair", file);
        }
    }
}

static void judge(Fixture *f)
{
    g_autofree char *why_next = NULL, *why = NULL;
    bool moved = f->next && holds(f, f->next, &why_next);
    if (moved) {
        took_over(f);
    } else if (!holds(f, top(f), &why)) {
        fail(f, why, top(f));
    }
    g_clear_pointer(&f->next, g_free);
    f->commits = false;
    f->job = NULL;
    expect_sound(f);
}

static void fresh_image(Fixture *f)
{
    const char *shape = shapes[f->kills / ROUNDS_PER_IMAGE % G_N_ELEMENTS(shapes)];
    g_ptr_array_set_size(f->chain, 0);
    g_ptr_array_add(f->chain, new_file(f));
    memset(f->flushed, 0, sizeof(f->flushed));
    f->size = SECTORS * 512ull;
    if (sh(f, "rm -f *.qcow2; '%s' create -q -f qcow2 -o %s %s %" G_GUINT64_FORMAT, f->img, shape,
           top(f), f->size)) {
        fail(f, "cannot be made", top(f));
    }
}

static void round_of(Fixture *f)
{
    bool doomed = false;
    start_machine(f);
    for (unsigned i = (unsigned)g_rand_int_range(f->rng, 0, 6); !doomed; i--) {
        traffic(f, (unsigned)g_rand_int_range(f->rng, 5, 60));
        if (i == 0) {
            break;
        }
        doomed = operate(f, i == 1 && chance(f, 60));
    }
    g_usleep((gulong)g_rand_int_range(f->rng, 0, 3000));
    qtest_kill(f->q);
    f->kills++;
    for (unsigned i = 0; i < SLOTS; i++) {
        f->slots[i].busy = false;
    }
    judge(f);
}

static void test_kill(void)
{
    const char *rounds = g_getenv("RHEA_KILL_ROUNDS"), *binary = g_getenv("RHEA_BINARY");
    g_autofree char *folder = g_path_get_dirname(binary ? binary : "build/rhea-system-x86_64");
    g_autofree char *here = g_get_current_dir();
    Fixture *f = g_new0(Fixture, 1);
    guint32 seed = rounds ? g_random_int() : 7;
    f->dir = g_strdup(qtest_tmpdir(NULL));
    f->img = g_path_is_absolute(folder) ? g_build_filename(folder, "rhea-img", NULL)
                                        : g_build_filename(here, folder, "rhea-img", NULL);
    f->judge = sh(f, "command -v qemu-img") == 0;
    f->rng = g_rand_new_with_seed(seed);
    f->chain = g_ptr_array_new_with_free_func(g_free);
    f->recent = g_array_new(FALSE, FALSE, sizeof(Write));
    g_test_message("seed %u", seed);
    unsigned n = rounds ? (unsigned)atoi(rounds) : 24;
    while (f->kills < n) {
        if (f->kills % ROUNDS_PER_IMAGE == 0) {
            fresh_image(f);
        }
        round_of(f);
    }
    g_test_message("%u kills: %" G_GUINT64_FORMAT " writes, %u flushes, %u operations", f->kills,
                   f->writes, f->flushes, f->operations);
    g_assert_cmpuint(f->flushes, >, n / 2);
    g_rand_free(f->rng);
    g_ptr_array_free(f->chain, TRUE);
    g_array_free(f->recent, TRUE);
    g_free(f->img);
    g_free(f->dir);
    g_free(f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/kill", test_kill);
    return g_test_run();
}
