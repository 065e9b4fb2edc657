"""Images that are missing or cannot be read: allowed by name, counted and said, never an invented row."""

import csv
import json

import numpy as np
import pytest
from conftest import competition_files, write_zip
from made_up import CLASSES, graded, make

from pipeline import __main__ as command
from pipeline.base.files import read_json
from pipeline.competition.schema import read_schema, target_array

pytestmark = pytest.mark.usefixtures("undrawn")

MISSING_KIND = "test image missing"
TEST_KINDS = ["unreadable test image", MISSING_KIND]
CORRUPT, MISSING = "te.048", "te.050"
FORMATS = [
    ("single_label", "label"), ("single_label", "columns"), ("single_label", "ranked"), ("single_label", "long"),
    ("binary", "score"), ("multi_label", "columns"), ("multi_label", "list"), ("ordinal", "label"),
]  # fmt: skip


def rows_of(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


def shares(place):
    """Class -> its share of the images that a fold trained on, mean over the folds."""
    rows, folds = rows_of(place.path("data/competition/train.csv")), rows_of(place.path("data/folds.csv"))
    target = read_schema(place.path("data/competition/schema.json")).target
    indices = target_array([row["label"] for row in rows], target)
    hits = np.eye(len(target.classes))[indices] if indices.ndim == 1 else indices
    held_by = np.array([row["fold"] for row in folds])
    means = np.mean([hits[held_by != fold].mean(axis=0) for fold in place.params["folds"]], axis=0)
    return dict(zip(target.classes, means.tolist(), strict=True))


def expected_cells(target, kind, prior):
    """What the training shares alone say, for one image; of a long submission all its cells."""
    classes = CLASSES[target]
    order = sorted(prior, key=lambda label: -prior[label])
    if kind == "label":
        return order[0] if target != "ordinal" else None
    if kind == "ranked":
        return "|".join(order)
    if kind == "score":
        return prior[classes[1]]
    if kind == "list":
        return None
    return [prior[label] for label in classes]


@pytest.mark.parametrize(("target", "kind"), FORMATS, ids=["-".join(pair) for pair in FORMATS])
def test_a_test_image_that_nobody_sees_gets_the_training_prior(workplace, capsys, monkeypatch, target, kind):
    made = make("table", target, kind, num_train=43)
    made.files[f"test/{CORRUPT}.png"] = made.files[f"test/{CORRUPT}.png"][:70]
    del made.files[f"test/{MISSING}.png"]
    write_zip(workplace.raw, made.files)
    workplace.params["train"] |= {"epochs": 1, "valid_every": 1}
    with pytest.raises(ValueError, match=r"(?s)test image missing: 1 \(te.050\).*allow: \[test image missing\]"):
        workplace.run_data()
    workplace.params["competition"]["allow"] = ["test image missing"]
    with pytest.raises(
        ValueError, match=r"(?s)unreadable test image: 1 \(test/te.048.png: .*allow: \[unreadable test image\]"
    ):
        workplace.run_data()
    workplace.params["competition"]["allow"] = TEST_KINDS
    workplace.run_all()
    monkeypatch.chdir(workplace.root)

    out = capsys.readouterr().out
    assert all(f"warning: {kind}: 1 (allowed by competition.allow)" in out for kind in TEST_KINDS)
    assert read_json(workplace.path("data/competition/recognised.json"))["allowed_problems"] == {MISSING_KIND: 1}
    table = [row["image_id"] for row in rows_of(workplace.path("data/competition/test.csv"))]
    seen = rows_of(workplace.path("data/images/test.csv"))
    assert {name for name, row in zip(table, seen, strict=True) if row["failure"]} == {CORRUPT, MISSING}
    store = np.load(workplace.path("data/images/test.npy"))
    assert [name for name, image in zip(table, store, strict=True) if not image.any()] == [CORRUPT, MISSING]

    prior = shares(workplace)
    graded(made, workplace.path("submissions/submission.csv").read_bytes())  # ids, order, columns
    written = {
        row[0]: row[1:] for row in csv.reader(workplace.path("submissions/submission.csv").open(encoding="utf-8"))
    }
    for name in (CORRUPT, MISSING):
        due = expected_cells(target, kind, prior)
        cells = [written[f"{name}_{label}"][0] for label in made.classes] if kind == "long" else written[name]
        if isinstance(due, str):
            assert cells == [due]
        elif due is not None:
            assert np.allclose([float(cell) for cell in cells], due, atol=1e-6)
    if kind != "long":
        assert written[CORRUPT] == written[MISSING]

    assert read_json(workplace.path("submissions/receipt.json"))["predicted_by_prior"] == [CORRUPT, MISSING]
    command.main(["check"])
    assert "rows without an image" in (out := capsys.readouterr().out) and CORRUPT in out and MISSING in out
    command.main(["verify"])


@pytest.mark.slow
def test_a_bundle_predicts_the_unseen_too(workplace, capsys, monkeypatch):
    files = competition_files()
    files["test/903.png"] = files["test/903.png"][:80]
    write_zip(workplace.raw, files)
    workplace.params["train"] |= {"epochs": 1, "valid_every": 1}
    workplace.params["competition"]["allow"] = TEST_KINDS
    workplace.run_all()
    monkeypatch.chdir(workplace.root)
    command.main(["bundle"])
    command.main(["bundle", "verify"])
    assert "identical" in capsys.readouterr().out


def test_a_training_image_that_cannot_be_read_can_be_left_out(workplace, capsys, monkeypatch):
    monkeypatch.chdir(workplace.root)
    files = competition_files()
    for number in (0, 13, 29):
        files[f"train/{number:03d}.png"] = files[f"train/{number:03d}.png"][:80]
    write_zip(workplace.raw, files)
    with pytest.raises(
        ValueError,
        match=r"unreadable training image: 3 .*\n.*left out: competition.allow: \[unreadable training image\]",
    ):
        workplace.run_data()
    workplace.params["competition"]["allow"] = ["unreadable training image"]
    workplace.params["train"] |= {"epochs": 1, "valid_every": 1}
    workplace.run_all()
    assert "warning: unreadable training image: 3 (allowed by competition.allow)" in capsys.readouterr().out
    kept = [f"{n:03d}" for n in range(30) if n not in (0, 13, 29)]
    groups = rows_of(workplace.path("data/groups.csv"))
    assert [row["image_id"] for row in groups if not row["left_out"]] == kept and len(groups) == 30
    folds = rows_of(workplace.path("data/folds.csv"))
    assert [row["image_id"] for row in folds if row["fold"]] == kept and len(folds) == 30
    assert [len(np.load(workplace.path(f"data/oof/{fold}.npz"))["probs"]) for fold in "01"] == [14, 13]
    assert json.loads(workplace.path("data/report/audit.json").read_text())["num_train"] == 27
    command.main(["verify"])
    store = np.load(workplace.path("data/images/train.npy"))
    assert [row for row in range(30) if not store[row].any()] == [0, 13, 29]
    write_zip(workplace.raw, competition_files())
    workplace.run_data()
    sound = np.load(workplace.path("data/images/train.npy"))
    assert [row for row in range(30) if (sound[row] != store[row]).any()] == [0, 13, 29]


def test_no_training_image_at_all_still_stops(workplace):
    files = {
        name: content[:70] if name.startswith("train/") else content for name, content in competition_files().items()
    }
    write_zip(workplace.raw, files)
    workplace.params["competition"]["allow"] = ["unreadable training image"]
    with pytest.raises(ValueError, match="none of the 30 training images can be read"):
        workplace.run_data()


def test_threads_are_in_every_card_and_in_the_receipt(finished):
    import torch

    threads = torch.get_num_threads()
    assert read_json(finished.path("data/models/0.json"))["threads"] == threads
    receipt = read_json(finished.path("submissions/receipt.json"))
    assert receipt["threads"] == {"0": threads, "1": threads} and receipt["predicted_by_prior"] == []
