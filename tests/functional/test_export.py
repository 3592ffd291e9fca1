#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Exports of rhea-storage-daemon: vhost-user-blk with a front-end of ours and with stock QEMU, FUSE, their
threads and their ends."""
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import rhea
import vhost as v

BUILD = os.environ.get("RHEA_BUILD", os.path.dirname(rhea.BINARY))
IMG, IO, SD = (os.path.join(BUILD, "rhea-" + n) for n in ("img", "io", "storage-daemon"))
MIB = 1 << 20


def run(*cmd, ok=True):
    r = subprocess.run([str(c) for c in cmd], capture_output=True, text=True, timeout=120,
                       stdin=subprocess.DEVNULL, check=False)
    if ok and r.returncode:
        raise AssertionError(f"{' '.join(map(str, cmd))}: {r.returncode}\n{r.stdout}{r.stderr}")
    return r


class Daemon:
    """rhea-storage-daemon with QMP; `node` is a qcow2 image of 16 MiB."""

    def __init__(self, test, *more):
        self.qmp_path = test.path("qmp")
        self.log = open(test.path("log"), "w+", encoding="utf-8")
        self.p = subprocess.Popen(
            [SD, "--blockdev", "driver=file,node-name=file,filename=" + test.path("a.qcow2"),
             "--blockdev", "driver=qcow2,node-name=node,discard=unmap,file=file", "--chardev",
             f"socket,id=c,path={self.qmp_path},server=on,wait=off", "--monitor", "chardev=c",
             *more], stdin=subprocess.DEVNULL, stderr=self.log)
        self.events = []
        for _ in range(600):
            try:
                self.s = socket.socket(socket.AF_UNIX)
                self.s.connect(self.qmp_path)
                break
            except OSError:
                self.s.close()
                if self.p.poll() is not None:
                    raise AssertionError("the daemon has ended: " + self.text()) from None
                time.sleep(0.02)
        self.s.settimeout(60)
        self.r, self.w = self.s.makefile("r"), self.s.makefile("w")
        self.qmp("qmp_capabilities")

    def text(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def qmp(self, name, /, **arguments):
        """The answer's value, or the description of its error."""
        arguments = {k.replace("_", "-"): x for k, x in arguments.items()}
        self.w.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.w.flush()
        while True:
            m = json.loads(self.r.readline())
            if "event" in m:
                self.events.append(m)
            elif "QMP" not in m:
                return m["return"] if "return" in m else m["error"]["desc"]

    def event(self, name):
        while True:
            for e in self.events:
                if e["event"] == name:
                    self.events.remove(e)
                    return e["data"]
            self.events.append(json.loads(self.r.readline()))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            sys.stderr.write(self.text())
        self.r.close()
        self.w.close()
        self.s.close()
        self.p.terminate()
        try:
            code = self.p.wait(60)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
            raise
        if kind is None and code not in (0, -15):
            raise AssertionError(f"the daemon ended with {code}: {self.text()}")
        self.log.close()


class Export(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory(prefix="rhea-export-")
        self.addCleanup(self.tmp.cleanup)
        run(IMG, "create", "-q", "-f", "qcow2", self.path("a.qcow2"), "16M")
        self.sock = self.path("vhost")

    def path(self, name):
        return os.path.join(self.tmp.name, name)

    def vhost(self, *more, options="writable=on"):
        return Daemon(self, *more, "--export", "vhost-user-blk,id=e,node-name=node,addr.type=unix,"
                      f"addr.path={self.sock}" + ("," + options if options else ""))

    def io(self, command):
        out = run(IO, "-f", "qcow2", "-c", command, self.path("a.qcow2"))
        self.assertNotIn("verification failed", out.stdout + out.stderr)

    # ---- vhost-user-blk ----

    def test_vhost_requests(self):
        with self.vhost() as d:
            c = v.Client(self.sock).start()
            r = c.rings[0]
            capacity, = struct.unpack_from("<Q", c.config())
            self.assertEqual(capacity, 16 * MIB // 512)
            data = bytes(range(256)) * 16
            self.assertEqual(r.request(v.OUT, 8, data), (0, b""))
            self.assertEqual(r.request(v.IN, 8, read=4096), (0, data))
            self.assertEqual(r.request(v.IN, 9, read=512), (0, data[512:1024]))
            self.assertEqual(r.request(v.FLUSH, 0)[0], 0)
            self.assertEqual(r.request(v.GET_ID, 0, read=20), (0, b"vhost_user_blk".ljust(20, b"\0")))
            seg = struct.pack("<QII", 8, 4, 0)
            self.assertEqual(r.request(v.ZEROES, 0, seg)[0], 0)
            self.assertEqual(r.request(v.IN, 8, read=4096), (0, bytes(2048) + data[2048:]))
            self.assertEqual(r.request(v.DISCARD, 0, struct.pack("<QII", 0, 128, 0))[0], 0)
            # Beyond the end, odd lengths, unknown types and flags
            last = 16 * MIB // 512
            for kind, sector, out, read, status in (
                    (v.IN, last, b"", 512, 1), (v.OUT, last - 1, bytes(1024), 0, 1),
                    (v.IN, 1 << 63, b"", 512, 1), (v.IN, (1 << 64) - 1, b"", 512, 1),
                    (v.IN, 0, b"", 100, 1), (99, 0, b"", 512, 2), (v.DISCARD, 0, b"x" * 5, 0, 2),
                    (v.DISCARD, 0, struct.pack("<QII", last, 1, 0), 0, 1),
                    (v.ZEROES, 0, struct.pack("<QII", 1 << 62, 1 << 22, 0), 0, 1),
                    (v.DISCARD, 0, struct.pack("<QII", 0, 1, 1), 0, 2)):
                with self.subTest(kind=kind, sector=sector):
                    self.assertEqual(r.request(kind, sector, out, read)[0], status)
            # Many at once, then a stop that says how far it came
            for k in range(16):
                r.setup_request(v.OUT, 64 + k, bytes([k + 1]) * 512, head=3 * k, at=0x60000 + k * 1024)
                r.offer(3 * k)
            r.ring()
            self.assertEqual({r.wait_used()[0] for _ in range(16)}, {3 * k for k in range(16)})
            self.assertEqual(c.stop(r), r.idx)
            self.assertIn("still in use", d.qmp("block-export-del", id="e"))
            self.assertEqual([{"id": "e", "type": "vhost-user-blk", "node-name": "node",
                               "shutting-down": False}], d.qmp("query-block-exports"))
            self.assertEqual({}, d.qmp("block-export-del", id="e", mode="hard"))
            self.assertEqual({"id": "e"}, d.event("BLOCK_EXPORT_DELETED"))
            self.assertFalse(os.path.exists(self.sock))
            self.assertEqual({}, d.qmp("blockdev-del", node_name="node"))
        for k in range(16):
            self.io(f"read -P {k + 1} {(64 + k) * 512} 512")

    def test_vhost_queues(self):
        """Several queues in an iothread, without event indices and with indirect descriptors."""
        with self.vhost("--object", "iothread,id=io", options="writable=on,num-queues=3,"
                        "logical-block-size=4096,iothread=io,fixed-iothread=on") as d:
            feats = 1 << 32 | 1 << 30 | 1 << v.INDIRECT | 0x7e44
            c = v.Client(self.sock, 3, features=feats)
            self.assertTrue(c.agree() & 1 << 12)
            c.share()
            for r in c.rings:
                r.start()
            self.assertEqual(c.u64(v.QUEUE_NUM), 3)
            self.assertEqual(struct.unpack_from("<H", c.config(), 34)[0], 3)
            self.assertEqual(struct.unpack_from("<I", c.config(), 20)[0], 4096)
            for i, r in enumerate(c.rings):
                self.assertEqual(r.request(v.OUT, 8 * i, bytes([i + 1]) * 4096)[0], 0)
                self.assertEqual(r.request(v.IN, 8 * i + 1, read=512)[0], 1)
            r = c.rings[1]
            at = r.setup_request(v.IN, 0, read=4096, head=8)
            table = c.get(r.desc + 16 * 8, 48)
            for k, nxt in ((0, 1), (1, 2)):
                table = table[:16 * k + 14] + struct.pack("<H", nxt) + table[16 * k + 16:]
            c.put(0x8000, table)
            r.put_desc(0, v.GPA + 0x8000, 48, 4, 0)
            r.offer(0)
            r.ring()
            self.assertEqual(r.wait_used(), (0, 4097))
            self.assertEqual(c.get(at, 4096), b"\x01" * 4096)
            # The configuration's write cache can be switched; other fields cannot be written.
            self.assertTrue(c.acked(v.SET_CONFIG, struct.pack("<III", 32, 1, 0) + b"\0"))
            self.assertEqual(c.config()[32], 0)
            self.assertFalse(c.acked(v.SET_CONFIG, struct.pack("<III", 0, 8, 0) + bytes(8)))
            # Memory in slots
            self.assertEqual(c.u64(v.GET_SLOTS), 32)
            more = os.memfd_create("more")
            os.ftruncate(more, 8192)
            slot = struct.pack("<QQQQQ", 0, 1 << 40, 4096, 1 << 41, 4096)
            self.assertTrue(c.acked(v.ADD_REG, slot, [more]))
            self.assertFalse(c.acked(v.ADD_REG, slot, [more]))
            r.chain([(v.GPA + at - 32, 16, False), (1 << 40, 4096, True), (v.GPA + at - 16, 1, True)])
            r.offer(0)
            r.ring()
            r.wait_used()
            self.assertEqual(os.pread(more, 4096, 4096), b"\x01" * 4096)
            self.assertTrue(c.acked(v.REM_REG, slot))
            self.assertFalse(c.acked(v.REM_REG, slot))
            self.assertIn("in use", d.qmp("object-del", id="io"))
            # A disk that changes its size tells the front-end.
            ours, theirs = socket.socketpair()
            c.send(v.BACK_FD, fds=[theirs.fileno()])
            self.assertEqual(c.u64(v.QUEUE_NUM), 3)
            self.assertEqual({}, d.qmp("block_resize", node_name="node", size=24 * MIB))
            self.assertEqual(ours.recv(100), struct.pack("<III", 2, 1, 0))
            self.assertEqual(struct.unpack_from("<Q", c.config())[0], 24 * MIB // 512)
            self.assertEqual({}, d.qmp("block-export-del", id="e", mode="hard"))
            d.event("BLOCK_EXPORT_DELETED")
            self.assertEqual({}, d.qmp("object-del", id="io"))

    def test_vhost_reconnect(self):
        """Who comes back finds the disk; what was under way before is done again, in its order."""
        with self.vhost() as d:
            c = v.Client(self.sock)
            c.agree()
            c.share()
            want = struct.pack("<QQHH", 0, 0, 1, v.RING)
            answer, fds = c.ask(v.GET_INFLIGHT, want)
            self.assertTrue(c.acked(v.SET_INFLIGHT, answer, fds))
            r = c.rings[0]
            r.start()
            self.assertEqual(r.request(v.OUT, 0, b"a" * 512)[0], 0)
            c.close()
            # As if the daemon had died with two writes to the same sector begun
            record = v.mmap.mmap(fds[0], struct.unpack_from("<Q", answer)[0])
            self.assertEqual(struct.unpack_from("<HHHH", record, 8)[:2], (1, v.RING))
            r.setup_request(v.OUT, 1, b"2" * 512, head=8, at=0x60000)
            r.setup_request(v.OUT, 1, b"1" * 512, head=4, at=0x62000)
            record[16 + 16 * 8:32 + 16 * 8] = struct.pack("<B7xQ", 1, 11)
            record[16 + 16 * 4:32 + 16 * 4] = struct.pack("<B7xQ", 1, 10)
            r.offer(8)
            r.offer(4)
            c2 = v.Client(self.sock, memory=c.memory)
            c2.rings, r.c = [r], c2
            c2.agree()
            c2.share()
            self.assertTrue(c2.acked(v.SET_INFLIGHT, answer, fds))
            r.start(base=1)
            self.assertEqual(sorted(r.wait_used()[0] for _ in range(2)), [4, 8])
            self.assertEqual(record[16 + 16 * 8], 0)
            self.assertEqual(r.request(v.IN, 1, read=512)[0], 0)
            # A record that is none
            c3 = os.memfd_create("bad", os.MFD_ALLOW_SEALING)
            self.assertFalse(c2.acked(v.SET_INFLIGHT, answer, [c3]))
            os.ftruncate(c3, 1 << 20)
            self.assertFalse(c2.acked(v.SET_INFLIGHT, answer, [c3]))
            c2.close()
            for _ in range(20):
                c = v.Client(self.sock).start()
                self.assertEqual(c.rings[0].request(v.IN, 0, read=512), (0, b"a" * 512))
                c.close()
            self.assertIsNone(d.p.poll())

    def test_vhost_log(self):
        """What is written to the guest's memory during a migration is marked, page by page."""
        with self.vhost():
            c = v.Client(self.sock).start()
            r = c.rings[0]
            self.assertEqual(r.request(v.OUT, 0, b"m" * 8192)[0], 0)
            log = os.memfd_create("log")
            os.ftruncate(log, 8192)

            def pages(wanted=()):
                """What is marked since the last time; marks come after the completion."""
                for _ in range(500):
                    bits = os.pread(log, 4096, 4096)
                    found = {n for n in range(4096 * 8) if bits[n // 8] >> n % 8 & 1}
                    if found >= set(wanted):
                        break
                    time.sleep(0.01)
                os.pwrite(log, bytes(4096), 4096)
                return found

            answer, _ = c.ask(v.SET_LOG_BASE, struct.pack("<QQ", 4096, 4096), [log])
            self.assertEqual(bytes(8), answer)
            self.assertEqual(r.request(v.IN, 0, read=8192), (0, b"m" * 8192))
            self.assertEqual(set(), pages())
            c.send(v.SET_FEATURES, struct.pack("<Q", c.features | 1 << v.LOG_ALL))
            c.send(v.SET_ADDR, struct.pack("<IIQQQQ", 0, 1, v.UVA + r.desc, v.UVA + r.used,
                                           v.UVA + r.avail, v.GPA + r.used))
            self.assertEqual(r.request(v.IN, 0, read=8192), (0, b"m" * 8192))
            first = (v.GPA + 0x40000) // 4096  # its status lies in the page before
            wanted = {first - 1, first, first + 1, (v.GPA + r.used) // 4096}
            self.assertEqual(wanted, pages(wanted))
            self.assertEqual(r.request(v.OUT, 0, b"n" * 4096)[0], 0)
            wanted = {first - 1, (v.GPA + r.used) // 4096}
            self.assertEqual(wanted, pages(wanted))
            os.ftruncate(log, 0)  # whose file is cut, has none
            self.assertEqual(r.request(v.IN, 0, read=4096), (0, b"n" * 4096))
            c.send(v.SET_FEATURES, struct.pack("<Q", c.features))
            self.assertEqual(r.request(v.IN, 0, read=512)[0], 0)

    def broken(self, name, fn):
        """`fn` breaks the ring or the connection; whoever comes next is served."""
        with self.subTest(name=name):
            c = v.Client(self.sock)
            try:
                fn(c)
                r, _, _ = select.select([c.s, c.rings[0].err], [], [], 20)
                self.assertTrue(r, "neither the connection nor the ring is broken")
            except (EOFError, ConnectionError):
                pass
            c.close()
            c = v.Client(self.sock).start()
            self.assertEqual(c.rings[0].request(v.IN, 0, read=512)[0], 0)
            c.close()

    def test_vhost_hostile(self):
        good = struct.pack("<QIHH", v.GPA + 0x40000, 16, 0, 0)

        def message(*args, **kw):
            return lambda c: (c.agree(), c.send(*args, **kw))

        def chain(*descs, indirect=b""):
            def fn(c):
                c.start()
                r = c.rings[0]
                c.put(0x8000, indirect)
                for n, x in enumerate(descs):
                    r.put_desc(n, *x)
                r.offer(0)
                r.ring()
            return fn

        def memory(regions, fds=None):
            def fn(c):
                c.agree()
                files = [os.memfd_create("x") for _ in regions] if fds is None else fds
                for f in files:
                    os.ftruncate(f, 65536)
                c.send(v.SET_MEM_TABLE, struct.pack("<II", len(regions), 0) +
                       b"".join(struct.pack("<QQQQ", *x) for x in regions), files)
            return fn

        def index(c):
            c.start()
            c.put(c.rings[0].avail + 2, struct.pack("<H", 5000))
            c.rings[0].ring()

        def head(c):
            c.start()
            c.rings[0].offer(v.RING)
            c.rings[0].ring()

        def cut(c):
            c.start()
            c.rings[0].request(v.IN, 0, read=512)
            del c.m
            os.ftruncate(c.memory, 0)
            c.rings[0].ring()

        def record(late):
            def fn(c):
                """A record for fewer requests than the ring has, or one that comes while it runs."""
                c.agree()
                c.share()
                if late:
                    c.rings[0].start()
                    c.rings[0].request(v.IN, 0, read=512)
                answer, fds = c.ask(v.GET_INFLIGHT, struct.pack("<QQHH", 0, 0, 1, 4))
                c.send(v.SET_INFLIGHT, answer, fds)
                c.rings[0].start()
                c.rings[0].offer(0)
                c.rings[0].ring()
            return fn

        def fd_kind(request, fd):
            return lambda c: (c.agree(), c.share(), c.send(request, struct.pack("<Q", 0), [fd]))

        def addr(desc=0, used=0, avail=0):
            def fn(c):
                c.agree()
                c.share()
                c.send(v.SET_NUM, struct.pack("<II", 0, v.RING))
                c.send(v.SET_ADDR, struct.pack("<IIQQQQ", 0, 0, v.UVA + desc, v.UVA + used,
                                               v.UVA + avail, 0))
            return fn

        g, full = v.GPA, 65536
        pipe = os.pipe()
        cases = {
            "size": message(v.GET_FEATURES, size=1 << 31),
            "version": message(v.GET_FEATURES, flags=2),
            "unknown": message(200),
            "answerless": message(0),
            "no payload": message(v.SET_FEATURES),
            "features": message(v.SET_FEATURES, struct.pack("<Q", 1 << 63)),
            "log short": message(v.SET_LOG_BASE, struct.pack("<QQ", 1 << 20, 0), [os.memfd_create("log")]),
            "log wraps": message(v.SET_LOG_BASE, struct.pack("<QQ", 4096, (1 << 64) - 1), [os.memfd_create("l")]),
            "log none": message(v.SET_LOG_BASE, struct.pack("<QQ", 4096, 0)),
            "ring": message(v.SET_NUM, struct.pack("<II", 1, 64)),
            "num 0": message(v.SET_NUM, struct.pack("<II", 0, 0)),
            "num 3": message(v.SET_NUM, struct.pack("<II", 0, 3)),
            "num 32768": message(v.SET_NUM, struct.pack("<II", 0, 32768)),
            "base": message(v.SET_BASE, struct.pack("<II", 0, 1 << 16)),
            "kick index": message(v.SET_KICK, struct.pack("<Q", 77), [os.eventfd(0)]),
            "kick poll": message(v.SET_KICK, struct.pack("<Q", 0x100)),
            "kick pipe": fd_kind(v.SET_KICK, pipe[0]),
            "call file": fd_kind(v.SET_CALL, os.memfd_create("no")),
            "call nothing": message(v.SET_CALL, struct.pack("<Q", 0)),
            "inflight": message(v.GET_INFLIGHT, struct.pack("<QQHH", 0, 0, 9, 64)),
            "inflight size": message(v.GET_INFLIGHT, struct.pack("<QQHH", 0, 0, 1, 65535)),
            "regions": message(v.SET_MEM_TABLE, struct.pack("<II", 9, 0) + bytes(32 * 9)),
            "regions short": message(v.SET_MEM_TABLE, struct.pack("<II", 1, 0)),
            "regions fds": memory([(0, full, 0, 0)] * 2, [os.memfd_create("x")]),
            "overlap": memory([(0, full, 0, 0), (4096, full, 1 << 40, 0)]),
            "overlap front": memory([(0, full, 0, 0), (1 << 40, full, 4096, 0)]),
            "beyond": memory([(0, full + 1, 0, 0)]),
            "offset": memory([(0, 4096, 0, full)]),
            "wraps": memory([(0, full, 0, (1 << 64) - 4096)]),
            "wraps guest": memory([((1 << 64) - 4096, full, 0, 0)]),
            "empty": memory([(0, 0, 0, 0)]),
            "addr desc": addr(desc=1 << 20),
            "addr used": addr(used=(1 << 20) - 100),
            "addr odd": addr(avail=1),
            "addr wraps": addr(avail=(1 << 64) - v.UVA - 2),
            "index": index,
            "memory cut": cut,
            "small record": record(False),
            "late record": record(True),
            "head": head,
            "loop": chain((g, 16, 1, 1), (g, 16, 1, 0)),
            "next": chain((g, 16, 1, 999)),
            "outside": chain((g + v.MEM - 8, 16, 1, 1), (g, 1, 2, 0)),
            "far": chain(((1 << 64) - 8, 16, 1, 1), (g, 1, 2, 0)),
            "zero length": chain((g, 0, 1, 1), (g, 1, 2, 0)),
            "order": chain((g, 1, 3, 1), (g, 16, 0, 0)),
            "no status": chain((g, 16, 0, 0)),
            "no header": chain((g, 3, 1, 1), (g, 1, 2, 0)),
            "indirect odd": chain((g + 0x8000, 17, 4, 0)),
            "indirect next": chain((g + 0x8000, 16, 5, 1), indirect=good),
            "indirect nested": chain((g + 0x8000, 16, 4, 0),
                                     indirect=struct.pack("<QIHH", g + 0x8000, 16, 4, 0)),
            "indirect far": chain((1 << 50, 16, 4, 0)),
            "indirect huge": chain((g, 0xfffffff0, 4, 0)),
        }
        with self.vhost() as d:
            for name, fn in cases.items():
                self.broken(name, fn)
            # Garbage, and silence in the middle of a message
            for junk in (os.urandom(4096), b"\1\0\0\0", struct.pack("<III", 5, 1, 200) + b"abc"):
                s = socket.socket(socket.AF_UNIX)
                s.connect(self.sock)
                s.send(junk)
                s.close()
            c = v.Client(self.sock).start()
            self.assertEqual(c.rings[0].request(v.IN, 0, read=512)[0], 0)
            self.assertIsNone(d.p.poll())
            fds = len(os.listdir(f"/proc/{d.p.pid}/fd"))
            self.assertLess(fds, 40, "descriptors are not closed")

    def test_vhost_options(self):
        with self.vhost(options="") as d:
            c = v.Client(self.sock).start()
            self.assertTrue(c.features & 1 << 5)
            self.assertEqual(c.rings[0].request(v.OUT, 0, bytes(512))[0], 1)
            self.assertEqual(c.rings[0].request(v.IN, 0, read=512)[0], 0)
            add = {"type": "vhost-user-blk", "id": "f", "node_name": "node",
                   "addr": {"type": "unix", "path": self.path("g")}}
            for change, text in (
                    ({"id": "e"}, "already in use"), ({"node_name": "x"}, "Cannot find"),
                    ({"addr": {"type": "inet", "host": "localhost", "port": "1"}}, "unix or fd"),
                    ({"logical_block_size": 777}, "power of two"), ({"num_queues": 0}, "num-queues"),
                    ({"num_queues": 1000}, "num-queues"), ({"iothread": "x"}, '"x" not found'),
                    ({"iothread": ["a", "b"]}, "one thread"), ({"nonsense": 1}, "nonsense"),
                    ({"addr": {"type": "unix", "path": "/nonexistent/x"}}, "/nonexistent/x")):
                with self.subTest(change=change):
                    self.assertIn(text, str(d.qmp("block-export-add", **{**add, **change})))
            self.assertEqual(1, len(d.qmp("query-block-exports")))
            # A node that serves stays in its thread, unless that would not matter.
            self.assertEqual({}, d.qmp("object-add", qom_type="iothread", id="io"))
            self.assertIn("another I/O thread", d.qmp("block-export-add", **add, iothread="io",
                                                      fixed_iothread=True))
            self.assertEqual({}, d.qmp("block-export-add", **add, iothread=["io"]))
            self.assertEqual({}, d.qmp("object-del", id="io"))
            self.assertEqual({}, d.qmp("block-export-del", id="f"))

    def stock_guest(self, more=""):
        """A Linux guest of stock QEMU with the export as its disk /dev/vda."""
        qemu = shutil.which("qemu-system-x86_64")
        rhea.skip_unless(qemu, "qemu-system-x86_64 is not installed")
        kernel, initramfs = rhea.linux_guest()
        return rhea.Machine(
            "-machine", "q35,memory-backend=m", "-object", "memory-backend-memfd,id=m,size=256M,share=on",
            "-m", "256", "-smp", "2", "-chardev", f"socket,id=v,path={self.sock}{more}", "-device",
            "vhost-user-blk-pci,chardev=v,num-queues=2", "-kernel", str(kernel), "-initrd", str(initramfs),
            "-append", "console=ttyS0 panic=-1", "-no-reboot", binary=qemu)

    def test_vhost_stock_qemu(self):
        """It writes, discards, flushes, and finds everything after a restart of both."""
        for turn, script in enumerate((
                "i=0; while [ $i -lt 64 ]; do echo line $i; i=$((i+1)); done > /tmp/x; "
                "dd if=/tmp/x of=/dev/vda bs=512 seek=100 conv=fsync && "
                "dd if=/dev/urandom of=/dev/vda bs=64k count=64 seek=64 conv=fsync && "
                "dd if=/dev/vda bs=64k count=64 skip=64 | md5sum; sync",
                "dd if=/dev/vda bs=64k count=64 skip=64 | md5sum; "
                "dd if=/dev/vda bs=512 skip=100 count=2 | head -n 3")):
            with self.vhost(options="writable=on,num-queues=2") as d:
                with self.stock_guest() as m:
                    m.expect("RHEA-READY", 400)
                    out = m.command(script, 200)
                    if turn == 0:
                        digest = [x for x in out.split() if len(x) == 32][0]
                    else:
                        self.assertIn(digest, out)
                        self.assertIn("line 2", out)
                self.assertIsNone(d.p.poll())
        run(IMG, "check", self.path("a.qcow2"))

    def test_vhost_stock_kill(self):
        """kill -9 of the daemon under the guest's writes: QEMU comes back, the guest sees nothing."""
        def daemon():
            for path in (self.sock, self.path("qmp")):
                if os.path.exists(path):
                    os.unlink(path)
            return self.vhost(options="writable=on,num-queues=2")

        d = daemon()
        try:
            with self.stock_guest(",reconnect=1") as m:
                m.expect("RHEA-READY", 400)
                m.send("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do dd if=/dev/urandom of=/tmp/r bs=64k count=16; "
                       "dd if=/tmp/r of=/dev/vda bs=4k seek=$((i*256)) conv=fsync || echo B\\AD; "
                       "md5sum </tmp/r >/tmp/a; sync; echo 3 >/proc/sys/vm/drop_caches; "
                       "dd if=/dev/vda bs=4k skip=$((i*256)) count=256 | md5sum | cmp - /tmp/a && echo G\\OOD; "
                       "done 2>/dev/null; echo E\\ND\n")
                for k in range(4):
                    m.expect(f"(GOOD[^G]*){{{2 * k + 1}}}", 200)
                    time.sleep(0.05 * k)
                    d.p.kill()
                    d.p.wait()
                    time.sleep(0.5)
                    d = daemon()
                m.expect("END", 300)
                text = m.text()
                self.assertNotIn("BAD", text)
                self.assertEqual(12, text.count("GOOD"), text[-2000:])
            d.qmp("quit")
            self.assertEqual(0, d.p.wait(60))
        finally:
            d.p.kill()
            d.p.wait()
        r = run(IMG, "check", self.path("a.qcow2"), ok=False)
        self.assertIn(r.returncode, (0, 3), r.stdout + r.stderr)

    # ---- in a machine ----

    def test_machine(self):
        """Exports on a machine's own loops, while its guest's disk lives there too."""
        mnt = self.path("mnt")
        open(mnt, "wb").close()
        with rhea.Machine(
                "-machine", "q35", "-accel", "qtest", "-m", "64", "-object", "iothread,id=io", "-blockdev",
                "driver=file,node-name=file,filename=" + self.path("a.qcow2"), "-blockdev",
                "driver=qcow2,node-name=node,file=file", "-device",
                "virtio-blk-pci,drive=node,share-rw=on", "-blockdev",
                "driver=null-co,node-name=null,size=16M", serial=False) as m:
            for x in ({"type": "vhost-user-blk", "id": "v", "writable": True,
                       "addr": {"type": "unix", "path": self.sock}, "node-name": "node"},
                      {"type": "vhost-user-blk", "id": "w", "iothread": "io", "node-name": "null",
                       "addr": {"type": "unix", "path": self.path("w")}}):
                m.qmp("block-export-add", **x)
            c, w = v.Client(self.sock).start(), v.Client(self.path("w")).start()
            self.assertEqual(c.rings[0].request(v.OUT, 2048, b"v" * 512)[0], 0)
            self.assertEqual(w.rings[0].request(v.IN, 0, read=512)[0], 0)
            if os.path.exists("/dev/fuse"):
                m.qmp("block-export-add", **{"type": "fuse", "id": "f", "node-name": "node", "mountpoint": mnt,
                                             "writable": True})
                with open(mnt, "r+b", buffering=0) as f:
                    f.seek(MIB)
                    self.assertEqual(b"v" * 512, f.read(512))
                    f.seek(0)
                    f.write(b"f" * 512)
                    f.truncate(20 * MIB)
                self.assertEqual(c.rings[0].request(v.IN, 0, read=512), (0, b"f" * 512))
            self.assertEqual(len(m.qmp("query-block-exports")), 3 if os.path.exists("/dev/fuse") else 2)
            m.qmp("block_resize", **{"node-name": "node", "size": 24 * MIB})
            self.assertEqual(struct.unpack_from("<Q", c.config())[0], 24 * MIB // 512)
            m.qmp("block-export-del", id="w", mode="hard")
            m.qmp("quit")  # with exports in use
            self.assertEqual(0, m.wait(60))
        self.assertNotIn(mnt, open("/proc/mounts", encoding="utf-8").read())
        self.io(f"read -P 118 {MIB} 512")
        run(IMG, "check", self.path("a.qcow2"))

    # ---- with a kernel's own clients, in a guest of ours ----

    def tools_guest(self):
        """A machine with the tools, what they link, and the modules nbd and fuse in /x."""
        kernel, _ = rhea.linux_guest()
        extra = self.path("extra")
        os.makedirs(extra + "/x")
        for tool in (os.path.join(BUILD, "rhea-nbd"), IMG, IO, SD):
            shutil.copy(tool, extra + "/x")
            for word in run("ldd", tool).stdout.split():
                if word.startswith("/"):
                    os.makedirs(extra + os.path.dirname(word), exist_ok=True)
                    shutil.copy(word, extra + word)
        for module in ("drivers/block/nbd", "fs/fuse/fuse"):
            found = kernel.parent / "modules" / "kernel" / (module + ".ko")
            rhea.skip_unless(found.exists(), f"the guest's kernel has no {module}.ko")
            shutil.copy(found, extra + "/x")
        _, initramfs = rhea.linux_guest(extra, f"export-{os.getpid()}")
        self.addCleanup(initramfs.unlink)
        return rhea.Machine("-machine", "q35", "-m", "512", "-kernel", str(kernel), "-initrd",
                            str(initramfs), "-append", "console=ttyS0 panic=-1", "-no-reboot")

    def test_guest_kernel(self):
        with self.tools_guest() as m:
            m.expect("RHEA-READY", 400)

            def sh(script, said="", lacks="rror"):
                out = m.command("(" + script + ") 2>&1; echo status=$?", 200)
                self.assertIn("status=0", out)
                self.assertIn(said, out)
                self.assertNotIn(lacks, out)

            sh("export PATH=/x:/bin; insmod /x/nbd.ko; insmod /x/fuse.ko; cd /tmp; "
               "rhea-img create -q -f qcow2 a 16M; rhea-img create -q -f raw b 1M; "
               "dd if=/dev/urandom of=r bs=64k count=16 2>/dev/null; touch mnt")
            m.command("export PATH=/x:/bin; cd /tmp")
            # The kernel's NBD client
            sh("rhea-nbd -c /dev/nbd0 -f qcow2 a && cat /sys/block/nbd0/size", "32768")
            sh("dd if=r of=/dev/nbd0 bs=64k seek=3 conv=fsync && echo 3 >/proc/sys/vm/drop_caches && "
               "dd if=/dev/nbd0 bs=64k skip=3 count=16 | cmp - r", "16+0 records")
            sh("! rhea-nbd -c /dev/nbd0 -f raw b", "somebody else serves it", "\0")
            sh("rhea-nbd -d /dev/nbd0; while pidof rhea-nbd >/dev/null; do sleep 0.1; done; "
               "cat /sys/block/nbd0/size", "0")
            sh("rhea-nbd -r -c /dev/nbd1 -f qcow2 a && cat /sys/block/nbd1/ro && "
               "dd if=/dev/nbd1 bs=64k skip=3 count=16 | cmp - r && rhea-nbd -d /dev/nbd1; "
               "while pidof rhea-nbd >/dev/null; do sleep 0.1; done", "1")
            sh("rhea-img check a", "No errors", "\0")
            # Its FUSE, some years older than this host's may be
            sh("rhea-storage-daemon --daemonize --pidfile pid --blockdev driver=file,node-name=f,filename=a "
               "--blockdev driver=qcow2,node-name=n,file=f --export fuse,id=e,node-name=n,mountpoint=mnt,"
               "writable=on,growable=on && ls -l mnt", "16777216")
            sh("dd if=mnt bs=64k skip=3 count=16 | cmp - r; dd if=r of=mnt bs=64k seek=250 conv=notrunc,fsync && "
               "dd if=mnt bs=64k skip=250 | cmp - r; ls -l mnt", "17432576")
            sh("kill $(cat pid); while pidof rhea-storage-daemon >/dev/null; do sleep 0.1; done; "
               "! grep fuse.rhea /proc/mounts; rhea-img check a", "No errors", "\0")

    # ---- NBD ----

    def test_nbd_thread(self):
        """An export in a thread of its own under load: disconnected, removed and made again."""
        nbd = self.path("nbd")

        def client(k, name="x"):
            return subprocess.Popen(
                [IO, "-f", "raw"] + sum((["-c", f"write -P {k} {j * 64}k 64k", "-c", f"read -P {k} {j * 64}k "
                                          "64k"] for j in range(16 * k, 16 * k + 16)), []) +
                [f"nbd+unix:///{name}?socket={nbd}"], stdin=subprocess.DEVNULL, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

        with Daemon(self, "--object", "iothread,id=io", "--nbd-server", "addr.type=unix,addr.path=" + nbd,
                    "--export", "nbd,id=e,node-name=node,name=x,writable=on,iothread=io") as d:
            for p in [client(k) for k in range(4)]:
                out, _ = p.communicate(timeout=120)
                self.assertEqual(0, p.returncode, out)
                self.assertNotIn("failed", out)
            for turn in range(5):
                busy = [client(k) for k in range(3)]
                time.sleep(0.01 * turn)
                self.assertEqual({}, d.qmp("block-export-del", id="e", mode="hard"))
                d.event("BLOCK_EXPORT_DELETED")
                self.assertEqual([], d.qmp("query-block-exports"))
                for p in busy:
                    p.communicate(timeout=120)
                self.assertEqual({}, d.qmp("block-export-add", id="e", type="nbd", node_name="node", name="x",
                                           writable=True, iothread="io", fixed_iothread=True))
            # A client that stays: "safe" refuses, "hard" does not ask
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(60)
            s.connect(nbd)
            s.recv(18)
            s.send(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, 1) + b"x")
            self.assertEqual(16 * MIB, struct.unpack(">Q", s.recv(8))[0])
            self.assertIn("still in use", d.qmp("nbd-server-remove", name="x"))
            self.assertIn("still in use", d.qmp("block-export-del", id="e", mode="safe"))
            self.assertEqual({}, d.qmp("nbd-server-remove", name="x", mode="hard"))
            d.event("BLOCK_EXPORT_DELETED")
            self.assertIn("not found", d.qmp("nbd-server-remove", name="x"))
            self.assertIn("not found", d.qmp("block-export-del", id="e"))
            s.close()
            self.assertEqual({}, d.qmp("nbd-server-add", device="node", name="y"))
            self.assertIn("already", d.qmp("nbd-server-add", device="node", name="y"))
            self.assertEqual(["y"], [e["id"] for e in d.qmp("query-block-exports")])
            self.assertEqual({}, d.qmp("nbd-server-stop"))
            self.assertEqual([], d.qmp("query-block-exports"))
            self.assertIn("not running", d.qmp("block-export-add", id="e", type="nbd", node_name="node"))
            self.assertEqual({}, d.qmp("object-del", id="io"))
        run(IMG, "check", self.path("a.qcow2"))

    # ---- what is in use stays ----

    def test_object_del(self):
        """An object goes when nobody needs it, also where only a node's thread tells."""
        with Daemon(self, "--object", "iothread,id=io", "--object", "throttle-group,id=tg", "--object",
                    "throttle-group,id=idle", "--nbd-server", "addr.type=unix,addr.path="
                    + self.path("nbd")) as d:
            self.assertEqual({}, d.qmp("blockdev-add", driver="throttle", node_name="slow",
                                       throttle_group="tg", file="node"))
            self.assertIn("in use", d.qmp("object-del", id="tg"))
            self.assertEqual({}, d.qmp("object-del", id="idle"))
            # Two exports of one node, of which only the first named the thread
            add = {"node_name": "slow", "type": "nbd"}
            self.assertEqual({}, d.qmp("block-export-add", id="e1", name="1", iothread="io", **add))
            self.assertEqual({}, d.qmp("block-export-add", id="e2", name="2", **add))
            self.assertIn("in use", d.qmp("object-del", id="io"))
            self.assertEqual({}, d.qmp("block-export-del", id="e1"))
            d.event("BLOCK_EXPORT_DELETED")
            self.assertIn("in use", d.qmp("object-del", id="io"))
            self.assertEqual({}, d.qmp("block-export-del", id="e2"))
            d.event("BLOCK_EXPORT_DELETED")
            # The file below a node that nobody uses any more, and a job there
            self.assertEqual({}, d.qmp("blockdev-add", driver="null-co", node_name="null", size=MIB))
            self.assertEqual({}, d.qmp("blockdev-add", driver="raw", node_name="raw", file="null"))
            for n in ("null", "raw"):
                self.assertEqual({}, d.qmp("block-export-add", id=n, name=n, type="nbd", node_name=n,
                                           iothread="io", fixed_iothread=True))
            self.assertEqual({}, d.qmp("block-export-del", id="raw"))
            d.event("BLOCK_EXPORT_DELETED")
            self.assertIn("in use", d.qmp("object-del", id="io"))
            run(IO, "-r", "-f", "raw", "-c", "read 0 4k", f"nbd+unix:///null?socket={self.path('nbd')}")
            self.assertEqual({}, d.qmp("blockdev-add", driver="null-co", node_name="copy", size=MIB))
            self.assertEqual({}, d.qmp("blockdev-mirror", job_id="m", device="null", target="copy",
                                       sync="full"))
            self.assertEqual({}, d.qmp("block-export-del", id="null"))
            d.event("BLOCK_EXPORT_DELETED")
            self.assertIn("in use", d.qmp("object-del", id="io"))
            self.assertEqual({}, d.qmp("job-cancel", id="m"))
            for _ in range(500):
                r = d.qmp("object-del", id="io")
                if r == {}:
                    break
                self.assertIn("in use", r)
                time.sleep(0.02)
            self.assertEqual({}, r)
            self.assertEqual({}, d.qmp("blockdev-del", node_name="slow"))
            self.assertEqual({}, d.qmp("object-del", id="tg"))
            self.assertIn("not found", d.qmp("object-del", id="tg"))
            # What the NBD server asks of its clients
            with open(self.path("keys.psk"), "w", encoding="utf-8") as f:
                f.write("qemu:" + "0123456789abcdef" * 4 + "\n")
            self.assertEqual({}, d.qmp("nbd-server-stop"))
            self.assertEqual({}, d.qmp("object-add", qom_type="authz-simple", id="z", identity="qemu"))
            r = d.qmp("object-add", qom_type="tls-creds-psk", id="t", dir=self.tmp.name, endpoint="server")
            if r == {}:  # else there is no gnutls here
                addr = {"type": "unix", "path": self.path("nbd")}
                self.assertIn("needs", d.qmp("nbd-server-start", addr=addr, tls_authz="z"))
                self.assertEqual({}, d.qmp("nbd-server-start", addr=addr, tls_creds="t", tls_authz="z"))
                for o in ("t", "z"):
                    self.assertIn("in use", d.qmp("object-del", id=o))
                self.assertEqual({}, d.qmp("nbd-server-stop"))
                self.assertEqual({}, d.qmp("object-del", id="t"))
            self.assertEqual({}, d.qmp("object-del", id="z"))

    def test_create(self):
        """blockdev-create reserves space while QMP answers."""
        def drain(d, *jobs):
            """The jobs as they end, and how often QMP said that they were at work."""
            for n in range(20000):
                now = {j["id"]: j for j in d.qmp("query-jobs")}
                if all(now[j]["status"] == "concluded" for j in jobs):
                    return now, n
                time.sleep(0.005)
            raise AssertionError(now)

        with Daemon(self) as d:
            names = {"raw": {"preallocation": "full", "size": 512 * MIB},
                     "qcow2": {"preallocation": "full", "size": 256 * MIB},
                     "luks": {"preallocation": "full", "size": 16 * MIB, "nonsense": 1}}
            for n, o in names.items():
                open(self.path(n), "wb").close()
                self.assertEqual({}, d.qmp("blockdev-add", driver="file", node_name=n,
                                           filename=self.path(n)))
            for n in ("raw", "qcow2"):
                self.assertEqual({}, d.qmp("blockdev-create", job_id=n, options={
                    "driver": n, "file": n, **names[n]}))
                self.assertIn("busy", d.qmp("blockdev-create", job_id="x", options={
                    "driver": n, "file": n, "size": MIB}))
            done, answers = drain(d, "raw", "qcow2")
            self.assertGreater(answers, 3, "QMP stood still")
            for n in ("raw", "qcow2"):
                self.assertNotIn("error", done[n])
                self.assertEqual({}, d.qmp("job-dismiss", id=n))
                self.assertEqual({}, d.qmp("blockdev-del", node_name=n))
            self.assertEqual({}, d.qmp("blockdev-create", job_id="l", options={
                "driver": "luks", "file": "luks", **names["luks"]}))
            self.assertIn("nonsense", drain(d, "l")[0]["l"]["error"])
            # A protocol makes a file; a format, files beside it: 300 extents.
            vmdk = self.path("many.vmdk")
            self.assertEqual({}, d.qmp("blockdev-create", job_id="f", options={
                "driver": "file", "filename": vmdk, "size": 0}))
            self.assertNotIn("error", drain(d, "f")[0]["f"])
            self.assertEqual({}, d.qmp("blockdev-create", job_id="bad", options={
                "driver": "file", "filename": self.path("no/such/folder"), "size": 0}))
            self.assertIn("No such file", drain(d, "bad")[0]["bad"]["error"])
            self.assertEqual({}, d.qmp("blockdev-add", driver="file", node_name="vmdk",
                                       filename=vmdk))
            self.assertEqual({}, d.qmp("blockdev-create", job_id="v", options={
                "driver": "vmdk", "file": "vmdk", "size": 600 << 30,
                "subformat": "twoGbMaxExtentSparse"}))
            done, answers = drain(d, "v")
            self.assertNotIn("error", done["v"])
            self.assertGreater(answers, 3, "QMP stood still")
        self.assertIn(str(600 << 30), run(IMG, "info", vmdk).stdout)
        run(IO, "-f", "vmdk", "-c", "write -P 3 599G 64k", "-c", "read -P 3 599G 64k",
            "-c", "read -P 0 1G 64k", vmdk)
        self.assertGreaterEqual(os.stat(self.path("raw")).st_blocks * 512, 512 * MIB)
        self.assertGreaterEqual(os.stat(self.path("qcow2")).st_blocks * 512, 256 * MIB)
        run(IMG, "check", self.path("qcow2"))

    # ---- FUSE ----

    def fuse(self, d, **more):
        mnt = self.path("mnt")
        with open(mnt, "a", encoding="utf-8"):
            pass
        r = d.qmp("block-export-add", type="fuse", id="f", node_name="node", mountpoint=mnt, **more)
        if "cannot mount" in str(r):
            raise unittest.SkipTest(str(r))
        self.assertEqual({}, r)
        return mnt

    def test_fuse_file(self):
        rhea.skip_unless(os.path.exists("/dev/fuse"), "this host has no /dev/fuse")
        data = os.urandom(3 * MIB + 77)
        with Daemon(self, "--object", "iothread,id=io") as d:
            mnt = self.fuse(d, writable=True, iothread="io")
            self.assertIn("already is a FUSE export", d.qmp(
                "block-export-add", type="fuse", id="g", node_name="node", mountpoint=mnt))
            f = os.open(mnt, os.O_RDWR)
            self.assertEqual(os.fstat(f).st_size, 16 * MIB)
            self.assertEqual(os.fstat(f).st_mode & 0o777, 0o600)
            self.assertEqual(os.pwrite(f, data, 1000), len(data))
            os.fsync(f)
            self.assertEqual(os.pread(f, len(data), 1000), data)
            self.assertEqual(os.lseek(f, 0, os.SEEK_DATA), 0)
            hole = os.lseek(f, 0, os.SEEK_HOLE)
            self.assertTrue(len(data) + 1000 <= hole < 4 * MIB)
            self.assertEqual(os.lseek(f, 0, os.SEEK_CUR), hole)
            run("fallocate", "-p", "-o", MIB, "-l", MIB, mnt)
            self.assertEqual(os.lseek(f, 0, os.SEEK_HOLE), MIB)
            self.assertEqual(os.pread(f, 10, MIB), bytes(10))
            run("fallocate", "-z", "-o", 2 * MIB, "-l", 4096, mnt)
            self.assertEqual(os.pread(f, 4096, 2 * MIB), bytes(4096))
            self.assertIn("not supported", run("fallocate", "-o", "0", "-l", MIB, mnt, ok=False).stderr)
            # The end is the end unless it may grow; it can always be moved.
            self.assertEqual(os.pwrite(f, b"x" * 100, 16 * MIB - 60), 60)
            with self.assertRaises(OSError) as e:
                os.pwrite(f, b"x", 16 * MIB)
            self.assertEqual(e.exception.errno, 28)
            self.assertEqual(os.pread(f, 100, 16 * MIB), b"")
            os.ftruncate(f, 20 * MIB)
            self.assertEqual(os.fstat(f).st_size, 20 * MIB)
            self.assertEqual(os.pread(f, 100, 20 * MIB - 50), bytes(50))
            self.assertEqual({}, d.qmp("block_resize", node_name="node", size=24 * MIB))
            self.assertEqual(os.fstat(f).st_size, 24 * MIB)
            os.chmod(mnt, 0o400)
            self.assertEqual(os.fstat(f).st_mode & 0o777, 0o400)
            with self.assertRaises(OSError):
                os.chmod(mnt, 0o700)
            with self.assertRaises(OSError):
                os.mkdir(mnt + "/x")
            os.close(f)
            run("cmp", "-n", MIB, self.path("mnt"), self.path("mnt"))
            self.assertIn("in use", d.qmp("object-del", id="io"))
            self.assertEqual({}, d.qmp("block-export-del", id="f"))
            d.event("BLOCK_EXPORT_DELETED")
            self.assertEqual(os.path.getsize(mnt), 0)
            # May grow; goes when somebody unmounts it
            mnt = self.fuse(d, writable=True, growable=True)
            with open(mnt, "r+b", buffering=0) as f:
                self.assertEqual(os.pwrite(f.fileno(), b"grown", 24 * MIB + 5000), 5)
                self.assertEqual(os.pread(f.fileno(), 5, 24 * MIB + 5000), b"grown")
                run("fallocate", "-o", 25 * MIB, "-l", MIB, mnt)
                self.assertEqual(os.path.getsize(mnt), 26 * MIB)
            run("umount", mnt)
            self.assertEqual({"id": "f"}, d.event("BLOCK_EXPORT_DELETED"))
            self.assertEqual([], d.qmp("query-block-exports"))
        run(IMG, "check", self.path("a.qcow2"))
        self.assertNotIn(mnt, open("/proc/mounts", encoding="utf-8").read())

    def test_fuse_options(self):
        rhea.skip_unless(os.path.exists("/dev/fuse"), "this host has no /dev/fuse")
        with Daemon(self) as d:
            add = {"type": "fuse", "id": "f", "node_name": "node"}
            for more, text in (({"mountpoint": "/nonexistent"}, "Failed to stat"),
                               ({"mountpoint": self.tmp.name}, "not a regular file"), ({}, "mountpoint"),
                               ({"mountpoint": self.path("a.qcow2"), "growable": True}, "writable"),
                               ({"mountpoint": self.path("qmp"), "allow_other": "x"}, "x")):
                with self.subTest(more=more):
                    self.assertIn(text, str(d.qmp("block-export-add", **{**add, **more})))
            mnt = self.fuse(d, allow_other="off")
            self.assertNotIn("allow_other", [x for x in open("/proc/mounts", encoding="utf-8")
                                             if mnt in x][0])
            with self.assertRaises(OSError):
                open(mnt, "r+b").close()
            f = os.open(mnt, os.O_RDONLY)  # still open when the daemon goes
            self.assertEqual(os.pread(f, 10, 0), bytes(10))
            self.assertEqual({}, d.qmp("quit"))
            self.assertEqual(0, d.p.wait(60))
            for call in (lambda: os.pread(f, 10, 0), lambda: os.close(f)):
                with self.assertRaises(OSError):
                    call()
        self.assertNotIn(mnt, open("/proc/mounts", encoding="utf-8").read())


if __name__ == "__main__":
    rhea.main()
