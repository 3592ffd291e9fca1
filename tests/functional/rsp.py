# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of gdb's remote serial protocol, for tests."""
import re
import socket
import time

import rhea


class Rsp:
    def __init__(self, path):
        deadline = time.monotonic() + 20 * rhea.PATIENCE
        self.sock = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.sock.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self.sock.settimeout(20 * rhea.PATIENCE)
        self.buffer = b""
        self.acks = True

    def close(self):
        self.sock.close()

    def raw(self, data):
        self.sock.sendall(data)

    def byte(self):
        if not self.buffer:
            self.buffer = self.sock.recv(65536)
            if not self.buffer:
                raise EOFError
        first, self.buffer = self.buffer[:1], self.buffer[1:]
        return first

    @staticmethod
    def frame(text):
        data = text.encode("latin-1") if isinstance(text, str) else text
        data = re.sub(rb"[#$}*]", lambda m: b"}" + bytes([m.group()[0] ^ 0x20]), data)
        return b"$" + data + b"#%02x" % (sum(data) & 0xff)

    def receive(self):
        """The next packet's text."""
        while self.byte() != b"$":
            pass
        data = b""
        while (c := self.byte()) != b"#":
            data += bytes([self.byte()[0] ^ 0x20]) if c == b"}" else c
        self.byte()
        self.byte()
        if self.acks:
            self.raw(b"+")
        return data.decode("latin-1")

    def send(self, text):
        self.raw(self.frame(text))
        if self.acks:
            ack = self.byte()
            if ack != b"+":
                raise AssertionError(f"no acknowledgement of {text!r}: {ack!r}")

    def ask(self, text):
        self.send(text)
        return self.receive()

    def no_acks(self):
        assert self.ask("QStartNoAckMode") == "OK"
        self.acks = False

    # ---- registers and memory ----
    def description(self):
        xml, offset = "", 0
        while True:
            part = self.ask(f"qXfer:features:read:target.xml:{offset:x},400")
            assert part[0] in "lm", part
            xml += part[1:]
            offset = len(xml)
            if part[0] == "l":
                return xml

    def numbers(self):
        """Register name: (number, bytes)."""
        found = re.findall(r'<reg name="(\w+)" bitsize="(\d+)"', self.description())
        return {name: (n, int(bits) // 8) for n, (name, bits) in enumerate(found)}

    def get(self, number):
        return int.from_bytes(bytes.fromhex(self.ask(f"p{number:x}")), "little")

    def set(self, register, value):
        number, size = register
        return self.ask(f"P{number:x}={value.to_bytes(size, 'little').hex()}")

    def read(self, addr, n):
        answer = self.ask(f"m{addr:x},{n:x}")
        return None if answer.startswith("E") else bytes.fromhex(answer)

    def write(self, addr, data):
        return self.ask(b"X%x,%x:" % (addr, len(data)) + data)
