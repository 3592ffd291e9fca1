/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ATAPI commands that tell something of the drive or its medium. */
#include "hw/ide/ide.h"

#define CD_MAX_SECTORS (80u * 60 * 75) /* more is a DVD */

static void put_padded(uint8_t *p, const char *s, size_t len)
{
    size_t have = strlen(s);
    memset(p, ' ', len);
    memcpy(p, s, MIN(have, len));
}

static void put_msf(uint8_t *p, uint32_t lba)
{
    uint32_t f = lba + 150;
    p[0] = 0;
    p[1] = (uint8_t)MIN(f / 75 / 60, 255u);
    p[2] = (uint8_t)(f / 75 % 60);
    p[3] = (uint8_t)(f % 75);
}

static void put_address(uint8_t *p, uint32_t lba, bool msf)
{
    if (msf) {
        put_msf(p, lba);
    } else {
        st_be32(p, lba);
    }
}

static void invalid_field(IdeDrive *d)
{
    atapi_check(d, 5, 0x24, 0);
}

/* ---- identity ---- */

static void inquiry_pages(IdeDrive *d, uint32_t alloc)
{
    uint8_t *b = d->buf;
    uint32_t len;
    b[0] = 0x05;
    b[1] = d->cd.packet[2];
    switch (d->cd.packet[2]) {
    case 0x00: /* the pages there are */
        b[3] = 2;
        b[4] = 0x00;
        b[5] = 0x83;
        len = 6;
        break;
    case 0x83: { /* designators: the serial number, and the WWN if there is one */
        uint8_t *p = b + 4;
        p[0] = 2; /* ASCII */
        p[3] = (uint8_t)strlen(d->serial);
        memcpy(p + 4, d->serial, p[3]);
        p += 4 + p[3];
        if (d->wwn) {
            p[0] = 1; /* binary */
            p[1] = 3; /* NAA */
            p[3] = 8;
            st_be64(p + 4, d->wwn);
            p += 12;
        }
        len = (uint32_t)(p - b);
        b[3] = (uint8_t)(len - 4);
        break;
    }
    default:
        invalid_field(d);
        return;
    }
    atapi_reply(d, len, alloc);
}

static void inquiry(IdeDrive *d)
{
    const uint8_t *p = d->cd.packet;
    uint32_t alloc = ld_be16(p + 3);
    uint8_t *b = d->buf;
    if (p[1] & 1) {
        inquiry_pages(d, alloc);
        return;
    }
    if (p[2]) {
        invalid_field(d);
        return;
    }
    b[0] = 0x05; /* CD/DVD */
    b[1] = 0x80; /* removable */
    b[3] = 0x21; /* ATAPI-2, format 1 */
    b[4] = 31;
    put_padded(b + 8, "QEMU", 8);
    put_padded(b + 16, "QEMU DVD-ROM", 16);
    put_padded(b + 32, d->version, 4);
    atapi_reply(d, 36, alloc);
}

static void request_sense(IdeDrive *d)
{
    uint8_t *b = d->buf;
    if (!d->cd.sense_key && d->cd.new_medium) {
        d->cd.new_medium = false;
        atapi_sense(d, 6, 0x28, 0);
    }
    b[0] = 0x70 | 0x80;
    b[2] = d->cd.sense_key;
    b[7] = 10;
    b[12] = d->cd.asc;
    b[13] = d->cd.ascq;
    atapi_reply(d, 18, d->cd.packet[4]);
}

/* ---- the medium ---- */

static void read_capacity(IdeDrive *d)
{
    uint32_t n = atapi_sectors(d);
    st_be32(d->buf, n ? n - 1 : 0);
    st_be32(d->buf + 4, 2048);
    atapi_reply(d, 8, 8);
}

/* One data track from block 0, and the lead-out. */
static uint32_t toc_tracks(IdeDrive *d, bool msf, uint8_t start)
{
    uint8_t *b = d->buf, *p = b + 4;
    b[2] = b[3] = 1;
    if (start <= 1) {
        p[1] = 0x14; /* data, copying prohibited */
        p[2] = 1;
        put_address(p + 4, 0, msf);
        p += 8;
    }
    p[1] = 0x16;
    p[2] = 0xaa;
    put_address(p + 4, atapi_sectors(d), msf);
    p += 8;
    st_be16(b, (uint16_t)(p - b - 2));
    return (uint32_t)(p - b);
}

static uint32_t toc_session(IdeDrive *d, bool msf)
{
    uint8_t *b = d->buf;
    b[1] = 10;
    b[2] = b[3] = 1;
    b[5] = 0x14;
    b[6] = 1;
    put_address(b + 8, 0, msf);
    return 12;
}

/* The full table: first track, last track, lead-out, track 1; always in minutes. */
static uint32_t toc_full(IdeDrive *d)
{
    uint8_t *b = d->buf, *p = b + 4;
    static const uint8_t points[] = {0xa0, 0xa1, 0xa2, 0x01};
    b[2] = b[3] = 1;
    for (size_t i = 0; i < sizeof(points); i++, p += 11) {
        uint8_t msf[4];
        p[0] = 1;
        p[1] = 0x14;
        p[3] = points[i];
        if (points[i] == 0xa0 || points[i] == 0xa1) {
            p[8] = 1;
            continue;
        }
        put_msf(msf, points[i] == 0xa2 ? atapi_sectors(d) : 0);
        memcpy(p + 8, msf + 1, 3);
    }
    st_be16(b, (uint16_t)(p - b - 2));
    return (uint32_t)(p - b);
}

static void read_toc(IdeDrive *d)
{
    const uint8_t *p = d->cd.packet;
    uint8_t format = p[2] & 0x0f ? p[2] & 0x0f : p[9] >> 6, start = p[6];
    bool msf = p[1] & 2;
    uint32_t alloc = ld_be16(p + 7);
    switch (format) {
    case 0:
        if (start > 1 && start != 0xaa) {
            invalid_field(d);
            return;
        }
        atapi_reply(d, toc_tracks(d, msf, start), alloc);
        break;
    case 1:
        atapi_reply(d, toc_session(d, msf), alloc);
        break;
    case 2:
        atapi_reply(d, toc_full(d), alloc);
        break;
    default:
        invalid_field(d);
        break;
    }
}

static void read_disc_info(IdeDrive *d)
{
    uint8_t *b = d->buf;
    if (d->cd.packet[1] & 7) {
        invalid_field(d);
        return;
    }
    b[1] = 32;
    b[2] = 0x0e; /* finished disc, complete last session */
    b[3] = b[4] = b[5] = b[6] = 1;
    b[7] = 0x20; /* unrestricted use */
    memset(b + 16, 0xff, 8);
    atapi_reply(d, 34, ld_be16(d->cd.packet + 7));
}

static bool is_dvd(const IdeDrive *d)
{
    return atapi_sectors(d) > CD_MAX_SECTORS;
}

static void read_disc_structure(IdeDrive *d)
{
    const uint8_t *p = d->cd.packet;
    uint8_t *b = d->buf;
    uint32_t alloc = ld_be16(p + 8), n = atapi_sectors(d);
    if ((p[1] & 0x0f) || p[6] || p[7] > 1) {
        invalid_field(d);
        return;
    }
    if (!is_dvd(d)) {
        atapi_check(d, 5, 0x30, 2); /* incompatible medium */
        return;
    }
    if (p[7] == 1) { /* copyright: none */
        b[1] = 6;
        atapi_reply(d, 8, alloc);
        return;
    }
    st_be16(b, 2048 + 2);
    b[4] = 0x01; /* DVD-ROM, version 1 */
    b[5] = 0x0f; /* 120 mm, no maximum rate */
    b[6] = 0x01; /* one layer, read-only */
    st_be32(b + 8, 0x30000);
    st_be32(b + 12, 0x30000 + n - 1);
    st_be32(b + 16, 0x30000 + n - 1);
    atapi_reply(d, 2048 + 4, alloc);
}

/* ---- features, events ---- */

static uint8_t *put_feature(uint8_t *p, uint16_t code, uint8_t flags, const void *data, uint8_t len)
{
    st_be16(p, code);
    p[2] = flags;
    p[3] = len;
    memcpy(p + 4, data, len);
    return p + 4 + len;
}

static void get_configuration(IdeDrive *d)
{
    const uint8_t *c = d->cd.packet;
    uint8_t type = c[1] & 3, *b = d->buf, *p = b + 8;
    uint16_t start = ld_be16(c + 2);
    bool medium = atapi_sectors(d) > 0, dvd = is_dvd(d);
    const uint8_t profiles[] = {0, 0x10, medium && dvd, 0, 0, 0x08, medium && !dvd, 0};
    static const uint8_t core[] = {0, 0, 0, 2, 1, 0, 0, 0}; /* ATAPI; can tell of events */
    static const uint8_t removable[] = {0x39, 0, 0, 0};     /* tray, ejects, locks */
    if (type == 3) {
        invalid_field(d);
        return;
    }
    st_be16(b + 6, !medium ? 0 : dvd ? 0x10 : 0x08);
    const struct {
        uint16_t code;
        uint8_t flags;
        const void *data;
        uint8_t len;
    } features[] = {{0x0000, 0x03, profiles, sizeof(profiles)},
                    {0x0001, 0x0b, core, sizeof(core)},
                    {0x0003, 0x03, removable, sizeof(removable)}};
    for (size_t i = 0; i < ARRAY_LEN(features); i++) {
        bool wanted = type == 2 ? features[i].code == start : features[i].code >= start;
        if (wanted) {
            p = put_feature(p, features[i].code, features[i].flags, features[i].data,
                            features[i].len);
        }
    }
    st_be32(b, (uint32_t)(p - b - 4));
    atapi_reply(d, (uint32_t)(p - b), ld_be16(c + 7));
}

static void get_event_status(IdeDrive *d)
{
    const uint8_t *c = d->cd.packet;
    uint8_t *b = d->buf;
    uint32_t len = 4;
    if (!(c[1] & 1)) { /* only polling */
        invalid_field(d);
        return;
    }
    b[3] = 0x10; /* media events are what there is */
    if (c[4] & 0x10) {
        b[2] = 4;
        if (d->cd.media_event) {
            b[4] = d->cd.tray_open ? 3 : blk_present(d->blk) ? 2 : 0;
            d->cd.media_event = false;
        }
        b[5] = (uint8_t)((d->cd.tray_open ? 1 : 0) | (blk_present(d->blk) ? 2 : 0));
        len = 8;
    } else {
        b[2] = 0x80; /* no event of these classes */
    }
    st_be16(b, (uint16_t)(len - 2));
    atapi_reply(d, len, ld_be16(c + 7));
}

static void mechanism_status(IdeDrive *d)
{
    d->buf[1] = d->cd.tray_open ? 0x10 : 0;
    d->buf[5] = 1;
    atapi_reply(d, 8, ld_be16(d->cd.packet + 8));
}

/* ---- mode pages ---- */

static uint8_t *mode_error_recovery(uint8_t *p)
{
    p[0] = 0x01;
    p[1] = 6;
    p[3] = 5; /* retries */
    return p + 8;
}

static uint8_t *mode_audio(uint8_t *p)
{
    p[0] = 0x0e;
    p[1] = 14;
    p[2] = 0x04;
    p[7] = 75;
    return p + 16;
}

static uint8_t *mode_capabilities(IdeDrive *d, uint8_t *p)
{
    p[0] = 0x2a;
    p[1] = 18;
    p[2] = 0x3b; /* reads CD-R, CD-RW, DVD-ROM, DVD-R */
    p[4] = 0x70;
    p[5] = 0x03;
    p[6] = (uint8_t)(0x29 | (d->cd.tray_locked ? 2 : 0)); /* tray, ejects, locks */
    st_be16(p + 8, 706);                                  /* 4x */
    st_be16(p + 10, 2);
    st_be16(p + 12, 512); /* KiB of buffer */
    st_be16(p + 14, 706);
    return p + 20;
}

static void mode_sense(IdeDrive *d)
{
    const uint8_t *c = d->cd.packet;
    uint8_t *b = d->buf, *p = b + 8, page = c[2] & 0x3f;
    if (c[2] >> 6 == 3) {
        atapi_check(d, 5, 0x39, 0); /* saved values: none */
        return;
    }
    b[2] = d->cd.tray_open ? 0x71 : !blk_present(d->blk) ? 0x70 : 0x01;
    if (page == 0x01 || page == 0x3f) {
        p = mode_error_recovery(p);
    }
    if (page == 0x0e || page == 0x3f) {
        p = mode_audio(p);
    }
    if (page == 0x2a || page == 0x3f) {
        p = mode_capabilities(d, p);
    }
    if (p == b + 8) {
        invalid_field(d);
        return;
    }
    st_be16(b, (uint16_t)(p - b - 2));
    atapi_reply(d, (uint32_t)(p - b), ld_be16(c + 7));
}

bool atapi_info_command(IdeDrive *d)
{
    switch (d->cd.packet[0]) {
    case 0x03:
        request_sense(d);
        return true;
    case 0x12:
        inquiry(d);
        return true;
    case 0x25:
        read_capacity(d);
        return true;
    case 0x43:
        read_toc(d);
        return true;
    case 0x46:
        get_configuration(d);
        return true;
    case 0x4a:
        get_event_status(d);
        return true;
    case 0x51:
        read_disc_info(d);
        return true;
    case 0x5a:
        mode_sense(d);
        return true;
    case 0xad:
        read_disc_structure(d);
        return true;
    case 0xbd:
        mechanism_status(d);
        return true;
    default:
        return false;
    }
}
