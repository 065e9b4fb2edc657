"""The contract: what a submission must be, checked on its bytes, before it is written and again before it is sent."""

import csv
import io
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.competition.answers import Answers, blank_sample, predicted_counts, read_answers, row_cells, split_list
from pipeline.competition.schema import Schema
from pipeline.files import table_bytes

BOM = "\ufeff"
NUM_SHOWN = 3
HISTOGRAM_FACTOR = 2.0  # a class predicted this much more or less often than out of fold is worth a look
HISTOGRAM_MINIMUM = 20  # images; below it chance alone gives such factors
SUM_TOLERANCE = 1e-6  # of a row of probabilities that exclude each other
COARSE_DIGITS = 4  # decimals; AUC and log loss lose by rounding to so few
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Finding:
    """One check that did not pass."""

    check: str
    refused: bool  # False: a warning
    count: int
    first: tuple[str, ...]  # offenders, at most three
    remedy: str

    def __str__(self) -> str:
        shown = f" (first: {', '.join(self.first)})" if self.first else ""
        return f"{'REFUSED' if self.refused else 'WARNING'} {self.check}: {self.count}{shown}; {self.remedy}"


def make_submission(sample: bytes, schema: Schema, cells_of: Mapping[str, Sequence[str]]) -> bytes:
    """The sample's rows, order and columns, value columns filled; its BOM and newline style kept.

    cells_of: row id -> the cells of the value columns. Raises ValueError for an id of the sample without prediction,
    or a prediction for no row.
    """
    header, rows = parse_table(sample)
    at, places = _places(schema)
    row_ids = [row[at] for row in rows]
    missing = [row_id for row_id in row_ids if row_id not in cells_of]
    strangers = sorted(set(cells_of) - set(row_ids))
    if missing or strangers:
        raise ValueError(
            f"predictions and sample submission do not match: {len(missing)} ids without prediction "
            f"{missing[:NUM_SHOWN]}, {len(strangers)} predictions without row {strangers[:NUM_SHOWN]}; run `dvc repro`"
        )
    filled = []
    for row in rows:
        cells = list(row)
        for place, cell in zip(places, cells_of[row[at]], strict=True):
            cells[place] = cell
        filled.append(cells)
    content = table_bytes(header, filled)
    if b"\r\n" in sample:
        content = content.replace(b"\n", b"\r\n")
    return (BOM.encode() if sample.startswith(BOM.encode()) else b"") + content


def _places(schema: Schema) -> tuple[int, list[int]]:
    """(position of the id column, positions of the value columns)."""
    submission = schema.submission
    return submission.columns.index(submission.id_column), [
        submission.columns.index(column) for column in submission.value_columns
    ]


def value_cells(content: bytes, schema: Schema) -> dict[str, tuple[str, ...]]:
    """Row id -> cells of the value columns, for a submission that has the header of `schema`."""
    at, places = _places(schema)
    return {row[at]: tuple(row[place] for place in places) for row in parse_table(content)[1]}


def through_the_writer(answers: Answers, image_ids: Sequence[str], schema: Schema) -> Answers:
    """The answers as a leaderboard would read them: written in the submission's format, and read back."""
    content = make_submission(blank_sample(schema, image_ids), schema, row_cells(answers, image_ids, schema))
    return read_answers(value_cells(content, schema), image_ids, schema)


def parse_table(content: bytes) -> tuple[list[str], list[list[str]]]:
    """(header, rows) as text, BOM dropped. Raises ValueError for what is not UTF-8 CSV."""
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"not a UTF-8 CSV: {error}") from error
    if not lines:
        raise ValueError("not a CSV: the file is empty")
    return lines[0], lines[1:]


def check_submission(
    content: bytes, sample: bytes, schema: Schema, *, oof_counts: Mapping[str, int] | None = None
) -> list[Finding]:
    """Everything that is wrong or strange about the submission `content`, refusals first.

    sample: the organiser's sample submission; oof_counts: label -> how often it was predicted out of fold.
    """
    try:
        header, rows = parse_table(content)
    except ValueError as error:
        return [Finding("the file", True, 1, (str(error),), "write it as UTF-8 CSV, cells separated by commas")]
    findings = _file_findings(content, sample, header, rows)
    if not any(finding.refused for finding in findings):
        _, sample_rows = parse_table(sample)
        at, places = _places(schema)
        findings += _id_findings([row[at] for row in rows], [row[at] for row in sample_rows])
        cells_of = {row[at]: [row[place] for place in places] for row in rows}
        findings += _cell_findings(cells_of, schema)
        findings += _untouched_findings(rows, sample_rows, {at, *places})
        findings += _likeness_findings(content, sample, cells_of)
        if not any(finding.refused for finding in findings):
            findings += _histogram_findings(cells_of, schema, oof_counts or {})
    return sorted(findings, key=lambda finding: not finding.refused)


def refuse(findings: Sequence[Finding], source: str) -> None:
    """Raise ValueError with every finding if one of them refuses the submission."""
    refusals = [finding for finding in findings if finding.refused]
    if refusals:
        raise ValueError(
            "\n  ".join([f"{source} breaks the submission format in {len(refusals)} ways:", *map(str, refusals)])
        )


def _found(check: str, offenders: Sequence[str], remedy: str, *, refused: bool = True) -> list[Finding]:
    return [Finding(check, refused, len(offenders), tuple(offenders[:NUM_SHOWN]), remedy)] if offenders else []


def _file_findings(content: bytes, sample: bytes, header: list[str], rows: list[list[str]]) -> list[Finding]:
    sample_header, sample_rows = parse_table(sample)
    findings = []
    if content.startswith(BOM.encode()) and not sample.startswith(BOM.encode()):
        findings += _found("byte order mark", ["EF BB BF"], "write UTF-8 without BOM, as the sample is")
    if b"\0" in content:
        findings += _found("NUL bytes", [f"at byte {content.index(0)}"], "write the file again")
    if b"\r" in content.replace(b"\r\n", b"") or (b"\r\n" in content and b"\n" in content.replace(b"\r\n", b"")):
        findings += _found("mixed newlines", [r"\r and \n"], "use one newline style")
    if header != sample_header:
        extra = [column for column in header if column not in sample_header]
        index = (
            "an index column was written (pandas: index=False); " if extra and extra[0] in ("", "Unnamed: 0") else ""
        )
        findings += _found(
            "header", [f"{header}, the sample has {sample_header}"], f"{index}use the sample's columns in its order"
        )
    ragged = [f"line {number} has {len(row)}" for number, row in enumerate(rows, start=2) if len(row) != len(header)]
    findings += _found("cells in a row", ragged, f"the header has {len(header)}; quote cells that hold commas")
    if len(rows) != len(sample_rows):
        findings += _found(
            "number of rows", [f"{len(rows)}, the sample has {len(sample_rows)}"], "one row for each of its ids"
        )
    return findings


def _id_findings(image_ids: list[str], wanted: list[str]) -> list[Finding]:
    known, present = set(wanted), set(image_ids)
    strangers = [image_id for image_id in image_ids if image_id not in known]
    findings = _found(
        "ids that the sample does not have",
        _with_cause(strangers, known),
        "keep ids as text, as the sample spells them",
    )
    findings += _found(
        "ids missing", [image_id for image_id in wanted if image_id not in present], "one row for each id of the sample"
    )
    findings += _found(
        "duplicate ids", [name for name, count in Counter(image_ids).items() if count > 1], "one row for each id"
    )
    if not findings:
        moved = [
            f"row {row}: {a} for {b}" for row, (a, b) in enumerate(zip(image_ids, wanted, strict=True), 1) if a != b
        ]
        findings += _found("order of ids", moved, "keep the sample's order")
    return findings


def _with_cause(strangers: list[str], known: set[str]) -> list[str]:
    """Each stranger, with the known id it was probably made from: leading zeros lost, `123.0`, `1e5`, case."""
    by_number = {_as_number(name): name for name in known if _as_number(name) is not None}
    by_fold = {name.strip().casefold(): name for name in known}
    shown = []
    for name in strangers[:NUM_SHOWN]:
        origin = by_fold.get(name.strip().casefold()) or by_number.get(_as_number(name))
        shown.append(f"{name!r} (the sample has {origin!r})" if origin else repr(name))
    return shown + strangers[NUM_SHOWN:]


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _cell_findings(cells_of: Mapping[str, Sequence[str]], schema: Schema) -> list[Finding]:
    kind = schema.submission.kind
    if kind == "label":
        return _label_findings({row_id: cells[0] for row_id, cells in cells_of.items()}, schema)
    if kind in ("list", "ranked"):
        return _list_findings({row_id: cells[0] for row_id, cells in cells_of.items()}, schema)
    return _number_findings(cells_of, schema)


def _label_findings(label_of: Mapping[str, str], schema: Schema) -> list[Finding]:
    classes = set(schema.target.classes)
    empty, odd = [], []
    for row_id, label in label_of.items():
        if label.strip() == "" or (label.strip().lower() in ("nan", "inf", "-inf") and label not in classes):
            empty.append(f"{row_id} = {label!r}")
        elif label not in classes:
            odd.append(f"{row_id} = {label!r}{_meant(label, schema.target.classes)}")
    return _found("empty labels", empty, "give every id a label") + _found("unknown labels", odd, _allowed(schema))


def _allowed(schema: Schema) -> str:
    classes = schema.target.classes
    return f"allowed: the {len(classes)} training labels, such as {', '.join(map(repr, classes[:NUM_SHOWN]))}"


def _meant(label: str, classes: Sequence[str]) -> str:
    """A hint at the class that a wrong spelling probably means: case, spaces, Unicode form, `3.0` for `3`."""
    folded = {unicodedata.normalize("NFC", name).strip().casefold(): name for name in classes}
    meant = folded.get(unicodedata.normalize("NFC", label).strip().casefold())
    meant = meant or folded.get(re.sub(r"\.0+$", "", label))
    return f", meant {meant!r}?" if meant else ""


def _list_findings(cell_of: Mapping[str, str], schema: Schema) -> list[Finding]:
    submission, classes = schema.submission, set(schema.target.classes)
    empty, odd, repeated, long = [], [], [], []
    for row_id, cell in cell_of.items():
        labels = split_list(cell, submission.separator)
        if not labels:
            empty.append(f"{row_id} = {cell!r}")
        unknown = [label for label in labels if label not in classes]
        if unknown:
            odd.append(f"{row_id} = {cell!r}{_meant(unknown[0], schema.target.classes)}")
        if len(set(labels)) < len(labels):
            repeated.append(f"{row_id} = {cell!r}")
        if submission.most and len(labels) > submission.most:
            long.append(f"{row_id} has {len(labels)}")
    separator = f"separated by {submission.separator!r}, no brackets, no quotes; {_allowed(schema)}"
    return (
        (_found("empty lists", empty, "every image has a label in training") if not submission.may_be_empty else [])
        + _found("unknown labels", odd, separator)
        + _found("labels repeated in a row", repeated, "name each label once")
        + _found("too many labels in a row", long, f"at most {submission.most}")
    )


def _number_findings(cells_of: Mapping[str, Sequence[str]], schema: Schema) -> list[Finding]:
    submission = schema.submission
    columns = submission.value_columns
    empty, no_number, outside, broken = [], [], [], []
    for row_id, cells in cells_of.items():
        for column, cell in zip(columns, cells, strict=True):
            shown = f"{row_id} = {cell!r}" if len(columns) == 1 else f"{row_id}, {column} = {cell!r}"
            if cell.strip().lower() in ("", "nan", "inf", "-inf", "+inf", "infinity", "-infinity"):
                empty.append(shown)
            elif NUMBER.fullmatch(cell) is None:
                no_number.append(shown)
            elif not 0.0 <= float(cell) <= 1.0:
                outside.append(shown)
            elif submission.whole and cell not in ("0", "1"):
                broken.append(shown)
    findings = (
        _found("empty, NaN or inf cells", empty, "give every cell a number")
        + _found("cells that are no number", no_number, "a plain number: no brackets, no tensor, a point for decimals")
        + _found("numbers outside 0 to 1", outside, "probabilities, not logits or percentages")
        + _found("cells that are not 0 or 1", broken, "this leaderboard's metric takes decisions: write 0 or 1")
    )
    if not findings and schema.target.exclusive and submission.kind != "score":
        findings += _sum_findings(cells_of, schema)
    if not findings and not submission.whole:
        findings += _digit_findings(cells_of)
    return findings


def _sum_findings(cells_of: Mapping[str, Sequence[str]], schema: Schema) -> list[Finding]:
    """Rows (of a long submission: the rows of one image) whose probabilities do not sum to 1."""
    submission = schema.submission
    total: dict[str, float] = {}
    for row_id, cells in cells_of.items():
        image_id = row_id
        if submission.kind == "long":
            ends = [suffix for suffix in submission.suffixes if row_id.endswith(submission.separator + suffix)]
            image_id = row_id.removesuffix(submission.separator + max(ends, key=len)) if ends else row_id
        total[image_id] = total.get(image_id, 0.0) + math.fsum(float(cell) for cell in cells)
    wrong = [f"{image_id} sums to {found:.7g}" for image_id, found in total.items() if abs(found - 1) > SUM_TOLERANCE]
    return _found("probabilities that do not sum to 1", wrong, "the classes exclude each other: write the softmax")


def _digit_findings(cells_of: Mapping[str, Sequence[str]]) -> list[Finding]:
    decimals = Counter(len(cell.partition(".")[2]) for cells in cells_of.values() for cell in cells)
    most = max(decimals)
    if most > COARSE_DIGITS or len(cells_of) < 2:
        return []
    what = "only whole numbers" if most == 0 else f"at most {most} decimals"
    return _found("rounded probabilities", [what], "write at least 7 digits: ties cost score", refused=False)


def _untouched_findings(rows: list[list[str]], sample_rows: list[list[str]], filled: set[int]) -> list[Finding]:
    """Cells of columns that are not to be filled (an index column) and differ from the sample's."""
    moved = [
        f"row {number}: {cell!r} for {expected!r}"
        for number, (row, sample_row) in enumerate(zip(rows, sample_rows, strict=True), 1)
        for place, (cell, expected) in enumerate(zip(row, sample_row, strict=True))
        if place not in filled and cell != expected
    ]
    return _found("cells that are not to be filled", moved, "keep them as the sample has them")


def _likeness_findings(content: bytes, sample: bytes, cells_of: Mapping[str, Sequence[str]]) -> list[Finding]:
    findings = []
    if content == sample:
        findings += _found(
            "equal to the sample", ["every byte"], "this is the organiser's example, not a prediction", refused=False
        )
    distinct = {tuple(cells) for cells in cells_of.values()}
    if len(distinct) == 1 and len(cells_of) > 1:
        shown = ",".join(next(iter(distinct)))
        findings += _found("constant", [f"{len(cells_of)} rows of {shown!r}"], "look at the model", refused=False)
    return findings


def _histogram_findings(
    cells_of: Mapping[str, Sequence[str]], schema: Schema, oof_counts: Mapping[str, int]
) -> list[Finding]:
    """Classes answered much more or less often than out of fold."""
    total = sum(oof_counts.values())
    image_ids = _image_ids(list(cells_of), schema)
    if not total or not image_ids:
        return []
    answers = read_answers(cells_of, image_ids, schema)
    if schema.submission.kind == "ranked" and answers.lists is not None:
        answers = Answers(labels=[labels[0] for labels in answers.lists])
    counts = predicted_counts(answers, schema.target)
    share = sum(counts.values()) / total
    never = [label for label in schema.target.classes if not counts[label] and oof_counts.get(label, 0) * share >= 5]
    far = []
    for label, count in counts.items():
        expected = oof_counts.get(label, 0) * share
        near = expected / HISTOGRAM_FACTOR <= count <= expected * HISTOGRAM_FACTOR
        if count and max(count, expected) >= HISTOGRAM_MINIMUM and not near:
            far.append(f"{label!r} {count} times, {expected:.0f} expected")
    return _found("classes never predicted", never, "five or more were to be expected", refused=False) + _found(
        "classes unlike out of fold", far, "the test set differs from the training set, or a fold failed", refused=False
    )


def _image_ids(row_ids: Sequence[str], schema: Schema) -> list[str]:
    submission = schema.submission
    if submission.kind != "long":
        return list(row_ids)
    end = submission.separator + submission.suffixes[0]
    return [row_id.removesuffix(end) for row_id in row_ids if row_id.endswith(end)]
