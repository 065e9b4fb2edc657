"""What stage neighbours finds of what was planted, and what it finds where nothing was: on the images of a competition.

`copies`: changed copies of some images, each kind by itself, found by features and by the audit's search. `drift`: how
often random halves of one set are called unlike, and parts that were changed. `suspects`: labels made wrong. Features
are those of a folder of pretrained weights (`python -m pipeline weights import`), and kept in --cache.

    python -m benchmarks.neighbours copies insects.zip --weights weights/lite0 --side 128
    python -m benchmarks.neighbours drift insects.zip --weights weights/lite0 --side 128
    python -m benchmarks.neighbours suspects insects.zip --weights weights/lite0 --side 128
"""

import argparse
import csv
import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pipeline.archive.archive import open_archive
from pipeline.audit.drift import class_weights, measure
from pipeline.audit.duplicates import near_copies
from pipeline.audit.label_neighbours import contradictions, looks, voters
from pipeline.audit.neighbour_findings import DRIFT_DEVIATIONS, by_class_mix, drifts, label_findings
from pipeline.audit.neighbours import Copies, find_copies, nearest, space_of
from pipeline.competition.schema import Target
from pipeline.images.decode import decode_image
from pipeline.workbench.suspects import contradicted

SEARCHED, SEEDS, SPLITS = 15, 10, 60
MODEL_SEEDS = 3  # of those: a model takes longer
SIZES = ((25, 25), (100, 50), (200, 100), (1000, 400))


def png(image: Image.Image) -> bytes:
    """The file of an image as it is."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def jpeg(image: Image.Image, quality: int) -> bytes:
    """The file of an image of this quality."""
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=quality)
    return stream.getvalue()


def cropped(image: Image.Image, share: float) -> Image.Image:
    """So much of each side, nearer to one corner."""
    width, height = image.size
    kept = int(width * share), int(height * share)
    left, top = (int(0.65 * (whole - part)) for whole, part in zip(image.size, kept, strict=True))
    return image.crop((left, top, left + kept[0], top + kept[1]))


def written_over(image: Image.Image) -> Image.Image:
    """White words over 0.7 of the width and 0.15 of the height."""
    image, (width, height) = image.copy(), image.size
    words = Image.new("L", (60, 12), 0)
    ImageDraw.Draw(words).text((2, 0), "SAMPLE (c)", fill=255)
    words = words.resize((int(width * 0.7), int(height * 0.15)))
    image.paste((255, 255, 255), (int(width * 0.15), int(height * 0.75)), words)
    return image


def halved(image: Image.Image) -> Image.Image:
    """Half the side and back."""
    width, height = image.size
    small = image.resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BILINEAR)
    return small.resize(image.size, Image.Resampling.BICUBIC)


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG of quality 30": lambda image: jpeg(image, 30),
    "cropped to 80 % of the area": lambda image: png(cropped(image, 0.8**0.5)),
    "cropped to 80 % of each side": lambda image: png(cropped(image, 0.8)),
    "turned by 5 degrees": lambda image: png(image.rotate(5, Image.Resampling.BICUBIC)),
    "turned by 10 degrees": lambda image: png(image.rotate(10, Image.Resampling.BICUBIC)),
    "brighter by 40 %": lambda image: png(image.point(lambda level: min(255, int(level * 1.4)))),
    "written over": lambda image: png(written_over(image)),
    "halved and doubled": lambda image: png(halved(image)),
    "mirrored": lambda image: png(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
}


@dataclass(frozen=True)
class Set:
    """Images of a competition and their features, and changed copies of some of them."""

    store: np.ndarray
    features: np.ndarray
    labels: np.ndarray  # (N,) class indices, -1 for a test image
    chosen: np.ndarray  # (M,) rows that have copies
    copies: dict[str, tuple[np.ndarray, np.ndarray]]  # kind -> (store, features)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("copies", "drift", "suspects"))
    parser.add_argument("archive", type=Path, help="zip with train.csv (id,label), train/ID.jpg and test/ID.jpg")
    parser.add_argument("--weights", required=True, help="folder of pretrained weights")
    parser.add_argument("--architecture", default="tf_efficientnet_lite0")
    parser.add_argument("--side", type=int, default=128, help="of the stored images, pixels")
    parser.add_argument("--most", type=int, default=4000, help="images, drawn from all")
    parser.add_argument("--copied", type=int, default=100, help="images of which copies are made")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "neighbours", help="for features")
    args = parser.parse_args()
    rows = {"copies": copies, "drift": drift, "suspects": suspects}[args.what](read_set(args))
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def read_set(args: argparse.Namespace) -> Set:
    """Decode the images and compute the features that the cache lacks."""
    with open_archive(args.archive) as archive:
        names = sorted(name for name in archive.names if name.lower().endswith((".jpg", ".png")))
        draws = np.random.default_rng(0)
        if len(names) > args.most:
            names = [names[at] for at in np.sort(draws.choice(len(names), args.most, replace=False)).tolist()]
        files = [archive.read(name) for name in names]
        table = csv.DictReader(io.StringIO(archive.read("train.csv").decode()))
        label_of = {f"train/{row['id']}": row["label"] for row in table}
    classes = {label: number for number, label in enumerate(sorted(set(label_of.values())))}
    labels = np.array([classes.get(label_of.get(name.rpartition(".")[0], ""), -1) for name in names])
    chosen = np.sort(np.random.default_rng(1).choice(len(names), min(args.copied, len(names)), replace=False))
    store = _stored(files, args.side)
    changed = {}
    for kind, change in CHANGES.items() if args.what != "suspects" else ():
        pictures = [Image.open(io.BytesIO(files[row])).convert("RGB") for row in chosen.tolist()]
        copied = _stored([change(picture) for picture in pictures], args.side)
        changed[kind] = (copied, _features(copied, args))
    return Set(store, _features(store, args), labels, chosen, changed)


def _stored(files: list[bytes], side: int) -> np.ndarray:
    return np.stack([decode_image(content, side, "squash").pixels for content in files])


def _features(store: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    """(N, width) float32, the mean over an image and its mirror image."""
    import torch

    from pipeline.models import features
    from pipeline.models.networks import compute_for
    from pipeline.models.pretrained import resolve

    key = json.dumps([args.architecture, args.weights, hashlib.sha256(store.tobytes()).hexdigest()])
    out: Path = args.cache / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if not out.is_file():
        card, _ = resolve(args.architecture, {}, args.weights, "auto", args.cache / "weights.safetensors")
        network = features.feature_network(args.architecture, {}, args.cache / "weights.safetensors", card, "mirror")
        device = torch.device("cpu")
        compute = compute_for(args.architecture, store.shape[1], device=device, precision="fp32", compiled=False)
        features.embed_store(
            network, torch.from_numpy(store), out, args.cache / "pieces", compute=compute, ingredients={"key": key},
            title="features",
        )  # fmt: skip
    return np.load(out)


def copies(found: Set) -> Iterator[list[str]]:
    """Of the copies of each kind, those found; pairs found beside these; the same of the audit's search."""
    yield ["copies", "found by features", "pairs beside", "found by the audit", "limit"]
    yield ["---"] * 5
    alone = _search(found.store, found.features)
    known = {(one, two) for one, two in alone.pairs.tolist()}
    yield ["none planted", "", str(len(known)), "", f"{alone.limit:.2f}"]
    original = np.concatenate([np.arange(len(found.store)), found.chosen])
    for kind, (store, features) in found.copies.items():
        whole = np.concatenate([found.store, store])
        searched = _search(whole, np.concatenate([found.features, features]))
        hashed = [original[[row for _, row in group]] for group in near_copies([whole])]
        by_audit = sum(len(rows) - len(set(rows.tolist())) for rows in hashed)
        shown = np.sort(original[searched.pairs], axis=1).tolist()
        planted = sum(one == two for one, two in shown)
        beside = sum(one != two and (one, two) not in known for one, two in shown)
        shares = [f"{number / len(found.chosen):.2f}" for number in (planted, by_audit)]
        yield [kind, shares[0], str(beside), shares[1], f"{searched.limit:.2f}"]


def _search(store: np.ndarray, features: np.ndarray) -> Copies:
    (units,) = space_of([(features, np.arange(len(features)))])
    near = nearest(units, units, SEARCHED, start=0)
    return find_copies(lambda numbers: store[numbers], near, np.full(len(store), -1))


def drift(found: Set) -> Iterator[list[str]]:
    """Warnings, of so many draws, and the mean AUC."""
    yield ["train and test", "images", "warnings", "as class mix", "AUC", "deviations above chance: mean, highest"]
    yield ["---"] * 6
    count = len(found.features)
    for num_train, num_test in SIZES:
        if num_train + num_test <= count:
            splits = SPLITS if num_train < 1000 else SPLITS // 3
            draws = [np.random.default_rng(seed).permutation(count) for seed in range(splits)]
            parts = [(draw[:num_train], found.features[draw[num_train : num_train + num_test]]) for draw in draws]
            yield _drifted("random", found, parts)
    for kind in ("brighter by 40 %", "JPEG of quality 30", "halved and doubled", "cropped to 80 % of each side"):
        for num_test in (25, 50, 100):
            parts = []
            for seed in range(SEEDS):
                draws_of = np.random.default_rng(seed)
                at = draws_of.permutation(len(found.chosen))[:num_test]
                rest = np.setdiff1d(np.flatnonzero(found.labels >= 0), found.chosen[at])
                train = draws_of.choice(rest, min(len(rest), 2 * num_test), replace=False)
                parts.append((train, found.copies[kind][1][at]))
            yield _drifted(kind, found, parts)
    for share, num_test in ((0.8, 50), (0.8, 100), (0.95, 100)):
        yield _drifted(
            f"classes: first half {1 - share:.0%}, then {share:.0%}", found, list(_mixed(found, share, num_test))
        )


def _mixed(found: Set, share: float, num_test: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Test images of which a share is of the first half of the classes, which are so much rarer in training."""
    first = (found.labels >= 0) & (found.labels <= found.labels.max() // 2)
    for seed in range(SEEDS):
        draws = np.random.default_rng(seed)
        halves = [draws.permutation(np.flatnonzero(half)) for half in (first, (found.labels >= 0) & ~first)]
        many, few = round(share * num_test), num_test - round(share * num_test)
        test = np.concatenate([halves[0][:many], halves[1][:few]])
        train = np.concatenate([halves[0][many : many + few], halves[1][few : few + many]])
        yield train, found.features[test]


def _drifted(name: str, found: Set, parts: list[tuple[np.ndarray, np.ndarray]]) -> list[str]:
    results = []
    for train, test in parts:
        groups, truth, weights = np.arange(len(train) + len(test)), found.labels[train], None
        if (truth >= 0).all():
            units, of_test = space_of([(found.features, train), (test, np.arange(len(test)))])
            near = nearest(np.concatenate([units, of_test]), units, SEARCHED, start=0)
            seem = looks(truth, voters(near, groups, groups[: len(units)]))
            weights = class_weights(truth, seem[: len(units)], seem[len(units) :])
        measured = measure(found.features[train], test, groups, weights)
        assert measured
        results.append(measured)
    warned = [result for result in results if drifts(result)]
    above = [result.deviations for result in results]
    return [
        name, f"{len(parts[0][0])} + {len(parts[0][1])}", f"{len(warned)} of {len(results)}",
        str(sum(map(by_class_mix, warned))), f"{np.mean([result.auc for result in results]):.2f}",
        f"{np.mean(above):.1f}, {np.max(above):.1f} (limit {DRIFT_DEVIATIONS:.0f})",
    ]  # fmt: skip


def suspects(found: Set) -> Iterator[list[str]]:
    """Of 5 % of the labels made wrong, those found, and of those found the wrong ones; how often it warns."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    rows = np.flatnonzero(found.labels >= 0)
    right, features = found.labels[rows], found.features[rows]
    num_classes = int(right.max()) + 1
    target = Target(kind="single_label", columns=("label",), classes=tuple(map(str, range(num_classes))))
    (units,) = space_of([(features, np.arange(len(rows)))])
    groups = np.full(len(rows), -1)
    voting = voters(nearest(units, units, SEARCHED, start=0), groups, groups)
    standard = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-6)
    yield ["labels made wrong", "neighbours: suspects", "found", "of these wrong", "warns",
           "out of fold (logistic regression): suspects", "found", "of these wrong"]  # fmt: skip
    yield ["---"] * 8
    for share in (0.0, 0.02, 0.05, 0.1):
        by_neighbours, by_models, warnings = [], [], 0
        for seed in range(SEEDS if share else 1):
            draws = np.random.default_rng(seed)
            wrong = draws.random(len(right)) < share
            given = np.where(wrong, (right + draws.integers(1, num_classes, len(right))) % num_classes, right)
            told = contradictions(given, voting, target)
            by_neighbours.append(_figures(np.isin(np.arange(len(right)), [each.row for each in told.found]), wrong))
            warnings += any(finding.severity == "warn" for finding in label_findings(told, list(map(str, rows))))
            if seed < MODEL_SEEDS:
                model = LogisticRegression(C=0.003, max_iter=300)
                probs = cross_val_predict(model, standard, given, cv=5, method="predict_proba")
                by_models.append(_figures(contradicted(given, probs) >= 0, wrong))
        warned = f"{warnings} of {len(by_neighbours)}"
        yield [f"{share:.0%}", *_shown(by_neighbours), warned, *_shown(by_models)]


def _shown(figures: list[list[float]]) -> list[str]:
    count, found, right = np.mean(figures, axis=0)
    return [f"{count:.0f}", f"{found:.2f}", f"{right:.2f}"]


def _figures(suspect: np.ndarray, wrong: np.ndarray) -> list[float]:
    """(how many, found of the wrong ones, wrong of those found)."""
    both = float((suspect & wrong).sum())
    return [float(suspect.sum()), both / max(wrong.sum(), 1), both / max(suspect.sum(), 1)]


if __name__ == "__main__":
    main()
