"""How many of the labels made wrong on purpose the workbench suspects, and how many of those it suspects are wrong.

Five per cent of the labels of scikit-learn's digits; out-of-fold predictions of its own classifiers, which learnt from
the wrong labels (10 s). The last column is what `python -m pipeline workbench` prints without knowing which are wrong.

    python -m benchmarks.suspects
"""

import argparse
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from pipeline.competition.schema import Target
from pipeline.workbench.suspects import suspect_mask, trial

SHARE, FOLDS = 0.05, 5
DIGITS = Target(kind="single_label", columns=("label",), classes=tuple(map(str, range(10))))
MODELS = {
    "10 nearest neighbours": KNeighborsClassifier(10),
    "30 nearest neighbours": KNeighborsClassifier(30),
    "logistic regression": LogisticRegression(C=1.0, max_iter=500),
    "logistic regression, regularised far too much": LogisticRegression(C=0.01, max_iter=500),
}


def main() -> None:
    """Print a row a model."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    pixels, right = load_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    wrong = generator.random(len(right)) < SHARE
    given = np.where(wrong, (right + generator.integers(1, 10, size=len(right))) % 10, right)
    held_by = generator.permutation(np.arange(len(right)) % FOLDS)
    print("| model | accuracy | found | of these wrong | found in the trial |\n|---|---|---|---|---|")
    for name, model in MODELS.items():
        probs = _out_of_fold(model, pixels / 16, given, held_by)
        suspect = suspect_mask(given, probs, DIGITS)
        both = (suspect & wrong).sum()
        figures = (
            (probs.argmax(axis=1) == right).mean(), both / wrong.sum(), both / suspect.sum(),
            np.mean(trial(given, probs, held_by, DIGITS)),
        )  # fmt: skip
        print(f"| {name} | {' | '.join(f'{figure:.2f}' for figure in figures)} |", flush=True)


def _out_of_fold(model: Any, pixels: np.ndarray, labels: np.ndarray, held_by: np.ndarray) -> np.ndarray:
    """(N, 10) float64: each image by the model that the other folds taught."""
    probs = np.zeros((len(labels), 10))
    for fold in range(FOLDS):
        own = held_by == fold
        probs[own] = model.fit(pixels[~own], labels[~own]).predict_proba(pixels[own])
    return probs


if __name__ == "__main__":
    main()
