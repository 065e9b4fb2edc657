"""Curves by fold: what was measured alike in one chart, what was not in charts of its own."""

from collections.abc import Callable
from typing import Any

from pipeline.panels.run import Run
from pipeline.report.svg import Chart, Line, chart, legend

Row = dict[str, Any]


def learning(run: Run) -> dict[str, Any]:
    """Charts of loss, accuracy, learning rate and gradient norm; none where there was one epoch alone."""
    networks = list(dict.fromkeys((row["fold"], row["network"]) for row in run.curves))
    rows_of = {key: [row for row in run.curves if (row["fold"], row["network"]) == key] for key in networks}
    several = len({network for _, network in networks}) > 1
    names = {key: f"fold {key[0]}, network {key[1]}" if several else f"fold {key[0]}" for key in networks}

    def lines(column: str, *, dashed: bool = False, suffix: str = "") -> list[Line]:
        found = []
        for (fold, network), rows in rows_of.items():
            points = [(row["epoch"], row[column]) for row in rows if row[column] is not None]
            colour = run.folds.index(fold)
            found.append(Line(names[(fold, network)] + suffix, points, colour, dashed))
        return [line for line in found if line.points]

    def drawn(title: str, y_label: str, found: list[Line]) -> Any:
        return chart(Chart(title, "epoch", y_label, lines=found, whole_x=True)) if found else None

    params = run.cards[run.folds[0]]["params"]
    accuracy = lines("valid_accuracy", suffix=" held out") + lines("train_accuracy", dashed=True, suffix=" training")
    charts = [
        ("Held-out loss", drawn("held-out loss by epoch", "held-out loss", lines("valid_loss")),
         "On the images that the fold holds out, as they are."),
        ("Accuracy", drawn("accuracy by epoch", "accuracy", accuracy),
         "Solid: held out. Dashed: in training, counted while the weights move" + _augmented(params["augment"]) + "."),
        ("Training loss", drawn("training loss by epoch", "training loss", lines("train_loss")),
         "What was minimised" + _unlike(params) + ": not to be compared with the held-out loss."),
        ("Learning rate", drawn("learning rate by epoch", "learning rate", lines("learning_rate")), ""),
        ("Gradient norm", drawn("mean gradient norm by epoch", "L2 norm", lines("gradient_norm_mean")),
         "Mean over the epoch's steps, before clipping."),
    ]  # fmt: skip
    trained = max((row["epoch"] for row in run.curves), default=0) > 1
    return {
        "charts": [(title, svg, note) for title, svg, note in charts if trained and svg is not None],
        "legend": legend((f"fold {fold}", at, False) for at, fold in enumerate(run.folds)),
        "last": [(names[key], rows[-1]) for key, rows in rows_of.items() if rows],
        "alone": len(run.blend["weights"]) > 1,
    }


def _augmented(augment: Row) -> str:
    on = [
        name
        for name in ("crop_padding", "crop_scale", "flip", "cutout", "policy", "mixup", "cutmix")
        if augment.get(name)
    ]
    on = [name for name in on if augment[name] != "none"]
    return f", on augmented images ({', '.join(on)})" if on else ""


def _unlike(params: Row) -> str:
    """What makes the training loss another quantity than the held-out one."""
    train, augment = params["train"], params["augment"]
    tests: list[tuple[str, Callable[[], bool]]] = [
        (f"label smoothing {train.get('label_smoothing')}", lambda: bool(train.get("label_smoothing"))),
        (f"loss {train.get('loss')}", lambda: train.get("loss", "auto") != "auto"),
        (f"class weights {train.get('class_weights')}", lambda: train.get("class_weights", "none") != "none"),
        ("mixed labels", lambda: bool(augment.get("mixup") or augment.get("cutmix"))),
    ]
    on = [what for what, holds in tests if holds()]
    return f" ({', '.join(on)}; augmented images)" if on else " (augmented images, moving weights)"
