/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/disasm.h"

#include "config.h"

ptrdiff_t disasm(const uint8_t *code, size_t size, uint64_t addr, unsigned bits, bool att,
                 DisasmFn *fn, void *opaque, Error **errp)
{
#ifdef CONFIG_CAPSTONE
    const DisasmModule *m = module_load("capstone", errp);

    return m ? (ptrdiff_t)m->run(code, size, addr, bits, att, fn, opaque) : -1;
#else
    error_set(errp, "This program was built without a disassembler");
    error_hint(errp, "build with libcapstone (package libcapstone-dev)");
    return -1;
#endif
}
