"""Folds elsewhere: whoever runs them, and whatever becomes of him, the project ends as a local run leaves it.

`python -m tests.faults.nodes` does this at random moments, again and again.
"""

import os
import re
import signal
import time

import pytest
from elsewhere import STAGES, Competition, Run, folds, until
from machines import Lan, needed
from project import NAMES, processes_below

from pipeline.engines.node import CACHE
from pipeline.training import launch

BEGUN = "epoch 3:"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Competition(tmp_path_factory.mktemp("engines") / "hidden/project", epochs=120)


def test_what_had_ended_elsewhere_is_recorded_at_ctrl_c_and_the_rest_goes_on_here(project, tmp_path):
    project.forget("infer@0", "train@1")
    nodes = [tmp_path / "a", tmp_path / "b"]
    run = Run(project, folds("--jobs", "1", "--engine", "folder", "--address", ",".join(map(str, nodes))))
    until(lambda: project.steps("1"))
    run.process.send_signal(signal.SIGINT)
    said = run.end(130)
    assert "recorded before the interruption: infer@0" in said
    assert re.search(r"folder: \d+\.\d MB sent to 1 nodes", said)
    assert not [path for node in nodes for path in (node / "work").glob("*")]
    assert "resumed at step" in project.dvc("repro", "infer@0", "train@1")
    project.check()


@pytest.fixture(scope="module")
def in_ranks(tmp_path_factory):
    return Competition(tmp_path_factory.mktemp("ranks") / "project", epochs=40, ranks=2)


@pytest.mark.parametrize("engine", ["ray", "slurm --slurm-options cluster=local"])
def test_ranks_on_a_node_leave_the_bytes_of_ranks_here_though_one_is_killed(in_ranks, tmp_path, engine):
    in_ranks.forget("train@0")
    address = [] if engine == "ray" else ["--address", str(tmp_path)]
    command = folds("--threads", "2", "--engine", *engine.split(), *address)
    run = Run(in_ranks, command, os.environ | NAMES | {CACHE: str(tmp_path)})
    run.wait_for(BEGUN, "0")
    os.kill(processes_below(tmp_path, f"{launch.RANK}=1")[0], signal.SIGKILL)
    run.end()
    assert "rank 1 of 2 was ended by signal 9; all 2 start again from the last saved state" in in_ranks.log("0")
    assert "resumed at step" in in_ranks.log("0")
    in_ranks.check()


def cluster_of_two(lan, tmp_path):
    """(a head that computes nothing, two nodes): machines with Ray between them."""
    home = lan.machine()
    home.start_ray("--head", "--port=6379", "--include-dashboard=false", cpus=0)
    a, b = (lan.machine(tmp_path / name) for name in "ab")
    home.wait()
    for machine in (a, b):
        machine.start_ray(f"--address={home.address}:6379")
    return home, a, b


def test_features_are_computed_on_nodes_and_folds_follow(tmp_path_factory, tmp_path):
    needed()
    model = {"name": "test_resnet", "weights": "given", "frozen": True}
    project = Competition(tmp_path_factory.mktemp("features") / "project", epochs=1, model=model)
    project.forget("embed_train", "embed_test", "train@0", "infer@1")
    with Lan(project.root.parent) as lan:
        home, a, b = cluster_of_two(lan, tmp_path)
        command = home.words(folds("--engine", "ray", "--address", f"{home.address}:6379"))
        said = Run(project, command, lan.environment()).end()
    assert {project.node("embed_train"), project.node("embed_test")} == {a.address, b.address}
    assert project.ran("embed_train", "embed_test", *STAGES) == []
    assert re.search(r"embed_train +\d", said) and not (project.root / "data/logs/upstream.log").exists()
    project.check()
    (project.root / "pipeline/stages/embed_test.py").write_text("raise SystemExit(3)")
    said = Run(project, folds("--engine", "folder", "--address", str(tmp_path / "c"))).end(1)
    assert re.search("^embed_test ended with exit code 3$.*1 stages were not recorded: embed_test;", said, re.M | re.S)
    assert "infer@" not in said, "no fold is begun without them"


def test_lost_machines_change_no_byte_and_a_lost_head_leaves_states_to_go_on_from(project, tmp_path):
    needed()
    project.forget("train@0", "train@1")

    def begun(fold):
        return re.search(BEGUN, project.log(fold))

    with Lan(project.root.parent) as lan:
        home, a, b = cluster_of_two(lan, tmp_path)
        run = Run(project, home.words(folds("--engine", "ray", "--address", f"{home.address}:6379")), lan.environment())
        until(lambda: begun("0") or begun("1"))
        first, second = "01" if begun("0") else "10"
        killed, frozen = (a, b) if project.node(first) == a.address else (b, a)
        killed.kill()
        run.wait_for(BEGUN, second)
        frozen.freeze()
        run.wait_for("warning: .* is lost: ", first)
        assert run.wait_for("warning: .* is lost: no answer", second) < 30
        frozen.thaw()  # it has room for one fold, and so for the other only once that has ended
        until(lambda: "images held out" in project.log("0") + project.log("1"))
        last = "1" if "images held out" in project.log("0") else "0"
        run.wait_for(r"(?s) is lost.*epoch \d+:", last)
        home.kill()
        began = time.monotonic()
        said = run.end(2)
        assert time.monotonic() - began < 30
    assert re.search(f"error: 1 stages were not recorded: train@{last}; what finished was", said)
    assert re.search(r"  \| error: .*(no node is left|head gives no answer|head is gone)", said)
    assert project.ran("train@0", "train@1") == [f"train@{last}"]
    project.check()
