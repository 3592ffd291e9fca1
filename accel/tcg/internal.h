/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/tcg/internal.h: the engine's own structures: blocks, code cache, software
 * TLB, per-vCPU data.
 *
 * LOCKS, outermost first:
 *   Tcg.excl_lock    who runs guest code, exclusive sections
 *   Tcg.cpus_lock    the list of vCPUs, for threads that are no vCPU
 *   Tcg.lock         translation, the block hash, links, code maps
 *   TcgCpu.tlb_lock  a vCPU's TLB against other threads that make pages unwritable
 * Lookups and execution take none: blocks are only freed all at once, by
 * tcg_flush_all(), while no vCPU executes.
 */
#ifndef RHEA_ACCEL_TCG_INTERNAL_H
#define RHEA_ACCEL_TCG_INTERNAL_H

#include "accel/accel.h"
#include "accel/tcg/ir.h"
#include "accel/tcg/softmmu.h"
#include "util/sanitize.h"

#define TCG_PAGE_BITS 12
#define TCG_PAGE_SIZE 4096u
#define TCG_PAGE_MASK (~(uint64_t)(TCG_PAGE_SIZE - 1))

/* ---- blocks ---- */
typedef struct Block Block;
struct Block {
    /* What a lookup compares: one cache line. */
    Block *hash_next;       /* atomic */
    const uint8_t *code[2]; /* host address of the first byte, and of the second page's */
    uint64_t rip;           /* as in the CPU state, or its offset in the page (pic) */
    uint64_t cs_base;       /* 0 in 64-bit mode */
    uint64_t flags;         /* hflags and BLOCK_* */
    const void *host_code;  /* where to go on (atomic) */
    bool pic;               /* may be executed at any linear page that is mapped to its memory */
    bool invalid;           /* atomic */
    bool link_ok;           /* may be the target and source of links */
    bool temporary;         /* never entered in the hash: code outside RAM */
    bool jit_never;         /* left to the interpreter */
    uint8_t mmu_mode;
    uint16_t page_off; /* of the first byte in its page */
    /* direct links (atomic), taken only on the block's first page */
    Block *jump[2];
    uint32_t n_ops;
    uint32_t heat; /* times entered by the interpreter */
    uint16_t size; /* guest bytes */
    uint16_t n_insns;
    /*
     * The JIT's (jit.h): the code itself; all places where its two exits were translated, and
     * the traces that it is a part of.
     */
    uint32_t host_size;
    const void *host_start;
    struct JitExit *exits[2];
    struct JitMember *traces;
    uint64_t linear;     /* where it was when it was translated: for people */
    Block *page_next[2]; /* list of the blocks of a code page */
    uintptr_t incoming;  /* blocks whose jump[n] leads here: pointer | n, list by link_next */
    uintptr_t link_next[2];
    struct CodePage *page[2];
    IrOp ops[];
};
/* Where each of its instructions starts, relative to rip. */
static inline const uint16_t *block_starts(const Block *b)
{
    return (const uint16_t *)(const void *)(b->ops + b->n_ops);
}
/* It is entered by the interpreter: how often so far. CPUs that count at once may lose some. */
static inline uint32_t block_heat(Block *b)
{
    uint32_t n = __atomic_load_n(&b->heat, __ATOMIC_RELAXED) + 1;
    __atomic_store_n(&b->heat, n, __ATOMIC_RELAXED);
    return n;
}
/* The address after the instruction at `rip`, which need not have come to any operations. */
static inline uint64_t block_next_rip(const Block *b, uint64_t rip)
{
    const uint16_t *starts = block_starts(b);
    for (unsigned i = 0; i < b->n_insns; i++) {
        if (starts[i] > rip - b->rip) {
            return b->rip + starts[i];
        }
    }
    return b->rip + b->size;
}
/* Beyond hflags in the key: code segment limit below 4 GiB; translated one by one. */
#define BLOCK_CS_LIMIT ((uint64_t)1 << 40)
#define BLOCK_ONE_INSN ((uint64_t)1 << 41)
#define BLOCK_BREAK ((uint64_t)1 << 42)    /* the debugger has a breakpoint at its start */
#define BLOCK_ALONE ((uint64_t)1 << 43)    /* see TcgCpu.debug_flags */
#define BLOCK_SOFT_FP ((uint64_t)1 << 44)  /* MXCSR unmasks exceptions */
#define BLOCK_SOFT_X87 ((uint64_t)1 << 45) /* the x87 control word does, or one is pending */
/* Executed once because a StackPage or a window could not be used: each access by the TLB. */
#define BLOCK_NO_STACK ((uint64_t)1 << 46)
#define JUMP_NO_STACK ((uint64_t)1 << 62 | 0x6d5)
/*
 * Such blocks are one instruction long and run one at a time from the run loop: they are
 * never linked to nor in the jump cache.  Whoever has one from tcg_find_block() while
 * executing goes back there.
 */
#define BLOCK_STEP (HF_TF | HF_CODE_BP | HF_DATA_BP | BLOCK_BREAK | BLOCK_ALONE)
#define BLOCK_MAX_INSNS 64
#define BLOCK_MAX_OPS 640

/* One guest page that holds translated code. */
typedef struct CodePage {
    RamBlock *ram;
    uint64_t offset;   /* in ram */
    Block *blocks;     /* list, through page_next[i] of the entry that is this page */
    uint64_t granules; /* atomic; one bit for 64 bytes: some block has code here, or will */
    uint64_t present;  /* the same without translations in progress; Tcg.lock */
    unsigned pending;  /* translations in progress; Tcg.lock */
    uint64_t seq;      /* counts writes to code: a translation in progress must start again */
} CodePage;

/* RamBlock.engine */
typedef struct CodeMap {
    uint64_t n;
    CodePage *pages[]; /* by page number; entries are made under Tcg.lock, never freed alone */
} CodeMap;

/* ---- software TLB ---- */
#define TLB_BITS 14
#define TLB_SIZE (1u << TLB_BITS)
/* So many entries fill a page of the host's: the parts that are in use are known. */
#define TLB_PART 128u
#define TLB_PARTS (TLB_SIZE / TLB_PART)
/* Low bits of a tag; a tag with any of them never matches on the fast path. */
#define TLB_SLOW 1u     /* MMIO, part of a page, watchpoint: look closer */
#define TLB_NOTDIRTY 2u /* tag_w: a write must be noted */
#define TLB_INVALID 4u
#define TLB_GEN_SHIFT 4 /* bits 4 to 11: the address space's generation */
#define TLB_GEN_MAX 255u

typedef struct TlbEntry {
    uint64_t tag_r, tag_w, tag_x; /* linear page | generation << 4 | flags */
    uintptr_t addend;             /* host = linear + addend */
} TlbEntry;

/* What the slow path wants to know of an entry. */
typedef struct TlbInfo {
    hwaddr phys; /* of the page */
    RamBlock *ram;
    uint64_t ram_offset;
    uint32_t space; /* whose page: TlbContext.space */
    bool global;
} TlbInfo;

/* How far apart accesses of the stack may be that share a check: the least of these counts. */
#define STACK_REACHES 3u
static const uint16_t stack_reach[STACK_REACHES] = {64, 192, 512};
/*
 * Pages on which translated code finds the stack without looking into the TLB.  Only the
 * vCPU's own thread changes them, and never while a trace relies on them; another thread
 * that takes write access away asks for it by `stack_drop`.
 */
typedef struct StackPage {
    uint64_t base;    /* linear */
    uintptr_t addend; /* host = linear + addend */
    /*
     * Accesses within stack_reach[n] bytes may begin at so many offsets of the page; 0 if the
     * page is not valid (any more): no address passes then.
     */
    uint64_t starts[STACK_REACHES];
    uintptr_t host; /* of the page, 0: none; atomic */
    RamBlock *ram;
    uint64_t ram_offset;
} StackPage;

/* A call that has not returned yet (jit-return.c). */
typedef struct ReturnFrame {
    uintptr_t host; /* where the host goes on */
    uint64_t guest; /* the guest's return address */
    uint64_t key;   /* TcgCpu.return_key at the call */
} ReturnFrame;
#define RETURNS 1024u
/* So many frames are looked at for one that was not returned to in order. */
#define RETURN_SEARCH 8u
/* Below the frames: for one trace's calls, what stubs push, and signal handlers. */
#define RETURN_ROOM 32768u

typedef struct JumpEntry {
    uint64_t rip; /* ^ JUMP_NO_STACK, for a block with BLOCK_NO_STACK */
    uint64_t key; /* tcg_jump_key() */
    Block *block;
    uint64_t base; /* of CS; in 64-bit mode what IR_PC is to be */
} JumpEntry;
#define JUMP_BITS 13
#define JUMP_SIZE (1u << JUMP_BITS)
#define JUMP2_BITS 16
#define JUMP2_SIZE (1u << JUMP2_BITS)
#define JUMP_PAGES 32768u

#define PCID_SLOTS 32
typedef struct PcidSlot {
    uint32_t asid;
    uint16_t pcid;
    uint8_t gen; /* 0: free */
} PcidSlot;
/* What else decides how pages are walked; changing it within one address space flushes. */
typedef struct TlbContext {
    bool valid, watch;
    uint32_t asid;
    uint32_t space; /* a new one with each flush: marks the entries, for global pages */
    uint64_t cr0, cr4, efer, nested_cr3;
    bool smm, a20;
} TlbContext;
#define TLB_ASIDS 17
#define TLB_CONTEXTS (TLB_ASIDS + 4) /* and without paging (tlb.c) */
/* The address space identifier: 0, or the SVM guest's. */
static inline uint32_t tcg_asid(const CPUX86 *cpu)
{
    return cpu->hflags & HF_SVM_GUEST ? cpu->svm.asid : 0;
}

/*
 * Which TLB entries let a page of RAM be written without notice: lists by hash of the host's
 * page, so that making it read-only needs no search.  Guarded by TcgCpu.tlb_lock.
 */
#define WRITER_HEADS 1024u
#define TLB_ENTRIES (MMU_MODES * TLB_SIZE)
typedef struct Writers {
    uint32_t head[WRITER_HEADS]; /* 1 + index into TcgCpu.tlb, taken as one array; 0: none */
    uint32_t next[TLB_ENTRIES];
    uint16_t list[TLB_ENTRIES]; /* 1 + the hash of the list that the entry is in; 0: none */
} Writers;

#define BLOOM_BITS 16384u
static inline unsigned tcg_bloom_bit(uint64_t n)
{
    return (unsigned)(n * 0x9e3779b97f4a7c15ull >> 50) & (BLOOM_BITS - 1);
}

typedef struct Tcg Tcg;
typedef struct TcgCpu {
    CPUX86 *cpu;
    Tcg *tcg;
    /* hot */
    uint64_t gen_bits;    /* current generation << TLB_GEN_SHIFT */
    uint64_t global_bits; /* the same in a jump key for code on global pages; 0: has none */
    bool leave;           /* a store asks to leave after this instruction */
    bool no_step;         /* the instruction suppresses the trap of EFLAGS.TF after it */
    Block *current;       /* block being interpreted */
    /*
     * BLOCK_ALONE, or 0: part of every block's key, so that instructions run one at a time:
     * the debugger steps, or an access needs the instruction to be on its own (tcg_alone()).
     */
    uint64_t debug_flags;
    /* -icount (accel/tcg/icount.h): instructions left; what it was when the block was entered */
    int64_t icount_left, icount_entry;
    bool icount_on;
    Vec vtmp[4]; /* IR_VT0 … */
    /* translated code's */
    uint64_t jump_key;   /* of the present state */
    uint64_t return_key; /* the same, but never of global pages: a frame may lead to others */
    uint32_t fl;         /* the arithmetic flags (alu.h) */
    uint32_t store_info;
    uint64_t store_linear;  /* a store that waits in `buffer` */
    uintptr_t jit_ret;      /* where it called C; 0: it is not running */
    uint8_t vec_level;      /* vector registers in the host's (jit-vec.c) */
    uint8_t fpu_level;      /* x87 state in the host's (jit-x87.c) */
    bool fpu_dirty;         /* fpu_image is newer than CPUX86.x87 */
    uint8_t fpu_image[112]; /* of FNSAVE */
    uint32_t host_mxcsr;    /* C's */
    alignas(64) uint8_t buffer[64];
    TlbEntry tlb[MMU_MODES][TLB_SIZE];
    JumpEntry jump[JUMP_SIZE];
    JumpEntry jump2[JUMP2_SIZE];          /* what was displaced there */
    uint8_t jump_epoch;                   /* part of every key */
    uint8_t kernel_global;                /* see tcg_wants_global() */
    uint64_t jump_pages[JUMP_PAGES / 64]; /* linear pages that have entries, by hash */
    StackPage stack[MMU_MODES][2];        /* for reading, for writing */
    const uint8_t *window[8];             /* host addresses a trace has found (jit-window.c) */
    bool no_stack;                        /* the next block is one with BLOCK_NO_STACK */
    bool stack_drop;                      /* atomic: forget the stack's pages */
    /* the return stack; it grows downwards */
    uintptr_t c_stack;      /* C's RSP while translated code runs */
    uintptr_t return_top;   /* RSP while it does not */
    uintptr_t return_limit; /* below it there is only return_room left */
    uint8_t return_room[RETURN_ROOM];
    ReturnFrame returns[RETURNS];
    ReturnFrame return_end[RETURN_SEARCH + 1]; /* frames of no call */
    /* cold */
    TlbInfo info[MMU_MODES][TLB_SIZE];
    int tlb_lock; /* spin lock */
    Writers writers;
    PcidSlot pcids[PCID_SLOTS];
    unsigned pcid_next;
    unsigned last_gen;
    uint32_t space, last_space;            /* the present context's; the last that was given out */
    uint64_t large_bloom[BLOOM_BITS / 64]; /* 2/4 MiB pages seen, by hash */
    uint64_t huge_bloom[BLOOM_BITS / 64];  /* 1 GiB pages */
    uint64_t tlb_used[MMU_MODES][TLB_PARTS / 64]; /* bit n: part n has entries; tlb_lock */
    TlbContext ctx[TLB_CONTEXTS]; /* by ASID: what the cached entries were made under */
    uint64_t run_cr3;             /* CR3 when run() was left */
    unsigned pauses;              /* PAUSE instructions since the thread last gave way */
    /* guarded by Tcg.excl_lock */
    bool running;         /* executes guest code */
    bool in_exclusive;    /* in an exclusive section, or waits for one, within a block */
    unsigned excl_depth;  /* own thread only */
    IrOp tail[64];        /* rest of an instruction after which the block is left */
    CodePage *pending[2]; /* pages of the translation in progress */
    Block *uncached;      /* block of the last instruction outside RAM */
    IrOp *scratch;        /* where blocks are translated: BLOCK_MAX_OPS */
    uint64_t map_seq; /* Tcg.map_seq when the TLB was last emptied for it; guarded by Tcg.lock */
    /* debugging and exact instructions; own thread */
    sigjmp_buf *run_env;            /* the run loop's place to raise to */
    bool no_retry;                  /* between instructions: nothing can be executed again */
    bool stepping;                  /* Vcpu.step, while in run() */
    bool icount_exact, icount_over; /* clock or device seen: look for timers; turn is over */
    bool icount_yield;              /* the turn is to be over */
    int64_t icount_slice;           /* left of the turn beyond icount_left */
    bool hit;                       /* stop after this instruction; Vcpu.debug_stop says why */
    /* counters for info jit */
    uint64_t n_lookups, n_tlb_fills, n_flushes, n_slow;
} TcgCpu;

static inline TcgCpu *tcg_cpu(const CPUX86 *cpu)
{
    return (TcgCpu *)cpu->engine;
}

/* ---- the engine ---- */
struct Tcg {
    Accel *accel;
    pthread_mutex_t lock;
    Block **hash; /* by tcg_hash(); chains are read without lock */
    unsigned hash_bits;
    uint8_t *arena; /* blocks, allocated upwards */
    size_t arena_size, arena_used;
    GPtrArray *code_maps; /* RamBlock* whose engine field is set (referenced) */
    GPtrArray *cpus;      /* TcgCpu*; changes under excl_lock, cpus_lock and lock together */
    pthread_mutex_t cpus_lock;
    MemoryListener listener;
    bool one_insn;
    /* Copies of Accel.debug_points, execution first; change while no vCPU is in run(). */
    DebugPoint *points;
    unsigned n_exec, n_watch;
    struct Icount *icount;   /* or NULL */
    struct PerfMap *perfmap; /* or NULL; perfmap.h */
    struct Jit *jit;         /* NULL: engine=interp */
    uint32_t heat_limit;     /* a block entered so often becomes host code */
    uint64_t map_seq;        /* counts changes of the memory map; atomic */
    /* exclusive sections */
    pthread_mutex_t excl_lock;
    pthread_cond_t excl_cond;
    TcgCpu *excl_owner;  /* in an exclusive section */
    TcgCpu *flush_owner; /* throws all blocks away: nobody may be within a block */
    /* counters */
    uint64_t n_blocks, n_insns, n_ops, n_flushes, n_invalidations;
};

/* ---- tcg.c ---- */
/* Is it executing, or could it be woken? While it does not run. */
bool tcg_has_work(TcgCpu *tc);

/* ---- interp.c ---- */
/*
 * Runs from `block` until something needs the run loop, or a block is reached that has
 * become hot; all state is in `cpu` then.
 */
void tcg_interpret(CPUX86 *cpu, Block *block);
/* Chooses the handlers of a block's operations. */
void tcg_interp_select(IrOp *ops, unsigned n);

/* ---- cache.c ---- */
bool tcg_cache_init(Tcg *t, size_t size, Error **errp);
void tcg_cache_fini(Tcg *t);
/* The block for the CPU's present state; translates when needed. May raise. */
Block *tcg_find_block(CPUX86 *cpu);
/* The same, by the jump cache if possible: from one block to the next. */
Block *tcg_next_block(CPUX86 *cpu);
/*
 * Does `b` have host code?  Makes it when the block is hot.  The cache may have been
 * thrown away (Tcg.n_flushes tells): then the block is gone and false is returned.
 */
bool tcg_heat_block(CPUX86 *cpu, Block *b);
/* An exception ended a translation: its pages are no longer waited for. */
void tcg_cancel_translation(TcgCpu *tc);
/* `seq`: Tcg.n_flushes when `from` was known to exist. */
void tcg_link(Tcg *t, Block *from, unsigned slot, Block *to, uint64_t seq);
/*
 * Drops every block that has bytes in the range.  `self`: the vCPU whose own store
 * it is; its `leave` is set if it executes one of them.  whole_pages: all blocks of
 * the pages touched.
 */
void tcg_invalidate_range(Tcg *t, RamBlock *b, uint64_t offset, uint64_t len, TcgCpu *self,
                          bool whole_pages);
uint64_t tcg_block_flags(const CPUX86 *cpu);
/* NULL: no code was ever translated there. */
CodePage *tcg_code_page(const RamBlock *b, uint64_t offset);
/* Makes sure `b` has its code map (and that the engine holds a reference). */
void tcg_watch_ram(Tcg *t, RamBlock *b);
/*
 * `tc` has emptied its TLB for map change `seq`.  Lets go of RAM that nobody else has
 * any more, once no TLB can point to it.
 */
void tcg_release_ram(TcgCpu *tc, uint64_t seq);

/* Throws all blocks away; no vCPU is in run(). */
void tcg_drop_blocks(Tcg *t);

/* ---- disas.c ---- */
/* Machine code of `bits` (16, 32, 64) as text; what cannot be disassembled, as bytes. */
void tcg_disassemble(FILE *out, const uint8_t *code, size_t size, uint64_t addr, unsigned bits);

/* ---- debug.c ---- */
/* exception_vector of tcg_alone(): nothing is delivered, the instruction runs again. */
#define TCG_RETRY 0x100
/*
 * Whether the running instruction is a block of its own, so that it may stop the CPU after
 * itself, or know exactly when it runs.  If not, and it can be started again, this does not
 * return: the state is as before the instruction, which is executed again alone.  Only where
 * an exception could be raised.
 */
bool tcg_alone(TcgCpu *tc);
/*
 * The instruction looks at a clock or reaches for a device: with -icount that is exact, and
 * what follows from it comes before the next instruction. May not return, as tcg_alone().
 */
static inline void tcg_exact(TcgCpu *tc)
{
    if (tc->icount_on) {
        (void)tcg_alone(tc);
        tc->icount_exact = true;
    }
}
/* run() begins, the CPU's mode changed, a lone instruction is done: sets debug_flags. */
void tcg_debug_update(TcgCpu *tc);
void tcg_debug_changed(Accel *a);
bool tcg_break_slow(const Tcg *t, uint64_t linear);
/* Has the debugger a breakpoint there? A block may have one only at its start. */
static inline bool tcg_break_at(const Tcg *t, uint64_t linear)
{
    return t->n_exec && tcg_break_slow(t, linear);
}
/* Does the debugger watch data on this page? Such pages are TLB_SLOW. */
bool tcg_watch_on_page(const Tcg *t, uint64_t page);
/* An access is about to be made: notes a stop after the instruction. May not return, as tcg_alone(). */
void tcg_watch_access(TcgCpu *tc, uint64_t lin, uint64_t size, bool write);
/* The same, but nothing is noted yet: before an instruction does anything that cannot be repeated. */
void tcg_watch_probe(TcgCpu *tc, uint64_t lin, uint64_t size, bool write);
/* Why the CPU stops, unless it is known already. */
void tcg_note_stop(TcgCpu *tc, DebugReason why, const DebugPoint *p, uint64_t addr);

/* ---- softmmu.c ---- */
void tcg_tlb_init(TcgCpu *tc);
/* Downgrades entries of every vCPU that allow unnoted writes to this RAM. Any thread. */
void tcg_protect_ram(Tcg *t, RamBlock *b, uint64_t offset, uint64_t len);
/* Host address of code at a linear address, or NULL: not plain RAM. May raise (#PF). */
const uint8_t *tcg_code_ptr(CPUX86 *cpu, uint64_t linear, RamBlock **ram, uint64_t *offset);
/* Is that page, whose code has just been looked at, known to be global? */
bool tcg_code_global(const TcgCpu *tc, uint64_t linear);
/* One byte of code outside RAM. */
uint8_t tcg_code_byte(CPUX86 *cpu, uint64_t linear);
/* Slow paths of the inline accesses; `seg` chooses #SS or #GP for bad addresses. */
uint64_t tcg_ld_slow(CPUX86 *cpu, uint64_t linear, unsigned size, MmuMode mode, unsigned seg);
void tcg_st_slow(CPUX86 *cpu, uint64_t linear, uint64_t v, unsigned size, MmuMode mode,
                 unsigned seg);
/*
 * Host address of `size` bytes of RAM in one page, brought into the TLB; NULL if the
 * access must be made by the functions above.  Raises like an access.
 */
void *tcg_plain_ptr(CPUX86 *cpu, uint64_t linear, unsigned size, bool write, MmuMode mode,
                    unsigned seg);
void tcg_probe_write(CPUX86 *cpu, uint64_t linear, unsigned size, MmuMode mode, unsigned seg);
/*
 * Makes the page of [lin, lin + len) the stack's, if it is in the TLB and plain memory.
 * Raises nothing.
 */
bool tcg_stack_page(TcgCpu *tc, uint64_t lin, unsigned len, bool write, MmuMode mode);
void tcg_stack_forget(TcgCpu *tc);
/* Forgets the pages on another thread's request; what was written meanwhile counts as dirty. */
void tcg_stack_drop(TcgCpu *tc);
/* IRQ_TLB_FLUSH was seen. */
void tcg_memory_changed(TcgCpu *tc);
/* Exclusive sections of the run loop: enter and leave guest execution. */
void tcg_cpu_enter(TcgCpu *tc);
void tcg_cpu_leave(TcgCpu *tc);

/* ---- translate.c (target/i386/tcg) ---- */
/* Reads the code of one block to be: the page of its first byte, and the next one. */
typedef struct CodeReader {
    CPUX86 *cpu;
    uint64_t linear; /* of the block's start */
    const uint8_t *page[2];
    CodePage *code_page[2];
    uint64_t seq[2];
    bool uncached; /* some of it is not plain RAM */
} CodeReader;
/*
 * One byte of code.  `first`: for the block's first instruction, which alone may
 * reach the second page (and then raises #PF for it); else false is returned.
 */
bool tcg_read_code(CodeReader *r, uint64_t linear, bool first, uint8_t *byte);

typedef struct TranslateResult {
    unsigned n_ops, n_insns, size;
    uint16_t starts[BLOCK_MAX_INSNS]; /* of the instructions, from the block's start */
} TranslateResult;
/*
 * Translates from the CPU's rip into ops (room for BLOCK_MAX_OPS); may raise. `rip`: the
 * same, or its offset in the page for code that is to be position-independent.
 */
void x86_translate(CPUX86 *cpu, CodeReader *r, uint64_t flags, uint64_t rip, unsigned max_insns,
                   IrOp *ops, TranslateResult *res);

/*
 * No hash: each lookup would pay for it.  Pages that meet in one entry are 64 MiB apart; two
 * side by side never do, or an access across their border could hit the second one's.
 */
static inline unsigned tlb_index(uint64_t lin)
{
    uint32_t l = (uint32_t)lin;
    return l >> TCG_PAGE_BITS & (TLB_SIZE - 1);
}
#define TLB_INDEX(lin) tlb_index(lin)
static inline bool tcg_tlb_part_used(const TcgCpu *tc, unsigned mode, unsigned part)
{
    return tc->tlb_used[mode][part / 64] >> (part % 64) & 1;
}
/* What IR_PC must be for a block at linear address `linear`. */
static inline uint64_t tcg_pc_base(const Block *b, uint64_t linear)
{
    return b->pic ? linear & TCG_PAGE_MASK : 0;
}
/* Does a tag allow an access of `size` at lin that stays within its page? */
static inline bool tlb_hit(uint64_t tag, uint64_t lin, unsigned size, uint64_t gen_bits)
{
    return tag == (((lin + size - 1) & TCG_PAGE_MASK) | gen_bits);
}

static inline unsigned tcg_jump_page(uint64_t linear)
{
    return (uint32_t)(linear >> TCG_PAGE_BITS) * 0x9e3779b1u >> 17 & (JUMP_PAGES - 1);
}
#define JUMP_HASH 0x9e3779b1u
static inline unsigned tcg_jump_index(uint64_t rip)
{
    return (uint32_t)rip * JUMP_HASH >> (32 - JUMP_BITS);
}
#define MXCSR_MASKS 0x1f80u
static inline unsigned tcg_jump2_index(uint64_t rip)
{
    return (uint32_t)rip * JUMP_HASH >> (32 - JUMP2_BITS);
}
/*
 * What besides the address must be the same for an entry to be valid; never 0.  Code on global
 * pages stays where it is when the address space changes: its key has bit 47 and the number of
 * TcgCpu.space in place of the generation (at bit 36).
 */
#define JUMP_GENERATION (0xffffull << 32)
#define JUMP_SPACES 0x8000u
static inline uint64_t tcg_global_bits(uint32_t space)
{
    return (uint64_t)(JUMP_SPACES | space % JUMP_SPACES) << 32;
}
static inline uint64_t tcg_jump_key_of(const TcgCpu *tc, uint64_t flags, bool global)
{
    return (uint32_t)flags | (global ? tc->global_bits : tc->gen_bits << 32) |
           (flags >> 40 & 0xff) << 48 | (uint64_t)tc->jump_epoch << 56;
}
/*
 * The key to look for.  Most kernels have all their code on global pages, but one that hides
 * from its users has none: what was found last decides (kernel_global counts).
 */
#define KERNEL_GLOBAL_MAX 7u
static inline bool tcg_wants_global(const TcgCpu *tc, uint64_t flags)
{
    return !(flags & HF_CPL_MASK) && tc->global_bits && tc->kernel_global > KERNEL_GLOBAL_MAX / 2;
}
static inline uint64_t tcg_jump_key(const TcgCpu *tc, uint64_t flags)
{
    return tcg_jump_key_of(tc, flags, tcg_wants_global(tc, flags));
}
static inline void tcg_set_keys(TcgCpu *tc, uint64_t flags)
{
    tc->jump_key = tcg_jump_key(tc, flags);
    tc->return_key = tcg_jump_key_of(tc, flags, false);
}
/* Translated code is gone; nobody executes. */
static inline void tcg_forget_returns(TcgCpu *tc)
{
    tc->return_top = (uintptr_t)tc->return_end;
}
/* Nothing in the jump cache is valid any more. Own thread, or nobody executes. */
static inline void tcg_forget_jumps(TcgCpu *tc)
{
    if (!++tc->jump_epoch) { /* keys of long ago would be valid again */
        memset(tc->jump, 0, sizeof(tc->jump));
        memset(tc->jump2, 0, sizeof(tc->jump2));
    }
}

#endif
