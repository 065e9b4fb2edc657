"""The contract: what a submission must be, checked on its bytes, before it is written and again before it is sent."""

import contextlib
import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.competition.lists import split_list
from pipeline.competition.schema import CSV, MARK_NAMES, Make, SubmissionFormat
from pipeline.competition.spelling import folded
from pipeline.submission.answers import Answers, Asked, blank_sample, predicted_counts, read_answers, row_cells
from pipeline.submission.make import BOM, Rows, are_rows, content_of, outside_quotes, rows_of

NUM_SHOWN = 3
HISTOGRAM_FACTOR = 2.0  # a class predicted this much more or less often than out of fold is worth a look
HISTOGRAM_MINIMUM = 20  # images; below it chance alone gives such factors
SUM_TOLERANCE = 1e-6  # of a row of probabilities that exclude each other
MIN_DIGITS = 7  # significant ones that the finest cell shows; AUC and log loss lose by rounding to fewer
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
PRIOR = "missing or unreadable: the training prior is written for them; sound files would give better answers"
NOT_A_NUMBER = ("nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity")
DELIMITERS = (" ", ",", ";", "|", "\t")
OK, WARN, REFUSED = "OK", "WARN", "REFUSED"


@dataclass(frozen=True)
class Check:
    """One check, passed or not."""

    check: str
    refused: bool  # an offender refuses the submission; False: it is a warning
    count: int  # offenders
    first: tuple[str, ...]  # at most three of them
    remedy: str
    seen: str = ""  # how much was looked at

    @property
    def status(self) -> str:
        """OK, WARN or REFUSED."""
        return OK if not self.count else REFUSED if self.refused else WARN

    def __str__(self) -> str:
        shown = f" (first: {', '.join(self.first)})" if self.first else ""
        return f"{'REFUSED' if self.refused else 'WARNING'} {self.check}: {self.count}{shown}; {self.remedy}"


def make_submission(sample: bytes, asked: Asked, cells_of: Mapping[str, Sequence[str]]) -> bytes:
    """The sample's rows, order and columns, value columns filled; its make, BOM and newline style kept.

    cells_of: row id -> the cells of the value columns. Raises ValueError for an id of the sample without prediction,
    or a prediction for no row.
    """
    submission = asked.submission
    header, rows = parse_table(sample, submission)
    places = _places(asked)
    row_ids = list(map(submission.row_id, rows))
    missing = [row_id for row_id in row_ids if row_id not in cells_of]
    strangers = sorted(set(cells_of) - set(row_ids))
    if missing or strangers:
        raise ValueError(
            f"predictions and sample submission do not match: {len(missing)} ids without prediction "
            f"{missing[:NUM_SHOWN]}, {len(strangers)} predictions without row {strangers[:NUM_SHOWN]}"
        )
    filled = []
    for row in rows:
        cells = list(row)
        for place, cell in zip(places, cells_of[submission.row_id(row)], strict=True):
            cells[place] = _pointed(cell, ".", submission)
        filled.append(cells)
    return content_of(header, filled, submission.make, like=sample)


def _pointed(cell: str, point: str, submission: SubmissionFormat) -> str:
    """The cell of a value column with the other mark for its decimals: the sample's for `.`, `.` for the sample's."""
    decimal = submission.make.decimal
    return cell if decimal == "." else cell.replace(point, decimal if point == "." else ".")


def _places(asked: Asked) -> list[int]:
    """Positions of the value columns."""
    return [asked.submission.columns.index(column) for column in asked.submission.value_columns]


def value_cells(content: bytes, asked: Asked) -> dict[str, tuple[str, ...]]:
    """Row id -> cells of the value columns, for a submission that has the header that is `asked`.

    Raises ValueError for rows that are not as long as the header, and for an id that is there twice.
    """
    header, rows = parse_table(content, asked.submission)
    ragged = [number for number, row in enumerate(rows, start=2) if len(row) != len(header)]
    if ragged:
        raise ValueError(f"{len(ragged)} lines have not the header's {len(header)} cells, first {ragged[:NUM_SHOWN]}")
    cells = _cells_of(rows, asked)
    twice = [row_id for row_id, count in Counter(row_id for row_id, _ in cells).items() if count > 1]
    if twice:
        raise ValueError(f"{len(twice)} ids are there twice, first {twice[:NUM_SHOWN]}")
    return {row_id: tuple(found) for row_id, found in cells}


def _cells_of(rows: Sequence[Sequence[str]], asked: Asked) -> list[tuple[str, list[str]]]:
    """(row id, its value cells, with a point for decimals) of each row."""
    places, submission = _places(asked), asked.submission
    decimal = submission.make.decimal
    return [(submission.row_id(row), [_pointed(row[place], decimal, submission) for place in places]) for row in rows]


def through_the_writer(answers: Answers, image_ids: Sequence[str], asked: Asked) -> Answers:
    """The answers as a leaderboard would read them: written in the submission's format, and read back."""
    content = make_submission(blank_sample(asked, image_ids), asked, row_cells(answers, image_ids, asked))
    return read_answers(value_cells(content, asked), image_ids, asked)


def in_make(content: bytes, text: str, header: Sequence[str], rows: Rows, make: Make) -> bytes:
    """A table in this make: `content` where it is that and holds no more than its rows, else the rows written so.

    text, header, rows: what `content` was read as, in whatever make it is.
    """
    with contextlib.suppress(ValueError):
        if are_rows(rows_of(content, make, header), header, rows):
            return content
    return content_of(header, rows(), make, like=text.encode(make.encoding, "replace"))


def parse_table(content: bytes, submission: SubmissionFormat) -> tuple[list[str], list[list[str]]]:
    """(header, rows) as text, BOM dropped. Raises ValueError for what is not of the sample's make."""
    make = submission.make
    try:
        lines = list(rows_of(content, make, submission.columns))
    except ValueError as error:
        raise ValueError(f"not {'made as the sample is' if make.words else 'a UTF-8 CSV'}: {error}") from error
    if not lines:
        raise ValueError("the file is empty")
    return lines[0], lines[1:]


def check_submission(content: bytes, sample: bytes, asked: Asked, **known: Any) -> list[Check]:
    """Everything that is wrong or strange about the submission `content`, refusals first; arguments as of `verdict`."""
    return sorted(
        (check for check in verdict(content, sample, asked, **known) if check.count),
        key=lambda check: not check.refused,
    )


def verdict(
    content: bytes,
    sample: bytes,
    asked: Asked,
    *,
    oof_counts: Mapping[str, int] | None = None,
    earlier: Mapping[str, str] | None = None,
    written_sha256: str | None = None,
    unseen: Sequence[str] = (),
) -> list[Check]:
    """Every check that was made of the submission `content`, in order, those that it passed too.

    What cannot be looked at is left out: the cells of a file whose columns are not the sample's.

    sample: the organiser's sample submission; oof_counts: label -> how often it was predicted out of fold; earlier:
    sha256 -> what an earlier submission is called; written_sha256: of the file as `submit` wrote it; unseen: ids of
    test images that are missing or cannot be read, which `ingest` was allowed to pass.
    """
    try:
        header, rows = parse_table(content, asked.submission)
    except ValueError as error:
        return [Check("encoding", True, 1, (str(error),), f"write it as {_made(asked.submission)}")]
    checks = _file_checks(content, sample, header, rows, asked.submission)
    if _is_refused(checks):
        return checks
    _, sample_rows = parse_table(sample, asked.submission)
    places, row_id = _places(asked), asked.submission.row_id
    cells_of = dict(_cells_of(rows, asked))
    checks += _id_checks(list(map(row_id, rows)), list(map(row_id, sample_rows)))
    checks += _cell_checks(cells_of, asked)
    checks += _untouched_checks(rows, sample_rows, {*asked.submission.id_places, *places})
    checks += _likeness_checks(rows, sample_rows, cells_of)
    checks += _spelling_checks(sample_rows, asked)
    checks.append(_looked("rows without an image", unseen, PRIOR, seen=f"{len(sample_rows):,} rows", refused=False))
    checks += _history_checks(hashlib.sha256(content).hexdigest(), earlier or {}, written_sha256)
    if not _is_refused(checks):
        checks += _histogram_checks(cells_of, asked, oof_counts or {})
    return checks


def refuse(checks: Sequence[Check], source: str) -> None:
    """Raise ValueError with every refusal if there is one."""
    refusals = [check for check in checks if check.status == REFUSED]
    if refusals:
        raise ValueError(
            "\n  ".join([f"{source} breaks the submission format in {len(refusals)} ways:", *map(str, refusals)])
        )


def _is_refused(checks: Sequence[Check]) -> bool:
    return any(check.status == REFUSED for check in checks)


def _looked(check: str, offenders: Sequence[str], remedy: str, *, seen: str, refused: bool = True) -> Check:
    return Check(check, refused, len(offenders), tuple(offenders[:NUM_SHOWN]), remedy, seen)


def _made(submission: SubmissionFormat) -> str:
    words = submission.make.words
    return f"the sample is: {words}" if words else "UTF-8 CSV, cells separated by commas"


def _file_checks(
    content: bytes, sample: bytes, header: list[str], rows: list[list[str]], submission: SubmissionFormat
) -> list[Check]:
    make = submission.make
    sample_header, sample_rows = parse_table(sample, submission)
    text, sample_text = content.decode(make.encoding), sample.decode(make.encoding)
    marks = ["U+FEFF"] if text.startswith(BOM) and not sample_text.startswith(BOM) else []
    zeros = [f"at letter {text.index(chr(0))}"] if "\0" in text else []
    ends = outside_quotes(text) if make.form == CSV else ""
    bare = ends.replace("\r\n", "")
    mixed = [r"\r and \n"] if "\r" in bare or ("\r\n" in ends and "\n" in bare) else []
    ragged = [f"line {number} has {len(row)}" for number, row in enumerate(rows, start=2) if len(row) != len(header)]
    length = [] if len(rows) == len(sample_rows) else [f"{len(rows)}, the sample has {len(sample_rows)}"]
    size = f"{len(content):,} bytes"
    return [
        _looked("encoding", [], "", seen=f"{make.words or 'UTF-8'}, {size}"),
        _looked("byte order mark", marks, "write it without BOM, as the sample is", seen=size),
        _looked("NUL bytes", zeros, "write the file again", seen=size),
        _looked("mixed newlines", mixed, "use one newline style", seen=size),
        _header_check(header, sample_header, submission),
        _looked(
            "cells in a row",
            ragged,
            f"the header has {len(header)}; quote cells that hold {MARK_NAMES.get(make.mark, 'commas')}",
            seen=f"{len(rows):,} rows",
        ),
        _looked("number of rows", length, "one row for each of its ids", seen=f"{len(rows):,} rows"),
    ]


def _header_check(header: list[str], sample_header: list[str], submission: SubmissionFormat) -> Check:
    wrong = [] if header == sample_header else [f"{header}, the sample has {sample_header}"]
    extra = [column for column in header if column not in sample_header]
    cause = ""
    if extra and extra[0] in ("", "Unnamed: 0"):
        cause = "an index column was written (pandas: index=False); "
    elif len(header) == 1 < len(sample_header):
        cause = f"write it as {_made(submission)}; "
    remedy = f"{cause}use the sample's columns in its order"
    return _looked("header", wrong, remedy, seen=f"{len(header):,} columns")


def _id_checks(image_ids: list[str], wanted: list[str]) -> list[Check]:
    known, present = set(wanted), set(image_ids)
    strangers = [image_id for image_id in image_ids if image_id not in known]
    missing = [image_id for image_id in wanted if image_id not in present]
    twice = [name for name, count in Counter(image_ids).items() if count > 1]
    seen, one_each = f"{len(image_ids):,} ids", "one row for each id of the sample"
    as_text = "keep ids as text, as the sample spells them"
    checks = [
        _looked("ids that the sample does not have", _with_cause(strangers, known), as_text, seen=seen),
        _looked("ids missing", missing, one_each, seen=f"{len(wanted):,} ids"),
        _looked("duplicate ids", twice, "one row for each id", seen=seen),
    ]
    if not _is_refused(checks):
        moved = [
            f"row {row}: {a} for {b}" for row, (a, b) in enumerate(zip(image_ids, wanted, strict=True), 1) if a != b
        ]
        checks.append(_looked("order of ids", moved, "keep the sample's order", seen=seen))
    return checks


def _with_cause(strangers: list[str], known: set[str]) -> list[str]:
    """Each stranger, with the known id it was probably made from: leading zeros lost, `123.0`, `1e5`, case, form."""
    by_number = {_as_number(name): name for name in known if _as_number(name) is not None}  # long ones too
    meant = {folded(name): name for name in known}
    shown = []
    for name in strangers[:NUM_SHOWN]:
        origin = meant.get(folded(name)) or by_number.get(_as_number(name))
        shown.append(f"{name!r} (the sample has {origin!r})" if origin else repr(name))
    return shown + strangers[NUM_SHOWN:]


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _cell_checks(cells_of: Mapping[str, Sequence[str]], asked: Asked) -> list[Check]:
    of_labels = asked.submission.kind in ("label", "list", "ranked")
    return _label_checks(cells_of, asked) if of_labels else _number_checks(cells_of, asked)


def _label_checks(cells_of: Mapping[str, Sequence[str]], asked: Asked) -> list[Check]:
    """Of formats that write one label in a cell, or several."""
    submission, classes, single = asked.submission, set(asked.target.classes), asked.submission.kind == "label"
    empty, odd, strangers, repeated, long = [], [], [], [], []
    for row_id, (cell, *_) in cells_of.items():
        shown = f"{row_id} = {cell!r}"
        labels = [cell] if single else split_list(cell, submission.separator, strict=True)
        unknown = [label for label in labels if label not in classes]
        if single and unknown and cell.strip().lower() in ("", *NOT_A_NUMBER):
            empty.append(shown)
        elif unknown:
            cause = "" if single else _other_delimiter(cell, asked)
            odd.append(f"{shown}{cause or _meant(unknown[0], asked.target.classes)}")
            strangers += unknown
        elif not labels and not submission.may_be_empty:
            empty.append(shown)
        if len(set(labels)) < len(labels):
            repeated.append(shown)
        if submission.most and len(labels) > submission.most:
            long.append(f"{row_id} has {len(labels)}")
    allowed = _allowed(strangers, asked)
    if single:
        seen = f"{len(cells_of):,} labels"
        return [
            _looked("empty labels", empty, "give every id a label", seen=seen),
            _looked("unknown labels", odd, allowed, seen=seen),
        ]
    separator = f"separated by {submission.separator!r}, no brackets, no quotes; {allowed}"
    most, seen = submission.most or len(classes), f"{len(cells_of):,} lists"
    return [
        _looked("empty lists", empty, "every image has a label in training", seen=seen),
        _looked("unknown labels", odd, separator, seen=seen),
        _looked("labels repeated in a row", repeated, "name each label once", seen=seen),
        _looked("too many labels in a row", long, f"at most {most}", seen=f"{seen}, at most {most}"),
    ]


def _allowed(unknown: Sequence[str], asked: Asked) -> str:
    classes = asked.target.classes
    positions = {str(position) for position in range(len(classes))}
    shown = ", ".join(map(repr, classes[:NUM_SHOWN]))
    is_position = bool(unknown) and positions >= set(unknown)
    cause = "; these look like positions of classes: write the labels themselves" if is_position else ""
    return f"allowed: the {len(classes)} training labels, such as {shown}{cause}"


def _meant(label: str, classes: Sequence[str]) -> str:
    """A hint at the class that a wrong spelling probably means: case, spaces, Unicode form, `3.0` for `3`."""
    meant = {folded(name): name for name in classes}.get(folded(label))
    return f", meant {meant!r}?" if meant else ""


def _other_delimiter(cell: str, asked: Asked) -> str:
    """A hint at the delimiter that was written in place of the sample's."""
    for delimiter in DELIMITERS:
        labels = [label.strip() for label in cell.split(delimiter)]
        if delimiter != asked.submission.separator and len(labels) > 1 and set(labels) <= set(asked.target.classes):
            return f", separated by {delimiter!r}?"
    return ""


def _number_checks(cells_of: Mapping[str, Sequence[str]], asked: Asked) -> list[Check]:
    submission = asked.submission
    columns = submission.value_columns
    empty, no_number, outside, broken = [], [], [], []
    for row_id, cells in cells_of.items():
        for column, cell in zip(columns, cells, strict=True):
            shown = f"{row_id} = {cell!r}" if len(columns) == 1 else f"{row_id}, {column} = {cell!r}"
            if cell.strip().lower() in ("", *NOT_A_NUMBER):
                empty.append(shown)
            elif NUMBER.fullmatch(cell) is None:
                no_number.append(shown)
            elif not 0.0 <= float(cell) <= 1.0:
                outside.append(shown)
            elif submission.whole and cell not in ("0", "1"):
                broken.append(shown)
    seen = f"{len(cells_of) * len(columns):,} cells"
    plain, whole = "a plain number: no brackets, no tensor, a point for decimals", "write 0 or 1, not decimals"
    checks = [
        _looked("empty, NaN or inf cells", empty, "give every cell a number", seen=seen),
        _looked("cells that are no number", no_number, plain, seen=seen),
        _looked("numbers outside 0 to 1", outside, "probabilities, not logits or percentages", seen=seen),
    ]
    if submission.whole:
        checks.append(_looked("cells that are not 0 or 1", broken, f"this leaderboard: {whole}", seen=seen))
    if _is_refused(checks):
        return checks
    if asked.target.exclusive and submission.kind != "score":
        checks.append(_sum_check(cells_of, asked))
    return checks if submission.whole else [*checks, _digit_check(cells_of)]


def _sum_check(cells_of: Mapping[str, Sequence[str]], asked: Asked) -> Check:
    """Rows (of a long submission: the rows of one image) whose probabilities do not sum to 1."""
    submission = asked.submission
    parts: dict[str, list[float]] = {}
    for row_id, cells in cells_of.items():
        image_id = row_id
        if submission.kind == "long":
            ends = [suffix for suffix in submission.suffixes if row_id.endswith(submission.separator + suffix)]
            image_id = row_id.removesuffix(submission.separator + max(ends, key=len)) if ends else row_id
        parts.setdefault(image_id, []).extend(float(cell) for cell in cells)
    total = {image_id: math.fsum(numbers) for image_id, numbers in parts.items()}
    wrong = [f"{image_id} sums to {found:.7g}" for image_id, found in total.items() if abs(found - 1) > SUM_TOLERANCE]
    remedy = f"the classes exclude each other: {'one 1 for each image' if submission.whole else 'write the softmax'}"
    return _looked("probabilities that do not sum to 1", wrong, remedy, seen=f"{len(total):,} sums")


def _digit_check(cells_of: Mapping[str, Sequence[str]]) -> Check:
    most = max((_significant(cell) for cells in cells_of.values() for cell in cells), default=MIN_DIGITS)
    rounded = most < MIN_DIGITS and len(cells_of) > 1
    what = [f"at most {most} significant digits"] if rounded else []
    remedy = f"write at least {MIN_DIGITS} digits: ties cost score"
    return _looked("rounded probabilities", what, remedy, seen=f"{most} digits", refused=False)


def _significant(cell: str) -> int:
    mantissa = cell.lower().partition("e")[0].lstrip("+-")
    return len(mantissa.replace(".", "").lstrip("0"))


def _untouched_checks(rows: list[list[str]], sample_rows: list[list[str]], filled: set[int]) -> list[Check]:
    """Of columns that are not to be filled (an index column): cells that differ from the sample's."""
    kept = [place for place in range(len(rows[0]) if rows else 0) if place not in filled]
    if not kept:
        return []
    moved = [
        f"row {number}: {row[place]!r} for {sample_row[place]!r}"
        for number, (row, sample_row) in enumerate(zip(rows, sample_rows, strict=True), 1)
        for place in kept
        if row[place] != sample_row[place]
    ]
    remedy = "keep them as the sample has them"
    return [_looked("cells that are not to be filled", moved, remedy, seen=f"{len(rows) * len(kept):,} cells")]


def _likeness_checks(
    rows: list[list[str]], sample_rows: list[list[str]], cells_of: Mapping[str, Sequence[str]]
) -> list[Check]:
    same = ["every cell"] if rows == sample_rows else []
    distinct = {tuple(cells) for cells in cells_of.values()}
    constant = len(distinct) == 1 and len(cells_of) > 1
    shown = [f"{len(cells_of)} rows of {','.join(next(iter(distinct)))!r}"] if constant else []
    seen, example = f"{len(rows):,} rows", "this is the organiser's example, not a prediction"
    return [
        _looked("equal to the sample", same, example, seen=seen, refused=False),
        _looked("constant", shown, "look at the model", seen=f"{len(distinct):,} different rows", refused=False),
    ]


def _spelling_checks(sample_rows: list[list[str]], asked: Asked) -> list[Check]:
    """Of a format that writes labels: cells of the sample that are none; the leaderboard may spell them so."""
    submission, classes = asked.submission, set(asked.target.classes)
    if submission.kind not in ("label", "list", "ranked"):
        return []
    places = _places(asked)
    cells = {row[place] for row in sample_rows for place in places}
    labels = {label for cell in cells for label in _labels_of(cell, submission)}
    strange = sorted(label for label in labels - classes if label.strip())
    remedy = f"labels are written as {', '.join(map(repr, asked.target.classes[:NUM_SHOWN]))}: see competition.spelling"
    seen = f"{len(cells):,} different cells"
    return [_looked("cells of the sample that are no labels", strange, remedy, seen=seen, refused=False)]


def _labels_of(cell: str, submission: SubmissionFormat) -> list[str]:
    return [cell] if submission.kind == "label" else split_list(cell, submission.separator)


def _history_checks(sha256: str, earlier: Mapping[str, str], written_sha256: str | None) -> list[Check]:
    """Against what is known of other files: those submitted before, and this one when `submit` wrote it."""
    checks = []
    if earlier:
        same = [earlier[sha256]] if sha256 in earlier else []
        remedy = "it would get the same score again"
        seen = f"{len(earlier):,} submissions"
        checks.append(_looked("identical to an earlier submission", same, remedy, seen=seen, refused=False))
    if written_sha256:
        changed = [f"sha256 {sha256[:12]}, the receipt has {written_sha256[:12]}"] if sha256 != written_sha256 else []
        remedy = "somebody changed it since `submit` wrote it: `dvc checkout` or `dvc repro` brings it back"
        seen = f"sha256 {sha256[:12]}"
        checks.append(_looked("changed since it was written", changed, remedy, seen=seen, refused=False))
    return checks


def _histogram_checks(
    cells_of: Mapping[str, Sequence[str]], asked: Asked, oof_counts: Mapping[str, int]
) -> list[Check]:
    """Classes answered much more or less often than out of fold."""
    total = sum(oof_counts.values())
    image_ids = _image_ids(list(cells_of), asked)
    if not total or not image_ids:
        return []
    answers = read_answers(cells_of, image_ids, asked)
    if asked.submission.kind == "ranked" and answers.lists is not None:
        answers = Answers(labels=[labels[0] for labels in answers.lists])
    counts = predicted_counts(answers, asked.target)
    share = sum(counts.values()) / total
    never = [label for label in asked.target.classes if not counts[label] and oof_counts.get(label, 0) * share >= 5]
    far = []
    for label, count in counts.items():
        expected = oof_counts.get(label, 0) * share
        near = expected / HISTOGRAM_FACTOR <= count <= expected * HISTOGRAM_FACTOR
        if count and max(count, expected) >= HISTOGRAM_MINIMUM and not near:
            far.append(f"{label!r} {count} times, {expected:.0f} expected")
    seen = f"{len(counts):,} classes"
    cause = "the test set differs from the training set, or a fold failed"
    return [
        _looked("classes never predicted", never, "five or more were expected", seen=seen, refused=False),
        _looked("classes unlike out of fold", far, cause, seen=seen, refused=False),
    ]


def _image_ids(row_ids: Sequence[str], asked: Asked) -> list[str]:
    submission = asked.submission
    if submission.kind != "long":
        return list(row_ids)
    end = submission.separator + submission.suffixes[0]
    return [row_id.removesuffix(end) for row_id in row_ids if row_id.endswith(end)]
