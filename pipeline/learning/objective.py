"""What a network's logits mean: the loss that trains them, the probabilities and the answer read from them."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Objective(Protocol):
    """One kind of target, for the shared loop. Logits come as float32 (B, C)."""

    def losses(self, logits: Tensor, targets: Tensor, *, training: bool) -> Tensor:
        """(B,) one loss for each image."""

    def probs(self, logits: Tensor) -> Tensor:
        """(B, C) float32."""

    def correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B,) bool: whether the answer is the target."""


class CrossEntropy:
    """One of C classes: softmax, cross-entropy, argmax.

    targets (B,) int64 class indices, or (B, C) float rows that sum to 1 (mixed images). Labels are smoothed in
    training only, so that a validation loss can be compared between recipes.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def losses(self, logits: Tensor, targets: Tensor, *, training: bool) -> Tensor:
        """(B,) cross-entropy in nats."""
        smoothing = self.label_smoothing if training else 0.0
        return F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")

    def probs(self, logits: Tensor) -> Tensor:
        """(B, C) softmax."""
        return torch.softmax(logits, dim=1)

    def correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B,) argmax equals the target (or the target's largest part)."""
        answers = targets.argmax(dim=1) if targets.ndim == 2 else targets
        return logits.argmax(dim=1) == answers
