"""Decisions: best on the rows they were chosen on, and honest where a fold is decided by the others."""

import re
import time

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from pipeline.competition.schema import Target
from pipeline.scoring.decision import (
    Decision,
    _thresholds,
    choose_decision,
    cross_fitted,
    decide,
    decided_answers,
    read_decision,
    write_decision,
)
from pipeline.scoring.metrics import metric_named, score

SINGLE = Target(kind="single_label", columns=("label",), classes=("a", "b", "c"))
ORDINAL = Target(kind="ordinal", columns=("grade",), classes=("0", "1", "2", "3", "4"))
BINARY = Target(kind="binary", columns=("label",), classes=("yes", "no"), positive="yes")
MULTI = Target(kind="multi_label", columns=("a", "b", "c"), classes=("a", "b", "c"))
TARGETS = {target.kind: target for target in (SINGLE, ORDINAL, BINARY, MULTI)}


def random_case(target, count=80, seed=0, bare=True):
    """(truth, probs float32) of a weak model with its scale off, so that 0.5 and k + 0.5 are not best."""
    rng = np.random.default_rng(seed)
    num_classes = len(target.classes)
    if not target.exclusive:
        truth = (rng.random((count, num_classes)) < [0.5, 0.2, 0.05]).astype(np.float32)
        truth[:, 0] = np.where(bare | truth.any(axis=1), truth[:, 0], 1)
        return truth, (rng.random(truth.shape) * 0.5 + truth * 0.15).astype(np.float32)
    truth = rng.choice(num_classes, size=count, p=np.arange(num_classes, 0, -1) / np.arange(num_classes + 1).sum())
    centre = truth * 0.6 + rng.normal(size=count) * 0.7 + 1.0
    probs = np.exp(-((centre[:, None] - np.arange(num_classes)) ** 2))
    return truth, (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)


def value(name, truth, decided, target):
    return score(name, truth, decided_answers(decided, target), target)


def value_of(name, truth, probs, target, decision):
    return value(name, truth, decide(probs, target, decision), target)


def kappa(truth, predicted):
    return cohen_kappa_score(truth, predicted, weights="quadratic")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [9, 80, 700])
def test_cuts_increase_and_beat_rounding(count, seed):
    truth, probs = random_case(ORDINAL, count, seed)
    decision = choose_decision(truth, probs, ORDINAL, "qwk")
    assert len(decision.cuts) == 4
    assert (np.diff(decision.cuts) > 0).all()
    chosen = kappa(truth, decide(probs, ORDINAL, decision))
    grades = (probs.astype(np.float64) * np.arange(5)).sum(axis=1)
    halves = Decision(cuts=(0.5, 1.5, 2.5, 3.5))
    assert chosen >= kappa(truth, decide(probs, ORDINAL, halves)) - 1e-12
    assert chosen >= kappa(truth, np.rint(grades).astype(int)) - 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_cuts_beat_rounding_when_grades_lie_on_the_halves(seed):
    rng = np.random.default_rng(seed)
    truth, halves = rng.integers(0, 5, 60), rng.integers(0, 9, 60)
    probs = (np.eye(5)[halves // 2] + np.eye(5)[(halves + 1) // 2]) / 2
    chosen = kappa(truth, decide(probs, ORDINAL, choose_decision(truth, probs, ORDINAL, "qwk")))
    assert chosen >= kappa(truth, np.rint(halves / 2).astype(int)) - 1e-12
    assert chosen >= kappa(truth, (halves + 1) // 2) - 1e-12


def test_the_only_cut_of_two_grades_is_the_best_of_all():
    target = Target(kind="ordinal", columns=("grade",), classes=("0", "1"))
    truth, probs = random_case(target)
    got = kappa(truth, decide(probs, target, choose_decision(truth, probs, target, "qwk")))
    every = [kappa(truth, probs[:, 1] >= cut) for cut in np.arange(201) / 200]
    assert got == pytest.approx(np.nanmax(every))


def test_cuts_that_are_right_stay():
    truth = np.arange(50) % 5
    probs = np.eye(5)[truth] * 0.9 + 0.02
    assert choose_decision(truth, probs, ORDINAL, "qwk").cuts == (0.5, 1.5, 2.5, 3.5)
    assert choose_decision(np.ones(50, dtype=np.int64), probs, ORDINAL, "qwk").cuts == (0.5, 1.5, 2.5, 3.5)


def test_cuts_for_a_hundred_thousand_images_take_less_than_a_second():
    truth, probs = random_case(ORDINAL, 100_000)
    start = time.perf_counter()
    choose_decision(truth, probs, ORDINAL, "qwk")
    assert time.perf_counter() - start < 1


BINARY_NAMES = (
    "macro_f1", "weighted_f1", "binary_f1", "balanced_accuracy", "macro_f2", "weighted_f0.5", "binary_f2",
    "matthews_corrcoef", "cohen_kappa", "quadratic_weighted_kappa", "binary_jaccard", "macro_jaccard", "macro_recall",
    "geometric_mean",
)  # fmt: skip


@pytest.mark.parametrize("name", BINARY_NAMES)
@pytest.mark.parametrize(("seed", "decimals"), [(0, 1), (1, 8), (2, 8)])
def test_a_binary_threshold_is_the_best_of_all(name, seed, decimals):
    truth, probs = random_case(BINARY, 40, seed)
    probs = probs.round(decimals)  # with one decimal many scores are equal
    decision = choose_decision(truth, probs, BINARY, name)
    assert len(decision.thresholds) == 1
    got = value_of(name, truth, probs, BINARY, decision)
    places = [0.0, 1.1, *probs[:, 0].astype(np.float64)]
    every = [value_of(name, truth, probs, BINARY, Decision(thresholds=(place,))) for place in places]
    assert got == pytest.approx(max(every), abs=1e-12)
    assert got >= value_of(name, truth, probs, BINARY, Decision()) - 1e-12


def test_a_threshold_lies_midway_and_half_stays_where_it_is_as_good():
    def threshold(scores, positive, name="binary_f1"):
        probs = np.stack([scores, 1 - np.array(scores)], axis=1)
        return choose_decision(np.where(positive, 0, 1), probs, BINARY, name).thresholds

    assert threshold([0.1, 0.2, 0.4, 0.45], [0, 0, 1, 1]) == (pytest.approx(0.3),)
    assert threshold([0.1, 0.4, 0.9, 0.95], [0, 0, 1, 1]) == (0.5,)
    assert threshold([0.1, 0.4, 0.9, 0.95], [1, 1, 1, 1]) == (0.5,)
    close = np.nextafter(0.3, 1)
    assert threshold([0.1, 0.3, close, 0.45], [0, 0, 1, 1]) == (close,)


def test_another_threshold_for_accuracy_must_beat_noise():
    coins = np.random.default_rng(0)
    for _ in range(20):
        probs = coins.random(200)
        truth = (coins.random(200) < probs).astype(np.int64)  # scores that are right as probabilities
        decision = choose_decision(truth, np.stack([1 - probs, probs], axis=1), BINARY_NO, "accuracy")
        assert decision.thresholds == (0.5,)
    truth, probs = random_case(BINARY, 400)
    for name in ("accuracy", "micro_f1", "top1_error"):
        decision = choose_decision(truth, probs, BINARY, name)
        assert decision.thresholds != (0.5,)
    assert value_of("accuracy", truth, probs, BINARY, decision) > value_of("accuracy", truth, probs, BINARY, Decision())


BINARY_NO = Target(kind="binary", columns=("label",), classes=("yes", "no"), positive="no")


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("name", ["micro_f1", "samples_f1", "weighted_f1", "micro_f2", "samples_f2", "weighted_f0.5",
                                  "micro_jaccard", "samples_jaccard", "weighted_jaccard"])  # fmt: skip
@pytest.mark.parametrize(("seed", "decimals"), [(0, 1), (1, 8), (2, 8)])
def test_a_common_threshold_is_the_best_of_all(name, bare, seed, decimals):
    truth, probs = random_case(MULTI, 20, seed, bare)
    probs = probs.round(decimals)
    decision = choose_decision(truth, probs, MULTI, name)
    assert len(set(decision.thresholds)) == 1 and len(decision.thresholds) == 3
    assert not (bare and decision.at_least)
    places = [0.0, 0.5, 1.1, *probs.ravel().astype(np.float64)]
    every = [
        value_of(name, truth, probs, MULTI, Decision(thresholds=(place,) * 3, at_least=rule))
        for place in places
        for rule in ((0,) if bare else (0, 1))
    ]
    assert value_of(name, truth, probs, MULTI, decision) == pytest.approx(max(every), abs=1e-12)


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("name", ["macro_f1", "macro_f2", "macro_jaccard"])
@pytest.mark.parametrize("seed", range(4))
def test_thresholds_of_each_class_beat_half(bare, name, seed):
    truth, probs = random_case(MULTI, 40, seed, bare)
    decision = choose_decision(truth, probs, MULTI, name)
    default = Decision(at_least=decision.at_least)
    got = value_of(name, truth, probs, MULTI, decision)
    assert got >= value_of(name, truth, probs, MULTI, default)
    if bare:
        common = [Decision(thresholds=(place,) * 3) for place in np.arange(0, 1, 0.05)]
        assert got >= max(value_of(name, truth, probs, MULTI, one) for one in common) - 1e-12


def test_a_class_that_no_image_has_keeps_half():
    truth, probs = random_case(MULTI)
    truth[:, 1] = 0
    assert choose_decision(truth, probs, MULTI, "macro_f1").thresholds[1] == 0.5


def test_element_accuracy_is_decided_at_half_whatever_the_rule_would_give():
    """20 classes, one label an image, no signal: calling none is right in 19 of 20 cells."""
    target = Target(kind="multi_label", columns=tuple("abcdefghijklmnopqrst"), classes=tuple("abcdefghijklmnopqrst"))
    truth = np.eye(20, dtype=np.float32)[np.random.default_rng(0).integers(0, 20, 400)]
    probs = np.random.default_rng(1).random((400, 20)).astype(np.float32) * 0.1
    folds = np.arange(400) % 5
    decided = cross_fitted(truth, probs, folds, target, "element_accuracy")
    assert value("element_accuracy", truth, decided, target) == pytest.approx(0.95)
    assert choose_decision(truth, probs, target, "element_accuracy", folds).at_least == 0


@pytest.mark.parametrize("name", ["macro_f1", "micro_f1", "samples_f1", "weighted_f1", "accuracy"])
def test_the_rule_is_used_only_where_it_gains_out_of_fold(name):
    used = 0
    for seed in range(12):
        truth, probs = random_case(MULTI, 100, seed, bare=False)
        folds = np.arange(100) % 4
        values = {}
        for rule in (0, 1):
            decided = np.zeros(truth.shape, dtype=bool)
            for fold in range(4):
                own = folds == fold
                chosen = _thresholds(
                    truth[~own] > 0, probs[~own].astype(float), MULTI, metric_named(name), at_least=rule
                )
                decided[own] = decide(probs[own], MULTI, chosen)
            values[rule] = value(name, truth, decided, MULTI)
        decision = choose_decision(truth, probs, MULTI, name, folds)
        assert decision.at_least == int(values[1] > values[0])
        used += decision.at_least
    assert used > 0 if name in ("samples_f1", "accuracy") else used < 12


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("single_label", "accuracy", Decision()),
        ("single_label", "qwk", Decision()),
        ("ordinal", "accuracy", Decision()),
        ("binary", "auc", Decision()),
        ("binary", "binary_recall", Decision()),
        ("single_label", "macro_precision", Decision()),
        ("single_label", "top2_accuracy", Decision()),
        ("multi_label", "element_accuracy", Decision(thresholds=(0.5, 0.5, 0.5))),
        ("multi_label", "hamming_loss", Decision(thresholds=(0.5, 0.5, 0.5))),
        ("multi_label", "log_loss", Decision(thresholds=(0.5, 0.5, 0.5))),
    ],
)
def test_other_metrics_leave_it_at_the_likeliest(kind, name, expected):
    truth, probs = random_case(TARGETS[kind])
    assert choose_decision(truth, probs, TARGETS[kind], name) == expected


EACH_CLASS = (
    "macro_f1", "weighted_f1", "macro_f2", "balanced_accuracy", "matthews_corrcoef", "cohen_kappa", "macro_jaccard",
    "macro_recall", "geometric_mean",
)  # fmt: skip


def long_tail(count, seed):
    """Truth of classes of 0.75, 0.2 and 0.05 of the rows, one of no row, and their true probabilities."""
    rng, shares = np.random.default_rng(seed), np.array([0.75, 0.2, 0.05, 0.0])
    truth = rng.choice(4, count, p=shares)
    seen = truth + rng.normal(0, 0.8, count)
    probs = shares * np.exp(-((seen[:, None] - np.arange(4)) ** 2) / (2 * 0.8**2))
    return truth, probs / probs.sum(axis=1, keepdims=True)


FOUR = Target(kind="single_label", columns=("label",), classes=("a", "b", "c", "d"))


@pytest.mark.parametrize("name", EACH_CLASS)
def test_classes_shares_divide_probabilities_to_the_best_power(name):
    for seed in range(3):
        truth, probs = long_tail(300, seed)
        shares = np.bincount(truth, minlength=4).clip(1) / 300
        got = value_of(name, truth, probs, FOUR, choose_decision(truth, probs, FOUR, name))
        every = [
            value_of(name, truth, probs, FOUR, Decision(factors=tuple((shares**-power).tolist())))
            for power in np.arange(16) / 10
        ]
        assert got == pytest.approx(max(every), abs=1e-12)


@pytest.mark.parametrize(("name", "least"), [("macro_f1", 0.02), ("balanced_accuracy", 0.08)])
def test_what_the_shares_gain_holds_for_other_rows(name, least):
    gains = []
    for seed in range(5):
        (truth, probs), (others, other_probs) = long_tail(300, seed), long_tail(3000, 100 + seed)
        chosen = choose_decision(truth, probs, FOUR, name)
        scores = [value_of(name, others, other_probs, FOUR, decision) for decision in (chosen, Decision())]
        gains.append(scores[0] - scores[1])
        folds = np.arange(300) % 5
        decided = cross_fitted(truth, probs, folds, FOUR, name)
        assert abs(value(name, truth, decided, FOUR) - scores[0]) < 0.1, "the score to report is that of other rows"
    assert np.mean(gains) > least


def test_equally_frequent_classes_and_those_of_two_get_no_factors():
    truth = np.arange(90) % 3
    probs = np.random.default_rng(0).dirichlet(np.ones(3), 90)
    three = Target(kind="single_label", columns=("label",), classes=("a", "b", "c"))
    for name in EACH_CLASS:
        assert choose_decision(truth, probs, three, name) == Decision()
    truth, probs = random_case(BINARY)
    assert not choose_decision(truth, probs, BINARY, "macro_f1").factors


def test_decide_by_hand():
    probs = np.array([[0.2, 0.8], [0.35, 0.65], [0.5, 0.5]], dtype=np.float32)
    assert decide(probs, BINARY, Decision()).tolist() == [1, 1, 0]
    assert decide(probs, BINARY, Decision(thresholds=(0.3,))).tolist() == [1, 0, 0]
    assert decide(probs, BINARY_NO, Decision(thresholds=(0.65,))).tolist() == [1, 0, 0]  # float32 0.65 is less
    three = Target(kind="ordinal", columns=("grade",), classes=("0", "1", "2"))
    grades = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1]])
    assert decide(grades, three, Decision(cuts=(0.5, 1.8))).tolist() == [0, 1, 1, 2]
    assert decide(grades[:3], three, Decision(factors=(1.0, 1.5, 1.4))).tolist() == [0, 1, 1]
    cells = np.array([[0.1, 0.3, 0.2], [0.9, 0.5, 0.4]])
    assert decide(cells, MULTI, Decision()).tolist() == [[False] * 3, [True, True, False]]
    assert decide(cells, MULTI, Decision(at_least=1)).tolist() == [[False, True, False], [True, True, False]]
    assert decide(cells, MULTI, Decision(thresholds=(0.95, 0.6, 0.4))).tolist() == [[False] * 3, [False, False, True]]


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_is_decided_has_its_kinds_shape_and_spelling(target):
    _, probs = random_case(target, 5)
    decided = decide(probs, target, Decision())
    assert (decided.dtype, decided.shape) == ((np.int64, (5,)) if target.exclusive else (bool, (5, 3)))
    answers = decided_answers(decided, target)
    assert len(answers.labels if target.exclusive else answers.lists) == 5


FOLDED = [("ordinal", "qwk"), ("binary", "macro_f1"), ("multi_label", "macro_f1"), ("multi_label", "samples_f1")]


@pytest.mark.parametrize(("kind", "name"), [*FOLDED, ("single_label", "accuracy"), ("multi_label", "accuracy")])
def test_a_fold_is_decided_without_its_own_truth(kind, name):
    target = TARGETS[kind]
    truth, probs = random_case(target, 90)
    folds = np.array(["2", "0", "10"])[np.arange(90) % 3]
    decided = cross_fitted(truth, probs, folds, target, name)
    assert decided.dtype == (np.int64 if target.exclusive else bool)
    for fold in ("0", "2", "10"):
        own = folds == fold
        other_truth = truth.copy()
        other_truth[own] = 0 if target.exclusive else 1 - truth[own]
        again = cross_fitted(other_truth, probs, folds, target, name)
        assert np.array_equal(again[own], decided[own])
        assert np.array_equal(
            decided[own],
            decide(probs[own], target, choose_decision(truth[~own], probs[~own], target, name, folds[~own])),
        )


@pytest.mark.parametrize(("kind", "name"), FOLDED[:2])
def test_choosing_and_scoring_on_the_same_rows_flatters(kind, name):
    target = TARGETS[kind]
    flattered, honest = [], []
    for seed in range(20):
        truth, probs = random_case(target, 60, seed)
        folds = np.arange(60) % 3
        flattered.append(value_of(name, truth, probs, target, choose_decision(truth, probs, target, name)))
        honest.append(value(name, truth, cross_fitted(truth, probs, folds, target, name), target))
    assert np.mean(honest) < np.mean(flattered)


@pytest.mark.parametrize(
    "decision",
    [
        Decision(),
        Decision(cuts=(0.1, 1 / 3)),
        Decision(factors=(1e-9, 1 / 3)),
        Decision(thresholds=(0.5, 1e-17), at_least=1),
    ],
)
def test_a_decision_is_read_as_it_was_written(decision, tmp_path):
    write_decision(tmp_path / "decision.json", decision)
    assert read_decision(tmp_path / "decision.json") == decision


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "decision.json is damaged"),
        ("[]", "decision.json is not a decision of this version (its keys are [], must be ['thresholds', 'cuts', 'at_least', 'factors'])"),
        ("3", "is not a decision of this version"),
        ('{"thresholds": []}', "its keys are ['thresholds']"),
        ('{"thresholds": 1, "cuts": [], "at_least": 0, "factors": []}', "decision.json is not a decision"),
        ('{"thresholds": ["x"], "cuts": [], "at_least": 0, "factors": []}', "could not convert string to float: 'x'"),
        ('{"thresholds": [NaN], "cuts": [], "at_least": 0, "factors": []}', "must be finite numbers, factors above 0); run `dvc repro -f -s evaluate`"),
        ('{"thresholds": [], "cuts": [2, 1], "at_least": 0, "factors": []}', "cuts (2.0, 1.0) must increase"),
        ('{"thresholds": [], "cuts": [], "at_least": 2, "factors": []}', "at_least is 2; allowed: 0, 1"),
        ('{"thresholds": [], "cuts": [], "at_least": 0, "factors": [1, 0]}', "factors (1.0, 0.0) must be finite numbers, factors above 0"),
        ('{"thresholds": [1], "cuts": [1], "at_least": 0, "factors": []}', "1 thresholds, 1 cuts and 0 factors; one kind at most"),
    ],
)  # fmt: skip
def test_a_damaged_decision_stops_naming_the_file(content, message, tmp_path):
    (tmp_path / "decision.json").write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_decision(tmp_path / "decision.json")
    assert "decision.json" in str(error.value)


@pytest.mark.parametrize(
    ("kind", "decision", "message"),
    [
        ("single_label", Decision(thresholds=(0.5,)), "a single_label target of 3 classes takes no or 0 thresholds, no or 0 cuts, no or 3 factors, at_least 0; the decision has 1, 0, 0 and at_least 0"),
        ("binary", Decision(thresholds=(0.5, 0.5)), "takes no or 1 thresholds"),
        ("binary", Decision(at_least=1), "the decision has 0, 0, 0 and at_least 1"),
        ("ordinal", Decision(cuts=(0.5,)), "no or 4 cuts"),
        ("multi_label", Decision(cuts=(0.5,)), "takes no or 3 thresholds, no or 0 cuts, no or 0 factors; the decision has 0, 1"),
    ],
)  # fmt: skip
def test_a_decision_of_another_target_stops(kind, decision, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        decide(random_case(TARGETS[kind])[1], TARGETS[kind], decision)


def test_rows_that_do_not_fit_stop():
    truth, probs = random_case(SINGLE, 4)
    with pytest.raises(
        ValueError, match=re.escape("probabilities are (4, 2), must be (N, 3): a column for each class")
    ):
        decide(probs[:, :2], SINGLE, Decision())
    with pytest.raises(ValueError, match="3 true labels for 4 rows of probabilities"):
        choose_decision(truth[:3], probs, SINGLE, "accuracy")
    with pytest.raises(ValueError, match="4 folds of 1 names for 4 rows: each row needs one, of at least 2 names"):
        cross_fitted(truth, probs, np.zeros(4), SINGLE, "accuracy")
    with pytest.raises(ValueError, match="3 folds of 3 names for 4 rows"):
        cross_fitted(truth, probs, np.arange(3), SINGLE, "accuracy")
    with pytest.raises(ValueError, match="metric 'acuracy' is unknown"):
        choose_decision(truth, probs, SINGLE, "acuracy")
    probs[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"1 of 4 rows of probabilities are not finite, first \[2\]"):
        decide(probs, SINGLE, Decision())
