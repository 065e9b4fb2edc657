"""A sample of tests/faults/kill.py."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow


def test_killed_stages_and_commands_run_again_end_with_the_same_bytes():
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.faults.kill",
            *["--times", "12", "--folds-times", "2", "--dvc-times", "2", "--checkouts", "1", "--seed", "1"],
            *["--minutes", "600"],  # other work may run beside
        ],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kills = re.findall(r"(stages|folds|dvc): (\d+) kills, every hand-over file", done.stdout)
    assert [name for name, _ in kills] == ["stages", "folds", "dvc", "stages", "stages"]
    assert all(int(count) >= (4 if name == "stages" else 2) for name, count in kills), kills
