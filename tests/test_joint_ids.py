"""Ids of two columns: patient and number of the picture, folder and name."""

import json

import numpy as np
import pytest
from conftest import csv_bytes, encoded, image_of, write_zip
from layouts import sound_layout

from pipeline.submission.answers import answers_of, row_cells
from pipeline.submission.contract import check_submission, make_submission, through_the_writer

TRAIN = [(f"P{n // 4:02d}", f"{n % 4 + 1}") for n in range(24)]
TEST = [(f"P{90 + n // 3}", f"{n % 3 + 1}") for n in range(6)]
LABELS = ("oak", "elm", "fir")
BOTH, WHOLE, ROW = ("patient", "number"), ("id",), ("row",)
NAMES = {
    "in the name": "{}_{}.png", "in the name, with a word between": "{}_img{}.png", "a folder for each patient": "{}/{}.png",
    "folder and hyphen": "all/{}-{}.png", "number first": "{1}_{0}.png",
}  # fmt: skip
SAMPLES = {"both": BOTH, "both, beside a row": ("row", *BOTH), "one": WHOLE, "rows of the test table": ROW, "none": ()}


def files_of(name, sample, values):
    """Images called so, a train table of both columns, and a sample (or none, but a test table) that asks so."""
    found = {f"train/{name.format(*pair)}": encoded(image_of(n, n)) for n, pair in enumerate(TRAIN)}
    found |= {f"test/{name.format(*pair)}": encoded(image_of(40 + n, n)) for n, pair in enumerate(TEST)}
    found["train.csv"] = csv_bytes((*BOTH, "label"), [(*pair, LABELS[n % 3]) for n, pair in enumerate(TRAIN)])
    if sample in (ROW, ()):
        found["test.csv"] = csv_bytes(BOTH, TEST)
    if sample:
        cells = {"id": lambda n: name.format(*TEST[n]).removesuffix(".png"), "row": str} | {
            column: lambda n, at=at: TEST[n][at] for at, column in enumerate(BOTH)
        }
        rows = [(*(cells[column](n) for column in sample), *(LABELS[0] if value == "label" else 0.3 for value in values))
                for n in range(len(TEST))]  # fmt: skip
        found["sample_submission.csv"] = csv_bytes((*sample, *values), rows)
    return found


def layout_of(tmp_path, files, **settings):
    return sound_layout(write_zip(tmp_path / "raw.zip", files), **settings)


@pytest.mark.parametrize("values", [("label",), LABELS], ids=["labels", "probabilities"])
@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("name", NAMES)
def test_two_columns_lead_to_the_image_and_stand_in_the_submission(tmp_path, name, sample, values):
    asked = SAMPLES[sample]
    files = files_of(NAMES[name], asked, values)
    layout = layout_of(tmp_path, files)
    assert list(layout.train_members) == [f"train/{NAMES[name].format(*pair)}" for pair in TRAIN]
    assert list(layout.train_labels) == [LABELS[n % 3] for n in range(24)]
    assert list(layout.test_members) == [f"test/{NAMES[name].format(*pair)}" for pair in TEST]
    again = layout_of(tmp_path, files, **layout.settings)  # as `inspect --write` writes them
    assert (again.settings, again.test_ids, again.submission) == (layout.settings, layout.test_ids, layout.submission)
    if not asked:
        return
    probs = np.eye(3)[[layout.target.classes.index(LABELS[n % 3]) for n in range(6)]]
    answers = answers_of(probs, probs.argmax(axis=1), layout.target, layout.submission)
    content = make_submission(layout.sample, layout, row_cells(answers, list(layout.test_ids), layout))
    given = [line.split(b",")[: len(asked)] for line in files["sample_submission.csv"].splitlines()]
    made = [line.split(b",") for line in content.splitlines()]
    assert [row[: len(asked)] for row in made] == given
    right = [
        [LABELS[n % 3]] if values == ("label",) else [f"{float(label == LABELS[n % 3])}" for label in LABELS]
        for n in range(6)
    ]
    assert [[cell.decode() for cell in row[len(asked) :]] for row in made[1:]] == right
    assert not [check for check in check_submission(content, layout.sample, layout) if check.refused]
    swapped = content.replace(made[1][0] + b"," + made[1][1], made[2][0] + b"," + made[2][1], 1)
    assert [check for check in check_submission(swapped, layout.sample, layout) if check.refused]
    again = through_the_writer(answers, list(layout.test_ids), layout)
    assert (again.labels, again.scores is None or again.scores.tolist()) == (
        answers.labels, answers.scores is None or answers.scores.tolist(),
    )  # fmt: skip


def test_folder_and_name_are_an_id_in_json_too(tmp_path):
    files = files_of("{}/{}.png", (), ("label",))
    del files["test.csv"]
    sample = [{"folder": one, "name": f"{two}.png", "label": "oak"} for one, two in TEST]
    layout = layout_of(tmp_path, files | {"sample_submission.json": json.dumps(sample).encode()})
    answers = answers_of(np.eye(3)[[2] * 6], np.full(6, 2), layout.target, layout.submission)
    content = make_submission(layout.sample, layout, row_cells(answers, list(layout.test_ids), layout))
    assert json.loads(content) == [row | {"label": "oak"} for row in sample]


def test_small_numbers_of_a_column_are_no_row_numbers(tmp_path):
    """0 to 5 count the rows of the test table; half of them stand in `number` too, which is 1 to 3."""
    layout = layout_of(tmp_path, files_of("{}_{}.png", ROW, ("label",)))
    assert list(layout.test_ids) == [str(n) for n in range(6)]
    assert any("numbers of rows of test.csv" in warning for warning in layout.warnings)


def test_ids_that_end_as_the_classes_are_called_are_no_long_ids(tmp_path):
    """P00_1 is a picture, P00_1_1 a picture and a class."""
    files = {f"train/P{n // 3:02d}_{n % 3}.png": encoded(image_of(n, n)) for n in range(24)}
    files |= {f"test/P9{n // 3}_{n % 3}.png": encoded(image_of(40 + n, n)) for n in range(6)}
    rows = [(f"P{n // 3:02d}", f"{n % 3}", f"{n * 5 % 3}") for n in range(24)]
    long = [(f"P9{n // 3}_{n % 3}_{label}", 0.3) for n in range(6) for label in range(3)]
    files["sample_submission.csv"] = csv_bytes(("id", "p"), long)
    for header, own in (((*BOTH, "label"), rows), (("id", "label"), [(f"{a}_{b}", label) for a, b, label in rows])):
        layout = layout_of(tmp_path, files | {"train.csv": csv_bytes(header, own)})
        assert list(layout.train_labels) == [label for *_, label in rows] and layout.submission.kind == "long"
        assert list(layout.test_ids) == [f"P9{n // 3}_{n % 3}" for n in range(6)]
