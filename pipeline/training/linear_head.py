"""A linear classifier on frozen features: penalised likelihood, the penalty chosen within the training part."""

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.base import console
from pipeline.base.params import TrainParams
from pipeline.loop.epoch_meter import Outcome
from pipeline.loop.objective import Objective, num_outputs
from pipeline.models.networks import OnFeatures
from pipeline.training.fold import EpochRecord, FoldData, TrainedFold, objective_of

STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4)  # of the L2 penalty on standardised features, falling
MAX_STEPS = 200  # of L-BFGS for each strength, which begins where the one before ended
MANY = 2e8  # images x features x outputs, from which on one inner fold stands for all
PATIENCE = 2  # strengths in a row that do worse on the first inner fold: weaker ones are not tried
LEAST_STD = 1e-6  # of a feature; those that do not vary count for nothing


def fold_head(
    data: FoldData, features: np.ndarray, folds: np.ndarray, *, train: TrainParams, device: torch.device
) -> nn.Linear:
    """The linear classifier of a fold, on the CPU, for the features (N, width) float32 of the store's images.

    folds: (N,) the fold of each image, by which the strength of the penalty is chosen. Of `train` the loss and the
    class weights count.
    """
    rows = data.train_rows
    layer, strength = fit_head(
        torch.from_numpy(features[rows]).to(device), torch.from_numpy(data.targets[rows]).to(device),
        _inner_folds(folds[rows]), _objective(data, train), num_outputs(data.target_kind, data.num_classes),
    )  # fmt: skip
    console.say(f"fold {data.fold}: L2 penalty {strength:g}, chosen within the training part")
    return layer.cpu()


def trained_head(
    model: OnFeatures, data: FoldData, features: np.ndarray, *, train: TrainParams, device: torch.device
) -> TrainedFold:
    """What `train_fold` gives, for a fold whose network stays as it is: an epoch, and the images held out."""
    started, objective = time.perf_counter(), _objective(data, train)
    with torch.no_grad():
        (loss, accuracy, _), (valid_loss, valid_accuracy, probs) = (
            _measured(model.to(device), features[part], data.targets[part], objective, device)
            for part in (data.train_rows, data.valid_rows)
        )
    record = EpochRecord(
        fold=data.fold, network=1, epoch=1, learning_rate=0.0, train_loss=loss, train_accuracy=accuracy,
        valid_loss=valid_loss, valid_accuracy=valid_accuracy,
    )  # fmt: skip
    outcome = Outcome(len(data.valid_rows), time.perf_counter() - started, valid_loss, valid_accuracy, probs)
    return TrainedFold(model.cpu(), [record], outcome)


def _objective(data: FoldData, train: TrainParams) -> Objective:
    """Without what is of steps: smoothed labels, and images drawn more often, which class weights would make up for."""
    return objective_of(data, dataclasses.replace(train, label_smoothing=0.0, sampling="none"))


def _inner_folds(folds: np.ndarray) -> list[np.ndarray]:
    """Positions that each inner fold holds out: the other outer folds; of one alone every third image."""
    others = np.unique(folds)
    if len(others) < 2:
        return [np.arange(0, len(folds), 3)]
    return [np.flatnonzero(folds == other) for other in others]


def _measured(
    model: OnFeatures, features: np.ndarray, targets: np.ndarray, objective: Objective, device: torch.device
) -> tuple[float, float, np.ndarray]:
    """(mean loss in nats, accuracy, probabilities (n, C) float32)."""
    truth = torch.from_numpy(targets).to(device)
    logits = model(torch.from_numpy(features).to(device))
    probs = objective.probs(logits)
    loss = objective.losses(logits, truth, training=False).mean()
    return float(loss), float(objective.correct(probs, truth).float().mean()), probs.cpu().numpy()


def fit_head(
    features: Tensor, targets: Tensor, inner: Sequence[np.ndarray], objective: Objective, num_outputs: int
) -> tuple[nn.Linear, float]:
    """(a linear layer for features as they are, the strength of its penalty), for features (n, width) float32.

    inner: for each inner fold the positions (of the n) that it holds out; whole groups, as the outer folds are, so that
    the strength is chosen as honestly as the score is measured. The penalty is half its strength times the sum of
    squares of the weights, for features of mean 0 and variance 1; biases are free (scikit-learn's C is 1 / (n
    strength)). By L-BFGS from zero: nothing is drawn.
    """
    if features.numel() * num_outputs > MANY:
        inner = inner[:1]
    strength = _best_strength(features, targets, inner, objective, num_outputs)
    centre, scale = _standards(features)
    fitted = _Path(_standardised(features, centre, scale), targets, objective, num_outputs)
    for above in STRENGTHS[: STRENGTHS.index(strength) + 1]:
        weight, bias = fitted.to(above)
    layer = nn.Linear(features.shape[1], num_outputs).to(features.device)
    with torch.no_grad():
        layer.weight.copy_(weight / scale)
        layer.bias.copy_(bias - (weight / scale) @ centre)
    return layer, strength


def _best_strength(
    features: Tensor, targets: Tensor, inner: Sequence[np.ndarray], objective: Objective, num_outputs: int
) -> float:
    """The one whose mean likelihood on the inner folds is best."""
    losses, last = np.zeros(len(STRENGTHS)), len(STRENGTHS)
    for number, held_out in enumerate(inner):
        out = torch.from_numpy(held_out).to(features.device)
        kept = torch.ones(len(features), dtype=torch.bool, device=features.device)
        kept[out] = False
        centre, scale = _standards(features[kept])
        fitted = _Path(_standardised(features[kept], centre, scale), targets[kept], objective, num_outputs)
        held = _standardised(features[out], centre, scale)
        for at, strength in enumerate(STRENGTHS[:last]):
            weight, bias = fitted.to(strength)
            logits = held @ weight.T + bias
            losses[at] += float(objective.losses(logits, targets[out], training=False).sum())
            if number == 0 and at - int(np.argmin(losses[: at + 1])) >= PATIENCE:
                last = at + 1
                break
    return STRENGTHS[int(np.argmin(losses[:last]))]


class _Path:
    """Solutions for falling strengths, each from where the one before ended."""

    def __init__(self, features: Tensor, targets: Tensor, objective: Objective, num_outputs: int) -> None:
        self.features, self.targets, self.objective = features, targets, objective
        self.weight = torch.zeros(num_outputs, features.shape[1], device=features.device, requires_grad=True)
        self.bias = torch.zeros(num_outputs, device=features.device, requires_grad=True)

    def to(self, strength: float) -> tuple[Tensor, Tensor]:
        """(weight (num_outputs, width), bias (num_outputs,)) for standardised features."""
        optimizer = torch.optim.LBFGS(
            [self.weight, self.bias], max_iter=MAX_STEPS, tolerance_grad=1e-5, tolerance_change=1e-7,
            history_size=20, line_search_fn="strong_wolfe",
        )  # fmt: skip

        def penalised() -> Tensor:
            optimizer.zero_grad()
            logits = self.features @ self.weight.T + self.bias
            loss = self.objective.losses(logits, self.targets, training=True).mean()
            loss = loss + 0.5 * strength * self.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(penalised)
        return self.weight.detach(), self.bias.detach()


def _standards(features: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, standard deviation), each (width,); infinite where a feature does not vary."""
    deviation = features.std(dim=0, unbiased=False)
    return features.mean(dim=0), torch.where(deviation < LEAST_STD, torch.inf, deviation)


def _standardised(features: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
    return (features - centre) / scale
