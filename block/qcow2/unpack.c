/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compressed clusters: raw deflate with a 4 KiB window, or zstd. */
#include "block/qcow2/qcow2.h"
#include "block/zstd-module.h"

#include <errno.h>
#include <zlib.h>

typedef struct Unpack {
    uint8_t compression;
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len;
} Unpack;

static int unpack_zlib(const Unpack *u)
{
    z_stream z = {.next_in = (Bytef *)u->in,
                  .avail_in = (uInt)u->in_len,
                  .next_out = u->out,
                  .avail_out = (uInt)u->out_len};
    if (inflateInit2(&z, -12) != Z_OK) {
        return -ENOMEM;
    }
    int ret = inflate(&z, Z_FINISH);
    /* What follows the stream in the last sector belongs to a neighbour. */
    bool whole = z.avail_out == 0 && (ret == Z_STREAM_END || ret == Z_BUF_ERROR);
    inflateEnd(&z);
    return whole ? 0 : -EIO;
}

static int unpack_zstd(const Unpack *u)
{
    const ZstdModule *m = module_load("zstd", NULL); /* it was there when the image was opened */
    return m ? m->unpack(u->in, u->in_len, u->out, u->out_len) : -ENOTSUP;
}

static int unpack_work(void *opaque)
{
    const Unpack *u = opaque;
    return u->compression ? unpack_zstd(u) : unpack_zlib(u);
}

int qcow2_unpack(Qcow2 *s, uint64_t entry, const uint8_t **data)
{
    for (size_t i = 0; i < ARRAY_LEN(s->unpacked); i++) {
        if (s->unpacked[i].entry == entry) {
            *data = s->unpacked[i].data;
            return 0;
        }
    }
    uint64_t offset, len;
    qcow2_packed_extent(s, entry, &offset, &len);
    Unpack u = {s->compression, NULL, len, NULL, s->cluster_size};
    uint8_t *in = g_malloc(len);
    u.in = in;
    u.out = g_malloc(s->cluster_size);
    int ret = node_pread(s->n->file, offset, in, len);
    ret = ret < 0 ? ret : node_run_blocking(s->n, unpack_work, &u);
    g_free(in);
    if (ret < 0) {
        g_free(u.out);
        return ret;
    }
    Qcow2Decompressed *slot = &s->unpacked[s->unpacked_next++ % ARRAY_LEN(s->unpacked)];
    g_free(slot->data);
    slot->entry = entry;
    slot->data = u.out;
    *data = slot->data;
    return 0;
}
