"""What an audit found wrong in folds and numbers (issue 13, section 5), and the same figures by the code as it is.

Column `before` quotes the issue; `now` is computed here, on made-up pictures, scikit-learn's two photographs and
simulated predictions. `--archive` counts the near-copies among the first 2,000 JPEG files of a competition as well.

    python -m benchmarks.trust
    python -m benchmarks.trust --archive path/to/cifar10.zip
"""

import argparse
import io
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.ingest import from_archive
from pipeline.audit.duplicates import near_copies, search_copies
from pipeline.base.params import SplitParams
from pipeline.base.texts import Texts
from pipeline.competition.schema import Target, TrainTable, label_cell
from pipeline.images.decode import decode_image
from pipeline.scoring.decision import choose_decision, cross_fitted, decide
from pipeline.scoring.metrics import score
from pipeline.split.folds import deal_rows
from pipeline.submission.answers import Answers

FOLDS = 5
Row = tuple[str, str, str]  # what, before, now


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="count near-copies among the first 2,000 JPEG files in it")
    return parser.parse_args()


@cache
def picture(number: int) -> np.ndarray:
    """(32, 32, 3) uint8: smooth shapes with some detail, of a contrast that leaves room for brightness."""
    draws = np.random.default_rng(number)
    grey = np.zeros((32, 32), dtype=np.float32)
    for cells in (3, 6, 12, 24):
        grid = Image.fromarray(draws.normal(size=(cells, cells)).astype(np.float32))
        grey += np.asarray(grid.resize((32, 32), Image.Resampling.BICUBIC)) / np.sqrt(cells)
    return np.repeat(np.clip(118 + 35 * grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def brighter(pixels: np.ndarray, levels: int) -> np.ndarray:
    """With `levels` added."""
    return np.clip(pixels.astype(np.int16) + levels, 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str, **options: int) -> bytes:
    """The file of an image."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind, **options)
    return stream.getvalue()


def through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """As a JPEG of this quality shows it."""
    return np.asarray(Image.open(io.BytesIO(encoded(pixels, "JPEG", quality=quality))))


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """Squared to `side` by Pillow."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def deal(groups: Sequence[str], labels: Sequence[str], ids: Sequence[str] | None = None, **keys: str) -> np.ndarray:
    """(N,) folds of images in these groups of copies; '' is in none."""
    names = ids or [f"{row:06d}" for row in range(len(groups))]
    table = TrainTable(Texts(names), Texts(labels), Texts(groups))
    kind = keys.pop("kind", "single_label")
    return deal_rows(table, {}, SplitParams(num_folds=FOLDS, seed=0, **keys), kind=kind).fold_of_row


def named(groups: list[list[tuple[int, int]]], count: int) -> list[str]:
    """Row -> its group's name, '' for none."""
    names = [""] * count
    for number, group in enumerate(groups):
        for _, row in group:
            names[row] = f"g{number}"
    return names


def crowds() -> Iterator[Row]:
    """Copies of ten pictures, as an organiser augments them."""
    for copies, before in ((25, "0 of 250"), (26, "260 of 260"), (100, "-")):
        draws = np.random.default_rng(0)
        pictures = np.repeat(np.arange(10), copies)
        levels, qualities = (draws.integers(*ends, len(pictures)).tolist() for ends in ((-10, 11), (50, 96)))
        changes = zip(pictures.tolist(), levels, qualities, strict=True)
        store = [through_jpeg(brighter(picture(number), level), quality) for number, level, quality in changes]
        groups = named(near_copies([np.stack(store)]), len(store))
        dealt = deal(groups, draws.choice(["a", "b"], len(store)).tolist())
        apart = sum(len(set(dealt[pictures == number])) > 1 for number in range(10)) * copies
        yield f"10 pictures x {copies} copies: images with a twin in another fold", before, f"{apart} of {len(store)}"
    found = search_copies([np.stack([brighter(picture(0), levels) for levels in range(30)])])
    yield "30 copies and nothing else: images counted as not kept together", "0", str(sum(map(len, found.series)))


def weights() -> Iterator[Row]:
    """Images a fold where groups of copies are dealt among single images."""
    for number, each, alone, before in ((40, 25, 200, "120 to 360"), (100, 5, 500, "168 to 232")):
        groups = [f"g{group}" for group in range(number) for _ in range(each)] + [""] * alone
        labels = np.random.default_rng(1).choice(["a", "b", "c"], len(groups))
        for kind in ("single_label", "multi_label"):
            cells = labels.tolist() if kind == "single_label" else [label_cell([label]) for label in labels]
            dealt = deal(groups, cells, kind=kind)
            shares = np.array([np.bincount(dealt[labels == label], minlength=FOLDS) for label in "abc"])
            off = np.abs(shares * FOLDS / shares.sum(axis=1, keepdims=True) - 1).max()
            sizes = np.bincount(dealt)
            now = f"{sizes.min()} to {sizes.max()}, class shares off by {off:.0%}"
            yield f"{number} x {each} + {alone} images, {kind}: images a fold", before if kind[0] == "s" else "-", now


def orders() -> Iterator[Row]:
    """Pairs called copies, at brightness 0, +25 and +50, in two orders of the rows."""
    for levels, before in (((0, 25, 50), "232 of 580"), ((25, 0, 50), "0 of 580")):
        store = np.stack([brighter(picture(number), level) for level in levels for number in range(290)])
        groups = named(near_copies([store]), len(store))
        dealt = deal(groups, ["a", "b"] * (len(store) // 2))
        middle, others = levels.index(25) * 290, [levels.index(level) * 290 for level in (0, 50)]
        pairs = [(middle + number, other + number) for number in range(290) for other in others]
        called = [pair for pair in pairs if near_copies([store[list(pair)]])]
        straddling = sum(dealt[one] != dealt[two] for one, two in called)
        yield f"brightness {levels}: pairs called copies that straddle", before, f"{straddling} of {len(called)}"
    labels = np.random.default_rng(0).choice(["a", "b", "c"], 1000)
    ids = [f"{row:06d}" for row in range(1000)]
    order = np.random.default_rng(1).permutation(1000)
    first, second = (
        deal([""] * 1000, labels.tolist(), ids),
        deal([""] * 1000, labels[order].tolist(), [ids[i] for i in order]),
    )
    yield "rows permuted: images that change their fold", "80 %", f"{(first[order] != second).mean():.0%}"


def recall() -> Iterator[Row]:
    """Copies of 300 pictures that are found."""
    changes: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
        "JPEG of quality 75": ("-", lambda pixels: through_jpeg(pixels, 75)),
        "shifted by one pixel": ("0 %", lambda pixels: np.concatenate([pixels[:1], pixels[:-1]])),
        "halved and doubled": ("0 %", lambda pixels: resized(resized(pixels, 16), 32)),
        "cropped by one pixel, enlarged": ("0 %", lambda pixels: resized(np.ascontiguousarray(pixels[1:, 1:]), 32)),
    }
    store = np.stack([picture(number) for number in range(300)])
    yield "300 different pictures: groups found", "0", str(len(near_copies([store])))
    for name, (before, change) in changes.items():
        groups = near_copies([store, np.stack([change(pixels) for pixels in store])])
        yield f"copies {name}: found", before, f"{sum(len(group) > 1 for group in groups) / 300:.0%}"


def several_classes() -> Iterator[Row]:
    """The same 50 photographs processed four ways, each way a class."""
    labels = ["sharp", "blurred", "noisy", "dark"] * 50
    dealt = deal([f"photo{row // 4}" for row in range(200)], labels)
    counts = {(label, fold) for label, fold in zip(labels, dealt.tolist(), strict=True)}
    yield "50 photographs x 4 classes: images a fold", "split stops", f"{np.bincount(dealt)}, {len(counts)} of 20 cells"


def sharpness(pixels: np.ndarray) -> float:
    """Mean step between a pixel and its four neighbours' mean, grey levels."""
    grey = pixels.astype(float).mean(axis=2)
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.abs(grey[1:-1, 1:-1] - around / 4).mean())


def formats() -> Iterator[Row]:
    """scikit-learn's two photographs as JPEG and as PNG of the same pixels, in stores of many sizes."""
    from sklearn.datasets import load_sample_images

    found = []
    for photograph in load_sample_images().images:
        content = encoded(photograph, "JPEG", quality=90)
        same = encoded(np.asarray(Image.open(io.BytesIO(content))), "PNG")
        for size in (64, 96, 128, 156, 192, 213, 224, 256, 288, 312):
            own, other = (decode_image(file, size, "squash").pixels for file in (content, same))
            difference = np.abs(own.astype(int) - other)
            found.append((difference.mean(), np.percentile(difference, 99), sharpness(own) / sharpness(other)))
    means, tails, ratios = map(list, zip(*found, strict=True))
    yield "JPEG against PNG, 64 to 312 px: mean difference, grey levels", "3.6 to 4.7", f"at most {max(means):.2f}"
    yield "the same: 99th percentile", "22 to 32", f"at most {max(tails):.0f}"
    yield "the same: sharpness, JPEG to PNG", "1.2 to 1.6", f"{min(ratios):.2f} to {max(ratios):.2f}"


def targets(count: int) -> Target:
    """Several labels, so many classes."""
    classes = tuple(f"c{number:02d}" for number in range(count))
    return Target(kind="multi_label", columns=classes, classes=classes)


def one_label() -> Iterator[Row]:
    """7 images have the only label, 5 of them called, 2 others too; 4 are rightly left."""
    truth = np.array([1] * 7 + [0] * 6, dtype=np.float32)[:, None]
    called = Answers(scores=np.array([1] * 5 + [0] * 2 + [1] * 2 + [0] * 4, dtype=float)[:, None])
    yield "several labels with one class: macro F1", "0.6905", f"{score('macro_f1', truth, called, targets(1)):.4f}"
    yield "the same: samples_f1", "raises", f"{score('samples_f1', truth, called, targets(1)):.4f}"


def rule() -> Iterator[Row]:
    """The at-least-one-label rule: no signal, then weak models whose decisions are tried on 5,000 fresh images."""
    target = targets(20)
    truth = np.eye(20, dtype=np.float32)[np.random.default_rng(0).integers(0, 20, 1000)]
    probs = np.random.default_rng(1).random((1000, 20)) * 0.1
    decided = cross_fitted(truth, probs, np.arange(1000) % FOLDS, target, "element_accuracy")
    value = score("element_accuracy", truth, Answers(scores=decided.astype(float)), target)
    yield "no signal, one of 20 labels: element_accuracy", "0.9047", f"{value:.4f}"
    below = {True: 0, False: 0}
    for seed in range(40):
        draws = np.random.default_rng(seed)
        truth = np.eye(20, dtype=np.float32)[draws.integers(0, 20, 5300)]
        truth = np.maximum(truth, draws.random(truth.shape) < 0.03)
        probs = 1 / (1 + np.exp(2 - 0.2 * truth - draws.normal(size=truth.shape)))
        chosen = choose_decision(truth[:300], probs[:300], target, "macro_f1", np.arange(300) % FOLDS)
        values = []
        for at_least in (0, chosen.at_least, 1):
            decision = type(chosen)(thresholds=chosen.thresholds, at_least=at_least)
            decided = decide(probs[300:], target, decision)
            values.append(score("macro_f1", truth[300:], Answers(scores=decided.astype(float)), target))
        below[True] += values[1] < values[0]
        below[False] += values[2] < values[0]
    yield (
        f"macro F1 below its thresholds without the rule (always used: {below[False]} of 40)",
        "8 of 40",
        f"{below[True]} of 40",
    )


def one_cycle_peaks() -> Iterator[Row]:
    """The highest rate of a step, for a peak of 0.5."""
    import torch

    from pipeline.training.optimisation import one_cycle

    for num_steps, before in ((10, "0.4545"), (7, "no warm-up")):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        schedule = one_cycle(optimizer, num_steps=num_steps, warmup=0.2)
        rates = []
        for _ in range(num_steps):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            schedule.step()
        yield (
            f"one-cycle, {num_steps} steps, peak 0.5: first rate, highest",
            before,
            f"{rates[0]:.4f}, {max(rates):.4f}",
        )


def streams() -> Iterator[Row]:
    """The order of an epoch's images, against the stream of its first batch's augmentation."""
    from pipeline.loop import batches

    order = np.asarray(batches.epoch_order(1000, seed=3, fold=1, epoch=2))
    same = (order == np.random.default_rng([3, 1, 2, 0]).permutation(1000)).all()
    yield "order of an epoch drawn as augmentation draws", "one stream", "one stream" if same else "its own stream"


def different(archive: Path) -> Iterator[Row]:
    """Near-copies among images that are all different, but for what a look at them tells."""
    store = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in from_archive(archive, 2000).values()]
    groups = near_copies([np.stack([resized(pixels, 32) for pixels in store])])
    yield f"{len(store)} images of {archive.name}: groups of near-copies", "0", str(len(groups))


def main() -> None:
    """Print the table."""
    args = parse_args()
    points = [crowds, weights, orders, recall, several_classes, formats, one_label, rule, one_cycle_peaks, streams]
    print(f"{'':78} {'before':>12}  now")
    for point in points:
        for what, before, now in point():
            print(f"{what:78} {before:>12}  {now}", flush=True)
    if args.archive:
        for what, before, now in different(args.archive):
            print(f"{what:78} {before:>12}  {now}")


if __name__ == "__main__":
    main()
