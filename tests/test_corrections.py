"""Corrections of labels: learnt from, never scored by; checked by id and class before anything trains."""

import csv
import json
import re
import shutil
from pathlib import Path

import cut_short
import made_up
import numpy as np
import pytest
from conftest import Workplace, competition_files, csv_bytes, encoded, image_of, write_zip

from pipeline import __main__ as command
from pipeline.base.files import read_arrays, read_json, sha256_of, write_arrays
from pipeline.commands.label_corrections import Learnt
from pipeline.training import resume


def correct(place, rows, header="image_id,label"):
    """Write the user's file and run ingest."""
    path = place.path("mine.csv")
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    place.params["competition"]["corrections"] = str(path)
    place.run("ingest")
    return path


def written(place):
    with place.path("data/competition/corrections.csv").open() as handle:
        return {row["image_id"]: row["label"] for row in csv.DictReader(handle)}


@pytest.fixture
def ready(tmp_path):
    """A workplace of which every image has a fold."""
    place = Workplace(tmp_path)
    place.params["train"]["epochs"] = 2
    write_zip(place.raw, competition_files())
    place.run_data()
    place.run("split")
    return place


def folds_of(place):
    with place.path("data/folds.csv").open() as handle:
        return {row["image_id"]: row["fold"] for row in csv.DictReader(handle)}


def trained(place, fold="0"):
    """(weights, out-of-fold file, metrics) of a fold, as bytes."""
    place.run("train", key=fold)
    names = (f"models/{fold}.safetensors", f"oof/{fold}.npz", f"metrics/{fold}.json")
    return [place.path(f"data/{name}").read_bytes() for name in names]


# -- what is read


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0,bird", "007,bird", "1,bird"], "unknown id: 2 (0, 1)\n    ids are as the organiser's train table has them, such as 000"),
        (["007,Bird", "008,kite"], "unknown class: 2 (Bird, kite)\n    there are 3: a cat, bird, dog, large"),
        (["007,bird", "007,a cat"], "two labels for one id: 1 (007 in lines 2 and 3)"),
        (["007,bird", "007,"], "two labels for one id: 1 (007 in lines 2 and 3)"),
        (["007"], "row that lacks cells: 1 (line 2)"),
        (["x,kite", "007"], "3 problems"),
    ],
)  # fmt: skip
def test_every_wrong_row_is_named_at_once_and_nothing_is_written(workplace, rows, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        correct(workplace, rows)
    assert not workplace.path("data/competition").exists()


def test_two_groups_for_one_image_are_refused_by_line(workplace):
    with pytest.raises(
        ValueError, match=re.escape("two cells of own_group for one id: 2 (007 in lines 2 and 4, 008 in")
    ):
        rows = ["007,bird,seen,east", "008,bird,,west", "007,bird,,west", "008,bird"]
        correct(workplace, rows, header="image_id,label,note,own_group")
    correct(workplace, ["007,bird,seen,east", "007,bird,,east"], header="image_id,label,note,own_group")


@pytest.mark.parametrize("header", ["id,label", "image_id;label", "image_id", "label,image_id"])
def test_other_columns_are_refused(workplace, header):
    with pytest.raises(ValueError, match="has the columns .* the first must be image_id,label, parted by a comma"):
        correct(workplace, ["007,bird"], header)


def test_what_is_no_csv_in_utf8_and_no_file_is_refused(workplace):
    path = correct(workplace, ["007,bird"])
    path.write_bytes("image_id,label\n007,새\n".encode("cp949"))
    with pytest.raises(ValueError, match="is no CSV in UTF-8"):
        workplace.run("ingest")
    path.unlink()
    with pytest.raises(ValueError, match="competition.corrections is .*mine.csv, which is no file"):
        workplace.run("ingest")


def test_a_spreadsheets_marks_repeated_rows_and_rows_that_change_nothing_are_taken_as_they_are_meant(workplace, capsys):
    path = correct(workplace, ["001,bird,note", "001,bird,again", "", '002,"dog, large"', "005,"],
                   "\ufeffimage_id,label,note")  # fmt: skip
    assert written(workplace) == {"001": "bird", "005": ""}, "002 is a dog by the organiser, too"
    assert "1 labels corrected and 1 images left out, in training alone; 1 rows are as" in capsys.readouterr().out
    link = workplace.path("data/competition/corrections/corrections.csv")
    assert link.is_symlink() and link.samefile(path)
    workplace.params["competition"]["corrections"] = "none"
    workplace.run("ingest")
    assert written(workplace) == {}


@pytest.mark.parametrize("layout", ["table", "0/1 columns"])
def test_several_labels_are_spelt_as_the_organiser_or_json_spells_them(tmp_path, layout):
    place = Workplace(tmp_path)
    write_zip(place.raw, made_up.make(layout, "multi_label", "columns").files)
    rows = ['tr.000,"[""river"", ""haze""]"', "tr.001,[]", "tr.003,", "tr.004,river"]
    if layout == "table":
        rows.append("tr.005,river cloudy")
    correct(place, rows)
    found = written(place)
    assert found["tr.000"] == json.dumps(["haze", "river"]), "in the order of the classes, as in train.csv"
    assert found["tr.001"] == "[]", "an image that has none of them: learnt as such"
    assert found["tr.003"] == "", "not learnt at all"
    assert found["tr.004"] == json.dumps(["river"])
    if layout == "table":
        assert found["tr.005"] == json.dumps(["cloudy", "river"])
    with pytest.raises(
        ValueError, match=r"unknown class: 1 \(kite\)\n.*several labels stand as the organiser has them, or as a JSON"
    ):
        correct(place, ['tr.000,"[""kite""]"'])


# -- what is learnt


def test_what_a_fold_holds_out_keeps_the_organisers_labels(ready):
    """Corrections of held-out images alone change not one byte of that fold; they change the other."""
    plain = {fold: trained(ready, fold) for fold in "01"}
    held_out = [image_id for image_id, fold in folds_of(ready).items() if fold == "0"]
    label_of = dict(row for row in csv.reader(ready.path("data/competition/train.csv").open()))
    wrong = {image_id: "bird" if label_of[image_id] != "bird" else "a cat" for image_id in held_out}
    correct(ready, [f"{image_id},{label if at % 2 else ''}" for at, (image_id, label) in enumerate(wrong.items())])
    assert len(written(ready)) == len(held_out)
    assert trained(ready, "0") == plain["0"]
    assert all(new != old for new, old in zip(trained(ready, "1"), plain["1"], strict=True))
    assert set(read_arrays(ready.path("data/oof/0.npz"), ("image_ids",))["image_ids"]) == set(held_out)


def test_a_corrected_label_is_learnt_as_if_the_organiser_had_given_it(tmp_path):
    """The weights are those of a competition with these labels; the score of the held-out part is not touched."""
    files = competition_files()
    places, weights = [Workplace(tmp_path / name) for name in ("ours", "theirs")], []
    for place in places:
        place.root.mkdir()
        place.params["train"]["epochs"] = 2
        write_zip(place.raw, files)
        place.run_data()
        place.run("split")
    ours, theirs = places
    chosen = [image_id for image_id, fold in folds_of(ours).items() if fold == "1"][:4]
    correct(ours, [f"{image_id},bird" for image_id in chosen])
    rows = list(csv.reader(files["train.csv"].decode().splitlines()))
    files["train.csv"] = csv_bytes(rows[0], [(name, "bird" if name in chosen else label) for name, label in rows[1:]])
    write_zip(theirs.raw, files)
    theirs.run("ingest")
    weights = [trained(place)[0] for place in places]
    assert weights[0] == weights[1]


def test_a_dropped_image_is_never_trained_on(ready):
    """Its pixels may be any: neither weights nor normalisation nor the out-of-fold predictions know them."""
    dropped = next(image_id for image_id, fold in folds_of(ready).items() if fold == "1")
    correct(ready, [f"{dropped},"])
    before = trained(ready)
    files = competition_files() | {f"train/{dropped}.png": encoded(255 - image_of(0, 77))}
    write_zip(ready.raw, files)
    for stage in ("ingest", "decode_train"):
        ready.run(stage)
    assert trained(ready) == before
    correct(ready, [])
    assert trained(ready)[0] != before[0]


def test_several_labels_are_learnt_as_corrected(tmp_path):
    place = Workplace(tmp_path)
    place.params["train"]["epochs"] = 1
    write_zip(place.raw, made_up.make("table", "multi_label", "columns").files)
    place.run_data()
    place.run("split")
    plain = trained(place)
    chosen = next(image_id for image_id, fold in folds_of(place).items() if fold == "1")
    correct(place, [f"{chosen},[]"])
    assert trained(place)[0] != plain[0]


def test_a_fold_without_a_class_to_learn_after_corrections_says_so(ready):
    rows = [f"{image_id}," for image_id, fold in folds_of(ready).items() if fold == "1"]
    correct(ready, rows)
    with pytest.raises(ValueError, match="fold 0 would train on 0 images of 0 of 3 classes"):
        ready.run("train", key="0")


def test_a_fold_cut_short_does_not_go_on_with_other_corrections(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(resume, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(resume, "TIMES_COST", 0.0)
    place = cut_short.made_ready(tmp_path, {})
    cut_short.cut_short(place, monkeypatch)
    chosen = next(image_id for image_id, fold in folds_of(place).items() if fold == "1")
    correct(place, [f"{chosen},"])
    capsys.readouterr()
    place.run("train", key="0")
    assert "resumed" not in capsys.readouterr().out
    assert cut_short.outputs(place)["models/0.safetensors"] != place.whole["models/0.safetensors"]


# -- the workbench's file


@pytest.fixture
def suspicious(finished, tmp_path, monkeypatch):
    """A finished workplace whose first three held-out images of fold 0 are surely predicted to be of the next class."""
    shutil.copytree(finished.root, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data/oof/0.npz"
    stored = read_arrays(path, ("image_ids", "probs"))
    probs = np.full((len(stored["probs"]), 3), 0.1, dtype=np.float32)
    order = read_json(tmp_path / "data/competition/target.json")["classes"]
    label_of = dict(row for row in csv.reader((tmp_path / "data/competition/train.csv").open()))
    truth = np.array([order.index(label_of[image_id]) for image_id in stored["image_ids"]])
    said = (truth + (np.arange(len(truth)) < 3)) % 3
    probs[np.arange(len(truth)), said] = 0.8
    write_arrays(path, stored | {"probs": probs})
    place = Workplace(tmp_path)
    place.suspects = {image_id: order[at] for image_id, at in zip(stored["image_ids"][:3].tolist(), said, strict=False)}
    return place


def workbench_file(name):
    command.main(["workbench", "--write", name])
    with Path(name).open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_file_of_suspects_changes_nothing_until_it_is_edited_and_is_never_overwritten(suspicious, capsys):
    rows = workbench_file("todo.csv")
    assert {row["image_id"]: row["suggested"] for row in rows}.items() >= suspicious.suspects.items()
    suspicious.params["competition"]["corrections"] = "todo.csv"
    suspicious.run("ingest")
    assert written(suspicious) == {}, "as it is written it says what the organiser says"
    before = suspicious.path("todo.csv").read_bytes()
    with pytest.raises(ValueError, match=r"todo.csv is there already and may hold your work"):
        command.main(["workbench", "--write", "todo.csv"])
    assert suspicious.path("todo.csv").read_bytes() == before

    header, _, *rest = before.decode().splitlines()
    last = next(reversed(rows))["image_id"]
    suspicious.path("todo.csv").write_text("\n".join([header, *rest[:-1], f"{last},,"]) + "\n")
    suspicious.run("ingest")
    assert written(suspicious) == {last: ""}
    with pytest.raises(ValueError, match="trained on another target, train table, corrections, folds or store"):
        command.main(["workbench"])


def test_what_is_corrected_already_comes_first_as_it_is_learnt(suspicious, capsys):
    last = [*suspicious.suspects][-1]
    correct(suspicious, ["029,bird", f"{last},"])
    tables = [f"competition/{name}" for name in ("target.json", "train.csv", "corrections.csv")]
    data = [suspicious.path(f"data/{name}") for name in (*tables, "folds.csv", "images/train.json")]
    for fold in "01":
        card = suspicious.path(f"data/models/{fold}.json")
        card.write_text(json.dumps(read_json(card) | {"data_fingerprint": sha256_of(*data)}))
    rows = workbench_file("more.csv")
    assert [(row["image_id"], row["label"]) for row in rows[:2]] == sorted([("029", "bird"), (last, "")])
    assert {row["image_id"]: row["suggested"] for row in rows}.items() >= suspicious.suspects.items(), (
        "by the old labels"
    )
    assert re.search(
        "corrections +1 labels corrected and 1 images left out, in training alone", capsys.readouterr().out
    )


def test_copies_of_a_corrected_image_that_have_no_row_are_named(tmp_path, monkeypatch, capsys):
    files = competition_files()
    files["train/003.png"] = files["train/000.png"]  # both birds
    place = Workplace(tmp_path)
    place.params["train"]["epochs"] = 1
    write_zip(place.raw, files)
    monkeypatch.chdir(tmp_path)
    correct(place, ["000,a cat"])
    place.run_all()
    capsys.readouterr()
    command.main(["workbench"])
    said = "1 copies or near-copies of these images have no row in the file and keep their labels: 003"
    assert said in capsys.readouterr().out
    correct(place, ["000,a cat", "003,a cat"])
    learnt = Learnt.read(*(place.path(f"data/competition/{name}.csv") for name in ("train", "corrections")))
    lines = list(learnt.said(place.path("data/competition/train.csv"), place.path("data/groups.csv")))
    assert len(lines) == 1 and lines[0].startswith("2 labels corrected")
