/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The module "iscsi": one logical unit of an iSCSI target, by libiscsi.
 *
 * The library only carries commands: the commands are made here (SBC-3, SPC-4), and data of the
 * target go to buffers of a size that is known, so that nothing it sends can take more memory.
 */
#include "block/remote/link.h"
#include "config.h"

#include <errno.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <string.h>

#define MAX_LUN_TRANSFER (16u << 20)
#define MAX_RETRIES 50u
/* Seconds for one attempt to log in. */
#define LOGIN_S 10
/* NOPs: how often, and how many without an answer mean that nobody is there. */
#define NOP_S 5
#define NOP_LOST 3
#define SMALL 256u
#define MAX_REDIRECTS 5u
/* Zeroes per WRITE SAME when the target names no limit. */
#define MAX_SAME_BYTES (64u << 20)
#define MAX_UNMAP_BYTES (1ull << 30)

/* Commands: SBC-3, SPC-4. */
enum {
    CMD_INQUIRY = 0x12,
    CMD_MODE_SENSE_6 = 0x1a,
    CMD_READ_CAPACITY_10 = 0x25,
    CMD_READ_10 = 0x28,
    CMD_WRITE_10 = 0x2a,
    CMD_SYNC_CACHE_10 = 0x35,
    CMD_WRITE_SAME_10 = 0x41,
    CMD_UNMAP = 0x42,
    CMD_READ_16 = 0x88,
    CMD_WRITE_16 = 0x8a,
    CMD_WRITE_SAME_16 = 0x93,
    CMD_SERVICE_IN_16 = 0x9e,
    SERVICE_READ_CAPACITY = 0x10,
    SERVICE_GET_LBA_STATUS = 0x12,
};

typedef struct Iscsi {
    char *portal, *target, *initiator, *user, *password;
    bool iser, read_only;
    int lun, digest;
    const RemoteHost *host;
    Link *link;
    struct iscsi_context *ctx;
    uint32_t isid; /* the same on each connection: the target drops what the old one had */
    bool step_ended;
    int step_status;
    unsigned seconds;
    /* The unit. */
    uint64_t length;
    uint32_t block;
    bool wide; /* 16-byte commands */
    bool known, cdrom, write_protected, fua, lbpme, lbprz, unmap, same_unmap;
    bool no_unmap, no_same, no_status;          /* it has refused them */
    uint64_t max_unmap, max_same, max_transfer; /* blocks, 0: no limit */
    uint32_t unmap_unit, opt_transfer;
    uint8_t *zeroes; /* one block */
} Iscsi;

static uint64_t be(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;
    while (n--) {
        v = v << 8 | *p++;
    }
    return v;
}

static void put_be(uint8_t *p, unsigned n, uint64_t v)
{
    while (n--) {
        p[n] = (uint8_t)v;
        v >>= 8;
    }
}

/* ---- commands ---- */

typedef struct Command {
    uint8_t cdb[16];
    int cdb_len;
    int dir; /* SCSI_XFER_* */
    uint32_t len;
    const struct iovec *iov;
    unsigned niov;
} Command;

static struct scsi_task *send_command(Iscsi *s, const Command *c, iscsi_command_cb cb, void *opaque)
{
    struct scsi_task *t =
        scsi_create_task(c->cdb_len, (unsigned char *)c->cdb, c->dir, (int)c->len);
    if (!t) {
        return NULL;
    }
    /* The library only reads the list, which has the shape of the system's. */
    struct scsi_iovec *iov = (struct scsi_iovec *)c->iov;
    if (c->dir == SCSI_XFER_READ) {
        scsi_task_set_iov_in(t, iov, (int)c->niov);
    } else if (c->dir == SCSI_XFER_WRITE) {
        scsi_task_set_iov_out(t, iov, (int)c->niov);
    }
    if (iscsi_scsi_command_async(s->ctx, s->lun, t, cb, NULL, opaque) != 0) {
        scsi_free_scsi_task(t);
        return NULL;
    }
    return t;
}

/* A command while connecting: nothing else is under way. */
typedef struct Probe {
    struct scsi_task *task;
    bool ended;
    int status;
    struct scsi_sense sense;
} Probe;

static void probe_ended(struct iscsi_context *ctx, int status, void *data, void *opaque)
{
    Probe *p = opaque;
    p->ended = true;
    p->status = status;
    if (p->task) {
        p->sense = p->task->sense;
    }
}

static bool probe_once(Iscsi *s, const Command *c, Probe *p)
{
    *p = (Probe){.status = SCSI_STATUS_ERROR};
    p->task = send_command(s, c, probe_ended, p);
    if (!p->task) {
        return false;
    }
    bool ok = link_wait(s->link, &p->ended, LOGIN_S);
    if (!p->ended) {
        /* It must not come back to what lies on this stack. */
        iscsi_destroy_context(s->ctx);
        s->ctx = NULL;
    }
    scsi_free_scsi_task(p->task);
    return ok && p->status == SCSI_STATUS_GOOD;
}

/* `buf` holds SMALL bytes; what the target does not send is zero. */
static bool probe(Iscsi *s, Command *c, uint8_t *buf)
{
    Probe p;
    struct iovec iov = {buf, c->len};
    c->iov = &iov;
    c->niov = 1;
    c->dir = SCSI_XFER_READ;
    for (unsigned i = 0; i < 5 && s->ctx; i++) {
        memset(buf, 0, SMALL);
        if (probe_once(s, c, &p)) {
            return true;
        }
        bool again = p.status == SCSI_STATUS_BUSY || (p.status == SCSI_STATUS_CHECK_CONDITION &&
                                                      p.sense.key == SCSI_SENSE_UNIT_ATTENTION);
        if (!again) {
            break;
        }
    }
    return false;
}

static bool inquiry(Iscsi *s, int page, uint8_t *buf)
{
    Command c = {.cdb = {CMD_INQUIRY, page >= 0, page >= 0 ? (uint8_t)page : 0, 0, SMALL - 1},
                 .cdb_len = 6,
                 .len = SMALL - 1};
    return probe(s, &c, buf);
}

static void command_capacity(Command *c, bool wide)
{
    *c = (Command){.dir = SCSI_XFER_READ};
    if (wide) {
        c->cdb[0] = CMD_SERVICE_IN_16;
        c->cdb[1] = SERVICE_READ_CAPACITY;
        c->cdb_len = 16;
        c->len = 32;
        put_be(c->cdb + 10, 4, c->len);
    } else {
        c->cdb[0] = CMD_READ_CAPACITY_10;
        c->cdb_len = 10;
        c->len = 8;
    }
}

/* The answer to READ CAPACITY: bytes, or 0 where it makes no sense. */
static uint64_t capacity(const uint8_t *b, bool wide, uint32_t *block)
{
    uint64_t last = be(b, wide ? 8 : 4);
    *block = (uint32_t)be(b + (wide ? 8 : 4), 4);
    if (*block < 512 || *block > 65536 || (*block & (*block - 1)) || last >= INT64_MAX / *block) {
        return 0;
    }
    return (last + 1) * *block;
}

/* The library's text, on one line. */
static void library_text(Iscsi *s, const char *what, char **why)
{
    g_autofree char *text = g_strdup(s->ctx ? iscsi_get_error(s->ctx) : "");
    g_strdelimit(text, "\r\n", ' ');
    g_strstrip(text);
    if (strstr(text, "reconnect")) { /* it only says that it does not try again */
        link_fail(why, "%s: the portal refuses connections, or closed it", what);
        return;
    }
    link_fail(why, "%s%s%s", what, *text ? ": " : "", text);
}

/* ---- what kind of unit it is ---- */

static void read_limits(Iscsi *s)
{
    uint8_t b[SMALL];
    if (inquiry(s, 0xb0, b) && b[1] == 0xb0) {
        uint32_t len = (uint32_t)be(b + 2, 2) + 4;
        s->max_transfer = len >= 12 ? be(b + 8, 4) : 0;
        s->opt_transfer = len >= 16 ? (uint32_t)be(b + 12, 4) : 0;
        s->max_unmap = len >= 24 ? be(b + 20, 4) : 0;
        s->unmap_unit = len >= 32 ? (uint32_t)be(b + 28, 4) : 0;
        s->max_same = len >= 44 ? be(b + 36, 8) : 0;
    }
    if (s->ctx && s->lbpme && inquiry(s, 0xb2, b) && b[1] == 0xb2 && be(b + 2, 2) >= 4) {
        s->unmap = b[5] & 0x80;
        s->same_unmap = b[5] & 0x40;
    }
}

static void read_mode(Iscsi *s)
{
    uint8_t b[SMALL];
    Command c = {
        .cdb = {CMD_MODE_SENSE_6, 0x08, 0x3f, 0, SMALL - 1}, .cdb_len = 6, .len = SMALL - 1};
    if (s->ctx && probe(s, &c, b)) {
        s->write_protected = b[2] & 0x80;
        s->fua = b[2] & 0x10;
    }
}

static bool read_kind(Iscsi *s, char **why)
{
    uint8_t b[SMALL];
    if (!inquiry(s, -1, b)) {
        library_text(s, "the unit does not tell what it is", why);
        return false;
    }
    unsigned type = b[0] & 0x1f;
    if (b[0] >> 5 || (type != 0 && type != 5)) {
        link_fail(why,
                  b[0] == 0x7f ? "the target has no unit %d"
                               : "unit %d is not a disk (SCSI type %u)",
                  s->lun, type);
        return false;
    }
    s->cdrom = type == 5;
    return true;
}

static bool read_size(Iscsi *s, char **why)
{
    uint8_t b[SMALL];
    Command c;
    command_capacity(&c, true);
    bool wide = !s->cdrom && probe(s, &c, b);
    if (!wide && s->ctx) {
        command_capacity(&c, false);
        if (!probe(s, &c, b)) {
            link_fail(why, "unit %d does not tell its size%s", s->lun,
                      s->cdrom ? ": there is no medium" : "");
            return false;
        }
    }
    uint32_t block = 0;
    uint64_t length = s->ctx ? capacity(b, wide, &block) : 0;
    if (!length) {
        link_fail(why, "the size of unit %d makes no sense", s->lun);
        return false;
    }
    if (s->known && (block != s->block || length < s->length || wide != s->wide)) {
        link_fail(why, "unit %d is not the same any more", s->lun);
        return false;
    }
    s->wide = wide;
    s->block = block;
    s->length = MAX(length, s->length);
    s->lbpme = wide && (b[14] & 0x80);
    s->lbprz = wide && (b[14] & 0x40);
    return true;
}

/* ---- the connection ---- */

static void forget(Iscsi *s)
{
    if (s->ctx) {
        struct iscsi_context *ctx = s->ctx;
        s->ctx = NULL;
        iscsi_destroy_context(ctx); /* which ends all commands as cancelled */
    }
}

/* A step of connecting. */
static void step_came(struct iscsi_context *ctx, int status, void *data, void *opaque)
{
    Iscsi *s = opaque;
    if (!s->step_ended) { /* called again when the connection breaks, which service() tells */
        s->step_ended = true;
        s->step_status = status;
    }
}

static bool prepare(Iscsi *s, char **why)
{
    static const enum iscsi_header_digest digests[] = {
        ISCSI_HEADER_DIGEST_CRC32C, ISCSI_HEADER_DIGEST_NONE, ISCSI_HEADER_DIGEST_CRC32C_NONE,
        ISCSI_HEADER_DIGEST_NONE_CRC32C};
    s->ctx = iscsi_create_context(s->initiator);
    if (!s->ctx) {
        link_fail(why, "no memory for a connection");
        return false;
    }
    iscsi_set_noautoreconnect(s->ctx, 1); /* link.c does it */
    if (iscsi_init_transport(s->ctx, s->iser ? ISER_TRANSPORT : TCP_TRANSPORT) ||
        iscsi_set_isid_random(s->ctx, s->isid, 0) || iscsi_set_targetname(s->ctx, s->target) ||
        iscsi_set_session_type(s->ctx, ISCSI_SESSION_NORMAL) ||
        iscsi_set_header_digest(s->ctx, digests[s->digest]) ||
        (s->user && iscsi_set_initiator_username_pwd(s->ctx, s->user, s->password))) {
        link_fail(why, "%s", iscsi_get_error(s->ctx));
        return false;
    }
    iscsi_set_tcp_syncnt(s->ctx, 3);
    return true;
}

/* The connection and the login; *moved: the target is elsewhere now. */
static bool log_in(Iscsi *s, const char *portal, char **moved, char **why)
{
    if (!prepare(s, why)) {
        return false;
    }
    s->step_ended = false;
    if (iscsi_connect_async(s->ctx, portal, step_came, s) != 0 ||
        !link_wait(s->link, &s->step_ended, LOGIN_S) || s->step_status != SCSI_STATUS_GOOD) {
        library_text(s, "no connection", why);
        return false;
    }
    s->step_ended = false;
    if (iscsi_login_async(s->ctx, step_came, s) != 0 ||
        !link_wait(s->link, &s->step_ended, LOGIN_S) || s->step_status != SCSI_STATUS_GOOD) {
        const char *address = s->step_ended && s->step_status == (int)SCSI_STATUS_REDIRECT
                                  ? iscsi_get_target_address(s->ctx)
                                  : NULL;
        *moved = address && *address ? g_strdup(address) : NULL;
        library_text(s, s->step_ended ? "the login failed" : "no login", why);
        return false;
    }
    return true;
}

/* Targets may send us on; not for ever. */
static bool find_target(Iscsi *s, char **why)
{
    g_autofree char *portal = g_strdup(s->portal);
    for (unsigned i = 0; i < MAX_REDIRECTS; i++) {
        char *moved = NULL;
        if (log_in(s, portal, &moved, why)) {
            return true;
        }
        forget(s);
        if (!moved) {
            break;
        }
        g_free(portal);
        portal = moved;
    }
    return false;
}

static bool iscsi_connect(void *opaque, Link *l, char **why)
{
    Iscsi *s = opaque;
    s->link = l;
    bool ok = find_target(s, why) && read_kind(s, why) && read_size(s, why);
    if (ok && !s->known) {
        read_limits(s);
        read_mode(s);
        s->known = true;
    }
    if (ok && !s->ctx) {
        link_fail(why, "the target does not answer");
        ok = false;
    }
    s->seconds = 0;
    if (!ok) {
        forget(s);
    }
    return ok;
}

static void goodbye_said(struct iscsi_context *ctx, int status, void *data, void *opaque)
{
    *(bool *)opaque = true;
}

static void iscsi_goodbye(void *opaque, Link *l)
{
    Iscsi *s = opaque;
    bool *said = g_new0(bool, 1);
    if (s->ctx && iscsi_logout_async(s->ctx, goodbye_said, said) == 0) {
        link_wait(l, said, 1);
    }
    forget(s);
    g_free(said);
}

static void iscsi_drop(void *opaque)
{
    forget(opaque);
}

static int iscsi_fd(void *opaque)
{
    Iscsi *s = opaque;
    return s->ctx ? iscsi_get_fd(s->ctx) : -1;
}

static int iscsi_events(void *opaque)
{
    Iscsi *s = opaque;
    return s->ctx ? iscsi_which_events(s->ctx) : 0;
}

static bool iscsi_serve(void *opaque, int revents)
{
    Iscsi *s = opaque;
    return s->ctx && iscsi_service(s->ctx, revents) == 0;
}

static bool iscsi_tick(void *opaque)
{
    Iscsi *s = opaque;
    if (!s->ctx) {
        return false;
    }
    if (++s->seconds % NOP_S) {
        return true;
    }
    return iscsi_get_nops_in_flight(s->ctx) < NOP_LOST &&
           iscsi_nop_out_async(s->ctx, NULL, NULL, 0, NULL) == 0;
}

static const char *iscsi_text(void *opaque)
{
    Iscsi *s = opaque;
    const char *text = s->ctx ? iscsi_get_error(s->ctx) : NULL;
    return text && !strstr(text, "reconnect") ? text : NULL;
}

/* ---- requests ---- */

static bool start(void *opaque, RemoteRequest *r);

typedef struct Task { /* RemoteRequest.priv */
    Iscsi *s;
    struct scsi_task *task;
    struct iovec iov;
    uint8_t small[SMALL];
    struct iovec *part; /* of a long transfer: the list for this step */
    uint64_t step_len;
} Task;

static void task_free(RemoteRequest *r)
{
    Task *t = r->priv;
    if (t) {
        if (t->task) {
            scsi_free_scsi_task(t->task);
        }
        g_free(t->part);
        g_free(t);
        r->priv = NULL;
    }
}

/* -errno for a sense key and code; 1: again; -ENOTSUP: the command is not known. */
static int sense_error(const struct scsi_sense *sense)
{
    switch ((int)sense->key) {
    case SCSI_SENSE_NO_SENSE:
    case SCSI_SENSE_RECOVERED_ERROR:
        return 0;
    case SCSI_SENSE_UNIT_ATTENTION:
    case SCSI_SENSE_COMMAND_ABORTED:
        return 1;
    case SCSI_SENSE_NOT_READY:
        return sense->ascq == 0x0401 ? 1 : sense->ascq >> 8 == 0x3a ? -ENOMEDIUM : -EIO;
    case SCSI_SENSE_ILLEGAL_REQUEST:
        return sense->ascq >> 8 == 0x20 || sense->ascq >> 8 == 0x24 || sense->ascq >> 8 == 0x26
                   ? -ENOTSUP
               : sense->ascq >> 8 == 0x21 ? -ENOSPC
                                          : -EINVAL;
    case SCSI_SENSE_DATA_PROTECTION:
        return sense->ascq == 0x2707 ? -ENOSPC : -EACCES;
    default:
        return -EIO;
    }
}

/* After a command the target does not know: what the request comes to. */
static int not_known(Iscsi *s, RemoteRequest *r)
{
    switch (r->op) {
    case REMOTE_FLUSH:
        return 0; /* no cache */
    case REMOTE_WRITE:
        return r->step ? 0 : -EIO;
    case REMOTE_DISCARD:
        s->no_unmap = true;
        return -ENOTSUP;
    case REMOTE_ZERO:
        if (r->step) {
            return 0;
        }
        s->no_same = true;
        return -ENOTSUP;
    case REMOTE_STATUS:
        s->no_status = true;
        return -ENOTSUP;
    default:
        return -EIO;
    }
}

/* GET LBA STATUS: eight bytes, then descriptors of sixteen. */
static int status_answer(Iscsi *s, RemoteRequest *r, const uint8_t *b)
{
    uint64_t first = be(b + 8, 8), blocks = be(b + 16, 4), at = r->off / s->block;
    if (be(b, 4) < 20 || first > at || at - first >= blocks) {
        return -EIO;
    }
    unsigned state = b[20] & 15;
    r->extent = (blocks - (at - first)) * s->block;
    r->state = state == 0 ? REMOTE_STATE_DATA : s->lbprz ? REMOTE_STATE_ZERO : REMOTE_STATE_DATA;
    return 0;
}

/* A command has done well: 0: the request has, too; 1: another is needed. */
static int step_done(Iscsi *s, RemoteRequest *r, Task *t)
{
    uint32_t block;
    switch (r->op) {
    case REMOTE_STATUS:
        return status_answer(s, r, t->small);
    case REMOTE_RESIZE:
        r->extent = capacity(t->small, s->wide, &block);
        if (!r->extent || block != s->block) {
            return -EIO;
        }
        s->length = r->extent;
        return 0;
    case REMOTE_FLUSH:
        return 0;
    default:
        break;
    }
    if (r->step) {
        return 0; /* the flush after it */
    }
    r->pos += t->step_len;
    if (r->pos < r->len) {
        return 1;
    }
    if ((r->flags & REMOTE_FUA) && (r->op == REMOTE_ZERO || !s->fua)) {
        r->step = 1;
        return 1;
    }
    return 0;
}

static void ended(struct iscsi_context *ctx, int status, void *data, void *opaque)
{
    RemoteRequest *r = opaque;
    Task *t = r->priv;
    Iscsi *s = t->s;
    int ret;
    switch (status) {
    case SCSI_STATUS_GOOD:
    case SCSI_STATUS_CONDITION_MET:
        ret = t->task->residual_status == SCSI_RESIDUAL_UNDERFLOW && t->task->residual &&
                      r->op == REMOTE_READ
                  ? -EIO
                  : step_done(s, r, t);
        break;
    case SCSI_STATUS_CHECK_CONDITION:
        ret = sense_error(&t->task->sense);
        if (ret == -ENOTSUP) {
            ret = not_known(s, r);
        } else if (ret == 1) {
            task_free(r);
            if (r->tries < MAX_RETRIES) {
                link_retry(s->link, r, r->tries < 5 ? 0 : 100);
            } else {
                link_finish(s->link, r, -EIO);
            }
            return;
        } else if (ret == 0) {
            ret = step_done(s, r, t);
        }
        break;
    case SCSI_STATUS_BUSY:
    case SCSI_STATUS_TASK_SET_FULL:
    case SCSI_STATUS_TASK_ABORTED:
        task_free(r);
        if (r->tries < MAX_RETRIES) {
            link_retry(s->link, r, 20 * MIN(r->tries + 1, 10));
        } else {
            link_finish(s->link, r, -EBUSY);
        }
        return;
    case SCSI_STATUS_RESERVATION_CONFLICT:
        ret = -EBUSY;
        break;
    default: /* the connection */
        task_free(r);
        link_lost(s->link, r);
        return;
    }
    task_free(r);
    if (ret == 1) {
        if (!s->ctx || !start(s, r)) {
            link_retry(s->link, r, 0);
        }
        return;
    }
    link_finish(s->link, r, ret);
}

/* A read or write of `blocks` at `lba`; 10-byte commands where the unit has no others. */
static void command_rw(Iscsi *s, Command *c, bool write, bool fua, uint64_t lba, uint32_t blocks)
{
    c->dir = write ? SCSI_XFER_WRITE : SCSI_XFER_READ;
    c->len = blocks * s->block;
    c->cdb[1] = fua ? 0x08 : 0;
    if (s->wide) {
        c->cdb[0] = write ? CMD_WRITE_16 : CMD_READ_16;
        c->cdb_len = 16;
        put_be(c->cdb + 2, 8, lba);
        put_be(c->cdb + 10, 4, blocks);
    } else {
        c->cdb[0] = write ? CMD_WRITE_10 : CMD_READ_10;
        c->cdb_len = 10;
        put_be(c->cdb + 2, 4, lba);
        put_be(c->cdb + 7, 2, blocks);
    }
}

/* The part of the request's memory that begins at r->pos and has `len` bytes. */
static void take_part(RemoteRequest *r, Task *t, Command *c, uint64_t len)
{
    uint64_t skip = r->pos;
    c->iov = r->iov;
    c->niov = r->niov;
    if (!skip && len == r->len) {
        return;
    }
    t->part = g_new(struct iovec, r->niov);
    unsigned n = 0;
    for (unsigned i = 0; i < r->niov && len; i++) {
        struct iovec v = r->iov[i];
        if (skip >= v.iov_len) {
            skip -= v.iov_len;
            continue;
        }
        v.iov_base = (char *)v.iov_base + skip;
        v.iov_len = (size_t)MIN(v.iov_len - skip, len);
        skip = 0;
        len -= v.iov_len;
        t->part[n++] = v;
    }
    c->iov = t->part;
    c->niov = n;
}

static uint64_t transfer_limit(const Iscsi *s)
{
    uint64_t blocks = s->wide ? MAX_LUN_TRANSFER / s->block : 0xffff;
    return s->max_transfer ? MIN(s->max_transfer, blocks) : blocks;
}

static void make_rw(Iscsi *s, RemoteRequest *r, Task *t, Command *c)
{
    uint64_t blocks = MIN((r->len - r->pos) / s->block, transfer_limit(s));
    bool write = r->op == REMOTE_WRITE;
    t->step_len = blocks * s->block;
    command_rw(s, c, write, write && (r->flags & REMOTE_FUA) && s->fua,
               (r->off + r->pos) / s->block, (uint32_t)blocks);
    take_part(r, t, c, t->step_len);
    if (!write) { /* what a target leaves out must not be what this memory held before */
        for (unsigned i = 0; i < c->niov; i++) {
            memset(c->iov[i].iov_base, 0, c->iov[i].iov_len);
        }
    }
}

static void make_small(Task *t, Command *c, uint32_t len, int dir)
{
    t->iov = (struct iovec){t->small, len};
    c->iov = &t->iov;
    c->niov = 1;
    c->len = len;
    c->dir = dir;
}

static void make_unmap(Iscsi *s, RemoteRequest *r, Task *t, Command *c)
{
    uint64_t limit = MAX_UNMAP_BYTES / s->block;
    limit = s->max_unmap ? MIN(s->max_unmap, limit) : limit;
    uint64_t blocks = MIN((r->len - r->pos) / s->block, limit);
    t->step_len = blocks * s->block;
    make_small(t, c, 24, SCSI_XFER_WRITE);
    put_be(t->small, 2, 22);
    put_be(t->small + 2, 2, 16);
    put_be(t->small + 8, 8, (r->off + r->pos) / s->block);
    put_be(t->small + 16, 4, blocks);
    c->cdb[0] = CMD_UNMAP;
    put_be(c->cdb + 7, 2, 24);
    c->cdb_len = 10;
}

static void make_same(Iscsi *s, RemoteRequest *r, Task *t, Command *c)
{
    uint64_t limit = MAX_SAME_BYTES / s->block;
    limit = s->max_same ? MIN(s->max_same, limit) : limit;
    limit = s->wide ? limit : MIN(limit, 0xffff);
    uint64_t blocks = MIN((r->len - r->pos) / s->block, limit);
    uint64_t lba = (r->off + r->pos) / s->block;
    bool unmap = (r->flags & REMOTE_MAY_UNMAP) && s->same_unmap && s->lbprz;
    t->step_len = blocks * s->block;
    t->iov = (struct iovec){s->zeroes, s->block};
    c->iov = &t->iov;
    c->niov = 1;
    c->len = s->block;
    c->dir = SCSI_XFER_WRITE;
    c->cdb[0] = s->wide ? CMD_WRITE_SAME_16 : CMD_WRITE_SAME_10;
    c->cdb[1] = unmap ? 0x08 : 0;
    c->cdb_len = s->wide ? 16 : 10;
    put_be(c->cdb + 2, s->wide ? 8 : 4, lba);
    put_be(c->cdb + (s->wide ? 10 : 7), s->wide ? 4 : 2, blocks);
}

/* False: the target is known not to have the command. */
static bool make_command(Iscsi *s, RemoteRequest *r, Task *t, Command *c)
{
    if (r->op == REMOTE_FLUSH || r->step) {
        c->cdb[0] = CMD_SYNC_CACHE_10;
        c->cdb_len = 10;
        c->dir = SCSI_XFER_NONE;
        return true;
    }
    switch (r->op) {
    case REMOTE_READ:
    case REMOTE_WRITE:
        make_rw(s, r, t, c);
        return true;
    case REMOTE_DISCARD:
        make_unmap(s, r, t, c);
        return !s->no_unmap;
    case REMOTE_ZERO:
        make_same(s, r, t, c);
        return !s->no_same;
    case REMOTE_STATUS:
        make_small(t, c, SMALL, SCSI_XFER_READ);
        c->cdb[0] = CMD_SERVICE_IN_16;
        c->cdb[1] = SERVICE_GET_LBA_STATUS;
        c->cdb_len = 16;
        put_be(c->cdb + 2, 8, r->off / s->block);
        put_be(c->cdb + 10, 4, c->len);
        return !s->no_status;
    case REMOTE_RESIZE:
        command_capacity(c, s->wide);
        make_small(t, c, c->len, SCSI_XFER_READ);
        return true;
    default:
        g_assert_not_reached();
    }
}

static bool start(void *opaque, RemoteRequest *r)
{
    Iscsi *s = opaque;
    Command c = {0};
    Task *t = g_new0(Task, 1);
    t->s = s;
    r->priv = t;
    if (!make_command(s, r, t, &c)) {
        task_free(r);
        link_finish(s->link, r, -ENOTSUP);
        return true;
    }
    t->task = send_command(s, &c, ended, r);
    if (!t->task) {
        task_free(r);
        return false;
    }
    return true;
}

/* ---- the disk ---- */

static const LinkDriver iscsi_link = {
    .connect = iscsi_connect,
    .goodbye = iscsi_goodbye,
    .drop = iscsi_drop,
    .start = start,
    .fd = iscsi_fd,
    .events = iscsi_events,
    .service = iscsi_serve,
    .tick = iscsi_tick,
    .error = iscsi_text,
};

static void iscsi_free(Iscsi *s)
{
    g_free(s->portal);
    g_free(s->target);
    g_free(s->initiator);
    g_free(s->user);
    g_free(s->password);
    g_free(s->zeroes);
    g_free(s);
}

static void disk_close(void *opaque)
{
    Iscsi *s = opaque;
    link_free(s->link);
    iscsi_free(s);
}

static uint32_t power_of_two(uint64_t bytes)
{
    return bytes && bytes <= 64u << 20 && !(bytes & (bytes - 1)) ? (uint32_t)bytes : 0;
}

static void *disk_open(const void *opaque, const RemoteHost *host, RemoteInfo *info, char **why)
{
    const IscsiSpec *spec = opaque;
    Iscsi *s = g_new0(Iscsi, 1);
    s->portal = g_strdup(spec->portal);
    s->target = g_strdup(spec->target);
    s->initiator = g_strdup(spec->initiator);
    s->user = g_strdup(spec->user);
    s->password = g_strdup(spec->password ? spec->password : "");
    s->lun = (int)spec->lun;
    s->iser = spec->iser;
    s->digest = spec->digest;
    s->read_only = spec->read_only;
    s->host = host;
    s->isid = g_random_int() & 0xffffff;
    char *text = NULL;
    Link *l = link_new(&iscsi_link, s, host, spec->timeout_s, &text);
    if (!l) {
        link_fail(why, "cannot open '%s': %s", host->what, text);
        g_free(text);
        iscsi_free(s);
        return NULL;
    }
    s->zeroes = g_malloc0(s->block);
    *info = (RemoteInfo){
        .length = s->length,
        .block = s->block,
        .discard_align = power_of_two((uint64_t)s->unmap_unit * s->block),
        .opt_io = power_of_two((uint64_t)s->opt_transfer * s->block),
        .max_transfer = MAX_LUN_TRANSFER, /* more than a command takes is split here */
        .read_only = s->cdrom || s->write_protected,
        .discard = s->unmap,
        .zero = !s->cdrom,
        .status = s->lbpme,
    };
    return s;
}

static void disk_submit(void *opaque, RemoteRequest *r)
{
    link_submit(((Iscsi *)opaque)->link, r);
}

MODULE_TABLE(RemoteModule) = {
    .head = {RHEA_VERSION},
    .open = disk_open,
    .submit = disk_submit,
    .close = disk_close,
};
