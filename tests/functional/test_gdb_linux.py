#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The real gdb on Debian's kernel: breaks in it, steps over a system call, watches variables."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import rhea

PROGRAM = rhea.SOURCE / "tests" / "guest" / "gdb-user.S"
APPEND = "console=ttyS0 quiet nokaslr"
NAMES = ("start_kernel", "kernel_init", "entry_SYSCALL_64", "jiffies_64", "_text")


class GdbLinux(unittest.TestCase):
    def kernel_symbols(self):
        """Addresses of NAMES: Debian's System.map is empty, the kernel itself knows them."""
        kernel, initrd = rhea.linux_guest()
        cache = rhea.CACHE / "linux" / "symbols"
        with rhea.locked("symbols"):
            self.find_symbols(kernel, initrd, cache)
        return {n: int(a, 16) for a, n in re.findall(r"(\w+) \w (\w+)", cache.read_text())}

    def find_symbols(self, kernel, initrd, cache):
        if not cache.exists() or cache.stat().st_mtime < kernel.stat().st_mtime:
            with rhea.Machine("-m", "256", "-net", "none", "-kernel", kernel, "-initrd", initrd,
                              "-append", APPEND) as m:
                m.expect("RHEA-READY", 120)
                m.send("stty -echo; PS1='$ '\n")
                m.command("true")
                pattern = " -e ".join(f"' {n}$'" for n in NAMES)
                text = m.command(f"grep -e {pattern} /proc/kallsyms", 60)
            cache.with_suffix(".new").write_text(text)
            cache.with_suffix(".new").rename(cache)

    def user_program(self, folder):
        """The program, as /user in a folder for the initramfs, and its symbols."""
        elf = os.path.join(folder, "user")
        run = subprocess.run(["gcc", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none",
                              "-Wl,-Ttext=0x31000000,-Tdata=0x31100000", PROGRAM, "-o", elf],
                             capture_output=True, text=True, check=False)
        rhea.skip_unless(run.returncode == 0, "gcc does not work: " + run.stderr[:200])
        names = subprocess.run(["nm", elf], capture_output=True, text=True, check=True).stdout
        return elf, {n: int(a, 16) for a, n in re.findall(r"(\w+) \w (user_\w+)", names)}

    def gdb(self, m, elf, script):
        """Runs gdb's commands on the machine, which does not run yet; gives its output."""
        script = ["set pagination off", "set confirm off", f"target remote {m.folder}/gdb", *script]
        path = os.path.join(m.folder, "script.gdb")
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(script) + "\n")
        run = subprocess.run(["gdb", "-q", "-nx", "-batch", "-x", path, elf], capture_output=True,
                             text=True, timeout=240 * rhea.PATIENCE, check=False)
        return run.stdout + run.stderr

    def machine(self, *args):
        m = rhea.Machine("-m", "256", "-net", "none", "-S", *args)
        m.args += ["-gdb", f"unix:{m.folder}/gdb"]
        return m

    @staticmethod
    def part(out, name):
        return out[out.index(f"<{name}>"):].split("<", 2)[1]

    def values(self, out, name):
        return re.findall(r"\$\d+ = (\S+)", self.part(out, name))

    def check_changes(self, text, n):
        """n stops of a watchpoint at a counter."""
        changes = re.findall(r"Old value = (\d+)\s+New value = (\d+)", text)
        self.assertEqual(len(changes), n, text)
        for old, new in changes:
            self.assertEqual(int(new), int(old) + 1)

    def debug(self, script, *args):
        """One run of the guest under gdb: gdb's output, and the addresses."""
        rhea.skip_unless(shutil.which("gdb"), "no gdb here")
        at = self.kernel_symbols()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        elf, user = self.user_program(folder.name)
        kernel, initrd = rhea.linux_guest(folder.name, "gdb")
        with self.machine("-kernel", kernel, "-initrd", initrd, "-append",
                          APPEND + " rdinit=/user", *args) as m:
            out = self.gdb(m, elf, script(at))
            self.assertTrue(m.qmp("query-status")["running"], out)
        return out, at | user

    def whole(self, at):
        return [
            "echo <reset>\\n", "p/x $cs", "p/x $rip",
            f"hbreak *{at['start_kernel']:#x}", "continue",
            "echo <start_kernel>\\n", "p/x $rip", "p/x $cs", "info threads", "delete",
            f"break *{at['kernel_init']:#x}", "continue", "echo <kernel_init>\\n", "p/x $rip",
            "delete",
            f"watch *(unsigned long *){at['jiffies_64']:#x}", "continue", "continue",
            "echo <jiffies>\\n", "p/x $cs", "delete",
            "break *user_syscall", "continue", "echo <user>\\n", "p/x $cs", "p $rax", "delete",
            # Into the kernel, and out again, step by step.
            "stepi", "p/x $rip", "p/x $cs", "set $steps = 1",
            "while $rip != (long)&user_after && $steps < 20000", "stepi",
            "set $steps = $steps + 1", "end",
            "echo <stepped>\\n", "p/x $rip", "p/x $cs", "p $rax", "p $steps > 50",
            # The same at once.
            "break *user_syscall", "continue", "delete", "tbreak *user_after", "continue",
            "echo <over>\\n", "p/x $rip", "p $rax",
            "watch *(unsigned long *)&user_watched", "continue", "continue",
            "echo <watched>\\n", "p/x $cs", "p/x $rip", "delete",
            "rwatch *(unsigned long *)&user_watched", "continue", "delete",
            "echo <threads>\\n", "info threads", "thread apply all p/x $cr3 != 0",
            "echo <detached>\\n", "detach"]

    def short(self, at):
        return [
            f"hbreak *{at['start_kernel']:#x}", "continue", "delete", "stepi",
            "echo <kernel>\\n", "p $rip != " + f"{at['start_kernel']:#x}", "info threads",
            f"watch *(unsigned long *){at['jiffies_64']:#x}", "continue", "continue",
            "echo <jiffies>\\n", "p/x $cs", "echo <detached>\\n", "detach"]

    def check_jiffies(self, out, before):
        self.check_changes(self.part(out, before), 2)
        self.assertEqual(self.values(out, "jiffies")[0], "0x10")

    def test_debian(self):
        out, at = self.debug(self.whole, "-M", "q35", "-smp", "2")
        threads = r"Thread 1 \(CPU#0 [\s\S]*Thread 2 \(CPU#1 "
        self.assertIn("<detached>", out)
        self.assertEqual(self.values(out, "reset"), ["0xf000", "0xfff0"])
        self.assertEqual(self.values(out, "start_kernel"), [hex(at["start_kernel"]), "0x10"])
        self.assertRegex(self.part(out, "start_kernel"), threads)
        self.assertEqual(self.values(out, "kernel_init"), [hex(at["kernel_init"])])
        self.check_jiffies(out, "kernel_init")
        entry, after = hex(at["entry_SYSCALL_64"]), hex(at["user_after"])
        self.assertEqual(self.values(out, "user"), ["0x33", "39", entry, "0x10"])
        self.assertEqual(self.values(out, "stepped"), [after, "0x33", "1", "1"])
        self.assertEqual(self.values(out, "over"), [after, "1"])
        self.check_changes(self.part(out, "over"), 2)
        self.assertEqual(self.values(out, "watched"), ["0x33", hex(at["user_store"] + 3)])
        self.assertRegex(self.part(out, "watched"), r"read watchpoint[\s\S]*Value = \d+")
        self.assertRegex(self.part(out, "threads"), threads)
        self.assertEqual(self.values(out, "threads"), ["0x1", "0x1"])

    def test_debian_interp(self):
        out, _ = self.debug(self.short, "-accel", "tcg,engine=interp", "-smp", "2")
        self.assertEqual(self.values(out, "kernel"), ["1"])
        self.check_jiffies(out, "kernel")


if __name__ == "__main__":
    rhea.main()
