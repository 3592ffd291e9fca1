/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/x86-guest.h: a CPU, 4 MiB of memory and the TCG engine, for tests that
 * run a few instructions in a mode of their choice.
 *
 * Every interrupt vector leads to a handler of its own that only halts, so that a
 * run ends in `hlt` of the snippet or in a vector; guest_vector() tells which.
 */
#ifndef RHEA_TESTS_UNIT_X86_GUEST_H
#define RHEA_TESTS_UNIT_X86_GUEST_H

#include "accel/accel.h"
#include "target/i386/model.h"

/* Guest-physical = linear addresses (everything is mapped one to one). */
enum {
    AT_GDT = 0x1000,
    AT_IDT = 0x2000,
    AT_TSS = 0x3000,
    AT_LDT = 0x3600,
    AT_TSS_B = 0x3800,
    AT_HANDLERS = 0x4000, /* 4 bytes for each vector */
    AT_STACK0 = 0x6000,   /* tops of stacks, growing down */
    AT_IST = 0x6800,
    AT_STACK = 0x7000,
    AT_USER_STACK = 0x7800,
    AT_CODE = 0x8000,
    AT_DATA = 0xa000,
    AT_TABLES = 0x20000, /* PML4, PDPT, PD, PT for the first 2 MiB */
    AT_PT = 0x23000,
};

/* Selectors. */
enum {
    SEL_CODE32 = 0x08,
    SEL_DATA32 = 0x10,
    SEL_CODE64 = 0x18,
    SEL_CODE16 = 0x20,
    SEL_DATA16 = 0x28,
    SEL_UCODE32 = 0x33,
    SEL_UDATA32 = 0x3b,
    SEL_UCODE64 = 0x43,
    SEL_TSS = 0x48, /* 16 bytes in long mode */
    SEL_LDT = 0x58, /* likewise */
    SEL_TSS_B = 0x68,
    SEL_TASK_GATE = 0x70,
    SEL_CALL_GATE = 0x78, /* 16 bytes in long mode */
    SEL_ABSENT = 0x88,
    SEL_CONFORMING = 0x90,
    SEL_EXEC_ONLY = 0x98,
    SEL_EXPAND_DOWN = 0xa0,
    SEL_READ_ONLY = 0xa8,
    SEL_SMALL = 0xb0, /* data, limit 0x20 */
    SEL_TSS16 = 0xb8,
    GDT_SIZE = 0xc0,
};

typedef enum GuestMode {
    GUEST_REAL,
    GUEST_PROT32,
    GUEST_USER32, /* protected mode, ring 3 */
    GUEST_V86,    /* IOPL 3 */
    GUEST_LONG,
    GUEST_LONG_USER,
    GUEST_COMPAT_USER,
} GuestMode;

typedef struct Guest {
    MemorySystem *sys;
    Region root, ram_region, io_root, io_region;
    MemOwner owner;
    RamBlock *ram;
    AddressSpace *as, *as_io;
    ClockSet *clocks;
    Accel *accel;
    Vcpu *v;
    CPUX86 *cpu;
    RunExit exit;
    /* accesses to ports 0x500 … 0x5ff */
    uint32_t out_value, in_value;
    unsigned outs, ins, out_port;
} Guest;

Guest *guest_new(const char *cpu_model);
/*
 * The same on one of the engines of -accel tcg (NULL: the default) with so much RAM, and without
 * a limit on how long it runs. NULL and *errp: there is no such engine.
 */
Guest *guest_new_engine(const char *cpu_model, const char *engine, bool one_insn, uint64_t ram_size,
                        Error **errp);
/* The same with -icount shift=0,sleep=off: a halt lasts until the next timer of Guest.clocks. */
Guest *guest_new_icount(const char *cpu_model, const char *engine, bool one_insn, uint64_t ram_size,
                        Error **errp);
void guest_free(Guest *g);
/* Fresh registers, tables and stacks in `mode`; memory is cleared. */
void guest_enter(Guest *g, GuestMode mode);
void guest_code(Guest *g, const void *bytes, size_t len);
/* Runs from CS:RIP until something halts it, at most a few seconds. */
void guest_run(Guest *g);
/* guest_code(), guest_run(). */
void guest_exec(Guest *g, const void *bytes, size_t len);
/* The vector whose handler halted, or -1. */
int guest_vector(const Guest *g);
/* The snippet ran to its own HLT. */
bool guest_finished(const Guest *g, size_t code_len);

uint64_t guest_ld(const Guest *g, hwaddr a, unsigned size);
void guest_st(Guest *g, hwaddr a, uint64_t v, unsigned size);
void guest_segment(Guest *g, uint16_t sel, uint32_t base, uint32_t limit, uint16_t attr);
void guest_gate(Guest *g, hwaddr at, uint16_t sel, uint64_t offset, uint8_t type, uint8_t dpl,
                unsigned low, bool wide);
/* Loads a segment register's hidden part from the GDT, without checks. */
void guest_load(Guest *g, unsigned seg, uint16_t sel);
/* Paging with 4 levels, or 2 (legacy), one to one for 4 MiB, user pages. */
void guest_paging(Guest *g, bool wide);
/* Word n (of `size` bytes) of the frame that a handler got. */
uint64_t guest_frame(const Guest *g, unsigned n, unsigned size);

#define GUEST_EXEC(g, ...)                            \
    do {                                              \
        static const uint8_t code_[] = {__VA_ARGS__}; \
        guest_exec(g, code_, sizeof(code_));          \
    } while (0)

#endif
