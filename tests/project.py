"""A copy of the project in which the real `dvc` runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import ROOT, Workplace, competition_files, write_zip


class Project:
    """A git clone's worth of the project, with a small competition and a quick recipe."""

    def __init__(self, root):
        self.root = root
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
        self.params["folds"] = {"0": {}, "1": {}, "2": {}}
        self.params["split"]["num_folds"] = 3
        self.save()
        for words in (
            ["init", "-q"],
            ["add", "-A"],
            ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start"],
        ):
            subprocess.run(["git", *words], cwd=root, check=True)

    def save(self):
        (self.root / "params.yaml").write_text(yaml.safe_dump(self.params))

    def dvc(self, *words, fails=False):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        names = {
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@t",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@t",
        }
        environment = os.environ | names | {"PATH": path, "DVC_NO_ANALYTICS": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *words],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, output
        return output

    def pipeline(self, *words, fails=False):
        """What `python -m pipeline` says."""
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *words],
            cwd=self.root,
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ran(self, *words):
        """The stages that `dvc repro` ran, in order."""
        return re.findall(r"Running stage '(.+?)'", self.dvc("repro", *words))
