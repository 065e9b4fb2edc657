"""Scores by name. scikit-learn's, with one direction each; imported where used (it costs a second)."""

import difflib
import importlib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from pipeline.competition.schema import TARGET_KINDS, Target, class_indices
from pipeline.submission.answers import Answers, decided_answers, indicators, label_lists, likeliest

FORMS = ("labels", "scores", "lists")
EXCLUSIVE_KINDS = ("single_label", "binary", "ordinal")
# those that a column of one class leaves undefined
COLUMN_METRICS = ("auc", "mean_column_auc", "average_precision", "gini")
KAPPAS = {"cohen_kappa": None, "linear_weighted_kappa": "linear", "quadratic_weighted_kappa": "quadratic"}  # weights
OF_SEVERAL = (*COLUMN_METRICS, "micro_auc", *KAPPAS)  # undefined where all images are alike
AVERAGES = ("macro", "micro", "weighted", "samples", "binary")
RATIOS = ("precision", "recall", "jaccard")  # of right labels among the given, the true, and either
MAX_WORDS = 7  # of a metric's name
AVERAGE_ASKED = re.compile(r"\b(\w+_score)\([^)]*average\s*=\s*[\"'](\w+)")
QUOTED = re.compile(r"[\"']([^\"'\n\0]{1,200})[\"']")
AUC = "roc_auc_score"  # of scikit-learn's
CLIP = 1e-15  # Kaggle's; a sure and wrong answer costs 34.5

# other spellings, without case, spaces, - and _ (`macro F1-score` is `macrof1score`)
ALIASES = {
    "acc": "accuracy", "accuracyscore": "accuracy", "categorizationaccuracy": "accuracy",
    "classificationaccuracy": "accuracy", "top1accuracy": "accuracy", "subsetaccuracy": "accuracy",
    "exactmatch": "accuracy",
    "categorisationaccuracy": "accuracy", "percentcorrect": "accuracy",
    "balancedaccuracyscore": "balanced_accuracy", "balancedacc": "balanced_accuracy", "bacc": "balanced_accuracy",
    "meanperclassaccuracy": "balanced_accuracy", "meanclassaccuracy": "balanced_accuracy",
    "averageclassaccuracy": "balanced_accuracy", "meanperclassrecall": "balanced_accuracy",
    "meanrecall": "macro_recall", "averagerecall": "macro_recall", "uar": "macro_recall",
    "unweightedaveragerecall": "macro_recall",
    "sensitivity": "binary_recall", "truepositiverate": "binary_recall", "tpr": "binary_recall",
    "truenegativerate": "specificity", "tnr": "specificity",
    "gmean": "geometric_mean", "geometricmeanscore": "geometric_mean",
    "brier": "brier_score", "brierscoreloss": "brier_score", "brierloss": "brier_score",
    "lrap": "label_ranking_average_precision", "mrr": "label_ranking_average_precision",
    "meanreciprocalrank": "label_ranking_average_precision",
    "labelrankingaverageprecisionscore": "label_ranking_average_precision",
    "f1macro": "macro_f1", "macrof1score": "macro_f1", "macrofscore": "macro_f1", "f1scoremacro": "macro_f1",
    "f1micro": "micro_f1", "microf1score": "micro_f1", "microfscore": "micro_f1", "f1scoremicro": "micro_f1",
    "f1weighted": "weighted_f1", "weightedf1score": "weighted_f1", "f1scoreweighted": "weighted_f1",
    "f1binary": "binary_f1", "binaryf1score": "binary_f1", "f1scorebinary": "binary_f1",
    "f1samples": "samples_f1", "samplesf1score": "samples_f1", "f1scoresamples": "samples_f1",
    "samplef1": "samples_f1", "meanf1": "samples_f1", "meanf1score": "samples_f1", "meanfscore": "samples_f1",
    "elementwiseaccuracy": "element_accuracy", "hammingscore": "element_accuracy", "hamming": "hamming_loss",
    "prauc": "average_precision", "auprc": "average_precision", "aucpr": "average_precision",
    "averageprecisionscore": "average_precision", "ap": "average_precision", "cmap": "average_precision",
    "macroaverageprecision": "average_precision", "meanaverageprecision": "average_precision",
    "classmeanaverageprecision": "average_precision",
    "mcc": "matthews_corrcoef", "matthews": "matthews_corrcoef", "matthewscorrelation": "matthews_corrcoef",
    "matthewscorrelationcoefficient": "matthews_corrcoef",
    "logloss": "log_loss", "crossentropy": "log_loss",
    "categoricalcrossentropy": "log_loss", "binarycrossentropy": "log_loss", "bce": "log_loss",
    "meancolumnwiselogloss": "log_loss", "multiclasslogarithmicloss": "log_loss", "logarithmicloss": "log_loss",
    "multiclasslogloss": "log_loss", "binarylogloss": "log_loss", "multiclassloss": "log_loss", "nll": "log_loss",
    "rocauc": "auc", "aucroc": "auc", "auroc": "auc", "rocaucscore": "auc", "areaunderroc": "auc",
    "areaundertheroccurve": "auc", "areaunderreceiveroperatingcharacteristiccurve": "auc",
    "meancolumnwiseauc": "mean_column_auc", "meancolumnwiserocauc": "mean_column_auc",
    "columnauc": "mean_column_auc", "columnwiseauc": "mean_column_auc", "macroauc": "mean_column_auc",
    "mcauc": "mean_column_auc", "meanauc": "mean_column_auc",
    "microrocauc": "micro_auc", "giniindex": "gini", "ginicoefficient": "gini", "normalizedgini": "gini",
    "normalizedginiindex": "gini", "normalizedginicoefficient": "gini", "normalisedgini": "gini",
    "cohenskappa": "cohen_kappa", "cohenkappascore": "cohen_kappa",
    "linearkappa": "linear_weighted_kappa", "lwk": "linear_weighted_kappa",
    "qwk": "quadratic_weighted_kappa", "quadratickappa": "quadratic_weighted_kappa",
    "quadraticweightedkappascore": "quadratic_weighted_kappa",
    "zerooneloss": "top1_error", "01loss": "top1_error",
    "error": "top1_error", "errorrate": "top1_error", "classificationerror": "top1_error",
    "misclassificationrate": "top1_error", "top1err": "top1_error",
}  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """A score with its direction.

    `takes` is the form of Answers that says all the metric asks: `labels`, decided labels (of a multi_label target
    they come as `Answers.lists`); `scores`, probabilities; `lists`, labels of an image, best first. first: of which so
    many count, 0 for all. beta: of an F score, how many times as much recall counts as precision. like: whose decision
    it has, where that is another's: macro_f1 of macro_f2 and macro_jaccard.
    """

    name: str
    higher_is_better: bool
    takes: str
    first: int = 0
    beta: float = 1.0
    like: str = ""

    @property
    def decided_as(self) -> str:
        """The metric, of those that `pipeline.scoring.decision` knows, whose decision is the best for it too."""
        return self.like or self.name

    @property
    def is_jaccard(self) -> bool:
        """Whether right labels count among all that are given or true."""
        return self.name.endswith("_jaccard")


@dataclass(frozen=True)
class _Known:
    metric: Metric
    kinds: tuple[str, ...]  # of target
    function: Callable[..., float]  # (truth, answers, target)


def metric_named(name: str) -> Metric:
    """The metric of this name or alias; case, spaces, - and _ do not matter, except in `module:function`.

    A user's `module:function` is imported from sys.path and the current folder. It is called with the truth of
    `target_array`, an `Answers` and the classes, returns a float, and may have the attributes `higher_is_better`
    (True without it) and `takes` (`scores` without it). A direction under another name is refused: it would be turned.
    Raises ValueError, with close matches and all that is allowed, for a name that is none.
    """
    return _known(name).metric


def metric_sources(name: str) -> dict[str, Path]:
    """Name -> file, of a user's own `module:function`: its module, what that imports from the current folder, and data.

    Data are the files that its attribute `files` lists, and those of the current folder that these modules name in
    quotes: `np.load("weights.npy")`. Empty for a metric that is ours. What the function imports when it is called, and
    files whose names it puts together, are not among them. Raises ValueError for a listed file that is not there.
    """
    if ":" not in name:
        return {}
    metric_named(name)
    module_name, _, function_name = name.strip().partition(":")
    function = getattr(sys.modules[module_name], function_name)
    own = {module_name, getattr(function, "__module__", module_name)}
    here, others = Path.cwd().resolve(), (Path(__file__).resolve().parents[1], Path(sys.prefix).resolve())
    found = {}
    for module, file in ((module, getattr(loaded, "__file__", None)) for module, loaded in sys.modules.items()):
        if file and module != "__main__":
            path = Path(file).resolve()
            from_here = path.is_relative_to(here) and not any(path.is_relative_to(other) for other in others)
            if (module in own or from_here) and path.is_file():  # torch.classes gives a name of no file
                found[f"{module}.py"] = path
    listed = [str(path) for path in getattr(function, "files", ())]
    lacking = [name for name in listed if not Path(name).is_file()]
    if lacking:
        raise ValueError(f"metric {name!r}: {function_name}.files names {lacking[0]!r}, which is no file in {here}")
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in found.values()]
    quoted = {text for source in texts for text in QUOTED.findall(source) if (here / text).is_file()}
    return found | {quote(text, safe=""): here / text for text in sorted({*listed, *quoted})}  # one for a/b and a_b


def score(
    metric_name: str, truth: np.ndarray, answers: Answers, target: Target, *, skip_one_sided: bool = False
) -> float:
    """The answers' score against `truth`, which is `target_array`'s: (N,) class indices, or (N, C) of 0 and 1.

    Answers of another form than the metric's are converted: scores to labels by argmax (multi_label: at least 0.5)
    and to ranked lists; labels to scores of 0 and 1; lists to their first label (multi_label: to 0 and 1).
    F scores, precision, recall and jaccard are scikit-learn's with 0 for 0/0, over the classes that occur; of
    multi_label over all classes, be it only one. `accuracy` of multi_label asks for all labels of an image; `auc` of
    more than two classes is the same as `mean_column_auc`: one class against the rest. So are `average_precision` and
    `gini`; of two classes they are the positive one's.

    A column of only positives or only negatives has no AUC, and counts in no average precision. Over the whole set that
    is an error; for a part, such as one fold, `skip_one_sided` leaves these columns out of the mean. Raises ValueError
    instead of giving NaN.
    """
    known = _known(metric_name)
    name = known.metric.name
    if target.kind not in known.kinds:
        raise ValueError(f"metric {name} needs a target that is {' or '.join(known.kinds)}; this one is {target.kind}")
    _check_truth(truth, target)
    _check_answers(answers, len(truth), target)
    options = {"skip_one_sided": True} if skip_one_sided and name in COLUMN_METRICS else {}
    value = known.function(truth.astype(np.int64), answers, target, **options)
    if not np.isfinite(value):
        raise ValueError(f"metric {name} gives {value} for these {len(truth)} images, must be a finite number")
    return float(value)


def can_score(metric_name: str, truth: np.ndarray, target: Target) -> bool:
    """Whether the metric says something of images with this truth: some say nothing where all have the same labels."""
    if metric_named(metric_name).name not in OF_SEVERAL:
        return True
    there = indicators(truth, target)
    return bool((there.any(axis=0) & ~there.all(axis=0)).any())


def log_loss(class_indices: np.ndarray, probs: np.ndarray) -> float:
    """Mean negative log probability of the true class, as Kaggle computes it; lower is better.

    class_indices (N,) int; probs (N, C): in float64, rows divided by their sums, then clipped at 1e-15 and 1 - 1e-15.
    Raises ValueError for rows that are negative somewhere or sum to 0.
    """
    wide = probs.astype(np.float64)
    sums = wide.sum(axis=1, keepdims=True)
    wrong = np.flatnonzero((wide < 0).any(axis=1) | (sums[:, 0] <= 0))
    if len(wrong):
        raise ValueError(
            f"metric log_loss needs probabilities: {len(wrong)} of {len(wide)} rows are negative somewhere or sum "
            f"to 0, first rows {wrong[:3].tolist()}"
        )
    clipped = np.clip(wide / sums, CLIP, 1 - CLIP)
    return float(_sklearn().log_loss(class_indices, clipped, labels=np.arange(probs.shape[1])))


def mean_and_standard_error(scores: Sequence[float]) -> tuple[float, float]:
    """Mean over folds, and its standard error: sample standard deviation (n - 1) over the root of n, n >= 2."""
    values = np.asarray(scores, dtype=np.float64)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _known(name: str) -> _Known:
    if ":" in name:
        return _users_own(name.strip())
    plain = _plain(name)
    found, spellings = _spelled(plain), _spellings()
    if found is not None:
        return found
    close = [spellings[match] for match in difflib.get_close_matches(plain, spellings, n=5)]
    inside = [known for spelling, known in spellings.items() if plain and plain in spelling]
    meant = list(dict.fromkeys(close + inside))[:5]
    hint = f"did you mean {' or '.join(meant)}? " if meant else ""
    raise ValueError(
        f"metric {name!r} is unknown; {hint}Allowed: {', '.join(name for name, *_ in _TABLE)}, "
        "map@k for any k from 1 (map@5), topK_accuracy and topK_error (top5_error), F scores of any beta (macro_f2, "
        f"binary_f0.5), {', '.join(RATIOS)} as F scores (macro_recall), or module:function for your own"
    )


def metric_fits(name: str, kind: str) -> bool:
    """Whether the metric is of targets of this kind."""
    return kind in _known(name).kinds


def metrics_in(sentence: str) -> list[str]:
    """Names of the metrics that it speaks of; of overlapping wordings the longest, `mean F1` and not `F1`.

    Short words count in capitals alone: a map is no MAP, and an error not the error rate. A call of scikit-learn's,
    `f1_score(true, predicted, average='macro')`, counts as its name would.
    """
    sentence = AVERAGE_ASKED.sub(r" \2 \1", sentence)
    words, found, at = [word.strip(".") for word in re.findall(r"[\w@.]+", sentence)], [], 0
    while at < len(words):
        lengths = range(min(MAX_WORDS, len(words) - at), 0, -1)
        said = ((length, _said("".join(words[at : at + length]))) for length in lengths)
        length, name = next(((length, name) for length, name in said if name), (1, ""))
        found += [name] if name else []
        at += length
    return list(dict.fromkeys(found))


def _said(words: str) -> str:
    """The name of the metric that is called so; '' for none."""
    is_plain_word = words.islower() and (len(words) < 4 or words == "error")
    known = None if is_plain_word else _spelled(_plain(words))
    return known.metric.name if known else ""


def _spelled(plain: str) -> _Known | None:
    """The metric of this name or alias, as `_plain` writes it."""
    known = _spellings().get(plain)
    return _counted(plain) or (None if known is None else _KNOWN[known])


@cache
def _spellings() -> dict[str, str]:
    return ALIASES | {_plain(known): known for known in _KNOWN}


def _counted(plain: str) -> _Known | None:
    """The metric whose name has a number: map@5, top5_accuracy, macro_f2; None for another, and where it is 1."""
    if found := re.fullmatch(r"(?:map|meanaverageprecision)@?([1-9]\d*)", plain):
        k = int(found[1])
        return _Known(Metric(f"map@{k}", True, "lists", first=k), TARGET_KINDS, partial(_map_at, k=k))
    if found := re.fullmatch(r"top([2-9]|[1-9]\d+)(?:(acc(?:uracy)?)|err(?:or)?(?:rate)?)", plain):
        k, is_share = int(found[1]), bool(found[2])
        metric = Metric(f"top{k}_{'accuracy' if is_share else 'error'}", is_share, "lists", first=k)
        return _Known(metric, EXCLUSIVE_KINDS, partial(_within, k=k, of_right=is_share))
    if found := re.fullmatch(r"(?:hits?(?:rate)?|acc(?:uracy)?|recall)@([2-9]|[1-9]\d+)", plain):
        return _counted(f"top{found[1]}accuracy")
    word = "(macro|micro|weighted|binary|samples?)"
    found = re.fullmatch(rf"{word}?({'|'.join(RATIOS)})(?:score|index)?{word}?", plain)
    if found and bool(found[1]) != bool(found[3]):
        return _KNOWN[f"{_AVERAGE_OF[found[1] or found[3]]}_{found[2]}"]
    word = "(macro|micro|weighted|binary|samples?|mean)"
    found = re.fullmatch(rf"{word}?f(\d+(?:\.\d+)?)(?:score)?{word}?", plain)
    beta = float(found[2]) if found and bool(found[1]) != bool(found[3]) else 0
    if not found or beta in (0, 1):
        return None
    average = _AVERAGE_OF[found[1] or found[3]]
    known = _KNOWN[f"{average}_f1"]
    metric = Metric(f"{average}_f{beta:g}", True, "labels", beta=beta, like=known.metric.name)
    return _Known(metric, known.kinds, partial(known.function, beta=beta))


def _plain(name: str) -> str:
    return re.sub(r"(macro|micro|weighted)averaged", r"\1", re.sub(r"[\s_-]", "", name).lower())


def _users_own(name: str) -> _Known:
    """The metric that function `name` is; see `metric_named`."""
    module_name, _, function_name = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except (SyntaxError, NameError, AttributeError, TypeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise ValueError(f"metric {name!r}: module {module_name!r} stops with {said}") from error
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"metric {name!r}: no module {module_name!r} with a function {function_name!r} could be imported "
            f"({error}); looked in {Path.cwd()} and on sys.path"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ValueError(
            f"metric {name!r}: module {module_name!r} ({getattr(module, '__file__', 'built in')}) has no function "
            f"{function_name!r}"
        )
    takes = getattr(function, "takes", "scores")
    if takes not in FORMS:
        raise ValueError(f"metric {name!r}: {function_name}.takes is {takes!r}; allowed: {', '.join(FORMS)}")
    higher = getattr(function, "higher_is_better", True)
    others = [word for word in dir(function) if "better" in word.lower() and word != "higher_is_better"]
    if others or not isinstance(higher, bool):
        said = f"{others[0]}, which is not read" if others else f"higher_is_better = {higher!r}"
        raise ValueError(
            f"metric {name!r}: {function_name} has {said}; write {function_name}.higher_is_better = True, or False"
        )
    metric = Metric(name, higher, takes)
    return _Known(metric, TARGET_KINDS, partial(_call_users_own, function=function, metric=metric))


def _call_users_own(
    truth: np.ndarray, answers: Answers, target: Target, *, function: Callable[..., object], metric: Metric
) -> float:
    found = function(truth, _in_form(answers, metric.takes, target), target.classes)
    try:
        return float(found)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"metric {metric.name!r} returned {found!r}, must return a number") from error


def _in_form(answers: Answers, takes: str, target: Target) -> Answers:
    """The same answers in the form that a user's function takes."""
    if takes == "scores":
        return Answers(scores=_scores(answers, target))
    if takes == "lists" and answers.lists is not None:
        return answers
    if takes == "lists" and answers.scores is not None:
        ranked = _ranked(answers, target, k=len(target.classes))
        return Answers(lists=[[target.classes[index] for index in row] for row in ranked])
    decided = _labels(answers, target)
    return decided_answers(decided, target) if takes == "labels" else Answers(lists=label_lists(decided, target))


def _check_truth(truth: np.ndarray, target: Target) -> None:
    num_classes = len(target.classes)
    shape = "(N,)" if target.exclusive else f"(N, {num_classes})"
    fits = truth.ndim == 1 if target.exclusive else truth.ndim == 2 and truth.shape[1] == num_classes
    if not fits or not len(truth):
        raise ValueError(f"the truth of a {target.kind} target must be {shape} with N >= 1, found {truth.shape}")
    highest = num_classes - 1 if target.exclusive else 1
    strange = truth[(truth < 0) | (truth > highest) | (truth != np.rint(truth))]
    if len(strange):
        raise ValueError(f"{len(strange)} values of the truth are not 0 to {highest}, first {strange[:3].tolist()}")


def _check_answers(answers: Answers, num_images: int, target: Target) -> None:
    found = {form: value for form in FORMS if (value := getattr(answers, form)) is not None}
    if len(found) != 1:
        raise ValueError(f"answers hold {len(found)} forms {list(found)}, must hold one of {', '.join(FORMS)}")
    form, value = next(iter(found.items()))
    if len(value) != num_images:
        raise ValueError(f"answers hold {form} for {len(value)} images, the truth is of {num_images}")
    if answers.scores is None:
        return
    if answers.scores.shape != (num_images, len(target.classes)):
        raise ValueError(f"scores are {answers.scores.shape}, must be {(num_images, len(target.classes))}")
    rows = np.flatnonzero(~np.isfinite(answers.scores).all(axis=1))
    if len(rows):
        raise ValueError(f"{len(rows)} of {num_images} rows of the scores are not finite, first {rows[:3].tolist()}")


def _labels(answers: Answers, target: Target) -> np.ndarray:
    """(N,) int64 class indices, or (N, C) int64 of 0 and 1 for multi_label."""
    if answers.scores is not None:
        return likeliest(answers.scores, target).astype(np.int64)
    lists = _as_lists(answers)
    if target.exclusive:
        empty = [row for row, labels in enumerate(lists) if not labels]
        if empty:
            raise ValueError(f"{len(empty)} of {len(lists)} images have no label, first rows {empty[:3]}")
        return np.array(class_indices([labels[0] for labels in lists], target.classes), dtype=np.int64)
    matrix = np.zeros((len(lists), len(target.classes)), dtype=np.int64)
    rows, _, indices = _flat(lists, target)
    matrix[rows, indices] = 1
    return matrix


def _scores(answers: Answers, target: Target) -> np.ndarray:
    """(N, C) float64; of labels and lists 0 and 1."""
    if answers.scores is not None:
        return answers.scores.astype(np.float64)
    return indicators(_labels(answers, target), target).astype(np.float64)


def _ranked(answers: Answers, target: Target, *, k: int) -> np.ndarray:
    """(N, at most k) int64 class indices, best first; -1 after a list's end and for a label's repetitions."""
    if answers.scores is not None:
        return np.argsort(-answers.scores, axis=1, kind="stable")[:, :k]
    lists = [labels[:k] for labels in _as_lists(answers)]
    rows, ranks, indices = _flat(lists, target)
    ranked = np.full((len(lists), max([1, *map(len, lists)])), -1, dtype=np.int64)
    _, first = np.unique(rows * len(target.classes) + indices, return_index=True)
    ranked[rows[first], ranks[first]] = indices[first]
    return ranked


def _as_lists(answers: Answers) -> list[list[str]]:
    return answers.lists if answers.lists is not None else [[label] for label in answers.labels or []]


def _flat(lists: Sequence[Sequence[str]], target: Target) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, rank from 0, class index) of each label in `lists`, each (number of labels,) int64."""
    lengths = np.array([len(labels) for labels in lists], dtype=np.int64)
    rows = np.repeat(np.arange(len(lists)), lengths)
    ranks = np.arange(len(rows)) - np.repeat(lengths.cumsum() - lengths, lengths)
    return rows, ranks, np.array(class_indices(chain.from_iterable(lists), target.classes), dtype=np.int64)


def _sklearn() -> Any:
    import sklearn.metrics

    return sklearn.metrics


def _accuracy(truth: np.ndarray, answers: Answers, target: Target) -> float:
    return float(_sklearn().accuracy_score(truth, _labels(answers, target)))


def _top1_error(truth: np.ndarray, answers: Answers, target: Target) -> float:
    return 1 - _accuracy(truth, answers, target)


def _balanced_accuracy(truth: np.ndarray, answers: Answers, target: Target) -> float:
    """The mean recall of the classes in the truth: `balanced_accuracy_score` without its warning for others."""
    predicted = _labels(answers, target)
    return float(_sklearn().recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0))


def _averaged(
    truth: np.ndarray, answers: Answers, target: Target, *, ratio: str, average: str, **options: Any
) -> float:
    """scikit-learn's ratio_score. average: `binary`: of the positive class.

    Of several labels with one class it is that class's, which scikit-learn would take for two exclusive ones.
    """
    predicted = _labels(answers, target)
    found: tuple[Any, Any] = truth, predicted
    if average == "binary":
        positive = target.classes.index(target.positive)
        found = truth == positive, predicted == positive
    elif not target.exclusive and len(target.classes) == 1:
        if average == "samples":
            return float((truth & predicted).mean())
        average, found = "binary", (truth[:, 0], predicted[:, 0])
    elif not target.exclusive:  # scikit-learn looks for the distinct values of every cell, unless told they are sparse
        from scipy.sparse import csr_array

        found = csr_array(truth.astype(np.int64)), csr_array(predicted)
    return float(getattr(_sklearn(), f"{ratio}_score")(*found, average=average, zero_division=0, **options))


def _specificity(truth: np.ndarray, answers: Answers, target: Target) -> float:
    """The recall of the class that is not the positive one."""
    (negative,) = (label for label in target.classes if label != target.positive)
    return _averaged(truth, answers, replace(target, positive=negative), ratio="recall", average="binary")


def _geometric_mean(truth: np.ndarray, answers: Answers, target: Target) -> float:
    """Of the recalls of the classes in the truth (Kubat and Matwin 1997)."""
    predicted, classes = _labels(answers, target), np.unique(truth)
    recalls = _sklearn().recall_score(truth, predicted, labels=classes, average=None, zero_division=0)
    return float(np.prod(recalls ** (1 / len(classes))))


def _element_accuracy(truth: np.ndarray, answers: Answers, target: Target) -> float:
    return float((truth == _labels(answers, target)).mean())


def _hamming_loss(truth: np.ndarray, answers: Answers, target: Target) -> float:
    return 1 - _element_accuracy(truth, answers, target)


def _brier(truth: np.ndarray, answers: Answers, target: Target) -> float:
    """Squared errors of probabilities, summed over classes that exclude each other (Brier 1950), else their mean.

    Of a binary target the positive class's alone, half of that sum, as `brier_score_loss` has it.
    """
    errors = (_scores(answers, target) - indicators(truth, target)) ** 2
    if target.kind == "binary":
        return float(errors[:, target.classes.index(target.positive)].mean())
    return float(errors.sum(axis=1).mean() if target.exclusive else errors.mean())


def _micro_auc(truth: np.ndarray, answers: Answers, target: Target) -> float:
    """Of all cells, image by class, as if they were one column."""
    return float(_sklearn().roc_auc_score(indicators(truth, target).ravel(), _scores(answers, target).ravel()))


def _gini(truth: np.ndarray, answers: Answers, target: Target, *, skip_one_sided: bool = False) -> float:
    """Kaggle's normalised Gini, of 0 and 1: twice the AUC less 1."""
    return 2 * _auc(truth, answers, target, skip_one_sided=skip_one_sided) - 1


def _lrap(truth: np.ndarray, answers: Answers, target: Target) -> float:
    """Of one label an image the mean reciprocal rank."""
    scores = _scores(answers, target)
    return float(_sklearn().label_ranking_average_precision_score(indicators(truth, target), scores))


def _matthews(truth: np.ndarray, answers: Answers, target: Target) -> float:
    return float(_sklearn().matthews_corrcoef(truth, _labels(answers, target)))


def _log_loss(truth: np.ndarray, answers: Answers, target: Target) -> float:
    scores = _scores(answers, target)
    if target.exclusive:
        return log_loss(truth, scores)
    outside = int(((scores < 0) | (scores > 1)).sum())
    if outside:
        raise ValueError(f"metric log_loss needs probabilities: {outside} of {scores.size} scores are not 0 to 1")
    # the mean over all cells is the mean over columns of equal length
    return float(_sklearn().log_loss(truth.ravel(), np.clip(scores, CLIP, 1 - CLIP).ravel(), labels=[0, 1]))


def _auc(
    truth: np.ndarray, answers: Answers, target: Target, *, function: str = AUC, of_positive: bool = True,
    skip_one_sided: bool = False,
) -> float:  # fmt: skip
    """Mean over classes of scikit-learn's `function`, an area under a curve, of a class against the rest; see `score`.

    of_positive: of a binary target the positive class alone.
    """
    binary = of_positive and target.kind == "binary"
    columns = [target.classes.index(target.positive)] if binary else range(len(target.classes))
    positive, scores = indicators(truth, target), _scores(answers, target)
    one_sided = [index for index in columns if positive[:, index].all() or not positive[:, index].any()]
    if one_sided and (not skip_one_sided or len(one_sided) == len(columns)):
        names = [target.classes[index] for index in one_sided[:10]]
        said = "AUC" if function == AUC else "average precision"
        raise ValueError(
            f"{said} is undefined for {len(one_sided)} of {len(columns)} classes, which none or all of the "
            f"{len(truth)} images have: {names}; score more images, or take another metric"
        )
    kept, value = [index for index in columns if index not in one_sided], getattr(_sklearn(), function)
    return float(np.mean([value(positive[:, index], scores[:, index]) for index in kept]))


def _kappa(truth: np.ndarray, answers: Answers, target: Target, *, name: str) -> float:
    """Weights are distances between positions in `target.classes`, or their squares."""
    predicted = _labels(answers, target)
    if (truth == truth[0]).all() and (predicted == truth[0]).all():
        raise ValueError(
            f"{name} is undefined: all {len(truth)} images are {target.classes[truth[0]]!r}, in the "
            "truth and in the answers; score more images, or take another metric"
        )
    grades = np.arange(len(target.classes))
    return float(_sklearn().cohen_kappa_score(truth, predicted, labels=grades, weights=KAPPAS[name]))


def _within(truth: np.ndarray, answers: Answers, target: Target, *, k: int, of_right: bool) -> float:
    """The share of images whose class is among the first k, or of those where it is not."""
    share = float((_ranked(answers, target, k=k) == truth[:, None]).any(axis=1).mean())
    return share if of_right else 1 - share


def _map_at(truth: np.ndarray, answers: Answers, target: Target, *, k: int) -> float:
    """Mean average precision of the first k, as Kaggle's `mapk`: over min(k, true labels); 0 without true labels."""
    ranked = _ranked(answers, target, k=k)
    if target.exclusive:
        hits, most = ranked == truth[:, None], np.ones(len(truth))
    else:
        hits = np.take_along_axis(truth.astype(bool), ranked, axis=1) & (ranked >= 0)
        most = np.clip(truth.sum(axis=1), 1, k)
    precision = hits.cumsum(axis=1) / np.arange(1, ranked.shape[1] + 1)
    return float(((precision * hits).sum(axis=1) / most).mean())


_Row = tuple[str, bool, str, tuple[str, ...], Callable[..., float]]
_AVERAGE_OF = {name: name for name in AVERAGES} | {"sample": "samples", "mean": "samples"}


def _averages(name: str, **options: Any) -> list[_Row]:
    kinds = {"samples": ("multi_label",), "binary": ("binary",)}
    return [
        (f"{average}_{name}", True, "labels", kinds.get(average, TARGET_KINDS),
         partial(_averaged, average=average, **options))
        for average in AVERAGES
    ]  # fmt: skip


_TABLE: tuple[_Row, ...] = (
    ("accuracy", True, "labels", TARGET_KINDS, _accuracy),
    ("balanced_accuracy", True, "labels", EXCLUSIVE_KINDS, _balanced_accuracy),
    *_averages("f1", ratio="fbeta", beta=1.0),
    ("specificity", True, "labels", ("binary",), _specificity),
    ("geometric_mean", True, "labels", EXCLUSIVE_KINDS, _geometric_mean),
    ("element_accuracy", True, "labels", ("multi_label",), _element_accuracy),
    ("hamming_loss", False, "labels", ("multi_label",), _hamming_loss),
    ("matthews_corrcoef", True, "labels", EXCLUSIVE_KINDS, _matthews),
    ("log_loss", False, "scores", TARGET_KINDS, _log_loss),
    ("brier_score", False, "scores", TARGET_KINDS, _brier),
    ("auc", True, "scores", TARGET_KINDS, _auc),
    ("gini", True, "scores", TARGET_KINDS, _gini),
    ("micro_auc", True, "scores", TARGET_KINDS, _micro_auc),
    ("label_ranking_average_precision", True, "scores", TARGET_KINDS, _lrap),
    ("mean_column_auc", True, "scores", TARGET_KINDS, partial(_auc, of_positive=False)),
    ("average_precision", True, "scores", TARGET_KINDS, partial(_auc, function="average_precision_score")),
    *((name, True, "labels", EXCLUSIVE_KINDS, partial(_kappa, name=name)) for name in KAPPAS),
    ("top1_error", False, "labels", EXCLUSIVE_KINDS, _top1_error),
)
_LIKE = {"macro_recall": "balanced_accuracy"} | {f"{average}_jaccard": f"{average}_f1" for average in AVERAGES}
_KNOWN = {
    name: _Known(Metric(name, higher, takes, like=_LIKE.get(name, "")), kinds, function)
    for name, higher, takes, kinds, function in chain(_TABLE, *(_averages(ratio, ratio=ratio) for ratio in RATIOS))
}
