#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux kernel's KVM self-tests (package linux-source-6.1) in a TCG machine with SVM, whose
kernel has loaded kvm-amd, compared with the same machine on stock QEMU's TCG."""
import re
import shutil
import subprocess

import rhea
import selftests

FOLDER = "tools/testing/selftests/kvm/"
NEEDED = (FOLDER, "tools/testing/selftests/lib.mk", "tools/testing/selftests/kselftest",
          "tools/testing/selftests/rseq/", "tools/build/", "tools/lib/rbtree.c", "tools/scripts/", "tools/include/",
          "tools/arch/x86/include/", "scripts/subarch.include")
# The distribution's kernel headers go before the archive's; and one test of its 6.1 uses a
# macro's later name.
FLAGS = "-w -include /usr/include/linux/stddef.h -DTEST_ASSERT_EQ=ASSERT_EQ"

SKIPPED = 4
ONE_TEST = 60  # seconds, in the guest
# What the defaults (a gigabyte of the guest's memory, page by page) would make too long for a
# translator.
ARGUMENTS = {
    "access_tracking_perf_test": "-b 32M",
    "demand_paging_test": "-b 64M",
    "dirty_log_perf_test": "-b 64M",
    "dirty_log_test": "-M dirty-log -i 4",
    "kvm_page_table_test": "-b 64M",
    "max_guest_memory_test": "-c 2 -m 2 -s 1",
    "memslot_modification_stress_test": "-b 16M -i 20",
    "memslot_perf_test": "-f 2 -l 1 -s 64",
}

BEFORE = rhea.LOAD_KVM + """mkdir -p /dev/shm
mount -t tmpfs none /dev/shm"""
TEST = f"""    since=$(cut -d. -f1 /proc/uptime)
    timeout -s KILL {ONE_TEST} ./$t $arguments < /dev/null > /tmp/out 2>&1
    s=$?
    killall -q -KILL $t
    echo "[[$t status=$s seconds=$(($(cut -d. -f1 /proc/uptime) - since))]]"
    [ $s = 0 ] || tail -30 /tmp/out | sed 's/^/| /'"""


def programs(source):
    """Those that its own makefile builds; a failure of one leaves the others."""
    wanted = re.findall(r"^TEST_GEN_PROGS_x86_64 \+?= (\S+)", (source / "Makefile").read_text(), re.M)
    subprocess.run(["nice", "make", "-k", "-j2", "ARCH=x86_64", "KHDR_INCLUDES=",
                    "EXTRA_CFLAGS=" + FLAGS, "LDFLAGS=-pthread -no-pie -s"], cwd=source,
                   capture_output=True, check=False)
    return [source / w for w in wanted if (source / w).exists()]


def make_root(work):
    """A folder to add to the initramfs, and its list of the tests."""
    rhea.skip_unless(shutil.which("make"), "the package make is not installed")
    kernel, _ = rhea.linux_guest()
    with rhea.locked(work.name):
        work.mkdir(parents=True, exist_ok=True)
        built = programs(selftests.unpack(work, NEEDED) / FOLDER)
        rhea.skip_unless(built, "none of the self-tests compiles")
        lines = [f"{p.name} {ARGUMENTS.get(p.name, '')}" for p in built]
        extra = selftests.make_root(work, built, lines, BEFORE, TEST)
        # What the C library loads itself to cancel a thread.
        done = subprocess.run(["gcc", "-print-file-name=libgcc_s.so.1"], capture_output=True,
                              text=True, check=True)
        selftests.copy_libraries(built, extra, {done.stdout.strip(): "lib/x86_64-linux-gnu"})
        rhea.kvm_modules(kernel, extra / "lib/modules")
    return extra, lines


class KvmSelftests(selftests.Comparison):
    MACHINE = ("-cpu", "max,+svm", "-smp", "2", "-m", "2048")
    APPEND = "mitigations=off"
    CRASHED = 255

    def parse(self, text):
        return {name: int(status) for name, status in
                re.findall(r"\[\[(\w+) status=(\d+) ", text)}

    def test_same_as_stock(self):
        rhea.skip_unless(shutil.which(selftests.STOCK),
                         "the package qemu-system-x86 is not installed")
        work = rhea.CACHE / "kvm-selftests"
        extra, lines = make_root(work)
        both = self.run_both(work, extra, lines)
        for name, results in zip(("Rhea", "stock QEMU"), both):
            passed = sum(s == 0 for s in results.values())
            skipped = sum(s == SKIPPED for s in results.values())
            print(f"# {name}: {passed} pass, {skipped} skip, "
                  f"{len(results) - passed - skipped} fail", flush=True)
        self.assert_none_worse(work, *both, lambda ours, theirs: theirs == 0 and ours != 0)


if __name__ == "__main__":
    rhea.main()
