"""What losses, class weights and balanced sampling gain, by metric and imbalance: one fold for each setting and seed.

Three tasks are made of a competition's labelled pictures (scikit-learn's digits, or those of `--archive`):

- single_label: its classes in a long tail, sizes falling by equal factors from the most frequent to the rarest, in an
  order drawn anew with each seed. Held-out pictures are as many of each class and weighed by the tail's shares: the
  score that a test set of the same tail has on average, with less noise.
- multi_label: mosaics of 2 x 2 pictures of such a tail, three in ten places empty; the labels are the classes there.
- ordinal: mosaics of 2 x 2 pictures; the grade is how many are of the first half of the classes, each with a chance of
  0.3: 0 to 4, of which 4 is rare.

Labels are decided as the pipeline decides them (thresholds and cuts for the metric, chosen on the other half of the
held-out pictures). Printed is the mean over seeds ± its standard error, then the gain over the first row, seed by seed,
with its own; * where the gain is more than two standard errors. Losses (log_loss) gain where they fall.

    python -m benchmarks.losses
    python -m benchmarks.losses --archive path/to/cifar10.zip --tasks single_label --imbalances 50
"""

import argparse
import csv
import io
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, f1_score, log_loss

from pipeline.base import allocator
from pipeline.base.params import AugmentParams, TrainParams
from pipeline.competition.schema import Target
from pipeline.loop.batches import channel_statistics
from pipeline.loop.device import Compute, autocast_dtype
from pipeline.loop.objective import num_outputs
from pipeline.loop.streams import draws, seed_torch
from pipeline.models.networks import Normalised
from pipeline.models.resnet9 import ResNet9
from pipeline.scoring.decision import cross_fitted
from pipeline.scoring.metrics import score
from pipeline.submission.answers import Answers, decided_answers
from pipeline.training.fold import FoldData, train_fold

CPU = torch.device("cpu")
EMPTY = 0.3  # share of a multi_label mosaic's places without a picture
CHANCE = 0.3  # of a place of an ordinal mosaic to count
GRADES = 5
MOST_HELD_OUT = 200  # pictures of a class; mosaics: ten times as many
LOSSES = ("log_loss",)
WEIGHTED = {f"class_weights {how}": {"class_weights": how} for how in ("sqrt", "balanced")}
SAMPLED = {f"sampling {how}": {"sampling": how} for how in ("sqrt", "balanced")}
FOCAL = {"focal": {"loss": "focal"}}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "single_label": {"none": {}, **WEIGHTED, **SAMPLED, **FOCAL},
    "multi_label": {"none": {}, **WEIGHTED, **SAMPLED, **FOCAL, "asymmetric": {"loss": "asymmetric"}},
    "ordinal": {
        "none": {}, "class_weights sqrt": WEIGHTED["class_weights sqrt"], "cumulative": {"loss": "cumulative"},
    },
}  # fmt: skip


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--archive", type=Path, help="zip with train.csv (id,label) and train/<id>.jpg; default: digits"
    )
    parser.add_argument("--side", type=int, default=32, help="pixels of an archive's pictures; default: %(default)s")
    parser.add_argument("--tasks", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--imbalances", nargs="+", type=float, default=[10.0, 50.0], help="default: 10 50")
    parser.add_argument("--images", type=int, default=2000, help="to train on, at most; default: %(default)s")
    parser.add_argument("--epochs", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--width", type=int, default=16, help="of ResNet9; default: %(default)s")
    return parser.parse_args()


def read_pictures(archive: Path | None, side: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """((N, S, S, 3) uint8, (N,) class indices), at most `most` of each class."""
    if archive is None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=3), digits.target.astype(np.int64)
    pictures, labels, taken = [], [], dict[str, int]()
    with zipfile.ZipFile(archive) as files:
        rows = csv.DictReader(io.TextIOWrapper(files.open("train.csv"), encoding="utf-8"))
        for row in rows:
            taken[row["label"]] = taken.get(row["label"], 0) + 1
            if taken[row["label"]] <= most:
                with Image.open(io.BytesIO(files.read(f"train/{row['id']}.jpg"))) as image:
                    square = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
                pictures.append(np.asarray(square))
                labels.append(row["label"])
    return np.stack(pictures), np.unique(labels, return_inverse=True)[1].astype(np.int64)


def tail_shares(num_classes: int, imbalance: float, chance: np.random.Generator) -> np.ndarray:
    """(C,) shares that fall by equal factors, `imbalance` in all, in an order drawn by chance."""
    sizes = imbalance ** -np.linspace(0.0, 1.0, num_classes)
    return chance.permutation(sizes / sizes.sum())


def parted(labels: np.ndarray, chance: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Rows of each class (to train on, held out), in an order drawn by chance."""
    of_class = [chance.permutation(np.flatnonzero(labels == label)) for label in range(labels.max() + 1)]
    held = min(MOST_HELD_OUT, min(map(len, of_class)) // 3)
    return [rows[held:] for rows in of_class], [rows[:held] for rows in of_class]


class Task:
    """Pictures to train on and to hold out, of one kind of target, for one seed."""

    def __init__(self, kind: str, pictures: np.ndarray, labels: np.ndarray, imbalance: float, images: int, seed: int):
        chance = draws("task", seed, int(imbalance))
        self.kind, self.num_classes = kind, int(labels.max()) + 1
        learnt, held = parted(labels, chance)
        shares = tail_shares(self.num_classes, imbalance, chance)
        self.weights = None
        if kind == "single_label":
            total = min(images, *(len(rows) / share for rows, share in zip(learnt, shares, strict=True)))
            sizes = np.maximum(1, np.rint(shares * total)).astype(int)
            rows = np.concatenate([*(own[:size] for own, size in zip(learnt, sizes, strict=True)), *held])
            self.store, self.targets = pictures[rows], labels[rows]
            self.num_train = int(sizes.sum())
            self.weights = shares[self.targets[self.num_train :]]
            return
        self.num_train = images
        counts = images, 10 * MOST_HELD_OUT
        if kind == "ordinal":
            half = self.num_classes // 2
            first = np.arange(self.num_classes) < half
            shares = np.where(first, CHANCE / half, (1 - CHANCE) / (self.num_classes - half))
        empty = EMPTY if kind == "multi_label" else 0.0
        made = [
            mosaics(pictures, rows, shares, empty, count, chance)
            for rows, count in zip((learnt, held), counts, strict=True)
        ]
        self.store, places = (np.concatenate(part) for part in zip(*made, strict=True))
        if kind == "ordinal":
            self.num_classes = GRADES
            self.targets = (places < half).sum(axis=1)
        else:
            self.targets = (places[:, :, None] == np.arange(self.num_classes)).any(axis=1).astype(np.float32)

    def train(self, setting: dict[str, Any], *, epochs: int, width: int, seed: int) -> np.ndarray:
        """Probabilities (N, C) of the pictures held out."""
        rows = np.arange(len(self.store))
        data = FoldData(
            fold="0", store=torch.from_numpy(self.store), train_rows=rows[: self.num_train],
            valid_rows=rows[self.num_train :], targets=self.targets, target_kind=self.kind,
            num_classes=self.num_classes,
        )  # fmt: skip
        side = self.store.shape[1]
        train = TrainParams(
            seed=seed, epochs=epochs, batch_size=32, optimizer="sgd", peak_lr=0.03, momentum=0.9, weight_decay=5e-4,
            warmup=0.2, label_smoothing=0.1 if self.kind == "single_label" else 0.0, ema_decay=0.0, tta="none",
            valid_every=epochs, **setting,
        )  # fmt: skip
        augment = AugmentParams(
            crop_padding=max(1, side // 10), crop_fill="reflect" if side >= 24 else "zeros", flip=False, cutout=0,
            policy="none",
        )  # fmt: skip
        seed_torch("first weights", seed, 0)
        network = ResNet9(num_classes=num_outputs(self.kind, self.num_classes), width=width)
        model = Normalised(network, *channel_statistics(self.store, data.train_rows))
        compute = Compute(device=CPU, dtype=autocast_dtype("auto", CPU))
        probs = train_fold(
            model, data, train=train, augment=augment, compute=compute, report=lambda *_: None
        ).held_out.probs
        assert probs is not None
        return probs

    def scores(self, probs: np.ndarray) -> dict[str, float]:
        """Metric -> its value."""
        truth = self.targets[self.num_train :]
        if self.kind == "single_label":
            said, weights = probs.argmax(axis=1), self.weights
            sure = probs.astype(np.float64)
            return {
                "accuracy": accuracy_score(truth, said, sample_weight=weights),
                "macro_f1": f1_score(truth, said, average="macro", sample_weight=weights),
                "balanced_accuracy": balanced_accuracy_score(truth, said),
                "log_loss": log_loss(truth, sure / sure.sum(axis=1, keepdims=True), sample_weight=weights),
            }
        classes = tuple(map(str, range(self.num_classes)))
        target = Target(kind=self.kind, columns=("label",), classes=classes)
        halves = np.arange(len(truth)) % 2

        def decided(metric: str) -> float:
            answers = cross_fitted(truth, probs, halves, target, metric)
            form = Answers(scores=answers.astype(float)) if answers.ndim == 2 else decided_answers(answers, target)
            return score(metric, truth, form, target)

        soft = Answers(scores=probs.astype(float))
        if self.kind == "ordinal":
            found = {name: decided(name) for name in ("quadratic_weighted_kappa", "accuracy", "macro_f1")}
            return found | {"log_loss": score("log_loss", truth, soft, target)}
        return {
            "micro_f1": decided("micro_f1"),
            "macro_f1": decided("macro_f1"),
            "macro_f1 at 0.5": float(f1_score(truth, probs >= 0.5, average="macro", zero_division=0.0)),
            "mean_column_auc": score("mean_column_auc", truth, soft, target),
            "mAP": float(average_precision_score(truth, probs, average="macro")),
            "log_loss": score("log_loss", truth, soft, target),
        }


def mosaics(
    pictures: np.ndarray, rows: list[np.ndarray], shares: np.ndarray, empty: float, count: int,
    chance: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """((N, S, S, 3) uint8, (N, 4) class of each place, -1 for none): 2 x 2 pictures, of half the side from 16 px on."""
    if pictures.shape[1] >= 16:
        halves = pictures.reshape(len(pictures), pictures.shape[1] // 2, 2, -1, 2, 3)
        pictures = np.rint(halves.mean(axis=(2, 4))).astype(np.uint8)
    side = pictures.shape[1]
    places = chance.choice(len(shares), (count, 4), p=shares)
    chosen = np.array([[chance.choice(rows[label]) for label in four] for four in places])
    places[chance.random(places.shape) < empty] = -1
    tiles = np.where((places >= 0)[..., None, None, None], pictures[chosen], np.uint8(0))
    square = tiles.reshape(count, 2, 2, side, side, 3).transpose(0, 1, 3, 2, 4, 5)
    return np.ascontiguousarray(square.reshape(count, 2 * side, 2 * side, 3)), places


def table(found: dict[str, list[dict[str, float]]]) -> list[str]:
    """Lines of Markdown: a row a setting, a column a metric."""
    plain = next(iter(found.values()))
    lines = [f"| | {' | '.join(plain[0])} |", "|---" * (len(plain[0]) + 1) + "|"]
    for setting, runs in found.items():
        cells = []
        for name in plain[0]:
            values = np.array([run[name] for run in runs])
            gains = (values - [run[name] for run in plain]) * (-1 if name in LOSSES else 1)
            cell = f"{values.mean():.4f} ± {_error(values):.4f}"
            if runs is not plain:
                mark = " *" if gains.mean() > 2 * _error(gains) else ""
                cell += f" ({gains.mean():+.4f} ± {_error(gains):.4f}{mark})"
            cells.append(cell)
        lines.append(f"| {setting} | {' | '.join(cells)} |")
    return lines


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def main() -> None:
    """Train in turns, print the tables."""
    args = parse_args()
    allocator.keep_freed_memory()
    started = time.perf_counter()
    pictures, labels = read_pictures(args.archive, args.side, args.images + MOST_HELD_OUT)
    for task in args.tasks:
        for imbalance in args.imbalances if task != "ordinal" else [1.0]:
            found: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS[task]}
            for seed in range(args.seeds):
                made = Task(task, pictures, labels, imbalance, args.images, seed)
                for name, setting in SETTINGS[task].items():
                    probs = made.train(setting, epochs=args.epochs, width=args.width, seed=seed)
                    found[name].append(made.scores(probs))
            tail = f", imbalance {imbalance:g}" if task != "ordinal" else ""
            shown = ", ".join(map(str, np.sort(_sizes(made))[::-1].astype(int)))
            print(f"\n{task}{tail}: {made.num_train:,} images to train on, of the last seed {shown} a class")
            print("\n".join(table(found)), flush=True)
    name = args.archive.name if args.archive else "digits"
    print(
        f"\n{name}, {args.epochs} epochs, width {args.width}, {args.seeds} seeds, {torch.get_num_threads()} threads: "
        f"{(time.perf_counter() - started) / 60:.1f} min"
    )


def _sizes(made: Task) -> np.ndarray:
    targets = made.targets[: made.num_train]
    return targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=made.num_classes)


if __name__ == "__main__":
    main()
