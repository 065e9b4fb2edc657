"""One stage of a fold as work for whoever runs it, here or elsewhere; and what an engine is."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

SCRATCH = "--scratch"  # the option of stages that save states to resume from


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that decides what the stage does. Paths are from the project's root, as dvc.yaml has them."""

    stage: str  # train@0
    fold: str
    module: str  # of the command `python -m module argv`
    argv: Sequence[str]
    threads: int
    log: str  # its lines are added there
    environment: Mapping[str, str]
    inputs: Mapping[str, str] = field(default_factory=dict)  # file -> md5; empty where the project itself is at hand
    outputs: Sequence[str] = ()
    root: str = ""  # the project's; by default the folder we are in

    @property
    def scratch(self) -> str:
        """The folder of states to resume from; empty where the stage saves none."""
        return self.argv[self.argv.index(SCRATCH) + 1] if SCRATCH in self.argv else ""

    def to_json(self) -> dict[str, Any]:
        """Plain values, for another process."""
        return dataclasses.asdict(self)


class Worker(Protocol):
    """A stage at work."""

    @property
    def exitcode(self) -> int | None:
        """None while it runs; the negative number of the signal that ended it."""

    @property
    def pid(self) -> int | None:
        """The process on this machine that writes the outputs: half-written ones are named by it."""

    @property
    def sentinel(self) -> int:
        """What `multiprocessing.connection.wait` is to wait for; several workers may share one."""

    def interrupt(self) -> None:
        """As Ctrl-C does."""

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, at most `timeout` seconds."""

    def kill(self) -> None:
        """At once."""


class Place(Protocol):
    """Room for one fold."""

    def release(self) -> None:
        """The fold needs it no more."""


class Engine(Protocol):
    """Runs stages of folds."""

    elsewhere: bool  # whether jobs must list their inputs

    def admit(self, running: int) -> Place | None:
        """Room for one fold more beside those `running`, or None for now. Raises GoneError."""

    def start(self, job: Job) -> Worker:
        """The stage, begun."""

    def close(self) -> None:
        """No more jobs will come; whatever is still at work ends."""


class GoneError(ValueError):
    """Nobody is left to run anything."""


class Anywhere:
    """A place that takes no lease."""

    def release(self) -> None:
        """Nothing to give back."""
