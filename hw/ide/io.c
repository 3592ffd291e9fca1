/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of a drive to its image, and the work that consists of them. */
#include "hw/ide/ide.h"
#include "util/log.h"

#include <errno.h>

/* One request moves at most this much. */
#define MAX_SECTORS 2048u

IdeIo *ide_io_new(IdeDrive *d, void (*done)(IdeIo *io, int result))
{
    IdeIo *io = g_new0(IdeIo, 1);
    io->d = d;
    io->generation = d->generation;
    io->done = done;
    return io;
}

void ide_io_buffer(IdeIo *io, size_t len)
{
    io->buf = g_malloc0(len);
    io->one = (struct iovec){io->buf, len};
    io->v = (IoVec){.iov = &io->one, .n = 1, .size = len};
}

void ide_io_free(IdeIo *io)
{
    if (io->has_sg) {
        ide_sg_free(&io->sg);
    }
    g_free(io->buf);
    g_free(io);
}

static void io_done(void *opaque, int result)
{
    IdeIo *io = opaque;
    IdeDrive *d = io->d;
    d->in_flight--;
    if (io->generation == d->generation) {
        io->done(io, result);
    }
    ide_io_free(io);
}

static const IoVec *io_vec(IdeIo *io)
{
    return io->has_sg ? &io->sg.v : &io->v;
}

void ide_io_read(IdeIo *io, uint64_t off)
{
    io->d->in_flight++;
    blk_aio_preadv(io->d->blk, off, io_vec(io), io_done, io);
}

void ide_io_write(IdeIo *io, uint64_t off, bool fua)
{
    io->d->in_flight++;
    blk_aio_pwritev(io->d->blk, off, io_vec(io), fua ? BLK_FUA : 0, io_done, io);
}

void ide_io_flush(IdeIo *io)
{
    io->d->in_flight++;
    blk_aio_flush(io->d->blk, io_done, io);
}

void ide_io_discard(IdeIo *io, uint64_t off, uint64_t len)
{
    io->d->in_flight++;
    blk_aio_discard(io->d->blk, off, len, io_done, io);
}

/* Do its requests go straight to or from the guest's buffers? */
static bool takes_chunks(int work)
{
    return work == IDE_WORK_DMA_READ || work == IDE_WORK_DMA_WRITE || work == IDE_WORK_CD_DMA;
}

bool ide_io_failed(IdeDrive *d, bool is_read, int result)
{
    switch (blk_error_action(d->blk, is_read, -result)) {
    case BLK_ERROR_IGNORE:
        return true;
    case BLK_ERROR_STOP:
        if (takes_chunks(d->work)) {
            d->ch->ops->dma_untake(d->ch->host);
        }
        d->retry = true;
        return false;
    case BLK_ERROR_REPORT:
        break;
    }
    if (takes_chunks(d->work) || d->work == IDE_WORK_TRIM) {
        d->ch->ops->dma_end(d->ch->host, true);
    }
    if (d->is_cd) {
        if (result == -ENOMEDIUM) {
            atapi_check(d, 2, 0x3a, 0); /* not ready: medium not present */
        } else {
            atapi_check(d, 3, 0x11, 0); /* medium error: unrecovered read error */
        }
    } else {
        if (d->work != IDE_WORK_FLUSH) {
            ide_set_lba(d, d->lba);
        }
        ide_fail(d, is_read ? IDE_E_UNC : result == -EIO ? IDE_E_IDNF : IDE_E_ABRT);
    }
    return false;
}

void ide_drive_retry(IdeDrive *d)
{
    if (d->retry) {
        d->retry = false;
        ide_work_run(d);
    }
}

/* ---- PIO ---- */

/* The next block of what has been read goes to the guest. */
static void offer_block(IdeDrive *d)
{
    uint32_t n = MIN(d->chunk, d->ahead), at = d->ahead_pos;
    d->ahead -= n;
    d->ahead_pos += n * IDE_SECTOR;
    d->lba += n;
    d->left -= n;
    ide_set_lba(d, d->lba);
    ide_data_phase_at(d, IDE_PHASE_READ, at, n * IDE_SECTOR, true);
}

void ide_pio_read_next(IdeDrive *d)
{
    if (d->ahead) {
        offer_block(d);
    } else {
        ide_work_start(d, IDE_WORK_PIO_READ);
    }
}

static void pio_read_done(IdeIo *io, int result)
{
    IdeDrive *d = io->d;
    if (result < 0 && !ide_io_failed(d, true, result)) {
        return;
    }
    d->work = IDE_WORK_NONE;
    memcpy(d->buf, io->buf, io->sectors * IDE_SECTOR);
    d->ahead = io->sectors;
    d->ahead_pos = 0;
    offer_block(d);
}

static void pio_read(IdeDrive *d)
{
    IdeIo *io = ide_io_new(d, pio_read_done);
    /* Firmware reads sector by sector: one request serves many blocks.  A host without a data
     * register takes each block at once, within the call: there, one block at a time. */
    uint32_t most = d->ch->ops->pio ? d->chunk : IDE_BUFFER / IDE_SECTOR;
    io->sectors = MIN(most, d->left);
    ide_io_buffer(io, io->sectors * IDE_SECTOR);
    ide_io_read(io, d->lba * IDE_SECTOR);
}

static void pio_write_done(IdeIo *io, int result)
{
    IdeDrive *d = io->d;
    if (result < 0 && !ide_io_failed(d, false, result)) {
        return;
    }
    d->work = IDE_WORK_NONE;
    d->lba += io->sectors;
    d->left -= io->sectors;
    ide_set_lba(d, d->lba);
    if (!d->left) {
        ide_ok(d);
        return;
    }
    d->chunk = MIN(d->chunk, d->left);
    ide_data_phase(d, IDE_PHASE_WRITE, d->chunk * IDE_SECTOR, true);
}

static void pio_write(IdeDrive *d)
{
    IdeIo *io = ide_io_new(d, pio_write_done);
    io->sectors = d->chunk;
    ide_io_buffer(io, io->sectors * IDE_SECTOR);
    memcpy(io->buf, d->buf, io->sectors * IDE_SECTOR);
    ide_io_write(io, d->lba * IDE_SECTOR, d->fua);
}

/* ---- DMA ---- */

static void dma_finish(IdeDrive *d)
{
    d->work = IDE_WORK_NONE;
    d->ch->ops->dma_end(d->ch->host, false);
    ide_ok(d);
}

static void dma_error(IdeDrive *d)
{
    d->ch->ops->dma_end(d->ch->host, true);
    ide_fail(d, IDE_E_ABRT);
}

static void dma_chunk_done(IdeIo *io, int result)
{
    IdeDrive *d = io->d;
    bool read = d->work == IDE_WORK_DMA_READ;
    if (result < 0 && !ide_io_failed(d, read, result)) {
        return;
    }
    d->lba += io->sectors;
    d->left -= io->sectors;
    ide_set_lba(d, d->lba);
    /* The data must be in the guest's memory before it is told so. */
    ide_sg_free(&io->sg);
    io->has_sg = false;
    ide_work_run(d);
}

/* The next piece of the guest's buffer, whole sectors. */
static bool take_chunk(IdeDrive *d, IdeIo *io)
{
    ide_sg_init(&io->sg, d->ch->ops->dma_as(d->ch->host));
    io->has_sg = true;
    uint64_t want = (uint64_t)MIN(d->left, MAX_SECTORS) * IDE_SECTOR;
    if (!d->ch->ops->dma_take(d->ch->host, &io->sg, want)) {
        return false;
    }
    io->sectors = (uint32_t)(io->sg.size / IDE_SECTOR);
    return true;
}

static void dma_transfer(IdeDrive *d)
{
    bool read = d->work == IDE_WORK_DMA_READ;
    if (!d->left) {
        dma_finish(d);
        return;
    }
    IdeIo *io = ide_io_new(d, dma_chunk_done);
    /* A list that is too short, or ends within a sector: the drive keeps waiting for room. */
    if (!take_chunk(d, io) || !io->sectors || io->sg.size % IDE_SECTOR ||
        !ide_sg_map(&io->sg, read)) {
        guest_error(d->name, "the list of DMA buffers is too short or unreadable");
        ide_io_free(io);
        dma_error(d);
        return;
    }
    if (read) {
        ide_io_read(io, d->lba * IDE_SECTOR);
    } else {
        ide_io_write(io, d->lba * IDE_SECTOR, d->fua);
    }
}

/* ---- TRIM: blocks of 64 ranges of 48-bit LBA and 16-bit count ---- */

static void trim_next(IdeDrive *d);

static void trim_done(IdeIo *io, int result)
{
    IdeDrive *d = io->d;
    if (result < 0 && !ide_io_failed(d, false, result)) {
        return;
    }
    trim_next(d);
}

/* The ranges lie in the buffer; data_pos says which one is next. */
static void trim_next(IdeDrive *d)
{
    while (d->data_pos + 8 <= d->data_end) {
        uint64_t e = ld_le64(d->buf + d->data_pos);
        uint64_t lba = e & 0xffffffffffffull, n = e >> 48;
        d->data_pos += 8;
        if (!n) {
            continue;
        }
        if (lba >= d->sectors || n > d->sectors - lba) {
            d->ch->ops->dma_end(d->ch->host, true);
            ide_fail(d, IDE_E_ABRT);
            return;
        }
        ide_io_discard(ide_io_new(d, trim_done), lba * IDE_SECTOR, n * IDE_SECTOR);
        return;
    }
    if (d->left) {
        ide_work_run(d);
    } else {
        dma_finish(d);
    }
}

static void trim(IdeDrive *d)
{
    IdeSg sg;
    if (d->data_pos < d->data_end) {
        d->data_pos -= 8; /* the range that failed before the machine stopped */
        trim_next(d);
        return;
    }
    uint32_t now = MIN(d->left, IDE_BUFFER / IDE_SECTOR);
    ide_sg_init(&sg, d->ch->ops->dma_as(d->ch->host));
    bool ok = d->ch->ops->dma_take(d->ch->host, &sg, now * IDE_SECTOR) &&
              sg.size == now * IDE_SECTOR && ide_sg_copy(&sg, 0, d->buf, now * IDE_SECTOR, false);
    ide_sg_free(&sg);
    if (!ok) {
        dma_error(d);
        return;
    }
    d->left -= now;
    d->data_pos = 0;
    d->data_end = now * IDE_SECTOR;
    trim_next(d);
}

/* ---- flush, verify ---- */

static void flush_done(IdeIo *io, int result)
{
    if (result == 0 || ide_io_failed(io->d, false, result)) {
        io->d->work = IDE_WORK_NONE;
        ide_ok(io->d);
    }
}

static void verify_done(IdeIo *io, int result)
{
    IdeDrive *d = io->d;
    if (result < 0 && !ide_io_failed(d, true, result)) {
        return;
    }
    d->lba += io->sectors;
    d->left -= io->sectors;
    ide_work_run(d);
}

static void verify(IdeDrive *d)
{
    if (!d->left) {
        d->work = IDE_WORK_NONE;
        ide_ok(d);
        return;
    }
    IdeIo *io = ide_io_new(d, verify_done);
    io->sectors = MIN(d->left, 256u);
    ide_io_buffer(io, io->sectors * IDE_SECTOR);
    ide_io_read(io, d->lba * IDE_SECTOR);
}

/* ---- ---- */

static bool needs_host(int work)
{
    return takes_chunks(work) || work == IDE_WORK_TRIM || work == IDE_WORK_CD_REPLY;
}

void ide_work_start(IdeDrive *d, IdeWork work)
{
    d->work = work;
    d->status = IDE_BSY | IDE_DSC | IDE_DRDY;
    if (!needs_host(work)) {
        ide_work_run(d);
        return;
    }
    d->status = IDE_BSY | IDE_DRDY | IDE_DSC | IDE_DRQ;
    d->dma_wanted = true;
    d->ch->ops->dma_request(d->ch->host);
}

void ide_dma_run(IdeChannel *ch)
{
    IdeDrive *d = ide_selected(ch);
    if (d && d->dma_wanted) {
        d->dma_wanted = false;
        ide_work_run(d);
    }
}

void ide_work_run(IdeDrive *d)
{
    switch ((IdeWork)d->work) {
    case IDE_WORK_NONE:
        break;
    case IDE_WORK_PIO_READ:
        pio_read(d);
        break;
    case IDE_WORK_PIO_WRITE:
        pio_write(d);
        break;
    case IDE_WORK_DMA_READ:
    case IDE_WORK_DMA_WRITE:
        dma_transfer(d);
        break;
    case IDE_WORK_TRIM:
        trim(d);
        break;
    case IDE_WORK_FLUSH:
        ide_io_flush(ide_io_new(d, flush_done));
        break;
    case IDE_WORK_VERIFY:
        verify(d);
        break;
    case IDE_WORK_CD_READ:
    case IDE_WORK_CD_DMA:
    case IDE_WORK_CD_REPLY:
        atapi_run(d);
        break;
    }
}
