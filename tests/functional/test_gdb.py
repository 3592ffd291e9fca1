#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The gdb server: the protocol with good and bad peers, and the real gdb on a small kernel."""
import os
import random
import re
import shutil
import socket
import subprocess
import time
import unittest

import rhea
import rsp

SOURCE = rhea.SOURCE / "tests" / "guest" / "debug.S"


class Stub(rhea.Machine):
    """A machine that stands at its first instruction, with a gdb server."""

    def __init__(self, *args):
        super().__init__("-S", *args, nodefaults=True, serial=False)
        self.path = os.path.join(self.folder, "gdb")
        self.args += ["-gdb", f"unix:{self.path}"]

    def __enter__(self):
        super().__enter__()
        self.rsp = rsp.Rsp(self.path)
        return self

    def __exit__(self, *error):
        self.rsp.close()
        super().__exit__(*error)

    def real_mode(self, code, at=0x7000):
        """Puts 16-bit code into memory, and the CPU in front of it."""
        assert self.rsp.write(at, code) == "OK"
        self.regs = self.rsp.numbers()
        for name in ("cs", "ds", "es", "ss"):
            assert self.rsp.set(self.regs[name], 0) == "OK"
        assert self.rsp.set(self.regs["rip"], at) == "OK"
        assert self.rsp.set(self.regs["eflags"], 2) == "OK"

    def value(self, name):
        return self.rsp.get(self.regs[name][0])


class Gdb(unittest.TestCase):
    def test_protocol(self):
        with Stub("-m", "16", "-smp", "2") as m:
            r = m.rsp
            features = r.ask("qSupported:swbreak+;hwbreak+;vContSupported+")
            for f in ("PacketSize=4000", "qXfer:features:read+", "QStartNoAckMode+",
                      "vContSupported+"):
                self.assertIn(f, features.split(";"))
            r.no_acks()
            self.assertEqual(r.ask("?"), "T05thread:01;")
            self.assertEqual(r.ask("qAttached"), "1")
            self.assertEqual(r.ask("qC"), "QC01")
            self.assertEqual((r.ask("qfThreadInfo"), r.ask("qsThreadInfo")), ("m01,02", "l"))
            self.assertEqual(bytes.fromhex(r.ask("qThreadExtraInfo,1")), b"CPU#0 [running]")
            self.assertEqual((r.ask("T1"), r.ask("T2"), r.ask("T3")), ("OK", "OK", "E22"))
            self.assertEqual(r.ask("vCont?"), "vCont;c;C;s;S")
            self.assertEqual(r.ask("vMustReplyEmpty"), "")
            self.assertEqual(r.ask("qqemu.sstepbits"), "ENABLE=1,NOIRQ=2,NOTIMER=4")
            self.assertEqual((r.ask("qqemu.sstep"), r.ask("Qqemu.sstep=1"), r.ask("qqemu.sstep")),
                             ("0x7", "OK", "0x1"))
            self.assertEqual(r.ask("Qqemu.sstep=8"), "E22")
            self.registers(r)
            self.memory(r)
            r.send("qRcmd," + b"info status".hex())
            text = r.receive()
            self.assertIn(b"paused", bytes.fromhex(text[1:]))
            self.assertEqual(r.receive(), "OK")
            # The machine's end is told.
            r.send("vKill;1")
            self.assertEqual((r.receive(), r.receive()), ("OK", "W00"))
            self.assertEqual(m.wait(), 0)

    def registers(self, r):
        xml = r.description()
        self.assertIn("i386:x86-64", xml)
        regs = r.numbers()
        for name in ("rax", "rip", "eflags", "cs", "st0", "fctrl", "xmm15", "mxcsr", "fs_base",
                     "k_gs_base", "cr0", "cr8", "efer"):
            self.assertIn(name, regs)
        everything = r.ask("g")
        self.assertEqual(len(everything) // 2, sum(size for _, size in regs.values()))
        self.assertEqual(r.ask("G" + everything), "OK")
        self.assertEqual(r.ask("g"), everything)
        values = {"rbx": 0x123456789abcdef0, "xmm3": 0x0123456789abcdef0011223344556677,
                  "st2": 0x4000c90fdaa22168c235, "mxcsr": 0x1f80, "cr2": 0xdeadbeef,
                  "fs_base": 0xffff800000001000, "fctrl": 0x37f}
        for name, value in values.items():
            self.assertEqual(r.set(regs[name], value), "OK", name)
            self.assertEqual(r.get(regs[name][0]), value, name)
        for name, value in (("mxcsr", 0x10000), ("cr4", 1 << 40), ("cr3", 1 << 60),
                            ("fs_base", 1 << 60), ("cr0", 0x60000011), ("efer", 1 << 10)):
            self.assertEqual(r.set(regs[name], value), "E22", name)
        self.assertEqual(r.ask("p%x" % len(regs)), "E22")

    def memory(self, r):
        data = bytes(range(256)) * 16
        self.assertEqual(r.write(0x5ff0, data), "OK")
        self.assertEqual(r.read(0x5ff0, 4096), data)
        self.assertEqual(r.ask("M6000,4:00112233"), "OK")
        self.assertEqual(r.read(0x6000, 4), b"\0\x11\x22\x33")
        self.assertEqual(r.read(0xffff0, 1)[0], 0xea) # the firmware's first jump
        self.assertEqual(r.ask("qqemu.PhyMemMode") + r.ask("Qqemu.PhyMemMode:1"), "0OK")
        self.assertEqual(r.read(0x6000, 4), b"\0\x11\x22\x33")
        self.assertEqual(r.ask("Qqemu.PhyMemMode:0"), "OK")

    def test_malformed(self):
        with Stub("-m", "16") as m:
            r = m.rsp
            r.raw(b"$g#00") # bad checksum
            self.assertEqual(r.byte(), b"-")
            r.raw(b"$g#zz")
            self.assertEqual(r.byte(), b"-")
            answer = r.ask("qC")
            r.raw(b"-") # again, please
            self.assertEqual(r.receive(), answer)
            self.assertEqual(r.ask("m0," + "1" * 20000), "E22") # longer than agreed
            r.raw(b"$qC$qC#b4") # cut off by the next one
            self.assertEqual(r.byte() + r.receive().encode(), b"+QC01")
            r.no_acks()
            bad = ["m", "m,", "m0", "m0,", "m0,zz", "mz,1", "m0,1;", "m0,ffffffffffffffff",
                   "m0,10000000000000000", "m0,4001", "M0", "M0,1", "M0,1:", "M0,1:1", "M0,1:zz",
                   "M0,2:11", "M0,1:1122", "M0,ffffffffffffffff:11", "X0,5:abc", "X0,1:",
                   "X0,ffffffff:a", "p", "pzz", "pffffffff", "p11111111111111111", "P", "P0", "P0=",
                   "P0=11", "P0=zz" + "0" * 14, "P0=" + "0" * 18, "Pfff=00", "G00", "Gzz", "Hz",
                   "H", "Hg5", "Hgzz", "Hg-2", "T", "T99", "Tzz", "Z0", "Z0,", "Z0,zz,1", "Z0,0",
                   "Z0,0,1;x", "Z2,0,0", "Z3,1,", "vCont", "vContx", "vCont;", "vCont;x",
                   "vCont;c:9", "vCont;c:", "vCont;C", "vCont;s:1x", "vCont;c:p1.1", "czz", "Czz",
                   "sx", "S5;", "qThreadExtraInfo,", "qThreadExtraInfo,77", "qThreadExtraInfo,-1",
                   "qRcmd,1", "qRcmd,zz", "qXfer:features:read:target.xml:",
                   "qXfer:features:read:target.xml:0", "qXfer:features:read:target.xml:fffff,1",
                   "qXfer:features:read:../../etc/passwd:0,100", "qXfer:features:read:",
                   "qXfer:features:read:target.xml:0,zz"]
            for packet in bad:
                if packet == "S5;":
                    continue # a signal and no address: a step
                self.assertRegex(r.ask(packet), "^E..$", packet)
            for packet in ("", "_", "vUnknown", "qUnknown", "QUnknown", "Z9,0,1", "b", "\x01"):
                self.assertEqual(r.ask(packet), "", packet)
            for i in range(1024): # a bounded number of breakpoints
                self.assertEqual(r.ask(f"Z0,{i * 16 + 0x100000:x},1"), "OK")
            self.assertEqual(r.ask("Z0,ffff,1"), "E28")
            self.assertEqual(r.ask("Z0,100000,1"), "OK") # there already
            self.noise(r, bad)
            self.assertEqual(m.qmp("query-status")["status"] != "internal-error", True)

    def noise(self, r, words):
        """Rubbish, and packets with rubbish in them; then the server still answers."""
        rng = random.Random(1)
        for _ in range(1500):
            word = rng.choice(words).encode("latin-1")
            while word[:1] in b"cCsSvDkG" or b"Cont" in word:
                word = rng.choice(words).encode("latin-1")
            word = bytearray(word)
            for _ in range(rng.randrange(4)):
                if len(word) > 1:
                    word[rng.randrange(1, len(word))] = rng.randrange(256)
            if rng.randrange(8) == 0:
                noise = bytes(c for c in rng.randbytes(rng.randrange(40)) if c not in b"$\x03")
                r.raw(noise)
            r.raw(rsp.Rsp.frame(bytes(word)))
        r.raw(rsp.Rsp.frame("qqemu.sstepbits"))
        while r.receive() != "ENABLE=1,NOIRQ=2,NOTIMER=4":
            pass

    def test_real_mode(self):
        code = bytes.fromhex("b83412"      # 7000 mov ax, 0x1234
                             "a30050"      # 7003 mov [0x5000], ax
                             "a10250"      # 7006 mov ax, [0x5002]
                             "fe060450"    # 7009 inc byte [0x5004]
                             "b90300"      # 700d mov cx, 3
                             "be0060"      # 7010 mov si, 0x6000
                             "bf0850"      # 7013 mov di, 0x5008
                             "f3a4"        # 7016 rep movsb
                             "cd80"        # 7018 int 0x80
                             "f4"          # 701a hlt
                             "ebe3")       # 701b jmp 7000
        with Stub("-m", "16") as m:
            r = m.rsp
            r.ask("qSupported:swbreak+")
            r.no_acks()
            m.real_mode(code)
            r.write(0x200, bytes.fromhex("00780000")) # int 0x80's vector: 7800: iret
            r.write(0x7800, b"\xcf")
            r.set(m.regs["rsp"], 0x6ff0)
            where = lambda: m.value("rip")
            self.assertEqual(r.ask("s"), "T05thread:01;")
            self.assertEqual((where(), m.value("rax")), (0x7003, 0x1234))
            # A breakpoint stops before its instruction; a step leaves it.
            self.assertEqual(r.ask("Z1,7009,1"), "OK")
            self.assertEqual(r.ask("c"), "T05thread:01;swbreak:;")
            self.assertEqual(where(), 0x7009)
            self.assertEqual(r.ask("vCont;s:1"), "T05thread:01;")
            self.assertEqual(where(), 0x700d)
            # REP: a step is one iteration.
            for _ in range(3):
                r.ask("s")
            self.assertEqual(where(), 0x7016)
            for left, at in ((2, 0x7016), (1, 0x7016), (0, 0x7018)):
                r.ask("s")
                self.assertEqual((where(), m.value("rcx")), (at, left))
            r.ask("s") # into the handler, out of it
            self.assertEqual(where(), 0x7800)
            r.ask("s")
            self.assertEqual(where(), 0x701a)
            r.ask("s") # HLT is left by an interrupt only, but it is done
            self.assertEqual(where(), 0x701b)
            self.assertEqual(bytes.fromhex(r.ask("qThreadExtraInfo,1")), b"CPU#0 [halted ]")
            self.watchpoints(m)

    def watchpoints(self, m):
        r = m.rsp
        self.assertEqual(r.ask("z1,7009,1"), "OK")
        for kind, addr, size, reason, after in (
                (2, 0x5000, 2, "watch:5000", 0x7006),
                (2, 0x5001, 1, "watch:5001", 0x7006),
                (3, 0x5002, 2, "rwatch:5002", 0x7009),
                (4, 0x5003, 1, "awatch:5003", 0x7009),
                (2, 0x5004, 1, "watch:5004", 0x700d),
                (3, 0x5004, 1, "rwatch:5004", 0x700d),
                (2, 0x5009, 1, "watch:5009", 0x7016),
                (3, 0x6002, 1, "rwatch:6002", 0x7018),
                (4, 0x6ffe, 2, "awatch:6fee", 0x7800)):
            m.hmp("system_reset")
            m.real_mode(bytes.fromhex("b83412a30050a10250fe060450b90300be0060bf0850f3a4cd80f4ebe3"))
            r.set(m.regs["rsp"], 0x7000 if kind == 4 and addr == 0x6ffe else 0x6ff0)
            addr = 0x6ffe if reason == "awatch:6fee" else addr
            reason = "awatch:6ffe" if reason == "awatch:6fee" else reason
            r.write(0x200, bytes.fromhex("00780000"))
            r.write(0x7800, b"\xcf")
            self.assertEqual(r.ask(f"Z{kind},{addr:x},{size:x}"), "OK")
            self.assertEqual(r.ask("c"), f"T05thread:01;{reason};", hex(addr))
            self.assertEqual(m.value("rip"), after, hex(addr))
            self.assertEqual(r.ask(f"z{kind},{addr:x},{size:x}"), "OK")

    def test_interrupt(self):
        with Stub("-m", "16") as m:
            r = m.rsp
            r.no_acks()
            m.real_mode(b"\xeb\xfe")
            r.send("c")
            time.sleep(0.2)
            self.assertTrue(m.qmp("query-status")["running"])
            r.raw(b"\x03")
            self.assertEqual(r.receive(), "T02thread:01;")
            self.assertFalse(m.qmp("query-status")["running"])
            # The monitor's stop is seen as well, its cont is not undone by a closed connection.
            r.send("c")
            while not m.qmp("query-status")["running"]:
                time.sleep(0.01)
            m.qmp("stop")
            self.assertEqual(r.receive(), "T02thread:01;")
            r.ask("Z0,7000,1")
            self.assertEqual(r.ask("c")[:3], "T05")
            self.assertEqual(m.qmp("query-status")["status"], "debug")
            # Detaching removes breakpoints and lets it run.
            self.assertEqual(r.ask("D"), "OK")
            time.sleep(0.1)
            self.assertTrue(m.qmp("query-status")["running"])
            # Another server in its place.
            other = m.path + "2"
            self.assertIn("Waiting", m.hmp(f"gdbserver unix:{other}"))
            again = rsp.Rsp(other)
            self.assertEqual(again.ask("?"), "T05thread:01;")
            self.assertFalse(m.qmp("query-status")["running"])
            again.send("qRcmd," + b"gdbserver none".hex())
            self.assertIn(b"can't replace", bytes.fromhex(again.receive()[1:]))
            again.close()
            self.assertIn("Disabled", m.hmp("gdbserver none"))
            with self.assertRaises(OSError), socket.socket(socket.AF_UNIX) as s:
                s.connect(other)

    # ---- the real one ----
    def build(self, folder):
        elf = os.path.join(folder, "debug.elf")
        run = subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-no-pie",
                              "-Wl,-Ttext=0x100000,-N,--build-id=none", str(SOURCE), "-o", elf],
                             capture_output=True, text=True, check=False)
        rhea.skip_unless(run.returncode == 0, "gcc -m32 does not work: " + run.stderr[:200])
        names = subprocess.run(["nm", elf], capture_output=True, text=True, check=True).stdout
        return elf, {n: int(a, 16) for a, _, n in re.findall(r"(\w+) (\w) (\w+)", names)}

    def test_gdb(self):
        rhea.skip_unless(shutil.which("gdb"), "no gdb here")
        m = Stub("-m", "64", "-smp", "2")
        elf, at = self.build(m.folder)
        m.args += ["-kernel", elf]
        rhea.Machine.__enter__(m)
        m.rsp = rsp.Rsp.__new__(rsp.Rsp)
        m.rsp.close = lambda: None
        try:
            out = self.run_gdb(m, at)
        except BaseException:
            m.report()
            raise
        finally:
            m.process.kill()
            m.process.wait()
        self.check_gdb(out, at)

    def run_gdb(self, m, at):
        script = [
            "set pagination off", "set confirm off", "set architecture i386:x86-64",
            f"target remote {m.path}",
            f"hbreak *{at['long_mode']:#x}", "continue", "echo <long_mode>\\n",
            "p/x $rip", "p/x $efer", "p/x $cs", "delete",
            f"break *{at['user_syscall']:#x}", "continue",
            "p/x $cs", "stepi", "p/x $rip", "p/x $cs", "p $rax", "stepi", "stepi", "stepi", "p/x $rip",
            "echo <syscall_done>\\n", "delete",
            f"watch *(int *){at['watched']:#x}", "continue", "p/x $rip", "continue",
            "echo <watch_done>\\n", "delete",
            f"rwatch *(int *){at['counted']:#x}", "continue", "p/x $rip", "delete",
            f"awatch *(char *){at['counted'] + 7:#x}", "continue", "p $rcx", "delete",
            "echo <threads>\\n", "info threads", "thread 2",
            f"break *{at['ap_loop']:#x} thread 2", "continue", "p/x $rip",
            "set scheduler-locking on", f"set $before = *(long *){at['ap_count']:#x}",
            f"set $calls = *(long *){at['calls']:#x}",
            "stepi", "stepi", "stepi", "stepi", "p/x $rip",
            f"p *(long *){at['ap_count']:#x} - $before", f"p *(long *){at['calls']:#x} - $calls",
            "echo <registers>\\n", "p $xmm0.uint128", "info registers mxcsr", "p/x $cr4",
            "set var $rbx = 0x1122334455667788", "p/x $rbx", "monitor info status",
            "delete", "detach"]
        path = os.path.join(m.folder, "script.gdb")
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(script))
        run = subprocess.run(["gdb", "-q", "-nx", "-batch", "-x", path], capture_output=True,
                             text=True, timeout=90 * rhea.PATIENCE, check=False)
        self.assertTrue(m.qmp("query-status")["running"], run.stdout + run.stderr)
        return run.stdout + run.stderr

    def check_gdb(self, out, at):
        def part(first, last=None):
            piece = out[out.index(f"<{first}>"):]
            return piece[:piece.index(f"<{last}>")] if last else piece
        self.assertIn("<threads>", out, out)
        text = part("long_mode", "syscall_done")
        values = re.findall(r"\$\d+ = (\S+)", text)
        self.assertEqual(values[:3], [hex(at["long_mode"]), "0x501", "0x8"], out)
        self.assertEqual(values[3:], ["0x23", hex(at["syscall_entry"]), "0x8", "7",
                                      hex(at["user_after"])], out)
        text = part("syscall_done", "watch_done")
        changes = re.findall(r"Old value = (\d+)\s+New value = (\d+)", text)
        self.assertEqual(len(changes), 2, out)
        for old, new in changes:
            self.assertEqual(int(new), int(old) + 1)
        self.assertIn(f"= {at['store_site'] + 2:#x}", text)
        text = part("watch_done", "threads")
        self.assertIn(f"= {at['after_load']:#x}", text, out)
        self.assertRegex(text, r"\$\d+ = 56\n", out) # the eighth byte of 64
        text = part("threads", "registers")
        self.assertRegex(text, r"1\s+Thread 1 \(CPU#0[\s\S]*2\s+Thread 2 \(CPU#1")
        values = re.findall(r"\$\d+ = (\S+)", text)
        self.assertEqual(values, [hex(at["ap_loop"]), hex(at["ap_loop"]), "1", "0"], out)
        text = part("registers")
        self.assertIn("0x1122334455667788", text)
        self.assertIn("VM status: paused (debug)", text)


if __name__ == "__main__":
    rhea.main()
