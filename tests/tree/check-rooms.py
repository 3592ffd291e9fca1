#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks the tree against its own rules: the order of the rooms, sizes, headers, formatting.

A room may include only headers of its own and of the rooms above it in ROOMS.
usage: check-rooms.py SOURCE-FOLDER {rooms|sizes|headers|format}
"""
import pathlib
import re
import subprocess
import sys

ROOMS = ["util", "event", "qapi", "qom", "io", "crypto", "memory", "state", "chardev", "net",
         "block", "nbd", "ui", "target/i386", "accel", "target/i386/tcg", "target/i386/kvm", "accel/tcg",
         "hw", "accel/qtest", "migration", "monitor", "system", "tools", "linux-user"]
# Within "accel" and "target", engine and CPU glue meet and see each other.
PEERS = {("target/i386/tcg", "accel/tcg"), ("qapi", "qom")}
FREE = {"tests"}
MAX_LINES = 1200


def room_of(path):
    best = None
    for room in ROOMS:
        if path.startswith(room + "/") and (best is None or len(room) > len(best)):
            best = room
    return best


def sources(top):
    out = subprocess.run(["git", "ls-files", "*.c", "*.h"], cwd=top, capture_output=True, text=True)
    if out.returncode == 0:
        return out.stdout.split()
    return sorted(str(p.relative_to(top)) for p in pathlib.Path(top).rglob("*.[ch]")
                  if not str(p.relative_to(top)).startswith("build"))


def check_rooms(top):
    for path in sources(top):
        room = room_of(path)
        if room is None:
            continue
        for n, line in enumerate(open(top / path, encoding="utf-8"), 1):
            m = re.match(r'#include "([^"]+)"', line)
            other = room_of(m.group(1)) if m else None
            if other is None or other == room or (room, other) in PEERS:
                continue
            if ROOMS.index(other) > ROOMS.index(room):
                # A QMP command's work is done in the room that owns it.
                if other == "qapi":
                    continue
                yield f"{path}:{n}: {room}/ may not include {other}/ ({m.group(1)})"


def check_sizes(top):
    for path in sources(top):
        lines = sum(1 for _ in open(top / path, encoding="utf-8"))
        if lines > MAX_LINES:
            yield f"{path}: {lines} lines; a file past {MAX_LINES} is asking to be two"


def check_headers(top):
    for path in sources(top):
        text = open(top / path, encoding="utf-8").read()
        if not text.startswith("/* SPDX-License-Identifier: GPL-2.0-or-later */\n"):
            yield f"{path}: does not start with the licence line"
        if path.endswith(".h") and not path.startswith("tests/"):
            if not re.match(r"/\* SPDX.*\*/\n/\*[ \n]", text):
                yield f"{path}: a header starts with what it is for"


def check_format(top):
    files = sources(top)
    for i in range(0, len(files), 50):
        out = subprocess.run(["clang-format", "--dry-run", "-Werror"] + files[i:i + 50], cwd=top,
                             capture_output=True, text=True)
        if out.returncode:
            for line in out.stderr.splitlines():
                if "error:" in line:
                    yield line


def main():
    top = pathlib.Path(sys.argv[1])
    check = {"rooms": check_rooms, "sizes": check_sizes, "headers": check_headers,
             "format": check_format}[sys.argv[2]]
    mistakes = list(check(top))
    for m in mistakes[:40]:
        print(m)
    print(f"{sys.argv[2]}: {len(mistakes)} mistakes")
    sys.exit(1 if mistakes else 0)


main()
