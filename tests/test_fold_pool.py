"""`python -m pipeline folds`: what `dvc repro` would have left behind, to the byte, whatever happens on the way."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from project import Project, processes_below

from pipeline.commands.fold_pool import Fold, Pool, Screen, at_once
from pipeline.commands.folds import folds_in, num_on_accelerators
from pipeline.commands.plan import write_plan

FOLDS = [sys.executable, "-m", "pipeline", "folds", "--jobs", "2"]


def run_folds(project, *, code=0):
    """Its output; `code` is the exit code it must have."""
    done = subprocess.run(FOLDS, cwd=project.root, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    return output


def trained(output):
    """The stages that ran, by their lines."""
    return set(re.findall(r"^((?:train|infer)@\d) +\d+\.\d s  fold", output, re.MULTILINE))


def start_folds(project):
    """A run of which every fold has ended its first epoch."""
    run = subprocess.Popen(
        FOLDS,
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # ignored where the tests run in the background
    )
    logs, deadline = [project.root / f"data/logs/{fold}.log" for fold in "01"], time.monotonic() + 60
    started = time.time()
    while not all(
        log.is_file() and log.stat().st_mtime > started - 0.5 and "epoch 1:" in log.read_text() for log in logs
    ):
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return run


def lock_bytes(project):
    return (project.root / "dvc.lock").read_bytes()


def lock_of(project):
    """What dvc.lock says; the order of the stages above the folds is that in which they ran."""
    return yaml.safe_load(lock_bytes(project))


def cache_of(project):
    """Path in the cache -> content, the run-cache among it."""
    root = project.root / ".dvc/cache"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def parts_of(project):
    return list((project.root / "data").rglob("*.part"))


def wait_until_alone(project):
    deadline = time.monotonic() + 20
    while processes_below(project.root):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def change(project, **settings):
    """Set keys of `train`, and overrides of folds (`fold_1={...}`)."""
    for name, value in settings.items():
        if name.startswith("fold_"):
            project.params["folds"][name.removeprefix("fold_")] = value
        else:
            project.params["train"][name] = value
    project.save()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("folds"), num_folds=2)
    write_plan(project.root / "params.yaml", budget="1h", expected_s=40.0)
    output = run_folds(project)
    assert trained(output) == {"train@0", "infer@0", "train@1", "infer@1"}
    assert re.search(r"^folds: \d+ (s|min) in all; 40 s were expected, \d+ min within the budget of 1h$", output, re.M)
    return project


@pytest.mark.slow
def test_it_leaves_what_dvc_repro_leaves(project, tmp_path):
    twin = Project(tmp_path, num_folds=2)
    shutil.copy2(project.root / "raw.zip", twin.root / "raw.zip")  # a zip holds its date
    twin.dvc("repro", "split", "train", "infer")
    assert lock_of(project) == lock_of(twin)
    assert list(lock_of(project)["stages"])[:4] == ["ingest", "decode_train", "decode_test", "audit"], "no chance order"
    assert cache_of(project) == cache_of(twin)
    assert "up to date" in run_folds(project)
    assert not re.search("(train|infer)@", project.dvc("status"))
    assert project.ran("train", "infer") == []


@pytest.mark.slow
def test_what_a_killed_dvc_left_cut_off_is_cleared_away(project):
    before = lock_bytes(project)
    (project.root / "dvc.lock").write_bytes(before[: before.rindex(b"outs:") + 3])
    (project.root / ".dvc/tmp/rwlock").write_text('{"write": {')
    run = next(path for path in cache_of(project) if path.startswith("runs/"))
    (project.root / ".dvc/cache" / run).unlink()  # its folder stays, empty
    project.dvc("repro", fails=True)
    output = run_folds(project)
    assert re.findall(r"(\S+) was cut off by a crash and is now", output) == [
        str(project.root / "dvc.lock"),
        str(project.root / ".dvc/tmp/rwlock"),
    ]
    assert lock_of(project) == yaml.safe_load(before)


@pytest.mark.slow
def test_one_folds_override_trains_that_fold_alone_and_going_back_trains_none(project):
    before = lock_bytes(project)
    change(project, fold_1={"seed": 7})
    assert trained(run_folds(project)) == {"train@1", "infer@1"}
    change(project, fold_1={})
    output = run_folds(project)
    assert "budget" not in output, "the plan is of both folds, and of the recipe before"
    assert re.findall("(.+): was run before", output) == ["teach@1", "train@1", "infer@1"]
    assert "epoch" not in output
    assert lock_bytes(project) == before


@pytest.mark.slow
def test_a_fold_that_fails_names_itself_and_leaves_the_other_recorded(project):
    lock = lock_bytes(project)
    change(project, seed=3, fold_1={"epochs": 0})
    assert "folds.1.epochs is 0; allowed: an integer from 1" in run_folds(project, code=2)
    assert lock_bytes(project) == lock, "nothing has begun"
    change(project, seed=3, fold_1={"optimizer": "no_such"})
    output = run_folds(project, code=2)
    assert re.search(r"train@1 ended with exit code 2\n.*train.optimizer is 'no_such'.*\n", output), output
    assert "1 stages were not recorded: train@1" in output
    status = project.dvc("status", "train", "infer")
    assert "train@1" in status
    assert "@0" not in status
    change(project, fold_1={})
    assert trained(run_folds(project)) == {"train@1", "infer@1"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_an_interruption_records_nothing_unfinished_and_leaves_no_worker(project, number):
    change(project, seed=4, epochs=100_000)
    project.dvc("repro", "teach")
    before, cached = lock_bytes(project), cache_of(project)
    run = start_folds(project)
    run.send_signal(number)
    output = run.communicate(timeout=30)[0]
    assert run.returncode == (-number if number == signal.SIGKILL else 130), output
    assert number == signal.SIGKILL or "recorded before the interruption: no stage" in output
    wait_until_alone(project)
    assert lock_bytes(project) == before
    assert cache_of(project) == cached
    assert not parts_of(project)


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])  # dash stays between DVC and the stage, bash does not
def test_a_stage_ends_when_the_dvc_that_started_it_is_killed(project, shell):
    change(project, seed=4, epochs=100_000)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    words, output = [sys.executable, "-m", "dvc", "repro", "-s", "train@0"], project.root / "output"
    with output.open("wb") as handle:  # no pipe: a stage may also end because nobody reads what it writes
        run = subprocess.Popen(words, cwd=project.root, env=os.environ | {"PATH": path, "SHELL": shell}, stdout=handle)
    deadline = time.monotonic() + 60
    while "epoch 1:" not in output.read_text():
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.kill()
    run.wait()
    wait_until_alone(project)
    assert not parts_of(project)


@pytest.mark.slow
def test_params_edited_while_folds_train_are_not_recorded_with_the_old_weights(project):
    change(project, seed=5, epochs=100)
    project.dvc("repro", "teach")
    before = lock_bytes(project)
    run = start_folds(project)
    change(project, epochs=1)
    output = run.communicate(timeout=60)[0]
    assert run.returncode == 2, output
    assert "train@0 was not recorded: params.yaml (train) changed since the folds were started" in output
    assert lock_bytes(project) == before


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(int(os.environ.get("TRIES", "1"))))
def test_every_fold_is_recorded_at_every_try(project, turn):
    change(project, seed=1000 + turn, epochs=1)
    assert trained(run_folds(project)) == {"train@0", "infer@0", "train@1", "infer@1"}
    assert not re.search("(train|infer)@", project.dvc("status"))


@pytest.mark.slow
@pytest.mark.parametrize("links", ["hardlink", "symlink"])
def test_outputs_that_are_links_into_the_cache_do_not_change_it(project, links):
    project.dvc("config", "--local", "cache.type", links)
    project.dvc("checkout", "--relink", "train", "infer")
    weights = project.root / "data/models/0.safetensors"
    assert weights.is_symlink() if links == "symlink" else weights.stat().st_nlink > 1
    cached = cache_of(project)
    change(project, seed=6, epochs=1, fold_0={"seed": 100 + len(links)})
    run_folds(project)
    after = cache_of(project)
    assert len(after) > len(cached)
    assert {name: after[name] for name in cached} == cached


def test_the_last_rounds_run_as_one():
    assert [at_once(2, unfinished=left, stretch=True) for left in (5, 4, 3, 2, 1)] == [2, 2, 3, 2, 1]
    assert [at_once(2, unfinished=left, stretch=False) for left in (5, 3, 1)] == [2, 2, 2]


def test_folds_share_a_gpu_by_its_free_memory_and_wait_for_a_core():
    gib = 1 << 30
    assert folds_in(78 * gib, needed=2 * gib) == 10
    assert folds_in(15 * gib, needed=2 * gib) == 2
    assert folds_in(0, needed=2 * gib) == 1, "unknown, or full: the fold itself says so"
    assert num_on_accelerators([10], 16) == 10
    assert num_on_accelerators([3, 2], 16) == 4, "dealt round"
    assert num_on_accelerators([10, 10], 4) == 4
    assert num_on_accelerators([1, 1, 1, 1], 2) == 4
    assert num_on_accelerators([], 16) == 0


FORK_SAFE = """
import importlib, sys, torch
asked = []
for name in ("_cuda_getDeviceCount", "_cuda_init"):
    if hasattr(torch._C, name):
        setattr(torch._C, name, lambda *_, name=name: asked.append(name) or 0)
from pipeline.commands.folds import PRELOAD
for module in (*PRELOAD, "timm", "pipeline.stages.train", "pipeline.stages.infer"):
    importlib.import_module(module)
print(asked, torch.cuda.is_initialized())
"""


@pytest.mark.slow
def test_what_workers_are_forked_from_does_not_begin_cuda():
    """After a look for devices CUDA could not be begun in a forked process."""
    done = subprocess.run([sys.executable, "-c", FORK_SAFE], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "[] False\n"


def test_the_parent_knows_no_torch():
    code = "import sys, pipeline.commands.folds\nprint('torch' in sys.modules, 'dvc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.split() == ["False", "False"]


class EndedWorker:
    """Of a stage that ended well at once."""

    exitcode, pid = 0, None

    def __init__(self):
        reading, writing = os.pipe()
        os.close(writing)  # as the sentinel of a process that has ended
        self.sentinel = reading

    def interrupt(self):
        pass

    def join(self, timeout=None):
        pass


class InterruptedRecord:
    """Ctrl-C comes while it looks whether the next stage must run."""

    def __init__(self):
        self.added = []

    def changed_since(self, stage):
        return []

    def add(self, stage):
        self.added.append(stage.name)

    def advance(self, stages):
        raise KeyboardInterrupt


def test_ctrl_c_between_two_stages_of_a_fold_records_only_the_first(tmp_path):
    repo = SimpleNamespace(root_dir=str(tmp_path))
    stages = [
        SimpleNamespace(name=name, cmd="python -m nothing", repo=repo, outs=[], deps=[])
        for name in ("teach@0", "train@0")
    ]
    record, place = InterruptedRecord(), SimpleNamespace(release=lambda: None)
    engine = SimpleNamespace(
        elsewhere=False, admit=lambda running: place, start=lambda job: EndedWorker(), close=lambda: None
    )
    fold = Fold("0", deque(stages), record, tmp_path)
    with pytest.raises(KeyboardInterrupt), Pool(engine, screen=Screen({"0": 0}), devices=[]) as pool:
        pool.run([fold], 1, stretch=False)
    assert record.added == ["teach@0"]
