"""The sample submission, and with it the one right submission of a perfect model."""

from . import words
from .draft import DELIMITERS, Draft, Item
from .sheets import Sheet
from .truth import written_list

FOREIGN = ("aardvark", "zebra", "quagga")  # labels of nobody
SEPARATORS = {"underscore": "_", "colon": ":", "dash": "-"}


def add_sample(draft: Draft) -> None:
    """Write the sample that the plan asks for, and the truth about the submission."""
    for item in draft.train:
        draft.truth.train[item.content] = frozenset(item.labels)
    for item in draft.test:
        draft.truth.test[item.content] = frozenset(item.labels)
    if draft.plan["sample"] == "none":
        return _sampleless(draft)
    tests = list(draft.test)
    if draft.rng.random() < 0.5 and not draft.truth.in_order:
        draft.rng.shuffle(tests)
    header, shown, right, values = {
        "label": _labels, "score": _scores, "columns": _columns, "list": _lists, "ranked": _ranked, "long": _long,
    }[draft.plan["format"]](draft, tests)  # fmt: skip
    name = draft.rng.choice(("sample_submission", "sampleSubmission", "submission_format"))
    draft.sample_sheet = name + draft.plan["sample suffix"]
    draft.sheets[draft.sample_sheet] = Sheet(header, shown, draft.plan["sample dialect"], draft.plan["encoding"])
    draft.truth.header, draft.truth.rows, draft.truth.values = list(header), right, values
    draft.truth.answers |= {"sample": {draft.sample_sheet}, "submission": {draft.plan["format"]}}
    return None


def _sampleless(draft: Draft) -> None:
    """Nobody says how the submission looks: one label an image, the columns as the tables call them if they do."""
    if draft.test_sheet and draft.plan["layout"] == "table" and draft.plan["harmless"] == "none":
        draft.truth.header = [draft.id_column, draft.label_column]
    draft.truth.rows = [[draft.id_of(item), item.labels[0]] for item in draft.test]
    draft.truth.values = [1]


def _id_column(draft: Draft) -> str:
    return draft.id_column if draft.plan["sample names"] == "as train" else "row_id"


def _value_column(draft: Draft) -> str:
    return draft.label_column if draft.plan["sample names"] == "as train" else "prediction"


def _ids(draft: Draft, tests: list[Item]) -> list[str]:
    return [draft.id_of(item, in_sample=True) for item in tests]


def _filled(ids: list[str], shown: list[list[str]], right: list[list[str]]) -> tuple[list[list[str]], list[list[str]]]:
    pairs = zip(ids, shown, right, strict=True)
    both = [([name, *cells], [name, *true]) for name, cells, true in pairs]
    return [pair[0] for pair in both], [pair[1] for pair in both]


def _spelled(draft: Draft, label: str) -> str:
    """The label as the sample submission spells it."""
    rule = draft.plan["spelling"]
    if rule == "number":
        return draft.numbers[label]
    return label if rule == "same" else words.RESPELLED[draft.plan["classes"]][rule](label)


def _labels(draft: Draft, tests: list[Item]) -> tuple:
    known = [_spelled(draft, label) for label in draft.classes]
    shown = [[cell] for cell in _example_labels(draft, known, len(tests))]
    right = [[_spelled(draft, item.labels[0])] for item in tests]
    if draft.plan["sample"] == "truths":
        right = [[("False", "True")[item.labels == ["1"]]] for item in tests]
    if draft.plan["sample"] == "foreign cells":
        draft.truth.stops = (*FOREIGN, "spell", "unlike")
    if draft.plan["target"] == "binary" and draft.plan["sample"] in ("zero", "one", "0.0"):
        draft.truth.must_ask = "one constant over two classes does not say whether labels or probabilities are wanted"
        draft.truth.answers["metric"] = {"accuracy"}
    shown, right = _filled(_ids(draft, tests), shown, right)
    return [_id_column(draft), _value_column(draft)], shown, right, [1]


def _example_labels(draft: Draft, known: list[str], number: int) -> list[str]:
    rng = draft.rng
    if draft.plan["sample"] == "labels":
        several = rng.sample(known, 2)  # at least two distinct ones
        return [several[at] if at < 2 else rng.choice(known) for at in range(number)]
    if draft.plan["sample"] == "every class":
        return [known[at % len(known)] for at in range(number)]
    if draft.plan["sample"] == "foreign cells":
        return [FOREIGN[at % len(FOREIGN)] for at in range(number)]
    if draft.plan["sample"] == "truths":
        return [*(["False", "True"] if rng.random() < 0.5 else ["False"] * 2), *["False"] * (number - 2)]
    constant = {"one label": rng.choice(known), "placeholder": rng.choice(("?", "label", "xxx", "class_name"))}
    return [constant.get(draft.plan["sample"], {"zero": "0", "one": "1"}.get(draft.plan["sample"], "0.0"))] * number


def _scores(draft: Draft, tests: list[Item]) -> tuple:
    positive, column = _positive(draft)
    cells = {"zero": "0", "one": "1", "half": "0.5", "0.0": "0.0"}
    shown = [[cells.get(draft.plan["sample"], f"{draft.rng.random():.3f}")] for _ in tests]
    right = [["1.0" if item.labels == [positive] else "0.0"] for item in tests]
    said = draft.plan["classes"] != "0 1" and draft.plan["score column"] in ("class probability", "p class")
    said = said or draft.plan["classes"] not in ("0 1", "False True")  # words are not what 0 stands for
    if draft.plan["sample"] in ("zero", "one", "0.0") and not said:
        draft.truth.must_ask = "one constant over two classes does not say whether labels or probabilities are wanted"
        draft.truth.answers["metric"] = {"auc", "log_loss"}
    draft.truth.kind = "numbers"
    draft.truth.answers["positive"] = {positive, str(draft.category_ids.get(positive, positive))}
    shown, right = _filled(_ids(draft, tests), shown, right)
    return [_id_column(draft), column], shown, right, [1]


def _positive(draft: Draft) -> tuple[str, str]:
    """(the class that the score speaks of, what the sample calls its column)."""
    negative, positive = draft.classes
    named = draft.plan["score column"]
    if named in ("class", "class probability", "p class") and draft.plan["classes"] != "0 1":
        chosen = draft.rng.choice((negative, positive))
        return chosen, {"class": chosen, "class probability": f"{chosen}_probability", "p class": f"p_{chosen}"}[named]
    if draft.label_column in draft.classes:
        return draft.label_column, draft.label_column  # the column happens to name a class
    if draft.plan["classes"] in words.UNTOLD:
        positive = draft.rng.choice((negative, positive))
        draft.truth.must_ask = "neither the column nor the words say of which class the score speaks"
    return positive, _value_column(draft)


def _columns(draft: Draft, tests: list[Item]) -> tuple:
    order = list(draft.classes)
    if draft.rng.random() < 0.5:
        draft.rng.shuffle(order)
    right = [["1.0" if label in item.labels else "0.0" for label in order] for item in tests]
    prefix = {"plain": "", "prob_": "prob_", "is ": "is "}[draft.plan["class columns"]]
    names = [prefix + _spelled(draft, label) for label in order]
    if draft.plan["sample"] == "more classes":
        names.append(prefix + "zebra")
        right = [[*cells, "0.0"] for cells in right]
        draft.truth.sample_only = frozenset({"zebra"})
        draft.truth.causes, draft.truth.tolerance = ("zebra",), 0.05  # a floor instead of 0 is as good
    shown = [_numbers(draft, len(names)) for _ in tests]
    draft.truth.kind = "numbers"
    shown, right = _filled(_ids(draft, tests), shown, right)
    return [_id_column(draft), *names], shown, right, list(range(1, 1 + len(names)))


def _numbers(draft: Draft, number: int) -> list[str]:
    if draft.plan["sample"] == "numbers":
        return [f"{draft.rng.random():.4f}" for _ in range(number)]
    return [{"zero": "0", "half": "0.5", "0.0": "0.0"}.get(draft.plan["sample"], f"{1 / number:.3f}")] * number


def _lists(draft: Draft, tests: list[Item]) -> tuple:
    delimiter = DELIMITERS[draft.plan["delimiter"]]
    alone = draft.plan["sample"] == "one label"
    shown = []
    for at, _ in enumerate(tests):
        chosen = (
            draft.classes[:1] if alone else draft.rng.sample(draft.classes, 2 if at < 2 else draft.rng.randint(1, 3))
        )
        shown.append([written_list(list(chosen), delimiter)])
    right = [[written_list(item.labels, delimiter)] for item in tests]
    draft.truth.kind, draft.truth.delimiter = "list", delimiter
    if delimiter not in ("python", "json"):
        draft.truth.answers["delimiter"] = {delimiter}
    shown, right = _filled(_ids(draft, tests), shown, right)
    return [_id_column(draft), _value_column(draft)], shown, right, [1]


def _ranked(draft: Draft, tests: list[Item]) -> tuple:
    delimiter = DELIMITERS[draft.plan["delimiter"]]
    most = draft.rng.randint(2, len(draft.classes))
    shown = [[delimiter.join(draft.rng.sample(draft.classes, most))] for _ in tests]
    right = [[item.labels[0]] for item in tests]
    draft.truth.kind, draft.truth.delimiter = "ranked", delimiter
    shown, right = _filled(_ids(draft, tests), shown, right)
    return [_id_column(draft), _value_column(draft)], shown, right, [1]


def _long(draft: Draft, tests: list[Item]) -> tuple:
    mark = SEPARATORS[draft.plan["long mark"]]
    cells = [(item, label) for item in tests for label in draft.classes]
    if draft.rng.random() < 0.3:
        cells = [(item, label) for label in draft.classes for item in tests]
    ids = [f"{draft.id_of(item, in_sample=True)}{mark}{label}" for item, label in cells]
    number = {"zero": "0", "half": "0.5"}.get(draft.plan["sample"], "0.25")
    right = [["1.0" if label in item.labels else "0.0"] for item, label in cells]
    draft.truth.kind = "numbers"
    shown, right = _filled(ids, [[number] for _ in cells], right)
    return [_id_column(draft), _value_column(draft)], shown, right, [1]
