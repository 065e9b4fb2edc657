"""Made-up competitions of every layout, target and format, and a checker that shares no code with the pipeline."""

import csv
import io
import json
from dataclasses import dataclass, field

import numpy as np
from conftest import csv_bytes, encoded
from sklearn.metrics import cohen_kappa_score, roc_auc_score

SIZE = 12
CLASSES = {
    "single_label": ("red fox", "owl, barn", "수달"),
    "binary": ("0", "1"),
    "multi_label": ("cloudy", "haze", "river"),
    "ordinal": ("0", "1", "2", "3"),
}
LAYOUTS = (
    "table",
    "path column",
    "sub-folder column",
    "shared folder",
    "0/1 columns",
    "class folders",
    "file names",
    "COCO",
)
FORMATS = {
    "single_label": ("label", "columns", "ranked", "long"),
    "binary": ("label", "score"),
    "multi_label": ("columns", "list", "long"),
    "ordinal": ("label",),
}


def possible(layout, target, kind):
    """Whether a layout can say this target: a folder or a file name holds one label; 0/1 columns need classes.

    File names hold words, `cat.001.png`: what 1 means in a score must be said then, and no label can be `1`.
    """
    if layout == "file names":
        return target == "single_label" or (target, kind) == ("binary", "score")
    if layout == "class folders":
        return target in ("single_label", "binary")
    return not (layout == "0/1 columns" and target in ("binary", "ordinal"))


CELLS = [
    (layout, target, kind)
    for layout in LAYOUTS
    for target in CLASSES
    for kind in FORMATS[target]
    if possible(layout, target, kind)
]


@dataclass
class MadeUp:
    """A competition's files, and what its leaderboard keeps."""

    files: dict[str, bytes]
    target: str
    kind: str
    classes: tuple[str, ...]
    truth: dict[str, set[str]]  # test image id -> its labels
    sample: bytes
    separator: str = ""  # of `list` and `ranked`; '' = as `make` writes them
    settings: dict = field(default_factory=dict)  # lines of section `competition` that this competition needs


def pixels_for(labels, target, number):
    """(SIZE, SIZE, 3) uint8 from which the labels can be learnt: a bright channel each, or brightness for grades."""
    noise = np.random.default_rng([number, len(target)]).integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
    classes = CLASSES[target]
    if target == "ordinal":
        return noise + np.uint8(60 * classes.index(next(iter(labels))))
    for label in labels:
        noise[:, :, classes.index(label)] += 150
    return noise


def labels_of(number, target):
    """The labels of image `number`: in turn, or for several labels every subset in turn (with at least one)."""
    classes = CLASSES[target]
    if target != "multi_label":
        return {classes[number % len(classes)]}
    subset = 1 + number % (2 ** len(classes) - 1)
    return {label for at, label in enumerate(classes) if subset >> at & 1}


def make(layout, target, kind, *, num_train=48, num_test=21):
    """A competition in this layout, for this target, with this submission format."""
    classes = CLASSES[target]
    files, train, test = {}, [], []
    for number in range(num_train + num_test):
        labels = labels_of(number, target)
        image = encoded(pixels_for(labels, target, number))
        where = train if number < num_train else test
        where.append((f"{'tr' if where is train else 'te'}.{number:03d}", labels, image))
    {"class folders": _folders, "file names": _names, "COCO": _coco}.get(layout, _tables)(files, train, layout, target)
    test_name = {"shared folder": "images/{}.png", "COCO": "pictures/test/{}.png"}.get(layout, "test/{}.png")
    for name, _, image in test:
        files[test_name.format(name)] = image
    if layout == "path column":
        files["test.csv"] = csv_bytes(("ID", "img_path"), [(name, f"./test/{name}.png") for name, _, _ in test])
    sample = _sample([name for name, _, _ in test], classes, kind, layout)
    files["sampleSubmission.csv"] = sample
    settings = {"positive": "dog"} if kind == "score" and layout == "file names" else {}
    return MadeUp(files, target, kind, classes, {name: labels for name, labels, _ in test}, sample, settings=settings)


def id_column(layout):
    """How the layout's tables call the image id."""
    return {"path column": "ID", "COCO": "Id"}.get(layout, "image")


def _cell(labels, target):
    return " ".join(sorted(labels)) if target == "multi_label" else next(iter(labels))


def _tables(files, train, layout, target):
    classes, key = CLASSES[target], id_column(layout)
    name = "train_labels.csv" if layout == "shared folder" else "train.csv"
    if layout == "0/1 columns":
        rows = [(name, *(int(label in labels) for label in classes)) for name, labels, _ in train]
        files[name] = csv_bytes((key, *classes), rows)
    else:
        label = "diagnosis" if target == "ordinal" else "tags" if target == "multi_label" else "species"
        header = {
            "path column": (key, "img_path", label), "sub-folder column": (key, label, "site"),
        }.get(layout, (key, label))  # fmt: skip
        rows = []
        for number, (image_id, labels, _) in enumerate(train):
            more = {"path column": f"./train/{image_id}.png", "sub-folder column": f"site {number % 2}"}.get(layout)
            cells = {key: image_id, label: _cell(labels, target), "img_path": more, "site": more}
            rows.append([cells[column] for column in header])
        files[name] = csv_bytes(header, rows)
    for number, (image_id, _, image) in enumerate(train):
        folder = {"shared folder": "images", "sub-folder column": f"train/site {number % 2}"}.get(layout, "train")
        files[f"{folder}/{image_id}.png"] = image


def _folders(files, train, layout, target):
    for image_id, labels, image in train:
        files[f"train/{next(iter(labels))}/{image_id}.png"] = image


def _names(files, train, layout, target):
    words = {label: "cat" if label == "0" else "dog" if label == "1" else label for label in CLASSES[target]}
    for image_id, labels, image in train:
        files[f"train/{words[next(iter(labels))]}.{image_id[3:]}.png"] = image


def _coco(files, train, layout, target):
    classes = CLASSES[target]
    images = [{"id": image_id, "file_name": f"{image_id}.png", "width": SIZE} for image_id, _, _ in train]
    annotations = [
        {"id": f"{image_id}/{label}", "image_id": image_id, "category_id": classes.index(label)}
        for image_id, labels, _ in train
        for label in sorted(labels)
    ]
    categories = [{"id": at, "name": label} for at, label in enumerate(classes)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    files["train_annotations.json"] = json.dumps(content).encode()
    for image_id, _, image in train:
        files[f"pictures/train/{image_id}.png"] = image


def _sample(ids, classes, kind, layout):
    key = id_column(layout)
    label = "diagnosis" if classes == CLASSES["ordinal"] else "species"
    if kind == "columns":
        return csv_bytes((key, *classes), [(name, *(0.5 for _ in classes)) for name in ids])
    if kind == "long":
        return csv_bytes((key, "probability"), [(f"{name}_{label}", 0.5) for name in ids for label in classes])
    if kind == "score":
        return csv_bytes((key, "target"), [(name, 0.5) for name in ids])
    if kind == "ranked":
        return csv_bytes((key, label), [(name, "|".join(classes)) for name in ids])
    if kind == "list":
        return csv_bytes((key, "tags"), [(name, " ".join(classes[:2])) for name in ids])
    shown = classes if classes == CLASSES["binary"] else classes[:1]  # one 0 everywhere would say nothing
    return csv_bytes((key, label), [(name, shown[at % len(shown)]) for at, name in enumerate(ids)])


# -- the checker


def graded(made, content):
    """(score, chance) of a submission, as a strict leaderboard would grade it: 0 to 1, higher is better."""
    header, rows = _rows(content)
    sample_header, sample_rows = _rows(made.sample)
    assert header == sample_header, "columns of the sample, in order"
    assert [row[0] for row in rows] == [row[0] for row in sample_rows], "ids of the sample, in order"
    assert all(len(row) == len(header) and all(cell != "" for cell in row) for row in rows)
    return {
        "label": _grade_labels, "score": _grade_scores, "columns": _grade_columns, "long": _grade_long,
        "ranked": _grade_ranked, "list": _grade_lists,
    }[made.kind](made, header, rows)  # fmt: skip


def _rows(content):
    header, *rows = csv.reader(io.StringIO(content.decode()))
    return header, rows


def _grade_labels(made, header, rows):
    truth = [next(iter(made.truth[row[0]])) for row in rows]
    assert {row[1] for row in rows} <= set(made.classes)
    if made.target == "ordinal":
        return cohen_kappa_score(list(map(int, truth)), [int(row[1]) for row in rows], weights="quadratic"), 0.0
    return np.mean([row[1] == label for row, label in zip(rows, truth, strict=True)]), 1 / len(made.classes)


def _grade_scores(made, header, rows):
    scores = [float(row[1]) for row in rows]
    assert all(0 <= score <= 1 for score in scores)
    return roc_auc_score([made.classes[1] in made.truth[row[0]] for row in rows], scores), 0.5


def _matrix(made, names, cells):
    probs = np.array(cells, dtype=np.float64)
    assert ((probs >= 0) & (probs <= 1)).all()
    if made.target != "multi_label":
        assert np.abs(probs.sum(axis=1) - 1).max() < 1e-6
    truth = np.array([[label in made.truth[name] for label in made.classes] for name in names])
    return np.mean([roc_auc_score(truth[:, at], probs[:, at]) for at in range(len(made.classes))]), 0.5


def _grade_columns(made, header, rows):
    return _matrix(made, [row[0] for row in rows], [row[1:] for row in rows])


def _grade_long(made, header, rows):
    cells = {row[0]: float(row[1]) for row in rows}
    return _matrix(
        made, list(made.truth), [[cells[f"{name}_{label}"] for label in made.classes] for name in made.truth]
    )


def _grade_ranked(made, header, rows):
    precisions = []
    for name, cell in rows:
        labels = cell.split(made.separator or "|")
        assert len(labels) == len(set(labels)) <= len(made.classes)
        precisions.append(1 / (1 + labels.index(next(iter(made.truth[name])))))
    return np.mean(precisions), np.mean([1, 1 / 2, 1 / 3])


def _grade_lists(made, header, rows):
    shares = []
    for name, cell in rows:
        labels, truth = set(cell.split(made.separator or " ")), made.truth[name]
        assert labels <= set(made.classes)
        shares.append(2 * len(labels & truth) / (len(labels) + len(truth)))
    everything = [2 * len(truth) / (len(made.classes) + len(truth)) for truth in made.truth.values()]
    return np.mean(shares), np.mean(everything)
