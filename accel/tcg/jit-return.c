/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The return stack: what the host predicts returns by, made useful to the guest.
 *
 * Each guest call leaves a frame on a stack of host addresses, by a host call; each guest
 * return is a host return.  The CPU so predicts it as well as the guest's own.  Nothing
 * relies on calls and returns being balanced: the code that is returned to looks whether the
 * guest's return address is the one of its frame and whether the address space is still the
 * same; if not, the target is looked up as for any other jump.
 *
 * While translated code runs, RSP is in TcgCpu.returns; C has its own stack (call_c() in
 * jit-stubs.c).
 */
#include "accel/tcg/jit-internal.h"

static Opnd frame_field(size_t field)
{
    return asm_mem(H_RSP, (int32_t)field);
}

bool jit_makes_frame(const JitCtx *j, const IrOp *op)
{
    return op->op == IR_PUSH && op->sub == IR_PUSH_RETURN && !j->in_cold && !j->jit->icount;
}

/* Where a return to operation i's call comes out: RAX is where the guest wants to be. */
static void landing(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    Asm *a = &j->a;
    const int rest = (int)offsetof(ReturnFrame, guest);
    asm_alu_load(a, 7, 8, H_RAX, frame_field(offsetof(ReturnFrame, guest) - (size_t)rest));
    asm_jcc_to(a, CC_NE, j->jit->stub[STUB_RETURN_OTHER]);
    asm_load(a, 8, H_RCX, frame_field(offsetof(ReturnFrame, key) - (size_t)rest));
    asm_lea(a, 8, H_RSP, asm_mem(H_RSP, (int)sizeof(ReturnFrame) - rest));
    asm_alu_load(a, 7, 8, H_RCX, asm_mem(H_RBP, TC_OFF(return_key)));
    asm_jcc_to(a, CC_NE, j->jit->stub[STUB_RETURN_LOOKUP]);
    if (j->b->pic) {
        asm_lea(a, 8, H_RCX, asm_mem(H_RAX, -(int32_t)op->imm));
        asm_store(a, 8, jit_loc(IR_PC), H_RCX);
    } else {
        asm_store_imm(a, 8, jit_loc(IR_PC), 0);
    }
    FlagState fs = j->fs;
    uint8_t vec = j->vec;
    bool fpu = j->fpu;
    j->fs = (FlagState){.mem = true};
    j->vec = 0;
    j->fpu = false;
    jit_direct_exit(j, i, 1, (uint64_t)op->imm, NULL);
    j->fs = fs;
    j->vec = vec;
    j->fpu = fpu;
}

void jit_return_frame(JitCtx *j, unsigned i)
{
    Asm *a = &j->a;
    _Static_assert(offsetof(ReturnFrame, host) == 0 && offsetof(ReturnFrame, guest) == 8 &&
                       offsetof(ReturnFrame, key) == 16,
                   "the order of pushes");
    asm_ext(a, 4, 0xff, 6, asm_mem(H_RBP, TC_OFF(return_key)));
    asm_8(a, 0x50 | H_RCX);
    asm_8(a, 0xe8);
    asm_32(a, 0);
    uint8_t *on = a->p - 4;
    landing(j, i);
    asm_here(a, on);
}

void jit_return_room(JitCtx *j)
{
    for (unsigned i = 0; i < j->n; i++) {
        if (jit_makes_frame(j, &j->ops[i])) {
            asm_alu_load(&j->a, 7, 8, H_RSP, asm_mem(H_RBP, TC_OFF(return_limit)));
            Cold *c = jit_cold(j, COLD_RETURNS, 0);
            c->from = asm_jcc(&j->a, CC_B);
            c->resume = j->a.p;
            return;
        }
    }
}

void jit_cold_returns(JitCtx *j, const Cold *c)
{
    asm_lea(&j->a, 8, H_RSP, asm_mem(H_RBP, TC_OFF(return_end)));
    asm_jmp_to(&j->a, c->resume);
}

bool jit_host_return(JitCtx *j, unsigned i)
{
    if (j->in_cold || j->jit->icount || !(j->b->flags & HF_CS64)) {
        return false;
    }
    /* Where to go on if it is not the frame's: RDX. */
    static const uint8_t lea_rdx_rip[] = {0x48, 0x8d, 0x15};
    asm_bytes(&j->a, lea_rdx_rip, sizeof(lea_rdx_rip));
    asm_32(&j->a, 0);
    Cold *c = jit_cold(j, COLD_LOOKUP, i);
    c->from = j->a.p - 4;
    asm_8(&j->a, 0xc3);
    return true;
}

/*
 * RSP: behind the first word of a frame that is not RAX's, RDX: where to look it up.  Frames
 * above that were not returned from (longjmp, a change of stacks) go.  If there is none for
 * this return, it is mostly a jump by RET with the address replaced (as in retpolines): the
 * frame goes, so that this stack agrees with what the host's CPU predicts by.
 */
static void make_other(Asm *a)
{
    asm_lea(a, 8, H_RSP, asm_mem(H_RSP, -8));
    for (int k = 1; k <= (int)RETURN_SEARCH; k++) {
        int at = k * (int)sizeof(ReturnFrame);
        asm_alu_load(a, 7, 8, H_RAX, asm_mem(H_RSP, at + (int)offsetof(ReturnFrame, guest)));
        uint8_t *no = asm_jcc(a, CC_NE);
        asm_lea(a, 8, H_RSP, asm_mem(H_RSP, at));
        asm_8(a, 0xc3);
        asm_here(a, no);
    }
    asm_lea(a, 8, H_RSP, asm_mem(H_RSP, (int)sizeof(ReturnFrame)));
    asm_ext(a, 4, 0xff, 4, asm_reg(H_RDX));
}

void jit_make_return_stubs(Jit *jit, Asm *a)
{
    jit_begin_stub(jit, a, STUB_RETURN_OTHER);
    make_other(a);
    jit_begin_stub(jit, a, STUB_RETURN_EMPTY);
    asm_lea(a, 8, H_RSP, asm_mem(H_RBP, TC_OFF(return_end)));
    jit->stub[STUB_RETURN_LOOKUP] = a->p;
    asm_ext(a, 4, 0xff, 4, asm_reg(H_RDX));
}

void jit_init_returns(const Jit *jit, TcgCpu *tc)
{
    for (unsigned i = 0; i < ARRAY_LEN(tc->return_end); i++) {
        tc->return_end[i] = (ReturnFrame){
            .host = (uintptr_t)jit->rx + (uintptr_t)(jit->stub[STUB_RETURN_EMPTY] - jit->rw)};
    }
    tc->return_limit = (uintptr_t)&tc->returns[0];
    tcg_forget_returns(tc);
}
