"""summary: the score of a solution in any of the submission's formats, or why there is none."""

import json

import pytest

from pipeline import __main__ as command
from pipeline.competition.schema import Schema, SubmissionFormat, Target, write_schema

MANY = ("cat", "dog", "owl")
# kind -> (target, format, metric, submission, solution, score)
FORMATS = {
    "label": (
        Target(kind="single_label", columns=("label",), classes=MANY),
        SubmissionFormat(kind="label", id_column="id", columns=("id", "label"), value_columns=("label",)),
        "accuracy", "id,label\n1,cat\n2,dog\n", "id,label\n2,dog\n1,owl\n", 0.5,
    ),
    "columns": (
        Target(kind="single_label", columns=("label",), classes=MANY),
        SubmissionFormat(kind="columns", id_column="id", columns=("id", *MANY), value_columns=MANY, classes=MANY),
        "accuracy", "id,cat,dog,owl\n1,0.5,0.3,0.2\n2,0.1,0.2,0.7\n", "id,cat,dog,owl\n1,1,0,0\n2,1,0,0\n", 0.5,
    ),
    "score": (
        Target(kind="binary", columns=("label",), classes=("no", "yes"), positive="yes"),
        SubmissionFormat(kind="score", id_column="id", columns=("id", "p"), value_columns=("p",)),
        "auc", "id,p\n1,0.9\n2,0.2\n", "id,p\n1,1\n2,0\n", 1.0,
    ),
    "ranked": (
        Target(kind="single_label", columns=("label",), classes=MANY),
        SubmissionFormat(kind="ranked", id_column="id", columns=("id", "p"), value_columns=("p",), separator=" ", most=2),
        "map@2", "id,p\n1,cat dog\n2,cat owl\n", "id,p\n1,dog\n2,cat\n", 0.75,
    ),
    "list": (
        Target(kind="multi_label", columns=("label",), classes=MANY),
        SubmissionFormat(kind="list", id_column="id", columns=("id", "p"), value_columns=("p",), separator=" "),
        "micro_f1", "id,p\n1,cat dog\n2,owl\n", "id,p\n1,cat dog\n2,cat owl\n", 2 * 3 / 7,
    ),
    "several columns": (
        Target(kind="multi_label", columns=MANY[:2], classes=MANY[:2]),
        SubmissionFormat(kind="columns", id_column="id", columns=("id", *MANY), value_columns=MANY, classes=("cat", "dog", "")),
        "element_accuracy", "id,cat,dog,owl\n1,0.9,0.1,0\n2,0.8,0.9,0\n", "id,cat,dog,owl\n1,1,0,0\n2,0,1,0\n", 0.75,
    ),
    "several rows": (
        Target(kind="multi_label", columns=MANY[:2], classes=MANY[:2]),
        SubmissionFormat(kind="long", id_column="id", columns=("id", "p"), value_columns=("p",), classes=("cat", "dog", ""), suffixes=MANY, separator="_"),
        "element_accuracy", "id,p\n1_cat,0.9\n1_dog,0.1\n1_owl,0\n2_cat,0.8\n2_dog,0.9\n2_owl,0\n", "id,p\n1_cat,1\n1_dog,0\n1_owl,0\n2_cat,0\n2_dog,1\n2_owl,0\n", 0.75,
    ),
}  # fmt: skip


def summary(root, kind, capsys, *, solution=None, test_ids="1\n2\n"):
    """The last line that it prints."""
    target, submission, metric, sent, known, _ = FORMATS[kind]
    write_schema(root / "schema.json", Schema(target=target, submission=submission, metric=metric))
    (root / "test.csv").write_text(f"image_id\n{test_ids}")
    (root / "sent.csv").write_text(sent)
    (root / "solution.csv").write_text(solution or known)
    folds = {"score_mean": 0.5, "score_standard_error": 0.1, "by_fold": {"0": 0, "1": 0}}
    (root / "scores.json").write_text(json.dumps({"folds": folds, "oof": {"score": 0.5}}))
    words = ["--scores", root / "scores.json", "--competition", root, "--solution", root / "solution.csv"]
    command.main(["summary", str(root / "sent.csv"), *map(str, words)])
    return capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_solution_of_every_format_gives_the_score(tmp_path, capsys, kind):
    line = summary(tmp_path, kind, capsys)
    assert line == f"leaderboard       {FORMATS[kind][2]} {FORMATS[kind][5]:.4f} on {tmp_path}/solution.csv"


@pytest.mark.parametrize(
    ("solution", "said"),
    [
        ("id,cat,dog,owl\n1,1,0,0\n3,0,1,0\n", "is the solution of another competition, whose ids are others"),
        ("id,label\n1,cat\n2,cat\n", "has other columns than"),
        ("id,cat,dog,owl\n1,x,0,0\n2,0,1,0\n", "cannot be used: could not convert string to float: 'x'"),
        ("id,cat,dog,owl\n1,nan,0,1\n2,0,1,0\n", "1 of 2 images say anything else than 0 or 1"),
        ("id,cat,dog,owl\n1,0.4,0.3,0.3\n2,0,1,0\n", "1 of 2 images say anything else than 0 or 1"),
        ("id,cat,dog,owl\n1,0,0,0\n2,0,1,0\n", "or not exactly one class, first rows [0]"),
        ("id,cat,dog,owl\n1,1,1,0\n2,0,1,0\n", "or not exactly one class, first rows [0]"),
        ("id,cat,dog,owl\n1,1,0,0\n2,0,1,0\n1,0,0,1\n", "solution.csv: 1 ids are there twice, first ['1']"),
        ("id,cat,dog,owl\n1,1\n2,0,1,0\n", "solution.csv: 1 lines have not the header's 4 cells, first [2]"),
    ],
)
def test_what_cannot_be_scored_says_why(tmp_path, capsys, solution, said):
    line = summary(tmp_path, "columns", capsys, solution=solution)
    assert line.startswith("leaderboard       unknown: ") and said in line


@pytest.mark.parametrize(
    ("kind", "solution", "said"),
    [
        ("score", "id,p\n1,1\n2,-1\n", "1 of 2 images say anything else than 0 or 1"),
        ("ranked", "id,p\n1,dog owl\n2,cat\n", "1 of 2 images do not say one class, first rows [0]"),
        ("several columns", "id,cat,dog,owl\n1,1,0,0\n2,0,1,1\n", "1 of 2 images are of 'owl', of which there is no training image, first rows [1]"),
        ("several rows", "id,p\n1_cat,1\n1_dog,0\n1_owl,1\n2_cat,0\n2_dog,1\n2_owl,0\n", "1 of 2 images are of 'owl', of which there is no"),
        ("ranked", "id,p\n1,\n2,cat\n", "1 of 2 images do not say one class, first rows [0]"),
    ],
)  # fmt: skip
def test_what_is_no_truth_of_a_format_says_why(tmp_path, capsys, kind, solution, said):
    assert f"cannot be used: {said}" in summary(tmp_path, kind, capsys, solution=solution)


def test_a_solution_that_is_not_there_is_said(tmp_path, capsys):
    summary(tmp_path, "label", capsys)
    words = ["--scores", tmp_path / "scores.json", "--competition", tmp_path, "--solution", tmp_path / "typo.csv"]
    command.main(["summary", str(tmp_path / "sent.csv"), *map(str, words)])
    assert capsys.readouterr().out.splitlines()[-1].endswith("unknown: " + str(tmp_path / "typo.csv is not there"))


@pytest.mark.parametrize("test_ids", ["1\n", "1\n2\n3\n"])
def test_a_submission_of_other_test_images_than_ingest_read_has_no_score(tmp_path, capsys, test_ids):
    line = summary(tmp_path, "label", capsys, test_ids=test_ids, solution="id,label\n1,cat\n2,dog\n")
    assert "unknown: " in line and "is of other test images than ingest read" in line
