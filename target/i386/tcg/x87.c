/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/tcg/x87.c: dispatch, exceptions, and the register forms. */
#include "target/i386/tcg/x87.h"

#include "util/bits.h"

/* ---- status ---- */

void x87_update_es(CPUX86 *cpu)
{
    X87 *fp = &cpu->x87;
    bool was = fp->pending;
    fp->pending = fp->sw & ~fp->cw & CW_MASKS;
    fp->sw = (uint16_t)((fp->sw & ~(SW_ES | SW_B)) | (fp->pending ? SW_ES | SW_B : 0));
    if (was && !fp->pending && cpu->ferr) {
        cpu->ferr(cpu->ferr_opaque, 0);
    }
}

void x87_load_control(CPUX86 *cpu, uint16_t cw, uint16_t sw, uint8_t empty)
{
    X87 *fp = &cpu->x87;
    fp->cw = (cw & 0x1f3f) | 0x40; /* bit 6 reads as one, the other reserved ones as zero */
    fp->sw = sw & (uint16_t)~SW_TOP;
    fp->top = sw >> SW_TOP_SHIFT & 7;
    fp->empty = empty;
    x87_update_es(cpu);
}

void x87_init(CPUX86 *cpu)
{
    X87 *fp = &cpu->x87;
    fp->fop = fp->fcs = fp->fds = 0;
    fp->fip = fp->fdp = 0;
    x87_load_control(cpu, CW_INIT, 0, 0xff);
}

bool x87_commit(X87Op *o)
{
    X87 *fp = o->fp;
    FpEnv *env = &o->env;
    unsigned flags = env->flags, fault = flags & env->unmasked;
    if (fault & FP_PRE) {
        flags &= FP_PRE;
    }
    fp->sw |= (uint16_t)flags;
    x87_cc(fp, SW_C1, flags & FP_PE && env->rounded_up ? SW_C1 : 0);
    if (fault) {
        x87_update_es(o->cpu);
    }
    return !(fault & FP_PRE);
}

static bool stack_fault(X87Op *o, bool overflow)
{
    X87 *fp = o->fp;
    fp->sw |= FP_IE | SW_SF;
    x87_cc(fp, SW_C1, overflow ? SW_C1 : 0);
    x87_update_es(o->cpu);
    return !(o->env.unmasked & FP_IE);
}

bool x87_underflow(X87Op *o, bool empty, bool *store)
{
    if (empty) {
        *store = stack_fault(o, false);
    }
    return empty;
}

bool x87_can_push(X87Op *o)
{
    if (x87_empty(o->fp, 7)) {
        return true;
    }
    if (stack_fault(o, true)) {
        x87_push(o->fp, x87_indefinite());
    }
    return false;
}

/* Before an instruction that waits: a pending error is reported now. */
static void check_pending(CPUX86 *cpu)
{
    if (!cpu->x87.pending) {
        return;
    }
    if (cpu->cr0 & CR0_NE) {
        x86_raise(cpu, EXC_MF);
    }
    if (cpu->ferr) { /* the machine answers with IRQ 13, and IGNNE# lets us go on */
        cpu->ferr(cpu->ferr_opaque, 1);
    }
}

void x87_wait(CPUX86 *cpu)
{
    if ((cpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)) {
        x86_raise(cpu, EXC_NM);
    }
    check_pending(cpu);
}

void x87_check_mmx(CPUX86 *cpu)
{
    if (cpu->cr0 & CR0_EM) {
        x86_raise(cpu, EXC_UD);
    }
    if (cpu->cr0 & CR0_TS) {
        x86_raise(cpu, EXC_NM);
    }
    check_pending(cpu);
}

void x87_enter_mmx(CPUX86 *cpu)
{
    x87_check_mmx(cpu);
    cpu->x87.top = 0;
    cpu->x87.empty = 0;
}

void helper_emms(CPUX86 *cpu)
{
    x87_check_mmx(cpu);
    cpu->x87.top = 0;
    cpu->x87.empty = 0xff;
}

/* ---- arithmetic ---- */

Float80 x87_formula(FpEnv *env, unsigned reg, Fp a, Fp b)
{
    switch (reg) {
    case 0:
        return fp80_add(env, a, b);
    case 1:
        return fp80_mul(env, a, b);
    case 4:
        return fp80_sub(env, a, b);
    case 5:
        return fp80_sub(env, b, a);
    case 6:
        return fp80_div(env, a, b);
    default:
        return fp80_div(env, b, a);
    }
}

bool x87_compare(X87Op *o, Fp a, Fp b, bool quiet)
{
    static const uint16_t cc[] = {[FP_LESS] = SW_C0,
                                  [FP_EQUAL] = SW_C3,
                                  [FP_GREATER] = 0,
                                  [FP_UNORDERED] = SW_C0 | SW_C2 | SW_C3};
    FpRel rel = fp_compare(&o->env, a, b, quiet);
    bool ok = x87_commit(o);
    x87_cc(o->fp, SW_CC, cc[rel]); /* also when the exception is not masked */
    return ok;
}

/* dst = ST(0) op ST(i); both must be in use. */
static void arith_to(X87Op *o, unsigned dst, bool pop)
{
    X87 *fp = o->fp;
    unsigned i = o->modrm & 7;
    bool store;
    Float80 r = x87_indefinite();
    if (!x87_underflow(o, x87_empty(fp, 0) || x87_empty(fp, i), &store)) {
        r = x87_formula(&o->env, o->modrm >> 3 & 7, x87_fp(fp, 0), x87_fp(fp, i));
        store = x87_commit(o);
    }
    if (store) {
        x87_set(fp, dst, r);
        if (pop) {
            x87_pop(fp);
        }
    }
}

static void arith_st0(X87Op *o)
{
    arith_to(o, 0, false);
}

static void arith_sti(X87Op *o)
{
    arith_to(o, o->modrm & 7, false);
}

static void arith_pop(X87Op *o)
{
    arith_to(o, o->modrm & 7, true);
}

static void compare_sti(X87Op *o, unsigned i, bool quiet, unsigned pops)
{
    X87 *fp = o->fp;
    bool store;
    if (x87_underflow(o, x87_empty(fp, 0) || x87_empty(fp, i), &store)) {
        x87_cc(fp, SW_CC, SW_C0 | SW_C2 | SW_C3);
    } else {
        store = x87_compare(o, x87_fp(fp, 0), x87_fp(fp, i), quiet);
    }
    while (store && pops--) {
        x87_pop(fp);
    }
}

static void fcom(X87Op *o)
{
    compare_sti(o, o->modrm & 7, false, 0);
}

static void fcomp(X87Op *o)
{
    compare_sti(o, o->modrm & 7, false, 1);
}

static void fcompp(X87Op *o)
{
    compare_sti(o, 1, false, 2);
}

static void fucom(X87Op *o)
{
    compare_sti(o, o->modrm & 7, true, 0);
}

static void fucomp(X87Op *o)
{
    compare_sti(o, o->modrm & 7, true, 1);
}

static void fucompp(X87Op *o)
{
    compare_sti(o, 1, true, 2);
}

/* FCOMI, FUCOMI and their popping forms: result in ZF, PF, CF. */
static void comi(X87Op *o)
{
    static const uint8_t result[] = {[FP_LESS] = FLAG_CF,
                                     [FP_EQUAL] = FLAG_ZF,
                                     [FP_GREATER] = 0,
                                     [FP_UNORDERED] = FLAG_ZF | FLAG_PF | FLAG_CF};
    X87 *fp = o->fp;
    unsigned i = o->modrm & 7;
    bool store, quiet = (o->modrm & 0x38) == 0x28;
    FpRel rel = FP_UNORDERED;
    if (!x87_underflow(o, x87_empty(fp, 0) || x87_empty(fp, i), &store)) {
        rel = fp_compare(&o->env, x87_fp(fp, 0), x87_fp(fp, i), quiet);
        store = x87_commit(o);
    }
    /* Flags are written even if an exception is not masked, as AMD's chips do. */
    o->cpu->rflags = (o->cpu->rflags & ~(uint64_t)FLAGS_ARITH) | result[rel];
    if (store && o->esc == 7) {
        x87_pop(fp);
    }
}

/* ---- moves ---- */

static void fld_sti(X87Op *o)
{
    X87 *fp = o->fp;
    unsigned i = o->modrm & 7;
    bool store;
    if (x87_underflow(o, x87_empty(fp, i), &store)) {
        if (store) {
            x87_push(fp, x87_indefinite());
        }
    } else if (x87_can_push(o)) {
        x87_cc(fp, SW_C1, 0);
        x87_push(fp, x87_st(fp, i));
    }
}

static void fst_to(X87Op *o, bool pop)
{
    X87 *fp = o->fp;
    bool store = true;
    Float80 v = x87_st(fp, 0);
    if (x87_underflow(o, x87_empty(fp, 0), &store)) {
        v = x87_indefinite();
    } else {
        x87_cc(fp, SW_C1, 0);
    }
    if (store) {
        x87_set(fp, o->modrm & 7, v);
        if (pop) {
            x87_pop(fp);
        }
    }
}

static void fst_sti(X87Op *o)
{
    fst_to(o, false);
}

static void fstp_sti(X87Op *o)
{
    fst_to(o, true);
}

/* D9 D8: like FSTP ST(i), but an empty register is popped without complaint. */
static void fstpnce(X87Op *o)
{
    if (x87_empty(o->fp, 0)) {
        x87_cc(o->fp, SW_C1, 0);
        x87_pop(o->fp);
    } else {
        fst_to(o, true);
    }
}

static void fxch(X87Op *o)
{
    X87 *fp = o->fp;
    unsigned i = o->modrm & 7;
    bool store = true;
    if (x87_underflow(o, x87_empty(fp, 0) || x87_empty(fp, i), &store)) {
        if (!store) {
            return;
        }
    } else {
        x87_cc(fp, SW_C1, 0);
    }
    Float80 a = x87_empty(fp, 0) ? x87_indefinite() : x87_st(fp, 0);
    Float80 b = x87_empty(fp, i) ? x87_indefinite() : x87_st(fp, i);
    x87_set(fp, 0, b);
    x87_set(fp, i, a);
}

/* DA: if below, equal, below or equal, unordered; DB: if not. */
static void fcmov(X87Op *o)
{
    static const uint8_t cond[] = {FLAG_CF, FLAG_ZF, FLAG_CF | FLAG_ZF, FLAG_PF};
    X87 *fp = o->fp;
    unsigned i = o->modrm & 7;
    bool take = o->cpu->rflags & cond[o->modrm >> 3 & 3], store;
    if (x87_underflow(o, x87_empty(fp, 0) || x87_empty(fp, i), &store)) {
        if (store) {
            x87_set(fp, 0, x87_indefinite());
        }
        return;
    }
    if (take != (o->esc == 3)) {
        x87_set(fp, 0, x87_st(fp, i));
    }
}

static void ffree(X87Op *o)
{
    o->fp->empty |= (uint8_t)(1u << x87_phys(o->fp, o->modrm & 7));
}

static void ffreep(X87Op *o)
{
    ffree(o);
    x87_pop(o->fp);
}

static void fnop(X87Op *o)
{
}

static void fdecstp(X87Op *o)
{
    o->fp->top = (o->fp->top - 1) & 7;
    x87_cc(o->fp, SW_C1, 0);
}

static void fincstp(X87Op *o)
{
    o->fp->top = (o->fp->top + 1) & 7;
    x87_cc(o->fp, SW_C1, 0);
}

/* ---- one operand ---- */

static void sign_op(X87Op *o)
{
    X87 *fp = o->fp;
    bool store;
    if (x87_underflow(o, x87_empty(fp, 0), &store)) {
        if (store) {
            x87_set(fp, 0, x87_indefinite());
        }
        return;
    }
    x87_cc(fp, SW_C1, 0);
    Float80 *r = &fp->r[fp->top];
    r->exp = o->modrm & 1 ? r->exp & 0x7fff : r->exp ^ 0x8000; /* FABS : FCHS */
}

static void ftst(X87Op *o)
{
    X87 *fp = o->fp;
    bool store;
    if (!x87_underflow(o, x87_empty(fp, 0), &store)) {
        x87_compare(o, x87_fp(fp, 0), fp_from_int(0), false);
    } else {
        x87_cc(fp, SW_CC, SW_C0 | SW_C2 | SW_C3);
    }
}

static void fxam(X87Op *o)
{
    static const uint16_t class[] = {
        [FPC_ZERO] = SW_C3, [FPC_NORM] = SW_C2, [FPC_INF] = SW_C2 | SW_C0,
        [FPC_QNAN] = SW_C0, [FPC_SNAN] = SW_C0, [FPC_UNSUP] = 0};
    X87 *fp = o->fp;
    Fp v = x87_fp(fp, 0);
    unsigned cc = x87_empty(fp, 0) ? SW_C3 | SW_C0 : v.denorm ? SW_C3 | SW_C2 : class[v.cls];
    x87_cc(fp, SW_CC, cc | (v.sign ? SW_C1 : 0));
}

static void load_const(X87Op *o)
{
    /* exponent, and 128 bits of the significand: RC decides about the last of 64 */
    static const struct {
        int e;
        uint64_t hi, lo;
    } k[] = {
        {0, 0x8000000000000000, 0},                   /* 1 */
        {1, 0xd49a784bcd1b8afe, 0x492bf6ff4dafdb4c},  /* log2 10 */
        {0, 0xb8aa3b295c17f0bb, 0xbe87fed0691d3e88},  /* log2 e */
        {1, 0xc90fdaa22168c234, 0xc4c6628b80dc1cd1},  /* pi */
        {-2, 0x9a209a84fbcff798, 0x8f8959ac0b7c9178}, /* log10 2 */
        {-1, 0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af}, /* ln 2 */
    };
    X87 *fp = o->fp;
    unsigned n = o->modrm & 7;
    if (!x87_can_push(o)) {
        return;
    }
    x87_cc(fp, SW_C1, 0);
    if (n == 6) {
        x87_push(fp, (Float80){0, 0});
    } else {
        unsigned __int128 m = (unsigned __int128)k[n].hi << 64 | k[n].lo;
        x87_push(fp, fp80_round_wide(&o->env, false, k[n].e, m));
    }
}

static void unary(X87Op *o)
{
    X87 *fp = o->fp;
    bool store;
    Float80 r = x87_indefinite();
    if (!x87_underflow(o, x87_empty(fp, 0), &store)) {
        Fp a = x87_fp(fp, 0);
        r = o->modrm == 0xfa ? fp80_sqrt(&o->env, a) : fp80_round_int(&o->env, a);
        store = x87_commit(o);
    }
    if (store) {
        x87_set(fp, 0, r);
    }
}

static void fscale(X87Op *o)
{
    X87 *fp = o->fp;
    bool store;
    Float80 r = x87_indefinite();
    if (!x87_underflow(o, x87_empty(fp, 0) || x87_empty(fp, 1), &store)) {
        r = fp80_scale(&o->env, x87_fp(fp, 0), x87_fp(fp, 1));
        store = x87_commit(o);
    }
    if (store) {
        x87_set(fp, 0, r);
    }
}

static void fprem(X87Op *o)
{
    X87 *fp = o->fp;
    bool store, incomplete = false;
    unsigned q = 0;
    Float80 r = x87_indefinite();
    x87_cc(fp, SW_C2, 0);
    if (!x87_underflow(o, x87_empty(fp, 0) || x87_empty(fp, 1), &store)) {
        bool nearest = o->modrm == 0xf5;
        r = fp80_rem(&o->env, x87_fp(fp, 0), x87_fp(fp, 1), nearest, &q, &incomplete);
        store = x87_commit(o);
        if (store && (r.exp & 0x7fff) == 0x7fff) { /* a NaN has no quotient */
            x87_cc(fp, SW_C1, 0);
        } else if (store) {
            x87_cc(fp, SW_CC,
                   (q & 4 ? SW_C0 : 0) | (q & 2 ? SW_C3 : 0) | (q & 1 ? SW_C1 : 0) |
                       (incomplete ? SW_C2 : 0));
        }
    }
    if (store) {
        x87_set(fp, 0, r);
    }
}

static void fxtract(X87Op *o)
{
    X87 *fp = o->fp;
    bool store;
    Float80 exponent = x87_indefinite(), significand = exponent;
    if (!x87_underflow(o, x87_empty(fp, 0), &store)) {
        if (!x87_empty(fp, 7)) {
            x87_can_push(o); /* reports */
            store = !(o->env.unmasked & FP_IE);
            if (store) {
                x87_set(fp, 1, significand);
            }
            return;
        }
        Fp a = x87_fp(fp, 0);
        o->env.flags |= a.cls == FPC_ZERO ? FP_ZE : a.denorm ? FP_DE : 0;
        switch (a.cls) {
        case FPC_ZERO:
            significand = x87_st(fp, 0);
            exponent = fp_pack80((Fp){.cls = FPC_INF, .sign = true, .m = BIT(63)});
            break;
        case FPC_NORM:
            exponent = fp_pack80(fp_from_int(a.e));
            a.e = 0;
            a.denorm = false;
            significand = fp_pack80(a);
            break;
        case FPC_INF:
            significand = x87_st(fp, 0);
            exponent = fp_pack80((Fp){.cls = FPC_INF, .m = BIT(63)});
            break;
        default:
            exponent = significand = fp_pack80(fp_propagate_nan(&o->env, a, a));
            break;
        }
        store = x87_commit(o);
    }
    if (store) {
        x87_set(fp, 0, exponent);
        x87_push(fp, significand);
    }
}

static void fninit(X87Op *o)
{
    x87_init(o->cpu);
}

static void fnclex(X87Op *o)
{
    o->fp->sw &= (uint16_t) ~(CW_MASKS | SW_SF | SW_ES | SW_B);
    x87_update_es(o->cpu);
}

static void fnstsw_ax(X87Op *o)
{
    uint64_t *rax = &o->cpu->regs[R_RAX];
    *rax = (*rax & ~0xffffull) | x87_sw(o->fp);
}

/* ---- dispatch ---- */

/* D9 D0 and D9 E0-FF */
static X87Fn *const d9_ops[32] = {
    sign_op,    sign_op,     NULL,       NULL,        ftst,       fxam,       NULL,       NULL,
    load_const, load_const,  load_const, load_const,  load_const, load_const, load_const, NULL,
    x87_f2xm1,  x87_fyl2x,   x87_fptan,  x87_fpatan,  fxtract,    fprem,      fdecstp,    fincstp,
    fprem,      x87_fyl2xp1, unary,      x87_fsincos, unary,      fscale,     x87_fsin,   x87_fcos,
};

/* Register forms by [esc][reg] where rm only names the register. */
static X87Fn *const reg_ops[8][8] = {
    {arith_st0, arith_st0, fcom, fcomp, arith_st0, arith_st0, arith_st0, arith_st0},
    {fld_sti, fxch, NULL, fstpnce, NULL, NULL, NULL, NULL},
    {fcmov, fcmov, fcmov, fcmov, NULL, NULL, NULL, NULL},
    {fcmov, fcmov, fcmov, fcmov, NULL, comi, comi, NULL},
    {arith_sti, arith_sti, fcom, fcomp, arith_sti, arith_sti, arith_sti, arith_sti},
    {ffree, fxch, fst_sti, fstp_sti, fucom, fucomp, NULL, NULL},
    {arith_pop, arith_pop, fcomp, NULL, arith_pop, arith_pop, arith_pop, arith_pop},
    {ffreep, fxch, fstp_sti, fstp_sti, NULL, comi, comi, NULL},
};

/* What reg_ops leaves open: one instruction per ModRM byte. */
static X87Fn *special_form(unsigned esc, uint8_t modrm)
{
    switch (esc << 8 | modrm) {
    case 0x1d0:
    case 0x3e0: /* FNENI, FNDISI and FNSETPM of older chips */
    case 0x3e1:
    case 0x3e4:
        return fnop;
    case 0x2e9:
        return fucompp;
    case 0x3e2:
        return fnclex;
    case 0x3e3:
        return fninit;
    case 0x6d9:
        return fcompp;
    case 0x7e0:
        return fnstsw_ax;
    }
    return esc == 1 && modrm >= 0xe0 ? d9_ops[modrm & 31] : NULL;
}

/* Control instructions leave the pointers to the last instruction alone. */
static bool is_control(unsigned esc, uint8_t modrm)
{
    /* by reg: FLDENV FLDCW FNSTENV FNSTCW; FRSTOR FNSAVE FNSTSW */
    static const uint8_t mem[8] = {[1] = 0xf0, [5] = 0xd0};
    unsigned reg = modrm >> 3 & 7;
    if (modrm < 0xc0) {
        return mem[esc] >> reg & 1;
    }
    return reg == 4 && (esc == 3 || esc == 7);
}

/* Of them, the FN… instructions do not look at a pending error. */
static bool waits(X87Fn *fn, bool control)
{
    return !control || fn == x87_fldcw || fn == x87_fldenv || fn == x87_frstor;
}

void x87_insn(CPUX86 *cpu, unsigned esc, uint8_t modrm, unsigned seg, uint64_t ea, unsigned opsize)
{
    bool mem = modrm < 0xc0;
    esc &= 7;
    X87Fn *fn = (mem ? x87_mem_ops : reg_ops)[esc][modrm >> 3 & 7];
    if (!fn && !mem) {
        fn = special_form(esc, modrm);
    }
    if (!fn) {
        x86_raise(cpu, EXC_UD);
    }
    bool control = is_control(esc, modrm);
    if (cpu->cr0 & (CR0_EM | CR0_TS)) {
        x86_raise(cpu, EXC_NM);
    }
    if (cpu->x87.pending && waits(fn, control)) {
        check_pending(cpu);
    }
    X87 *fp = &cpu->x87;
    X87Op o;
    o.cpu = cpu;
    o.fp = fp;
    fp_env_x87_init(&o.env, fp->cw);
    o.ea = ea;
    o.esc = (uint8_t)esc;
    o.modrm = modrm;
    o.seg = (uint8_t)seg;
    o.opsize = (uint8_t)opsize;
    fn(&o);
    if (!control) {
        fp->fop = (uint16_t)(esc << 8 | modrm);
        fp->fip = cpu->rip;
        fp->fcs = cpu->segs[SEG_CS].selector;
        if (mem) {
            fp->fdp = ea;
            fp->fds = cpu->segs[seg].selector;
        }
    }
}
