"""Folds elsewhere: whoever runs them, and whatever becomes of him, the project ends as a local run leaves it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from faults.commands import forget, handed_over
from machines import PATIENCE_S, Lan, needed
from project import NAMES, Project

STAGES = ("teach@0", "teach@1", "train@0", "train@1", "infer@0", "infer@1")
EPOCHS = 150


def folds(*words):
    return [sys.executable, "-m", "pipeline", "folds", *words]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Run on this machine, and what it left: path -> sha256, dvc.lock among them."""
    project = Project(tmp_path_factory.mktemp("engines") / "hidden/project", num_folds=2, warm=False)
    project.params["train"]["epochs"] = EPOCHS
    project.save()
    project.pipeline("folds", "--threads", "1")
    project.whole = handed_over(project.root), (project.root / "dvc.lock").read_bytes()
    return project


@pytest.fixture
def stale(project):
    """The project, as if no stage of a fold had run."""
    forget(project.root, STAGES)
    shutil.rmtree(project.root / "data/logs")
    return project


def compare(project):
    assert (handed_over(project.root), (project.root / "dvc.lock").read_bytes()) == project.whole
    assert not re.search("(teach|train|infer)@", project.dvc("status"))
    assert not list((project.root / "data").rglob("*.part"))
    assert not list((project.root / "data/scratch").glob("*"))


def log_of(project, fold):
    path = project.root / f"data/logs/{fold}.log"
    return path.read_text() if path.is_file() else ""


def until(true):
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def has_state(project, fold):
    return any((project.root / "data/scratch").glob(f"{fold}-*.pt"))


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
        while not all(re.search(pattern, log_of(self.project, fold)) for fold in fold_names):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() - began < PATIENCE_S, self.said()
            time.sleep(0.1)
        return time.monotonic() - began

    def said(self):
        return self.output.read_text() + "".join(f"--- {fold}\n{log_of(self.project, fold)}" for fold in "01")

    def end(self, code=0):
        assert self.process.wait(PATIENCE_S) == code, self.said()
        return self.output.read_text()


@pytest.mark.slow
def test_work_folders_elsewhere_give_what_the_project_itself_gives(stale, tmp_path):
    nodes = [tmp_path / "a", tmp_path / "b"]
    address = ",".join(map(str, nodes))
    run = Run(stale, folds("--engine", "folder", "--address", address, "--threads", "1"))
    until(lambda: has_state(stale, "0") or has_state(stale, "1"))
    run.process.send_signal(signal.SIGINT)
    assert "recorded before the interruption: teach@0, teach@1" in run.end(130)
    states = {path.name.split("-")[0] for path in (stale.root / "data/scratch").iterdir()}
    again = Run(stale, folds("--threads", "1", "--engine", "folder", "--address", address)).end()
    assert re.search(r"folder: \d+\.\d MB sent to 2 nodes", again)
    assert states == {fold for fold in "01" if "resumed at step" in log_of(stale, fold)}
    compare(stale)
    assert not [path for node in nodes for path in (node / "work").iterdir()]


@pytest.mark.slow
def test_machines_that_are_killed_stopped_and_cut_off_change_no_byte(stale, tmp_path):
    needed()
    with Lan(stale.root.parent) as lan:
        home = lan.machine()
        home.start_ray("--head", "--port=6379", cpus=0)
        address = f"{home.address}:6379"
        a, b, c = (lan.machine(tmp_path / name) for name in "abc")
        home.wait()
        for machine in (a, b):
            machine.start_ray(f"--address={address}")
        words = folds("--engine", "ray", "--address", address, "--threads", "1")
        run = Run(stale, home.words(words), lan.environment() | NAMES)
        run.wait_for(r"epoch 5:", "0", "1")
        where = {re.findall(r"(?m)^on (\S+)", log_of(stale, fold))[-1]: fold for fold in "01"}
        first, second = where[a.address], where[b.address]
        c.start_ray(f"--address={address}")
        a.kill()
        b.freeze()
        run.wait_for("warning: .* is lost: ", first)
        assert run.wait_for("warning: .* is lost: no answer", second) < 30
        b.thaw()  # it answers again, and may get folds
        run.wait_for(r"(?s) is lost.*epoch \d+:", second)
        there = re.findall(r"(?m)^on (\S+)", log_of(stale, second))[-1]
        {b.address: b, c.address: c}[there].unplug()
        assert run.wait_for(f"warning: {there} .* is lost: no answer", second) < 30
        run.end()
    compare(stale)


@pytest.mark.slow
def test_without_its_head_a_cluster_is_gone_and_a_local_run_goes_on_from_the_states(stale, tmp_path):
    needed()
    with Lan(stale.root.parent) as lan:
        head, home = lan.machine(tmp_path / "head"), lan.machine()
        head.start_ray("--head", "--port=6379", cpus=2)
        head.wait()
        words = folds("--engine", "ray", "--address", f"{head.address}:6379", "--threads", "1")
        run = Run(stale, home.words(words), lan.environment() | NAMES)
        run.wait_for("epoch 3:", "0", "1")
        until(lambda: has_state(stale, "0") and has_state(stale, "1"))
        head.kill()
        began = time.monotonic()
        said = run.end(2)
        assert time.monotonic() - began < 30
    assert re.search(r"error: 2 stages were not recorded: train@[01], train@[01]; what finished was", said)
    assert re.search("  \\| error: .*(no node is left|head gives no answer|head is gone)", said)
    Run(stale, folds("--threads", "1")).end()
    assert all("resumed at step" in log_of(stale, fold) for fold in "01")
    compare(stale)
