"""The contract: each way to break it, broken alone, and what is said then."""

import dataclasses

import pytest

from pipeline.competition.schema import Schema, SubmissionFormat, Target
from pipeline.submission.contract import check_submission, make_submission, refuse

IDS = ["007", "010", "123456789012345678", "a,b", "x y"]
CLASSES = ("10", "2", "Straße", "bird, large")
SAMPLE = b'id,label\n007,2\n010,2\n123456789012345678,2\n"a,b",2\nx y,2\n'
GOOD = 'id,label\n007,10\n010,2\n123456789012345678,Straße\n"a,b","bird, large"\nx y,2\n'.encode()


@pytest.fixture
def schema():
    return Schema(
        target=Target(kind="single_label", columns=("label",), classes=CLASSES),
        submission=SubmissionFormat(kind="label", id_column="id", columns=("id", "label"), value_columns=("label",)),
        metric="accuracy",
    )


def test_what_we_write_passes_and_has_the_samples_rows_in_order(schema):
    cells_of = dict(zip(reversed(IDS), [("2",), ("bird, large",), ("Straße",), ("2",), ("10",)], strict=True))
    content = make_submission(SAMPLE, schema, cells_of)
    assert content == GOOD
    assert check_submission(content, SAMPLE, schema) == []


def test_the_samples_bom_newlines_and_column_order_are_kept(schema):
    windows = b"\xef\xbb\xbflabel,id\r\n2,007\r\n2,010\r\n"
    swapped = dataclasses.replace(schema, submission=dataclasses.replace(schema.submission, columns=("label", "id")))
    content = make_submission(windows, swapped, {"007": ("10",), "010": ("2",)})
    assert content == b"\xef\xbb\xbflabel,id\r\n10,007\r\n2,010\r\n"
    assert check_submission(content, windows, swapped) == []


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_newlines_inside_a_cell_are_kept_and_end_no_row(schema, newline):
    columns = ("id", "remark", "label")
    submission = dataclasses.replace(schema.submission, columns=columns)
    wide = dataclasses.replace(schema, submission=submission)
    lines = ["id,remark,label", '"007","two\r\nlines",2', '"010","x ""y""\nz",2', ""]
    sample = newline.join(lines).encode()
    content = make_submission(sample, wide, {"007": ("10",), "010": ("2",)})
    assert content.decode() == newline.join([lines[0], '007,"two\r\nlines",10', '010,"x ""y""\nz",2', ""])
    assert not [check for check in check_submission(content, sample, wide) if check.refused]


@pytest.mark.parametrize("cells_of", [{"007": ("10",)}, dict.fromkeys([*IDS, "new"], ("2",))])
def test_predictions_must_cover_the_sample_exactly(schema, cells_of):
    with pytest.raises(ValueError, match="do not match: . ids without prediction .*, . predictions without row"):
        make_submission(SAMPLE, schema, cells_of)


def replaced(old, new):
    assert old.encode() in GOOD
    return GOOD.replace(old.encode(), new.encode(), 1)


REFUSALS = {
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, "byte order mark: 1"),
    "not UTF-8": (replaced("Straße", "Strasse").replace(b"Strasse", b"Stra\xdfe"), "not a UTF-8 CSV"),
    "empty": (b"", "the file is empty"),
    "NUL bytes": (replaced("010,2", "010,2\0"), "NUL bytes"),
    "mixed newlines": (replaced("010,2\n", "010,2\r\n"), "mixed newlines"),
    "an index column": (b",id,label\n" + b"".join(b"%d,%s\n" % pair for pair in enumerate(GOOD.splitlines()[1:])), "pandas: index=False"),
    "a renamed column": (replaced("id,label", "id,class"), "header: 1 (first: ['id', 'class'], the sample has ['id', 'label'])"),
    "columns swapped": (replaced("id,label", "label,id"), "header: 1"),
    "another separator": (GOOD.replace(b",", b";"), "write it as UTF-8 CSV, cells separated by commas"),
    "a comma without quotes": (replaced('"bird, large"', "bird, large"), "cells in a row: 1 (first: line 5 has 3)"),
    "a row missing": (replaced("010,2\n", ""), "number of rows: 1 (first: 4, the sample has 5)"),
    "a row twice": (replaced("010,2\n", "007,10\n"), "duplicate ids: 1 (first: 007)"),
    "a stranger": (replaced("010,2", "011,2"), "ids that the sample does not have: 1 (first: '011')"),
    "leading zeros lost": (replaced("007", "7"), "'7' (the sample has '007')"),
    "an id as float": (replaced("010", "10.0"), "'10.0' (the sample has '010')"),
    "an id in exponent form": (replaced("123456789012345678", "1.2345678901234568e+17"), "(the sample has '123456789012345678')"),
    "an id in other case": (replaced("x y", "X Y"), "'X Y' (the sample has 'x y')"),
    "rows in another order": (b"id,label\n010,2\n007,10\n" + b"\n".join(GOOD.splitlines()[3:]) + b"\n", "order of ids: 2 (first: row 1: 010 for 007"),
    "an empty label": (replaced("007,10", "007,"), "empty labels: 1 (first: 007 = '')"),
    "a NaN label": (replaced("007,10", "007,nan"), "empty labels: 1 (first: 007 = 'nan')"),
    "an integer as float": (replaced("007,10", "007,10.0"), "007 = '10.0', meant '10'?"),
    "a class position": (replaced("007,10", "007,0"), "unknown labels: 1 (first: 007 = '0'); allowed: the 4 training labels"),
    "a label in other case": (replaced("Straße", "STRASSE"), "meant 'Straße'?"),
    "a label in another Unicode form": (replaced("bird, large", "bird, large "), "meant 'bird, large'?"),
    "a Python list": (replaced("007,10", "007,['10']"), "unknown labels: 1"),
    "a tensor": (replaced("007,10", "007,tensor(10)"), "unknown labels: 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_each_breach_is_refused_with_its_reason(schema, case):
    content, message = REFUSALS[case]
    findings = check_submission(content, SAMPLE, schema)
    with pytest.raises(ValueError) as error:
        refuse(findings, "mine.csv")
    assert message in str(error.value)
    assert "mine.csv breaks the submission format" in str(error.value)


def test_warnings_do_not_refuse(schema):
    findings = check_submission(SAMPLE, SAMPLE, schema)
    assert [finding.check for finding in findings] == ["equal to the sample", "constant"]
    refuse(findings, "mine.csv")


def test_a_histogram_unlike_out_of_fold_is_a_warning(schema):
    ids = [f"{number:03d}" for number in range(100)]
    sample = ("id,label\n" + "".join(f"{name},2\n" for name in ids)).encode()
    content = ("id,label\n" + "".join(f"{name},{'10' if n < 95 else '2'}\n" for n, name in enumerate(ids))).encode()
    counts = {"10": 300, "2": 300, "Straße": 300, "bird, large": 1}
    checks = {finding.check: finding for finding in check_submission(content, sample, schema, oof_counts=counts)}
    assert set(checks) == {"classes never predicted", "classes unlike out of fold"}
    assert checks["classes never predicted"].first == ("Straße",), "one in 901 was not to be expected"
    assert any("'10' 95 times, 33 expected" in first for first in checks["classes unlike out of fold"].first)
    refuse(list(checks.values()), "mine.csv")
