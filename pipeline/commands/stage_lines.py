"""What the screen shows of a stage: one line when it has ended, its warnings, its error."""

import shutil
from collections.abc import Sequence

from tqdm import tqdm

from pipeline.base import console

ERROR = "error: "  # as `console.run` begins the message of what the user can settle
NUM_TAIL = 12  # lines: a traceback's end


def stage_line(stage: str, seconds: float, said: str = "") -> str:
    """The line of a stage; said: the last line that it wrote."""
    return f"{stage:<13}{seconds:7.1f} s  {said}".rstrip()


def is_warning(line: str) -> bool:
    """Whether a line of a stage is for the user to see at once."""
    return line.lower().startswith("warning")


def say_above(bar: tqdm, line: str) -> None:
    """A line that stays, above the bar where there is a terminal to show it."""
    if bar.disable:
        console.say(line)
    else:
        bar.write(line)


def cut_to_terminal(line: str) -> str:
    """As much of `line` as fits into one line of the terminal."""
    return line[: shutil.get_terminal_size().columns - 1]


def error_of(lines: Sequence[str]) -> list[str]:
    """The message of a stage that failed, or where it gave none the end of what it wrote."""
    starts = [at for at, line in enumerate(lines) if line.startswith(ERROR)]
    return list(lines[starts[-1] :] if starts else lines[-NUM_TAIL:])
