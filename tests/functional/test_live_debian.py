#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks are worked on while a Debian 12 runs from one of them: its fio writes to files of the root
file system and to a second disk and verifies what it reads.

The root disk is an overlay over the disk that ../shared/guests/make-debian-guest makes.
Afterwards the images must be clean for qemu-img, the file system in the root disk for e2fsck, and
the file that fio wrote last must be in it as the guest saw it.
"""
import json
import os
import re
import subprocess
import time
import unittest

import live
import rhea
from live import MIB, run

LOAD = "/var/tmp/load"
RULES = ({"event": "write_aio", "errno": 5, "sector": 800},
         {"event": "write_aio", "errno": 28, "sector": 1600},
         {"event": "read_aio", "errno": 5, "sector": 2400})


def debian_image(make):
    """The disk's path, made if there is none; else what an earlier run has left."""
    maker = rhea.GUESTS / "make-debian-guest"
    rhea.skip_unless(maker.exists(), f"no {maker}: the shared guests are not beside this tree")
    if not make:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        folder = os.path.join(cache, "debian-guest")
        found = [f for f in os.listdir(folder) if re.match(
            r"debian-12-amd64-bios-generic-\w+\.qcow2$", f)] if os.path.isdir(folder) else []
        rhea.skip_unless(found, "no Debian disk is there: the suite slow makes one")
        return max((os.path.join(folder, f) for f in found), key=os.path.getmtime)
    rhea.skip_unless(os.geteuid() == 0, "make-debian-guest wants root")
    with rhea.locked("debian-amd64"):
        made = subprocess.run([maker], capture_output=True, text=True, check=False)
    rhea.skip_unless(made.returncode == 0, f"no guest disk: {made.stderr[-300:]}")
    return made.stdout.strip()


class Debian(live.Guest):
    """Boots from its first disk, by GRUB."""

    def __init__(self, *args):
        super().__init__("-M", "q35", "-m", "768", "-nic", "none", *args)

    def __enter__(self):
        super().__enter__()
        self.booted()
        return self

    def booted(self):
        self.expect(r"automatic login[\s\S]*root@guest:~# ", 600)
        self.expect("GUEST-READY", 600)
        # Kernel and systemd keep quiet on the line from now on.
        self.send("stty -echo; set +m; PS1=; dmesg -n 1\n")
        self.command("findmnt -n -o SOURCE / | grep -qx /dev/vda1", 120)


class LiveDebian(live.Case):
    def disks(self, make=True, load="48M"):
        base = debian_image(make)
        info = json.loads(run(live.IMG, "info", "--output=json", base).stdout)
        root = live.Disk("root", info["virtual-size"], LOAD, base, load)
        return [root, live.Disk("data", load=load)]

    def start(self, m, disks):
        for d in disks:
            # Files and their directory change, and all is told to be durable now and then.
            m.start_load(d, extra="--fdatasync=64 --unlink=1" if d.file == LOAD else "")
        m.progress()

    def last_file(self, m):
        """A file to look for in the image later; its digest."""
        m.command(f"dd if=/dev/urandom of={LOAD}.last bs=1M count=16 2>/dev/null; sync", 300)
        return m.command(f"sha256sum < {LOAD}.last", 300).split()[0]

    def sound_root(self, name, digest=None, repair=False):
        """The file system in the image is clean, or as a power cut leaves it; the file is there."""
        head, root = self.path("head.raw"), self.path("root.raw")
        self.part(name, head, "size=512")
        with open(head, "rb") as f:
            start = int.from_bytes(f.read()[454:458], "little") # of the first partition
        self.part(name, root, f"offset={start * 512}")
        if repair:
            run("e2fsck", "-p", root, ok=(0, 1)) # the journal
        run("e2fsck", "-fn", root)
        if digest:
            copy = self.path("last")
            run("debugfs", "-R", f"dump {LOAD}.last {copy}", root)
            self.assertEqual(run("sha256sum", copy).stdout.split()[0], digest)
            os.unlink(copy)
        os.unlink(root)

    def part(self, name, to, window):
        run(live.IMG, "convert", "-O", "raw", "--image-opts",
            f"driver=raw,{window},file.driver=qcow2,file.file.driver=file,"
            f"file.file.filename={self.path(name)}", to)

    # ---- snapshots and jobs ----

    def jobs(self, disks, iothread, sync):
        self.first_images(disks)
        with Debian(*self.machine(disks, iothread)) as m:
            self.start(m, disks)
            self.commit_chain(m, disks)
            self.internal_snapshots(m, disks)
            m.command("fstrim /", live.PATIENT)
            self.pivot(m, disks, sync)
            m.stop_load()
            digest = self.last_file(m)
            data = m.command("sha256sum < /dev/vdb", live.PATIENT).split()[0]
            m.power_off()
        self.check_all(disks, "base", "copy", "s1", "s2", "s3")
        self.sound_root("root-copy.qcow2", digest)
        run(live.IMG, "convert", "-O", "raw", self.path("data-copy.qcow2"), self.path("copy.raw"))
        self.assertEqual(run("sha256sum", self.path("copy.raw")).stdout.split()[0], data)
        return m.verified

    def test_short(self):
        # For scripts/check: as long as it takes when a disk is there.
        disks = self.disks(make=False, load="16M")
        verified = self.jobs(disks, False, "top")
        print(f"# {verified >> 20} MiB verified", flush=True)

    def test_jobs(self):
        disks = self.disks()
        verified = self.jobs(disks, True, "full")
        print(f"# {verified >> 20} MiB verified", flush=True)
        # The copy alone is a Debian with every file as its package says.
        args = ["-blockdev", json.dumps(self.qcow2("copy", "root-copy.qcow2")),
                *self.device("copy", "root")]
        with Debian(*args) as m:
            # (The maker of the disk leaves documents out.)
            self.assertEqual(m.command("dpkg --verify | grep -v ^missing || true",
                                       live.PATIENT).strip(), "")
            m.power_off()

    # ---- backups ----

    def test_backup(self):
        disks = self.disks()
        self.first_images(disks)
        with Debian(*self.machine(disks, True)) as m:
            self.start(m, disks)
            self.first_backups(m, disks)
            m.stop_load()
            m.power_off()
        verified = m.verified
        self.check_all(disks, "base", "full", "inc1")
        # What a backup holds is the disk at one moment: as after a power cut.
        self.sound_root("root-inc1.qcow2", repair=True)
        with Debian(*self.machine(disks, True)) as m:
            self.check_bitmaps(m, disks)
            self.start(m, disks)
            m.stop_load()
            digest = self.last_file(m)
            m.qmp("stop")
            self.backup(m, disks, "inc2", "incremental", "inc1", bitmap="b0")
            m.qmp("quit")
            self.assertEqual(m.wait(), 0)
        self.check_all(disks, "base", "inc2")
        for d in disks:
            self.compare(d.image("base"), d.image("inc2"))
        self.sound_root("root-inc2.qcow2", digest, repair=True)
        print(f"# {verified + m.verified >> 20} MiB verified", flush=True)

    # ---- throttling ----

    def test_throttle(self):
        disks = self.disks()
        self.first_images(disks)
        with Debian(*self.machine(disks, True)) as m:
            # Requests other than fio's count, too: there are to be none.
            m.command("mount -o remount,noatime,lazytime,commit=600 /; systemctl stop "
                      "'*.timer' systemd-journald.socket systemd-journald 2>/dev/null; sync", 120)
            for d in disks:
                m.fio(f"--name=fill --rw=write --bs=1M --size={d.load} --end_fsync=1", d.file)
                self.within_limits(m, d)
            m.power_off()
        self.check_all(disks, "base")
        self.sound_root("root-base.qcow2")

    # ---- errors ----

    def test_root_errors(self):
        # A failure at each 16 MiB of the root disk and of the other one, of a read and of a write,
        # stops the machine; it goes on, boots and works as if there had been none.
        disks = self.disks()
        self.first_images(disks)
        for errno, werror in ((5, "stop"), (28, "enospc")):
            args = []
            for d in disks:
                rules = [{"event": e, "errno": n, "once": True, "sector": s}
                         for s in range(4096, d.size >> 9, 32768)
                         for e, n in (("read_aio", 5), ("write_aio", errno))]
                args += self.failing(d, rules, self.qcow2(d.node("image"), d.image("base")))
                args += self.device(d.node("base"), d.name, True, werror=werror, rerror="stop")
            with Going(*args) as m:
                self.start(m, disks)
                m.stop_load()
                digest = self.last_file(m)
                m.power_off()
            stops = {op: sum(e["operation"] == op for e in m.errors_seen) for op in ("read", "write")}
            self.assertEqual({e["action"] for e in m.errors_seen}, {"stop"})
            self.assertEqual({e["nospace"] for e in m.errors_seen if e["operation"] == "write"},
                             {errno == 28})
            print(f"# werror={werror}: stopped by {stops['read']} reads and {stops['write']} writes, "
                  f"{m.verified >> 20} MiB verified", flush=True)
            self.assertGreater(min(stops.values()), 3)
            self.check_all(disks, "base")
            self.sound_root("root-base.qcow2", digest)

    POLICIES = [(w, r) for w in ("report", "ignore", "stop", "enospc")
                for r in ("report", "ignore", "stop")]

    def test_policies(self):
        """Each policy has a disk; fio works on all of them while their requests fail."""
        root = self.disks()[0]
        self.first_images([root])
        args = self.machine([root])
        tried = []
        for i, (werror, rerror) in enumerate(self.POLICIES):
            what = [werror if werror != "enospc" else "report",
                    werror if werror != "enospc" else "stop", rerror]
            rules = [{**rule, "once": action == "stop"} for rule, action in zip(RULES, what)]
            d = live.Disk(f"d{i}", 16 * MIB, f"/dev/vd{chr(ord('b') + i)}", load="8M")
            tried.append((d, what, f"werror={werror} rerror={rerror}"))
            args += self.failing_raw(d, rules)
            args += self.device(d.node("base"), d.name, i % 2 == 1, werror=werror, rerror=rerror)
        with Debian(*args) as m:
            m.start_load(root)
            for d, _, _ in tried:
                m.start_load(d, extra="--offset=4M --iodepth=2")
            m.progress(50)
            for d, what, policy in tried:
                for (write, block), action in zip(((True, 100), (True, 200), (False, 300)), what):
                    self.one_error(m, d, write, block, action, policy)
                self.assertTrue(self.one_request(m, d.file, True, 400))
            m.progress(50)
            m.stop_load()
            m.power_off()
        print(f"# {m.verified >> 20} MiB verified", flush=True)
        self.check_all([root], "base")
        self.sound_root("root-base.qcow2")

    def one_error(self, m, d, write, block, action, policy):
        flag = f"of={d.file} if=/dev/zero seek={block} oflag=direct" if write else \
            f"if={d.file} of=/dev/null skip={block} iflag=direct"
        m.command(f"rm -f /run/one; (dd {flag} bs=4096 count=1 2>/dev/null; echo $? > /run/one) & true")
        e = m.event("BLOCK_IO_ERROR", lambda e: e["qom-path"].split("/")[3] == d.name)
        self.assertEqual((e["action"], e["operation"]), (action, "write" if write else "read"), policy)
        if action == "stop":
            m.event("STOP")
            self.assertEqual(m.qmp("query-status")["status"], "io-error")
            m.qmp("cont")
            m.event("RESUME")
        status = m.command("while [ ! -s /run/one ]; do sleep 0.1; done; cat /run/one", 300).split()[-1]
        self.assertEqual(status == "0", action != "report", f"{policy}: {action}")

    def test_disk_full(self):
        # Both images lie on a small tmpfs, which grows while the machine stands.
        disks = self.disks()
        small = self.small_tmpfs(64)
        for d in disks:
            self.image("small/" + d.image("base"), d.size, backing=d.backing)
        args = []
        for d in disks:
            args += ["-blockdev", json.dumps(self.qcow2(d.node("base"), "small/" + d.image("base")))]
            args += self.device(d.node("base"), d.name, True, werror="enospc")
        with Debian(*args) as m:
            for d in disks:
                m.start_load(d)
            self.grow_when_full(m, small, (96, 1024))
            m.stop_load()
            digest = self.last_file(m)
            m.power_off()
        print(f"# {m.verified >> 20} MiB verified", flush=True)
        self.check(*("small/" + d.image("base") for d in disks))
        self.sound_root("small/root-base.qcow2", digest)


class Going(Debian):
    """One that is resumed whenever an error of a disk has stopped it."""

    def __init__(self, *args):
        super().__init__(*args)
        self.errors_seen = []

    def expect(self, pattern, timeout=60, start=0):
        """As ever, but waiting it looks after the machine."""
        deadline = time.monotonic() + timeout * rhea.PATIENCE
        while True:
            try:
                return super().expect(pattern, 0.1 / rhea.PATIENCE, start)
            except rhea.Timeout:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
            self.look_after()

    def wait(self, timeout=60):
        deadline = time.monotonic() + timeout * rhea.PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            self.look_after()
            time.sleep(0.1)
        return super().wait(1)

    def look_after(self):
        try:
            stopped = self.qmp("query-status")["status"] == "io-error"
            self.errors_seen += [e["data"] for e in self.events if e["event"] == "BLOCK_IO_ERROR"]
            self.events = [e for e in self.events if e["event"] != "BLOCK_IO_ERROR"]
            if stopped:
                self.qmp("cont")
        except (OSError, ValueError, AssertionError): # the monitor has closed: the machine ends
            self.process.wait(10)


if __name__ == "__main__":
    rhea.main()
