# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that are worked on while fio in a guest writes to them and verifies what it reads: the
guests, the load, and the operations.  test_live.py runs them in a small Linux, test_live_debian.py
in a Debian whose own disk is one of those worked on."""
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
PATIENT = 900  # seconds for what takes some when the machine is idle


def run(*cmd, ok=(0,)):
    r = subprocess.run([str(c) for c in cmd], capture_output=True, text=True, errors="replace",
                       stdin=subprocess.DEVNULL, timeout=600)
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


class Disk:
    """A disk of the guest: its images and nodes have its name in front, its device is called so.

    file: what fio writes to, in the guest.  backing: the image that the first one lies over."""

    def __init__(self, name, size=64 * MIB, file="/dev/vdb", backing=None, load="32M"):
        self.name, self.size, self.file, self.backing, self.load = name, size, file, backing, load

    def node(self, part):
        return f"{self.name}-{part}"

    def image(self, part):
        return f"{self.name}-{part}.qcow2"


class Guest(rhea.Machine):
    """A machine with fio; loads run in it by name, each on a disk of that name."""

    FIO = "fio"
    MARKS = "/run"  # where the loads tell how they are, not on a disk under test

    def __init__(self, *args):
        super().__init__(*args)
        self.loads = {}
        self.verified = 0  # bytes

    def fio(self, options, file="/dev/vdb", timeout=PATIENT):
        return self.command(f"{self.FIO} --filename={file} --direct=1 {options}", timeout)

    def start_load(self, disk, size=None, extra=""):
        """fio writes all over the disk and verifies it, again and again, until stop_load()."""
        size = size or disk.load
        fio = (f"{self.FIO} --name=load --filename={disk.file} --direct=1 --ioengine=libaio "
               "--iodepth=8 --rw=randwrite --bsrange=4k-64k --bs_unaligned=0 --verify=crc32c "
               "--verify_fatal=1 --verify_backlog=32 --group_reporting --randrepeat=0 "
               f"--size={size} {extra}")
        mark = f"{self.MARKS}/{disk.name}"
        self.loads[disk.name] = int(size[:-1]) * MIB
        self.command(f"rm -f {mark}.*; (while [ ! -e {mark}.stop ]; do "
                     f"{fio} >{mark}.out 2>&1 || {{ touch {mark}.bad; break; }}; "
                     f"echo x >> {mark}.rounds; done; touch {mark}.over) & true")

    def progress(self, requests=200):
        """Waits until every load has made some more requests."""
        for disk in self.loads:
            start = self.requests(disk)
            deadline = time.monotonic() + PATIENT * rhea.PATIENCE
            while self.requests(disk) < start + requests:
                self.alive()
                if time.monotonic() > deadline:
                    raise rhea.Timeout(f"the guest's load on {disk} makes no progress")
                time.sleep(0.2)

    def requests(self, disk):
        """How many the guest has made of a disk."""
        stats = [d["stats"] for d in self.qmp("query-blockstats")
                 if disk in d.get("qdev", "").split("/")]
        assert stats, f"no statistics of {disk}"
        return sum(s["wr_operations"] + s["rd_operations"] for s in stats)

    def alive(self):
        if self.process.poll() is not None:
            raise AssertionError("Rhea has ended")

    def stop_load(self, at_least=1):
        """All loads end their rounds; what they read has been what they wrote."""
        self.command(f"cd {self.MARKS}; for i in {' '.join(self.loads)}; do touch $i.stop; done; "
                     f"for i in {' '.join(self.loads)}; do while [ ! -e $i.over ]; do sleep 0.2; "
                     "done; done; cd", PATIENT)
        for name, size in self.loads.items():
            mark = f"{self.MARKS}/{name}"
            bad = self.command(f"[ -e {mark}.bad ] && cat {mark}.out || true").strip()
            if bad:
                raise AssertionError(f"fio in the guest, {name}: {bad}")
            rounds = int(self.command(f"touch {mark}.rounds; wc -l < {mark}.rounds").split()[-1])
            if rounds < at_least:
                raise AssertionError(f"only {rounds} rounds of fio on {name}")
            self.verified += rounds * size
        self.loads = {}

    def event(self, name, where=lambda d: True, timeout=PATIENT):
        """Waits for an event and takes it from those that have come."""
        deadline = time.monotonic() + timeout * rhea.PATIENCE
        while True:
            for i, e in enumerate(self.events):
                if e["event"] == name and where(e.get("data", {})):
                    return self.events.pop(i).get("data", {})
            self.alive()
            if time.monotonic() > deadline:
                raise rhea.Timeout(f"no event {name}; there are {self.events[-5:]}")
            time.sleep(0.1)
            self.qmp("query-status")

    def job_end(self, job):
        self.event("JOB_STATUS_CHANGE", lambda d: d["id"] == job and d["status"] == "null")
        failed = [e for e in self.events if e["event"] == "BLOCK_JOB_COMPLETED" and
                  e["data"]["device"] == job and "error" in e["data"]]
        if failed:
            raise AssertionError(f"job {job}: {failed}")

    def complete(self, jobs):
        """Of jobs that keep two images in step: from here on the other ones count."""
        for job in jobs:
            self.event("BLOCK_JOB_READY", lambda d: d["device"] == job)
        self.progress(50)
        for job in jobs:
            self.qmp("job-complete", id=job)
        for job in jobs:
            self.job_end(job)

    def go_on(self, errors):
        """Resumes the machine until so many errors have stopped it; returns their events."""
        seen = []
        deadline = time.monotonic() + PATIENT * rhea.PATIENCE
        while len(seen) < errors:
            self.alive()
            if time.monotonic() > deadline:
                raise rhea.Timeout(f"{len(seen)} of {errors} errors came: {seen}")
            stopped = self.qmp("query-status")["status"] == "io-error"
            seen += [e["data"] for e in self.events if e["event"] == "BLOCK_IO_ERROR"]
            self.events = [e for e in self.events if e["event"] != "BLOCK_IO_ERROR"]
            if stopped:
                self.qmp("cont")
            time.sleep(0.1)
        return seen

    def power_off(self, timeout=PATIENT):
        self.send("sync; poweroff\n")
        if self.wait(timeout) != 0:
            raise AssertionError("the machine ended badly")


class SmallLinux(Guest):
    """Debian's cloud kernel with the demo's initramfs; fio on a disk of its own, under /t."""

    FIO = "chroot /t /bin/fio"
    MARKS = "/tmp"

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


class Case(unittest.TestCase):
    """Tests have a folder for images and a guest; they say which disks it has."""

    GUEST = SmallLinux

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="rhea-live-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, self.dir, True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def image(self, name, size, fmt="qcow2", backing=None):
        over = ["-b", backing, "-F", "qcow2"] if backing else []
        run(IMG, "create", "-q", "-f", fmt, *over, self.path(name), size)
        return self.path(name)

    def check(self, *names):
        for n in names:
            # Leaks may be left by what was interrupted, nothing else; here nothing was.
            run(IMG, "check", self.path(n))
            if shutil.which("qemu-img"):
                run("qemu-img", "check", self.path(n))

    def qcow2(self, node, name):
        return {"driver": "qcow2", "node-name": node, "discard": "unmap",
                "file": {"driver": "file", "filename": self.path(name), "node-name": node + "-file"}}

    def first_images(self, disks):
        for d in disks:
            self.image(d.image("base"), d.size, backing=d.backing)

    def machine(self, disks, iothread=False):
        """The arguments for the disks' first images, each with an I/O thread or none."""
        args = []
        for d in disks:
            args += ["-blockdev", json.dumps(self.qcow2(d.node("base"), d.image("base")))]
            args += self.device(d.node("base"), d.name, iothread)
        return args

    def device(self, node, name, iothread=False, **more):
        words = "".join(f",{k}={v}" for k, v in more.items())
        args = ["-object", f"iothread,id=io-{name}"] if iothread else []
        thread = f",iothread=io-{name}" if iothread else ""
        return args + ["-device", f"virtio-blk-pci,id={name},drive={node}{thread}{words}"]

    # ---- snapshots and jobs ----

    def snapshot(self, m, disks, below, above):
        """A new empty image over another, for all disks at one moment."""
        for d in disks:
            self.image(d.image(above), d.size)
            m.qmp("blockdev-add", driver="qcow2", node_name=d.node(above), backing=None,
                  file={"driver": "file", "filename": self.path(d.image(above))})
        actions = [{"type": "blockdev-snapshot",
                    "data": {"node": d.node(below), "overlay": d.node(above)}} for d in disks]
        if len(actions) == 1:
            m.qmp("blockdev-snapshot", **actions[0]["data"])
        else:
            m.qmp("transaction", actions=actions)
        m.progress()

    def commit_chain(self, m, disks):
        """Three images are laid over the base; in the end the guest writes to the base again."""
        for below, above in (("base", "s1"), ("s1", "s2"), ("s2", "s3")):
            self.snapshot(m, disks, below, above)
        # Intermediate: s2's and s1's data go down; s3 stays on top.
        for d in disks:
            m.qmp("block-commit", job_id=d.node("middle"), device=d.node("s3"),
                  top_node=d.node("s2"), base_node=d.node("base"))
        m.progress()
        for d in disks:
            m.job_end(d.node("middle"))
        # Active: all is in the base again, and the guest writes there.
        for d in disks:
            m.qmp("block-commit", job_id=d.node("active"), device=d.node("s3"),
                  base_node=d.node("base"))
        m.complete([d.node("active") for d in disks])
        m.progress()

    def internal_snapshots(self, m, disks):
        m.qmp("transaction", actions=[{"type": "blockdev-snapshot-internal-sync",
                                       "data": {"device": d.node("base"), "name": "inside"}}
                                      for d in disks])
        m.progress()

    def pivot(self, m, disks, sync="full"):
        """Another image takes over from the base: of all data, or over the same backing file."""
        for d in disks:
            self.image(d.image("copy"), d.size, backing=d.backing if sync == "top" else None)
            m.qmp("blockdev-add", **self.qcow2(d.node("copy"), d.image("copy")))
            m.qmp("blockdev-mirror", job_id=d.node("move"), device=d.node("base"),
                  target=d.node("copy"), sync=sync)
        m.complete([d.node("move") for d in disks])
        m.progress()
        for d in disks:
            m.qmp("blockdev-del", node_name=d.node("base"))

    def check_all(self, disks, *parts):
        self.check(*(d.image(p) for d in disks for p in parts))

    # ---- backups ----

    def backup_job(self, m, d, part, sync, over=None, **more):
        """The action that copies a disk into a new image over the one before."""
        self.image(d.image(part), d.size, backing=self.path(d.image(over)) if over else None)
        m.qmp("blockdev-add", driver="qcow2", node_name=d.node(part),
              file={"driver": "file", "filename": self.path(d.image(part))},
              **({"backing": None} if over else {}))
        return {"type": "blockdev-backup",
                "data": {"job-id": d.node(part), "device": d.node("base"), "target": d.node(part),
                         "sync": sync, **more}}

    def backup(self, m, disks, part, sync, over=None, before=lambda d: [], **more):
        """Of all disks at one moment, with what else is to be done at that moment."""
        actions = []
        for d in disks:
            actions += before(d) + [self.backup_job(m, d, part, sync, over, **more)]
        m.qmp("transaction", actions=actions)
        for d in disks:
            m.job_end(d.node(part))
            m.qmp("blockdev-del", node_name=d.node(part))

    def first_backups(self, m, disks):
        """A full one, from which on a bitmap tells what changes, and one of what has changed."""
        self.backup(m, disks, "full", "full", before=lambda d: [
            {"type": "block-dirty-bitmap-add",
             "data": {"node": d.node("base"), "name": "b0", "persistent": True}}])
        m.progress()
        self.backup(m, disks, "inc1", "incremental", "full", bitmap="b0")
        m.progress()

    def check_bitmaps(self, m, disks):
        """Of the machine before: they are there, and know of what was written since the backup."""
        nodes = {n["node-name"]: n for n in m.qmp("query-named-block-nodes")}
        for d in disks:
            found = nodes[d.node("base")].get("dirty-bitmaps", [])
            self.assertEqual([b["name"] for b in found], ["b0"])
            self.assertGreater(found[0]["count"], 0)

    def compare(self, a, b):
        run("qemu-img" if shutil.which("qemu-img") else IMG, "compare", self.path(a), self.path(b))

    # ---- throttling ----

    LIMITS = ["bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"]

    def limit(self, m, disk, **limits):
        answer = m.qmp_raw("block_set_io_throttle",
                           {"id": disk.name, **dict.fromkeys(self.LIMITS, 0), **limits})
        self.assertIn("return", answer)

    def measure(self, m, disk, write, bs, seconds):
        """What fio gets, in bytes and requests a second."""
        # fio leaves out what was under way when the ramp ended: four requests are 2 % of 200.
        out = m.fio("--name=t --ioengine=libaio --iodepth=4 --output-format=json "
                    f"--rw={'randwrite' if write else 'randread'} --bs={bs} --size={disk.load} "
                    f"--time_based --runtime={seconds} --ramp_time=1", disk.file)
        job = json.loads(out[out.index("{"):out.rindex("}") + 1])["jobs"][0]
        side = job["write" if write else "read"]
        return side["bw_bytes"], side["iops"]

    EACH_LIMIT = ((True, "4k", {"iops": 100}), (False, "4k", {"iops_rd": 150}),
                  (True, "64k", {"bps_wr": 2 * MIB}), (False, "16k", {"bps": 1 * MIB}),
                  (False, "8k", {"bps": 4 * MIB, "iops": 60}))

    def within_limits(self, m, disk, cases=EACH_LIMIT, seconds=6):
        for write, bs, limits in cases:
            size = int(bs[:-1]) << 10
            expected = min([v / size for k, v in limits.items() if k.startswith("bps")] +
                           [v for k, v in limits.items() if k.startswith("iops")])
            self.limit(m, disk, **limits)
            # A host that is too busy for the guest lets less through, never more: once it must do.
            for _ in range(4):
                bps, iops = self.measure(m, disk, write, bs, seconds)
                print(f"# {disk.name}, {limits}: {iops:.1f} of {expected:.1f} requests a second",
                      flush=True)
                self.assertLess(iops, 1.05 * expected, limits)
                self.assertLess(bps, 1.05 * expected * size, limits)
                if iops > 0.95 * expected:
                    break
            self.assertGreater(iops, 0.95 * expected, limits)
            self.assertGreater(bps, 0.95 * expected * size, limits)
        self.limit(m, disk)

    # ---- errors ----

    def failing(self, d, rules, image):
        """A disk's node: raw over blkdebug with these rules over an image, a dictionary."""
        return ["-blockdev", json.dumps({
            "driver": "raw", "node-name": d.node("base"), "file": {
                "driver": "blkdebug", "inject-error": list(rules), "image": image}})]

    def failing_raw(self, d, rules):
        path = self.image(d.name + ".raw", d.size, "raw")
        return self.failing(d, rules, {"driver": "file", "filename": path})

    def stopped_by_error(self, m, operation, nospace):
        d = m.event("BLOCK_IO_ERROR")
        self.assertEqual((d["operation"], d["action"], d["nospace"]), (operation, "stop", nospace))
        m.event("STOP")
        self.assertEqual(m.qmp("query-status")["status"], "io-error")
        status = [b["io-status"] for b in m.qmp("query-block") if "io-status" in b and
                  b["io-status"] != "ok"]
        self.assertEqual(status, ["nospace" if nospace else "failed"])

    def one_request(self, m, file, write, block):
        """One request of the guest, of 4 KiB; whether it succeeded."""
        ends = f"of={file} if=/dev/zero seek={block}" if write else f"if={file} of=/dev/null skip={block}"
        flag = "oflag=direct" if write else "iflag=direct"
        out = m.command(f"dd {ends} bs=4096 count=1 {flag} "
                        "2>/dev/null && echo went || echo failed", 120)
        return "went" in out

    def small_tmpfs(self, size):
        """A host disk that fills soon."""
        small = self.path("small")
        os.mkdir(small)
        try:
            run("mount", "-t", "tmpfs", "-o", f"size={size}M", "rhea-live", small)
        except AssertionError as e:
            self.skipTest(f"a tmpfs cannot be mounted: {e}")
        self.addCleanup(run, "umount", "-l", small)
        return small

    def grow_when_full(self, m, small, sizes):
        """The machine stands when the disk is full, and goes on when that has grown."""
        for size in sizes:
            d = m.event("BLOCK_IO_ERROR")
            self.assertEqual((d["operation"], d["action"], d["nospace"]), ("write", "stop", True))
            m.event("STOP")
            self.assertEqual(m.qmp("query-status")["status"], "io-error")
            self.assertIn("nospace", [b.get("io-status") for b in m.qmp("query-block")])
            run("mount", "-o", f"remount,size={size}M", small)
            m.events.clear()
            m.qmp("cont")
            m.event("RESUME")
        m.progress()
