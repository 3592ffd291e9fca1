#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks are worked on while a Linux guest's fio writes to them and verifies what it reads:
snapshots, jobs, backups, throttling, a full host disk, errors with every policy.

The guest is Debian's cloud kernel with the demo's initramfs (a whole Debian: test_live_debian.py).
Afterwards every image must be clean for qemu-img, too."""
import json
import os
import time

import live
import rhea
from live import run
from live import SmallLinux as Guest

DISK = live.Disk("disk")


class Live(live.Case):
    # ---- snapshots and jobs ----

    def jobs(self, iothread):
        self.first_images([DISK])
        with Guest(*self.machine([DISK], iothread)) as m:
            m.start_load(DISK)
            m.progress()
            self.commit_chain(m, [DISK])
            self.internal_snapshots(m, [DISK])
            self.pivot(m, [DISK])
            m.stop_load()
            digest = m.command("sha256sum < /dev/vdb", live.PATIENT).split()[0]
            m.power_off()
        self.check_all([DISK], "base", "copy", "s1", "s2", "s3")
        run(live.IMG, "convert", "-O", "raw", self.path("disk-copy.qcow2"), self.path("copy.raw"))
        self.assertEqual(run("sha256sum", self.path("copy.raw")).stdout.split()[0], digest)
        self.assertIn("inside", run(live.IMG, "snapshot", "-l", self.path("disk-base.qcow2")).stdout)
        return m.verified

    def test_jobs(self):
        self.jobs(False)

    def test_jobs_iothread(self):
        self.jobs(True)

    # ---- backups ----

    def backups(self, iothread):
        self.first_images([DISK])
        with Guest(*self.machine([DISK], iothread)) as m:
            m.start_load(DISK)
            m.progress()
            self.first_backups(m, [DISK])
            m.stop_load()
            m.power_off()
        verified = m.verified
        self.check_all([DISK], "base", "full", "inc1")
        with Guest(*self.machine([DISK], iothread)) as m:
            self.check_bitmaps(m, [DISK])
            m.start_load(DISK)
            m.progress()
            # The last one while the guest stands still: it must be the disk as it is.
            m.stop_load()
            m.command("sync")
            m.qmp("stop")
            self.backup(m, [DISK], "inc2", "incremental", "inc1", bitmap="b0")
            m.qmp("cont")
            m.power_off()
        self.check_all([DISK], "base", "inc2")
        self.compare("disk-base.qcow2", "disk-inc2.qcow2")
        self.assertLess(os.stat(self.path("disk-inc1.qcow2")).st_blocks * 512, DISK.size)
        return verified + m.verified

    def test_backup(self):
        self.backups(False)

    def test_backup_iothread(self):
        self.backups(True)

    # ---- throttling ----

    def test_throttle(self):
        self.first_images([DISK])
        with Guest(*self.machine([DISK], True)) as m:
            m.fio("--name=fill --rw=write --bs=1M --size=32M")
            self.within_limits(m, DISK)
            m.power_off()
        self.check_all([DISK], "base")

    # ---- errors ----

    def failing_machine(self, rules, iothread, **policy):
        return [*self.failing_raw(DISK, rules),
                *self.device(DISK.node("base"), DISK.name, iothread, **policy)]

    # What the first requests after the boot's are is up to fio: sectors of the disk's middle.
    ENOSPC = [{"event": "write_aio", "errno": 28, "once": True, "sector": s} for s in (2048, 20000)]
    EIO = [{"event": "write_aio", "errno": 5, "once": True, "sector": 4096},
           {"event": "read_aio", "errno": 5, "once": True, "sector": 12288}]

    def test_errors_enospc(self):
        # Each rule fails one request; the machine stops for each, and the guest sees nothing.
        for iothread in (False, True):
            with Guest(*self.failing_machine(self.ENOSPC, iothread, werror="enospc",
                                             rerror="report")) as m:
                m.start_load(DISK, "16M")
                for _ in self.ENOSPC:
                    self.stopped_by_error(m, "write", True)
                    m.qmp("cont")
                    m.event("RESUME")
                m.progress()
                m.stop_load()
                m.power_off()

    def test_errors_stop(self):
        for iothread in (False, True):
            rules = self.EIO + self.ENOSPC[1:]
            with Guest(*self.failing_machine(rules, iothread, werror="stop", rerror="stop")) as m:
                m.start_load(DISK, "16M")
                self.assertEqual({d["action"] for d in m.go_on(len(rules))}, {"stop"})
                m.progress()
                m.stop_load()
                m.power_off()

    def test_errors_report_ignore(self):
        rules = [{"event": "write_aio", "errno": 5, "sector": 800},
                 {"event": "write_aio", "errno": 28, "sector": 1600},
                 {"event": "read_aio", "errno": 5, "sector": 2400}]
        # Policies, and which requests then succeed: EIO write, ENOSPC write, EIO read.
        cases = (("report", "report", (False, False, False)), ("ignore", "ignore", (True,) * 3),
                 ("enospc", "report", (False, None, False)), ("report", "ignore", (False, False, True)))
        for werror, rerror, expected in cases:
            with Guest(*self.failing_machine(rules, False, werror=werror, rerror=rerror)) as m:
                for i, (write, block) in enumerate(((True, 100), (True, 200), (False, 300))):
                    if expected[i] is None:
                        continue
                    went = self.one_request(m, DISK.file, write, block)
                    self.assertEqual(went, expected[i], f"werror={werror} rerror={rerror}: {i}")
                    d = m.event("BLOCK_IO_ERROR")
                    self.assertEqual(d["action"], "ignore" if went else "report")
                self.assertTrue(self.one_request(m, DISK.file, True, 400))
                m.power_off()

    def test_disk_full(self):
        # A real full disk: the images lie on a small tmpfs, which grows while the machine stands.
        small = self.small_tmpfs(8)
        for iothread in (False, True):
            run("mount", "-o", "remount,size=8M", small)
            name = "small/disk.qcow2"
            self.image(name, DISK.size)
            with Guest("-blockdev", json.dumps(self.qcow2("base", name)),
                       *self.device("base", DISK.name, iothread, werror="enospc")) as m:
                m.start_load(DISK, "24M")
                self.grow_when_full(m, small, (16, 64))
                m.stop_load()
                m.power_off()
            self.check(name)
            os.unlink(self.path(name))

    # ---- all of it for a while: suite slow ----

    def test_long(self):
        start = time.monotonic()
        until = start + float(os.environ.get("RHEA_LIVE_SECONDS", "600"))
        runs = verified = 0
        while time.monotonic() < until:
            for part in (self.jobs, self.backups):
                for iothread in (False, True):
                    verified += part(iothread)
                    runs += 1
                    for f in os.listdir(self.dir):
                        os.unlink(self.path(f))
        print(f"# {runs} runs in {time.monotonic() - start:.0f} s, {verified >> 20} MiB verified",
              flush=True)


if __name__ == "__main__":
    rhea.main()
