"""The exact files of a past submission: code from git, artefacts from DVC's cache, in a worktree of their own.

The user's tree is only read. What dvc.lock of that commit recorded (md5 of every file that a stage read or wrote, and
the parameters) tells why a remade CSV differs. `dvc status` would not: after `dvc checkout` it takes a file that is
damaged in the cache for what its name says.
"""

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base import console
from pipeline.base.files import md5_of
from pipeline.base.yamls import read_yaml
from pipeline.leaderboard.ledger import Entry
from pipeline.leaderboard.provenance import CLEAN, git, git_bytes, lock_name
from pipeline.submission.difference import first_difference

STAGE = "submit"
NUM_SHOWN = 3


@dataclass(frozen=True)
class Source:
    """The commit to restore from."""

    commit: str
    doubts: tuple[str, ...]  # what cannot be known, in sentences


@dataclass(frozen=True)
class Restored:
    """What came of it."""

    folder: Path
    source: Source
    identical: bool
    lines: tuple[str, ...]  # for people


def restore(entry: Entry, *, root: Path, folder: Path, archive: Path, remake: bool = False) -> Restored:
    """Check out the submission `entry` at `folder` and make its CSV again.

    root: the DVC project; archive: submit's folder of past submissions. remake: run the stages whose results are no
    longer in the cache (training, perhaps), instead of stopping with their names.
    """
    if folder.exists():
        raise ValueError(f"{folder} is there already; give another folder, or `git worktree remove --force {folder}`")
    source = find_source(entry, root)
    lock = _lock_of(source.commit, root)
    _check_out(root, folder, source.commit)
    missing = _fetch(root, folder, lock)
    _link_sources(lock, root, folder)
    needed = [path for path in missing if _is_read(path, lock[STAGE])]
    if needed and not remake:
        raise ValueError(
            f"{folder}: {len(needed)} of the files that {STAGE} reads are neither in git nor in DVC's cache, first "
            f"{needed[:NUM_SHOWN]}; `dvc fetch` them if a remote has them; or give --remake, which makes them again "
            f"from the organiser's files (it trains what is missing), after `git worktree remove --force {folder}`"
        )
    _run(folder, "repro", *([] if needed else ["-f", "-s"]), STAGE)
    return _verdict(entry, source, folder, archive, lock, made_again=bool(needed))


def find_source(entry: Entry, root: Path) -> Source:
    """The commit that holds what was sent: the recorded one, or where that tree had changes, one with its dvc.lock."""
    if not entry.git_commit:
        raise ValueError(f"row {entry.number} ({entry.message}) has no git commit: it was not sent from a repository")
    if git(root, "cat-file", "-t", entry.git_commit) != "commit":
        raise ValueError(f"commit {entry.git_commit[:12]} of row {entry.number} is not in this repository; `git fetch`")
    if entry.git_tree == CLEAN:
        return Source(entry.git_commit, ())
    doubt = f"the tree was not clean when it was sent ({entry.git_tree})"
    same = _commit_with_lock(entry.dvc_lock_sha256, root)
    if same is not None:
        how = f"commit {same[:12]} holds the same {lock_name()}: the files that it records can be checked against it"
        return Source(same, (f"{doubt}; {how}",))
    return Source(
        entry.git_commit,
        (
            f"{doubt}, and no commit holds the {lock_name()} of that moment: what those files held cannot be known; "
            "this is the commit before them",
        ),
    )


def _commit_with_lock(sha256: str, root: Path) -> str | None:
    """The newest commit of any branch or DVC experiment whose dvc.lock has this digest."""
    commits = git(root, "log", "--all", "--format=%H", "--", lock_name()) or ""
    for commit in filter(None, commits.split("\n")):
        content = git_bytes(root, "show", f"{commit}:./{lock_name()}")
        if content is not None and hashlib.sha256(content).hexdigest() == sha256:
            return commit
    return None


def _lock_of(commit: str, root: Path) -> dict[str, Any]:
    """Stage -> what dvc.lock of that commit recorded."""
    content = git_bytes(root, "show", f"{commit}:./{lock_name()}")
    if content is None:
        raise ValueError(
            f"commit {commit[:12]} has no {lock_name()}: which files that submission came from cannot be known; commit "
            f"{lock_name()} before you upload"
        )
    stages: dict[str, Any] = read_yaml(content.decode())["stages"]
    if STAGE not in stages:
        raise ValueError(f"{lock_name()} of commit {commit[:12]} knows no stage {STAGE}: it had not run then")
    return stages


def _check_out(root: Path, folder: Path, commit: str) -> None:
    top = git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        raise ValueError(f"{root} is not the top folder of its git repository ({top}); restore needs it to be")
    done = subprocess.run(
        ["git", "worktree", "add", "--detach", str(folder), commit], cwd=root, capture_output=True, text=True
    )
    if done.returncode:
        raise ValueError(f"git could not make the worktree {folder}: {done.stderr.strip()}")


def _fetch(root: Path, folder: Path, lock: Mapping[str, Any]) -> list[str]:
    """Bring what DVC's cache has to `folder`; the recorded results that are not there afterwards."""
    cache = _dvc(root, "cache", "dir").stdout.strip()
    _run(folder, "config", "--local", "cache.dir", cache)
    _dvc(folder, "checkout", "--force")  # brings what it can and fails over the rest, which is looked at here
    return [path for path in (*_written_paths(lock), *_added_paths(lock, folder)) if not (folder / path).exists()]


def _added_paths(lock: Mapping[str, Any], folder: Path) -> list[str]:
    """What lies in folders that the stage reads and was put there by `dvc add`: members of a blend."""
    added = [note for path in _paths(lock[STAGE], "deps") for note in sorted((folder / path).glob("*.dvc"))]
    outs = [(note, out) for note in added for out in _paths(read_yaml(note.read_text(encoding="utf-8")), "outs")]
    return [(note.parent / out).relative_to(folder).as_posix() for note, out in outs]


def _is_read(path: str, stage: Mapping[str, Any]) -> bool:
    """Whether `stage` reads `path`, or the folder it lies in."""
    return any(path == read or path.startswith(read + "/") for read in _paths(stage, "deps"))


def _link_sources(lock: Mapping[str, Any], root: Path, folder: Path) -> None:
    """Link what stages read, no stage writes and git does not hold: the organiser's archive, from the user's tree."""
    for path in _source_paths(lock):
        theirs, ours = root / path, folder / path
        if theirs.exists() and not ours.exists() and ".." not in Path(path).parts:
            ours.parent.mkdir(parents=True, exist_ok=True)
            ours.symlink_to(theirs.resolve(), target_is_directory=theirs.is_dir())


def _verdict(
    entry: Entry, source: Source, folder: Path, archive: Path, lock: Mapping[str, Any], *, made_again: bool
) -> Restored:
    made = (folder / _csv_of(lock[STAGE])).read_bytes()
    digest = hashlib.sha256(made).hexdigest()
    lines = [f"commit {source.commit[:12]} and its artefacts are in {folder}", *source.doubts]
    if digest == entry.sha256:
        lines.append(f"identical: sha256 {digest[:12]}…, {len(made):,} bytes")
        return Restored(folder, source, True, tuple(lines))
    kept = archive / f"{entry.sha256[:12]}.csv"
    causes = _causes(lock, folder, made_again=made_again)
    sent = kept.read_bytes() if kept.is_file() else b""
    if hashlib.sha256(sent).hexdigest() == entry.sha256:
        lines.append(f"differs: {first_difference(made, sent)}")
        if hashlib.md5(sent, usedforsecurity=False).hexdigest() != _recorded_files(lock)[_csv_of(lock[STAGE])]:
            causes.insert(0, f"what was sent is not what {STAGE} wrote at this commit (edited, or made elsewhere)")
    else:
        why = "is not what was sent" if sent else "is not there to compare"
        lines.append(f"differs: sha256 {digest[:12]}…, sent was {entry.sha256[:12]}…; {kept} {why}")
    unknown = "every file and parameter is as recorded: other package versions, device, or number of threads"
    lines += [f"likely cause: {cause}" for cause in causes or [unknown]]
    return Restored(folder, source, False, tuple(lines))


def _causes(lock: Mapping[str, Any], folder: Path, *, made_again: bool) -> list[str]:
    """What in `folder` is not as dvc.lock recorded it; results that were made again are followers, not causes."""
    written = set(_written_paths(lock))
    passed_over = written if made_again else set(_paths(lock[STAGE], "outs"))
    causes = [
        f"{path} is not what {lock_name()} recorded ({_kind(path, path in written)})"
        for path, md5 in _recorded_files(lock).items()
        if path not in passed_over and (folder / path).is_file() and md5_of(folder / path) != md5
    ]
    return causes + other_params(lock, folder)


def _kind(path: str, written: bool) -> str:
    if path.endswith(".py"):
        return "code"
    return "a result, damaged in the cache or never committed" if written else "the organiser's files: images or tables"


def other_params(lock: Mapping[str, Any], folder: Path) -> list[str]:
    """Parameters that are not in `folder` what a stage of dvc.lock ran with."""
    causes = []
    for stage, found in lock.items():
        for name, recorded in found.get("params", {}).items():
            present = read_yaml((folder / name).read_text(encoding="utf-8")) if (folder / name).is_file() else {}
            for key, then in recorded.items():
                now = _looked_up(present, key)
                pairs = {key: (now, then)}
                if isinstance(now, dict) and isinstance(then, dict):  # a whole section
                    pairs = {f"{key}.{part}": (now.get(part), then.get(part)) for part in now | then}
                others = ((part, *pair) for part, pair in pairs.items() if pair[0] != pair[1])
                causes += [f"{name}: {part} is {one}, {stage} ran with {two} (parameters)" for part, one, two in others]
    return causes


def stale_inputs(lock: Mapping[str, Any], folder: Path) -> list[str]:
    """What stages read that another stage has made anew since, as `dvc repro -s` of some stages alone leaves it.

    By what dvc.lock recorded; of a folder that holds results, by what is in `folder` now.
    """
    made = {out["path"]: (stage, out["md5"]) for stage, entry in lock.items() for out in entry.get("outs", ())}
    found = []
    for stage, entry in lock.items():
        for dep in entry.get("deps", ()):
            path = dep["path"]
            maker, md5 = made.get(path, ("", ""))
            if not maker and (folder / path).is_dir() and any(name.startswith(f"{path}/") for name in made):
                maker, md5 = "another stage", md5_of(folder / path)
            if maker and md5 != dep["md5"]:
                found.append(f"{maker} has made {path} anew since {stage} read it")
    return found


def _looked_up(params: Any, key: str) -> Any:
    for part in key.split("."):
        params = params.get(part) if isinstance(params, dict) else None
    return params


def _paths(stage: Mapping[str, Any], kind: str) -> list[str]:
    return [str(item["path"]) for item in stage.get(kind, ())]


def _written_paths(lock: Mapping[str, Any]) -> list[str]:
    return [path for stage in lock.values() for path in _paths(stage, "outs")]


def _source_paths(lock: Mapping[str, Any]) -> list[str]:
    """What stages read and no stage writes, folders that hold results left out."""
    written = _written_paths(lock)
    read = {path for stage in lock.values() for path in _paths(stage, "deps")} - set(written)
    return sorted(path for path in read if not any(other.startswith(path + "/") for other in written))


def _recorded_files(lock: Mapping[str, Any]) -> dict[str, str]:
    """Path -> md5 of every single file; of what one stage wrote and another read, both records are one."""
    items = [item for stage in lock.values() for kind in ("deps", "outs") for item in stage.get(kind, ())]
    return {str(item["path"]): str(item["md5"]) for item in items if not str(item.get("md5", ".dir")).endswith(".dir")}


def _csv_of(stage: Mapping[str, Any]) -> str:
    return next(path for path in _paths(stage, "outs") if path.endswith(".csv"))


def _run(folder: Path, *words: str) -> None:
    done = _dvc(folder, *words)
    if done.returncode:
        raise ValueError(f"`dvc {' '.join(words)}` failed in {folder}:\n{(done.stdout + done.stderr).strip()}")


def _dvc(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """DVC of this interpreter, whose `python` the stages find first."""
    environment = console.own_environment(DVC_NO_ANALYTICS="1")
    return subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
