#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux kernel's KVM self-tests (package linux-source-6.1) in a TCG machine with SVM, whose
kernel has loaded kvm-amd, compared with the same machine on stock QEMU's TCG."""
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
FOLDER = "tools/testing/selftests/kvm/"
NEEDED = (FOLDER, "tools/testing/selftests/lib.mk", "tools/testing/selftests/kselftest",
          "tools/testing/selftests/rseq/", "tools/build/", "tools/lib/rbtree.c", "tools/scripts/", "tools/include/",
          "tools/arch/x86/include/", "scripts/subarch.include")
# The distribution's kernel headers go before the archive's; and one test of its 6.1 uses a
# macro's later name.
FLAGS = "-w -include /usr/include/linux/stddef.h -DTEST_ASSERT_EQ=ASSERT_EQ"

MACHINE = ("-cpu", "max,+svm", "-smp", "2", "-m", "2048")
STOCK = "qemu-system-x86_64"
CRASHED = 255
SKIPPED = 4
ONE_TEST = 60  # seconds, in the guest
ALL_TESTS = 3000
SILENCE = 150  # no test is silent for so long
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

RUNNER = """#!/bin/sh
for m in irqbypass kvm kvm-amd; do
    insmod /lib/modules/$m.ko 2>/dev/null || insmod /lib/modules/$m.ko.xz
done
mkdir -p /dev/shm
mount -t tmpfs none /dev/shm
cd /selftests
from=$(sed -n 's/.*selftests_from=\\([0-9]*\\).*/\\1/p' /proc/cmdline)
echo SELFTESTS-BEGIN
tail -n +$((from + 1)) list | while read t arguments; do
    since=$(cut -d. -f1 /proc/uptime)
    timeout -s KILL %d ./$t $arguments < /dev/null > /tmp/out 2>&1
    s=$?
    killall -q -KILL $t
    echo "[[$t status=$s seconds=$(($(cut -d. -f1 /proc/uptime) - since))]]"
    [ $s = 0 ] || tail -30 /tmp/out | sed 's/^/| /'
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


def programs(source):
    """Those that its own makefile builds; a failure of one leaves the others."""
    wanted = re.findall(r"^TEST_GEN_PROGS_x86_64 \+?= (\S+)", (source / "Makefile").read_text(), re.M)
    subprocess.run(["nice", "make", "-k", "-j2", "ARCH=x86_64", "KHDR_INCLUDES=",
                    "EXTRA_CFLAGS=" + FLAGS, "LDFLAGS=-pthread -no-pie -s"], cwd=source,
                   capture_output=True, check=False)
    return [source / w for w in wanted if (source / w).exists()]


def copy_libraries(programs_, root):
    """The C library, its loader, and what it loads itself to cancel a thread."""
    done = subprocess.run(["gcc", "-print-file-name=libgcc_s.so.1"], capture_output=True,
                          text=True, check=True)
    found = {done.stdout.strip()}
    for p in programs_:
        listing = subprocess.run(["ldd", p], capture_output=True, text=True, check=False).stdout
        found.update(re.findall(r"(/\S+\.so[.\d]*)", listing))
    for path in found:
        target = root / path.lstrip("/")
        if target.name == "libgcc_s.so.1":
            target = root / "lib/x86_64-linux-gnu" / target.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target, follow_symlinks=True)


def selftests():
    """A folder to add to the initramfs, and the names of the tests in it."""
    rhea.skip_unless(ARCHIVE.exists(), "the package linux-source-6.1 is not installed")
    rhea.skip_unless(shutil.which("make"), "the package make is not installed")
    kernel, _ = rhea.linux_guest()
    work = rhea.CACHE / "kvm-selftests"
    with rhea.locked("kvm-selftests"):
        work.mkdir(parents=True, exist_ok=True)
        built = programs(unpack(work))
        rhea.skip_unless(built, "none of the self-tests compiles")
        extra = work / "root"
        shutil.rmtree(extra, ignore_errors=True)
        for d in "selftests", "init.d", "lib/modules":
            (extra / d).mkdir(parents=True)
        for p in built:
            shutil.copy(p, extra / "selftests" / p.name)
        copy_libraries(built, extra)
        for name in "virt/lib/irqbypass", "arch/x86/kvm/kvm", "arch/x86/kvm/kvm-amd":
            found = list((kernel.parent / "modules/kernel").glob(name + ".ko*"))
            rhea.skip_unless(found, f"the guest kernel has no module {name}")
            shutil.copy(found[0], extra / "lib/modules")
        names = [p.name for p in built]
        lines = [f"{n} {ARGUMENTS.get(n, '')}\n" for n in names]
        (extra / "selftests" / "list").write_text("".join(lines))
        (extra / "init.d" / "selftests").write_text(RUNNER)
        (extra / "init.d" / "selftests").chmod(0o755)
    return extra, names


class KvmSelftests(unittest.TestCase):
    def wait_for_end(self, m):
        """To the end of the tests, or of the kernel, or until nothing more is said."""
        said, deadline = None, time.monotonic() + ALL_TESTS
        while time.monotonic() < deadline and said != m.text():
            said = m.text()
            try:
                m.expect("SELFTESTS-DONE|Kernel panic", SILENCE)
                return
            except rhea.Timeout:
                pass

    def run_on(self, binary, kernel, initrd, names, *args):
        """Status of all tests. One that ends the kernel, or hangs, counts as crashed; the next
        boot goes on after it."""
        results, log, failures = {}, "", 0
        while len(results) < len(names):
            append = ("console=ttyS0 quiet no_timer_check panic=-1 mitigations=off "
                      f"selftests_from={len(results)}")
            with rhea.Machine(*MACHINE, "-no-reboot", "-kernel", kernel, "-initrd", initrd,
                              "-append", append, "-net", "none", *args, binary=binary) as m:
                self.wait_for_end(m)
                log += m.text()
            results.update({name: int(status) for name, status in
                            re.findall(r"\[\[(\w+) status=(\d+) ", log)})
            if "SELFTESTS-BEGIN" not in m.text():
                failures += 1  # stock QEMU on a busy machine: timers that the kernel gives up on
                self.assertLess(failures, 3, log[-3000:])
            elif len(results) < len(names):
                results[names[len(results)]] = CRASHED
        return results, log

    def stock(self, work, kernel, initrd, names):
        """Stock QEMU's results: kept, since they change only with its version."""
        version = subprocess.run([STOCK, "--version"], capture_output=True, text=True, check=True)
        key = [version.stdout.splitlines()[0], list(MACHINE), names, ARGUMENTS]
        kept = work / "stock.json"
        if kept.exists():
            old = json.loads(kept.read_text())
            if old["key"] == key:
                return old["results"]
        results, log = self.run_on(STOCK, kernel, initrd, names, "-accel", "tcg")
        (work / "stock.log").write_text(log)
        kept.write_text(json.dumps({"key": key, "results": results}))
        return results

    def test_same_as_stock(self):
        rhea.skip_unless(shutil.which(STOCK), "the package qemu-system-x86 is not installed")
        extra, names = selftests()
        kernel, initrd = rhea.linux_guest(extra, "kvm-selftests")
        work = rhea.CACHE / "kvm-selftests"
        ours, log = self.run_on(None, kernel, initrd, names)
        (work / "rhea.log").write_text(log)
        theirs = self.stock(work, kernel, initrd, names)
        for name, results in ("Rhea", ours), ("stock QEMU", theirs):
            passed = sum(s == 0 for s in results.values())
            skipped = sum(s == SKIPPED for s in results.values())
            print(f"# {name}: {passed} pass, {skipped} skip, "
                  f"{len(names) - passed - skipped} fail", flush=True)
        worse = [f"{n}: {ours[n]} here, {theirs[n]} there" for n in names
                 if theirs[n] == 0 and ours[n] != 0]
        self.assertEqual(worse, [], f"see {work}/rhea.log and stock.log")


if __name__ == "__main__":
    rhea.main()
