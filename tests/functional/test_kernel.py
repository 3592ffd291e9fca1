#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""-kernel: Multiboot kernels with modules, firmware's log, and kernels that cannot be."""
import os
import subprocess
import tempfile
import unittest

import rhea

SOURCE = rhea.SOURCE / "tests" / "guest" / "multiboot.S"


class Kernel(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name, data=None):
        path = os.path.join(self.folder, name)
        if data is not None:
            with open(path, "wb") as f:
                f.write(data)
        return path

    def build(self, base, *defines):
        elf = self.path("kernel.elf")
        run = subprocess.run(["gcc", "-m32", "-nostdlib", "-static", *defines,
                              f"-Wl,-Ttext={base:#x},-N,--build-id=none", str(SOURCE), "-o", elf],
                             capture_output=True, text=True)
        if run.returncode:
            self.skipTest("gcc -m32 does not work: " + run.stderr[:200])
        return elf

    def multiboot(self, machine, kernel):
        one, two = self.path("one", b"hallo\n"), self.path("two", b"abcd")
        with rhea.Machine("-M", machine, "-m", "64", "-vga", "none", "-device", "isa-debug-exit",
                          "-kernel", kernel, "-append", "a b=c", "-initrd", f"{one} x y,{two}",
                          nodefaults=True, qmp=False) as m: # it may end before QMP greets
            self.assertEqual(m.wait(60), 0x21)
            text = m.text()
        self.assertIn("magic 2badb002", text)
        self.assertIn(f"cmdline {kernel} a b=c\n", text)
        self.assertIn(f"module {one} x y 6c6c6168\nlength 00000006", text)
        self.assertIn(f"module {two} 64636261\nlength 00000004", text)
        self.assertIn("range 00000000 0009fc00 00000001", text)
        self.assertIn("range 00100000 ", text)
        self.assertRegex(text, "upper 0000f[a-f]")
        self.assertIn("bss 00000000", text)

    def test_multiboot_elf(self):
        self.multiboot("pc", self.build(0x100000))

    def test_multiboot_flat(self):
        elf, flat = self.build(0x200000, "-DKLUDGE"), self.path("kernel.bin")
        subprocess.run(["objcopy", "-O", "binary", elf, flat], check=True)
        self.multiboot("q35", flat)

    def refused(self, message, *args):
        run = subprocess.run([rhea.BINARY, "-display", "none", "-nodefaults", *args],
                             capture_output=True, text=True, timeout=30)
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertIn(message, run.stderr)

    def test_refused(self):
        kernel = self.build(0x100000)
        self.refused("No such file", "-kernel", "/nonexistent")
        self.refused("neither a Linux", "-kernel", self.path("zero", b"\0" * 4096))
        self.refused("not a regular file", "-kernel", "/")
        self.refused("gzip", "-kernel", self.path("gz", b"\x1f\x8b" + b"\0" * 100))
        self.refused("-kernel", "-append", "x")
        self.refused("No such file", "-kernel", kernel, "-initrd", "/nonexistent")
        self.refused("beyond the end of memory", "-m", "2", "-kernel", self.build(0x400000))
        with open(kernel, "rb") as f:
            data = f.read()
        self.refused("", "-m", "16", "-kernel", self.path("cut", data[:300]))
        linux, _ = rhea.linux_guest()
        with open(linux, "rb") as f:
            data = f.read()
        self.refused("cut off", "-kernel", self.path("short", data[:4096]))
        self.refused("characters", "-kernel", linux, "-append", "x" * 5000)
        self.refused("not a video mode", "-kernel", linux, "-append", "vga=blue")
        self.refused("at most 8388608", "-m", "8", "-kernel", linux)
        self.refused("not a multiple of 64 KiB", "-bios", self.path("bios", b"\0" * 1000))
        self.refused("No such file", "-bios", "/nonexistent")

    def log(self, machine, *args):
        """What SeaBIOS says while it starts."""
        log = self.path("log")
        with rhea.Machine("-M", machine, "-m", "128", "-chardev", f"file,id=log,path={log}",
                          "-device", "isa-debugcon,iobase=0x402,chardev=log", *args,
                          serial=False, nodefaults=True):
            for _ in range(600):
                with open(log, errors="replace") as f:
                    text = f.read()
                if "No bootable device" in text:
                    return text
                rhea.time.sleep(0.1)
        self.fail("SeaBIOS does not come to an end: " + text)

    def test_firmware_pc(self):
        text = self.log("pc", "-smp", "3", "-vga", "std", "-nic", "user,model=e1000")
        for line in ("Running on QEMU (i440fx)", "QEMU fw_cfg DMA interface supported",
                     "Found 3 cpu(s) max supported 3 cpu(s)", "(via rsdt)",
                     "Copying SMBIOS", "PIIX3/PIIX4 init: elcr=00 0c", "PS2 keyboard initialized",
                     "kvmclock: stable tsc", "PCI: Using 00:02.0 for primary VGA",
                     "ATA controller 1 at 1f0/3f4/0 (irq 14 dev 9)"):
            self.assertIn(line, text)

    def test_firmware_q35(self):
        text = self.log("q35", "-vga", "std", "-boot", "order=n", "-device",
                        "pcie-root-port,id=p,chassis=1", "-device", "virtio-net-pci,bus=p")
        for line in ("Running on QEMU (q35)", "PCIe: using q35 mmconfig at 0xb0000000",
                     "Q35 LPC init: elcr=00 0c", "PCI: Using 00:01.0 for primary VGA",
                     "PCI: init bdf=01:00.0 id=1af4:", "b0000000 - 00000000c0000000 = 2 RESERVED"):
            self.assertIn(line, text)

    def test_suspend(self):
        kernel, initrd = rhea.linux_guest()
        with rhea.Machine("-M", "pc", "-m", "256", "-kernel", kernel, "-initrd", initrd,
                          "-append", "console=ttyS0 quiet no_console_suspend") as m:
            m.expect("RHEA-READY", 60)
            m.send("stty -echo; PS1='$ '\n")
            m.command("true")
            start = len(m.output)
            m.send("echo mem > /sys/power/state; echo resumed-$?\n")
            for _ in range(300):
                if m.qmp("query-status")["status"] == "suspended":
                    break
                rhea.time.sleep(0.1)
            m.qmp("system_wakeup")
            m.expect("resumed-0", 60, start)
            self.assertEqual(m.qmp("query-status")["status"], "running")
            self.assertEqual([e["event"] for e in m.events][:2], ["SUSPEND", "WAKEUP"])
            m.send("poweroff\n")
            self.assertEqual(m.wait(60), 0)


if __name__ == "__main__":
    rhea.main()
