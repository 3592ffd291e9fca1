#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""NBD in both directions with other programs: nbdinfo, nbdcopy, nbdkit, qemu-nbd, qemu-img; TLS;
clients that mean no good; a server that goes and comes back; images of a web server."""
import contextlib
import http.server
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import rhea

BUILD = os.environ.get("RHEA_BUILD", os.path.dirname(rhea.BINARY))
NBD, IMG, IO = (os.path.join(BUILD, "rhea-" + n) for n in ("nbd", "img", "io"))
MIB = 1 << 20


def run(*cmd, ok=True, **kw):
    r = subprocess.run([str(c) for c in cmd], capture_output=True, text=True, errors="replace", timeout=60,
                       stdin=subprocess.DEVNULL, **kw)
    if ok and r.returncode:
        raise AssertionError(f"{' '.join(map(str, cmd))}: {r.returncode}\n{r.stdout}{r.stderr}")
    return r


def needs(*programs):
    for p in programs:
        if not shutil.which(p):
            raise unittest.SkipTest(f"{p} is not installed")


class Server:
    """A server in the foreground that is killed in the end."""

    def __init__(self, sock, *cmd):
        self.p = subprocess.Popen([str(c) for c in cmd], stdin=subprocess.DEVNULL)
        for _ in range(200):
            if os.path.exists(sock):
                try:
                    s = socket.socket(socket.AF_UNIX)
                    s.connect(sock)
                    s.close()
                    return
                except OSError:
                    pass
            if self.p.poll() is not None:
                raise AssertionError(f"{cmd} has ended with {self.p.returncode}")
            time.sleep(0.02)
        raise AssertionError(f"{cmd} does not listen")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.terminate()
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
            raise


class FakeNbd:
    """Negotiates well; then says the same to every client, whatever it asks, and listens no more.
    None: reads requests and goes."""

    def __init__(self, path, answer):
        self.path, self.answer = path, answer
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(4)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            with s, contextlib.suppress(OSError, struct.error):
                self.talk(s)

    def talk(self, s):
        s.settimeout(20)
        s.sendall(struct.pack(">QQH", 0x4e42444d41474943, 0x49484156454f5054, 3))
        f = s.makefile("rb")
        f.read(4)
        while True:
            _, option, length = struct.unpack(">QII", f.read(16))
            f.read(length)
            reply = lambda kind, data=b"": s.sendall(struct.pack(
                ">QIII", 0x3e889045565a9, option, kind, len(data)) + data)
            if option == 7:
                reply(3, struct.pack(">HQH", 0, 64 << 20, 1))
                reply(1)
                break
            reply(1 if option == 8 else 0x80000001)
        if self.answer is None:
            f.read(28 * 5)
            return
        s.sendall(self.answer)
        s.shutdown(socket.SHUT_WR)
        while f.read(1 << 16):
            pass

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Nbd(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory(prefix="rhea-nbd-")
        self.addCleanup(self.tmp.cleanup)
        self.dir = self.tmp.name
        self.sock = self.path("sock")
        run(IMG, "create", "-q", "-f", "qcow2", self.path("a.qcow2"), "16M")
        run(IO, "-f", "qcow2", "-c", "write -P 17 0 3M", "-c", "write -P 99 9M 65536",
            self.path("a.qcow2"))
        with open(self.path("a.raw"), "wb") as f:
            f.write(b"\x11" * (3 * MIB) + b"\0" * (6 * MIB) + b"\x63" * 65536)
            f.truncate(16 * MIB)

    def path(self, name):
        return os.path.join(self.dir, name)

    def uri(self, export="", scheme="nbd+unix", more=""):
        return f"{scheme}:///{export}?socket={self.sock}{more}"

    def serve(self, *more, image="a.qcow2"):
        if os.path.exists(self.sock):
            os.unlink(self.sock)
        return Server(self.sock, NBD, "-k", self.sock, "-t", "-e", "0", *more, self.path(image))

    def test_serve_others(self):
        needs("nbdinfo", "nbdcopy", "qemu-img", "qemu-io")
        with self.serve("-f", "qcow2", "-x", "disk", "-D", "a disk", "-A"):
            out = run("nbdinfo", "--list", self.uri()).stdout
            self.assertIn('export="disk"', out)
            self.assertIn("a disk", out)
            self.assertIn("qemu:allocation-depth", out)
            out = run("nbdinfo", "--map", self.uri("disk")).stdout
            self.assertRegex(out, r"0 +3145728 +0 +data")
            self.assertRegex(out, r"3145728 +6291456 +3 +hole,zero")
            run("nbdcopy", self.uri("disk"), self.path("out.raw"))
            run("cmp", self.path("out.raw"), self.path("a.raw"))
            run("qemu-img", "compare", "-f", "raw", "-F", "raw", self.uri("disk"),
                self.path("a.raw"))
            r = run("nbdinfo", self.uri("nope"), ok=False)
            self.assertNotEqual(r.returncode, 0)
            run("qemu-io", "-f", "raw", "-c", "write -P 5 1M 100k", "-c", "write -z 2M 64k",
                "-c", "discard 0 64k", "-c", "flush", "-c", "read -P 5 1M 100k",
                "-c", "read -P 0 2M 64k", self.uri("disk"))
        run("qemu-img", "check", self.path("a.qcow2"))
        run(IO, "-f", "qcow2", "-c", "read -P 5 1M 100k", self.path("a.qcow2"))

    def test_read_only_and_window(self):
        needs("nbdinfo", "nbdcopy", "qemu-io")
        with self.serve("-r", "-o", str(MIB), "-f", "raw", image="a.raw"):
            out = run("nbdinfo", self.uri()).stdout
            self.assertIn("is_read_only: true", out)
            self.assertIn(str(15 * MIB), out)
            r = run("qemu-io", "-f", "raw", "-c", "write 0 512", self.uri(), ok=False)
            self.assertNotEqual(r.returncode, 0)
            run("nbdcopy", self.uri(), self.path("out.raw"))
        run("cmp", "-i", f"0:{MIB}", self.path("out.raw"), self.path("a.raw"))
        # --snapshot: written, read back, forgotten
        with self.serve("-s", "-f", "raw", image="a.raw"):
            run("qemu-io", "-f", "raw", "-c", "write -P 7 0 1M", "-c", "read -P 7 0 1M", self.uri())
        with open(self.path("a.raw"), "rb") as f:
            self.assertEqual(f.read(4), b"\x11" * 4)

    def test_ends_with_last_client(self):
        needs("nbdinfo")
        with Server(self.sock, NBD, "-k", self.sock, "-r", "-t", "-f", "raw", self.path("a.raw")):
            pass
        p = subprocess.Popen([NBD, "-k", self.sock, "-r", "-f", "raw", self.path("a.raw")])
        for _ in range(100):
            if os.path.exists(self.sock):
                break
            time.sleep(0.02)
        run("nbdinfo", self.uri())
        self.assertEqual(p.wait(10), 0)
        self.assertFalse(os.path.exists(self.sock))
        run(NBD, "--fork", "--pid-file", self.path("pid"), "-t", "-k", self.sock, "-r", "-f", "raw",
            self.path("a.raw"))
        run("nbdinfo", self.uri())
        os.kill(int(open(self.path("pid")).read()), 15)
        r = run(NBD, "--fork", "-k", self.sock, self.path("nothing"), ok=False)
        self.assertEqual(r.returncode, 1)
        self.assertIn("cannot open", r.stderr)

    def test_client(self):
        needs("qemu-nbd", "qemu-img")
        with Server(self.sock, "qemu-nbd", "-t", "-e", "5", "-k", self.sock, "-f", "qcow2",
                    "--discard=unmap", self.path("a.qcow2")):
            self.assertIn("identical", run(IMG, "compare", "-f", "raw", "-F", "raw", self.uri(),
                                           self.path("a.raw")).stdout)
            out = run(IMG, "map", "-f", "raw", "--output=json", self.uri()).stdout
            self.assertRegex(out, r'"start": 3145728, "length": 6291456, "depth": 0, '
                                  r'"present": \w+, "zero": true')
            run(IO, "-f", "raw", "-c", "write -P 5 1M 100k", "-c", "write -z 2M 64k",
                "-c", "discard 0 64k", "-c", "flush", "-c", "read -P 5 1M 100k",
                "-c", "read -P 0 2M 64k", self.uri())
            run(IMG, "convert", "-n", "-f", "raw", "-O", "raw", self.path("a.raw"), self.uri())
            self.assertIn("exports available: 1", run(NBD, "-L", "-k", self.sock).stdout)
        run("qemu-img", "compare", self.path("a.qcow2"), self.path("a.raw"))
        run("qemu-img", "check", self.path("a.qcow2"))

    def test_client_nbdkit(self):
        needs("nbdkit")
        with Server(self.sock, "nbdkit", "-f", "-U", self.sock, "file", self.path("a.raw")):
            run(IMG, "compare", "-f", "raw", "-F", "raw", self.uri(), self.path("a.raw"))
        os.unlink(self.sock) if os.path.exists(self.sock) else None
        # a server that fails now and then says so to the reader, and lives on
        with Server(self.sock, "nbdkit", "-f", "-U", self.sock, "--filter=error", "file",
                    self.path("a.raw"), "error-pread-rate=100%", "error=EIO"):
            r = run(IO, "-r", "-f", "raw", "-c", "read 0 512", self.uri(), ok=False)
            self.assertIn("Input/output error", r.stdout + r.stderr)

    def test_both_ours(self):
        with self.serve("-f", "qcow2", "-x", "disk"):
            run(IMG, "compare", "-f", "raw", "-F", "raw", self.uri("disk"), self.path("a.raw"))
            run(IO, "-f", "raw", "-c", "write -P 5 1M 100k", "-c", "flush",
                "-c", "read -P 5 1M 100k", self.uri("disk"))
            r = run(IMG, "info", self.uri("nope"), ok=False)
            self.assertIn("no such export", r.stderr)

    def test_tls(self):
        needs("psktool", "certtool", "nbdcopy")
        run("psktool", "-u", "qemu", "-p", self.path("keys.psk"))
        psk = f"tls-creds-psk,id=t,dir={self.dir},endpoint="
        with self.serve("-f", "qcow2", "--object", psk + "server", "--tls-creds", "t"):
            run("nbdcopy", f"nbds+unix://qemu@/?socket={self.sock}&tls-psk-file="
                + self.path("keys.psk"), self.path("out.raw"))
            run("cmp", self.path("out.raw"), self.path("a.raw"))
            r = run(IMG, "info", self.uri(), ok=False)
            self.assertIn("TLS", r.stderr)
            run(IMG, "compare", "--object", psk + "client", "--image-opts",
                f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={self.sock},"
                "file.tls-creds=t", "driver=raw,file.driver=file,file.filename="
                + self.path("a.raw"))
        self.certificates()
        x509 = f"tls-creds-x509,id=t,dir={self.dir},endpoint="
        with self.serve("-f", "qcow2", "--object", x509 + "server", "--tls-creds", "t"):
            client = ("driver=raw,file.driver=nbd,file.server.type=unix,file.server.path="
                      + self.sock + ",file.tls-creds=t,file.tls-hostname=")
            raw = "driver=raw,file.driver=file,file.filename=" + self.path("a.raw")
            run(IMG, "compare", "--object", x509 + "client", "--image-opts", client + "localhost",
                raw)
            r = run(IMG, "compare", "--object", x509 + "client", "--image-opts",
                    client + "elsewhere", raw, ok=False)
            self.assertIn("not accepted", r.stderr)

    def test_tls_authz(self):
        """Who may come in, by the name in the client's certificate or by the user of a key."""
        needs("psktool", "certtool")
        self.certificates()
        run("psktool", "-u", "qemu", "-p", self.path("keys.psk"))
        rules = self.path("rules.json")
        x509, psk = (f"tls-creds-{k},id=t,dir={self.dir},endpoint=" for k in ("x509", "psk"))

        def write(text):
            with open(rules + ".new", "w") as f:
                f.write(text)
            os.rename(rules + ".new", rules)

        def allowed(creds=x509):
            r = run(IMG, "info", "--object", creds + "client", "--image-opts",
                    "driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=" + self.sock
                    + ",file.tls-creds=t,file.tls-hostname=localhost", ok=False)
            return r.returncode == 0

        name = "CN=localhost"
        write('{"rules": [{"match": "CN=l*", "policy": "allow", "format": "glob"}]}')
        for authz, ok in ((f"authz-simple,id=z,identity={name}", True),
                          ("authz-simple,id=z,identity=CN=other", False),
                          ("authz-list,id=z", False), ("authz-list,id=z,policy=allow", True),
                          ("authz-list,id=z,policy=allow,rules.0.match=CN=lo*,rules.0.format=glob,"
                           "rules.0.policy=deny", False),
                          (f"authz-list,id=z,rules.0.match=x,rules.0.policy=deny,rules.1.match={name},"
                           "rules.1.policy=allow", True), (f"authz-list-file,id=z,filename={rules}", True)):
            with self.subTest(authz=authz), self.serve("-f", "qcow2", "--object", x509 + "server",
                                                       "--tls-creds", "t", "--object", authz,
                                                       "--tls-authz", "z"):
                self.assertEqual(ok, allowed())
                if "file" in authz:  # the file can change; a bad one changes nothing
                    write('{"rules": [], "policy": "deny"}')
                    self.assertFalse(allowed())
                    write('{"rules": 7}')
                    self.assertFalse(allowed())
                    write('{"rules": [], "policy": "allow"}')
                    self.assertTrue(allowed())
        for identity, ok in (("qemu", True), ("kemu", False)):
            with self.serve("-f", "qcow2", "--object", psk + "server", "--tls-creds", "t", "--object",
                            "authz-simple,id=z,identity=" + identity, "--tls-authz", "z"):
                self.assertEqual(ok, allowed(psk))
        image = self.path("a.qcow2")
        for args, text in ((("--tls-authz", "z"), "needs --tls-creds"),
                           (("--object", psk + "server", "--tls-creds", "t", "--tls-authz", "z"),
                            "No authorization object"),
                           (("--object", psk + "server", "--tls-creds", "t", "--tls-authz", "t"),
                            "does not say who"),
                           (("--object", "authz-simple,id=z"), "'identity' is missing"),
                           (("--object", "authz-list,id=z,rules.0.policy=allow"), "needs 'match'"),
                           (("--object", "authz-list,id=z,rules.1.match=x"), "numbered from 0"),
                           (("--object", "authz-list-file,id=z,filename=/nonexistent"), "cannot read")):
            with self.subTest(args=args):
                self.assertIn(text, run(NBD, "-k", self.sock, *args, image, ok=False).stderr)

    def test_kernel_device(self):
        """/dev/nbdX where this kernel has it (test_export.py has a guest's); else the errors that say so."""
        self.assertIn("is not a device of the kernel's NBD client",
                      run(NBD, "-d", self.path("a.raw"), ok=False).stderr)
        self.assertIn("is not a device of the kernel's NBD client",
                      run(NBD, "-c", self.path("a.raw"), self.path("a.qcow2"), ok=False).stderr)
        self.assertIn("excludes", run(NBD, "-c", "/dev/nbd0", "-k", "/x", self.path("a.qcow2"),
                                      ok=False).stderr)
        if not os.path.exists("/dev/nbd0"):
            for args in (("-c", "/dev/nbd0", self.path("a.qcow2")), ("-d", "/dev/nbd0")):
                r = run(NBD, *args, ok=False)
                self.assertEqual(1, r.returncode)
                self.assertIn("modprobe nbd", r.stderr)
            return
        run(NBD, "-c", "/dev/nbd0", "-f", "qcow2", self.path("a.qcow2"))
        self.addCleanup(run, NBD, "-d", "/dev/nbd0", ok=False)
        run("cmp", "/dev/nbd0", self.path("a.raw"))
        self.assertIn("somebody else serves it", run(NBD, "-v", "-c", "/dev/nbd0", self.path("a.raw"),
                                                     ok=False).stderr)
        with open("/dev/nbd0", "r+b") as f:
            f.write(b"x" * 4096)
        run(NBD, "-d", "/dev/nbd0")
        for _ in range(200):
            r = run(IO, "-f", "qcow2", "-c", "read -P 120 0 4096", self.path("a.qcow2"), ok=False)
            if r.returncode == 0:
                break
            time.sleep(0.05)
        self.assertNotIn("failed", r.stdout + r.stderr)

    def certificates(self):
        def write(name, text):
            with open(self.path(name), "w") as f:
                f.write(text)

        run("certtool", "--generate-privkey", "--key-type=ecdsa", "--outfile",
            self.path("ca-key.pem"))
        write("ca.tmpl", "cn = ca\nca\ncert_signing_key\n")
        run("certtool", "--generate-self-signed", "--load-privkey", self.path("ca-key.pem"),
            "--template", self.path("ca.tmpl"), "--outfile", self.path("ca-cert.pem"))
        for end in ("server", "client"):
            write("t", f"cn = localhost\ndns_name = localhost\ntls_www_{end}\nsigning_key\n"
                  "encryption_key\n")
            run("certtool", "--generate-privkey", "--key-type=ecdsa", "--outfile",
                self.path(f"{end}-key.pem"))
            run("certtool", "--generate-certificate", "--load-privkey",
                self.path(f"{end}-key.pem"), "--load-ca-certificate", self.path("ca-cert.pem"),
                "--load-ca-privkey", self.path("ca-key.pem"), "--template", self.path("t"),
                "--outfile", self.path(f"{end}-cert.pem"))

    def talk(self, *parts, export=True):
        """A client's bytes; what the server sent until it closed or stayed silent."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(2)
        s.connect(self.sock)
        s.recv(18)
        got = b""
        try:
            for p in parts:
                s.sendall(p)
            while True:
                more = s.recv(65536)
                if not more:
                    break
                got += more
        except OSError:
            pass
        s.close()
        return got

    def test_hostile(self):
        flags = struct.pack(">I", 3)

        def opt(n, data=b"", length=None):
            return struct.pack(">QII", 0x49484156454f5054, n, len(data) if length is None
                               else length) + data

        def req(t, off, length, f=0, magic=0x25609513):
            return struct.pack(">IHHQQI", magic, f, t, 7, off, length)

        go = opt(7, struct.pack(">I", 0) + struct.pack(">H", 0))
        with self.serve("-f", "qcow2", "--handshake-limit", "1"):
            for bad in ([], [b"\0\0\0\0"], [b"\xff" * 4], [flags, b"x" * 5000],
                        [flags, opt(7, length=0xffffffff)], [flags, opt(7, b"\xff" * 8)],
                        [flags, opt(7, b"")], [flags, opt(6, b"\0\0\0\5ab")],
                        [flags, opt(10, b"\0" * 8)], [flags, opt(8) * 300],
                        [flags, opt(8), opt(10, struct.pack(">II", 0, 0xffffffff))],
                        [flags, opt(99, b"z" * 4000)], [flags, opt(5)],
                        [flags, go, b"\0" * 28], [flags, go, req(1, 0, 0xffffffff)],
                        [flags, go, req(0, 0, 0xffffffff)], [flags, go, req(9, 0, 512)],
                        [flags, go, req(0, 1 << 63, 512)], [flags, go, req(1, 16 << 20, 512, 0)],
                        [flags, go, req(0, 0, 0)], [flags, go, req(7, 0, 512)],
                        [flags, go, req(0, 0, 512, 0xffff)],
                        [flags, go, req(0, 0, 32 << 20) * 200],  # and never reads
                        [flags, go, req(1, 0, 1 << 20), b"half"]):
                self.talk(*bad)
            run(IMG, "compare", "-f", "raw", "-F", "raw", self.uri(), self.path("a.raw"))
        run(IMG, "check", "-q", self.path("a.qcow2"))

    def test_client_many(self):
        """More requests at a time, and more pieces of one, than go into one call; short buffers."""
        with self.serve("-f", "raw", image="a.raw"):
            pieces = ["1536"] * 150
            run(IO, "-f", "raw", "-c", "writev -P 9 1M " + " ".join(pieces),
                "-c", "readv -P 9 1M " + " ".join(pieces), "-c", "read -P 17 0 1M",
                "-c", f"read -P 17 {MIB + 1536 * 150} 64k", self.uri())
            for size, depth in (("512", 200), ("64k", 100), ("4M", 20)):
                run(IMG, "bench", "-q", "-f", "raw", "-w", "--pattern", "77", "-s", size,
                    "-c", "400" if depth == 200 else "60", "-d", depth, self.uri())
            run(IO, "-f", "raw", "-c", "read -P 77 0 16M", self.uri())

    def test_client_hostile(self):
        """Servers that answer what nobody asked, or too early, or never wholly: an error, no more."""
        chunk = lambda flags, kind, cookie, data: struct.pack(
            ">IHHQI", 0x668e33ef, flags, kind, cookie, len(data)) + data
        for n, bad in enumerate((
                b"\0" * 20, b"\xff" * 64, struct.pack(">IIQ", 0x67446698, 0, 1),
                b"".join(chunk(1, 0, c, b"") for c in range(1, 100)),  # done, without the data
                b"".join(chunk(0, 1, c, struct.pack(">Q", 1 << 40) + b"x") for c in range(9)),
                chunk(1, 1, 99, bytes(9)), chunk(0, 1, 1, bytes(8)), chunk(0, 5, 1, bytes(12)),
                chunk(0, 2, 1, struct.pack(">QI", 0, 0xffffffff)), chunk(1, 0x8001, 1, b"\0" * 3),
                struct.pack(">IHHQI", 0x668e33ef, 0, 1, 1, 0xffffffff), None)):
            with FakeNbd(self.path(f"fake{n}"), bad) as sock:
                for more in ("-w", "-q"):
                    r = run(IMG, "bench", "-f", "raw", more, "-s", "64k", "-c", "200", "-d", "20",
                            "nbd+unix:///?socket=" + sock, ok=False)
                    self.assertEqual(r.returncode, 1, (n, r.stderr))

    def test_reconnect(self):
        opts = ("driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=" + self.sock +
                ",file.reconnect-delay=20")
        server = self.serve("-f", "raw", image="a.raw")
        p = subprocess.Popen([IO, "--image-opts", opts], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)

        def command(line):
            p.stdin.write(line + "\n")
            p.stdin.flush()

        command("write -P 3 0 64k")
        time.sleep(0.5)
        server.p.kill()
        server.p.wait()
        command("write -P 4 64k 64k")
        time.sleep(1)
        with self.serve("-f", "raw", image="a.raw"):
            command("read -P 3 0 64k")
            command("read -P 4 64k 64k")
            command("flush")
            out, _ = p.communicate(timeout=30)
        self.assertNotIn("error", out.lower())
        self.assertEqual(len(re.findall("read 65536/65536", out)), 2, out)

    def daemon(self, *more):
        qmp = self.path("qmp")
        d = Server(qmp, os.path.join(BUILD, "rhea-storage-daemon"), "--blockdev",
                   "driver=file,node-name=f,filename=" + self.path("a.qcow2"), "--blockdev",
                   "driver=qcow2,node-name=a,file=f", "--chardev",
                   f"socket,id=c,path={qmp},server=on,wait=off", "--monitor", "chardev=c", *more)
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20)
        s.connect(qmp)
        f, out = s.makefile("r"), s.makefile("w")  # one for both forgets what it has read ahead

        def command(name, /, **args):
            out.write(json.dumps({"execute": name, "arguments": args}) + "\n")
            out.flush()
            while True:
                r = json.loads(f.readline())
                if "event" in r:
                    self.events.append(r)
                elif "QMP" not in r:
                    return r.get("return", r.get("error"))

        self.events = []
        command("qmp_capabilities")
        return d, command, s

    def test_storage_daemon(self):
        d, command, s = self.daemon("--nbd-server", "addr.type=unix,addr.path=" + self.sock,
                                    "--export", "nbd,id=e,node-name=a,name=disk,writable=on")
        with d:
            run(IMG, "compare", "-f", "raw", "-F", "raw", self.uri("disk"), self.path("a.raw"))
            with open(self.path("copy.raw"), "wb") as f:
                f.truncate(16 * MIB)
            self.assertEqual({}, command("blockdev-add", **{
                "driver": "raw", "node-name": "t",
                "file": {"driver": "file", "filename": self.path("copy.raw")}}))
            self.assertEqual({}, command("blockdev-backup", **{
                "job-id": "b", "device": "a", "target": "t", "sync": "full"}))
            run(IO, "-f", "raw", "-c", "write -P 1 0 64k", self.uri("disk"))
            for _ in range(500):
                jobs = command("query-jobs")
                if not jobs and "BLOCK_JOB_COMPLETED" in [e["event"] for e in self.events]:
                    break
                time.sleep(0.02)
            self.assertEqual([], jobs)
            self.assertIn("BLOCK_JOB_COMPLETED", [e["event"] for e in self.events])
            self.assertIn("not been found", command("query-status")["desc"])
            self.assertEqual({}, command("blockdev-del", **{"node-name": "t"}))
            self.assertEqual({}, command("quit"))
            self.assertEqual(d.p.wait(10), 0)
        s.close()
        run("cmp", self.path("copy.raw"), self.path("a.raw"))
        r = run(os.path.join(BUILD, "rhea-storage-daemon"), "--export", "vduse-blk,id=x,node-name=a",
                ok=False)
        self.assertIn("no export type 'vduse-blk'", r.stderr)

    def test_kill(self):
        """kill -9 in the middle of writes, snapshots and commits: what was flushed is there."""
        for i in range(8):
            with self.subTest(i=i):
                self.kill_once(i)

    def dirty(self, command):
        for n in command("query-named-block-nodes"):
            if n["node-name"] == "a":
                return {b["name"]: b for b in n.get("dirty-bitmaps", [])}
        return {}

    def test_bitmap(self):
        """A persistent bitmap over an orderly end and over kill -9, where it may only say more."""
        serve = ("--nbd-server", "addr.type=unix,addr.path=" + self.sock,
                 "--export", "nbd,id=e,node-name=a,name=disk,writable=on")
        d, command, s = self.daemon(*serve)
        with d:
            r = command("block-dirty-bitmap-add", node="a", name="b0", persistent=True)
            self.assertEqual({}, r)
            run(IO, "-f", "raw", "-c", "write -P 1 1M 64k", "-c", "flush", self.uri("disk"))
            self.assertEqual(65536, self.dirty(command)["b0"]["count"])
            command("quit")
            d.p.wait(10)
        s.close()
        d, command, s = self.daemon(*serve[:-1], "nbd,id=e,node-name=a,name=disk,writable=on,bitmaps.0=b0")
        with d:
            if shutil.which("nbdinfo"):
                self.assertIn("qemu:dirty-bitmap:b0", run("nbdinfo", self.uri("disk")).stdout)
            self.assertIn("array", command("block-export-add", type="nbd", id="f",
                                                      bitmaps="b0", **{"node-name": "a"})["desc"])
            b = self.dirty(command)["b0"]
            self.assertEqual((65536, True), (b["count"], b["recording"]))
            run(IO, "-f", "raw", "-c", "write -P 2 5M 64k", "-c", "flush", self.uri("disk"))
            d.p.kill()
            d.p.wait()
        s.close()
        os.unlink(self.sock)
        os.unlink(self.path("qmp"))
        d, command, s = self.daemon()
        with d:
            b = self.dirty(command)["b0"]
            self.assertFalse(b.get("inconsistent", False))
            self.assertGreaterEqual(b["count"], 131072)
            command("quit")
            d.p.wait(10)
        s.close()
        r = run(IMG, "check", self.path("a.qcow2"), ok=False)
        self.assertIn(r.returncode, (0, 3), r.stdout + r.stderr)

    def kill_once(self, i):
        overlay = self.path("o.qcow2")
        run(IMG, "create", "-q", "-f", "qcow2", overlay, "16M")
        d, command, s = self.daemon("--nbd-server", "addr.type=unix,addr.path=" + self.sock,
                                    "--blockdev", "driver=file,node-name=of,filename=" + overlay,
                                    "--blockdev", '{"driver":"qcow2","node-name":"o","file":"of",'
                                    '"backing":null}',
                                    "--export", "nbd,id=e,node-name=a,name=disk,writable=on")
        with d:
            if i % 2:
                self.assertEqual({}, command("blockdev-snapshot", node="a", overlay="o"))
            run(IO, "-f", "raw", "-c", f"write -P {i + 1} 4M 1M", "-c", "flush", self.uri("disk"))
            p = subprocess.Popen([IO, "-f", "raw"] + sum(
                (["-c", f"write -P 200 {6 * 1024 + k * 60}k 60k"] for k in range(40)), []) +
                [self.uri("disk")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL)
            if i % 2:
                command("block-commit", **{"job-id": "c", "device": "o", "speed": 4000000})
            time.sleep(0.01 * i)
            d.p.kill()
            d.p.wait()
            p.wait(20)
        s.close()
        os.unlink(self.sock)
        os.unlink(self.path("qmp"))
        for name in ("a.qcow2", "o.qcow2"):
            r = run(IMG, "check", self.path(name), ok=False)
            self.assertIn(r.returncode, (0, 3), r.stdout + r.stderr)  # at most leaks
        image = "a.qcow2"
        if i % 2:
            run(IMG, "rebase", "-u", "-f", "qcow2", "-b", self.path("a.qcow2"), "-F", "qcow2",
                overlay)
            image = "o.qcow2"
        r = run(IO, "-r", "-f", "qcow2", "-c", f"read -P {i + 1} 4M 1M", self.path(image))
        self.assertNotIn("failed", r.stdout)

    def test_http(self):
        image = self.path("a.raw")

        class Handler(http.server.SimpleHTTPRequestHandler):
            ranges = True

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.send_response(200)
                self.send_header("Content-Length", str(os.path.getsize(image)))
                if self.ranges:
                    self.send_header("Accept-Ranges", "bytes")
                self.end_headers()

            def do_GET(self):
                first, last = re.match(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups()
                with open(image, "rb") as f:
                    f.seek(int(first))
                    data = f.read(int(last) - int(first) + 1)
                self.send_response(206)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{web.server_port}/a.raw"
        try:
            r = run(IMG, "compare", "-f", "raw", "-F", "raw", url, image, ok=False)
            if "cannot be loaded" in r.stderr:
                raise unittest.SkipTest("built without libcurl")
            self.assertEqual(r.returncode, 0, r.stderr)
            r = run(IO, "-f", "raw", "-c", "read 0 512", url, ok=False)
            self.assertIn("only be read", r.stderr + r.stdout)
            Handler.ranges = False
            r = run(IMG, "info", url, ok=False)
            self.assertIn("byte ranges", r.stderr)
        finally:
            web.shutdown()


if __name__ == "__main__":
    rhea.main()
