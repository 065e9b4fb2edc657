"""A schema, a sample submission and a submission for every format."""

import csv
import io

import numpy as np

from pipeline.competition.schema import SUBMISSION_KINDS, Schema, SubmissionFormat, Target
from pipeline.submission.answers import answers_of, row_cells
from pipeline.submission.contract import make_submission

IDS = ("007", "010", "123456789012345678", "a,b", "été")
CLASSES = {
    "single_label": ("10", "2", "Straße"),
    "binary": ("no", "yes"),
    "multi_label": ("haze", "blow down", "9"),
}
KINDS = (*SUBMISSION_KINDS, "whole")  # whole: columns of 0 and 1, several labels


def schema_of(kind):
    """A competition with this submission format; `columns` and `long` have classes that exclude each other."""
    target = {"score": "binary", "list": "multi_label", "whole": "multi_label"}.get(kind, "single_label")
    classes = CLASSES[target]
    more = {
        "label": {},
        "score": {},
        "columns": {"classes": classes},
        "whole": {"classes": classes, "whole": True},
        "list": {"separator": "|"},
        "ranked": {"separator": " ", "most": 2},
        "long": {"classes": classes, "suffixes": classes, "separator": "_"},
    }[kind]
    values = tuple(f"p {label}" for label in classes) if kind in ("columns", "whole") else ("answer",)
    form = SubmissionFormat(
        kind="columns" if kind == "whole" else kind,
        id_column="id",
        columns=("id", *values),
        value_columns=values,
        **more,
    )
    return Schema(
        target=Target(kind=target, columns=("label",), classes=classes, positive="yes" if target == "binary" else ""),
        submission=form,
        metric="accuracy",
    )


def table(content):
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def written(rows):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def sample_of(schema):
    form = schema.submission
    ids = [f"{name}_{suffix}" for name in IDS for suffix in form.suffixes] if form.kind == "long" else IDS
    filler = {"label": schema.target.classes[0], "ranked": "10 2", "list": "haze|9"}.get(form.kind, "0.5")
    return written([form.columns, *([name] + [filler] * len(form.value_columns) for name in ids)])


def made(kind, seed=0):
    """(schema, sample, a submission as the pipeline writes it, from random probabilities)."""
    schema = schema_of(kind)
    rng = np.random.default_rng(seed)
    num_classes = len(schema.target.classes)
    probs = (
        rng.dirichlet(np.ones(num_classes), len(IDS))
        if schema.target.exclusive
        else rng.random((len(IDS), num_classes))
    )
    probs = probs.astype(np.float32)
    decided = probs.argmax(axis=1)
    if not schema.target.exclusive:
        decided = probs > 0.4
        decided[np.arange(len(IDS)), probs.argmax(axis=1)] = True
    cells = row_cells(answers_of(probs, decided, schema.target, schema.submission), IDS, schema)
    sample = sample_of(schema)
    return schema, sample, make_submission(sample, schema, cells)
