/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/int-helper.h: integer instructions that are helper calls.  What
 * each expects in the operation's fields is said here; results go to the registers.
 */
#ifndef RHEA_TARGET_I386_TCG_INT_HELPER_H
#define RHEA_TARGET_I386_TCG_INT_HELPER_H

#include "accel/tcg/ir.h"

/* Decimal arithmetic on AL/AX; AAM, AAD: disp is the base. */
extern const IrHelper int_daa, int_das, int_aaa, int_aas, int_aam, int_aad;
extern const IrHelper int_crc32; /* d = crc32c(d, b of size bytes) */
/* PUSHA, POPA: size is the operand size. */
extern const IrHelper int_pusha, int_popa;
extern const IrHelper int_enter;    /* disp: frame size, a: level, size */
extern const IrHelper int_bound;    /* a: index, memory operand, size */
extern const IrHelper int_cmpxchg8; /* CMPXCHG8B/16B: memory operand, size 4 or 8 */
extern const IrHelper int_pushf, int_popf;
/* String instructions: disp is STRING_*, size the element's, memory operand's seg and flags. */
extern const IrHelper int_string;
/* A CALLX for the instructions that repeat. */
enum {
    STRING_MOVS,
    STRING_CMPS,
    STRING_STOS,
    STRING_LODS,
    STRING_SCAS,
    STRING_INS,
    STRING_OUTS,
    STRING_KIND = 7,
    STRING_REP = 8,    /* REP, REPE */
    STRING_REPNE = 16, /* REPNE */
};

#endif
