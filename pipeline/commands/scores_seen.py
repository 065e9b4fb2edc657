"""Scores that suggested recipes have reached on sets which resemble one's own: an order of magnitude, no promise."""

import math
from dataclasses import dataclass

from pipeline.commands.suggestion import Facts, budget_seconds

ALIKE = math.log(5)  # sets differ by less than five times, in images and in classes


@dataclass(frozen=True)
class Seen:
    """Out of fold; the tables are in docs/recipes.md, docs/weights.md and docs/performance.md."""

    what: str
    num_train: int
    num_classes: int
    several: bool
    weights: bool
    scores: dict[str, str]  # budget -> metric and score


SEEN = (
    Seen("photographs of 32 px", 50_000, 10, False, False, {"10m": "accuracy 0.884", "1h": "accuracy 0.912 to 0.915"}),
    Seen(
        "photographs of hands before plain walls",
        1_653,
        10,
        False,
        False,
        {"3m": "accuracy 0.997", "10m": "accuracy 0.998"},
    ),
    Seen("photographs of insects", 244, 2, False, False, {"2m": "accuracy 0.76", "10m": "accuracy 0.84, one fold"}),
    Seen("photographs of insects", 244, 2, False, True, {"10m": "accuracy 0.93 to 0.95"}),
    Seen("mosaics of four photographs", 1_200, 10, True, False, {"10m": "samples F1 0.75"}),
)


def seen_lines(facts: Facts, budget: str) -> list[str]:
    """What was seen within this budget or the nearest below it, of sets of the same kind; no line where nothing was."""
    lines = []
    for seen in SEEN:
        within = [name for name in seen.scores if budget_seconds(name) <= budget_seconds(budget)]
        apart = (seen.num_train / facts.num_train, seen.num_classes / max(1, len(facts.classes)))
        kind = (facts.several, facts.weights is not None)
        if within and kind == (seen.several, seen.weights) and all(abs(math.log(ratio)) < ALIKE for ratio in apart):
            best = max(within, key=budget_seconds)
            lines.append(f"{seen.num_train:,} {seen.what}, {seen.num_classes} classes: {seen.scores[best]} in {best}")
    head, rest = "scores seen  ", " " * 13
    return [f"{rest if number else head}{line}" for number, line in enumerate(lines)]
