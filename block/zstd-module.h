/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block/zstd-module.h: zstd streams, by libzstd (module "zstd"). */
#ifndef RHEA_BLOCK_ZSTD_MODULE_H
#define RHEA_BLOCK_ZSTD_MODULE_H

#include "util/module.h"

#include <stddef.h>
#include <stdint.h>

typedef struct ZstdModule {
    ModuleHead head;
    /* Exactly out_len bytes; what follows the stream in `in` is ignored. 0 or -errno. */
    int (*unpack)(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len);
    /* Bytes of output; 0: they would not fit into `room`; or -errno. */
    int (*pack)(const uint8_t *in, size_t in_len, uint8_t *out, size_t room);
} ZstdModule;

#endif
