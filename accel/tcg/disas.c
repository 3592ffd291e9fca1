/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machine code as text, for logs: by capstone where there is one, else bytes. */
#include "accel/tcg/internal.h"
#include "config.h"

#include <inttypes.h>
#ifdef CONFIG_CAPSTONE
#include <capstone/capstone.h>
#endif

/* Prints what it understands; returns the number of bytes. */
static size_t disassemble(FILE *out, const uint8_t *code, size_t size, uint64_t addr, unsigned bits)
{
    size_t done = 0;
#ifdef CONFIG_CAPSTONE
    csh h;
    cs_insn *insn;
    cs_mode mode = bits == 64 ? CS_MODE_64 : bits == 32 ? CS_MODE_32 : CS_MODE_16;
    if (cs_open(CS_ARCH_X86, mode, &h) != CS_ERR_OK) {
        return 0;
    }
    size_t n = cs_disasm(h, code, size, addr, 0, &insn);
    for (size_t i = 0; i < n; i++) {
        fprintf(out, "0x%08" PRIx64 ":  %s %s\n", insn[i].address, insn[i].mnemonic,
                insn[i].op_str);
        done += insn[i].size;
    }
    if (n) {
        cs_free(insn, n);
    }
    cs_close(&h);
#endif
    return done;
}

void tcg_disassemble(FILE *out, const uint8_t *code, size_t size, uint64_t addr, unsigned bits)
{
    size_t done = disassemble(out, code, size, addr, bits);
    if (done < size) {
        fprintf(out, "0x%08" PRIx64 ": ", addr + done);
        for (size_t i = done; i < size; i++) {
            fprintf(out, " %02x", code[i]);
        }
        fputc('\n', out);
    }
}
