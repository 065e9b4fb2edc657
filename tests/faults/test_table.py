"""README.md beside this file: a row for each bad input, whose test exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

TABLE = Path(__file__).with_name("README.md")
LEAST = 80


@pytest.fixture(scope="module")
def rows():
    """(input, expected behaviour, test) of each row."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ") and "`tests/" in line]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_table_is_long_and_no_row_stands_twice(rows):
    assert len(rows) >= LEAST
    assert all(len(row) == 3 and all(row) for row in rows)
    assert len({row[2] for row in rows}) == len(rows)


def test_every_test_in_the_table_exists(rows):
    named = [row[2].strip("`").replace("\\|", "|") for row in rows]
    files = sorted({name.partition("::")[0] for name in named})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    missing = sorted(set(named) - set(done.stdout.splitlines()))
    assert not missing
