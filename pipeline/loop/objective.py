"""What a network's logits mean: the loss that trains them, the probabilities and the answer read from them."""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_SHARE = 1e-12  # of a grade, to divide by


class Objective(Protocol):
    """One kind of target, for the shared loop. Logits come as float32 (B, num_outputs)."""

    def losses(self, logits: Tensor, targets: Tensor, *, training: bool) -> Tensor:
        """(B,) one loss for each image, in nats."""

    def probs(self, logits: Tensor) -> Tensor:
        """(B, C) float32."""

    def correct(self, probs: Tensor, targets: Tensor) -> Tensor:
        """(B,) whether the answer is the target, as bool, or the share of its parts that are."""

    def mean(self, logits: Tensor) -> Tensor:
        """(n, B, num_outputs) -> (B, num_outputs): logits whose probabilities are the mean of the n."""


def objective_for(target_kind: str, label_smoothing: float = 0.0) -> Objective:
    """The objective of a target kind (`pipeline.competition.schema.TARGET_KINDS`)."""
    if target_kind == "multi_label":
        return IndependentLabels(label_smoothing)
    return Grades(label_smoothing) if target_kind == "ordinal" else CrossEntropy(label_smoothing)


def num_outputs(target_kind: str, num_classes: int) -> int:
    """How many logits the network gives: one a class; between grades, one a step."""
    return num_classes - 1 if target_kind == "ordinal" else num_classes


class CrossEntropy:
    """One of C classes: softmax, cross-entropy, argmax.

    targets (B,) int64 class indices, or (B, C) float rows that sum to 1 (mixed images). Labels are smoothed in
    training only, so that a validation loss can be compared between recipes.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def losses(self, logits: Tensor, targets: Tensor, *, training: bool) -> Tensor:
        """(B,) cross-entropy."""
        smoothing = self.label_smoothing if training else 0.0
        return F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")

    def probs(self, logits: Tensor) -> Tensor:
        """(B, C) softmax."""
        return torch.softmax(logits, dim=1)

    def correct(self, probs: Tensor, targets: Tensor) -> Tensor:
        """(B,) argmax equals the target (or the target's largest part)."""
        return probs.argmax(dim=1) == _largest(targets)

    def mean(self, logits: Tensor) -> Tensor:
        """(B, C) log of the mean softmax."""
        return torch.logsumexp(logits.log_softmax(dim=2), dim=0) - math.log(len(logits))


class IndependentLabels:
    """C labels, each there or not: sigmoid, binary cross-entropy averaged over labels, 0.5.

    targets (B, C) float32 of 0 and 1 (of mixed images: between). Smoothing by e draws targets to e / 2 and 1 - e / 2,
    in training only.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def losses(self, logits: Tensor, targets: Tensor, *, training: bool) -> Tensor:
        """(B,) mean over labels."""
        soft = _smoothed(targets, self.label_smoothing if training else 0.0)
        return F.binary_cross_entropy_with_logits(logits, soft, reduction="none").mean(dim=1)

    def probs(self, logits: Tensor) -> Tensor:
        """(B, C) sigmoid."""
        return torch.sigmoid(logits)

    def correct(self, probs: Tensor, targets: Tensor) -> Tensor:
        """(B,) float: share of the labels that are right at 0.5."""
        return ((probs >= 0.5) == (targets >= 0.5)).float().mean(dim=1)

    def mean(self, logits: Tensor) -> Tensor:
        """(B, C) logit of the mean sigmoid, in terms that cannot round to 0 or 1."""
        return torch.logsumexp(F.logsigmoid(logits), dim=0) - torch.logsumexp(F.logsigmoid(-logits), dim=0)


class Grades:
    """K grades in order, by K - 1 steps: logit k says whether a grade that reached k goes on to k + 1.

    The continuation-ratio model (Agresti, "Analysis of Ordinal Categorical Data"; CORN, Shi et al. 2021): the loss is
    the exact negative log likelihood, and probabilities of higher grades never cross. targets (B,) int64, 0 to K - 1,
    or (B, K) float rows that sum to 1 (mixed images).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def losses(self, logits: Tensor, targets: Tensor, *, training: bool) -> Tensor:
        """(B,) summed over the steps that the grade reached."""
        if targets.ndim == 1:
            targets = F.one_hot(targets, logits.shape[1] + 1).float()
        reached = targets.flip(1).cumsum(1).flip(1)[:, :-1]  # (B, K - 1): share of the grades from k on
        went_on = reached - targets[:, :-1]
        soft = _smoothed(went_on / reached.clamp_min(MIN_SHARE), self.label_smoothing if training else 0.0)
        return (reached * F.binary_cross_entropy_with_logits(logits, soft, reduction="none")).sum(dim=1)

    def probs(self, logits: Tensor) -> Tensor:
        """(B, K): reached by every step before, and stayed."""
        return self._log_probs(logits).exp()

    def correct(self, probs: Tensor, targets: Tensor) -> Tensor:
        """(B,) the likeliest grade is the target (or the target's largest part)."""
        return probs.argmax(dim=1) == _largest(targets)

    def mean(self, logits: Tensor) -> Tensor:
        """(B, K - 1) the steps of the mean probabilities: log of those that went on over those that stayed."""
        n, batch = logits.shape[:2]
        flat = self._log_probs(logits.reshape(n * batch, -1)).reshape(n, batch, -1)
        log_probs = torch.logsumexp(flat, dim=0)
        beyond = torch.flip(torch.logcumsumexp(torch.flip(log_probs, (1,)), dim=1), (1,))
        return beyond[:, 1:] - log_probs[:, :-1]

    @staticmethod
    def _log_probs(logits: Tensor) -> Tensor:
        start = logits.new_zeros(len(logits), 1)
        reached = torch.cat([start, F.logsigmoid(logits).cumsum(dim=1)], dim=1)
        stayed = torch.cat([F.logsigmoid(-logits), start], dim=1)
        return reached + stayed


def _largest(targets: Tensor) -> Tensor:
    return targets.argmax(dim=1) if targets.ndim == 2 else targets


def _smoothed(targets: Tensor, smoothing: float) -> Tensor:
    return targets * (1.0 - smoothing) + 0.5 * smoothing if smoothing else targets
