"""Two commands in one checkout: one waits or says that the other is at work, and nothing is corrupted."""

import re
import time

import pytest

from pipeline.training.resume import SUFFIX
from tests.faults.commands import FOLDS, REPRO, Checkout

pytestmark = pytest.mark.slow

BUSY = r"Unable to acquire lock|is busy, it is being blocked by"  # DVC's words; `folds` puts its own before them


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("two_at_once"), {"train": {"epochs": 40}}, timed=False)


def wait_for_training(checkout, run):
    """Until a state of a fold is saved."""
    deadline = time.monotonic() + 60
    while not list((checkout.root / "data/scratch").glob(f"*{SUFFIX}")):
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("first", [FOLDS, REPRO], ids=["folds", "repro"])
@pytest.mark.parametrize("second", [FOLDS, REPRO], ids=["folds", "repro"])
def test_one_waits_or_says_so(checkout, first, second):
    checkout.make_stale(["train@0", "train@1"])
    runs = [checkout.start(first)]
    wait_for_training(checkout, runs[0])
    runs.append(checkout.start(second))
    outputs = [run.communicate()[0] for run in runs]
    refused = [(run.args, output) for run, output in zip(runs, outputs, strict=True) if run.returncode]
    assert len(refused) < 2, outputs
    for command, output in refused:
        assert "Traceback" not in output
        assert re.search(BUSY, output), output
        assert command == REPRO or output.count("error: another DVC command is at work in this project; wait") == 1
    assert checkout.finish([REPRO]) == 0
    checkout.compare()
