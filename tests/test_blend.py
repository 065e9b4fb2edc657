"""Members of a blend: mixed as said, weighed without their own truth, refused where they do not fit, named where they leak."""

import json
import shutil
import subprocess
import zipfile

import numpy as np
import pytest
from conftest import Workplace, save_weights
from project import Project

from pipeline import __main__ as command
from pipeline.base.files import read_arrays, read_json, write_arrays
from pipeline.base.yamls import read_yaml
from pipeline.commands import blend as blend_command
from pipeline.competition.schema import Schema, SubmissionFormat, Target
from pipeline.scoring.blend import (
    ALONE,
    MEAN,
    OWN,
    RANK,
    WEIGHTS,
    Blend,
    choose_blend,
    fold_scores,
    gain,
    greedy_weights,
    mixed,
    ranked,
    read_blend,
    write_blend,
)
from pipeline.scoring.leak import compared, doubt, leak

CLASSES = ("a", "b", "c", "d")
FORMATS = {"single_label": "label", "binary": "score", "multi_label": "columns", "ordinal": "label"}


def schema_of(kind="single_label", metric="accuracy"):
    classes = CLASSES[:2] if kind == "binary" else CLASSES
    target = Target(kind=kind, columns=("label",), classes=classes, positive="b" if kind == "binary" else "")
    form = "columns" if metric == "log_loss" and kind != "binary" else FORMATS[kind]
    values = classes if form == "columns" else ("label",)
    submission = SubmissionFormat(
        kind=form, id_column="id", columns=("id", *values), value_columns=values,
        classes=classes if form == "columns" else (),
    )  # fmt: skip
    return Schema(target=target, submission=submission, metric=metric)


def truth_of(kind, rng, num_images):
    if kind == "multi_label":
        return (rng.random((num_images, len(CLASSES))) < 0.3).astype(np.float32)
    return rng.integers(0, 2 if kind == "binary" else len(CLASSES), num_images)


def predicted(truth, kind, rng, *, strength, noise=1.0):
    """(N, C) float32 by a model that tells the truth from noise as well as `strength`."""
    if kind == "multi_label":
        logits = strength * (2 * truth - 1) + noise * rng.normal(size=truth.shape)
        return (1 / (1 + np.exp(-logits))).astype(np.float32)
    num_classes = 2 if kind == "binary" else len(CLASSES)
    logits = strength * np.eye(num_classes)[truth] + noise * rng.normal(size=(len(truth), num_classes))
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)


def folds_of(num_images, num_folds=5):
    return np.array([str(row % num_folds) for row in range(num_images)])


# -- mixing


def test_a_blend_of_one_is_that_one_to_the_last_bit():
    rng = np.random.default_rng(0)
    probs = {name: rng.random((50, 4)).astype(np.float32) / 3 for name in (OWN, "a", "b")}
    for name in probs:
        weights = {other: float(other == name) for other in probs}
        got = mixed(Blend(how=WEIGHTS, weights=weights), probs, exclusive=True)
        np.testing.assert_array_equal(got, probs[name].astype(np.float64))


def test_mean_and_weights_mix_row_by_row():
    rng = np.random.default_rng(1)
    probs = {name: rng.random((50, 4)) for name in (OWN, "a")}
    blend = Blend(how=WEIGHTS, weights={OWN: 0.25, "a": 0.75})
    got = mixed(blend, probs, exclusive=False)
    np.testing.assert_allclose(got, 0.25 * probs[OWN] + 0.75 * probs["a"])
    part = {name: found[7:9] for name, found in probs.items()}
    np.testing.assert_array_equal(mixed(blend, part, exclusive=False), got[7:9])


def test_ranks_are_scipys_and_do_not_change_with_a_members_scale():
    from scipy.stats import rankdata

    rng = np.random.default_rng(2)
    probs = np.round(rng.random((60, 3)), 1)  # many ties
    np.testing.assert_allclose(ranked(probs), (rankdata(probs, axis=0) - 0.5) / 60)
    blend = Blend(how=RANK, weights={OWN: 0.5, "a": 0.5})
    other = rng.random((60, 3))
    before = mixed(blend, {OWN: probs, "a": other}, exclusive=False)
    np.testing.assert_array_equal(mixed(blend, {OWN: probs**3, "a": other}, exclusive=False), before)


@pytest.mark.parametrize("weights", [{"a": 1.0}, {OWN: 0.5}, {OWN: 1.5, "a": -0.5}, {}])
def test_weights_are_0_or_more_sum_to_1_and_have_this_run_first(weights):
    with pytest.raises(ValueError, match="a blend by 'mean' with the weights"):
        Blend(how=MEAN, weights=weights)


# -- choosing


def test_without_members_nothing_is_touched():
    oof = np.full((10, 4), 0.25, dtype=np.float32)
    chosen = choose_blend(np.arange(10) % 4, {OWN: oof}, folds_of(10), schema_of(), "auto")
    assert chosen.blend == Blend(how=ALONE, weights={OWN: 1.0})
    assert chosen.oof is oof


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "macro_f1", "map@2"])
def test_a_member_that_guesses_gets_no_weight_and_the_mean_is_left(metric):
    rng = np.random.default_rng(3)
    truth = truth_of("single_label", rng, 1500)
    probs = {name: predicted(truth, "single_label", rng, strength=3) for name in (OWN, "good")}
    probs["guess"] = predicted(truth, "single_label", rng, strength=0, noise=4)
    chosen = choose_blend(truth, probs, folds_of(1500), schema_of(metric=metric), "auto")
    assert chosen.blend.how == WEIGHTS
    assert chosen.blend.weights["guess"] < 0.06
    found = chosen.account["considered"][WEIGHTS]
    assert found["gain_over_mean"] > found["gain_over_mean_standard_error"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_of_equally_good_members_the_plain_mean_is_kept_when_the_gain_is_within_its_error(metric):
    """How often by luck: the gain of weights over the mean is about 0, so few of 6 exceed one standard error."""
    kept = 0
    for seed in range(6):
        rng = np.random.default_rng([4, seed])
        truth = truth_of("single_label", rng, 400)
        probs = {name: predicted(truth, "single_label", rng, strength=1.5) for name in (OWN, "x", "y")}
        chosen = choose_blend(truth, probs, folds_of(400), schema_of(metric=metric), "auto")
        found = chosen.account["considered"]
        ahead = [
            name
            for name in (WEIGHTS, RANK)
            if found[name]["gain_over_mean"] > found[name]["gain_over_mean_standard_error"]
        ]
        assert (chosen.blend.how == MEAN) == (not ahead)
        kept += chosen.blend.how == MEAN
        if chosen.blend.how == MEAN:
            assert chosen.blend.weights == dict.fromkeys(probs, 1 / 3)
    assert kept >= 3


def test_members_that_are_all_the_same_get_equal_weights():
    rng = np.random.default_rng(5)
    truth = truth_of("single_label", rng, 200)
    probs = predicted(truth, "single_label", rng, strength=1)
    np.testing.assert_array_equal(greedy_weights(truth, [probs] * 4, schema_of()), [0.25] * 4)


def test_a_fold_is_mixed_by_weights_that_its_own_truth_had_no_part_in():
    rng = np.random.default_rng(6)
    truth, held_by = truth_of("single_label", rng, 300), folds_of(300, 3)
    probs = {name: predicted(truth, "single_label", rng, strength=s) for name, s in ((OWN, 1), ("x", 2), ("y", 0.3))}
    first = choose_blend(truth, probs, held_by, schema_of(metric="log_loss"), "weights")
    own = held_by == "1"
    other = truth.copy()
    other[own] = (truth[own] + 1) % 4
    second = choose_blend(other, probs, held_by, schema_of(metric="log_loss"), "weights")
    np.testing.assert_array_equal(first.oof[own], second.oof[own])
    assert (first.oof[~own] != second.oof[~own]).any(), "the other folds' weights do depend on it"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("how", ["mean", "rank", "weights"])
def test_every_kind_of_target_is_blended_to_probabilities_that_are_better(kind, how):
    rng = np.random.default_rng(7)
    metric = {"ordinal": "quadratic_weighted_kappa", "binary": "auc", "multi_label": "macro_f1"}.get(kind, "accuracy")
    truth, held_by = truth_of(kind, rng, 900), folds_of(900)
    probs = {name: predicted(truth, kind, rng, strength=1) for name in (OWN, "x", "y")}
    schema = schema_of(kind, metric)
    chosen = choose_blend(truth, probs, held_by, schema, how)
    assert chosen.blend.how == how
    assert ((chosen.oof >= 0) & (chosen.oof <= 1)).all()
    if schema.target.exclusive:
        np.testing.assert_allclose(chosen.oof.sum(axis=1), 1, atol=1e-6)
    for found in chosen.account["members"].values():
        assert found["blend_gains"] > found["blend_gains_standard_error"] > 0


def test_a_gain_is_above_0_where_it_is_better_in_either_direction():
    low, high = np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.3, 0.6])
    assert gain(high, low, schema_of(metric="accuracy"))[0] == pytest.approx(0.2)
    assert gain(low, high, schema_of(metric="log_loss"))[0] == pytest.approx(0.2)
    assert gain(high, low, schema_of(metric="accuracy"))[1] == pytest.approx(np.std([0.2, 0.1, 0.3], ddof=1) / 3**0.5)


def test_a_blend_is_read_as_it_was_written_and_of_other_members_refused(tmp_path):
    rng = np.random.default_rng(8)
    truth = truth_of("single_label", rng, 100)
    probs = {name: predicted(truth, "single_label", rng, strength=1) for name in (OWN, "x")}
    chosen = choose_blend(truth, probs, folds_of(100), schema_of(), "weights")
    doubts = {"x": compared(doubt(probs[OWN], exclusive=True), doubt(probs["x"], exclusive=True))}
    write_blend(tmp_path / "blend.json", chosen, doubts)
    assert read_blend(tmp_path / "blend.json", ["x"]) == (chosen.blend, doubts)
    with pytest.raises(ValueError, match=r"must be of \['this run', 'x', 'y'\].*run `dvc repro -f -s evaluate`"):
        read_blend(tmp_path / "blend.json", ["x", "y"])


# -- leaks


def judged(kind, seed, *, own, member, shift=1.0, leaky=0.0, num_train=1200, num_test=600):
    """The verdict on a member of this strength beside a run of strength `own`.

    shift: by how much test images are noisier, for all; leaky: what the member gains in strength on images it has seen.
    """
    rng = np.random.default_rng([9, seed])
    exclusive = kind != "multi_label"
    train, test = truth_of(kind, rng, num_train), truth_of(kind, rng, num_test)
    doubts = {}
    for name, truth, noise in (("oof", train, 1.0), ("test", test, shift)):
        pair = [
            doubt(predicted(truth, kind, rng, strength=strength / noise, noise=1.0), exclusive=exclusive)
            for strength in (own, member + (leaky if name == "oof" else 0.0))
        ]
        doubts[name] = compared(*pair)
    return leak("m", doubts["oof"], doubts["test"])


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("own", "member"), [(2, 2), (1, 3), (1, 6), (6, 1), (3, 6), (0.2, 4), (8, 5)])
@pytest.mark.parametrize("shift", [1.0, 1.15, 1.3])
def test_honest_members_of_any_quality_are_not_named_even_if_test_images_are_harder(kind, own, member, shift):
    verdicts = [judged(kind, seed, own=own, member=member, shift=shift) for seed in range(8)]
    assert not any(verdicts), next(filter(None, verdicts))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("own", "member"), [(2, 2), (6, 3), (8, 5)])
@pytest.mark.parametrize("shift", [1.0, 1.15])
def test_a_member_that_has_seen_the_held_out_images_is_named(kind, own, member, shift):
    for seed in range(5):
        verdict = judged(kind, seed, own=own, member=member, shift=shift, leaky=3.0)
        assert verdict is not None
        assert "member m seems to have seen the images that it should have held out" in verdict


def test_the_verdict_is_about_each_member_alone_so_that_two_leaks_are_both_named():
    assert all(judged("single_label", seed, own=2, member=2, leaky=3.0) for seed in (0, 1))


# -- refused, with nothing written


@pytest.fixture
def place(finished, tmp_path, monkeypatch, undrawn):
    """A finished workplace, another run of the same folds in `other`, and `blend` without DVC."""
    root = tmp_path / "here"
    shutil.copytree(finished.root, root)
    here = Workplace(root)
    here.raw = finished.raw
    here.save()
    for folder in ("oof", "test"):
        shutil.copytree(root / "data" / folder, tmp_path / "other/data" / folder)
    (tmp_path / "other/data/competition").mkdir()
    shutil.copy(root / "data/folds.csv", tmp_path / "other/data")
    shutil.copy(root / "data/competition/target.json", tmp_path / "other/data/competition")
    monkeypatch.setattr(blend_command, "_dvc", lambda *words: None)
    monkeypatch.chdir(root)
    here.other = tmp_path / "other/data"
    return here


def files_under(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def edit(path, change):
    """Change the arrays of an .npz."""
    arrays = read_arrays(path, ("image_ids", "probs"))
    arrays = {name: array.copy() for name, array in arrays.items()}
    write_arrays(path, change(arrays) or arrays)


def swap_between_folds(other):
    """The first image of each fold's file in the other's."""
    first, second = (read_arrays(other / f"oof/{fold}.npz", ("image_ids", "probs")) for fold in "01")
    first["image_ids"][0], second["image_ids"][0] = second["image_ids"][0], first["image_ids"][0]
    for fold, arrays in (("0", first), ("1", second)):
        write_arrays(other / f"oof/{fold}.npz", arrays)


def other_folds_csv(other):
    lines = (other / "folds.csv").read_text().splitlines()
    at = next(row for row, line in enumerate(lines) if line.endswith(",0"))
    lines[at] = lines[at][:-1] + "1"
    (other / "folds.csv").write_text("\n".join(lines) + "\n")


def target(**values):
    def change(other):
        path = other / "competition/target.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def probs_of(folder, fold, change):
    def changed(other):
        edit(other / folder / f"{fold}.npz", change)

    return changed


def nan(arrays):
    arrays["probs"][2, 1] = np.nan


def doubled(arrays):
    arrays["probs"][:3] *= 2


def dropped(arrays):
    return {name: array[:-1] for name, array in arrays.items()}


def renamed(arrays):
    arrays["image_ids"][0] = "zzz"


def all_tests(change):
    def changed(other):
        for fold in "01":
            edit(other / f"test/{fold}.npz", change)

    return changed


REFUSED = {
    "other folds": (swap_between_folds, r"trained on other folds: 2 of 30 images are held out by another fold, first \d+ \(fold [01] there, [01] here\).*train it again"),
    "folds.csv says otherwise": (other_folds_csv, r"trained on other folds: 1 of 30 images .*\(fold 1 there, 0 here\)"),
    "a fold more": (lambda other: shutil.copy(other / "oof/0.npz", other / "oof/2.npz"), r"other folds: .*\['0.npz', '1.npz', '2.npz'\], this run's folds are 0, 1"),
    "a fold less": (lambda other: (other / "test/1.npz").unlink(), r"other folds: .*has the files \['0.npz'\]"),
    "another class": (target(classes=["a cat", "bird", "cow"]), r"3 classes, this competition 3: 1 are not here \['cow'\], 1 are missing there \['dog, large'\]"),
    "classes in another order": (target(classes=["bird", "a cat", "dog, large"]), r"classes in another order: 2 columns differ, first column 0: 'bird' there, 'a cat' here"),
    "several labels": (target(kind="multi_label"), "any number of labels an image, this competition asks for exactly one"),
    "no target": (lambda other: (other / "competition/target.json").unlink(), "target.json is not there"),
    "NaN": (probs_of("oof", "0", nan), r"oof/0.npz: 1 of 15 rows are no probabilities, first \['\d+'\]; probabilities must be numbers from 0 to 1 and sum to 1"),
    "rows that sum to 2": (probs_of("test", "1", doubled), r"test/1.npz: 3 of 9 rows are no probabilities.*write that file again"),
    "an image without prediction": (probs_of("oof", "1", dropped), r"held out 29 images, this run 30: 1 are missing there \['\d+'\], 0 are not here"),
    "another image": (probs_of("oof", "1", renamed), r"1 are missing there \['\d+'\], 1 are not here \['zzz'\]"),
    "fewer test rows": (all_tests(dropped), r"predicts 8 test images, the test table has 9: 1 are missing there \['908'\], 0 are not here"),
    "another test image": (all_tests(renamed), r"1 are missing there \['900'\], 1 are not here \['zzz'\]"),
    "test rows of one fold": (probs_of("test", "1", dropped), "1.npz predicts 8 images, .*0.npz 9"),
    "damaged": (lambda other: (other / "oof/0.npz").write_bytes(b"PK"), r"oof/0.npz is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("change", REFUSED)
def test_what_does_not_fit_is_refused_with_what_was_found_and_nothing_is_written(place, change):
    spoil, message = REFUSED[change]
    spoil(place.other)
    before = files_under(place.root)
    with pytest.raises(ValueError, match=message) as caught:
        command.main(["blend", "add", "a", str(place.other.parent)])
    assert "member a" in str(caught.value)
    assert files_under(place.root) == before
    assert not place.path("data/members").exists()


@pytest.mark.parametrize("name", ["", "this run", "../a", "a.part", "-a"])
def test_a_name_that_is_no_folders_name_is_refused(place, name):
    with pytest.raises((ValueError, SystemExit)):
        command.main(["blend", "add", "--", name, str(place.other.parent)])
    assert not place.path("data/members").exists()


def test_a_source_that_is_none_is_refused(place):
    with pytest.raises(ValueError, match="nowhere is neither a folder with data/oof in it, nor a git revision"):
        command.main(["blend", "add", "a", "nowhere"])


def sharpened(other):
    """The member's out-of-fold predictions as of models that had seen the images: near the truth."""
    for fold in "01":
        arrays = read_arrays(other / f"oof/{fold}.npz", ("image_ids", "probs"))
        best = np.array([int(name) % 3 for name in arrays["image_ids"]])
        order = [1, 0, 2]  # of (bird, a cat, dog) in the sorted classes
        sure = np.eye(3, dtype=np.float32)[[order[index] for index in best]] * 0.997 + 0.001
        write_arrays(other / f"oof/{fold}.npz", arrays | {"probs": sure})


def test_a_planted_leak_is_named_and_taken_only_anyway(place, capsys):
    sharpened(place.other)
    before = files_under(place.root)
    with pytest.raises(ValueError, match="member leaky seems to have seen the images .* or add it with --anyway"):
        command.main(["blend", "add", "leaky", str(place.other.parent)])
    assert files_under(place.root) == before
    command.main(["blend", "add", "leaky", str(place.other.parent), "--anyway"])
    assert "warning: member leaky seems to have seen" in capsys.readouterr().out
    place.params["blend"]["members"] = ["leaky"]
    place.run("evaluate")
    place.run("submit")
    assert "member leaky seems to have seen" in capsys.readouterr().out
    assert "member leaky seems" in read_json(place.path("submissions/receipt.json"))["warnings"][-1]


# -- a blend is a submission like any other


def shuffled(other):
    """The member's files with their rows in another order."""
    for path in [*(other / "oof").glob("*.npz"), *(other / "test").glob("*.npz")]:
        edit(path, lambda arrays: {name: array[::-1] for name, array in arrays.items()})


def test_a_member_may_have_its_rows_in_any_order(place):
    kept = place.path("submissions/submission.csv").read_bytes()
    shuffled(place.other)
    command.main(["blend", "add", "same", str(place.other.parent)])
    assert read_yaml(place.path("params.yaml").read_text())["blend"]["members"] == ["same"]
    place.params["blend"]["members"] = ["same"]
    scores = read_json(place.path("data/report/scores.json"))
    place.run("evaluate")
    place.run("submit")
    assert place.path("submissions/submission.csv").read_bytes() == kept, "the mean of equals is each of them"
    assert read_json(place.path("data/report/scores.json"))["oof"] == pytest.approx(scores["oof"])
    weights = read_json(place.path("submissions/receipt.json"))["blend"]["members"]
    assert weights[OWN] == {"weight": 0.5}
    assert weights["same"]["weight"] == 0.5 and weights["same"]["source"] == f"folder {place.other.parent}"
    command.main(["verify"])


def test_members_that_were_altered_or_are_gone_stop_the_stages(place):
    command.main(["blend", "add", "a", str(place.other.parent)])
    place.params["blend"]["members"] = ["a"]
    place.run("evaluate")
    path = place.path("data/members/a/test.npz")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(ValueError, match=r"test.npz was altered or damaged .*dvc checkout --force .*members/a.dvc"):
        place.run("submit")
    shutil.rmtree(place.path("data/members/a"))
    for stage in ("evaluate", "submit"):
        with pytest.raises(ValueError, match=r"blend.members of params.yaml names a; `dvc checkout .*members/a.dvc`"):
            place.run(stage)


def test_a_member_that_predicted_other_images_under_the_same_ids_is_refused(place):
    """As a second stage leaves it whose test images are called as the first one's were."""
    for name in ("test.csv", "test_images.csv"):
        shutil.copy(place.path("data/competition") / name, place.other / "competition")
    command.main(["blend", "add", "a", str(place.other.parent)])
    place.params["blend"]["members"] = ["a"]
    place.run("evaluate")
    place.run("submit")
    images = place.path("data/competition/test_images.csv")
    lines = images.read_text().splitlines()
    names, marks = zip(*(line.split(",") for line in lines[1:]), strict=True)
    moved = [",".join(pair) for pair in zip(names, (*marks[1:], marks[0]), strict=True)]
    images.write_text("\n".join([lines[0], *moved]) + "\n")
    said = "member a predicted other test images under the same ids"
    with pytest.raises(ValueError, match=said):
        place.run("submit")
    place.save()
    for words in (["list"], ["add", "b", str(place.other.parent)]):
        with pytest.raises(ValueError, match=said.replace("member a", "member .")):
            command.main(["blend", *words])


def test_a_member_of_folds_that_are_dealt_anew_since_is_refused(place):
    command.main(["blend", "add", "a", str(place.other.parent)])
    place.params["blend"]["members"] = ["a"]
    swap_between_folds(place.path("data"))
    folds = place.path("data/folds.csv")
    fold_of = {
        image: fold
        for fold in "01"
        for image in read_arrays(place.path(f"data/oof/{fold}.npz"), ("image_ids",))["image_ids"].tolist()
    }
    lines = folds.read_text().splitlines()
    images = [line.partition(",")[0] for line in lines[1:]]
    folds.write_text("\n".join([lines[0], *(f"{image},{fold_of[image]}" for image in images)]) + "\n")
    with pytest.raises(ValueError, match="member a was trained on other folds: 2 of 30 images"):
        place.run("evaluate")


def test_list_gives_scores_with_errors_and_names_what_does_not_fit(place, capsys):
    command.main(["blend", "list"])
    assert "no members" in capsys.readouterr().out
    command.main(["blend", "add", "a", str(place.other.parent)])
    command.main(["blend", "list"])
    out = capsys.readouterr().out
    assert "a: accuracy over folds" in out and "better than this run by +0.0000 ± 0.0000" in out
    place.path("data/members/a/oof.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="was altered or damaged"):
        command.main(["blend", "list"])


def test_remove_takes_it_out_and_says_so_of_one_that_is_not_there(place, capsys):
    command.main(["blend", "add", "a", str(place.other.parent)])
    with pytest.raises(ValueError, match="names a already"):
        command.main(["blend", "add", "a", str(place.other.parent)])
    command.main(["blend", "remove", "a"])
    assert not place.path("data/members/a").exists()
    assert read_yaml(place.path("params.yaml").read_text())["blend"]["members"] == []
    with pytest.raises(ValueError, match="there is no member a"):
        command.main(["blend", "remove", "a"])


def test_nothing_is_left_where_dvc_fails(place, monkeypatch):
    before = files_under(place.root)

    def fails(*words):
        raise ValueError("`dvc add` failed")

    monkeypatch.setattr(blend_command, "_dvc", fails)
    with pytest.raises(ValueError, match="`dvc add` failed"):
        command.main(["blend", "add", "a", str(place.other.parent)])
    assert files_under(place.root) == before


def test_a_bundle_of_a_blend_names_the_members_without_models(place):
    for name in "ab":
        command.main(["blend", "add", name, str(place.other.parent)])
    place.params["blend"]["members"] = ["a", "b"]
    place.run("evaluate")
    place.run("submit")
    with pytest.raises(ValueError, match=r"the models of 2 of its members cannot be had:\n  a: .*data/models.*\n  b: "):
        command.main(["bundle"])
    shutil.rmtree(place.other)
    with pytest.raises(ValueError, match=r"a: .*other is neither a folder with data/oof in it.*\n  b: .*\na bundle"):
        command.main(["bundle"])
    assert not place.path("submissions/bundle.zip").exists()


WIDE = {"name": "airbench", "width": 8}
FROZEN = {"name": "test_resnet", "weights": "given", "frozen": True}


@pytest.fixture
def wider(request, finished, tmp_path, monkeypatch, undrawn):
    """A finished workplace, and beside it, in `wider`, a run of another network on images of another format."""
    roots = {name: tmp_path / name for name in ("here", "wider")}
    places = {}
    for name, root in roots.items():
        shutil.copytree(finished.root, root)
        places[name] = Workplace(root)
        places[name].raw = finished.raw
        places[name].save()
    other = places["wider"]
    other.params["images"] |= {"side": 32, "fit": "crop"}
    other.params["model"] |= getattr(request, "param", WIDE)
    other.params["train"] |= {"tta": "mirror", "epochs": 2}
    monkeypatch.chdir(other.root)
    save_weights(other.root / "given", FROZEN["name"])
    for stage in ("decode_train", "decode_test", "audit", "weights", "embed_train", "embed_test"):
        other.run(stage)
    for fold in "01":
        other.run("train", key=fold)
        other.run("infer", key=fold)
    monkeypatch.setattr(blend_command, "_dvc", lambda *words: None)
    monkeypatch.chdir(roots["here"])
    return places["here"], other


@pytest.mark.slow
@pytest.mark.parametrize(("wider", "how"), [(WIDE, "rank"), (WIDE, "weights"), (FROZEN, "mean")], indirect=["wider"])
def test_the_bundle_of_a_blend_makes_the_submission_again_from_the_members_own_images(wider, how, capsys):
    place, other = wider
    command.main(["blend", "add", "wide", str(other.root), "--anyway"])
    place.params["blend"] = {"members": ["wide"], "how": how}
    place.run("evaluate")
    place.run("submit")
    command.main(["bundle"])
    bundle = place.path("submissions/bundle.zip")
    first = bundle.read_bytes()
    command.main(["bundle"])
    assert bundle.read_bytes() == first
    weight = read_json(place.path("data/report/blend.json"))["weights"]["wide"]
    with zipfile.ZipFile(bundle) as archive:
        assert ("members/wide/models/0.safetensors" in archive.namelist()) == (weight > 0)
    capsys.readouterr()
    command.main(["bundle", "verify"])
    assert "identical: " in capsys.readouterr().out


@pytest.mark.slow
def test_a_folder_in_which_another_run_has_been_made_since_is_not_bundled(wider):
    place, other = wider
    command.main(["blend", "add", "wide", str(other.root), "--anyway"])
    place.params["blend"] = {"members": ["wide"], "how": "mean"}
    place.run("evaluate")
    place.run("submit")
    (other.root / "data/models/0.safetensors").write_bytes(b"another's")
    with pytest.raises(ValueError, match=r"wide: .*0.safetensors has sha256 .* do not belong together"):
        command.main(["bundle"])
    probs_of("test", "1", lambda arrays: {name: array[::-1] for name, array in arrays.items() if name == "probs"} | {"image_ids": arrays["image_ids"]})(other.root / "data")  # fmt: skip
    with pytest.raises(
        ValueError, match=r"wide: .*data/test predicts \d of 9 test images otherwise .* that run is another"
    ):
        command.main(["bundle"])
    assert not place.path("submissions/bundle.zip").exists()


def test_the_blends_score_is_that_of_what_is_submitted(place):
    """By weights alone: the reported folds are those of the nested mixture, through the writer."""
    rng = np.random.default_rng(11)
    for path in [*(place.other / "oof").glob("*.npz"), *(place.other / "test").glob("*.npz")]:

        def noisy(arrays):
            mixture = arrays["probs"] * 0.4 + rng.dirichlet(np.ones(3), len(arrays["probs"])) * 0.6
            return arrays | {"probs": (mixture / mixture.sum(axis=1, keepdims=True)).astype(np.float32)}

        edit(path, noisy)
    command.main(["blend", "add", "a", str(place.other.parent)])
    place.params["blend"] = {"members": ["a"], "how": "weights"}
    place.run("evaluate")
    found = read_json(place.path("data/report/blend.json"))
    scores = read_json(place.path("data/report/scores.json"))["folds"]
    assert scores["score_mean"] == pytest.approx(found["considered"]["weights"]["score"])
    assert scores["score_standard_error"] == pytest.approx(found["considered"]["weights"]["score_standard_error"])
    assert "log_loss" in scores["by_fold"]["0"]
    place.params["blend"]["how"] = "rank"
    place.run("evaluate")
    by_rank = read_json(place.path("data/report/scores.json"))
    assert "log_loss" not in by_rank["oof"] | by_rank["folds"]["by_fold"]["0"], "ranks are no probabilities"


def test_fold_scores_are_those_of_evaluate(finished):
    from pipeline.competition.schema import read_dealt, read_schema
    from pipeline.scoring.fold_predictions import gather_oof

    data = finished.path("data")
    schema = read_schema(data / "competition/schema.json")
    dealt = read_dealt(data / "competition/train.csv", data / "folds.csv", schema.target, ["0", "1"])
    oof = gather_oof({fold: data / f"oof/{fold}.npz" for fold in "01"}, dealt.fold_of, 3)
    by_fold = read_json(data / "report/scores.json")["folds"]["by_fold"]
    assert fold_scores(dealt.truth, oof, dealt.held_by, schema).tolist() == [by_fold[fold]["score"] for fold in "01"]


# -- with the real dvc


def git(project, *words):
    names = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *names, *words], cwd=project.root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.slow
def test_a_blend_of_a_revision_an_experiment_and_a_folder_is_restored_and_verified(tmp_path):
    project = Project(tmp_path / "project", num_folds=2)
    first = project.ran()
    assert {"evaluate", "submit"} <= set(first)
    git(project, "add", "-A")
    git(project, "commit", "-qm", "first run")
    git(project, "tag", "one")
    project.dvc("exp", "run", "-n", "wide", "-S", "train.seed=5")
    shutil.copytree(project.root / "data", tmp_path / "folder/data")
    project.params["train"]["seed"] = 7
    project.save()
    project.ran()

    for name, source in (("a", "one"), ("b", "wide"), ("c", str(tmp_path / "folder"))):
        out = project.pipeline("blend", "add", name, source, "--anyway")
        assert f"data/members/{name}: from" in out
    project.params = read_yaml((project.root / "params.yaml").read_text())
    assert project.params["blend"]["members"] == ["a", "b", "c"]
    assert project.ran() == ["evaluate", "submit", "report"]
    assert project.ran() == []
    with (
        np.load(project.root / "data/members/b/oof.npz") as wide,
        np.load(project.root / "data/members/c/oof.npz") as c,
    ):
        np.testing.assert_array_equal(wide["probs"], c["probs"])
    verified = project.pipeline("verify")
    assert "blend         ok  by" in verified
    said = project.pipeline("bundle", fails=True)
    assert "1 of its members cannot be had" in said and "c: " in said, "its folder has no params.yaml"
    shutil.copy(project.root / "params.yaml", tmp_path / "folder")
    project.pipeline("bundle")
    assert "identical" in project.pipeline("bundle", "verify")

    git(project, "add", "-A")
    git(project, "commit", "-qm", "blend")
    from pipeline.leaderboard.ledger import Ledger

    receipt = read_json(project.root / "submissions/receipt.json")
    assert set(receipt["blend"]["members"]) == {OWN, "a", "b", "c"}
    ledger = Ledger(project.root / "submissions/ledger.csv")
    ledger.intend(sha256=receipt["sha256"], message="blend", site="kaggle", slug="x", receipt=receipt)
    git(project, "add", "-A")
    git(project, "commit", "-qm", "sent")
    assert "identical" in project.pipeline("restore", "1", "--out", str(tmp_path / "restored"))
    assert (tmp_path / "restored/data/members/a/oof.npz").is_file()

    project.pipeline("blend", "remove", "b")
    assert "names ['this run', 'a', 'c']" not in project.pipeline("blend", "list")
    assert project.ran() == ["evaluate", "submit", "report"]
    assert set(read_json(project.root / "submissions/receipt.json")["blend"]["members"]) == {OWN, "a", "c"}

    shutil.rmtree(project.root / ".dvc/cache")
    said = project.pipeline("blend", "add", "d", "one", fails=True)
    assert "files of that run are not in DVC's cache" in said and "dvc fetch --all-commits" in said
    assert not (project.root / "data/members/d").exists()
    said = project.pipeline("restore", "1", "--out", str(tmp_path / "again"), fails=True)
    assert "of the files that submit reads are neither in git nor in DVC's cache" in said
