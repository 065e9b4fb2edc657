"""Trains and infers all stale folds at once, and records them in DVC as `dvc repro` would have, to the byte.

DVC decides what is stale and what its run-cache holds. What is left runs in workers forked from one process that has
imported torch once. A finished stage goes into DVC's cache and run-cache at once, so that a later crash costs nothing;
dvc.lock is written once, at the end, in the order of `dvc repro`.
"""

import contextlib
import importlib
import itertools
import json
import logging
import multiprocessing
import os
import runpy
import shlex
import shutil
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, forkserver, process
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from pipeline.base import allocator, console
from pipeline.base.files import whole_file

TORN = ".torn"
UPSTREAM = "split"  # the last stage that all folds share
FOLD_MARK = "@"  # DVC names the stages it makes for each fold `train@0`, `infer@0`, ...
PRELOAD = ("torch", "torch._dynamo")  # an optimiser's first step imports the latter: 1 to 2 s in each process
POLL_S = 0.1
GRACE_S = 10.0  # for a worker to clean up in, before it is killed
CUDA_BYTES = 2 << 30  # of a device for each process: its context, libraries, workspaces
USED_SHARE = 0.8  # of what is free on a device
SAFETY = 2  # times what a fold is expected to keep: the step's own scratch memory, and blocks that do not fit together
TAIL = 12  # lines of a failed fold's log to show: a traceback's end


@dataclass
class Fold:
    """A fold's stages that have still to be looked at, upstream first; the first of them is the one that runs."""

    name: str
    stages: deque[Any]  # of dvc.stage.PipelineStage
    threads: int = 1
    slot: int = -1  # its place among the jobs: a line on the screen, a CUDA device
    worker: process.BaseProcess | None = None
    unread: IO[bytes] | None = None  # its log, open where the screen has read to
    last_line: str = ""


@dataclass(frozen=True)
class Failure:
    """Why a stage was not recorded."""

    stage: str
    reason: str
    exit_code: int = console.USER_ERROR
    tail: Sequence[str] = field(default_factory=list)


def run_folds(*, jobs: int | None, device: str, logs: Path, preload: Sequence[str] = ()) -> None:
    """Bring every fold's stages up to date, `jobs` folds at a time (None: as accelerators have room, or cores).

    device: as params.yaml's compute.device; logs: folder for a log a fold; preload: what else to import once.
    Raises ValueError if a fold failed or cannot be recorded; the others are recorded all the same.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.logger import set_loggers_level
    from dvc.repo import Repo, lock_repo
    from dvc.scm import SCMError

    try:
        with Repo() as repo:
            repo.scm_context.quiet = True
            with lock_repo(repo):
                _mend(repo)
                stages = Record(repo).stages
                if not any(stage.changed() for stage in stages):
                    console.say("all folds are up to date")
                    return
                context = _start_server([*PRELOAD, *preload, *sorted({_command(s)[0] for s in _of_folds(stages)})])
            repo.reproduce([UPSTREAM])
            with lock_repo(repo), repo.scm_context(), set_loggers_level(logging.CRITICAL):  # dvc --quiet
                failures = _run_stale(Record(repo), context, jobs=jobs, device=device, logs=logs)
    except SCMError as error:
        raise ValueError(f"{error}, and DVC works inside one alone; run `git init`, then this again") from error
    except DvcException as error:
        busy = next((cause for cause in (error, error.__cause__) if isinstance(cause, LockError)), None)
        if busy is None:
            raise ValueError(str(error)) from error
        reason = "\n".join(dict.fromkeys(str(busy).splitlines()))  # DVC repeats a line for every file
        raise ValueError(
            f"another DVC command is at work in this project; wait until it has ended. {reason}"
        ) from error
    except (EOFError, ConnectionError) as error:
        raise ValueError(
            "the process that workers are forked from was killed, perhaps for want of memory; what had finished is "
            "recorded. Run `python -m pipeline folds` again"
        ) from error
    _report(failures, logs)


class Record:
    """DVC's side: which stages the folds have, which must run, and the record of those that did.

    Every call needs the repository's lock.
    """

    def __init__(self, repo: Any) -> None:
        from dvc.dvcfile import PROJECT_FILE
        from dvc.repo.reproduce import get_active_graph, plan_repro

        graph = get_active_graph(repo.index.graph)
        plan = plan_repro(graph, list(repo.stage.collect(PROJECT_FILE)))
        needed = set(plan_repro(graph, _of_folds(plan)))
        self.stages = [stage for stage in plan if stage in needed]  # in the order of `dvc repro`, upstream included
        self._cache = repo.stage_cache
        self._done: list[Any] = []

    def folds(self) -> list[Fold]:
        """The folds of which any stage is stale."""
        by_name: dict[str, deque[Any]] = {}
        for stage in _of_folds(self.stages):
            by_name.setdefault(stage.addressing.rpartition(FOLD_MARK)[2], deque()).append(stage)
        return [Fold(name, stages) for name, stages in by_name.items() if any(stage.changed() for stage in stages)]

    def must_run(self, stage: Any) -> bool:
        """Whether `stage` is stale and not in the run-cache; if it must run, its old outputs are gone afterwards.

        As in `dvc repro`, outputs are removed before anything else: they may be links into DVC's cache.
        """
        from dvc.stage.cache import RunCacheNotFoundError

        if stage.frozen or not stage.changed():
            return False
        stage.remove_outs()
        try:
            self._cache.restore(stage)
        except RunCacheNotFoundError:
            stage.save_deps()
            return True
        self.add(stage)
        tqdm.write(f"{stage.addressing}: was run before, taken from DVC's cache")
        return False

    def changed_since(self, stage: Any) -> list[str]:
        """The dependencies, and parts of params.yaml, that changed since `must_run` said yes."""
        found = [dep.status() for dep in stage.deps]
        return [
            f"{path} ({', '.join(change)})" if isinstance(change, dict) else path
            for status in found
            for path, change in status.items()
        ]

    def add(self, stage: Any) -> None:
        """Put the outputs of `stage` into the cache and the run-cache; `write` puts them into dvc.lock."""
        stage.save()
        stage.commit()
        self._done.append(stage)

    def recorded(self) -> list[str]:
        """The names of the stages that `add` was called for, in the order of `dvc repro`."""
        return [stage.addressing for stage in self.stages if stage in self._done]

    def write(self) -> None:
        """Enter what was recorded into dvc.lock, in one go: 0.6 s for ten stages, one by one 5.1 s.

        Whole or not at all, where DVC would empty the file first.
        """
        from dvc.dvcfile import LOCK_FILE, Lockfile

        done = [stage for stage in self.stages if stage in self._done]
        if not done:
            return
        path = Path(done[0].repo.root_dir) / LOCK_FILE
        with whole_file(path) as part:
            if path.exists():
                shutil.copyfile(path, part)
            Lockfile(done[0].repo, str(part)).dump_stages(done)


def _mend(repo: Any) -> None:
    """Clear away what a killed DVC left half-written, for DVC would stop at it for ever; needs the repository's lock.

    dvc.lock can be done without: DVC's run-cache knows what had been run. One with git's conflict markers stays.
    """
    from dvc.dvcfile import LOCK_FILE, Lockfile
    from dvc.exceptions import DvcException
    from dvc.rwlock import RWLOCK_FILE

    lock, in_use = Path(repo.root_dir) / LOCK_FILE, Path(repo.tmp_dir) / RWLOCK_FILE
    try:
        Lockfile(repo, str(lock)).load()
    except DvcException:
        if b"<<<<<<<" not in lock.read_bytes():
            _set_aside(lock, "what had been run is taken from DVC's cache")
    try:
        json.loads(in_use.read_bytes() if in_use.exists() else b"{}")
    except ValueError:
        _set_aside(in_use, "it only said which files a run was using")
    for run in Path(repo.stage_cache.cache_dir).glob("??/*"):
        if not any(run.iterdir()):  # made, and then killed; DVC: join() argument must be str, ... not 'NoneType'
            run.rmdir()


def _set_aside(path: Path, why: str) -> None:
    console.say(f"{path} was cut off by a crash and is now {path.name}{TORN}; {why}")
    path.replace(f"{path}{TORN}")


def _of_folds(stages: Sequence[Any]) -> list[Any]:
    return [stage for stage in stages if FOLD_MARK in stage.addressing]


def _command(stage: Any) -> tuple[str, list[str]]:
    """The module that a stage's command line runs, and its arguments."""
    words = shlex.split(stage.cmd)
    if words[:2] != ["python", "-m"] or len(words) < 3:
        raise ValueError(
            f"{stage.addressing} runs `{stage.cmd[:60]}`; folds can be run side by side only where the command in "
            "dvc.yaml is `python -m module ...`. Use `dvc repro`"
        )
    return words[2], words[3:]


def _start_server(preload: list[str]) -> Any:
    """The context whose processes are forked from a server that imports `preload`; it begins to, and we go on.

    On macOS each is started anew: Metal does not work in a forked process.
    """
    allocator.set_environment()  # workers have what the server was started with
    if sys.platform == "darwin":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preload)
    forkserver.ensure_running()
    return context


def _run_stale(record: Record, context: Any, *, jobs: int | None, device: str, logs: Path) -> list[Failure]:
    with _terminated_as_interrupted():
        try:
            folds = [fold for fold in record.folds() if _advance(record, fold)]
            if not folds:
                return []
            room = _ask(context, device, [_command(stage) for fold in folds for stage in fold.stages])
            width = min(len(folds), jobs or num_on_accelerators(room, console.num_cores()) or console.num_cores())
            for fold in folds:
                fold.threads = max(1, console.num_cores() // width)
            devices = _visible_devices(len(room)) if device in ("auto", "cuda") else []
            with Pool(record, context, screen=Screen(len(folds)), devices=devices, logs=logs) as pool:
                pool.run(folds, width, stretch=not jobs and not room)
            return pool.failures
        except KeyboardInterrupt:
            console.say(f"recorded before the interruption: {', '.join(record.recorded()) or 'no stage'}")
            raise
        finally:
            with _undisturbed():
                record.write()


def _advance(record: Record, fold: Fold) -> bool:
    """Pass over the stages of `fold` that need not run; whether one is left that must."""
    while fold.stages:
        if record.must_run(fold.stages[0]):
            return True
        fold.stages.popleft()
    return False


def at_once(jobs: int, *, unfinished: int, stretch: bool) -> int:
    """How many folds may run while `unfinished` are not done, those at work among them.

    With `stretch`, the last rounds run as one: five folds on two cores are two, then three that share the cores, and
    no core is idle. Each keeps its one thread: the bytes depend on the number of threads, and two threads for the
    last fold took 9 times as long as one where other work kept a core busy (8-pixel digits).
    """
    return unfinished if stretch and unfinished < 2 * jobs else jobs


def num_on_accelerators(room: Sequence[int], num_cores: int) -> int:
    """How many folds to run at once on accelerators that have room for so many each; 0 without any.

    Folds are dealt round, so the smallest counts for all; and each needs a core to feed its device from.
    """
    return max(len(room), min(len(room) * min(room), num_cores)) if room else 0


def folds_in(free: int, *, needed: int) -> int:
    """How many folds that need about `needed` bytes run in `free` bytes of a device, each beside its share of CUDA."""
    return max(1, int(USED_SHARE * free) // (CUDA_BYTES + SAFETY * needed))


def _ask(context: Any, device: str, commands: Sequence[tuple[str, list[str]]]) -> list[int]:
    """How many folds each accelerator that `device` stands for has room for; empty for the CPU.

    Asked in a worker: CUDA must not start in what workers fork from.
    """
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=_answer, args=(sender, device, commands), daemon=True)
    worker.start()
    sender.close()
    room = receiver.recv()
    worker.join()
    return room


def _answer(sender: Any, device: str, commands: Sequence[tuple[str, list[str]]]) -> None:
    from pipeline.loop.device import free_memory

    free = free_memory(device)
    needed = next(filter(None, (_needed(*command) for command in commands)), 0) if any(free) else 0
    sender.send([folds_in(num_bytes, needed=needed) if needed else 1 for num_bytes in free])


def _needed(module: str, argv: list[str]) -> int:
    """What the stage itself says that it keeps in a GPU's memory, in bytes; 0 where it does not say."""
    asked = getattr(importlib.import_module(module), "device_bytes", None)
    try:
        return asked(argv) if asked else 0
    except (Exception, SystemExit):  # no shapes without values, or what stops the stage itself, and is said there
        return 0


def _visible_devices(count: int) -> list[str]:
    """What CUDA_VISIBLE_DEVICES must hold for each of `count` devices."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",")[:count] if given else [str(number) for number in range(count)]


class Pool:
    """Runs folds, at most `jobs` at a time. Left early, it ends the workers and keeps what had finished."""

    def __init__(self, record: Record, context: Any, *, screen: "Screen", devices: Sequence[str], logs: Path) -> None:
        self.failures: list[Failure] = []
        self._record, self._context, self._screen = record, context, screen
        self._devices, self._logs = devices, logs
        self._running: list[Fold] = []

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        with _undisturbed():
            for fold in self._running:
                _interrupt(fold)
            for fold in self._running:
                _end(fold)
                self._settle(fold)
            self._screen.close()

    def run(self, folds: Sequence[Fold], jobs: int, *, stretch: bool) -> None:
        """Run each fold's stages to the end, a failed fold's no further; see `failures`, and `at_once`."""
        self._logs.mkdir(parents=True, exist_ok=True)
        waiting = deque(folds)
        while waiting or self._running:
            unfinished = len(waiting) + len(self._running)
            while waiting and len(self._running) < at_once(jobs, unfinished=unfinished, stretch=stretch):
                self._begin(waiting.popleft())
            connection.wait([fold.worker.sentinel for fold in self._running if fold.worker], timeout=POLL_S)
            for fold in list(self._running):
                ended = fold.worker is not None and fold.worker.exitcode is not None
                self._screen.show(fold)
                if ended:
                    self._go_on(fold)

    def _begin(self, fold: Fold) -> None:
        changed = self._record.changed_since(fold.stages[0])
        if changed:
            self._refuse(fold, changed)
            return
        taken = {other.slot for other in self._running}
        fold.slot = next(slot for slot in itertools.count() if slot not in taken)
        log = self._logs / f"{fold.name}.log"
        log.write_bytes(b"")
        fold.unread = log.open("rb")
        self._running.append(fold)
        self._start(fold)

    def _start(self, fold: Fold) -> None:
        stage = fold.stages[0]
        module, argv = _command(stage)
        environment = {"DVC_STAGE": stage.addressing, "DVC_ROOT": stage.repo.root_dir}  # as DVC sets them
        if len(self._devices) > 1:
            environment["CUDA_VISIBLE_DEVICES"] = self._devices[fold.slot % len(self._devices)]
        fold.worker = self._context.Process(
            target=_work,
            args=(module, argv),
            kwargs={"log": self._logs / f"{fold.name}.log", "threads": fold.threads, "environment": environment},
        )
        fold.worker.start()

    def _go_on(self, fold: Fold) -> None:
        """The worker of `fold` has ended: record its stage, start the next one or give up the slot."""
        if self._settle(fold):
            self._screen.keep(fold)
            fold.stages.popleft()
            if _advance(self._record, fold):
                self._start(fold)
                return
        self._running.remove(fold)
        self._screen.done(fold)

    def _settle(self, fold: Fold) -> bool:
        """Whether the stage that ended was recorded."""
        assert fold.worker
        stage, code = fold.stages[0], fold.worker.exitcode
        if code != 0:
            _remove_parts(stage, fold.worker.pid)
            text = (self._logs / f"{fold.name}.log").read_text(encoding="utf-8", errors="replace")
            died = f"was ended by signal {-code}" if code and code < 0 else f"ended with exit code {code}"
            self.failures.append(Failure(stage.addressing, died, code or 1, text.splitlines()[-TAIL:]))
            return False
        changed = self._record.changed_since(stage)
        if changed:
            self._refuse(fold, changed)
            return False
        self._record.add(stage)
        return True

    def _refuse(self, fold: Fold, changed: Sequence[str]) -> None:
        reason = f"was not recorded: {', '.join(changed)} changed since the folds were started"
        self.failures.append(Failure(fold.stages[0].addressing, reason))


class Screen:
    """The workers' lines. On a terminal: a line for each running fold, a bar over all; else each line as it comes."""

    def __init__(self, num_folds: int) -> None:
        self._bar = tqdm(total=num_folds, desc="folds", disable=None, leave=False)
        self._lines: dict[int, tqdm] = {}  # by slot

    def show(self, fold: Fold) -> None:
        """What `fold` has written since the last call; an unfinished line waits for its end."""
        assert fold.unread
        while (line := fold.unread.readline()).endswith(b"\n"):
            fold.last_line = f"{fold.stages[0].addressing}: {line.decode(errors='replace').rstrip()}"
            if self._bar.disable:
                console.say(fold.last_line)
        fold.unread.seek(-len(line), os.SEEK_CUR)
        if not self._bar.disable:
            self._line(fold).set_description_str(fold.last_line[: shutil.get_terminal_size().columns - 1])

    def _line(self, fold: Fold) -> tqdm:
        if fold.slot not in self._lines:
            self._lines[fold.slot] = tqdm(bar_format="{desc}", position=1 + fold.slot, leave=False)
        return self._lines[fold.slot]

    def keep(self, fold: Fold) -> None:
        """Let the last line of a stage stand."""
        if not self._bar.disable:
            self._bar.write(fold.last_line)

    def done(self, fold: Fold) -> None:
        """One fold fewer to come."""
        self._bar.update()
        if not self._bar.disable:
            self._line(fold).set_description_str("")

    def close(self) -> None:
        """Clear the lines and the bar."""
        for line in [*self._lines.values(), self._bar]:
            line.close()


def _work(module: str, argv: list[str], *, log: Path, threads: int, environment: dict[str, str]) -> None:
    """In the worker: what `python -m module argv` does, on `threads` threads, its lines added to `log`."""
    os.setpgrp()  # a terminal's Ctrl-C goes to the parent, which passes it on once
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if we were started in the background
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(environment)
    from pipeline.loop.device import limit_threads

    limit_threads(threads)
    for name in [name for name in sys.modules if name.split(".", maxsplit=1)[0] == __package__]:
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


def _interrupt(fold: Fold) -> None:
    """As Ctrl-C does, so that the worker removes its half-written files."""
    assert fold.worker
    if fold.worker.exitcode is None and fold.worker.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(fold.worker.pid, signal.SIGINT)


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
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, and SIGHUP but under nohup, raise KeyboardInterrupt too: as for Ctrl-C, finished folds are recorded."""
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    with _handled_by(signal.default_int_handler, numbers):
        yield


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
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


def _report(failures: Sequence[Failure], logs: Path) -> None:
    """Name the stages that failed. ValueError where the user can mend all of them, else exit code 1."""
    if not failures:
        return
    for failure in failures:
        console.say("\n".join([f"{failure.stage} {failure.reason}", *(f"  | {line}" for line in failure.tail)]))
    names = ", ".join(failure.stage for failure in failures)
    message = (
        f"{len(failures)} stages were not recorded: {names}; what finished was. Logs are in {logs}; mend the "
        "cause, then run `python -m pipeline folds` again"
    )
    if all(failure.exit_code == console.USER_ERROR for failure in failures):
        raise ValueError(message)
    print(f"error: {message}", file=sys.stderr, flush=True)
    raise SystemExit(1)
