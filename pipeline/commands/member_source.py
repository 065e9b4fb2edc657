"""Where a member of a blend comes from: a folder laid out as ours, a git revision, or a DVC experiment.

Of a revision, dvc.lock says which probabilities that run made, and DVC's cache has them: nothing is checked out.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base.files import md5_of
from pipeline.base.yamls import read_yaml
from pipeline.commands import places
from pipeline.leaderboard.provenance import git, git_bytes, lock_name

NEEDED = tuple(places.RUN[key] for key in ("target", "folds", "oof", "test"))
FOLDER = "folder "  # how `about` of one begins
NUM_SHOWN = 3


@dataclass(frozen=True)
class RunFiles:
    """A run's files, under the paths of dvc.yaml in `folder`."""

    folder: Path
    about: str  # for people
    revision: str  # commit, '' of a folder

    def path(self, key: str) -> Path:
        """Of places.RUN."""
        return self.folder / places.RUN[key]


@contextlib.contextmanager
def run_files(source: str, root: Path, needed: Sequence[Path] = NEEDED) -> Iterator[RunFiles]:
    """The files of the run that `source` names; root: the project, whose history and cache are looked in.

    needed: outputs of stages, or folders of them; params.yaml is there as well. Raises ValueError where `source` names
    no run, or DVC's cache has not all that is needed of a revision's.
    """
    folder = Path(source)
    if (folder / places.RUN["oof"]).is_dir():
        yield RunFiles(folder, f"{FOLDER}{folder.resolve()}", "")
        return
    commit = _commit(source, root)
    if commit is None:
        raise ValueError(
            f"{source} is neither a folder with {places.RUN['oof']} in it, nor a git revision or DVC experiment of "
            f"{root}; `git log --oneline` and `dvc exp show --all-commits` list those"
        )
    with tempfile.TemporaryDirectory() as name:
        _link(_recorded(commit, source, root, needed), commit, root, Path(name))
        (Path(name) / places.PARAMS).write_bytes(git_bytes(root, "show", f"{commit}:./{places.PARAMS}") or b"")
        yield RunFiles(Path(name), f"revision {source}, commit {commit[:12]}", commit)


def source_again(card: Mapping[str, Any]) -> str:
    """The `source` for `run_files` of the run that a member with this card was taken from."""
    return str(card["revision"] or card["source"].removeprefix(FOLDER))


def _commit(source: str, root: Path) -> str | None:
    """The commit of a git revision, or else of the DVC experiment of this name."""
    found = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{source}^{{commit}}")
    if found:
        return found
    listed = git(root, "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps") or ""
    lines = [line.split(" ") for line in listed.split("\n") if line]
    commits = sorted({commit for reference, commit in lines if reference.rsplit("/", 1)[1] == source})
    if len(commits) > 1:
        raise ValueError(
            f"{len(commits)} DVC experiments are called {source}, of other commits each; name one by its commit: "
            f"{', '.join(commit[:12] for commit in commits)}"
        )
    return commits[0] if commits else None


def _recorded(commit: str, source: str, root: Path, needed: Sequence[Path]) -> dict[str, str]:
    """Path -> md5 of what is needed, as dvc.lock of that commit recorded it."""
    content = git_bytes(root, "show", f"{commit}:./{lock_name()}")
    stages: Mapping[str, Any] = read_yaml(content.decode())["stages"] if content else {}
    outs = {out["path"]: str(out["md5"]) for stage in stages.values() for out in stage.get("outs", ())}
    wanted = [path.as_posix() for path in needed]
    found = {path: md5 for path, md5 in outs.items() if path in wanted or path.rpartition("/")[0] in wanted}
    lacking = [path for path in wanted if not any(name.startswith(path) for name in found)]
    if lacking:
        raise ValueError(
            f"{source} (commit {commit[:12]}): its {lock_name()} records no {', '.join(lacking)}: the run was not "
            f"finished or not committed there; run it, and `git add {lock_name()}` and commit, or use its folder"
        )
    return found


def _link(recorded: Mapping[str, str], commit: str, root: Path, folder: Path) -> None:
    """Link the recorded files from DVC's cache into `folder`, each checked against its md5."""
    from dvc.repo import Repo

    cache = Repo(str(root)).cache.local
    kept = {path: Path(cache.oid_to_path(md5)) for path, md5 in recorded.items()}
    missing = [path for path, file in kept.items() if not file.is_file()]
    if missing:
        raise ValueError(
            f"commit {commit[:12]}: {len(missing)} of {len(kept)} files of that run are not in DVC's cache, first "
            f"{missing[:NUM_SHOWN]}; `dvc fetch --all-commits` if a remote has them, or `git worktree add` that "
            "commit, `dvc repro` there, and name that folder"
        )
    damaged = [path for path, file in kept.items() if md5_of(file) != recorded[path]]
    if damaged:
        raise ValueError(
            f"commit {commit[:12]}: {len(damaged)} files are damaged in DVC's cache, first {damaged[:NUM_SHOWN]} "
            f"({kept[damaged[0]]}); delete them there and `dvc fetch --all-commits`, or run that commit again"
        )
    for path, file in kept.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to(file.resolve())
