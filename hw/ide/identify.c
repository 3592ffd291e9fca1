/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IDENTIFY (PACKET) DEVICE and SMART. */
#include "hw/ide/ide.h"

static void put(uint8_t *p, unsigned word, uint16_t v)
{
    st_le16(p + word * 2, v);
}

static void put32(uint8_t *p, unsigned word, uint32_t v)
{
    put(p, word, (uint16_t)v);
    put(p, word + 1, (uint16_t)(v >> 16));
}

static void put64(uint8_t *p, unsigned word, uint64_t v)
{
    put32(p, word, (uint32_t)v);
    put32(p, word + 2, (uint32_t)(v >> 32));
}

/* ATA strings: blanks to the end, the two bytes of a word swapped. */
static void put_string(uint8_t *p, unsigned word, const char *s, unsigned len)
{
    size_t have = strlen(s);
    for (unsigned i = 0; i < len; i++) {
        p[word * 2 + (i ^ 1)] = i < have ? (uint8_t)s[i] : ' ';
    }
}

static void put_wwn(uint8_t *p, uint64_t wwn)
{
    for (unsigned i = 0; i < 4; i++) {
        put(p, 108 + i, (uint16_t)(wwn >> (48 - 16 * i)));
    }
}

static void put_dma_modes(const IdeDrive *d, uint8_t *p)
{
    uint16_t multi = 0x07, ultra = 0x3f;
    if ((d->dma_mode & 0xf8) == 0x20) {
        multi |= (uint16_t)(0x100u << (d->dma_mode & 7));
    } else if ((d->dma_mode & 0xf8) == 0x40) {
        ultra |= (uint16_t)(0x100u << (d->dma_mode & 7));
    }
    put(p, 63, multi);
    put(p, 88, ultra);
}

/* SATA drives say at what speeds they talk; parallel ones what cable they have found. */
static void put_interface(const IdeDrive *d, uint8_t *p, uint16_t sata_capabilities)
{
    if (d->sata) {
        put(p, 76, sata_capabilities); /* 1.5 and 3 Gb/s */
    } else {
        put(p, 93, 0x6001); /* 80 wires */
    }
}

static void put_geometry(const IdeDrive *d, uint8_t *p)
{
    put(p, 1, (uint16_t)MIN(d->geo.cyls, 16383u));
    put(p, 3, (uint16_t)d->geo.heads);
    put(p, 6, (uint16_t)d->geo.secs);
    put(p, 54, (uint16_t)d->chs.cyls);
    put(p, 55, (uint16_t)d->chs.heads);
    put(p, 56, (uint16_t)d->chs.secs);
    put32(p, 57, (uint32_t)MIN((uint64_t)d->chs.cyls * d->chs.heads * d->chs.secs, d->sectors));
    put32(p, 60, (uint32_t)MIN(d->sectors, 0x0fffffffu));
    put64(p, 100, d->sectors);
}

static void put_features(const IdeDrive *d, uint8_t *p)
{
    /* SMART, power management, write cache, NOP */
    uint16_t w82 = 0x4029, w83 = 0x7400;                      /* FLUSH, FLUSH EXT, LBA48 */
    uint16_t w84 = (uint16_t)(0x4040 | (d->wwn ? 0x100 : 0)); /* WRITE DMA FUA EXT */
    put(p, 82, w82);
    put(p, 83, w83);
    put(p, 84, w84);
    put(p, 85, (uint16_t)((w82 & ~0x21) | (d->write_cache ? 0x20 : 0) | (d->smart_on ? 1 : 0)));
    put(p, 86, w83 & 0x3fff);
    put(p, 87, w84);
    if (d->wwn) {
        put_wwn(p, d->wwn);
    }
    if (d->sata) {
        put(p, 75, 31);
    }
    if (d->trim) {
        put(p, 69, 0x4000); /* reads after TRIM are all the same */
        put(p, 105, 1);
        put(p, 169, 1);
    }
}

void ide_identify(IdeDrive *d, uint8_t out[512])
{
    memset(out, 0, 512);
    put(out, 0, 0x0040);
    put(out, 4, (uint16_t)(512 * d->geo.secs));
    put(out, 5, 512);
    put_string(out, 10, d->serial, 20);
    put(out, 20, 3);
    put(out, 21, 512);
    put(out, 22, 4);
    put_string(out, 23, d->version, 8);
    put_string(out, 27, d->model, 40);
    put(out, 47, 0x8000 | IDE_MAX_MULT);
    put(out, 48, 1);
    put(out, 49, 0x0b00); /* IORDY, LBA, DMA */
    put(out, 51, 0x0200);
    put(out, 52, 0x0200);
    put(out, 53, 7);
    put_geometry(d, out);
    if (d->mult) {
        put(out, 59, (uint16_t)(0x100 | d->mult));
    }
    put(out, 62, 7);
    put_dma_modes(d, out);
    put(out, 64, 3);
    for (unsigned w = 65; w <= 68; w++) {
        put(out, w, 120);
    }
    put(out, 80, 0x00f0); /* ATA/ATAPI-4 to -7 */
    put(out, 81, 0x0016);
    put_features(d, out);
    put_interface(d, out, 0x0106); /* NCQ */
    if (d->physical_block_size > d->logical_block_size) {
        unsigned exp = (unsigned)__builtin_ctz(d->physical_block_size / d->logical_block_size);
        put(out, 106, (uint16_t)(0x6000 | exp));
    }
    put(out, 217, d->rotation_rate);
}

void ide_identify_packet(IdeDrive *d, uint8_t out[512])
{
    memset(out, 0, 512);
    put(out, 0, 0x85c0); /* ATAPI CD-ROM, removable, 12-byte packets */
    put_string(out, 10, d->serial, 20);
    put(out, 20, 3);
    put(out, 21, 512);
    put(out, 22, 4);
    put_string(out, 23, d->version, 8);
    put_string(out, 27, d->model, 40);
    put(out, 48, 1);
    put(out, 49, 0x0b00);
    put(out, 53, 7);
    put(out, 62, 7);
    put_dma_modes(d, out);
    put(out, 64, 1);
    put(out, 65, 180);
    put(out, 66, 180);
    put(out, 67, 300);
    put(out, 68, 180);
    put(out, 71, 30);
    put(out, 72, 30);
    put(out, 80, d->sata ? 0x00f0 : 0x001e);
    put_interface(d, out, 0x0006);
    put(out, 82, 0x0010); /* packets */
    put(out, 85, 0x0010);
    if (d->wwn) {
        put(out, 84, 0x4100);
        put(out, 87, 0x4100);
        put_wwn(out, d->wwn);
    }
}

/* ---- SMART ---- */

/* Attributes of a disk that never wears out: id, flags, value, worst, threshold. */
static const struct {
    uint8_t id;
    uint16_t flags;
    uint8_t value, threshold;
    uint8_t raw;
} attributes[] = {
    {0x01, 0x0003, 100, 6, 0},    /* raw read errors */
    {0x03, 0x0003, 100, 0, 16},   /* spin-up time */
    {0x04, 0x0002, 100, 20, 100}, /* start/stop count */
    {0x05, 0x0003, 100, 36, 0},   /* remapped sectors */
    {0x09, 0x0003, 100, 0, 1},    /* power-on hours */
    {0x0c, 0x0003, 100, 0, 0},    /* power cycles */
    {0xbe, 0x0003, 69, 50, 31},   /* airflow temperature */
};

static void checksum(uint8_t *p)
{
    uint8_t sum = 0;
    for (unsigned i = 0; i < 511; i++) {
        sum = (uint8_t)(sum + p[i]);
    }
    p[511] = (uint8_t)-sum;
}

static void smart_data(IdeDrive *d)
{
    uint8_t *p = d->buf;
    memset(p, 0, 512);
    p[0] = 1;
    for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
        uint8_t *a = p + 2 + 12 * i;
        a[0] = attributes[i].id;
        st_le16(a + 1, attributes[i].flags);
        a[3] = a[4] = attributes[i].value;
        a[5] = attributes[i].raw;
    }
    p[362] = d->smart_autosave ? 0x02 : 0;
    p[363] = d->smart_selftest;
    p[364] = 0x20; /* seconds an off-line collection takes */
    p[367] = 0x19; /* off-line collection, self-test */
    p[368] = 3;    /* saves before standby, autosave */
    p[370] = 1;    /* error log */
    p[372] = 2;    /* minutes of a short, of a long self-test */
    p[373] = 54;
    checksum(p);
}

static void smart_thresholds(IdeDrive *d)
{
    memset(d->buf, 0, 512);
    d->buf[0] = 1;
    for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
        d->buf[2 + 12 * i] = attributes[i].id;
        d->buf[3 + 12 * i] = attributes[i].threshold;
    }
    checksum(d->buf);
}

static bool smart_log(IdeDrive *d)
{
    memset(d->buf, 0, 512);
    switch (d->lba_low) {
    case 0: /* the directory: logs 1 and 6 have one sector */
        d->buf[0] = 1;
        d->buf[2] = 1;
        d->buf[12] = 1;
        return true;
    case 1: /* summary error log, empty */
    case 6: /* self-test log, empty */
        d->buf[0] = 1;
        checksum(d->buf);
        return true;
    default:
        return false;
    }
}

static void smart_offline(IdeDrive *d)
{
    switch (d->lba_low) {
    case 0: /* off-line collection, short and extended self-test: done at once, all well */
    case 1:
    case 2:
        d->smart_selftest = 0;
        ide_ok(d);
        break;
    case 0x7f: /* abort the test */
        ide_ok(d);
        break;
    default:
        ide_abort(d);
        break;
    }
}

void ide_smart(IdeDrive *d)
{
    if (d->lba_mid != 0x4f || d->lba_high != 0xc2 || (!d->smart_on && d->features != 0xd8)) {
        ide_abort(d);
        return;
    }
    switch (d->features) {
    case 0xd0:
        smart_data(d);
        ide_data_phase(d, IDE_PHASE_IN, 512, true);
        break;
    case 0xd1:
        smart_thresholds(d);
        ide_data_phase(d, IDE_PHASE_IN, 512, true);
        break;
    case 0xd2: /* attribute autosave */
        if (d->count != 0 && d->count != 0xf1) {
            ide_abort(d);
            break;
        }
        d->smart_autosave = d->count == 0xf1;
        ide_ok(d);
        break;
    case 0xd3: /* save attributes: there are none that change */
        ide_ok(d);
        break;
    case 0xd4:
        smart_offline(d);
        break;
    case 0xd5:
        if (smart_log(d)) {
            ide_data_phase(d, IDE_PHASE_IN, 512, true);
        } else {
            ide_abort(d);
        }
        break;
    case 0xd8:
    case 0xd9:
        d->smart_on = d->features == 0xd8;
        ide_ok(d);
        break;
    case 0xda: /* status: no threshold exceeded (the registers stay as they are) */
        ide_ok(d);
        break;
    default:
        ide_abort(d);
        break;
    }
}
