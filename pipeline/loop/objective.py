"""What a network's logits mean: the loss that trains them, the probabilities and the answer read from them."""

import math
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MIN_SHARE = 1e-12  # of a grade, to divide by
ASYMMETRIC_GAMMA = 4.0  # of absent labels, and
ASYMMETRIC_MARGIN = 0.05  # what their probability is lowered by: Ridnik et al. 2021, of MS-COCO
LOSSES = {  # name -> the kinds of target it is for
    "auto": ("single_label", "binary", "multi_label", "ordinal"),
    "focal": ("single_label", "binary", "multi_label"),
    "asymmetric": ("multi_label",),
    "cumulative": ("ordinal",),
}


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


def objective_for(
    target_kind: str,
    label_smoothing: float = 0.0,
    *,
    loss: str = "auto",
    focal_gamma: float = 2.0,
    class_weights: np.ndarray | None = None,
) -> Objective:
    """The objective of a target kind (`pipeline.competition.schema.TARGET_KINDS`).

    To read logits, kind and `loss` are enough; the rest is of training. class_weights: as `class_weights` of
    `pipeline/training/balance.py` gives them. Whatever trains, a validation loss is the mean negative log likelihood of
    the probabilities, of all images alike, so that it can be compared between recipes. Raises ValueError for a loss
    that is not for this kind.
    """
    if target_kind not in LOSSES[loss]:
        fitting = [name for name, kinds in LOSSES.items() if target_kind in kinds]
        raise ValueError(
            f"train.loss is {loss}, which is for targets that are {' or '.join(LOSSES[loss])}; this one is "
            f"{target_kind}; allowed: {', '.join(fitting)}"
        )
    weights = None if class_weights is None else torch.from_numpy(class_weights)
    if target_kind == "multi_label":
        if loss == "auto":
            return IndependentLabels(label_smoothing, weights)
        gammas = (focal_gamma, focal_gamma, 0.0) if loss == "focal" else (0.0, ASYMMETRIC_GAMMA, ASYMMETRIC_MARGIN)
        return FocusedLabels(*gammas, label_smoothing=label_smoothing, weights=weights)
    plain: Objective
    if target_kind == "ordinal":
        plain = CumulativeGrades(label_smoothing) if loss == "cumulative" else Grades(label_smoothing)
    else:
        plain = Focal(focal_gamma, label_smoothing) if loss == "focal" else CrossEntropy(label_smoothing)
    return plain if weights is None else Weighted(plain, weights)


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


class Focal(CrossEntropy):
    """One of C classes: as `CrossEntropy`, but what is answered well already counts less.

    Lin et al. 2017, over a softmax: each class's term -t log p is multiplied by (1 - p) ** gamma. Its probabilities are
    flatter than the truth's shares (Charoenphakdee et al. 2021). targets as `CrossEntropy` takes them.
    """

    def __init__(self, gamma: float, label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing)
        self.gamma = gamma

    def losses(self, logits: Tensor, targets: Tensor, *, training: bool) -> Tensor:
        """(B,) focal loss; of images that are not trained on, cross-entropy."""
        if not training:
            return super().losses(logits, targets, training=False)
        log_probs = logits.log_softmax(dim=1)
        soft = _spread(targets, logits.shape[1], self.label_smoothing)
        return -(soft * _power(-torch.expm1(log_probs), self.gamma) * log_probs).sum(dim=1)


class IndependentLabels:
    """C labels, each there or not: sigmoid, binary cross-entropy averaged over labels, 0.5.

    targets (B, C) float32 of 0 and 1 (of mixed images: between). Smoothing by e draws targets to e / 2 and 1 - e / 2,
    in training only, as do weights (2, C): of an absent and of a present label.
    """

    def __init__(self, label_smoothing: float = 0.0, weights: Tensor | None = None) -> None:
        self.label_smoothing = label_smoothing
        self.weights = weights

    def losses(self, logits: Tensor, targets: Tensor, *, training: bool) -> Tensor:
        """(B,) mean over labels."""
        if not training:
            return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
        terms = self._terms(logits, _smoothed(targets, self.label_smoothing))
        if self.weights is not None:
            self.weights = self.weights.to(logits.device)
            terms = terms * torch.lerp(self.weights[0], self.weights[1], targets)
        return terms.mean(dim=1)

    def probs(self, logits: Tensor) -> Tensor:
        """(B, C) sigmoid."""
        return torch.sigmoid(logits)

    def correct(self, probs: Tensor, targets: Tensor) -> Tensor:
        """(B,) float: share of the labels that are right at 0.5."""
        return ((probs >= 0.5) == (targets >= 0.5)).float().mean(dim=1)

    def mean(self, logits: Tensor) -> Tensor:
        """(B, C) logit of the mean sigmoid, in terms that cannot round to 0 or 1."""
        return torch.logsumexp(F.logsigmoid(logits), dim=0) - torch.logsumexp(F.logsigmoid(-logits), dim=0)

    def _terms(self, logits: Tensor, soft: Tensor) -> Tensor:
        """(B, C) a label's loss; soft (B, C), 0 to 1."""
        return F.binary_cross_entropy_with_logits(logits, soft, reduction="none")


class FocusedLabels(IndependentLabels):
    """C labels: as `IndependentLabels`, but what is answered well already counts less.

    The term of a present label, -log p, is multiplied by (1 - p) ** present; that of an absent one, -log(1 - q), by
    q ** absent, where q = max(p - margin, 0). With margin 0 and both alike it is the focal loss (Lin et al. 2017), else
    the asymmetric one (Ridnik et al. 2021), averaged over labels where they sum.
    """

    def __init__(
        self, present: float, absent: float, margin: float, *, label_smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__(label_smoothing, weights)
        self.present, self.absent, self.margin = present, absent, margin

    def _terms(self, logits: Tensor, soft: Tensor) -> Tensor:
        log_there, log_not = F.logsigmoid(logits), F.logsigmoid(-logits)
        there = soft * _power(log_not.exp(), self.present) * log_there
        lowered = log_there.exp()
        if self.margin:
            lowered = (lowered - self.margin).clamp_min(0.0)
            log_not = torch.log1p(-lowered)
        return -there - (1.0 - soft) * _power(lowered, self.absent) * log_not


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


class CumulativeGrades:
    """K grades in order, by where an image's score lies among K - 1 thresholds.

    The cumulative link model (McCullagh 1980): P(grade > k) = sigmoid(score - threshold k). Logit 0 is the score; the
    softplus of each later logit is the distance between two neighbouring thresholds, whose mean is 0. So thresholds
    cannot cross, whatever a network gives, and K - 1 logits say all: thresholds that are an image's own (McCullagh's
    are common to all) need no weights outside the network, which its checkpoint, average, mirror image and bundle
    would have to know. targets as `Grades` takes them; smoothing spreads over all grades.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def losses(self, logits: Tensor, targets: Tensor, *, training: bool) -> Tensor:
        """(B,) negative log likelihood."""
        soft = _spread(targets, logits.shape[1] + 1, self.label_smoothing if training else 0.0)
        return -(soft * self._log_probs(logits)).sum(dim=1)

    def probs(self, logits: Tensor) -> Tensor:
        """(B, K): between two thresholds."""
        return self._log_probs(logits).exp()

    def correct(self, probs: Tensor, targets: Tensor) -> Tensor:
        """(B,) the likeliest grade is the target (or the target's largest part)."""
        return probs.argmax(dim=1) == _largest(targets)

    def mean(self, logits: Tensor) -> Tensor:
        """(B, K - 1) score and distances of the mean probabilities.

        Of a grade between two thresholds, d apart, p = P(grade >= k) P(grade <= k) (1 - exp(-d)), and 1 - exp(-d) is
        the sigmoid of its logit: exact where d is small, and where it is not, d itself is.
        """
        n, batch = logits.shape[:2]
        log_probs = torch.logsumexp(self._log_probs(logits.flatten(0, 1)).unflatten(0, (n, batch)), dim=0)
        log_probs = log_probs - math.log(n)
        up_to = torch.logcumsumexp(log_probs, dim=1)
        beyond = torch.logcumsumexp(log_probs.flip(1), dim=1).flip(1)
        links = beyond[:, 1:] - up_to[:, :-1]
        far = (links[:, :-1] - links[:, 1:]).clamp_min(1.0)
        near = log_probs[:, 1:-1] - beyond[:, 1:-1] - up_to[:, 1:-1]
        is_far = near > math.log(-math.expm1(-1.0))
        near = torch.where(is_far, -1.0, near)
        distances = torch.where(is_far, far + torch.log1p(-torch.exp(-far)), near - torch.log(-torch.expm1(near)))
        return torch.cat([links.mean(dim=1, keepdim=True), distances], dim=1)

    @staticmethod
    def _log_probs(logits: Tensor) -> Tensor:
        """(B, K): log P(grade >= k) + log P(grade <= k) + log(1 - exp(-d)), d between the thresholds around it."""
        edge = logits.new_zeros(len(logits), 1)
        thresholds = torch.cat([edge, F.softplus(logits[:, 1:]).cumsum(dim=1)], dim=1)
        links = logits[:, :1] - (thresholds - thresholds.mean(dim=1, keepdim=True))
        at_least = torch.cat([edge, F.logsigmoid(links)], dim=1)
        at_most = torch.cat([F.logsigmoid(-links), edge], dim=1)
        return at_least + at_most + torch.cat([edge, F.logsigmoid(logits[:, 1:]), edge], dim=1)


class Weighted:
    """An objective of exclusive classes in which an image counts as its class asks, in training only.

    weights (C,) float32; a mixed image counts as its shares ask.
    """

    def __init__(self, plain: Objective, weights: Tensor) -> None:
        self.plain, self.weights = plain, weights
        self.probs, self.correct, self.mean = plain.probs, plain.correct, plain.mean

    def losses(self, logits: Tensor, targets: Tensor, *, training: bool) -> Tensor:
        """(B,) those of the plain objective, times the image's weight."""
        plain = self.plain.losses(logits, targets, training=training)
        if not training:
            return plain
        self.weights = self.weights.to(logits.device)
        return plain * (self.weights[targets] if targets.ndim == 1 else targets @ self.weights)


def _largest(targets: Tensor) -> Tensor:
    return targets.argmax(dim=1) if targets.ndim == 2 else targets


def _smoothed(targets: Tensor, smoothing: float) -> Tensor:
    return targets * (1.0 - smoothing) + 0.5 * smoothing if smoothing else targets


def _spread(targets: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """(B, C) float: `targets` as shares, `smoothing` of them spread over all classes, as F.cross_entropy does it."""
    soft = F.one_hot(targets, num_classes).float() if targets.ndim == 1 else targets
    return soft * (1.0 - smoothing) + smoothing / num_classes if smoothing else soft


def _power(base: Tensor, exponent: float) -> Tensor:
    """base ** exponent, base from 0 to 1; below exponent 1 with a finite slope at 0."""
    if not exponent:
        return torch.ones_like(base)
    return (base.clamp_min(MIN_SHARE) if exponent < 1 else base) ** exponent
