#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Start-up time and memory stay within their budget (DESIGN.md, section 11)."""
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import unittest

import rhea

CPU_MS = 15       # until q35 without devices has answered QMP
RESIDENT_KIB = 40 << 10  # beyond the guest's own memory
LIBRARIES = 9     # all that the dynamic linker loads, libc's parts included


def start(*args):
    return subprocess.Popen([rhea.BINARY, "-M", "q35", "-nodefaults", "-display", "none", "-m",
                             "128", "-S", "-qmp", "stdio", *args], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)


class Budget(unittest.TestCase):
    def test_cpu_time(self):
        times = []
        for _ in range(9):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            p = start()
            out, _ = p.communicate(b'{"execute": "qmp_capabilities"}\n{"execute": "query-status"}\n'
                                   b'{"execute": "quit"}\n', timeout=30)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.assertIn("status", json.loads(out.splitlines()[2])["return"])
            times.append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime -
                                 before.ru_stime))
        print(f"# start-up: median {statistics.median(times):.1f} ms of CPU time", flush=True)
        self.assertLessEqual(statistics.median(times), CPU_MS)

    def test_resident(self):
        p = start()
        self.addCleanup(p.kill)
        p.stdin.write(b'{"execute": "qmp_capabilities"}\n')
        p.stdin.flush()
        p.stdout.readline()
        p.stdout.readline()
        with open(f"/proc/{p.pid}/status", encoding="utf-8") as f:
            status = dict(line.split(":", 1) for line in f)
        resident = int(status["VmRSS"].split()[0])
        print(f"# resident: {resident} KiB", flush=True)
        self.assertLess(resident, RESIDENT_KIB)
        with open(f"/proc/{p.pid}/maps", encoding="utf-8") as f:
            libraries = {os.path.basename(line.split()[-1]) for line in f if ".so" in line}
        print(f"# libraries: {len(libraries)}", flush=True)
        self.assertLessEqual(len(libraries), LIBRARIES)
        p.communicate(b'{"execute": "quit"}\n', timeout=30)

    def test_modules(self):
        """Each optional library comes with a module, when it is used and not before."""
        def loaded(m):
            with open(f"/proc/{m.process.pid}/maps", encoding="utf-8") as f:
                return {os.path.basename(line.split()[-1]) for line in f if "/modules/" in line}
        with rhea.Machine("-M", "q35", "-accel", "qtest", "-m", "16", nodefaults=True) as m:
            self.assertEqual(loaded(m), set())
        with tempfile.TemporaryDirectory() as folder, \
                rhea.Machine("-accel", "qtest", "-m", "16", "-nic", "user", "-vnc",
                             f"unix:{folder}/vnc,password=on") as m:
            m.qmp("screendump", filename=os.path.join(m.folder, "a.png"), format="png")
            with open(os.path.join(m.folder, "a.png"), "rb") as f:
                self.assertEqual(f.read(4), b"\x89PNG")
            self.assertRegex(m.hmp("xp /2i 0xffff0"), r"ljmp")
            self.assertEqual(loaded(m), {"slirp.so", "des.so", "png.so", "capstone.so"})

    def test_modules_missing(self):
        with tempfile.TemporaryDirectory() as folder:
            alone = shutil.copy(rhea.BINARY, folder)
            help_text = subprocess.run([alone, "-netdev", "user,help"], capture_output=True,
                                       text=True, check=True).stdout
            self.assertIn("hostfwd", help_text)
            bad = subprocess.run([alone, "-netdev", "user,id=n"], capture_output=True, text=True,
                                 check=False)
            self.assertEqual(bad.returncode, 1)
            self.assertRegex(bad.stderr, "module 'slirp' cannot be loaded[^$]*libslirp0")
            with rhea.Machine("-accel", "qtest", "-m", "16", binary=alone) as m:
                answer = m.qmp_raw("screendump", {"filename": os.path.join(folder, "a.png"),
                                                  "format": "png"})
                self.assertIn("module 'png'", answer["error"]["desc"])
                m.qmp("screendump", filename=os.path.join(folder, "a.ppm"))

    def test_resident_running(self):
        """With a Linux guest up: what is resident beyond its memory."""
        kernel, initrd = rhea.linux_guest()
        with rhea.Machine("-m", "256", "-kernel", kernel, "-initrd", initrd, "-append",
                          "console=ttyS0 quiet") as m:
            m.expect("RHEA-READY", 60)
            own, guest = 0, 0
            with open(f"/proc/{m.process.pid}/smaps", encoding="utf-8") as f:
                for line in f:
                    head = re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)", line)
                    if head:
                        size = int(head.group(2), 16) - int(head.group(1), 16)
                        # The guest's own: its RAM, and the kernel and initramfs it was given.
                        is_guest = size >= 256 << 20 or head.group(3) in (str(kernel), str(initrd))
                        # Translated code is mapped twice, to be written and to be executed: one memory.
                        twice = "tcg-code" in line and "r-xs" in line
                    elif line.startswith("Rss:") and not twice:
                        kib = int(line.split()[1])
                        guest, own = (guest + kib, own) if is_guest else (guest, own + kib)
            self.assertGreater(guest, 64 << 10)
            resident = own
            print(f"# beyond the guest's memory: {resident} KiB", flush=True)
            self.assertLess(resident, RESIDENT_KIB)


if __name__ == "__main__":
    rhea.main()
