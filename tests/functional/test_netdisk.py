#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks of servers: iSCSI on tgt, NFS on nfs-ganesha, RBD on
a Ceph cluster of one node, each against the distribution's own client; a server that
stops, goes and comes back; servers that mean no good."""
import ctypes
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import rhea

BUILD = os.environ.get("RHEA_BUILD", os.path.dirname(rhea.BINARY))
IMG, IO = (os.path.join(BUILD, "rhea-" + n) for n in ("img", "io"))
MIB = 1 << 20
LIBC = ctypes.CDLL(None, use_errno=True)


def end_with_parent():
    LIBC.prctl(1, 9) # PR_SET_PDEATHSIG: no server outlives a test that was killed


def run(*cmd, ok=True, timeout=120, **kw):
    r = subprocess.run([str(c) for c in cmd], capture_output=True, text=True, errors="replace",
                       timeout=timeout * rhea.PATIENCE, stdin=subprocess.DEVNULL, **kw)
    if ok and r.returncode:
        raise AssertionError(f"{' '.join(map(str, cmd))}: {r.returncode}\n{r.stdout}{r.stderr}")
    return r


def needs(*programs):
    for p in programs:
        if not shutil.which(p, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            raise unittest.SkipTest(f"{p} is not installed")


def module(name):
    if not os.path.exists(os.path.join(BUILD, "modules", name + ".so")):
        raise unittest.SkipTest(f"built without {name}")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, seconds, test):
    """Waits for test() to be true; a test that raises OSError is tried again."""
    end = time.monotonic() + seconds * rhea.PATIENCE
    while True:
        try:
            if test():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.05)


def connects(port):
    socket.create_connection(("127.0.0.1", port), 2).close()
    return True


class Servers(unittest.TestCase):
    """What all have: a folder, and processes that are killed in the end."""

    def setUp(self):
        tmp = tempfile.TemporaryDirectory(prefix="rhea-netdisk-", dir="/tmp")
        self.addCleanup(tmp.cleanup)
        self.dir = tmp.name

    def path(self, name):
        return os.path.join(self.dir, name)

    def log(self, name):
        with open(self.path(name + ".log"), "rb") as f:
            return f.read().decode(errors="replace")[-2000:]

    def spawn(self, name, *cmd, env=None):
        with open(self.path(name + ".log"), "ab") as out:
            p = subprocess.Popen([str(c) for c in cmd], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin", **(env or {})},
                                 cwd=self.dir, preexec_fn=end_with_parent)
        self.addCleanup(self.end, p)
        return p

    @staticmethod
    def end(p):
        if p.poll() is None:
            p.send_signal(signal.SIGCONT)
            p.kill()
        p.wait()

    def hostile(self, answers):
        """A server that accepts, reads a little, sends one of `answers` and closes."""
        s = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(s.close)

        def serve():
            n = 0
            while True:
                try:
                    c, _ = s.accept()
                except OSError:
                    return
                c.settimeout(2)
                try:
                    c.recv(4096)
                    c.sendall(answers[n % len(answers)])
                    c.shutdown(socket.SHUT_WR)
                    c.recv(4096)
                except OSError:
                    pass
                n += 1
                c.close()
        threading.Thread(target=serve, daemon=True).start()
        return s.getsockname()[1]

    def pattern_image(self):
        """a.raw and a.qcow2 with the same contents, 24 MiB."""
        run(IMG, "create", "-q", "-f", "qcow2", self.path("a.qcow2"), "24M")
        run(IO, "-f", "qcow2", "-c", "write -P 17 0 3M", "-c", "write -P 99 9M 65536",
            "-c", "write -P 3 23M 1M", self.path("a.qcow2"))
        run(IMG, "convert", "-O", "raw", self.path("a.qcow2"), self.path("a.raw"))

    def same(self, url, *options):
        run(IMG, "compare", *options, "-f", "raw", "-F", "raw", url, self.path("a.raw"))

    def lost_and_back(self, url, kill, restart):
        """A writer whose server dies under it and comes back: all it wrote is there."""
        script = []
        for i in range(12):
            script += ["-c", f"write -P {i + 1} {i}M 1M", "-c", "flush", "-c", "sleep 100"]
        script += sum([["-c", f"read -P {i + 1} {i}M 1M"] for i in range(12)], [])
        p = subprocess.Popen([IO, "-f", "raw", *script, url], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        self.addCleanup(self.end, p)
        time.sleep(0.5)
        kill()
        time.sleep(1)
        self.assertIsNone(p.poll(), "it has not waited")
        restart()
        out, _ = p.communicate(timeout=100 * rhea.PATIENCE)
        self.assertEqual(p.returncode, 0, out)
        self.assertNotIn("failed", out)
        self.assertEqual(out.count("read 1048576"), 12, out)
        return out

    def dies_under_machine(self, url, kill, restart, end=None):
        """A guest writes; the server goes: the machine answers, and the guest goes on when
        the server is back.  Then it goes for good, and the machine still ends."""
        kernel, initrd = rhea.linux_guest()
        with rhea.Machine("-m", "128", "-kernel", kernel, "-initrd", initrd, "-append",
                          "console=ttyS0 quiet", "-object", "iothread,id=io", "-drive",
                          f"if=none,id=d,format=raw,cache=none,file={url}", "-device",
                          "virtio-blk-pci,drive=d,iothread=io") as m:
            m.expect("RHEA-READY", 120)
            m.command("dd if=/dev/urandom of=/tmp/r bs=1M count=8 2>/dev/null")
            m.send("dd if=/tmp/r of=/dev/vda bs=64k conv=fsync 2>/dev/null; echo DD-IS-$?\n")
            kill()
            time.sleep(1.5)
            begin = time.monotonic()
            self.assertTrue(m.qmp("query-status")["running"])
            m.qmp("query-block")
            self.assertLess(time.monotonic() - begin, 5 * rhea.PATIENCE)
            restart()
            m.expect("DD-IS-0", 60)
            m.command("echo 3 > /proc/sys/vm/drop_caches; "
                      "dd if=/dev/vda bs=1M count=8 2>/dev/null | cmp - /tmp/r")
            (end or kill)()
            m.send("dd if=/dev/zero of=/dev/vda bs=64k count=1 conv=fsync\n")
            time.sleep(0.5)
            m.qmp("quit")
            self.assertEqual(m.wait(60), 0)


class Iscsi(Servers):
    TARGET = "iqn.2026-01.org.example:rhea"

    def setUp(self):
        super().setUp()
        module("iscsi")

    def tgtadm(self, *args, ok=True):
        return run("tgtadm", "-C", self.control, "--lld", "iscsi", *args, ok=ok,
                   env={**os.environ, "TGT_IPC_SOCKET": self.path("ipc"),
                        "PATH": os.environ["PATH"] + ":/usr/sbin"})

    def start(self):
        needs("tgtd", "tgtadm")
        if not hasattr(self, "port"):
            self.port, self.control = free_port(), free_port() % 30000
            with open(self.path("lun.raw"), "wb") as f:
                f.truncate(24 * MIB)
        for name in os.listdir(self.dir):
            if name.startswith("ipc"):
                os.unlink(self.path(name))
        self.server = self.spawn("tgtd", "tgtd", "-f", "-C", self.control, "--iscsi",
                                 f"portal=127.0.0.1:{self.port}",
                                 env={"TGT_IPC_SOCKET": self.path("ipc")})

        def ready():
            if self.server.poll() is not None:
                raise unittest.SkipTest(f"tgtd does not run here: {self.log('tgtd')}")
            return self.tgtadm("--op", "show", "--mode", "target", ok=False).returncode == 0
        until("tgtd's start", 20, ready)
        self.tgtadm("--op", "new", "--mode", "target", "--tid", 1, "-T", self.TARGET)
        self.tgtadm("--op", "new", "--mode", "logicalunit", "--tid", 1, "--lun", 1, "-b",
                    self.path("lun.raw"))
        self.tgtadm("--op", "update", "--mode", "logicalunit", "--tid", 1, "--lun", 1, "--params",
                    "thin_provisioning=1")
        self.tgtadm("--op", "bind", "--mode", "target", "--tid", 1, "-I", "ALL")
        self.url = f"iscsi://127.0.0.1:{self.port}/{self.TARGET}/1"

    def kill(self):
        self.server.kill()
        self.server.wait()

    def options(self, **more):
        return "json:" + json.dumps({"driver": "raw", "file": {
            "driver": "iscsi", "portal": f"127.0.0.1:{self.port}", "target": self.TARGET, "lun": 1,
            **{k.replace("_", "-"): v for k, v in more.items()}}})

    def test_iscsi_data(self):
        """Both ways with qemu-img; zeroes, holes, sizes."""
        self.start()
        self.pattern_image()
        run(IMG, "convert", "-n", "-f", "qcow2", "-O", "raw", self.path("a.qcow2"), self.url)
        self.same(self.url)
        self.same(self.options(header_digest="crc32c"))
        run("cmp", self.path("lun.raw"), self.path("a.raw"))
        out = json.loads(run(IMG, "map", "--output=json", "-f", "raw", self.url).stdout)
        self.assertIn({"start": 3 * MIB, "length": 6 * MIB, "zero": True, "data": False},
                      [{k: e[k] for k in ("start", "length", "zero", "data")} for e in out])
        run(IO, "-f", "raw", "-d", "unmap", "-c", "discard 1M 1M", "-c", "read -P 0 1M 1M",
            "-c", "write -z 9M 64k", "-c", "read -P 0 9M 64k", "-c", "write -f -P 8 100 1000",
            "-c", "read -P 8 100 1000", "-c", "read -P 17 0 100", "-c", "write -zu 2M 1M",
            "-c", "read -P 0 2M 1M", self.url)
        self.assertLess(os.stat(self.path("lun.raw")).st_blocks * 512, 3 * MIB)
        r = run(IMG, "resize", "-f", "raw", self.url, "1G", ok=False)
        self.assertIn("changed at the target", r.stderr)
        r = run(IO, "-f", "raw", "-c", "write 24M 512", self.url, ok=False)
        self.assertNotEqual(r.returncode, 0)
        run(IMG, "create", "-q", "-f", "qcow2", self.url, "100M")
        run(IO, "-f", "qcow2", "-c", "write -P 5 50M 4M", self.url)
        run(IMG, "check", "-f", "qcow2", self.url)

    def test_iscsi_others(self):
        self.start()
        self.pattern_image()
        needs("qemu-img")
        if "iscsi" not in run("qemu-img", "--help").stdout.split("formats:")[-1]:
            raise unittest.SkipTest("qemu-img has no iscsi (qemu-block-extra)")
        run("qemu-img", "convert", "-n", "-f", "qcow2", "-O", "raw", self.path("a.qcow2"), self.url)
        self.same(self.url)
        run(IO, "-f", "raw", "-c", "write -P 77 4M 4M", self.url)
        run(IO, "-f", "raw", "-c", "write -P 77 4M 4M", self.path("a.raw"))
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", self.url, self.path("a.raw"))

    def test_iscsi_login(self):
        """Passwords, and messages for what is wrong."""
        self.start()
        self.tgtadm("--op", "new", "--mode", "account", "--user", "joe", "--password", "secret-of-joe")
        self.tgtadm("--op", "bind", "--mode", "account", "--tid", 1, "--user", "joe")
        with open(self.path("key"), "w", encoding="utf-8") as f:
            f.write("secret-of-joe")
        secret = ["--object", f"secret,id=s,file={self.path('key')}"]
        run(IMG, "info", *secret, self.options(user="joe", password_secret="s"))
        run(IMG, "info", self.url.replace("://", "://joe%secret-of-joe@"))

        def refused(message, *args):
            r = run(IMG, "info", *args, ok=False)
            self.assertEqual(r.returncode, 1)
            self.assertRegex(r.stderr, message)
            self.assertNotIn("secret-of-joe", r.stdout + r.stderr)
        refused("Authentication", self.url)
        refused("Authentication", self.url.replace("://", "://joe%this-is-wrong@"))
        refused("not found", self.url.replace("rhea/1", "nobody/1"))
        refused("no unit 7|LOGICAL_UNIT_NOT_SUPPORTED", self.url.replace("://", "://joe%secret-of-joe@")[:-1] + "7")
        refused("not a disk", self.url.replace("://", "://joe%secret-of-joe@")[:-1] + "0")
        refused("expected iscsi://", "iscsi://127.0.0.1/nothing")
        refused("'user' is missing", *secret, self.options(password_secret="s"))
        refused("header-digest", self.options(header_digest="md5"))
        refused("refuses", f"iscsi://127.0.0.1:{free_port()}/{self.TARGET}/1")
        # -iscsi, for one target and for all
        with rhea.Machine("-accel", "qtest", "-m", "16", *secret[:0], "-object",
                          f"secret,id=s,file={self.path('key')}", "-iscsi",
                          f"id={self.TARGET},user=joe,password-secret=s", "-iscsi", "timeout=30",
                          "-drive", f"if=none,id=d,format=raw,file={self.url}") as m:
            self.assertEqual(m.qmp("query-block")[0]["inserted"]["image"]["virtual-size"], 24 * MIB)
        r = run(rhea.BINARY, "-iscsi", "user=joe,timeout=soon", "-display", "none", ok=False)
        self.assertIn("timeout", r.stderr)

    def test_iscsi_lost(self):
        self.start()
        out = self.lost_and_back(self.url, self.kill, self.start)
        self.assertIn("connection is lost", out)
        self.assertIn("connection is back", out)
        # With a timeout requests fail; others' writes are not held up for ever.
        pid = self.server.pid
        p = subprocess.Popen([IO, "-c", "sleep 1000", "-c", "write 0 64k", self.options(timeout=2)],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(0.5)
        os.kill(pid, signal.SIGSTOP)
        out, _ = p.communicate(timeout=60 * rhea.PATIENCE)
        os.kill(pid, signal.SIGCONT)
        self.assertRegex(out, "(?i)timed out")
        self.assertNotEqual(p.returncode, 0)

    def test_iscsi_machine(self):
        self.start()
        self.dies_under_machine(self.url, self.kill, self.start)

    def test_iscsi_hostile(self):
        """Garbage, half a login, nothing at all: an error in time, no crash."""
        head = bytes([0x23, 0x87, 0, 0, 0, 0xff, 0xff, 0xff]) + b"\xff" * 40
        port = self.hostile([b"", b"\0" * 48, b"\xff" * 4096, head, head + b"\0" * 100000,
                             bytes([0x23, 0x87, 0, 0, 0, 0, 0, 8]) + b"\0" * 40 + b"A=B\0C\0\0\0",
                             bytes([0x3f]) + b"\0" * 47, os.urandom(8192)])
        for _ in range(10):
            r = run(IMG, "info", f"iscsi://127.0.0.1:{port}/{self.TARGET}/1", ok=False, timeout=60)
            self.assertEqual(r.returncode, 1, r.stderr)
            self.assertIn("cannot open", r.stderr)

    def test_iscsi_mutated(self):
        """A target whose answers have bytes changed on the way: errors or wrong data, but an end.
        Reads only: libiscsi 1.19 believes how much a target says it is ready to be sent."""
        self.start()
        seed = int(os.environ.get("RHEA_SEED", "1"))
        rng = random.Random(seed)
        proxy = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(proxy.close)

        def pump(a, b, spoil):
            try:
                while data := a.recv(65536):
                    data = bytearray(data)
                    if spoil and rng.random() < 0.1:
                        for _ in range(rng.randint(1, 4)):
                            data[rng.randrange(min(len(data), 128))] = rng.choice((0, 1, 127, 255, rng.randrange(256)))
                    b.sendall(data)
            except OSError:
                pass
            for s in (a, b):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            if spoil: # the other direction ends with this one
                a.close()

        def serve():
            while True:
                try:
                    c, _ = proxy.accept()
                    t = socket.create_connection(("127.0.0.1", self.port))
                except OSError:
                    return
                threading.Thread(target=pump, args=(c, t, False), daemon=True).start()
                threading.Thread(target=pump, args=(t, c, True), daemon=True).start()
        threading.Thread(target=serve, daemon=True).start()
        where = "json:" + json.dumps({"driver": "raw", "file": {
            "driver": "iscsi", "portal": f"127.0.0.1:{proxy.getsockname()[1]}", "target": self.TARGET,
            "lun": 1, "timeout": 1, "header-digest": "none"}})
        end = time.monotonic() + float(os.environ.get("RHEA_FUZZ_SECONDS", "5"))
        runs = 0
        while time.monotonic() < end or runs < 3:
            r = run(IO, "-r", "-c", "read 0 300k", "-c", "map", "-c", "read 8M 2M", "-c", "read 20M 512", where,
                    ok=False, timeout=120)
            runs += 1
            self.assertIn(r.returncode, (0, 1), f"seed {seed}, run {runs}: {r.stderr}")


class Nfs(Servers):
    """The server lives in a network of its own: NFS wants the port mapper at its port."""

    def setUp(self):
        super().setUp()
        module("nfs")
        needs("ganesha.nfsd", "rpcbind", "ip", "mount")
        if not os.path.exists("/usr/lib/x86_64-linux-gnu/ganesha/libfsalvfs.so"):
            raise unittest.SkipTest("nfs-ganesha-vfs is not installed")
        if LIBC.unshare(0x40000000 | 0x00020000): # CLONE_NEWNET, CLONE_NEWNS
            raise unittest.SkipTest(f"no network of its own: {os.strerror(ctypes.get_errno())}")
        env = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        for cmd in (["mount", "--make-rprivate", "/"], ["mount", "-t", "tmpfs", "none", "/run"],
                    ["ip", "link", "set", "lo", "up"]):
            r = run(*cmd, ok=False, env=env)
            if r.returncode:
                raise unittest.SkipTest(f"{' '.join(cmd)}: {r.stderr.strip()}")
        os.mkdir(self.path("files"))
        self.mapper = self.spawn("rpcbind", "rpcbind", "-f", "-w")
        until("rpcbind's start", 10, lambda: self.alive(self.mapper, "rpcbind") and connects(111))
        with open(self.path("conf"), "w", encoding="utf-8") as f:
            f.write(f"""
NFS_CORE_PARAM {{ NFS_Port = 2049; MNT_Port = 20048; Enable_NLM = false; Enable_RQUOTA = false;
    Protocols = 3; mount_path_pseudo = true; Plugins_Dir = "/usr/lib/x86_64-linux-gnu/ganesha"; }}
NFSv4 {{ Graceless = true; RecoveryBackend = "fs_ng"; RecoveryRoot = "{self.dir}/recovery"; }}
EXPORT {{ Export_Id = 1; Path = "{self.dir}/files"; Pseudo = "/disks"; Access_Type = RW;
    Squash = No_Root_Squash; Protocols = 3; Transports = TCP; SecType = sys; FSAL {{ Name = VFS; }} }}
LOG {{ Default_Log_Level = EVENT; }}
""")
        self.url = "nfs://127.0.0.1/disks/"
        self.start()

    def alive(self, p, name):
        if p.poll() is not None:
            raise unittest.SkipTest(f"{name} does not run here: {self.log(name)}")
        return True

    def start(self):
        self.server = self.spawn("ganesha", "ganesha.nfsd", "-F", "-f", self.path("conf"), "-L",
                                 self.path("nfs.log"), "-p", self.path("pid"))
        until("ganesha's start", 30, lambda: self.alive(self.server, "ganesha") and connects(2049))

        def exported():
            r = run(IMG, "info", self.url + "nothing", ok=False)
            return "NOENT" in r.stderr
        until("the export", 30, exported)

    def kill(self):
        self.server.kill()
        self.server.wait()

    def test_nfs_data(self):
        self.pattern_image()
        disk, file = self.url + "a.raw", self.path("files/a.raw")
        run(IMG, "convert", "-f", "qcow2", "-O", "raw", self.path("a.qcow2"), disk)
        self.same(disk)
        run("cmp", file, self.path("a.raw"))
        self.same(disk + "?readahead=131072&pagecache=1048576&uid=0&gid=0&tcp-syncnt=2")
        run(IO, "-f", "raw", "-c", "write -f -P 8 100 100001", "-c", "read -P 8 100 100001",
            "-c", "read -P 17 0 100", "-c", "write -z 1M 1M", "-c", "read -P 0 1M 1M", disk)
        run(IMG, "resize", "-f", "raw", disk, "30M")
        self.assertEqual(os.path.getsize(file), 30 * MIB)
        run(IMG, "resize", "-f", "raw", "--shrink", disk, "20M")
        self.assertEqual(os.path.getsize(file), 20 * MIB)
        run(IMG, "create", "-q", "-f", "qcow2", self.url + "b.qcow2", "100M")
        run(IO, "-f", "qcow2", "-c", "write -P 5 50M 4M", self.url + "b.qcow2")
        run(IMG, "snapshot", "-c", "one", self.url + "b.qcow2")
        run(IMG, "check", "-f", "qcow2", self.path("files/b.qcow2"))
        info = json.loads(run(IMG, "info", "--output=json", self.url + "b.qcow2").stdout)
        self.assertGreater(info["actual-size"], 4 * MIB)
        os.chmod(file, 0o444)
        with rhea.Machine("-accel", "qtest", "-m", "16") as m:
            where = {"server": {"type": "inet", "host": "127.0.0.1"}, "path": "/disks/c.raw"}
            m.qmp("blockdev-create", job_id="j", options={"driver": "nfs", "location": where,
                                                          "size": 3 * MIB})
            until("the job's end", 20, lambda: m.qmp("query-jobs")[0]["status"] == "concluded")
            self.assertNotIn("error", m.qmp("query-jobs")[0])
            m.qmp("blockdev-add", driver="nfs", node_name="n", **where)
            m.qmp("block_resize", node_name="n", size=5 * MIB)
            m.qmp("blockdev-del", node_name="n")
        self.assertEqual(os.path.getsize(self.path("files/c.raw")), 5 * MIB)

    def test_nfs_others(self):
        self.pattern_image()
        needs("qemu-img")
        if " nfs" not in run("qemu-img", "--help").stdout.split("formats:")[-1]:
            raise unittest.SkipTest("qemu-img has no nfs (qemu-block-extra)")
        disk = self.url + "a.raw"
        run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", self.path("a.qcow2"), disk)
        self.same(disk)
        run(IMG, "convert", "-O", "qcow2", disk, self.url + "b.qcow2")
        run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", self.url + "b.qcow2", self.path("a.raw"))
        run("qemu-img", "check", self.url + "b.qcow2")

    def test_nfs_mistakes(self):
        def refused(message, *args):
            r = run(IMG, "info", *args, ok=False)
            self.assertEqual(r.returncode, 1)
            self.assertRegex(r.stderr, message)
        refused("NOENT", self.url + "nothing")
        refused("cannot be mounted.*ACCES", "nfs://127.0.0.1/else/file")
        refused("'path' must be a file's", self.url)
        refused("no NFS parameter 'speed'", self.url + "a?speed=1")
        refused("expected nfs://", "nfs://host")
        os.mkdir(self.path("files/folder"))
        refused("cannot open", self.url + "folder")
        refused("'page-cache-size' must be", self.url + "a?pagecache=1000000000")
        self.kill()
        refused("cannot open", self.url + "a")

    def test_nfs_lost(self):
        """A server that comes back: what was flushed is there, what was not is not claimed."""
        disk = self.url + "a.raw"
        run(IMG, "create", "-q", "-f", "raw", disk, "24M")

        def with_restart(*commands):
            script = sum([["-c", c] for c in commands], [])
            p = subprocess.Popen([IO, "-f", "raw", *script, disk], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
            self.addCleanup(self.end, p)
            time.sleep(1)
            self.kill()
            time.sleep(0.5)
            self.start()
            return p.communicate(timeout=100 * rhea.PATIENCE)[0], p.returncode
        out, status = with_restart("write -P 6 1M 3M", "flush", "sleep 2000", "write -P 5 2M 1M",
                                   "read -P 6 1M 1M", "flush")
        self.assertEqual(status, 0, out)
        self.assertIn("connection is lost", out)
        self.assertNotIn("may have lost", out)
        out, status = with_restart("write -P 6 1M 3M", "sleep 2000", "flush")
        self.assertIn("may have lost what was written since the last flush", out)
        # A server that does not answer for a while: no error, no loss.
        self.lost_and_back(disk, lambda: self.server.send_signal(signal.SIGSTOP),
                           lambda: self.server.send_signal(signal.SIGCONT))

    def test_nfs_machine(self):
        disk = self.url + "a.raw"
        run(IMG, "create", "-q", "-f", "raw", disk, "24M")
        self.dies_under_machine(disk, lambda: self.server.send_signal(signal.SIGSTOP),
                                lambda: self.server.send_signal(signal.SIGCONT), end=self.kill)

    def test_nfs_hostile(self):
        """Whoever answers at the port mapper's port with nonsense gets no far."""
        self.end(self.mapper)
        s = socket.create_server(("127.0.0.1", 111))
        self.addCleanup(s.close)
        answers = [b"", b"\xff" * 4096, b"\x80\0\0\x1c" + b"\0" * 28, b"\x7f\xff\xff\xff" + b"\0" * 9000,
                   os.urandom(8192), b"\x80\0\0\x04\0\0\0\0"]

        def serve():
            for n in range(100):
                try:
                    c, _ = s.accept()
                    c.settimeout(1)
                    asked = c.recv(4096)
                    # The right transaction number in front, sometimes.
                    head = b"\x80\0\1\0" + asked[4:8] + b"\0\0\0\1" if n % 2 else b""
                    c.sendall(head + answers[n % len(answers)])
                    c.shutdown(socket.SHUT_WR)
                    c.recv(4096)
                    c.close()
                except OSError:
                    pass
        threading.Thread(target=serve, daemon=True).start()
        for _ in range(10):
            r = run(IMG, "info", self.url + "a", ok=False, timeout=60)
            self.assertEqual(r.returncode, 1, r.stderr)
            self.assertIn("cannot open", r.stderr)


class Rbd(Servers):
    """A cluster of one monitor and one store in memory."""

    def setUp(self):
        super().setUp()
        module("rbd")
        needs("ceph-mon", "ceph-osd", "ceph", "rbd", "monmaptool", "ceph-authtool")
        self.port = free_port()
        self.cephx = self._testMethodName == "test_rbd_login"
        self.conf = self.path("ceph.conf")
        fsid = "6b1f3a70-5f0e-4b0e-9d8e-0123456789ab"
        auth = "cephx" if self.cephx else "none"
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(f"""
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{self.port}
mon initial members = a
auth cluster required = {auth}
auth service required = {auth}
auth client required = {auth}
keyring = {self.dir}/keyring
public addr = 127.0.0.1
cluster addr = 127.0.0.1
mon data = {self.dir}/mon
osd data = {self.dir}/osd
run dir = {self.dir}
admin socket = {self.dir}/$name.$pid.asok
log file = {self.dir}/$name.log
pid file = {self.dir}/$name.pid
mon data avail crit = 0
mon data avail warn = 0
mon allow pool size one = true
auth allow insecure global id reclaim = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
# Standing still for half a minute must not cost a client its lock of an image.
osd client watch timeout = 300
memstore device bytes = 1073741824
osd max object name len = 256
osd max object namespace len = 64
rbd concurrent management ops = 4
""")
        if self.cephx:
            run("ceph-authtool", "--create-keyring", self.path("keyring"), "--gen-key", "-n", "mon.",
                "--cap", "mon", "allow *")
            run("ceph-authtool", self.path("keyring"), "--gen-key", "-n", "client.admin", "--cap", "mon",
                "allow *", "--cap", "osd", "allow *")
        try:
            self.start(fsid)
        except (AssertionError, subprocess.TimeoutExpired) as e:
            if self.mon.poll() is not None or "osd" not in self.__dict__ or self.osd.poll() is not None:
                raise unittest.SkipTest(f"no cluster runs here: {e}") from e
            raise

    def ceph(self, *args):
        return run("ceph", "-c", self.conf, "--connect-timeout", 20, *args, timeout=40)

    def start(self, fsid):
        run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{self.port}]",
            self.path("monmap"))
        os.mkdir(self.path("mon"))
        os.mkdir(self.path("osd"))
        more = ["--keyring", self.path("keyring")] if self.cephx else []
        run("ceph-mon", "-c", self.conf, "--mkfs", "-i", "a", "--monmap", self.path("monmap"), *more)
        self.mon = self.spawn("mon", "ceph-mon", "-c", self.conf, "-i", "a", "-f")
        uuid = "0a1b2c3d-0000-4000-8000-000000000001"
        self.ceph("osd", "new", uuid, "0")
        if self.cephx:
            key = self.ceph("auth", "get-or-create-key", "osd.0", "mon", "allow profile osd", "osd",
                            "allow *").stdout.strip()
            run("ceph-authtool", self.path("keyring"), "-n", "osd.0", "--add-key", key)
        run("ceph-osd", "-c", self.conf, "-i", "0", "--mkfs", "--osd-uuid", uuid)
        self.osd = self.spawn("osd", "ceph-osd", "-c", self.conf, "-i", "0", "-f")
        self.ceph("osd", "pool", "create", "disks", "8")
        self.rbd("create", "disks/one", "--size", "24M")

    def rbd(self, *args):
        return run("rbd", "-c", self.conf, *args, timeout=60)

    def url(self, image, more=""):
        return f"rbd:disks/{image}:conf={self.conf}{more}"

    def stop(self):
        self.osd.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.osd.send_signal(signal.SIGCONT)

    def test_rbd_data(self):
        self.pattern_image()
        disk = self.url("two")
        run(IMG, "convert", "-f", "qcow2", "-O", "raw", self.path("a.qcow2"), disk)
        self.same(disk)
        self.rbd("export", "disks/two", self.path("out.raw"))
        run("cmp", self.path("out.raw"), self.path("a.raw"))
        out = json.loads(run(IMG, "map", "--output=json", "-f", "raw", disk).stdout)
        self.assertTrue(any(e["zero"] and not e["data"] for e in out), out)
        run(IO, "-f", "raw", "-d", "unmap", "-c", "discard 20M 4M", "-c", "read -P 0 20M 4M", "-c",
            "write -z 9M 64k", "-c", "read -P 0 9M 64k", "-c", "write -f -P 8 100 100001", "-c",
            "read -P 8 100 100001", "-c", "read -P 17 0 100", "-c", "write -zu 1M 1M", "-c",
            "read -P 0 1M 1M", disk)
        # Sizes: both ways, and what a format writes beyond the end.
        run(IMG, "resize", "-f", "raw", disk, "40M")
        self.assertIn("40 MiB", self.rbd("info", "disks/two").stdout)
        run(IMG, "resize", "-f", "raw", "--shrink", disk, "8M")
        self.assertIn("8 MiB", self.rbd("info", "disks/two").stdout)
        run(IMG, "create", "-q", "-f", "qcow2", self.url("three"), "100M")
        run(IO, "-f", "qcow2", "-c", "write -P 5 50M 4M", self.url("three"))
        run(IMG, "check", "-f", "qcow2", self.url("three"))
        with rhea.Machine("-accel", "qtest", "-m", "16") as m:
            where = {"pool": "disks", "image": "four", "conf": self.conf}
            m.qmp("blockdev-create", job_id="j", options={"driver": "rbd", "location": where, "size": 3 * MIB,
                                                          "cluster-size": 65536})
            until("the job's end", 30, lambda: m.qmp("query-jobs")[0]["status"] == "concluded")
            self.assertNotIn("error", m.qmp("query-jobs")[0])
            m.qmp("blockdev-add", driver="rbd", node_name="n", **where)
            m.qmp("block_resize", node_name="n", size=5 * MIB)
            m.qmp("blockdev-del", node_name="n")
        self.assertRegex(self.rbd("info", "disks/four").stdout, "5 MiB[^$]*order 16")
        run(IMG, "create", "-q", "-f", "raw", "-o", "cluster_size=128k", self.url("five"), "1M")
        self.assertRegex(self.rbd("info", "disks/five").stdout, "1 MiB[^$]*order 17")

    def test_rbd_snapshots(self):
        disk = self.url("one")
        run(IO, "-f", "raw", "-c", "write -P 1 0 4M", disk)
        run(IMG, "snapshot", "-c", "first", disk)
        run(IO, "-f", "raw", "-c", "write -P 2 0 4M", disk)
        self.assertIn("first", run(IMG, "snapshot", "-l", disk).stdout)
        self.assertIn("first", self.rbd("snap", "ls", "disks/one").stdout)
        run(IO, "-r", "-f", "raw", "-c", "read -P 1 0 4M", self.url("one@first"))
        r = run(IO, "-f", "raw", "-c", "write 0 512", self.url("one@first"), ok=False)
        self.assertIn("read-only", r.stderr)
        run(IMG, "convert", "-l", "first", "-f", "raw", "-O", "raw", disk, self.path("first.raw"))
        run(IO, "-f", "raw", "-c", "read -P 1 0 4M", self.path("first.raw"))
        run(IMG, "snapshot", "-a", "first", disk)
        run(IO, "-f", "raw", "-c", "read -P 1 0 4M", disk)
        with rhea.Machine("-accel", "qtest", "-m", "16", "-drive",
                          f"if=none,id=d,format=raw,file={disk}") as m:
            for command, name in (("sync", "live"), ("delete-internal-sync", "first")):
                command = command if "delete" in command else "internal-" + command
                r = m.qmp_raw("blockdev-snapshot-" + command, {"device": "d", "name": name})
                self.assertNotIn("error", r)
            # Who does not say goodbye holds the image's lock for 30 seconds more.
            m.qmp("quit")
            self.assertEqual(m.wait(60), 0)
        self.assertIn("live", self.rbd("snap", "ls", "disks/one").stdout)
        self.rbd("snap", "protect", "disks/one@live")
        r = run(IMG, "snapshot", "-d", "live", disk, ok=False)
        self.assertIn("protected", r.stderr)
        r = run(IMG, "snapshot", "-a", "none", disk, ok=False)
        self.assertNotEqual(r.returncode, 0)

    def test_rbd_snapshots_dead(self):
        """Without an answer, an operation on snapshots is given up; later it works again."""
        with rhea.Machine("-accel", "qtest", "-m", "16", "-drive",
                          f"if=none,id=d,format=raw,file={self.url('one')}") as m:
            def ask(what, name):
                return m.qmp_raw(f"blockdev-snapshot-{what}internal-sync",
                                 {"device": "d", "name": name})
            self.assertNotIn("error", ask("", "one"))
            self.stop()
            start = time.monotonic()
            self.assertIn("error", ask("delete-", "one"))
            self.assertLess(time.monotonic() - start, 60 * rhea.PATIENCE)
            m.qmp("query-status")
            self.go_on()
            until("the cluster's answer", 120, lambda: "error" not in ask("", "two"))
            m.qmp("quit")
            self.assertEqual(m.wait(60), 0)

    def test_rbd_others(self):
        self.pattern_image()
        needs("qemu-img")
        if " rbd" not in run("qemu-img", "--help").stdout.split("formats:")[-1]:
            raise unittest.SkipTest("qemu-img has no rbd (qemu-block-extra)")
        disk = self.url("theirs")
        run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", self.path("a.qcow2"), disk)
        self.same(disk)
        run(IMG, "convert", "-f", "raw", "-O", "qcow2", disk, self.url("ours"))
        run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", self.url("ours"), self.path("a.raw"))
        run("qemu-img", "check", self.url("ours"))

    def test_rbd_luks(self):
        """Encryption by the library: made by one, written by the other."""
        needs("qemu-io")
        with open(self.path("pass"), "w", encoding="utf-8") as f:
            f.write("a passphrase")
        secret = ["--object", f"secret,id=p,file={self.path('pass')}"]

        def crypt(image, fmt):
            return "json:" + json.dumps({"driver": "raw", "file": {
                "driver": "rbd", "pool": "disks", "image": image, "conf": self.conf,
                "encrypt": {"format": fmt, "key-secret": "p"}}})
        with rhea.Machine("-accel", "qtest", "-m", "16", "-object", secret[1]) as m:
            m.qmp("blockdev-create", job_id="j", options={
                "driver": "rbd", "size": 32 * MIB, "encrypt": {"format": "luks", "key-secret": "p"},
                "location": {"pool": "disks", "image": "mine", "conf": self.conf}})
            until("the job's end", 90, lambda: m.qmp("query-jobs")[0]["status"] == "concluded")
            self.assertNotIn("error", m.qmp("query-jobs")[0])
        run("qemu-io", *secret, "-c", "write -P 7 1M 1M", crypt("mine", "luks"))
        run(IO, *secret, "-c", "read -P 7 1M 1M", crypt("mine", "luks"))
        with open(self.path("pass"), "w", encoding="utf-8") as f:
            f.write("another one")
        r = run(IMG, "info", *secret, crypt("mine", "luks"), ok=False)
        self.assertIn("the key does not fit", r.stderr)

    def test_rbd_login(self):
        """cephx, by keyring and by secret; messages."""
        key = self.ceph("auth", "get-or-create-key", "client.joe", "mon", "profile rbd", "osd",
                        "profile rbd").stdout.strip()
        with open(self.path("key"), "w", encoding="utf-8") as f:
            f.write(key)
        with open(self.path("bare.conf"), "w", encoding="utf-8"):
            pass

        def options(**more):
            return "json:" + json.dumps({"driver": "raw", "file": {
                "driver": "rbd", "pool": "disks", "image": "one", "conf": self.path("bare.conf"),
                "server": [{"host": "127.0.0.1", "port": str(self.port)}], "user": "joe",
                "auth-client-required": ["cephx"], **{k.replace("_", "-"): v for k, v in more.items()}}})
        secret = ["--object", f"secret,id=k,file={self.path('key')},format=base64"]
        run(IMG, "info", self.url("one"))
        run(IMG, "info", *secret, options(key_secret="k"))

        def refused(message, *args):
            r = run(IMG, "info", *args, ok=False, timeout=60)
            self.assertEqual(r.returncode, 1, r.stderr)
            self.assertRegex(r.stderr, message)
            self.assertNotIn(key, r.stderr)
        refused("no connection to the cluster", options())
        refused("image 'none' cannot be opened: No such", self.url("none"))
        refused("pool 'none' cannot be opened", self.url("one").replace("disks/", "none/"))
        refused("expected rbd:pool", "rbd:disks")
        refused("no-such-option", self.url("one", ":no-such-option=1"))
        refused("'server' must be a list", options(server="here"))
        refused("cannot be read", "rbd:disks/one:conf=/nowhere")

    def test_rbd_lost(self):
        """A store that does not answer for longer than the message takes."""
        def after():
            time.sleep(10)
            self.go_on()
        out = self.lost_and_back(self.url("one"), self.stop, after)
        self.assertIn("does not answer", out)
        self.assertIn("answers again", out)

    def test_rbd_machine(self):
        self.dies_under_machine(self.url("one"), self.stop, self.go_on)


if __name__ == "__main__":
    rhea.main()
