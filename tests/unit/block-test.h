/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/block-test.h: for the block tests: a graph with a loop of its own, a
 * protocol "mem" that keeps its bytes in memory, lets fibers run in between, fails
 * at a chosen request and remembers what was written when; and qemu-img.
 */
#ifndef RHEA_TESTS_BLOCK_TEST_H
#define RHEA_TESTS_BLOCK_TEST_H

#include "block/backend.h"
#include "block/node.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEM_MAX (256u << 20) /* a disk in memory is full then */

typedef struct MemWrite {
    uint64_t off, len;
    uint8_t *data; /* NULL: a flush */
    bool truncate; /* the size becomes `off` */
} MemWrite;

typedef struct MemStore {
    uint8_t *data;
    uint64_t size, room;
    int ops, fail_at; /* fail_at: number of the request that fails, 0: none */
    bool fail_on;     /* and all after it */
    int fail_errno;   /* with this; 0: EIO */
    bool shuffle;     /* requests yield to others */
    GArray *log;      /* MemWrite, when not NULL */
} MemStore;

typedef struct BlockTest {
    Object *root;
    ClockSet *clocks;
    EventLoop *loop;
    BlockGraph *graph;
    char *dir;
    MemStore mem;
} BlockTest;

static BlockTest *bt; /* of the test that runs */

static inline void mem_reserve(MemStore *m, uint64_t size)
{
    if (size > m->room) {
        uint64_t room = MAX(size, m->room * 2);
        m->data = g_realloc(m->data, room);
        memset(m->data + m->room, 0, room - m->room);
        m->room = room;
    }
    m->size = MAX(m->size, size);
}

static inline void mem_resume(void *opaque)
{
    fiber_enter(opaque);
}

static inline int mem_step(BlockNode *n)
{
    MemStore *m = &bt->mem;
    if (m->shuffle && fiber_in()) {
        loop_defer(n->loop, mem_resume, fiber_self());
        fiber_yield();
    }
    m->ops++;
    if (m->fail_at && (m->ops == m->fail_at || (m->fail_on && m->ops > m->fail_at))) {
        return m->fail_errno ? -m->fail_errno : -EIO;
    }
    return 0;
}

static inline bool mem_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    n->length = bt->mem.size;
    return block_opts_finish(o, errp);
}

static inline int mem_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    MemStore *m = &bt->mem;
    int ret = mem_step(n);
    if (ret == 0) {
        size_t have = off < m->size ? MIN(v->size, m->size - off) : 0;
        iov_from_buf(v->iov, v->n, 0, m->data + (have ? off : 0), have);
        iov_memset(v->iov, v->n, have, 0, v->size - have);
    }
    return ret;
}

static inline void mem_note(uint64_t off, uint64_t len, const uint8_t *data)
{
    if (bt->mem.log) {
        MemWrite w = {off, len, data ? g_memdup2(data, len) : NULL};
        g_array_append_val(bt->mem.log, w);
    }
}

static inline int mem_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    int ret = mem_step(n);
    ret = ret == 0 && off + v->size > MEM_MAX ? -ENOSPC : ret;
    if (ret == 0) {
        mem_reserve(&bt->mem, off + v->size);
        iov_to_buf(v->iov, v->n, 0, bt->mem.data + off, v->size);
        mem_note(off, v->size, bt->mem.data + off);
    }
    return ret;
}

static inline int mem_flush(BlockNode *n)
{
    int ret = mem_step(n);
    if (ret == 0) {
        mem_note(0, 0, NULL);
    }
    return ret;
}

static inline int mem_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    MemStore *m = &bt->mem;
    int ret = mem_step(n);
    if (ret == 0 && off < m->size) {
        len = MIN(len, m->size - off);
        memset(m->data + off, 0, len);
        mem_note(off, len, m->data + off);
    }
    return ret;
}

static inline int mem_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    MemStore *m = &bt->mem;
    int ret = mem_step(n);
    ret = ret == 0 && size > MEM_MAX ? -EFBIG : ret;
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot resize");
        return ret;
    }
    if (size < m->size) {
        memset(m->data + size, 0, m->size - size);
    }
    mem_reserve(m, size);
    if (m->log) {
        MemWrite w = {size, 0, g_malloc0(1), true};
        g_array_append_val(m->log, w);
    }
    m->size = size;
    n->length = size;
    return 0;
}

static const BlockDriver mem_driver G_GNUC_UNUSED = {
    .name = "mem",
    .protocol = true,
    .no_file = true,
    .state_size = 1,
    .open = mem_open,
    .preadv = mem_preadv,
    .pwritev = mem_pwritev,
    .flush = mem_flush,
    .discard = mem_discard,
    .truncate = mem_truncate,
};

static inline void bt_graph_new(void)
{
    bt->root = object_new("container");
    bt->graph = block_graph_new(bt->root, bt->loop);
    block_graph_add_driver(bt->graph, &mem_driver);
}

static inline void bt_graph_free(void)
{
    block_graph_free(bt->graph);
    object_unref(bt->root);
    bt->graph = NULL;
}

static inline void bt_begin(void)
{
    bt = g_new0(BlockTest, 1);
    bt->clocks = clock_set_new();
    bt->loop = loop_new("block-test", bt->clocks, NULL);
    bt->dir = g_dir_make_tmp("rhea-block-XXXXXX", NULL);
    bt_graph_new();
}

static inline void bt_log_free(void)
{
    if (bt->mem.log) {
        for (guint i = 0; i < bt->mem.log->len; i++) {
            g_free(g_array_index(bt->mem.log, MemWrite, i).data);
        }
        g_array_free(bt->mem.log, TRUE);
        bt->mem.log = NULL;
    }
}

static inline void bt_end(void)
{
    if (bt->graph) {
        bt_graph_free();
    }
    loop_free(bt->loop);
    clock_set_free(bt->clocks);
    GDir *d = g_dir_open(bt->dir, 0, NULL);
    for (const char *f; (f = g_dir_read_name(d));) {
        g_autofree char *p = g_build_filename(bt->dir, f, NULL);
        g_unlink(p);
    }
    g_dir_close(d);
    g_rmdir(bt->dir);
    bt_log_free();
    g_free(bt->dir);
    g_free(bt->mem.data);
    g_free(bt);
    bt = NULL;
}

static inline char *bt_path(const char *name)
{
    return g_build_filename(bt->dir, name, NULL);
}

/* Runs the loop until *left is zero; a hang fails the test. */
static inline void bt_run(int *left)
{
    int64_t end = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    while (*left) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        loop_poll(bt->loop, 10 * NS_PER_MS);
    }
}

static inline bool bt_have(const char *program)
{
    g_autofree char *p = g_find_program_in_path(program);
    return p != NULL;
}

/* Runs a shell command line in the test's folder; its exit status. */
static inline int G_GNUC_PRINTF(1, 2) bt_sh(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *cmd = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_autofree char *all = g_strdup_printf("cd '%s' && { %s; } >out 2>&1", bt->dir, cmd);
    int st = system(all);
    return WIFEXITED(st) ? WEXITSTATUS(st) : 255;
}

/* What the last command said, for messages of failures. */
static inline void bt_show_output(void)
{
    g_autofree char *p = bt_path("out"), *text = NULL;
    if (g_file_get_contents(p, &text, NULL, NULL)) {
        g_test_message("%s", text);
    }
}

static inline Json *bt_json(const char *text)
{
    Error *err = NULL;
    Json *j = json_parse(text, &err);
    g_assert_nonnull(j);
    return j;
}

/* A drive for options as JSON; on failure the message, to be freed, and NULL. */
static inline BlockBackend *bt_drive(const char *json, char **message)
{
    g_autoptr(Json) o = bt_json(json);
    Error *err = NULL;
    DriveInfo *d = drive_new(bt->graph, o, DRIVE_IF_NONE, &err);
    if (message) {
        *message = err ? g_strdup_printf("%s\n%s", error_message(err), error_details(err)) : NULL;
    } else if (err) {
        g_test_message("%s", error_message(err));
        g_assert_null(err);
    }
    error_free(err);
    return d ? d->blk : NULL;
}

static inline BlockNode *bt_node(const char *json, Error **errp)
{
    g_autoptr(Json) o = bt_json(json);
    BlockOpenFlags f = {0};
    return node_open(bt->graph, o, &f, errp);
}

#endif
