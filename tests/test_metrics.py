"""Metrics by name: scikit-learn's values, one direction each, whatever the form of the answers."""

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk

from pipeline.competition.schema import Target
from pipeline.scoring.metrics import ALIASES, metric_named, metric_sources, metrics_in, score
from pipeline.submission.answers import Answers

CLASSES = ("a", "b", "c", "d")
SINGLE = Target(kind="single_label", columns=("label",), classes=CLASSES)
ORDINAL = Target(kind="ordinal", columns=("grade",), classes=("low", "mid", "high", "top"))
BINARY = Target(kind="binary", columns=("label",), classes=("yes", "no"), positive="yes")
MULTI = Target(kind="multi_label", columns=CLASSES, classes=CLASSES)
TARGETS = {target.kind: target for target in (SINGLE, ORDINAL, BINARY, MULTI)}


def random_case(target, count=57, seed=0):
    """(truth, scores): scores that know a little of the truth; rows of exclusive targets sum to 1."""
    rng = np.random.default_rng(seed)
    num_classes = len(target.classes)
    if not target.exclusive:
        truth = (rng.random((count, num_classes)) < 0.4).astype(np.float32)
        return truth, np.clip(rng.random(truth.shape) * 0.8 + truth * 0.2, 0, 1)
    truth = rng.permutation(np.arange(count) % num_classes)
    scores = rng.random((count, num_classes)) + 0.4 * np.eye(num_classes)[truth]
    return truth, scores / scores.sum(axis=1, keepdims=True)


def labels_of(scores, target):
    return scores.argmax(axis=1) if target.exclusive else scores >= 0.5


def f1(average):
    return of_labels(sk.f1_score, average=average, zero_division=0)


def f2(average):
    return of_labels(sk.fbeta_score, beta=2, average=average, zero_division=0)


def ratios(name, function):
    """For `EXPECTED`: macro_NAME and so on; the positive class of BINARY is the first."""
    of_all = (*EXCLUSIVE, "multi_label")
    kinds = {"samples": ("multi_label",), "binary": ("binary",)}
    options = {"binary": {"pos_label": 0}}
    return [
        (f"{average}_{name}", kinds.get(average, of_all),
         of_labels(function, average=average, zero_division=0, **options.get(average, {})))
        for average in ("macro", "micro", "weighted", "samples", "binary")
    ]  # fmt: skip


def brier(truth, scores, target):
    if target.kind == "binary":
        return sk.brier_score_loss(truth == 0, scores[:, 0])
    if target.exclusive:
        return sk.brier_score_loss(truth, scores, labels=range(len(target.classes)), scale_by_half=False)
    return np.mean([sk.brier_score_loss(*pair) for pair in zip(truth.T, scores.T, strict=True)])


def ranking(truth, scores, target):
    return sk.label_ranking_average_precision_score(
        np.eye(len(target.classes))[truth] if target.exclusive else truth, scores
    )


def geometric_mean(truth, scores, target):
    recalls = sk.recall_score(truth, labels_of(scores, target), average=None)
    return recalls.prod() ** (1 / len(recalls))


def of_labels(function, **options):
    return lambda truth, scores, target: function(truth, labels_of(scores, target), **options)


def of_columns(function):
    def mean(truth, scores, target):
        return function(np.eye(len(target.classes))[truth] if target.exclusive else truth, scores, average="macro")

    return mean


column_auc, column_precision = of_columns(sk.roc_auc_score), of_columns(sk.average_precision_score)


def within(k, *, right):
    def share(truth, scores, target):
        found = sk.top_k_accuracy_score(truth, scores, k=k, labels=range(len(target.classes)))
        return found if right else 1 - found

    return share


def column_log_loss(truth, scores, target):
    return np.mean([sk.log_loss(*pair, labels=[0, 1]) for pair in zip(truth.T, scores.T, strict=True)])


EXCLUSIVE = ("single_label", "ordinal", "binary")
EXPECTED = [
    ("accuracy", (*EXCLUSIVE, "multi_label"), of_labels(sk.accuracy_score)),
    ("balanced_accuracy", EXCLUSIVE, of_labels(sk.balanced_accuracy_score)),
    ("macro_f1", (*EXCLUSIVE, "multi_label"), f1("macro")),
    ("micro_f1", (*EXCLUSIVE, "multi_label"), f1("micro")),
    ("weighted_f1", (*EXCLUSIVE, "multi_label"), f1("weighted")),
    ("samples_f1", ("multi_label",), f1("samples")),
    ("binary_f1", ("binary",), of_labels(sk.f1_score, pos_label=0)),
    ("element_accuracy", ("multi_label",), lambda truth, scores, target: 1 - sk.hamming_loss(truth, scores >= 0.5)),
    ("log_loss", EXCLUSIVE, lambda truth, scores, target: sk.log_loss(truth, scores)),
    ("log_loss", ("multi_label",), column_log_loss),
    ("auc", ("binary",), lambda truth, scores, target: sk.roc_auc_score(truth == 0, scores[:, 0])),
    ("auc", ("single_label", "ordinal"), lambda truth, scores, target: sk.roc_auc_score(truth, scores, multi_class="ovr")),
    ("auc", ("multi_label",), column_auc),
    ("mean_column_auc", ("single_label", "ordinal", "multi_label"), column_auc),
    ("average_precision", ("binary",), lambda truth, scores, target: sk.average_precision_score(truth == 0, scores[:, 0])),
    ("average_precision", ("single_label", "ordinal", "multi_label"), column_precision),
    ("macro_f2", (*EXCLUSIVE, "multi_label"), f2("macro")),
    ("weighted_f0.5", ("single_label", "multi_label"), of_labels(sk.fbeta_score, beta=0.5, average="weighted", zero_division=0)),
    ("samples_f2", ("multi_label",), f2("samples")),
    ("binary_f2", ("binary",), of_labels(sk.fbeta_score, beta=2, pos_label=0)),
    ("hamming_loss", ("multi_label",), of_labels(sk.hamming_loss)),
    ("matthews_corrcoef", EXCLUSIVE, of_labels(sk.matthews_corrcoef)),
    ("top2_accuracy", ("single_label", "ordinal"), within(2, right=True)),
    ("top2_error", ("single_label", "ordinal"), within(2, right=False)),
    ("cohen_kappa", EXCLUSIVE, of_labels(sk.cohen_kappa_score)),
    ("linear_weighted_kappa", EXCLUSIVE, of_labels(sk.cohen_kappa_score, weights="linear")),
    ("quadratic_weighted_kappa", EXCLUSIVE, of_labels(sk.cohen_kappa_score, weights="quadratic")),
    *ratios("precision", sk.precision_score), *ratios("recall", sk.recall_score), *ratios("jaccard", sk.jaccard_score),
    ("specificity", ("binary",), of_labels(sk.recall_score, pos_label=1)),
    ("geometric_mean", EXCLUSIVE, geometric_mean),
    ("brier_score", (*EXCLUSIVE, "multi_label"), brier),
    ("gini", ("binary",), lambda truth, scores, target: 2 * sk.roc_auc_score(truth == 0, scores[:, 0]) - 1),
    ("micro_auc", ("multi_label",), lambda truth, scores, target: sk.roc_auc_score(truth, scores, average="micro")),
    ("micro_auc", ("single_label",), lambda truth, scores, target: sk.roc_auc_score(truth, scores, average="micro", multi_class="ovr")),
    ("label_ranking_average_precision", (*EXCLUSIVE, "multi_label"), ranking),
    ("top1_error", EXCLUSIVE, lambda truth, scores, target: 1 - sk.accuracy_score(truth, labels_of(scores, target))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "expected"), [(name, kind, function) for name, kinds, function in EXPECTED for kind in kinds]
)
def test_scores_are_scikit_learns(name, kind, expected):
    target = TARGETS[kind]
    for seed in range(3):
        truth, scores = random_case(target, seed=seed)
        got = score(name, truth, Answers(scores=scores), target)
        assert type(got) is float
        assert got == pytest.approx(expected(truth, scores, target), rel=1e-12)


@pytest.mark.parametrize("name", sorted({name for name, _, _ in EXPECTED} | {"map@3"}))
def test_the_direction_is_that_of_a_better_answer(name):
    kind = next((kinds[0] for known, kinds, _ in EXPECTED if known == name), "single_label")
    target = TARGETS[kind]
    truth, scores = random_case(target)
    if name.startswith("samples_"):
        truth[:, 0] = 1  # an image without label scores 0 whatever the answer, as in scikit-learn
    perfect = np.eye(len(target.classes))[truth] if target.exclusive else truth
    best, some = (score(name, truth, Answers(scores=found), target) for found in (perfect, scores))
    assert (best > some) == metric_named(name).higher_is_better
    assert best == pytest.approx(1.0 if best > some else 0.0, abs=1e-12)


def naive_map(true_sets, lists, k):
    """Kaggle's apk and mapk, written as they are defined."""
    total = 0.0
    for true, ranked in zip(true_sets, lists, strict=True):
        hits, precision = 0, 0.0
        for position, label in enumerate(ranked[:k]):
            if label in true and label not in ranked[:position]:
                hits += 1
                precision += hits / (position + 1)
        total += precision / min(len(true), k) if true else 0.0
    return total / len(lists)


@pytest.mark.parametrize("target", [SINGLE, MULTI], ids=["single_label", "multi_label"])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_map_at_k_is_the_naive_one(target, k):
    rng = np.random.default_rng(k)
    truth, scores = random_case(target)
    sets = [{CLASSES[index]} for index in truth] if target.exclusive else [
        {CLASSES[index] for index in np.flatnonzero(row)} for row in truth
    ]  # fmt: skip
    lists = [rng.choice(CLASSES, size=rng.integers(0, 6)).tolist() for _ in truth]
    assert score(f"map@{k}", truth, Answers(lists=lists), target) == pytest.approx(naive_map(sets, lists, k))
    ranked = [[CLASSES[index] for index in np.argsort(-row)] for row in scores]
    assert score(f"map@{k}", truth, Answers(scores=scores), target) == pytest.approx(naive_map(sets, ranked, k))


def test_map_at_k_by_hand():
    def single(label, ranked, k):
        return score(f"map@{k}", np.array([CLASSES.index(label)]), Answers(lists=[ranked]), SINGLE)

    assert single("b", ["b", "a"], 2) == 1.0
    assert single("b", ["a", "b"], 2) == 0.5
    assert single("b", ["a", "a", "b"], 3) == pytest.approx(1 / 3)
    assert single("b", ["a", "c", "b"], 2) == 0.0
    assert single("b", [], 2) == 0.0
    assert score("map@2", np.array([1, 0]), Answers(labels=["b", "b"]), SINGLE) == 0.5
    two = np.array([[1, 0, 1, 0]], dtype=np.float32)
    assert score("map@3", two, Answers(lists=[["a", "b", "c"]]), MULTI) == pytest.approx((1 + 2 / 3) / 2)
    assert score("map@1", two, Answers(lists=[["c", "b", "a"]]), MULTI) == 1.0
    assert score("map@3", np.zeros((1, 4), dtype=np.float32), Answers(lists=[["a"]]), MULTI) == 0.0


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("qwk", "quadratic_weighted_kappa"), ("Quadratic kappa", "quadratic_weighted_kappa"), ("roc_auc", "auc"), ("ROC-AUC", "auc"),
        ("f1_macro", "macro_f1"), ("macro f1", "macro_f1"), ("Macro F1-score", "macro_f1"), ("logloss", "log_loss"),
        ("Log Loss", "log_loss"), ("MAP@5", "map@5"), ("map 10", "map@10"), ("mean_f1", "samples_f1"), ("ACC", "accuracy"),
        ("mean column-wise AUC", "mean_column_auc"), ("error rate", "top1_error"), ("top-1 error", "top1_error"),
        ("Top-5 error rate", "top5_error"), ("top 3 acc", "top3_accuracy"), ("top-1 accuracy", "accuracy"), ("MCC", "matthews_corrcoef"),
        ("mean F2 score", "samples_f2"), ("F0.5 macro", "macro_f0.5"), ("binary_f2.0", "binary_f2"), ("Hamming loss", "hamming_loss"),
        ("Mean Average Precision", "average_precision"), ("Cohen kappa", "cohen_kappa"), ("Macro Recall", "macro_recall"),
        ("recall_score macro", "macro_recall"), ("jaccard samples", "samples_jaccard"), ("sensitivity", "binary_recall"),
        ("G-mean", "geometric_mean"), ("Hit@3", "top3_accuracy"), ("accuracy@5", "top5_accuracy"), ("MRR", "label_ranking_average_precision"),
        ("Normalized Gini", "gini"), ("PR-AUC", "average_precision"), ("UAR", "macro_recall"), ("Brier", "brier_score"),
        ("Multi-class logarithmic loss", "log_loss"), ("BCE", "log_loss"), ("mean column-wise log loss", "log_loss"),
    ],
)  # fmt: skip
def test_common_spellings(spelling, name):
    assert metric_named(spelling).name == name
    assert metric_named(spelling) == metric_named(name)


@pytest.mark.parametrize(
    ("sentence", "names"),
    [
        ("Submissions are evaluated on the macro F1-score.", ["macro_f1"]),
        ("The metric is Quadratic Weighted Kappa (QWK), not accuracy.", ["quadratic_weighted_kappa", "accuracy"]),
        ("scored by the mean column-wise ROC AUC", ["mean_column_auc"]),
        ("Evaluation: area under the ROC curve between truth and prediction", ["auc"]),
        ("MAP@5 of the map in each error report", ["map@5"]),
        ("Top-5 accuracy; balanced accuracy", ["top5_accuracy", "balanced_accuracy"]),
        ("F1", []),
        ("ranked by the Macro-averaged F1 score", ["macro_f1"]),
        ("score = 100 * metrics.f1_score(actual, predicted, average='weighted')", ["weighted_f1"]),
        ("a map of acc and ap", []),
        ("multi-class logarithmic loss.", ["log_loss"]),
    ],
)
def test_metrics_that_a_sentence_speaks_of(sentence, names):
    assert metrics_in(sentence) == names


def test_every_alias_is_plain_and_leads_to_a_metric():
    for spelling, name in ALIASES.items():
        assert re.fullmatch(r"[a-z0-9]+", spelling)
        assert metric_named(spelling) == metric_named(name)


def test_the_form_a_metric_takes():
    assert {name: metric_named(name).takes for name in ("accuracy", "samples_f1", "auc", "log_loss", "map@5")} == {
        "accuracy": "labels", "samples_f1": "labels", "auc": "scores", "log_loss": "scores", "map@5": "lists",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["acuracy", "f1", "f2", "macro_f2_micro", "macro_f0", "top0_error", "map@0", "map@", "", "jaccard"]
)
def test_an_unknown_name_stops_with_what_is_allowed(name):
    with pytest.raises(
        ValueError, match=r"Allowed: accuracy, .*, map@k for any k from 1 \(map@5\), .*macro_f2.*, or module:function"
    ):
        metric_named(name)


def test_the_files_of_a_users_metric_are_those_in_the_folder(tmp_path, monkeypatch):
    """torch.classes, for one, says that its file is `_classes.py`, wherever that is looked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("helper_of_mine.py").write_text("import torch\n")
    Path("metric_of_mine.py").write_text("import helper_of_mine\ndef score(): pass\nscore.takes = 'labels'\n")
    assert {name: path.name for name, path in metric_sources("metric_of_mine:score").items()} == {
        "metric_of_mine.py": "metric_of_mine.py", "helper_of_mine.py": "helper_of_mine.py",
    }  # fmt: skip


def test_data_that_a_users_metric_names_or_lists_are_its_files_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("costs").mkdir()
    for name in ("costs/of.csv", "costs_of.csv", "weights_1.npy", "unnamed.csv"):
        Path(name).write_text("1\n")
    code = 'def score(*given): return float(open("costs/of.csv").read()) + float(open("costs_of.csv").read())\n'
    Path("costly_metric.py").write_text(f"{code}score.files = [f'weights_{{n}}.npy' for n in (1,)]\n")
    found = metric_sources("costly_metric:score")
    assert set(found) == {"costly_metric.py", "costs%2Fof.csv", "costs_of.csv", "weights_1.npy"}
    assert all(path.is_file() for path in found.values())
    Path("weights_1.npy").unlink()
    with pytest.raises(ValueError, match="score.files names 'weights_1.npy', which is no file in"):
        metric_sources("costly_metric:score")


def test_close_names_are_offered():
    with pytest.raises(ValueError, match="metric 'acuracy' is unknown; did you mean accuracy"):
        metric_named("acuracy")
    with pytest.raises(ValueError, match="did you mean .*macro_f1"):
        metric_named("f1")
    for name in ("kappa", "weighted kappa"):  # without weights, or by linear ones, it is another score
        with pytest.raises(ValueError, match="did you mean .*quadratic_weighted_kappa"):
            metric_named(name)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_form_of_the_answers_does_not_matter(target):
    truth, scores = random_case(target)
    decided = labels_of(scores, target)
    zero_one = np.eye(len(target.classes))[decided] if target.exclusive else decided.astype(float)
    lists = [[target.classes[index] for index in np.flatnonzero(row)] for row in zero_one]
    forms = [Answers(scores=scores), Answers(scores=zero_one), Answers(lists=lists)]
    if target.exclusive:
        forms += [Answers(labels=[target.classes[index] for index in decided])]
        forms += [Answers(lists=[[*row, target.classes[0]] for row in lists])]
    for name in ("accuracy", "macro_f1", "weighted_f1"):
        assert len({score(name, truth, answers, target) for answers in forms}) == 1
    for name in ("log_loss", "mean_column_auc"):
        assert len({score(name, truth, answers, target) for answers in forms[1:]}) == 1


def test_one_label_an_image_is_an_answer_to_many_labels():
    truth = np.array([[1, 0, 0, 0], [0, 1, 1, 0]], dtype=np.float32)
    assert score("samples_f1", truth, Answers(labels=["a", "b"]), MULTI) == pytest.approx((1 + 2 / 3) / 2)


def test_log_loss_is_kaggles():
    truth = np.array([0, 1])
    rows = np.array([[2.0, 2.0], [0.0, 3.0]])
    assert score("log_loss", truth, Answers(scores=rows), BINARY) == pytest.approx(math.log(2) / 2)
    sure = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert score("log_loss", truth, Answers(scores=sure), BINARY) == pytest.approx(-math.log(1e-15) / 2)


def test_kappa_counts_positions_in_the_order_of_the_classes():
    truth = np.array([0, 1, 2, 3])
    near, far = (Answers(labels=[ORDINAL.classes[k] for k in found]) for found in ([1, 1, 2, 3], [3, 1, 2, 3]))
    assert score("qwk", truth, near, ORDINAL) > score("qwk", truth, far, ORDINAL)


def test_columns_of_one_class_stop_the_whole_set_and_are_left_out_of_a_part():
    truth, scores = random_case(MULTI)
    truth[:, 1], truth[:, 3] = 0, 1
    with pytest.raises(
        ValueError, match=r"AUC is undefined for 2 of 4 classes, .* all of the 57 images have: \['b', 'd'\]"
    ):
        score("mean_column_auc", truth, Answers(scores=scores), MULTI)
    got = score("mean_column_auc", truth, Answers(scores=scores), MULTI, skip_one_sided=True)
    assert got == pytest.approx(sk.roc_auc_score(truth[:, [0, 2]], scores[:, [0, 2]], average="macro"))
    assert score("accuracy", truth, Answers(scores=scores), MULTI, skip_one_sided=True) >= 0
    with pytest.raises(ValueError, match="undefined for 4 of 4 classes"):
        score("auc", np.ones_like(truth), Answers(scores=scores), MULTI, skip_one_sided=True)


THREE = np.array([0, 1, 1])
ROWS = np.full((3, 2), 0.5)


@pytest.mark.parametrize(
    ("name", "truth", "answers", "target", "message"),
    [
        ("binary_f1", THREE, Answers(scores=ROWS), SINGLE, "metric binary_f1 needs a target that is binary; this one is single_label"),
        ("qwk", np.zeros((3, 4)), Answers(scores=np.zeros((3, 4))), MULTI, "needs a target that is single_label or binary or ordinal; this one is multi_label"),
        ("samples_f1", THREE, Answers(scores=ROWS), BINARY, "needs a target that is multi_label"),
        ("accuracy", ROWS, Answers(scores=ROWS), BINARY, "the truth of a binary target must be (N,) with N >= 1, found (3, 2)"),
        ("accuracy", THREE, Answers(scores=ROWS), MULTI, "the truth of a multi_label target must be (N, 4) with N >= 1, found (3,)"),
        ("accuracy", THREE[:0], Answers(scores=ROWS[:0]), BINARY, "with N >= 1, found (0,)"),
        ("accuracy", np.array([0, 2, -1]), Answers(scores=ROWS), BINARY, "2 values of the truth are not 0 to 1, first [2, -1]"),
        ("accuracy", THREE, Answers(), BINARY, "answers hold 0 forms [], must hold one of labels, scores, lists"),
        ("accuracy", THREE, Answers(labels=["yes"] * 3, scores=ROWS), BINARY, "answers hold 2 forms ['labels', 'scores']"),
        ("accuracy", THREE, Answers(labels=["yes"] * 2), BINARY, "answers hold labels for 2 images, the truth is of 3"),
        ("accuracy", THREE, Answers(scores=ROWS[:, :1]), BINARY, "scores are (3, 1), must be (3, 2)"),
        ("accuracy", THREE, Answers(scores=ROWS * [[1], [np.nan], [np.inf]]), BINARY, "2 of 3 rows of the scores are not finite, first [1, 2]"),
        ("accuracy", THREE, Answers(labels=["yes", "maybe", "no"]), BINARY, "1 labels are not among the 2 classes, first ['maybe']"),
        ("accuracy", THREE, Answers(lists=[["yes"], [], []]), BINARY, "2 of 3 images have no label, first rows [1, 2]"),
        ("log_loss", THREE, Answers(scores=ROWS * [[1], [0], [-1]]), BINARY, "2 of 3 rows are negative somewhere or sum to 0, first rows [1, 2]"),
        ("log_loss", np.zeros((1, 4)), Answers(scores=np.array([[0, 1, 1.5, -1]])), MULTI, "2 of 4 scores are not 0 to 1"),
        ("auc", np.array([1, 1, 1]), Answers(scores=ROWS), BINARY, "AUC is undefined for 1 of 1 classes, which none or all of the 3 images have: ['yes']"),
        ("qwk", np.array([1, 1, 1]), Answers(labels=["no"] * 3), BINARY, "quadratic_weighted_kappa is undefined: all 3 images are 'no'"),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_stops_with_the_reason(name, truth, answers, target, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        score(name, truth, answers, target)


USERS = """
def half_right(truth, answers, classes):
    return sum(classes[index] == label for index, label in zip(truth, answers.labels)) / len(truth) / 2
half_right.takes = "labels"

def brier(truth, answers, classes):
    return ((answers.scores - [[index == truth_index for index in range(len(classes))] for truth_index in truth]) ** 2).mean()
brier.higher_is_better = False

def depth(truth, answers, classes):
    return sum(map(len, answers.lists)) / len(truth)
depth.takes = "lists"

def nothing(truth, answers, classes):
    return None

def not_a_number(truth, answers, classes):
    return float("nan")

def odd(truth, answers, classes):
    return 0.0
odd.takes = "bytes"

def lower(truth, answers, classes):
    return 0.0
lower.higher_is_better = "no"

def greater(truth, answers, classes):
    return 0.0
greater.greater_is_better = False

constant = 1
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A folder with the user's own metrics, as the current one."""
    (tmp_path / "our_metrics.py").write_text(USERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("our_metrics", None)


@pytest.mark.usefixtures("users")
def test_a_users_own_metric():
    metric = metric_named("our_metrics:brier")
    assert (metric.name, metric.higher_is_better, metric.takes) == ("our_metrics:brier", False, "scores")
    assert metric_named("our_metrics:half_right").higher_is_better
    truth, scores = random_case(SINGLE)
    labels = [CLASSES[index] for index in scores.argmax(axis=1)]
    for answers in (Answers(scores=scores), Answers(labels=labels)):
        assert score("our_metrics:half_right", truth, answers, SINGLE) == score("accuracy", truth, answers, SINGLE) / 2
    one_hot = score("our_metrics:brier", truth, Answers(labels=labels), SINGLE)
    assert one_hot == pytest.approx(score("top1_error", truth, Answers(labels=labels), SINGLE) * 2 / 4)
    assert score("our_metrics:depth", truth, Answers(scores=scores), SINGLE) == 4
    assert score("our_metrics:depth", truth, Answers(labels=labels), SINGLE) == 1
    assert score("our_metrics:depth", truth, Answers(lists=[["a", "b"]] * 57), SINGLE) == 2


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:f", r"metric 'no_such_module:f': no module 'no_such_module' with a function 'f' could be imported \(No module"),
        ("our_metrics:absent", r"module 'our_metrics' \(.*our_metrics.py\) has no function 'absent'"),
        ("our_metrics:constant", "has no function 'constant'"),
        (":f", "no module '' with a function 'f' could be imported"),
        ("our_metrics:odd", "odd.takes is 'bytes'; allowed: labels, scores, lists"),
        ("our_metrics:lower", "lower has higher_is_better = 'no'; write lower.higher_is_better = True, or False"),
        ("our_metrics:greater", "greater has greater_is_better, which is not read; write greater.higher_is_better = "),
        ("our_metrics:nothing", "metric 'our_metrics:nothing' returned None, must return a number"),
        ("our_metrics:not_a_number", "metric our_metrics:not_a_number gives nan for these 3 images"),
    ],
)  # fmt: skip
def test_a_users_metric_that_does_not_work_stops(name, message):
    with pytest.raises(ValueError, match=message):
        score(name, THREE, Answers(scores=ROWS), BINARY)


@pytest.mark.parametrize("name", ["macro_f1", "micro_f1", "weighted_f1", "samples_f1"])
def test_f1_of_one_label_is_that_labels_and_not_its_absences(name):
    truth = np.array([1] * 5 + [1] * 2 + [0] * 2 + [0] * 4)[:, None].astype(np.float32)
    called = np.array([1] * 5 + [0] * 2 + [1] * 2 + [0] * 4)[:, None].astype(np.float64)
    one, two = (Target(kind="multi_label", columns=CLASSES[:n], classes=CLASSES[:n]) for n in (1, 2))
    got = score(name, truth, Answers(scores=called), one)
    assert got == pytest.approx(5 / 13 if name == "samples_f1" else 10 / 14)  # scikit-learn's macro: 0.6905
    twice = score(name, truth.repeat(2, axis=1), Answers(scores=called.repeat(2, axis=1)), two)
    assert got == pytest.approx(twice), "the same label, written twice"
    assert score(name, truth, Answers(lists=[["a"] if cell else [] for cell in called]), one) == got
