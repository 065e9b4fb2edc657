"""What the screen shows of a stage: one line when it has ended, its warnings, its error."""

from collections.abc import Sequence

ERROR = "error: "  # as `console.run` begins the message of what the user can settle
NUM_TAIL = 12  # lines: a traceback's end


def stage_line(stage: str, seconds: float, said: str = "") -> str:
    """The line of a stage; said: the last line that it wrote."""
    return f"{stage:<10}{seconds:8.1f} s  {said}".rstrip()


def is_warning(line: str) -> bool:
    """Whether a line of a stage is for the user to see at once."""
    return line.startswith("warning: ")


def error_of(lines: Sequence[str]) -> list[str]:
    """The message of a stage that failed, or where it gave none the end of what it wrote."""
    starts = [at for at, line in enumerate(lines) if line.startswith(ERROR)]
    return list(lines[starts[-1] :] if starts else lines[-NUM_TAIL:])
