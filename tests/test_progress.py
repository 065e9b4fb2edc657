"""Long work shows how far it is: a bar on a terminal, a line a minute elsewhere, nothing for short work."""

import contextlib
import os
import pty
import re
import subprocess
import sys
import termios

import pytest
from conftest import ROOT

WORK = """
import time
from pipeline.base import console
console.SAY_EVERY_S = {every}
with console.progress_bar("decode train", total={total}, unit=" images") as bar:
    for _ in range(20):
        time.sleep(0.02)
        bar.update(50)
"""


def worked(every, total="1000", **options):
    words = [sys.executable, "-c", WORK.format(every=every, total=total)]
    return subprocess.run(words, cwd=ROOT, check=True, text=True, **options)


@pytest.mark.parametrize(
    ("total", "line"),
    [
        ("1000", r"progress: decode train: [\d]+ of 1000 images, [\d:]+ so far, [\d:]+ left"),
        ("None", r"progress: decode train: [\d]+ images, [\d:]+ so far"),
    ],
)
def test_into_a_log_go_lines_of_their_own(total, line):
    found = worked(0.1, total, capture_output=True).stderr.splitlines()
    assert 1 <= len(found) <= 5, "as often as is said, not at each step"
    assert all(re.fullmatch(line, one) for one in found), found


def test_short_work_says_nothing_there():
    assert worked(60, capture_output=True).stderr == ""


def test_on_a_terminal_there_is_a_bar():
    mine, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 100))
    worked(60, stderr=its, stdout=subprocess.DEVNULL)
    os.close(its)
    shown = b""
    with contextlib.suppress(OSError):  # there is no more
        while piece := os.read(mine, 4096):
            shown += piece
    shown = shown.decode()
    assert "100%" in shown and "1000/1000" in shown and "progress:" not in shown
