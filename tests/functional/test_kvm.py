#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""-accel kvm with guests that any KVM can run, even one that interprets most of them."""
import os
import subprocess
import tempfile
import unittest

import rhea

SOURCE = rhea.SOURCE / "tests" / "guest" / "ring3.S"


def need_kvm():
    rhea.skip_unless(os.path.exists("/dev/kvm"), "no /dev/kvm")
    rhea.skip_unless(os.access("/dev/kvm", os.R_OK | os.W_OK), "/dev/kvm is not accessible")
    run = subprocess.run([rhea.BINARY, "-accel", "kvm", "-S",
                          "-display", "none", "-nodefaults", "-monitor", "stdio"], input="quit\n",
                         capture_output=True, text=True, timeout=60, check=False)
    rhea.skip_unless(run.returncode == 0, "KVM does not work here: " + run.stderr.strip()[-200:])


class Kvm(unittest.TestCase):
    def setUp(self):
        need_kvm()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def ring3(self, *defines, program=None):
        """tests/guest/ring3.S as a Multiboot kernel, or as a firmware image (-DROM); `program`:
        a C file whose main() is what ring 3 does."""
        elf, out = (os.path.join(self.folder, n) for n in ("elf", "out"))
        if program:
            defines = (*defines, "-DC_MAIN", "-O1", "-ffreestanding", "-mgeneral-regs-only",
                       "-mno-red-zone", "-fno-pic", "-fno-stack-protector", "-fcf-protection=none",
                       "-fno-asynchronous-unwind-tables", str(SOURCE.parent / program))
        made = subprocess.run(["gcc", *defines, "-nostdlib", "-static", "-no-pie", "-w",
                               "-Wl,-Ttext=0x100000,-N,--build-id=none", str(SOURCE), "-o", elf],
                              capture_output=True, text=True, check=False)
        if made.returncode:
            self.skipTest("gcc cannot build the guest: " + made.stderr[:200])
        form = ["-O", "binary", "-j", ".text"] if "-DROM" in defines else ["-O", "elf32-i386"]
        subprocess.run(["objcopy", *form, elf, out], check=True)
        return out

    def run_ring3(self, *args):
        with rhea.Machine("-m", "64", "-device", "isa-debug-exit", *args, nodefaults=True,
                          qmp=False) as m:
            self.assertEqual(m.wait(90), 0x21)
            self.assertIn("GDRING3-OK in ring 3", m.text())

    def test_ring3(self):
        """Ports, MMIO and interrupts in ring 3 of long mode, with every kind of irqchip."""
        rom = self.ring3("-DROM")
        for machine in "pc", "q35":
            for chip in "on", "split", "off":
                with self.subTest(machine=machine, chip=chip):
                    self.run_ring3("-M", machine, "-accel", f"kvm,kernel-irqchip={chip}",
                                   "-bios", rom)

    def test_machine_option(self):
        rom = self.ring3("-DROM")
        self.run_ring3("-machine", "q35,accel=kvm,kernel-irqchip=split", "-bios", rom)
        self.run_ring3("-enable-kvm", "-cpu", "host", "-bios", rom)

    def test_multiboot(self):
        self.run_ring3("-accel", "kvm", "-kernel", self.ring3())

    def test_virtio_interrupts(self):
        """Messages of MSI-X by eventfd (irqfd) with controllers in the kernel, as memory writes
        without; masks, changed vectors, and the wire."""
        kernel = self.ring3(program="virtio-msix.c")
        disk = os.path.join(self.folder, "disk")
        with open(disk, "wb") as f:
            f.write(b"RHEA".ljust(1 << 20, b"\0"))
        for chip, board, fd in ("on", "pc", True), ("split", "q35", True), ("off", "pc", False):
            trace = os.path.join(self.folder, f"trace-{chip}")
            with self.subTest(chip=chip), \
                 rhea.Machine("-M", board, "-accel", f"kvm,kernel-irqchip={chip}", "-m", "64",
                              "-kernel", kernel, "-device", "isa-debug-exit", "-drive",
                              f"file={disk},format=raw,if=none,id=d", "-device",
                              "virtio-blk-pci,drive=d,disable-legacy=on",
                              "-trace", "pci_msi*", "-D", trace,
                              nodefaults=True, qmp=False) as m:
                self.assertEqual(m.wait(120), 0x21, m.text())
                self.assertIn("MSIX-OK INTX-OK", m.text())
                with open(trace) as f:
                    lines = f.read()
                self.assertEqual(lines.count("pci_msix_irqfd_send"), 102 if fd else 0)
                self.assertEqual(lines.count("pci_msi_notify"), 0 if fd else 102)

    def test_timers(self):
        """The interval timer in the kernel and in user space; the HPET takes its place."""
        kernel = self.ring3(program="pit-hpet.c")
        for chip, device in ("on", "kvm-pit"), ("split", "isa-pit"):
            with self.subTest(chip=chip), \
                 rhea.Machine("-M", "q35", "-accel", f"kvm,kernel-irqchip={chip}", "-m", "64",
                              "-kernel", kernel, "-device", "isa-debug-exit", "-S",
                              "-global", "kvm-pit.lost_tick_policy=discard",
                              nodefaults=True) as m:
                self.assertIn(f"dev: {device}", m.hmp("info qtree"))
                m.qmp("cont")
                m.expect("TIMERS-OK|FAILED", 120)
                self.assertEqual(m.wait(20), 0x21, m.text())

    def test_memory(self):
        """RAM that is shared, and the dirty ring instead of bitmaps."""
        rom = self.ring3("-DROM")
        self.run_ring3("-accel", "kvm,dirty-ring-size=4096", "-bios", rom)
        self.run_ring3("-accel", "kvm", "-bios", rom, "-object",
                       "memory-backend-memfd,id=m,size=64M,share=on", "-machine",
                       "memory-backend=m")

    def test_fallback(self):
        rom = self.ring3("-DROM")
        with rhea.Machine("-accel", "kvm,device=/nonexistent", "-accel", "tcg", "-m", "64",
                          "-bios", rom, "-device", "isa-debug-exit", nodefaults=True,
                          qmp=False) as m:
            self.assertEqual(m.wait(60), 0x21)
            m.errors.seek(0)
            lines = m.errors.read().decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], "falling back to tcg: .*cannot open /nonexistent: No such file")

    def test_reset_stop(self):
        """Paused, shown, reset and continued: the guest goes through all of it again."""
        rom = self.ring3("-DROM")
        for chip in "on", "split", "off":
            with self.subTest(chip=chip), \
                 rhea.Machine("-accel", f"kvm,kernel-irqchip={chip}", "-m", "64", "-bios", rom,
                              nodefaults=True) as m:
                m.expect("RING3-OK", 60)
                m.qmp("stop")
                text = m.hmp("info registers")
                self.assertIn("CS =001b", text)
                m.hmp("info pic")
                m.qmp("system_reset")
                m.qmp("cont")
                m.expect("RING3-OK[^G]*GDRING3-OK", 60)

    def test_boot_menu(self):
        with rhea.Machine("-accel", "kvm", "-m", "32", "-net", "none", "-boot",
                          "menu=on,splash-time=20000") as m:
            m.expect_screen("Press ESC for boot menu", 120)
            m.qmp("send-key", keys=[{"type": "qcode", "data": "esc"}])
            m.expect_screen("Select boot device:", 60)

    def test_freedos(self):
        image = rhea.shared_guest("freedos-720k-tools.img")
        with rhea.Machine("-accel", "kvm", "-m", "16", "-net", "none", "-drive",
                          f"file={image},format=raw,if=floppy,snapshot=on", "-boot", "a") as m:
            m.expect_screen(r"FREEDOS-READY[\s\S]*A:\\>", 300)


if __name__ == "__main__":
    rhea.main()
