/* SPDX-License-Identifier: GPL-2.0-or-later */
/* util/disasm.h: x86 instructions as text, by libcapstone (module "capstone"). */
#ifndef RHEA_UTIL_DISASM_H
#define RHEA_UTIL_DISASM_H

#include "util/module.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One instruction; false: enough. The strings are valid during the call. */
typedef bool DisasmFn(void *opaque, uint64_t addr, size_t size, const char *mnemonic,
                      const char *operands);

typedef struct DisasmModule {
    ModuleHead head;
    size_t (*run)(const uint8_t *code, size_t size, uint64_t addr, unsigned bits, bool att,
                  DisasmFn *fn, void *opaque);
} DisasmModule;

/*
 * Calls fn for each instruction of code[0, size), which lies at `addr`, until the end or the
 * first bytes that are none.  `bits`: 16, 32 or 64; `att`: AT&T's syntax, else Intel's.
 * Returns the number of bytes used, or -1 with an error when there is no disassembler.
 */
ptrdiff_t disasm(const uint8_t *code, size_t size, uint64_t addr, unsigned bits, bool att,
                 DisasmFn *fn, void *opaque, Error **errp);

#endif
