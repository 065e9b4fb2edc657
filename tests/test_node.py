"""The contract of a stage run elsewhere, with a node in another folder and a command of a few lines."""

import signal
import time

import pytest
from errands import STAGE, job_of, make_home, states

from pipeline.engines import node as node_module
from pipeline.engines.errand import Errand, LostError, Traffic, UnwantedError
from pipeline.engines.node import Node


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "nobody's business")
    return make_home(tmp_path / "home")


class Carried:
    """An errand with a node, and all that was asked of it."""

    def __init__(self, root, cache, *words, answer=None):
        self.node, self.asked, self.traffic, self.wanted = Node(str(cache)), [], Traffic(), True
        self._answer = answer or (lambda name, call: call())

        def link(name, *args):
            self.asked.append((name, *args[:1]))
            return self._answer(name, lambda: getattr(self.node, name)(*args))

        self.errand = Errand(
            job_of(root, *words), link, root, node="n", traffic=self.traffic, wanted=lambda: self.wanted
        )

    def run(self):
        try:
            self.errand.send()
            return self.errand.run()
        finally:
            self.node.close()


def test_inputs_go_out_once_and_lines_states_and_outputs_come_home(home, tmp_path):
    first = Carried(home, tmp_path / "cache")
    assert first.run() == 0
    assert (home / "data/out").read_bytes() == b"out"
    assert (home / "log").read_text().splitlines() == ["from 0-f-1-000000003-a.pt", "10000000 3 None"]
    assert not (home / "beside").exists(), "no word of the command names it"
    assert states(home) == ["1-f-1-000000003-a.pt"], "of a fold that is done none is kept"
    assert first.traffic.sent == {"n": 10_000_000 + len(STAGE) + 5}
    second = Carried(home, tmp_path / "cache")
    assert second.run() == 0
    assert sum(second.traffic.sent.values()) == 0, "the node has the inputs"
    assert not list((tmp_path / "cache/work").iterdir())


def test_a_state_comes_home_while_the_stage_is_at_work_and_takes_the_older_one_s_place(home, tmp_path):
    go_on = tmp_path / "go_on"

    def answer(name, call):
        if states(home)[0] == "0-f-1-000000005-b.pt":
            go_on.touch()
        return call()

    assert Carried(home, tmp_path / "cache", str(go_on), answer=answer).run() == 0


def test_a_node_that_is_lost_leaves_the_newest_state_and_no_output(home, tmp_path):
    def answer(name, call):
        if "0-f-1-000000005-b.pt" in states(home):
            raise LostError("no answer")
        return call()

    with pytest.raises(LostError):
        Carried(home, tmp_path / "cache", str(tmp_path / "never"), answer=answer).run()
    assert states(home) == ["0-f-1-000000005-b.pt", "1-f-1-000000003-a.pt"]
    assert not (home / "data/out").exists()


def test_outputs_that_came_home_with_other_bytes_are_not_put_in_place(home, tmp_path):
    (home / "data/out").write_bytes(b"as it was")

    def answer(name, call):
        return b"???" if name == "read" else call()

    with pytest.raises(LostError, match="data/out came home with other bytes than it had there"):
        Carried(home, tmp_path / "cache", answer=answer).run()
    assert (home / "data/out").read_bytes() == b"as it was"
    assert not list(home.rglob("*.part"))


def test_an_input_that_changed_after_it_was_hashed_is_refused(home, tmp_path):
    carried = Carried(home, tmp_path / "cache")
    (home / "data/in.bin").write_bytes(b"edited")
    with pytest.raises(ValueError, match=r"was sent what has the md5 .*: the file has changed"):
        carried.run()
    assert not [path for path in (tmp_path / "cache/files").rglob("*") if path.name.endswith(".part")]


def test_a_stage_that_nobody_wants_any_more_is_ended(home, tmp_path):
    carried = Carried(home, tmp_path / "cache", str(tmp_path / "never"))

    def answer(name, call):
        carried.wanted = name != "poll"
        return call()

    carried._answer = answer
    with pytest.raises(UnwantedError):
        carried.run()
    assert carried.node._process.returncode == -signal.SIGKILL


def test_a_node_that_nobody_asks_any_more_ends_its_stage(home, tmp_path, monkeypatch):
    monkeypatch.setattr(node_module, "UNHEARD_S", 0.5)
    carried = Carried(home, tmp_path / "cache", str(tmp_path / "never"))
    carried.errand.send()
    carried.node.begin(
        dict(job_of(home).inputs), "stage", job_of(home, str(tmp_path / "never")).argv, {"OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 20
    while carried.node._process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert carried.node._process.returncode == -signal.SIGKILL


def test_folders_of_killed_nodes_are_cleared_away_and_those_at_work_stay(tmp_path):
    alive, dead = Node(str(tmp_path)), Node(str(tmp_path))
    dead._lock.close()  # as the system does when its process ends
    third = Node(str(tmp_path))
    assert {path.name for path in (tmp_path / "work").iterdir() if path.is_dir()} == {
        alive._root.name,
        third._root.name,
    }
    for node in (alive, third):
        node.close()
