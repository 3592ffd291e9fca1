#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks are worked on while a Linux guest's fio writes to them and verifies what it reads:
snapshots, jobs, backups, throttling, a full host disk, errors with every policy.

The guest is Debian's cloud kernel with the demo's initramfs; fio and its libraries lie on a disk
of their own.  Afterwards every image must be clean for qemu-img, too."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import rhea

BUILD = os.environ.get("RHEA_BUILD", os.path.dirname(rhea.BINARY))
IMG = os.path.join(BUILD, "rhea-img")
MIB = 1 << 20
DISK = 64 * MIB
PATIENT = 900  # seconds for what takes some when the machine is idle


def run(*cmd, ok=(0,)):
    r = subprocess.run([str(c) for c in cmd], capture_output=True, text=True, errors="replace",
                       stdin=subprocess.DEVNULL, timeout=300)
    if r.returncode not in ok:
        raise AssertionError(f"{' '.join(map(str, cmd))}: {r.returncode}\n{r.stdout}{r.stderr}")
    return r


def fio_disk():
    """An ext4 image with fio and its libraries, to be chrooted into."""
    fio, mkfs = shutil.which("fio"), shutil.which("mkfs.ext4", path="/sbin:/usr/sbin")
    rhea.skip_unless(fio, "fio is not installed")
    rhea.skip_unless(mkfs, "mkfs.ext4 (e2fsprogs) is not installed")
    image = rhea.CACHE / "fio.img"
    with rhea.locked("fio"):
        if image.exists() and image.stat().st_mtime > os.stat(fio).st_mtime:
            return image
        root = pathlib.Path(tempfile.mkdtemp(dir=rhea.CACHE))
        for d in ("bin", "dev", "proc", "sys", "tmp"):
            (root / d).mkdir()
        shutil.copy(fio, root / "bin")
        for lib in re.findall(r"/[^ ]+", run("ldd", fio).stdout):
            copy = root / lib.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(lib, copy)
            copy.chmod(0o755)
        new = image.with_suffix(".new")
        new.unlink(missing_ok=True)
        run(mkfs, "-q", "-O", "^has_journal", "-d", root, new, "320M")
        new.rename(image)
        shutil.rmtree(root)
    return image


class Guest(rhea.Machine):
    """A machine with fio under /t; its disk under test is /dev/vdb, if there is one."""

    def __init__(self, *args):
        kernel, initrd = rhea.linux_guest()
        super().__init__("-M", "q35", "-m", "256", "-net", "none", "-kernel", kernel, "-initrd",
                         initrd, "-append", "console=ttyS0 quiet", "-drive",
                         f"file={fio_disk()},format=raw,if=virtio,readonly=on,cache=writeback",
                         *args)

    def __enter__(self):
        super().__enter__()
        self.expect("RHEA-READY", 300)
        self.send("stty -echo; PS1='$ '\n")
        self.command("mkdir /t && mount -o ro,noatime /dev/vda /t && mount -o bind /dev /t/dev && "
                     "mount -o bind /proc /t/proc && mount -o bind /sys /t/sys && "
                     "mount -t tmpfs t /t/tmp", 120)
        return self

    def fio(self, options, timeout=PATIENT):
        return self.command(f"chroot /t /bin/fio --filename=/dev/vdb --direct=1 {options}", timeout)

    def start_load(self, size="32M", extra=""):
        """fio writes all over the disk and verifies it, again and again, until stop_load()."""
        fio = ("/bin/fio --name=load --filename=/dev/vdb --direct=1 --ioengine=libaio --iodepth=8 "
               "--rw=randwrite --bsrange=4k-64k --bs_unaligned=0 --verify=crc32c --verify_fatal=1 "
               "--verify_backlog=32 --group_reporting --randrepeat=0 "
               f"--size={size} {extra}")
        self.command("(while [ ! -e /tmp/stop ]; do "
                     f"chroot /t {fio} >/tmp/fio.out 2>&1 || {{ touch /tmp/bad; break; }}; "
                     "echo x >> /tmp/rounds; done; touch /tmp/over) & true")

    def rounds(self):
        return int(self.command("touch /tmp/rounds; wc -l < /tmp/rounds").strip())

    def progress(self, requests=200):
        """Waits until the load has written some more."""
        start = self.written()
        deadline = time.monotonic() + PATIENT * rhea.PATIENCE
        while self.written() < start + requests:
            self.alive()
            if time.monotonic() > deadline:
                raise rhea.Timeout("the guest's load makes no progress")
            time.sleep(0.2)

    def written(self):
        stats = [d["stats"] for d in self.qmp("query-blockstats") if "disk" in d.get("qdev", "")]
        return sum(s["wr_operations"] + s["rd_operations"] for s in stats)

    def alive(self):
        if self.process.poll() is not None:
            raise AssertionError("Rhea has ended")

    def stop_load(self, at_least=1):
        self.command("touch /tmp/stop; while [ ! -e /tmp/over ]; do sleep 0.2; done", PATIENT)
        bad = self.command("[ -e /tmp/bad ] && cat /tmp/fio.out || true").strip()
        if bad:
            raise AssertionError("fio in the guest: " + bad)
        rounds = self.rounds()
        if rounds < at_least:
            raise AssertionError(f"only {rounds} rounds of fio")

    def event(self, name, where=lambda d: True, timeout=PATIENT):
        """Waits for an event, from those that have come since the last one was taken."""
        deadline = time.monotonic() + timeout * rhea.PATIENCE
        while True:
            for i, e in enumerate(self.events):
                if e["event"] == name and where(e.get("data", {})):
                    del self.events[:i + 1]
                    return e["data"] if "data" in e else {}
            self.alive()
            if time.monotonic() > deadline:
                raise rhea.Timeout(f"no event {name}; there are {self.events[-5:]}")
            time.sleep(0.1)
            self.qmp("query-status")

    def job_end(self, job, error=None):
        d = self.event("JOB_STATUS_CHANGE", lambda d: d["id"] == job and d["status"] == "null")
        failed = [e for e in self.events if e["event"] == "BLOCK_JOB_COMPLETED" and
                  e["data"]["device"] == job and "error" in e["data"]]
        if failed:
            raise AssertionError(f"job {job}: {failed}")
        return d

    def complete(self, job):
        """Of a job that keeps two images in step: from here on the other one counts."""
        self.event("BLOCK_JOB_READY", lambda d: d["device"] == job)
        self.progress(50)
        self.qmp("job-complete", id=job)
        self.job_end(job)

    def power_off(self, timeout=PATIENT):
        self.send("sync; poweroff\n")
        if self.wait(timeout) != 0:
            raise AssertionError("the machine ended badly")


class Live(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="rhea-live-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, self.dir, True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def image(self, name, size=DISK, fmt="qcow2", *more):
        run(IMG, "create", "-q", "-f", fmt, *more, self.path(name), size)
        return self.path(name)

    def check(self, *names):
        for n in names:
            # Leaks may be left by what was interrupted, nothing else; here nothing was.
            run(IMG, "check", self.path(n))
            if shutil.which("qemu-img"):
                run("qemu-img", "check", self.path(n))

    def node(self, name, file, *more):
        return ["-blockdev", json.dumps({"driver": "qcow2", "node-name": name, "discard": "unmap",
                                         "file": {"driver": "file", "filename": self.path(file),
                                                  "node-name": name + "-file"},
                                         **dict(more)})]

    def device(self, node, iothread=False, **more):
        words = "".join(f",{k}={v}" for k, v in more.items())
        args = ["-object", "iothread,id=io0"] if iothread else []
        thread = ",iothread=io0" if iothread else ""
        return args + ["-device", f"virtio-blk-pci,id=disk,drive={node}{thread}{words}"]

    def add_overlay(self, m, name, backing=None):
        """A new empty image as a node that is to be laid over another."""
        self.image(name + ".qcow2")
        m.qmp("blockdev-add", driver="qcow2", node_name=name, backing=None,
              file={"driver": "file", "filename": self.path(name + ".qcow2")})

    # ---- snapshots and jobs ----

    def jobs(self, iothread):
        self.image("base.qcow2")
        with Guest(*self.node("base", "base.qcow2"), *self.device("base", iothread)) as m:
            m.start_load()
            m.progress()
            for below, above in (("base", "s1"), ("s1", "s2"), ("s2", "s3")):
                self.add_overlay(m, above)
                m.qmp("blockdev-snapshot", node=below, overlay=above)
                m.progress()
            # Intermediate: s2's and s1's data go down; s3 stays on top.
            m.qmp("block-commit", job_id="middle", device="s3", top_node="s2", base_node="base")
            m.progress()
            m.job_end("middle")
            # Active: all is in the base again, and the guest writes there.
            m.qmp("block-commit", job_id="active", device="s3", base_node="base")
            m.complete("active")
            m.progress()
            m.qmp("transaction", actions=[{"type": "blockdev-snapshot-internal-sync",
                                           "data": {"device": "base", "name": "inside"}}])
            m.progress()
            # Another image takes over.
            self.image("copy.qcow2")
            m.qmp("blockdev-add", driver="qcow2", node_name="copy",
                  file={"driver": "file", "filename": self.path("copy.qcow2")})
            m.qmp("blockdev-mirror", job_id="move", device="base", target="copy", sync="full")
            m.complete("move")
            m.progress()
            m.qmp("blockdev-del", node_name="base")
            m.stop_load()
            digest = m.command("sha256sum < /dev/vdb", PATIENT).split()[0]
            m.power_off()
        self.check("base.qcow2", "copy.qcow2", "s1.qcow2", "s2.qcow2", "s3.qcow2")
        run(IMG, "convert", "-O", "raw", self.path("copy.qcow2"), self.path("copy.raw"))
        self.assertEqual(run("sha256sum", self.path("copy.raw")).stdout.split()[0], digest)
        self.assertIn("inside", run(IMG, "snapshot", "-l", self.path("base.qcow2")).stdout)

    def test_jobs(self):
        self.jobs(False)

    def test_jobs_iothread(self):
        self.jobs(True)

    # ---- backups ----

    def backup_to(self, m, name, sync, backing=None, **more):
        """Into a new image over the one before."""
        over = ["-b", self.path(backing), "-F", "qcow2"] if backing else []
        self.image(name, DISK, "qcow2", *over)
        node = name.replace(".", "-")
        m.qmp("blockdev-add", driver="qcow2", node_name=node,
              file={"driver": "file", "filename": self.path(name)}, **(
                  {"backing": None} if backing else {}))
        return {"type": "blockdev-backup",
                "data": {"job-id": node, "device": "disk0", "target": node, "sync": sync, **more}}

    def finish_backup(self, m, name):
        node = name.replace(".", "-")
        m.job_end(node)
        m.qmp("blockdev-del", node_name=node)

    def backup(self, iothread):
        self.image("disk.qcow2")
        machine = [*self.node("disk0", "disk.qcow2"), *self.device("disk0", iothread)]
        bitmap = {"node": "disk0", "name": "b0"}
        incremental = {"bitmap": "b0"}
        with Guest(*machine) as m:
            m.start_load()
            m.progress()
            job = self.backup_to(m, "full.qcow2", "full")
            m.qmp("transaction", actions=[
                {"type": "block-dirty-bitmap-add", "data": {**bitmap, "persistent": True}}, job])
            self.finish_backup(m, "full.qcow2")
            m.progress()
            job = self.backup_to(m, "inc1.qcow2", "incremental", "full.qcow2", **incremental)
            m.qmp("transaction", actions=[job])
            self.finish_backup(m, "inc1.qcow2")
            m.progress()
            m.stop_load()
            m.power_off()
        self.check("disk.qcow2", "full.qcow2", "inc1.qcow2")
        with Guest(*machine) as m:
            found = [b for n in m.qmp("query-named-block-nodes") if n["node-name"] == "disk0"
                     for b in n.get("dirty-bitmaps", [])]
            self.assertEqual([b["name"] for b in found], ["b0"])
            self.assertGreater(found[0]["count"], 0)
            m.start_load()
            m.progress()
            # The last one while the guest stands still: it must be the disk as it is.
            m.stop_load()
            m.command("sync")
            m.qmp("stop")
            job = self.backup_to(m, "inc2.qcow2", "incremental", "inc1.qcow2", **incremental)
            m.qmp("transaction", actions=[job])
            self.finish_backup(m, "inc2.qcow2")
            m.qmp("cont")
            m.power_off()
        self.check("disk.qcow2", "inc2.qcow2")
        run("qemu-img" if shutil.which("qemu-img") else IMG, "compare", self.path("disk.qcow2"),
            self.path("inc2.qcow2"))
        self.assertLess(os.stat(self.path("inc1.qcow2")).st_blocks * 512, DISK)

    def test_backup(self):
        self.backup(False)

    def test_backup_iothread(self):
        self.backup(True)

    # ---- throttling ----

    LIMITS = ["bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"]

    def limit(self, m, **limits):
        answer = m.qmp_raw("block_set_io_throttle",
                           {"id": "disk", **dict.fromkeys(self.LIMITS, 0), **limits})
        self.assertIn("return", answer)

    def measure(self, m, write, bs, seconds, **limits):
        """What fio gets, in bytes and requests a second."""
        self.limit(m, **limits)
        out = m.fio(f"--name=t --ioengine=libaio --iodepth=8 --rw={'randwrite' if write else 'randread'}"
                    f" --bs={bs} --size=32M --time_based --runtime={seconds} --ramp_time=1 "
                    "--output-format=json")
        job = json.loads(out[out.index("{"):out.rindex("}") + 1])["jobs"][0]
        side = job["write" if write else "read"]
        return side["bw_bytes"], side["iops"]

    def test_throttle(self):
        self.image("disk.qcow2")
        with Guest(*self.node("disk0", "disk.qcow2"), *self.device("disk0", True)) as m:
            m.fio("--name=fill --rw=write --bs=1M --size=32M")
            for write, bs, limits in ((True, "4k", {"iops": 100}), (False, "4k", {"iops_rd": 150}),
                                      (True, "64k", {"bps_wr": 2 * MIB}),
                                      (False, "16k", {"bps": 1 * MIB}),
                                      (False, "8k", {"bps": 4 * MIB, "iops": 60})):
                bps, iops = self.measure(m, write, bs, 6, **limits)
                size = int(bs[:-1]) << 10
                expected = min([v / size for k, v in limits.items() if k.startswith("bps")] +
                               [v for k, v in limits.items() if k.startswith("iops")])
                print(f"# {limits}: {iops:.1f} of {expected:.1f} requests a second", flush=True)
                self.assertLess(abs(iops - expected), 0.05 * expected,
                                f"{limits}: {iops:.1f} requests/s, {expected:.1f} are allowed")
                self.assertLess(abs(bps - expected * size), 0.05 * expected * size)
            self.limit(m)
            m.power_off()
        self.check("disk.qcow2")

    # ---- errors ----

    def failing(self, *rules):
        """The disk's node: raw over blkdebug with these rules."""
        path = self.image("disk.raw", DISK, "raw")
        return ["-blockdev", json.dumps({
            "driver": "raw", "node-name": "disk0", "file": {
                "driver": "blkdebug", "inject-error": list(rules),
                "image": {"driver": "file", "filename": path}}})]

    def stopped_by_error(self, m, operation, nospace):
        d = m.event("BLOCK_IO_ERROR")
        self.assertEqual((d["operation"], d["action"], d["nospace"]), (operation, "stop", nospace))
        m.event("STOP")
        self.assertEqual(m.qmp("query-status")["status"], "io-error")
        status = [b["io-status"] for b in m.qmp("query-block") if "io-status" in b and
                  b["io-status"] != "ok"]
        self.assertEqual(status, ["nospace" if nospace else "failed"])

    def resumed(self, iothread, werror, rerror, rules, stops):
        """Each rule fails one request; the machine stops for each, and the guest sees nothing."""
        policy = {"werror": werror, "rerror": rerror}
        with Guest(*self.failing(*rules), *self.device("disk0", iothread, **policy)) as m:
            m.start_load("16M")
            for operation, nospace in stops:
                self.stopped_by_error(m, operation, nospace)
                m.qmp("cont")
                m.event("RESUME")
            m.progress()
            m.stop_load()
            m.power_off()

    # What the first requests after the boot's are is up to fio: sectors of the disk's middle.
    ENOSPC = [{"event": "write_aio", "errno": 28, "once": True, "sector": s} for s in (2048, 20000)]
    EIO = [{"event": "write_aio", "errno": 5, "once": True, "sector": 4096},
           {"event": "read_aio", "errno": 5, "once": True, "sector": 12288}]

    def test_errors_enospc(self):
        for iothread in (False, True):
            self.resumed(iothread, "enospc", "report", self.ENOSPC, [("write", True)] * 2)

    def test_errors_stop(self):
        for iothread in (False, True):
            rules = self.EIO + self.ENOSPC[1:]
            policy = {"werror": "stop", "rerror": "stop"}
            with Guest(*self.failing(*rules), *self.device("disk0", iothread, **policy)) as m:
                m.start_load("16M")
                for _ in range(3):
                    d = m.event("BLOCK_IO_ERROR")
                    self.assertEqual(d["action"], "stop")
                    m.event("STOP")
                    self.assertEqual(m.qmp("query-status")["status"], "io-error")
                    m.qmp("cont")
                    m.event("RESUME")
                m.progress()
                m.stop_load()
                m.power_off()

    def one(self, m, write, sector):
        """One request of the guest; whether it succeeded."""
        ends = f"of=/dev/vdb if=/tmp/x seek={sector}" if write else f"if=/dev/vdb of=/tmp/y skip={sector}"
        flag = "oflag=direct" if write else "iflag=direct"
        out = m.command(f"dd {ends} bs=4096 count=1 {flag} "
                        "2>/dev/null && echo went || echo failed", 120)
        return "went" in out

    def test_errors_report_ignore(self):
        rules = [{"event": "write_aio", "errno": 5, "sector": 800},
                 {"event": "write_aio", "errno": 28, "sector": 1600},
                 {"event": "read_aio", "errno": 5, "sector": 2400}]
        # Policies, and which requests then succeed: EIO write, ENOSPC write, EIO read.
        cases = (("report", "report", (False, False, False)), ("ignore", "ignore", (True,) * 3),
                 ("enospc", "report", (False, None, False)), ("report", "ignore", (False, False, True)))
        for werror, rerror, expected in cases:
            policy = {"werror": werror, "rerror": rerror}
            with Guest(*self.failing(*rules), *self.device("disk0", **policy)) as m:
                m.command("dd if=/dev/urandom of=/tmp/x bs=4096 count=1 2>/dev/null")
                for i, (write, block) in enumerate(((True, 100), (True, 200), (False, 300))):
                    if expected[i] is None:
                        continue
                    went = self.one(m, write, block)
                    self.assertEqual(went, expected[i], f"werror={werror} rerror={rerror}: {i}")
                    d = m.event("BLOCK_IO_ERROR")
                    self.assertEqual(d["action"], "ignore" if went else "report")
                self.assertTrue(self.one(m, True, 400))
                m.power_off()

    def test_disk_full(self):
        # A real full disk: the images lie on a small tmpfs, which grows while the machine stands.
        small = self.path("small")
        os.mkdir(small)
        try:
            run("mount", "-t", "tmpfs", "-o", "size=8M", "rhea-live", small)
        except AssertionError as e:
            self.skipTest(f"a tmpfs cannot be mounted: {e}")
        self.addCleanup(run, "umount", "-l", small)
        for iothread in (False, True):
            name = f"small/disk{int(iothread)}.qcow2"
            run("mount", "-o", "remount,size=8M", small)
            self.image(name)
            with Guest(*self.node("disk0", name),
                       *self.device("disk0", iothread, werror="enospc")) as m:
                m.start_load("24M")
                for size in (16, 64):
                    self.stopped_by_error(m, "write", True)
                    run("mount", "-o", f"remount,size={size}M", small)
                    m.events.clear()
                    m.qmp("cont")
                    m.event("RESUME")
                m.progress()
                m.stop_load()
                m.power_off()
            self.check(name)
            os.unlink(self.path(name))

    # ---- all of it for a while: suite slow ----

    def test_long(self):
        until = time.monotonic() + float(os.environ.get("RHEA_LIVE_SECONDS", "600"))
        while time.monotonic() < until:
            for part in (self.jobs, self.backup):
                for iothread in (False, True):
                    part(iothread)
                    for f in os.listdir(self.dir):
                        os.unlink(self.path(f))


if __name__ == "__main__":
    rhea.main()
