/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The module "xz". */
#include "hw/i386/xz-module.h"

#include "config.h"

#include <errno.h>
#include <lzma.h>

#define MEMORY_MAX (256u << 20) /* a dictionary's; kernels have 32 MiB */

static int unpack(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    lzma_stream s = LZMA_STREAM_INIT;
    lzma_ret r = lzma_stream_decoder(&s, MEMORY_MAX, 0);

    if (r != LZMA_OK) {
        return -ENOMEM;
    }
    s.next_in = in;
    s.avail_in = in_len;
    s.next_out = out;
    s.avail_out = out_len;
    while (r == LZMA_OK) {
        size_t left_in = s.avail_in, left_out = s.avail_out;
        r = lzma_code(&s, LZMA_FINISH);
        if (s.avail_in == left_in && s.avail_out == left_out) {
            break;
        }
    }
    size_t left = s.avail_out;
    lzma_end(&s);
    return r == LZMA_STREAM_END && !left ? 0 : -EIO;
}

MODULE_TABLE(XzModule) = {.head = {RHEA_VERSION}, .unpack = unpack};
