#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Floating point as a whole machine shows it."""
import os
import unittest

import rhea

# A boot sector: with CR0.NE = 0 it divides by zero with ZM clear. IRQ 13's handler counts,
# writes port F0h, clears the exception and ends the interrupt. Then the count, with bit 6
# set if ES or ZE are still there, goes to the debug exit port.
FERR = """
fa 31c0 8ed8 8ed0 bc0070        cli; ds = ss = 0; mov sp,0x7000
b8707c a3d401 c706d6010000      int 75h's vector: 0:7c70
e4a1 24df e6a1 e421 24fb e621   unmask IRQ 13 and the cascade
0f20c0 6683e0d1 0f22c0          cr0: NE, TS, EM, MP off
c606000600 fb                   mov byte [0x600],0; sti
dbe3 c70610067b03 d92e1006      fninit; fldcw 0x37b
d9e8 d9ee def9                  fld1; fldz; 1 / 0
d9ee d9e8 def1 9b 9090          fldz; …: instructions that wait
66b900000100 803e000600 7504 6649 75f5
dfe0 a00006 80e481 7402 0c40    fnstsw ax; mov al,[0x600]; test ah,0x81
e6f4 f4 909090                  out 0xf4,al
50 30c0 e6f0 dbe2               handler: out 0xf0,al; fnclex
fe060006 b020 e6a0 e620 58 cf   inc byte [0x600]; end of interrupt; iret
"""


def assemble(listing):
    code = bytearray()
    for line in listing.strip().splitlines():
        code += bytes.fromhex(line.split("  ")[0])
    return bytes(code)


class Fpu(unittest.TestCase):
    def test_irq13(self):
        code = assemble(FERR)
        self.assertEqual(code.index(bytes.fromhex("5030c0e6f0")), 0x70)
        m = rhea.Machine("-m", "16", "-boot", "a", "-device",
                         "isa-debug-exit,iobase=0xf4,iosize=4", serial=False, qmp=False)
        image = os.path.join(m.folder, "floppy.img")
        with open(image, "wb") as f:
            f.write(code.ljust(510, b"\0") + b"\x55\xaa" + bytes(1474560 - 512))
        m.args += ["-drive", f"file={image},format=raw,if=floppy"]
        with m:
            self.assertEqual(m.wait(60), 1 << 1 | 1)  # one interrupt, nothing left


if __name__ == "__main__":
    rhea.main()
