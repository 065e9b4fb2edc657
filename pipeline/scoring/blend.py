"""Several runs' probabilities for the same images become one: mean, mean of ranks, or weights.

Weights are chosen by greedy selection with replacement on the competition's own metric (Caruana, Niculescu-Mizil, Crew,
Ksikes 2004), and scored nested: the weights for a fold come from the other folds alone.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.files import made_by, read_json, write_json
from pipeline.competition.schema import Schema
from pipeline.scoring.decision import Decision, choose_decision, cross_fitted, decide
from pipeline.scoring.leak import Doubts
from pipeline.scoring.metrics import can_score, mean_and_standard_error, metric_named, score
from pipeline.submission.answers import Answers, answers_of, indicators

OWN = "this run"  # among the members' names, which have no blank
ALONE, MEAN, RANK, WEIGHTS, AUTO = "alone", "mean", "rank", "weights", "auto"
NUM_PICKS = 20  # of the greedy selection: weights are multiples of 1/1 to 1/20
WEIGHT_TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Blend:
    """How the members' probabilities become one. Raises ValueError for weights that are none."""

    how: str  # `alone` (this run, no members), `mean`, `rank` (mean of ranks) or `weights`
    weights: Mapping[str, float]  # member, this run first -> its weight, 0 or more; they sum to 1

    def __post_init__(self) -> None:
        weights = list(self.weights.values())
        fits = all(weight >= 0 for weight in weights) and abs(math.fsum(weights) - 1) <= WEIGHT_TOLERANCE
        if self.how not in (ALONE, MEAN, RANK, WEIGHTS) or next(iter(self.weights), None) != OWN or not fits:
            raise ValueError(f"a blend by {self.how!r} with the weights {dict(self.weights)}")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A blend, what it gives out of fold, and what spoke for it."""

    blend: Blend
    oof: np.ndarray  # (N, C): each fold's rows mixed as the other folds chose; of this run alone the same array
    account: dict[str, Any]  # for blend.json: the members' scores and the gains, each with its standard error


def choose_blend(
    truth: np.ndarray, probs_of: Mapping[str, np.ndarray], held_by: np.ndarray, schema: Schema, how: str
) -> Chosen:
    """The blend of these out-of-fold probabilities, by `how`: auto, mean, rank or weights; no randomness.

    truth: `target_array`'s; probs_of: member, this run first -> (N, C); held_by (N,): the fold that held each out.
    auto: the mean, unless weights or ranks gain more over it than that gain's standard error, from paired differences
    by fold; of both, what gains more.
    """
    if len(probs_of) == 1:
        blend = Blend(how=ALONE, weights={OWN: 1.0})
        return Chosen(blend=blend, oof=probs_of[OWN], account={"considered": {}, "members": {}})
    candidates = {
        MEAN: _mean_of(truth, probs_of, held_by, schema, ranks=False),
        RANK: _mean_of(truth, probs_of, held_by, schema, ranks=True),
        WEIGHTS: _weighted(truth, probs_of, held_by, schema),
    }
    scores = {name: fold_scores(truth, oof, held_by, schema) for name, (_, oof) in candidates.items()}
    gains = {name: gain(found, scores[MEAN], schema) for name, found in scores.items()}
    if how == AUTO:
        ahead = [name for name in (WEIGHTS, RANK) if gains[name][0] > max(gains[name][1], 0.0)]
        how = max(ahead, key=lambda name: gains[name][0], default=MEAN)
    blend, oof = candidates[how]
    considered = {name: {**_mean("score", scores[name]), **_pair("gain_over_mean", gains[name])} for name in candidates}
    members = {}
    for name, probs in probs_of.items():
        own = fold_scores(truth, probs, held_by, schema)
        members[name] = {**_mean("score", own), **_pair("blend_gains", gain(scores[how], own, schema))}
    return Chosen(blend=blend, oof=oof, account={"considered": considered, "members": members})


def mixed(blend: Blend, probs_of: Mapping[str, np.ndarray], *, exclusive: bool) -> np.ndarray:
    """(N, C) float64: the members' probabilities (N, C) of one set of images, as the blend mixes them.

    Members without weight are left out, so that the blend of one is that one to the last bit. Ranks are taken among
    these N images, which must be one fold's or the test set's.
    """
    parts = [(weight, probs_of[name]) for name, weight in blend.weights.items() if weight]
    if blend.how == RANK:
        parts = [(weight, ranked(probs)) for weight, probs in parts]
    total = np.zeros(parts[0][1].shape)
    for weight, probs in parts:
        total += weight * probs
    return total / total.sum(axis=1, keepdims=True) if blend.how == RANK and exclusive else total


def ranked(probs: np.ndarray) -> np.ndarray:
    """(N, C) float64, above 0 and below 1: each column's (rank - 1/2) / N from below, equal values their mean rank."""
    found = np.empty(probs.shape)
    for at in range(probs.shape[1]):
        _, inverse, counts = np.unique(probs[:, at], return_inverse=True, return_counts=True)
        found[:, at] = ((counts.cumsum() - counts / 2) / len(probs))[inverse]
    return found


def greedy_weights(truth: np.ndarray, stack: Sequence[np.ndarray], schema: Schema) -> np.ndarray:
    """(M,) float64 weights of the members' probabilities (N, C) that are good for the metric on these rows.

    Of 20 picks, each the member whose joining the mean is best for the metric, as many as do best are kept. Of equally
    good ones, as happens with accuracy, what is nearer to the plain mean.
    """
    counts, total = np.zeros(len(stack)), np.zeros(stack[0].shape)
    best = (-np.inf, 0.0, counts)
    for num_picks in range(1, NUM_PICKS + 1):
        options = []
        for at, probs in enumerate(stack):
            tried = counts + (np.arange(len(stack)) == at)
            evenness = -float(np.abs(tried / num_picks - 1 / len(stack)).sum())
            options.append((_value(truth, (total + probs) / num_picks, schema), evenness, -at, tried))
        value, evenness, place, counts = max(options, key=lambda option: option[:3])
        total += stack[-place]
        best = max(best, (value, evenness, counts), key=lambda found: found[:2])
    return np.asarray(best[2] / best[2].sum())


def fold_scores(truth: np.ndarray, probs: np.ndarray, held_by: np.ndarray, schema: Schema) -> np.ndarray:
    """(K,) float64: the metric on each fold that it `can_score`, in order of names, as the other folds decide."""
    target = schema.target
    decided = cross_fitted(truth, probs, held_by, target, schema.metric)
    answers = answers_of(probs, decided, target, schema.submission)
    folds = [np.flatnonzero(held_by == fold) for fold in np.unique(held_by)]
    scores = [
        score(schema.metric, truth[rows], answers.of_rows(rows), target, skip_one_sided=True)
        for rows in folds
        if can_score(schema.metric, truth[rows], target)
    ]
    return np.array(scores)


def gain(scores: np.ndarray, over: np.ndarray, schema: Schema) -> tuple[float, float]:
    """(mean, standard error) of how much better `scores` are than `over`, fold by fold; below 0 is worse."""
    difference = scores - over if metric_named(schema.metric).higher_is_better else over - scores
    return mean_and_standard_error(difference.tolist())


def write_blend(path: Path, chosen: Chosen, doubts: Mapping[str, Doubts]) -> None:
    """Write blend.json. doubts: member -> how sure it is out of fold beside this run, of `pipeline.scoring.leak`."""
    written = {name: dataclasses.asdict(found) for name, found in doubts.items()}
    write_json(path, dataclasses.asdict(chosen.blend) | chosen.account | {"doubts": written})


def read_blend(path: Path, members: Sequence[str]) -> tuple[Blend, dict[str, Doubts]]:
    """(the blend, its `doubts`) that `write_blend` wrote, of this run and the `members` that params.yaml names.

    Raises ValueError where the file is not one.
    """
    with made_by("-s evaluate", path):
        found = read_json(path)
        try:
            weights = {str(name): float(weight) for name, weight in found["weights"].items()}
            if list(weights) != [OWN, *members]:
                raise ValueError(f"it is of {list(weights)}, must be of {[OWN, *members]}")
            doubts = {name: Doubts(**values) for name, values in found["doubts"].items()}
            return Blend(how=found["how"], weights=weights), doubts
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a blend of this version ({error})") from error


def account_lines(chosen: Chosen, schema: Schema) -> list[str]:
    """What the blend is and gains, for people; none for a run alone."""
    if chosen.blend.how == ALONE:
        return []
    considered, direction = chosen.account["considered"], metric_named(schema.metric).higher_is_better
    better = "" if direction else " (lower is better)"
    lines = [f"blend by {chosen.blend.how} of {len(chosen.blend.weights)}: {schema.metric}{better} over folds"]
    for name, found in chosen.account["members"].items():
        gains = f"the blend gains {_shown(found, 'blend_gains', sign=True)}"
        lines.append(f"  {name:<20} {_shown(found, 'score')}  weight {chosen.blend.weights[name]:.3f}  {gains}")
    for name, found in considered.items():
        over = "" if name == MEAN else f"  gain over the mean {_shown(found, 'gain_over_mean', sign=True)}"
        kept = "  <- this one" if name == chosen.blend.how else ""
        lines.append(f"  by {name:<17} {_shown(found, 'score')}{over}{kept}")
    return lines


def _mean_of(
    truth: np.ndarray, probs_of: Mapping[str, np.ndarray], held_by: np.ndarray, schema: Schema, *, ranks: bool
) -> tuple[Blend, np.ndarray]:
    """The mean of probabilities or ranks, and its out-of-fold probabilities: nothing is chosen by the truth."""
    blend = Blend(how=RANK if ranks else MEAN, weights=dict.fromkeys(probs_of, 1 / len(probs_of)))
    oof = np.empty(next(iter(probs_of.values())).shape)
    for fold in np.unique(held_by):
        rows = held_by == fold
        part = {name: probs[rows] for name, probs in probs_of.items()}
        oof[rows] = mixed(blend, part, exclusive=schema.target.exclusive)
    return blend, oof


def _weighted(
    truth: np.ndarray, probs_of: Mapping[str, np.ndarray], held_by: np.ndarray, schema: Schema
) -> tuple[Blend, np.ndarray]:
    """The weights that all folds choose, and out of fold what the weights of the other folds give."""

    def chosen_on(rows: np.ndarray) -> Blend:
        weights = greedy_weights(truth[rows], [probs[rows] for probs in probs_of.values()], schema)
        return Blend(how=WEIGHTS, weights=dict(zip(probs_of, weights.tolist(), strict=True)))

    oof = np.empty(next(iter(probs_of.values())).shape)
    for fold in np.unique(held_by):
        own = held_by == fold
        part = {name: probs[own] for name, probs in probs_of.items()}
        oof[own] = mixed(chosen_on(~own), part, exclusive=schema.target.exclusive)
    return chosen_on(np.ones(len(truth), dtype=bool)), oof


def _value(truth: np.ndarray, probs: np.ndarray, schema: Schema) -> float:
    """The metric on these rows, higher is better, of what is decided on the same rows."""
    target, metric = schema.target, metric_named(schema.metric)
    answers = Answers(scores=probs)
    if metric.takes == "labels":
        decision = choose_decision(truth, probs, target, schema.metric)
        if decision != Decision():
            answers = Answers(scores=indicators(decide(probs, target, decision), target).astype(np.float64))
    value = score(schema.metric, truth, answers, target, skip_one_sided=True)
    return value if metric.higher_is_better else -value


def _mean(name: str, scores: np.ndarray) -> dict[str, float]:
    return _pair(name, mean_and_standard_error(scores.tolist()))


def _pair(name: str, found: tuple[float, float]) -> dict[str, float]:
    return {name: found[0], f"{name}_standard_error": found[1]}


def _shown(found: Mapping[str, float], name: str, *, sign: bool = False) -> str:
    value, error = found[name], found[f"{name}_standard_error"]
    return f"{value:+.4f} ± {error:.4f}" if sign else f"{value:.4f} ± {error:.4f}"
