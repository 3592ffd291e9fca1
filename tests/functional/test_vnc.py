#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Other people's VNC viewers see the guest's screen as it is, and their keys arrive."""
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest
import zlib

import rhea


def need(program, package):
    rhea.skip_unless(shutil.which(program), f"no {program}: install the package {package}")


def read_png(path):
    """(width, height, RGB bytes) of an 8-bit RGB or RGBA image."""
    data = pathlib.Path(path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path
    at, packed = 8, b""
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IHDR":
            w, h, depth, color = struct.unpack(">IIBB", data[at + 8:at + 18])
            assert depth == 8 and color in (2, 6), (depth, color)
        elif kind == b"IDAT":
            packed += data[at + 8:at + 8 + n]
        at += 12 + n
    raw, size = zlib.decompress(packed), 4 if color == 6 else 3
    rows, last = [], bytearray(w * size)
    for y in range(h):
        kind = raw[y * (w * size + 1)]
        row = bytearray(raw[y * (w * size + 1) + 1:(y + 1) * (w * size + 1)])
        unfilter(kind, row, last, size)
        rows.append(row)
        last = row
    if size == 4:
        rows = [b"".join(r[i:i + 3] for i in range(0, len(r), 4)) for r in rows]
    return w, h, b"".join(bytes(r) for r in rows)


def unfilter(kind, row, up, size):
    for i in range(len(row)):
        a = row[i - size] if i >= size else 0
        b, c = up[i], up[i - size] if i >= size else 0
        if kind == 1:
            row[i] = (row[i] + a) & 255
        elif kind == 2:
            row[i] = (row[i] + b) & 255
        elif kind == 3:
            row[i] = (row[i] + (a + b) // 2) & 255
        elif kind == 4:
            p = a + b - c
            pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
            row[i] = (row[i] + (a if pa <= pb and pa <= pc else b if pb <= pc else c)) & 255


class Screen:
    """An X server without a screen; its picture lies in a file."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="rhea-x-")
        self.children = []

    def __enter__(self):
        read, write = os.pipe()
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.children.append(subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "1024x768x24", "-nolisten", "tcp",
             "-noreset", "-fbdir", self.folder], pass_fds=[write], stdout=self.log, stderr=self.log))
        os.close(write)
        with open(read, encoding="ascii") as f: # the end of the line, too: it dies of SIGPIPE
            number = f.readline().strip()
        rhea.skip_unless(number, "Xvfb does not start here")
        self.picture = pathlib.Path(self.folder, "Xvfb_screen0")
        self.env = os.environ | {"DISPLAY": f":{number}", "HOME": self.folder,
                                 "XAUTHORITY": os.path.join(self.folder, "none")}
        return self

    def run(self, *args):
        self.children.append(subprocess.Popen(args, env=self.env, stdout=self.log,
                                              stderr=self.log))

    def keys(self, window, *keys):
        """What somebody types with that window in front."""
        subprocess.run(["xdotool", "search", "--sync", "--onlyvisible", "--name", window,
                        "windowfocus", "--sync"], env=self.env, check=True,
                       timeout=60 * rhea.PATIENCE, stdout=subprocess.DEVNULL)
        subprocess.run(["xdotool", "key", "--delay", "100", *keys], env=self.env, check=True)

    def rows(self):
        """The picture, a bytes object of RGB a row (X's window dump format)."""
        data = self.picture.read_bytes()
        header = struct.unpack(">25I", data[:100])
        w, h, line, colors = header[4], header[5], header[12], header[19]
        start = header[0] + colors * 12
        for y in range(h):
            row = data[start + y * line:start + y * line + w * 4]
            rgb = bytearray(w * 3)
            rgb[0::3], rgb[1::3], rgb[2::3] = row[2::4], row[1::4], row[0::4]
            yield bytes(rgb)

    def shows(self, w, h, rgb):
        """Is that picture somewhere on the screen?"""
        wanted = [rgb[y * w * 3:(y + 1) * w * 3] for y in range(h)]
        # Rows of one color are everywhere: what is searched for begins with the first that isn't.
        first = next((y for y in range(h) if wanted[y] != wanted[y][:3] * w), 0)
        rows = list(self.rows())
        for y in range(len(rows) - (h - first) + 1):
            x = rows[y].find(wanted[first])
            if x >= 0 and all(rows[y + i].startswith(wanted[first + i], x)
                              for i in range(h - first)):
                return True
        return False

    def __exit__(self, *_):
        for child in reversed(self.children):
            child.terminate()
        for child in self.children:
            child.wait(20)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Vnc(unittest.TestCase):
    def machine(self):
        """Firmware that has found nothing to boot: a picture that stands still."""
        return rhea.Machine("-m", "32", "-net", "none", "-vnc", "127.0.0.1:20,to=79")

    def display(self, m):
        m.expect_screen("No bootable device", 60)
        return int(m.qmp("query-vnc")["service"]) - 5900

    def still_picture(self, m):
        """Between two blinks of the cursor nothing else changes: it is turned off."""
        for value in ("0x0a", "0x20"): # CRTC cursor start: off
            m.hmp(f"o/b {'0x3d4' if value == '0x0a' else '0x3d5'} {value}")
        time.sleep(0.5 * rhea.PATIENCE)
        return m.picture()

    def typed(self, m):
        """The scan codes and characters in the firmware's keyboard buffer."""
        text = m.hmp("xp /16hx 0x41e")
        words = [int(x, 16) for x in re.findall(r"0x([0-9a-f]{4})\b", text)]
        tail = int(re.search(r"0x([0-9a-f]{4})\b", m.hmp("xp /1hx 0x41c")).group(1), 16)
        return words[:(tail - 0x1e) // 2]

    def test_capture(self):
        need("gvnccapture", "gvncviewer")
        with self.machine() as m, tempfile.TemporaryDirectory() as folder:
            n = self.display(m)
            expected = self.still_picture(m)
            path = os.path.join(folder, "shot.png")
            subprocess.run(["gvnccapture", "-q", f"127.0.0.1:{n}", path], check=True,
                           timeout=60 * rhea.PATIENCE)
            self.assertEqual(read_png(path), expected)

    def viewer(self, window, *command):
        need("Xvfb", "xvfb")
        need("xdotool", "xdotool")
        with self.machine() as m, Screen() as screen:
            n = self.display(m)
            expected = self.still_picture(m)
            screen.run(*[a.format(n) for a in command])
            deadline = time.monotonic() + 60 * rhea.PATIENCE
            while not screen.shows(*expected):
                self.assertLess(time.monotonic(), deadline, "the viewer does not show the screen")
                time.sleep(0.5)
            self.assertEqual(self.typed(m), [])
            screen.keys(window, "r", "h", "shift+e", "a", "F5")
            want = [0x1372, 0x2368, 0x1245, 0x1e61, 0x3f00]
            deadline = time.monotonic() + 20 * rhea.PATIENCE
            while self.typed(m) != want:
                self.assertLess(time.monotonic(), deadline,
                                f"keys: {[hex(k) for k in self.typed(m)]}")
                time.sleep(0.5)
            m.hmp("o/b 0x3c8 7") # the text gets another color: the viewer must draw it anew
            for _ in range(3):
                m.hmp("o/b 0x3c9 21")
            changed = m.picture()
            self.assertNotEqual(changed, expected)
            deadline = time.monotonic() + 30 * rhea.PATIENCE
            while not screen.shows(*changed):
                self.assertLess(time.monotonic(), deadline, "the viewer shows an old screen")
                time.sleep(0.5)

    def refusal(self, port):
        """What a viewer with a wrong password is told."""
        with socket.create_connection(("127.0.0.1", port), 20 * rhea.PATIENCE) as s, \
                s.makefile("rwb", 0) as f:
            self.assertEqual(f.readline(), b"RFB 003.008\n")
            f.write(b"RFB 003.008\n")
            self.assertEqual(f.read(2), b"\x01\x02") # password, nothing else
            f.write(b"\x02")
            f.read(16)
            f.write(bytes(16))
            self.assertEqual(f.read(4), b"\0\0\0\1")
            return f.read(struct.unpack(">I", f.read(4))[0]).decode()

    def test_password(self):
        with rhea.Machine("-accel", "qtest", "-vnc", "127.0.0.1:20,to=79,password=on") as m:
            port = int(m.qmp("query-vnc")["service"])
            self.assertIn("no password", self.refusal(port))
            m.qmp("set_password", protocol="vnc", password="secret")
            self.assertIn("wrong password", self.refusal(port))
            m.hmp("set_password vnc other")
        with rhea.Machine("-accel", "qtest") as m:
            self.assertIn("error", m.qmp_raw("change-vnc-password", {"password": "x"}))

    def test_tigervnc(self):
        need("xtigervncviewer", "tigervnc-viewer")
        self.viewer("TigerVNC", "xtigervncviewer", "-SecurityTypes", "None", "127.0.0.1:{}")

    def test_gvncviewer(self):
        need("gvncviewer", "gvncviewer")
        self.viewer("GVncViewer", "gvncviewer", "127.0.0.1:{}")


if __name__ == "__main__":
    rhea.main()
