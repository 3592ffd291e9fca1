#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What -accel kvm does with a kernel that has all of KVM: in a machine of the translator's with
SVM.  Hyper-V's enlightenments, the state of a guest's own guest, the debugger in ring 3."""
import os
import shutil
import socket
import subprocess
import tempfile
import unittest

import rhea
import rsp
import test_svm


class Client(rsp.Rsp):
    """Of a server on a port of this host."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.settimeout(200 * rhea.PATIENCE)
        self.buffer = b""
        self.acks = True


class KvmSvm(test_svm.Svm):
    test_pc = test_q35_split = test_stock = test_second_level = None # test_svm.py's own

    def ring3(self, mode, count):
        """tests/guest/ring3.S as firmware, and its symbols."""
        folder = tempfile.mkdtemp(prefix="rhea-ring3-")
        self.addCleanup(shutil.rmtree, folder)
        elf, rom = (os.path.join(folder, n) for n in ("elf", "rom"))
        made = subprocess.run(["gcc", "-DROM", "-nostdlib", "-static", "-no-pie", "-w",
                               "-Wl,-Ttext=0x100000,-N,--build-id=none",
                               rhea.SOURCE / "tests/guest/ring3.S", "-o", elf],
                              capture_output=True, text=True, check=False)
        rhea.skip_unless(not made.returncode, "gcc cannot build the guest: " + made.stderr[:200])
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", elf, rom], check=True)
        with open(rom, "rb") as f:
            data = f.read()
        with open(rom, "wb") as f:
            f.write(data[:4] + mode.to_bytes(4, "little") + count.to_bytes(4, "little")
                    + data[12:])
        names = subprocess.run(["nm", elf], capture_output=True, text=True, check=True).stdout
        return rom, {n: int(v, 16) for v, _, n in map(str.split, names.splitlines())}

    def test_hyperv(self):
        folder = self.folder()
        test_svm.build(folder, test_svm.add_rhea)
        with self.started(folder, "/opt/rhea", "-M", "q35", "-cpu",
                          "host,hv-passthrough,kvm=off") as m:
            m.command("say 'dmesg | grep Hypervisor; cat /sys/devices/system/clocksource/*/"
                      "current_clocksource'")
            m.command("expect 'Hypervisor detected: Microsoft Hyper-V' /tmp/log 60", 80)
            m.command("expect ^hyperv_clocksource_tsc_page /tmp/log 60", 80)
            m.command("say 'cat /proc/interrupts'; expect 'HVS: *[1-9]' /tmp/log 60", 80)
            m.command("monitor stop; monitor 'info status'; expect paused /tmp/mon 30", 60)
            m.command("monitor cont; say 'echo going=\"\"on'; expect going=on /tmp/log 60", 80)
            m.command(": > /tmp/log; monitor system_reset; expect RHEA-READY /tmp/log 400", 420)
            m.command("say poweroff; expect 'status 0' /tmp/end 120", 140)

    def test_crash(self):
        """A guest's own words about its crash, by way of Hyper-V's registers, reach QMP."""
        folder = self.folder()
        test_svm.build(folder, test_svm.add_rhea)
        made = os.path.join(folder, "opt/crash")
        done = subprocess.run(["gcc", "-c", "-m32", rhea.SOURCE / "tests/guest/hv-crash.S", "-o",
                               made], capture_output=True, text=True, check=False)
        rhea.skip_unless(not done.returncode, "gcc cannot build the guest: " + done.stderr[:200])
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", made], check=True)
        kernel, initramfs = rhea.linux_guest(folder, name="kvm-svm")
        with rhea.Machine("-cpu", "max,+svm", "-m", "1024", "-kernel", kernel, "-initrd",
                          initramfs, "-append", "console=ttyS0 quiet mitigations=off", "-net",
                          "none", qmp=False) as m:
            m.expect("RHEA-READY", 180)
            m.command("mkfifo /tmp/q; (sleep 100000 > /tmp/q &)")
            m.command("(/opt/rhea -accel kvm -cpu host,hv-crash -m 64 -bios /opt/crash -nodefaults "
                      "-display none -S -action panic=pause -qmp stdio < /tmp/q > /tmp/log 2>&1 &)")
            m.command("qmp() { echo \"{'execute': '$1'}\" > /tmp/q; }; qmp qmp_capabilities; qmp cont")
            m.command("until grep -q GUEST_PANICKED /tmp/log; do sleep 1; done", 60)
            m.command("qmp query-status; until grep -q '\"status\"' /tmp/log; do sleep 1; done", 60)
            m.command("cat /tmp/log")
            said = m.text()
            self.assertIn('"status": "guest-panicked"', said)
            self.assertIn(f'"type": "hyper-v", "arg1": {0x8000000000000011}, "arg2": 34, '
                          '"arg3": 51, "arg4": 68, "arg5": 85', said)

    def test_nested_state(self):
        """A guest in the guest runs while the state of its CPU comes out and goes in, and when
        the machine is reset."""
        rom, _ = self.ring3(1, 0xffffffff)
        inner, outer = self.folder(), self.folder()
        test_svm.build(inner, test_svm.add_rhea)
        shutil.copy(rom, os.path.join(inner, "opt/rom"))
        _, initramfs = rhea.linux_guest(inner, name="kvm-svm-inner")
        test_svm.build(outer, test_svm.add_rhea, initramfs)
        with self.started(outer, "/opt/rhea", "-cpu", "host,+svm", "-m", "512") as m:
            m.command("say 'cd /tmp; (/opt/rhea -accel kvm -m 64 -bios /opt/rom -nodefaults "
                      "-display none -serial file:ring > err 2>&1 &)'")
            m.command("say 'until grep -q G ring; do sleep 1; done; echo ring=\"\"seen'")
            m.command("expect ring=seen /tmp/log 200", 220)
            for _ in range(10): # a corrected error interrupts nobody
                m.command("for c in 0 1; do monitor \"mce $c 3 0x9c00000000000134 0 0 0\"; done")
                m.command("monitor stop; monitor 'info registers -a'; monitor cont; sleep 1")
            m.command("say 'cat err; echo alive=$(pidof rhea | wc -w)'")
            m.command("expect ^alive=1 /tmp/log 60", 80)
            m.command(": > /tmp/log; monitor system_reset; expect RHEA-READY /tmp/log 400", 420)
            m.command("say poweroff; expect 'status 0' /tmp/end 120", 140)

    def test_debugger(self):
        rom, at = self.ring3(0, 1000)
        folder = self.folder()
        test_svm.build(folder, test_svm.add_rhea)
        shutil.copy(rom, os.path.join(folder, "opt/rom"))
        kernel, initramfs = rhea.linux_guest(folder, name="kvm-svm")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        with rhea.Machine("-cpu", "max,+svm", "-m", "1024", "-kernel", kernel, "-initrd",
                          initramfs, "-append", "console=ttyS0 quiet mitigations=off", "-nic",
                          f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{port}-:1234",
                          qmp=False) as m:
            m.expect("RHEA-READY", 180)
            m.command("(/opt/rhea -accel kvm -m 64 -bios /opt/rom -S -gdb tcp::1234 -nodefaults "
                      "-display none -device isa-debug-exit -serial file:/tmp/log &)")
            m.command("until grep -q :04D2 /proc/net/tcp*; do sleep 1; done", 60)
            r = Client(port)
            self.addCleanup(r.close)
            r.no_acks()
            regs = r.numbers()

            def get(name):
                return r.get(regs[name][0])

            self.assertEqual(r.ask(f"Z1,{at['user']:x},1"), "OK")
            self.assertRegex(r.ask("c"), "^T05")
            self.assertEqual((get("rip"), get("cs")), (at["user"], 0x1b))
            self.assertRegex(r.ask("s"), "^T05")
            self.assertEqual(get("rip"), at["user"] + 2) # a move of two bytes
            self.assertEqual(r.ask(f"z1,{at['user']:x},1"), "OK")
            self.assertEqual(r.ask(f"Z2,{at['ticks']:x},4"), "OK")
            for ticks in range(1, 4): # stopped behind the instruction that counts
                self.assertIn("watch:", r.ask("c"))
                self.assertTrue(at["timer"] < get("rip") < at["timer"] + 16)
                self.assertEqual(int.from_bytes(r.read(at["ticks"], 4), "little"), ticks)
            self.assertEqual(r.ask(f"z2,{at['ticks']:x},4"), "OK")
            r.send("c")
            m.command("until grep -q 'RING3-OK in ring 3' /tmp/log; do sleep 1; done", 100)


if __name__ == "__main__":
    rhea.main()
