"""What tests/image checks; see there."""

import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

from image import Image

UNPACKED_MB_MAX = 60
STOP_S_MAX = 10
BUSY_S = 60


def check(holds, words):
    if not holds:
        sys.exit(f"image: FAILED: {words}")
    print(f"image: ok  {words}", flush=True)


def contents(image, program):
    config = image.config
    check(config["User"] == "65532:65532", "it names a user who is not root, by number")
    check(config["Entrypoint"] == ["/usr/bin/lanner"] and config["StopSignal"] == "SIGTERM", "it starts the program, SIGTERM stops it")
    names = sorted(str(path.relative_to(image.root)) for path in image.files())
    strange = [name for name in names if not re.fullmatch(r"usr/bin/lanner|etc/(passwd|group|ssl/certs/ca-certificates\.crt)|(usr/)?lib(64|/[^/]+)?/[^/]+\.so[.0-9]*", name)]
    check(not strange, f"it has {len(names)} files: the program, libraries, certificates, its user" + "".join(f"; and {name}" for name in strange))
    check(all(path.stat().st_mode & 0o6000 == 0 for path in image.files()), "no file is setuid or setgid")
    size_mb = sum(path.stat().st_size for path in image.files()) / 1_000_000
    print(f"image: {size_mb:.0f} MB unpacked")
    if "release" in program:
        check(size_mb < UNPACKED_MB_MAX, f"it is below {UNPACKED_MB_MAX} MB")
    else:
        print("NOT RUN: size of the image: this is not a release build")


def demo(image, volume):
    container = image.start("demo", ["--data-dir", "/var/lib/lanner/demo", "demo"], volume=volume, stdout=subprocess.PIPE)
    out, _ = container.communicate(timeout=BUSY_S)
    check(container.returncode == 0 and "Try next" in out, "the demo runs as its user on a read-only root, with a volume")
    container = image.start("sealed", ["--data-dir", "/data", "demo"], stderr=subprocess.PIPE)
    _, err = container.communicate(timeout=BUSY_S)
    check(container.returncode == 42 and "/data" in err, "without a volume there is nowhere to write, which it says (42)")


def host_process(shim):
    """(pid, number in its own namespace) of the program that `shim` started, once it is there."""
    until = time.monotonic() + BUSY_S
    while time.monotonic() < until:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            parent = re.search(r"^PPid:\t(\d+)", status, re.M)[1]
            own = re.search(r"^NSpid:\t(.*)", status, re.M)[1].split()
            if int(parent) == shim.pid and len(own) > 1 and status.startswith("Name:\tlanner"):
                return int(pid), int(own[-1])
        time.sleep(0.002)
    sys.exit("image: FAILED: the program did not start")


def is_ready(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def worker(image, volume):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = [f"LANNER_HTTP_LISTEN=127.0.0.1:{port}", "LANNER_DATA_DIR=/var/lib/lanner/demo"]
    begun = time.monotonic()
    container = image.start("worker", ["merge-newest"], environment, volume, stderr=subprocess.DEVNULL)
    while not is_ready(port):
        if container.poll() is not None or time.monotonic() - begun > BUSY_S:
            sys.exit("image: FAILED: the worker is not ready")
        time.sleep(0.002)
    ready_s = time.monotonic() - begun
    pid, own = host_process(container)
    check(own == 1, "the worker is process 1 of its container")
    time.sleep(1)
    memory_mb = int(re.search(r"^RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1]) / 1_024
    print(f"image: ready {ready_s:.2f} s after the runtime was asked, {memory_mb:.0f} MB of its own without work")
    asked = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    code = container.wait(timeout=BUSY_S)
    took_s = time.monotonic() - asked
    check(code == 0 and took_s < STOP_S_MAX, f"SIGTERM ends it in good order, after {took_s:.2f} s")


def main(archive, program):
    with tempfile.TemporaryDirectory() as folder:
        # The user of the image must reach what is below.
        os.chmod(folder, 0o755)
        image = Image(archive, folder)
        volume = pathlib.Path(folder) / "volume"
        volume.mkdir()
        contents(image, program)
        demo(image, volume)
        worker(image, volume)
    print("NOT RUN: build stage of the Containerfile: its base comes from a registry; the last stage was built over a root made here")


main(*sys.argv[1:])
