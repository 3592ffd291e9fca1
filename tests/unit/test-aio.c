/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asynchronous file I/O on every engine the host has. */
#include "event/loop.h"
#include "util/fault.h"
#include "util/fiber.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Fixture {
    ClockSet *clocks;
    EventLoop *loop;
    AioEngine engine;
    int fd;
    int left; /* requests under way */
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
    char name[] = "/tmp/rhea-aio-XXXXXX";
    f->clocks = clock_set_new();
    f->loop = loop_new("aio", f->clocks, NULL);
    f->engine = GPOINTER_TO_INT(data);
    f->fd = mkostemp(name, O_CLOEXEC);
    g_assert_cmpint(f->fd, >=, 0);
    unlink(name);
}

static void teardown(Fixture *f, gconstpointer data)
{
    close(f->fd);
    loop_free(f->loop);
    clock_set_free(f->clocks);
}

static bool engine_missing(Fixture *f)
{
    g_autoptr(Error) err = NULL;
    if (!loop_aio_available(f->loop, f->engine, &err)) {
        g_test_skip(error_message(err));
        return true;
    }
    return false;
}

static void run(Fixture *f)
{
    int64_t end = g_get_monotonic_time() + 10000000;
    while (f->left) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        loop_poll(f->loop, 10 * NS_PER_MS);
    }
}

static int64_t io(Fixture *f, AioOp op, void *buf, size_t n, uint64_t off)
{
    struct iovec iov = {buf, n};
    AioRequest r = {.op = op, .fd = f->fd, .iov = &iov, .niov = 1, .offset = off, .len = n};
    return loop_aio(f->loop, f->engine, &r);
}

static int64_t io_fua(Fixture *f, void *buf, size_t n)
{
    struct iovec iov = {buf, n};
    AioRequest r = {.op = AIO_WRITE, .fd = f->fd, .iov = &iov, .niov = 1, .len = n, .fua = true};
    return loop_aio(f->loop, f->engine, &r);
}

/* Of the first `len` bytes, without data. */
static int64_t plain(Fixture *f, AioOp op, uint64_t len, bool unmap)
{
    AioRequest r = {.op = op, .fd = f->fd, .len = len, .unmap = unmap};
    return loop_aio(f->loop, f->engine, &r);
}

static void basic_fiber(void *opaque)
{
    Fixture *f = opaque;
    char buf[8192], back[8192];
    memset(buf, 'a', sizeof(buf));
    g_assert_cmpint(io_fua(f, buf, 5000), ==, 5000);
    g_assert_cmpint(plain(f, AIO_FSYNC, 0, false), ==, 0);
    memset(back, 0, sizeof(back));
    /* the end of the file cuts it short */
    g_assert_cmpint(io(f, AIO_READ, back, sizeof(back), 1000), ==, 4000);
    g_assert_cmpint(memcmp(buf, back, 4000), ==, 0);
    g_assert_cmpint(back[4000], ==, 0);
    g_assert_cmpint(io(f, AIO_READ, back, 10, 1 << 20), ==, 0);
    g_assert_cmpint(plain(f, AIO_TRUNCATE, 1 << 20, false), ==, 0);
    struct stat st;
    fstat(f->fd, &st);
    g_assert_cmpint(st.st_size, ==, 1 << 20);
    int64_t r = plain(f, AIO_ZERO, 4096, true);
    g_assert_true(r == 0 || r == -ENOTSUP);
    if (r == 0) {
        g_assert_cmpint(io(f, AIO_READ, back, 8192, 0), ==, 8192);
        g_assert_true(back[0] == 0 && back[4095] == 0 && back[4096] == 'a');
    }
    r = plain(f, AIO_DISCARD, 8192, false);
    g_assert_true(r == 0 || r == -ENOTSUP);
    f->left--;
}

static void test_basic(Fixture *f, gconstpointer data)
{
    if (engine_missing(f)) {
        return;
    }
    f->left = 1;
    LOOP_LOCK_GUARD(f->loop);
    fiber_enter(fiber_new(basic_fiber, f));
    run(f);
}

static int64_t on_fd(Fixture *f, AioOp op, int fd, struct iovec *iov)
{
    AioRequest r = {.op = op, .fd = fd, .iov = iov, .niov = 1, .len = iov->iov_len};
    return loop_aio(f->loop, f->engine, &r);
}

static void errors_fiber(void *opaque)
{
    Fixture *f = opaque;
    char buf[16];
    struct iovec iov = {buf, sizeof(buf)};
    int ro = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(on_fd(f, AIO_WRITE, ro, &iov), ==, -EBADF);
    close(ro);
    g_assert_cmpint(on_fd(f, AIO_READ, ro, &iov), ==, -EBADF);
    iov.iov_base = (void *)8;
    g_assert_cmpint(io(f, AIO_WRITE, buf, 16, 0), ==, 16);
    g_assert_cmpint(on_fd(f, AIO_READ, f->fd, &iov), ==, -EFAULT);
    f->left--;
}

static void test_errors(Fixture *f, gconstpointer data)
{
    if (engine_missing(f)) {
        return;
    }
    f->left = 1;
    fiber_enter(fiber_new(errors_fiber, f));
    run(f);
}

/* More requests than the ring has entries, and more elements than one call may have. */
enum { MANY = 1000, PIECES = 3000 };
typedef struct Many {
    Fixture *f;
    AioRequest req;
    struct iovec iov;
    uint32_t value;
} Many;

static void many_done(AioRequest *req, int64_t result)
{
    Many *m = (Many *)((char *)req - offsetof(Many, req));
    g_assert_cmpint(result, ==, 4);
    g_assert_true(loop_lock_held(m->f->loop));
    m->f->left--;
}

static void test_many(Fixture *f, gconstpointer data)
{
    if (engine_missing(f)) {
        return;
    }
    g_autofree Many *m = g_new0(Many, MANY);
    for (int op = 0; op < 2; op++) {
        loop_lock(f->loop);
        for (unsigned i = 0; i < MANY; i++) {
            uint32_t expect = i * 7919;
            m[i].f = f;
            m[i].value = op ? 0 : expect;
            m[i].iov = (struct iovec){&m[i].value, 4};
            m[i].req = (AioRequest){.op = op ? AIO_READ : AIO_WRITE,
                                    .fd = f->fd,
                                    .iov = &m[i].iov,
                                    .niov = 1,
                                    .offset = i * 4,
                                    .len = 4,
                                    .done = many_done};
            f->left++;
            loop_aio_submit(f->loop, f->engine, &m[i].req);
        }
        loop_unlock(f->loop);
        g_assert_cmpint(f->left, ==, MANY); /* never from within submit */
        run(f);
    }
    for (unsigned i = 0; i < MANY; i++) {
        g_assert_cmpuint(m[i].value, ==, i * 7919);
    }
}

static void pieces_fiber(void *opaque)
{
    Fixture *f = opaque;
    g_autofree char *buf = g_malloc(PIECES * 3);
    g_autofree char *back = g_malloc0(PIECES * 3);
    g_autofree struct iovec *iov = g_new0(struct iovec, PIECES);
    for (int i = 0; i < PIECES * 3; i++) {
        buf[i] = (char)(i * 31 + i / 256);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < PIECES; i++) {
            iov[i] = (struct iovec){(pass ? back : buf) + 3 * i, 3};
        }
        AioRequest r = {.op = pass ? AIO_READ : AIO_WRITE,
                        .fd = f->fd,
                        .iov = iov,
                        .niov = PIECES,
                        .len = PIECES * 3};
        g_assert_cmpint(loop_aio(f->loop, f->engine, &r), ==, PIECES * 3);
    }
    g_assert_cmpint(memcmp(buf, back, PIECES * 3), ==, 0);
    f->left--;
}

static void test_pieces(Fixture *f, gconstpointer data)
{
    if (engine_missing(f)) {
        return;
    }
    f->left = 1;
    fiber_enter(fiber_new(pieces_fiber, f));
    run(f);
}

/*
 * With O_DIRECT, and a file that ends within a block: what lies before the end is read, and the
 * rest of the request, which no longer lies on a block's boundary, is no error.
 */
static void direct_fiber(void *opaque)
{
    Fixture *f = opaque;
    enum { BLOCK = 4096, END = 3 * BLOCK + 1000 };
    char *buf = NULL;
    g_assert_cmpint(posix_memalign((void **)&buf, BLOCK, 4 * BLOCK), ==, 0);
    memset(buf, 'd', 4 * BLOCK);
    g_assert_cmpint(io(f, AIO_WRITE, buf, 4 * BLOCK, 0), ==, 4 * BLOCK);
    g_assert_cmpint(plain(f, AIO_TRUNCATE, END, false), ==, 0);
    memset(buf, 0, 4 * BLOCK);
    g_assert_cmpint(io(f, AIO_READ, buf, 4 * BLOCK, 0), ==, END);
    for (int i = 0; i < END; i++) {
        g_assert_cmpint(buf[i], ==, 'd');
    }
    g_assert_cmpint(io(f, AIO_READ, buf, BLOCK, 8 * BLOCK), ==, 0);
    /* Memory or offset that the disk does not take. */
    int64_t r = io(f, AIO_READ, buf + 1, BLOCK, 0);
    g_assert_true(r == -EINVAL || r == BLOCK);
    free(buf);
    f->left--;
}

static void test_direct(Fixture *f, gconstpointer data)
{
    if (engine_missing(f)) {
        return;
    }
    int flags = fcntl(f->fd, F_GETFL);
    if (fcntl(f->fd, F_SETFL, flags | O_DIRECT) < 0) {
        g_test_skip("the file system of /tmp has no O_DIRECT");
        return;
    }
    f->left = 1;
    fiber_enter(fiber_new(direct_fiber, f));
    run(f);
}

/* A loop of a thread of its own, and requests from others under its lock. */
static void count_done(AioRequest *req, int64_t result)
{
    Many *m = (Many *)((char *)req - offsetof(Many, req));
    g_assert_cmpint(result, ==, 4);
    __atomic_sub_fetch(&m->f->left, 1, __ATOMIC_SEQ_CST);
}

static void test_foreign(Fixture *f, gconstpointer data)
{
    if (engine_missing(f)) {
        return;
    }
    g_assert_true(loop_start_thread(f->loop, NULL));
    loop_set_aio_batch(f->loop, 3);
    g_autofree Many *m = g_new0(Many, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        m[i] = (Many){.f = f, .value = i, .iov = {&m[i].value, 4}};
        m[i].req = (AioRequest){.op = AIO_WRITE,
                                .fd = f->fd,
                                .iov = &m[i].iov,
                                .niov = 1,
                                .offset = i * 4,
                                .len = 4,
                                .max_batch = i % 5,
                                .done = count_done};
        __atomic_add_fetch(&f->left, 1, __ATOMIC_SEQ_CST);
        LOOP_LOCK_GUARD(f->loop);
        loop_aio_submit(f->loop, f->engine, &m[i].req);
        if (i % 100 == 0) { /* the loop falls asleep in between */
            g_usleep(1000);
        }
    }
    int64_t end = g_get_monotonic_time() + 60000000;
    while (__atomic_load_n(&f->left, __ATOMIC_SEQ_CST)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(100);
    }
    loop_stop_thread(f->loop);
    uint32_t back[MANY];
    g_assert_cmpint(pread(f->fd, back, sizeof(back), 0), ==, sizeof(back));
    for (unsigned i = 0; i < MANY; i++) {
        g_assert_cmpuint(back[i], ==, i);
    }
}

/* The host's contexts run out: the message names the limit, and requests are done all the same. */
static void starved_fiber(void *opaque)
{
    Fixture *f = opaque;
    char buf[512] = "a", back[512] = "";
    for (int i = 0; i < 4; i++) {
        fault_arm(1);
        g_assert_cmpint(i % 2 ? io(f, AIO_READ, back, 512, 0) : io(f, AIO_WRITE, buf, 512, 0), ==,
                        512);
        g_assert_true(fault_fired());
    }
    g_assert_cmpint(back[0], ==, 'a');
    f->left--;
}

static void test_contexts(Fixture *f, gconstpointer data)
{
    g_autoptr(Error) err = NULL;
    fault_arm(1);
    g_assert_false(loop_aio_available(f->loop, AIO_ENGINE_NATIVE, &err));
    g_assert_true(fault_fired());
    g_assert_nonnull(strstr(error_message(err), "contexts"));
    g_assert_nonnull(strstr(error_hints(err), "fs.aio-max-nr"));
    f->left = 1;
    fiber_enter(fiber_new(starved_fiber, f));
    run(f);
    fault_arm(0);
    /* Others have given theirs back. */
    engine_missing(f);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        AioEngine engine;
    } engines[] = {{"io_uring", AIO_ENGINE_IO_URING},
                   {"threads", AIO_ENGINE_THREADS},
                   {"native", AIO_ENGINE_NATIVE}};
    static const struct {
        const char *name;
        void (*fn)(Fixture *, gconstpointer);
    } tests[] = {{"basic", test_basic},   {"errors", test_errors}, {"many", test_many},
                 {"pieces", test_pieces}, {"direct", test_direct}, {"foreign", test_foreign}};
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(engines); i++) {
        gpointer e = GINT_TO_POINTER(engines[i].engine);
        for (size_t j = 0; j < G_N_ELEMENTS(tests); j++) {
            g_autofree char *path = g_strdup_printf("/aio/%s/%s", engines[i].name, tests[j].name);
            g_test_add(path, Fixture, e, setup, tests[j].fn, teardown);
        }
    }
    g_test_add("/aio/native/contexts", Fixture, GINT_TO_POINTER(AIO_ENGINE_NATIVE), setup,
               test_contexts, teardown);
    return g_test_run();
}
