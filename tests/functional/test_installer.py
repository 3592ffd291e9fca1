#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's installer, as it is booted from the network, to its first screen."""
import collections
import time
import unittest

import rhea

PACKAGE = "debian-installer-12-netboot-amd64"
FOLDER = "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/"


class Installer(unittest.TestCase):
    def boot(self, machine, command_line):
        return rhea.Machine("-M", machine, "-m", "1024", "-nic", "none",
                            "-kernel", rhea.package_file(PACKAGE, FOLDER + "linux"),
                            "-initrd", rhea.package_file(PACKAGE, FOLDER + "initrd.gz"),
                            "-append", command_line)

    def red_rows(self, m):
        w, h, rgb = m.picture()
        rows = [rgb[y * w * 3:(y + 1) * w * 3] for y in range(h)]
        return [y for y, row in enumerate(rows) if row.count(bytes([170, 0, 0])) > w // 8]

    def test_serial(self):
        with self.boot("pc", "console=ttyS0 TERM=vt102") as m:
            m.expect("Select a language", 300)
            m.expect("Choose the language to be used for the installation process", 60)
            m.expect("English", 60)

    def test_screen(self):
        """The same on the display adapter's frame buffer: a grey dialogue on blue."""
        with self.boot("q35", "vga=788 ---") as m:
            deadline = time.monotonic() + 300 * rhea.PATIENCE
            while True:
                w, h, rgb = m.picture()
                pixels = [rgb[i:i + 3] for i in range(0, len(rgb) - 2, 3 * 97)]
                share = collections.Counter(pixels)
                blue = share[bytes([0, 0, 170])] / max(len(pixels), 1)
                grey = share[bytes([170, 170, 170])] / max(len(pixels), 1)
                if w >= 640 and h >= 400 and blue > 0.05 and grey > 0.3:
                    break
                self.assertLess(time.monotonic(), deadline,
                                f"{w}x{h}, blue {blue:.2f}, grey {grey:.2f}")
                time.sleep(2)
            # A key moves the dialogue's bar: red on the chosen line.
            before = self.red_rows(m)
            self.assertTrue(before)
            m.qmp("send-key", keys=[{"type": "qcode", "data": "down"}])
            deadline = time.monotonic() + 60 * rhea.PATIENCE
            while self.red_rows(m) == before:
                self.assertLess(time.monotonic(), deadline, "the key changes nothing")
                time.sleep(1)


if __name__ == "__main__":
    rhea.main()
