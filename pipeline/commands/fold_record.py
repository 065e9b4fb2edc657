"""DVC's side of `folds`: which stages the folds have, which of them must run, and the record of those that did.

What is recorded is what `dvc repro` would have recorded, to the byte. Every call needs the repository's lock.
"""

import contextlib
import json
import shlex
import shutil
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.base import console
from pipeline.base.files import md5_of, whole_file

TORN = ".torn"
FEATURES = ("embed_train", "embed_test")
FOLD_MARK = "@"  # DVC names the stages it makes for each fold `train@0`, `infer@0`, ...


class Record:
    """The stages of the folds, and those that were run.

    Where the repository is not the folder we are in, DVC's calls are made from there: its run-cache counts on that.
    """

    def __init__(self, repo: Any) -> None:
        from dvc.dvcfile import PROJECT_FILE
        from dvc.repo.reproduce import get_active_graph, plan_repro

        self._root = repo.root_dir
        with contextlib.chdir(self._root):
            graph = get_active_graph(repo.index.graph)
            plan = plan_repro(graph, list(repo.stage.collect(PROJECT_FILE)))
        needed = set(plan_repro(graph, of_folds(plan)))
        self.stages = [stage for stage in plan if stage in needed]  # in the order of `dvc repro`, upstream included
        self._cache = repo.stage_cache
        self._done: list[Any] = []

    def stale_folds(self) -> dict[str, deque[Any]]:
        """Fold -> its stages (dvc.stage.PipelineStage), upstream first, where any of them is stale."""
        by_name: dict[str, deque[Any]] = {}
        for stage in of_folds(self.stages):
            by_name.setdefault(name_of(stage).rpartition(FOLD_MARK)[2], deque()).append(stage)
        with contextlib.chdir(self._root):
            return {name: stages for name, stages in by_name.items() if any(stage.changed() for stage in stages)}

    def stale_features(self) -> dict[str, deque[Any]]:
        """Name -> stage, alone, of those that compute features and are stale."""
        with contextlib.chdir(self._root):
            return {name_of(stage): deque([stage]) for stage in of_features(self.stages) if stage.changed()}

    def must_run(self, stage: Any) -> bool:
        """Whether `stage` is stale and not in the run-cache; if it must run, its old outputs are gone afterwards.

        As in `dvc repro`, outputs are removed before anything else: they may be links into DVC's cache.
        """
        from dvc.stage.cache import RunCacheNotFoundError

        with contextlib.chdir(self._root):
            if stage.frozen or not stage.changed():
                return False
            stage.remove_outs()
            try:
                self._cache.restore(stage)
            except RunCacheNotFoundError:
                stage.save_deps()
                return True
        self.add(stage)
        tqdm.write(f"{name_of(stage)}: was run before, taken from DVC's cache")
        return False

    def advance(self, stages: deque[Any]) -> bool:
        """Pass over the first stages, which need not run; whether one is left that must."""
        while stages:
            if self.must_run(stages[0]):
                return True
            stages.popleft()
        return False

    def changed_since(self, stage: Any) -> list[str]:
        """The dependencies, and parts of params.yaml, that changed since `must_run` said yes."""
        with contextlib.chdir(self._root):
            found = [dep.status() for dep in stage.deps]
        return [
            f"{path} ({', '.join(change)})" if isinstance(change, dict) else path
            for status in found
            for path, change in status.items()
        ]

    def add(self, stage: Any) -> None:
        """Put the outputs of `stage` into the cache and the run-cache; `write` puts them into dvc.lock."""
        with contextlib.chdir(self._root):
            stage.save()
            stage.commit()
        self._done.append(stage)

    def recorded(self) -> list[str]:
        """The names of the stages that `add` was called for, in the order of `dvc repro`."""
        return [name_of(stage) for stage in self.stages if stage in self._done]

    def write(self) -> None:
        """Enter what was recorded into dvc.lock, in one go: 0.6 s for ten stages, one by one 5.1 s.

        Whole or not at all, where DVC would empty the file first.
        """
        from dvc.dvcfile import LOCK_FILE, Lockfile

        done = [stage for stage in self.stages if stage in self._done]
        if not done:
            return
        path = Path(done[0].repo.root_dir) / LOCK_FILE
        with contextlib.chdir(self._root), whole_file(path) as part:
            if path.exists():
                shutil.copyfile(path, part)
            Lockfile(done[0].repo, str(part)).dump_stages(done)


def clear_torn_files(repo: Any) -> None:
    """Clear away what a killed DVC left half-written, for DVC would stop at it for ever.

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


def of_folds(stages: Sequence[Any]) -> list[Any]:
    """Those of `stages` that a fold has."""
    return [stage for stage in stages if FOLD_MARK in name_of(stage)]


def of_features(stages: Sequence[Any]) -> list[Any]:
    """Those of `stages` that compute the features of images, once for all folds."""
    return [stage for stage in stages if name_of(stage) in FEATURES]


def name_of(stage: Any) -> str:
    """What `dvc repro` calls the stage in its project's folder; DVC's `addressing` depends on that we are in."""
    return getattr(stage, "name", None) or Path(stage.path).relative_to(stage.repo.root_dir).as_posix()


def command_of(stage: Any) -> tuple[str, list[str]]:
    """The module that a stage's command line runs, and its arguments."""
    words = shlex.split(stage.cmd)
    if words[:2] != ["python", "-m"] or len(words) < 3:
        raise ValueError(
            f"{name_of(stage)} runs `{stage.cmd[:60]}`; folds can be run side by side only where the command in "
            "dvc.yaml is `python -m module ...`. Use `dvc repro`"
        )
    return words[2], words[3:]


def relative(file: Any, stage: Any) -> str:
    """The path of a dependency or an output from the project's root."""
    return Path(file.fs_path).relative_to(stage.repo.root_dir).as_posix()


def inputs_of(stage: Any) -> dict[str, str]:
    """Path -> md5 of each file that the stage depends on, once `must_run` said yes, and of what makes them packages."""
    found: dict[str, str] = {}
    for dep in stage.deps:
        name = relative(dep, stage)
        if dep.hash_info.name != "md5":  # params.yaml, of which DVC compares parts
            found[name] = md5_of(Path(dep.fs_path))
        elif dep.hash_info.isdir:
            found |= {f"{name}/{'/'.join(key)}": value.value for key, _, value in dep.get_obj()}
        else:
            found[name] = dep.hash_info.value
    root = Path(stage.repo.root_dir)
    folders = {folder for name in found if name.endswith(".py") for folder in Path(name).parents}
    packages = [folder / "__init__.py" for folder in folders if (root / folder / "__init__.py").is_file()]
    return found | {path.as_posix(): md5_of(root / path) for path in packages}
