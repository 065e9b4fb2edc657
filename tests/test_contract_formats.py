"""The contract for every format: a submission that breaks one check and no other; and every corruption of a cell."""

import hashlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_submissions import IDS, KINDS, made, schema_of, table, written

from pipeline.competition.schema import SUBMISSION_KINDS
from pipeline.submission.answers import answers_of, row_cells
from pipeline.submission.contract import check_submission, make_submission, refuse, verdict
from pipeline.submission.report import overall, verdict_record, verdict_table


def with_cell(content, row, column, cell):
    rows = table(content)
    rows[row][column] = cell
    return written(rows)


# what every format shares: content -> broken content, and the check that says so
SHARED = {
    "encoding": (lambda good: good + b"\xff", "encoding: 1 (first: not a UTF-8 CSV"),
    "empty": (lambda good: b"", "the file is empty"),
    "BOM": (lambda good: b"\xef\xbb\xbf" + good, "byte order mark: 1"),
    "NUL": (lambda good: good[:-1] + b"\0\n", "NUL bytes: 1"),
    "newlines": (lambda good: good.replace(b"\n", b"\r\n", 1), "mixed newlines: 1"),
    "blank line": (lambda good: good + b"\n", "cells in a row: 1"),
    "separator": (lambda good: good.replace(b'"a,b', b'"a b').replace(b'"', b"").replace(b",", b";"), "cells separated by commas"),
    "unquoted comma": (lambda good: good.replace(b'"', b""), "quote cells that hold commas"),
    "header": (lambda good: with_cell(good, 0, 1, "other"), "header: 1"),
    "index column": (lambda good: written([[n - 1 if n else "", *row] for n, row in enumerate(table(good))]), "pandas: index=False"),
    "row missing": (lambda good: written(table(good)[:-1]), "number of rows: 1"),
    "id twice": (lambda good: with_cell(good, 2, 0, table(good)[1][0]), "duplicate ids: 1"),
    "stranger": (lambda good: with_cell(good, 2, 0, "new"), "ids that the sample does not have: 1 (first: 'new')"),
    "order": (lambda good: written([row for n in (0, 2, 1) for row in [table(good)[n]]] + table(good)[3:]), "order of ids: 2"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", SHARED)
def test_each_shared_check_of_each_format(kind, case):
    schema, sample, good = made(kind)
    breaks, message = SHARED[case]
    with pytest.raises(ValueError) as error:
        refuse(check_submission(breaks(good), sample, schema), "mine.csv")
    assert message in str(error.value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "long"])
@pytest.mark.parametrize(
    ("row", "cell"), [(1, "7"), (1, "7.0"), (2, "1e1"), (3, "1.2345678901234568e+17"), (5, "e\u0301te\u0301"), (5, "ÉTÉ"), (5, "été ")]
)  # fmt: skip
def test_ids_are_text_in_each_format(kind, row, cell):
    schema, sample, good = made(kind)
    [stranger] = [
        check
        for check in check_submission(with_cell(good, row, 0, cell), sample, schema)
        if check.check == "ids that the sample does not have"
    ]
    assert stranger.first == (f"{cell!r} (the sample has {IDS[row - 1]!r})",)


NOTHING = [(cell, "empty") for cell in ("", " ", "nan", "NaN", "inf", "-inf")]
NO_NUMBERS = [
    (cell, "cells that are no number: 1")
    for cell in ("['0.5']", "tensor(0.5)", "0,5", "0.5 ", "None", "٠.٥", "1_0", "50%")
]
OUTSIDE = [(cell, "numbers outside 0 to 1: 1") for cell in ("1.5", "-0.25", "1e999")]
CELLS = {
    "label": [
        *NOTHING, ("10.0", "meant '10'?"), ("0", "these look like positions of classes"), ("STRASSE", "meant 'Straße'?"),
        ("2 ", "meant '2'?"), ("['2']", "unknown labels: 1"), ("tensor(2)", "unknown labels: 1"),
    ],
    "score": [*NOTHING, *NO_NUMBERS, *OUTSIDE],
    "columns": [*NOTHING, *NO_NUMBERS, *OUTSIDE, ("0.999999999", "probabilities that do not sum to 1: 1 (first: 010 sums to")],
    "long": [*NOTHING, *NO_NUMBERS, *OUTSIDE, ("0.999999999", "probabilities that do not sum to 1: 1 (first: 007 sums to")],
    "whole": [*NOTHING, ("1.0", "cells that are not 0 or 1: 1"), ("0.3", "cells that are not 0 or 1: 1"), ("3.0", "numbers outside 0 to 1")],
    "list": [
        ("", "empty lists: 1"), ("haze|haze", "labels repeated in a row: 1"), ("haze,9", "separated by ','?"), ("haze|", "unknown labels"),
        ("['haze', '9']", "no brackets, no quotes"), ("haze| 9", "unknown labels: 1"), ("0|1", "these look like positions"), ("Haze", "meant 'haze'?"),
    ],
    "ranked": [
        ("", "empty lists: 1"), ("2 2", "labels repeated in a row: 1"), ("10 2 Straße", "too many labels in a row: 1 (first: 010 has 3); at most 2"),
        ("10,2", "separated by ','?"), ("10 2.0", "unknown labels: 1"), ("0 1", "these look like positions"), ("nan", "unknown labels: 1"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "cell", "message"), [(kind, *case) for kind in CELLS for case in CELLS[kind]])
def test_each_check_of_a_cell(kind, cell, message):
    schema, sample, good = made(kind)
    checks = check_submission(with_cell(good, 2, 1, cell), sample, schema)
    refusals = [check for check in checks if check.refused]
    assert len(refusals) == 1 and refusals[0].count == 1, "that one check and no other"
    assert message in str(refusals[0])


@pytest.mark.parametrize("kind", KINDS)
def test_each_warning_of_each_format(kind):
    schema, sample, good = made(kind)
    sent = {hashlib.sha256(good).hexdigest(): "row 3 of the ledger"}
    [again] = check_submission(good, sample, schema, earlier=sent)
    assert str(again).startswith("WARNING identical to an earlier submission: 1 (first: row 3 of the ledger)")
    names = {check.check for check in check_submission(sample, sample, schema) if not check.refused}
    assert {"equal to the sample", "constant"} <= names


@pytest.mark.parametrize("kind", ["score", "columns", "long"])
def test_rounded_probabilities_are_a_warning(kind):
    schema, sample, good = made(kind)
    rows = table(good)
    exact = ["0.123456", "0.5", "0.376544"]
    for number, row in enumerate(rows[1:]):
        row[1:] = exact if kind == "columns" else [exact[number % 3]]
    rounded = [
        check for check in check_submission(written(rows), sample, schema) if check.check == "rounded probabilities"
    ]
    assert rounded and not rounded[0].refused and "at most 6 significant digits" in str(rounded[0])


@pytest.mark.parametrize("kind", [*SUBMISSION_KINDS])
def test_a_class_never_predicted_is_a_warning(kind):
    schema = schema_of(kind)
    lots = [f"{number:03d}" for number in range(60)]
    probs = np.tile(np.linspace(0.9, 0.05, len(schema.target.classes)), (60, 1)).astype(np.float32)
    probs[0, 0] -= 0.003
    if schema.target.exclusive:
        probs /= probs.sum(axis=1, keepdims=True)
    decided = probs.argmax(axis=1) if schema.target.exclusive else probs > 0.5
    cells = row_cells(answers_of(probs, decided, schema.target, schema.submission), lots, schema)
    sample = written(
        [schema.submission.columns, *([name] + ["0.5"] * len(schema.submission.value_columns) for name in cells)]
    )
    content = make_submission(sample, schema, cells)
    counts = dict.fromkeys(schema.target.classes, 30) | {schema.target.classes[0]: 10}
    found = {check.check: check for check in check_submission(content, sample, schema, oof_counts=counts)}
    assert schema.target.classes[-1] in found["classes never predicted"].first
    assert "classes unlike out of fold" in found
    assert not any(check.refused for check in found.values())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_what_the_pipeline_writes_passes(kind, seed):
    schema, sample, good = made(kind, seed)
    checks = verdict(good, sample, schema, written_sha256=hashlib.sha256(good).hexdigest(), earlier={"0" * 64: "row 1"})
    assert {check.status for check in checks if check.refused} == {"OK"}
    assert {check.check for check in checks if check.status != "OK"} <= {"constant", "equal to the sample"}
    lines = verdict_table("mine.csv", checks)
    assert lines[-1].startswith(f"mine.csv: {overall(checks)} (") and len(lines) >= len(checks) + 1
    assert len(verdict_record("mine.csv", checks)["checks"]) == len(checks) >= 14


CORRUPTIONS = st.one_of(
    st.sampled_from(["10", "2", "haze", "haze|9", "2 10", "0", "1", "0.25", "0.123456789"]),  # answers, to some format
    st.sampled_from(["", "nan", "-inf", "1e5", "0.0", "3.0", "['x']", "tensor(1)", "\ufeff"]),
    st.text(max_size=12),
    st.floats().map(str),
    st.integers().map(str),
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 3), at=st.tuples(st.integers(0, 99), st.integers(0, 99)), cell=CORRUPTIONS)
def test_any_cell_that_is_changed_is_refused_or_warned_of(kind, seed, at, cell):
    schema, sample, good = made(kind, seed)
    rows = table(good)
    row, column = at[0] % len(rows), at[1] % len(rows[0])
    before = rows[row][column]
    rows[row][column] = cell
    content = written(rows)
    if content == good:
        return
    found = check_submission(content, sample, schema, written_sha256=hashlib.sha256(good).hexdigest())
    assert found
    if row == 0 or column == 0 or not might_be_an_answer(cell, schema):
        assert any(check.refused for check in found), f"{cell!r} for {before!r}"


def might_be_an_answer(cell, schema):
    """Whether a leaderboard would take the cell, told without the contract's code."""
    form, classes = schema.submission, schema.target.classes
    if form.kind == "label":
        return cell in classes
    if form.kind in ("list", "ranked"):
        labels = cell.split(form.separator)
        return set(labels) <= set(classes) and len(set(labels)) == len(labels) <= (form.most or len(classes))
    if form.whole:
        return cell in ("0", "1")
    try:
        number = float(cell)
    except ValueError:
        return False
    return 0 <= number <= 1
