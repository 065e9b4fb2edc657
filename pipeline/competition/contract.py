"""The contract: what a submission must be, checked on its bytes, before it is written and again before it is sent."""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.competition.schema import Schema
from pipeline.files import table_bytes

BOM = "\ufeff"
NUM_SHOWN = 3
HISTOGRAM_FACTOR = 2.0  # a class predicted this much more or less often than out of fold is worth a look
HISTOGRAM_MINIMUM = 20  # images; below it chance alone gives such factors


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


def make_submission(sample: bytes, schema: Schema, label_of: Mapping[str, str]) -> bytes:
    """The sample's rows, order and columns, with `label_of[image_id]` as label; its BOM and newline style kept.

    Raises ValueError for an id of the sample without prediction, or a prediction for no row.
    """
    header, rows = parse_table(sample)
    position = header.index(schema.submission.id_column)
    image_ids = [row[position] for row in rows]
    missing = [image_id for image_id in image_ids if image_id not in label_of]
    strangers = sorted(set(label_of) - set(image_ids))
    if missing or strangers:
        raise ValueError(
            f"predictions and sample submission do not match: {len(missing)} ids without prediction "
            f"{missing[:NUM_SHOWN]}, {len(strangers)} predictions without row {strangers[:NUM_SHOWN]}; run `dvc repro`"
        )
    filled = [[cell if at == position else label_of[row[position]] for at, cell in enumerate(row)] for row in rows]
    content = table_bytes(header, filled)
    if b"\r\n" in sample:
        content = content.replace(b"\n", b"\r\n")
    return (BOM.encode() if sample.startswith(BOM.encode()) else b"") + content


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
        at = schema.submission.columns.index(schema.submission.id_column)
        findings += _id_findings([row[at] for row in rows], [row[at] for row in sample_rows])
        findings += _label_findings(rows, at, schema)
        findings += _warnings(content, sample, rows, 1 - at, schema, oof_counts or {})
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


def _label_findings(rows: list[list[str]], id_at: int, schema: Schema) -> list[Finding]:
    classes = set(schema.target.classes)
    folded = {unicodedata.normalize("NFC", label).strip().casefold(): label for label in schema.target.classes}
    empty, odd = [], []
    for row in rows:
        label = row[1 - id_at]
        if label.strip() == "" or (label.strip().lower() in ("nan", "inf", "-inf") and label not in classes):
            empty.append(f"{row[id_at]} = {label!r}")
        elif label not in classes:
            meant = folded.get(unicodedata.normalize("NFC", label).strip().casefold())
            meant = meant or folded.get(re.sub(r"\.0+$", "", label))
            hint = f", meant {meant!r}?" if meant else ""
            odd.append(f"{row[id_at]} = {label!r}{hint}")
    examples = ", ".join(map(repr, schema.target.classes[:NUM_SHOWN]))
    allowed = f"allowed: the {len(classes)} training labels, such as {examples}"
    return _found("empty labels", empty, "give every id a label") + _found("unknown labels", odd, allowed)


def _warnings(
    content: bytes, sample: bytes, rows: list[list[str]], label_at: int, schema: Schema, oof_counts: Mapping[str, int]
) -> list[Finding]:
    counts = Counter(row[label_at] for row in rows)
    findings = []
    if content == sample:
        findings += _found(
            "equal to the sample", ["every byte"], "this is the organiser's example, not a prediction", refused=False
        )
    if len(counts) == 1 and len(rows) > 1:
        findings += _found(
            "constant", [f"{len(rows)} rows of {next(iter(counts))!r}"], "look at the model", refused=False
        )
    never = [label for label in schema.target.classes if label not in counts and oof_counts.get(label, 0)]
    never = [label for label in never if oof_counts[label] * len(rows) >= 5 * sum(oof_counts.values())]
    findings += _found("classes never predicted", never, "five or more were to be expected", refused=False)
    total = sum(oof_counts.values())
    far = []
    for label, count in counts.items():
        expected = oof_counts.get(label, 0) * len(rows) / total if total else 0.0
        if (
            max(count, expected) >= HISTOGRAM_MINIMUM
            and total
            and not (expected / HISTOGRAM_FACTOR <= count <= expected * HISTOGRAM_FACTOR)
        ):
            far.append(f"{label!r} {count} times, {expected:.0f} expected")
    return findings + _found(
        "classes unlike out of fold", far, "the test set differs from the training set, or a fold failed", refused=False
    )
