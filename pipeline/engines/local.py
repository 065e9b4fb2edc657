"""Stages in workers of this machine, forked from one process that has imported torch once."""

import contextlib
import multiprocessing
import os
import runpy
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import connection, process
from pathlib import Path
from typing import Any

from pipeline.base import console
from pipeline.engines.job import Anywhere, Job, Place
from pipeline.engines.leases import Leases


class LocalWorker:
    """A process of this machine."""

    def __init__(self, worker: process.BaseProcess) -> None:
        self._process = worker
        self.sentinel, self.join, self.kill = worker.sentinel, worker.join, worker.kill

    @property
    def pid(self) -> int | None:
        """Its number."""
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        """None while it runs; negative after a signal."""
        return self._process.exitcode

    def interrupt(self) -> None:
        """As Ctrl-C does, so that it removes its half-written files."""
        if self.exitcode is None and self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGINT)


class LocalEngine:
    """Forks workers of `context`; slots: of this machine's cores, where its checkouts share a number of them."""

    elsewhere = False

    def __init__(self, context: Any, slots: Leases | None = None) -> None:
        self._context, self._slots = context, slots

    def admit(self, running: int) -> Place | None:
        """A slot, where they are counted."""
        return Anywhere() if self._slots is None else self._slots.take_any()

    def start(self, job: Job) -> LocalWorker:
        """A worker at the job."""
        options = {"log": job.log, "threads": job.threads, "environment": job.environment, "root": job.root}
        worker = self._context.Process(target=_work, args=(job.module, job.argv), kwargs=options)
        worker.start()
        return LocalWorker(worker)

    def close(self) -> None:
        """The server that workers are forked from ends with this process."""


def _work(
    module: str, argv: Sequence[str], *, log: str, threads: int, environment: Mapping[str, str], root: str
) -> None:
    """In the worker: what `python -m module argv` does in `root`, on `threads` threads, its lines added to `log`."""
    os.setpgrp()  # a terminal's Ctrl-C goes to the parent, which passes it on once
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if we were started in the background
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(environment)
    from pipeline.loop.device import limit_threads

    limit_threads(threads)
    if root:  # another checkout's code is imported from there
        sys.path[:] = [root if entry == str(Path.cwd()) else entry for entry in sys.path]
        os.chdir(root)
    for name in [name for name in sys.modules if name.split(".", maxsplit=1)[0] == __name__.split(".", maxsplit=1)[0]]:
        del sys.modules[name]  # a model card's code fingerprint counts our modules that are imported
    sys.argv = [module, *argv]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    """End with `folds`, and with the server that this worker was forked from: without it nobody learns how we end."""
    parent, server = multiprocessing.parent_process(), os.getppid()
    assert parent
    while os.getppid() == server and not connection.wait([parent.sentinel], console.PARENT_POLL_S):
        pass
    console.end_orphan()
