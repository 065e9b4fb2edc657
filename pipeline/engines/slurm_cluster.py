"""Slurm, through submitit: a job for each fold at work, which takes the fold's stages one after the other.

The `Node` of a stage is here, in a folder that all nodes see: what it is sent lies there before the job leaves the
queue. A job runs the stage in that folder, and is heard through a file. Whatever ends it or puts it back into the
queue, it is lost: another job goes on from the states that came home.
"""

import contextlib
import math
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from submitit.core.utils import FailedJobError, FailedSubmissionError, cloudpickle

from pipeline.engines import node as node_module
from pipeline.engines import slurm_job
from pipeline.engines.errand import Link, LostError, refuse_others
from pipeline.engines.node import KEEP_S, Node
from pipeline.engines.placement import Need, NodeState
from pipeline.engines.slurm_options import Options

NAME = "a Slurm job"
MANY = 1e6  # cores and GPUs: the queue decides what runs at once
ASK_S = 2.0  # between two questions to the controller, which all users share
ANSWER_S = 60.0  # for its answer
SILENT_S = 30.0  # without a sign of life from a job that had begun: it is lost. Files of a network may take their time
IDLE_S = 20.0  # a job without a stage waits so long for the fold's next one
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
         "REVOKED", "TIMEOUT")  # fmt: skip
WAITING = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")


class QueuedJob:
    """A job of ours. It begins when Slurm lets it, and then takes orders."""

    def __init__(self, folder: Path, submit: Callable[[str], Any]) -> None:
        self.folder = folder
        folder.mkdir()
        slurm_job.write(folder / slurm_job.ORDER, {"number": 0})
        slurm_job.write(folder / slurm_job.ANSWER, {})
        self._job = submit(str(folder))
        self.id, self.submitted = str(self._job.job_id), time.monotonic()
        self.begun = math.inf  # when it was first heard
        self.idle_since = self._heard = math.inf  # when it was last heard
        self.said: dict[str, Any] = {}
        self._number = 0

    def order(self, **what: Any) -> None:
        """A stage for it."""
        self._number += 1
        slurm_job.write(self.folder / slurm_job.ORDER, what | {"number": self._number})

    def listen(self) -> int | None:
        """The exit code of the stage that was ordered, None while it is not known. Raises LostError."""
        found = slurm_job.read(self.folder / slurm_job.ANSWER)
        if found and found != self.said:
            self.said, self._heard = found, time.monotonic()
            if math.isinf(self.begun):
                self.begun = self._heard
                refuse_others(found["about"], str(self))
        if self.said.get("number") == self._number and self.said["code"] is not None:
            return int(self.said["code"])
        if time.monotonic() - self._heard > SILENT_S:
            raise LostError(f"{self}: no sign of life for {SILENT_S:.0f} s")
        return None

    def has_ended(self) -> bool:
        """Of a process of this machine: whether there is none any more."""
        return bool(self._job.state != "RUNNING")

    def last_words(self) -> str:
        """What Slurm, or Python, said last there."""
        with contextlib.suppress(OSError):
            lines = self._job.paths.stderr.read_text(encoding="utf-8", errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""

    def dismiss(self) -> None:
        """It ends by itself, if it has begun."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def cancel(self) -> None:
        """It ends, wherever it is."""
        self.dismiss()
        self._job.cancel(check=False)

    def __str__(self) -> str:
        return f"job {self.id}{' on ' + self.said['host'] if self.said else ''}"


class SlurmNode(Node):
    """The `Node` of a stage that a job runs: files are sent to it and read from it here."""

    def __init__(self, cache: str, job: QueuedJob, refuse_ended: Callable[[QueuedJob], None]) -> None:
        super().__init__(cache)
        self._cache_name, self._job, self._refuse_ended = cache, job, refuse_ended
        self.is_done = False
        self._log.touch()

    def begin(self, files: Mapping[str, str], module: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """Have it run there, when there is a node for it."""
        if math.isinf(self._job.begun):
            self._log.write_text(f"job {self._job.id} waits in the queue\n", encoding="utf-8")
        begin = (dict(files), module, list(argv), dict(environment))
        self._job.order(cache=self._cache_name, work=str(self._root), begin=begin)

    def code(self) -> int | None:
        """As the job says. Raises LostError."""
        code = self._job.listen()
        if code is None:
            self._refuse_ended(self._job)
        self.is_done = code is not None
        return code

    def outputs(self, scratch: str) -> dict[str, tuple[int, str]]:
        """As they were hashed there."""
        return dict(self._job.said["outputs"])


class SlurmCluster:
    """Slurm's queue. address: a folder that all nodes see; words: see `Options`."""

    def __init__(self, address: str, words: Sequence[str]) -> None:
        self._options, self._cache = Options(words), Path(address).resolve()
        runs = self._cache / "jobs"
        runs.mkdir(parents=True, exist_ok=True)
        for old in runs.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - old.stat().st_mtime > KEEP_S:
                    shutil.rmtree(old, ignore_errors=True)
        self._folder = runs / f"{os.getpid()}-{time.time_ns()}"
        self._folder.mkdir(mode=0o700)  # what lies there, jobs run
        for module in (node_module, slurm_job):
            cloudpickle.register_pickle_by_value(module)
        self._executor: Any = None
        self._lock = threading.Lock()
        self._jobs: list[QueuedJob] = []
        self._num_jobs, self._is_closed = 0, False
        self._states: dict[str, str] = {}
        self._asked, self._answered = 0.0, True
        if self._options.cluster == "slurm":
            self._ask()
            if not self._answered:
                raise ConnectionError("squeue gives no answer: Slurm's controller is not there")
            threading.Thread(target=self._keep_asking, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    def nodes(self) -> dict[str, NodeState]:
        """One, with room for all: who runs when is decided in the queue."""
        with self._lock:
            idle = [job for job in self._jobs if time.monotonic() - job.idle_since > IDLE_S]
            self._jobs = [job for job in self._jobs if job not in idle]
        for job in idle:
            job.dismiss()
        return {NAME: NodeState(cpus=MANY, gpus=MANY)}

    def about(self) -> str:
        """What jobs are asked for."""
        words = [f"{name}={value}" for name, value in self._options.values.items()]
        return f"slurm: jobs {' '.join(words) or 'with no options'}, through {self._cache}"

    def look_for(self, node: str) -> None:
        """One job is lost, and others may be had."""

    def is_back(self, node: str) -> bool:
        """As long as there is a controller."""
        return self._answered

    def open(self, node: str, need: Need) -> tuple[Link, Callable[[], None]]:
        """A job that has done its stage, or a new one. Raises ValueError where Slurm refuses it."""
        with self._lock:
            idle = [job for job in self._jobs if not math.isinf(job.idle_since)]
            job = idle[0] if idle else self._submit(need)
            job.idle_since = math.inf
        there = SlurmNode(str(self._cache), job, self._refuse_ended)

        def link(name: str, *args: Any) -> Any:
            return getattr(there, name)(*args)

        def end() -> None:
            if there.is_done:
                job.idle_since = time.monotonic()
            else:
                self._cancel(job)
            there.close()

        return link, end

    def close(self) -> None:
        """No job is left in the queue."""
        with self._lock:
            self._is_closed, jobs = True, list(self._jobs)
        for job in jobs:
            self._cancel(job)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _submit(self, need: Need) -> QueuedJob:
        if self._is_closed:
            raise LostError("the run is over")
        if self._executor is None:
            self._executor = self._options.executor(self._folder, need)
        self._num_jobs += 1
        try:
            job = QueuedJob(
                self._folder / str(self._num_jobs), lambda folder: self._executor.submit(slurm_job.work, folder)
            )
        except (FailedJobError, FailedSubmissionError) as error:
            self._ask()
            if not self._answered:
                raise LostError(f"Slurm's controller gives no answer: {error}") from error
            raise ValueError(f"Slurm takes no such job: {' '.join(str(error).split())}") from error
        self._jobs.append(job)
        return job

    def _cancel(self, job: QueuedJob) -> None:
        with self._lock:
            if job not in self._jobs:
                return
            self._jobs.remove(job)
        job.cancel()

    def _refuse_ended(self, job: QueuedJob) -> None:
        """Raise LostError if it runs no more, or is to begin once more."""
        state = self._ended(job)
        if state and job.listen() is None:  # it may have answered, and then ended
            raise LostError(", ".join(filter(None, [f"{job}: {state}", job.last_words()])))

    def _ended(self, job: QueuedJob) -> str:
        """The state of one that ended, or was put back into the queue; empty while it may go on."""
        if self._options.cluster == "local":
            return "ENDED" if job.has_ended() else ""
        if self._asked <= job.submitted:
            return ""
        state = self._states.get(job.id, "not in the queue any more")
        if state in WAITING:
            return f"{state} again" if self._asked > job.begun else ""
        return state if state in ENDED or job.id not in self._states else ""

    def _ask(self) -> None:
        """What Slurm says of our jobs; where it says nothing, what it said last stays."""
        asked = time.monotonic()
        ours = [f"--user={os.getuid()}", f"--name={self._options.name_of(self._folder)}"]
        command = ["squeue", "--noheader", "--states=all", *ours, "--format=%i %T"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ANSWER_S)
        except (subprocess.SubprocessError, OSError) as error:
            print(f"squeue: {error}: {getattr(error, 'stderr', '')}", flush=True)  # to the engine's log
            self._answered = False
            return
        self._states = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if len(line.split()) == 2)
        self._asked, self._answered = asked, True

    def _keep_asking(self) -> None:
        while not self._is_closed:
            time.sleep(ASK_S)
            self._ask()

    def _beat(self) -> None:
        """Jobs that hear nothing for a minute end."""
        beat = 0
        while not self._is_closed:
            with contextlib.suppress(OSError):
                slurm_job.write(self._folder / slurm_job.BEAT, {"beat": beat})
            beat += 1
            time.sleep(slurm_job.BEAT_S)
