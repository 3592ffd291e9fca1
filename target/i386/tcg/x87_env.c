/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/x87_env.c: control word, environment and state in memory: the 14- and
 * 28-byte environments in real and protected layout (SDM vol. 1, 8.1.10).
 */
#include "target/i386/tcg/x87.h"
#include "util/bits.h"

uint16_t x87_tag_word(const X87 *fp)
{
    uint16_t tags = 0;
    for (unsigned n = 0; n < 8; n++) {
        Fp v = fp_from80(fp->r[n]);
        unsigned tag = fp->empty >> n & 1               ? 3
                       : v.cls == FPC_ZERO              ? 1
                       : v.cls == FPC_NORM && !v.denorm ? 0
                                                        : 2;
        tags |= (uint16_t)(tag << (n * 2));
    }
    return tags;
}

/* Newer CPUs say that they no longer keep FCS and FDS: then they read as zero. */
static bool has_selectors(const CPUX86 *cpu)
{
    return !cpu_has(cpu, FEAT_7_0_EBX, 1u << 13);
}

static bool real_format(const CPUX86 *cpu)
{
    return !(cpu->hflags & HF_PE) || cpu->hflags & HF_VM;
}

static void encode16(CPUX86 *cpu, uint8_t *b)
{
    const X87 *fp = &cpu->x87;
    uint64_t sel = has_selectors(cpu);
    uint32_t ip = (uint32_t)fp->fip, dp = (uint32_t)fp->fdp;
    uint16_t hi_ip = fp->fcs * (uint16_t)sel, hi_dp = fp->fds * (uint16_t)sel;
    if (real_format(cpu)) { /* linear addresses, the opcode beside the upper four bits */
        ip += (uint32_t)fp->fcs << 4;
        dp += (uint32_t)fp->fds << 4;
        hi_ip = (uint16_t)((ip >> 4 & 0xf000) | (fp->fop & 0x7ff));
        hi_dp = (uint16_t)(dp >> 4 & 0xf000);
    }
    st_le16(b + 6, (uint16_t)ip);
    st_le16(b + 8, hi_ip);
    st_le16(b + 10, (uint16_t)dp);
    st_le16(b + 12, hi_dp);
}

static void encode32(CPUX86 *cpu, uint8_t *b)
{
    const X87 *fp = &cpu->x87;
    uint32_t ip = (uint32_t)fp->fip, dp = (uint32_t)fp->fdp, sel = has_selectors(cpu);
    if (real_format(cpu)) {
        ip += (uint32_t)fp->fcs << 4;
        dp += (uint32_t)fp->fds << 4;
        st_le32(b + 12, ip & 0xffff);
        st_le32(b + 16, (ip >> 16) << 12 | (fp->fop & 0x7ff));
        st_le32(b + 20, dp & 0xffff);
        st_le32(b + 24, (dp >> 16) << 12);
    } else {
        st_le32(b + 12, ip);
        st_le32(b + 16, (fp->fop & 0x7ffu) << 16 | fp->fcs * sel);
        st_le32(b + 20, dp);
        st_le32(b + 24, 0xffff0000u | fp->fds * sel);
    }
}

static unsigned encode_env(X87Op *o, uint8_t *b)
{
    const X87 *fp = o->fp;
    if (o->opsize == 2) {
        st_le16(b, fp->cw);
        st_le16(b + 2, x87_sw(fp));
        st_le16(b + 4, x87_tag_word(fp));
        encode16(o->cpu, b);
        return 14;
    }
    st_le32(b, 0xffff0000u | fp->cw);
    st_le32(b + 4, 0xffff0000u | x87_sw(fp));
    st_le32(b + 8, 0xffff0000u | x87_tag_word(fp));
    encode32(o->cpu, b);
    return 28;
}

static void decode_env(X87Op *o, const uint8_t *b)
{
    X87 *fp = o->fp;
    unsigned step = o->opsize == 2 ? 2 : 4;
    uint16_t tags = ld_le16(b + 2 * step);
    uint8_t empty = 0;
    for (unsigned n = 0; n < 8; n++) {
        empty |= (uint8_t)((tags >> (n * 2) & 3) == 3) << n;
    }
    if (step == 2) {
        uint16_t ip = ld_le16(b + 6), hi_ip = ld_le16(b + 8);
        uint16_t dp = ld_le16(b + 10), hi_dp = ld_le16(b + 12);
        if (real_format(o->cpu)) {
            fp->fip = ip | (uint32_t)(hi_ip & 0xf000) << 4;
            fp->fdp = dp | (uint32_t)(hi_dp & 0xf000) << 4;
            fp->fop = hi_ip & 0x7ff;
            fp->fcs = fp->fds = 0;
        } else {
            fp->fip = ip;
            fp->fdp = dp;
            fp->fcs = hi_ip;
            fp->fds = hi_dp;
        }
    } else {
        uint32_t ip = ld_le32(b + 12), hi_ip = ld_le32(b + 16);
        uint32_t dp = ld_le32(b + 20), hi_dp = ld_le32(b + 24);
        if (real_format(o->cpu)) {
            fp->fip = (ip & 0xffff) | (hi_ip >> 12 & 0xffff) << 16;
            fp->fdp = (dp & 0xffff) | (hi_dp >> 12 & 0xffff) << 16;
            fp->fop = hi_ip & 0x7ff;
            fp->fcs = fp->fds = 0;
        } else {
            fp->fip = ip;
            fp->fdp = dp;
            fp->fcs = (uint16_t)hi_ip;
            fp->fop = hi_ip >> 16 & 0x7ff;
            fp->fds = (uint16_t)hi_dp;
        }
    }
    x87_load_control(o->cpu, ld_le16(b), ld_le16(b + step), empty);
}

void x87_fnstenv(X87Op *o)
{
    uint8_t b[28];
    unsigned n = encode_env(o, b);
    x86_st_bytes(o->cpu, o->seg, o->ea, b, n);
    o->fp->cw |= CW_MASKS;
    x87_update_es(o->cpu);
}

void x87_fldenv(X87Op *o)
{
    uint8_t b[28];
    x86_ld_bytes(o->cpu, o->seg, o->ea, b, o->opsize == 2 ? 14 : 28);
    decode_env(o, b);
}

void x87_fnsave(X87Op *o)
{
    uint8_t b[108];
    unsigned n = encode_env(o, b);
    for (unsigned i = 0; i < 8; i++, n += 10) {
        Float80 v = x87_st(o->fp, i);
        st_le64(b + n, v.mant);
        st_le16(b + n + 8, v.exp);
    }
    x86_st_bytes(o->cpu, o->seg, o->ea, b, n);
    x87_init(o->cpu);
}

void x87_frstor(X87Op *o)
{
    uint8_t b[108];
    unsigned n = o->opsize == 2 ? 14 : 28;
    x86_ld_bytes(o->cpu, o->seg, o->ea, b, n + 80);
    decode_env(o, b);
    for (unsigned i = 0; i < 8; i++, n += 10) {
        o->fp->r[x87_phys(o->fp, i)] = (Float80){ld_le64(b + n), ld_le16(b + n + 8)};
    }
}

void x87_fldcw(X87Op *o)
{
    uint16_t cw = (uint16_t)x86_ld(o->cpu, o->seg, o->ea, 2);
    x87_load_control(o->cpu, cw, x87_sw(o->fp), o->fp->empty);
}

void x87_fnstcw(X87Op *o)
{
    x86_st(o->cpu, o->seg, o->ea, 2, o->fp->cw);
}

void x87_fnstsw(X87Op *o)
{
    x86_st(o->cpu, o->seg, o->ea, 2, x87_sw(o->fp));
}
