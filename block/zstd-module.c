/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The module "zstd". */
#include "block/zstd-module.h"

#include "config.h"

#include <errno.h>
#include <zstd.h>

static int unpack(const uint8_t *data, size_t in_len, uint8_t *to, size_t out_len)
{
    ZSTD_DStream *d = ZSTD_createDStream();
    ZSTD_inBuffer in = {data, in_len, 0};
    ZSTD_outBuffer out = {to, out_len, 0};

    if (!d) {
        return -ENOMEM;
    }
    while (out.pos < out.size) {
        size_t before = in.pos, had = out.pos;
        size_t ret = ZSTD_decompressStream(d, &out, &in);
        if (ZSTD_isError(ret) || (in.pos == before && out.pos == had)) {
            break;
        }
        if (ret == 0 && out.pos < out.size && in.pos >= in.size) {
            break;
        }
    }
    ZSTD_freeDStream(d);
    return out.pos == out.size ? 0 : -EIO;
}

static int pack(const uint8_t *data, size_t in_len, uint8_t *to, size_t room)
{
    size_t len = ZSTD_compress(to, room, data, in_len, ZSTD_CLEVEL_DEFAULT);
    return ZSTD_isError(len) ? 0 : (int)len;
}

MODULE_TABLE(ZstdModule) = {.head = {RHEA_VERSION}, .unpack = unpack, .pack = pack};
