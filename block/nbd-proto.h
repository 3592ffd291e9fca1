/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/nbd-proto.h: the numbers of the NBD protocol (its specification: doc/proto.md of the
 * NetworkBlockDevice project), for client and server.  Everything is big-endian.
 */
#ifndef RHEA_BLOCK_NBD_PROTO_H
#define RHEA_BLOCK_NBD_PROTO_H

#include <stdint.h>

#define NBD_MAGIC 0x4e42444d41474943ull      /* "NBDMAGIC" */
#define NBD_OPTS_MAGIC 0x49484156454f5054ull /* "IHAVEOPT" */
#define NBD_OLD_MAGIC 0x00420281861253ull    /* oldstyle */
#define NBD_OPT_REPLY_MAGIC 0x0003e889045565a9ull
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_REQUEST_EXT_MAGIC 0x21e41c71u
#define NBD_SIMPLE_MAGIC 0x67446698u
#define NBD_CHUNK_MAGIC 0x668e33efu
#define NBD_EXT_MAGIC 0x6e8a278cu

/* Handshake flags. */
#define NBD_FIXED_NEWSTYLE 1u
#define NBD_NO_ZEROES 2u

enum {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED = 8,
    NBD_OPT_LIST_META = 9,
    NBD_OPT_SET_META = 10,
    NBD_OPT_EXTENDED = 11,
};
enum {
    NBD_REP_ACK = 1,
    NBD_REP_SERVER = 2,
    NBD_REP_INFO = 3,
    NBD_REP_META = 4,
};
#define NBD_REP_ERR(n) (0x80000000u + (n))
#define NBD_REP_ERR_UNSUP NBD_REP_ERR(1)
#define NBD_REP_ERR_POLICY NBD_REP_ERR(2)
#define NBD_REP_ERR_INVALID NBD_REP_ERR(3)
#define NBD_REP_ERR_TLS_REQD NBD_REP_ERR(5)
#define NBD_REP_ERR_UNKNOWN NBD_REP_ERR(6)
#define NBD_REP_ERR_SHUTDOWN NBD_REP_ERR(7)
#define NBD_REP_ERR_TOO_BIG NBD_REP_ERR(9)
#define NBD_REP_ERR_EXT_REQD NBD_REP_ERR(10)
enum { NBD_INFO_EXPORT = 0, NBD_INFO_NAME = 1, NBD_INFO_DESCRIPTION = 2, NBD_INFO_BLOCK_SIZE = 3 };

/* Transmission flags. */
#define NBD_FLAG_HAS_FLAGS (1u << 0)
#define NBD_FLAG_READ_ONLY (1u << 1)
#define NBD_FLAG_FLUSH (1u << 2)
#define NBD_FLAG_FUA (1u << 3)
#define NBD_FLAG_TRIM (1u << 5)
#define NBD_FLAG_WRITE_ZEROES (1u << 6)
#define NBD_FLAG_DF (1u << 7)
#define NBD_FLAG_MULTI_CONN (1u << 8)
#define NBD_FLAG_CACHE (1u << 10)
#define NBD_FLAG_FAST_ZERO (1u << 11)

enum {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
};
/* Command flags. */
#define NBD_CMD_FUA (1u << 0)
#define NBD_CMD_NO_HOLE (1u << 1)
#define NBD_CMD_DF (1u << 2)
#define NBD_CMD_REQ_ONE (1u << 3)
#define NBD_CMD_FAST_ZERO (1u << 4)
#define NBD_CMD_PAYLOAD_LEN (1u << 5)

#define NBD_CHUNK_DONE 1u
enum {
    NBD_CHUNK_NONE = 0,
    NBD_CHUNK_DATA = 1,
    NBD_CHUNK_HOLE = 2,
    NBD_CHUNK_STATUS = 5,
    NBD_CHUNK_STATUS_EXT = 6,
    NBD_CHUNK_ERROR = 0x8001,
    NBD_CHUNK_ERROR_OFFSET = 0x8002,
};

/* base:allocation */
#define NBD_STATE_HOLE 1u
#define NBD_STATE_ZERO 2u

/* Errors. */
enum {
    NBD_SUCCESS = 0,
    NBD_EPERM = 1,
    NBD_EIO = 5,
    NBD_ENOMEM = 12,
    NBD_EINVAL = 22,
    NBD_ENOSPC = 28,
    NBD_EOVERFLOW = 75,
    NBD_ENOTSUP = 95,
    NBD_ESHUTDOWN = 108,
};

#define NBD_MAX_STRING 4096u
#define NBD_MAX_PAYLOAD (32u << 20)
#define NBD_DEFAULT_PORT "10809"

#endif
