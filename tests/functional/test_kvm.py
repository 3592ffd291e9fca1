#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""-accel kvm with guests that any KVM can run, even one that interprets most of them."""
import os
import re
import subprocess
import tempfile
import time
import unittest

import rhea
import rsp

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

    def test_inject(self):
        """NMIs and machine checks from the monitor."""
        kernel = self.ring3(program="inject.c")
        for chip in "on", "off":
            with self.subTest(chip=chip), \
                 rhea.Machine("-accel", f"kvm,kernel-irqchip={chip}", "-m", "64", "-kernel",
                              kernel, "-device", "isa-debug-exit", nodefaults=True) as m:
                m.expect("READY ", 120)
                m.qmp("inject-nmi")
                m.expect("NMI-OK ", 60)
                self.assertEqual(m.hmp("mce 0 3 0xbd00000000000134 0x5 0x123456000 0x8c"), "")
                m.expect("MCE ", 60)
                self.assertEqual(m.wait(60), 0x21, m.text())
                self.assertIn("0000000000000003 bd00000000000134 0000000123456000 "
                              "0000000000000005", m.text())

    def symbols(self):
        text = subprocess.run(["nm", os.path.join(self.folder, "elf")], capture_output=True,
                              text=True, check=True).stdout
        return {name: int(value, 16) for value, _, name in map(str.split, text.splitlines())}

    def test_internal_error(self):
        """What KVM cannot emulate: reason, registers and code are printed, the machine stops."""
        rom = self.ring3("-DROM", "-DBROKEN")
        at = self.symbols()["broken"]
        with rhea.Machine("-accel", "kvm", "-m", "64", "-bios", rom, nodefaults=True) as m:
            deadline = time.monotonic() + 60 * rhea.PATIENCE
            while (state := m.qmp("query-status")["status"]) == "running":
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
            self.assertEqual(state, "internal-error")
            m.errors.seek(0)
            text = m.errors.read().decode()
            self.assertRegex(text, "CPU 0 cannot run on: an internal error of KVM: "
                                   r"it cannot emulate the instruction \(1\)")
            self.assertRegex(text, f"[RE]IP={at:0>16x}" if "RIP=" in text else f"EIP={at:0>8x}")
            self.assertIn("<db> 2b ", text)

    def test_debugger(self):
        """Break- and watchpoints and steps of the gdb server.  KVM that interprets ring 0 knows no
        points in ring 3 and no watchpoints: then that part is skipped."""
        rom = self.ring3("-DROM")
        at = self.symbols()
        path = os.path.join(self.folder, "gdb")
        with rhea.Machine("-S", "-gdb", f"unix:{path}", "-accel", "kvm", "-m", "64", "-bios", rom,
                          nodefaults=True) as m:
            r = rsp.Rsp(path)
            self.addCleanup(r.close)
            r.no_acks()
            regs = r.numbers()

            def get(name):
                return r.get(regs[name][0])

            def point(kind, name, size=1):
                self.assertEqual(r.ask(f"Z{kind},{at[name]:x},{size}"), "OK")

            def no_point(kind, name, size=1):
                self.assertEqual(r.ask(f"z{kind},{at[name]:x},{size}"), "OK")

            point(1, "long_mode")
            self.assertRegex(r.ask("c"), "^T05")
            self.assertEqual((get("rip"), get("cs")), (at["long_mode"], 8))
            # Steps, from a place with a breakpoint, too: a move of 5 bytes, then of 2.
            for length in 5, 7:
                self.assertRegex(r.ask("s"), "^T05")
                self.assertEqual(get("rip"), at["long_mode"] + length)
            self.assertEqual(get("rax"), 0x10)
            no_point(1, "long_mode")
            # The handler of ring 0, which interrupts ring 3.
            point(0, "timer")
            for ticks in range(3):
                self.assertRegex(r.ask("c"), "^T05")
                self.assertEqual((get("rip"), get("cs")), (at["timer"], 8))
                self.assertEqual(int.from_bytes(r.read(at["ticks"], 4), "little"), ticks)
                no_point(0, "timer")
                self.assertRegex(r.ask("s"), "^T05")
                point(0, "timer")
            for i in range(3):
                self.assertEqual(r.ask(f"Z1,{0x200000 + i:x},1"), "OK")
            self.assertEqual(r.ask("Z1,200010,1"), "E28") # the processor has four
            for i in range(3):
                self.assertEqual(r.ask(f"z1,{0x200000 + i:x},1"), "OK")
            no_point(0, "timer")
            r.send("c")
            m.expect("RING3-OK in ring 3", 60)

            m.qmp("stop")
            r.receive()
            m.qmp("system_reset")
            point(1, "user")
            point(2, "ticks", 4)
            r.send("c")
            before = len(m.text())
            try:
                m.expect("RING3-OK in ring 3", 5, start=before)
            except rhea.Timeout:
                pass
            else:
                self.skipTest("this KVM knows no breakpoints in ring 3")
            self.assertRegex(r.receive(), "^T05")
            self.assertEqual((get("rip"), get("cs")), (at["user"], 0x1b))
            self.assertRegex(r.ask("s"), "^T05")
            self.assertEqual(get("rip"), at["user"] + 2)
            no_point(1, "user")
            # Stopped behind the instruction that writes.
            self.assertIn("watch:", r.ask("c"))
            self.assertTrue(at["timer"] < get("rip") < at["timer"] + 16)
            before = int.from_bytes(r.read(at["ticks"], 4), "little")
            self.assertIn("watch:", r.ask("c"))
            self.assertEqual(int.from_bytes(r.read(at["ticks"], 4), "little"), before + 1)

    def flags_of(self, m, size):
        """Each mapping of the guest's memory: its smaps lines by name."""
        found, current = [], None
        with open(f"/proc/{m.process.pid}/smaps") as f:
            for line in f:
                if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
                    low, high = (int(n, 16) for n in line.split()[0].split("-"))
                    current = {"size": high - low, "map": line}
                    found.append(current)
                else:
                    name, _, value = line.partition(":")
                    current[name] = value.strip()
        return [c for c in found if c["size"] == size]

    def test_memory_flags(self):
        """mem-merge=, dump-guest-core=, share=, prealloc= and hugetlb= are what the kernel is told."""
        size = 48 << 20

        def flags(*args):
            with rhea.Machine("-accel", "kvm", "-m", "48", "-S", *args, nodefaults=True) as m:
                maps = self.flags_of(m, size)
                self.assertEqual(len(maps), 1)
                return maps[0]["map"], maps[0]["VmFlags"].split(), maps[0]["Rss"]

        _, on, rss = flags()
        self.assertEqual(("mg" in on, "dd" in on), (True, False))
        self.assertLess(int(rss.split()[0]), 8 << 10)
        _, off, _ = flags("-machine", "mem-merge=off,dump-guest-core=off")
        self.assertEqual(("mg" in off, "dd" in off), (False, True))
        name, shared, rss = flags("-machine", "memory-backend=m", "-object",
                                  "memory-backend-memfd,id=m,size=48M,share=on,prealloc=on")
        self.assertIn("memfd:", name)
        self.assertIn("sh", shared)
        self.assertGreaterEqual(int(rss.split()[0]), 48 << 10)
        if "hg" not in on and os.path.exists("/sys/kernel/mm/transparent_hugepage"):
            self.fail("the guest's memory is not advised to be of huge pages")

    def test_hugetlb(self):
        pages = "/proc/sys/vm/nr_hugepages"
        rhea.skip_unless(os.access(pages, os.W_OK), "no huge pages to be had")
        with open(pages) as f:
            old = f.read()

        def put(n):
            with open(pages, "w") as f:
                f.write(n)

        self.addCleanup(put, old)
        put(str(int(old) + 24))
        with open(pages) as f:
            rhea.skip_unless(int(f.read()) >= int(old) + 24, "too few huge pages")
        rom = self.ring3("-DROM")
        with rhea.Machine("-accel", "kvm", "-m", "48", "-bios", rom, "-machine",
                          "memory-backend=m", "-object",
                          "memory-backend-memfd,id=m,size=48M,hugetlb=on,prealloc=on",
                          nodefaults=True) as m:
            m.expect("RING3-OK", 60)
            [memory] = self.flags_of(m, 48 << 20)
            self.assertIn("ht", memory["VmFlags"].split())

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
            m.expect_screen(r"FREEDOS-READY[\s\S]*A:\\>", 540)


if __name__ == "__main__":
    rhea.main()
