#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Load on two vCPUs: stress-ng (which checks its results), and a program that rewrites its own
code all the time; nothing goes wrong, and the machine's own memory stays bounded.

RHEA_STRESS_SECONDS=600 makes each test take ten minutes.
"""
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

import rhea

SECONDS = int(os.environ.get("RHEA_STRESS_SECONDS", "30"))
RAM = 1024 # MiB
# What the machine may need beyond the guest's memory: translated code, and all the rest.
OWN_MEMORY = 400 # MiB
# A busy host may leave a CPU standing for longer than the kernel expects.
PATIENT = "watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=300"
# Not those that call it a failure when their own end interrupts them (pipe), take much longer than
# they are told (far-branch) or want more of the kernel than the demo's has (rseq, userfaultfd).
STRESSORS = """cpu switch futex sem sem-sysv fork vfork clone pthread sigsegv sigtrap sigfpe signest
sigq icache matrix atomic regs vecmath fp longjmp mprotect memcpy qsort hash str fault zlib
funccall membarrier tlb-shootdown ptrace goto""".split()
MEMORY = "--vm 1 --vm-bytes 48M --vm-method all --mmap 1 --mmap-bytes 16M --stack 1 --bsearch 1"


class Stress(unittest.TestCase):
    def libraries(self, program, root):
        """The program with its shared libraries, where it looks for them."""
        listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
        for path in [program, *re.findall(r"(/\S+\.so\S*)", listing.stdout)]:
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target, follow_symlinks=True)

    def guest(self):
        """An initramfs with stress-ng and smc; the former is not in it if it is not installed."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        root = Path(folder.name)
        stress = shutil.which("stress-ng")
        if stress:
            self.libraries(stress, root)
        run = subprocess.run(["gcc", "-O2", "-static", "-pthread",
                              rhea.SOURCE / "tests/guest/smc.c", "-o", root / "smc"],
                             capture_output=True, text=True, check=False)
        rhea.skip_unless(run.returncode == 0, "gcc does not work: " + run.stderr[:200])
        return rhea.linux_guest(root, "stress")

    def boot(self):
        kernel, initrd = self.guest()
        return rhea.Machine("-m", str(RAM), "-smp", "2", "-cpu", "max", "-net", "none", "-kernel", kernel,
                            "-initrd", initrd, "-append", f"console=ttyS0 quiet {PATIENT}")

    @staticmethod
    def own_memory(pid):
        """MiB that are resident, without the guest's memory."""
        total = size = 0
        for line in Path(f"/proc/{pid}/smaps").read_text(encoding="ascii",
                                                         errors="replace").splitlines():
            field = line.split()
            if field[0] == "Size:":
                size = int(field[1])
            elif field[0] == "Rss:" and size < RAM * 1024 // 2:
                total += int(field[1])
        return total // 1024

    def watch(self, m, samples, end):
        while not end.wait(max(1, SECONDS / 20)):
            try:
                samples.append(self.own_memory(m.process.pid))
            except OSError:
                return

    def load(self, command):
        """Runs a command in the guest; its output. The machine must not grow meanwhile."""
        with self.boot() as m:
            m.expect("RHEA-READY", 120)
            m.send("stty -echo; PS1='$ '\n")
            m.command("true")
            samples, end = [], threading.Event()
            watcher = threading.Thread(target=self.watch, args=(m, samples, end))
            watcher.start()
            try:
                out = m.command(command + " 2>&1", SECONDS * 4 + 300)
            finally:
                end.set()
                watcher.join()
            log = m.command("dmesg | grep -iE 'bug:|oops|general protection|rcu.*stall|lockup|"
                            "invalid opcode' | grep -v stall_timeout | head -5; true")
            print(m.hmp("info jit"))
            m.send("poweroff\n")
            self.assertEqual(m.wait(120), 0)
        print("# MiB beside the guest's memory:", *samples)
        self.assertEqual(log.strip(), "")
        self.assertLess(max(samples), OWN_MEMORY)
        # The cache of translated code fills and is emptied, again and again: the peaks count.
        half = len(samples) // 2
        self.assertLess(max(samples[half:]), max(samples[:half]) + 64,
                        "it still grows in the second half")
        return out

    def test_stress_ng(self):
        rhea.skip_unless(shutil.which("stress-ng"), "stress-ng is not installed")
        options = " ".join(f"--{s} 1" for s in STRESSORS)
        out = self.load("mkdir -p /dev/shm; mount -t tmpfs shm /dev/shm; cd /tmp && "
                        f"{shutil.which('stress-ng')} --verify --metrics-brief -t {SECONDS} "
                        f"--temp-path /tmp {options} {MEMORY}")
        self.assertIn("successful run completed", out)
        self.assertNotRegex(out, r"fail:|error:|\bfailed: [1-9]")

    def test_self_modifying(self):
        out = self.load(f"/smc {SECONDS} 3")
        self.assertGreater(int(re.search(r"smc: (\d+) functions", out).group(1)), 1000 * SECONDS)


if __name__ == "__main__":
    rhea.main()
