"""The experiments of DVC's queue, the folds of all of them in one pool: `python -m pipeline folds --experiments`.

Each has a checkout of its own, made by DVC's classes where DVC keeps those of `dvc exp run --temp`. There its folds are
run and recorded as `folds` does it; then DVC itself (`dvc exp exec-run`) finds them done, runs what comes after, and
commits the experiment. It leaves the queue once it is there: until then, whatever happens, it is queued, its checkout
with all states is kept, and the next call goes on with it.
"""

import contextlib
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base import console
from pipeline.base.params import CompetitionParams, ComputeParams, ModelParams, check_params, load_section
from pipeline.commands import places
from pipeline.commands.fold_engine import HERE, Where
from pipeline.commands.fold_pool import Failure
from pipeline.commands.fold_record import Record, clear_torn_files, command_of, name_of, of_folds
from pipeline.commands.folds import (
    PRELOAD,
    Part,
    Wanted,
    report,
    run_parts,
    start_server,
    told_as_users_errors,
    upstream_here,
)
from pipeline.commands.repro import DVC, IN_ORDER, reproduce
from pipeline.commands.stage_lines import error_of
from pipeline.engines.leases import Leases

READY = "ready"  # ending of the file beside a checkout that says that it is complete
OTHERWISE = ("targets", "force", "single_item", "dry", "downstream", "force_downstream", "pipeline", "all_pipelines")


@dataclass
class Experiment:
    """One that is queued. entry, executor: DVC's; folder: of its project."""

    name: str
    entry: Any
    executor: Any
    infofile: str
    message: str
    folder: Path
    failure: Failure | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is to run as `dvc repro` without options does; else DVC alone runs it."""
        from dvc.repo.experiments.executor.base import BaseExecutor

        path = self.folder / ".dvc" / "tmp" / BaseExecutor.PACKED_ARGS_FILE
        args, options = BaseExecutor.unpack_repro_args(path) if path.exists() else ([], {})
        return not args and not any(options.get(name) for name in OTHERWISE)

    def fail(self, stage: str, reason: str, code: int = console.USER_ERROR, lines: Sequence[str] = ()) -> None:
        """It goes no further."""
        self.failure = self.failure or Failure(f"{self.name} {stage}".strip(), reason, code, lines, self.name)


def run_experiments(
    *, jobs: int | None, device: str, logs: Path, preload: Sequence[str] = (), threads: int | None = None,
    where: Where = HERE,
) -> None:  # fmt: skip
    """Run all experiments that are queued; see `folds.run_folds`. One that fails does not stop the others."""
    since = time.monotonic()
    from dvc.repo import Repo

    logs = (logs / "experiments").resolve()
    with told_as_users_errors(), Repo() as repo, _alone(repo):
        queued = _queued(repo)
        _sweep(repo, [entry.stash_rev for entry, *_ in queued])
        found = [_prepared(repo, *one, logs=logs) for one in queued]
        if not found:
            console.say("no experiment is queued; `dvc exp run --queue -S train.seed=7` queues one")
            return
        for experiment in found:
            _bring_up(experiment, logs, device, where)
        wanted = Wanted(jobs=jobs, threads=threads, device=device, where=where, since=since)
        pooled = [experiment for experiment in found if experiment.is_whole and not experiment.failure]
        failures = _run_folds(pooled, wanted, logs, preload)
        for experiment in found:
            if not experiment.failure and not any(failure.of == experiment.name for failure in failures):
                _finish(repo, experiment, logs)
    failures = [*(experiment.failure for experiment in found if experiment.failure), *failures]
    report(failures, logs, again="python -m pipeline folds --experiments")


@contextlib.contextmanager
def _alone(repo: Any) -> Iterator[None]:
    """Raise ValueError where someone else is at the queue."""
    folder = Path(repo.tmp_dir) / "exps"
    folder.mkdir(parents=True, exist_ok=True)
    lease = Leases(["folds"], folder).take("folds")
    if lease is None:
        raise ValueError("another `python -m pipeline folds --experiments` is at work in this project")
    try:
        if repo.experiments.celery_queue.worker_status():
            raise ValueError(
                "DVC's own workers are at the queue: `dvc queue stop`, wait until they have ended, try again"
            )
        yield
    finally:
        lease.release()


def _queued(repo: Any) -> list[tuple[Any, Any, str, list[str]]]:
    """The queue's entries, first come first, with what is stashed of each, its message, and paths to be copied."""
    queue = repo.experiments.celery_queue
    stashed = queue.stash.stash_revs
    found = []
    for message, entry in queue._iter_queued():
        options = message.decode()[1]
        if entry.stash_rev in stashed:
            stash = stashed[entry.stash_rev]
            found.append((entry, stash, options.get("message") or "", options.get("copy_paths") or []))
    return sorted(found, key=lambda one: -one[1].stash_index)


def _sweep(repo: Any, wanted: Sequence[str]) -> None:
    """Delete the checkouts of experiments that were taken out of the queue."""
    for path in (Path(repo.tmp_dir) / "exps" / "folds").glob("*"):
        if path.name.removesuffix(f".{READY}") not in wanted:
            path.unlink() if path.is_file() else shutil.rmtree(path)


def _prepared(repo: Any, entry: Any, stash: Any, message: str, copies: Sequence[str], *, logs: Path) -> Experiment:
    """The experiment with its checkout: a new one, or that of a call that was cut short."""
    from dvc.repo import Repo
    from dvc.repo.experiments.executor.local import TempDirExecutor

    root = Path(repo.tmp_dir) / "exps" / "folds" / entry.stash_rev
    name, ready = entry.name or entry.stash_rev[:7], Path(f"{root}.{READY}")
    executor = TempDirExecutor._from_stash_entry(repo, stash, str(root))
    folder = (root / executor.dvc_dir).parent
    experiment = Experiment(
        name, entry, executor, repo.experiments.celery_queue.get_infofile_path(entry.stash_rev), message, folder
    )
    (logs / name).mkdir(parents=True, exist_ok=True)
    if ready.exists():
        console.say(f"{name}: goes on in {root}")
        return experiment
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    executor.init_git(repo, repo.scm, entry.stash_rev, stash, experiment.infofile, branch=stash.branch)
    executor.init_cache(repo, entry.stash_rev)
    for path in copies:
        executor._copy_path(str(Path(path).resolve()), str(folder / path))
    with Repo(str(folder)) as its:
        its.checkout(force=True, allow_missing=True)
    ready.touch()
    return experiment


def _link_own(folder: Path) -> None:
    """The user's own files, which neither git nor DVC's cache has."""
    raw = load_section(folder / places.PARAMS, "competition", CompetitionParams).raw
    weights = load_section(folder / places.PARAMS, "model", ModelParams).weights
    for path in (Path(name) for name in (raw, weights) if name):
        if not path.is_absolute() and path.exists() and not (folder / path).exists():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(path.resolve())


def _bring_up(experiment: Experiment, logs: Path, device: str, where: Where) -> None:
    """Run what its folds depend on and runs here, where that is stale."""
    from dvc.repo import Repo, lock_repo

    log = logs / experiment.name / "upstream.log"
    try:
        params = experiment.folder / places.PARAMS
        check_params(params)
        if (other := load_section(params, "compute", ComputeParams).device) != device:
            raise ValueError(f"compute.device is {other!r}, here {device!r}: what shares a pool must agree")
        _link_own(experiment.folder)
        with Repo(str(experiment.folder)) as repo, lock_repo(repo):
            clear_torn_files(repo)
            stages = Record(repo).stages
            upstream = upstream_here(stages, where, params)
            stale = any(stage.changed() for stage in upstream)
        if stale:
            console.say(f"{experiment.name}: stages that its folds depend on")
            reproduce([IN_ORDER, *map(name_of, upstream)], log, experiment.folder)
    except ValueError as error:
        experiment.fail("", f"was not begun: {error}")
    except SystemExit as stop:
        experiment.fail("", f"was not begun: what its folds depend on failed; see {log}", int(stop.code or 1))


def _run_folds(experiments: Sequence[Experiment], wanted: Wanted, logs: Path, preload: Sequence[str]) -> list[Failure]:
    """The folds of all of them."""
    from dvc.logger import set_loggers_level
    from dvc.repo import Repo, lock_repo

    with contextlib.ExitStack() as held:
        parts = []
        for experiment in experiments:
            repo = held.enter_context(Repo(str(experiment.folder)))
            repo.scm_context.quiet = True
            held.enter_context(lock_repo(repo))
            held.enter_context(repo.scm_context())
            parts.append(Part(Record(repo), logs / experiment.name, experiment.name))
        modules = sorted({command_of(stage)[0] for part in parts for stage in of_folds(part.record.stages)})
        context = start_server([*PRELOAD, *preload, *modules]) if parts and wanted.where.is_local else None
        with set_loggers_level(logging.CRITICAL):
            return run_parts(parts, context, wanted, logs)


def _finish(repo: Any, experiment: Experiment, logs: Path) -> None:
    """Have DVC run what comes after the folds and commit the experiment; then it leaves the queue."""
    from dvc.repo.experiments.executor.base import ExecutorInfo
    from dvc.repo.experiments.queue.base import BaseStashQueue

    log, executor = logs / experiment.name / "exec-run.log", experiment.executor
    executor.info.dump_json(experiment.infofile)
    Path(f"{executor.root_dir}.{READY}").unlink()  # DVC takes the experiment's options out of it
    words = [sys.executable, "-c", DVC, "exp", "exec-run", "--infofile", experiment.infofile]
    with log.open("wb") as handle:
        done = subprocess.run(
            [*words, *(["--message", experiment.message] if experiment.message else [])], cwd=experiment.folder,
            env=console.own_environment(), stdout=handle, stderr=handle, check=False,
        )  # fmt: skip
    result = ExecutorInfo.load_json(experiment.infofile).result
    if done.returncode or result is None or result.ref_info is None:
        lines = error_of(log.read_text(encoding="utf-8", errors="replace").splitlines())
        experiment.fail("", f"could not be committed; see {log}", done.returncode or 1, lines)
        return
    BaseStashQueue.collect_executor(repo.experiments, executor, result)
    if repo.scm.get_ref(str(result.ref_info)) is None:
        experiment.fail("", f"was not taken over from {executor.root_dir}", 1)
        return
    repo.experiments.celery_queue.remove([experiment.entry.stash_rev])
    executor.cleanup(experiment.infofile)
    console.say(f"{experiment.name}: recorded; `dvc exp show` lists it, `dvc exp apply {experiment.name}` restores it")
