"""A copy of the project in which the real `dvc` runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests import warm
from tests.conftest import ROOT, Workplace, competition_files, write_zip

NAMES = {
    "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
    "DVC_NO_ANALYTICS": "1",
}  # fmt: skip
NOT_KEPT = (".git", ".dvc", "__pycache__")


def processes_below(folder, variable=""):
    """Of the processes that work in `folder` or below it, and have the `variable` NAME=VALUE, if any is named."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_there = (process / "cwd").readlink().is_relative_to(folder) and (process / "cmdline").read_bytes()
            if is_there and (not variable or variable.encode() in (process / "environ").read_bytes().split(b"\0")):
                found.append(int(process.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


class Project:
    """A git clone's worth of the project, with a small competition and a quick recipe.

    warm: commands and stages begin with the libraries imported already (`tests/warm.py`).
    """

    def __init__(self, root, *, num_folds=3, warm=True):
        self.root, self.warm = root, warm
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.split("\n"):
            kept = name == "data/members/.gitkeep" or not name.startswith(("data/", "dvc.lock"))
            if name and kept and (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        write_zip(root / "raw.zip", competition_files())
        self.params = Workplace(root).params
        self.params["competition"]["raw"] = "raw.zip"
        self.params["train"]["epochs"] = 1
        self.params["folds"] = {str(fold): {} for fold in range(num_folds)}
        self.params["split"]["num_folds"] = num_folds
        self.save()
        for words in (
            ["init", "-q"],
            ["add", "-A"],
            ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start"],
        ):
            subprocess.run(["git", *words], cwd=root, check=True)

    def save(self):
        (self.root / "params.yaml").write_text(yaml.safe_dump(self.params))

    def keep(self, folder):
        """Copy all files but git's and DVC's own to `folder`, for `restore`."""
        shutil.copytree(self.root, folder, symlinks=True, ignore=shutil.ignore_patterns(*NOT_KEPT))

    def restore(self, folder):
        """All files as they were kept, with their times; DVC's cache stays as it has grown."""
        now, kept = _times(self.root), _times(folder)
        for name in now.keys() - kept.keys():
            (self.root / name).unlink()
        for name in (name for name, times in kept.items() if now.get(name) != times):
            (self.root / name).unlink(missing_ok=True)
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / name, self.root / name, follow_symlinks=False)
        self.params = yaml.safe_load((self.root / "params.yaml").read_text())

    def run(self, module, *words, fails=False):
        """What `python -m module` says."""
        environment = os.environ | NAMES | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            [warm.python() if self.warm else sys.executable, "-m", module, *words],
            cwd=self.root,
            env=warm.environment(environment) if self.warm else environment,
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, output
        return output

    def dvc(self, *words, fails=False):
        return self.run("dvc", *words, fails=fails)

    def pipeline(self, *words, fails=False):
        return self.run("pipeline", *words, fails=fails)

    def ran(self, *words):
        """The stages that `dvc repro` ran, in order."""
        return re.findall(r"Running stage '(.+?)'", self.dvc("repro", *words))


def _times(root):
    """Path of each file that is kept -> what changes with it."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in NOT_KEPT]
        for path in (Path(folder, name) for name in names):
            status = path.lstat()
            found[path.relative_to(root)] = status.st_mtime_ns, status.st_size, status.st_mode
    return found
