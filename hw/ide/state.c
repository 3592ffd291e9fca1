/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of drives and channels travels in snapshots. */
#include "hw/ide/ide.h"

static const StateField geometry_fields[] = {
    STATE_F_UINT_MAX(IdeGeometry, cyls, 65535),
    STATE_FIELD_(IdeGeometry, heads, STATE_UINT, .min = 1, .max = 255),
    STATE_FIELD_(IdeGeometry, secs, STATE_UINT, .min = 1, .max = 255),
    {0},
};
static const StateDesc geometry_state = {
    .name = "ide-geometry", .version = 1, .fields = geometry_fields};

static const StateField cd_fields[] = {
    STATE_F_UINT_MAX(IdeCd, sense_key, 15),
    STATE_F_UINT(IdeCd, asc),
    STATE_F_UINT(IdeCd, ascq),
    STATE_F_BOOL(IdeCd, tray_open),
    STATE_F_BOOL(IdeCd, tray_locked),
    STATE_F_BOOL(IdeCd, media_event),
    STATE_F_BOOL(IdeCd, new_medium),
    STATE_F_BYTES(IdeCd, packet),
    STATE_F_UINT(IdeCd, lba),
    STATE_F_UINT(IdeCd, left),
    STATE_FIELD_(IdeCd, block, STATE_UINT, .min = 2048, .max = 2352),
    STATE_F_UINT_MAX(IdeCd, reply_len, IDE_BUFFER),
    STATE_F_UINT_MAX(IdeCd, reply_pos, IDE_BUFFER),
    STATE_F_BOOL(IdeCd, dma),
    {0},
};
static const StateDesc cd_state = {.name = "ide-cd-state", .version = 1, .fields = cd_fields};

/* Requests in flight end first: what is left is registers, buffer, and work to retry. */
static void drive_pre_save(void *opaque)
{
    IdeDrive *d = opaque;
    if (d->in_flight) {
        blk_wait_idle(d->blk);
    }
    g_free(d->saved);
    d->saved_len = MAX(d->data_end, d->cd.reply_len);
    d->saved_len = MAX(d->saved_len, d->ahead_pos + d->ahead * IDE_SECTOR);
    if (d->work == IDE_WORK_PIO_WRITE) {
        d->saved_len = MAX(d->saved_len, d->chunk * IDE_SECTOR);
    }
    d->saved_len = MIN(d->saved_len, IDE_BUFFER);
    d->saved = d->saved_len ? g_memdup2(d->buf, d->saved_len) : NULL;
}

static bool bad(Error **errp, const char *what)
{
    error_set(errp, "IDE drive: %s", what);
    return false;
}

static bool drive_check(const void *opaque, Error **errp)
{
    const IdeDrive *d = opaque;
    bool writing = d->phase == IDE_PHASE_WRITE || d->work == IDE_WORK_PIO_WRITE;
    if (d->data_pos > d->data_end) {
        return bad(errp, "the data position lies behind the end");
    }
    if (d->lba > d->sectors ||
        (!d->is_cd && d->work != IDE_WORK_TRIM && d->left > d->sectors - d->lba)) {
        return bad(errp, "the command passes the end of the disk");
    }
    if (!d->is_cd && d->chunk > IDE_BUFFER / IDE_SECTOR) {
        return bad(errp, "a block is larger than the buffer");
    }
    if (d->ahead > d->left || d->ahead_pos > IDE_BUFFER - d->ahead * IDE_SECTOR) {
        return bad(errp, "more has been read than was asked for");
    }
    if (writing && (d->is_cd || d->chunk > d->left)) {
        return bad(errp, "a block to write is longer than the command");
    }
    if (d->work == IDE_WORK_TRIM && d->data_pos < 8 && d->data_pos < d->data_end) {
        return bad(errp, "the range to trim is none");
    }
    bool cd_work = d->work >= IDE_WORK_CD_READ || d->phase == IDE_PHASE_PACKET ||
                   d->phase == IDE_PHASE_REPLY || d->phase == IDE_PHASE_OUT;
    bool ata_work = (d->work && d->work < IDE_WORK_CD_READ) || d->phase == IDE_PHASE_READ ||
                    d->phase == IDE_PHASE_WRITE;
    if (d->is_cd ? ata_work : cd_work) {
        return bad(errp, "it is at work for another kind of drive");
    }
    if (d->phase == IDE_PHASE_PACKET && d->data_end != sizeof(d->cd.packet)) {
        return bad(errp, "a packet has a wrong length");
    }
    if (d->cd.reply_pos > d->cd.reply_len || (d->cd.block != 2048 && d->cd.block != 2352)) {
        return bad(errp, "the reply is inconsistent");
    }
    return true;
}

static void drive_loaded(void *opaque)
{
    IdeDrive *d = opaque;
    memset(d->buf, 0, IDE_BUFFER);
    if (d->saved_len) {
        memcpy(d->buf, d->saved, d->saved_len);
    }
    g_free(d->saved);
    d->saved = NULL;
    d->saved_len = 0;
    d->generation++;
    if (d->is_cd) {
        blk_set_locked(d->blk, d->cd.tray_locked);
    } else {
        blk_set_write_cache(d->blk, d->write_cache);
    }
}

static const StateField drive_fields[] = {
    STATE_F_UINT(IdeDrive, features),
    STATE_F_UINT(IdeDrive, hob_features),
    STATE_F_UINT(IdeDrive, count),
    STATE_F_UINT(IdeDrive, hob_count),
    STATE_F_UINT(IdeDrive, lba_low),
    STATE_F_UINT(IdeDrive, hob_lba_low),
    STATE_F_UINT(IdeDrive, lba_mid),
    STATE_F_UINT(IdeDrive, hob_lba_mid),
    STATE_F_UINT(IdeDrive, lba_high),
    STATE_F_UINT(IdeDrive, hob_lba_high),
    STATE_F_UINT(IdeDrive, device),
    STATE_F_UINT(IdeDrive, status),
    STATE_F_UINT(IdeDrive, error),
    STATE_F_UINT(IdeDrive, command),
    STATE_F_BOOL(IdeDrive, lba48),
    STATE_F_STRUCT(IdeDrive, chs, geometry_state),
    STATE_F_UINT_MAX(IdeDrive, mult, IDE_MAX_MULT),
    STATE_F_BOOL(IdeDrive, write_cache),
    STATE_F_BOOL(IdeDrive, smart_on),
    STATE_F_BOOL(IdeDrive, smart_autosave),
    STATE_F_UINT(IdeDrive, smart_selftest),
    STATE_F_UINT(IdeDrive, dma_mode),
    STATE_F_BUFFER(IdeDrive, saved, saved_len, IDE_BUFFER),
    STATE_F_UINT_MAX(IdeDrive, data_end, IDE_BUFFER),
    STATE_F_UINT_MAX(IdeDrive, data_pos, IDE_BUFFER),
    STATE_F_UINT(IdeDrive, lba),
    STATE_F_UINT_MAX(IdeDrive, left, 65536),
    STATE_FIELD_(IdeDrive, chunk, STATE_UINT, .min = 1, .max = 65535),
    STATE_F_UINT_MAX(IdeDrive, ahead, IDE_BUFFER / IDE_SECTOR),
    STATE_F_UINT_MAX(IdeDrive, ahead_pos, IDE_BUFFER),
    STATE_F_INT_RANGE(IdeDrive, phase, 0, IDE_PHASE_LAST),
    STATE_F_INT_RANGE(IdeDrive, work, 0, IDE_WORK_LAST),
    STATE_F_BOOL(IdeDrive, dma_wanted),
    STATE_F_BOOL(IdeDrive, retry),
    STATE_F_BOOL(IdeDrive, fua),
    STATE_F_STRUCT(IdeDrive, cd, cd_state),
    {0},
};
const StateDesc ide_drive_state = {.name = "ide-drive",
                                   .version = 1,
                                   .fields = drive_fields,
                                   .pre_save = drive_pre_save,
                                   .check = drive_check,
                                   .loaded = drive_loaded};

static const StateField channel_fields[] = {
    STATE_F_UINT_MAX(IdeChannel, unit, 1),
    STATE_F_UINT(IdeChannel, control),
    STATE_F_UINT_MAX(IdeChannel, irq_pending, 1),
    {0},
};
const StateDesc ide_channel_state = {.name = "ide-channel", .version = 1, .fields = channel_fields};
