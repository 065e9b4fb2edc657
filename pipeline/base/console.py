"""How a command speaks and ends: plain lines, progress; one clear message and exit code 2 for what a user can mend."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

USER_ERROR = 2
INTERRUPTED = 130
PARENT_POLL_S = 0.1
STAGE_COMMAND = b"pipeline.stages."
ORPHAN_GRACE_S = 1.0  # for an orphan to remove its half-written files in
SAY_EVERY_S = 60.0  # how far long work is, where there is no terminal for a bar
PROGRESS = "progress: "  # of such a line
KNOWN = PROGRESS + "{desc}: {n_fmt} of {total_fmt}{unit}, {elapsed} so far, {remaining} left"
UNKNOWN = PROGRESS + "{desc}: {n_fmt}{unit}, {elapsed} so far"  # how many there will be


def say(line: str) -> None:
    """One line to stdout, at once."""
    print(line, flush=True)


class _Lines:
    """What tqdm writes over and over into one line of a terminal, as lines of its own."""

    def write(self, text: str) -> None:
        """tqdm clears a line by blanks: these are no line."""
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        """At once."""
        sys.stderr.flush()


def progress_bar(
    desc: str, *, total: int | None = None, leave: bool = True, disable: bool = False, **options: Any
) -> "tqdm":
    """tqdm's bar, or what takes its place; options: as tqdm takes them.

    leave: whether a terminal keeps the bar at its end. Work of less than a minute says nothing where there is none.
    """
    from tqdm import tqdm

    if disable or sys.stderr.isatty():
        return tqdm(desc=desc, total=total, leave=leave, disable=disable, **options)
    return tqdm(
        desc=desc, total=total, leave=False, file=_Lines(), mininterval=SAY_EVERY_S, maxinterval=2 * SAY_EVERY_S,
        delay=SAY_EVERY_S, bar_format=UNKNOWN if total is None else KNOWN, **options,
    )  # fmt: skip


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_environment(**more: str) -> dict[str, str]:
    """This process's, with `more`; the `python` that a command finds there is this one."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return os.environ | {"PATH": path} | more


def run(main: Callable[[Sequence[str] | None], None]) -> None:
    """Call `main(None)`. ValueError and OSError are the user's world: their message, and exit code 2.

    So is a package that is not there. A KeyboardInterrupt may say how things stand. Anything else is a bug of ours and
    keeps its traceback.
    """
    try:
        main(None)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package == __name__.partition(".")[0]:
            raise
        told = f"{sys.executable} has no package {package}; type `source .venv/bin/activate` where the Makefile is "
        told += "(after `make setup`, which makes it), or use a Python in which requirements.txt is installed"
        print(f"error: {told}", file=sys.stderr, flush=True)
        raise SystemExit(USER_ERROR) from None
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(USER_ERROR) from None
    except KeyboardInterrupt as interrupt:
        state = str(interrupt) or "nothing half-written was left behind"
        print(f"interrupted: {state}", file=sys.stderr, flush=True)
        raise SystemExit(INTERRUPTED) from None


def end_with_parent() -> None:
    """From now on, end as by Ctrl-C when the process that started this one is gone.

    DVC may be killed alone, and a stage that went on would write beside the next run. Between DVC and a stage may stand
    a shell, which outlives DVC (dash, fish; bash and zsh replace themselves by the command): on Linux the process
    above it is watched then.
    """
    threading.Thread(target=_end_after, args=(_starters(),), daemon=True).start()


def _end_after(starters: list[int]) -> None:
    while _starters()[: len(starters)] == starters:
        time.sleep(PARENT_POLL_S)
    end_orphan()


def _starters() -> list[int]:
    """The process above this one, and the one above that where the first is a shell that runs a stage's command."""
    parent = os.getppid()
    try:
        is_shell = STAGE_COMMAND in Path(f"/proc/{parent}/cmdline").read_bytes()
        stat = Path(f"/proc/{parent}/stat").read_text()
    except OSError:  # no such process any more, or not Linux
        return [parent]
    above = int(stat.rpartition(")")[2].split()[1])  # proc(5): pid (name) state ppid
    return [parent, above] if is_shell else [parent]


def end_orphan() -> None:
    """End this process; the main thread may remove its half-written files first. Call it in another thread."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(ORPHAN_GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)  # SIGINT may be ignored, or wait for a long call to return
