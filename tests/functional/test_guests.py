#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Other people's systems boot and show what their makers say they show."""
import time
import unittest

import rhea


def floppy(image):
    return ["-drive", f"file={image},format=raw,if=floppy,snapshot=on", "-boot", "a"]


class Guests(unittest.TestCase):
    def test_no_disk(self):
        with rhea.Machine("-m", "32", "-net", "none") as m:
            m.expect_screen("No bootable device", 60)

    def test_freedos(self):
        image = rhea.shared_guest("freedos-720k-tools.img")
        with rhea.Machine("-m", "16", *floppy(image)) as m:
            text = m.expect_screen(r"FREEDOS-READY[\s\S]*A:\\>", 90)
            self.assertIn("Interface : XMS 2.00", text)
            m.type("serial\n")
            m.expect("SERIAL-READY", 30)

    def geometry(self, size):
        image = rhea.shared_guest(f"freedos-geometry/freedos-{size}.img")
        with rhea.Machine("-m", "16", *floppy(image)) as m:
            m.expect_screen(r"^A:\\>", 90)

    def test_freedos_160k(self):
        self.geometry("160K")

    def test_freedos_360k(self):
        self.geometry("360K")

    def test_freedos_1200k(self):
        self.geometry("1200K")

    def test_freedos_1440k(self):
        self.geometry("1440K")

    def test_elks(self):
        image = rhea.shared_guest("elks-0.7.0-fat.img")
        with rhea.Machine("-m", "16", *floppy(image)) as m:
            text = m.expect_screen("login:", 90)
            self.assertIn("VFS: Mounted root", text)
            m.type("root\n")
            m.expect_screen(r"\n# *\n?", 30)

    def test_openbsd(self):
        image = rhea.shared_guest("openbsd28-floppy.img")
        with rhea.Machine("-m", "128", *floppy(image)) as m:
            m.expect_screen(r"boot>", 60)
            m.type("set tty com0\n\n")
            m.expect(r"OpenBSD 2.8 \(RAMDISK\) #182", 120)
            m.expect(r"\(I\)nstall, \(U\)pgrade or \(S\)hell\?", 240)
            m.send("s\n")
            m.expect(r"\n# ", 60)

    def test_kolibri(self):
        image = rhea.shared_guest("kolibri.img")
        with rhea.Machine("-m", "128", *floppy(image)) as m:
            deadline = time.monotonic() + 240 * rhea.PATIENCE
            while True:
                w, h, rgb = m.picture()
                # The desktop's gradient is green-yellow: more green than blue almost everywhere.
                pixels = [rgb[i:i + 3] for i in range(0, len(rgb) - 2, 3 * 997)]
                green = sum(p[1] > p[2] + 16 for p in pixels) / max(len(pixels), 1)
                if w >= 640 and h >= 480 and green > 0.5:
                    break
                self.assertLess(time.monotonic(), deadline, f"no desktop: {w}x{h}, {green:.2f}")
                time.sleep(2)

    def test_tiny_cdrom(self):
        image = rhea.shared_guest("tiny-amd64.iso")
        with rhea.Machine("-M", "q35", "-m", "256", "-cdrom", image) as m:
            m.expect("TINY-READY", 300)
            self.assertRegex(m.text(), r"TINY kernel 6\.1")

    def test_memtest(self):
        iso = rhea.package_file("memtest86+", "usr/lib/memtest86+/memtest86+x64.iso")
        with rhea.Machine("-m", "32", "-cdrom", iso) as m:
            text = m.expect_screen(r"Memtest86\+ v6[\s\S]*Pass +\d+%", 180)
            self.assertIn("Errors: 0", text)

    def test_grub_rescue(self):
        iso = rhea.package_file("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-cdrom.iso")
        with rhea.Machine("-m", "64", "-cdrom", iso) as m:
            m.expect_screen("GNU GRUB  version 2.06", 120)


if __name__ == "__main__":
    rhea.main()
