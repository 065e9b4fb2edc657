"""Whether any two labels stand together in some image, as those of things in different places do.

Attributes of one thing exclude each other: what is an animal is no vehicle, what is red is not blue. The two kinds ask
for different networks (`model.pooling`).
"""

import numpy as np

from pipeline.base.texts import Texts
from pipeline.competition.schema import Target, target_array

ENOUGH = 20_000  # images looked at
EXPECTED = 5.0  # images that would have both of two labels if these were dealt by chance; fewer, and none says nothing
# share of such pairs that no image has: of mosaics of 2 x 2 pictures 0.0, where `csra` gained; of two sets of
# attributes of one thing 0.64 and 0.58, where it did not (docs/recipes.md). Between these it was not tried
MOST_APART = 0.05


def co_occurring(labels: Texts, target: Target) -> bool:
    """Whether hardly two frequent labels are never together. labels: cells as train.csv has them, several in each."""
    rows = np.linspace(0, len(labels) - 1, min(len(labels), ENOUGH)).round().astype(np.int64)
    present = target_array(labels.take(rows), target)
    sizes = present.sum(axis=0, dtype=np.float64)
    frequent = np.triu(np.outer(sizes, sizes) / max(1, len(present)) >= EXPECTED, k=1)
    together = present.T @ present
    return bool(frequent.any() and (together[frequent] == 0).mean() <= MOST_APART)
