"""The shared loop: one function trains, validates and predicts.

It grew out of a tutorial's `run_model(model, loader, loss_fn, optimizer, is_training, is_test)`.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.loop.device import random_state, sent, set_random_state
from pipeline.loop.epoch_meter import Outcome, Tally
from pipeline.loop.memory import Parts, has_batch_norm
from pipeline.loop.objective import CrossEntropy, Objective


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
    clip_norm: float = 0.0,
    dtype: torch.dtype | None = None,
    parts: Parts | None = None,
    tally: Tally | None = None,
    title: str = "",
) -> Outcome:
    """One pass of `model`, which lives on `device`, over `batches`.

    TRAIN takes an optimizer and moves the weights (and calls `schedule.step`, then `after_step`, at each step);
    VALID and TEST leave every entry of `state_dict()` as it was. TEST looks at nothing but images: of a batch that
    is a tuple it takes the first part. The forward pass runs under autocast to `dtype` (None: float32); logits go
    to float32 before softmax and loss. Nothing waits for the device but the end and a redraw of the progress bar
    (no bar unless stderr is a terminal).
    clip_norm: the gradient is scaled down to this L2 norm, 0 = never. tally: of a pass that was cut short, whose
    later batches `batches` gives. parts: what to do with a batch that does not fit into memory (VALID and TEST, whose
    results do not depend on it, compute it in parts anyway).
    Raises NonFiniteLossError, OutOfMemoryError, and ValueError for no images at all.
    """
    training = mode is Mode.TRAIN
    if training != (optimizer is not None):
        raise ValueError(f"{mode} with optimizer {type(optimizer).__name__}: TRAIN takes one, other modes take none")
    objective = objective or CrossEntropy()
    tally = tally or Tally()
    tally.title = title
    forward = _Forward(
        model, objective, parts or Parts(may_cut=not training), 2 if training and has_batch_norm(model) else 1,
        training, device, dtype, title,
    )  # fmt: skip
    weights = [weight for group in optimizer.param_groups for weight in group["params"]] if optimizer else []

    model.train(training)
    grad = torch.enable_grad() if training else torch.inference_mode()
    bar = tqdm(
        total=batches.num_images, initial=tally.num_images, desc=title, unit=" images", disable=None, leave=False
    )
    with grad, bar:
        for batch in batches:
            images, targets = (_images_of(batch), None) if mode is Mode.TEST else batch
            if optimizer is not None:
                optimizer.zero_grad(set_to_none=True)
            probs, losses, correct = forward(images, targets)
            tally.add_images(len(images), None if training else probs)
            if losses is not None and correct is not None:
                tally.add_losses(losses, correct, _learning_rate(optimizer) if optimizer is not None else None)
                if device.type == "cpu":
                    tally.check()  # no wait there, and the rest of a lost epoch is saved
            if optimizer is not None:
                if clip_norm:
                    tally.norms.append(nn.utils.clip_grad_norm_(weights, clip_norm))
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                if after_step is not None:
                    after_step()

            if bar.update(len(images)) and targets is not None:
                tally.check()
                bar.set_postfix(tally.means(), refresh=False)
    return tally.outcome()


Batch = tuple[Tensor, Tensor | None, Tensor | None]  # probs (B, C), losses (B,), correct (B,)


@dataclass(frozen=True)
class _Forward:
    """A batch through the network, in as many parts as memory asks for; in training, gradients are left behind."""

    model: nn.Module
    objective: Objective
    parts: Parts
    smallest: int  # images that a part must have
    training: bool
    device: torch.device
    dtype: torch.dtype | None
    title: str

    def __call__(self, images: Tensor, targets: Tensor | None) -> Batch:
        return self.parts.compute(
            lambda number: self._in_parts(images, targets, number),
            num_images=len(images),
            smallest=self.smallest,
            undo=self._undo(),
            title=self.title,
        )

    def _undo(self) -> Callable[[], None]:
        """What puts gradients, running statistics and random numbers back to where they are now."""
        if not self.training or not self.parts.may_cut:
            return lambda: self.model.zero_grad(set_to_none=True)
        buffers, kept = list(self.model.buffers()), [buffer.clone() for buffer in self.model.buffers()]
        numbers = random_state(self.device)

        def undo() -> None:
            self.model.zero_grad(set_to_none=True)
            for buffer, value in zip(buffers, kept, strict=True):
                buffer.copy_(value)
            set_random_state(numbers, self.device)

        return undo

    def _in_parts(self, images: Tensor, targets: Tensor | None, number: int) -> Batch:
        if number == 1:
            return self._one(images, targets, len(images))
        ends = [len(images) * part // number for part in range(number + 1)]
        done = [
            self._one(images[start:end], None if targets is None else targets[start:end], len(images))
            for start, end in itertools.pairwise(ends)
        ]
        probs, losses, correct = (_joined(column) for column in zip(*done, strict=True))
        assert probs is not None
        return probs, losses, correct

    def _one(self, images: Tensor, targets: Tensor | None, batch_size: int) -> Batch:
        with torch.autocast(self.device.type, dtype=self.dtype) if self.dtype else contextlib.nullcontext():
            logits = self.model(sent(images, self.device))
        logits = logits.float()
        probs = self.objective.probs(logits.detach())
        if targets is None:
            return probs, None, None
        targets = sent(targets, self.device)
        losses = self.objective.losses(logits, targets, training=self.training)
        if self.training:
            mean = losses.mean() if len(losses) == batch_size else losses.sum() / batch_size
            mean.backward()
        return probs, losses.detach(), self.objective.correct(probs, targets)


def _joined(pieces: Sequence[Tensor | None]) -> Tensor | None:
    there = [piece for piece in pieces if piece is not None]
    return torch.cat(there) if there else None


def _images_of(batch: Any) -> Tensor:
    return batch[0] if isinstance(batch, tuple | list) else batch


def _learning_rate(optimizer: torch.optim.Optimizer) -> float:
    return float(optimizer.param_groups[0]["lr"])
