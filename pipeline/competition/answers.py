"""What a submission says, whatever its format: one record that the writer fills and the metrics score."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers for N images, in their order; exactly one of the three is there."""

    labels: list[str] | None = None  # one label an image
    scores: np.ndarray | None = None  # (N, C) float64, a column for each class
    lists: list[list[str]] | None = None  # labels of an image; best first where the format is `ranked`
