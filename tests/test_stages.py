"""The stages after training, on a small competition that has run through."""

import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, Workplace, competition_files, csv_bytes, write_zip
from sklearn.metrics import accuracy_score, f1_score, log_loss

from pipeline import __main__ as command
from pipeline.base.files import read_arrays, read_json, write_arrays
from pipeline.competition.schema import read_schema, read_train_labels


@pytest.fixture
def copied(finished, tmp_path):
    """The finished workplace, to be changed."""
    shutil.copytree(finished.root, tmp_path, dirs_exist_ok=True)
    place = Workplace(tmp_path)
    place.raw = finished.raw  # the receipt has it among the parameters
    return place


def submission_rows(place):
    return list(csv.reader(io.StringIO(place.path("submissions/submission.csv").read_text())))


def test_a_learnable_competition_is_learnt_and_submitted(finished):
    scores = read_json(finished.path("data/report/scores.json"))
    assert scores["oof"]["accuracy"] > 0.8
    header, *rows = submission_rows(finished)
    assert header == ["id", "label"]
    assert [row[0] for row in rows] == [f"9{number:02d}" for number in range(9)]
    truth = [("bird", "a cat", "dog, large")[number % 3] for number in range(9)]
    assert sum(row[1] == label for row, label in zip(rows, truth, strict=True)) >= 7


def test_scores_are_scikit_learns_on_the_stored_probabilities(finished):
    classes = read_schema(finished.path("data/competition/schema.json")).target.classes
    label_of = dict(zip(*read_train_labels(finished.path("data/competition/train.csv")), strict=True))
    truth, probs = [], []
    for fold in ("0", "1"):
        stored = read_arrays(finished.path(f"data/oof/{fold}.npz"), ("image_ids", "probs"))
        truth += [classes.index(label_of[name]) for name in stored["image_ids"]]
        probs += stored["probs"].tolist()
    predicted = np.argmax(probs, axis=1)
    oof = read_json(finished.path("data/report/scores.json"))["oof"]
    assert len(truth) == 30
    assert oof["accuracy"] == accuracy_score(truth, predicted)
    assert oof["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert oof["log_loss"] == pytest.approx(log_loss(truth, np.array(probs, dtype=np.float64)), rel=1e-4)


def split_by_hand(tmp_path, folds_of, num_folds, labels=("cat", "dog")):
    """A run up to its predictions of a binary competition scored by AUC; folds_of: of each label, in turns."""
    place = Workplace(tmp_path)
    files = competition_files(labels=labels)
    rows = [
        (f"{n:03d}", labels[n % 2], folds_of[labels[n % 2]][n // 2 % len(folds_of[labels[n % 2]])]) for n in range(20)
    ]
    files["train.csv"] = csv_bytes(("id", "label", "mine"), rows)
    files["sample_submission.csv"] = csv_bytes(("id", "dog"), [(f"90{n}", 0.5) for n in range(9)])
    write_zip(place.raw, files)
    place.params["folds"] = {str(fold): {} for fold in range(num_folds)}
    place.params["split"] |= {"num_folds": num_folds, "fold_column": "mine"}
    place.params["train"]["epochs"] = 1
    place.run_data()
    place.run("split")
    for fold in place.params["folds"]:
        place.run("train", key=fold)
        place.run("infer", key=fold)
    return place


def test_a_fold_of_one_class_has_no_auc_and_the_run_is_finished_without_it(tmp_path, capsys):
    place = split_by_hand(tmp_path, {"cat": "abc", "dog": "ab"}, num_folds=3)
    place.run("evaluate")
    assert "auc is undefined where all images have the same labels: folds 2 are left out" in capsys.readouterr().out
    folds = read_json(place.path("data/report/scores.json"))["folds"]
    assert list(folds["by_fold"]) == ["0", "1"]
    assert folds["score_mean"] == pytest.approx(np.mean([fold["score"] for fold in folds["by_fold"].values()]))
    place.run("submit")


def test_folds_of_which_one_alone_has_an_auc_stop_with_what_to_do(tmp_path):
    place = split_by_hand(tmp_path, {"cat": "ab", "dog": "ac"}, num_folds=3)
    with pytest.raises(ValueError, match=r"auc is undefined .* in 2 of 3 folds; deal them otherwise \(section split\)"):
        place.run("evaluate")


def test_the_reports_tables_add_up(finished):
    confusion = list(csv.DictReader(io.StringIO(finished.path("data/report/confusion.csv").read_text())))
    assert len(confusion) == 9
    assert sum(int(row["images"]) for row in confusion) == 30
    per_class = list(csv.DictReader(io.StringIO(finished.path("data/report/per_class.csv").read_text())))
    assert [row["images"] for row in per_class] == ["10", "10", "10"]
    curves = list(csv.DictReader(io.StringIO(finished.path("data/report/curves.csv").read_text())))
    assert len(curves) == 12
    for name in ("curves", "confusion", "mistakes"):
        assert finished.path(f"data/report/{name}.png").read_bytes().startswith(b"\x89PNG")


def test_evaluate_and_submit_give_the_same_bytes_again(copied):
    names = [
        path.relative_to(copied.root)
        for folder in ("data/report", "submissions")
        for path in copied.path(folder).rglob("*")
        if path.is_file()
    ]
    before = {name: copied.path(name).read_bytes() for name in names}
    copied.run("evaluate")
    copied.run("submit")
    assert {name: copied.path(name).read_bytes() for name in names} == before


def test_the_receipt_describes_the_file(finished):
    receipt = read_json(finished.path("submissions/receipt.json"))
    content = finished.path("submissions/submission.csv").read_bytes()
    assert receipt["sha256"] == hashlib.sha256(content).hexdigest()
    assert receipt["rows"] == 9 == sum(receipt["labels"].values())
    assert receipt["oof"] == read_json(finished.path("data/report/scores.json"))["oof"]
    assert receipt["params"]["train"]["epochs"] == 6
    assert {"git_commit", "git_clean", "dvc_lock_sha256", "warnings", "folds"} <= set(receipt)


def test_an_earlier_submission_is_never_lost(copied):
    first = copied.path("submissions/submission.csv").read_bytes()
    for fold in ("0", "1"):
        path = copied.path(f"data/test/{fold}.npz")
        stored = read_arrays(path, ("image_ids", "probs"))
        write_arrays(path, stored | {"probs": np.roll(stored["probs"], 1, axis=1)})
    copied.run("submit")
    assert copied.path("submissions/submission.csv").read_bytes() != first
    kept = [path.read_bytes() for path in copied.path("submissions/archive").glob("*.csv")]
    assert len(kept) == 2
    assert first in kept


def test_the_receipt_of_another_run_that_gave_the_same_file_is_kept(copied):
    first = copied.path("submissions/receipt.json").read_bytes()
    copied.run("submit")
    copied.params["train"]["seed"] = 7
    copied.run("submit")
    kept = sorted(copied.path("submissions/archive").glob("*.json"))
    assert [path.name.count(".") for path in kept] == [2, 1] and kept[0].read_bytes() == first
    assert kept[1].read_bytes() == copied.path("submissions/receipt.json").read_bytes() != first


def test_a_refused_submission_leaves_the_old_one(copied):
    before = copied.path("submissions/submission.csv").read_bytes()
    sample = copied.path("data/competition/sample_submission.csv")
    sample.write_bytes(sample.read_bytes() + b"999,bird\n")
    with pytest.raises(ValueError, match=r"1 ids without prediction \['999'\]"):
        copied.run("submit")
    assert copied.path("submissions/submission.csv").read_bytes() == before


@pytest.mark.parametrize("stage", ["evaluate", "submit"])
def test_gathering_stages_refuse_a_missing_fold_and_a_leftover_one(copied, stage):
    folder = copied.path("data/oof" if stage == "evaluate" else "data/test")
    leftovers = [folder / "2.npz", copied.path("data/history/2.csv")]
    for path in leftovers:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"2 files belong to no fold that params.yaml names \(0, 1\)") as error:
        copied.run(stage)
    assert all(str(path) in str(error.value) for path in leftovers), "all at once"
    for path in leftovers:
        path.unlink()
    (folder / "1.npz").unlink()
    with pytest.raises(ValueError, match=r"lacks 1 of 2 folds: \['1'\]; run `dvc repro`"):
        copied.run(stage)


def test_infer_refuses_a_model_of_other_classes(copied):
    target = copied.path("data/competition/target.json")
    target.write_text(json.dumps(json.loads(target.read_text()) | {"classes": ["a", "b"]}))
    with pytest.raises(
        ValueError, match="was trained on 3 classes .*single_label. at 12 px; the competition has 2 .*at 12 px"
    ):
        copied.run("infer", key="0")


def test_summary_prints_cross_validation_submission_and_score(finished, capsys, monkeypatch):
    solution = finished.path("solution.csv")
    lines = finished.path("submissions/submission.csv").read_text().splitlines()
    wrong = "bird" if lines[-1].split(",", 1)[1] != "bird" else "a cat"
    solution.write_text("\n".join([*lines[:-1], f"908,{wrong}"]) + "\n")
    monkeypatch.chdir(finished.root)
    command.main(["summary", "--solution", str(solution)])
    out = capsys.readouterr().out
    assert "out-of-fold accuracy" in out and "± " in out
    assert "submissions/submission.csv" in out
    assert "accuracy 0.8889" in out
    solution.write_text("id,label\n1,bird\n")
    command.main(["summary", "--solution", str(solution)])
    assert "is the solution of another competition" in capsys.readouterr().out


def test_check_accepts_ours_and_refuses_a_damaged_one(finished, capsys, tmp_path):
    good = finished.path("submissions/submission.csv")
    places = ["--competition", str(finished.path("data/competition"))]
    places += ["--seen", str(finished.path("data/images/test.csv"))]  # not those of the folder that the tests run in
    command.main(["check", str(good), *places])
    assert f"{good}: OK (" in capsys.readouterr().out
    bad = tmp_path / "bad.csv"
    bad.write_bytes(good.read_bytes().replace(b"900,", b"9.0,"))
    with pytest.raises(ValueError, match="ids that the sample does not have: 1; ids missing: 1"):
        command.main(["check", str(bad), *places])


def test_errors_of_the_users_world_are_one_message_and_exit_code_2(capsys):
    import pipeline.base.console as console

    def main(argv):
        raise ValueError("params.yaml: train.epochs is 0")

    with pytest.raises(SystemExit) as stop:
        console.run(main)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: params.yaml: train.epochs is 0\n"


def test_the_digits_competition_is_the_same_bytes_every_time(tmp_path):
    from pipeline.stages import digits

    for name in ("a", "b"):
        digits.main(["--archive", str(tmp_path / f"{name}.zip"), "--solution", str(tmp_path / f"{name}.csv")])
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 361
    assert ROOT.joinpath("params.yaml").read_text().count("data/demo/digits.zip") == 1


FORMER_SCHEMA = {
    "id_column": "id",
    "target": {"kind": "single_label", "columns": ["label"], "classes": ["a", "b"], "positive": ""},
    "submission": {"kind": "label", "id_column": "id", "columns": ["id", "label"], "value_columns": ["label"]},
    "metric": "accuracy",
    "train": {"num_images": 30, "size": 12, "sha256": "0", "bits": 8},
    "test": {"num_images": 9, "size": 12, "sha256": "0", "bits": 8},
}


@pytest.mark.parametrize("command_line", [["check"], ["verify"], ["summary"], ["bundle"]])
def test_hand_over_files_of_a_former_version_are_refused_by_name(copied, monkeypatch, command_line):
    """Before stages were cut, schema.json held the stores too, and train.csv paths and groups."""
    copied.path("data/competition/schema.json").write_text(json.dumps(FORMER_SCHEMA))
    monkeypatch.chdir(copied.root)
    with pytest.raises(ValueError, match=r"schema.json is not a schema of this version .*; run `dvc repro -f ingest`"):
        command.main(command_line)


def test_a_train_table_of_a_former_version_is_refused_by_name(copied):
    table = copied.path("data/competition/train.csv")
    table.write_text("image_id,path,sha256,label,group\n000,train/000.png,0,bird,\n")
    for stage in ("split", "train", "evaluate"):
        with pytest.raises(ValueError, match=r"train.csv has the columns .*must be .*; run `dvc repro -f ingest`"):
            copied.run(stage, key="0")


def test_a_python_without_the_packages_is_told_where_they_are():
    """Whoever forgot to activate the environment; -S leaves installed packages out."""
    words = [sys.executable, "-S", "-m", "pipeline", "inspect", "raw.zip"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert re.fullmatch(r"error: .*python\S* has no package \w+; type `source \.venv/bin/activate`.*\n", done.stderr)
