"""A lease is one process's until that ends, however it does."""

import contextlib
import re
import subprocess
import sys

import pytest

from pipeline.commands.fold_engine import Where
from pipeline.commands.folds import _leased
from pipeline.engines.leases import CPU_SLOTS, FOLDER, Leases, cpu_slots
from pipeline.engines.local import LocalEngine

HOLD = """
import sys, time
from pathlib import Path
from pipeline.engines.leases import Leases
lease = Leases(["0", "1"], Path(sys.argv[1])).take("0")
print("none" if lease is None else "held", flush=True)
time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process, which has the lease of device 0."""
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    yield other
    other.kill()
    other.wait()


def test_a_device_is_one_process_s_and_free_when_that_is_killed(holder, tmp_path):
    leases = Leases(["0", "1"], tmp_path)
    assert leases.take("0") is None
    ours = leases.take_any()
    assert ours.name == "1"
    assert leases.take("1") is None, "this process's other parts too"
    ours.release()
    assert leases.take("1") is not None
    holder.kill()
    holder.wait()
    assert leases.take("0").name == "0"


def test_who_finds_no_device_waits_and_says_for_whom(holder, tmp_path):
    said = []

    def say(line):
        said.append(line)
        holder.kill()

    found = Leases(["0"], tmp_path).take_free(say)
    assert [lease.name for lease in found] == ["0"]
    assert len(said) == 1
    assert re.fullmatch(rf"waiting for a device: 0 is used by process {holder.pid} in .+", said[0])


def test_folds_take_the_devices_that_nobody_else_uses(holder, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,GPU-7")
    with contextlib.ExitStack() as held:
        assert _leased(lambda: [5, 3, 2], "auto", 1, held) == ([3, 2], ["1", "GPU-7"])
        assert Leases(["1"]).take_any() is None
    Leases(["1"]).take_any().release()  # it was given back
    with contextlib.ExitStack() as held:
        assert _leased(lambda: [5, 3, 2], "auto", 2, held) == ([3, 2], ["1,GPU-7"]), "a fold of two ranks has both"
    with contextlib.ExitStack() as held:
        assert _leased(lambda: [4], "cuda:1", 1, held) == ([4], []), "one that is named needs no choice"
        assert _leased(list, "cpu", 2, held) == ([], [])


def test_a_fold_of_several_ranks_waits_for_as_many_devices_and_holds_none_meanwhile(holder, tmp_path):
    free = []

    def say(line):
        free.append(Leases(["1"], tmp_path).take("1"))
        assert re.fullmatch(rf"waiting for 2 devices: 0 is used by process {holder.pid} in .+", line)
        free[0].release()
        holder.kill()

    found = Leases(["0", "1"], tmp_path).take_free(say, at_least=2)
    assert [lease.name for lease in found] == ["0", "1"]
    assert free[0]


def test_the_number_of_slots_is_a_number(monkeypatch):
    monkeypatch.setenv(CPU_SLOTS, "two")
    with pytest.raises(ValueError, match=r"FOLDBOARD_CPU_SLOTS is 'two'; it must be a number from 1 up"):
        cpu_slots()


def test_a_fold_waits_for_a_slot_of_the_cores_and_gives_it_back(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv(CPU_SLOTS, "2")
    one, other = LocalEngine(None, cpu_slots()), LocalEngine(None, cpu_slots())  # of two checkouts
    places = [one.admit(0), other.admit(0)]
    assert all(places)
    assert one.admit(1) is None
    assert other.admit(1) is None
    places[0].release()
    assert other.admit(1) is not None
    monkeypatch.delenv(CPU_SLOTS)
    assert cpu_slots() is None


def test_a_fold_of_several_ranks_is_not_sent_away_with_fewer_gpus(tmp_path):
    with pytest.raises(ValueError, match=r"1 GPUs are too few for a fold of 2 ranks \(compute.ranks\): give --gpus 2"):
        Where("folder", str(tmp_path), gpus=1).connect(threads=1, ranks=2, logs=tmp_path, say=print)
