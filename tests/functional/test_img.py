#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""rhea-img and rhea-io, with the distribution's qemu-img as the judge, in both directions."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import rhea

BUILD = pathlib.Path(os.environ["RHEA_BUILD"])
IMG, IO = str(BUILD / "rhea-img"), str(BUILD / "rhea-io")
SECRET = ["--object", "secret,id=s,data=pass"]
WRITES = ["write -P 7 100k 3M", "write -P 8 11M 77k", "write -z 5M 1M", "flush",
          "write -P 9 2345k 1k", "write -P 3 13M 512"]


class Img(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="rhea-img-")
        self.addCleanup(shutil.rmtree, self.dir)

    def run_in(self, *cmd, status=0, timeout=120):
        p = subprocess.run([str(c) for c in cmd], cwd=self.dir, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=timeout)
        if status is not None and p.returncode not in (status if isinstance(status, tuple) else (status,)):
            self.fail(f"{' '.join(map(str, cmd))}: status {p.returncode}\n{p.stdout}")
        return p.stdout

    def img(self, *args, status=0):
        return self.run_in(IMG, *args, status=status)

    def qemu(self, *args, status=0):
        if not shutil.which("qemu-img"):
            self.skipTest("qemu-img is not installed")
        return self.run_in("qemu-img", *args, status=status)

    def io(self, program, fmt, name, commands):
        args = [a for c in commands for a in ("-c", c)]
        out = self.run_in(program, "-f", fmt, *args, name)
        self.assertNotIn("failed", out)

    def source(self, mib=16, name="src.raw"):
        rng = random.Random(3)
        data = bytearray(mib << 20)
        for _ in range(mib * 6):
            at = rng.randrange(0, len(data) - 70000) // 512 * 512
            n = rng.randrange(1, 130) * 512
            data[at:at + n] = rng.randbytes(n)
        pathlib.Path(self.dir, name).write_bytes(data)

    def both_ways(self, fmt, options="", writable=True):
        """Each makes the image, the other judges and writes on."""
        o = ["-o", options] if options else []
        with self.subTest(format=fmt, options=options):
            self.img("convert", "-O", fmt, *o, "src.raw", "ours")
            self.qemu("convert", "-O", fmt, *o, "src.raw", "theirs")
            self.qemu("check", "-q", "-f", fmt, "ours", status=(0, 63))
            self.img("check", "-q", "-f", fmt, "theirs", status=(0, 63))
            self.qemu("compare", "-q", "-f", "raw", "-F", fmt, "src.raw", "ours")
            self.img("compare", "-q", "-f", "raw", "-F", fmt, "src.raw", "theirs")
            self.assertEqual(json.loads(self.img("info", "--output=json", "theirs"))["format"],
                             json.loads(self.qemu("info", "--output=json", "theirs"))["format"])
            if writable:
                self.io(IO, fmt, "theirs", WRITES)
                self.io("qemu-io", fmt, "ours", WRITES)
                self.qemu("check", "-q", "-f", fmt, "theirs", status=(0, 63))
                self.qemu("compare", "-q", "-f", fmt, "-F", fmt, "ours", "theirs")
                self.img("compare", "-q", "-f", fmt, "-F", fmt, "ours", "theirs")
            for name in pathlib.Path(self.dir).iterdir():
                if name.name.startswith(("ours", "theirs")):
                    name.unlink()

    def test_qcow2_matrix(self):
        self.source()
        for cluster in ["512", "1k", "4k", "16k", "64k", "256k", "2M"]:
            self.both_ways("qcow2", f"cluster_size={cluster}")
        for bits in [1, 2, 4, 8, 32, 64]:
            self.both_ways("qcow2", f"refcount_bits={bits},cluster_size=4k")
        self.both_ways("qcow2", "compat=0.10")
        self.both_ways("qcow2", "compat=0.10,cluster_size=4k")
        self.both_ways("qcow2", "lazy_refcounts=on")
        for cluster in ["16k", "64k", "2M"]:
            self.both_ways("qcow2", f"extended_l2=on,cluster_size={cluster}")

    def test_qcow2_preallocation(self):
        self.source()
        for mode in ["metadata", "falloc", "full"]:
            self.both_ways("qcow2", f"preallocation={mode}")
            self.both_ways("qcow2", f"preallocation={mode},extended_l2=on")

    def test_formats(self):
        self.source()
        for fmt, options, writable in [
                ("raw", "", True), ("vdi", "", True), ("vdi", "static=on", True), ("vpc", "", True),
                ("vpc", "subformat=fixed", True), ("vpc", "force_size=on", True), ("vhdx", "", True),
                ("vhdx", "subformat=fixed", True), ("vhdx", "block_size=1M", True), ("qed", "", True), ("qcow", "", True),
                ("vmdk", "", True), ("vmdk", "subformat=monolithicFlat", True),
                ("vmdk", "subformat=twoGbMaxExtentSparse", True),
                ("vmdk", "subformat=twoGbMaxExtentFlat", True),
                ("vmdk", "subformat=streamOptimized", False)]:
            self.both_ways(fmt, options, writable)

    def test_resize(self):
        """Larger and smaller, images of either program; the other one reads and judges."""
        self.source()
        data = pathlib.Path(self.dir, "src.raw").read_bytes()
        for fmt, options, sizes in [
                ("vdi", "", [17, 900, 5, 2048 * 1024]), ("vdi", "static=on", [18, 9]),
                ("vpc", "", [40, 5000, 3]), ("vpc", "subformat=fixed", [20, 7]),
                ("vhdx", "", [17, 4096, 6, 2 << 20]), ("vhdx", "subformat=fixed,block_size=1M", [24, 8]),
                ("vmdk", "", [17, 3000, 4, 100 * 1024]), ("vmdk", "subformat=monolithicFlat", [20, 4]),
                ("qed", "", [17, 64 * 1024]), ("qcow2", "", [17, 5, 1 << 20])]:
            for maker in [IMG, "qemu-img"]:
                if maker != IMG and not shutil.which(maker):
                    self.skipTest("qemu-img is not installed")
                with self.subTest(format=fmt, options=options, maker=maker):
                    self.run_in(maker, "convert", "-O", fmt, *(["-o", options] if options else []),
                                "src.raw", "i.img")
                    keep = len(data)
                    for mib in sizes:
                        self.img("resize", "--shrink", "-f", fmt, "i.img", f"{mib}M")
                        keep = min(keep, mib << 20)
                        self.img("check", "-q", "-f", fmt, "i.img")
                        self.qemu("check", "-q", "-f", fmt, "i.img", status=(0, 63))
                        info = json.loads(self.qemu("info", "--output=json", "-f", fmt, "i.img"))
                        self.assertEqual(info["virtual-size"], mib << 20)
                        if mib <= 64: # what was cut off once is zeroes, and stays so
                            self.qemu("convert", "-f", fmt, "-O", "raw", "i.img", "now.raw")
                            now = pathlib.Path(self.dir, "now.raw").read_bytes()
                            self.assertTrue(now == data[:keep] + bytes(len(now) - keep))
                        at = (mib << 20) - 65536
                        if at >= keep:
                            self.io(random.choice([IO, "qemu-io"]), fmt, "i.img",
                                    [f"read -P 0 {at} 65536", f"write -P 77 {at} 65536"])
                            for program in [IO, "qemu-io"]:
                                self.io(program, fmt, "i.img", [f"read -P 77 {at} 65536"])
                            self.io(IO, fmt, "i.img", [f"write -z {at} 65536"])
                    for name in pathlib.Path(self.dir).glob("i*"):
                        name.unlink()

    def test_compressed(self):
        self.source()
        for options in ["cluster_size=4k", "cluster_size=64k", "compression_type=zstd",
                        "cluster_size=2M", "refcount_bits=1", "extended_l2=on"]:
            with self.subTest(options=options):
                self.img("convert", "-c", "-O", "qcow2", "-o", options, "src.raw", "ours")
                self.qemu("check", "-q", "ours")
                self.qemu("compare", "-q", "src.raw", "ours")
                self.img("compare", "-q", "src.raw", "ours")
                self.io(IO, "qcow2", "ours", WRITES)
                self.qemu("check", "-q", "ours")

    def test_data_file(self):
        self.source()
        for raw in ["on", "off"]:
            o = f"data_file=ours.data,data_file_raw={raw}"
            self.img("convert", "-O", "qcow2", "-o", o, "src.raw", "ours")
            self.qemu("check", "-q", "ours")
            self.qemu("compare", "-q", "src.raw", "ours")
            self.io(IO, "qcow2", "ours", WRITES)
            self.qemu("check", "-q", "ours")
            self.img("convert", "ours", "copy.raw")
            self.qemu("compare", "-q", "ours", "copy.raw")
            if raw == "on":
                self.qemu("compare", "-q", "-f", "raw", "-F", "raw", "ours.data", "copy.raw")

    def test_luks(self):
        self.source(4)
        opened = "driver=luks,key-secret=s,file.filename="
        self.img("convert", *SECRET, "-O", "luks", "-o", "key-secret=s,iter-time=10", "src.raw", "ours")
        self.qemu("convert", *SECRET, "--image-opts", opened + "ours", "copy.raw")
        self.qemu("compare", "-q", "src.raw", "copy.raw")
        q = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
        self.img("convert", *SECRET, "-O", "qcow2", "-o", q, "src.raw", "ours.qcow2")
        opts = "driver=qcow2,encrypt.key-secret=s,file.filename=ours.qcow2"
        self.qemu("convert", *SECRET, "--image-opts", opts, "copy2.raw")
        self.qemu("compare", "-q", "src.raw", "copy2.raw")
        self.qemu("check", "-q", *SECRET, "--image-opts", opts)
        # Another password in another slot, then without the first.
        new = ["--object", "secret,id=n,data=other"]
        self.img("amend", *SECRET, *new, "-o", "encrypt.state=active,encrypt.new-secret=n,"
                 "encrypt.iter-time=10", "--image-opts", opts)
        self.img("amend", *SECRET, *new, "-o", "encrypt.state=inactive,encrypt.old-secret=s",
                 "--image-opts", opts)
        out = self.img("convert", *SECRET, "--image-opts", opts, "no.raw", status=1)
        self.assertIn("opens none of the key slots", out)
        self.qemu("convert", *new, "--image-opts", opts.replace("=s,", "=n,"), "copy3.raw")
        self.qemu("compare", "-q", "src.raw", "copy3.raw")

    def test_old_encryption(self):
        self.source(4)
        opts = "driver=qcow2,encrypt.format=aes,encrypt.key-secret=s,file.filename=i"
        self.qemu("create", "-q", *SECRET, "-f", "qcow2", "-o", "encrypt.format=aes,encrypt.key-secret=s",
                  "i", "4M")
        self.qemu("convert", "-n", *SECRET, "--target-image-opts", "-f", "raw", "src.raw", opts)
        self.img("convert", *SECRET, "--image-opts", "-O", "raw", opts, "copy.raw")
        self.qemu("compare", "-q", "src.raw", "copy.raw")
        self.assertIn("aes", self.img("info", "i"))
        self.assertIn("can only be read", self.run_in(IO, *SECRET, "-c", "write 0 512", "--image-opts",
                                                      opts, status=1))
        p = subprocess.run([rhea.BINARY, "-display", "none", "-M", "pc", "-drive",
                            "if=none,file=i,format=qcow2"], cwd=self.dir, capture_output=True, text=True)
        self.assertEqual(p.returncode, 1)
        self.assertIn("not supported in machines", p.stderr)

    def test_qcow(self):
        """Version 1: clusters that are compressed, backing files, encryption."""
        self.source()
        # QEMU 7.2 says 1 at the end, and all is there.
        self.qemu("convert", "-c", "-O", "qcow", "src.raw", "packed", status=(0, 1))
        self.qemu("compare", "-q", "-f", "raw", "-F", "qcow", "src.raw", "packed")
        self.assertIn('"compressed": true', self.img("map", "--output=json", "packed"))
        self.img("compare", "-q", "-f", "raw", "-F", "qcow", "src.raw", "packed")
        self.io(IO, "qcow", "packed", WRITES)
        self.img("convert", "-O", "qcow2", "packed", "copy")
        self.qemu("compare", "-q", "packed", "copy")
        for maker, writer in ((IMG, "qemu-io"), ("qemu-img", IO)):
            self.run_in(maker, "create", "-q", "-f", "qcow", "-b", "copy", "-F", "qcow2", "top")
            self.io(writer, "qcow", "top", ["write -P 9 1000 70000", "write -P 7 2097000 300"])
            self.qemu("convert", "-O", "raw", "top", "a.raw")
            self.img("convert", "-O", "raw", "top", "b.raw")
            self.qemu("compare", "-q", "-f", "raw", "-F", "raw", "a.raw", "b.raw")
        self.assertIn("cannot be 'raw'", self.img("create", "-f", "qcow", "-b", "src.raw", "-F", "raw",
                                                  "no", status=1))
        opts = "driver=qcow,encrypt.format=aes,encrypt.key-secret=s,file.filename=i"
        self.qemu("create", "-q", *SECRET, "-f", "qcow", "-o", "encrypt.format=aes,encrypt.key-secret=s",
                  "i", "16M")
        self.qemu("convert", "-n", *SECRET, "--target-image-opts", "-f", "raw", "src.raw", opts)
        self.img("convert", *SECRET, "--image-opts", "-O", "raw", opts, "copy.raw")
        self.qemu("compare", "-q", "src.raw", "copy.raw")
        self.assertIn("can only be read", self.run_in(IO, *SECRET, "-c", "write 0 512", "--image-opts",
                                                      opts, status=1))

    def test_luks2(self):
        pathlib.Path(self.dir, "l2").write_bytes(b"LUKS\xba\xbe\0\2" + bytes(1 << 20))
        out = self.img("info", "l2", status=1) + self.run_in(
            IO, *SECRET, "-c", "read 0 512", "--image-opts", "driver=luks,key-secret=s,file.filename=l2",
            status=1)
        self.assertIn("LUKS version 2", out)

    def test_snapshots(self):
        self.source()
        self.img("convert", "-O", "qcow2", "-o", "cluster_size=4k", "src.raw", "i")
        self.img("snapshot", "-c", "one", "i")
        self.io(IO, "qcow2", "i", WRITES)
        self.qemu("check", "-q", "i")
        self.qemu("snapshot", "-c", "two", "i")
        self.img("check", "-q", "i")
        self.img("convert", "-l", "one", "-O", "raw", "i", "one.raw")
        self.qemu("compare", "-q", "src.raw", "one.raw")
        self.assertEqual(self.img("snapshot", "-l", "i"), self.qemu("snapshot", "-l", "i"))
        self.img("snapshot", "-a", "one", "i")
        self.qemu("check", "-q", "i")
        self.qemu("compare", "-q", "src.raw", "i")
        self.img("snapshot", "-d", "two", "i")
        self.img("snapshot", "-d", "one", "i")
        self.qemu("check", "-q", "i")
        self.qemu("compare", "-q", "src.raw", "i")
        self.assertIn("has no snapshot", self.img("snapshot", "-d", "one", "i", status=1))

    def test_chains(self):
        self.source()
        self.img("create", "-q", "-f", "qcow2", "-b", "src.raw", "-F", "raw", "mid", "20M")
        self.io(IO, "qcow2", "mid", WRITES)
        self.img("create", "-q", "-f", "qcow2", "-b", "mid", "-F", "qcow2", "top")
        self.io(IO, "qcow2", "top", ["write -P 1 0 64k", "write -z 7M 2M", "discard 3M 1M"])
        self.img("convert", "top", "flat.raw")
        self.qemu("compare", "-q", "top", "flat.raw")
        self.assertEqual(len(json.loads(self.img("info", "--backing-chain", "--output=json", "top"))), 3)
        ours = json.loads(self.img("map", "--output=json", "top"))
        theirs = json.loads(self.qemu("map", "--output=json", "top"))
        for e in ours + theirs:
            e.pop("compressed", None)
        self.assertEqual(ours, theirs)
        shutil.copy(pathlib.Path(self.dir, "top"), pathlib.Path(self.dir, "alone"))
        self.img("rebase", "-b", "src.raw", "-F", "raw", "alone")
        self.qemu("compare", "-q", "alone", "flat.raw")
        self.img("rebase", "-b", "", "alone")
        self.qemu("compare", "-q", "alone", "flat.raw")
        self.qemu("check", "-q", "alone")
        self.img("commit", "-q", "top")
        self.qemu("compare", "-q", "mid", "flat.raw")
        self.qemu("check", "-q", "mid")
        self.qemu("check", "-q", "top")

    def test_changes(self):
        self.source()
        self.img("convert", "-O", "qcow2", "src.raw", "i")
        for o in ["refcount_bits=64", "lazy_refcounts=on", "refcount_bits=16,lazy_refcounts=off",
                  "compat=0.10", "compat=1.1", "refcount_bits=1"]:
            self.img("amend", "-o", o, "i")
            self.qemu("check", "-q", "i")
            self.qemu("compare", "-q", "src.raw", "i")
        self.img("resize", "-q", "i", "+1G")
        self.qemu("check", "-q", "i")
        self.img("resize", "-q", "--preallocation=metadata", "i", "+10M")
        self.qemu("check", "-q", "i")
        self.assertIn("--shrink", self.img("resize", "i", "3M", status=1))
        self.img("resize", "-q", "--shrink", "i", "16M")
        self.qemu("check", "-q", "i")
        self.qemu("compare", "-q", "src.raw", "i")

    def test_repair(self):
        self.source()
        self.img("convert", "-O", "qcow2", "src.raw", "i")
        path = pathlib.Path(self.dir, "i")
        data = bytearray(path.read_bytes())
        block = int.from_bytes(data[65536:65544], "big")
        data[block + 20:block + 40] = bytes(20)       # used, not counted
        end = len(data) // 65536
        data[block + 2 * end:block + 2 * end + 8] = b"\0\1" * 4
        path.write_bytes(data + bytes(4 * 65536))     # counted, not used
        self.img("check", "-q", "i", status=2)
        self.img("check", "-q", "-r", "leaks", "i", status=2)
        out = self.img("check", "-r", "all", "i")
        self.assertIn("No errors were found", out)
        self.qemu("check", "-q", "i")
        self.qemu("compare", "-q", "src.raw", "i")

    def test_measure(self):
        self.source()
        for o in ["", "cluster_size=4k", "extended_l2=on", "refcount_bits=64"]:
            args = ["--output=json", "-O", "qcow2"] + (["-o", o] if o else [])
            self.assertEqual(json.loads(self.img("measure", *args, "src.raw")),
                             json.loads(self.qemu("measure", *args, "src.raw")), o)
            self.assertEqual(json.loads(self.img("measure", *args, "--size", "7T")),
                             json.loads(self.qemu("measure", *args, "--size", "7T")), o)

    def test_bitmaps(self):
        self.img("create", "-q", "-f", "qcow2", "i", "1G")
        self.img("bitmap", "--add", "i", "b")
        self.qemu("check", "-q", "i")
        self.io(IO, "qcow2", "i", ["write 100M 1M"])
        # A crash: what was written is in the bitmap, which stays good for others, too.
        self.run_in(IO, "-c", "write 300M 64k", "-c", "sigraise 9", "i", status=-9)
        self.qemu("check", "-q", "i", status=(0, 3))
        info = json.loads(self.qemu("info", "--output=json", "i"))
        self.assertEqual(info["format-specific"]["data"]["bitmaps"][0]["flags"], ["auto"])
        self.qemu("bitmap", "--add", "--merge", "b", "i", "c")
        self.img("convert", "--bitmaps", "-O", "qcow2", "i", "copy")
        self.assertIn('"b"', self.qemu("info", "--output=json", "copy"))
        self.img("bitmap", "--remove-all", "copy")
        self.assertNotIn("bitmaps", self.qemu("info", "--output=json", "copy"))
        self.qemu("check", "-q", "copy")

    def test_bitmap_resize(self):
        """A bitmap whose table becomes longer and shorter with its disk, also after a crash."""
        self.img("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "i", "1M")
        self.img("bitmap", "--add", "-g", "512", "i", "b")
        self.io(IO, "qcow2", "i", ["write 64k 4k"])

        for size in (9, 3, 40, 1):
            self.img("resize", *(["--shrink"] if size in (3, 1) else []), "i", f"{size}M")
            self.qemu("check", "-q", "i")
            info = json.loads(self.qemu("info", "--output=json", "i"))
            self.assertEqual(info["format-specific"]["data"]["bitmaps"][0]["name"], "b")
            self.run_in(IO, "-c", f"write {size - 1}M 1k", "-c", "sigraise 9", "i", status=-9)
            self.qemu("check", "-q", "i", status=(0, 3))
            self.img("bitmap", "--add", "--merge", "b", "i", f"m{size}")  # refused if inconsistent

    def test_killed(self):
        """kill -9 at any time leaves an image that opens and has leaks at most."""
        self.source(64)
        rng = random.Random(5)
        for i in range(25):
            args = rng.choice([[], ["-c"], ["-o", "cluster_size=4k"], ["-t", "writeback"]])
            pathlib.Path(self.dir, "out").unlink(missing_ok=True)
            p = subprocess.Popen([IMG, "convert", "-O", "qcow2", *args, "src.raw", "out"], cwd=self.dir)
            time.sleep(rng.random() * 0.25)
            p.kill()
            p.wait()
            out = pathlib.Path(self.dir, "out")
            if not out.exists() or out.stat().st_size < 262144:
                continue
            self.img("check", "-q", "out", status=(0, 3))
            self.qemu("check", "-q", "out", status=(0, 3))

    def test_interrupted(self):
        """An interrupted conversion leaves nothing behind, and ends as the signal says."""
        self.source(64)
        p = subprocess.Popen([IMG, "convert", "-c", "-O", "qcow2", "-r", "1M", "src.raw", "out"],
                             cwd=self.dir)
        time.sleep(1)
        self.assertTrue(pathlib.Path(self.dir, "out").exists())
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(20), -signal.SIGINT)
        self.assertFalse(pathlib.Path(self.dir, "out").exists())

    def test_mistakes(self):
        out = self.img("create", "-f", "qcow2", "-o", "clustersize=4k,compat=5", "x", "1G", status=1)
        self.assertIn("did you mean 'cluster_size'", out)
        self.assertIn("'compat' cannot be '5'", out)
        out = self.img("convert", "--formt", "raw", "-Q", "a", "b", status=1)
        self.assertIn("there is no option '--formt'", out)
        self.assertIn("there is no option '-Q'", out)
        self.assertIn("did you mean 'convert'", self.img("convrt", status=1))
        self.assertIn("did you mean 'qcow2'", self.img("create", "-f", "qcow22", "x", "1G", status=1))
        self.assertFalse(pathlib.Path(self.dir, "x").exists())
        self.img("create", "-q", "-f", "qcow2", "x", "64M")
        self.assertIn("backing", self.img("create", "-f", "qcow2", "-b", "x", "y", status=1))

    def test_open_is_quick(self):
        self.img("create", "-q", "-f", "qcow2", "t", "1T")
        best = 1e9
        for _ in range(10):
            start = time.perf_counter()
            self.img("info", "t")
            best = min(best, time.perf_counter() - start)
        print(f"# rhea-img info of 1 TiB: {best * 1000:.1f} ms", flush=True)
        self.assertLess(best, 0.05)


if __name__ == "__main__":
    rhea.main()
