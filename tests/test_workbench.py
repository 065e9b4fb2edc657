"""The workbench: temperatures that are known are found, gains are paired and nested, planted wrong labels are found."""

import csv
import json
import shutil

import numpy as np
import pytest
import yaml
from conftest import Workplace, image_of, shipped

from pipeline import __main__ as command
from pipeline.base.files import read_json, sha256_of, write_arrays, write_json, write_table
from pipeline.competition.schema import (
    FOLDS_COLUMNS,
    TRAIN_COLUMNS,
    Schema,
    SubmissionFormat,
    Target,
    label_cell,
    write_schema,
    write_target,
)
from pipeline.competition.store import Store
from pipeline.scoring.decision import Decision, choose_decision, cross_fitted, decide
from pipeline.workbench import calibration
from pipeline.workbench.gains import fold_scores, gain, jackknife_error, metric_gain
from pipeline.workbench.suspects import contradicted, find_suspects, shares, suspect_mask, trial

SINGLE = Target(kind="single_label", columns=("label",), classes=("ant", "bee", "cat", "dog"))
BINARY = Target(kind="binary", columns=("label",), classes=("no", "yes"), positive="yes")
ORDINAL = Target(kind="ordinal", columns=("label",), classes=("0", "1", "2", "3", "4"))
MULTI = Target(kind="multi_label", columns=("label",), classes=("ant", "bee", "cat"))
TARGETS = [SINGLE, BINARY, ORDINAL, MULTI]
KINDS = [target.kind for target in TARGETS]


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def probabilities(logits, target):
    return softmax(logits) if target.exclusive else 1 / (1 + np.exp(-logits))


def drawn(target, *, temperature, number, seed=0):
    """(truth, probs, held_by): labels drawn from probabilities; `probs` are these, tempered by 1 / `temperature`.

    So `temperature` makes them right again.
    """
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (number, len(target.classes)))
    if target.kind == "ordinal":
        logits -= (np.arange(5) - generator.uniform(0, 4, (number, 1))) ** 2
    right = probabilities(logits, target)
    if target.exclusive:
        truth = (right.cumsum(axis=1) < generator.random((number, 1))).sum(axis=1).clip(max=len(target.classes) - 1)
    else:
        truth = (generator.random(right.shape) < right).astype(np.float32)
    return truth, probabilities(logits * temperature, target).astype(np.float32), np.arange(number) % 5


# -- calibration


def test_the_error_of_known_frequencies_is_their_distance():
    probs = np.repeat([0.8, 0.3], [10, 30])
    happened = np.concatenate([np.arange(10) < 6, np.arange(30) < 12])
    assert calibration.binned_error(probs, happened) == pytest.approx((10 * 0.2 + 30 * 0.1) / 40)
    assert calibration.binned_error(np.array([1.0, 0.0]), np.array([True, False])) == 0


@pytest.mark.parametrize("target", TARGETS, ids=KINDS)
def test_a_calibrated_model_is_within_chance_and_a_sharpened_one_is_not(target):
    within, sharpened = 0, 0
    for seed in range(20):
        for temperature in (1.0, 2.0):
            truth, probs, _ = drawn(target, temperature=temperature, number=1000, seed=seed)
            events = calibration.events(truth, probs, target)
            mean, most = calibration.calibrated_error(events.probs)
            assert 0 < mean < most
            if temperature == 1:
                within += events.error <= most
            else:
                sharpened += events.error > most
                assert target.kind == "multi_label" or events.surplus > 0.02, "too sure"
    assert within >= 16, "19 of 20 are expected"
    assert sharpened == 20


# -- temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("target", TARGETS, ids=KINDS)
def test_a_known_temperature_is_found_and_gains(target, temperature):
    truth, probs, held_by = drawn(target, temperature=temperature, number=20_000)
    assert calibration.fit_temperature(truth, probs, target) == pytest.approx(temperature, rel=0.05)
    tempered = calibration.temper(truth, probs, held_by, target, "log_loss")
    assert tempered.temperatures == pytest.approx([temperature] * 5, rel=0.05)
    before, after = (calibration.log_losses(truth, values, held_by, target) for values in (probs, tempered.probs))
    gained = gain(before, after, higher_is_better=False)
    if temperature == 1:
        assert abs(gained.mean) < 1e-3
    else:
        assert gained.verdict == "gain" and gained.mean > 5 * gained.error


@pytest.mark.parametrize("target", TARGETS, ids=KINDS)
def test_what_is_calibrated_does_not_gain(target):
    verdicts = []
    for seed in range(20):
        truth, probs, held_by = drawn(target, temperature=1.0, number=500, seed=seed)
        tempered = calibration.temper(truth, probs, held_by, target, "log_loss")
        losses = [calibration.log_losses(truth, values, held_by, target) for values in (probs, tempered.probs)]
        verdicts.append(gain(*losses, higher_is_better=False).verdict)
    assert verdicts.count("gain") <= 5, "one standard error of five folds is passed by chance in 19 of 100"


@pytest.mark.parametrize("target", TARGETS, ids=KINDS)
def test_a_temperature_keeps_the_order_and_undoes_its_inverse(target):
    _, probs, _ = drawn(target, temperature=1.0, number=300)
    flat = calibration.with_temperature(probs, 3.0, target)
    assert (np.argsort(flat, axis=1) == np.argsort(probs, axis=1)).all()
    assert calibration.with_temperature(flat, 1 / 3, target) == pytest.approx(probs, abs=1e-5)
    assert (flat.max(axis=1) < probs.max(axis=1)).all() or target.kind == "multi_label"
    if target.exclusive:
        assert flat.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("target", TARGETS, ids=KINDS)
def test_a_folds_own_labels_have_no_part_in_how_it_is_tempered_and_decided(target):
    truth, probs, held_by = drawn(target, temperature=1.7, number=500)
    metric = {"ordinal": "quadratic_weighted_kappa"}.get(target.kind, "macro_f1")
    own, other = held_by == 2, truth.copy()
    other[own] = (1 - truth[own]) if not target.exclusive else (truth[own] + 1) % len(target.classes)
    first, second = (calibration.temper(labels, probs, held_by, target, metric) for labels in (truth, other))
    assert first.temperatures[2] == second.temperatures[2] and first.temperatures[0] != second.temperatures[0]
    assert (first.probs[own] == second.probs[own]).all() and (first.decided[own] == second.decided[own]).all()


def test_without_a_wrong_answer_the_temperature_is_the_end_of_its_range():
    truth = np.arange(40) % 4
    probs = np.where(np.arange(4) == truth[:, None], 0.7, 0.1)
    assert calibration.fit_temperature(truth, probs, SINGLE) == calibration.LOWEST
    assert calibration.fit_temperature((truth + 1) % 4, probs, SINGLE) == calibration.HIGHEST


# -- gains


def test_a_gain_is_paired_and_turned_to_the_better_side():
    before = [0.50, 0.90, 0.70, 0.60]  # folds differ by much more than the gain
    up = gain(before, [value + step for value, step in zip(before, (0.010, 0.012, 0.009, 0.011), strict=True)],
              higher_is_better=True)  # fmt: skip
    assert (up.mean, up.verdict) == (pytest.approx(0.0105), "gain")
    assert up.error == pytest.approx(np.std([0.010, 0.012, 0.009, 0.011], ddof=1) / 2)
    assert gain([0.5, 0.5], [0.4, 0.45], higher_is_better=False).verdict == "gain"
    assert gain([0.5, 0.5], [0.4, 0.45], higher_is_better=True).verdict == "no gain: worse"
    assert gain([0.5, 0.5], [0.7, 0.4], higher_is_better=True).verdict == "no gain", "0.05 ± 0.15"
    assert gain([0.5, 0.6], [0.5, 0.6], higher_is_better=True).verdict == "no gain: nothing changes"
    assert metric_gain([0.5, 0.5], [0.4, 0.45], "log_loss").verdict == "gain"


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=7)
    without = [np.delete(values, at).mean() for at in range(7)]
    assert jackknife_error(without) == pytest.approx(values.std(ddof=1) / np.sqrt(7))


def test_a_threshold_gains_where_half_is_wrong_and_not_where_it_is_right():
    """Macro F1 of a rare class: its best threshold is below 0.5. Kappa of grades: cuts; accuracy takes the likeliest."""
    generator = np.random.default_rng(0)
    right = 1 / (1 + np.exp(-generator.normal(-2.5, 1.0, 20_000)))
    truth, held_by = (generator.random(20_000) < right).astype(np.int64), np.arange(20_000) % 5
    probs = np.stack([1 - right, right], axis=1)
    ids = [f"{row}" for row in range(20_000)]
    form = SubmissionFormat(kind="label", id_column="id", columns=("id", "label"), value_columns=("label",))
    for metric, verdict in (("macro_f1", "gain"), ("accuracy", "no gain: nothing changes")):
        asked = Schema(target=BINARY, submission=form, metric=metric)
        plain = decide(probs, BINARY, Decision())
        chosen = cross_fitted(truth, probs, held_by, BINARY, metric)
        before, after = (fold_scores(truth, probs, decided, held_by, ids, asked) for decided in (plain, chosen))
        assert metric_gain(before, after, metric).verdict == verdict


# -- suspects


def test_a_label_is_suspect_by_the_two_thresholds():
    probs = np.array([
        [0.9, 0.1, 0.0], [0.7, 0.3, 0.0],  # class 0 has mean 0.8 with the next two
        [1.0, 0.0, 0.0], [0.6, 0.4, 0.0],  # below its threshold, yet the likeliest
        [0.2, 0.8, 0.0], [0.1, 0.9, 0.0], [0.4, 0.6, 0.0],  # class 1: mean 0.6 with the next
        [0.9, 0.1, 0.0],  # said to be 1, speaks for 0
    ])  # fmt: skip
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert contradicted(truth, probs).tolist() == [-1] * 7 + [0]
    found = find_suspects(truth, probs, Target(kind="single_label", columns=(), classes=("a", "b", "c")))
    assert [(suspect.row, suspect.label, suspect.suggested) for suspect in found] == [(7, "b", "a")]
    probs[7] = [0.79, 0.21, 0.0]
    assert (contradicted(truth, probs) == -1).all(), "not as sure as images of that class are"
    probs[7] = [0.0, 0.0, 1.0]
    assert (contradicted(truth, probs) == -1).all(), "no image has that class: there is no threshold"


def digits_flipped(target_of, *, share):
    """(target, labels as given, which are wrong, out-of-fold probabilities of models that learnt from them, folds)."""
    from sklearn.datasets import load_digits
    from sklearn.neighbors import KNeighborsClassifier

    pixels, digits = load_digits(return_X_y=True)
    target, right = target_of(digits)
    generator = np.random.default_rng(0)
    wrong = generator.random(right.shape) < share
    steps = generator.integers(1, len(target.classes), size=right.shape)
    given = np.where(wrong, (right + steps) % len(target.classes) if target.exclusive else 1 - right, right)
    held_by, width = generator.permutation(np.arange(len(digits)) % 5), len(target.classes)
    probs = np.zeros((len(digits), width))
    for fold in range(5):
        own = held_by == fold
        if target.exclusive:
            probs[own] = KNeighborsClassifier(10).fit(pixels[~own], given[~own]).predict_proba(pixels[own])
        else:
            models = [KNeighborsClassifier(10).fit(pixels[~own], given[~own, at]) for at in range(width)]
            probs[own] = np.stack([model.predict_proba(pixels[own])[:, 1] for model in models], axis=1)
    return target, given, wrong, probs.astype(np.float32), held_by


def exclusive_digits(digits):
    return Target(kind="single_label", columns=(), classes=tuple(map(str, range(10)))), digits


def questions_of_digits(digits):
    answers = np.stack([digits % 2 == 0, digits > 4, np.isin(digits, (0, 6, 8, 9))], axis=1).astype(np.int64)
    return Target(kind="multi_label", columns=(), classes=("even", "high", "round")), answers


@pytest.mark.parametrize("target_of", [exclusive_digits, questions_of_digits])
def test_most_planted_wrong_labels_are_found_and_few_others(target_of):
    target, given, wrong, probs, held_by = digits_flipped(target_of, share=0.05)
    mask = suspect_mask(given, probs, target)
    recall, precision = (mask & wrong).sum() / wrong.sum(), (mask & wrong).sum() / mask.sum()
    assert recall > 0.7 and precision > 0.7, (recall, precision)
    assert np.mean(trial(given, probs, held_by, target)) == pytest.approx(recall, abs=0.2), "a guide, no more"
    found = find_suspects(given, probs, target)
    assert len(found) == mask.sum() and np.mean(shares(mask, held_by)) == pytest.approx(mask.mean(), abs=1e-3)
    gaps = [suspect.suggested_probability - suspect.label_probability for suspect in found]
    assert gaps == sorted(gaps, reverse=True)


@pytest.mark.parametrize("target_of", [exclusive_digits, questions_of_digits])
def test_of_right_labels_few_are_suspect_and_the_trial_says_what_would_be_found(target_of):
    target, given, _, probs, held_by = digits_flipped(target_of, share=0.0)
    assert suspect_mask(given, probs, target).mean() < 0.03
    found = trial(given, probs, held_by, target)
    assert len(found) == 5 and np.mean(found) > 0.75
    assert found == trial(given, probs, held_by, target)
    noise = np.random.default_rng(0).permutation(probs)
    by_chance = np.mean(trial(given, noise, held_by, target))
    suspect = suspect_mask(given, noise, target).mean()
    assert by_chance == pytest.approx(suspect, abs=0.1), "probabilities that say nothing find what they find anywhere"


# -- the command

FORMS = {
    "single_label": (SINGLE, "label", "accuracy"),
    "binary": (BINARY, "label", "macro_f1"),
    "ordinal": (ORDINAL, "label", "quadratic_weighted_kappa"),
    "multi_label": (MULTI, "list", "macro_f1"),
    "probabilities": (MULTI, "columns", "mean_column_auc"),
}


def write_run(root, name, *, number=600):
    """The files of a finished run, as the command reads them, of made-up probabilities. Returns the truth and probs."""
    target, kind, metric = FORMS[name]
    truth, probs, held_by = drawn(target, temperature=0.6, number=number)
    wide = target.classes if kind == "columns" else ("label",)
    form = SubmissionFormat(
        kind=kind, id_column="id", columns=("id", *wide), value_columns=wide, separator=" " if kind == "list" else "",
        classes=target.classes if kind == "columns" else (), may_be_empty=kind == "list",
    )  # fmt: skip
    folder = root / "data/competition"
    write_schema(folder / "schema.json", Schema(target=target, submission=form, metric=metric))
    write_target(folder / "target.json", target)
    ids, classes = [f"{row:04d}" for row in range(number)], np.array(target.classes)
    cells = classes[truth] if target.exclusive else [label_cell(classes[row > 0].tolist()) for row in truth]
    write_table(folder / "train.csv", TRAIN_COLUMNS, zip(ids, cells, strict=True))
    write_table(folder / "corrections.csv", TRAIN_COLUMNS, ())
    write_table(root / "data/folds.csv", FOLDS_COLUMNS, zip(ids, held_by, strict=True))
    images = root / "data/images/train.npy"
    images.parent.mkdir()
    np.save(images, np.stack([image_of(row, 0, 8) for row in range(number)]))
    write_json(images.with_suffix(".json"), Store(num_images=number, size=8, sha256=sha256_of(images)))
    data = [
        *(folder / name for name in ("target.json", "train.csv", "corrections.csv")),
        root / "data/folds.csv",
        images.with_suffix(".json"),
    ]
    (root / "data/models").mkdir()
    for fold in range(5):
        rows = np.flatnonzero(held_by == fold)
        arrays = {"image_ids": np.array(ids)[rows], "probs": probs[rows]}
        write_arrays(root / f"data/oof/{fold}.npz", arrays)
        weights = root / f"data/models/{fold}.safetensors"
        weights.write_bytes(b"weights")
        card = {"fold": str(fold), "weights_sha256": sha256_of(weights), "data_fingerprint": sha256_of(*data)}
        write_json(weights.with_suffix(".json"), card)
    (root / "params.yaml").write_text(yaml.safe_dump(shipped("params.yaml")))
    return truth, probs, held_by


def said(capsys):
    """Section -> its lines."""
    found, name = {}, ""
    for line in capsys.readouterr().out.splitlines():
        name = line[:12].strip() or name
        found.setdefault(name, []).append(line[14:])
    return found


@pytest.mark.parametrize("name", FORMS)
def test_every_kind_of_target_is_told_its_gains(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    truth, probs, held_by = write_run(tmp_path, name)
    target, _, metric = FORMS[name]
    command.main(["workbench"])
    lines = said(capsys)
    assert list(lines) == ["out of fold", "calibration", "temperature", "decision", "suspects"]
    assert all("±" in line for section in ("calibration", "temperature") for line in lines[section])
    assert float(lines["temperature"][0].split()[0]) == pytest.approx(0.6, rel=0.3)
    assert lines["temperature"][1].startswith("log loss") and lines["temperature"][1].endswith(": gain")
    keeps = "nothing changes (it keeps the order in which probabilities stand)"
    assert lines["temperature"][2].endswith(keeps) == (name != "ordinal")
    assert lines["decision"][1].startswith(metric) and "±" in lines["decision"][1]
    if name in ("single_label", "probabilities"):
        assert lines["decision"][1].endswith("no gain: nothing changes")
    chosen = choose_decision(truth, probs, target, metric, held_by)
    numbers = chosen.thresholds or chosen.cuts
    assert all(f"{number:.3f}" in lines["decision"][0] for number in numbers)

    suspects = find_suspects(truth, probs, target)
    with (tmp_path / "data/workbench/suspects.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["image_id"], row["label"], row["suggested"], row["fold"]) for row in rows] == [
        (f"{suspect.row:04d}", suspect.label, suspect.suggested, str(held_by[suspect.row])) for suspect in suspects
    ]
    assert lines["suspects"][0].startswith(f"{len(suspects)} of {truth.size:,} labels")
    page = (tmp_path / "data/workbench/suspects.html").read_text()
    assert page.count("<img ") == min(len(suspects), 96) > 0


@pytest.fixture
def copied(finished, tmp_path, monkeypatch):
    shutil.copytree(finished.root, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Workplace(tmp_path)


def test_the_score_is_that_of_evaluate_and_nothing_else_is_written(copied, capsys):
    files = {path: path.read_bytes() for path in copied.root.rglob("*") if path.is_file()}
    command.main(["workbench"])
    after = {path: path.read_bytes() for path in copied.root.rglob("*") if path.is_file()}
    written = {path.relative_to(copied.root).as_posix() for path in set(after) - set(files)}
    assert written == {"data/workbench/suspects.csv", "data/workbench/suspects.html"}
    assert all(after[path] == content for path, content in files.items())
    folds = read_json(copied.path("data/report/scores.json"))["folds"]
    lines = said(capsys)
    assert f"accuracy {folds['score_mean']:.4f} to {folds['score_mean']:.4f}" in lines["decision"][1]


def relabel(root):
    path = root / "data/competition/train.csv"
    path.write_text(path.read_text().replace("000,bird", "000,a cat", 1))


def lose_a_fold(root):
    (root / "data/oof/1.npz").unlink()


def lose_all(root):
    shutil.rmtree(root / "data/oof")


def other_store(root):
    path = root / "data/images/train.json"
    path.write_text(json.dumps(read_json(path) | {"sha256": "0" * 64}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lose_all, "data/oof is not there yet; run `python -m pipeline folds` first, then `dvc repro`"),
        (lose_a_fold, "data/oof lacks 1 of 2 folds: ['1']; run `dvc repro`"),
        (relabel, "run `dvc repro -f -s train@0`"),
        (other_store, "run `dvc repro -f -s train@0`"),
    ],
)
def test_without_a_finished_run_it_says_what_to_run(copied, spoil, message):
    spoil(copied.root)
    with pytest.raises(ValueError) as error:
        command.main(["workbench"])
    assert message in str(error.value)
    assert not copied.path("data/workbench").exists()
