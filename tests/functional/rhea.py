# SPDX-License-Identifier: GPL-2.0-or-later
"""What the functional tests share: a machine as a child process, its serial line, its screen
and its QMP monitor; guests from packages and from ../shared/guests.

Environment: RHEA_BINARY (the program), RHEA_SOURCE (the tree), RHEA_BUILD (for caches).
"""
import contextlib
import fcntl
import hashlib
import json
import lzma
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("RHEA_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("RHEA_BUILD", SOURCE / "build"))
BINARY = os.environ.get("RHEA_BINARY", str(BUILD / "rhea-system-x86_64"))
GUESTS = SOURCE.parent / "shared" / "guests"
CACHE = BUILD / "guests"
# Sanitizer builds and busy machines are slower.
PATIENCE = float(os.environ.get("RHEA_PATIENCE", "1"))


class Timeout(AssertionError):
    pass


class Machine:
    """One running rhea-system-x86_64. Use as a context manager."""

    def __init__(self, *args, serial=True, qmp=True, binary=None, nodefaults=False):
        self.folder = tempfile.mkdtemp(prefix="rhea-")
        self.args = [binary or BINARY, "-display", "none"]
        self.with_serial = serial
        if serial:
            self.args += ["-serial", "stdio"]
        if nodefaults:
            self.args += ["-nodefaults"]
        self.args += ["-monitor", "none"]
        self.qmp_path = os.path.join(self.folder, "qmp") if qmp else None
        if qmp:
            self.args += ["-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        self.args += [str(a) for a in args]
        self.output = b""
        self.lock = threading.Condition()
        self.events = []
        self.process = None
        self.monitor = None

    def __enter__(self):
        self.errors = open(os.path.join(self.folder, "stderr"), "w+b")
        self.process = subprocess.Popen(self.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors)
        self.reader = threading.Thread(target=self._read_output, daemon=True)
        self.reader.start()
        if self.qmp_path:
            self._connect()
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if kind is not None and not issubclass(kind, unittest.SkipTest):
            self.report()
        self.errors.close()
        if self.monitor:
            self.monitor.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def report(self):
        """What a reader of a failed test wants to see."""
        print("command:", " ".join(self.args), file=sys.stderr)
        print("serial, last part:", self.text()[-3000:], file=sys.stderr)
        self.errors.seek(0)
        print("stderr:", self.errors.read().decode(errors="replace")[-3000:], file=sys.stderr)

    def _read_output(self):
        fd = self.process.stdout.fileno()
        while True:
            data = os.read(fd, 65536)
            with self.lock:
                self.output += data
                self.lock.notify_all()
            if not data:
                return

    # ---- serial line ----
    def text(self):
        return self.output.decode(errors="replace")

    def expect(self, pattern, timeout=60, start=0):
        """Waits for a regular expression on the serial line; returns the match."""
        deadline = time.monotonic() + timeout * PATIENCE
        with self.lock:
            while True:
                match = re.search(pattern, self.output[start:].decode(errors="replace"))
                if match:
                    return match
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and left < timeout * PATIENCE - 5):
                    raise Timeout(f"no {pattern!r} on the serial line within {timeout} s")
                self.lock.wait(min(left, 1))

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def command(self, line, timeout=60):
        """Runs a shell command in the guest; returns its output. Raises if it failed."""
        start = len(self.output)
        n = time.monotonic_ns()
        # The quotes keep an echo of the line from looking like its output.
        self.send(f"echo \"<<\"\"{n}\"; {line}; echo \">>\"\"{n}:$?\"\n")
        match = self.expect(rf"<<{n}\r?\n([\s\S]*)>>{n}:(\d+)", timeout, start)
        if match.group(2) != "0":
            raise AssertionError(f"in the guest: {line}: status {match.group(2)}: "
                                 f"{match.group(1)[-500:]}")
        return match.group(1)

    def wait(self, timeout=60):
        """Waits for the process to end; returns its status."""
        status = self.process.wait(timeout * PATIENCE)
        self.reader.join(10) # the last output is read, too
        return status

    # ---- QMP ----
    def _connect(self):
        deadline = time.monotonic() + 20 * PATIENCE
        sock = socket.socket(socket.AF_UNIX)
        while True:
            try:
                sock.connect(self.qmp_path)
                break
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.report()
                    raise Timeout("no QMP monitor")
                time.sleep(0.02)
        self.monitor = sock
        self.lines = sock.makefile("rb")
        greeting = json.loads(self.lines.readline())
        assert "QMP" in greeting, greeting
        self.qmp("qmp_capabilities")

    def qmp_raw(self, name, arguments=None):
        message = {"execute": name}
        if arguments:
            message["arguments"] = arguments
        self.monitor.sendall(json.dumps(message).encode() + b"\n")
        while True:
            line = self.lines.readline()
            if not line:
                raise AssertionError(f"the monitor closed during {name}")
            answer = json.loads(line)
            if "event" in answer:
                self.events.append(answer)
            else:
                return answer

    def qmp(self, name, **arguments):
        answer = self.qmp_raw(name, {k.replace("_", "-"): v for k, v in arguments.items()})
        if "error" in answer:
            raise AssertionError(f"{name}: {answer['error']['desc']}")
        return answer["return"]

    def hmp(self, line):
        return self.qmp("human-monitor-command", command_line=line)

    # ---- screen and keyboard ----
    def screen_text(self):
        """The 80x25 text screen, from the VGA window in guest memory."""
        dump = os.path.join(self.folder, "screen")
        self.qmp("pmemsave", val=0xb8000, size=80 * 25 * 2, filename=dump)
        cells = pathlib.Path(dump).read_bytes()[::2]
        rows = [cells[i:i + 80] for i in range(0, len(cells), 80)]
        return "\n".join("".join(chr(c) if 32 <= c < 127 else " " for c in r).rstrip()
                         for r in rows)

    def expect_screen(self, pattern, timeout=60):
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            text = self.screen_text()
            if re.search(pattern, text):
                return text
            if time.monotonic() > deadline or self.process.poll() is not None:
                print(text, file=sys.stderr)
                raise Timeout(f"no {pattern!r} on the screen within {timeout} s")
            time.sleep(0.5)

    def picture(self):
        """(width, height, RGB bytes) of the display."""
        path = os.path.join(self.folder, "picture.ppm")
        self.qmp("screendump", filename=path)
        data = pathlib.Path(path).read_bytes()
        header = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", data)
        return int(header.group(1)), int(header.group(2)), data[header.end():]

    def type(self, text):
        names = {" ": "spc", "\n": "ret", ".": "dot", "-": "minus", "/": "slash", ",": "comma",
                 "\\": "backslash", ":": "shift-semicolon", "=": "equal"}
        for c in text:
            key = names.get(c) or (f"shift-{c.lower()}" if c.isupper() else c)
            self.qmp("send-key", hold_time=40,
                     keys=[{"type": "qcode", "data": k} for k in key.split("-")])
            time.sleep(0.12 * PATIENCE)


def skip_unless(condition, why):
    if not condition:
        raise unittest.SkipTest(why)


@contextlib.contextmanager
def locked(name):
    """One test at a time makes a cached guest; the others wait for it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f".{name}.lock", "w", encoding="utf-8") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def shared_guest(name):
    """An image of ../shared/guests, unpacked and checked against SHA256SUMS."""
    packed = GUESTS / (name + ".xz")
    plain = GUESTS / name
    if plain.exists():
        return plain
    skip_unless(packed.exists(), f"no {packed}: the shared guests are not beside this tree")
    out = CACHE / pathlib.Path(name).name
    with locked(out.name):
        if not out.exists():
            data = lzma.decompress(packed.read_bytes())
            digest = hashlib.sha256(data).hexdigest()
            if digest not in (GUESTS / "SHA256SUMS").read_text():
                raise AssertionError(f"{packed}: unpacked image differs from SHA256SUMS")
            out.with_suffix(".new").write_bytes(data)
            out.with_suffix(".new").rename(out)
    return out


def package_file(package, path):
    """A file of a Debian package, without installing the package."""
    folder = CACHE / package
    with locked(package):
        if not folder.exists():
            tmp = pathlib.Path(tempfile.mkdtemp(dir=CACHE))
            done = subprocess.run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root",
                                   package], cwd=tmp, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, check=False)
            debs = list(tmp.glob("*.deb"))
            if done.returncode or not debs:
                shutil.rmtree(tmp)
                raise unittest.SkipTest(f"the package {package} can't be downloaded here")
            subprocess.run(["dpkg-deb", "-x", debs[0], tmp / "root"], check=True)
            (tmp / "root").rename(folder)
            shutil.rmtree(tmp)
    found = folder / path
    skip_unless(found.exists(), f"{package} has no {path}")
    return found


def linux_guest(extra=None, name="linux"):
    """(kernel, initramfs) as scripts/demo makes them; `extra`: a folder to add."""
    folder = CACHE / "linux"
    with locked("linux"):
        made = subprocess.run([SOURCE / "scripts/guest-kernel", folder], capture_output=True,
                              text=True, check=False)
        skip_unless(made.returncode == 0, f"no guest kernel: {made.stderr.strip()[-200:]}")
        initramfs = folder / f"{name}.gz"
        script = SOURCE / "scripts/guest-initramfs"
        if extra or not initramfs.exists() or initramfs.stat().st_mtime < script.stat().st_mtime:
            args = [script, folder, initramfs] + ([extra] if extra else [])
            subprocess.run(args, check=True)
    return folder / "vmlinuz", initramfs


def kvm_modules(kernel, to):
    """Copies the modules of a guest's kernel that make its KVM on AMD's processors."""
    to.mkdir(parents=True, exist_ok=True)
    for name in "virt/lib/irqbypass", "arch/x86/kvm/kvm", "arch/x86/kvm/kvm-amd":
        found = list((kernel.parent / "modules/kernel").glob(name + ".ko*"))
        skip_unless(found, f"the guest kernel has no module {name}")
        shutil.copy(found[0], to)


# The guest's script for them.
LOAD_KVM = """for m in irqbypass kvm kvm-amd; do
    insmod /lib/modules/$m.ko 2>/dev/null || insmod /lib/modules/$m.ko.xz
done
"""


class TapResult(unittest.TextTestResult):
    """Meson reads TAP; unittest's own text goes to stderr."""

    def __init__(self, stream, descriptions, verbosity):
        super().__init__(stream, descriptions, verbosity)
        self.number = 0

    def _line(self, ok, test, note=""):
        self.number += 1
        print(f"{'ok' if ok else 'not ok'} {self.number} - {test.id()}{note}", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self._line(True, test)

    def addError(self, test, err):
        super().addError(test, err)
        self._line(False, test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line(False, test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line(True, test, f" # SKIP {reason}")


def main():
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    if len(sys.argv) > 1:
        suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:],
                                                              sys.modules["__main__"])
    print(f"1..{suite.countTestCases()}", flush=True)
    runner = unittest.TextTestRunner(stream=sys.stderr, resultclass=TapResult)
    sys.exit(0 if runner.run(suite).wasSuccessful() else 1)
