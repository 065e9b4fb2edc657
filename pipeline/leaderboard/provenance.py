"""Where a submission came from: the commit, what was not committed, dvc.lock, the experiment. Read from git and DVC."""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base.yamls import read_yaml

NUM_SHOWN = 6
CLEAN, CHANGED, NO_GIT = "clean", "changed: ", "no git"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the ledger keeps; empty text for what is not there."""

    git_commit: str
    git_tree: str  # `clean`, `changed: FILES`, or `no git`
    dvc_lock_sha256: str
    experiment: str  # of DVC, if one left exactly this dvc.lock


def lock_name() -> str:
    """The file in which DVC writes what each stage ran with."""
    from dvc.dvcfile import LOCK_FILE

    return str(LOCK_FILE)


def recorded_stages(lock: Path) -> dict[str, Any]:
    """Stage -> what dvc.lock recorded of it; empty where there is none."""
    found = read_yaml(lock.read_text(encoding="utf-8")) if lock.is_file() else None
    return (found.get("stages") if isinstance(found, dict) else None) or {}


def git(folder: Path, *words: str) -> str | None:
    """git's answer in `folder`, None where it fails: no git, no repository, no such commit."""
    content = git_bytes(folder, *words)
    return None if content is None else content.decode("utf-8", "replace").rstrip("\n")


def git_bytes(folder: Path, *words: str) -> bytes | None:
    """The same as the bytes that git wrote: the content of a committed file."""
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


def project_root(path: Path) -> Path:
    """The DVC project that `path` lies in; the folder of `path` where there is none."""
    folder = path.resolve().parent
    return next((parent for parent in (folder, *folder.parents) if (parent / ".dvc").is_dir()), folder)


def provenance(ledger: Path) -> Provenance:
    """Of the project that holds `ledger`, as it is now. Changes of the ledger itself do not count as changes."""
    root = project_root(ledger)
    lock = root / lock_name()
    commit = git(root, "rev-parse", "--verify", "HEAD")
    return Provenance(
        git_commit=commit or "",
        git_tree=NO_GIT if commit is None else _tree(root, ledger, lock),
        dvc_lock_sha256=hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else "",
        experiment=_experiment(root, lock),
    )


def _tree(root: Path, ledger: Path, lock: Path) -> str:
    own = ledger.resolve().relative_to(root).as_posix()
    status = git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){own}") or ""
    changed = sorted((line[3:] for line in status.split("\n") if line), key=lambda name: name.count("/"))
    if lock.is_file() and not git(root, "ls-files", "--", lock.name):
        changed.insert(0, f"{lock.name} (not in git)")
    more = f" and {len(changed) - NUM_SHOWN} more" if len(changed) > NUM_SHOWN else ""
    return CHANGED + ", ".join(changed[:NUM_SHOWN]) + more if changed else CLEAN


def _experiment(root: Path, lock: Path) -> str:
    """The newest DVC experiment whose dvc.lock is the present one, byte for byte."""
    references = git(root, "for-each-ref", "--sort=-committerdate", "--format=%(refname)", "refs/exps") or ""
    if not references or not lock.is_file():
        return ""
    present = git(root, "hash-object", lock.name)
    for reference in references.split("\n"):
        if git(root, "rev-parse", "--verify", f"{reference}:./{lock.name}") == present:
            return reference.rsplit("/", 1)[1]
    return ""
