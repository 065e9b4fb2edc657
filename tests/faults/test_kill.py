"""A sample of tests/faults/kill.py."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow


def test_killed_stages_run_again_end_with_the_same_bytes():
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.kill", "--times", "20", "--seed", "1"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        done.stdout.count("10 kills, every hand-over file") + done.stdout.count("11 kills, every hand-over file") == 2
    )
