/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/xsave.c: FXSAVE, FXRSTOR and the XSAVE family (SDM vol. 1, 10.5 and
 * chapter 13).  An area is built in a buffer and written in one go, or read in one go and
 * checked before anything is loaded, so that faults leave nothing half done.
 */
#include "target/i386/tcg/x87.h"
#include "util/bits.h"

#define MXCSR_MASK 0xffffu
#define MXCSR_INIT 0x1f80u
#define LEGACY_SIZE 512
#define HEADER_SIZE 64
#define XSTATE_X87 BIT(0)
#define XSTATE_SSE BIT(1)
#define XSTATE_AVX BIT(2)
#define XCOMP_COMPACT BIT(63)
#define XSAVE_MAX 2696 /* end of PKRU in the standard format */

void helper_ldmxcsr(CPUX86 *cpu, uint32_t v)
{
    if (v & ~MXCSR_MASK) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    cpu->mxcsr = v;
}

/* ---- the 512-byte legacy part ---- */

static unsigned xmm_count(const CPUX86 *cpu)
{
    return cpu->hflags & HF_CS64 ? 16 : 8;
}

static void put_pointer(uint8_t *b, uint64_t off, uint16_t sel, bool wide)
{
    if (wide) {
        st_le64(b, off);
    } else {
        st_le32(b, (uint32_t)off);
        st_le16(b + 4, sel);
        st_le16(b + 6, 0);
    }
}

static void encode_x87(const CPUX86 *cpu, uint8_t *b, bool rex_w)
{
    const X87 *fp = &cpu->x87;
    bool sel = !cpu_has(cpu, FEAT_7_0_EBX, 1u << 13);
    st_le16(b, fp->cw);
    st_le16(b + 2, x87_sw(fp));
    b[4] = (uint8_t)~fp->empty;
    b[5] = 0;
    st_le16(b + 6, fp->fop & 0x7ff);
    put_pointer(b + 8, fp->fip, sel ? fp->fcs : 0, rex_w);
    put_pointer(b + 16, fp->fdp, sel ? fp->fds : 0, rex_w);
    for (unsigned i = 0; i < 8; i++) {
        uint8_t *r = b + 32 + i * 16;
        Float80 v = x87_st(fp, i);
        memset(r, 0, 16);
        st_le64(r, v.mant);
        st_le16(r + 8, v.exp);
    }
}

static void decode_x87(CPUX86 *cpu, const uint8_t *b, bool rex_w)
{
    X87 *fp = &cpu->x87;
    fp->fop = ld_le16(b + 6) & 0x7ff;
    fp->fip = rex_w ? ld_le64(b + 8) : ld_le32(b + 8);
    fp->fdp = rex_w ? ld_le64(b + 16) : ld_le32(b + 16);
    fp->fcs = rex_w ? 0 : ld_le16(b + 12);
    fp->fds = rex_w ? 0 : ld_le16(b + 20);
    x87_load_control(cpu, ld_le16(b), ld_le16(b + 2), (uint8_t)~b[4]);
    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *r = b + 32 + i * 16;
        fp->r[x87_phys(fp, i)] = (Float80){ld_le64(r), ld_le16(r + 8)};
    }
}

static void encode_xmm(const CPUX86 *cpu, uint8_t *b)
{
    for (unsigned i = 0; i < xmm_count(cpu); i++) {
        memcpy(b + 160 + i * 16, cpu->vec[i].u8, 16);
    }
}

static void decode_xmm(CPUX86 *cpu, const uint8_t *b)
{
    for (unsigned i = 0; i < xmm_count(cpu); i++) {
        if (b) {
            memcpy(cpu->vec[i].u8, b + 160 + i * 16, 16);
        } else {
            memset(cpu->vec[i].u8, 0, 16);
        }
    }
}

static void check_fx(CPUX86 *cpu, unsigned seg, uint64_t ea)
{
    if (cpu->cr0 & CR0_EM) {
        x86_raise(cpu, EXC_UD);
    }
    if (cpu->cr0 & CR0_TS) {
        x86_raise(cpu, EXC_NM);
    }
    if (seg_linear(cpu, seg, ea, LEGACY_SIZE, false) & 15) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
}

/* EFER.FFXSR: the kernel's FXSAVE and FXRSTOR leave the XMM registers alone. */
static bool fast_fx(const CPUX86 *cpu)
{
    return (cpu->efer & EFER_FFXSR) && (cpu->hflags & HF_CS64) && cpu_cpl(cpu) == 0;
}

void helper_fxsave(CPUX86 *cpu, unsigned seg, uint64_t ea, bool rex_w)
{
    uint8_t b[LEGACY_SIZE];
    check_fx(cpu, seg, ea);
    encode_x87(cpu, b, rex_w);
    st_le32(b + 24, cpu->mxcsr);
    st_le32(b + 28, MXCSR_MASK);
    encode_xmm(cpu, b);
    unsigned end = fast_fx(cpu) ? 160 : 160 + 16 * xmm_count(cpu);
    /* what lies behind the last XMM register is left to software */
    x86_st_bytes(cpu, seg, ea, b, end);
}

void helper_fxrstor(CPUX86 *cpu, unsigned seg, uint64_t ea, bool rex_w)
{
    uint8_t b[LEGACY_SIZE];
    check_fx(cpu, seg, ea);
    x86_ld_bytes(cpu, seg, ea, b, LEGACY_SIZE);
    uint32_t mxcsr = ld_le32(b + 24);
    if (mxcsr & ~MXCSR_MASK) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    decode_x87(cpu, b, rex_w);
    cpu->mxcsr = mxcsr;
    if (!fast_fx(cpu)) {
        decode_xmm(cpu, b);
    }
}

/* ---- the extended components ---- */

/*
 * A component beyond SSE: where it lies in the standard format, and which bytes of
 * `count` registers, `stride` apart in CPUX86, it holds.
 */
typedef struct Component {
    uint8_t bit;
    uint16_t offset, size;
    size_t state;
    uint16_t stride, part, count, count32;
} Component;

static const Component components[] = {
    {2, 576, 256, offsetof(CPUX86, vec) + 16, sizeof(Vec), 16, 16, 8}, /* upper halves of YMM */
    {5, 1088, 64, offsetof(CPUX86, opmask), 8, 8, 8, 8},
    {6, 1152, 512, offsetof(CPUX86, vec) + 32, sizeof(Vec), 32, 16, 8}, /* upper halves of ZMM */
    {7, 1664, 1024, offsetof(CPUX86, vec) + 16 * sizeof(Vec), sizeof(Vec), 64, 16, 0},
    {9, 2688, 8, offsetof(CPUX86, pkru), 4, 4, 1, 1},
};

static unsigned comp_count(const CPUX86 *cpu, const Component *c)
{
    return cpu->hflags & HF_CS64 ? c->count : c->count32;
}

static uint8_t *comp_state(const CPUX86 *cpu, const Component *c, unsigned i)
{
    return (uint8_t *)(uintptr_t)cpu + c->state + (size_t)i * c->stride;
}

static bool comp_in_use(const CPUX86 *cpu, const Component *c)
{
    for (unsigned i = 0; i < comp_count(cpu, c); i++) {
        const uint8_t *p = comp_state(cpu, c, i);
        for (unsigned k = 0; k < c->part; k++) {
            if (p[k]) {
                return true;
            }
        }
    }
    return false;
}

static void comp_encode(const CPUX86 *cpu, const Component *c, uint8_t *b)
{
    memset(b, 0, c->size);
    for (unsigned i = 0; i < comp_count(cpu, c); i++) {
        memcpy(b + i * c->part, comp_state(cpu, c, i), c->part);
    }
}

/* b NULL: the initial state, zeros. */
static void comp_decode(CPUX86 *cpu, const Component *c, const uint8_t *b)
{
    for (unsigned i = 0; i < comp_count(cpu, c); i++) {
        if (b) {
            memcpy(comp_state(cpu, c, i), b + i * c->part, c->part);
        } else {
            memset(comp_state(cpu, c, i), 0, c->part);
        }
    }
}

static bool x87_in_use(const CPUX86 *cpu)
{
    const X87 *fp = &cpu->x87;
    uint64_t any = fp->fip | fp->fdp | fp->fop | fp->fcs | fp->fds;
    for (unsigned i = 0; i < 8; i++) {
        any |= fp->r[i].mant | fp->r[i].exp;
    }
    return any || fp->cw != CW_INIT || fp->sw || fp->top || fp->empty != 0xff;
}

static bool sse_in_use(const CPUX86 *cpu)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < xmm_count(cpu); i++) {
        any |= cpu->vec[i].u64[0] | cpu->vec[i].u64[1];
    }
    return any;
}

/* Which of the components `asked` for are not in their initial state. */
static uint64_t in_use(const CPUX86 *cpu, uint64_t asked)
{
    uint64_t bv = (x87_in_use(cpu) ? XSTATE_X87 : 0) | (sse_in_use(cpu) ? XSTATE_SSE : 0);
    for (unsigned i = 0; i < ARRAY_LEN(components); i++) {
        const Component *c = &components[i];
        bv |= asked >> c->bit & 1 && comp_in_use(cpu, c) ? BIT(c->bit) : 0;
    }
    return bv & asked;
}

/* Where component c lies, given the compacted set (0: standard format). */
static unsigned comp_offset(const Component *c, uint64_t compact)
{
    if (!compact) {
        return c->offset;
    }
    unsigned off = LEGACY_SIZE + HEADER_SIZE;
    for (unsigned i = 0; components[i].bit < c->bit; i++) {
        off += compact >> components[i].bit & 1 ? components[i].size : 0;
    }
    return off;
}

static uint64_t check_xsave(CPUX86 *cpu, unsigned seg, uint64_t ea, XsaveKind kind)
{
    if (!(cpu->cr4 & CR4_OSXSAVE)) {
        x86_raise(cpu, EXC_UD);
    }
    if (kind == XSAVES && cpu_cpl(cpu) != 0) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    if (cpu->cr0 & CR0_TS) {
        x86_raise(cpu, EXC_NM);
    }
    if (seg_linear(cpu, seg, ea, LEGACY_SIZE + HEADER_SIZE, false) & 63) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    uint64_t asked = (uint32_t)cpu->regs[R_RAX] | cpu->regs[R_RDX] << 32;
    return asked & (cpu->xcr0 | (kind == XSAVES ? cpu->xss : 0));
}

static void store_part(CPUX86 *cpu, unsigned seg, uint64_t ea, const uint8_t *b, unsigned from,
                       unsigned to)
{
    x86_st_bytes(cpu, seg, ea + from, b + from, to - from);
}

void helper_xsave(CPUX86 *cpu, unsigned seg, uint64_t ea, bool rex_w, XsaveKind kind)
{
    uint64_t rfbm = check_xsave(cpu, seg, ea, kind);
    bool compacting = kind == XSAVEC || kind == XSAVES;
    uint64_t used = in_use(cpu, rfbm), compact = compacting ? rfbm | XCOMP_COMPACT : 0;
    if (compacting && cpu->mxcsr != MXCSR_INIT) {
        used |= XSTATE_SSE;
    }
    uint64_t save = kind == XSAVE ? rfbm : rfbm & used;
    uint8_t b[XSAVE_MAX];
    unsigned end = LEGACY_SIZE + HEADER_SIZE;

    for (unsigned i = 0; i < ARRAY_LEN(components); i++) {
        const Component *c = &components[i];
        if (save >> c->bit & 1) {
            unsigned off = comp_offset(c, compact);
            comp_encode(cpu, c, b + off);
            end = off + c->size;
        }
    }
    /* The whole span must be writable before any part of it is written. */
    mmu_probe(cpu, seg_linear(cpu, seg, ea, end, true), end, true, mmu_mode(cpu));
    uint64_t old_bv = compacting ? 0 : x86_ld(cpu, seg, ea + LEGACY_SIZE, 8);

    if (save & XSTATE_X87) {
        encode_x87(cpu, b, rex_w);
        store_part(cpu, seg, ea, b, 0, 24);
        store_part(cpu, seg, ea, b, 32, 160);
    }
    bool want_mxcsr = compacting ? save & XSTATE_SSE : rfbm & (XSTATE_SSE | XSTATE_AVX);
    if (want_mxcsr) {
        st_le32(b + 24, cpu->mxcsr);
        st_le32(b + 28, MXCSR_MASK);
        store_part(cpu, seg, ea, b, 24, 32);
    }
    if (save & XSTATE_SSE) {
        encode_xmm(cpu, b);
        store_part(cpu, seg, ea, b, 160, 160 + 16 * xmm_count(cpu));
    }
    for (unsigned i = 0; i < ARRAY_LEN(components); i++) {
        const Component *c = &components[i];
        if (save >> c->bit & 1) {
            unsigned off = comp_offset(c, compact);
            store_part(cpu, seg, ea, b, off, off + c->size);
        }
    }
    x86_st(cpu, seg, ea + LEGACY_SIZE, 8, (old_bv & ~rfbm) | (used & rfbm));
    if (compacting) {
        x86_st(cpu, seg, ea + LEGACY_SIZE + 8, 8, compact);
    }
}

/* Reads the header and refuses what is not one. Returns XSTATE_BV, *compact as above. */
static uint64_t check_header(CPUX86 *cpu, const uint8_t *h, XsaveKind kind, uint64_t *compact)
{
    uint64_t bv = ld_le64(h), comp = ld_le64(h + 8);
    uint64_t allowed = cpu->xcr0 | (kind == XSAVES ? cpu->xss : 0);
    bool ok;
    if (comp & XCOMP_COMPACT) {
        ok = (kind == XSAVES || cpu_has(cpu, FEAT_XSAVE, 1u << 1)) &&
             !(comp & ~XCOMP_COMPACT & ~allowed) && !(bv & ~comp);
        for (unsigned i = 16; i < HEADER_SIZE; i++) {
            ok = ok && !h[i];
        }
    } else {
        ok = kind != XSAVES && !comp && !(bv & ~allowed) && !ld_le64(h + 16);
    }
    if (!ok) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    *compact = comp;
    return bv;
}

static void restore_x87(CPUX86 *cpu, const uint8_t *b, bool rex_w)
{
    if (b) {
        decode_x87(cpu, b, rex_w);
    } else {
        x87_init(cpu);
        memset(cpu->x87.r, 0, sizeof(cpu->x87.r));
    }
}

void helper_xrstor(CPUX86 *cpu, unsigned seg, uint64_t ea, bool rex_w, XsaveKind kind)
{
    uint64_t rfbm = check_xsave(cpu, seg, ea, kind), compact;
    uint8_t b[XSAVE_MAX];
    unsigned end = LEGACY_SIZE + HEADER_SIZE;

    x86_ld_bytes(cpu, seg, ea, b, end);
    uint64_t bv = check_header(cpu, b + LEGACY_SIZE, kind, &compact);
    uint64_t load = rfbm & bv;
    for (unsigned i = 0; i < ARRAY_LEN(components); i++) {
        const Component *c = &components[i];
        if (load >> c->bit & 1) {
            end = comp_offset(c, compact) + c->size;
        }
    }
    x86_ld_bytes(cpu, seg, ea, b, end);

    bool compacted = compact != 0, mxcsr_asked = rfbm & (XSTATE_SSE | (compacted ? 0 : XSTATE_AVX));
    /* The standard format takes MXCSR whatever XSTATE_BV says, the compacted one does not. */
    bool mxcsr_initial = compacted && !(bv & XSTATE_SSE);
    uint32_t mxcsr = mxcsr_initial ? MXCSR_INIT : ld_le32(b + 24);
    if (mxcsr_asked && mxcsr & ~MXCSR_MASK) {
        x86_raise_error(cpu, EXC_GP, 0);
    }

    uint32_t pkru = cpu->pkru;
    if (rfbm & XSTATE_X87) {
        restore_x87(cpu, load & XSTATE_X87 ? b : NULL, rex_w);
    }
    if (mxcsr_asked) {
        cpu->mxcsr = mxcsr;
    }
    if (rfbm & XSTATE_SSE) {
        decode_xmm(cpu, load & XSTATE_SSE ? b : NULL);
    }
    for (unsigned i = 0; i < ARRAY_LEN(components); i++) {
        const Component *c = &components[i];
        if (rfbm >> c->bit & 1) {
            comp_decode(cpu, c, load >> c->bit & 1 ? b + comp_offset(c, compact) : NULL);
        }
    }
    if (cpu->pkru != pkru) {
        mmu_flush(cpu); /* its entries know the old rights */
    }
}
