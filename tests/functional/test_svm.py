#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtualization inside the translator: Debian's kernel loads its own kvm-amd in a TCG machine
with -cpu max,+svm, Rhea (or the distribution's QEMU) runs there with -accel kvm, and Debian's
kernel boots in that."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import rhea

# What starts the second machine, with fifos for its monitor and its guest's serial line.
START = """\
cd /tmp; rm -f m s.in s.out log mon; mkfifo m s.in s.out; : > log; : > mon
dd if=/dev/zero of=disk bs=1M count=16 2>/dev/null
sleep 100000 > m & sleep 100000 > s.in & sleep 100000 < s.out & cat s.out >> log &
program=$1; shift
$program -accel kvm -m 256 -smp 2 -kernel /opt/vmlinuz -initrd /opt/linux.gz \\
  -append "console=ttyS0 mitigations=off" -nodefaults -display none -serial pipe:/tmp/s \\
  -monitor stdio -drive file=/tmp/disk,format=raw,if=virtio -netdev user,id=n \\
  -device virtio-net-pci,netdev=n,romfile= "$@" < m > mon 2>&1
echo "status $?" > end
"""
HELP = """\
# waits for a pattern in a file: pattern, file, seconds
expect() { i=0; until grep -q "$1" "$2"; do sleep 1; i=$((i + 1)); [ $i -lt $3 ] || {
  echo "no $1 in $2"; tail -30 "$2"; return 1; }; done; }
say() { echo "$1" > /tmp/s.in; }
monitor() { echo "$1" > /tmp/m; }
"""


STOCK = "/usr/bin/qemu-system-x86_64"


def libraries(program):
    """The paths of the shared libraries of a program or module, and of its loader."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return {word for line in done.stdout.splitlines() for word in line.split()
            if word.startswith("/")}


def copy_files(root, paths):
    for path in paths:
        target = root / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def add_rhea(root):
    subprocess.run(["strip", "-o", root / "opt/rhea", rhea.BINARY], check=True)
    wanted = libraries(rhea.BINARY)
    build_folder = pathlib.Path(rhea.BUILD)
    for m in [*build_folder.glob("*.so"), *build_folder.glob("modules/*.so")]:
        wanted |= libraries(m)
        shutil.copy(m, root / "opt" / m.name)
    copy_files(root, wanted)


def add_stock(root):
    rhea.skip_unless(os.path.exists(STOCK), "the package qemu-system-x86 is not installed")
    roms = ["/usr/share/qemu/kvmvapic.bin", "/usr/share/qemu/linuxboot_dma.bin"]
    copy_files(root, libraries(STOCK) | {STOCK, *roms})


def build(folder, add_program, inner=None):
    """What the first guest has beyond the usual: a program, its libraries, firmware, modules;
    and the initramfs of what is to run in it, if that is not the plain one."""
    kernel, initramfs = rhea.linux_guest()
    root = pathlib.Path(folder)
    for d in "opt", "init.d", "usr/share/seabios", "usr/share/qemu":
        (root / d).mkdir(parents=True)
    add_program(root)
    copy_files(root, [str(p) for p in pathlib.Path("/usr/share/seabios").iterdir()])
    rhea.kvm_modules(kernel, root / "lib/modules")
    shutil.copy(kernel, root / "opt/vmlinuz")
    shutil.copy(inner or initramfs, root / "opt/linux.gz")
    (root / "opt/start").write_text(START)
    (root / "opt/help").write_text(HELP)
    script = root / "init.d/kvm"
    script.write_text("#!/bin/sh\n" + rhea.LOAD_KVM +
                      "mkdir -p /usr/local/lib/x86_64-linux-gnu\n"
                      "ln -s /opt /usr/local/lib/x86_64-linux-gnu/rhea\n")
    script.chmod(0o755)


class Svm(unittest.TestCase):
    def folder(self):
        folder = tempfile.mkdtemp(prefix="rhea-svm-")
        self.addCleanup(shutil.rmtree, folder)
        return folder

    @contextlib.contextmanager
    def started(self, folder, *command):
        """A machine of the translator's, in whose shell the command's machine has booted."""
        kernel, initramfs = rhea.linux_guest(folder, name="svm")
        with rhea.Machine("-cpu", "max,+svm", "-smp", "2", "-m", "1536", "-kernel", kernel,
                          "-initrd", initramfs, "-append", "console=ttyS0 quiet mitigations=off",
                          "-net", "none", qmp=False) as m:
            m.expect("RHEA-READY", 180)
            self.assertIn("kvm-amd", m.command("ls /lib/modules; ls /dev/kvm"))
            m.command(". /opt/help; (sh /opt/start " + " ".join(command) + " &)")
            m.command("expect RHEA-READY /tmp/log 400", 420)
            yield m

    def nested(self, *command, add_program=add_rhea):
        folder = self.folder()
        build(folder, add_program)
        with self.started(folder, *command) as m:
            m.command("say 'echo cpus=$(nproc) disk=$(cat /sys/block/vda/size)'")
            m.command("expect 'cpus=2 disk=32768' /tmp/log 60", 80)
            m.command("say 'ping -c 1 10.0.2.2 && echo net=\"\"ok; echo written > /dev/vda; sync'")
            m.command("expect net=ok /tmp/log 90", 100)
            # Standing still, and going on.
            m.command("monitor stop; monitor 'info status'; expect paused /tmp/mon 30", 60)
            m.command("say 'echo going=\"\"on'; sleep 4; ! grep going=on /tmp/log", 60)
            m.command("monitor cont; expect going=on /tmp/log 60", 80)
            m.command(": > /tmp/log; monitor system_reset; expect RHEA-READY /tmp/log 400", 420)
            m.command("say 'head -c 7 /dev/vda; echo; poweroff'; expect written /tmp/log 60", 80)
            m.command("expect 'status 0' /tmp/end 120 || dmesg | grep segfault", 140)
            m.command("grep 'status 0' /tmp/end")

    def test_pc(self):
        self.nested("/opt/rhea", "-M", "pc")

    def test_q35_split(self):
        self.nested("/opt/rhea", "-M", "q35,kernel-irqchip=split")

    def test_stock(self):
        self.nested(STOCK, "-M", "q35", "-cpu", "host", add_program=add_stock)

    def test_second_level(self):
        """In the nested machine one more, by the first hypervisor's own nested SVM."""
        inner, outer = self.folder(), self.folder()
        build(inner, add_rhea)
        _, initramfs = rhea.linux_guest(inner, name="svm-inner")
        build(outer, add_rhea, initramfs)
        with self.started(outer, "/opt/rhea", "-cpu", "host,+svm", "-m", "768") as m:
            m.command("say '. /opt/help; (sh /opt/start /opt/rhea -smp 1 &)'")
            m.command("say 'expect RHEA-READY /tmp/log 900 && echo inner=\"\"up'")
            m.command("expect inner=up /tmp/log 900", 920)
            m.command("say 'say \"echo level=\\$((2+1)); poweroff\"; expect \"status 0\" /tmp/end 120'")
            m.command("say 'grep level /tmp/log; echo inner=\"\"down'")
            m.command("expect inner=down /tmp/log 200; grep level=3 /tmp/log", 220)


if __name__ == "__main__":
    rhea.main()
