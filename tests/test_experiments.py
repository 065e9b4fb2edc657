"""`python -m pipeline folds --experiments`: all experiments of DVC's queue, their folds in one pool."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from project import NAMES, Project

WORDS = [sys.executable, "-m", "pipeline", "folds", "--experiments", "--jobs", "2", "--threads", "1"]
LONG = "+folds.0.epochs=300"
NOT_THE_RUNS = {"submit", "report"}  # the receipt names commit and dvc.lock, the page is made of it


def queue(project, name, *changes):
    """Have DVC queue it."""
    sets = [word for change in changes for word in ("-S", change)]
    project.dvc("exp", "run", "--queue", "-n", name, *sets)


def queued(project):
    """Names, in order."""
    return re.findall(r"^\w{7}\s+(\S+)\s.*Queued", project.dvc("queue", "status"), re.MULTILINE)


def run(project, *, code=0):
    done = subprocess.run(WORDS, cwd=project.root, env=os.environ | NAMES, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    return output


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
    project = Project(tmp_path_factory.mktemp("experiments"), num_folds=2, warm=False)
    project.pipeline("repro")
    git(project, "add", "-A")
    git(project, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "run")
    return project


@pytest.mark.slow
def test_each_is_what_dvc_makes_of_it_and_one_that_fails_stays_queued(project):
    project.dvc("exp", "run", "--temp", "-n", "alone", "-S", "train.seed=7")
    head = git(project, "status", "--short")
    for folder in (project.root / ".dvc/cache/runs").glob("*"):
        subprocess.run(["rm", "-r", folder], check=True)  # else the folds would be taken from there
    queue(project, "broken", "train.optimizer=no_such")
    queue(project, "beside", "train.seed=7")
    queue(project, "other", "train.peak_lr=0.02", LONG)
    output = run(project, code=2)
    assert queued(project) == ["broken"]
    assert "train.optimizer is 'no_such'" in output
    assert "broken train@0" in output
    assert lock_of(project, "beside") == lock_of(project, "alone")
    assert lock_of(project, "other") != lock_of(project, "alone")
    assert git(project, "status", "--short") == head, "the project's own files are as they were"
    ended = re.findall(r"^(\S+) train@(\d) ", output, re.MULTILINE)
    assert set(ended) >= {("beside", "0"), ("beside", "1"), ("other", "0"), ("other", "1")}
    project.dvc("queue", "remove", "broken")
    assert "no experiment is queued" in run(project)
    assert not list((project.root / ".dvc/tmp/exps/folds").iterdir())


@pytest.mark.slow
def test_while_a_long_fold_trains_the_other_core_takes_folds_of_the_next_experiment(project):
    queue(project, "long", "train.seed=11", LONG)
    queue(project, "next", "train.seed=12")
    output = run(project)
    ended = re.findall(r"^(\S+ infer@\d) ", output, re.MULTILINE)
    assert ended[-1] == "long infer@0"
    assert set(ended[:-1]) == {"long infer@1", "next infer@0", "next infer@1"}
    project.dvc("exp", "apply", "long")
    assert project.ran() == [], "DVC takes all of it as run"
    git(project, "checkout", "-q", ".")


@pytest.mark.slow
def test_after_an_interruption_experiments_are_queued_and_go_on_from_their_states(project):
    queue(project, "cut", "train.seed=21", "+folds.0.epochs=2000")
    begun = subprocess.Popen(
        WORDS, cwd=project.root, env=os.environ | NAMES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list((project.root / ".dvc/tmp/exps/folds").glob("*/data/scratch/0-*.pt")):
        assert begun.poll() is None, begun.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    begun.send_signal(signal.SIGINT)
    begun.communicate(timeout=60)
    assert begun.returncode == 130
    assert queued(project) == ["cut"]
    output = run(project)
    assert "cut: goes on in" in output
    log = Path(project.root, "data/logs/experiments/cut/0.log").read_text()
    assert "fold 0: resumed at step" in log
    assert queued(project) == []
    assert lock_of(project, "cut")
