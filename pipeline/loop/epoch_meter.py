"""What a pass has given so far: per-image results, left on the device until someone asks."""

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

LEAST_SCALE = 1.0  # of the loss; torch's GradScaler: "if the scale falls below 1 […] something is likely wrong"


class NonFiniteLossError(ValueError):
    """A loss, gradients whatever their scale, or probabilities became NaN or inf: where, and what usually helps."""


@dataclass(frozen=True)
class Outcome:
    """What one pass over `num_images` images gave; rows in the order of the batches."""

    num_images: int
    seconds: float
    loss: float | None  # mean over images; None in TEST
    accuracy: float | None  # share of images (of several labels: of labels) right, as scikit-learn's; None in TEST
    probs: np.ndarray | None  # (N, C) float32; None in TRAIN
    gradient_norm_mean: float | None = None  # over steps taken, before clipping; None without clipping
    gradient_norm_max: float | None = None


class BatchResults(NamedTuple):
    """What the network gave for one batch."""

    probs: Tensor  # (B, C)
    losses: Tensor | None  # (B,), as `correct`; both None in TEST
    correct: Tensor | None


class EpochMeter:
    """Results of one pass; they do not depend on the batch size. A pass that was cut short goes on with its meter.

    title: of the progress bar and of errors.
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self.started = time.perf_counter()
        self.num_images = 0
        self.losses: list[Tensor] = []  # one (B,) a step
        self.correct: list[Tensor] = []
        self.probs: list[Tensor] = []
        self.rates: list[float | None] = []
        self.norms: list[Tensor] = []  # one () a step, if gradients are clipped
        self.scales: list[Tensor] = []  # of the loss after each step, () on the device, if it is scaled
        self.num_checked = 0  # steps

    @property
    def num_steps(self) -> int:
        """Labelled batches so far."""
        return len(self.losses)

    def add(self, results: BatchResults, rate: float | None) -> None:
        """A batch; `rate`: the learning rate, in TRAIN, where probabilities are not kept."""
        self.num_images += len(results.probs)
        if rate is None:
            self.probs.append(results.probs)
        if results.losses is not None and results.correct is not None:
            self.losses.append(results.losses)
            self.correct.append(results.correct)
            self.rates.append(rate)

    def check(self) -> None:
        """Raise NonFiniteLossError for the first step, not yet checked, with a NaN or inf, or a scale under 1."""
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
                "Lower train.peak_lr, set train.clip_norm, or set compute.precision to fp32"
            )
        self.num_checked = len(self.losses)
        if self.scales and bool(self.scales[-1] < LEAST_SCALE):
            step = next(step for step, scale in enumerate(self.scales) if bool(scale < LEAST_SCALE))
            raise NonFiniteLossError(
                f"{self.title or 'run_model'}: gradients are not finite at step {step + 1}, though the loss was "
                "no longer scaled up for float16; nothing was written. Lower train.peak_lr, or set compute.precision "
                "to fp32"
            )

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
        means = self.means() if self.losses else {}
        probs = torch.cat(self.probs).cpu().numpy() if self.probs else None
        if probs is not None and not np.isfinite(probs).all():
            wrong = int((~np.isfinite(probs)).any(axis=1).sum())
            raise NonFiniteLossError(
                f"{self.title or 'run_model'}: probabilities of {wrong} of {len(probs)} images are not finite; nothing "
                "was written. Set infer.precision to fp32"
            )
        norms = self._norms()
        return Outcome(
            num_images=self.num_images,
            seconds=time.perf_counter() - self.started,
            loss=means.get("loss"),
            accuracy=means.get("accuracy"),
            probs=probs,
            gradient_norm_mean=None if norms is None else float(norms.mean()),
            gradient_norm_max=None if norms is None else float(norms.max()),
        )

    def _norms(self) -> Tensor | None:
        """(n,) float64: of steps that a scaled loss left out there is none."""
        if not self.norms:
            return None
        norms = torch.stack(self.norms).cpu().double()
        taken = norms[norms.isfinite()] if self.scales else norms
        return taken if len(taken) else None

    def state_dict(self) -> dict[str, Any]:
        """All of a TRAIN pass so far. Raises NonFiniteLossError: a lost pass is not worth keeping."""
        self.check()
        return {
            "seconds": time.perf_counter() - self.started,
            "sizes": [len(losses) for losses in self.losses],
            "rates": self.rates,
            "losses": torch.cat(self.losses),
            "correct": torch.cat(self.correct),
            "norms": torch.stack(self.norms) if self.norms else None,
            "scales": torch.stack(self.scales) if self.scales else None,
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "EpochMeter":
        """The meter whose `state_dict` this was."""
        meter = cls()
        meter.started -= state["seconds"]
        meter.num_images = sum(state["sizes"])
        meter.losses = list(state["losses"].split(state["sizes"]))
        meter.correct = list(state["correct"].split(state["sizes"]))
        meter.rates = state["rates"]
        meter.norms = [] if state["norms"] is None else list(state["norms"])
        meter.scales = [] if state["scales"] is None else list(state["scales"])
        return meter
