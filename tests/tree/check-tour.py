#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that every function and file docs/tour.md names exists.

A function is written `name()` and stands in a table row or line that names its file as
`path/file.c`; the function must be defined or declared in that file.
"""
import pathlib
import re
import sys

top = pathlib.Path(sys.argv[1])
mistakes = []
checked = 0
for n, line in enumerate((top / "docs/tour.md").read_text().splitlines(), 1):
    files = [f for f in re.findall(r"`([a-z0-9_./-]+\.[chS])`", line)]
    for f in files:
        if not (top / f).is_file():
            mistakes.append(f"docs/tour.md:{n}: there is no file {f}")
    text = "".join((top / f).read_text() for f in files if (top / f).is_file())
    for fn in re.findall(r"`([a-z_][a-z0-9_]*)\(\)`", line):
        checked += 1
        if not files:
            mistakes.append(f"docs/tour.md:{n}: {fn}() is named without its file")
        elif not re.search(rf"\b{fn}\(", text) and not re.search(rf"\b{fn}\b", text):
            mistakes.append(f"docs/tour.md:{n}: {fn}() is not in {', '.join(files)}")
for m in mistakes:
    print(m)
print(f"tour: {checked} functions checked, {len(mistakes)} mistakes")
sys.exit(1 if mistakes or checked < 20 else 0)
