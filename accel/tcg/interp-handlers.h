/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/tcg/interp-handlers.h: the list of the interpreter's handlers, as macros that
 * make its enum, its table and (partly) its code.  Order matters: interp-select.c
 * computes positions in it.
 */
#ifndef RHEA_ACCEL_TCG_INTERP_HANDLERS_H
#define RHEA_ACCEL_TCG_INTERP_HANDLERS_H

/* clang-format off */
#define FOR_SIZES(M, o) M(o, 8) M(o, 16) M(o, 32) M(o, 64)
/* Order as in IrOpcode: IR_ADD … IR_XOR. */
#define FOR_ALU2(M)   \
    FOR_SIZES(M, add) \
    FOR_SIZES(M, or)  \
    FOR_SIZES(M, adc) \
    FOR_SIZES(M, sbb) \
    FOR_SIZES(M, and) \
    FOR_SIZES(M, sub) \
    FOR_SIZES(M, xor)
#define FOR_ALU1(M) FOR_SIZES(M, inc) FOR_SIZES(M, dec) FOR_SIZES(M, neg)
#define FOR_SHIFT(M)  \
    FOR_SIZES(M, rol) \
    FOR_SIZES(M, ror) \
    FOR_SIZES(M, rcl) \
    FOR_SIZES(M, rcr) \
    FOR_SIZES(M, shl) \
    FOR_SIZES(M, shr) \
    FOR_SIZES(M, sar)
#define FOR_CC(M, ...)   \
    M(0, ##__VA_ARGS__)  \
    M(1, ##__VA_ARGS__)  \
    M(2, ##__VA_ARGS__)  \
    M(3, ##__VA_ARGS__)  \
    M(4, ##__VA_ARGS__)  \
    M(5, ##__VA_ARGS__)  \
    M(6, ##__VA_ARGS__)  \
    M(7, ##__VA_ARGS__)  \
    M(8, ##__VA_ARGS__)  \
    M(9, ##__VA_ARGS__)  \
    M(10, ##__VA_ARGS__) \
    M(11, ##__VA_ARGS__) \
    M(12, ##__VA_ARGS__) M(13, ##__VA_ARGS__) M(14, ##__VA_ARGS__) M(15, ##__VA_ARGS__)
/* Memory operand shapes: flat 64-bit base+disp, flat 64-bit any, flat 32-bit, general. */
#define FOR_SHAPES(M, ...) \
    M(B, ##__VA_ARGS__) M(X, ##__VA_ARGS__) M(F, ##__VA_ARGS__) M(G, ##__VA_ARGS__)
#define FOR_MEM(M, o) \
    FOR_SHAPES(M, o, 8) FOR_SHAPES(M, o, 16) FOR_SHAPES(M, o, 32) FOR_SHAPES(M, o, 64)
#define FOR_CMPJ(M) \
    FOR_CC(M, 8, R) \
    FOR_CC(M, 8, I) FOR_CC(M, 32, R) FOR_CC(M, 32, I) FOR_CC(M, 64, R) FOR_CC(M, 64, I)
#define FOR_SIMPLE(M)                                                                             \
    M(nop)                                                                                        \
    M(exth)                                                                                       \
    M(insh)                                                                                       \
    M(bswap) M(push_r) M(push_i) M(pop) M(ret) M(align) M(align_gp) M(slow_alu) M(atomic) M(skip) \
        M(skipz) M(jmp0) M(jmp1) M(jmpr) M(chkip) M(exit) M(exit_out) M(setip) M(trap) M(call)    \
            M(callx) M(vld) M(vst) M(vmov) M(vmov16) M(vfromg) M(gfromv) M(vfromm) M(mfromv)      \
                M(simd) M(vzero) M(setcc) M(flagop) M(movzx8) M(movzx16) M(movzx32) M(movsx) M(movi64)     \
                    M(movsx8_32) M(movsx16_32) M(movsx8_64) M(movsx16_64) M(movsx32_64)

#define E_ALU2(o, s) H_##o##s##RN, H_##o##s##RF, H_##o##s##IN, H_##o##s##IF,
#define L_ALU2(o, s) &&L_##o##s##RN, &&L_##o##s##RF, &&L_##o##s##IN, &&L_##o##s##IF,
#define E_CT(o, s) H_##o##s##R, H_##o##s##I,
#define L_CT(o, s) &&L_##o##s##R, &&L_##o##s##I,
#define E_ONE(o, s) H_##o##s,
#define L_ONE(o, s) &&L_##o##s,
#define E_MEM(sh, o, s) H_##o##s##sh,
#define L_MEM(sh, o, s) &&L_##o##s##sh,
#define E_LEA(sh, s) H_lea##s##sh,
#define L_LEA(sh, s) &&L_lea##s##sh,
#define E_CC(c, o) H_##o##c,
#define L_CC(c, o) &&L_##o##c,
#define E_CMPJ(c, s, f) H_cmpj##s##f##c,
#define L_CMPJ(c, s, f) &&L_cmpj##s##f##c,
#define E_TESTJ(c, s, f) H_testj##s##f##c,
#define L_TESTJ(c, s, f) &&L_testj##s##f##c,
#define E_SIMPLE(o) H_##o,
#define L_SIMPLE(o) &&L_##o,
#define ALL_HANDLERS(P)                                                                            \
    FOR_ALU2(P##ALU2)                                                                              \
    FOR_SIZES(P##CT, cmp)                                                                          \
    FOR_SIZES(P##CT, test)                                                                         \
    FOR_SIZES(P##CT, mov) FOR_ALU1(P##ONE) FOR_SIZES(P##ONE, not ) FOR_SHIFT(P##CT)                \
        FOR_MEM(P##MEM, ld) FOR_MEM(P##MEM, st) FOR_MEM(P##MEM, sti) FOR_MEM(P##MEM, ldsx)         \
            FOR_MEM(P##MEM, ldw) FOR_SHAPES(P##LEA, 64) FOR_SHAPES(P##LEA, 32) FOR_CC(P##CC, jcc)  \
                FOR_CC(P##CC, cmov32_) FOR_CC(P##CC, cmov64_) FOR_CMPJ(P##CMPJ) FOR_CMPJ(P##TESTJ) \
                    FOR_SIMPLE(P##SIMPLE)

enum { ALL_HANDLERS(E_) H_COUNT };

/* Where the handlers' code lies, by the numbers above (interp.c). */
const void *const *interp_handler_table(void);

#endif
