"""An engine whose workers are elsewhere: what `folds` sees of `bridge.py`."""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.base import console
from pipeline.engines.job import Anywhere, GoneError, Job, Place
from pipeline.engines.node import DECIDING
from pipeline.engines.placement import Need

END_S = 15.0  # for the bridge to leave the cluster in, before it is killed
KILLED = -9


class RemoteWorker:
    """A stage that the bridge has somewhere."""

    def __init__(self, engine: "RemoteEngine", number: int, log: Path) -> None:
        self._engine, self._number, self.log = engine, number, log
        self.code: int | None = None

    @property
    def pid(self) -> int | None:
        """The bridge, which writes the outputs."""
        return self._engine.pid

    @property
    def sentinel(self) -> int:
        """The bridge's messages."""
        return self._engine.sentinel

    @property
    def exitcode(self) -> int | None:
        """As told so far."""
        self._engine.listen()
        return self.code

    def interrupt(self) -> None:
        """Let it be stopped."""
        if self.exitcode is None:
            self._engine.tell(stop=self._number)

    def join(self, timeout: float | None = None) -> None:
        """Wait for the message that it has ended."""
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while self.exitcode is None and (left := until - time.monotonic()) > 0:
            select.select([self.sentinel], [], [], min(left, 1.0))

    def kill(self) -> None:
        """The bridge itself: whatever it may yet do must not reach the project."""
        self._engine.kill()


class RemoteEngine:
    """Stages on the nodes of a cluster. say: shows a line; log: a file for what the cluster's library writes; options:
    of Slurm's jobs.
    """

    elsewhere = True

    def __init__(
        self, kind: str, address: str, *, need: Need, log: Path, say: Callable[[str], None], options: Sequence[str] = ()
    ) -> None:
        words = [kind, address, str(need.cpus), str(need.gpus), *options]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as handle:
            self._bridge = subprocess.Popen(
                [sys.executable, "-m", "pipeline.engines.bridge", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=handle,
                start_new_session=True,
            )
        self._say, self._log, self._unread = say, log, b""
        self._workers: list[RemoteWorker] = []
        self._places, self._gone = 0, ""
        assert self._bridge.stdout
        os.set_blocking(self._bridge.stdout.fileno(), False)

    @property
    def pid(self) -> int:
        """Of the bridge."""
        return self._bridge.pid

    @property
    def sentinel(self) -> int:
        """Readable when the bridge has said something, or has ended."""
        assert self._bridge.stdout
        return self._bridge.stdout.fileno()

    def admit(self, running: int) -> Place | None:
        """Room as the bridge has counted it. Raises GoneError."""
        self.listen()
        if self._gone:
            raise GoneError(self._gone)
        return Anywhere() if running < self._places else None

    def start(self, job: Job) -> RemoteWorker:
        """Hand the job over."""
        worker = RemoteWorker(self, len(self._workers), Path(job.log))
        self._workers.append(worker)
        if self._gone:
            self._fail(worker)
        else:
            environment = _deciding(job.threads) | dict(job.environment)
            self.tell(start=len(self._workers) - 1, job=job.to_json() | {"environment": environment})
        return worker

    def tell(self, **message: Any) -> None:
        """Send it to the bridge, if that is there."""
        assert self._bridge.stdin
        with contextlib.suppress(BrokenPipeError):
            self._bridge.stdin.write(json.dumps(message).encode() + b"\n")
            self._bridge.stdin.flush()

    def listen(self) -> None:
        """Take in what the bridge has said."""
        while not self._gone:
            try:
                found = os.read(self.sentinel, 1 << 16)
            except BlockingIOError:
                return
            if not found:
                self._lose(
                    f"the process that speaks with the cluster has ended (exit code {self._bridge.wait()}), as it does "
                    f"when the cluster's head is gone; see {self._log}"
                )
            *lines, self._unread = (self._unread + found).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))

    def kill(self) -> None:
        """End the bridge, and so all that it has at work."""
        self._bridge.kill()
        self.listen()

    def close(self) -> None:
        """Stop what is at work and leave the cluster."""
        assert self._bridge.stdin
        with contextlib.suppress(BrokenPipeError):
            self._bridge.stdin.close()
        until = time.monotonic() + END_S
        while not self._gone and time.monotonic() < until:
            select.select([self.sentinel], [], [], 0.5)
            self.listen()
        self._bridge.kill()
        self._bridge.wait()

    def _hear(self, message: dict[str, Any]) -> None:
        self._places = message.get("places", self._places)
        if message.get("say"):
            self._say(message["say"])
        if "ended" in message:
            self._workers[message["ended"]].code = message["code"]
        if "gone" in message:
            self._lose(message["gone"])

    def _lose(self, why: str) -> None:
        self._gone = self._gone or why
        for worker in self._workers:
            if worker.code is None:
                self._fail(worker)

    def _fail(self, worker: RemoteWorker) -> None:
        worker.code = console.USER_ERROR
        with worker.log.open("a", encoding="utf-8") as log:
            log.write(f"error: {self._gone}\n")


def _deciding(threads: int) -> dict[str, str]:
    """Of our environment what decides results, with the number of threads as `loop.device.limit_threads` has it."""
    found = {name: value for name, value in os.environ.items() if name.startswith(DECIDING)}
    asked = found.get("OMP_NUM_THREADS", "")
    return found | {"OMP_NUM_THREADS": str(min(threads, int(asked)) if asked.isdecimal() and int(asked) else threads)}
