"""The shared loop: one function trains, validates and predicts.

It grew out of a tutorial's `run_model(model, loader, loss_fn, optimizer, is_training, is_test)`.
"""

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pipeline.base.console import progress_bar
from pipeline.loop.device import random_state, set_random_state, to_device
from pipeline.loop.epoch_meter import BatchResults, EpochMeter, Outcome
from pipeline.loop.memory import MicroBatches, has_batch_norm, out_of_memory_said
from pipeline.loop.objective import CrossEntropy, Objective
from pipeline.loop.scaling import LossScaler


class Mode(Enum):
    """What the loop is for."""

    TRAIN = "train"  # labelled, weights move
    VALID = "valid"  # labelled, weights fixed
    TEST = "test"  # unlabelled, weights fixed


class BatchSource(Protocol):
    """Batches in order: `images`, or `(images, targets)` in TRAIN and VALID. Of ranks: own images, targets of all."""

    num_images: int

    def __iter__(self) -> Iterator[Any]:
        """One pass over all images."""


class Ranks(Protocol):
    """Processes that make one pass together, each with its share of every batch."""

    def share(self, num_images: int) -> slice:
        """This process's own images of a batch."""

    def joined(self, results: BatchResults, num_images: int, gradients: Sequence[Tensor]) -> BatchResults:
        """The results of the whole batch; the gradients become their sum over all processes."""


@dataclass(frozen=True)
class Stepper:
    """How TRAIN moves the weights, once a batch."""

    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None
    after_step: Callable[[], None] | None = None
    clip_norm: float = 0.0  # the gradient is scaled down to this L2 norm; 0 = never
    micro_batches: MicroBatches | None = None  # for a batch that does not fit into memory; None: that is an error
    scaler: LossScaler | None = None  # for float16

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, meter: EpochMeter) -> None:
        """By the gradients that are there; when clipping, their norm goes to the meter first.

        A step that the scaler leaves out moves no weight and no moment. All else goes on as if it had been taken, for
        the schedule ends at zero after so many batches, and to ask would be to wait for the device; averaged weights
        take the same weights in once more, as in timm's train.py.
        """
        if self.clip_norm:
            if self.scaler is not None:
                self.scaler.unscale(self.optimizer)
            weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
            meter.norms.append(nn.utils.clip_grad_norm_(weights, self.clip_norm))
        if self.scaler is None:
            self.optimizer.step()
        else:
            meter.scales.append(self.scaler.step(self.optimizer))
        if self.schedule is not None:
            self._move_schedule(self.schedule)
        if self.after_step is not None:
            self.after_step()

    def _move_schedule(self, schedule: torch.optim.lr_scheduler.LRScheduler) -> None:
        if self.scaler is None or schedule.last_epoch > 0:
            schedule.step()
            return
        with warnings.catch_warnings():  # torch warns where the very first step was left out
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            schedule.step()


def run_model(
    model: nn.Module,
    batches: BatchSource,
    mode: Mode,
    *,
    device: torch.device,
    dtype: torch.dtype | None = None,
    objective: Objective | None = None,
    stepper: Stepper | None = None,
    meter: EpochMeter | None = None,
    ranks: Ranks | None = None,
) -> Outcome:
    """One pass of `model`, which lives on `device`, over `batches`.

    TRAIN takes a stepper, which moves the weights; VALID and TEST leave every entry of `state_dict()` as it was. TEST
    looks at nothing but images: of a batch that is a tuple it takes the first part. The forward pass runs under
    autocast to `dtype` (None: float32); logits go to float32 before softmax and loss. Nothing waits for the device but
    the end and a redraw of the progress bar (no bar unless stderr is a terminal). VALID and TEST, whose results do not
    depend on it, compute a batch that does not fit into memory in micro-batches.
    meter: holds the title, and of a pass that was cut short the results so far; `batches` then gives the later ones.
    ranks: of TRAIN and VALID: the processes that make this pass together; all get the outcome of all images.
    Raises NonFiniteLossError, OutOfMemoryError, and ValueError for no images at all.
    """
    training = mode is Mode.TRAIN
    if training != (stepper is not None):
        raise ValueError(
            f"{mode} {'without' if training else 'with'} a stepper: TRAIN takes one, other modes take none"
        )
    meter = meter or EpochMeter()
    micro_batches = (stepper.micro_batches if stepper else None) or MicroBatches(may_cut=not training)
    forward = _Forward(
        model, objective or CrossEntropy(), micro_batches, 2 if training and has_batch_norm(model) else 1,
        training, device, dtype, meter.title, stepper.scaler if stepper else None, ranks,
    )  # fmt: skip

    model.train(training)
    grad = torch.enable_grad() if training else torch.inference_mode()
    bar = progress_bar(meter.title, total=batches.num_images, initial=meter.num_images, unit=" images", leave=False)
    with grad, bar:
        for batch in batches:
            images, targets = (_images_of(batch), None) if mode is Mode.TEST else batch
            if stepper is not None:
                stepper.optimizer.zero_grad(set_to_none=True)
            meter.add(forward(images, targets), None if stepper is None else stepper.learning_rate)
            if device.type == "cpu":
                meter.check()  # no wait there, and the rest of a lost epoch is saved
            if stepper is not None:
                stepper.step(meter)

            if bar.update(len(images if targets is None else targets)) and targets is not None:
                meter.check()
                bar.set_postfix(meter.means(), refresh=False)
    return meter.outcome()


@dataclass(frozen=True)
class _Forward:
    """A batch through the network, in as many micro-batches as memory asks for; in training, gradients are left."""

    model: nn.Module
    objective: Objective
    micro_batches: MicroBatches
    smallest: int  # images that a micro-batch must have
    training: bool
    device: torch.device
    dtype: torch.dtype | None
    title: str
    scaler: LossScaler | None
    ranks: Ranks | None

    def __call__(self, images: Tensor, targets: Tensor | None) -> BatchResults:
        if self.ranks is not None and targets is not None:
            return self._share_of(images, targets, self.ranks)
        return self.micro_batches.compute(
            lambda number: self._in_micro_batches(images, targets, number),
            num_images=len(images),
            smallest=self.smallest,
            undo=self._undo(),
            title=self.title,
        )

    def _share_of(self, images: Tensor, targets: Tensor, ranks: Ranks) -> BatchResults:
        """At once: while one process tried again in micro-batches, the others would wait for another sum."""
        with out_of_memory_said(self.title):
            own = self._one(images, targets[ranks.share(len(targets))], len(targets))
        weights = self.model.parameters() if self.training else ()
        return ranks.joined(own, len(targets), [weight.grad for weight in weights if weight.grad is not None])

    def _undo(self) -> Callable[[], None]:
        """What puts gradients, running statistics and random numbers back to where they are now."""
        if not self.training or not self.micro_batches.may_cut:
            return lambda: self.model.zero_grad(set_to_none=True)
        buffers, kept = list(self.model.buffers()), [buffer.clone() for buffer in self.model.buffers()]
        numbers = random_state(self.device)

        def undo() -> None:
            self.model.zero_grad(set_to_none=True)
            for buffer, value in zip(buffers, kept, strict=True):
                buffer.copy_(value)
            set_random_state(numbers, self.device)

        return undo

    def _in_micro_batches(self, images: Tensor, targets: Tensor | None, number: int) -> BatchResults:
        if number == 1:
            return self._one(images, targets, len(images))
        ends = [len(images) * part // number for part in range(number + 1)]
        done = [
            self._one(images[start:end], None if targets is None else targets[start:end], len(images))
            for start, end in itertools.pairwise(ends)
        ]
        probs, losses, correct = (
            None if column[0] is None else torch.cat(column) for column in zip(*done, strict=True)
        )
        assert probs is not None
        return BatchResults(probs, losses, correct)

    def _one(self, images: Tensor, targets: Tensor | None, batch_size: int) -> BatchResults:
        with torch.autocast(self.device.type, dtype=self.dtype) if self.dtype else contextlib.nullcontext():
            logits = self.model(to_device(images, self.device))
        logits = logits.float()
        probs = self.objective.probs(logits.detach())
        if targets is None:
            return BatchResults(probs, None, None)
        targets = to_device(targets, self.device)
        losses = self.objective.losses(logits, targets, training=self.training)
        if self.training:
            mean = losses.mean() if len(losses) == batch_size else losses.sum() / batch_size
            (mean if self.scaler is None else self.scaler.scale(mean)).backward()
        return BatchResults(probs, losses.detach(), self.objective.correct(probs, targets))


def _images_of(batch: Any) -> Tensor:
    return batch[0] if isinstance(batch, tuple | list) else batch
