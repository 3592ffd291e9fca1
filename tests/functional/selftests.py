# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests share that run the Linux kernel's self-tests (package linux-source-6.1) in a guest
and compare them with the same guest on stock QEMU's TCG: the sources, a folder for the initramfs,
and the runs themselves, which go on behind a test that ends the guest's kernel."""
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
STOCK = "qemu-system-x86_64"
SILENCE = 150  # seconds; no test is silent for so long

# What the guest runs: `before` is done once, `test` for each line of the list.
RUNNER = """#!/bin/sh
{before}
cd /selftests
from=$(sed -n 's/.*selftests_from=\\([0-9]*\\).*/\\1/p' /proc/cmdline)
echo SELFTESTS-BEGIN
tail -n +$((from + 1)) list | while read t arguments; do
{test}
done
echo SELFTESTS-DONE
poweroff -f
"""


def unpack(folder, needed):
    """The few files that are needed out of the archive of all the kernel. `needed`: how their
    paths begin. Returns the source's top."""
    rhea.skip_unless(ARCHIVE.exists(), "the package linux-source-6.1 is not installed")
    source = folder / "source"
    if not source.exists():
        shutil.rmtree(folder / "new", ignore_errors=True)
        with tarfile.open(ARCHIVE) as tar:
            for member in tar:
                if member.name.startswith(INSIDE) and member.name[len(INSIDE):].startswith(needed):
                    tar.extract(member, folder / "new")
        os.rename(folder / "new" / INSIDE, source)
    return source


def copy_libraries(programs, root, more=()):
    """The C library and its loader, at the paths where the programs look, and `more`: a dict's
    items of a library's path and the folder that it goes to."""
    found = {}
    for p in programs:
        listing = subprocess.run(["ldd", p], capture_output=True, text=True, check=False).stdout
        for path in re.findall(r"(/\S+\.so[.\d]*)", listing):
            found[path] = pathlib.Path(path).parent
    found.update(more)
    for path, folder in found.items():
        target = root / str(folder).lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / pathlib.Path(path).name, follow_symlinks=True)


def make_root(work, programs, lines, before, test):
    """A folder to add to the initramfs: the programs, the list of those to run (`lines`: a name
    and its arguments), and the script that does so."""
    root = work / "root"
    shutil.rmtree(root, ignore_errors=True)
    for d in "selftests", "init.d":
        (root / d).mkdir(parents=True)
    for p in programs:
        shutil.copy(p, root / "selftests" / p.name)
    (root / "selftests" / "list").write_text("".join(f"{line}\n" for line in lines))
    (root / "init.d" / "selftests").write_text(RUNNER.format(before=before, test=test))
    (root / "init.d" / "selftests").chmod(0o755)
    return root


class Comparison(unittest.TestCase):
    """Base of a test class. It says what its machine is and how a result reads."""

    MACHINE = ()  # options that both programs know
    APPEND = ""  # more for the kernel's command line
    ALL_TESTS = 3000  # seconds, for one boot
    CRASHED = None  # the result of a test that ended the kernel, or hung

    def parse(self, text):
        """Results by name of the tests whose end the text shows."""
        raise NotImplementedError

    def wait_for_end(self, m):
        """To the end of the tests, or of the kernel, or until nothing more is said: stock QEMU
        hangs in some."""
        said, deadline = None, time.monotonic() + self.ALL_TESTS
        while time.monotonic() < deadline and said != m.text():
            said = m.text()
            try:
                m.expect("SELFTESTS-DONE|Kernel panic", SILENCE)
                return
            except rhea.Timeout:
                pass

    def run_on(self, binary, guest, names, *args):
        """Results of all tests, and what the guest said. One that ends the kernel, or hangs, counts
        as crashed; the next boot goes on behind it."""
        kernel, initrd = guest
        results, log, failures = {}, "", 0
        while len(results) < len(names):
            append = (f"console=ttyS0 quiet no_timer_check panic=-1 {self.APPEND} "
                      f"selftests_from={len(results)}")
            with rhea.Machine(*self.MACHINE, "-no-reboot", "-kernel", kernel, "-initrd", initrd,
                              "-append", append, "-net", "none", *args, binary=binary) as m:
                self.wait_for_end(m)
                log += m.text()
            results.update(self.parse(log))
            if "SELFTESTS-BEGIN" not in m.text():
                failures += 1  # stock QEMU on a busy machine: timers that the kernel gives up on
                self.assertLess(failures, 3, log[-3000:])
            elif len(results) < len(names):
                results[names[len(results)]] = self.CRASHED
        return results, log

    def stock(self, work, guest, names, lines):
        """Stock QEMU's results: kept, since they change only with its version."""
        version = subprocess.run([STOCK, "--version"], capture_output=True, text=True, check=True)
        key = [version.stdout.splitlines()[0], list(self.MACHINE), lines]
        kept = work / "stock.json"
        if kept.exists():
            old = json.loads(kept.read_text())
            if old["key"] == key:
                return old["results"]
        results, log = self.run_on(STOCK, guest, names, "-accel", "tcg")
        (work / "stock.log").write_text(log)
        kept.write_text(json.dumps({"key": key, "results": results}))
        return results

    def run_both(self, work, extra, lines):
        """Rhea's results and stock QEMU's, by name; the guests' words stay in `work`."""
        names = [line.split()[0] for line in lines]
        guest = rhea.linux_guest(extra, work.name)
        ours, log = self.run_on(None, guest, names)
        (work / "rhea.log").write_text(log)
        return ours, self.stock(work, guest, names, lines)

    def assert_none_worse(self, work, ours, theirs, worse):
        """Fails where worse(ours, theirs) holds for a test's results."""
        bad = [f"{n}: {r} here, {theirs[n]} there" for n, r in ours.items() if worse(r, theirs[n])]
        self.assertEqual(bad, [], f"see {work}/rhea.log and stock.log")
