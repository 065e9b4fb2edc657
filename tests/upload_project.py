"""A folder in which commands talk to the server of tests/kaggle_server.py, each in a process of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass

from conftest import ROOT
from kaggle_server import Server, environment

from pipeline.leaderboard.ledger import Ledger


@dataclass
class Project:
    """A folder in which the commands run, each in a process of its own."""

    root: object
    server: Server
    said: str = ""  # everything that any command printed

    @property
    def world(self):
        return self.server.world

    @property
    def ledger(self):
        return Ledger(self.root / "submissions/ledger.csv")

    def start(self, *words, **variables):
        keep = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
        env = keep | environment(self.server, self.root / "home") | {"VERBOSE": "1"} | variables
        env["PYTHONPATH"] += os.pathsep + str(ROOT)
        command = [sys.executable, "-m", "pipeline", *words]
        return subprocess.Popen(
            command, cwd=self.root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self, process):
        out = process.communicate(timeout=60)[0]
        self.said += out
        return process.returncode, out

    def run(self, *words, **variables):
        return self.finish(self.start(*words, **variables))

    def upload(self, *words, **variables):
        return self.run("upload", "-m", "wider net", *words, **variables)
