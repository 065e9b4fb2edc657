"""Problems in what the organiser gave, collected so that the user sees all of them at once."""

import re
from collections.abc import Iterable, Sequence

NUM_SHOWN = 3
# what YAML 1.1 or 1.2 reads as something else than text
NO_TEXT = ("yes", "no", "on", "off", "true", "false", "null", "none", "y", "n", "nan")


def setting_line(key: str, value: str, comment: str = "") -> str:
    """The line of params.yaml, section `competition`, that gives `key` this text."""
    return f"{key}: {written(value)}" + (f"    # {comment}" if comment else "")


def written(value: str) -> str:
    """The text as YAML has it, in quotes where it needs them."""
    is_plain = re.fullmatch(r"[A-Za-z](?:[\w ./-]*[\w.])?", value) is not None and value.lower() not in NO_TEXT
    return value if is_plain or value == "none" else "'" + value.replace("'", "''") + "'"


def question(what: str, choices: Iterable[str]) -> ValueError:
    """An error that asks; choices: lines for section `competition` of params.yaml, one of which settles it."""
    return ValueError("\n".join([what, *(f"    competition.{choice}" for choice in choices)]))


class Problems:
    """Offenders by kind of problem; `stop` raises once, with counts and the first three of each."""

    def __init__(self) -> None:
        self._offenders: dict[str, list[str]] = {}
        self._remedies: dict[str, str] = {}

    def add(self, kind: str, offender: str, remedy: str) -> None:
        """Note one more `offender` of this `kind`; the kind's first remedy is the one shown."""
        self._offenders.setdefault(kind, []).append(offender)
        self._remedies.setdefault(kind, remedy)

    def counts(self) -> dict[str, int]:
        """How many offenders each kind has."""
        return {kind: len(offenders) for kind, offenders in self._offenders.items()}

    def stop(self, source: str, allow: Sequence[str] = ()) -> None:
        """Raise ValueError if there is any problem of a kind that is not in `allow`."""
        lines = self.lines(allow)
        if lines:
            number = sum(len(offenders) for kind, offenders in self._offenders.items() if kind not in allow)
            raise ValueError("\n".join([f"{source}: {number} problems", *lines]))

    def lines(self, allow: Sequence[str] = ()) -> list[str]:
        """For each kind that is not in `allow`: a line of count and first three, and those of the remedy."""
        lines = []
        for kind in [kind for kind in self._offenders if kind not in allow]:
            offenders = self._offenders[kind]
            more = ", …" if len(offenders) > NUM_SHOWN else ""
            lines.append(f"  {kind}: {len(offenders)} ({', '.join(offenders[:NUM_SHOWN])}{more})")
            lines += [f"    {line}" for line in self._remedies[kind].split("\n")]
        return lines
