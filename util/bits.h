/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/bits.h: small pure helpers: bit fields, alignment, byte order, unaligned
 * access.  No allocation, no state.
 */
#ifndef RHEA_UTIL_BITS_H
#define RHEA_UTIL_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KiB 1024ull
#define MiB (1024ull * KiB)
#define GiB (1024ull * MiB)

#define BIT(n) (1ull << (n))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define ALIGN_DOWN(v, a) ((v) & ~((__typeof__(v))(a)-1))
#define ALIGN_UP(v, a) ALIGN_DOWN((v) + ((__typeof__(v))(a)-1), a)
#define IS_ALIGNED(v, a) (((v) & ((__typeof__(v))(a)-1)) == 0)
#define IS_POWER_OF_2(v) ((v) && !((v) & ((v)-1)))
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))

static inline uint64_t bits_get(uint64_t v, unsigned pos, unsigned len)
{
    return (v >> pos) & (~0ull >> (64 - len));
}

static inline uint64_t bits_set(uint64_t v, unsigned pos, unsigned len, uint64_t field)
{
    uint64_t mask = (~0ull >> (64 - len)) << pos;
    return (v & ~mask) | ((field << pos) & mask);
}

/* Unaligned little- and big-endian access, size in the name in bits. */
#define BITS_DEFINE_ACCESS(bits)                              \
    static inline uint##bits##_t ld_le##bits(const void *p)   \
    {                                                         \
        uint##bits##_t v;                                     \
        memcpy(&v, p, sizeof(v));                             \
        return BITS_LE##bits(v);                              \
    }                                                         \
    static inline void st_le##bits(void *p, uint##bits##_t v) \
    {                                                         \
        v = BITS_LE##bits(v);                                 \
        memcpy(p, &v, sizeof(v));                             \
    }                                                         \
    static inline uint##bits##_t ld_be##bits(const void *p)   \
    {                                                         \
        uint##bits##_t v;                                     \
        memcpy(&v, p, sizeof(v));                             \
        return BITS_BE##bits(v);                              \
    }                                                         \
    static inline void st_be##bits(void *p, uint##bits##_t v) \
    {                                                         \
        v = BITS_BE##bits(v);                                 \
        memcpy(p, &v, sizeof(v));                             \
    }
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BITS_LE16(v) (v)
#define BITS_LE32(v) (v)
#define BITS_LE64(v) (v)
#define BITS_BE16(v) __builtin_bswap16(v)
#define BITS_BE32(v) __builtin_bswap32(v)
#define BITS_BE64(v) __builtin_bswap64(v)
#else
#define BITS_LE16(v) __builtin_bswap16(v)
#define BITS_LE32(v) __builtin_bswap32(v)
#define BITS_LE64(v) __builtin_bswap64(v)
#define BITS_BE16(v) (v)
#define BITS_BE32(v) (v)
#define BITS_BE64(v) (v)
#endif
BITS_DEFINE_ACCESS(16)
BITS_DEFINE_ACCESS(32)
BITS_DEFINE_ACCESS(64)

/* A little-endian access of 1, 2, 4 or 8 bytes. */
static inline uint64_t ld_le(const void *p, unsigned size)
{
    switch (size) {
    case 1:
        return *(const uint8_t *)p;
    case 2:
        return ld_le16(p);
    case 4:
        return ld_le32(p);
    default:
        return ld_le64(p);
    }
}

static inline void st_le(void *p, unsigned size, uint64_t v)
{
    switch (size) {
    case 1:
        *(uint8_t *)p = (uint8_t)v;
        break;
    case 2:
        st_le16(p, (uint16_t)v);
        break;
    case 4:
        st_le32(p, (uint32_t)v);
        break;
    default:
        st_le64(p, v);
        break;
    }
}

#endif
