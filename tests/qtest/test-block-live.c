/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live operations on disks while a guest writes: a virtio disk on a qcow2 node is written at
 * random, QMP changes the graph below it, and every byte is compared in the end, in the
 * guest's view and in the images.
 */
#include "tests/qtest/libqtest-virtio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE (4u << 20)
#define T_IN 0
#define T_OUT 1
#define T_FLUSH 4
#define BURST 65536u

typedef struct Fixture {
    QTest *q;
    QVirtioBlk d;
    const char *dir;
    uint8_t *disk; /* what the guest's disk must hold */
    uint32_t seed;
} Fixture;

static uint32_t rnd(Fixture *f)
{
    f->seed = f->seed * 1103515245u + 12345u;
    return f->seed >> 8;
}

static void G_GNUC_PRINTF(1, 2) sh(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *cmd = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (system(cmd) != 0) {
        g_error("failed: %s", cmd);
    }
}

static bool have(const char *program)
{
    g_autofree char *p = g_find_program_in_path(program);
    return p != NULL;
}

/* One request; returns its status byte. */
static uint8_t request(Fixture *f, uint32_t type, uint64_t sector, uint32_t len, bool write)
{
    return qvirtio_blk_request(&f->d, type, sector, len, write);
}

static void traffic(Fixture *f, unsigned n)
{
    uint8_t buf[BURST];
    while (n--) {
        uint32_t len = (1 + rnd(f) % (BURST / 512)) * 512;
        uint32_t sector = rnd(f) % ((SIZE - len) / 512);
        uint8_t fill = (uint8_t)(rnd(f) % 7 ? rnd(f) : 0);
        memset(buf, fill, len);
        buf[0] ^= fill ? 0x55 : 0;
        qtest_memwrite(f->q, f->d.data, buf, len);
        g_assert_cmpuint(request(f, T_OUT, sector, len, false), ==, 0);
        memcpy(f->disk + sector * 512ull, buf, len);
    }
}

static void verify_guest(Fixture *f)
{
    uint8_t buf[BURST];
    for (uint64_t off = 0; off < SIZE; off += BURST) {
        g_assert_cmpuint(request(f, T_IN, off / 512, BURST, true), ==, 0);
        qtest_memread(f->q, f->d.data, buf, BURST);
        if (memcmp(buf, f->disk + off, BURST)) {
            for (unsigned i = 0; i < BURST; i++) {
                if (buf[i] != f->disk[off + i]) {
                    g_error("guest reads %02x at %lx, not %02x", buf[i], (unsigned long)(off + i),
                            f->disk[off + i]);
                }
            }
        }
    }
}

/* The image holds `want`, whichever format it has. */
static void verify_image(Fixture *f, const char *name, const uint8_t *want)
{
    g_autofree char *raw = g_strdup_printf("%s/verify.raw", f->dir), *text = NULL;
    gsize len;
    sh("qemu-img convert -U -O raw %s/%s %s", f->dir, name, raw);
    g_assert_true(g_file_get_contents(raw, &text, &len, NULL));
    g_assert_cmpuint(len, ==, SIZE);
    for (unsigned i = 0; i < SIZE; i++) {
        if ((uint8_t)text[i] != want[i]) {
            g_error("%s holds %02x at %x, not %02x", name, (uint8_t)text[i], i, want[i]);
        }
    }
    unlink(raw);
}

static void check_image(Fixture *f, const char *name)
{
    sh("qemu-img check -q -U %s/%s", f->dir, name);
}

/* A chain base <- mid <- top of qcow2 images, all with data; the guest's disk is `disk0`. */
/* False: the test is skipped. */
static bool start_on(Fixture *f, const char *device, const char *more)
{
    if (!have("qemu-img") || !have("qemu-io")) {
        g_test_skip("qemu-img and qemu-io (qemu-utils) are not installed");
        return false;
    }
    memset(f, 0, sizeof(*f));
    f->dir = qtest_tmpdir(NULL);
    f->disk = g_malloc0(SIZE);
    f->seed = 12345;
    sh("rm -f %s/*; cd %s && qemu-img create -q -f qcow2 base.qcow2 4M && "
       "qemu-io -f qcow2 -c 'write -q -P 17 0 1M' -c 'write -q -P 18 3M 100k' base.qcow2 && "
       "qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 && "
       "qemu-io -f qcow2 -c 'write -q -P 33 512k 1M' mid.qcow2 && "
       "qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2",
       f->dir, f->dir);
    memset(f->disk, 17, 1 << 20);
    memset(f->disk + (3 << 20), 18, 100 << 10);
    memset(f->disk + (512 << 10), 33, 1 << 20);
    f->q =
        qtest_start("-machine q35 -m 64 -blockdev driver=file,node-name=f0,filename=%s/base.qcow2 "
                    "-blockdev driver=qcow2,node-name=base,file=f0 "
                    "-blockdev driver=file,node-name=f1,filename=%s/mid.qcow2 "
                    "-blockdev driver=qcow2,node-name=mid,file=f1,backing=base "
                    "-blockdev driver=file,node-name=f2,filename=%s/top.qcow2 "
                    "-blockdev driver=qcow2,node-name=top,file=f2,backing=mid,discard=unmap "
                    "-device virtio-blk-pci,drive=top,id=disk0%s %s",
                    f->dir, f->dir, f->dir, device, more);
    qvirtio_blk_open(&f->d, f->q, BURST);
    return true;
}

static bool start(Fixture *f, const char *more)
{
    return start_on(f, "", more);
}

static void stop(Fixture *f)
{
    qtest_quit(f->q);
    g_free(f->disk);
}

static void G_GNUC_PRINTF(3, 4) ok(Fixture *f, const char *command, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *args = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_autoptr(Json) r = qtest_qmp(f->q, command, "%s", args);
}

static void G_GNUC_PRINTF(4, 5)
    refused(Fixture *f, const char *command, const char *word, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *args = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_autoptr(Json) r = qtest_qmp_try(f->q, command, "%s", args);
    const Json *e = json_get(r, "error");
    if (!e || !strstr(json_get_str(e, "desc"), word)) {
        g_error("%s %s: %s, which is not \"%s\"", command, args,
                e ? json_get_str(e, "desc") : "it went well", word);
    }
}

/* A new raw node of the disk's size. */
static void add_target(Fixture *f, const char *name)
{
    sh("truncate -s 4M %s/%s.raw", f->dir, name);
    ok(f, "blockdev-add",
       "{'driver':'raw','node-name':'%s','discard':'unmap','file':{'driver':'file',"
       "'discard':'unmap','filename':'%s/%s.raw'}}",
       name, f->dir, name);
}

static void wait_event(Fixture *f, const char *name)
{
    g_autoptr(Json) e = qtest_qmp_event(f->q, name);
}

/* The event's data have this member with this text. */
static void wait_event_with(Fixture *f, const char *name, const char *key, const char *value)
{
    for (;;) {
        g_autoptr(Json) e = qtest_qmp_event(f->q, name);
        if (!g_strcmp0(json_get_str(json_get(e, "data"), key), value)) {
            return;
        }
    }
}

/* Lifts the speed limit; on a slow machine the job may have ended meanwhile. */
static void hurry(Fixture *f, const char *job)
{
    g_autoptr(Json) r =
        qtest_qmp_try(f->q, "block-job-set-speed", "{'device':'%s','speed':0}", job);
}

static bool no_jobs(Fixture *f)
{
    g_autoptr(Json) j = qtest_qmp(f->q, "query-jobs", NULL);
    return json_length(j) == 0;
}

/* ---- mirror ---- */

static void mirror(const char *copy_mode, bool pivot)
{
    Fixture f;
    if (!start(&f, "")) {
        return;
    }
    add_target(&f, "copy");
    traffic(&f, 20);
    ok(&f, "blockdev-mirror",
       "{'job-id':'m','device':'top','target':'copy','sync':'full','copy-mode':'%s',"
       "'speed':2000000}",
       copy_mode);
    refused(&f, "blockdev-mirror", "busy",
            "{'job-id':'m','device':'top','target':'copy','sync':'full'}");
    refused(&f, "blockdev-del", "busy", "{'node-name':'copy'}");
    refused(&f, "job-complete", "cannot accept", "{'id':'m'}");
    traffic(&f, 40);
    hurry(&f, "m");
    wait_event(&f, "BLOCK_JOB_READY");
    traffic(&f, 60);
    verify_guest(&f);
    if (pivot) {
        ok(&f, "job-complete", "{'id':'m'}");
    } else {
        ok(&f, "block-job-cancel", "{'device':'m'}");
    }
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    g_assert_true(no_jobs(&f));
    verify_image(&f, "copy.raw", f.disk);
    g_autofree uint8_t *then = g_memdup2(f.disk, SIZE);
    traffic(&f, 40);
    verify_guest(&f);
    g_assert_cmpuint(request(&f, T_FLUSH, 0, 0, false), ==, 0);
    verify_image(&f, "copy.raw", pivot ? f.disk : then);
    if (pivot) { /* the old chain is free */
        ok(&f, "blockdev-del", "{'node-name':'top'}");
        ok(&f, "blockdev-del", "{'node-name':'mid'}");
        refused(&f, "blockdev-del", "in use", "{'node-name':'copy'}");
    } else {
        ok(&f, "blockdev-del", "{'node-name':'copy'}");
    }
    stop(&f);
    check_image(&f, "top.qcow2");
}

static void test_mirror_background(void)
{
    mirror("background", true);
}

static void test_mirror_blocking(void)
{
    mirror("write-blocking", true);
}

static void test_mirror_no_pivot(void)
{
    mirror("background", false);
}

static void test_mirror_cancel(void)
{
    Fixture f;
    if (!start(&f, "")) {
        return;
    }
    add_target(&f, "copy");
    for (int i = 0; i < 3; i++) {
        ok(&f, "blockdev-mirror",
           "{'job-id':'m','device':'top','target':'copy','sync':'top','speed':100000,"
           "'filter-node-name':'above'}");
        traffic(&f, 10);
        if (i == 1) {
            ok(&f, "job-pause", "{'id':'m'}");
            refused(&f, "job-pause", "already paused", "{'id':'m'}");
            traffic(&f, 5);
        }
        ok(&f, "job-cancel", "{'id':'m'}");
        wait_event(&f, "BLOCK_JOB_CANCELLED");
        wait_event_with(&f, "JOB_STATUS_CHANGE", "status", "null");
        verify_guest(&f);
    }
    refused(&f, "job-cancel", "not found", "{'id':'m'}");
    sh("truncate -s 1M %s/small.raw", f.dir);
    ok(&f, "blockdev-add",
       "{'driver':'raw','node-name':'small','file':{'driver':'file','filename':'%s/small.raw'}}",
       f.dir);
    refused(&f, "blockdev-mirror", "bytes",
            "{'job-id':'m','device':'top','target':'small','sync':'full'}");
    refused(&f, "blockdev-mirror", "job ID", "{'device':'top','target':'copy','sync':'full'}");
    refused(&f, "blockdev-mirror", "itself",
            "{'job-id':'x','device':'top','target':'base','sync':'full'}");
    stop(&f);
}

/* ---- commit and stream ---- */

static void test_commit_active(void)
{
    Fixture f;
    if (!start(&f, "")) {
        return;
    }
    traffic(&f, 40);
    ok(&f, "block-commit", "{'job-id':'c','device':'top','speed':3000000}");
    traffic(&f, 40);
    hurry(&f, "c");
    wait_event(&f, "BLOCK_JOB_READY");
    traffic(&f, 40);
    ok(&f, "job-complete", "{'id':'c'}");
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    verify_guest(&f);
    traffic(&f, 40);
    verify_guest(&f);
    ok(&f, "blockdev-del", "{'node-name':'top'}");
    ok(&f, "blockdev-del", "{'node-name':'mid'}");
    g_assert_cmpuint(request(&f, T_FLUSH, 0, 0, false), ==, 0);
    verify_image(&f, "base.qcow2", f.disk);
    stop(&f);
    check_image(&f, "base.qcow2");
}

static void test_commit_middle(void)
{
    Fixture f;
    if (!start(&f, "")) {
        return;
    }
    traffic(&f, 40);
    ok(&f, "block-commit",
       "{'job-id':'c','device':'top','top-node':'mid','base-node':'base','auto-dismiss':false,"
       "'auto-finalize':false,'speed':4000000}");
    refused(&f, "block-stream", "busy", "{'job-id':'s','device':'top'}");
    traffic(&f, 20);
    wait_event(&f, "BLOCK_JOB_PENDING");
    traffic(&f, 20);
    refused(&f, "job-dismiss", "cannot accept", "{'id':'c'}");
    ok(&f, "job-finalize", "{'id':'c'}");
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    g_autoptr(Json) jobs = qtest_qmp(f.q, "query-jobs", NULL);
    g_assert_cmpstr(json_get_str(json_at(jobs, 0), "status"), ==, "concluded");
    ok(&f, "job-dismiss", "{'id':'c'}");
    verify_guest(&f);
    ok(&f, "blockdev-del", "{'node-name':'mid'}");
    traffic(&f, 20);
    verify_guest(&f);
    g_assert_cmpuint(request(&f, T_FLUSH, 0, 0, false), ==, 0);
    verify_image(&f, "top.qcow2", f.disk);
    stop(&f);
    check_image(&f, "base.qcow2");
    check_image(&f, "top.qcow2");
}

static void test_stream(void)
{
    Fixture f;
    if (!start(&f, "")) {
        return;
    }
    traffic(&f, 20);
    refused(&f, "block-stream", "backing chain", "{'job-id':'s','device':'top','base-node':'top'}");
    ok(&f, "block-stream", "{'job-id':'s','device':'top','base-node':'base','speed':1000000}");
    traffic(&f, 40);
    hurry(&f, "s");
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    verify_guest(&f);
    ok(&f, "blockdev-del", "{'node-name':'mid'}");
    ok(&f, "block-stream", "{'job-id':'s','device':'top'}");
    traffic(&f, 40);
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    ok(&f, "blockdev-del", "{'node-name':'base'}");
    verify_guest(&f);
    traffic(&f, 20);
    g_assert_cmpuint(request(&f, T_FLUSH, 0, 0, false), ==, 0);
    stop(&f);
    check_image(&f, "top.qcow2");
}

/* ---- backup ---- */

static void test_backup(void)
{
    Fixture f;
    if (!start(&f, "")) {
        return;
    }
    add_target(&f, "full");
    traffic(&f, 30);
    g_autofree uint8_t *then = g_memdup2(f.disk, SIZE);
    ok(&f, "block-dirty-bitmap-add", "{'node':'top','name':'b0'}");
    ok(&f, "blockdev-backup",
       "{'job-id':'b','device':'top','target':'full','sync':'full','speed':1000000}");
    traffic(&f, 60);
    hurry(&f, "b");
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    verify_guest(&f);
    ok(&f, "blockdev-del", "{'node-name':'full'}");
    verify_image(&f, "full.raw", then);
    /* What was written since goes into the same file, by the bitmap. */
    sh("cp %s/full.raw %s/inc.raw", f.dir, f.dir);
    add_target(&f, "inc");
    memcpy(then, f.disk, SIZE);
    ok(&f, "transaction",
       "{'actions':[{'type':'blockdev-backup','data':{'job-id':'i','device':'top','target':'inc',"
       "'sync':'incremental','bitmap':'b0','speed':500000}},"
       "{'type':'block-dirty-bitmap-add','data':{'node':'top','name':'b1'}}]}");
    refused(&f, "block-dirty-bitmap-clear", "in use", "{'node':'top','name':'b0'}");
    traffic(&f, 40);
    hurry(&f, "i");
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    verify_guest(&f);
    ok(&f, "blockdev-del", "{'node-name':'inc'}");
    verify_image(&f, "inc.raw", then);
    g_autoptr(Json) q = qtest_qmp(f.q, "query-block", NULL);
    const Json *maps = json_get(json_get(json_at(q, 0), "inserted"), "dirty-bitmaps");
    g_assert_cmpuint(json_length(maps), ==, 2);
    int64_t a = 0, b = 0;
    json_get_int(json_get(json_at(maps, 0), "count"), &a);
    json_get_int(json_get(json_at(maps, 1), "count"), &b);
    g_assert_cmpint(a, ==, b); /* both know what came after the second backup began */
    g_assert_cmpint(a, >, 0);
    stop(&f);
}

static void test_backup_cancel(void)
{
    Fixture f;
    if (!start(&f, "")) {
        return;
    }
    add_target(&f, "copy");
    ok(&f, "block-dirty-bitmap-add", "{'node':'top','name':'b0','granularity':65536}");
    traffic(&f, 30);
    ok(&f, "blockdev-backup",
       "{'job-id':'b','device':'top','target':'copy','sync':'incremental','bitmap':'b0',"
       "'speed':65536}");
    traffic(&f, 10);
    ok(&f, "job-cancel", "{'id':'b'}");
    wait_event(&f, "BLOCK_JOB_CANCELLED");
    /* Nothing is lost: the next one gets everything. */
    sh("cd %s && qemu-img convert -U -O raw mid.qcow2 copy2.raw", f.dir);
    add_target(&f, "copy2");
    g_autofree uint8_t *then = g_memdup2(f.disk, SIZE);
    ok(&f, "blockdev-backup",
       "{'job-id':'b','device':'top','target':'copy2','sync':'incremental','bitmap':'b0'}");
    traffic(&f, 10);
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    ok(&f, "blockdev-del", "{'node-name':'copy2'}");
    verify_image(&f, "copy2.raw", then);
    verify_guest(&f);
    stop(&f);
}

/* ---- the monitor's commit ---- */

static void expect_hmp(Fixture *f, const char *command, const char *answer)
{
    g_autofree char *said = qtest_hmp(f->q, "%s", command);

    if (!*answer ? *said != 0 : !strstr(said, answer)) {
        g_error("'%s' says '%s'", command, said);
    }
}

static void test_commit_now(void)
{
    Fixture f;

    if (!start(&f, "")) {
        return;
    }
    expect_hmp(&f, "commit", "missing");
    expect_hmp(&f, "commit nothing", "nothing");
    expect_hmp(&f, "commit base", "no backing file");
    for (unsigned i = 0; i < 2; i++) {
        traffic(&f, 30);
        expect_hmp(&f, i ? "commit all" : "commit top", "");
        verify_guest(&f);
        verify_image(&f, "mid.qcow2", f.disk);
        check_image(&f, "mid.qcow2");
        check_image(&f, "top.qcow2");
    }
    /* While a job works there nobody else may. */
    traffic(&f, 5);
    ok(&f, "block-commit", "{'job-id':'c','device':'top','speed':65536}");
    expect_hmp(&f, "commit all", "'top': ");
    ok(&f, "job-cancel", "{'id':'c'}");
    wait_event_with(&f, "JOB_STATUS_CHANGE", "status", "null");
    verify_guest(&f);
    stop(&f);
}

/* -snapshot, beside an empty drive: the image is as it was until it is told otherwise. */
static void test_commit_temporary(void)
{
    Fixture f = {.seed = 1};
    g_autofree uint8_t *empty = g_malloc0(SIZE);

    if (!have("qemu-img")) {
        g_test_skip("qemu-img (qemu-utils) is not installed");
        return;
    }
    f.dir = qtest_tmpdir(NULL);
    f.disk = g_malloc0(SIZE);
    sh("truncate -s 4M %s/disk.raw", f.dir);
    f.q = qtest_start("-machine q35 -m 64 -snapshot -drive if=none,media=cdrom,id=cd "
                      "-drive if=none,id=d,format=raw,file=%s/disk.raw "
                      "-device virtio-blk-pci,drive=d",
                      f.dir);
    qvirtio_blk_open(&f.d, f.q, BURST);
    traffic(&f, 30);
    g_assert_cmpuint(request(&f, T_FLUSH, 0, 0, false), ==, 0);
    verify_image(&f, "disk.raw", empty);
    expect_hmp(&f, "commit cd", "no");
    expect_hmp(&f, "commit all", "");
    verify_image(&f, "disk.raw", f.disk);
    verify_guest(&f);
    stop(&f);
}

/* ---- snapshots and transactions ---- */

static void test_snapshot(void)
{
    Fixture f;
    if (!start(&f, "")) {
        return;
    }
    traffic(&f, 20);
    for (int i = 0; i < 3; i++) {
        sh("cd %s && qemu-img create -q -f qcow2 snap%d.qcow2 4M", f.dir, i);
        ok(&f, "blockdev-add",
           "{'driver':'qcow2','node-name':'snap%d','backing':null,'file':{'driver':'file',"
           "'filename':'%s/snap%d.qcow2'}}",
           i, f.dir, i);
    }
    ok(&f, "blockdev-snapshot", "{'node':'top','overlay':'snap0'}");
    traffic(&f, 20);
    verify_guest(&f);
    refused(&f, "blockdev-snapshot", "already has a backing image",
            "{'node':'snap0','overlay':'snap0'}");
    refused(&f, "blockdev-snapshot", "backing images", "{'node':'snap0','overlay':'f1'}");
    /* All or nothing. */
    refused(&f, "transaction", "Abort",
            "{'actions':[{'type':'blockdev-snapshot','data':{'node':'snap0','overlay':'snap1'}},"
            "{'type':'block-dirty-bitmap-add','data':{'node':'snap0','name':'x'}},"
            "{'type':'abort','data':{}}]}");
    traffic(&f, 20);
    verify_guest(&f);
    refused(&f, "block-dirty-bitmap-remove", "not found", "{'node':'snap0','name':'x'}");
    ok(&f, "blockdev-snapshot", "{'node':'snap0','overlay':'snap1'}");
    traffic(&f, 20);
    ok(&f, "blockdev-snapshot", "{'node':'snap1','overlay':'snap2'}");
    traffic(&f, 20);
    verify_guest(&f);
    /* And back into one: the middle first, then the active layer. */
    ok(&f, "block-commit", "{'job-id':'c','device':'snap2','top-node':'snap1','base-node':'top'}");
    traffic(&f, 10);
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    ok(&f, "block-commit", "{'job-id':'c','device':'snap2','base-node':'top'}");
    wait_event(&f, "BLOCK_JOB_READY");
    traffic(&f, 10);
    ok(&f, "job-complete", "{'id':'c'}");
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    verify_guest(&f);
    ok(&f, "blockdev-del", "{'node-name':'snap2'}");
    ok(&f, "blockdev-del", "{'node-name':'snap1'}");
    ok(&f, "blockdev-del", "{'node-name':'snap0'}");
    traffic(&f, 10);
    g_assert_cmpuint(request(&f, T_FLUSH, 0, 0, false), ==, 0);
    verify_image(&f, "top.qcow2", f.disk);
    stop(&f);
    check_image(&f, "top.qcow2");
}

/* ---- nodes ---- */

static void test_reopen(void)
{
    Fixture f;
    if (!start(&f, "-object throttle-group,id=tg,x-iops-total=100000")) {
        return;
    }
    ok(&f, "blockdev-reopen",
       "{'options':[{'driver':'qcow2','node-name':'top','file':'f2','backing':'mid',"
       "'detect-zeroes':'on'}]}");
    refused(&f, "blockdev-reopen", "Cannot change the option 'filename'",
            "{'options':[{'driver':'file','node-name':'f0','filename':'/nowhere'}]}");
    refused(&f, "blockdev-reopen", "read-only",
            "{'options':[{'driver':'qcow2','node-name':'top','file':'f2','backing':'mid',"
            "'read-only':true}]}");
    refused(&f, "blockdev-reopen", "cycle",
            "{'options':[{'driver':'qcow2','node-name':'mid','file':'f1','backing':'top'}]}");
    ok(&f, "block-set-write-threshold", "{'node-name':'top','write-threshold':65536}");
    traffic(&f, 20);
    wait_event(&f, "BLOCK_WRITE_THRESHOLD");
    ok(&f, "block_set_io_throttle",
       "{'id':'disk0','bps':0,'bps_rd':0,'bps_wr':0,'iops':200,'iops_rd':0,'iops_wr':0}");
    gint64 t0 = g_get_monotonic_time();
    traffic(&f, 120);
    double took = (double)(g_get_monotonic_time() - t0) / G_USEC_PER_SEC;
    g_assert_cmpfloat(took, >, 0.45); /* 20 at once, 100 at 200 a second */
    refused(&f, "block_set_io_throttle", "together",
            "{'id':'disk0','bps':0,'bps_rd':0,'bps_wr':0,'iops':200,'iops_rd':1,'iops_wr':0}");
    ok(&f, "block_set_io_throttle",
       "{'id':'disk0','bps':0,'bps_rd':0,'bps_wr':0,'iops':0,'iops_rd':0,'iops_wr':0}");
    ok(&f, "block_resize", "{'node-name':'top','size':8388608}");
    verify_guest(&f);
    stop(&f);
}

static bool concluded(Fixture *f)
{
    g_autoptr(Json) j = qtest_qmp(f->q, "query-jobs", NULL);
    return json_length(j) && !g_strcmp0(json_get_str(json_at(j, 0), "status"), "concluded");
}

/* The commands that make their images themselves. */
static void test_made_images(void)
{
    Fixture f;
    if (!start(&f, "")) {
        return;
    }
    traffic(&f, 20);
    ok(&f, "blockdev-snapshot-internal-sync", "{'device':'top','name':'s1'}");
    refused(&f, "blockdev-snapshot-internal-sync", "already exists",
            "{'device':'top','name':'s1'}");
    traffic(&f, 20);
    ok(&f, "blockdev-snapshot-delete-internal-sync", "{'device':'top','name':'s1'}");
    refused(&f, "blockdev-snapshot-delete-internal-sync", "does not exist",
            "{'device':'top','name':'s1'}");
    ok(&f, "blockdev-snapshot-sync",
       "{'node-name':'top','snapshot-file':'%s/made.qcow2','snapshot-node-name':'made'}", f.dir);
    traffic(&f, 20);
    verify_guest(&f);
    g_autofree uint8_t *then = g_memdup2(f.disk, SIZE);
    ok(&f, "drive-backup",
       "{'job-id':'b','device':'made','target':'%s/full.qcow2','format':'qcow2','sync':'full'}",
       f.dir);
    traffic(&f, 20);
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    verify_image(&f, "full.qcow2", then);
    ok(&f, "drive-mirror",
       "{'job-id':'m','device':'made','target':'%s/copy.qcow2','format':'qcow2','sync':'top',"
       "'node-name':'copy'}",
       f.dir);
    wait_event(&f, "BLOCK_JOB_READY");
    traffic(&f, 20);
    ok(&f, "job-complete", "{'id':'m'}");
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    traffic(&f, 20);
    verify_guest(&f);
    ok(&f, "block-commit", "{'job-id':'c','device':'disk0','base':'%s/top.qcow2'}", f.dir);
    wait_event(&f, "BLOCK_JOB_READY");
    ok(&f, "job-complete", "{'id':'c'}");
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    traffic(&f, 10);
    verify_guest(&f);
    g_assert_cmpuint(request(&f, T_FLUSH, 0, 0, false), ==, 0);
    verify_image(&f, "top.qcow2", f.disk);
    sh("truncate -s 0 %s/new.qcow2", f.dir);
    ok(&f, "blockdev-add", "{'driver':'file','node-name':'nf','filename':'%s/new.qcow2'}", f.dir);
    ok(&f, "blockdev-create",
       "{'job-id':'n','options':{'driver':'qcow2','file':'nf','size':4194304,'version':'v3'}}");
    qtest_wait_for(f.q, concluded(&f));
    ok(&f, "job-dismiss", "{'id':'n'}");
    ok(&f, "blockdev-add", "{'driver':'qcow2','node-name':'new','file':'nf'}");
    refused(&f, "blockdev-create", "does not support",
            "{'job-id':'n','options':{'driver':'throttle'}}");
    stop(&f);
    check_image(&f, "top.qcow2");
    check_image(&f, "new.qcow2");
}

/* The program ends while jobs run and clients might come: nothing hangs, nothing is lost. */
static void test_quit(void)
{
    Fixture f;
    if (!start(&f, "")) {
        return;
    }
    add_target(&f, "copy");
    add_target(&f, "copy2");
    traffic(&f, 20);
    ok(&f, "nbd-server-start", "{'addr':{'type':'unix','data':{'path':'%s/nbd.sock'}}}", f.dir);
    ok(&f, "block-export-add", "{'type':'nbd','id':'e','node-name':'base','name':'b'}");
    refused(&f, "block-export-add", "already in use",
            "{'type':'nbd','id':'e','node-name':'base','name':'c'}");
    refused(&f, "block-export-add", "Cannot find",
            "{'type':'nbd','id':'w','node-name':'nothing','writable':true}");
    ok(&f, "blockdev-mirror",
       "{'job-id':'m','device':'top','target':'copy','sync':'full','speed':65536}");
    ok(&f, "blockdev-backup",
       "{'job-id':'b','device':'base','target':'copy2','sync':'full','speed':65536}");
    traffic(&f, 10);
    g_assert_cmpuint(request(&f, T_FLUSH, 0, 0, false), ==, 0);
    g_autofree uint8_t *want = g_memdup2(f.disk, SIZE);
    stop(&f);
    verify_image(&f, "top.qcow2", want);
    check_image(&f, "top.qcow2");
}

/* ---- a disk on a thread of its own ---- */

static void test_iothread(void)
{
    Fixture f;
    if (!start_on(&f, ",iothread=io0", "-object iothread,id=io0")) {
        return;
    }
    add_target(&f, "copy");
    traffic(&f, 40);
    ok(&f, "blockdev-mirror",
       "{'job-id':'m','device':'top','target':'copy','sync':'full','copy-mode':'write-blocking'}");
    traffic(&f, 40);
    wait_event(&f, "BLOCK_JOB_READY");
    traffic(&f, 20);
    ok(&f, "block-job-cancel", "{'device':'m'}");
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    verify_image(&f, "copy.raw", f.disk);
    sh("cd %s && qemu-img create -q -f qcow2 snap.qcow2 4M", f.dir);
    ok(&f, "blockdev-add",
       "{'driver':'qcow2','node-name':'snap','backing':null,'file':{'driver':'file',"
       "'filename':'%s/snap.qcow2'}}",
       f.dir);
    ok(&f, "blockdev-snapshot", "{'node':'top','overlay':'snap'}");
    traffic(&f, 40);
    ok(&f, "block-commit", "{'job-id':'c','device':'snap','base-node':'base'}");
    traffic(&f, 40);
    wait_event(&f, "BLOCK_JOB_READY");
    ok(&f, "job-complete", "{'id':'c'}");
    wait_event(&f, "BLOCK_JOB_COMPLETED");
    traffic(&f, 20);
    verify_guest(&f);
    ok(&f, "system_reset", "{}");
    stop(&f);
    check_image(&f, "base.qcow2");
}

/* ---- what a failing disk does ---- */

static void start_failing(Fixture *f, const char *device, const char *rule)
{
    memset(f, 0, sizeof(*f));
    f->dir = qtest_tmpdir(NULL);
    f->disk = g_malloc0(SIZE);
    sh("rm -f %s/*; truncate -s 4M %s/disk.raw", f->dir, f->dir);
    f->q = qtest_start(
        "-machine q35 -m 64 -blockdev "
        "'{\"driver\":\"raw\",\"node-name\":\"top\",\"file\":{\"driver\":\"blkdebug\","
        "\"inject-error\":[%s],\"file\":{\"driver\":\"file\",\"filename\":\"%s/disk.raw\"}}}' "
        "-device virtio-blk-pci,drive=top,id=disk0%s",
        rule, f->dir, device);
    qvirtio_blk_open(&f->d, f->q, BURST);
}

static void expect_io_error(Fixture *f, const char *action, bool nospace)
{
    g_autoptr(Json) e = qtest_qmp_event(f->q, "BLOCK_IO_ERROR");
    const Json *d = json_get(e, "data");
    bool b = !nospace;
    g_assert_cmpstr(json_get_str(d, "action"), ==, action);
    g_assert_cmpstr(json_get_str(d, "node-name"), ==, "top");
    g_assert_cmpstr(json_get_str(d, "qom-path"), ==, "/machine/peripheral/disk0/virtio-backend");
    json_get_bool(json_get(d, "nospace"), &b);
    g_assert_cmpint(b, ==, nospace);
}

/* A disk of random bytes on copy-before-write, whose target and options these are. */
static uint8_t *start_cbw(Fixture *f, const char *target, const char *more)
{
    char *start;
    gsize len;
    memset(f, 0, sizeof(*f));
    f->dir = qtest_tmpdir(NULL);
    f->seed = 99;
    sh("rm -f %s/*; cd %s && dd if=/dev/urandom of=disk.raw bs=1M count=4 status=none && "
       "truncate -s 4M old.raw copy.raw",
       f->dir, f->dir);
    g_autofree char *path = g_strdup_printf("%s/disk.raw", f->dir);
    g_assert_true(g_file_get_contents(path, &start, &len, NULL));
    f->disk = g_memdup2(start, SIZE);
    f->q =
        qtest_start("-machine q35 -m 64 -blockdev '{\"driver\":\"file\",\"node-name\":\"old\","
                    "\"filename\":\"%s/old.raw\"}' "
                    "-blockdev '{\"driver\":\"copy-before-write\",\"node-name\":\"top\",\"file\":"
                    "{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":"
                    "\"%s/disk.raw\"}},\"target\":%s%s}' "
                    "-device virtio-blk-pci,drive=top,id=disk0",
                    f->dir, f->dir, target, more);
    qvirtio_blk_open(&f->d, f->q, BURST);
    return (uint8_t *)start;
}

/* The disk as it was is read from while the guest writes. */
static void test_snapshot_access(void)
{
    Fixture f;
    g_autofree uint8_t *start = start_cbw(&f, "\"old\"", "");
    traffic(&f, 20);
    ok(&f, "blockdev-add", "{'driver':'snapshot-access','node-name':'sa','file':'top'}");
    ok(&f, "blockdev-add",
       "{'driver':'raw','node-name':'copy','file':{'driver':'file','filename':'%s/copy.raw'}}",
       f.dir);
    refused(&f, "blockdev-add", "copy-before-write",
            "{'driver':'snapshot-access','node-name':'sb','file':'copy'}");
    ok(&f, "blockdev-backup",
       "{'job-id':'b','device':'sa','target':'copy','sync':'full','speed':2000000}");
    traffic(&f, 60);
    hurry(&f, "b");
    wait_event_with(&f, "BLOCK_JOB_COMPLETED", "device", "b");
    qtest_wait_for(f.q, no_jobs(&f));
    verify_guest(&f);
    ok(&f, "blockdev-del", "{'node-name':'copy'}");
    verify_image(&f, "copy.raw", start);
    stop(&f);
}

/* A target that takes too long breaks the guest's write, or the snapshot. */
static void test_cbw_timeout(void)
{
    Fixture f;
    const char *slow = "{\"driver\":\"null-co\",\"size\":4194304,\"latency-ns\":2500000000}";
    g_free(start_cbw(&f, slow, ",\"cbw-timeout\":1"));
    g_assert_cmpuint(request(&f, T_OUT, 0, 512, false), ==, 1);
    stop(&f);
    g_free(start_cbw(&f, slow, ",\"cbw-timeout\":1,\"on-cbw-error\":\"break-snapshot\""));
    g_assert_cmpuint(request(&f, T_OUT, 0, 512, false), ==, 0);
    g_assert_cmpuint(request(&f, T_OUT, 4096, 512, false), ==, 0); /* at once: it is broken */
    ok(&f, "blockdev-add", "{'driver':'snapshot-access','node-name':'sa','file':'top'}");
    stop(&f);
}

static uint64_t sum_of_bins(const Json *stats, const char *name)
{
    const Json *bins = json_get(json_get(stats, name), "bins");
    uint64_t sum = 0, v;
    for (size_t i = 0; bins && i < json_length(bins); i++) {
        g_assert_true(json_get_uint(json_at(bins, i), &v));
        sum += v;
    }
    return sum;
}

static void test_histograms(void)
{
    Fixture f;
    start(&f, "");
    ok(&f, "block-latency-histogram-set",
       "{'id':'disk0','boundaries':[1000,1000000,1000000000],'boundaries-flush':[5]}");
    refused(&f, "block-latency-histogram-set", "larger", "{'id':'disk0','boundaries':[5,5]}");
    traffic(&f, 7);
    request(&f, T_FLUSH, 0, 0, false);
    request(&f, T_IN, 0, 512, true);
    g_autoptr(Json) all = qtest_qmp(f.q, "query-blockstats", NULL);
    const Json *stats = json_get(json_at(all, 0), "stats");
    g_assert_cmpuint(sum_of_bins(stats, "wr_latency_histogram"), ==, 7);
    g_assert_cmpuint(sum_of_bins(stats, "rd_latency_histogram"), ==, 1);
    g_assert_cmpuint(sum_of_bins(stats, "flush_latency_histogram"), ==, 1);
    g_assert_cmpuint(
        json_length(json_get(json_get(stats, "flush_latency_histogram"), "boundaries")), ==, 1);
    ok(&f, "block-latency-histogram-set", "{'id':'disk0'}");
    g_autoptr(Json) none = qtest_qmp(f.q, "query-blockstats", NULL);
    g_assert_null(json_get(json_get(json_at(none, 0), "stats"), "wr_latency_histogram"));
    stop(&f);
}

static void test_error_report(void)
{
    Fixture f;
    start_failing(&f, ",werror=report,rerror=report",
                  "{\"event\":\"write_aio\",\"sector\":8,\"once\":true},"
                  "{\"event\":\"read_aio\",\"sector\":16,\"once\":true}");
    g_assert_cmpuint(request(&f, T_OUT, 8, 512, false), ==, 1);
    expect_io_error(&f, "report", false);
    g_assert_cmpuint(request(&f, T_OUT, 8, 512, false), ==, 0);
    g_assert_cmpuint(request(&f, T_IN, 16, 512, true), ==, 1);
    expect_io_error(&f, "report", false);
    g_assert_cmpuint(request(&f, T_IN, 16, 512, true), ==, 0);
    stop(&f);
}

static void test_error_ignore(void)
{
    Fixture f;
    start_failing(&f, ",werror=ignore", "{\"event\":\"write_aio\",\"sector\":8}");
    g_assert_cmpuint(request(&f, T_OUT, 8, 512, false), ==, 0);
    expect_io_error(&f, "ignore", false);
    stop(&f);
}

/* The machine stops; `cont` tries the request again, which the guest sees end well. */
static void stop_and_go(const char *device, const char *rule, bool read, bool nospace)
{
    Fixture f;
    start_failing(&f, device, rule);
    ok(&f, "cont", "{}");
    qtest_writel(f.q, f.d.header, read ? T_IN : T_OUT);
    qtest_writeq(f.q, f.d.header + 8, 8);
    uint16_t head = qvirtio_add(&f.d.v, &f.d.vq, f.d.header, 16, false, true);
    qvirtio_add(&f.d.v, &f.d.vq, f.d.data, 512, read, true);
    qvirtio_add(&f.d.v, &f.d.vq, f.d.status, 1, true, false);
    qvirtio_kick(&f.d.v, &f.d.vq, head);
    expect_io_error(&f, "stop", nospace);
    wait_event(&f, "STOP");
    g_autoptr(Json) st = qtest_qmp(f.q, "query-status", NULL);
    g_assert_cmpstr(json_get_str(st, "status"), ==, "io-error");
    g_autoptr(Json) q = qtest_qmp(f.q, "query-block", NULL);
    const char *qdev = json_get_str(json_at(q, 0), "qdev");
    g_assert_cmpstr(qdev, ==, "/machine/peripheral/disk0/virtio-backend");
    ok(&f, "block_set_io_throttle",
       "{'id':'%s','bps':0,'bps_rd':0,'bps_wr':0,'iops':0,'iops_rd':0,'iops_wr':0}", qdev);
    g_assert_cmpstr(json_get_str(json_at(q, 0), "io-status"), ==, nospace ? "nospace" : "failed");
    ok(&f, "cont", "{}");
    g_assert_cmpuint(qvirtio_wait_used(&f.d.v, &f.d.vq, NULL), ==, head);
    g_assert_cmpuint(qtest_readb(f.q, f.d.status), ==, 0);
    stop(&f);
}

static void test_error_stop(void)
{
    stop_and_go(",werror=stop", "{\"event\":\"write_aio\",\"once\":true}", false, false);
    stop_and_go(",rerror=stop", "{\"event\":\"read_aio\",\"sector\":8,\"once\":true}", true, false);
    stop_and_go("", "{\"event\":\"write_aio\",\"errno\":28,\"once\":true}", false, true);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block-live/mirror/background", test_mirror_background);
    g_test_add_func("/block-live/mirror/write-blocking", test_mirror_blocking);
    g_test_add_func("/block-live/mirror/no-pivot", test_mirror_no_pivot);
    g_test_add_func("/block-live/mirror/cancel", test_mirror_cancel);
    g_test_add_func("/block-live/commit/active", test_commit_active);
    g_test_add_func("/block-live/commit/middle", test_commit_middle);
    g_test_add_func("/block-live/stream", test_stream);
    g_test_add_func("/block-live/backup/incremental", test_backup);
    g_test_add_func("/block-live/backup/cancel", test_backup_cancel);
    g_test_add_func("/block-live/snapshot", test_snapshot);
    g_test_add_func("/block-live/reopen", test_reopen);
    g_test_add_func("/block-live/made-images", test_made_images);
    g_test_add_func("/block-live/quit", test_quit);
    g_test_add_func("/block-live/iothread", test_iothread);
    g_test_add_func("/block-live/error/report", test_error_report);
    g_test_add_func("/block-live/error/ignore", test_error_ignore);
    g_test_add_func("/block-live/error/stop", test_error_stop);
    g_test_add_func("/block-live/commit-now", test_commit_now);
    g_test_add_func("/block-live/commit-temporary", test_commit_temporary);
    g_test_add_func("/block-live/snapshot-access", test_snapshot_access);
    g_test_add_func("/block-live/cbw-timeout", test_cbw_timeout);
    g_test_add_func("/block-live/histograms", test_histograms);
    return g_test_run();
}
