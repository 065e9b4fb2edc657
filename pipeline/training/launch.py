"""Starts the processes that train one fold together, and sees to it that all of them end; torch is not needed for it.

As torchrun does on one machine: a process of the stage's own command for each rank, all of them anew from the last
saved state where one died, each time with a fresh store to meet at (pytorch issue 135712). It is not torchrun itself,
whose workers outlive a killed agent, and which repeats what a user has to mend.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base import console

RANK, RENDEZVOUS, LAUNCHER = "FOLDBOARD_RANK", "FOLDBOARD_RANKS_MEET", "FOLDBOARD_RANKS_LAUNCHER"
LOST_PEER = 75  # exit code of a rank that another one left alone: EX_TEMPFAIL of sysexits.h
MOST_RESTARTS = 3
POLL_S = 0.05
GRACE_S = 5.0  # for ranks to end in by themselves once one has, or after an interrupt


class PeerLostError(RuntimeError):
    """Another rank does not answer; who started them all sees to it."""


@contextlib.contextmanager
def among_peers() -> Iterator[None]:
    """Around what ranks do together: torch's many errors become PeerLostError."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLostError(str(error).splitlines()[0]) from error


def is_rank() -> bool:
    """Whether this process is one of those that `run_ranks` started."""
    return RANK in os.environ


def end_with_launcher() -> None:
    """From now on, end when who started this rank is gone: it would write beside the next run."""
    threading.Thread(target=_end_after, args=(int(os.environ[LAUNCHER]),), daemon=True).start()


def _end_after(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(console.PARENT_POLL_S)
    console.end_orphan()


def run_ranks(module: str, argv: Sequence[str], number: int, *, title: str, threads: int) -> None:
    """Run `python -m module argv` as `number` ranks until all have ended well; threads: of all of them together.

    Where one was killed or lost, all start again, MOST_RESTARTS times. Rank 0 speaks for all. Raises ValueError where
    they die again and again, SystemExit with the code of a rank that said itself what is wrong.
    """
    for restart in range(1 + MOST_RESTARTS):
        with tempfile.TemporaryDirectory(prefix="ranks") as folder:
            died = _run([sys.executable, "-m", module, *argv], number, Path(folder), max(1, threads // number))
        if not died:
            return
        if restart < MOST_RESTARTS:
            console.say(
                f"{title}: {died}; all {number} start again from the last saved state "
                f"(restart {restart + 1} of {MOST_RESTARTS})"
            )
    raise ValueError(
        f"{title}: {died}, the last of {1 + MOST_RESTARTS} times; saved states are kept, and the next run goes on from "
        "the last one. If memory ran out, lower train.batch_size or compute.ranks"
    )


@dataclass(frozen=True)
class _Rank:
    process: subprocess.Popen[bytes]
    errors: Path | None  # what it wrote to stderr; None: that is our own


def _run(command: Sequence[str], number: int, folder: Path, threads: int) -> str:
    """Once; what died, or "" where all ended well."""
    ranks: list[_Rank] = []
    try:
        for rank in range(number):
            ranks.append(_start(command, rank, folder, threads))
        codes = _wait(ranks)
    except BaseException:
        _interrupt(ranks)
        raise
    finally:
        for started in ranks:
            started.process.kill()
            started.process.wait()
    return _judged(ranks, codes, folder)


def _start(command: Sequence[str], rank: int, folder: Path, threads: int) -> _Rank:
    environment = os.environ | {
        RANK: str(rank), RENDEZVOUS: str(folder / "store"), LAUNCHER: str(os.getpid()), "OMP_NUM_THREADS": str(threads),
    }  # fmt: skip
    if sys.platform == "linux":
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nobody outside has to hear them
    if rank == 0:
        return _Rank(_process(command, environment, None, None), None)
    errors = folder / f"errors.{rank}"
    with errors.open("wb") as handle:
        return _Rank(_process(command, environment, subprocess.DEVNULL, handle.fileno()), errors)


def _process(
    command: Sequence[str], environment: dict[str, str], out: int | None, errors: int | None
) -> subprocess.Popen[bytes]:
    """In a group of its own: a terminal's Ctrl-C goes to us, who pass it on once."""
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, process_group=0
    )


def _wait(ranks: Sequence[_Rank]) -> list[int | None]:
    """Exit codes once all have ended, or one has badly and others had time to follow: None of those that did not."""
    deadline = float("inf")
    while True:
        codes = [rank.process.poll() for rank in ranks]
        if None not in codes or time.monotonic() > deadline:
            return codes
        if deadline == float("inf") and any(codes):
            deadline = time.monotonic() + GRACE_S
        time.sleep(POLL_S)


def _interrupt(ranks: Sequence[_Rank]) -> None:
    """As Ctrl-C does, so that half-written files are removed; who does not end within GRACE_S is killed."""
    for rank in ranks:
        if rank.process.poll() is None:
            rank.process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE_S
    while any(rank.process.poll() is None for rank in ranks) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _judged(ranks: Sequence[_Rank], codes: Sequence[int | None], folder: Path) -> str:
    """What died, in words. What a rank said itself, or had no words for, ends this process by its code."""
    if not any(code != 0 for code in codes):
        return ""
    if console.INTERRUPTED in codes:
        raise KeyboardInterrupt
    said = {code: rank for rank, code in reversed([*enumerate(codes)]) if code and code > 0 and code != LOST_PEER}
    if said:
        code = console.USER_ERROR if console.USER_ERROR in said else min(said)
        errors = ranks[said[code]].errors
        if errors is not None:
            sys.stderr.write(errors.read_text(encoding="utf-8", errors="replace"))
        raise SystemExit(code)
    for rank, signalled in enumerate(codes):
        if signalled and signalled < 0:
            return f"rank {rank} of {len(codes)} was ended by signal {-signalled}"
    lost = next(rank for rank, code in enumerate(codes) if code != 0)
    reasons = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("store.*"))]
    return f"rank {lost} of {len(codes)} lost the others ({reasons[0] if reasons else 'no answer'})"
