/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands of ATA disks, and those that all drives have. */
#include "hw/ide/ide.h"

/* ---- addresses ---- */

uint64_t ide_get_lba(const IdeDrive *d)
{
    if (d->lba48) {
        return d->lba_low | (uint64_t)d->lba_mid << 8 | (uint64_t)d->lba_high << 16 |
               (uint64_t)d->hob_lba_low << 24 | (uint64_t)d->hob_lba_mid << 32 |
               (uint64_t)d->hob_lba_high << 40;
    }
    if (d->device & IDE_DEV_LBA) {
        return d->lba_low | (uint32_t)d->lba_mid << 8 | (uint32_t)d->lba_high << 16 |
               (uint32_t)(d->device & 0x0f) << 24;
    }
    uint32_t cyl = d->lba_mid | (uint32_t)d->lba_high << 8, head = d->device & 0x0f;
    if (!d->lba_low || d->lba_low > d->chs.secs || head >= d->chs.heads) {
        return UINT64_MAX;
    }
    return ((uint64_t)cyl * d->chs.heads + head) * d->chs.secs + d->lba_low - 1;
}

void ide_set_lba(IdeDrive *d, uint64_t lba)
{
    if (!d->lba48 && !(d->device & IDE_DEV_LBA)) {
        uint64_t per_cyl = (uint64_t)d->chs.heads * d->chs.secs, cyl = lba / per_cyl;
        d->lba_low = (uint8_t)(lba % d->chs.secs + 1);
        d->device = (uint8_t)((d->device & 0xf0) | (lba % per_cyl / d->chs.secs));
        d->lba_mid = (uint8_t)cyl;
        d->lba_high = (uint8_t)(cyl >> 8);
        return;
    }
    d->lba_low = (uint8_t)lba;
    d->lba_mid = (uint8_t)(lba >> 8);
    d->lba_high = (uint8_t)(lba >> 16);
    if (d->lba48) {
        d->hob_lba_low = (uint8_t)(lba >> 24);
        d->hob_lba_mid = (uint8_t)(lba >> 32);
        d->hob_lba_high = (uint8_t)(lba >> 40);
    } else {
        d->device = (uint8_t)((d->device & 0xf0) | ((lba >> 24) & 0x0f));
    }
}

uint32_t ide_get_count(const IdeDrive *d)
{
    if (d->lba48) {
        uint32_t n = d->count | (uint32_t)d->hob_count << 8;
        return n ? n : 65536;
    }
    return d->count ? d->count : 256;
}

/* Takes address and length of a command that reads or writes; false: it has been ended. */
static bool take_range(IdeDrive *d, bool lba48)
{
    d->lba48 = lba48;
    d->fua = false;
    d->lba = ide_get_lba(d);
    d->left = ide_get_count(d);
    if (d->lba >= d->sectors || d->left > d->sectors - d->lba) {
        ide_fail(d, IDE_E_IDNF | IDE_E_ABRT);
        return false;
    }
    return true;
}

/* ---- reading and writing ---- */

void ide_pio_write_done(IdeDrive *d)
{
    ide_work_start(d, IDE_WORK_PIO_WRITE);
}

static void read_sectors(IdeDrive *d, bool lba48, unsigned block)
{
    if (!block) {
        ide_abort(d); /* READ MULTIPLE without SET MULTIPLE MODE */
    } else if (take_range(d, lba48)) {
        d->chunk = block;
        ide_work_start(d, IDE_WORK_PIO_READ);
    }
}

static void write_sectors(IdeDrive *d, bool lba48, unsigned block, bool fua)
{
    if (!block || !blk_writable(d->blk)) {
        ide_abort(d);
    } else if (take_range(d, lba48)) {
        d->fua = fua;
        d->chunk = MIN(block, d->left);
        ide_data_phase(d, IDE_PHASE_WRITE, d->chunk * IDE_SECTOR, false);
    }
}

static void read_dma(IdeDrive *d, bool lba48)
{
    if (take_range(d, lba48)) {
        ide_work_start(d, IDE_WORK_DMA_READ);
    }
}

static void write_dma(IdeDrive *d, bool lba48, bool fua)
{
    if (!blk_writable(d->blk)) {
        ide_abort(d);
    } else if (take_range(d, lba48)) {
        d->fua = fua;
        ide_work_start(d, IDE_WORK_DMA_WRITE);
    }
}

static void verify_sectors(IdeDrive *d, bool lba48)
{
    if (take_range(d, lba48)) {
        ide_work_start(d, IDE_WORK_VERIFY);
    }
}

static void data_set_management(IdeDrive *d)
{
    d->lba48 = true;
    if (!d->trim || !(d->features & 1) || !blk_writable(d->blk)) {
        ide_abort(d);
        return;
    }
    d->left = ide_get_count(d);
    d->data_pos = d->data_end = 0;
    ide_work_start(d, IDE_WORK_TRIM);
}

/* ---- the rest ---- */

static void identify(IdeDrive *d)
{
    ide_identify(d, d->buf);
    ide_data_phase(d, IDE_PHASE_IN, 512, true);
}

static void set_multiple(IdeDrive *d)
{
    if (d->count > IDE_MAX_MULT || (d->count && !IS_POWER_OF_2(d->count))) {
        ide_abort(d);
        return;
    }
    d->mult = d->count;
    ide_ok(d);
}

static void initialize_parameters(IdeDrive *d)
{
    uint32_t heads = (d->device & 0x0fu) + 1, secs = d->count;
    if (!secs || secs > 63) {
        ide_abort(d);
        return;
    }
    uint64_t cyls = d->sectors / (heads * secs);
    d->chs = (IdeGeometry){(uint32_t)MIN(cyls, 65535u), heads, secs};
    ide_ok(d);
}

static void read_native_max(IdeDrive *d, bool lba48)
{
    uint64_t last = d->sectors ? d->sectors - 1 : 0;
    if (!lba48 && last > 0x0fffffff) {
        last = 0x0fffffff;
    }
    d->lba48 = lba48;
    if (!lba48) {
        d->device |= IDE_DEV_LBA;
    }
    ide_set_lba(d, last);
    ide_ok(d);
}

void ide_set_features(IdeDrive *d)
{
    switch (d->features) {
    case 0x02:
    case 0x82:
        d->write_cache = d->features == 0x02;
        if (!d->is_cd) {
            blk_set_write_cache(d->blk, d->write_cache);
            if (!d->write_cache) {
                ide_work_start(d, IDE_WORK_FLUSH); /* what was cached so far */
                return;
            }
        }
        break;
    case 0x03: /* transfer mode */
        switch (d->count >> 3) {
        case 0: /* PIO default */
        case 1: /* PIO flow control */
            break;
        case 4: /* multiword DMA */
            if ((d->count & 7) > 2) {
                ide_abort(d);
                return;
            }
            d->dma_mode = d->count;
            break;
        case 8: /* ultra DMA */
            if ((d->count & 7) > 5) {
                ide_abort(d);
                return;
            }
            d->dma_mode = d->count;
            break;
        default:
            ide_abort(d);
            return;
        }
        break;
    case 0x05: /* advanced power management on, off */
    case 0x85:
    case 0x55: /* read look-ahead off, on: nothing of it can be seen */
    case 0xaa:
    case 0x66: /* keep, or revert to defaults on reset */
    case 0xcc:
        break;
    default:
        ide_abort(d);
        return;
    }
    ide_ok(d);
}

bool ide_common_command(IdeDrive *d, uint8_t cmd)
{
    switch (cmd) {
    case 0x94: /* the old numbers of the power commands */
    case 0x95:
    case 0x96:
    case 0x97:
    case 0xe0: /* STANDBY IMMEDIATE */
    case 0xe1: /* IDLE IMMEDIATE */
    case 0xe2: /* STANDBY */
    case 0xe3: /* IDLE */
    case 0x99:
    case 0xe6: /* SLEEP */
        ide_ok(d);
        return true;
    case 0x98:
    case 0xe5: /* CHECK POWER MODE: active */
        d->count = 0xff;
        ide_ok(d);
        return true;
    case 0xef:
        ide_set_features(d);
        return true;
    default:
        return false;
    }
}

static bool transfer_command(IdeDrive *d, uint8_t cmd)
{
    switch (cmd) {
    case 0x20:
    case 0x21:
        read_sectors(d, false, 1);
        return true;
    case 0x24:
        read_sectors(d, true, 1);
        return true;
    case 0x29:
        read_sectors(d, true, d->mult);
        return true;
    case 0xc4:
        read_sectors(d, false, d->mult);
        return true;
    case 0x30:
    case 0x31:
    case 0x3c: /* WRITE VERIFY */
        write_sectors(d, false, 1, false);
        return true;
    case 0x34:
        write_sectors(d, true, 1, false);
        return true;
    case 0x39:
    case 0xce: /* WRITE MULTIPLE FUA EXT */
        write_sectors(d, true, d->mult, cmd == 0xce);
        return true;
    case 0xc5:
        write_sectors(d, false, d->mult, false);
        return true;
    case 0x25:
        read_dma(d, true);
        return true;
    case 0xc8:
    case 0xc9:
        read_dma(d, false);
        return true;
    case 0x35:
    case 0x3d: /* WRITE DMA FUA EXT */
        write_dma(d, true, cmd == 0x3d);
        return true;
    case 0xca:
    case 0xcb:
        write_dma(d, false, false);
        return true;
    case 0x40:
    case 0x41:
        verify_sectors(d, false);
        return true;
    case 0x42:
        verify_sectors(d, true);
        return true;
    case 0x06:
        data_set_management(d);
        return true;
    default:
        return false;
    }
}

void ide_ata_command(IdeDrive *d, uint8_t cmd)
{
    if (transfer_command(d, cmd) || ide_common_command(d, cmd)) {
        return;
    }
    if ((cmd & 0xf0) == 0x10 || (cmd & 0xf0) == 0x70) { /* RECALIBRATE, SEEK */
        ide_ok(d);
        return;
    }
    switch (cmd) {
    case 0xec:
        identify(d);
        break;
    case 0xa1: /* IDENTIFY PACKET DEVICE: not such a one */
        ide_signature(d);
        ide_abort(d);
        break;
    case 0x91:
        initialize_parameters(d);
        break;
    case 0xc6:
        set_multiple(d);
        break;
    case 0xe7:
    case 0xea:
        ide_work_start(d, IDE_WORK_FLUSH);
        break;
    case 0xf8:
    case 0x27:
        read_native_max(d, cmd == 0x27);
        break;
    case 0xb0:
        ide_smart(d);
        break;
    default: /* security, host-protected areas and what else there is: not supported */
        ide_abort(d);
        break;
    }
}
