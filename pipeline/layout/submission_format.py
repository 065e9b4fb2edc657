"""What the sample submission asks for: kind of target, format, class of each column, and the metric."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.competition.lists import MARKS, as_written, bracket_style, split_list
from pipeline.competition.problems import setting_line
from pipeline.competition.schema import SubmissionFormat, Target, label_cell
from pipeline.competition.spelling import AS_TRAINED, WHOLE, is_number, rules_for, shift_rule, spelled
from pipeline.layout.class_mappings import Ways
from pipeline.layout.labels import WITHOUT_COLUMN, Labels, respelled
from pipeline.layout.sample_submission import LongIds, Sample, classes_named
from pipeline.scoring.metrics import metric_named
from pipeline.tables.table import AUTO
from pipeline.tables.words import length_in, words_of

# (negative, positive), lower case
KNOWN_PAIRS = (
    ("0", "1"), ("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"), ("negative", "positive"),
    ("normal", "abnormal"), ("benign", "malignant"), ("absent", "present"), ("0.0", "1.0"),
)  # fmt: skip
NEGATIONS = ("no", "not", "non", "without", "un")
# words of a column's name that do not say which class it speaks of
EMPTY_WORDS = (
    "prob", "probs", "probability", "p", "proba", "score", "scores", "pred", "preds", "prediction", "predictions",
    "predicted", "label", "labels", "target", "targets", "class", "classes", "category", "value", "confidence", "conf",
    "is", "has", "id", "of", "the", "output", "result", "answer", "expected", "likelihood", "y", "percent", "status",
)  # fmt: skip
DEFAULT_METRICS = {"label": "accuracy", "score": "auc", "list": "samples_f1"}
DEFAULT_RANKED = 5


@dataclass(frozen=True, kw_only=True)
class Demands:
    """What a submission must be, and the labels as it spells them."""

    labels: Labels
    target: Target
    submission: SubmissionFormat
    metric: str
    spelling: str  # the rule; see `spelling`
    warnings: list[str]
    notes: list[str]


def submission_demands(
    sample: Sample | None,
    long: LongIds | None,
    labels: Labels,
    *,
    kind: str,
    positive: str,
    submission: str,
    metric: str,
    spelling: str,
    sampleless_columns: tuple[str, str],
    mappings: Callable[[], Ways] = dict,
    fewer: bool = False,
) -> Demands:
    """What is asked; `auto` arguments are decided by the sample's cells.

    kind: the target's, already decided but for single_label, which becomes binary where the positive class is known.
    sampleless_columns: the header where there is no sample; mappings: the files that call classes otherwise; fewer:
    classes may lack a column. Raises ValueError, with the lines that settle it, where the sample does not tell labels
    from probabilities, or one class from the other.
    """
    header = sample.table.header if sample else sampleless_columns
    values = sample.value_columns if sample else sampleless_columns[1:]
    if metric != AUTO:
        metric = metric_named(metric).name
    wanted = submission
    if submission == AUTO:
        _refuse_silent(sample, long, labels, metric)
        wanted = _kind(sample, long, labels, metric)
    _refuse_unfit(wanted, values, labels)
    _refuse_ranks(sample, labels, wanted)
    names = long.suffixes if long and wanted == "long" else values
    spelling_of = _spelling(sample, labels, wanted, spelling, mappings, names, stated=submission != AUTO, fewer=fewer)
    if spelling_of.mapped:
        positive = spelling_of.mapped.get(positive, positive)
        labels = respelled(labels, spelling_of.mapped)

    found_positive = ""
    if len(labels.classes) == 2 and not labels.several:
        found_positive = _positive(labels, values[0] if len(values) == 1 and long is None else "", positive)
    if wanted == "score" and not found_positive:
        lines = [setting_line("positive", label) for label in labels.classes]
        if metric != AUTO and metric_named(metric).takes == "labels":
            lines.append(setting_line("submission", "label", "the label as in training"))
        choices = "".join(f"\n    competition.{line}" for line in lines)
        raise ValueError(
            f"the sample's column {values[0]!r} holds one score an image; which class does 1 mean? Choose one:{choices}"
        )
    if kind == "single_label" and found_positive:
        kind = "binary"
    target = Target(kind=kind, columns=labels.columns, classes=labels.classes, positive=found_positive)

    separator = spelling_of.separator
    most = _most(sample, labels, wanted, metric, separator)
    metric = _default_metric(target, wanted, most) if metric == AUTO else metric
    class_of = _classes_of(names, labels, wanted, fewer=fewer)
    takes = metric_named(metric).takes
    return Demands(
        labels=labels,
        target=target,
        submission=SubmissionFormat(
            kind=wanted,
            id_column=sample.id_column if sample else header[0],
            columns=tuple(header),
            value_columns=tuple(values),
            classes=class_of,
            suffixes=long.suffixes if long and wanted == "long" else (),
            separator=long.separator if long and wanted == "long" else separator,
            most=most,
            whole=wanted in ("score", "columns", "long") and takes == "labels",
            may_be_empty=labels.several and label_cell([]) in labels.cells,
        ),
        metric=metric,
        spelling=spelling_of.rule,
        warnings=spelling_of.warnings
        + _whole_number_warnings(sample, wanted, takes)
        + _classless_warnings(class_of, labels, long, values),
        notes=spelling_of.notes,
    )


def _refuse_silent(sample: Sample | None, long: LongIds | None, labels: Labels, metric: str) -> None:
    """Raise where the sample writes nothing for two classes, or whole numbers that may not be labels."""
    if sample is None or long is not None or len(sample.value_columns) > 1 or metric != AUTO:
        return
    cells = sample.cells()
    whole = all(is_number(cell) and not _is_fraction(cell) for cell in cells)
    told = len(cells) > 1 and bool(rules_for(cells, labels.classes))
    if not cells and not all(map(is_number, labels.classes)):
        return
    if whole and not told and not labels.several and len(labels.classes) == 2:
        written = f"{_shown(cells)} everywhere" if len(cells) == 1 else _shown(cells) if cells else "nothing"
        raise ValueError(
            f"the sample writes {written} in {sample.value_columns[0]!r}: that may stand for labels or for "
            "probabilities. How is it scored? (auc and log_loss take probabilities, accuracy and f1 labels.) Choose "
            "one:\n    competition.metric: auc\n    competition.metric: accuracy"
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
    if sample is not None and _list_mark(sample.cells(), labels):
        return "ranked"
    if len(labels.classes) == 2 and _wants_score(metric):
        return "score"
    coded = metric == AUTO or not all(map(is_number, labels.classes))  # labels that are numbers are no codes
    if len(labels.classes) == 2 and sample is not None and coded and _numbers_apart(sample, labels):
        return "score"
    return "label"


def _wants_score(metric: str) -> bool:
    return metric != AUTO and metric_named(metric).takes == "scores"


def _numbers_apart(sample: Sample, labels: Labels) -> bool:
    """Whether the sample writes numbers that are no labels: 0.5, or 0 where the labels are cat and dog."""
    cells = sample.cells()
    known = {float(label) for label in labels.classes if is_number(label)}
    if not cells or not all(map(is_number, cells)):
        return False
    apart = any(map(_is_fraction, cells)) or not any(float(cell) in known for cell in cells)
    return apart and not rules_for(cells, labels.classes)


def _list_mark(cells: Collection[str], labels: Labels) -> str:
    """What separates labels within the sample's cells, spelled as in training or by a rule; '' for no lists."""
    whole = {cell for cell in cells if cell not in labels.classes}
    style = bracket_style(whole)
    if style:
        return style
    for mark in dict.fromkeys((labels.delimiter.strip() or labels.delimiter, *MARKS)):
        if not mark or not whole or not all(mark in cell for cell in whole):
            continue
        parts = {part for cell in whole for part in split_list(cell, mark)}
        by_rule = len(parts) > 1 and not rules_for(whole, labels.classes) and rules_for(parts, labels.classes)
        if parts <= set(labels.classes) or by_rule:
            return as_written(mark, whole)
    return ""


@dataclass(frozen=True)
class _Spelling:
    """How a submission spells labels."""

    separator: str = ""
    rule: str = AS_TRAINED  # or the file that maps labels
    mapped: Mapping[str, str] = field(default_factory=dict)  # label -> its spelling; empty: as in training
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def by(self, rule: str, mapped: Mapping[str, str]) -> "_Spelling":
        """The same by this rule or file, and said."""
        shown = ", ".join(f"{new!r} for {old!r}" for old, new in list(mapped.items())[:3])
        return replace(
            self, rule=rule, mapped=mapped, notes=[f"labels are spelled as the sample spells them: {shown} ({rule})"]
        )


def _spelling(
    sample: Sample | None,
    labels: Labels,
    wanted: str,
    wished: str,
    mappings: Callable[[], Ways],
    names: Sequence[str],
    *,
    stated: bool,
    fewer: bool,
) -> _Spelling:
    """stated: the user names the format; then cells that are no labels are no reason to stop."""
    cells = sample.cells() if sample else set()
    if wanted in ("columns", "long"):
        return _spelling_of_names(labels, names, wished, mappings, fewer=fewer)
    if wanted == "score":
        return _Spelling()
    found = _Spelling((_list_mark(cells, labels) or labels.delimiter or " ") if wanted != "label" else "")
    parts = {part for cell in cells for part in (split_list(cell, found.separator) if found.separator else [cell])}
    if wished != AUTO:
        return _wished_spelling(found, labels, wished, mappings, lambda way: parts <= set(way.values()))
    if not parts or sample is None:
        return found
    rules = rules_for(parts, labels.classes)
    number = len(parts) == 1 and all(map(is_number, parts))
    if not rules:
        files = _one_way_each(mappings(), lambda way: parts <= set(way.values()))
        if len(files) == 1 and not number:
            return found.by(*next(iter(files.items())))
        rules = [*files, AS_TRAINED] if files else []
    elif number and rules != [AS_TRAINED] and not all(map(WHOLE.fullmatch, labels.classes)):
        rules = [*dict.fromkeys((*rules, AS_TRAINED))]  # one number may be a placeholder, and no part of a name
    if len(rules) == 1:
        return found if rules == [AS_TRAINED] else found.by(rules[0], spelled(rules[0], labels.classes))
    if rules:
        shown_by = {rule: _example(rule, labels) for rule in rules[:6]}
        lines = "".join(f"\n    competition.{setting_line('spelling', *entry)}" for entry in shown_by.items())
        raise ValueError(
            f"the sample writes {_shown(parts)} for labels such as {_shown(labels.classes)}; {len(rules)} spellings "
            f"may be meant, which differ in other labels; choose one:{lines}"
        )
    return replace(found, warnings=_strange_cells(sample, labels, parts, wanted, stated=stated))


def _example(rule: str, labels: Labels) -> str:
    return f"such as {_shown(spelled(rule, labels.classes).values())}" if "{label" in rule else "as this file has it"


def _wished_spelling(
    found: _Spelling,
    labels: Labels,
    wished: str,
    mappings: Callable[[], Ways],
    fits: Callable[[Mapping[str, str]], bool],
) -> _Spelling:
    """By the rule or the file that the user names."""
    if "{" in wished:
        mapped = spelled(wished, labels.classes)
        return replace(found, rule=wished, mapped={} if wished == AS_TRAINED else mapped)
    ways = mappings().get(wished, [])
    if not ways:
        raise ValueError(
            f"competition.spelling is {wished!r}: no rule, and no file that has all {len(labels.classes)} labels"
        )
    return found.by(wished, next(filter(fits, ways), ways[0]))


def _spelling_of_names(
    labels: Labels, names: Sequence[str], wished: str, mappings: Callable[[], Ways], *, fewer: bool
) -> _Spelling:
    """Of formats with a column or row for each class: only a file can say what the names do not."""

    def fits(way: Mapping[str, str]) -> bool:
        return classes_named(names, list(way.values()), fewer=fewer) is not None

    if wished != AUTO and "{" not in wished:
        return _wished_spelling(_Spelling(), labels, wished, mappings, fits)
    if classes_named(names, labels.classes, fewer=fewer) is not None:
        return _Spelling()
    files = list(_one_way_each(mappings(), fits).items())
    return _Spelling().by(*files[0]) if len(files) == 1 else _Spelling()


def _one_way_each(ways: Ways, fits: Callable[[Mapping[str, str]], bool]) -> dict[str, dict[str, str]]:
    """File -> the way in which it gives what is asked, of files that have one such way."""
    fitting = {name: list(filter(fits, found)) for name, found in ways.items()}
    return {name: found[0] for name, found in fitting.items() if len(found) == 1}


def _shown(texts: Collection[str]) -> str:
    return ", ".join(map(repr, sorted(texts)[:4]))


def _strange_cells(sample: Sample, labels: Labels, parts: Collection[str], wanted: str, *, stated: bool) -> list[str]:
    """Warnings for a sample whose cells are not all labels. Raises ValueError where they look like other labels."""
    strange, known = set(parts) - set(labels.classes), set(labels.classes)
    shown = f"the sample writes {_shown(strange)} in {sample.value_columns[0]!r}"
    if not stated and any(set(split_list(cell, mark)) & known for cell in strange for mark in MARKS if mark in cell):
        lines = "".join(f"\n    competition.submission: {kind}" for kind in dict.fromkeys((wanted, "ranked")))
        raise ValueError(
            f"{shown}, of which a part is a training label: a format with something beside labels cannot be written "
            f"here. If labels alone are wanted, choose one:{lines}"
        )
    marked = not stated and _is_marked(strange) and not _is_marked(known)
    if len(parts) == 1 and not marked and (stated or not _is_fraction(next(iter(parts)))):
        return [
            f"{shown}, no training label (such as {_shown(known)}): taken for a placeholder; labels are spelled as in "
            "training"
        ]
    if known <= set(parts):
        return [f"{shown}: no training image has {'it' if len(strange) == 1 else 'them'}, so it is never predicted"]
    if stated:
        return [f"{shown}, no training labels (such as {_shown(known)}); labels are spelled as in training"]
    if all(is_number(part) for part in parts) and any(_is_fraction(part) for part in parts):
        raise ValueError(
            f"{shown}, a number where one of {len(known)} labels, such as {labels.classes[0]!r}, was to be expected: "
            f"regression is not learnt here. If labels are wanted:\n    competition.submission: {wanted}"
        )
    shifted = shift_rule(parts, labels.classes)
    rules = ([shifted] if shifted else []) + [AS_TRAINED]
    lines = "".join(f"\n    competition.{setting_line('spelling', rule)}" for rule in rules)
    raise ValueError(
        f"{shown}: {len(strange)} different cells that are no training labels (such as {_shown(known - set(parts))}) "
        "nor made of them by a rule. If the label is another column, or in another folder: competition.label; if the "
        f"labels are to be written by this rule ({AS_TRAINED}: as in training):{lines}"
    )


def _is_marked(texts: Collection[str]) -> bool:
    """Whether some text is more than a name: a list, a mapping, a percentage."""
    return any(re.search(r"[{}\[\]|;%]", text) for text in texts)


def _is_fraction(text: str) -> bool:
    return is_number(text) and not float(text).is_integer()


def _whole_number_warnings(sample: Sample | None, wanted: str, takes: str) -> list[str]:
    cells = sample.cells() if sample else set()
    whole = bool(cells) and all(is_number(cell) and not _is_fraction(cell) for cell in cells)
    if not whole or wanted not in ("score", "columns", "long") or takes != "scores":
        return []
    return [
        "the sample writes whole numbers: probabilities will be written. If the leaderboard counts right answers: "
        "competition.metric: accuracy"
    ]


def _classless_warnings(
    class_of: Sequence[str], labels: Labels, long: LongIds | None, values: Sequence[str]
) -> list[str]:
    names = long.suffixes if long else values
    unknown = [name for name, label in zip(names, class_of, strict=False) if not label]
    lacking = sorted(set(labels.classes) - set(class_of)) if class_of else []
    warnings = []
    if unknown:
        warnings.append(f"the sample names {_shown(unknown)}, of which there is no training image: 0 is written there")
    if lacking:
        warnings.append(
            f"the sample has no column for {_shown(lacking)}: never written; out of fold they count as misses"
        )
    return warnings


def _refuse_ranks(sample: Sample | None, labels: Labels, wanted: str) -> None:
    """Raise where the columns hold labels: first guess, second guess, …."""
    cells = sample.cells() if sample else set()
    are_labels = len(cells) > 1 and cells <= set(labels.classes) and not cells <= {"0", "1", "0.0", "1.0"}
    if wanted == "columns" and are_labels:
        raise ValueError(
            f"the sample's columns hold labels ({_shown(cells)}), not a number for each class: columns of first and "
            "further guesses are not written here"
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


def _positive(labels: Labels, column: str, wished: str) -> str:
    """The class that a score speaks of: the one that the sample's column names, else that of a known pair; or ''."""
    if wished != AUTO:
        if wished not in labels.classes:
            raise ValueError(f"competition.positive is {wished!r}; the classes are {list(labels.classes)}")
        return wished
    words = [word for word in words_of(column) if word not in EMPTY_WORDS or word in map(str.lower, labels.classes)]
    lengths = {label: length_in(words, label) for label in labels.classes}
    named = [label for label, length in lengths.items() if length and length == max(lengths.values())]
    if len(named) == 1:
        beside = len(words) > lengths[named[0]] and any(word in NEGATIONS for word in words)
        return "" if beside and not set(words_of(named[0])) & set(NEGATIONS) else named[0]
    own = {word for name in labels.columns for word in words_of(name)} - set(EMPTY_WORDS)
    if words and not named and own and not own & set(words):
        return ""  # the column speaks of something else than the label's: healthy, where the label says infected
    if any(word in NEGATIONS for word in words):
        return ""
    lower = {label.lower(): label for label in labels.classes}
    return next((lower[positive] for negative, positive in KNOWN_PAIRS if set(lower) == {negative, positive}), "")


def _most(sample: Sample | None, labels: Labels, wanted: str, metric: str, separator: str) -> int:
    """How many labels a cell of `ranked` holds at most."""
    if wanted != "ranked":
        return 0
    longest = max((len(split_list(cell, separator)) for cell in sample.cells()), default=0) if sample else 0
    asked = int(metric.partition("@")[2]) if metric.startswith("map@") else 0
    return min(asked or (longest if longest > 1 else DEFAULT_RANKED), len(labels.classes))


def _default_metric(target: Target, wanted: str, most: int) -> str:
    if wanted == "ranked":
        return f"map@{most}"
    if wanted in ("columns", "long"):
        return "log_loss" if target.exclusive else "mean_column_auc"
    return "quadratic_weighted_kappa" if target.kind == "ordinal" and wanted == "label" else DEFAULT_METRICS[wanted]


def _classes_of(names: Sequence[str], labels: Labels, wanted: str, *, fewer: bool) -> tuple[str, ...]:
    if wanted not in ("columns", "long"):
        return ()
    found = classes_named(names, labels.classes, fewer=fewer)
    if found is None:
        odd = [name for name in names if name not in labels.classes]
        lacking = [label for label in labels.classes if label not in names]
        raise ValueError(
            f"unknown columns: the sample names {len(names)} classes, the labels {len(labels.classes)}; without label: "
            f"{odd[:5]}, without column: {lacking[:5]}. If the label is another column: competition.label: COLUMN"
            + (f"; to go on all the same: competition.allow: [{WITHOUT_COLUMN}]" if lacking and not odd else "")
        )
    return tuple(found[name] for name in names)
