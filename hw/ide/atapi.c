/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ATAPI CD-ROM drives: the packet protocol, sense data, reading, the tray. */
#include "hw/ide/ide.h"
#include "util/log.h"
#include "util/trace.h"

TRACE_EVENT(atapi_packet, "%s: %02x %02x %02x %02x %02x %02x %02x %02x %02x %02x, dma %d")

#define CD_SECTOR 2048u
#define RAW_SECTOR 2352u
#define PIO_SECTORS 64u  /* in the buffer at once */
#define DMA_SECTORS 256u /* in one request */

uint32_t atapi_sectors(const IdeDrive *d)
{
    int64_t len = d->blk ? blk_length(d->blk) : -1;
    if (len < 0 || d->cd.tray_open) {
        return 0;
    }
    return (uint32_t)MIN((uint64_t)len / CD_SECTOR, UINT32_MAX - 1u);
}

/* ---- ends ---- */

void atapi_sense(IdeDrive *d, uint8_t key, uint8_t asc, uint8_t ascq)
{
    d->cd.sense_key = key;
    d->cd.asc = asc;
    d->cd.ascq = ascq;
}

static void set_reason(IdeDrive *d, uint8_t reason)
{
    d->count = (uint8_t)((d->count & ~7u) | reason);
}

void atapi_ok(IdeDrive *d)
{
    atapi_sense(d, 0, 0, 0);
    set_reason(d, ATAPI_IO | ATAPI_CD);
    ide_ok(d);
}

void atapi_check(IdeDrive *d, uint8_t key, uint8_t asc, uint8_t ascq)
{
    atapi_sense(d, key, asc, ascq);
    set_reason(d, ATAPI_IO | ATAPI_CD);
    ide_fail(d, (uint8_t)(key << 4));
}

/* ---- replies ---- */

/* What the guest takes at once, from the byte-count registers; always even. */
static uint32_t byte_limit(const IdeDrive *d)
{
    if (d->ch->ops->pio) {
        return 0xfffe; /* no data register: pieces are the host's own affair */
    }
    uint32_t n = d->lba_mid | (uint32_t)d->lba_high << 8;
    if (n == 0 || n == 0xffff) {
        n = 0xfffe;
    }
    return n > 1 ? n & ~1u : 2;
}

void atapi_reply_next(IdeDrive *d)
{
    IdeCd *cd = &d->cd;
    uint32_t left = cd->reply_len - cd->reply_pos;
    if (left) {
        uint32_t n = MIN(left, d->chunk), at = cd->reply_pos;
        cd->reply_pos += n;
        d->lba_mid = (uint8_t)n;
        d->lba_high = (uint8_t)(n >> 8);
        set_reason(d, ATAPI_IO);
        ide_data_phase_at(d, IDE_PHASE_REPLY, at, n, true);
    } else if (cd->left) {
        ide_work_start(d, IDE_WORK_CD_READ);
    } else {
        atapi_ok(d);
    }
}

void atapi_reply(IdeDrive *d, uint32_t len, uint32_t alloc)
{
    d->cd.reply_len = MIN(len, alloc);
    d->cd.reply_pos = 0;
    d->cd.left = 0;
    if (!d->cd.reply_len) {
        atapi_ok(d);
    } else if (d->cd.dma) {
        ide_work_start(d, IDE_WORK_CD_REPLY);
    } else {
        atapi_reply_next(d);
    }
}

static void reply_by_dma(IdeDrive *d)
{
    IdeSg sg;
    ide_sg_init(&sg, d->ch->ops->dma_as(d->ch->host));
    bool ok = d->ch->ops->dma_take(d->ch->host, &sg, d->cd.reply_len);
    if (ok) {
        /* A shorter buffer gets the beginning. */
        ok = ide_sg_copy(&sg, 0, d->buf, (size_t)MIN(sg.size, d->cd.reply_len), true);
    }
    ide_sg_free(&sg);
    d->ch->ops->dma_end(d->ch->host, !ok);
    if (ok) {
        atapi_ok(d);
    } else {
        atapi_check(d, 4, 0x08, 0); /* hardware error: communication failure */
    }
}

/* ---- reading ---- */

static uint8_t bcd(uint32_t v)
{
    return (uint8_t)((v / 10 % 10) << 4 | v % 10);
}

/* A raw mode-1 sector around 2048 bytes; error correction is left zero. */
static void put_raw_sector(uint8_t *out, const uint8_t *data, uint32_t lba)
{
    uint32_t frame = lba + 150;
    memset(out, 0, RAW_SECTOR);
    memset(out + 1, 0xff, 10);
    out[12] = bcd(frame / 75 / 60);
    out[13] = bcd(frame / 75 % 60);
    out[14] = bcd(frame % 75);
    out[15] = 1;
    memcpy(out + 16, data, CD_SECTOR);
}

static void copy_sectors(IdeDrive *d, uint8_t *out, const uint8_t *in, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (d->cd.block == RAW_SECTOR) {
            put_raw_sector(out + i * RAW_SECTOR, in + i * CD_SECTOR, d->cd.lba + i);
        } else {
            memcpy(out + i * CD_SECTOR, in + i * CD_SECTOR, CD_SECTOR);
        }
    }
}

static void cd_read_done(IdeIo *io, int result)
{
    IdeDrive *d = io->d;
    if (result < 0 && !ide_io_failed(d, true, result)) {
        return;
    }
    d->work = IDE_WORK_NONE;
    copy_sectors(d, d->buf, io->buf, io->sectors);
    d->cd.lba += io->sectors;
    d->cd.left -= io->sectors;
    d->cd.reply_len = io->sectors * d->cd.block;
    d->cd.reply_pos = 0;
    atapi_reply_next(d);
}

static void cd_read(IdeDrive *d)
{
    IdeIo *io = ide_io_new(d, cd_read_done);
    io->sectors = MIN(d->cd.left, PIO_SECTORS);
    ide_io_buffer(io, io->sectors * CD_SECTOR);
    ide_io_read(io, (uint64_t)d->cd.lba * CD_SECTOR);
}

static void cd_dma_done(IdeIo *io, int result)
{
    IdeDrive *d = io->d;
    if (result < 0 && !ide_io_failed(d, true, result)) {
        return;
    }
    uint64_t room = io->sg.size;
    if (io->buf) {
        uint8_t *out = g_malloc(io->sectors * d->cd.block);
        copy_sectors(d, out, io->buf, io->sectors);
        ide_sg_copy(&io->sg, 0, out, (size_t)MIN(room, (uint64_t)io->sectors * d->cd.block), true);
        g_free(out);
    }
    ide_sg_free(&io->sg);
    io->has_sg = false;
    d->cd.lba += io->sectors;
    d->cd.left -= io->sectors;
    if (!d->cd.left || room < (uint64_t)io->sectors * d->cd.block) {
        d->ch->ops->dma_end(d->ch->host, false);
        atapi_ok(d); /* a shorter buffer gets the beginning */
    } else {
        ide_work_run(d);
    }
}

static void cd_dma(IdeDrive *d)
{
    IdeIo *io = ide_io_new(d, cd_dma_done);
    io->sectors = MIN(d->cd.left, DMA_SECTORS);
    ide_sg_init(&io->sg, d->ch->ops->dma_as(d->ch->host));
    io->has_sg = true;
    uint64_t want = (uint64_t)io->sectors * d->cd.block;
    bool ok = d->ch->ops->dma_take(d->ch->host, &io->sg, want) && io->sg.size;
    bool direct = d->cd.block == CD_SECTOR && io->sg.size == want;
    if (ok && direct) {
        ok = ide_sg_map(&io->sg, true);
    } else if (ok) {
        ide_io_buffer(io, io->sectors * CD_SECTOR);
    }
    if (!ok) {
        guest_error(d->name, "the list of DMA buffers is empty or unreadable");
        ide_io_free(io);
        d->ch->ops->dma_end(d->ch->host, true);
        atapi_check(d, 4, 0x08, 0);
        return;
    }
    if (direct) {
        ide_io_read(io, (uint64_t)d->cd.lba * CD_SECTOR);
        return;
    }
    /* Through a buffer of our own: the request must not see the guest's list. */
    IdeSg sg = io->sg;
    io->has_sg = false;
    ide_io_read(io, (uint64_t)d->cd.lba * CD_SECTOR);
    io->sg = sg;
    io->has_sg = true;
}

void atapi_run(IdeDrive *d)
{
    if (d->work == IDE_WORK_CD_READ) {
        cd_read(d);
    } else if (d->work == IDE_WORK_CD_DMA) {
        cd_dma(d);
    } else {
        reply_by_dma(d);
    }
}

void atapi_read(IdeDrive *d, uint32_t lba, uint32_t n, uint32_t block)
{
    uint32_t total = atapi_sectors(d);
    if (n == 0) {
        atapi_ok(d);
        return;
    }
    if (lba >= total || n > total - lba) {
        atapi_check(d, 5, 0x21, 0); /* block address out of range */
        return;
    }
    d->cd.lba = lba;
    d->cd.left = n;
    d->cd.block = block;
    ide_work_start(d, d->cd.dma ? IDE_WORK_CD_DMA : IDE_WORK_CD_READ);
}

/* READ CD: which parts of a sector are wanted. */
static void read_cd(IdeDrive *d)
{
    const uint8_t *p = d->cd.packet;
    uint32_t n = (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8];
    switch (p[9] & 0xf8) {
    case 0x00: /* nothing: only a seek */
        atapi_ok(d);
        break;
    case 0x10:
        atapi_read(d, ld_be32(p + 2), n, CD_SECTOR);
        break;
    case 0xf8:
        atapi_read(d, ld_be32(p + 2), n, RAW_SECTOR);
        break;
    default:
        atapi_check(d, 5, 0x24, 0); /* invalid field in packet */
        break;
    }
}

/* ---- the tray ---- */

void atapi_media_changed(IdeDrive *d, bool loaded)
{
    d->cd.tray_open = !loaded;
    d->cd.media_event = true;
    d->cd.new_medium = loaded && blk_present(d->blk);
}

static void start_stop(IdeDrive *d)
{
    uint8_t v = d->cd.packet[4];
    bool load = v & 1, move = (v & 2) && !(v & 0xf0);
    if (move && !load && !d->cd.tray_open && d->cd.tray_locked) {
        atapi_check(d, blk_present(d->blk) ? 2 : 5, 0x53, 2); /* medium removal prevented */
        return;
    }
    if (move && d->cd.tray_open == load) {
        d->cd.tray_open = !load;
        d->cd.media_event = true;
        d->cd.new_medium = load && blk_present(d->blk);
        blk_eject(d->blk, !load);
    }
    atapi_ok(d);
}

static void prevent_removal(IdeDrive *d)
{
    d->cd.tray_locked = d->cd.packet[4] & 1;
    blk_set_locked(d->blk, d->cd.tray_locked);
    atapi_ok(d);
}

/* ---- packets ---- */

/* These do not tell of a new medium first. */
static bool ignores_attention(uint8_t op)
{
    return op == 0x03 || op == 0x12 || op == 0x46 || op == 0x4a;
}

static bool needs_medium(uint8_t op)
{
    static const uint8_t ops[] = {0x00, 0x25, 0x28, 0xa8, 0x2b, 0x43, 0x51, 0xad, 0xbe};
    return memchr(ops, op, sizeof(ops)) != NULL;
}

void atapi_packet(IdeDrive *d)
{
    const uint8_t *p = d->cd.packet;
    trace(atapi_packet, d->name, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9],
          d->cd.dma);
    if (d->cd.new_medium && !ignores_attention(p[0])) {
        d->cd.new_medium = false;
        atapi_check(d, 6, 0x28, 0); /* unit attention: medium may have changed */
        return;
    }
    if (needs_medium(p[0]) && (d->cd.tray_open || !blk_present(d->blk))) {
        atapi_check(d, 2, 0x3a, d->cd.tray_open ? 2 : 1);
        return;
    }
    d->chunk = byte_limit(d);
    memset(d->buf, 0, 4096);
    switch (p[0]) {
    case 0x00: /* TEST UNIT READY */
    case 0xbb: /* SET CD SPEED */
        atapi_ok(d);
        break;
    case 0x1b:
        start_stop(d);
        break;
    case 0x1e:
        prevent_removal(d);
        break;
    case 0x28:
        atapi_read(d, ld_be32(p + 2), ld_be16(p + 7), CD_SECTOR);
        break;
    case 0xa8:
        atapi_read(d, ld_be32(p + 2), ld_be32(p + 6), CD_SECTOR);
        break;
    case 0x2b: /* SEEK */
        if (ld_be32(p + 2) >= atapi_sectors(d)) {
            atapi_check(d, 5, 0x21, 0);
        } else {
            atapi_ok(d);
        }
        break;
    case 0xbe:
        read_cd(d);
        break;
    default:
        if (!atapi_info_command(d)) {
            atapi_check(d, 5, 0x20, 0); /* invalid operation code */
        }
        break;
    }
}

static void packet_command(IdeDrive *d)
{
    if (d->features & 2) { /* overlapped */
        ide_abort(d);
        return;
    }
    d->cd.dma = d->features & 1;
    d->cd.left = 0;
    d->lba48 = false;
    set_reason(d, ATAPI_CD);
    ide_data_phase(d, IDE_PHASE_PACKET, 12, false);
}

void ide_atapi_command(IdeDrive *d, uint8_t cmd)
{
    if (ide_common_command(d, cmd)) {
        return;
    }
    switch (cmd) {
    case 0x08: /* DEVICE RESET: no interrupt */
        ide_drive_reset(d, false);
        break;
    case 0xa0:
        packet_command(d);
        break;
    case 0xa1:
        ide_identify_packet(d, d->buf);
        ide_data_phase(d, IDE_PHASE_IN, 512, true);
        break;
    case 0x20: /* how old software tells that this is no disk */
    case 0xec:
        ide_signature(d);
        ide_abort(d);
        break;
    default:
        ide_abort(d);
        break;
    }
}
