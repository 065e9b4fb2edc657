"""What folds that groups straddle would flatter the score by: planted groups are found, made-up ones are nothing."""

import re

import numpy as np
import pytest
from conftest import LABELS, Workplace, csv_bytes, encoded, image_of, write_zip

from pipeline import __main__ as command
from pipeline.competition.schema import Schema, SubmissionFormat, Target
from pipeline.scoring.decision import Decision
from pipeline.workbench.flattery import flattery

SINGLE = Target(kind="single_label", columns=("label",), classes=("ant", "bee", "cat", "dog"))
MULTI = Target(kind="multi_label", columns=("label",), classes=("ant", "bee", "cat"))

FORM = SubmissionFormat(kind="label", id_column="id", columns=("id", "label"), value_columns=("label",))
LIST = SubmissionFormat(kind="list", id_column="id", columns=("id", "l"), value_columns=("l",), separator=" ", may_be_empty=True)  # fmt: skip


def predictions(number, seed=0):
    """(truth, probs of a weak model, probs of one that knows twice as much)."""
    generator = np.random.default_rng(seed)
    truth, noise = generator.integers(0, 4, number), generator.normal(size=(number, 4))
    return truth, *(np.exp(noise + know * np.eye(4)[truth]) / np.exp(noise + know * np.eye(4)[truth]).sum(1, keepdims=True) for know in (0.7, 1.4))  # fmt: skip


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "log_loss"])
def test_the_better_one_is_better_in_every_metrics_direction(metric):
    truth, weak, strong = predictions(400)
    form = FORM if metric != "log_loss" else SubmissionFormat(
        kind="columns", id_column="id", columns=("id", *SINGLE.classes), value_columns=SINGLE.classes, classes=SINGLE.classes
    )  # fmt: skip
    asked, ids = Schema(target=SINGLE, submission=form, metric=metric), [str(row) for row in range(400)]
    groups = np.arange(400)
    _, _, better = flattery(truth, (weak, strong), groups, ids, asked, Decision())
    _, _, worse = flattery(truth, (strong, weak), groups, ids, asked, Decision())
    assert better.mean > 3 * better.error > 0 and worse.mean == -better.mean
    assert flattery(truth, (weak, weak), groups, ids, asked, Decision())[2].mean == 0


def test_the_error_is_that_of_the_paired_difference_over_groups():
    truth, weak, strong = predictions(400)
    asked = Schema(target=SINGLE, submission=FORM, metric="accuracy")

    def found(repeated):
        rows = np.repeat(np.arange(400), repeated)
        ids = [f"{at}" for at in range(len(rows))]
        return flattery(truth[rows], (weak[rows], strong[rows]), rows, ids, asked, Decision())[2]

    differences = (strong.argmax(1) == truth).astype(float) - (weak.argmax(1) == truth)
    assert found(1).error == pytest.approx(differences.std(ddof=1) / 20, rel=0.4), "20 blocks"
    assert found(5).error == pytest.approx(found(1).error), "copies of an image say nothing new"


def test_several_labels_are_compared_too():
    generator = np.random.default_rng(0)
    truth = (generator.random((200, 3)) < 0.4).astype(np.float32)
    weak, strong = (
        np.clip(0.5 + know * (truth - 0.5) + generator.normal(0, 0.3, (200, 3)), 0, 1) for know in (0.2, 1.0)
    )
    asked = Schema(target=MULTI, submission=LIST, metric="macro_f1")
    better = flattery(truth, (weak, strong), np.arange(200), [str(row) for row in range(200)], asked, Decision())[2]
    assert better.mean > 3 * better.error > 0


def clinic(root, *, look_by_patient):
    """18 patients with 6 images each; split.group keeps them together.

    look_by_patient: an image looks like its patient and its label is the patient's, which looks tell nothing of; else
    it looks like its class, a quarter of the labels are random, and patients are mere names.
    """
    place, generator, rows, files = Workplace(root), np.random.default_rng(3), [], {}
    label_of = generator.permutation(np.arange(18) % 3)
    looks = generator.integers(0, 200, (18, 12, 12, 3))
    for number in range(108):
        patient = number % 18
        at = label_of[patient] if look_by_patient else number // 6 % 3
        noise = generator.integers(0, 50, (12, 12, 3))
        pixels = (looks[patient] + noise).astype(np.uint8) if look_by_patient else image_of(at, number)
        files[f"train/{number:03d}.png"] = encoded(pixels)
        said = at if look_by_patient or number % 4 else generator.integers(3)
        rows.append((f"{number:03d}", LABELS[said], f"P{patient:02d}"))
    for number in range(3):
        files[f"test/9{number}.png"] = encoded(image_of(number, 900 + number))
    files["train.csv"] = csv_bytes(("id", "label", "patient"), rows)
    files["sample_submission.csv"] = csv_bytes(("id", "label"), [(f"9{number}", LABELS[0]) for number in range(3)])
    write_zip(place.raw, files)
    place.params["competition"]["label"] = "label"
    place.params["split"]["group"] = "patient"
    place.params["augment"]["crop_padding"] = 0
    place.params["train"] |= {"epochs": 8, "batch_size": 16, "valid_every": 8}
    return place


@pytest.mark.slow
@pytest.mark.parametrize("look_by_patient", [True, False])
def test_planted_groups_flatter_and_mere_names_do_not(tmp_path, monkeypatch, capsys, look_by_patient):
    monkeypatch.chdir(tmp_path)
    place = clinic(tmp_path, look_by_patient=look_by_patient)
    place.run_data()
    place.run("split")
    for fold in "01":
        place.run("train", key=fold)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    command.main(["leak"])
    out = capsys.readouterr().out
    assert re.search(
        r"108 images in 18 groups \(copies, split.group: patient\); dealt without them, (9\d|100)\.\d%", out
    )
    assert re.search(r"it took \d+\.\d minutes in the run", out)
    mean, error = map(float, re.search(r"flattered by ([+-]\S+) ± (\S+),", out).groups())
    if look_by_patient:
        assert mean > 0.3 and mean > 4 * error and "more than chance (" in out and "no more" not in out
    else:
        assert abs(mean) <= 2 * error + 0.05 and "no more than chance" in out
    assert all(path.read_bytes() == content for path, content in files.items()), "nothing of the run is touched"
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - set(files)
    assert all(path.is_relative_to(tmp_path / "data/workbench/leak") for path in new)


def test_without_groups_nothing_is_trained(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished.root)
    command.main(["leak"])
    out = capsys.readouterr().out
    assert "30 images in 30 groups (copies); dealt without them, 0.0% of what fold 0 holds out" in out
    assert "no group would straddle the folds" in out
    assert not finished.path("data/workbench").exists()
    with pytest.raises(ValueError, match=r"--fold is 7; params.yaml names the folds 0, 1"):
        command.main(["leak", "--fold", "7"])
