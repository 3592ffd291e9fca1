/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A monitor's identification: VESA E-EDID 1.4, base block. */
#include "hw/display/vga.h"

#include <string.h>

/* Detailed timing with reduced blanking (CVT-RB numbers), 60 Hz. */
static void detailed_timing(uint8_t *d, unsigned x, unsigned y)
{
    unsigned hblank = 160, vblank = MAX(y * 27 / 1000, 23u);
    unsigned clock = (x + hblank) * (y + vblank) * 60 / 10000; /* in 10 kHz */
    unsigned mm_x = x * 254 / 960, mm_y = y * 254 / 960;       /* 96 dots an inch */
    st_le16(d, (uint16_t)MIN(clock, 0xffffu));
    d[2] = (uint8_t)x;
    d[3] = (uint8_t)hblank;
    d[4] = (uint8_t)((x >> 8) << 4 | hblank >> 8);
    d[5] = (uint8_t)y;
    d[6] = (uint8_t)vblank;
    d[7] = (uint8_t)((y >> 8) << 4 | vblank >> 8);
    d[8] = 48; /* sync offset and width */
    d[9] = 32;
    d[10] = 3 << 4 | 6;
    d[12] = (uint8_t)mm_x;
    d[13] = (uint8_t)mm_y;
    d[14] = (uint8_t)((mm_x >> 8) << 4 | mm_y >> 8);
    d[17] = 0x18; /* digital separate sync */
}

void edid_generate(uint8_t e[128], unsigned xres, unsigned yres)
{
    static const uint8_t header[8] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0};
    /* Standard timings: 1024x768, 1280x1024, 1280x800, 1440x900, 1600x1200, 1680x1050, 1920x1080. */
    static const uint8_t standard[16] = {0x61, 0x40, 0x81, 0x80, 0x81, 0x00, 0x95, 0x00,
                                         0xa9, 0x40, 0xb3, 0x00, 0xd1, 0xc0, 0x01, 0x01};
    memset(e, 0, 128);
    xres = CLAMP(xres ? xres : 1280, 640, 4088);
    yres = CLAMP(yres ? yres : 800, 480, 4088);
    memcpy(e, header, 8);
    e[8] = ('R' - 64) << 2 | ('H' - 64) >> 3; /* "RHE" */
    e[9] = (uint8_t)(('H' - 64) << 5 | ('E' - 64));
    st_le16(e + 10, 0x0001);
    st_le32(e + 12, 0);
    e[16] = 1;
    e[17] = 2026 - 1990;
    e[18] = 1;
    e[19] = 4;
    e[20] = 0xa5; /* digital, 8 bits, DisplayPort */
    e[21] = (uint8_t)MIN(xres * 254 / 9600, 255u);
    e[22] = (uint8_t)MIN(yres * 254 / 9600, 255u);
    e[23] = 120;  /* gamma 2.2 */
    e[24] = 0x06; /* sRGB, preferred timing is native */
    static const uint8_t srgb[10] = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
    memcpy(e + 25, srgb, 10);
    e[35] = 0x21; /* 640x480, 800x600 at 60 Hz */
    e[36] = 0x08; /* 1024x768 at 60 Hz */
    memcpy(e + 38, standard, 16);
    detailed_timing(e + 54, xres, yres);
    static const uint8_t range[18] = {0,  0, 0,  0xfd, 0,  50, 125, 30, 160,
                                      60, 1, 10, 32,   32, 32, 32,  32, 32};
    static const uint8_t name[18] = {0,   0,   0,   0xfc, 0,   'R', 'h', 'e', 'a',
                                     ' ', 'm', 'o', 'n',  'i', 't', 'o', 'r', 10};
    memcpy(e + 72, range, 18);
    memcpy(e + 90, name, 18);
    e[111] = 0x10; /* an unused descriptor */
    uint8_t sum = 0;
    for (unsigned i = 0; i < 127; i++) {
        sum = (uint8_t)(sum + e[i]);
    }
    e[127] = (uint8_t)-sum;
}
