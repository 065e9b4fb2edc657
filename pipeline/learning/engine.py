"""The shared loop: one function trains, validates and predicts.

It grew out of a tutorial's `run_model(model, loader, loss_fn, optimizer, is_training, is_test)`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.learning.objective import CrossEntropy, Objective


class Mode(Enum):
    """What the loop is for."""

    TRAIN = "train"  # labelled, weights move
    VALID = "valid"  # labelled, weights fixed
    TEST = "test"  # unlabelled, weights fixed


class BatchSource(Protocol):
    """Batches in order: `images`, or `(images, targets)` in TRAIN and VALID."""

    num_images: int

    def __iter__(self) -> Iterator[Any]:
        """One pass over all images."""


class Schedule(Protocol):
    """What a torch learning-rate scheduler has and the loop uses."""

    def step(self) -> None:
        """After each optimiser step."""


class NonFiniteLossError(ValueError):
    """A loss became NaN or inf: where, and what usually helps."""


@dataclass(frozen=True)
class Outcome:
    """What one pass over `num_images` images gave; rows in the order of the batches."""

    num_images: int
    seconds: float
    loss: float | None  # mean over images; None in TEST
    accuracy: float | None  # share of images (of several labels: of labels) right, as scikit-learn's; None in TEST
    class_indices: np.ndarray | None  # (N,) int64 by argmax; None in TRAIN
    probs: np.ndarray | None  # (N, C) float32; None in TRAIN


def run_model(
    model: nn.Module,
    batches: BatchSource,
    mode: Mode,
    *,
    device: torch.device,
    objective: Objective | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    schedule: Schedule | None = None,
    after_step: Callable[[], None] | None = None,
    dtype: torch.dtype | None = None,
    title: str = "",
) -> Outcome:
    """One pass of `model`, which lives on `device`, over `batches`.

    TRAIN takes an optimizer and moves the weights (and calls `schedule.step`, then `after_step`, at each step);
    VALID and TEST leave every entry of `state_dict()` as it was. TEST looks at nothing but images: of a batch that
    is a tuple it takes the first part. The forward pass runs under autocast to `dtype` (None: float32); logits go
    to float32 before softmax and loss. Nothing waits for the device but the end and a redraw of the progress bar
    (no bar unless stderr is a terminal). Raises NonFiniteLossError, and ValueError for no images at all.
    """
    if (mode is Mode.TRAIN) != (optimizer is not None):
        raise ValueError(f"{mode} with optimizer {type(optimizer).__name__}: TRAIN takes one, other modes take none")
    objective = objective or CrossEntropy()
    tally = _Tally(title)

    model.train(mode is Mode.TRAIN)
    grad = torch.enable_grad() if mode is Mode.TRAIN else torch.inference_mode()
    with grad, tqdm(total=batches.num_images, desc=title, unit=" images", disable=None, leave=False) as bar:
        for batch in batches:
            images, targets = (_images_of(batch), None) if mode is Mode.TEST else batch
            with torch.autocast(device.type, dtype=dtype) if dtype else contextlib.nullcontext():
                logits = model(images.to(device, non_blocking=True))
            logits = logits.float()
            probs = objective.probs(logits.detach())
            tally.add_images(len(images), None if mode is Mode.TRAIN else probs)

            if targets is not None:
                targets = targets.to(device, non_blocking=True)
                losses = objective.losses(logits, targets, training=mode is Mode.TRAIN)
                rate = _learning_rate(optimizer) if optimizer is not None else None
                tally.add_losses(losses.detach(), objective.correct(probs, targets), rate)
                if device.type == "cpu":
                    tally.check()  # no wait there, and the rest of a lost epoch is saved
            if optimizer is not None:
                optimizer.zero_grad(set_to_none=True)
                losses.mean().backward()
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                if after_step is not None:
                    after_step()

            if bar.update(len(images)) and targets is not None:
                tally.check()
                bar.set_postfix(tally.means(), refresh=False)
    return tally.outcome()


def _images_of(batch: Any) -> Tensor:
    return batch[0] if isinstance(batch, tuple | list) else batch


def _learning_rate(optimizer: torch.optim.Optimizer) -> float:
    return float(optimizer.param_groups[0]["lr"])


class _Tally:
    """Per-image results, left on the device until someone asks: sums and means do not depend on the batch size."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = time.perf_counter()
        self.num_images = 0
        self.losses: list[Tensor] = []  # one (B,) a step
        self.correct: list[Tensor] = []
        self.probs: list[Tensor] = []
        self.rates: list[float | None] = []
        self.num_checked = 0  # steps

    def add_images(self, num_images: int, probs: Tensor | None) -> None:
        self.num_images += num_images
        if probs is not None:
            self.probs.append(probs)

    def add_losses(self, losses: Tensor, correct: Tensor, rate: float | None) -> None:
        self.losses.append(losses)
        self.correct.append(correct)
        self.rates.append(rate)

    def check(self) -> None:
        """Raise NonFiniteLossError for the first step, not yet checked, with a NaN or inf."""
        fresh = self.losses[self.num_checked :]
        if fresh and not bool(torch.cat(fresh).isfinite().all()):
            sound = [bool(losses.isfinite().all()) for losses in fresh]
            step = self.num_checked + sound.index(False)
            bad = fresh[sound.index(False)]
            rate = self.rates[step]
            at_rate = "" if rate is None else f", learning rate {rate:.3g}"
            raise NonFiniteLossError(
                f"{self.title or 'run_model'}: loss is not finite at step {step + 1}{at_rate} "
                f"({int((~bad.isfinite()).sum())} of {len(bad)} images); nothing was written. "
                "Lower train.peak_lr, or set compute.precision to fp32"
            )
        self.num_checked = len(self.losses)

    def means(self) -> dict[str, float]:
        """Loss and accuracy over the images so far, summed in float64."""
        losses, correct = torch.cat(self.losses).cpu(), torch.cat(self.correct).cpu()
        return {"loss": float(losses.double().mean()), "accuracy": float(correct.double().mean())}

    def outcome(self) -> Outcome:
        """Wait for the device, and gather."""
        if self.num_images == 0:
            raise ValueError(f"{self.title or 'run_model'}: there are no images in these batches")
        if self.losses:
            self.check()
        means: dict[str, float] = self.means() if self.losses else {}
        probs = torch.cat(self.probs).cpu().numpy() if self.probs else None
        return Outcome(
            num_images=self.num_images,
            seconds=time.perf_counter() - self.started,
            loss=means.get("loss"),
            accuracy=means.get("accuracy"),
            class_indices=None if probs is None else probs.argmax(axis=1),
            probs=probs,
        )
