/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Native command queueing. */
#include "hw/ide/ahci.h"
#include "util/log.h"
#include "util/trace.h"

#include <errno.h>

TRACE_EVENT(ahci_ncq, "port %u tag %u: %s lba %" G_GUINT64_FORMAT " sectors %u")

#define MAX_SECTORS 2048u /* of one request */

typedef struct NcqIo {
    AhciPort *p;
    IdeDrive *d;
    unsigned tag, generation;
    uint32_t sectors;
    IdeSg sg;
} NcqIo;

static void ncq_run(AhciPort *p, unsigned tag);

/* Set Device Bits: the tags in `done` have ended; or an error has. */
static void send_sdb(AhciPort *p, uint32_t done, uint8_t status, uint8_t error)
{
    uint8_t fis[8] = {0xa1, 0x40, status & 0x77, error};
    st_le32(fis + 4, done);
    ahci_write_fis(p, 0x58, fis, sizeof(fis));
    p->sact &= ~done;
    p->tfd = (p->tfd & ~0xff77u) | (uint32_t)error << 8 | (status & 0x77u);
    ahci_port_event(p, AHCI_IS_SDBS | (status & IDE_ERR ? AHCI_IS_TFES : 0));
}

static void ncq_error(AhciPort *p, uint8_t error)
{
    IdeDrive *d = ahci_drive(p);
    /* The drive ends all of its queue with the first error. */
    ahci_ncq_cancel(p);
    if (d) {
        d->error = error;
        d->status = IDE_DRDY | IDE_DSC | IDE_ERR;
    }
    ahci_port_halt(p);
    send_sdb(p, 0, IDE_DRDY | IDE_DSC | IDE_ERR, error);
}

/* true: the error counts as none. */
static bool ncq_failed(AhciPort *p, IdeDrive *d, unsigned tag, int result)
{
    AhciNcq *c = &p->ncq[tag];
    switch (blk_error_action(d->blk, !c->write, -result)) {
    case BLK_ERROR_IGNORE:
        return true;
    case BLK_ERROR_STOP:
        c->prd = c->before;
        c->retry = true;
        break;
    case BLK_ERROR_REPORT:
        ncq_error(p, c->write ? IDE_E_ABRT : IDE_E_UNC);
        break;
    }
    return false;
}

static void ncq_done(void *opaque, int result)
{
    NcqIo *io = opaque;
    AhciPort *p = io->p;
    AhciNcq *c = &p->ncq[io->tag];
    ide_sg_free(&io->sg); /* the data are in place before the guest is told */
    io->d->in_flight--;
    if (io->generation == p->generation && (result == 0 || ncq_failed(p, io->d, io->tag, result))) {
        c->lba += io->sectors;
        c->left -= io->sectors;
        ncq_run(p, io->tag);
    }
    g_free(io);
}

static void ncq_run(AhciPort *p, unsigned tag)
{
    AhciNcq *c = &p->ncq[tag];
    IdeDrive *d = ahci_drive(p);
    if (!d) {
        return;
    }
    if (!c->left) {
        c->used = false;
        send_sdb(p, 1u << tag, IDE_DRDY | IDE_DSC, 0);
        return;
    }
    NcqIo *io = g_new0(NcqIo, 1);
    *io = (NcqIo){.p = p, .d = d, .tag = tag, .generation = p->generation};
    ide_sg_init(&io->sg, ahci_as(p));
    c->before = c->prd;
    uint64_t want = (uint64_t)MIN(c->left, MAX_SECTORS) * IDE_SECTOR;
    bool ok = ahci_prd_take(p, &c->prd, &io->sg, want);
    io->sectors = (uint32_t)(io->sg.size / IDE_SECTOR);
    if (!ok || !io->sectors || io->sg.size % IDE_SECTOR || !ide_sg_map(&io->sg, !c->write)) {
        guest_error(d->name, "the buffers of tag %u are too short or unreadable", tag);
        ide_sg_free(&io->sg);
        g_free(io);
        ahci_port_event(p, AHCI_IS_OFS);
        ncq_error(p, IDE_E_ABRT);
        return;
    }
    d->in_flight++;
    if (c->write) {
        blk_aio_pwritev(d->blk, c->lba * IDE_SECTOR, &io->sg.v, c->fua ? BLK_FUA : 0, ncq_done, io);
    } else {
        blk_aio_preadv(d->blk, c->lba * IDE_SECTOR, &io->sg.v, ncq_done, io);
    }
}

void ahci_ncq_start(AhciPort *p, unsigned slot, const uint8_t fis[20], const AhciCursor *prd)
{
    IdeDrive *d = ahci_drive(p);
    unsigned tag = fis[12] >> 3;
    AhciNcq *c = &p->ncq[tag];
    uint64_t lba = fis[4] | (uint64_t)fis[5] << 8 | (uint64_t)fis[6] << 16 |
                   (uint64_t)fis[8] << 24 | (uint64_t)fis[9] << 32 | (uint64_t)fis[10] << 40;
    uint32_t n = fis[3] | (uint32_t)fis[11] << 8;
    n = n ? n : 65536;
    p->ci &= ~(1u << slot); /* accepted: the slot is free, the tag is in PxSACT */
    p->tfd = IDE_DRDY | IDE_DSC;
    if (c->used) {
        guest_error(d->name, "tag %u is in use", tag);
        ncq_error(p, IDE_E_ABRT);
        return;
    }
    if (d->is_cd || lba >= d->sectors || n > d->sectors - lba ||
        (fis[2] == 0x61 && !blk_writable(d->blk))) {
        ncq_error(p, IDE_E_ABRT | (d->is_cd ? 0 : IDE_E_IDNF));
        return;
    }
    *c = (AhciNcq){.used = true,
                   .write = fis[2] == 0x61,
                   .fua = fis[7] & 0x80,
                   .slot = (uint8_t)slot,
                   .lba = lba,
                   .left = n,
                   .prd = *prd,
                   .before = *prd};
    trace(ahci_ncq, p->n, tag, c->write ? "write" : "read", (guint64)lba, n);
    ncq_run(p, tag);
}

void ahci_ncq_cancel(AhciPort *p)
{
    p->generation++;
    memset(p->ncq, 0, sizeof(p->ncq));
}

void ahci_ncq_retry(AhciPort *p)
{
    for (unsigned tag = 0; tag < AHCI_SLOTS; tag++) {
        if (p->ncq[tag].used && p->ncq[tag].retry) {
            p->ncq[tag].retry = false;
            ncq_run(p, tag);
        }
    }
}

static const StateField cursor_fields[] = {
    STATE_F_UINT(AhciCursor, table),
    STATE_F_UINT_MAX(AhciCursor, length, 65535),
    STATE_F_UINT_MAX(AhciCursor, next, 65535),
    STATE_F_UINT(AhciCursor, addr),
    STATE_F_UINT_MAX(AhciCursor, left, 4u << 20),
    {0},
};
const StateDesc ahci_cursor_state = {.name = "ahci-cursor", .version = 1, .fields = cursor_fields};

static const StateField ncq_fields[] = {
    STATE_F_BOOL(AhciNcq, used),
    STATE_F_BOOL(AhciNcq, write),
    STATE_F_BOOL(AhciNcq, fua),
    STATE_F_BOOL(AhciNcq, retry),
    STATE_F_UINT_MAX(AhciNcq, slot, AHCI_SLOTS - 1),
    STATE_F_UINT_MAX(AhciNcq, lba, (1ull << 48) - 1),
    STATE_F_UINT_MAX(AhciNcq, left, 65536),
    STATE_F_STRUCT(AhciNcq, prd, ahci_cursor_state),
    STATE_F_STRUCT(AhciNcq, before, ahci_cursor_state),
    {0},
};
const StateDesc ahci_ncq_state = {.name = "ahci-ncq", .version = 1, .fields = ncq_fields};
