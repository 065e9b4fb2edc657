"""What dividing probabilities by the classes' shares gains, by metric and imbalance: `pipeline/scoring/decision.py`.

Long tails of scikit-learn's digits under noise, sizes falling by equal factors from the most frequent class to the
rarest, in an order drawn anew with each seed; a logistic regression on three folds. The decision is chosen on their
held-out digits, as `evaluate` does, and applied to the folds' mean probabilities of others with the same tail.

    python -m benchmarks.decisions

Printed is the mean over seeds of the metric by the likeliest class, the gain by what was chosen, and its worst; ± the
gain's standard error.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from pipeline.competition.schema import Target
from pipeline.scoring.decision import Decision, choose_decision, decide
from pipeline.scoring.metrics import mean_and_standard_error, score
from pipeline.submission.answers import decided_answers

METRICS = ("macro_f1", "balanced_accuracy", "matthews_corrcoef", "weighted_f1")
CLASSES = 10
MOST_TEST = 80  # digits of the most frequent class
NOISE = 8.0  # standard deviation; a digit's pixels go from 0 to 16
FOLDS = 3


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decisions", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--images", type=int, nargs="+", default=[40, 90], help="of the most frequent class")
    parser.add_argument("--imbalances", type=float, nargs="+", default=[1.5, 3, 10])
    args = parser.parse_args()
    print("| images of a class | metric | likeliest class | gain | worst |\n|---|---|---|---|---|")
    for most in args.images:
        for imbalance in args.imbalances:
            runs = [_gains(most, imbalance, seed) for seed in tqdm(range(args.seeds), leave=False, disable=None)]
            for metric in METRICS:
                plain, gains = zip(*(run[metric] for run in runs), strict=True)
                gain, error = mean_and_standard_error(gains)
                sizes = f"{most} to {_sizes(most, imbalance)[-1]}"
                print(f"| {sizes} | {metric} | {np.mean(plain):.4f} | {gain:+.4f} ± {error:.4f} | {min(gains):+.4f} |")


def _sizes(most: int, imbalance: float) -> list[int]:
    return [max(FOLDS, round(most * imbalance ** (-rank / (CLASSES - 1)))) for rank in range(CLASSES)]


def _gains(most: int, imbalance: float, seed: int) -> dict[str, tuple[float, float]]:
    """Metric -> (its value by the likeliest class, what the decision adds), of test digits."""
    rng = np.random.default_rng(seed)
    pixels, labels = load_digits(return_X_y=True)
    pixels = pixels + rng.normal(0, NOISE, pixels.shape)
    train, test = _dealt(labels, _sizes(most, imbalance), _sizes(MOST_TEST, imbalance), rng)
    oof, mean = np.zeros((len(train), CLASSES)), np.zeros((len(test), CLASSES))
    for learnt, held_out in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(train, labels[train]):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
        model.fit(pixels[train[learnt]], labels[train[learnt]])
        oof[held_out] = model.predict_proba(pixels[train[held_out]])
        mean += model.predict_proba(pixels[test]) / FOLDS
    target = Target(kind="single_label", columns=("label",), classes=tuple(map(str, range(CLASSES))))
    found = {}
    for metric in METRICS:
        chosen = choose_decision(labels[train], oof, target, metric)
        plain, decided = (
            score(metric, labels[test], decided_answers(decide(mean, target, decision), target), target)
            for decision in (Decision(), chosen)
        )
        found[metric] = plain, decided - plain
    return found


def _dealt(
    labels: np.ndarray, train: Sequence[int], test: Sequence[int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from, and others."""
    parts: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    for label, learnt, asked in zip(rng.permutation(CLASSES), train, test, strict=True):
        rows = rng.permutation(np.flatnonzero(labels == label))
        parts[0].append(rows[:learnt])
        parts[1].append(rows[learnt : learnt + asked])
    return np.concatenate(parts[0]), np.concatenate(parts[1])


if __name__ == "__main__":
    main()
