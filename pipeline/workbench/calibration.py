"""How far probabilities are from frequencies, and one temperature that brings them nearer."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.competition.schema import Target
from pipeline.scoring.decision import choose_decision, decide
from pipeline.scoring.metrics import CLIP, score
from pipeline.submission.answers import Answers

BINS = 15  # of equal width (Guo et al. 2017)
DRAWS, MOST_DRAWN = 200, 40_000_000  # trials of a calibrated model; numbers drawn in all
LOWEST, HIGHEST = 0.05, 20.0  # a temperature at one of these has no best value: say, no answer was wrong


@dataclass(frozen=True)
class Events:
    """What was given a probability, and whether it happened.

    Of an exclusive target an image's likeliest class, and whether that is the true one (Guo et al. 2017); of
    multi_label every cell of image and class, and whether the image has the label (Naeini et al. 2015).
    """

    probs: np.ndarray  # (M,) float64
    happened: np.ndarray  # (M,) bool

    @property
    def error(self) -> float:
        """Expected calibration error: mean over events of |mean probability - frequency| of their bin."""
        return binned_error(self.probs, self.happened)

    @property
    def surplus(self) -> float:
        """Mean probability less frequency: above 0 the probabilities are too high."""
        return float(self.probs.mean() - self.happened.mean())


@dataclass(frozen=True)
class Tempered:
    """Out-of-fold rows, each tempered and decided by what the other folds' rows give."""

    probs: np.ndarray  # (N, C) float64
    decided: np.ndarray  # as `decision.decide` gives it
    temperatures: tuple[float, ...]  # of each fold, in order: fitted without it


def events(truth: np.ndarray, probs: np.ndarray, target: Target) -> Events:
    """See `Events`; truth: `target_array`'s, probs (N, C)."""
    wide = probs.astype(np.float64)
    if target.exclusive:
        return Events(wide.max(axis=1), wide.argmax(axis=1) == truth)
    return Events(wide.ravel(), truth.ravel() > 0)


def binned_error(probs: np.ndarray, happened: np.ndarray) -> float:
    """Expected calibration error of probabilities (M,) against happened (M,) bool; see `Events.error`."""
    bins = _bins(probs)
    return float(np.abs(np.bincount(bins, weights=probs - happened, minlength=BINS)).sum() / len(probs))


def calibrated_error(probs: np.ndarray) -> tuple[float, float]:
    """(mean, 95 % quantile) of the error that a calibrated model shows with these probabilities (M,).

    It is not 0: frequencies of few events scatter. Events are drawn with their own probabilities again and again
    (consistency resampling, Bröcker and Smith 2007), always in the same way.
    """
    generator = np.random.default_rng(0)
    draws = int(np.clip(MOST_DRAWN // len(probs), 20, DRAWS))
    found = [binned_error(probs, generator.random(len(probs)) < probs) for _ in range(draws)]
    return float(np.mean(found)), float(np.quantile(found, 0.95))


def _bins(probs: np.ndarray) -> np.ndarray:
    return np.clip((probs * BINS).astype(np.int64), 0, BINS - 1)


def with_temperature(probs: np.ndarray, temperature: float, target: Target) -> np.ndarray:
    """(N, C) float64: what the softmax, of multi_label the sigmoid, of the logits divided by `temperature` gives.

    probs (N, C). Logits are known up to a number for each row, which a softmax takes away. Of grades, too, it is the
    probabilities of the K classes that are tempered.
    """
    return _tempered(_logits(probs, target), 1 / temperature, target)


def fit_temperature(truth: np.ndarray, probs: np.ndarray, target: Target) -> float:
    """The temperature of the lowest log loss on these rows (Guo et al. 2017), `LOWEST` to `HIGHEST`.

    The log loss is convex in 1 / temperature, so the root of its slope is the one minimum.
    """
    from scipy.optimize import brentq

    slope = _slope(truth, _logits(probs, target), target)
    low, high = np.log(1 / HIGHEST), np.log(1 / LOWEST)
    if slope(low) >= 0:
        return HIGHEST
    if slope(high) <= 0:
        return LOWEST
    return float(np.exp(-brentq(slope, low, high, xtol=1e-6)))


def temper(truth: np.ndarray, probs: np.ndarray, held_by: np.ndarray, target: Target, metric_name: str) -> Tempered:
    """Each fold's rows with the temperature, and by the decision on tempered rows, that the other folds alone give.

    truth: `target_array`'s; probs (N, C) out of fold; held_by (N,): the fold that held each row out, at least two.
    """
    tempered, temperatures = np.zeros(probs.shape), []
    decided = np.zeros(len(probs), dtype=np.int64) if target.exclusive else np.zeros(probs.shape, dtype=bool)
    for fold in np.unique(held_by):
        own = held_by == fold
        temperatures.append(fit_temperature(truth[~own], probs[~own], target))
        scaled = with_temperature(probs, temperatures[-1], target)
        decision = choose_decision(truth[~own], scaled[~own], target, metric_name, held_by[~own])
        tempered[own], decided[own] = scaled[own], decide(scaled[own], target, decision)
    return Tempered(tempered, decided, tuple(temperatures))


def log_losses(truth: np.ndarray, probs: np.ndarray, held_by: np.ndarray, target: Target) -> list[float]:
    """Log loss of each fold, folds in order."""
    parts = [np.flatnonzero(held_by == fold) for fold in np.unique(held_by)]
    return [score("log_loss", truth[rows], Answers(scores=probs[rows].astype(np.float64)), target) for rows in parts]


def _logits(probs: np.ndarray, target: Target) -> np.ndarray:
    clipped = np.clip(probs.astype(np.float64), CLIP, 1 - CLIP)
    return np.log(clipped) if target.exclusive else np.log(clipped) - np.log1p(-clipped)


def _tempered(logits: np.ndarray, factor: float, target: Target) -> np.ndarray:
    """logits (N, C) times `factor`, as probabilities."""
    scaled = logits * factor
    if not target.exclusive:
        return np.asarray(1 / (1 + np.exp(-scaled)))
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _slope(truth: np.ndarray, logits: np.ndarray, target: Target) -> Callable[[float], float]:
    """Slope of the mean log loss by 1 / temperature, as a function of log(1 / temperature)."""
    if target.exclusive:
        of_truth = logits[np.arange(len(logits)), truth].mean()
        return lambda place: float((_tempered(logits, np.exp(place), target) * logits).sum(axis=1).mean() - of_truth)
    return lambda place: float(((_tempered(logits, np.exp(place), target) - truth) * logits).mean())
