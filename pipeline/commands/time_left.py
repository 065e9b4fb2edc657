"""How long the folds that are not done will still train, from the epochs that have ended.

Every fold is taken to go on as fast as it went, and one that has not begun to take as long as those that have. What
comes after training (inference) is left out, and so is what other work on the machine will take.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

EPOCH = re.compile(r"fold \S+(?: network (\d+)/(\d+))? epoch (\d+): ")  # as train says that one has ended
RESUMED = re.compile(r"fold \S+(?: network (\d+)/(\d+))?: resumed at step ([\d,]+) of ([\d,]+)")


@dataclass
class Progress:
    """How far a fold has come; shares are of its epochs, 0 to 1."""

    epochs: int  # of all its networks
    began: float  # seconds of a clock
    first: float = 0.0  # share that was done when it began: an earlier run's
    share: float = 0.0
    at: float = 0.0  # when that share was reached

    def read(self, line: str, now: float) -> None:
        """Take in a line that the fold has written."""
        if found := RESUMED.match(line):
            number, networks, step, steps = (int((text or "1").replace(",", "")) for text in found.groups())
            self.first = self.share = (number - 1 + step / steps) / networks
        elif found := EPOCH.match(line):
            number, networks, epoch = (int(text or "1") for text in found.groups())
            self.share, self.at = (number - 1) / networks + epoch / self.epochs, now

    @property
    def pace(self) -> float | None:
        """Seconds for all its epochs; None before one has ended."""
        return (self.at - self.began) / (self.share - self.first) if self.at and self.share > self.first else None


class TimeLeft:
    """The estimate for folds that run side by side; epochs: fold -> how many it trains for, 0 for one
    that only infers."""

    def __init__(self, epochs: Mapping[str, int]) -> None:
        self._epochs = epochs
        self._begun: dict[str, Progress] = {}
        self._done: set[str] = set()

    def begin(self, fold: str, now: float) -> None:
        """Its training begins; of one that only infers nothing is expected."""
        if self._epochs[fold]:
            self._begun[fold] = Progress(self._epochs[fold], now)

    def read(self, fold: str, line: str, now: float) -> None:
        """A line that it has written."""
        if fold in self._begun:
            self._begun[fold].read(line, now)

    def end(self, fold: str) -> None:
        """It is done, or has failed."""
        self._done.add(fold)

    def seconds(self, now: float) -> float | None:
        """Until the last fold has trained; None before any epoch has ended.

        The longest of the folds at work, or the work that is left shared by as many as are at work, whichever is more.
        """
        paces = [progress.pace / progress.epochs for progress in self._begun.values() if progress.pace is not None]
        if not paces:
            return None
        epoch = sum(paces) / len(paces)
        at_work = {fold: progress for fold, progress in self._begun.items() if fold not in self._done}
        left = {}
        for fold, progress in at_work.items():
            pace, since = progress.pace, progress.at if progress.pace is not None else progress.began
            whole = epoch * progress.epochs if pace is None else pace
            left[fold] = max(0.0, whole * (1 - progress.share) - (now - since))
        waiting = [epoch * epochs for fold, epochs in self._epochs.items() if fold not in {*at_work, *self._done}]
        return max([0.0, *left.values(), (sum(left.values()) + sum(waiting)) / max(1, len(at_work))])

    def said(self, now: float, *, growing: bool = False, deadline: float | None = None) -> str:
        """For people: `about 12 min left, until 14:32`, "" where nothing trains; growing: later epochs take longer.

        deadline: when, by the clock of `now`, the budget will be used up; None: there is none.
        """
        if not any(self._epochs.values()):
            return ""
        left = self.seconds(now)
        if left is None:
            return "no epoch has ended yet"
        if left < 1:
            return "training is all but over"
        how = "at least" if growing else "about"
        until = time.strftime("%H:%M", time.localtime(time.time() + left))
        found = f"{how} {spell(left)} left" + (f", until {until}" if left >= 90 else "")
        return found if deadline is None else f"{found}, {against(now + left, deadline)} the budget"


def against(ends: float, deadline: float) -> str:
    """`12 min within`, or `3 min over`, of seconds on one clock."""
    return f"{spell(abs(deadline - ends))} {'over' if ends > deadline else 'within'}"


def spell(seconds: float) -> str:
    """In minutes from 90 s up."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
