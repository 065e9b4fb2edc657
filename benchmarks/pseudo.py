"""What pseudo-labels and several seeds gain where labels are few: scikit-learn's digits, some of them labelled.

For each deal: `--labelled` digits to train on, `--unlabelled` that a teacher labels (the test images of a competition)
and the rest, which no network learns from in any way; without label smoothing. Accuracy on these two is printed, mean
over deals ± standard error, and the gain over the first row, deal by deal. `as many steps` trains on the labelled ones
alone, for as many steps as the row before it.

    python -m benchmarks.pseudo
"""

import argparse

import numpy as np
import torch
from sklearn.datasets import load_digits

from pipeline.base import allocator
from pipeline.base.params import AugmentParams, TrainParams
from pipeline.loop.batches import channel_statistics
from pipeline.loop.device import Compute, autocast_dtype
from pipeline.loop.streams import draws, seed_torch
from pipeline.models.networks import Normalised
from pipeline.models.resnet9 import ResNet9
from pipeline.training.fold import FoldData, train_fold

CPU = torch.device("cpu")
CLASSES = 10
NETWORKS = 3  # of the row of several seeds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--unlabelled", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--confidence", type=float, default=0.9, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--deals", type=int, default=4, help="default: %(default)s")
    args = parser.parse_args()
    allocator.keep_freed_memory()
    deals = [_accuracies(args, deal) for deal in range(args.deals)]
    print("| | unlabelled | rest |\n|---|---|---|")
    for name in deals[0]:
        found = np.array([deal[name] for deal in deals])  # (deals, 2)
        gains = found - np.array([next(iter(deal.values())) for deal in deals])
        cells = [f"{_spread(found[:, at])} ({_spread(gains[:, at], '+')})" for at in range(2)]
        print(f"| {name} | {' | '.join(cells)} |")


def _spread(values: np.ndarray, sign: str = "") -> str:
    return f"{values.mean():{sign}.4f} ± {values.std(ddof=1) / len(values) ** 0.5:.4f}"


def _accuracies(args: argparse.Namespace, deal: int) -> dict[str, tuple[float, float]]:
    """Row -> accuracy on the unlabelled digits and on the rest."""
    digits = load_digits()
    order = draws("deal", deal).permutation(len(digits.target))
    images = (digits.images[order] * (255 / 16)).astype(np.uint8)[..., None].repeat(3, axis=3)
    truth = digits.target[order].astype(np.int64)
    first, second = args.labelled, args.labelled + args.unlabelled

    def probs(targets: np.ndarray, rows: np.ndarray, epochs: int, seed: int) -> np.ndarray:
        return _probs(images, targets, rows, num_labelled=first, epochs=epochs, seed=seed)

    def right(found: np.ndarray) -> tuple[float, float]:
        correct = found.argmax(axis=1) == truth[first:]
        return float(correct[: second - first].mean()), float(correct[second - first :].mean())

    labelled = np.arange(first)
    one = [probs(truth, labelled, args.epochs, deal * NETWORKS + number) for number in range(NETWORKS)]
    sure = first + np.flatnonzero(one[0][: second - first].max(axis=1) >= args.confidence)
    soft = np.eye(CLASSES, dtype=np.float32)[truth]
    soft[first:] = one[0]
    both = np.concatenate([labelled, sure])
    longer = round(args.epochs * len(both) / first)
    agreed = (soft[sure].argmax(axis=1) == truth[sure]).mean()
    print(
        f"deal {deal}: {len(sure)} of {args.unlabelled} labelled by the teacher, {agreed:.4f} of them right", flush=True
    )
    return {
        "labelled alone": right(one[0]),
        f"{NETWORKS} seeds": right(np.mean(one, axis=0)),
        "pseudo-labels": right(probs(soft, both, args.epochs, deal * NETWORKS)),
        "as many steps": right(probs(truth, labelled, longer, deal * NETWORKS)),
    }


def _probs(
    images: np.ndarray, targets: np.ndarray, rows: np.ndarray, *, num_labelled: int, epochs: int, seed: int
) -> np.ndarray:
    """(n, C) of all images behind the labelled ones, which normalise them, by a network trained on `rows`."""
    train = TrainParams(
        seed=seed, epochs=epochs, batch_size=32, optimizer="sgd", peak_lr=0.1, momentum=0.9, weight_decay=5e-4,
        warmup=0.2, label_smoothing=0.0, ema_decay=0.0, tta="none", valid_every=epochs,
    )  # fmt: skip
    augment = AugmentParams(crop_padding=1, crop_fill="zeros", flip=False, cutout=0, policy="none")
    data = FoldData(
        fold="0", store=torch.from_numpy(images), train_rows=rows, valid_rows=np.arange(num_labelled, len(images)),
        targets=targets, target_kind="single_label", num_classes=CLASSES,
    )  # fmt: skip
    seed_torch("first weights", seed)
    model = Normalised(ResNet9(num_classes=CLASSES, width=16), *channel_statistics(images, np.arange(num_labelled)))
    compute = Compute(device=CPU, dtype=autocast_dtype("auto", CPU))
    found = train_fold(model, data, train=train, augment=augment, compute=compute, report=lambda *_: None).held_out
    assert found.probs is not None
    return found.probs


if __name__ == "__main__":
    main()
