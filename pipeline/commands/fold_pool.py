"""Runs the stages of stale folds in workers of an engine.

A finished stage goes into DVC's cache and run-cache at once, so that a later crash costs nothing.
"""

import contextlib
import itertools
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from pipeline.base import console
from pipeline.commands.fold_record import Record, command_of, inputs_of, name_of, relative
from pipeline.commands.stage_lines import cut_to_terminal, error_of, is_warning, say_above, stage_line
from pipeline.commands.time_left import TimeLeft
from pipeline.engines.job import Engine, GoneError, Job, Place, Worker

POLL_S = 0.1
SAY_EVERY_S = 60.0  # where there is no terminal
COMMAND = "> "  # before a command in a log, as DVC writes it
GRACE_S = 10.0  # for a worker to clean up in, before it is killed


@dataclass
class Fold:
    """A fold's stages that have still to be looked at, upstream first; the first of them is the one that runs."""

    name: str
    stages: deque[Any]  # of dvc.stage.PipelineStage
    record: Record
    logs: Path
    of: str = ""  # the experiment it belongs to, where there are several
    threads: int = 1
    slot: int = -1  # its place among the jobs: a line on the screen, a CUDA device
    place: Place | None = None  # its room in the engine
    worker: Worker | None = None
    unread: IO[bytes] | None = None  # its log, open where the screen has read to
    since: float = 0.0  # when its stage was started
    last_line: str = ""

    @property
    def title(self) -> str:
        """For people, and no other's."""
        return f"{self.of} {self.name}".strip()

    @property
    def stage(self) -> str:
        """What people call the stage that runs."""
        return f"{self.of} {name_of(self.stages[0])}".strip()

    @property
    def log(self) -> Path:
        """What its stages write."""
        return self.logs / f"{self.name}.log"


@dataclass(frozen=True)
class Failure:
    """Why a stage was not recorded."""

    stage: str
    reason: str
    exit_code: int = console.USER_ERROR
    error: Sequence[str] = field(default_factory=list)  # the end of its log
    of: str = ""  # the experiment


def at_once(jobs: int, *, unfinished: int, stretch: bool) -> int:
    """How many folds may run while `unfinished` are not done, those at work among them.

    With `stretch`, the last rounds run as one: five folds on two cores are two, then three that share the cores, and
    no core is idle. Each keeps its one thread: the bytes depend on the number of threads, and two threads for the
    last fold took 9 times as long as one where other work kept a core busy (8-pixel digits).
    """
    return unfinished if stretch and unfinished < 2 * jobs else jobs


class Pool:
    """Runs folds, at most `jobs` at a time. Left early, it ends the workers and keeps what had finished."""

    def __init__(self, engine: Engine, *, screen: "Screen", devices: Sequence[str]) -> None:
        self.failures: list[Failure] = []
        self._engine, self._screen, self._devices = engine, screen, devices
        self._running: list[Fold] = []

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        with undisturbed():
            started = [fold for fold in self._running if fold.worker]
            for worker in [fold.worker for fold in started if fold.worker]:
                worker.interrupt()
            for fold in started:
                _end(fold)
                self._settle(fold)
            self._screen.close()
            self._engine.close()

    def run(self, folds: Sequence[Fold], jobs: int, *, stretch: bool) -> None:
        """Run each fold's stages to the end, a failed fold's no further; see `failures`, and `at_once`."""
        for logs in {fold.logs for fold in folds}:
            logs.mkdir(parents=True, exist_ok=True)
        waiting = deque(folds)
        while waiting or self._running:
            unfinished = len(waiting) + len(self._running)
            try:
                while waiting and len(self._running) < at_once(jobs, unfinished=unfinished, stretch=stretch):
                    place = self._engine.admit(len(self._running))
                    if place is None:
                        break
                    self._begin(waiting.popleft(), place)
            except GoneError as error:
                self._give_up(waiting, str(error))
            connection.wait({fold.worker.sentinel for fold in self._running if fold.worker}, timeout=POLL_S)
            for fold in list(self._running):
                ended = fold.worker is not None and fold.worker.exitcode is not None
                self._screen.show(fold)
                if ended:
                    self._go_on(fold)
            self._screen.tick()

    def _give_up(self, waiting: deque[Fold], why: str) -> None:
        """None of those that wait will be started."""
        while waiting:
            fold = waiting.popleft()
            self.failures.append(Failure(fold.stage, f"was not started: {why}", of=fold.of))
            self._screen.left.end(fold.title)

    def _begin(self, fold: Fold, place: Place) -> None:
        changed = fold.record.changed_since(fold.stages[0])
        if changed:
            self._refuse(fold, changed)
            self._screen.left.end(fold.title)
            place.release()
            return
        fold.place = place
        taken = {other.slot for other in self._running}
        fold.slot = next(slot for slot in itertools.count() if slot not in taken)
        fold.log.write_bytes(b"")
        fold.unread = fold.log.open("rb")
        self._running.append(fold)
        self._start(fold)
        self._screen.begin(fold)

    def _start(self, fold: Fold) -> None:
        stage = fold.stages[0]
        module, argv = command_of(stage)
        with fold.log.open("a", encoding="utf-8") as handle:
            handle.write(f"{COMMAND}{stage.cmd}\n")
        environment = {"DVC_STAGE": name_of(stage), "DVC_ROOT": stage.repo.root_dir}  # as DVC sets them
        if self._devices:
            environment["CUDA_VISIBLE_DEVICES"] = self._devices[fold.slot % len(self._devices)]
        job = Job(
            stage=name_of(stage), fold=fold.name, module=module, argv=argv, threads=fold.threads,
            log=str(fold.log), root=stage.repo.root_dir if fold.of else "", environment=environment,
            outputs=[relative(out, stage) for out in stage.outs],
            inputs=inputs_of(stage) if self._engine.elsewhere else {},
        )  # fmt: skip
        fold.since = time.monotonic()
        fold.worker = self._engine.start(job)

    def _go_on(self, fold: Fold) -> None:
        """The worker of `fold` has ended: record its stage, start the next one or give up the slot."""
        settled = self._settle(fold)
        fold.worker = None  # Ctrl-C from here on must not settle the next stage with it
        if settled:
            self._screen.keep(fold)
            fold.stages.popleft()
            if fold.record.advance(fold.stages):
                self._start(fold)
                return
        self._running.remove(fold)
        assert fold.place
        fold.place.release()
        self._screen.done(fold)

    def _settle(self, fold: Fold) -> bool:
        """Whether the stage that ended was recorded."""
        assert fold.worker
        stage, code = fold.stages[0], fold.worker.exitcode
        if code != 0:
            _remove_parts(stage, fold.worker.pid)
            text = fold.log.read_text(encoding="utf-8", errors="replace")
            died = f"was ended by signal {-code}" if code and code < 0 else f"ended with exit code {code}"
            self.failures.append(Failure(fold.stage, died, code or 1, error_of(text.splitlines()), fold.of))
            return False
        changed = fold.record.changed_since(stage)
        if changed:
            self._refuse(fold, changed)
            return False
        fold.record.add(stage)
        return True

    def _refuse(self, fold: Fold, changed: Sequence[str]) -> None:
        reason = f"was not recorded: {', '.join(changed)} changed since the folds were started"
        self.failures.append(Failure(fold.stage, reason, of=fold.of))


class Screen:
    """A line for each stage that has ended, and for a warning; on a terminal also one for each that runs, and a bar.

    How long it will take stands beside the bar, elsewhere in a line a minute. epochs: fold -> how many it trains for;
    growing: later ones take longer; deadline: of the budget, by time.monotonic.
    """

    def __init__(
        self, epochs: Mapping[str, int], *, growing: bool = False, deadline: float | None = None, title: str = "folds"
    ) -> None:
        self._title, self._bar = title, tqdm(total=len(epochs), desc=title, disable=None, leave=False)
        self.left, self._growing, self._deadline, self._num_done = TimeLeft(epochs), growing, deadline, 0
        self._next_line = time.monotonic() + SAY_EVERY_S
        self._lines: dict[int, tqdm] = {}  # by slot

    def show(self, fold: Fold) -> None:
        """What `fold` has written since the last call; an unfinished line waits for its end."""
        assert fold.unread
        stage = fold.stage
        while (line := fold.unread.readline()).endswith(b"\n"):
            text = line.decode(errors="replace").rstrip()
            self.left.read(fold.title, text, time.monotonic())
            if is_warning(text):
                say_above(self._bar, f"{stage}: {text}")
            else:
                fold.last_line = "" if text.startswith(COMMAND) else text
        fold.unread.seek(-len(line), os.SEEK_CUR)
        if not self._bar.disable:
            running = stage_line(stage, time.monotonic() - fold.since, fold.last_line)
            self._line(fold).set_description_str(cut_to_terminal(running))

    def say(self, line: str) -> None:
        """A line that stays."""
        say_above(self._bar, line)

    def begin(self, fold: Fold) -> None:
        """Its first stage has been started."""
        self.left.begin(fold.title, fold.since)

    def tick(self) -> None:
        """How long it will still take: beside the bar, or now and then as a line."""
        now = time.monotonic()
        if self._bar.disable and now < self._next_line:
            return
        said = self.left.said(now, growing=self._growing, deadline=self._deadline)
        if not self._bar.disable:
            self._bar.set_postfix_str(said, refresh=False)
        else:
            self._next_line = now + SAY_EVERY_S
            console.say(f"{self._title}: {self._num_done} of {self._bar.total} done{said and f', {said}'}")

    def keep(self, fold: Fold) -> None:
        """The line of a stage that has ended well."""
        say_above(self._bar, stage_line(fold.stage, time.monotonic() - fold.since, fold.last_line))

    def done(self, fold: Fold) -> None:
        """One fold fewer to come."""
        self.left.end(fold.title)
        self._num_done += 1
        self._bar.update()
        if not self._bar.disable:
            self._line(fold).set_description_str("")

    def close(self) -> None:
        """Clear the lines and the bar."""
        for line in [*self._lines.values(), self._bar]:
            line.close()

    def _line(self, fold: Fold) -> tqdm:
        if fold.slot not in self._lines:
            self._lines[fold.slot] = tqdm(bar_format="{desc}", position=1 + fold.slot, leave=False)
        return self._lines[fold.slot]


def _end(fold: Fold) -> None:
    """Wait for an interrupted worker; kill it if it does not end."""
    assert fold.worker
    fold.worker.join(GRACE_S)
    if fold.worker.exitcode is None:
        fold.worker.kill()
        fold.worker.join()


def _remove_parts(stage: Any, pid: int | None) -> None:
    """Half-written outputs of a worker that was killed."""
    for out in stage.outs:
        path = Path(out.fs_path)
        path.with_name(f"{path.name}.{pid}.part").unlink(missing_ok=True)


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, and SIGHUP but under nohup, raise KeyboardInterrupt too: as for Ctrl-C, finished folds are recorded."""
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    with _handled_by(signal.default_int_handler, numbers):
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No second Ctrl-C while the first is obeyed, or while dvc.lock is written."""
    with _handled_by(signal.SIG_IGN, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
        yield


@contextlib.contextmanager
def _handled_by(handler: Any, numbers: Sequence[signal.Signals]) -> Iterator[None]:
    """These signals go to `handler`; afterwards to whom they went before."""
    kept = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, before in zip(numbers, kept, strict=True):
            signal.signal(number, before)
