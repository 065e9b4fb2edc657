"""The contract of a stage run elsewhere, with a node in another folder and a command of a few lines."""

import dataclasses
import hashlib
import os
import shutil
import signal
import threading
import time
import types

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
    (home / "data/scratch/0-f-1-000000004-b.pt.99999999.part").touch()  # of an errand that was killed
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


def test_a_node_that_still_hashes_what_it_wrote_answers_all_the_same(home, tmp_path, monkeypatch):
    asked, outputs = threading.Event(), Node.outputs

    def slow(self, scratch):
        assert asked.wait(60)
        return outputs(self, scratch)

    def answer(name, call):
        found = call()
        if name == "poll" and carried.node.code() == 0 and found["code"] is None:
            asked.set()
        return found

    monkeypatch.setattr(Node, "outputs", slow)
    carried = Carried(home, tmp_path / "cache", answer=answer)
    assert carried.run() == 0
    assert (home / "data/out").read_bytes() == b"out"


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


def parts(cache):
    return [path for path in (cache / "files").rglob("*") if path.name.endswith(".part")]


def lost_on_the_way(cache):
    """An answer to errands: the node is lost once 8 MB of the large input were sent."""

    def answer(name, call):
        if any(path.stat().st_size >= 8 << 20 for path in parts(cache)):
            raise LostError("no answer")
        return call()

    return answer


@pytest.mark.parametrize("end", ["closed", "killed"])
def test_what_a_lost_attempt_has_sent_is_not_sent_again(home, tmp_path, end):
    lost = Carried(home, tmp_path / "cache", answer=lost_on_the_way(tmp_path / "cache"))
    with pytest.raises(LostError):
        lost.errand.send()
    (left,) = parts(tmp_path / "cache")
    held = left.stat().st_size
    if end == "closed":
        lost.node.close()
    else:
        lost.node._lock.close()  # as the system does
    second = Carried(home, tmp_path / "cache")
    assert second.run() == 0
    assert sum(second.traffic.sent.values()) <= 10_000_000 + len(STAGE) + 5 - held
    assert not parts(tmp_path / "cache")


def test_what_an_attempt_at_work_has_sent_is_left_to_it(home, tmp_path):
    first = Carried(home, tmp_path / "cache", answer=lost_on_the_way(tmp_path / "cache"))
    with pytest.raises(LostError):
        first.errand.send()
    second = Carried(home, tmp_path / "cache")
    assert second.run() == 0
    assert sum(second.traffic.sent.values()) >= 10_000_000
    assert len(parts(tmp_path / "cache")) == 1
    first.node.close()


def test_what_a_lost_attempt_left_damaged_is_sent_again_whole(home, tmp_path):
    lost = Carried(home, tmp_path / "cache", answer=lost_on_the_way(tmp_path / "cache"))
    with pytest.raises(LostError):
        lost.errand.send()
    lost.node.close()
    (left,) = parts(tmp_path / "cache")
    left.write_bytes(bytes(left.stat().st_size))
    second = Carried(home, tmp_path / "cache")
    assert second.run() == 0
    assert (home / "data/out").read_bytes() == b"out"
    assert sum(second.traffic.sent.values()) >= 10_000_000


def test_files_that_the_node_sees_in_a_dvc_cache_or_remote_are_not_sent(home, tmp_path, monkeypatch):
    digest = hashlib.md5((home / "data/in.bin").read_bytes()).hexdigest()
    shared = tmp_path / "remote/files/md5" / digest[:2] / digest[2:]
    shared.parent.mkdir(parents=True)
    (home / "data/in.bin").rename(shared)  # nor read here
    shared.chmod(0o444)
    (home / "data/in.bin").write_bytes(b"of another size")
    job = job_of(home)
    before = shared.stat()
    monkeypatch.setenv("FOLDBOARD_STORE", str(tmp_path / "remote"))
    carried = Carried(home, tmp_path / "cache")
    carried.errand._job = dataclasses.replace(job, inputs=dict(job.inputs) | {"data/in.bin": digest})
    assert carried.run() == 0
    assert carried.traffic.sent == {"n": len(STAGE) + 5}
    assert (shared.stat().st_mtime_ns, shared.stat().st_nlink) == (before.st_mtime_ns, before.st_nlink), (
        "DVC knows its files by these"
    )
    assert len(shared.read_bytes()) == 10_000_000


def test_without_hard_links_inputs_are_not_copied(home, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no such links here")))
    carried = Carried(home, tmp_path / "cache", str(tmp_path / "never"))
    carried.errand.send()
    job = job_of(home, str(tmp_path / "never"))
    carried.node.begin(dict(job.inputs), "stage", job.argv, {"OMP_NUM_THREADS": "1"})
    assert (carried.node._root / "data/in.bin").is_symlink()
    monkeypatch.setattr(node_module, "AT_HAND_S", -1.0)
    carried.node.make_room(1 << 62, [])
    assert (carried.node._root / "data/in.bin").stat().st_size == 10_000_000, "it is in use"
    carried.node.close()
    assert carried.node.make_room(1 << 62, []) > 0
    assert not [path for path in (tmp_path / "cache/files").rglob("*") if path.is_file()]


def test_a_full_node_deletes_the_oldest_inputs_that_nothing_uses_and_no_others(home, tmp_path, monkeypatch):
    node = Node(str(tmp_path / "cache"))
    ages = {b"oldest": 40_000, b"old": 30_000, b"wanted": 20_000, b"linked": 10_000, b"lately": 60}  # seconds
    digests = [hashlib.md5(content).hexdigest() for content in ages]
    for digest, (content, age) in zip(digests, ages.items(), strict=True):
        node.put(digest, 0, content, True)
        os.utime(node._blob(digest), (time.time() - age, time.time() - age))
    os.link(node._blob(digests[3]), tmp_path / "in use")
    free = iter([0, 10, 10])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=next(free)))
    assert node.make_room(10, [digests[2]]) == 10
    assert [node._blob(digest).exists() for digest in digests] == [False, True, True, True, True], "as far as it takes"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=0))
    assert node.make_room(10, [digests[2]]) == 0
    assert [node._blob(digest).exists() for digest in digests] == [False, False, True, True, True]
    node.close()


def test_a_node_without_room_says_how_much_is_needed_before_anything_is_sent(home, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=9_999_999))
    carried = Carried(home, tmp_path / "cache")
    with pytest.raises(LostError, match=r"the inputs take 10,000,\d+ bytes more in its cache, and 9,999,999 are free"):
        carried.run()
    assert not sum(carried.traffic.sent.values())
