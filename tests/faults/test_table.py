"""README.md beside this file: a row for each bad input, whose test exists."""

import re
from pathlib import Path

import pytest
from conftest import ROOT

TABLE = Path(__file__).with_name("README.md")
LEAST = 80


class Collected:
    """A plugin of a second pytest within this process, for which most modules are imported already."""

    def pytest_collection_finish(self, session):
        self.names = {item.nodeid for item in session.items}


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
    collected = Collected()
    files = sorted({str(ROOT / name.partition("::")[0]) for name in named})
    options = ["--collect-only", "-o", "addopts=", "-p", "no:terminal", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    assert pytest.main([*options, *files], plugins=[collected]) == pytest.ExitCode.OK
    missing = sorted(set(named) - collected.names)
    assert not missing
