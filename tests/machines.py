"""Machines on one: network namespaces with an address, processes, temporary files and shared memory of their own.

They see the libraries that are installed here, but not the project. It takes root, and Debian's iproute2.
"""

import contextlib
import itertools
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.project import NAMES

REQUIRED = "FOLDBOARD_CLUSTER"  # set where the tests must not be skipped
NUMBERS = itertools.count()
PATIENCE_S = 120
RAY = Path("/tmp/ray")  # its files, whose sockets need a short path
STORE_BYTES = 80_000_000  # Ray's least


def missing():
    """Why there can be no cluster here, or an empty text."""
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "no iproute2 (apt-get install iproute2) or util-linux is installed"
    try:
        import ray  # noqa: F401
    except ImportError:
        return "Ray is not installed (requirements-ray.txt)"
    trial = f"fbtry{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", trial], capture_output=True, check=False).returncode:
        return "network namespaces cannot be made here (it takes root)"
    subprocess.run(["ip", "netns", "del", trial], check=True)
    return ""


def skip_for(why):
    """Skip the test for this reason, unless that is not allowed; an empty text is none."""
    if why and os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, and {why}")
    if why:
        pytest.skip(why)


def needed():
    """Skip the test where there can be no cluster, unless that is not allowed."""
    skip_for(missing())


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Lan:
    """A switch that machines are plugged into. hidden: the folder that none of them but `home` sees."""

    def __init__(self, hidden):
        self.hidden, self.machines = Path(hidden), []
        self.switch = f"fb{os.getpid()}-{next(NUMBERS)}s"
        self.token = secrets.token_hex(32)
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "lan", "type", "bridge")
        ip("-n", self.switch, "link", "set", "lan", "up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for machine in self.machines:
            machine.remove()
        ip("netns", "del", self.switch)

    def machine(self, folder=None):
        """One more. folder: its own, for a machine that works; without one it sees what this one sees."""
        self.machines.append(Machine(self, len(self.machines) + 1, folder))
        return self.machines[-1]

    def environment(self):
        """For all who speak with Ray."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return os.environ | NAMES | {
            "PATH": path, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip


class Machine:
    """One of a Lan, plugged in."""

    def __init__(self, lan, number, folder):
        self.lan, self.number, self.folder = lan, number, folder
        self.address = f"10.77.0.{number}"
        self.name, self.port = f"fb{os.getpid()}-{next(NUMBERS)}m", f"port{number}"
        self.process, self.log = None, lan.hidden.parent / f"ray-{number}.log"
        ip("netns", "add", self.name)
        ip("-n", lan.switch, "link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("-n", lan.switch, "link", "set", self.port, "master", "lan", "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self.name, "link", "set", device, "up")

    def words(self, command):
        """`command` there. Where the machine has a folder, its first process takes all others with it."""
        own = self.folder or self.lan.hidden.parent / "home"
        (own / "ray").mkdir(parents=True, exist_ok=True)
        RAY.mkdir(exist_ok=True)
        mounts, apart = f"mount --bind {shlex.quote(str(own / 'ray'))} {RAY}", ["unshare", "--mount"]
        if self.folder:
            mounts += (
                f" && mount -t tmpfs tmpfs /dev/shm && mount --bind {shlex.join(map(str, (own, self.lan.hidden)))}"
            )
            apart += ["--pid", "--fork", "--kill-child", "--mount-proc"]
        script = f"{mounts} && exec {shlex.join(map(str, command))}"
        return ["ip", "netns", "exec", self.name, *apart, "sh", "-c", script]

    def start_ray(self, *words, cpus=1):
        """`ray start` there; words: --head, or --address=…"""
        command = [
            "ray", "start", *words, f"--node-ip-address={self.address}", f"--num-cpus={cpus}", "--block",
            f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats",
        ]  # fmt: skip
        cache = {"FOLDBOARD_CACHE": str(self.lan.hidden / "cache")}
        with self.log.open("ab") as handle:
            self.process = subprocess.Popen(
                self.words(command), env=self.lan.environment() | cache, stdout=handle, stderr=handle, cwd="/",
                start_new_session=True,
            )  # fmt: skip

    def wait(self):
        """Until the head that was started here takes members."""
        until = time.monotonic() + PATIENCE_S
        while "Ray runtime started" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.2)

    def processes(self):
        """All that run there."""
        found = []
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self.process.pid).children(recursive=True) if self.process else []
        return found

    def kill(self):
        """A power cut, but that the kernel closes its connections."""
        self.signal(signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def signal(self, number):
        """To all of its processes."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def unplug(self):
        """Packets to and from it are lost."""
        ip("-n", self.lan.switch, "link", "set", self.port, "nomaster")

    def plug(self):
        ip("-n", self.lan.switch, "link", "set", self.port, "master", "lan")

    def end(self):
        """No process is left there."""
        if self.process and self.process.poll() is None:
            self.kill()
        self.log.unlink(missing_ok=True)
        if self.folder:
            shutil.rmtree(self.folder / "ray", ignore_errors=True)

    def remove(self):
        self.end()
        ip("netns", "del", self.name)
