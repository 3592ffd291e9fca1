#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux kernel's own x86 self-tests (package linux-source-6.1) inside the guest, compared
with the same guest on stock QEMU's TCG where that is installed."""
import re
import shutil
import subprocess

import rhea
import selftests

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

ONE_TEST = 120  # seconds, in the guest
TEST = f"""    timeout {ONE_TEST} ./$t < /dev/null > /tmp/out 2>&1
    s=$?
    echo "[[$t status=$s ok=$(grep -c '^\\[OK\\]' /tmp/out) fail=$(grep -c '^\\[FAIL\\]' /tmp/out)]]"
    [ $s = 0 ] || sed 's/^/| /' /tmp/out | tail -30"""


def build_one(source, out, name, bits):
    full = f"{name}_{bits}"
    if (out / full).exists():
        return True
    command = ["gcc", f"-m{bits}", "-o", out / full, "-O2", "-std=gnu99", "-pthread", "-no-pie", "-w",
               "-DCAN_BUILD_32", "-DCAN_BUILD_64", *STATIC.get(name, []), f"{name}.c",
               *EXTRA.get(full, []), "-lrt", "-ldl", "-lm"]
    return subprocess.run(command, cwd=source, capture_output=True, check=False).returncode == 0


def make_root(work):
    """A folder to add to the initramfs, and its list of the tests."""
    with rhea.locked(work.name):
        work.mkdir(parents=True, exist_ok=True)
        source, out = selftests.unpack(work, NEEDED) / FOLDER, work / "bin"
        out.mkdir(exist_ok=True)
        names = [f"{n}_64" for n in BOTH + ONLY_64 if build_one(source, out, n, 64)]
        names += [f"{n}_32" for n in BOTH + ONLY_32 if build_one(source, out, n, 32)]
        rhea.skip_unless(names, "none of the self-tests compiles")
        built = [out / n for n in names]
        extra = selftests.make_root(work, built, names, "", TEST)
        selftests.copy_libraries(built, extra)
    return extra, names


class Selftests(selftests.Comparison):
    # What Rhea and the distribution's QEMU both can be.
    MACHINE = ("-cpu", "Nehalem,+fsgsbase,+smep,+smap", "-m", "512")
    ALL_TESTS = 1500
    CRASHED = [255, 1000]  # status, failures

    def parse(self, text):
        found = re.findall(r"\[\[(\w+) status=(\d+) ok=\d+ fail=(\d+)\]\]", text)
        return {name: [int(status), int(fails)] for name, status, fails in found}

    def test_same_as_stock(self):
        rhea.skip_unless(shutil.which(selftests.STOCK),
                         "the package qemu-system-x86 is not installed")
        work = rhea.CACHE / "x86-selftests"
        extra, names = make_root(work)
        both = self.run_both(work, extra, names)
        self.assert_none_worse(work, *both, lambda ours, theirs:
                               (ours[0] != 0 and theirs[0] == 0) or ours[1] > theirs[1])


if __name__ == "__main__":
    rhea.main()
