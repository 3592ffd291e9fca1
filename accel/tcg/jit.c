/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JIT's driver: the code region, compiling a block, links between blocks, running. */
#include "accel/tcg/jit.h"

#include "accel/tcg/alu.h"
#include "accel/tcg/icount.h"
#include "accel/tcg/jit-internal.h"
#include "util/log.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

/* More than the longest block can become; a smaller rest counts as full. */
#define BLOCK_CODE_MAX (256 * 1024)
#define BLOCK_RECORDS_MAX (TRACE_MAX_BLOCKS * (2 * sizeof(JitExit) + sizeof(JitMember)))

bool jit_available(void)
{
    return true;
}

/* ---- the region ---- */

static bool map_region(Jit *jit, Error **errp)
{
    int fd = memfd_create("tcg-code", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)jit->size) < 0) {
        error_set_errno(errp, errno, "tcg: cannot create memory for %zu MiB of translated code",
                        jit->size / (size_t)MiB);
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    void *rw = mmap(NULL, jit->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    void *rx = mmap(NULL, jit->size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    int err = errno;
    close(fd);
    jit->rw = rw == MAP_FAILED ? NULL : rw;
    jit->rx = rx == MAP_FAILED ? NULL : rx;
    if (!jit->rw || !jit->rx) {
        error_set_errno(errp, err, "tcg: cannot map %zu MiB for translated code",
                        jit->size / (size_t)MiB);
        error_hint(errp, "give a smaller tb-size= to -accel tcg, or use engine=interp where "
                         "executable memory is forbidden");
        return false;
    }
    return true;
}

Jit *jit_new(size_t size, bool icount, Error **errp)
{
    Jit *jit = g_new0(Jit, 1);
    jit->size = size + BLOCK_CODE_MAX;
    jit->icount = icount;
    if (!map_region(jit, errp)) {
        jit_free(jit);
        return NULL;
    }
    jit->records_size = size / 2 + BLOCK_RECORDS_MAX;
    jit->records = mmap(NULL, jit->records_size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (jit->records == MAP_FAILED) {
        jit->records = NULL;
        error_set_errno(errp, errno, "tcg: cannot map %zu MiB for the links of translated code",
                        jit->records_size / (size_t)MiB);
        error_hint(errp, "give a smaller tb-size= to -accel tcg");
        jit_free(jit);
        return NULL;
    }
    jit->ctx = g_new0(JitCtx, 1);
    jit_vec_probe_host(jit);
    Asm a = {.p = jit->rw, .end = jit->rw + jit->size};
    jit_make_stubs(jit, &a);
    jit->first = jit->next = a.p;
    return jit;
}

void jit_free(Jit *jit)
{
    if (jit) {
        if (jit->rw) {
            munmap(jit->rw, jit->size);
        }
        if (jit->rx) {
            munmap(jit->rx, jit->size);
        }
        if (jit->records) {
            munmap(jit->records, jit->records_size);
        }
        g_free(jit->ctx);
        g_free(jit);
    }
}

void jit_reset(Jit *jit)
{
    uint8_t *page = (uint8_t *)ALIGN_UP((uintptr_t)jit->first, (uintptr_t)getpagesize());
    madvise(page, (size_t)(jit->rw + jit->size - page), MADV_REMOVE);
    madvise(jit->records, jit->records_size, MADV_DONTNEED);
    jit->next = jit->first;
    jit->records_used = 0;
}

void jit_usage(const Jit *jit, size_t *used, size_t *size)
{
    *used = (size_t)(jit->next - jit->rw);
    *size = jit->size;
}

static const void *executable(const Jit *jit, const uint8_t *rw)
{
    return jit->rx + (rw - jit->rw);
}

const void *jit_no_code(const Jit *jit)
{
    return executable(jit, jit->stub[STUB_NO_CODE]);
}

/* ---- emitting ---- */

uint64_t jit_rip(const JitCtx *j, const IrOp *op)
{
    return j->b->rip + (uint64_t)(int64_t)(int16_t)op->pc;
}

void jit_asm_rip(JitCtx *j, unsigned reg, uint64_t rip)
{
    if (!j->b->pic) {
        asm_movi(&j->a, reg, rip);
        return;
    }
    asm_load(&j->a, 8, reg, jit_loc(IR_PC));
    int64_t rest = (int64_t)rip;
    for (; !asm_is_imm32(rest); rest -= 0x40000000 * (rest < 0 ? -1 : 1)) {
        asm_lea(&j->a, 8, reg, asm_mem(reg, rest < 0 ? -0x40000000 : 0x40000000));
    }
    asm_lea(&j->a, 8, reg, asm_mem(reg, (int32_t)rest));
}

Cold *jit_cold(JitCtx *j, ColdKind kind, unsigned i)
{
    /* Room for all that one operation may note; a fuller block is not compiled. */
    if (j->n_cold >= COLD_MAX - 1) {
        j->never = true;
        j->n_cold = COLD_MAX - 1;
    }
    Cold *c = &j->cold[j->n_cold++];
    *c = (Cold){
        .kind = (uint8_t)kind, .index = (uint16_t)i, .vec = j->vec, .fpu = j->fpu, .before = j->fs};
    return c;
}

void jit_jump_stub(JitCtx *j, JitStub s)
{
    asm_jmp_to(&j->a, j->jit->stub[s]);
}

static void stub_arguments(JitCtx *j, unsigned i)
{
    asm_movi(&j->a, H_RAX, (uintptr_t)jit_block_op(j, i));
    jit_asm_rip(j, H_RCX, jit_rip(j, &j->ops[i]));
}

void jit_call_stub(JitCtx *j, JitStub s, unsigned i)
{
    if (j->live[i]) {
        jit_flags_to_mem(j);
    }
    stub_arguments(j, i);
    asm_call_to(&j->a, j->jit->stub[s]);
    j->fs = (FlagState){.mem = true};
    j->vec = 0;
    j->fpu = false;
    asm_rm(&j->a, 4, 0x85, H_RAX, asm_reg(H_RAX));
    Cold *c = jit_cold(j, COLD_LEAVE, i);
    c->from = asm_jcc(&j->a, CC_NE);
}

void jit_reload_units(JitCtx *j, bool fpu, unsigned vec)
{
    if (fpu) {
        asm_call_to(&j->a, j->jit->stub[STUB_FPU]);
    }
    if (vec) {
        asm_call_to(&j->a, j->jit->stub[vec == 2 ? STUB_VEC2 : STUB_VEC1]);
    }
}

unsigned jit_emit(JitCtx *j, unsigned i)
{
    for (unsigned k = 0; k < 2; k++) {
        if (j->join[i][k]) {
            if (k == 0) {
                jit_flags_to_mem(j);
            }
            asm_here(&j->a, j->join[i][k]);
            j->join[i][k] = NULL;
            j->fs = (FlagState){.mem = true};
            j->vec = 0;
            j->fpu = false;
        }
    }
    unsigned next = jit_integer_op(j, i);
    if (!next) {
        next = jit_memory_op(j, i);
    }
    if (!next) {
        next = jit_flow_op(j, i);
    }
    if (!next) {
        next = jit_vector_op(j, i);
    }
    return next;
}

/* ---- cold code ---- */

static void cold_miss(JitCtx *j, const Cold *c)
{
    const IrOp *op = &j->ops[c->index];
    jit_flags_rescue(j, &c->before);
    jit_asm_rip(j, H_RCX, jit_rip(j, op));
    asm_movi(&j->a, H_RDX, c->info);
    asm_call_to(&j->a, j->jit->stub[c->kind == COLD_LOAD ? STUB_LOAD : STUB_STORE]);
    jit_reload_units(j, c->fpu, c->vec);
    if (!c->fn) {
        asm_jmp_to(&j->a, c->resume);
        return;
    }
    asm_rm(&j->a, 4, 0x85, H_RDX, asm_reg(H_RDX));
    asm_jcc_to(&j->a, CC_E, c->resume);
    j->fs = c->before;
    j->vec = c->vec;
    j->fpu = c->fpu;
    j->at = asm_mem(H_RAX, 0);
    c->fn(j, op + c->slot);
    asm_call_to(&j->a, j->jit->stub[STUB_COMMIT]);
    asm_8(&j->a, 0xe3); /* JRCXZ over the next jump */
    asm_8(&j->a, 5);
    uint8_t *to_rest = asm_jmp(&j->a);
    jit_reload_units(j, c->fpu, c->vec);
    asm_jmp_to(&j->a, c->after);
    asm_here(&j->a, to_rest);
    j->fs = c->done;
    j->vec = 0;
    j->fpu = false;
    jit_emit_rest(j, c->index, c->rest);
}

/* The rest of the instruction after a call of C that asked to leave (1), or all is done (2). */
static void cold_leave(JitCtx *j, unsigned i)
{
    if (j->ops[i].op == IR_CALLX) {
        asm_alu_imm(&j->a, 7, 4, asm_reg(H_RAX), 2);
        asm_jcc_to(&j->a, CC_E, j->jit->stub[STUB_DYNAMIC]);
    }
    j->fs = (FlagState){.mem = true};
    j->vec = 0;
    j->fpu = false;
    jit_emit_rest(j, i, i + 1);
}

static void cold_call(JitCtx *j, const Cold *c)
{
    jit_flags_rescue(j, &c->before);
    stub_arguments(j, c->index);
    asm_call_to(&j->a, c->stub);
    asm_rm(&j->a, 4, 0x85, H_RAX, asm_reg(H_RAX));
    uint8_t *stay = asm_jcc(&j->a, CC_E);
    cold_leave(j, c->index);
    asm_here(&j->a, stay);
    jit_reload_units(j, c->fpu, c->vec);
    if (c->done.host && !c->done.mem) { /* as after the straight code */
        j->fs = (FlagState){.mem = true};
        jit_flags_to_host(j);
    }
    asm_jmp_to(&j->a, c->resume);
}

static void *new_record(JitCtx *j, size_t size)
{
    Jit *jit = j->jit;
    void *p = jit->records + jit->records_used;
    jit->records_used += size;
    return p;
}

/* At an exit from the middle of a trace, that have stayed in the host's flags. */
static bool save_flags(JitCtx *j, const Cold *c)
{
    if (c->before.mem) {
        return false;
    }
    j->fs = c->before;
    jit_flags_to_mem(j);
    return true;
}

static void cold_exit(JitCtx *j, const Cold *c)
{
    Block *b = jit_block_of(j, c->index);
    uint8_t *from = c->from;
    if (save_flags(j, c)) { /* then the jump to be linked is here */
        asm_align_disp(&j->a, 1);
        from = asm_jmp(&j->a);
        asm_here(&j->a, from);
    }
    JitExit *e = new_record(j, sizeof(*e));
    *e = (JitExit){.next = b->exits[c->slot],
                   .head = j->b,
                   .at = (uint32_t)(from - j->jit->rw),
                   .cold = (uint32_t)(j->a.p - j->jit->rw)};
    b->exits[c->slot] = e;
    asm_movi(&j->a, H_RAX, (uintptr_t)b | c->slot);
    jit_asm_rip(j, H_RCX, c->rip);
    jit_jump_stub(j, STUB_EXIT_AT);
    e->lookup = (uint32_t)(j->a.p - j->jit->rw);
    jit_asm_rip(j, H_RAX, c->rip);
    asm_jmp_to(&j->a, c->stub);
}

static void cold_stub(JitCtx *j, const Cold *c)
{
    (void)save_flags(j, c);
    if (c->stub == j->jit->stub[STUB_LOOKUP] && !j->b->pic) {
        jit_asm_lookup_known(&j->a, j->jit->stub[STUB_SECOND], c->rip);
    } else {
        jit_asm_rip(j, H_RAX, c->rip);
        if (c->stub == j->jit->stub[STUB_LOOKUP]) {
            jit_asm_lookup(&j->a, j->jit, false);
        } else {
            asm_jmp_to(&j->a, c->stub);
        }
    }
}

static void emit_cold(JitCtx *j)
{
    j->in_cold = true;
    for (unsigned k = 0; k < j->n_cold && !j->a.full && !j->never; k++) {
        Cold c = j->cold[k];
        asm_here(&j->a, c.from);
        switch (c.kind) {
        case COLD_LOAD:
        case COLD_STORE:
            cold_miss(j, &c);
            break;
        case COLD_CALL:
            cold_call(j, &c);
            break;
        case COLD_LEAVE:
            cold_leave(j, c.index);
            break;
        case COLD_EXIT:
            cold_exit(j, &c);
            break;
        case COLD_TARGET:
            jit_cold_target(j, &c);
            break;
        case COLD_LOOKUP:
            jit_go_to_target(j, c.index);
            break;
        case COLD_RETURNS:
            jit_cold_returns(j, &c);
            break;
        case COLD_STACK:
            jit_cold_stack(j, &c);
            break;
        case COLD_WINDOW:
            jit_cold_window(j, &c);
            break;
        case COLD_FPU:
            jit_reload_units(j, true, c.vec);
            asm_jmp_to(&j->a, c.resume);
            break;
        case COLD_VECTORS:
            asm_call_to(&j->a, j->jit->stub[c.slot == 2 ? STUB_VEC12 : STUB_VEC1]);
            asm_jmp_to(&j->a, c.resume);
            break;
        default: /* COLD_STUB */
            cold_stub(j, &c);
            break;
        }
    }
}

/* ---- a block ---- */

static void find_live(JitCtx *j)
{
    unsigned live = FS_ALL;
    j->live[j->n] = FS_ALL;
    for (unsigned i = j->n; i-- > 0;) {
        live = ir_live_before(&j->ops[i], live);
        j->live[i] = (uint8_t)live;
    }
}

/* To the run loop before the block, if `cc`. */
static void refuse_entry(JitCtx *j, unsigned cc)
{
    Cold *c = jit_cold(j, COLD_STUB, 0);
    c->from = asm_jcc(&j->a, cc);
    c->rip = j->b->rip;
    c->stub = j->jit->stub[STUB_NO_CODE];
}

/* Requests wait, or the block is longer than the budget. */
static void emit_entry(JitCtx *j)
{
    Asm *a = &j->a;
    asm_alu_imm(a, 7, 4, asm_mem(H_RBP, CPU_OFF(attention)), 0);
    refuse_entry(j, CC_NE);
    jit_return_room(j);
    if (j->b->flags & BLOCK_NO_STACK) {
        asm_store_imm(a, 1, asm_mem(H_RBP, TC_OFF(no_stack)), 0);
    }
    if (j->jit->icount) {
        asm_load(a, 8, H_RAX, asm_mem(H_RBP, TC_OFF(icount_left)));
        asm_store(a, 8, asm_mem(H_RBP, TC_OFF(icount_entry)), H_RAX);
        asm_alu_imm(a, 5, 8, asm_reg(H_RAX), j->b->n_insns);
        refuse_entry(j, CC_S);
        asm_store(a, 8, asm_mem(H_RBP, TC_OFF(icount_left)), H_RAX);
        asm_movi(a, H_RAX, (uintptr_t)j->b);
        asm_store(a, 8, asm_mem(H_RBP, TC_OFF(current)), H_RAX);
    }
}

void jit_count_back(JitCtx *j, uint64_t rip)
{
    const Block *b = j->b;
    unsigned left = b->n_insns - icount_insns_before(b, rip);
    if (j->jit->icount && left) {
        asm_alu_imm(&j->a, 0, 8, asm_mem(H_RBP, TC_OFF(icount_left)), (int)left);
    }
}

static void log_code(const Jit *jit, const Block *b, const uint8_t *start, size_t size)
{
    FILE *out = log_begin();
    uint64_t at = (uint64_t)(uintptr_t)executable(jit, start);
    fprintf(out, "OUT: [size=%zu] for %016" PRIx64 "\n", size, b->linear);
    tcg_disassemble(out, start, size, at, 64);
    fputc('\n', out);
    log_end(out);
}

bool jit_compile(Jit *jit, Block *b)
{
    JitCtx *j = jit->ctx;
    if ((size_t)(jit->rw + jit->size - jit->next) < BLOCK_CODE_MAX ||
        jit->records_size - jit->records_used < BLOCK_RECORDS_MAX) {
        return false;
    }
    j->a = (Asm){.p = (uint8_t *)ALIGN_UP((uintptr_t)jit->next, (uintptr_t)16),
                 .end = jit->rw + jit->size};
    j->jit = jit;
    jit_build_trace(j, b);
    j->fs = (FlagState){.mem = true};
    j->n_cold = 0;
    j->never = j->in_cold = false;
    j->vec = 0;
    j->fpu = false;
    memset(j->join, 0, sizeof(j->join[0]) * (j->n + 1));
    find_live(j);
    j->stack_end = 0;
    memset(j->window, 0, j->n);
    memset(j->window_end, 0, sizeof(j->window_end));
    uint8_t *start = j->a.p;
    emit_entry(j);
    for (unsigned i = 0; i < j->n && !j->never;) {
        jit_stack_begin(j, i);
        jit_window_begin(j, i);
        unsigned next = jit_stack_run(j, i);
        i = next ? next : jit_emit(j, i);
    }
    emit_cold(j);
    if (j->never || j->a.full) {
        b->jit_never = true;
        return true;
    }
    jit->next = j->a.p;
    b->host_start = executable(jit, start);
    b->host_size = (uint32_t)(j->a.p - start);
    if (log_enabled(LOG_OUT_ASM) && log_wants_address(b->linear)) {
        log_code(jit, b, start, b->host_size);
    }
    for (unsigned k = 0; k < j->n_blocks; k++) {
        Block *part = j->blocks[k];
        if (k) {
            JitMember *m = new_record(j, sizeof(*m));
            *m = (JitMember){.next = part->traces, .head = b};
            part->traces = m;
        }
        jit_link(jit, part, 0, part->jump[0]);
        jit_link(jit, part, 1, part->jump[1]);
    }
    __atomic_store_n(&b->host_code, b->host_start, __ATOMIC_RELEASE);
    return true;
}

static void redirect(Jit *jit, const JitExit *e, const uint8_t *target)
{
    uint8_t *at = jit->rw + e->at;
    __atomic_store_n((int32_t *)(void *)at, (int32_t)(target - (at + 4)), __ATOMIC_RELEASE);
}

/* The exit's places that still count; somebody may be on the way to one that does not. */
static JitExit *live_exits(Jit *jit, Block *from, unsigned slot)
{
    for (JitExit **p = &from->exits[slot]; *p;) {
        if ((*p)->head->invalid) {
            redirect(jit, *p, jit->rw + (*p)->cold);
            *p = (*p)->next;
        } else {
            p = &(*p)->next;
        }
    }
    return from->exits[slot];
}

void jit_link(Jit *jit, Block *from, unsigned slot, const Block *to)
{
    if (to && !to->host_size) {
        return;
    }
    for (const JitExit *e = to ? live_exits(jit, from, slot) : from->exits[slot]; e; e = e->next) {
        redirect(jit, e,
                 to ? jit->rw + ((const uint8_t *)to->host_start - jit->rx) : jit->rw + e->cold);
    }
}

void jit_link_lookup(Jit *jit, Block *from, unsigned slot)
{
    for (const JitExit *e = live_exits(jit, from, slot); e; e = e->next) {
        redirect(jit, e, jit->rw + e->lookup);
    }
}

bool jit_contains(const Block *b, uintptr_t pc)
{
    return b->host_size && pc - (uintptr_t)b->host_start <= b->host_size;
}

Block *jit_run(Jit *jit, CPUX86 *cpu, const Block *b, unsigned *slot)
{
    TcgCpu *tc = tcg_cpu(cpu);
    tc->fl = fl_from_rflags(cpu->rflags);
    tcg_set_keys(tc, tcg_block_flags(cpu));
    tc->current = NULL;
    tc->vec_level = tc->fpu_level = 0;
    uint64_t r =
        jit->enter((uint8_t *)cpu + JIT_BIAS, __atomic_load_n(&b->host_code, __ATOMIC_ACQUIRE));
    tsan_acquire(tc->tcg);
    tc->current = NULL;
    jit_rt_fpu_sync(cpu);
    cpu->rflags = fl_to_rflags(cpu->rflags, tc->fl);
    *slot = r & 1;
    return (Block *)(uintptr_t)(r & ~(uint64_t)1);
}
