#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux kernel's own x86 self-tests (package linux-source-6.1) inside the guest, compared
with the same guest on stock QEMU's TCG where that is installed."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import time
import unittest

import rhea

ARCHIVE = pathlib.Path("/usr/src/linux-source-6.1.tar.xz")
INSIDE = "linux-source-6.1/"
FOLDER = "tools/testing/selftests/x86/"
NEEDED = (FOLDER, "tools/testing/selftests/kselftest", "arch/x86/include/asm/desc_defs.h")

BOTH = """single_step_syscall sysret_ss_attrs syscall_nt test_mremap_vdso check_initial_reg_state
sigreturn iopl ioperm test_vsyscall mov_ss_trap sigtrap_loop syscall_arg_fault fsgsbase_restore
sigaltstack ldt_gdt ptrace_syscall""".split()
ONLY_32 = """entry_from_vm86 test_syscall_vdso unwind_vdso test_FCMOV test_FCOMI test_FISTTP
vdso_restorer""".split()
ONLY_64 = "fsgsbase sysret_rip syscall_numbering corrupt_xstate_header amx".split()
EXTRA = {"ptrace_syscall_32": ["raw_syscall_helper_32.S"], "test_syscall_vdso_32": ["thunks_32.S"],
         "sysret_ss_attrs_64": ["thunks.S"]}
STATIC = {"check_initial_reg_state": ["-Wl,-ereal_start", "-static"]}

# What Rhea and the distribution's QEMU both can be.
CPU = "Nehalem,+fsgsbase,+smep,+smap"
STOCK = "qemu-system-x86_64"
ONE_TEST = 120  # seconds, in the guest
ALL_TESTS = 1500
SILENCE = 150  # no test is silent for so long
CRASHED = (255, 1000)

RUNNER = """#!/bin/sh
cd /selftests
from=$(sed -n 's/.*selftests_from=\\([0-9]*\\).*/\\1/p' /proc/cmdline)
echo SELFTESTS-BEGIN
for t in $(tail -n +$((from + 1)) list); do
    timeout %d ./$t > /tmp/out 2>&1
    s=$?
    echo "[[$t status=$s ok=$(grep -c '^\\[OK\\]' /tmp/out) fail=$(grep -c '^\\[FAIL\\]' /tmp/out)]]"
    [ $s = 0 ] || sed 's/^/| /' /tmp/out | tail -30
done
echo SELFTESTS-DONE
poweroff -f
""" % ONE_TEST


def unpack(folder):
    """The few files that are needed out of the archive of all the kernel."""
    if (folder / "source").exists():
        return folder / "source" / FOLDER
    shutil.rmtree(folder / "new", ignore_errors=True)
    with tarfile.open(ARCHIVE) as tar:
        for member in tar:
            if member.name.startswith(INSIDE) and member.name[len(INSIDE):].startswith(NEEDED):
                tar.extract(member, folder / "new")
    os.rename(folder / "new" / INSIDE, folder / "source")
    return folder / "source" / FOLDER


def build_one(source, out, name, bits):
    full = f"{name}_{bits}"
    if (out / full).exists():
        return True
    command = ["gcc", f"-m{bits}", "-o", out / full, "-O2", "-std=gnu99", "-pthread", "-no-pie", "-w",
               "-DCAN_BUILD_32", "-DCAN_BUILD_64", *STATIC.get(name, []), f"{name}.c",
               *EXTRA.get(full, []), "-lrt", "-ldl", "-lm"]
    return subprocess.run(command, cwd=source, capture_output=True, check=False).returncode == 0


def copy_libraries(programs, root):
    """The C library and its loader, of both sizes, at the paths where the programs look."""
    found = set()
    for p in programs:
        listing = subprocess.run(["ldd", p], capture_output=True, text=True, check=False).stdout
        found.update(re.findall(r"(/\S+\.so[.\d]*)", listing))
    for path in found:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target, follow_symlinks=True)


def selftests():
    """A folder to add to the initramfs, and the names of the tests in it."""
    rhea.skip_unless(ARCHIVE.exists(), "the package linux-source-6.1 is not installed")
    work = rhea.CACHE / "x86-selftests"
    with rhea.locked("x86-selftests"):
        work.mkdir(parents=True, exist_ok=True)
        source, out = unpack(work), work / "bin"
        out.mkdir(exist_ok=True)
        names = [f"{n}_64" for n in BOTH + ONLY_64 if build_one(source, out, n, 64)]
        names += [f"{n}_32" for n in BOTH + ONLY_32 if build_one(source, out, n, 32)]
        rhea.skip_unless(names, "none of the self-tests compiles")
        extra = work / "root"
        shutil.rmtree(extra, ignore_errors=True)
        (extra / "selftests").mkdir(parents=True)
        (extra / "init.d").mkdir()
        for n in names:
            shutil.copy(out / n, extra / "selftests" / n)
        copy_libraries([out / n for n in names], extra)
        (extra / "selftests" / "list").write_text("\n".join(names) + "\n")
        (extra / "init.d" / "selftests").write_text(RUNNER)
        (extra / "init.d" / "selftests").chmod(0o755)
    return extra, names


def parse(text):
    found = re.findall(r"\[\[(\w+) status=(\d+) ok=(\d+) fail=(\d+)\]\]", text)
    return {name: (int(status), int(fails)) for name, status, _, fails in found}


class Selftests(unittest.TestCase):
    def wait_for_end(self, m):
        """To the end of the tests, or of the kernel, or until nothing more is said: stock QEMU
        hangs in one of them."""
        said, deadline = None, time.monotonic() + ALL_TESTS
        while time.monotonic() < deadline and said != m.text():
            said = m.text()
            try:
                m.expect("SELFTESTS-DONE|Kernel panic", SILENCE)
                return
            except rhea.Timeout:
                pass

    def run_on(self, binary, kernel, initrd, names, *args):
        """Results of all tests. One that ends the kernel, or hangs, counts as crashed; the next
        boot goes on after it."""
        results, log, failures = {}, "", 0
        while len(results) < len(names):
            append = ("console=ttyS0 quiet no_timer_check panic=-1 "
                      f"selftests_from={len(results)}")
            with rhea.Machine("-m", "512", "-cpu", CPU, "-no-reboot", "-kernel", kernel, "-initrd",
                              initrd, "-append", append, *args, binary=binary) as m:
                self.wait_for_end(m)
                log += m.text()
            results.update(parse(log))
            if "SELFTESTS-BEGIN" not in m.text():
                failures += 1  # stock QEMU on a busy machine: timers that the kernel gives up on
                self.assertLess(failures, 3, log[-3000:])
            elif len(results) < len(names):
                results[names[len(results)]] = CRASHED
        return results, log

    def stock(self, work, kernel, initrd, names):
        """Stock QEMU's results: kept, since they change only with its version."""
        version = subprocess.run([STOCK, "--version"], capture_output=True, text=True, check=True)
        key = [version.stdout.splitlines()[0], CPU, names]
        kept = work / "stock.json"
        if kept.exists():
            old = json.loads(kept.read_text())
            if old["key"] == key:
                return {n: tuple(r) for n, r in old["results"].items()}
        results, _ = self.run_on(STOCK, kernel, initrd, names, "-accel", "tcg")
        kept.write_text(json.dumps({"key": key, "results": results}))
        return results

    def test_same_as_stock(self):
        rhea.skip_unless(shutil.which(STOCK), "the package qemu-system-x86 is not installed")
        extra, names = selftests()
        kernel, initrd = rhea.linux_guest(extra, "x86-selftests")
        ours, text = self.run_on(None, kernel, initrd, names)
        theirs = self.stock(rhea.CACHE / "x86-selftests", kernel, initrd, names)
        worse = [f"{n}: {ours[n]} here, {theirs[n]} there (status, failures)" for n in names
                 if (ours[n][0] != 0 and theirs[n][0] == 0) or ours[n][1] > theirs[n][1]]
        self.assertEqual(worse, [], text[-6000:])


if __name__ == "__main__":
    rhea.main()
