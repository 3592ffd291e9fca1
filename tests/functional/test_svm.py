#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtualization inside the translator: Debian's kernel loads its own kvm-amd in a TCG machine
with -cpu max,+svm, Rhea runs there with -accel kvm, and Debian's kernel boots in that."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import rhea

# What starts the second Rhea, with fifos for its monitor and its guest's serial line.
START = """\
cd /tmp; rm -f m s.in s.out log mon; mkfifo m s.in s.out; : > log; : > mon
dd if=/dev/zero of=disk bs=1M count=16 2>/dev/null
sleep 100000 > m & sleep 100000 > s.in & sleep 100000 < s.out & cat s.out >> log &
/opt/rhea -accel kvm "$@" -m 256 -smp 2 -kernel /opt/vmlinuz -initrd /opt/linux.gz \\
  -append "console=ttyS0 mitigations=off" -nodefaults -display none -serial pipe:/tmp/s \\
  -monitor stdio -drive file=/tmp/disk,format=raw,if=virtio -netdev user,id=n \\
  -device virtio-net-pci,netdev=n < m > mon 2>&1
echo "status $?" > end
"""
HELP = """\
# waits for a pattern in a file: pattern, file, seconds
expect() { i=0; until grep -q "$1" "$2"; do sleep 1; i=$((i + 1)); [ $i -lt $3 ] || {
  echo "no $1 in $2"; tail -30 "$2"; return 1; }; done; }
say() { echo "$1" > /tmp/s.in; }
monitor() { echo "$1" > /tmp/m; }
"""


def build(folder):
    """What the first guest has beyond the usual: Rhea, its libraries, firmware, modules."""
    kernel, initramfs = rhea.linux_guest()
    root = pathlib.Path(folder)
    for d in "opt", "init.d", "lib/modules", "usr/share/seabios", "usr/share/qemu":
        (root / d).mkdir(parents=True)
    subprocess.run(["strip", "-o", root / "opt/rhea", rhea.BINARY], check=True)
    libraries = subprocess.run(["ldd", rhea.BINARY], capture_output=True, text=True, check=True)
    modules = list(pathlib.Path(rhea.BUILD).glob("*.so")) + \
        list(pathlib.Path(rhea.BUILD).glob("modules/*.so"))
    wanted = {word for line in libraries.stdout.splitlines() for word in line.split()
              if word.startswith("/")}
    for m in modules:
        more = subprocess.run(["ldd", m], capture_output=True, text=True, check=False)
        wanted |= {w for line in more.stdout.splitlines() for w in line.split()
                   if w.startswith("/")}
        shutil.copy(m, root / "opt" / m.name)
    for path in wanted:
        target = root / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for name in os.listdir("/usr/share/seabios"):
        shutil.copy(f"/usr/share/seabios/{name}", root / "usr/share/seabios" / name)
    modules_of_kernel = kernel.parent / "modules" / "kernel"
    for name in "virt/lib/irqbypass", "arch/x86/kvm/kvm", "arch/x86/kvm/kvm-amd":
        found = list(modules_of_kernel.glob(name + ".ko*"))
        rhea.skip_unless(found, f"the guest kernel has no module {name}")
        shutil.copy(found[0], root / "lib/modules")
    shutil.copy(kernel, root / "opt/vmlinuz")
    shutil.copy(initramfs, root / "opt/linux.gz")
    (root / "opt/start").write_text(START)
    (root / "opt/help").write_text(HELP)
    script = root / "init.d/kvm"
    script.write_text("#!/bin/sh\nfor m in irqbypass kvm kvm-amd; do "
                      "insmod /lib/modules/$m.ko || insmod /lib/modules/$m.ko.xz; done\n"
                      "mkdir -p /usr/local/lib/x86_64-linux-gnu\n"
                      "ln -s /opt /usr/local/lib/x86_64-linux-gnu/rhea\n")
    script.chmod(0o755)


class Svm(unittest.TestCase):
    def nested(self, *args):
        folder = tempfile.mkdtemp(prefix="rhea-svm-")
        self.addCleanup(shutil.rmtree, folder)
        build(folder)
        kernel, initramfs = rhea.linux_guest(folder, name="svm")
        with rhea.Machine("-cpu", "max,+svm", "-m", "1536", "-kernel", kernel, "-initrd", initramfs,
                          "-append", "console=ttyS0 quiet mitigations=off", "-net", "none",
                          qmp=False) as m:
            m.expect("RHEA-READY", 180)
            self.assertIn("kvm-amd", m.command("ls /lib/modules; ls /dev/kvm"))
            m.command(". /opt/help; (sh /opt/start " + " ".join(args) + " &)")
            m.command("expect RHEA-READY /tmp/log 400", 420)
            m.command("say 'echo cpus=$(nproc) disk=$(cat /sys/block/vda/size)'")
            m.command("expect 'cpus=2 disk=32768' /tmp/log 60", 80)
            m.command("say 'ping -c 1 10.0.2.2 && echo net=\"\"ok; echo written > /dev/vda; sync'")
            m.command("expect net=ok /tmp/log 90", 100)
            # Standing still, and going on.
            m.command("monitor stop; monitor 'info status'; expect paused /tmp/mon 30", 60)
            m.command("monitor cont; say 'echo going=\"\"on'; expect going=on /tmp/log 60", 80)
            m.command(": > /tmp/log; monitor system_reset; expect RHEA-READY /tmp/log 400", 420)
            m.command("say 'head -c 7 /dev/vda; echo; poweroff'; expect written /tmp/log 60", 80)
            m.command("expect 'status 0' /tmp/end 120", 140)

    def test_pc(self):
        self.nested("-M", "pc")

    def test_q35_split(self):
        self.nested("-M", "q35,kernel-irqchip=split")


if __name__ == "__main__":
    rhea.main()
