/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machine code as text, for logs: by capstone where there is one, else bytes. */
#include "accel/tcg/internal.h"
#include "util/disasm.h"

#include <inttypes.h>

static bool print_insn(void *out, uint64_t addr, size_t size, const char *mnemonic,
                       const char *operands)
{
    fprintf(out, "0x%08" PRIx64 ":  %s %s\n", addr, mnemonic, operands);
    return true;
}

void tcg_disassemble(FILE *out, const uint8_t *code, size_t size, uint64_t addr, unsigned bits)
{
    ptrdiff_t n = disasm(code, size, addr, bits, false, print_insn, out, NULL);
    size_t done = n > 0 ? (size_t)n : 0;
    if (done < size) {
        fprintf(out, "0x%08" PRIx64 ": ", addr + done);
        for (size_t i = done; i < size; i++) {
            fprintf(out, " %02x", code[i]);
        }
        fputc('\n', out);
    }
}
