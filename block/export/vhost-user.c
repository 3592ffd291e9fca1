/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection: messages of the front-end, one after the other, in a fiber. */
#include "block/export/vhost.h"
#include "util/bits.h"
#include "util/log.h"
#include "util/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

TRACE_EVENT(vhost_user_message, "request %u flags %u size %u, %u descriptors")

#define MAX_PAYLOAD 512u
#define MAX_FDS 8u

/* Flags of a message */
#define FLAG_VERSION_MASK 3u
#define FLAG_VERSION 1u
#define FLAG_REPLY 4u
#define FLAG_NEED_REPLY 8u

/* In the payload of KICK, CALL and ERR */
#define VRING_INDEX_MASK 0xffu
#define VRING_NO_FD 0x100u
#define VRING_LOG 1u /* among the flags of SET_VRING_ADDR */

enum {
    GET_FEATURES = 1,
    SET_FEATURES = 2,
    SET_OWNER = 3,
    RESET_OWNER = 4,
    SET_MEM_TABLE = 5,
    SET_LOG_BASE = 6,
    SET_LOG_FD = 7,
    SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9,
    SET_VRING_BASE = 10,
    GET_VRING_BASE = 11,
    SET_VRING_KICK = 12,
    SET_VRING_CALL = 13,
    SET_VRING_ERR = 14,
    GET_PROTOCOL_FEATURES = 15,
    SET_PROTOCOL_FEATURES = 16,
    GET_QUEUE_NUM = 17,
    SET_VRING_ENABLE = 18,
    SET_BACKEND_REQ_FD = 21,
    GET_CONFIG = 24,
    SET_CONFIG = 25,
    GET_INFLIGHT_FD = 31,
    SET_INFLIGHT_FD = 32,
    GET_MAX_MEM_SLOTS = 36,
    ADD_MEM_REG = 37,
    REM_MEM_REG = 38,
};
#define BACKEND_CONFIG_CHANGED 2u

/* Protocol features */
#define PF_MQ 0
#define PF_LOG_SHMFD 1
#define PF_REPLY_ACK 3
#define PF_BACKEND_REQ 5
#define PF_CONFIG 9
#define PF_INFLIGHT_SHMFD 12
#define PF_CONFIGURE_MEM_SLOTS 15
#define PROTOCOL_FEATURES                                                                        \
    (BIT(PF_MQ) | BIT(PF_LOG_SHMFD) | BIT(PF_REPLY_ACK) | BIT(PF_BACKEND_REQ) | BIT(PF_CONFIG) | \
     BIT(PF_INFLIGHT_SHMFD) | BIT(PF_CONFIGURE_MEM_SLOTS))

typedef struct Message {
    uint32_t request, flags, size;
    uint8_t data[MAX_PAYLOAD];
    int fds[MAX_FDS];
    unsigned n_fds;
} Message;

/* What a handler says about a message. */
typedef enum Verdict {
    DONE,    /* no answer but an acknowledgement, if that was asked for */
    ANSWER,  /* `data` of `size` bytes goes back, with the first descriptor if there is one */
    REFUSED, /* an acknowledgement that says so, or the end */
} Verdict;

/* ---- transport ---- */

static void close_fds(Message *m)
{
    for (unsigned i = 0; i < m->n_fds; i++) {
        if (m->fds[i] >= 0) {
            close(m->fds[i]);
        }
    }
    m->n_fds = 0;
}

/* One of the message's descriptors, which is now the caller's. */
static int take_fd(Message *m, unsigned i)
{
    int fd = i < m->n_fds ? m->fds[i] : -1;
    if (fd >= 0) {
        m->fds[i] = -1;
    }
    return fd;
}

static bool keep_fds(Message *m, struct msghdr *h)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (m->n_fds == MAX_FDS) {
                close(fd);
                h->msg_flags |= MSG_CTRUNC;
            } else {
                m->fds[m->n_fds++] = fd;
            }
        }
    }
    return !(h->msg_flags & MSG_CTRUNC);
}

/* Exactly `len` bytes, and the descriptors that come with them. */
static bool receive(VhostConn *c, Message *m, void *buf, size_t len)
{
    for (size_t done = 0; done < len;) {
        union {
            char buf[CMSG_SPACE(MAX_FDS * sizeof(int))];
            struct cmsghdr align;
        } control;
        struct iovec iov = {(uint8_t *)buf + done, len - done};
        struct msghdr h = {.msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = control.buf,
                           .msg_controllen = sizeof(control.buf)};
        ssize_t got = recvmsg(io_channel_fd(c->ch), &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (io_channel_wait(c->ch, false) < 0) {
                return false;
            }
            continue;
        }
        if (got <= 0 || !keep_fds(m, &h)) {
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

static bool receive_message(VhostConn *c, Message *m)
{
    uint8_t head[12];
    m->n_fds = 0;
    if (!receive(c, m, head, sizeof(head))) {
        return false;
    }
    m->request = ld_le32(head);
    m->flags = ld_le32(head + 4);
    m->size = ld_le32(head + 8);
    if (m->size > MAX_PAYLOAD || (m->flags & FLAG_VERSION_MASK) != FLAG_VERSION) {
        return false;
    }
    memset(m->data, 0, sizeof(m->data));
    bool ok = receive(c, m, m->data, m->size);
    trace(vhost_user_message, m->request, m->flags, m->size, m->n_fds);
    return ok;
}

static bool send_message(VhostConn *c, int fd, const Message *m)
{
    uint8_t head[12];
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    st_le32(head, m->request);
    st_le32(head + 4, m->flags);
    st_le32(head + 8, m->size);
    struct iovec iov[2] = {{head, sizeof(head)}, {(void *)m->data, m->size}};
    struct msghdr h = {.msg_iov = iov, .msg_iovlen = m->size ? 2 : 1};
    if (m->n_fds && m->fds[0] >= 0) {
        h.msg_control = control.buf;
        h.msg_controllen = sizeof(control.buf);
        struct cmsghdr *x = CMSG_FIRSTHDR(&h);
        x->cmsg_level = SOL_SOCKET;
        x->cmsg_type = SCM_RIGHTS;
        x->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(x), &m->fds[0], sizeof(int));
    }
    for (;;) {
        ssize_t sent = sendmsg(fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent == (ssize_t)(sizeof(head) + m->size)) {
            return true;
        }
        /* A front-end that does not read its few answers is not worth waiting for in pieces. */
        if (sent >= 0 || (errno != EAGAIN && errno != EINTR) || fd != io_channel_fd(c->ch) ||
            io_channel_wait(c->ch, true) < 0) {
            return false;
        }
    }
}

static Verdict answer_u64(Message *m, uint64_t v)
{
    m->size = 8;
    st_le64(m->data, v);
    return ANSWER;
}

/* ---- waiting for requests ---- */

static void stop_all(VhostConn *c)
{
    for (unsigned i = 0; i < c->n_rings; i++) {
        vhost_ring_stop(&c->rings[i]);
    }
}

static void wait_idle(VhostConn *c, const unsigned *counter)
{
    while (*counter) {
        fiber_queue_wait(&c->idle);
    }
}

/* ---- memory ---- */

/* Rings whose addresses still mean something go on where they were. */
static void remap_rings(VhostConn *c)
{
    for (unsigned i = 0; i < c->n_rings; i++) {
        VhostRing *r = &c->rings[i];
        if (r->used_at && vhost_ring_map(r)) {
            vhost_ring_start(r);
        } else {
            vhost_ring_unmap(r);
        }
    }
}

static void let_go_of_memory(VhostConn *c)
{
    stop_all(c);
    wait_idle(c, &c->in_flight);
    loop_allow_long(c->loop); /* much memory takes long to unmap */
}

static VhostRegion region_at(const uint8_t *p)
{
    return (VhostRegion){.gpa = ld_le64(p),
                         .size = ld_le64(p + 8),
                         .uva = ld_le64(p + 16),
                         .offset = ld_le64(p + 24)};
}

static Verdict add_region(VhostConn *c, const uint8_t *p, int fd)
{
    Error *err = NULL;
    VhostRegion r = region_at(p);
    if (fd < 0 || !vhost_mem_add(&c->mem, &r, fd, &err)) {
        if (err) {
            error_prefix(&err, "vhost-user: ");
            error_report(err);
        }
        return REFUSED;
    }
    return DONE;
}

static Verdict set_mem_table(VhostConn *c, Message *m)
{
    uint32_t n = ld_le32(m->data);
    Verdict v = DONE;
    if (m->size < 8 || n > MAX_FDS || n != m->n_fds || m->size != 8 + 32 * n) {
        return REFUSED;
    }
    let_go_of_memory(c);
    vhost_mem_clear(&c->mem);
    for (uint32_t i = 0; i < n && v == DONE; i++) {
        v = add_region(c, m->data + 8 + 32 * i, m->fds[i]);
    }
    remap_rings(c);
    return v;
}

static Verdict change_region(VhostConn *c, Message *m)
{
    if (m->size != 40 || (m->request == ADD_MEM_REG && m->n_fds != 1)) {
        return REFUSED;
    }
    let_go_of_memory(c);
    VhostRegion r = region_at(m->data + 8);
    Verdict v = m->request == ADD_MEM_REG       ? add_region(c, m->data + 8, m->fds[0])
                : vhost_mem_remove(&c->mem, &r) ? DONE
                                                : REFUSED;
    remap_rings(c);
    return v;
}

/* The log; a descriptor that would be signalled for it is of no use to us. */
static Verdict set_log(VhostConn *c, Message *m)
{
    if (m->request == SET_LOG_FD) {
        return DONE;
    }
    if (m->size != 16 || m->n_fds != 1) {
        return REFUSED;
    }
    let_go_of_memory(c);
    bool ok = vhost_log_set(&c->log, m->fds[0], ld_le64(m->data), ld_le64(m->data + 8));
    remap_rings(c);
    close_fds(m);
    return ok ? answer_u64(m, 0) : REFUSED;
}

/* ---- rings ---- */

static VhostRing *ring_of(VhostConn *c, uint32_t index)
{
    return index < c->n_rings ? &c->rings[index] : NULL;
}

static Verdict set_vring_state(VhostConn *c, Message *m)
{
    VhostRing *r = m->size == 8 ? ring_of(c, ld_le32(m->data)) : NULL;
    uint32_t num = ld_le32(m->data + 4);
    if (!r) {
        return REFUSED;
    }
    switch (m->request) {
    case SET_VRING_NUM:
        if (r->running || !num || num > VHOST_RING_MAX || !IS_POWER_OF_2(num)) {
            return REFUSED;
        }
        wait_idle(c, &r->in_flight);
        vhost_ring_unmap(r);
        r->num = num;
        return DONE;
    case SET_VRING_BASE:
        if (r->running || num > UINT16_MAX) {
            return REFUSED;
        }
        r->last_avail = (uint16_t)num;
        r->fresh = true;
        return DONE;
    case SET_VRING_ENABLE:
        r->enabled = num;
        if (num) {
            vhost_ring_start(r);
        } else {
            vhost_ring_stop(r);
        }
        return DONE;
    default: /* GET_VRING_BASE: the ring stops */
        vhost_ring_stop(r);
        wait_idle(c, &r->in_flight);
        if (r->kick >= 0) {
            close(r->kick);
            r->kick = -1;
        }
        r->broken = false;
        st_le32(m->data + 4, r->last_avail);
        return ANSWER;
    }
}

static Verdict set_vring_addr(VhostConn *c, Message *m)
{
    VhostRing *r = m->size == 40 ? ring_of(c, ld_le32(m->data)) : NULL;
    uint32_t flags = ld_le32(m->data + 4);
    if (!r || (flags & ~VRING_LOG)) {
        return REFUSED;
    }
    vhost_ring_stop(r); /* a migration begins or ends while it runs */
    wait_idle(c, &r->in_flight);
    r->log_used = flags & VRING_LOG;
    r->log_at = ld_le64(m->data + 32);
    r->desc_at = ld_le64(m->data + 8);
    r->used_at = ld_le64(m->data + 16);
    r->avail_at = ld_le64(m->data + 24);
    if (!vhost_ring_map(r)) {
        return REFUSED;
    }
    vhost_ring_start(r);
    return DONE;
}

/* Anything else that can be read and written could make us wait. */
static bool is_eventfd(int fd)
{
    char link[32], name[64] = "";
    g_snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, name, sizeof(name) - 1);
    return n > 0 && !strcmp(name, "anon_inode:[eventfd]") &&
           fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}

static void replace_fd(int *slot, int fd)
{
    if (*slot >= 0) {
        close(*slot);
    }
    *slot = fd;
}

static Verdict set_vring_fd(VhostConn *c, Message *m)
{
    uint64_t v = ld_le64(m->data);
    VhostRing *r = m->size == 8 ? ring_of(c, (uint32_t)(v & VRING_INDEX_MASK)) : NULL;
    bool none = v & VRING_NO_FD;
    if (!r || m->n_fds != !none || (!none && !is_eventfd(m->fds[0]))) {
        return REFUSED;
    }
    int fd = none ? -1 : take_fd(m, 0);
    if (m->request == SET_VRING_CALL) {
        replace_fd(&r->call, fd);
    } else if (m->request == SET_VRING_ERR) {
        replace_fd(&r->err, fd);
    } else if (none) {
        return REFUSED; /* somebody would have to look at the ring all the time */
    } else {
        vhost_ring_stop(r);
        replace_fd(&r->kick, fd);
        r->broken = false;
        /* Who cannot enable rings has them enabled. */
        r->enabled |= !vhost_has(c, VHOST_F_PROTOCOL_FEATURES);
        vhost_ring_start(r);
    }
    return DONE;
}

/* ---- the record of requests under way ---- */

static void drop_inflight(VhostConn *c)
{
    for (unsigned i = 0; i < c->n_rings; i++) {
        c->rings[i].inflight = NULL;
    }
    if (c->inflight) {
        munmap(c->inflight, c->inflight_len);
    }
    c->inflight = NULL;
}

static bool any_running(const VhostConn *c)
{
    for (unsigned i = 0; i < c->n_rings; i++) {
        if (c->rings[i].running) {
            return true;
        }
    }
    return false;
}

/* Maps `len` bytes of it and gives each ring its part. */
static bool use_inflight(VhostConn *c, int fd, size_t len, unsigned queues, unsigned num)
{
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        return false;
    }
    drop_inflight(c);
    c->inflight = p;
    c->inflight_len = len;
    for (unsigned i = 0; i < queues && i < c->n_rings; i++) {
        c->rings[i].inflight = (VhostInflight *)((uint8_t *)p + i * vhost_inflight_size(num));
    }
    c->inflight_num = num;
    return true;
}

static Verdict inflight(VhostConn *c, Message *m)
{
    unsigned queues = ld_le16(m->data + 16), num = ld_le16(m->data + 18);
    size_t need = queues * vhost_inflight_size(num);
    struct stat st;
    /* 20 bytes, or 24 where the compiler has filled the structure up. */
    if ((m->size != 20 && m->size != 24) || !queues || queues > c->n_rings || !num ||
        num > VHOST_RING_MAX || c->in_flight || any_running(c)) {
        return REFUSED;
    }
    if (m->request == GET_INFLIGHT_FD) {
        int fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0 || ftruncate(fd, (off_t)need) < 0 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
            replace_fd(&fd, -1);
            return REFUSED;
        }
        close_fds(m);
        m->fds[m->n_fds++] = fd;
        st_le64(m->data, need);
        st_le64(m->data + 8, 0);
        return ANSWER;
    }
    /* It comes back as it went: sealed, so that its size holds. */
    if (m->n_fds != 1 || ld_le64(m->data + 8) || ld_le64(m->data) < need ||
        fstat(m->fds[0], &st) < 0 || (uint64_t)st.st_size < need ||
        !(fcntl(m->fds[0], F_GET_SEALS) & F_SEAL_SHRINK)) {
        return REFUSED;
    }
    return use_inflight(c, m->fds[0], need, queues, num) ? DONE : REFUSED;
}

/* ---- features and configuration ---- */

static uint64_t offered(VhostConn *c)
{
    return c->ops->features(c->dev) | BIT(VHOST_F_VERSION_1) | BIT(VHOST_F_RING_INDIRECT_DESC) |
           BIT(VHOST_F_RING_EVENT_IDX) | BIT(VHOST_F_PROTOCOL_FEATURES) | BIT(VHOST_F_LOG_ALL);
}

static Verdict set_features(VhostConn *c, Message *m)
{
    uint64_t v = ld_le64(m->data);
    uint64_t allowed = m->request == SET_FEATURES ? offered(c) : PROTOCOL_FEATURES;
    if (m->size != 8 || (v & ~allowed)) {
        return REFUSED;
    }
    if (m->request == SET_FEATURES) {
        c->features = v;
    } else {
        c->protocol = v;
    }
    return DONE;
}

static Verdict config(VhostConn *c, Message *m)
{
    uint32_t offset = ld_le32(m->data), size = ld_le32(m->data + 4);
    bool inside = m->size >= 12 && size <= VHOST_CONFIG_MAX && offset <= VHOST_CONFIG_MAX - size &&
                  m->size == 12 + size;
    if (m->request == SET_CONFIG) {
        bool ok = inside && c->ops->set_config(c->dev, offset, m->data + 12, size);
        return ok ? DONE : REFUSED;
    }
    if (!inside) {
        m->size = 0; /* the protocol's way of saying no to this one */
        return ANSWER;
    }
    uint8_t all[VHOST_CONFIG_MAX] = {0};
    c->ops->get_config(c->dev, all);
    memcpy(m->data + 12, all + offset, size);
    return ANSWER;
}

static Verdict set_back_channel(VhostConn *c, Message *m)
{
    if (m->n_fds != 1) {
        return REFUSED;
    }
    replace_fd(&c->back, take_fd(m, 0));
    return DONE;
}

void vhost_conn_config_changed(VhostConn *c)
{
    Message m = {.request = BACKEND_CONFIG_CHANGED, .flags = FLAG_VERSION};
    if (c->back >= 0 && (c->protocol & BIT(PF_CONFIG)) && !send_message(c, c->back, &m)) {
        replace_fd(&c->back, -1);
    }
}

/* ---- the conversation ---- */

static Verdict handle(VhostConn *c, Message *m)
{
    switch (m->request) {
    case GET_FEATURES:
        return answer_u64(m, offered(c));
    case GET_PROTOCOL_FEATURES:
        return answer_u64(m, PROTOCOL_FEATURES);
    case SET_FEATURES:
    case SET_PROTOCOL_FEATURES:
        return set_features(c, m);
    case SET_OWNER:
        return DONE;
    case RESET_OWNER: /* "ignore, or disable all rings" */
        stop_all(c);
        return DONE;
    case GET_QUEUE_NUM:
        return answer_u64(m, c->n_rings);
    case GET_MAX_MEM_SLOTS:
        return answer_u64(m, VHOST_REGIONS_MAX);
    case SET_MEM_TABLE:
        return set_mem_table(c, m);
    case ADD_MEM_REG:
    case REM_MEM_REG:
        return change_region(c, m);
    case SET_LOG_BASE:
    case SET_LOG_FD:
        return set_log(c, m);
    case SET_VRING_NUM:
    case SET_VRING_BASE:
    case GET_VRING_BASE:
    case SET_VRING_ENABLE:
        return set_vring_state(c, m);
    case SET_VRING_ADDR:
        return set_vring_addr(c, m);
    case SET_VRING_KICK:
    case SET_VRING_CALL:
    case SET_VRING_ERR:
        return set_vring_fd(c, m);
    case GET_CONFIG:
    case SET_CONFIG:
        return config(c, m);
    case GET_INFLIGHT_FD:
    case SET_INFLIGHT_FD:
        return inflight(c, m);
    case SET_BACKEND_REQ_FD:
        return set_back_channel(c, m);
    default:
        return REFUSED;
    }
}

static bool respond(VhostConn *c, Message *m, Verdict v)
{
    bool ack = (m->flags & FLAG_NEED_REPLY) && (c->protocol & BIT(PF_REPLY_ACK));
    m->flags = FLAG_VERSION | FLAG_REPLY;
    if (v == ANSWER) {
        return send_message(c, io_channel_fd(c->ch), m);
    }
    if (v == REFUSED) {
        report_error("vhost-user: message %u of the front-end cannot be honoured", m->request);
    }
    if (!ack) {
        return v == DONE;
    }
    close_fds(m);
    answer_u64(m, v == REFUSED);
    return send_message(c, io_channel_fd(c->ch), m);
}

static bool converse(VhostConn *c)
{
    Message m;
    bool ok = receive_message(c, &m) && respond(c, &m, handle(c, &m));
    close_fds(&m);
    return ok;
}

static void gone(void *opaque)
{
    VhostConn *c = opaque;
    const VhostDeviceOps *ops = c->ops;
    void *dev = c->dev;
    io_channel_free(c->ch);
    g_free(c->rings);
    g_free(c);
    ops->gone(dev);
}

static void conn_fiber(void *opaque)
{
    VhostConn *c = opaque;
    while (converse(c)) {
    }
    io_channel_shutdown(c->ch);
    let_go_of_memory(c);
    for (unsigned i = 0; i < c->n_rings; i++) {
        vhost_ring_fini(&c->rings[i]);
    }
    drop_inflight(c);
    vhost_mem_clear(&c->mem);
    vhost_log_clear(&c->log);
    replace_fd(&c->back, -1);
    loop_defer(c->control, gone, c);
}

static void begin(void *opaque)
{
    fiber_enter(fiber_new(conn_fiber, opaque));
}

VhostConn *vhost_conn_new(int fd, EventLoop *loop, EventLoop *control, unsigned queues,
                          const VhostDeviceOps *ops, void *dev)
{
    VhostConn *c = g_new0(VhostConn, 1);
    c->ops = ops;
    c->dev = dev;
    c->loop = loop;
    c->control = control;
    c->ch = io_channel_new(fd, loop);
    c->back = -1;
    c->n_rings = queues;
    c->rings = g_new0(VhostRing, queues);
    for (unsigned i = 0; i < queues; i++) {
        vhost_ring_init(&c->rings[i], c, i);
    }
    fiber_queue_init(&c->idle);
    loop_defer(loop, begin, c);
    return c;
}

void vhost_conn_shutdown(VhostConn *c)
{
    io_channel_shutdown(c->ch);
}
