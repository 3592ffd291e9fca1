#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU features as Linux and programs that are compiled for them see them."""
import pathlib
import shutil
import subprocess
import unittest

import rhea

NEEDED = "avx avx2 fma f16c bmi1 bmi2 abm movbe aes pclmulqdq sha_ni gfni vaes vpclmulqdq adx " \
         "rdseed xsaveopt xsavec xsaves fsgsbase invpcid umip rdpid clflushopt clwb pku ospke " \
         "la57 tsc_deadline_timer".split()
KEYS = """write allowed
read without write allowed
write without write refused
read without access refused
other page allowed
child 0
"""
HERE = pathlib.Path(__file__).parent


def programs():
    """A folder for the initramfs with vector-check in it, and what it prints on the host."""
    work = rhea.CACHE / "cpu"
    with rhea.locked("cpu"):
        extra = work / "root"
        shutil.rmtree(extra, ignore_errors=True)
        (extra / "bin").mkdir(parents=True)
        binary = extra / "bin" / "vector-check"
        subprocess.run(["gcc", "-O3", "-static", "-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2",
                        "-o", binary, HERE / "vector-check.c"], check=True)
        subprocess.run(["gcc", "-O2", "-static", "-o", extra / "bin" / "keys-check",
                        HERE / "keys-check.c"], check=True)
        run = subprocess.run([binary], capture_output=True, text=True, check=False)
    rhea.skip_unless(run.returncode == 0, "the host has no AVX2, FMA, BMI2 or F16C")
    return extra, run.stdout


class Cpu(unittest.TestCase):
    def guest(self, cpu):
        extra, expected = programs()
        kernel, initrd = rhea.linux_guest(extra, "cpu")
        m = rhea.Machine("-M", "q35", "-m", "512", "-cpu", cpu, "-kernel", kernel, "-initrd", initrd,
                         "-append", "console=ttyS0 quiet")
        return m, expected

    def vectors(self, cpu, needed):
        m, expected = self.guest(cpu)
        with m:
            m.expect("RHEA-READY", 60)
            m.send("stty -echo; PS1='$ '\n")
            m.command("true")
            flags = m.command("grep -m1 ^flags /proc/cpuinfo").split()
            self.assertEqual([f for f in needed if f not in flags], [])
            got = m.command("vector-check", 120)
            self.assertEqual(got.split(), expected.split())
            if "pku" in flags:
                self.assertEqual(m.command("keys-check").split(), KEYS.split())

    def test_max(self):
        self.vectors("max", NEEDED)

    def test_v3(self):
        self.vectors("Haswell-noTSX", "avx2 fma bmi2 invpcid xsaveopt".split())

    def test_topology(self):
        kernel, initrd = rhea.linux_guest()
        with rhea.Machine("-M", "q35", "-m", "256", "-smp", "8,sockets=2,dies=2,cores=1,threads=2",
                          "-cpu", "Haswell-noTSX", "-kernel", kernel, "-initrd", initrd, "-append",
                          "console=ttyS0 quiet") as m:
            m.expect("RHEA-READY", 60)
            m.send("stty -echo; PS1='$ '\n")
            m.command("true")
            found = m.command(
                "cd /sys/devices/system/cpu; for c in cpu[0-9]; do t=$c/topology; echo $(cat "
                "$t/physical_package_id $t/die_id $t/thread_siblings_list $t/package_cpus_list "
                "$c/cache/index3/shared_cpu_list); done").split("\n")
            for i in range(8):
                core, package = f"{i & ~1}-{i | 1}", f"{i & ~3}-{i | 3}"
                self.assertEqual(found[i].split(), [str(i >> 2), str(i >> 1 & 1), core, package,
                                                    core])

    def test_machine_check(self):
        kernel, initrd = rhea.linux_guest()
        with rhea.Machine("-M", "q35", "-m", "256", "-smp", "2", "-cpu", "Haswell-noTSX", "-kernel",
                          kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet") as m:
            m.expect("RHEA-READY", 60)
            self.assertIn("no bank", self.hmp(m, "mce 0 77 0xb200000000000000 5 0 0"))
            self.assertIn("valid", self.hmp(m, "mce 0 1 0 5 0 0"))
            self.assertIn("missing", self.hmp(m, "mce 0 1"))
            self.assertIn("CPU index", self.hmp(m, "mce -b 9 1 0x8000000000000000 5 0 0"))
            # This kernel handles no machine checks (CR4.MCE = 0): the CPU shuts down.
            self.assertEqual(self.hmp(m, "mce 0 3 0xb200000000000000 5 0x1234 0"), "")
            m.expect("RHEA-READY", 60, len(m.output))
            self.assertTrue(any(e["event"] == "RESET" for e in self.drain(m)))

    def drain(self, m):
        m.qmp("query-status")
        return m.events

    def hmp(self, m, line):
        return m.qmp("human-monitor-command", **{"command-line": line})


if __name__ == "__main__":
    rhea.main()
