/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asynchronous file I/O on every engine the host has. */
#include "event/loop.h"
#include "util/fiber.h"

#include <errno.h>
#include <fcntl.h>
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

static int64_t io(Fixture *f, AioOp op, void *buf, size_t n, uint64_t off, unsigned flags)
{
    struct iovec iov = {buf, n};
    return loop_aio(f->loop, f->engine, op, f->fd, &iov, 1, off, n, flags);
}

static void basic_fiber(void *opaque)
{
    Fixture *f = opaque;
    char buf[8192], back[8192];
    memset(buf, 'a', sizeof(buf));
    g_assert_cmpint(io(f, AIO_WRITE, buf, 5000, 0, AIO_FLAG_FUA), ==, 5000);
    g_assert_cmpint(loop_aio(f->loop, f->engine, AIO_FSYNC, f->fd, NULL, 0, 0, 0, 0), ==, 0);
    memset(back, 0, sizeof(back));
    /* the end of the file cuts it short */
    g_assert_cmpint(io(f, AIO_READ, back, sizeof(back), 1000, 0), ==, 4000);
    g_assert_cmpint(memcmp(buf, back, 4000), ==, 0);
    g_assert_cmpint(back[4000], ==, 0);
    g_assert_cmpint(io(f, AIO_READ, back, 10, 1 << 20, 0), ==, 0);
    g_assert_cmpint(loop_aio(f->loop, f->engine, AIO_TRUNCATE, f->fd, NULL, 0, 0, 1 << 20, 0), ==,
                    0);
    struct stat st;
    fstat(f->fd, &st);
    g_assert_cmpint(st.st_size, ==, 1 << 20);
    int64_t r = loop_aio(f->loop, f->engine, AIO_ZERO, f->fd, NULL, 0, 0, 4096, AIO_FLAG_UNMAP);
    g_assert_true(r == 0 || r == -ENOTSUP);
    if (r == 0) {
        g_assert_cmpint(io(f, AIO_READ, back, 8192, 0, 0), ==, 8192);
        g_assert_true(back[0] == 0 && back[4095] == 0 && back[4096] == 'a');
    }
    r = loop_aio(f->loop, f->engine, AIO_DISCARD, f->fd, NULL, 0, 0, 8192, 0);
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

static void errors_fiber(void *opaque)
{
    Fixture *f = opaque;
    char buf[16];
    struct iovec iov = {buf, sizeof(buf)};
    int ro = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(loop_aio(f->loop, f->engine, AIO_WRITE, ro, &iov, 1, 0, 16, 0), ==, -EBADF);
    close(ro);
    g_assert_cmpint(loop_aio(f->loop, f->engine, AIO_READ, ro, &iov, 1, 0, 16, 0), ==, -EBADF);
    iov.iov_base = (void *)8;
    g_assert_cmpint(io(f, AIO_WRITE, buf, 16, 0, 0), ==, 16);
    g_assert_cmpint(loop_aio(f->loop, f->engine, AIO_READ, f->fd, &iov, 1, 0, 16, 0), ==, -EFAULT);
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
        g_assert_cmpint(loop_aio(f->loop, f->engine, pass ? AIO_READ : AIO_WRITE, f->fd, iov,
                                 PIECES, 0, PIECES * 3, 0),
                        ==, PIECES * 3);
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

static void test_native(void)
{
    ClockSet *cs = clock_set_new();
    EventLoop *loop = loop_new("x", cs, NULL);
    g_autoptr(Error) err = NULL;
    g_assert_false(loop_aio_available(loop, AIO_ENGINE_NATIVE, &err));
    g_assert_nonnull(strstr(error_message(err), "aio=native"));
    loop_free(loop);
    clock_set_free(cs);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        AioEngine engine;
    } engines[] = {{"io_uring", AIO_ENGINE_IO_URING}, {"threads", AIO_ENGINE_THREADS}};
    g_test_init(&argc, &argv, NULL);
    for (int i = 0; i < 2; i++) {
        gpointer e = GINT_TO_POINTER(engines[i].engine);
        static void (*const fns[])(Fixture *, gconstpointer) = {test_basic, test_errors, test_many,
                                                                test_pieces};
        static const char *const names[] = {"basic", "errors", "many", "pieces"};
        for (int j = 0; j < 4; j++) {
            g_autofree char *path = g_strdup_printf("/aio/%s/%s", engines[i].name, names[j]);
            g_test_add(path, Fixture, e, setup, fns[j], teardown);
        }
    }
    g_test_add_func("/aio/native", test_native);
    return g_test_run();
}
