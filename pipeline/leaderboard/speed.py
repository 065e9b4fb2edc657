"""Whether a notebook will be done in time, by a speed that was measured."""

import re
from dataclasses import dataclass

SAID = re.compile(r"speed +([\d.e+-]+) images/s by (\d+) folds, ([\d.e+-]+) by one, on (.+?) \(measured")


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Images a second, as predict.py said it."""

    by_all: float
    by_one: float
    num_folds: int
    device: str

    @classmethod
    def read(cls, line: str) -> "Speed | None":
        """None where the line does not say it."""
        found = SAID.search(line)
        if found is None:
            return None
        return cls(by_all=float(found[1]), by_one=float(found[3]), num_folds=int(found[2]), device=found[4])


def in_time(speed: Speed, num_images: int, time_limit_s: float, *, scale: float = 1.0) -> str:
    """What so many images take; scale: how many times as fast it is where they are predicted.

    Raises ValueError where most of them would not be predicted at all.
    """
    by_all, by_one = (num_images / (rate * scale) for rate in (speed.by_all, speed.by_one))
    minutes = f"{by_all / 60:,.1f} of the {time_limit_s / 60:,.0f} minutes that --time-limit gives"
    said = f"{num_images:,} images by {speed.num_folds} folds take about {minutes}"
    if by_all <= time_limit_s:
        return said
    if by_one <= time_limit_s:
        return f"warning: {said}: the notebook gives them fewer folds, so that it is done (--gpu is faster)"
    raise ValueError(
        f"{said}, and by one fold {by_one / 60:,.1f}: about {max(1 - time_limit_s / by_one, 0):.0%} of them would only "
        "get the training images' shares; train a smaller network or at a smaller images.side, or run it on a --gpu"
    )
