/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux AIO (io_submit), as aio=native asks for it.  The kernel's interface is four system calls
 * and a ring of results in shared memory, so no library is needed.
 *
 * Whatever the kernel refuses to take is done by a worker thread, whose result counts.
 */
#include "event/aio-internal.h"
#include "util/bits.h"
#include "util/fault.h"

#include <errno.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVENTS 256u /* under way in one context */
#define LIST 64u    /* in one call */

/* The head of the ring that the kernel maps at the context's address; results follow. */
typedef struct ResultRing {
    uint32_t id, nr;
    uint32_t head; /* ours */
    uint32_t tail; /* the kernel's */
    uint32_t magic, compat, incompat, header_length;
    struct io_event events[];
} ResultRing;
#define RESULT_RING_MAGIC 0xa10a10a1u

struct AioNative {
    EventLoop *loop;
    aio_context_t id;
    ResultRing *ring; /* NULL: of a layout that we do not know, the kernel is asked */
    int event_fd;
    unsigned in_kernel;
    OpQueue queue;
};

static void ready(void *opaque);

AioNative *aio_native_new(EventLoop *loop, int *err)
{
    aio_context_t id = 0;
    if (fault_here("a context for Linux AIO", NULL)) {
        *err = EAGAIN;
        return NULL;
    }
    if (syscall(SYS_io_setup, EVENTS, &id) < 0) {
        *err = errno;
        return NULL;
    }
    int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_fd < 0) {
        *err = errno;
        syscall(SYS_io_destroy, id);
        return NULL;
    }
    AioNative *a = g_new0(AioNative, 1);
    a->loop = loop;
    a->id = id;
    a->event_fd = event_fd;
    op_queue_init(&a->queue);
    ResultRing *ring = (ResultRing *)(uintptr_t)id;
    if (ring->magic == RESULT_RING_MAGIC && ring->incompat == 0 &&
        ring->header_length == sizeof(ResultRing) && ring->nr) {
        a->ring = ring;
    }
    loop_watch_fd(loop, event_fd, ready, NULL, a);
    return a;
}

void aio_native_free(AioNative *a)
{
    if (a) {
        loop_watch_fd(a->loop, a->event_fd, NULL, NULL, NULL);
        syscall(SYS_io_destroy, a->id); /* waits for what is under way */
        close(a->event_fd);
        g_free(a);
    }
}

/* ---- to the kernel ---- */

static void prepare(const AioNative *a, Op *op)
{
    const AioRequest *r = op->req;
    op->iocb = (struct iocb){
        .aio_data = (uintptr_t)op,
        .aio_lio_opcode = r->op == AIO_READ ? IOCB_CMD_PREADV : IOCB_CMD_PWRITEV,
        .aio_rw_flags = r->op == AIO_WRITE && r->fua ? RWF_DSYNC : 0,
        .aio_fildes = (uint32_t)r->fd,
        .aio_buf = (uintptr_t)op->rest.iov,
        .aio_nbytes = MIN(op->rest.n, (unsigned)IOV_MAX),
        .aio_offset = (int64_t)(r->offset + (uint64_t)op->moved),
        .aio_flags = IOCB_FLAG_RESFD,
        .aio_resfd = (uint32_t)a->event_fd,
    };
}

void aio_native_queue(AioNative *a, Op *op)
{
    op_queue_put(&a->queue, op);
}

unsigned aio_native_queued(const AioNative *a)
{
    return a->queue.n;
}

void aio_native_submit(AioNative *a)
{
    while (a->queue.first && a->in_kernel < EVENTS) {
        struct iocb *list[LIST];
        unsigned n = 0;
        for (Op *op = a->queue.first; op && n < LIST && n < EVENTS - a->in_kernel; op = op->next) {
            prepare(a, op);
            list[n++] = &op->iocb;
        }
        long taken = syscall(SYS_io_submit, a->id, (long)n, list);
        if (taken < 0 && errno == EINTR) {
            continue;
        }
        if (taken < 0 && errno == EAGAIN && a->in_kernel) {
            return; /* again after the next completion */
        }
        for (long i = 0; i < taken; i++) {
            op_queue_take(&a->queue);
            a->in_kernel++;
        }
        if (taken <= 0) {
            /* The first is refused: bad in itself, or nothing this kernel does for such a file. */
            op_to_worker(op_queue_take(&a->queue));
        }
    }
}

/* ---- results ---- */

/* The next result, if there is one. */
static bool take_event(AioNative *a, struct io_event *e)
{
    ResultRing *ring = a->ring;
    if (!ring) {
        struct timespec none = {0};
        return syscall(SYS_io_getevents, a->id, 0L, 1L, e, &none) == 1;
    }
    uint32_t head = ring->head;
    if (head == __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)) {
        return false;
    }
    *e = ring->events[head];
    __atomic_store_n(&ring->head, (head + 1) % ring->nr, __ATOMIC_RELEASE);
    return true;
}

static void ready(void *opaque)
{
    AioNative *a = opaque;
    uint64_t count;
    ssize_t got G_GNUC_UNUSED = read(a->event_fd, &count, sizeof(count));
    struct io_event e;
    unsigned left = EVENTS; /* a bounded number per round, others want their turn */
    for (; left && take_event(a, &e); left--) {
        Op *op = (Op *)(uintptr_t)e.data;
        int64_t result;
        a->in_kernel--;
        if (op_step(op, e.res, &result)) {
            op_done(op, result);
        } else {
            op_queue_put(&a->queue, op);
        }
    }
    if (!left) {
        uint64_t one = 1;
        ssize_t put G_GNUC_UNUSED = write(a->event_fd, &one, sizeof(one));
    }
    aio_native_submit(a);
}
