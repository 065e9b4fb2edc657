"""Run `dvc repro` and show one line a stage with its seconds; the commands and the whole output go to a log.

Exit code is that of DVC. Whatever else `dvc repro` can do, it does itself: `dvc repro --help`.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from pipeline.base import console
from pipeline.base.params import check_params
from pipeline.commands import places
from pipeline.commands.own_files import refuse_copies
from pipeline.commands.stage_lines import cut_to_terminal, error_of, is_warning, say_above, stage_line

# DVC, which ends when this process does
DVC = "from pipeline.base import console; console.end_with_parent(); from dvc.cli import main; raise SystemExit(main())"
IN_ORDER = "--single-item"  # of several targets with all that they depend on DVC makes a new order at each call
# what it writes beside the stages' own lines (DVC 3.67.1)
RUNNING = re.compile(r"Running stage '(.+)':$")
CACHED = re.compile(r"Stage '(.+)' is cached - skipping run")
UNCHANGED = re.compile(r"Stage '.+' didn't change, skipping$")
ENDED = re.compile(r"(Generating|Updating) lock file '")
FAILED = "ERROR: "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    parser.add_argument("targets", nargs="*", help="stages, such as train@3; default: all")
    parser.add_argument("-f", "--force", action="store_true", help="run them even if nothing changed")
    parser.add_argument("-s", "--single-item", action="store_true", help="run them without what they depend on")
    places.add_path(parser, "--logs", places.LOGS, "folder for the log")


def run(args: argparse.Namespace) -> None:
    """Run what is stale."""
    make_ready()
    options = [*(["--force"] if args.force else []), *([IN_ORDER] if args.single_item else [])]
    reproduce([*options, *args.targets], args.logs / "repro.log")


def make_ready() -> None:
    """See to what DVC would stumble over. Raises ValueError for wrong parameters and copies of the user's own files."""
    check_params(places.PARAMS)  # DVC takes `true` for 1, and of unquoted fold keys it makes no stage, and says nothing
    refuse_copies()
    places.RUN["members"].mkdir(parents=True, exist_ok=True)  # `rm -rf data` takes it away, and DVC stops without it


def reproduce(words: Sequence[str], log: Path, folder: Path | None = None) -> None:
    """`dvc repro` with these words; its output goes to `log`. SystemExit with DVC's exit code where it fails.

    folder: of another checkout than that we are in.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w", encoding="utf-8") as handle,
        subprocess.Popen(
            [sys.executable, "-c", DVC, "repro", *words],
            cwd=folder,
            env=console.own_environment(PYTHONUNBUFFERED="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as dvc,
        Screen() as screen,
    ):
        assert dvc.stdout
        for line in dvc.stdout:
            handle.write(line)
            handle.flush()
            screen.read(line.rstrip())
    if dvc.returncode:
        where = f"{screen.stage} failed" if screen.stage else "DVC failed"
        print(
            "\n".join([*error_of(screen.lines), f"{where}; all that was run and written is in {log}"]), file=sys.stderr
        )
        raise SystemExit(dvc.returncode)
    screen.finish()
    if screen.num_unchanged:
        console.say(f"{screen.num_unchanged} stages unchanged")


class Screen:
    """Makes DVC's output the screen's lines. On a terminal the stage that runs has a line, too."""

    def __init__(self) -> None:
        self.num_unchanged = 0
        self.stage = ""  # that runs; "" between two
        self.lines: list[str] = []  # its own; between two, DVC's
        self._since = 0.0
        self._bar = tqdm(bar_format="{desc}", disable=None, leave=False)

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def read(self, line: str) -> None:
        """The next line of DVC's output."""
        if self.stage and any(mark.match(line) for mark in (RUNNING, CACHED, UNCHANGED)):
            self._end()  # DVC says nothing of a lock file that did not change
        if running := RUNNING.match(line):
            self.stage, self.lines, self._since = running[1], [], time.monotonic()
        elif cached := CACHED.match(line):
            say_above(self._bar, f"{cached[1]}: was run before, taken from DVC's cache")
        elif UNCHANGED.match(line):
            self.num_unchanged += 1
        elif self.stage and ENDED.match(line):
            self._end()
        elif line.startswith(FAILED) and self.stage:
            pass  # the stage's own lines say why
        elif self.stage and line.startswith(console.PROGRESS):
            self.lines.append(line.removeprefix(console.PROGRESS))
            if self._bar.disable:
                console.say(f"{self.stage}: {self.lines[-1]}")
        elif line and not (self.stage and not self.lines and line.startswith("> ")):  # its command
            self.lines.append(line)
            if is_warning(line):
                say_above(self._bar, f"{self.stage}: {line}")
        if self.stage and not self._bar.disable:
            self._bar.set_description_str(cut_to_terminal(self._stage_line()))

    def _end(self) -> None:
        say_above(self._bar, self._stage_line())
        self.stage, self.lines = "", []

    def finish(self) -> None:
        """At the end of a run that went well."""
        if self.stage:
            self._end()

    def _stage_line(self) -> str:
        said = next((line for line in reversed(self.lines) if not is_warning(line)), "")  # those are shown as they come
        return stage_line(self.stage, time.monotonic() - self._since, said)
