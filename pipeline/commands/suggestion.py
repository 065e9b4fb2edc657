"""A recipe to start from: sections of params.yaml for so many images of such a size, within a time budget.

A first submission in minutes; what is measured is the order of magnitude. Every value can be changed afterwards.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

# images/s in training at width 16 and 32 px on two cores with AVX512_BF16 (time goes with width ** 1.5 and side ** 2)
CPU_SPEED = 2400.0
GPU_SPEED = 60.0 * CPU_SPEED  # what one H100 is taken for; not measured yet
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
BUDGET_S = 10 * 60.0  # for all folds together
SIDES = (128, 96, 64, 48, 32)
ENOUGH_SIDE = 64  # pixels; images are not made smaller for a wider network
WIDTHS = {False: (32, 16), True: (64, 32)}  # of resnet9, by whether there is a GPU
# accuracy on 2,000 others after training on so many images of CIFAR-10; its standard error is about 0.01
MIN_EPOCHS = 10
ENOUGH_EPOCHS = 30  # 8,000 images: 0.808 at width 16 in 30 epochs, 0.786 at width 32 in 10, in about the same time
MAX_EPOCHS = 50  # 2,000 images: 0.648 in 16, 0.682 in 30, 0.688 in 50; 480 images: 0.515 in 40, 0.519 in 80
# images; below it smaller batches give enough steps, at a lower rate. 480 made-up photographs of 4 classes (64 px,
# width 32, 40 epochs of 6 steps), accuracy held out in folds 0 and 1: 0.67, 0.92 at a peak of 0.1; 0.97, 0.99 at 0.03.
# Batches of 64 and of 32: 2,000 images of CIFAR-10, 30 epochs, 0.682 and 0.708; 480, 40 epochs, 0.515 and 0.526; 160
# photographs of hands, 40 epochs, 0.967 and 0.979
SMALL_SET = 5_000
# images of the largest class for one of the smallest, from which on rare classes are drawn more often where the metric
# asks for every class alike. Digits with 10 and 50 to 1, macro F1: 0.652, 0.450 as they are; 0.975, 0.933 drawn alike;
# 0.971, 0.677 with weights `sqrt`. Below 10, and for other metrics and targets, nothing is suggested: not measured, or
# measured in too short a training to tell (docs/recipes.md)
MIN_IMBALANCE = 10.0
EACH_CLASS_METRICS = ("macro_f1", "balanced_accuracy")
# what params.yaml ships with, for the demo's 8-pixel digits; to be replaced for any other competition
DEMO_RECIPE: dict[str, dict[str, Any]] = {
    "images": {"side": "auto"},
    "model": {"name": "resnet9", "width": 16},
    "augment": {"crop_padding": 1, "crop_fill": "zeros", "flip": False, "cutout": 0, "policy": "none"},
    "train": {
        "epochs": 8, "batch_size": 64, "optimizer": "sgd", "peak_lr": 0.1, "label_smoothing": 0.1, "flip_tta": False,
        "valid_every": 4,
    },
}  # fmt: skip


def suggested_recipe(
    *,
    num_train: int,
    side: int,
    classes: Sequence[str],
    metric: str,
    several: bool,
    num_folds: int,
    gpu: bool,
    imbalance: float = 1.0,
) -> tuple[dict[str, dict[str, Any]], float]:
    """(section -> key -> value for params.yaml, estimated seconds of training for all folds).

    num_train: labelled images; side: their median shorter side in pixels; several: more than one label an image;
    imbalance: images of the largest class for one of the smallest.
    """
    sides = [min(side, SIDES[0]), *(smaller for smaller in SIDES if smaller < side)]
    choices = sorted(
        ((size, width) for width in WIDTHS[gpu] for size in sides),
        key=lambda choice: (choice[0] >= min(side, ENOUGH_SIDE), choice[1], choice[0]),
        reverse=True,
    )
    epoch_s = {choice: _epoch_seconds(num_train, *choice, num_folds=num_folds, gpu=gpu) for choice in choices}
    affordable = [choice for choice in choices if epoch_s[choice] * _epochs_asked(*choice, gpu=gpu) <= BUDGET_S]
    size, width = affordable[0] if affordable else choices[-1]
    epochs = min(max(int(BUDGET_S / epoch_s[(size, width)]), MIN_EPOCHS), MAX_EPOCHS)
    flip = not _one_sided(classes)
    small = num_train < SMALL_SET
    uneven = not several and metric in EACH_CLASS_METRICS and imbalance >= MIN_IMBALANCE
    sections: dict[str, dict[str, Any]] = {
        "images": {"side": max(size, 8)},
        "model": {"name": "resnet9", "width": width},
        "augment": {
            "crop_padding": max(1, round(0.1 * size)),
            "crop_fill": "reflect" if size >= 24 else "zeros",
            "flip": flip,
            "cutout": size // 4 if epochs >= 16 and size >= 32 else 0,
            "policy": "none",
        },
        "train": {
            "epochs": epochs,
            "batch_size": 32 if small else 128,
            "optimizer": "sgd",
            "peak_lr": 0.03 if small else 0.1,
            "label_smoothing": 0.0 if several or metric == "log_loss" else 0.1,
            "flip_tta": flip,
            "valid_every": max(1, epochs // 4),
            "sampling": "balanced" if uneven else "none",
        },
    }
    return sections, epochs * epoch_s[(size, width)]


def has_gpu() -> bool:
    """Whether NVIDIA's driver is at work here; asking torch would take seconds."""
    return NVIDIA_DRIVER.exists()


def _epochs_asked(size: int, width: int, *, gpu: bool) -> int:
    """Epochs that must be affordable before images are this large and the network is this wide."""
    plain = size <= ENOUGH_SIDE and width == min(WIDTHS[gpu])
    return MIN_EPOCHS if plain else ENOUGH_EPOCHS


def _epoch_seconds(num_train: int, size: int, width: int, *, num_folds: int, gpu: bool) -> float:
    """One epoch of every fold."""
    images = num_train * (num_folds - 1)
    return images * (size / 32) ** 2 * (width / 16) ** 1.5 / (GPU_SPEED if gpu else CPU_SPEED)


def _one_sided(classes: Sequence[str]) -> bool:
    """Whether mirror images may be of another class: digits, letters, left and right."""
    digits = {str(digit) for digit in range(10)}
    letters = all(len(label) == 1 and label.isalpha() for label in classes)
    words = {word for label in classes for word in label.lower().replace("_", " ").replace("-", " ").split()}
    return set(classes) == digits or letters or bool(words & {"left", "right", "l", "r"})
