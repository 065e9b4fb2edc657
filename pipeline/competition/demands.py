"""What the sample submission asks for: kind of target, format, class of each column, and the metric."""

import re
from collections.abc import Sequence

from pipeline.competition.labels import DELIMITERS, Labels
from pipeline.competition.metrics import metric_named
from pipeline.competition.sample import LongIds, Sample, match_names
from pipeline.competition.schema import SubmissionFormat, Target, label_cell
from pipeline.competition.tables import AUTO

# (negative, positive), lower case
KNOWN_PAIRS = (
    ("0", "1"), ("false", "true"), ("no", "yes"), ("n", "y"), ("negative", "positive"), ("normal", "abnormal"),
    ("benign", "malignant"), ("absent", "present"), ("real", "fake"), ("0.0", "1.0"),
)  # fmt: skip
DEFAULT_METRICS = {"label": "accuracy", "score": "auc", "list": "samples_f1"}
DEFAULT_RANKED = 5


def submission_format(
    sample: Sample | None,
    long: LongIds | None,
    labels: Labels,
    *,
    kind: str,
    positive: str,
    submission: str,
    metric: str,
) -> tuple[Target, SubmissionFormat, str, list[str]]:
    """(target, format, metric, warnings); `auto` arguments are decided by the sample's cells.

    kind: the target's, already decided but for single_label, which becomes binary where the positive class is known.
    Raises ValueError, with the lines that settle it, where the sample's columns or the positive class stay unknown.
    """
    warnings: list[str] = []
    values = sample.value_columns if sample else ("label",)
    header = sample.table.header if sample else ("id", "label")
    if metric != AUTO:
        metric = metric_named(metric).name
    wanted = submission
    if submission == AUTO:
        wanted = _kind(sample, long, labels, metric)
        _refuse_unreadable(wanted, sample, labels)
    _refuse_unfit(wanted, values, labels)

    found_positive = _positive(labels, values, positive) if len(labels.classes) == 2 and not labels.several else ""
    if wanted == "score" and not found_positive:
        choices = "".join(f"\n    competition.positive: {label}" for label in labels.classes)
        raise ValueError(
            f"the sample's column {values[0]!r} holds one score an image; which class does 1 mean? Choose one:{choices}"
        )
    if kind == "single_label" and found_positive:
        kind = "binary"
    target = Target(kind=kind, columns=labels.columns, classes=labels.classes, positive=found_positive)

    separator, most = _list_shape(sample, labels, wanted, metric)
    metric = _default_metric(target, wanted, most) if metric == AUTO else metric
    class_of = _classes_of(long.suffixes if long and wanted == "long" else values, labels, wanted)
    if wanted == "label" and sample:
        warnings += _strange_cells(sample, labels, metric)
    if wanted == "score" and sample and metric == "auc" and _whole_numbers(sample):
        warnings.append(
            "the sample writes whole numbers: probabilities will be written. If the leaderboard counts right answers: "
            "competition.metric: accuracy"
        )
    return (
        target,
        SubmissionFormat(
            kind=wanted,
            id_column=sample.id_column if sample else "id",
            columns=tuple(header),
            value_columns=tuple(values),
            classes=class_of,
            suffixes=long.suffixes if long and wanted == "long" else (),
            separator=long.separator if long and wanted == "long" else separator,
            most=most,
            whole=wanted in ("score", "columns", "long") and metric_named(metric).takes == "labels",
            may_be_empty=labels.several and label_cell([]) in labels.cells,
        ),
        metric,
        warnings,
    )


def _kind(sample: Sample | None, long: LongIds | None, labels: Labels, metric: str) -> str:
    if long is not None:
        return "long"
    if sample is not None and len(sample.value_columns) > 1:
        return "columns"
    if metric.startswith("map@"):
        return "ranked"
    if labels.several:
        return "list"
    if sample is not None and _delimiter_of_known(sample, labels.classes):
        return "ranked"
    if len(labels.classes) == 2 and (_wants_score(metric) or (sample is not None and _numbers_apart(sample, labels))):
        return "score"
    return "label"


def _wants_score(metric: str) -> bool:
    return metric != AUTO and metric_named(metric).takes == "scores"


def _numbers_apart(sample: Sample, labels: Labels) -> bool:
    """Whether the sample writes numbers that are no labels: 0.5, or 0 where the labels are cat and dog."""
    cells = sample.cells()
    known = {float(label) for label in labels.classes if _is_number(label)}
    return bool(cells) and all(_is_number(cell) and float(cell) not in known for cell in cells)


def _whole_numbers(sample: Sample) -> bool:
    cells = sample.cells()
    return bool(cells) and all(_is_number(cell) and float(cell).is_integer() for cell in cells)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text.strip().lower()) is not None


def _delimiter_of_known(sample: Sample, classes: Sequence[str]) -> str:
    """What separates known labels within the sample's cells; '' where cells do not hold several."""
    known = set(classes)
    for mark in DELIMITERS:
        cells = [cell for cell in sample.cells() if cell not in known]
        if cells and all(mark in cell and {part.strip() for part in cell.split(mark)} <= known for cell in cells):
            return mark
    return ""


def _refuse_unreadable(wanted: str, sample: Sample | None, labels: Labels) -> None:
    """Raise where the sample's cells are neither labels nor a placeholder: fractions, or labels among other things."""
    if sample is None or wanted not in ("label", "list"):
        return
    cells, known = sample.cells(), set(labels.classes)
    shown = f"the sample writes {min(cells - known, default='')!r} in {sample.value_columns[0]!r}"
    if _numbers_apart(sample, labels) and not _whole_numbers(sample):
        raise ValueError(
            f"{shown}, a number where one of {len(known)} labels, such as {labels.classes[0]!r}, was to be expected: "
            f"regression is not learnt here. If labels are wanted:\n    competition.submission: {wanted}"
        )
    lists = [(cell, mark) for cell in cells - known for mark in DELIMITERS if mark in cell]
    parts = [{part.strip() for part in cell.split(mark)} for cell, mark in lists]
    if any(part & known and part - known for part in parts) and not any(part <= known for part in parts):
        lines = "".join(f"\n    competition.submission: {kind}" for kind in dict.fromkeys((wanted, "ranked")))
        raise ValueError(
            f"{shown}, of which a part is a training label: a format with something beside labels cannot be written "
            f"here. If labels alone are wanted, choose one:{lines}"
        )


def _refuse_unfit(wanted: str, values: Sequence[str], labels: Labels) -> None:
    if wanted == "columns" and len(values) < 2:
        raise ValueError(f"competition.submission is columns, but the sample has one column to fill: {values[0]!r}")
    if wanted not in ("columns",) and len(values) > 1:
        raise ValueError(
            f"competition.submission is {wanted}, but the sample has {len(values)} columns to fill: {list(values[:5])}"
        )
    if wanted == "score" and (labels.several or len(labels.classes) != 2):
        raise ValueError(
            f"competition.submission is score, which speaks of two classes; there are {len(labels.classes)}: "
            f"{list(labels.classes[:5])}"
        )
    if wanted == "label" and labels.several:
        raise ValueError("competition.submission is label, but an image may have several labels; use list")


def _positive(labels: Labels, values: Sequence[str], wished: str) -> str:
    if wished != AUTO:
        if wished not in labels.classes:
            raise ValueError(f"competition.positive is {wished!r}; the classes are {list(labels.classes)}")
        return wished
    lower = {label.lower(): label for label in labels.classes}
    for negative, positive in KNOWN_PAIRS:
        if set(lower) == {negative, positive}:
            return lower[positive]
    words = {word for value in values for word in re.split(r"[\W_]+", value.lower())}
    named = [label for text, label in lower.items() if text in words]
    return named[0] if len(named) == 1 else ""


def _list_shape(sample: Sample | None, labels: Labels, wanted: str, metric: str) -> tuple[str, int]:
    """(separator, most labels in a cell) of `list` and `ranked`."""
    if wanted not in ("list", "ranked"):
        return "", 0
    separator = (_delimiter_of_known(sample, labels.classes) if sample else "") or labels.delimiter or " "
    if wanted == "list":
        return separator, 0
    longest = max((cell.count(separator) + 1 for cell in sample.cells()), default=0) if sample else 0
    asked = int(metric.partition("@")[2]) if metric.startswith("map@") else 0
    return separator, min(asked or (longest if longest > 1 else DEFAULT_RANKED), len(labels.classes))


def _default_metric(target: Target, wanted: str, most: int) -> str:
    if wanted == "ranked":
        return f"map@{most}"
    if wanted in ("columns", "long"):
        return "log_loss" if target.exclusive else "mean_column_auc"
    return "quadratic_weighted_kappa" if target.kind == "ordinal" and wanted == "label" else DEFAULT_METRICS[wanted]


def _classes_of(names: Sequence[str], labels: Labels, wanted: str) -> tuple[str, ...]:
    if wanted not in ("columns", "long"):
        return ()
    found = match_names(names, labels.classes)
    if found is None:
        odd = [name for name in names if name not in labels.classes]
        lacking = [label for label in labels.classes if label not in names]
        raise ValueError(
            f"unknown columns: the sample names {len(names)} classes, the labels {len(labels.classes)}; without label: "
            f"{odd[:5]}, without column: {lacking[:5]}. If the label is another column: competition.label: COLUMN"
        )
    return tuple(found[name] for name in names)


def _strange_cells(sample: Sample, labels: Labels, metric: str) -> list[str]:
    strange = sorted(sample.cells() - set(labels.classes))
    if strange:
        return [
            f"the sample writes {', '.join(map(repr, strange[:3]))}, no training label (such as "
            f"{', '.join(map(repr, labels.classes[:3]))}): taken for a placeholder; labels are spelled as in training"
        ]
    if len(labels.classes) == 2 and len(sample.cells()) == 1 and metric == "accuracy":
        return [
            f"the sample writes {next(iter(sample.cells()))!r} everywhere: labels will be written. If the leaderboard "
            "scores probabilities (AUC, log loss): competition.metric: auc"
        ]
    return []
