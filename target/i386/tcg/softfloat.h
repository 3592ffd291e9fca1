/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/softfloat.h: IEEE 754 arithmetic in integers, as x86 does it: SSE
 * (binary32, binary64, DAZ, FTZ) and x87 (80-bit extended, precision control).
 * References: SDM vol. 1 chapters 4.8, 4.9, 8, 11.5; APM vol. 1 chapters 4 and 6.
 *
 * Pure: everything a result depends on besides the operands is in FpEnv, and the
 * exception flags are ORed into it.  The functions never raise: their callers look
 * at the flags.  Tininess is detected after rounding.
 */
#ifndef RHEA_TARGET_I386_TCG_SOFTFLOAT_H
#define RHEA_TARGET_I386_TCG_SOFTFLOAT_H

#include "target/i386/cpu.h"

/* The exceptions, in the order of the x87 status word and of MXCSR. */
#define FP_IE 1u                       /* invalid operation */
#define FP_DE 2u                       /* denormal operand */
#define FP_ZE 4u                       /* division by zero */
#define FP_OE 8u                       /* overflow */
#define FP_UE 16u                      /* underflow */
#define FP_PE 32u                      /* inexact */
#define FP_PRE (FP_IE | FP_DE | FP_ZE) /* found before a result is computed */

/* Encoded as in RC of the control word and MXCSR. */
typedef enum FpRound { FP_NEAR, FP_DOWN, FP_UP, FP_CHOP } FpRound;

typedef struct FpEnv {
    uint8_t round;    /* FpRound */
    uint8_t flags;    /* FP_*: ORed in, never cleared */
    uint8_t unmasked; /* FP_*: unmasked OE/UE change result and flags */
    uint8_t prec;     /* significant bits of 80-bit results: 24, 53 or 64 */
    bool daz, ftz;    /* SSE: denormals are zeros, flush to zero */
    bool x87;         /* choose among NaNs as the x87 does */
    bool rounded_up;  /* out: the last rounding increased the magnitude (C1) */
    bool scaled;      /* out: an unmasked overflow/underflow wrapped the exponent (x87) */
} FpEnv;

typedef enum FpClass { FPC_ZERO, FPC_NORM, FPC_INF, FPC_QNAN, FPC_SNAN, FPC_UNSUP } FpClass;

/*
 * A number taken apart: m * 2^(e - 63), bit 63 of m set for FPC_NORM operands.  For
 * NaNs m has the explicit bit at 63 and the quiet bit at 62.  FPC_UNSUP: the 80-bit
 * encodings that no longer mean anything (unnormals, pseudo-NaNs, pseudo-infinity).
 */
typedef struct Fp {
    uint64_t m;
    int32_t e;
    uint8_t cls; /* FpClass */
    bool sign;
    bool denorm; /* operand: was (pseudo-)denormal. Result: bit 63 of m is clear */
} Fp;

typedef enum FpRel { FP_LESS, FP_EQUAL, FP_GREATER, FP_UNORDERED } FpRel;

/* The environment of SSE instructions under `mxcsr`. */
static inline FpEnv fp_env_sse(uint32_t mxcsr)
{
    return (FpEnv){.round = mxcsr >> 13 & 3,
                   .unmasked = ~(mxcsr >> 7) & 0x3f,
                   .prec = 64,
                   .daz = mxcsr >> 6 & 1,
                   .ftz = mxcsr >> 15 & 1};
}

/*
 * The environment of x87 instructions under control word `cw`, made in place: copied,
 * its freshly written bytes would keep the processor waiting.
 */
static inline void fp_env_x87_init(FpEnv *env, uint16_t cw)
{
    /* PC: 0 single, 2 double, 3 extended; the reserved 1 behaves as extended. */
    static const uint8_t prec[4] = {24, 64, 53, 64};
    env->round = cw >> 10 & 3;
    env->flags = 0;
    env->unmasked = ~cw & 0x3f;
    env->prec = prec[cw >> 8 & 3];
    env->daz = env->ftz = false;
    env->x87 = true;
    env->rounded_up = env->scaled = false;
}

static inline FpEnv fp_env_x87(uint16_t cw)
{
    FpEnv env;
    fp_env_x87_init(&env, cw);
    return env;
}

/* Taking apart never sets flags and ignores DAZ; FPC_SNAN stays what it is. */
Fp fp_from32(uint32_t v);
Fp fp_from64(uint64_t v);
Fp fp_from80(Float80 v);
Fp fp_from_int(int64_t v); /* exact */
/* Putting together what a rounding function made, or an unrounded special. */
uint32_t fp_pack32(Fp v);
uint64_t fp_pack64(Fp v);
Float80 fp_pack80(Fp v);

/* ---- on taken-apart numbers, rounding to 80 bits (x87; operands may come from memory) ---- */
Float80 fp80_add(FpEnv *env, Fp a, Fp b);
Float80 fp80_sub(FpEnv *env, Fp a, Fp b);
Float80 fp80_mul(FpEnv *env, Fp a, Fp b);
Float80 fp80_div(FpEnv *env, Fp a, Fp b);
Float80 fp80_sqrt(FpEnv *env, Fp a);
Float80 fp80_round_int(FpEnv *env, Fp a); /* FRNDINT */
Float80 fp80_load(FpEnv *env, Fp a);      /* conversion of a memory operand: quiets, DE */
Float80 fp80_scale(FpEnv *env, Fp a, Fp b);
/*
 * Partial remainder, FPREM (nearest false) or FPREM1: *q gets the low three bits of
 * the quotient, *incomplete is set when another round is needed (C2).
 */
Float80 fp80_rem(FpEnv *env, Fp a, Fp b, bool nearest, unsigned *q, bool *incomplete);
/* FST m32/m64: no DE. */
uint32_t fp80_to_f32(FpEnv *env, Fp a);
uint64_t fp80_to_f64(FpEnv *env, Fp a);
/* quiet: only signalling NaNs are invalid. */
FpRel fp_compare(FpEnv *env, Fp a, Fp b, bool quiet);
/*
 * To a signed integer of 16, 32 or 64 bits by env->round; the integer indefinite (the
 * most negative) and IE when it does not fit.  No DE.
 */
int64_t fp_to_int(FpEnv *env, Fp a, unsigned bits);
Fp fp_default_nan(void);
/* NaN result of an operation of which at least one operand is a NaN or unsupported. */
Fp fp_propagate_nan(FpEnv *env, Fp a, Fp b);
/* Rounds sign * m * 2^(e - 127), bit 127 of m set, to 80 bits with full precision. */
Float80 fp80_round_wide(FpEnv *env, bool sign, int e, unsigned __int128 m);

/* ---- SSE ---- */
uint32_t f32_add(FpEnv *env, uint32_t a, uint32_t b);
uint32_t f32_sub(FpEnv *env, uint32_t a, uint32_t b);
uint32_t f32_mul(FpEnv *env, uint32_t a, uint32_t b);
uint32_t f32_div(FpEnv *env, uint32_t a, uint32_t b);
uint32_t f32_sqrt(FpEnv *env, uint32_t a);
uint64_t f64_add(FpEnv *env, uint64_t a, uint64_t b);
uint64_t f64_sub(FpEnv *env, uint64_t a, uint64_t b);
uint64_t f64_mul(FpEnv *env, uint64_t a, uint64_t b);
uint64_t f64_div(FpEnv *env, uint64_t a, uint64_t b);
uint64_t f64_sqrt(FpEnv *env, uint64_t a);
/* MINSS/MAXSS: the second operand when both are zeros or one is a NaN (IE). */
uint32_t f32_min(FpEnv *env, uint32_t a, uint32_t b);
uint32_t f32_max(FpEnv *env, uint32_t a, uint32_t b);
uint64_t f64_min(FpEnv *env, uint64_t a, uint64_t b);
uint64_t f64_max(FpEnv *env, uint64_t a, uint64_t b);
FpRel f32_compare(FpEnv *env, uint32_t a, uint32_t b, bool quiet);
FpRel f64_compare(FpEnv *env, uint64_t a, uint64_t b, bool quiet);
uint64_t f32_to_f64(FpEnv *env, uint32_t a);
uint32_t f64_to_f32(FpEnv *env, uint64_t a);
int64_t f32_to_int(FpEnv *env, uint32_t a, unsigned bits);
int64_t f64_to_int(FpEnv *env, uint64_t a, unsigned bits);
/* a * b + c, rounded once; the product and c negated on request. (softfloat_fma.c) */
uint32_t f32_fma(FpEnv *env, uint32_t a, uint32_t b, uint32_t c, bool neg_product, bool neg_c);
uint64_t f64_fma(FpEnv *env, uint64_t a, uint64_t b, uint64_t c, bool neg_product, bool neg_c);
/* VCVTPH2PS, VCVTPS2PH: half precision knows neither DAZ nor FTZ, and no DE. */
uint32_t f16_to_f32(FpEnv *env, uint16_t a);
uint16_t f32_to_f16(FpEnv *env, uint32_t a);
uint32_t f32_from_int(FpEnv *env, int64_t v);
uint64_t f64_from_int(FpEnv *env, int64_t v);
/* ROUNDSS/SD: to an integral value by `round`; PE only if `inexact`; no DE. */
uint32_t f32_round_int(FpEnv *env, uint32_t a, FpRound round, bool inexact);
uint64_t f64_round_int(FpEnv *env, uint64_t a, FpRound round, bool inexact);

#endif
