/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/simd_crypto.c: SHA-1 and SHA-256 (FIPS 180-4), GFNI.  The SHA
 * instructions count their words from the top: element 3 is the first.
 */
#include "target/i386/tcg/simd_int.h"

static uint32_t rol(uint32_t v, unsigned n)
{
    return v << n | v >> (32 - n);
}

static uint32_t ror(uint32_t v, unsigned n)
{
    return v >> n | v << (32 - n);
}

/* ---- SHA-1 ---- */

static uint32_t sha1_f(unsigned kind, uint32_t b, uint32_t c, uint32_t d)
{
    switch (kind) {
    case 0:
        return (b & c) ^ (~b & d);
    case 2:
        return (b & c) ^ (b & d) ^ (c & d);
    default:
        return b ^ c ^ d;
    }
}

/* x: A to D, y: four message words, to the first of which E was added. */
static void soft_sha1rnds4(SIMD_ARGS);
void simd_sha1rnds4(SIMD_ARGS)
{
    switch (ctl.imm & 3) {
    case 0: {
        HOST_BLOCKS("sha", "sha1rnds4 $0,")
        break;
    }
    case 1: {
        HOST_BLOCKS("sha", "sha1rnds4 $1,")
        break;
    }
    case 2: {
        HOST_BLOCKS("sha", "sha1rnds4 $2,")
        break;
    }
    default: {
        HOST_BLOCKS("sha", "sha1rnds4 $3,")
        break;
    }
    }
    soft_sha1rnds4(cpu, dst, a, b, ctl);
}
SIMD_BLOCKS_NAMED(static void soft_sha1rnds4, {
    static const uint32_t k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t s[5] = {x.u32[3], x.u32[2], x.u32[1], x.u32[0], 0};
    for (unsigned i = 0; i < 4; i++) {
        uint32_t v = sha1_f(ctl.imm & 3, s[1], s[2], s[3]) + rol(s[0], 5) + y.u32[3 - i] + s[4] +
                     k[ctl.imm & 3];
        s[4] = s[3];
        s[3] = s[2];
        s[2] = rol(s[1], 30);
        s[1] = s[0];
        s[0] = v;
    }
    for (unsigned i = 0; i < 4; i++) {
        r.u32[3 - i] = s[i];
    }
})
SIMD_BLOCKS_HOST(sha1nexte, "sha", "sha1nexte", {
    r = y;
    r.u32[3] += rol(x.u32[3], 30);
})
SIMD_BLOCKS_HOST(sha1msg1, "sha", "sha1msg1", {
    r.u32[3] = x.u32[1] ^ x.u32[3];
    r.u32[2] = x.u32[0] ^ x.u32[2];
    r.u32[1] = y.u32[3] ^ x.u32[1];
    r.u32[0] = y.u32[2] ^ x.u32[0];
})
SIMD_BLOCKS_HOST(sha1msg2, "sha", "sha1msg2", {
    r.u32[3] = rol(x.u32[3] ^ y.u32[2], 1);
    r.u32[2] = rol(x.u32[2] ^ y.u32[1], 1);
    r.u32[1] = rol(x.u32[1] ^ y.u32[0], 1);
    r.u32[0] = rol(x.u32[0] ^ r.u32[3], 1);
})

/* ---- SHA-256 ---- */

static uint32_t sigma0(uint32_t v)
{
    return ror(v, 7) ^ ror(v, 18) ^ v >> 3;
}

static uint32_t sigma1(uint32_t v)
{
    return ror(v, 17) ^ ror(v, 19) ^ v >> 10;
}

/* x: C D G H, y: A B E F; two words with their constants in XMM0. */
static void soft_sha256rnds2(SIMD_ARGS);
void simd_sha256rnds2(SIMD_ARGS)
{
#ifdef __x86_64__
    if (!ctl.soft && __builtin_cpu_supports("sha")) {
        HostBlock p, q, xmm0;
        memcpy(&p, a, 16);
        memcpy(&q, b, 16);
        memcpy(&xmm0, &cpu->vec[0], 16);
        register HostBlock k __asm__("xmm0") = xmm0;
        __asm__("sha256rnds2 %%xmm0, %1, %0" : "+x"(p) : "x"(q), "x"(k));
        memcpy(dst, &p, 16);
        return;
    }
#endif
    soft_sha256rnds2(cpu, dst, a, b, ctl);
}
SIMD_BLOCKS_NAMED(static void soft_sha256rnds2, {
    uint32_t s[8] = {y.u32[3], y.u32[2], x.u32[3], x.u32[2],
                     y.u32[1], y.u32[0], x.u32[1], x.u32[0]};
    for (unsigned i = 0; i < 2; i++) {
        uint32_t big1 = ror(s[4], 6) ^ ror(s[4], 11) ^ ror(s[4], 25);
        uint32_t big0 = ror(s[0], 2) ^ ror(s[0], 13) ^ ror(s[0], 22);
        uint32_t t1 = ((s[4] & s[5]) ^ (~s[4] & s[6])) + big1 + cpu->vec[0].u32[i] + s[7];
        uint32_t t2 = ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2])) + big0;
        memmove(s + 1, s, 7 * sizeof(s[0]));
        s[4] += t1;
        s[0] = t1 + t2;
    }
    r.u32[3] = s[0];
    r.u32[2] = s[1];
    r.u32[1] = s[4];
    r.u32[0] = s[5];
})
SIMD_BLOCKS_HOST(
    sha256msg1, "sha", "sha256msg1", for (unsigned i = 0; i < 4; i++) {
        r.u32[i] = x.u32[i] + sigma0(i < 3 ? x.u32[i + 1] : y.u32[0]);
    })
SIMD_BLOCKS_HOST(sha256msg2, "sha", "sha256msg2", {
    r.u32[0] = x.u32[0] + sigma1(y.u32[2]);
    r.u32[1] = x.u32[1] + sigma1(y.u32[3]);
    r.u32[2] = x.u32[2] + sigma1(r.u32[0]);
    r.u32[3] = x.u32[3] + sigma1(r.u32[1]);
})

/* ---- GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 ---- */

static uint8_t gf_mul(uint8_t p, uint8_t q)
{
    unsigned r = 0, v = p;
    for (; q; q >>= 1) {
        r ^= q & 1 ? v : 0;
        v = v << 1 ^ (v & 0x80 ? 0x11b : 0);
    }
    return (uint8_t)r;
}

/* p to the power of 254 is its inverse, and 0 for 0. */
static uint8_t gf_inverse(uint8_t p)
{
    uint8_t r = 1, square = p;
    for (unsigned i = 0; i < 7; i++) {
        square = gf_mul(square, square);
        r = gf_mul(r, square);
    }
    return r;
}

/* Bit i of the result is the parity of v under row 7 - i of the matrix. */
static uint8_t affine(uint64_t matrix, uint8_t v, uint8_t add)
{
    unsigned r = add;
    for (unsigned i = 0; i < 8; i++) {
        r ^= (unsigned)__builtin_parity((unsigned)(matrix >> (8 * (7 - i))) & v) << i;
    }
    return (uint8_t)r;
}

SIMD_BLOCKS_HOST(
    gf2p8mulb, "gfni", "gf2p8mulb",
    for (unsigned i = 0; i < 16; i++) { r.u8[i] = gf_mul(x.u8[i], y.u8[i]); })
SIMD_BLOCKS(
    gf2p8affineqb,
    for (unsigned i = 0; i < 16; i++) { r.u8[i] = affine(y.u64[i / 8], x.u8[i], ctl.imm); })
SIMD_BLOCKS(
    gf2p8affineinvqb, for (unsigned i = 0; i < 16;
                           i++) { r.u8[i] = affine(y.u64[i / 8], gf_inverse(x.u8[i]), ctl.imm); })
