/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The module "capstone". */
#include "config.h"
#include "util/disasm.h"

#include <capstone/capstone.h>

static size_t run(const uint8_t *code, size_t size, uint64_t addr, unsigned bits, bool att,
                  DisasmFn *fn, void *opaque)
{
    cs_mode mode = bits == 64 ? CS_MODE_64 : bits == 32 ? CS_MODE_32 : CS_MODE_16;
    const uint8_t *at = code;
    size_t left = size;
    csh cs;

    if (cs_open(CS_ARCH_X86, mode, &cs) != CS_ERR_OK) {
        return 0;
    }
    if (att) {
        cs_option(cs, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
    }
    cs_insn *insn = cs_malloc(cs);
    while (insn && cs_disasm_iter(cs, &at, &left, &addr, insn) &&
           fn(opaque, insn->address, insn->size, insn->mnemonic, insn->op_str)) {
    }
    if (insn) {
        cs_free(insn, 1);
    }
    cs_close(&cs);
    return size - left;
}

MODULE_TABLE(DisasmModule) = {.head = {RHEA_VERSION}, .run = run};
