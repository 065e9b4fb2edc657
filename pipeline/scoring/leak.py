"""Whether a member's out-of-fold predictions come from models that had seen those images.

A model is surer of images that it learnt from than of new ones. The doubt of one model about one image (1 - its
largest probability) is compared between the images that it held out and the test images, which nobody learnt from:
always single models, as the mean over folds is less sure than each of them. Test images may be harder, for all; so the
member is compared with this run, whose folds `train` has checked, on the very same images. Three things must come
together, as each alone also happens to honest members: the member's surety beside this run falls from held-out to test
images beyond noise; its doubt grows by a higher ratio than this run's (where images are harder, a weak member's grows
more, but not by a higher ratio); and a third or more of what it was surer by is gone (a strong member keeps most).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.scoring.fold_predictions import read_predictions

MARGIN = 4.0  # standard errors; honest members exceed it 3 times in 100,000 where test images are like the others
RATIO = 1.5  # of the growth of the member's doubt to that of this run's
KEPT = 2 / 3  # of what it is surer by out of fold, on the test images
LEAST = 1e-6  # doubts below count as this, so that a ratio is finite


@dataclass(frozen=True, kw_only=True)
class Doubts:
    """Mean doubt of this run and of a member about the same images, and of the paired difference its error."""

    own: float
    member: float
    surer: float  # mean of (own - member) by image: above 0, the member is surer
    standard_error: float


def doubt(probs: np.ndarray, *, exclusive: bool) -> np.ndarray:
    """(N,) float64 for probs (N, C): 1 - the largest; of several labels the mean of min(p, 1 - p)."""
    wide = probs.astype(np.float64)
    return np.asarray(1 - wide.max(axis=1) if exclusive else np.minimum(wide, 1 - wide).mean(axis=1))


def mean_doubt(files: Mapping[str, Path], num_classes: int, *, exclusive: bool) -> np.ndarray:
    """(N,) float64: the mean over folds of single models' doubts about the test images, in the files' order."""
    found = [
        doubt(read_predictions(path, num_classes, exclusive=exclusive)[1], exclusive=exclusive)
        for path in files.values()
    ]
    return np.asarray(np.mean(found, axis=0))


def compared(own: np.ndarray, member: np.ndarray) -> Doubts:
    """Both doubts (N,) about the same images, N >= 1."""
    difference = own - member
    error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else 0.0
    return Doubts(
        own=float(own.mean()), member=float(member.mean()), surer=float(difference.mean()), standard_error=error
    )


def leak(name: str, held_out: Doubts, test: Doubts) -> str | None:
    """What speaks for member `name` having seen the images that it should have held out; None where nothing does."""
    excess = held_out.surer - test.surer
    error = float(np.hypot(held_out.standard_error, test.standard_error))
    ratios = [
        max(on_test, LEAST) / max(out_of_fold, LEAST)
        for on_test, out_of_fold in ((test.member, held_out.member), (test.own, held_out.own))
    ]
    keeps_most = held_out.surer > 0 and test.surer >= KEPT * held_out.surer
    if excess <= MARGIN * error or ratios[0] <= RATIO * ratios[1] or keeps_most:
        return None
    return (
        f"member {name} seems to have seen the images that it should have held out: its models' doubt (1 - largest "
        f"probability) is {held_out.member:.4f} about those and {test.member:.4f} about the test images, "
        f"{ratios[0]:.1f} times; that of this run's is {held_out.own:.4f} and {test.own:.4f}, {ratios[1]:.1f} times "
        f"(difference {excess:.4f} ± {error:.4f}); its out-of-fold score, and the blend's, cannot be trusted"
    )
