"""A project whose folds run elsewhere, and what a run that nobody disturbed left of it."""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time

from tests.conftest import save_weights
from tests.faults.commands import forget, handed_over
from tests.machines import PATIENCE_S
from tests.project import NAMES, Project

STAGES = ("teach@0", "teach@1", "train@0", "train@1", "infer@0", "infer@1")
EDITS = {
    "\nMIN_INTERVAL_S = 2.0": "\nMIN_INTERVAL_S = 0.2",
    "\nTIMES_COST = 33.0": "\nTIMES_COST = 0.0",
}  # folds are short


def folds(*words):
    return [sys.executable, "-m", "pipeline", "folds", "--threads", "1", *words]


def until(true):
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Competition(Project):
    """Two folds of so many epochs, on this machine: `dvc repro` has made their stages."""

    def __init__(self, root, *, epochs, model=None, **compute):
        super().__init__(root, num_folds=2)
        self.params["compute"] |= compute
        self.params["model"] |= model or {}
        if model:
            save_weights(root / model["weights"], model["name"])
            self.params["images"]["side"] = 32
        self.params["train"] |= {"epochs": epochs, "valid_every": epochs}
        self.save()
        path = root / "pipeline/training/resume.py"
        changed = path.read_text()
        for shipped, ours in EDITS.items():
            assert shipped in changed
            changed = changed.replace(shipped, ours)
        path.write_text(changed)
        self.dvc("repro", *STAGES)
        self.whole = self.left()

    def left(self):
        """(path -> sha256 of all that stages hand on, dvc.lock)."""
        return handed_over(self.root), (self.root / "dvc.lock").read_bytes()

    def forget(self, *stages):
        """As if these had never run. Their logs are gone too."""
        forget(self.root, stages)
        for path in (self.root / "data/logs").glob("*.log"):
            path.unlink()

    def check(self):
        """All is as a run on this machine leaves it."""
        assert self.left() == self.whole
        assert not re.search("(teach|train|infer)@", self.dvc("status", *STAGES))
        assert not list((self.root / "data").rglob("*.part"))
        assert not list((self.root / "data/scratch").glob("*"))

    def log(self, fold):
        """What it has said so far."""
        path = self.root / f"data/logs/{fold}.log"
        return path.read_text() if path.is_file() else ""

    def node(self, fold):
        """The address of the node that it is on, "" before it is on any."""
        return (re.findall(r"(?m)^on (\S+)", self.log(fold)) or [""])[-1]

    def steps(self, fold):
        """Of the fold's states at home."""
        return [int(path.name.split("-")[3]) for path in (self.root / "data/scratch").glob(f"{fold}-*.pt")]


class Run:
    """`folds` at work."""

    def __init__(self, project, command, environment=None):
        self.project, self.output = project, project.root / "output"
        with self.output.open("wb") as handle:
            self.process = subprocess.Popen(
                command, cwd=project.root, env=environment or os.environ | NAMES, stdout=handle, stderr=handle
            )

    def wait_for(self, pattern, *fold_names):
        """Until the log of each of these folds has the pattern. Seconds that it took."""
        began = time.monotonic()
        while not all(re.search(pattern, self.project.log(fold)) for fold in fold_names):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() - began < PATIENCE_S, self.said()
            time.sleep(0.05)
        return time.monotonic() - began

    def said(self):
        return self.output.read_text() + "".join(f"--- {fold}\n{self.project.log(fold)}" for fold in "01")

    def end(self, code=0, *, within=PATIENCE_S):
        """What it said, once it has ended. It is killed where it takes longer than `within` seconds."""
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
        assert self.process.wait() == code, self.said()
        return self.output.read_text()


def campaign_args(about, missing):
    """The command line of a campaign; it exits where `missing` says why there can be none. SIGTERM is Ctrl-C then."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=400)
    args = parser.parse_args()
    if why := missing():
        sys.exit(f"error: {why}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return args


def go_through(campaign, args):
    """So many deeds at random, each said."""
    chance = random.Random(args.seed)
    for number in range(args.times):
        print(f"{number + 1}: {campaign.once(chance)}", flush=True)
    print(f"{args.times} deeds, every hand-over file and dvc.lock as in the local run: {dict(campaign.counts)}")
