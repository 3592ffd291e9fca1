#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of a machine while Linux writes to its disk and says over the serial line what is safe.

RHEA_KILL_ROUNDS=N: so many kills.
"""
import os
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import rhea

IMG = str(rhea.BUILD / "rhea-img")
BLOCKS = 499
# Each write is durable when its number is told.
WRITER = ("i={start}; while :; do i=$((i+1)); yes $i | head -c 4096 | dd of=/dev/vda bs=4k "
          f"seek=$((i * 37 % {BLOCKS})) conv=notrunc,fsync 2>/dev/null && echo WROTE-$i.; done")


class Kill(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="rhea-kill-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.rng = random.Random(11)
        self.last = 0
        self.files = 0

    def run_in(self, *cmd, status=(0,)):
        p = subprocess.run([str(c) for c in cmd], cwd=self.dir, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
        self.assertIn(p.returncode, status, f"{' '.join(map(str, cmd))}\n{p.stdout}")

    def change(self, m):
        """Something happens to the disk below the guest."""
        what = self.rng.choice(["overlay", "internal", "resize", "mirror"])
        self.files += 1
        if what == "overlay":
            m.qmp("blockdev-snapshot-sync", device="d0", format="qcow2",
                  snapshot_file=str(self.dir / f"d{self.files}.qcow2"))
            self.top = f"d{self.files}.qcow2"
        elif what == "internal":
            m.qmp_raw("blockdev-snapshot-internal-sync", {"device": "d0", "name": f"s{self.files}"})
        elif what == "resize":
            m.qmp("block_resize", device="d0", size=(64 << 20) + (self.files << 16))
        else: # never ends before the kill: the source stays what it is
            m.qmp_raw("drive-mirror", {"device": "d0", "sync": "full", "speed": 65536,
                                       "target": str(self.dir / f"m{self.files}.qcow2")})

    def round(self):
        kernel, initrd = rhea.linux_guest()
        with rhea.Machine("-M", "q35", "-m", "256", "-kernel", kernel, "-initrd", initrd,
                          "-append", "console=ttyS0 quiet", "-net", "none", "-drive",
                          f"id=d0,if=virtio,format=qcow2,file={self.dir / self.top}") as m:
            m.expect("RHEA-READY", 120)
            m.send("stty -echo\n")
            m.send(WRITER.format(start=self.last) + "\n")
            m.expect(r"WROTE-\d+\.", 60)
            for _ in range(self.rng.randrange(1, 4)):
                time.sleep(self.rng.random() * 1.5)
                self.change(m)
            time.sleep(self.rng.random())
            m.process.kill()
            m.wait()
            told = [int(n) for n in re.findall(r"WROTE-(\d+)\.", m.text())]
        before, self.last = self.last, told[-1] + 1 # that one may or may not be there
        return before, told[-1]

    def judge(self, told):
        self.run_in(IMG, "check", "-q", self.top, status=(0, 3))
        self.run_in(IMG, "check", "-q", "-r", "leaks", self.top)
        if shutil.which("qemu-img"):
            self.run_in("qemu-img", "check", "-q", self.top)
        self.run_in(IMG, "convert", "-O", "raw", self.top, "raw")
        data = (self.dir / "raw").read_bytes()
        for i in range(max(1, told - BLOCKS + 3), told + 1):
            if i in self.unknown:
                continue
            at = i * 37 % BLOCKS * 4096
            want = (f"{i}\n" * 4096)[:4096].encode()
            self.assertEqual(data[at:at + 4096], want, f"write {i} of {told} is not there")

    def test_linux(self):
        self.unknown = set()
        self.top = "d0.qcow2"
        self.run_in(IMG, "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", self.top, "64M")
        for i in range(int(os.environ.get("RHEA_KILL_ROUNDS", "8"))):
            before, told = self.round()
            self.judge(told)
            self.unknown.add(told + 1)
            print(f"# kill {i + 1}: {told - before} durable writes", flush=True)


if __name__ == "__main__":
    rhea.main()
