# SPDX-License-Identifier: GPL-2.0-or-later
"""A vhost-user front-end with a small virtio-blk driver, for tests: it can also break every rule."""
import ctypes
import mmap
import os
import select
import socket
import struct

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE, SET_LOG_BASE = 1, 2, 3, 5, 6
SET_NUM, SET_ADDR, SET_BASE, GET_BASE, SET_KICK, SET_CALL, SET_ERR = range(8, 15)
GET_PF, SET_PF, QUEUE_NUM, ENABLE, BACK_FD = 15, 16, 17, 18, 21
GET_CONFIG, SET_CONFIG, GET_INFLIGHT, SET_INFLIGHT = 24, 25, 31, 32
GET_SLOTS, ADD_REG, REM_REG = 36, 37, 38
IN, OUT, FLUSH, GET_ID, DISCARD, ZEROES = 0, 1, 4, 8, 11, 13
GPA, UVA = 0x100000, 0x7000_0000_0000
MEM = 1 << 20
RING = 64
EVENT_IDX, INDIRECT, LOG_ALL = 29, 28, 26


class Ring:
    """Queue `index` lies at 64 KiB * (index + 1) of the memory."""

    def __init__(self, client, index):
        self.c, self.index = client, index
        self.desc = 0x10000 * (index + 1)
        self.avail = self.desc + 16 * RING
        self.used = self.desc + 16 * RING + 0x400
        self.idx = self.seen = 0
        self.kick, self.call, self.err = (os.eventfd(0, os.EFD_NONBLOCK) for _ in range(3))

    def start(self, base=0, call=True):
        c, i = self.c, self.index
        c.send(SET_NUM, struct.pack("<II", i, RING))
        c.send(SET_BASE, struct.pack("<II", i, base))
        c.send(SET_ADDR, struct.pack("<IIQQQQ", i, 0, UVA + self.desc, UVA + self.used,
                                     UVA + self.avail, 0))
        c.send(SET_ERR, struct.pack("<Q", i), [self.err])
        if call:
            c.send(SET_CALL, struct.pack("<Q", i), [self.call])
        c.send(SET_KICK, struct.pack("<Q", i), [self.kick])
        c.send(ENABLE, struct.pack("<II", i, 1))

    def put_desc(self, n, addr, length, flags, nxt):
        self.c.put(self.desc + 16 * n, struct.pack("<QIHH", addr, length, flags, nxt))

    def offer(self, head):
        self.c.put(self.avail + 4 + 2 * (self.idx % RING), struct.pack("<H", head))
        self.idx = (self.idx + 1) & 0xffff
        self.c.put(self.avail + 2, struct.pack("<H", self.idx))

    def ring(self):
        os.eventfd_write(self.kick, 1)

    def chain(self, bufs, head=0):
        """bufs: (guest address, length, writable); at descriptor `head` and behind."""
        for k, (addr, length, write) in enumerate(bufs):
            last = k == len(bufs) - 1
            self.put_desc(head + k, addr, length, (0 if last else 1) | (2 if write else 0),
                          0 if last else head + k + 1)

    def wait_used(self, seconds=20):
        self.c.put(self.avail + 4 + 2 * RING, struct.pack("<H", self.seen))  # the used event
        while struct.unpack("<H", self.c.get(self.used + 2, 2))[0] == self.seen:
            if not select.select([self.call], [], [], seconds)[0]:
                raise AssertionError("no interrupt")
            os.eventfd_read(self.call)
        e = struct.unpack("<II", self.c.get(self.used + 4 + 8 * (self.seen % RING), 8))
        self.seen = (self.seen + 1) & 0xffff
        return e

    def setup_request(self, kind, sector, data=b"", read=0, head=0, at=None):
        """Lays a request out; its data at `at`, its header and status before that."""
        at = at if at is not None else 0x40000 + 0x20000 * self.index
        self.c.put(at - 32, struct.pack("<IIQ", kind, 0, sector))
        self.c.put(at - 16, b"\xee")
        bufs = [(GPA + at - 32, 16, False)]
        if data:
            self.c.put(at, data)
            bufs.append((GPA + at, len(data), False))
        if read:
            bufs.append((GPA + at, read, True))
        bufs.append((GPA + at - 16, 1, True))
        self.chain(bufs, head)
        return at

    def request(self, kind, sector, data=b"", read=0):
        """(status, data read)"""
        at = self.setup_request(kind, sector, data, read)
        self.offer(0)
        self.ring()
        self.wait_used()
        return self.c.get(at - 16, 1)[0], self.c.get(at, read)


class Client:
    def __init__(self, path, queues=1, features=None, memory=None):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(20)
        self.s.connect(path)
        self.memory = memory if memory is not None else os.memfd_create("guest")
        if memory is None:
            os.ftruncate(self.memory, MEM)
        self.m = mmap.mmap(self.memory, MEM)
        self.rings = [Ring(self, i) for i in range(queues)]
        self.want = features

    def close(self):
        self.s.close()

    def put(self, at, data):
        if len(data) == 2:  # at once, as the other side looks at it
            ctypes.c_uint16.from_buffer(self.m, at).value = struct.unpack("<H", data)[0]
        else:
            self.m[at:at + len(data)] = data

    def get(self, at, n):
        return self.m[at:at + n]

    def send(self, request, payload=b"", fds=(), flags=1, size=None):
        head = struct.pack("<III", request, flags, len(payload) if size is None else size)
        socket.send_fds(self.s, [head + payload], list(fds))

    def read_exact(self, n, fds):
        out = b""
        while len(out) < n:
            data, got, _, _ = socket.recv_fds(self.s, n - len(out), 4)
            fds += got
            if not data:
                raise EOFError
            out += data
        return out

    def ask(self, request, payload=b"", fds=(), flags=1):
        self.send(request, payload, fds, flags)
        got = []
        r, f, size = struct.unpack("<III", self.read_exact(12, got))
        if r != request or f & 7 != 5:
            raise AssertionError(f"an answer to {request} that is one to {r}, flags {f}")
        return self.read_exact(size, got), got

    def u64(self, request):
        return struct.unpack("<Q", self.ask(request)[0])[0]

    def acked(self, request, payload=b"", fds=()):
        return struct.unpack("<Q", self.ask(request, payload, fds, 9)[0])[0] == 0

    def agree(self):
        offered = self.u64(GET_FEATURES)
        self.features = offered & ~(1 << LOG_ALL) if self.want is None else self.want
        self.protocol = self.u64(GET_PF)
        self.send(SET_PF, struct.pack("<Q", self.protocol))
        self.send(SET_OWNER)
        self.send(SET_FEATURES, struct.pack("<Q", self.features))
        return offered

    def share(self, size=MEM, offset=0):
        self.send(SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, GPA, size, UVA, offset),
                  [self.memory])

    def start(self):
        self.agree()
        self.share()
        for r in self.rings:
            r.start()
        return self

    def config(self, size=60):
        data, _ = self.ask(GET_CONFIG, struct.pack("<III", 0, size, 0) + bytes(size))
        return data[12:]

    def stop(self, ring):
        data, _ = self.ask(GET_BASE, struct.pack("<II", ring.index, 0))
        return struct.unpack("<II", data)[1]
