"""Problems in what the organiser gave, collected so that the user sees all of them at once."""

from collections.abc import Sequence

NUM_SHOWN = 3


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
        """Two lines for each kind that is not in `allow`: count and first three, and the remedy."""
        lines = []
        for kind in [kind for kind in self._offenders if kind not in allow]:
            offenders = self._offenders[kind]
            more = ", …" if len(offenders) > NUM_SHOWN else ""
            lines.append(f"  {kind}: {len(offenders)} ({', '.join(offenders[:NUM_SHOWN])}{more})")
            lines.append(f"    {self._remedies[kind]}")
        return lines
