"""Neighbours by frozen features: planted copies and drift are found, clean sets are silent, blocks change nothing."""

import copy
import csv
import io
import json
import shutil

import numpy as np
import pytest
from conftest import Workplace, csv_bytes, encoded, image_of, write_zip
from PIL import Image, ImageDraw

from pipeline.audit import neighbours as room
from pipeline.audit.alignment import likenesses
from pipeline.audit.drift import class_weights, measure
from pipeline.audit.label_neighbours import Contradicted, Contradictions, contradictions, looks, majority, voters
from pipeline.audit.neighbour_findings import (
    by_class_mix,
    drift_findings,
    drifts,
    joined_groups,
    label_findings,
    pair_findings,
)
from pipeline.audit.neighbours import Nearest, find_copies, merged, nearest, space_of
from pipeline.competition.schema import Target
from pipeline.models.features import write_features

SIDE, COUNT = 48, 30


def picture(number, side=SIDE):
    """(side, side, 3) uint8: shapes of several sizes, unlike those of any other number."""
    draws = np.random.default_rng([7, number])
    found = np.zeros((side, side, 3), dtype=np.float32)
    for cells in (3, 6, 12, 24):
        grid = draws.normal(size=(cells, cells, 3)).astype(np.float32)
        for channel in range(3):
            image = Image.fromarray(grid[:, :, channel]).resize((side, side), Image.Resampling.BICUBIC)
            found[:, :, channel] += 2 * np.asarray(image) / cells
    return np.clip(118 + 60 * found, 0, 255).astype(np.uint8)


def cropped(image):
    width, height = image.size
    return image.crop((width // 20, 0, width - width // 10, height - height // 8)).resize(image.size)


def written_over(image):
    """White words over a third of the width, somewhere."""
    words = Image.new("L", (26, 10), 0)
    ImageDraw.Draw(words).text((1, -1), "COPY", fill=255)
    words, image = words.resize((16, 5)), image.copy()
    image.paste((255, 255, 255), (16, 2 + int(np.asarray(image, dtype=int).sum()) % 40), words)
    return image


CHANGES = {
    "JPEG of quality 60": lambda image: Image.open(io.BytesIO(encoded(np.asarray(image), "JPEG", quality=60))),
    "cropped": cropped,
    "turned by 6 degrees": lambda image: image.rotate(6, Image.Resampling.BICUBIC),
    "brighter": lambda image: image.point(lambda level: min(255, int(level * 1.3))),
    "halved and doubled": lambda image: image.resize((SIDE // 2, SIDE // 2)).resize((SIDE, SIDE)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "written over": written_over,
}
PICTURES = np.stack([picture(number) for number in range(COUNT)])


def changed(pixels, name):
    return np.asarray(CHANGES[name](Image.fromarray(pixels)).convert("RGB"))


def searched(store, features, known=None):
    (units,) = space_of([(features, np.arange(len(features)))])
    near = nearest(units, units, room.STRANGER, start=0)
    return find_copies(lambda numbers: store[numbers], near, np.full(len(store), -1) if known is None else known)


def planted(name, copies=8):
    """(store, features) of strangers and, behind them, changed copies of the first; features that are near their own."""
    draws = np.random.default_rng(0)
    store = np.concatenate([PICTURES, np.stack([changed(PICTURES[number], name) for number in range(copies)])])
    features = draws.normal(size=(COUNT, 64)) + 3
    features = np.concatenate([features, features[:copies] + 0.7 * draws.normal(size=(copies, 64))])
    return store, features.astype(np.float32)


# -- copies


@pytest.mark.parametrize("name", CHANGES)
def test_changed_copies_are_found_and_nothing_else(name):
    found = searched(*planted(name))
    pairs = set(map(tuple, found.pairs.tolist()))
    truth = {(number, COUNT + number) for number in range(8)}
    assert pairs <= truth and len(pairs) >= 7
    assert room.LEAST_LIKENESS <= found.limit <= room.MOST_LIKENESS


def test_the_order_of_images_changes_nothing():
    store, features = planted("cropped")
    order = np.random.default_rng(3).permutation(len(store))
    place = np.argsort(order)
    first, second = searched(store, features), searched(store[order], features[order])
    moved = {tuple(sorted(place[list(pair)].tolist())) for pair in first.pairs.tolist()}
    assert moved == set(map(tuple, second.pairs.tolist())) and len(moved) >= 7


@pytest.mark.parametrize("seed", range(3))
def test_strangers_are_silent(seed):
    """Of one scene with many likenesses, too: all share what stands in the middle."""
    draws = np.random.default_rng(seed)
    store = np.stack([picture(1000 * (seed + 1) + number) for number in range(COUNT)])
    if seed % 2:
        store[:, 12:36, 12:36] = picture(5)[12:36, 12:36]
    found = searched(store, draws.normal(size=(COUNT, 32)).astype(np.float32))
    assert not len(found.pairs) and found.num_compared > COUNT


def test_images_that_show_nothing_are_no_copies_and_give_no_nan():
    store = np.concatenate([PICTURES[:20], np.full((4, SIDE, SIDE, 3), 7, np.uint8)])
    features = np.concatenate([np.random.default_rng(0).normal(size=(20, 16)), np.zeros((4, 16))]).astype(np.float32)
    found = searched(store, features)
    assert not len(found.pairs) and np.isfinite(found.limit)
    (units,) = space_of([(np.ones((5, 3), np.float32), np.arange(5))])
    assert not units.any(), "all alike: no direction tells them apart"


def test_a_picture_is_wholly_like_itself_and_its_mirror_image():
    store = np.concatenate([PICTURES[:3], PICTURES[:3, :, ::-1]])
    alike = likenesses(lambda numbers: store[numbers], np.array([[0, 0], [1, 4], [2, 5], [0, 1]]))
    assert (alike[:3] > 0.98).all() and alike[3] < 0.3


def test_known_copies_are_not_told_again():
    store, features = planted("brighter")
    known = np.full(len(store), -1)
    known[[0, COUNT]] = 5
    pairs = set(map(tuple, searched(store, features, known).pairs.tolist()))
    assert (0, COUNT) not in pairs and (1, COUNT + 1) in pairs


# -- nearest


def test_neighbours_are_those_of_the_whole_matrix_whatever_the_blocks(monkeypatch):
    draws = np.random.default_rng(1)
    train, test = (draws.normal(size=(count, 12)).astype(np.float32) for count in (97, 31))
    units = space_of([(train, np.arange(97)), (test, np.arange(31))])
    every = np.concatenate(units)
    cosines = np.round(every @ units[0].T, room.DECIMALS)
    cosines[np.arange(97), np.arange(97)] = -2
    expected = np.argsort(-cosines, axis=1, kind="stable")[:, :5]
    results = []
    for queries, base in ((1024, 16384), (10, 7), (1, 1)):
        monkeypatch.setattr(room, "QUERIES", queries)
        monkeypatch.setattr(room, "BASE", base)
        near = nearest(every, units[0], 5, start=0)
        among_all = merged(near, nearest(every, units[1], 5, start=97), 97)
        assert np.array_equal(near.rows, expected)
        results.append(among_all.rows)
    whole = np.round(every @ every.T, room.DECIMALS)
    np.fill_diagonal(whole, -2)
    assert all(np.array_equal(rows, np.argsort(-whole, axis=1, kind="stable")[:, :5]) for rows in results)


def test_equals_stand_in_order_of_rows_and_what_is_not_there_is_minus_one():
    base = np.repeat(np.eye(2, dtype=np.float32), [3, 1], axis=0)
    near = nearest(np.concatenate([base, base[:1]]), base, 5, start=0)
    assert near.rows[4].tolist() == [0, 1, 2, 3, -1] and near.rows[0].tolist() == [1, 2, 3, -1, -1]
    assert not len(nearest(np.zeros((0, 2), np.float32), base, 3, start=4).rows)
    assert (nearest(base, np.zeros((0, 2), np.float32), 3, start=4).rows == -1).all()


# -- labels


def test_the_majority_is_of_other_groups():
    near = Nearest(np.array([[1, 2, 3, -1], [0, 3, -1, -1]]), np.zeros((2, 4), np.float32))
    labels, groups = np.array([0, 2, 2, 1]), np.array([9, 9, 9, -1])
    voting = voters(near, groups[:2], groups)
    assert voting[:, :2].tolist() == [[3, -1], [3, -1]]
    assert [each.tolist() for each in majority(labels, voting)] == [[1, 1], [1, 1]]
    alone = voters(near, np.array([-1, -1]), groups)
    assert [each.tolist() for each in majority(labels, alone)] == [[2, 0], [2, 1]], "of equals the lowest"
    assert majority(labels, np.full((1, 10), -1))[1].tolist() == [0]
    assert looks(np.array([0, 0, 0, 0, 1]), np.array([[0, 1, 4, -1]])).tolist() == [1], "the only one of its class"


def neighbourhoods(count=300, classes=3, seed=0):
    """(truth, voters) of clouds of points far from each other, a class each."""
    draws = np.random.default_rng(seed)
    truth = draws.integers(0, classes, count)
    features = (8 * np.eye(classes, 16)[truth] + draws.normal(size=(count, 16))).astype(np.float32)
    (units,) = space_of([(features, np.arange(count))])
    return truth, voters(nearest(units, units, 15, start=0), np.full(count, -1), np.full(count, -1))


SINGLE = Target(kind="single_label", columns=("label",), classes=("ant", "bee", "cat"))
MULTI = Target(kind="multi_label", columns=("label",), classes=("ant", "bee", "cat"))


@pytest.mark.parametrize("target", [SINGLE, MULTI], ids=["exclusive", "several"])
def test_wrong_labels_are_found_and_right_ones_are_not(target):
    right, voting = neighbourhoods()
    wrong = np.sort(np.random.default_rng(1).choice(len(right), 12, replace=False))
    given = right.copy()
    given[wrong] = (right[wrong] + 1) % 3
    of = (lambda labels: labels) if target.exclusive else (lambda labels: np.eye(3, dtype=np.float32)[labels])
    assert contradictions(of(right), voting, target).found == []
    found = contradictions(of(given), voting, target)
    rows = {each.row for each in found.found}
    assert rows <= set(wrong.tolist()) and len(rows) >= 6
    assert all(target.classes[given[each.row]] in each.label or each.label.startswith("not ") for each in found.found)
    assert [finding.severity for finding in label_findings(found, list(map(str, range(300))))] in (["warn"], ["note"])


def test_few_contradictions_are_a_note_many_are_a_warning():
    one = Contradicted(3, "ant", "bee", 9)
    notes = (Contradictions([one] * 2, 10), Contradictions([one] * 40, 2000))
    assert [label_findings(each, list("abcd"))[0].severity for each in notes] == ["note", "note"]
    (found,) = label_findings(Contradictions([one] * 40, 500), list("abcd"))
    assert (found.severity, found.count, found.first[0]) == ("warn", 40, "d (ant, rather bee)")
    assert label_findings(Contradictions([], 0), []) == []


def test_one_class_contradicts_nothing():
    _, voting = neighbourhoods(40)
    one = Target(kind="single_label", columns=("label",), classes=("ant",))
    assert contradictions(np.zeros(40, dtype=np.int64), voting, one).found == []


# -- drift


def sides(seed, num_train, num_test, shift=0.0, width=64):
    draws = np.random.default_rng(seed)
    scales = np.linspace(3, 0.3, width)
    train, test = (draws.normal(size=(count, width)) * scales for count in (num_train, num_test))
    test[:, 0] += shift * scales[0]
    return train.astype(np.float32), test.astype(np.float32), np.arange(num_train + num_test)


def test_one_kind_of_images_does_not_drift():
    found = [measure(*sides(seed, *sizes)) for seed in range(5) for sizes in ((25, 25), (60, 40))]
    assert not any(map(drifts, found))
    assert abs(np.mean([each.auc for each in found]) - 0.5) < 0.05
    assert np.std([each.deviations for each in found]) < 1.8


def test_a_shift_is_found_and_said():
    found = measure(*sides(0, 100, 60, shift=2.5))
    assert drifts(found) and found.auc > 0.9 and found.weighted is None
    (finding,) = drift_findings(found, ["a", "b", "c", "d"])
    assert finding.kind == "test images unlike training images" and finding.first == ("a", "b", "c")
    assert drift_findings(None, []) == []


def test_another_mix_of_classes_is_told_from_other_images():
    draws = np.random.default_rng(2)
    classes = np.repeat([0, 1, 0, 1], [200, 60, 30, 110])
    looks = np.where(draws.random(400) < 0.15, 1 - classes, classes)  # who tells classes errs, too
    features = draws.normal(size=(400, 30)).astype(np.float32)
    features[:, 0] += 3 * classes
    weights = class_weights(classes[:260], looks[:260], looks[260:])
    assert weights[classes[:260] == 1].mean() == pytest.approx(110 / 140 / (60 / 260), rel=0.2)
    mixed = measure(features[:260], features[260:], np.arange(400), weights)
    assert drifts(mixed) and by_class_mix(mixed)
    assert drift_findings(mixed, ["x"])[0].kind == "test images of other classes' shares"
    features[260:, 1] += 3
    shifted = measure(features[:260], features[260:], np.arange(400), weights)
    assert drifts(shifted) and not by_class_mix(shifted)


def test_copies_on_both_sides_give_nothing_away():
    """40 pictures, 8 near-copies of each, on either side at random: no drift, whoever knows each picture."""
    draws = np.random.default_rng(4)
    groups = np.repeat(np.arange(40), 8)
    features = (np.repeat(draws.normal(size=(40, 20)), 8, axis=0) + 0.01 * draws.normal(size=(320, 20))).astype("f4")
    side = np.repeat(draws.random(40) < 0.5, 8)  # whole groups: learnt by heart they would be told apart
    order = np.argsort(side, kind="stable")
    found = measure(features[~side], features[side], groups[order])
    assert not drifts(found)


def test_few_images_say_nothing():
    assert measure(*sides(0, 100, 1)) is None and measure(*sides(0, 9, 100)) is None
    assert measure(*sides(0, 100, 0)) is None
    train, test, _ = sides(0, 30, 30)
    assert measure(train, test, np.repeat([0, 1], 30)) is None, "two groups"
    constant = measure(np.ones((20, 4), np.float32), np.ones((20, 4), np.float32), np.arange(40))
    assert constant.auc == pytest.approx(0.5) and not drifts(constant)


# -- what is said


def test_pairs_are_told_by_what_they_spoil():
    found = pair_findings(
        [(0, 1), (0, 2), (1, 3)], ids=list("abcx"), num_train=3, folds=["0", "0", "1"], labels=["cat", "cat", "dog"],
        groups_file="g.csv", group_column="own_group",
    )  # fmt: skip
    assert [(each.kind, each.count, each.first) for each in found] == [
        ("near-copies in other folds, by features", 1, ("a = c",)),
        ("near-copies with other labels, by features", 1, ("a (cat) / c (dog)",)),
        ("test images also in train, by features", 1, ("x = b",)),
    ]
    assert "g.csv" in found[0].remedy and "split.group: own_group" in found[0].remedy


def test_groups_are_joined_with_pairs():
    groups = np.array([-1, 3, -1, 3, 8, -1])
    joined = joined_groups(groups, np.array([[0, 1], [4, 5]]))
    assert joined[0] == joined[1] == joined[3] and joined[4] == joined[5] and len(set(joined.tolist())) == 3


# -- the stage


def competition(several=False):
    """60 pictures in train, 12 in test; 50 is 3 cropped, 51 is 4 turned and labelled otherwise; t9 is 5 turned."""
    pictures = [picture(number) for number in range(60)]
    pictures[50], pictures[51] = changed(pictures[3], "cropped"), changed(pictures[4], "turned by 6 degrees")
    tests = [picture(200 + number) for number in range(12)]
    tests[9] = changed(pictures[5], "turned by 6 degrees")
    names = ["red", "blue"]
    labels = [names[number % 2] for number in range(60)]
    labels[50], labels[51] = labels[3], names[(4 + 1) % 2]
    cells = [f"{label} big" if several and number % 3 else label for number, label in enumerate(labels)]
    files = {f"train/{number:02d}.png": encoded(pixels) for number, pixels in enumerate(pictures)}
    files |= {f"test/t{number}.png": encoded(pixels) for number, pixels in enumerate(tests)}
    files["train.csv"] = csv_bytes(("id", "label"), [(f"{number:02d}", cell) for number, cell in enumerate(cells)])
    files["sample_submission.csv"] = csv_bytes(("id", "label"), [(f"t{number}", "red") for number in range(12)])
    return files


def with_features(place):
    """Features as a network's, of pictures: near where the pictures were made of one, else at random."""
    draws = np.random.default_rng(0)
    train, test = draws.normal(size=(60, 40)), draws.normal(size=(12, 40))
    for number, source in ((50, 3), (51, 4)):
        train[number] = train[source] + 0.3 * draws.normal(size=40)
    test[9] = train[5] + 0.3 * draws.normal(size=40)
    for part, features in (("train", train), ("test", test)):
        out = place.path(f"data/features/{part}.npy")
        np.save(out, features.astype(np.float32))
        write_features(out, out.with_suffix(".json"), *features.shape, "0")
    return place


def looked(root, several=False):
    place = Workplace(root)
    write_zip(place.raw, competition(several))
    place.params["images"]["side"] = SIDE
    place.params["competition"]["delimiter"] = " " if several else "auto"
    place.run_data()
    place.run("split")
    with_features(place).run("neighbours")
    return place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return looked(tmp_path_factory.mktemp("looked"))


def table(path):
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def found_by(place):
    said = json.loads(place.path("data/report/neighbours.json").read_text())
    return said, {finding["kind"]: (finding["count"], finding["first"]) for finding in said["findings"]}


def test_the_stage_finds_what_was_planted(place):
    said, findings = found_by(place)
    folds = {row["image_id"]: row["fold"] for row in table(place.path("data/folds.csv"))}
    apart = [pair for pair in ("03 = 50", "04 = 51") if folds[pair[:2]] != folds[pair[-2:]]]
    assert findings.get("near-copies in other folds, by features", (0, [])) == (len(apart), apart)
    assert findings["near-copies with other labels, by features"] == (1, ["04 (red) / 51 (blue)"])
    assert findings["test images also in train, by features"] == (1, ["t9 = 05"])
    counts = [said["near_copies"][kind] for kind in ("across_folds", "in_one_fold", "train_and_test", "in_test")]
    assert counts == [len(apart), 2 - len(apart), 1, 0] and 0.3 < said["drift"]["auc"] < 0.7
    assert b"04: red (fold" in place.path("data/report/neighbours.html").read_bytes()


def test_nearest_has_three_training_images_of_every_image(place):
    rows = table(place.path("data/report/nearest.csv"))
    assert len(rows) == 3 * 72 and all(row["image_id"] != row["nearest_id"] for row in rows)
    first = {row["image_id"]: row for row in rows if row["rank"] == "1"}
    assert first["t9"] | {"cosine": ""} == {
        "part": "test", "image_id": "t9", "rank": "1", "nearest_id": "05", "label": "blue",
        "fold": first["t9"]["fold"], "cosine": "",
    }  # fmt: skip
    assert (first["50"]["part"], first["50"]["nearest_id"]) == ("train", "03")
    for image_id in first:
        cosines = [float(row["cosine"]) for row in rows if row["image_id"] == image_id]
        assert cosines == sorted(cosines, reverse=True)


def test_the_same_files_come_out_again(place):
    names = ("neighbours.json", "nearest.csv", "near_copies.csv", "neighbours.html")
    before = [place.path(f"data/report/{name}").read_bytes() for name in names]
    place.run("neighbours")
    assert [place.path(f"data/report/{name}").read_bytes() for name in names] == before


def test_the_remedy_keeps_the_pairs_in_one_fold_and_trains_on_the_same_labels(place, tmp_path):
    shutil.copytree(place.root, tmp_path / "copy")
    again = Workplace(tmp_path / "copy")
    again.params = copy.deepcopy(place.params)
    mine = again.path("mine.csv")
    shutil.copy(again.path("data/report/near_copies.csv"), mine)
    again.params["competition"]["corrections"] = str(mine)
    again.params["split"]["group"] = "own_group"
    again.run("ingest")
    for seed in range(4):
        again.params["split"]["seed"] = seed
        again.run("split")
        folds = {row["image_id"]: row["fold"] for row in table(again.path("data/folds.csv"))}
        assert folds["03"] == folds["50"] and folds["04"] == folds["51"]
    train = "data/competition/train.csv"
    assert again.path(train).read_bytes() == place.path(train).read_bytes()
    assert table(again.path("data/competition/corrections.csv")) == []
    again.run("neighbours")
    assert "near-copies in other folds, by features" not in found_by(again)[1]


def test_several_labels(tmp_path):
    found = found_by(looked(tmp_path, several=True))
    assert found[0]["near_copies"]["train_and_test"] == 1 and found[0]["drift"]["auc_with_classes_mixed_alike"] is None


def test_without_features_it_says_nothing(workplace, capsys):
    workplace.run_data()
    workplace.run("split")
    capsys.readouterr()
    workplace.run("neighbours")
    assert capsys.readouterr().out == ""
    said = json.loads(workplace.path("data/report/neighbours.json").read_text())
    assert said == {"features": "no frozen features", "findings": []}
    assert table(workplace.path("data/report/nearest.csv")) == []


def test_one_test_image_and_one_that_cannot_be_read(tmp_path, capsys):
    place = Workplace(tmp_path)
    files = {f"train/{number}.png": encoded(image_of(number % 2, number, size=20)) for number in range(20)}
    files |= {"test/t0.png": encoded(image_of(1, 99, size=20)), "train/7.png": b"broken"}
    files["train.csv"] = csv_bytes(("id", "label"), [(number, "ab"[number % 2]) for number in range(20)])
    files["sample_submission.csv"] = csv_bytes(("id", "label"), [("t0", "a")])
    write_zip(place.raw, files)
    place.params["competition"]["allow"] = ["unreadable training image"]
    place.run_data()
    place.run("split")
    for part, count in (("train", 20), ("test", 1)):
        out = place.path(f"data/features/{part}.npy")
        np.save(out, np.random.default_rng(count).normal(size=(count, 8)).astype(np.float32))
        write_features(out, out.with_suffix(".json"), count, 8, "0")
    capsys.readouterr()
    place.run("neighbours")
    assert "warning" not in capsys.readouterr().out
    rows = table(place.path("data/report/nearest.csv"))
    assert len(rows) == 3 * 20 and "7" not in {row["image_id"] for row in rows} | {row["nearest_id"] for row in rows}
    assert json.loads(place.path("data/report/neighbours.json").read_text())["drift"] is None
