"""Folds elsewhere: whoever runs them, and whatever becomes of him, the project ends as a local run leaves it.

`python -m tests.faults.nodes` does this at random moments, again and again.
"""

import re
import signal
import time

import pytest
from elsewhere import Competition, Run, folds, until
from machines import Lan, needed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Competition(tmp_path_factory.mktemp("engines") / "hidden/project", epochs=60)


def test_work_folders_elsewhere_give_what_the_project_itself_gives(project, tmp_path):
    project.forget("train@0", "infer@0")
    nodes = [tmp_path / "a", tmp_path / "b"]
    command = folds("--engine", "folder", "--address", ",".join(map(str, nodes)))
    run = Run(project, command)
    until(lambda: project.steps("0"))
    run.process.send_signal(signal.SIGINT)
    assert "recorded before the interruption: no stage" in run.end(130)
    again = Run(project, command).end()
    assert re.search(r"folder: \d+\.\d MB sent to 1 nodes", again)
    assert "resumed at step" in project.log("0")
    project.check()
    assert not [path for node in nodes for path in (node / "work").glob("*")]


def test_lost_machines_change_no_byte_and_a_lost_head_leaves_states_to_go_on_from(project, tmp_path):
    needed()
    project.forget("train@0", "train@1")
    with Lan(project.root.parent) as lan:
        home = lan.machine()
        home.start_ray("--head", "--port=6379", "--include-dashboard=false", cpus=0)
        a, b = (lan.machine(tmp_path / name) for name in "ab")
        home.wait()
        for machine in (a, b):
            machine.start_ray(f"--address={home.address}:6379")
        run = Run(project, home.words(folds("--engine", "ray", "--address", f"{home.address}:6379")), lan.environment())
        run.wait_for("epoch 3:", "0", "1")
        of = {project.node(fold): fold for fold in "01"}
        a.kill()
        b.freeze()
        run.wait_for("warning: .* is lost: ", of[a.address])
        assert run.wait_for("warning: .* is lost: no answer", of[b.address]) < 30
        b.thaw()  # it has room for one fold, and so for the other only once that has ended
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
