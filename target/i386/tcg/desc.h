/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/desc.h: descriptors and stacks, shared by the helpers that
 * transfer control (events, far branches, tasks).  Private to this folder.
 *
 * Error codes of selector faults are `selector & ~3 | ext`; `ext` is 1 while an
 * event other than a software interrupt is being delivered (SDM vol. 3, 6.13).
 */
#ifndef RHEA_TARGET_I386_TCG_DESC_H
#define RHEA_TARGET_I386_TCG_DESC_H

#include "target/i386/paging.h"
#include "target/i386/tcg/helper.h"

/* `-d pcall`: what happens to sel:off, in protected mode. */
void log_far_transfer(const CPUX86 *cpu, const char *what, uint16_t sel, uint64_t off);

#define ERR_EXT 1u
#define ERR_IDT 2u

/* A descriptor as it lies in memory: two double words; `hi2` for 16-byte ones. */
typedef struct Desc {
    uint32_t lo, hi, hi2;
    uint64_t addr; /* linear */
} Desc;

/* System descriptor types. */
enum {
    DESC_TSS16_AVAIL = 1,
    DESC_LDT = 2,
    DESC_TSS16_BUSY = 3,
    DESC_CALL16 = 4,
    DESC_TASK_GATE = 5,
    DESC_INT16 = 6,
    DESC_TRAP16 = 7,
    DESC_TSS32_AVAIL = 9,
    DESC_TSS32_BUSY = 11,
    DESC_CALL32 = 12,
    DESC_INT32 = 14,
    DESC_TRAP32 = 15,
};

static inline unsigned desc_type(const Desc *d)
{
    return (d->hi >> 8) & 15;
}
static inline unsigned desc_dpl(const Desc *d)
{
    return (d->hi >> 13) & 3;
}
static inline bool desc_present(const Desc *d)
{
    return d->hi & (1u << 15);
}
static inline bool desc_is_code_or_data(const Desc *d)
{
    return d->hi & (1u << 12);
}
static inline bool desc_is_code(const Desc *d)
{
    return desc_is_code_or_data(d) && (desc_type(d) & SEG_TYPE_CODE);
}
static inline bool desc_is_writable_data(const Desc *d)
{
    return desc_is_code_or_data(d) && (desc_type(d) & (SEG_TYPE_CODE | SEG_TYPE_RW)) == SEG_TYPE_RW;
}
static inline bool desc_is_conforming(const Desc *d)
{
    return (desc_type(d) & (SEG_TYPE_CODE | SEG_TYPE_DC)) == (SEG_TYPE_CODE | SEG_TYPE_DC);
}
static inline bool desc_is_readable(const Desc *d)
{
    return desc_is_code_or_data(d) &&
           (desc_type(d) & (SEG_TYPE_CODE | SEG_TYPE_RW)) != SEG_TYPE_CODE;
}
static inline bool desc_long(const Desc *d)
{
    return d->hi & (1u << 21);
}
static inline bool desc_db(const Desc *d)
{
    return d->hi & (1u << 22);
}
static inline uint32_t desc_limit(const Desc *d)
{
    uint32_t limit = (d->lo & 0xffff) | (d->hi & 0xf0000);

    return d->hi & (1u << 23) ? limit << 12 | 0xfff : limit;
}
static inline uint64_t desc_base(const Desc *d)
{
    return (uint64_t)(d->lo >> 16 | (d->hi & 0xff) << 16 | (d->hi & 0xff000000u)) | (uint64_t)d->hi2
                                                                                        << 32;
}
static inline uint64_t gate_offset(const Desc *d)
{
    return (uint64_t)((d->lo & 0xffff) | (d->hi & 0xffff0000u)) | (uint64_t)d->hi2 << 32;
}
static inline uint16_t gate_selector(const Desc *d)
{
    return (uint16_t)(d->lo >> 16);
}

static inline bool is_null_selector(uint16_t sel)
{
    return (sel & 0xfffc) == 0;
}
static inline bool in_long_mode(const CPUX86 *cpu)
{
    return cpu->hflags & HF_LMA;
}
static inline bool in_vm86(const CPUX86 *cpu)
{
    return cpu->hflags & HF_VM;
}
static inline bool in_protected(const CPUX86 *cpu)
{
    return (cpu->hflags & (HF_PE | HF_VM)) == HF_PE;
}
static inline unsigned cpu_iopl(const CPUX86 *cpu)
{
    return (cpu->rflags & FLAG_IOPL) >> FLAG_IOPL_SHIFT;
}

static inline _Noreturn void raise_selector(CPUX86 *cpu, int vector, uint16_t sel, uint32_t ext)
{
    x86_raise_error(cpu, vector, (sel & 0xfffcu) | ext);
}
static inline void require_cpl0(CPUX86 *cpu)
{
    if (cpu_cpl(cpu) != 0) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
}

/* Linear addresses of system structures wrap at 4 GiB outside long mode. */
uint64_t system_linear(const CPUX86 *cpu, uint64_t base, uint64_t offset);
/* Reads a descriptor of 8 bytes; false: the selector lies beyond the table. */
bool desc_read(CPUX86 *cpu, uint16_t sel, Desc *d);
/* The same for system descriptors, which have 16 bytes in long mode (`wide`). */
bool desc_read_system(CPUX86 *cpu, uint16_t sel, bool wide, Desc *d);
/* Or raises `vector` with the selector. */
void desc_fetch(CPUX86 *cpu, uint16_t sel, int vector, uint32_t ext, Desc *d);
/* Sets (clears) bits of descriptor byte 5 with a locked access: accessed, busy. */
void desc_mark(CPUX86 *cpu, Desc *d, uint8_t set, uint8_t clear);
/* The hidden part; sets the accessed bit in memory first. */
void desc_to_segment(CPUX86 *cpu, uint16_t sel, Desc *d, Segment *out);
/* Loads CS with RPL = cpl. Also refreshes hflags. */
void load_cs(CPUX86 *cpu, uint16_t sel, Desc *d, unsigned cpl);
/* A null selector in a data segment register. */
void load_null(CPUX86 *cpu, unsigned seg, uint16_t sel);
/* As virtual-8086 mode has it. */
void load_vm86_segment(CPUX86 *cpu, unsigned seg, uint16_t sel);
/* Real mode: base from the selector; limit and size as they were. */
void load_real_segment(CPUX86 *cpu, unsigned seg, uint16_t sel);
/* Is `offset` a place code may run at? Raises #GP(ext) if not. */
void check_code_offset(CPUX86 *cpu, const Desc *d, uint64_t offset, uint32_t ext);
/* Would [offset, offset + size) pass the segment's limit? */
bool segment_contains(const Segment *s, uint64_t offset, unsigned size);
/* After a return to an outer ring: data segments above it become null. */
void drop_privileged_segments(CPUX86 *cpu);

/* A stack being pushed to or popped from before SS:RSP are committed. */
typedef struct Stack {
    CPUX86 *cpu;
    Segment ss;
    uint64_t sp;
    uint64_t mask; /* of the stack's address size */
    MmuMode mode;
    uint32_t error; /* error code of #SS */
    bool long_mode; /* 64-bit: canonical check instead of limit */
} Stack;

/* The running stack, accessed with the current privilege. */
void stack_open(CPUX86 *cpu, Stack *s, uint32_t error);
/* The running stack, addresses of 64 bits or by SS.B, as seen by privilege `cpl`. */
void stack_open_inner(CPUX86 *cpu, Stack *s, const Segment *ss, uint64_t sp, unsigned cpl,
                      bool long_mode, uint32_t error);
void stack_push(Stack *s, unsigned size, uint64_t value);
uint64_t stack_pop(Stack *s, unsigned size);
/* Stores sp in RSP as the stack's address size says. */
void stack_commit(const Stack *s);

/* SS:ESP of privilege `dpl` from the TSS of legacy modes, checked; raises #TS etc. */
void tss_inner_stack(CPUX86 *cpu, unsigned dpl, uint32_t ext, Segment *ss, uint64_t *sp);
/* Long mode: RSP0-2 (slot 0-2) or IST1-7 (slot 4-10: index of the quad word at 4). */
uint64_t tss_long_stack(CPUX86 *cpu, unsigned slot, uint32_t ext);
/* SS after a long-mode change to an inner ring. */
Segment long_null_ss(unsigned cpl);

/*
 * The task switch itself; `gate` says that an event is delivered.  The selector's
 * descriptor is checked with error codes of `ext`.  Ends in the new task, with a
 * debug trap if the TSS asks for one.
 */
void task_switch(CPUX86 *cpu, uint16_t sel, TaskSwitchKind kind, uint32_t ext, bool has_error,
                 uint32_t error, uint64_t saved_rip, uint64_t saved_flags);

#endif
