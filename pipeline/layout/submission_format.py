"""What the sample submission asks for: kind of target, format, class of each column, and the metric."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from pipeline.competition.lists import BRACKETS, MARKS, as_written, bracket_style, split_list, written_list
from pipeline.competition.problems import question, setting_line, written
from pipeline.competition.schema import SubmissionFormat, Target, label_cell
from pipeline.competition.spelling import (
    AS_TRAINED,
    FORMS,
    RANK,
    RANKS,
    WHOLE,
    folded,
    is_nearly,
    is_number,
    rank_rules,
    rules_for,
    shift_rule,
    spelled,
)
from pipeline.layout.class_mappings import Ways
from pipeline.layout.context import Overrides
from pipeline.layout.labels import WITHOUT_COLUMN, Labels, respelled
from pipeline.layout.sample_submission import LongIds, Sample, classes_named
from pipeline.scoring.metrics import metric_named
from pipeline.tables.delimited import UNNAMED
from pipeline.tables.table import AUTO, first_counted
from pipeline.tables.words import NEGATIONS, length_in, words_of

# (negative, positive), lower case
KNOWN_PAIRS = (
    ("0", "1"), ("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"), ("negative", "positive"),
    ("normal", "abnormal"), ("benign", "malignant"), ("absent", "present"), ("0.0", "1.0"),
    ("neg", "pos"), ("-", "+"), ("-1", "1"),
)  # fmt: skip
NEGATIVES = {negative for negative, _ in KNOWN_PAIRS if negative.isalnum()}  # neg of negative/positive, 0 of 0.0/1.0
# words of a column's name that do not say which class it speaks of
EMPTY_WORDS = (
    "prob", "probs", "probability", "p", "proba", "score", "scores", "pred", "preds", "prediction", "predictions",
    "predicted", "label", "labels", "target", "targets", "class", "classes", "category", "value", "confidence", "conf",
    "is", "has", "id", "of", "the", "output", "result", "answer", "expected", "likelihood", "y", "percent", "status",
    "column",
)  # fmt: skip
# what follows a label in `cat 0.93`, `cat:0.93 dog:0.07`, `cat (93%)`
CONFIDENCE = re.compile(r"[\s:;,|=]*[\s:;,|=(](?:[01]?\.\d+|\d+(?:\.\d+)?%)\)?(?:[\s;,|]+|$)")
DECIMAL = re.compile(r"[01](?:,\d+)?|,\d+")  # a probability as spreadsheets of many countries write it
DEFAULT_METRICS = {"label": "accuracy", "score": "auc", "list": "samples_f1"}
DEFAULT_RANKED = 5
TRUTHS = {"false", "true"}
OF_GRADES = ("quadratic_weighted_kappa",)  # metrics that ask how far apart two classes are


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the format is told by; what `overrides` leave at `auto` is decided by the sample's cells."""

    labels: Labels
    kind: str  # of target, already decided but for single_label: binary where the positive class is known
    sample: Sample | None
    long: LongIds | None
    overrides: Overrides
    sampleless_columns: tuple[str, str]  # the header where there is no sample
    mappings: Callable[[], Ways]  # the files that call classes otherwise
    form: str = ""  # kind of submission, once it is decided

    @property
    def header(self) -> tuple[str, ...]:
        """The submission's columns."""
        return self.sample.header if self.sample else self.sampleless_columns

    @property
    def values(self) -> tuple[str, ...]:
        """Those to fill."""
        return self.sample.value_columns if self.sample else self.sampleless_columns[1:]

    @property
    def names(self) -> tuple[str, ...]:
        """What the submission calls the classes, where it has a column or a row for each."""
        return self.long.suffixes if self.long and self.form == "long" else self.values

    @cached_property
    def cells(self) -> set[str]:
        """What the sample writes; 0.5 for the `0,5` of a spreadsheet."""
        cells = self.sample.cells() if self.sample else set()
        labels = {part for cell in cells for part in cell.split(",")}
        is_decimal = all(map(DECIMAL.fullmatch, cells)) and not labels <= set(self.labels.classes)
        return {cell.replace(",", ".") for cell in cells} if is_decimal else cells

    @cached_property
    def metric(self) -> str:
        """The override by its own name, or auto."""
        override = self.overrides.metric
        return override if override == AUTO else metric_named(override).name

    @property
    def num_ranked(self) -> int:
        """How many labels of an image, best first, the named metric looks at; 0 for one that does not."""
        return 0 if self.metric == AUTO else metric_named(self.metric).first

    def metric_takes(self, kind: str) -> bool:
        """Whether the user names a metric that takes this kind of answers."""
        return self.metric != AUTO and metric_named(self.metric).takes == kind

    @property
    def stated(self) -> bool:
        """Whether the user names the format; then cells that are no labels are no reason to stop."""
        return self.overrides.submission != AUTO

    def named(self, classes: Sequence[str]) -> dict[str, str] | None:
        """Which of these classes each name means, as `classes_named` says."""
        return classes_named(self.names, classes, fewer=WITHOUT_COLUMN in self.overrides.allow)


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


def submission_demands(known: Known) -> Demands:
    """What is asked.

    Raises ValueError, with the lines that settle it, where the sample does not tell labels from probabilities, or one
    class from the other.
    """
    if not known.stated:
        _refuse_silent(known)
    form = known.overrides.submission if known.stated else _form(known)
    known = replace(known, form=form)
    _refuse_unfit(known)
    spelling, positive = _spelling(known), known.overrides.positive
    if spelling.mapped:
        positive = spelling.mapped.get(positive, positive)
        known = replace(known, labels=respelled(known.labels, spelling.mapped))
    known, notes = _graded(known, spelling.mapped)
    labels = known.labels
    target = _target(known, positive) if form != "score" or positive != AUTO else _scored(known, spelling.notes)
    most = _most(known, spelling.separator)
    metric = _default_metric(target, form, most) if known.metric == AUTO else known.metric
    takes, class_of, is_long = metric_named(metric).takes, _classes_of(known), known.long if form == "long" else None
    submission = SubmissionFormat(
        kind=form,
        id_column=known.sample.id_column if known.sample and not known.sample.unnamed else known.header[0],
        id_columns=known.sample.joint.columns if known.sample and known.sample.joint else (),
        joint=known.sample.joint.mark if known.sample and known.sample.joint else "",
        columns=tuple(known.header),
        value_columns=tuple(known.values),
        classes=class_of,
        suffixes=is_long.suffixes if is_long else (),
        separator=is_long.separator if is_long else spelling.separator,
        most=most,
        whole=form in ("score", "columns", "long") and takes == "labels",
        may_be_empty=labels.several and label_cell([]) in labels.cells,
    )
    warnings = [
        *spelling.warnings,
        *_bracket_warnings(known, spelling.separator),
        *_number_warnings(known, takes),
        *_classless_warnings(known, class_of),
    ]
    return Demands(
        labels=labels, target=target, submission=submission, metric=metric, spelling=spelling.rule,
        warnings=warnings, notes=[*spelling.notes, *notes],
    )  # fmt: skip


def _graded(known: Known, mapped: Mapping[str, str]) -> tuple[Known, list[str]]:
    """(with the classes in the order of their grades, what is said of it), where that order counts or is given.

    Raises ValueError where it counts and nothing says the order of labels that are words, or that given is of others.
    """
    labels, given, notes = known.labels, known.overrides.grades, []
    if given == AUTO:
        counts = known.kind == "ordinal" or (known.metric in OF_GRADES and not labels.several)
        if not counts or len(labels.classes) < 3 or all(map(is_number, labels.classes)):
            return known, []
        ways = _one_way_each(known, lambda way: first_counted(way.values()) is not None)
        orders = {name: tuple(sorted(way, key=lambda label: int(way[label]))) for name, way in ways.items()}
        orders = {name: order for name, order in orders.items() if order != labels.classes}  # a mere list of classes
        if len(orders) != 1:
            in_columns = known.form == "columns" and set(known.names) == set(labels.classes)
            order = known.names if in_columns else labels.classes
            raise question(
                f"the grades are words, such as {_shown(labels.classes)}, and nothing says their order; give it, from "
                "one end to the other:",
                [f"grades: [{', '.join(map(written, order))}]    # here by {'column' if in_columns else 'alphabet'}"],
            )
        ((name, given),) = orders.items()
        notes = [f"grades are in the order of {name}: {', '.join(given)}"]
    order = tuple(mapped.get(label, label) for label in given)
    if sorted(order) != sorted(labels.classes):
        raise ValueError(
            f"competition.grades is {list(given)[:6]}, the labels are {list(labels.classes)[:6]}; name each once, or "
            "say auto"
        )
    return replace(known, labels=replace(labels, classes=order)), notes


def _scored(known: Known, notes: list[str]) -> Target:
    """Of a score: where names do not say which class 1 means, a file may that calls the two 0 and 1."""
    try:
        return _target(known, AUTO)
    except ValueError:
        files = _one_way_each(known, lambda way: set(way.values()) == {"0", "1"})
        if len(files) != 1:
            raise
    ((name, way),) = files.items()
    positive = next(label for label, number in way.items() if number == "1")
    notes.append(f"1 means {positive!r}, by {name}")
    return _target(known, positive)


def _target(known: Known, positive: str) -> Target:
    labels, kind, found = known.labels, known.kind, ""
    if len(labels.classes) == 2 and not labels.several:
        told = len(known.values) == 1 and known.long is None and known.values[0] not in UNNAMED
        found = _positive(labels, known.values[0] if told else "", positive)
    if known.form == "score" and not found:
        lines = [setting_line("positive", label) for label in labels.classes]
        if known.metric_takes("labels"):
            lines.append(setting_line("submission", "label", "the label as in training"))
        raise question(
            f"the sample's column {known.values[0]!r} holds one score an image; which class does 1 mean? Choose one:",
            lines,
        )
    if kind == "single_label" and found:
        kind = "binary"
    return Target(kind=kind, columns=labels.columns, classes=labels.classes, positive=found)


def _refuse_silent(known: Known) -> None:
    """Raise where the sample writes nothing for two classes, or whole numbers that may not be labels."""
    sample, classes, cells = known.sample, known.labels.classes, known.cells
    if sample is None or known.long is not None or len(known.values) > 1 or known.metric != AUTO:
        return
    whole = all(is_number(cell) and not _is_fraction(cell) for cell in cells)
    told = len(cells) > 1 and bool(rules_for(cells, classes))
    if not cells and not all(map(is_number, classes)):
        return
    if whole and not told and not known.labels.several and len(classes) == 2:
        written = f"{_shown(cells)} everywhere" if len(cells) == 1 else _shown(cells) if cells else "nothing"
        raise question(
            f"the sample writes {written} in {known.values[0]!r}: that may stand for labels or for probabilities. "
            "How is it scored? (auc and log_loss take probabilities, accuracy and f1 labels.) Choose one:",
            ["metric: auc", "metric: accuracy"],
        )


def _form(known: Known) -> str:
    labels, sample = known.labels, known.sample
    if known.long is not None:
        return "long"
    if sample is not None and len(known.values) > 1:
        return "columns"
    if known.num_ranked:
        return "ranked"
    if labels.several:
        return "list"
    if _list_mark(known):
        return "ranked"
    coded = known.metric == AUTO or not all(map(is_number, labels.classes))  # labels that are numbers are no codes
    of_two = len(labels.classes) == 2 and (known.metric_takes("scores") or (coded and _numbers_apart(known)))
    return "score" if of_two else "label"


def _numbers_apart(known: Known) -> bool:
    """Whether the sample writes numbers that are no labels: 0.5, or 0 where the labels are cat and dog."""
    cells, classes = known.cells, known.labels.classes
    values = {float(label) for label in classes if is_number(label)}
    if not cells or not all(map(is_number, cells)):
        return False
    apart = any(map(_is_fraction, cells)) or not any(float(cell) in values for cell in cells)
    return apart and not rules_for(cells, classes)


def _list_mark(known: Known) -> str:
    """What separates labels within the sample's cells, spelled as in training, by a rule or file; '' for no lists."""
    labels = known.labels
    whole = {cell for cell in known.cells if cell not in labels.classes}
    style = bracket_style(whole, labels.classes)
    if style == "brackets" and labels.delimiter == "spaced":
        style = labels.delimiter  # the sample shows one label a cell
    if style and (labels.several or any(len(split_list(cell, style)) > 1 for cell in whole)):
        return style
    for mark in dict.fromkeys((labels.delimiter.strip() or labels.delimiter, *MARKS)):
        if not mark or not whole or not all(mark in cell for cell in whole):
            continue
        parts = {part for cell in whole for part in split_list(cell, mark)}
        by_rule = len(parts) > 1 and not rules_for(whole, labels.classes) and rules_for(parts, labels.classes)
        if parts <= set(labels.classes) or by_rule or (len(parts) > 1 and _of_file(known, parts)):
            return as_written(mark, whole)
    return ""


def _of_file(known: Known, parts: set[str]) -> bool:
    """Whether some file calls the labels so."""
    return any(parts <= {*way.values()} for ways in known.mappings().values() for way in ways)


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


def _spelling(known: Known) -> _Spelling:
    classes, override = known.labels.classes, known.overrides.spelling
    if known.form in ("columns", "long"):
        return _spelling_of_names(known)
    if known.form == "score":
        return _Spelling()
    found = _Spelling((_list_mark(known) or known.labels.delimiter or " ") if known.form != "label" else "")
    mark = found.separator
    parts = {part for cell in known.cells for part in (split_list(cell, mark) if mark else [cell])}

    def fits(way: Mapping[str, str]) -> bool:
        return parts <= set(way.values())

    if override != AUTO:
        return _stated_spelling(known, found, fits)
    if not parts:
        return found
    rules = rules_for(parts, classes)
    number = len(parts) == 1 and all(map(is_number, parts))
    if not rules:
        files = _one_way_each(known, fits)
        if len(files) == 1 and not number:
            return found.by(*next(iter(files.items())))
        several = [name for name, ways in known.mappings().items() if number and sum(map(fits, ways)) > 1]
        ranks = [rule for rule in RANKS if several and fits(spelled(rule, classes))]  # a list counts from 0, or from 1
        rules = [*files, *several, *ranks, AS_TRAINED] if files or several else []
    elif number and rules != [AS_TRAINED] and not all(map(WHOLE.fullmatch, classes)):
        rules = [*dict.fromkeys((*rules, AS_TRAINED))]  # one number may be a placeholder, and no part of a name
    if rules == [AS_TRAINED] and not parts <= set(classes):  # equal to the eye, other bytes
        rules = [rule for rule in FORMS if parts <= set(spelled(rule, classes).values())] or rules
    if len(rules) == 1:
        return found if rules == [AS_TRAINED] else found.by(rules[0], spelled(rules[0], classes))
    if rules:
        raise question(
            f"the sample writes {_shown(parts)} for labels such as {_shown(classes)}; {len(rules)} spellings may be "
            "meant, which differ in other labels; choose one:",
            [setting_line("spelling", rule, _example(rule, classes)) for rule in rules[:6]],
        )
    return replace(found, warnings=_strange_cells(known, parts))


def _example(rule: str, classes: Sequence[str]) -> str:
    if "{label" not in rule:
        return "as this file has it"
    if RANK in rule:
        pairs = list(spelled(rule, classes).items())[:3]
        return f"in alphabetical order: {', '.join(f'{number} is {label!r}' for label, number in pairs)}, …"
    return f"such as {_shown(spelled(rule, classes).values())}"


def _stated_spelling(known: Known, found: _Spelling, fits: Callable[[Mapping[str, str]], bool]) -> _Spelling:
    """By the rule or the file that the user names."""
    override, classes = known.overrides.spelling, known.labels.classes
    if "{" in override:
        mapped = spelled(override, classes)
        return replace(found, rule=override, mapped={} if override == AS_TRAINED else mapped)
    ways = known.mappings().get(override, [])
    if not ways:
        raise ValueError(
            f"competition.spelling is {override!r}: no rule, and no file that has all {len(classes)} labels"
        )
    return found.by(override, next(filter(fits, ways), ways[0]))


def _spelling_of_names(known: Known) -> _Spelling:
    """Of formats with a column or row for each class: only a file can say what the names do not."""

    def fits(way: Mapping[str, str]) -> bool:
        return known.named(list(way.values())) is not None

    override = known.overrides.spelling
    if override != AUTO and ("{" not in override or RANK in override):
        return _stated_spelling(known, _Spelling(), fits)
    if known.named(known.labels.classes) is not None:
        return _Spelling()
    files = list(_one_way_each(known, fits).items())
    if len(files) == 1:
        return _Spelling().by(*files[0])
    classes = known.labels.classes
    rules = [*(name for name, _ in files), *(rule for rule in RANKS if fits(spelled(rule, classes)))]
    if rules:
        raise question(
            f"the sample names its columns {_shown(known.names)}, the labels are such as {_shown(classes)}: which is "
            f"which? {len(files)} files say it. Choose one, or add a file such as classes.txt with a label a line:",
            [setting_line("spelling", rule, _example(rule, classes)) for rule in rules],
        )
    return _Spelling()


def _one_way_each(known: Known, fits: Callable[[Mapping[str, str]], bool]) -> dict[str, dict[str, str]]:
    """File -> the way in which it gives what is asked, of files that have one such way."""
    fitting = {name: list(filter(fits, found)) for name, found in known.mappings().items()}
    single = {name: found[0] for name, found in fitting.items() if len(found) == 1}
    return {name: way for name, way in single.items() if way is next(own for own in single.values() if own == way)}


def _shown(texts: Collection[str]) -> str:
    return ", ".join(map(repr, sorted(texts)[:4]))


def _strange_cells(known: Known, parts: Collection[str]) -> list[str]:
    """Warnings for a sample whose cells are not all labels. Raises ValueError where they look like other labels."""
    classes, stated = set(known.labels.classes), known.stated
    strange = set(parts) - classes
    shown = f"the sample writes {_shown(strange)} in {known.values[0]!r}"
    sure = _hold_confidences(known.cells, classes)
    if not stated and (sure or any(set(split_list(cell, mark)) & classes for cell in strange for mark in MARKS)):
        what = "a label with a confidence" if sure else "of which a part is a training label"
        raise question(
            f"{shown}, {what}: a format with something beside labels cannot be written here. If labels alone are "
            "wanted, choose one:",
            [f"submission: {kind}" for kind in dict.fromkeys((known.form, "ranked"))],
        )
    marked = not stated and not _is_marked(classes) and (_is_marked(strange) or {*map(str.lower, strange)} <= TRUTHS)
    if len(parts) == 1 and not stated and is_nearly(next(iter(parts)), classes):
        raise question(
            f"{shown}, nearly a training label (such as {_shown(classes)}). If the leaderboard spells labels so, add a "
            f"file of each label and its spelling, such as classes.csv. If not ({AS_TRAINED}: as in training):",
            [setting_line("spelling", AS_TRAINED, _example(AS_TRAINED, known.labels.classes)), "spelling: FILE"],
        )
    if len(parts) == 1 and not marked and (stated or not _is_fraction(next(iter(parts)))):
        return [
            f"{shown}, no training label (such as {_shown(classes)}): taken for a placeholder; labels are spelled as "
            f"in training{_if_numbers(parts, known.labels.classes)}"
        ]
    if classes <= set(parts):
        return [f"{shown}: no training image has {'it' if len(strange) == 1 else 'them'}, so it is never predicted"]
    if stated:
        return [f"{shown}, no training labels (such as {_shown(classes)}); labels are spelled as in training"]
    if all(map(is_number, parts)) and any(map(_is_fraction, parts)):
        raise question(
            f"{shown}, a number where one of {len(classes)} labels, such as {known.labels.classes[0]!r}, was "
            "expected: regression cannot be learnt here. If labels are wanted:",
            [f"submission: {known.form}"],
        )
    shifted = shift_rule(parts, known.labels.classes)
    raise question(
        f"{shown}: {len(strange)} different cells that are no training labels (such as {_shown(classes - set(parts))}) "
        "nor made of them by a rule. If the label is another column, or in another folder: competition.label; if the "
        f"labels are to be written by this rule ({AS_TRAINED}: as in training):",
        [
            setting_line("spelling", rule, _example(rule, known.labels.classes))
            for rule in (*([shifted] if shifted else rank_rules(parts, classes)), AS_TRAINED)
        ],
    )


def _if_numbers(parts: Collection[str], classes: Sequence[str]) -> str:
    """The line by which labels are written as numbers, where the sample's one cell is such a number."""
    rules = rank_rules(parts, classes)
    if not rules:
        return ""
    lines = (setting_line("spelling", rule, _example(rule, classes)) for rule in rules)
    return f". If it is the number of a class: competition.{' or competition.'.join(lines)}"


def _hold_confidences(cells: Collection[str], classes: Collection[str]) -> bool:
    """Whether cells are labels, each with a confidence behind it."""
    labels = set(map(folded, classes))
    parts = [
        list(filter(None, CONFIDENCE.split(cell))) for cell in set(cells) - set(classes) if CONFIDENCE.search(cell)
    ]
    return any(found and labels.issuperset(map(folded, found)) for found in parts)


def _is_marked(texts: Collection[str]) -> bool:
    """Whether some text is more than a name: a list, a mapping, a percentage."""
    return any(re.search(r"[{}\[\]|;%]", text) for text in texts)


def _is_fraction(text: str) -> bool:
    return is_number(text) and not float(text).is_integer()


def _bracket_warnings(known: Known, separator: str) -> list[str]:
    """Where lists are written otherwise than the sample has them: `[a, b]` for `{a,b}`."""
    ways = ((cell, written_list(split_list(cell, separator), separator)) for cell in sorted(known.cells))
    other = [f"{cell} as {again}" for cell, again in ways if separator in BRACKETS and cell != again]
    return [f"lists are written otherwise than in the sample, {other[0]}: ask whether it is taken"] if other else []


def _number_warnings(known: Known, takes: str) -> list[str]:
    whole = bool(known.cells) and all(is_number(cell) and not _is_fraction(cell) for cell in known.cells)
    beyond = [
        cell for cell in known.cells if not (0 <= float(cell) <= 1 if is_number(cell) else DECIMAL.fullmatch(cell))
    ]
    if beyond and known.form in ("score", "columns", "long"):
        return [
            f"the sample writes {_shown(beyond)}: numbers from 0 to 1 will be written, not percents, logits, -1 or "
            "words; ask whether the leaderboard takes them"
        ]
    if known.form == "label" and takes == "scores":
        return [
            f"metric {known.metric} is of probabilities, the sample asks for labels: what is written, and scored here, "
            "is 0 or 1 for each class. If the leaderboard takes probabilities: competition.submission"
        ]
    if not whole or known.form not in ("score", "columns", "long") or takes != "scores":
        return []
    return [
        "the sample writes whole numbers: probabilities will be written. If the leaderboard counts right answers: "
        "competition.metric: accuracy"
    ]


def _classless_warnings(known: Known, class_of: Sequence[str]) -> list[str]:
    names = known.long.suffixes if known.long else known.values
    unknown = [name for name, label in zip(names, class_of, strict=False) if not label]
    lacking = sorted(set(known.labels.classes) - set(class_of)) if class_of else []
    warnings = []
    if unknown:
        warnings.append(f"the sample names {_shown(unknown)}, of which there is no training image: 0 is written there")
    if lacking:
        warnings.append(
            f"the sample has no column for {_shown(lacking)}: never written; out of fold they count as misses"
        )
    return warnings


def _refuse_unfit(known: Known) -> None:
    """Raise where the labels or the sample's columns do not fit the format."""
    form, values, cells, labels = known.form, known.values, known.cells, known.labels
    if form == "columns" and len(values) < 2:
        raise ValueError(f"competition.submission is columns, but the sample has one column to fill: {values[0]!r}")
    if form != "columns" and len(values) > 1:
        raise ValueError(
            f"competition.submission is {form}, but the sample has {len(values)} columns to fill: {list(values[:5])}"
        )
    if form == "score" and (labels.several or len(labels.classes) != 2):
        raise ValueError(
            f"competition.submission is score, which needs two classes; there are {len(labels.classes)}: "
            f"{list(labels.classes[:5])}"
        )
    if form == "label" and labels.several:
        raise ValueError("competition.submission is label, but an image may have several labels; use list")
    own = cells & set(labels.classes)
    are_labels = len(cells) > 1 and (
        (own == cells and not cells <= {"0", "1", "0.0", "1.0"}) or not all(map(is_number, own))
    )
    if form == "columns" and are_labels:
        raise ValueError(
            f"the sample's columns hold labels ({_shown(cells)}), not a number for each class: a "
            "submission of ranked guesses, one a column, cannot be written here"
        )


def _positive(labels: Labels, column: str, override: str) -> str:
    """The class that a score speaks of: the one that the sample's column names, else that of a known pair; or ''."""
    if override != AUTO:
        if override not in labels.classes:
            raise ValueError(f"competition.positive is {override!r}; the classes are {list(labels.classes)}")
        return override
    lower = {label.lower(): label for label in labels.classes}
    of_pair = next((lower[positive] for negative, positive in KNOWN_PAIRS if set(lower) == {negative, positive}), "")
    words = [word for word in words_of(column) if word not in EMPTY_WORDS or word in lower]
    own = {word for name in labels.columns for word in words_of(name)} - set(EMPTY_WORDS)
    if of_pair and own == set(words):
        return of_pair  # it is called as the label's column is, though that be no_findings
    lengths = {label: length_in(words, label) for label in labels.classes}
    named = [label for label, length in lengths.items() if length and length == max(lengths.values())]
    if len(named) == 1:
        beside = len(words) > lengths[named[0]] and any(word in NEGATIONS for word in words)
        return "" if beside and not set(words_of(named[0])) & set(NEGATIONS) else named[0]
    if words and not named and own and not own & set(words):
        return ""  # the column speaks of something else than the label's: healthy, where the label says infected
    denies = set(NEGATIONS) if named else {*NEGATIONS, *NEGATIVES}
    return "" if denies & set(words) or "-1" in column else of_pair


def _most(known: Known, separator: str) -> int:
    """How many labels a cell of `ranked` holds at most."""
    if known.form != "ranked":
        return 0
    longest = max((len(split_list(cell, separator)) for cell in known.cells), default=0)
    return min(known.num_ranked or (longest if longest > 1 else DEFAULT_RANKED), len(known.labels.classes))


def _default_metric(target: Target, form: str, most: int) -> str:
    if form == "ranked":
        return f"map@{most}"
    if form in ("columns", "long"):
        return "log_loss" if target.exclusive else "mean_column_auc"
    return "quadratic_weighted_kappa" if target.kind == "ordinal" and form == "label" else DEFAULT_METRICS[form]


def _classes_of(known: Known) -> tuple[str, ...]:
    if known.form not in ("columns", "long"):
        return ()
    names, classes = known.names, known.labels.classes
    found = known.named(classes)
    if found is None:
        odd = [name for name in names if name not in classes]
        lacking = [label for label in classes if label not in names]
        raise ValueError(
            f"unknown columns: the sample names {len(names)} classes, the labels {len(classes)}; without label: "
            f"{odd[:5]}, without column: {lacking[:5]}. If the label is another column: competition.label: COLUMN"
            + (f"; to go on all the same: competition.allow: [{WITHOUT_COLUMN}]" if lacking and not odd else "")
        )
    return tuple(found[name] for name in names)
