"""Pseudo-labels: the teacher is the fold's own, so that no label of a held-out image comes back through the test images."""

import shutil

import numpy as np
import pytest
import torch
from conftest import Workplace, competition_files, csv_bytes, encoded, write_zip
from cut_short import cut_short

from pipeline.base.files import read_arrays, read_json, write_arrays
from pipeline.stages import teach
from pipeline.training import resume

CLASSES = ("a", "b", "c", "d")
OUTPUTS = ("models/0.safetensors", "models/0.json", "oof/0.npz", "history/0.csv", "metrics/0.json", "pseudo/0.npz")


def split(place, files):
    write_zip(place.raw, files)
    place.run_data()
    place.run("split")
    return place


def taught(place, confidence, fold="0"):
    """What the teacher of `fold` hands over."""
    place.params["pseudo"]["confidence"] = confidence
    place.run("teach", key=fold)
    return read_arrays(place.path(f"data/pseudo/{fold}.npz"), ("images", "targets"))


def learnt(place, fold="0"):
    """The teacher, and the fold."""
    place.run("teach", key=fold)
    place.run("train", key=fold)


def accuracy(place):
    return read_json(place.path("data/metrics/0.json"))["valid_accuracy"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A workplace of a test image that cannot be read, in which fold 0 has trained without pseudo-labels."""
    place = Workplace(tmp_path_factory.mktemp("plain"))
    place.params["competition"]["allow"] = ["unreadable test image"]
    split(place, competition_files() | {"test/904.png": b"no image"})
    place.run("train", key="0")
    place.run("infer", key="0")
    return place


@pytest.fixture
def place(plain, tmp_path):
    shutil.copytree(plain.root, tmp_path, dirs_exist_ok=True)
    place = Workplace(tmp_path)
    place.params["competition"] |= {"allow": ["unreadable test image"]}
    return place


def test_without_confidence_the_file_is_empty_and_the_same_whatever_the_images(place):
    found = read_arrays(place.path("data/pseudo/0.npz"), ("images", "targets"))
    assert len(found["images"]) == len(found["targets"]) == 0
    content = place.path("data/pseudo/0.npz").read_bytes()
    for name in ("images/test.npy", "images/train.npy", "competition/target.json"):
        place.path(f"data/{name}").unlink()
    taught(place, 0.0)
    assert place.path("data/pseudo/0.npz").read_bytes() == content, "nothing of them was read"
    card = read_json(place.path("data/models/0.json"))
    assert (card["num_pseudo"], card["pseudo_fingerprint"]) == (0, "")


def test_the_teacher_is_the_fold_as_it_trains_alone_and_answers_as_infer_would(place):
    alone = read_arrays(place.path("data/test/0.npz"), ("probs",))["probs"]
    store = np.load(place.path("data/images/test.npy"))
    seen = np.arange(9) != 4
    everything = taught(place, 0.01)
    assert np.array_equal(everything["images"], store[seen]), "all but the one that shows nothing"
    assert np.abs(everything["targets"] - alone[seen]).max() < 1e-6
    bound = float(np.median(alone[seen].max(axis=1)))
    sure = seen & (alone.max(axis=1) >= bound)
    assert 0 < sure.sum() < 8
    assert np.array_equal(taught(place, bound)["images"], store[sure])


def test_they_join_the_training_part_and_change_nothing_else(place):
    before = read_json(place.path("data/models/0.json"))
    place.params["pseudo"]["confidence"] = 0.01
    learnt(place)
    after = read_json(place.path("data/models/0.json"))
    assert after["num_pseudo"] == 8 and len(after["pseudo_fingerprint"]) == 64
    assert after["weights_sha256"] != before["weights_sha256"]
    same = ("mean", "std", "prior", "data_fingerprint", "classes")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}, "of the labelled images alone"
    oof = read_arrays(place.path("data/oof/0.npz"), ("image_ids", "probs"))
    assert len(oof["image_ids"]) == 15 and oof["probs"].shape == (15, 3)


def test_where_none_is_sure_enough_it_is_said_and_the_file_is_that_of_no_teacher(place, capsys):
    content = place.path("data/pseudo/0.npz").read_bytes()
    taught(place, 1.0)
    said = capsys.readouterr().out
    assert "warning: fold 0: its teacher is sure of 0 of 9 test images; lower pseudo.confidence" in said
    assert place.path("data/pseudo/0.npz").read_bytes() == content, "train is not stale by it"


def test_of_several_labels_the_least_sure_one_counts():
    probs = np.array([[0.99, 0.02, 0.95], [0.99, 0.5, 0.95], [0.1, 0.1, 0.1]])
    assert teach.sureness(probs, several=True) == pytest.approx([0.95, 0.5, 0.9])
    assert teach.sureness(probs, several=False) == pytest.approx([0.99, 0.99, 0.1])


@pytest.mark.parametrize(
    ("target", "recipe"),
    [
        ("ordinal", {"augment": {"mixup": 0.4}, "train": {"loss": "cumulative", "label_smoothing": 0.1}}),
        ("ordinal", {}),
        ("multi_label", {"train": {"seeds": 2}}),
        ("single_label", {"train": {"loss": "focal"}, "augment": {"cutmix": 1.0}}),
    ],
)
def test_every_kind_of_target_learns_from_shares(tmp_path, target, recipe):
    place = Workplace(tmp_path)
    place.params["train"]["epochs"] = 15
    for section, values in recipe.items():
        place.params[section] |= values
    place.params["competition"]["target"] = target
    files = competition_files(labels=("0", "1", "2"))
    if target == "multi_label":
        labels = ("bird", "cat", "bird dog")
        files["train.csv"] = csv_bytes(("id", "label"), [(f"{row:03d}", labels[row % 3]) for row in range(30)])
        files["sample_submission.csv"] = csv_bytes(("id", "label"), [(f"9{row:02d}", "bird dog") for row in range(9)])
        place.params["competition"]["delimiter"] = " "
    split(place, files)
    place.params["pseudo"]["confidence"] = 0.35
    learnt(place)
    assert read_json(place.path("data/models/0.json"))["num_pseudo"] > 0
    assert accuracy(place) > 0.8


@pytest.mark.parametrize("key", ["class_weights", "sampling"])
def test_what_counts_classes_is_refused_before_anything_trains(place, key):
    place.params["folds"]["0"] = {key: "sqrt"}
    with pytest.raises(ValueError, match=f"train.{key} is sqrt and pseudo.confidence is not 0: .*set one of the two"):
        taught(place, 0.9)


def test_a_file_of_other_images_or_damaged_names_the_stage_that_makes_it(place):
    path = place.path("data/pseudo/0.npz")

    def refused(match):
        with pytest.raises(ValueError, match=match):
            place.run("train", key="0")

    write_arrays(path, {"images": np.zeros((2, 16, 16, 3), np.uint8), "targets": np.ones((2, 3), np.float32)})
    refused(r"holds uint8 \(2, 16, 16, 3\) and \(2, 3\); must be uint8 .*; run `dvc repro -f -s teach@0`")
    path.write_bytes(path.read_bytes()[:100])
    refused(r"pseudo/0.npz is damaged .*run `dvc repro -f -s teach@0`")


# -- interrupted


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["teach", "train"])
def test_a_killed_teacher_or_student_goes_on_with_the_same_bytes(place, monkeypatch, capsys, killed):
    monkeypatch.setattr(resume, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(resume, "TIMES_COST", 0.0)
    place.params["pseudo"]["confidence"] = 0.01

    def outputs():
        return {name: place.path(f"data/{name}").read_bytes() for name in OUTPUTS}

    learnt(place)
    whole = outputs()
    cut_short(place, monkeypatch, after=5 if killed == "teach" else 17, stages=("teach", "train"))
    capsys.readouterr()
    torch.manual_seed(99)
    for stage in ("teach", "train") if killed == "teach" else ("train",):
        place.run(stage, key="0")
    assert capsys.readouterr().out.count("fold 0: resumed at step 5 of ") == 1
    assert outputs() == whole
    assert not list(place.path("data/scratch").glob("*"))


# -- the leak


@pytest.mark.slow
def test_labels_of_held_out_images_do_not_come_back_through_copies_among_the_test_images(tmp_path):
    """Noise with random labels, and the test images are the training images again: nothing can be learnt but by heart.

    By the fold's own teacher, held-out accuracy stays at chance. By the other fold's model, which has learnt the held-out
    labels by heart, it rises: this test would see the leak.
    """
    draws = np.random.default_rng(5)
    images = [encoded(draws.integers(0, 256, (12, 12, 3), dtype=np.uint8)) for _ in range(80)]
    rows = [(f"{number:03d}", CLASSES[draws.integers(4)]) for number in range(80)]
    files = {f"train/{number:03d}.png": image for number, image in enumerate(images)}
    files |= {f"test/9{number:02d}.png": image for number, image in enumerate(images)}
    files["train.csv"] = csv_bytes(("id", "label"), rows)
    files["sample_submission.csv"] = csv_bytes(("id", "label"), [(f"9{number:02d}", "a") for number in range(80)])
    place = Workplace(tmp_path)
    place.params["augment"]["crop_padding"] = 0
    place.params["train"] |= {"epochs": 30, "label_smoothing": 0.0, "valid_every": 30}
    split(place, files)

    place.run("train", key="1")
    place.run("infer", key="1")
    leaked = read_arrays(place.path("data/test/1.npz"), ("probs",))["probs"]
    place.params["pseudo"]["confidence"] = 0.5
    learnt(place)
    own, joined = accuracy(place), read_json(place.path("data/models/0.json"))["num_pseudo"]

    sure = teach.sureness(leaked, several=False) >= 0.5
    store = np.load(place.path("data/images/test.npy"))
    write_arrays(place.path("data/pseudo/0.npz"), {"images": store[sure], "targets": leaked[sure]})
    place.run("train", key="0")
    print(
        f"held-out accuracy: own teacher {own:.3f} ({joined} images), another fold's {accuracy(place):.3f} ({sure.sum()})"
    )
    assert joined > 40, "copies of held-out images are among them"
    assert own < 0.5, "chance is a quarter"
    assert accuracy(place) > 0.85
