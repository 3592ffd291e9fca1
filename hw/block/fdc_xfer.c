/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Execution phases that move data: sector by sector between the image and the
 * buffer, and from there by DMA or through the FIFO.
 *
 *   READ:   image -> buf -> host, next sector …
 *   WRITE:  host -> buf -> image, next sector …
 *   SCAN:   image -> buf, the host's bytes are compared with it
 *   FORMAT: host -> 4 ID bytes; the filler is written to that sector
 *
 * One request of the block layer is under way at most; a reset drops its outcome.
 */
#include "hw/block/fdc_int.h"

#include <string.h>

TRACE_EVENT(fdc_transfer, "unit %u kind %d C%u H%u R%u N%u eot %u dma %d")
TRACE_EVENT(fdc_sector, "unit %u C%u H%u R%u lba %llu")
TRACE_EVENT(fdc_end, "st0 0x%02x st1 0x%02x st2 0x%02x C%u H%u R%u")

static void start_io(IsaFdc *s);

bool fdc_to_host(const IsaFdc *s)
{
    return s->transfer == FDC_READ || s->transfer == FDC_READ_TRACK;
}

bool fdc_pio_ready(const IsaFdc *s)
{
    return s->phase == FDC_PHASE_EXECUTION && !s->dma_mode && s->pos < s->len;
}

/* The ID that the result phase shows: of the sector after the last one. */
static void next_id(IsaFdc *s)
{
    if (s->r != s->eot) {
        s->r++;
        return;
    }
    s->r = 1;
    if (!s->multi_track) {
        s->c++;
    } else {
        if (s->head) {
            s->c++;
        }
        s->h ^= 1;
    }
}

static void end_transfer(IsaFdc *s, uint8_t code)
{
    uint8_t *r = s->fifo;

    if (s->dma_mode && s->dma) {
        s->dma->ops->release_dreq(s->dma, (int)s->dma_channel);
    }
    r[0] = (uint8_t)(code | s->head << 2 | s->unit);
    r[1] = s->st1;
    r[2] = s->st2;
    r[3] = s->c;
    r[4] = s->h;
    r[5] = s->r;
    r[6] = s->n;
    trace(fdc_end, r[0], r[1], r[2], r[3], r[4], r[5]);
    s->transfer = FDC_NONE;
    s->pos = s->len = 0;
    fdc_result(s, 7, true);
}

static void fail(IsaFdc *s, uint8_t st1, uint8_t st2)
{
    s->st1 |= st1;
    s->st2 |= st2;
    end_transfer(s, ST0_ABNORMAL);
}

/* Bytes can move: wakes the DMA controller or the host. */
static void offer(IsaFdc *s)
{
    if (!s->dma_mode) {
        fdc_raise(s);
    } else if (s->dma && (s->dor & DOR_DMA_GATE)) {
        s->dma->ops->hold_dreq(s->dma, (int)s->dma_channel);
        s->dma->ops->schedule(s->dma);
    }
}

/* The sector in s->r under s->head; -1 and `st1` set if the medium has none such. */
static int64_t locate(IsaFdc *s, const Floppy *f)
{
    uint64_t lba;

    if (s->n != 2 || s->r == 0 || s->r > f->sectors || s->h != s->head || s->head >= f->heads ||
        s->c >= f->tracks) {
        s->st1 |= s->head >= f->heads ? ST1_MA : ST1_ND;
        return -1;
    }
    if (!floppy_at(f, s->c)) {
        s->st1 |= ST1_ND;
        s->st2 |= ST2_WRONG_CYLINDER;
        return -1;
    }
    lba = ((uint64_t)s->c * f->heads + s->head) * f->sectors + s->r - 1;
    trace(fdc_sector, s->unit, s->c, s->h, s->r, (unsigned long long)lba);
    if ((int64_t)((lba + 1) * BLOCK_SECTOR) > blk_length(f->blk)) {
        s->st1 |= ST1_ND; /* beyond the end of a truncated image */
        return -1;
    }
    return (int64_t)lba;
}

/* Prepares the buffer for the sector that is to come from the host. */
static void want_from_host(IsaFdc *s)
{
    s->pos = 0;
    s->len = s->transfer == FDC_FORMAT ? 4 : BLOCK_SECTOR;
    offer(s);
}

/* One sector is done with: the next one, or the end. */
static void advance(IsaFdc *s)
{
    s->pos = s->len = 0;
    if (s->transfer == FDC_VERIFY && s->to_end && --s->remaining == 0) {
        s->tc = true;
    }
    if (s->transfer == FDC_READ && s->deleted) {
        s->st2 |= ST2_CONTROL_MARK; /* not the kind of sector that was asked for */
        s->tc = true;
    }
    if (s->tc || (s->transfer == FDC_SCAN && s->scan_hit)) {
        next_id(s);
        end_transfer(s, 0);
        return;
    }
    if (s->r == s->eot) {
        if (!s->multi_track || s->head || s->transfer == FDC_READ_TRACK) {
            next_id(s);
            if (s->transfer == FDC_SCAN) {
                s->st2 |= ST2_SCAN_FAILED;
                end_transfer(s, 0);
            } else {
                fail(s, s->transfer == FDC_VERIFY && !s->to_end ? 0 : ST1_EN, 0);
            }
            return;
        }
        s->head = s->h = 1;
        s->r = 1;
    } else {
        s->r++;
    }
    if (s->transfer == FDC_WRITE) {
        want_from_host(s);
    } else {
        start_io(s);
    }
}

static void format_advance(IsaFdc *s)
{
    s->pos = s->len = 0;
    if (--s->remaining == 0 || s->tc) {
        end_transfer(s, 0);
    } else {
        want_from_host(s);
    }
}

/* ---- the block layer ---- */

static void io_done(void *opaque, int result)
{
    IsaFdc *s = opaque;

    s->io_busy = false;
    s->io_req = NULL;
    if (s->io_dropped) {
        s->io_dropped = false;
        if (s->io_again) {
            s->io_again = false;
            start_io(s);
        }
        return;
    }
    if (s->phase != FDC_PHASE_EXECUTION) {
        return;
    }
    if (result < 0) {
        Floppy *f = fdc_drive(s, s->unit);

        if (f) {
            blk_error_action(f->blk, !s->io_write, -result);
        }
        fail(s, ST1_DE, s->io_write ? 0 : 0x20);
        return;
    }
    switch (s->transfer) {
    case FDC_READ:
    case FDC_READ_TRACK:
    case FDC_SCAN:
        s->pos = 0;
        s->len = BLOCK_SECTOR;
        s->scan_miss = false;
        offer(s);
        break;
    case FDC_FORMAT:
        format_advance(s);
        break;
    default: /* WRITE, VERIFY */
        advance(s);
        break;
    }
}

/* Reads or writes the current sector. */
static void start_io(IsaFdc *s)
{
    Floppy *f = fdc_drive(s, s->unit);
    bool write = s->transfer == FDC_WRITE || s->transfer == FDC_FORMAT;
    int64_t lba;

    if (s->io_busy) { /* of before a reset */
        s->io_again = true;
        return;
    }
    if (!f || !floppy_present(f)) {
        fail(s, ST1_MA, 0);
        return;
    }
    lba = locate(s, f);
    if (lba < 0) {
        fail(s, 0, 0);
        return;
    }
    s->io_busy = true;
    s->io_write = write;
    iovec_reset(&s->iov);
    iovec_add(&s->iov, s->buf, BLOCK_SECTOR);
    s->io_req = write
                    ? blk_aio_pwritev(f->blk, (uint64_t)lba * BLOCK_SECTOR, &s->iov, 0, io_done, s)
                    : blk_aio_preadv(f->blk, (uint64_t)lba * BLOCK_SECTOR, &s->iov, io_done, s);
}

void fdc_abort(IsaFdc *s)
{
    if (s->dma) {
        s->dma->ops->release_dreq(s->dma, (int)s->dma_channel);
    }
    s->io_again = false;
    if (s->io_busy) {
        s->io_dropped = true;
    }
    s->transfer = FDC_NONE;
    s->pos = s->len = 0;
}

void fdc_resume(IsaFdc *s)
{
    if (s->phase != FDC_PHASE_EXECUTION) {
        return;
    }
    if (s->pos < s->len) {
        offer(s);
    } else if (s->transfer == FDC_NONE) {
        fdc_result(s, 0, false);
    } else {
        start_io(s);
    }
}

/* ---- the host's side ---- */

/* Scan: equal, low-or-equal, high-or-equal; a byte ffh of the host matches all. */
static void scan_byte(IsaFdc *s, uint8_t disk, uint8_t host)
{
    if (host == 0xff || disk == 0xff || s->scan_miss) {
        return;
    }
    switch (s->scan_op) {
    case 0x11:
        s->scan_miss = disk != host;
        break;
    case 0x19:
        s->scan_miss = disk > host;
        break;
    default:
        s->scan_miss = disk < host;
        break;
    }
}

/* The buffer is full (from the host) or empty (to the host), or TC came early. */
static void buffer_done(IsaFdc *s)
{
    switch (s->transfer) {
    case FDC_WRITE:
        memset(s->buf + s->pos, 0, BLOCK_SECTOR - s->pos);
        s->pos = s->len = 0;
        start_io(s);
        break;
    case FDC_FORMAT:
        memcpy(s->id, s->buf, sizeof(s->id));
        s->c = s->id[0];
        s->h = s->id[1];
        s->r = s->id[2];
        s->n = s->id[3];
        memset(s->buf, s->fill, BLOCK_SECTOR);
        s->pos = s->len = 0;
        start_io(s);
        break;
    case FDC_SCAN:
        if (!s->scan_miss) {
            s->scan_hit = true;
            s->st2 |= s->scan_op == 0x11 ? ST2_SCAN_HIT : 0;
        } else if (s->tc) {
            s->st2 |= ST2_SCAN_FAILED;
        }
        advance(s);
        break;
    default:
        advance(s);
        break;
    }
}

int fdc_dma(void *opaque, int channel, int pos, int size)
{
    IsaFdc *s = opaque;
    int n;

    if (s->phase != FDC_PHASE_EXECUTION || !s->dma_mode || s->pos >= s->len) {
        return pos;
    }
    n = MIN((int)(s->len - s->pos), size - pos);
    if (n <= 0) {
        return pos;
    }
    if (fdc_to_host(s)) {
        s->dma->ops->write_memory(s->dma, channel, s->buf + s->pos, pos, n);
    } else if (s->transfer == FDC_SCAN) {
        uint8_t host[BLOCK_SECTOR];

        s->dma->ops->read_memory(s->dma, channel, host, pos, n);
        for (int i = 0; i < n; i++) {
            scan_byte(s, s->buf[s->pos + (uint32_t)i], host[i]);
        }
    } else {
        s->dma->ops->read_memory(s->dma, channel, s->buf + s->pos, pos, n);
    }
    s->pos += (uint32_t)n;
    pos += n;
    s->tc = s->tc || pos == size;
    if (s->pos == s->len || s->tc) {
        /* The request is made again when the next sector is there. */
        s->dma->ops->release_dreq(s->dma, channel);
        buffer_done(s);
    }
    return pos;
}

uint8_t fdc_pio_read(IsaFdc *s)
{
    uint8_t v = s->buf[s->pos++];

    fdc_lower(s);
    if (s->pos == s->len) {
        buffer_done(s);
    }
    return v;
}

void fdc_pio_write(IsaFdc *s, uint8_t v)
{
    if (s->transfer == FDC_SCAN) {
        scan_byte(s, s->buf[s->pos], v);
    } else {
        s->buf[s->pos] = v;
    }
    s->pos++;
    fdc_lower(s);
    if (s->pos == s->len) {
        buffer_done(s);
    }
}

/* ---- commands ---- */

/* What all of them check. On failure the command has ended. */
static bool prepare(IsaFdc *s, FdcTransfer t)
{
    Floppy *f;

    s->unit = s->fifo[1] & 3;
    s->head = s->fifo[1] >> 2 & 1;
    s->transfer = t;
    s->phase = FDC_PHASE_EXECUTION;
    s->st1 = s->st2 = 0;
    s->pos = s->len = 0;
    s->tc = s->scan_hit = s->scan_miss = false;
    s->dma_mode = !(s->timing[1] & 1) && s->dma;
    f = fdc_drive(s, s->unit);
    /* No index pulse, or another data rate than the medium's: no address mark is found. */
    if (!f || !floppy_present(f) || f->rate != s->rate) {
        fail(s, ST1_MA, 0);
        return false;
    }
    if ((t == FDC_WRITE || t == FDC_FORMAT) && !floppy_writable(f)) {
        fail(s, ST1_NW, 0);
        return false;
    }
    return true;
}

void fdc_start_transfer(IsaFdc *s, FdcTransfer t)
{
    Floppy *f;

    s->c = s->fifo[2];
    s->h = s->fifo[3];
    s->r = s->fifo[4];
    s->n = s->fifo[5];
    s->eot = s->fifo[6];
    /* VERIFY: EC says that the last byte is a count of sectors. */
    s->to_end = t == FDC_VERIFY && (s->fifo[1] & 0x80);
    s->remaining = s->fifo[8] ? s->fifo[8] : 256;
    if (!prepare(s, t)) {
        return;
    }
    f = fdc_drive(s, s->unit);
    trace(fdc_transfer, s->unit, t, s->c, s->h, s->r, s->n, s->eot, s->dma_mode);
    if ((s->config & CONFIG_IMPLIED_SEEK) && !floppy_at(f, s->c)) {
        floppy_step(f, s->c - f->cylinder);
        s->pcn[s->unit] = s->c;
    }
    if (t == FDC_READ_TRACK) { /* from the index hole on, whatever R says */
        s->multi_track = false;
        s->r = 1;
    }
    if (t == FDC_WRITE) {
        if (locate(s, f) < 0) {
            fail(s, 0, 0);
            return;
        }
        want_from_host(s);
    } else {
        start_io(s);
    }
}

void fdc_start_format(IsaFdc *s)
{
    Floppy *f;
    uint8_t n = s->fifo[2], count = s->fifo[3], fill = s->fifo[5];

    s->c = s->h = s->r = 0;
    s->n = n;
    s->eot = count;
    s->fill = fill;
    s->remaining = count;
    if (!prepare(s, FDC_FORMAT)) {
        return;
    }
    f = fdc_drive(s, s->unit);
    if (n != 2 || count == 0 || count != f->sectors || s->head >= f->heads ||
        f->cylinder >= f->tracks) {
        /* An image keeps its geometry. */
        guest_error(FDC_NAME, "format of %u sectors of %u bytes on a medium of %u sectors of 512",
                    count, 128u << (n & 7), f->sectors);
        fail(s, ST1_MA, 0);
        return;
    }
    want_from_host(s);
}

void fdc_read_id(IsaFdc *s)
{
    Floppy *f;

    s->c = s->h = s->r = s->n = 0;
    if (!prepare(s, FDC_READ)) {
        return;
    }
    f = fdc_drive(s, s->unit);
    if (s->head >= f->heads || floppy_id_cylinder(f) >= f->tracks) {
        fail(s, ST1_MA, 0);
        return;
    }
    s->c = floppy_id_cylinder(f);
    s->h = s->head;
    s->r = 1;
    s->n = 2;
    end_transfer(s, 0);
}
