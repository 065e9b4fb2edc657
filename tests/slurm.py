"""A Slurm cluster of one node, this machine: Debian's slurmctld, slurmd and munged, their files in a folder.

It takes root, and the packages slurmctld, slurmd, slurm-client and munge.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil

from tests.machines import PATIENCE_S, skip_for

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
# no cgroups, which a container mostly may not make; two folds fit on the node
CONF = """
ClusterName=foldboard
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1
PartitionName=main Nodes={host} Default=YES State=UP
"""


def missing():
    """Why there can be no Slurm here, or an empty text."""
    absent = [name for name in COMMANDS if shutil.which(name, path=_path()) is None]
    if absent:
        return f"no {', '.join(absent)} is installed (apt-get install slurmctld slurmd slurm-client munge)"
    return "" if os.getuid() == 0 else "slurmd takes root"


def needed():
    """Skip the test where there can be no Slurm, unless that is not allowed."""
    skip_for(missing())


def _path():
    return f"{os.environ['PATH']}{os.pathsep}/usr/sbin"


class Slurm:
    """It runs from `with` on. folder: with a short path, for a socket is in it."""

    def __init__(self, folder):
        self.folder, self.daemons = Path(folder), {}
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        (self.folder / "spool").mkdir(parents=True)
        (self.folder / "cgroup.conf").write_text("# as shipped\n")
        (self.folder / "munge.key-file").write_bytes(os.urandom(1024))
        (self.folder / "munge.key-file").chmod(0o600)
        conf = CONF.format(folder=folder, host=socket.gethostname().partition(".")[0], controller=_port(), node=_port())
        (self.folder / "slurm.conf").write_text(conf)

    def __enter__(self):
        try:
            self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_):
        self.says("scancel", "--user=root", check=False)
        self._end()

    def says(self, *words, check=True):
        """What a command of Slurm prints."""
        done = subprocess.run(words, env=os.environ | self.environment, capture_output=True, text=True, check=check)
        return done.stdout

    def without_controller(self):
        """A configuration whose controller does not answer."""
        path = self.folder / "nobody/slurm.conf"
        path.parent.mkdir()
        text = (self.folder / "slurm.conf").read_text()
        path.write_text(re.sub("SlurmctldPort=.*", f"SlurmctldPort={_port()}", text))
        return path

    def queue(self):
        """Job -> its state, of those that have not ended."""
        return dict(line.split() for line in self.says("squeue", "--noheader", "--format=%i %T").splitlines())

    def processes(self, job):
        """Of the job: its script, what submitit began, and the stage."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("SLURM_JOB_ID") == job:
                    found.append(process)
        return found

    def kill(self, job):
        """What submitit began, and that alone."""
        for process in self.processes(job):
            if "submitit.core._submit" in process.cmdline():
                process.kill()

    def begin_controller_anew(self):
        """After it was killed. It knows the jobs that it had."""
        self.daemons["slurmctld"].kill()
        self.daemons["slurmctld"].wait()
        self._start("slurmctld", "-D")

    def _begin(self):
        munge = [
            f"--{name}={self.folder}/munge.{name}"
            for name in ("key-file", "socket", "pid-file", "log-file", "seed-file")
        ]
        self._start("munged", "--foreground", "--force", *munge)
        self._wait_for(lambda: (self.folder / "munge.socket").exists())
        self._start("slurmctld", "-D", "-c")
        self._start("slurmd", "-D")
        self._wait_for(lambda: "idle" in self.says("sinfo", "--noheader", "--format=%T", check=False))

    def _end(self):
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _start(self, name, *words):
        with (self.folder / f"{name}.out").open("wb") as out:
            command = [shutil.which(name, path=_path()), *words]
            environment = os.environ | self.environment
            self.daemons[name] = subprocess.Popen(command, env=environment, stdout=out, stderr=out)

    def _wait_for(self, true):
        until = time.monotonic() + PATIENCE_S
        while not true():
            logs = [path.read_text() for path in self.folder.glob("*.out")]
            assert all(daemon.poll() is None for daemon in self.daemons.values()), logs
            assert time.monotonic() < until, logs
            time.sleep(0.1)


def _port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
