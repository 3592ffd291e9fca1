#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Start-up time and memory stay within their budget (DESIGN.md, section 11)."""
import json
import os
import re
import resource
import statistics
import subprocess
import unittest

import rhea

CPU_MS = 15       # until q35 without devices has answered QMP
RESIDENT_KIB = 40 << 10  # beyond the guest's own memory
LIBRARIES = 24    # all that the dynamic linker loads, libc's parts included


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
                    elif line.startswith("Rss:"):
                        kib = int(line.split()[1])
                        guest, own = (guest + kib, own) if is_guest else (guest, own + kib)
            self.assertGreater(guest, 64 << 10)
            resident = own
            print(f"# beyond the guest's memory: {resident} KiB", flush=True)
            self.assertLess(resident, RESIDENT_KIB)


if __name__ == "__main__":
    rhea.main()
