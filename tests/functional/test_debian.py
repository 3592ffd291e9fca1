#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian 12 disk made by ../shared/guests/make-debian-guest, on every board and bus.

Takes minutes: the disk is made once (its cache is kept), each machine boots systemd.
"""
import hashlib
import http.server
import os
import re
import subprocess
import threading
import unittest

import rhea

DOWNLOAD = 100 << 20
SCRATCH_MIB = 512


def debian_disk(arch):
    maker = rhea.GUESTS / "make-debian-guest"
    rhea.skip_unless(maker.exists(), f"no {maker}: the shared guests are not beside this tree")
    rhea.skip_unless(os.geteuid() == 0, "make-debian-guest wants root")
    with rhea.locked(f"debian-{arch}"):
        made = subprocess.run([maker, "--arch", arch], capture_output=True, text=True, check=False)
    rhea.skip_unless(made.returncode == 0, f"no guest disk: {made.stderr[-300:]}")
    return made.stdout.strip()


class Debian(unittest.TestCase):
    def overlay(self, base, fmt):
        path = str(rhea.CACHE / f"debian-{os.getpid()}.{fmt}")
        if fmt == "qcow2":
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2",
                            path], check=True)
        else:
            subprocess.run(["qemu-img", "convert", "-O", "raw", base, path], check=True)
        self.addCleanup(os.unlink, path)
        return path

    def check_disk(self, path, fmt):
        """Nothing is wrong with the image or with the file system in it."""
        if fmt == "qcow2":
            subprocess.run(["qemu-img", "check", "-q", path], check=True)
        raw = path + ".check"
        self.addCleanup(os.unlink, raw)
        subprocess.run(["qemu-img", "convert", "-f", fmt, "-O", "raw", path, raw], check=True)
        table = subprocess.run(["sfdisk", "-J", raw], capture_output=True, text=True, check=True)
        start = int(table.stdout.split('"start": ')[1].split(",")[0])
        subprocess.run(["e2fsck", "-fn", f"{raw}?offset={start * 512}"], check=True,
                       stdout=subprocess.DEVNULL)

    def serve(self):
        block = os.urandom(1 << 20)
        digest = hashlib.sha256()
        for _ in range(DOWNLOAD >> 20):
            digest.update(block)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(DOWNLOAD))
                self.end_headers()
                for _ in range(DOWNLOAD >> 20):
                    self.wfile.write(block)

            def log_message(self, *args):
                pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        return server.server_address[1], digest.hexdigest()

    def prompt(self, m, start=0):
        # The old shell's prompt stands behind the word "reboot": only a new login's counts.
        m.expect(r"automatic login[\s\S]*root@guest:~# ", 600, start)
        m.expect("GUEST-READY", 600, start)

    def digest(self, m):
        # The kernel's messages may stand between a command and its output.
        return re.search(r"\b[0-9a-f]{64}\b", m.command("sha256sum /var/tmp/x", 900)).group()

    def use(self, arch, machine, fmt, drive, nic, cpus):
        path = self.overlay(debian_disk(arch), fmt)
        port, digest = self.serve()
        with rhea.Machine("-M", machine, "-m", "1024", "-smp", cpus, "-drive",
                          f"file={path},format={fmt},{drive}", "-nic", f"user,model={nic}") as m:
            self.prompt(m)
            m.command("stty -echo")
            self.assertEqual(m.command("nproc").strip(), str(cpus))
            get = ("python3 -c \"import urllib.request as u,hashlib as h,sys; d=h.sha256(); "
                   f"r=u.urlopen('http://10.0.2.2:{port}/')\n"
                   "while (b:=r.read(1<<20)): d.update(b)\nprint(d.hexdigest())\"")
            tool = m.command("command -v wget || command -v curl || echo python")
            if "wget" in tool:
                get = f"wget -q -O - http://10.0.2.2:{port}/ | sha256sum"
            elif "curl" in tool:
                get = f"curl -s http://10.0.2.2:{port}/ | sha256sum"
            self.assertIn(digest, m.command(get, 900))
            m.command(f"dd if=/dev/urandom of=/var/tmp/x bs=1M count={SCRATCH_MIB} 2>&1; sync", 900)
            one = self.digest(m)
            m.command("echo 3 > /proc/sys/vm/drop_caches")
            self.assertEqual(self.digest(m), one)
            # The login on the screen is on the frame buffer by now: letters, not text cells.
            _, _, rgb = m.picture()
            self.assertGreater(sum(c > 128 for c in rgb[::3]), 500)
            start = len(m.output)
            m.send("reboot\n")
            self.prompt(m, start)
            m.send("poweroff\n")
            self.assertEqual(m.wait(300), 0)
        self.check_disk(path, fmt)

    def test_pc_ide_raw(self):
        self.use("amd64", "pc", "raw", "if=ide", "e1000", 1)

    def test_q35_ahci_qcow2(self):
        self.use("amd64", "q35", "qcow2", "if=ide", "e1000", 2)

    def test_q35_virtio_qcow2(self):
        self.use("amd64", "q35", "qcow2", "if=virtio", "virtio-net-pci", 2)

    def test_q35_virtio_raw(self):
        self.use("amd64", "q35", "raw", "if=virtio", "virtio-net-pci", 1)

    def test_i386(self):
        self.use("i386", "pc", "qcow2", "if=ide", "e1000", 1)


if __name__ == "__main__":
    rhea.main()
