/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/simd.h: the vector instructions as functions, for the decoder's tables to
 * name; how they are called: SimdFn below and the head of decode.h.  They are written in
 * target/i386/tcg/simd*.c.
 *
 * A function serves every vector length: lengths above 16 are worked on in blocks of 16
 * as the VEX forms do.  Floating-point functions use the host's SSE unit where it can
 * give the guest's answer (an x86-64 host, all exceptions masked), else softfloat.c;
 * ctl.soft forces the latter.  They raise #XM (or #UD without CR4.OSXMMEXCPT) with
 * MXCSR's flags set and the destination unchanged.
 */
#ifndef RHEA_TARGET_I386_SIMD_H
#define RHEA_TARGET_I386_SIMD_H

#include "target/i386/cpu.h"

/*
 * Every vector instruction is one function.  dst may alias a or b.  Legacy SSE
 * two-operand forms pass a = dst and must keep dst's bytes beyond `len`; the
 * translator clears the upper part for VEX forms.  `len` is 8 (MMX), 16, 32 or 64
 * bytes.  Memory operands were loaded (and alignment-checked) into a temporary
 * before, so these functions touch registers only; they raise #XM themselves.
 */
typedef struct SimdCtl {
    uint8_t len;
    uint8_t imm;
    uint8_t w; /* REX.W / VEX.W */
    bool soft; /* software arithmetic even where the host's would do: for tests */
} SimdCtl;
typedef void SimdFn(CPUX86 *cpu, Vec *dst, const Vec *a, const Vec *b, SimdCtl ctl);

/* ---- integers (simd_arith.c) ---- */
SimdFn simd_paddb, simd_paddw, simd_paddd, simd_paddq, simd_paddsb, simd_paddsw, simd_paddusb,
    simd_paddusw, simd_psubb, simd_psubw, simd_psubd, simd_psubq, simd_psubsb, simd_psubsw,
    simd_psubusb, simd_psubusw, simd_pmullw, simd_pmulhw, simd_pmulhuw, simd_pmaddwd, simd_pmuludq,
    simd_pmuldq, simd_pmulld, simd_psadbw, simd_pavgb, simd_pavgw, simd_pand, simd_pandn, simd_por,
    simd_pxor, simd_pcmpeqb, simd_pcmpeqw, simd_pcmpeqd, simd_pcmpeqq, simd_pcmpgtb, simd_pcmpgtw,
    simd_pcmpgtd, simd_pcmpgtq, simd_pmaxub, simd_pmaxuw, simd_pmaxud, simd_pmaxsb, simd_pmaxsw,
    simd_pmaxsd, simd_pminub, simd_pminuw, simd_pminud, simd_pminsb, simd_pminsw, simd_pminsd,
    simd_pabsb, simd_pabsw, simd_pabsd, simd_psignb, simd_psignw, simd_psignd, simd_phaddw,
    simd_phaddd, simd_phaddsw, simd_phsubw, simd_phsubd, simd_phsubsw, simd_pmaddubsw,
    simd_pmulhrsw, simd_mpsadbw, simd_phminposuw;
/* Shifts: the count is b's low 64 bits (xmm forms) or ctl.imm (_i forms). */
SimdFn simd_psllw, simd_pslld, simd_psllq, simd_psrlw, simd_psrld, simd_psrlq, simd_psraw,
    simd_psrad, simd_psllw_i, simd_pslld_i, simd_psllq_i, simd_psrlw_i, simd_psrld_i, simd_psrlq_i,
    simd_psraw_i, simd_psrad_i, simd_pslldq_i, simd_psrldq_i;
/* Writes ZF and CF in cpu->rflags. */
SimdFn simd_ptest;

/* ---- moving elements about (simd_shuffle.c) ---- */
SimdFn simd_packsswb, simd_packssdw, simd_packuswb, simd_packusdw, simd_punpcklbw, simd_punpcklwd,
    simd_punpckldq, simd_punpcklqdq, simd_punpckhbw, simd_punpckhwd, simd_punpckhdq,
    simd_punpckhqdq, simd_pshufw, simd_pshufd, simd_pshuflw, simd_pshufhw, simd_pshufb,
    simd_palignr, simd_shufps, simd_shufpd, simd_unpcklps, simd_unpcklpd, simd_unpckhps,
    simd_unpckhpd, simd_movss, simd_movsd, simd_movlps, simd_movhps, simd_movhlps, simd_store_high,
    simd_movsldup, simd_movshdup, simd_movddup, simd_blendps, simd_blendpd, simd_pblendw,
    simd_blendvps, simd_blendvpd, simd_pblendvb, simd_insertps, simd_insertps_m, simd_extractps,
    simd_movmskps, simd_movmskpd, simd_pmovmskb, simd_pinsrb, simd_pinsrw, simd_pinsrd, simd_pextrb,
    simd_pextrw, simd_pextrd, simd_pmovsxbw, simd_pmovsxbd, simd_pmovsxbq, simd_pmovsxwd,
    simd_pmovsxwq, simd_pmovsxdq, simd_pmovzxbw, simd_pmovzxbd, simd_pmovzxbq, simd_pmovzxwd,
    simd_pmovzxwq, simd_pmovzxdq;

/* ---- floating point (simd_fp.c) ---- */
#define SIMD_FP_DECLARE(op) SimdFn simd_##op##ps, simd_##op##pd, simd_##op##ss, simd_##op##sd
SIMD_FP_DECLARE(add);
SIMD_FP_DECLARE(sub);
SIMD_FP_DECLARE(mul);
SIMD_FP_DECLARE(div);
SIMD_FP_DECLARE(min);
SIMD_FP_DECLARE(max);
SIMD_FP_DECLARE(sqrt);
SIMD_FP_DECLARE(cmp); /* predicate in ctl.imm: 0-7 */
SIMD_FP_DECLARE(round);
SimdFn simd_rcpps, simd_rcpss, simd_rsqrtps, simd_rsqrtss, simd_haddps, simd_haddpd, simd_hsubps,
    simd_hsubpd, simd_addsubps, simd_addsubpd, simd_dpps, simd_dppd;
/* Write ZF, PF, CF and clear OF, SF, AF in cpu->rflags; a and b are compared. */
SimdFn simd_comiss, simd_comisd, simd_ucomiss, simd_ucomisd;

/* ---- conversions (simd_cvt.c) ---- */
SimdFn simd_cvtdq2ps, simd_cvtdq2pd, simd_cvtps2dq, simd_cvttps2dq, simd_cvtpd2dq, simd_cvttpd2dq,
    simd_cvtps2pd, simd_cvtpd2ps, simd_cvtss2sd, simd_cvtsd2ss, simd_cvtpi2ps, simd_cvtps2pi,
    simd_cvttps2pi, simd_cvtpi2pd, simd_cvtpd2pi, simd_cvttpd2pi;
/* General register side: 8 bytes with ctl.w, else 4. */
SimdFn simd_cvtsi2ss, simd_cvtsi2sd, simd_cvtss2si, simd_cvtsd2si, simd_cvttss2si, simd_cvttsd2si;

/* ---- strings (simd_str.c); the explicit-length forms read RAX and RDX ---- */
/* …I write RCX, …M write XMM0, in the CPU state; all write the arithmetic flags. */
SimdFn simd_pcmpestri, simd_pcmpestrm, simd_pcmpistri, simd_pcmpistrm;

/* ---- AES-NI, PCLMULQDQ (simd_aes.c) ---- */
SimdFn simd_aesenc, simd_aesenclast, simd_aesdec, simd_aesdeclast, simd_aesimc,
    simd_aeskeygenassist, simd_pclmulqdq;

/* ---- SHA, GFNI (simd_crypto.c); SHA256RNDS2 reads XMM0 ---- */
SimdFn simd_sha1rnds4, simd_sha1nexte, simd_sha1msg1, simd_sha1msg2, simd_sha256rnds2,
    simd_sha256msg1, simd_sha256msg2, simd_gf2p8mulb, simd_gf2p8affineqb, simd_gf2p8affineinvqb;

/* ---- AVX, AVX2, F16C, VNNI (simd_avx.c) ---- */
SimdFn simd_broadcastb, simd_broadcastw, simd_broadcastd, simd_broadcastq, simd_broadcastdq,
    simd_vpermd, simd_vpermq, simd_vperm2f128, simd_vinsertf128, simd_vextractf128, simd_vpermilps,
    simd_vpermilpd, simd_vpermilpd_i, simd_vpsllvd, simd_vpsllvq, simd_vpsrlvd, simd_vpsrlvq,
    simd_vpsravd, simd_vcvtph2ps, simd_vcvtps2ph;
/* The mask is the register in imm[7:4]. */
SimdFn simd_vblendvps, simd_vblendvpd, simd_vpblendvb;
/* Write ZF and CF in cpu->rflags. */
SimdFn simd_vtestps, simd_vtestpd;
/* dst is read, too. */
SimdFn simd_vpdpbusd, simd_vpdpbusds, simd_vpdpwssd, simd_vpdpwssds;
/* Comparisons with predicates 0-31 (simd_fp.c). */
SimdFn simd_vcmpps, simd_vcmppd, simd_vcmpss, simd_vcmpsd;

/* ---- FMA (simd_fma.c): dst, a, b are the operands 1, 2, 3; ctl.imm is one of each set ---- */
SimdFn simd_fma_ps, simd_fma_pd, simd_fma_ss, simd_fma_sd;
#define FMA_KIND 7u
#define FMA_MADD 0u
#define FMA_MSUB 1u
#define FMA_NMADD 2u
#define FMA_NMSUB 3u
#define FMA_MADDSUB 4u
#define FMA_MSUBADD 5u
#define FMA_ORDER 0x18u
#define FMA_132 0u
#define FMA_213 8u
#define FMA_231 16u

#endif
