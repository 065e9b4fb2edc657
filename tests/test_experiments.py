"""`python -m pipeline folds --experiments`: all experiments of DVC's queue, their folds in one pool."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from project import NAMES, Project

WORDS = [sys.executable, "-m", "pipeline", "folds", "--experiments", "--jobs", "2", "--threads", "1"]
LONG = "+folds.0.epochs=400"  # so that it outlasts the folds that run beside it
NOT_THE_RUNS = {"submit", "report"}  # the receipt names commit and dvc.lock, the page is made of it


def queue(project, name, *changes):
    """Have DVC queue it."""
    sets = [word for change in changes for word in ("-S", change)]
    project.dvc("exp", "run", "--queue", "-n", name, *sets)


def queued(project):
    """Names, in order."""
    return re.findall(r"^\w{7}\s+(\S+)\s.*Queued", project.dvc("queue", "status"), re.MULTILINE)


def start(project, *words):
    """`folds --experiments`, begun."""
    return subprocess.Popen(
        [*WORDS, *words], cwd=project.root, env=os.environ | NAMES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def git(project, *words):
    return subprocess.run(["git", *words], cwd=project.root, capture_output=True, text=True, check=True).stdout


def lock_of(project, name):
    """What the experiment's dvc.lock says of each stage whose bytes the run alone decides."""
    (ref,) = re.findall(
        rf"refs/exps/\w\w/\w+/{name}$", git(project, "for-each-ref", "--format=%(refname)"), re.MULTILINE
    )
    stages = yaml.safe_load(git(project, "show", f"{ref}:dvc.lock"))["stages"]
    return {stage: found for stage, found in stages.items() if stage not in NOT_THE_RUNS}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A run that is committed, as experiments begin from one."""
    project = Project(tmp_path_factory.mktemp("experiments"), num_folds=2)
    project.pipeline("repro")
    git(project, "add", "-A")
    git(project, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "run")
    return project


@pytest.mark.slow
def test_each_is_what_dvc_makes_of_it_though_begun_elsewhere_and_cut_short_and_one_that_fails_stays_queued(project):
    project.dvc("exp", "run", "--temp", "-n", "alone", "-S", "train.seed=7", "-S", LONG)
    head = git(project, "status", "--short")
    shutil.rmtree(project.root / ".dvc/cache/runs")  # else the folds would be taken from there
    queue(project, "broken", "train.optimizer=no_such")
    queue(project, "long", "train.seed=7", LONG)
    queue(project, "next", "train.seed=12")
    nodes = ",".join(str(project.root / "nodes" / name) for name in "ab")
    begun = start(project, "--engine", "folder", "--address", nodes)
    deadline = time.monotonic() + 600  # other work may run beside
    while not list((project.root / ".dvc/tmp/exps/folds").glob("*/data/scratch/0-*.pt")):
        assert begun.poll() is None, begun.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    begun.send_signal(signal.SIGINT)
    output, _ = begun.communicate(timeout=300)
    assert begun.returncode == 130, output
    assert queued(project) == ["broken", "long", "next"]
    shutil.rmtree(project.root / "nodes")

    here = start(project)
    output, _ = here.communicate()
    assert here.returncode == 2, output
    assert "long: goes on in" in output
    assert "fold 0: resumed at step" in Path(project.root, "data/logs/experiments/long/0.log").read_text()
    assert lock_of(project, "long") == lock_of(project, "alone")
    assert lock_of(project, "next") != lock_of(project, "alone")
    ended = re.findall(r"^(\S+ infer@\d) ", output, re.MULTILINE)
    assert {"next infer@0", "next infer@1"} <= set(ended[:-1])
    assert ended[-1] == "long infer@0", "while it trains the other core takes folds of the next experiment"
    assert "train.optimizer is 'no_such'" in output and "broken train@0" in output
    assert git(project, "status", "--short") == head, "the project's own files are as they were"
    assert queued(project) == ["broken"]
    project.dvc("queue", "remove", "broken")
    output, _ = start(project).communicate()
    assert "no experiment is queued" in output
    assert not list((project.root / ".dvc/tmp/exps/folds").iterdir())
    project.dvc("exp", "apply", "long")
    assert project.ran() == [], "DVC takes all of it as run"
