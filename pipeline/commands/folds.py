"""Train and infer all stale folds at once; DVC is told of each as `dvc repro` would have told it, to the byte.

DVC decides what is stale and what its run-cache holds. dvc.lock is written once, at the end, in the order of
`dvc repro`.
"""

import argparse
import contextlib
import importlib
import itertools
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from pipeline.base import allocator, console
from pipeline.base.params import (
    OWN_NETWORKS,
    ComputeParams,
    ModelParams,
    PseudoParams,
    SplitParams,
    TrainParams,
    load_section,
    load_train,
)
from pipeline.commands import fold_engine, places
from pipeline.commands.fold_engine import HERE, Where
from pipeline.commands.fold_pool import Failure, Fold, Pool, Screen, terminated_as_interrupted, undisturbed
from pipeline.commands.fold_record import Record, clear_torn_files, command_of, name_of, of_features, of_folds
from pipeline.commands.plan import Plan, read_plan
from pipeline.commands.repro import IN_ORDER, make_ready, reproduce
from pipeline.engines.job import Engine
from pipeline.engines.leases import Leases, cpu_slots
from pipeline.engines.local import LocalEngine

PRELOAD = ("torch", "torch._dynamo")  # an optimiser's first step imports the latter: 1 to 2 s in each process
CUDA_BYTES = 2 << 30  # of a device for each process: its context, libraries, workspaces
USED_SHARE = 0.8  # of what is free on a device
SAFETY = 2  # times what a fold is expected to keep: the step's own scratch memory, and blocks that do not fit together


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    parser.add_argument("--jobs", type=_job_count, help="folds at a time; default: by GPU memory, else one a core")
    parser.add_argument("--threads", type=_job_count, help="of each fold; default: cores / jobs. They decide the bytes")
    fold_engine.add_arguments(parser)
    places.add_path(parser, "--logs", places.LOGS, "folder for each fold's log")
    about = "instead, all folds of all experiments that `dvc exp run --queue` has queued, side by side"
    parser.add_argument("--experiments", action="store_true", help=about)


def run(args: argparse.Namespace) -> None:
    """Run what is stale."""
    make_ready()
    model = load_section(places.PARAMS, "model", ModelParams)
    train = load_section(places.PARAMS, "train", TrainParams)
    torch_alone = model.name in OWN_NETWORKS and train.optimizer in ("sgd", "adamw") and not train.ema_decay
    start = importlib.import_module("pipeline.commands.experiments").run_experiments if args.experiments else run_folds
    start(
        where=fold_engine.where_of(args),
        jobs=args.jobs,
        threads=args.threads,
        device=load_section(places.PARAMS, "compute", ComputeParams).device,
        logs=args.logs,
        preload=() if torch_alone else ("timm",),
    )


def _job_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def run_folds(
    *, jobs: int | None, device: str, logs: Path, preload: Sequence[str] = (), threads: int | None = None,
    where: Where = HERE,
) -> None:  # fmt: skip
    """Bring every fold's stages up to date, `jobs` folds at a time (None: as accelerators have room, or cores).

    threads: of each fold (None: the cores, divided by the folds at a time); where: the engine; device: as params.yaml's
    compute.device; logs: folder for a log a fold; preload: what else to import once.
    Raises ValueError if a fold failed or cannot be recorded; the others are recorded all the same.
    """
    since = time.monotonic()
    from dvc.logger import set_loggers_level
    from dvc.repo import Repo, lock_repo

    with told_as_users_errors(), Repo() as repo:
        repo.scm_context.quiet = True
        with lock_repo(repo):
            clear_torn_files(repo)
            stages = Record(repo).stages
            if not any(stage.changed() for stage in stages):
                console.say("all folds are up to date")
                return
            upstream = upstream_here(stages, where, places.PARAMS)
            upstream_is_stale = any(stage.changed() for stage in upstream)
            modules = sorted({command_of(stage)[0] for stage in of_folds(stages)})
            context = start_server([*PRELOAD, *preload, *modules]) if where.is_local else None
        if upstream_is_stale:
            reproduce([IN_ORDER, *map(name_of, upstream)], logs / "upstream.log")
        with lock_repo(repo), repo.scm_context(), set_loggers_level(logging.CRITICAL):  # dvc --quiet
            wanted = Wanted(jobs=jobs, threads=threads, device=device, where=where, since=since)
            failures = run_parts([Part(Record(repo), logs)], context, wanted, logs)
    report(failures, logs)


@contextlib.contextmanager
def told_as_users_errors() -> Iterator[None]:
    """What DVC raises, and the end of the process that workers are forked from, as ValueError with what to do."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.scm import SCMError

    try:
        yield
    except SCMError as error:
        raise ValueError(f"{error}, and DVC only works inside one; run `git init`, then this again") from error
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
            "the process that workers are forked from was killed, perhaps because memory ran out; what had finished is "
            "recorded. Run `python -m pipeline folds` again"
        ) from error


def start_server(preload: list[str]) -> Any:
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


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the user asked for; see `run_folds`."""

    jobs: int | None
    threads: int | None
    device: str
    where: Where
    since: float  # when, by time.monotonic


@dataclass(frozen=True)
class Part:
    """One checkout's folds. of: the experiment, where there are several; features: instead, what embeds images."""

    record: Record
    logs: Path
    of: str = ""
    features: bool = False

    def stale_folds(self) -> list[Fold]:
        """Those of which a stage must run, old outputs gone."""
        found = (self.record.stale_features() if self.features else self.record.stale_folds()).items()
        return [
            Fold(name, stages, self.record, self.logs, self.of) for name, stages in found if self.record.advance(stages)
        ]


def upstream_here(stages: Sequence[Any], where: Where, params: Path) -> list[Any]:
    """Of all `stages`, those that come before the folds and run on this machine."""
    model = load_section(params, "model", ModelParams)
    elsewhere = of_features(stages) if where.embeds and (model.frozen or model.head_first) else []
    return [stage for stage in stages if stage not in of_folds(stages) and stage not in elsewhere]


def run_parts(parts: Sequence[Part], context: Any, wanted: Wanted, logs: Path) -> list[Failure]:
    """As `run_stale`, after the features that are computed elsewhere. A part whose features failed stops there."""
    features = [replace(part, features=True) for part in parts] if wanted.where.embeds else []
    failures = run_stale(features, context, wanted, logs)
    failed = {failure.of for failure in failures}
    return failures + run_stale([part for part in parts if part.of not in failed], context, wanted, logs)


def run_stale(parts: Sequence[Part], context: Any, wanted: Wanted, logs: Path) -> list[Failure]:
    """Run the stale folds of all parts, whose repositories are locked, as one; each part's are recorded there."""
    with terminated_as_interrupted(), contextlib.ExitStack() as held:
        try:
            folds = [fold for part in parts for fold in part.stale_folds()]
            if not folds:
                return []
            ranks = max(num_ranks(_params_of(fold)) for fold in folds)
            room: list[int] = []
            devices: list[str] = []
            if context is not None:
                commands = [(*command_of(stage), stage.repo.root_dir) for fold in folds for stage in fold.stages]
                room, devices = _leased(lambda: _ask(context, wanted.device, commands), wanted.device, ranks, held)
            cores = console.num_cores()
            width = min(len(folds), wanted.jobs or num_at_once(room, cores, ranks=ranks, threads=wanted.threads or 1))
            for fold in folds:
                fold.threads = wanted.threads or max(1, cores // width)
            plan = None if folds[0].of else _plan(folds)
            deadline = None if plan is None else wanted.since + plan.budget_s
            screen = _screen(folds, deadline, "features" if parts[0].features else "folds")
            if context is not None:
                engine: Engine = LocalEngine(context, None if room else cpu_slots())
            else:
                engine = wanted.where.connect(threads=folds[0].threads, ranks=ranks, logs=logs, say=screen.say)
                width = wanted.jobs or len(folds)
            with Pool(engine, screen=screen, devices=devices) as pool:
                pool.run(folds, width, stretch=not wanted.jobs and not room and context is not None)
            if plan is not None and not pool.failures:
                console.say(f"folds: {plan.kept(time.monotonic() - wanted.since)}")
            return pool.failures
        except KeyboardInterrupt:
            stages = [f"{part.of} {name}".strip() for part in parts for name in part.record.recorded()]
            console.say(f"recorded before the interruption: {', '.join(stages) or 'no stage'}")
            raise
        finally:
            with undisturbed():
                for part in parts:
                    part.record.write()


def _params_of(fold: Fold) -> Path:
    return Path(fold.stages[0].repo.root_dir) / places.PARAMS if fold.of else places.PARAMS


def num_ranks(params: Path = places.PARAMS) -> int:
    """How many processes train a fold together, as its stages read it."""
    frozen = load_section(params, "model", ModelParams).frozen
    return 1 if frozen else load_section(params, "compute", ComputeParams).ranks


def _screen(folds: Sequence[Fold], deadline: float | None, title: str) -> Screen:
    """What shows how far they are; deadline: as TimeLeft's."""
    epochs, growing = dict.fromkeys((fold.title for fold in folds), 0), False
    for fold in filter(_is_trained, folds):
        params = _params_of(fold)
        recipe = load_train(params, fold.name)
        frozen = load_section(params, "model", ModelParams).frozen
        taught = load_section(params, "pseudo", PseudoParams).confidence > 0
        epochs[fold.title] = 0 if frozen else recipe.epochs * recipe.seeds
        growing = growing or taught or recipe.start_side > 0
    return Screen(epochs, growing=growing, deadline=deadline, title=title)


def _leased(
    ask: Callable[[], list[int]], device: str, ranks: int, held: contextlib.ExitStack
) -> tuple[list[int], list[str]]:
    """Room on each accelerator that no other `folds` of this machine is using, and what each fold at once may see of
    them: its CUDA_VISIBLE_DEVICES.

    Until `held` ends they are ours. Where fewer were free than a fold has ranks, room is asked for once more. The
    second list is empty where there is nothing to choose from.
    """
    room, waited = ask(), []
    if not room:
        return [], []
    several = device in ("auto", "cuda")
    names = _visible_devices(len(room)) if several else [device]

    def say(line: str) -> None:
        waited.append(line)
        console.say(line)

    leases = Leases(names).take_free(say, at_least=min(ranks, len(names)))
    for lease in leases:
        held.callback(lease.release)
    room = ask() if waited else room
    ours = [names.index(lease.name) for lease in leases]
    choice = grouped([names[at] for at in ours], ranks) if several and len(names) > 1 else []
    return [room[at] for at in ours], choice


def _is_trained(fold: Fold) -> bool:
    """Whether it trains, not only infers; `teach` comes first, and mostly has nothing to do."""
    return any(command_of(stage)[0].endswith(".train") for stage in fold.stages)


def _plan(folds: Sequence[Fold]) -> Plan | None:
    """What inspect planned, where all folds are trained now: it says nothing of a part of them."""
    whole = load_section(places.PARAMS, "split", SplitParams).num_folds
    return read_plan(places.PARAMS) if len(folds) == whole and all(map(_is_trained, folds)) else None


def num_at_once(room: Sequence[int], num_cores: int, *, ranks: int, threads: int = 1) -> int:
    """How many folds to run at once; of several ranks each has as many devices, or cores, to itself."""
    if room and ranks > 1:
        return max(1, len(room) // ranks)
    return num_on_accelerators(room, num_cores) or max(1, num_cores // max(ranks, threads))


def grouped(devices: Sequence[str], ranks: int) -> list[str]:
    """What CUDA_VISIBLE_DEVICES must hold for each fold that runs at once; devices that are left over, nobody's."""
    return [",".join(devices[at : at + ranks]) for at in range(0, len(devices) - ranks + 1, ranks)]


def num_on_accelerators(room: Sequence[int], num_cores: int) -> int:
    """How many folds to run at once on accelerators that have room for so many each; 0 without any.

    Folds are dealt round, so the smallest counts for all; and each needs a core to feed its device from.
    """
    return max(len(room), min(len(room) * min(room), num_cores)) if room else 0


def folds_in(free: int, *, needed: int) -> int:
    """How many folds that need about `needed` bytes run in `free` bytes of a device, each beside its share of CUDA."""
    return max(1, int(USED_SHARE * free) // (CUDA_BYTES + SAFETY * needed))


def _ask(context: Any, device: str, commands: Sequence[tuple[str, list[str], str]]) -> list[int]:
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


def _answer(sender: Any, device: str, commands: Sequence[tuple[str, list[str], str]]) -> None:
    from pipeline.loop.device import free_memory

    free, needed = free_memory(device), 0
    for folder, found in itertools.groupby(commands, key=lambda command: command[2]) if any(free) else ():
        os.chdir(folder)
        needed = max(needed, next(filter(None, (_needed(module, argv) for module, argv, _ in found)), 0))
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


def report(failures: Sequence[Failure], logs: Path, again: str = "python -m pipeline folds") -> None:
    """Name the stages that failed. ValueError where the user can settle all of them, else exit code 1."""
    if not failures:
        return
    for failure in failures:
        console.say("\n".join([f"{failure.stage} {failure.reason}", *(f"  | {line}" for line in failure.error)]))
    names = ", ".join(failure.stage for failure in failures)
    message = (
        f"{len(failures)} stages were not recorded: {names}; what finished was. Logs are in {logs}; fix the "
        f"cause, then run `{again}` again"
    )
    if all(failure.exit_code == console.USER_ERROR for failure in failures):
        raise ValueError(message)
    print(f"error: {message}", file=sys.stderr, flush=True)
    raise SystemExit(1)
