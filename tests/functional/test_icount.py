#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""-icount: the same guest twice executes the same number of instructions."""
import os
import re
import subprocess
import tempfile
import time
import unittest

import rhea
import rsp

INIT = """#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
cat /proc/uptime /proc/interrupts
seq 1 3000 | gzip | gunzip | sha256sum
awk 'BEGIN { for (i = 1; i < 3000; i++) s += sin(i) / i; print s }'
sleep 0.5
poweroff -f
"""


class Icount(unittest.TestCase):
    def guest(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "auto")
        with open(path, "w", encoding="utf-8") as f:
            f.write(INIT)
        os.chmod(path, 0o755)
        return rhea.linux_guest(folder.name, "icount")

    def run_once(self, guest, timeout, *args):
        kernel, initrd = guest
        with rhea.Machine("-m", "256", "-net", "none", "-no-shutdown", "-rtc",
                          "base=2024-01-01,clock=vm", "-kernel", kernel, "-initrd", initrd,
                          "-append", "console=ttyS0 quiet nokaslr rdinit=/auto", *args) as m:
            deadline = time.monotonic() + timeout * rhea.PATIENCE
            while m.qmp("query-status")["status"] != "shutdown":
                self.assertLess(time.monotonic(), deadline, m.text()[-1000:])
                time.sleep(0.1)
            count = re.search(r"instructions {8}(\d+)", m.hmp("info jit"))
            return int(count.group(1)), m.text()

    def same(self, timeout, *args):
        """Twice on the translator, and once on the interpreter, which is the judge."""
        guest = self.guest()
        first = self.run_once(guest, timeout, *args)
        self.assertGreater(first[0], 100_000_000)
        self.assertEqual(self.run_once(guest, timeout, *args), first)
        judge = self.run_once(guest, timeout, "-accel", "tcg,engine=interp", *args)
        self.assertEqual(judge, first)

    def test_linux(self):
        self.same(200, "-icount", "shift=1,sleep=off")

    def test_smp(self):
        self.same(400, "-smp", "2", "-icount", "shift=1")

    def test_auto(self):
        # The guest's second takes about as long as ours.
        begin = time.monotonic()
        _, text = self.run_once(self.guest(), 120, "-icount", "shift=auto")
        uptime = float(re.search(r"(\d+\.\d+) \d+\.\d+", text).group(1))
        self.assertLess(uptime, 3 * (time.monotonic() - begin) + 1)

    def loop(self, options):
        """Instructions of an endless loop, and the seconds that they took at most."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "gdb")
            begin = time.monotonic()
            with rhea.Machine("-S", "-m", "16", "-gdb", f"unix:{path}", "-icount", options,
                              nodefaults=True, serial=False) as m:
                r = rsp.Rsp(path)
                regs = r.numbers()
                self.assertEqual(r.write(0x7000, b"\xeb\xfe"), "OK")
                self.assertEqual(r.set(regs["cs"], 0), "OK")
                self.assertEqual(r.set(regs["rip"], 0x7000), "OK")
                self.assertEqual(r.ask("D"), "OK")
                time.sleep(1)
                m.qmp("stop")
                count = re.search(r"instructions {8}(\d+)", m.hmp("info jit"))
                r.close()
                return int(count.group(1)), time.monotonic() - begin

    def test_align(self):
        # A microsecond for an instruction is slow, so the guest has to wait for the host.
        count, _ = self.loop("shift=10")
        self.assertGreater(count, 4_000_000)
        count, seconds = self.loop("shift=10,align=on")
        self.assertGreater(count, 10_000)
        self.assertLess(count * 1024e-9, seconds + 0.1)

    def test_refused(self):
        for option, message in (("shift=11", "from 0 to 10"), ("shift=x", "a number"),
                                ("align=on", "'shift' is missing"),
                                ("shift=auto,align=on", "fixed shift"),
                                ("shift=auto,sleep=off", "sleep=on"),
                                ("shift=1,sleep=off,align=on", "sleep=on"),
                                ("shift=1,rr=record,rrfile=x", "not supported"),
                                ("shift=1,nonsense=1", "nonsense")):
            run = subprocess.run([rhea.BINARY, "-display", "none", "-icount", option],
                                 capture_output=True, text=True, timeout=30, check=False)
            self.assertEqual(run.returncode, 1, option)
            self.assertIn(message, run.stderr, option)
        run = subprocess.run([rhea.BINARY, "-display", "none", "-accel", "qtest", "-icount", "1"],
                             capture_output=True, text=True, timeout=30, check=False)
        self.assertIn("cannot count", run.stderr)


if __name__ == "__main__":
    rhea.main()
