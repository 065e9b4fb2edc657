"""Whether images look the same when they are turned over, by quarters or mirrored: whether they have a top, and sides.

Pictures from above and through a microscope have no top: turned and mirrored they are as good to train on. A classifier
is asked which of two is the image and which the same one turned; where held-out images are told apart no better than by
a coin, images like them come every way up.
"""

import math
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import KFold
from sklearn.svm import SVC

CELLS = 8  # along a side, over which colours and steps between neighbouring pixels are summed
NUM_PARTS = 5  # of which each is held out in turn
# standard errors above one half, beyond which images count as told apart by the better of two classifiers
SURE = 3.0
# share of images told from their mirror images from which on mirroring costs accuracy: of pictures of hands 0.98, where
# it costs 0.010; of the same with one in twenty mirrored 0.93, where it gains 0.015 (docs/recipes.md, "Which way up")
ONE_HANDED = 0.95


@dataclass(frozen=True)
class Symmetry:
    """Share of images that were told from themselves so changed: 0.5 by chance."""

    num_images: int
    upside_down: float
    turned: float  # rows become columns: a quarter turn and a mirror
    mirrored: float  # left-right

    @property
    def any_way_up(self) -> bool:
        """Whether images are not told from those upside down, turned by a quarter or mirrored."""
        return max(self.upside_down, self.turned, self.mirrored) <= 0.5 + SURE * math.sqrt(0.25 / self.num_images)

    @property
    def one_handed(self) -> bool:
        """Whether hardly one image is like a mirror image of the others."""
        return self.mirrored >= ONE_HANDED


def symmetry_of(images: np.ndarray, labels: np.ndarray) -> Symmetry:
    """images (N, S, S, 3) uint8, labels (N, C) of 0 and 1 -> how well they are told from what they are when turned.

    Of fewer than 200 or so chance alone may hide a top. 3 s for 400 images on one core.
    """
    changed = (images[:, ::-1], images.transpose(0, 2, 1, 3), images[:, :, ::-1])
    seen = features(images)
    return Symmetry(len(images), *(_told_apart(seen, features(other), labels) for other in changed))


def features(images: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) uint8 -> (N, F) float32: by cells, colours, and steps down and across, signed and not."""
    pixels = images.astype(np.float32) / 255
    grey = pixels.mean(axis=3)
    down, across = (np.diff(grey, axis=axis, append=np.take(grey, [-1], axis=axis)) for axis in (1, 2))
    planes = np.stack([*np.moveaxis(pixels, 3, 0), down, across, np.abs(down), np.abs(across)], axis=1)
    edges = np.linspace(0, images.shape[1], min(CELLS, images.shape[1]) + 1).astype(int)[:-1]
    cells = np.add.reduceat(np.add.reduceat(planes, edges, axis=2), edges, axis=3)
    return cells.reshape(len(images), -1)


def _told_apart(seen: np.ndarray, changed: np.ndarray, labels: np.ndarray) -> float:
    """Share of images that a classifier trained on others takes for the one of the pair (N, F), (N, F) that they are.

    The better of two: of all classes alike, and of each with little regard to others, since what is up in one may be
    down in another (arrows), which together are told apart by nothing.
    """
    pairs = np.stack([seen, changed])
    pairs = (pairs - pairs.mean(axis=(0, 1))) / np.maximum(pairs.std(axis=(0, 1)), 1e-6)
    # images of two classes are as far apart again as any two images are
    classes = np.broadcast_to(math.sqrt(seen.shape[1]) * labels, (2, *labels.shape))
    return max(_share_right(pairs), _share_right(np.concatenate([pairs, classes], axis=2)))


def _share_right(pairs: np.ndarray) -> float:
    """Of held-out pairs (2, N, F), in which the first is the image as it is."""
    right = 0
    for own, held in KFold(NUM_PARTS, shuffle=True, random_state=0).split(pairs[0]):
        judge = SVC().fit(np.concatenate(pairs[:, own]), np.repeat([1, 0], len(own)))
        first, second = map(judge.decision_function, pairs[:, held])
        right += int((first > second).sum())
    return right / pairs.shape[1]
