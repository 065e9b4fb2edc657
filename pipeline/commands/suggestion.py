"""A recipe to start from: sections of params.yaml for so many images of such a size, within a time budget.

A first submission in minutes; what is measured is the order of magnitude. Every value can be changed afterwards.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.base.params import ALTERNATING, DIHEDRAL

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
DEFAULT_BUDGET, NIGHT = "10m", "8h"
UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
BUDGET_S = (30.0, 7 * 24 * 3600.0)  # at least and at most
# ms that an image of 32 px takes in training on a core with AMX: for each pair of channels, each channel, and itself;
# with nothing beside it, so that `probe` tries what may fit before what surely does
PAIR_MS, CHANNEL_MS, IMAGE_MS = 2.1e-4, 0.0136, 0.1
CORES = 2
GPU_FACTOR = 60.0  # what one H100 is taken for before the probe
FOLD_S = 6.0  # of a fold: its two processes' start
VIEWS = {"shift": 3, "mirror_shift": 6, "dihedral": 8}  # of an image when predicting
WEIGHTS_VIEWS = 2  # by a network with pretrained weights
SIDES = (128, 96, 64, 48, 32)
ENOUGH_SIDE = 64  # pixels; images are not made smaller for a wider network
# of about the same compute; which is for what, `network_for` says
WIDTHS = {"airbench": (96, 64, 48, 32, 24, 16), "resnet9": (56, 40, 28, 20, 14, 10)}
# from so many on ResNet9. 40,000 of CIFAR-10 in 10 epochs, accuracy against airbench of the same rank of width, label
# smoothing 0.1 against 0.2: width 56 +0.0059 (one seed), 28 +0.0020 ± 0.0010 (two), 14 +0.0026 (one)
MANY_IMAGES = 20_000
MIN_EPOCHS, ENOUGH_EPOCHS, MAX_EPOCHS = 6, 16, 50
ENOUGH_IMAGES, MAX_IMAGES = 300_000, 1_000_000  # seen in all epochs, before the network is made wider, and at most
# networks a fold, where the budget would be left over: three gained as much as three times the epochs or the width's
# square of one (docs/recipes.md)
MAX_NETWORKS = 5
BATCH_SIZES = (512, 256, 128, 64, 32)
ENOUGH_STEPS = 40  # an epoch, for the largest of these batches that leaves so many
# no square is blanked in trainings of up to so many epochs. Accuracy without it (width 16, three seeds): 1,000 images
# of CIFAR-10 in 12 epochs +0.0156 ± 0.0042, 500 in 30 +0.0058 ± 0.0118; 300 of hands in 12 +0.0040 ± 0.0011; 244 of
# insects in 20 -0.0027 ± 0.0076 (docs/recipes.md). Longer ones were not measured, and keep it
UNCUT_EPOCHS = 30
# weight decay of trainings of ENOUGH_EPOCHS or more, which learn small sets by heart. Accuracy against 0.02, three
# seeds: 244 insects in 20 epochs +0.0219 ± 0.0014, 500 images of CIFAR-10 in 30 +0.0136 ± 0.0056; in 12 epochs 300 of
# hands -0.0016 ± 0.0015, 1,000 of CIFAR-10 -0.0007 ± 0.0063. Of several labels 1,200 mosaics in 25 epochs, micro-F1:
# 0.1 +0.0011 ± 0.0050, 0.3 +0.0164 ± 0.0039 (docs/recipes.md)
LONG_DECAY, LONG_DECAY_SEVERAL = 0.1, 0.3
# label smoothing; not where probabilities are scored. Of several labels, micro-F1 against none, three seeds: mosaics
# +0.0053 ± 0.0012, two sets of attributes +0.0118 ± 0.0037 and +0.0030 ± 0.0020 (docs/recipes.md); for F scores alone
SMOOTHING, SMOOTHING_MANY, SMOOTHING_SEVERAL = 0.2, 0.1, 0.1
F_SCORE = re.compile(r"_(f[\d.]+|jaccard)$")
LEARNS_FAST = {"whitening": True, "activation": "silu", "init": "dirac", "norm_scale": "fixed"}
STEPS = {
    "optimizer": "muon", "peak_lr": 0.05, "momentum": 0.6, "weight_decay": 0.02, "warmup": 0.2, "layer_decay": 1.0,
    "freeze_norms": False,
}  # fmt: skip
# with pretrained weights; of WEIGHTS_MS as above, for EfficientNet-Lite0 and networks of its size
WEIGHTS_MS = 2.5
WEIGHTS_SIDE = 224  # where nothing says what they were trained with
WEIGHTS_SIDES = (384, 336, 288, 256, 224, 192, 160, 128, 96)
LEAST_SIDE = 128  # for fewer epochs on larger images: below, features of networks made for 224 px suffer
TUNED_EPOCHS = (4, 10)  # at least, else the network stays as it is and a linear classifier is fitted; and at most
# with fewer steps the network stays as it is too. Out of fold: 24 steps on pictures of insects 0.9467, frozen 0.9631;
# 165 steps on those of hands 0.9740, frozen 0.8978 (docs/weights.md). Between the two it was not tried
TUNED_STEPS = 100
TUNING = {
    "optimizer": "adamw", "peak_lr": 0.0005, "momentum": 0.9, "weight_decay": 0.05, "warmup": 0.2, "layer_decay": 0.8,
    "freeze_norms": True,
}  # fmt: skip
OWN_LAYERS_OFF = {
    "whitening": False,
    "activation": "relu",
    "init": "default",
    "norm_scale": "trained",
    "pooling": "max",
}
# images of the largest class for one of the smallest, from which on rare classes are drawn more often where the metric
# asks for every class alike. Digits with 10 and 50 to 1, macro F1: 0.652, 0.450 as they are; 0.975, 0.933 drawn alike;
# 0.971, 0.677 with weights `sqrt`. Below 10, and for other metrics and targets, nothing is suggested: not measured, or
# measured in too short a training to tell (docs/recipes.md)
MIN_IMBALANCE = 10.0
# how they begin: of any beta
EACH_CLASS_METRICS = ("macro_f", "macro_jaccard", "macro_recall", "balanced_accuracy", "geometric_mean")
OF_PROBABILITIES = ("log_loss", "brier_score")
# what params.yaml ships with, for the demo's 8-pixel digits; to be replaced for any other competition
DEMO_RECIPE: dict[str, dict[str, Any]] = {
    "images": {"side": "auto"},
    "model": {"name": "resnet9", "width": 16},
    "augment": {"crop_padding": 1, "crop_fill": "zeros", "flip": False, "cutout": 0, "policy": "none"},
    "train": {
        "epochs": 8, "batch_size": 64, "optimizer": "sgd", "peak_lr": 0.1, "label_smoothing": 0.1, "tta": "none",
        "valid_every": 4,
    },
}  # fmt: skip


class Speed:
    """Training images of a second, all folds together: as measured, or else by what is known of one machine."""

    def __init__(self, *, gpu: bool, network: str = "airbench") -> None:
        self._factor = GPU_FACTOR if gpu else 1.0
        self._width_times = WIDTHS["airbench"][0] / WIDTHS[network][0]  # that of airbench for this network's
        self._measured: dict[tuple[int, int], float] = {}

    def __call__(self, side: int, width: int) -> float:
        """Of images of `side` pixels, by the network of `width`; 0: by one with pretrained weights."""
        channels = width * self._width_times
        own_ms = PAIR_MS * channels**2 + CHANNEL_MS * channels + IMAGE_MS
        one_ms = (own_ms if width else WEIGHTS_MS) * (side / 32) ** 2
        return self._measured.get((side, width), 1000 * CORES / one_ms * self._factor)

    def measured(self, side: int, width: int) -> bool:
        """Whether this machine's is known."""
        return (side, width) in self._measured

    def learn(self, side: int, width: int, images_per_second: float) -> None:
        """What was measured stands for its own side and width, and in proportion for all others."""
        self._factor *= images_per_second / self(side, width)
        self._measured[(side, width)] = images_per_second


@dataclass(frozen=True)
class Weights:
    """Pretrained weights to begin with."""

    source: str  # as model.weights names them
    architecture: str
    side: int  # pixels of the images they were trained with; 0 = not known


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a recipe depends on."""

    num_train: int  # labelled images
    side: int  # their median shorter side in pixels
    classes: Sequence[str]
    metric: str
    several: bool  # more than one label an image
    num_folds: int
    num_test: int = 0  # images to predict
    imbalance: float = 1.0  # images of the largest class for one of the smallest
    co_occurring: bool = False  # of several labels: any two stand together in some image, as things in places do
    any_way_up: bool = False  # turned by quarters or mirrored, images look like others
    one_handed: bool = False  # mirrored, they look like no others
    gpu: bool = False
    weights: Weights | None = None
    budget_s: float = 600.0  # for all folds together


def budget_seconds(budget: str) -> float:
    """Of `90s`, `10m`, `1.5h` or `overnight`. Raises ValueError for anything else."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh])", NIGHT if budget == "overnight" else budget)
    seconds = float(found[1]) * UNIT_S[found[2]] if found else 0.0
    if not BUDGET_S[0] <= seconds <= BUDGET_S[1]:
        raise ValueError(
            f"a budget is a time from 30s to 168h, such as 10m, 1.5h or overnight ({NIGHT}); not {budget!r}"
        )
    return seconds


def network_for(facts: Facts) -> str:
    """Of ours, the one to train from scratch: ResNet9 of several labels, and of many images (docs/recipes.md)."""
    return "resnet9" if facts.several or facts.num_train >= MANY_IMAGES else "airbench"


def suggested_recipe(facts: Facts, speed: Speed) -> tuple[dict[str, dict[str, Any]], float]:
    """(section -> key -> value for params.yaml, estimated seconds for all folds, predicting included)."""
    if facts.weights is not None:
        return _from_weights(facts, facts.weights, speed)
    size, width = _affordable(facts, speed)
    epochs = min(max(_epochs_within(facts, speed, size, width), MIN_EPOCHS), _most_epochs(facts))
    rate, networks = speed(size, width), 1
    largest = (size, width, epochs) == (_sides(facts)[0], _widths(facts)[0], _most_epochs(facts))
    # who did not ask for long gets a first submission soon
    if largest and facts.budget_s > budget_seconds(DEFAULT_BUDGET):
        while networks < MAX_NETWORKS and _seconds(facts, rate, epochs, networks + 1) <= facts.budget_s:
            networks += 1
    sections = _sections(facts, size, width, epochs, networks)
    return sections, _seconds(facts, rate, epochs, networks)


def _from_weights(facts: Facts, weights: Weights, speed: Speed) -> tuple[dict[str, dict[str, Any]], float]:
    """Fine-tuning where the budget leaves enough epochs of it, else a linear classifier on frozen features."""
    most = weights.side or WEIGHTS_SIDE
    above = [size for size in WEIGHTS_SIDES if facts.side <= size < most]
    largest = min(above, default=most)
    sizes = [largest, *(size for size in WEIGHTS_SIDES if LEAST_SIDE <= size < largest)]
    fewest, enough = TUNED_EPOCHS
    left = {size: replace(facts, budget_s=facts.budget_s - _embedding_s(facts, speed, size)) for size in sizes}
    affordable = {size: _epochs_within(left[size], speed, size, 0) for size in sizes}
    size = next((size for size in sizes if affordable[size] >= fewest), None)
    epochs = 0 if size is None else min(affordable[size], enough)
    batch_size = 32 if facts.num_train < ENOUGH_STEPS * 64 else 64
    if epochs * facts.num_train * (facts.num_folds - 1) < TUNED_STEPS * batch_size * facts.num_folds:
        epochs, size = 0, None
    size = size or largest
    flip, _ = _turning(facts)
    unsmoothed = facts.several or facts.metric in OF_PROBABILITIES
    sections: dict[str, dict[str, Any]] = {
        "images": {"side": size},
        "model": {
            "name": weights.architecture, "weights": weights.source, "frozen": not epochs, "head_first": bool(epochs),
            **OWN_LAYERS_OFF,
        },
        "augment": {
            "crop_padding": size // 16, "crop_fill": "reflect", "flip": flip, "cutout": 0,
            "policy": "none",
        },
        "train": {
            "seeds": 1, "epochs": epochs or 1, "batch_size": batch_size, **TUNING,
            "label_smoothing": 0.0 if unsmoothed else 0.1, "tta": "mirror" if flip else "none",
            "valid_every": epochs or 1,
        },
    }  # fmt: skip
    return sections, _embedding_s(facts, speed, size) + (
        _seconds(facts, speed(size, 0), epochs) if epochs else FOLD_S * facts.num_folds
    )


def _embedding_s(facts: Facts, speed: Speed, size: int) -> float:
    """Of the features of all images, which the first classifier is fitted to."""
    return WEIGHTS_VIEWS * (facts.num_train + facts.num_test) / 3 / speed(size, 0)


def _affordable(facts: Facts, speed: Speed) -> tuple[int, int]:
    """(side, width) of the largest choice that leaves enough epochs; images of ENOUGH_SIDE come before width."""
    choices = sorted(
        ((size, width) for width in _widths(facts) for size in _sides(facts)),
        key=lambda choice: (choice[0] >= min(facts.side, ENOUGH_SIDE), choice[1], choice[0]),
        reverse=True,
    )
    for size, width in choices:
        plain = size <= ENOUGH_SIDE and width == min(_widths(facts))
        if _epochs_within(facts, speed, size, width) >= (MIN_EPOCHS if plain else _enough_epochs(facts)):
            return size, width
    return choices[-1]


def _sides(facts: Facts) -> list[int]:
    """In pixels, the largest first."""
    return [min(facts.side, SIDES[0]), *(smaller for smaller in SIDES if smaller < facts.side)]


def _widths(facts: Facts) -> tuple[int, ...]:
    return WIDTHS[network_for(facts)]


def _enough_epochs(facts: Facts) -> int:
    """Before the network is made wider, or images larger."""
    return min(max(ENOUGH_IMAGES // facts.num_train, MIN_EPOCHS), ENOUGH_EPOCHS)


def _most_epochs(facts: Facts) -> int:
    return min(max(MAX_IMAGES // facts.num_train, 2 * MIN_EPOCHS), MAX_EPOCHS)


def _epochs_within(facts: Facts, speed: Speed, size: int, width: int) -> int:
    """As many as the budget allows, 0 where not even one fits."""
    rate = speed(size, width)
    one = _seconds(facts, rate, 1) - _seconds(facts, rate, 0)
    return max(0, int((facts.budget_s - _seconds(facts, rate, 0)) / one))


def _seconds(facts: Facts, images_per_second: float, epochs: int, networks: int = 1) -> float:
    """All folds' training, predicting (a third of training, for each view) and starting.

    Held-out images are predicted by each of a fold's networks alone, and if there are several by all together.
    """
    trained = facts.num_train * (facts.num_folds - 1) * epochs
    views = VIEWS[_turning(facts)[1]] if facts.weights is None else WEIGHTS_VIEWS
    predicted = views * (facts.num_train * (2 if networks > 1 else 1) + facts.num_test * facts.num_folds)
    return networks * (trained + predicted / 3) / images_per_second + FOLD_S * facts.num_folds


def has_gpu() -> bool:
    """Whether NVIDIA's driver is at work here; asking torch would take seconds."""
    return NVIDIA_DRIVER.exists()


def _sections(facts: Facts, size: int, width: int, epochs: int, networks: int) -> dict[str, dict[str, Any]]:
    flip, views = _turning(facts)
    uneven = not facts.several and facts.metric.startswith(EACH_CLASS_METRICS) and facts.imbalance >= MIN_IMBALANCE
    steps_for = facts.num_train * (facts.num_folds - 1) // facts.num_folds
    decay = LONG_DECAY_SEVERAL if facts.several else LONG_DECAY
    batch_size = next((size for size in BATCH_SIZES if steps_for >= ENOUGH_STEPS * size), BATCH_SIZES[-1])
    return {
        "images": {"side": max(size, 8)},
        "model": {
            "name": network_for(facts),
            "width": width,
            **LEARNS_FAST,
            "pooling": "csra" if facts.co_occurring else "max",
        },
        "augment": {
            "crop_padding": max(
                1, size // 16
            ),  # 32 px, 16 epochs: 4 and a cutout of 12 gave 0.8925, 2 and 8 in 12 0.8968
            "crop_fill": "reflect" if size >= 24 else "zeros",
            "flip": flip,
            "cutout": size // 4 if epochs > UNCUT_EPOCHS and size >= 32 else 0,
            "policy": "none",
        },
        "train": {
            "seeds": networks,
            "epochs": epochs,
            "batch_size": batch_size,
            **STEPS,
            "weight_decay": decay if epochs >= ENOUGH_EPOCHS else STEPS["weight_decay"],
            "label_smoothing": _smoothing(facts),
            "tta": views,
            "valid_every": epochs,
            "sampling": "balanced" if uneven else "none",
        },
    }


def _smoothing(facts: Facts) -> float:
    if facts.several:
        return SMOOTHING_SEVERAL if F_SCORE.search(facts.metric) else 0.0
    if facts.metric in OF_PROBABILITIES:
        return 0.0
    return SMOOTHING_MANY if facts.num_train >= MANY_IMAGES else SMOOTHING


def _turning(facts: Facts) -> tuple[str | bool, str]:
    """(augment.flip, train.tta) of a network of ours."""
    if facts.one_handed or _one_sided(facts.classes):
        return False, "shift"
    return (DIHEDRAL, DIHEDRAL) if facts.any_way_up else (ALTERNATING, "mirror_shift")


def _one_sided(classes: Sequence[str]) -> bool:
    """Whether mirror images may be of another class: digits, letters, left and right."""
    digits = {str(digit) for digit in range(10)}
    letters = all(len(label) == 1 and label.isalpha() for label in classes)
    words = {word for label in classes for word in label.lower().replace("_", " ").replace("-", " ").split()}
    return set(classes) == digits or letters or bool(words & {"left", "right", "l", "r"})
