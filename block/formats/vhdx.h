/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block/formats/vhdx.h: what vhdx.c and vhdx-log.c share. */
#ifndef RHEA_BLOCK_FORMATS_VHDX_H
#define RHEA_BLOCK_FORMATS_VHDX_H

#include "block/formats/bat.h"

/* CRC-32C with the four bytes at `zero_at` taken as zeroes. */
uint32_t vhdx_crc(const uint8_t *p, size_t len, size_t zero_at);

typedef struct VhdxLog {
    BlockNode *file;
    uint64_t offset;
    uint32_t len;
    uint8_t guid[16];
} VhdxLog;
/* Does what the newest complete sequence of the log says, durably. Nothing to do is fine. */
int vhdx_replay(const VhdxLog *l);

#endif
