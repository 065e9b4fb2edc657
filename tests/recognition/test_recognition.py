"""Made-up competitions with known truth: nothing wrong in silence. More by `python -m tests.recognition.soak`."""

import dataclasses
import random

import pytest

from pipeline.base.texts import Texts

from . import judge as judging
from .compose import EXTRAS, SUFFIXES, compose, draw_plan, lay_out
from .judge import APART, BAD_QUESTION, CRASH, FAILURES, QUESTION, REFUSAL, RIGHT, UNCLEAR, WRONG, judge, lines_to_paste
from .layouts import LAYOUTS
from .mutate import HARMFUL, HARMLESS, JUNK
from .sheets import DIALECTS
from .soak import report, run_seed, run_seeds, shown
from .words import FAMILIES, ID_STYLES

PLAIN = {
    "target": "single", "layout": "table", "format": "label", "classes": "words", "spelling": "same", "delimiter": "",
    "sample": "labels", "score column": "", "class columns": "", "long mark": "", "sample names": "as train",
    "ids": "padded", "numbering": "on", "encoding": "utf-8", "dialect": "comma", "sample dialect": "comma", "sample suffix": ".csv",
    "suffix": ".png", "extras": "none", "split": "", "below class": "", "validation": "", "junk": "none", "more junk": "none",
    "harmless": "none", "harm": "none", "depth": "flat", "container": "zip",
}  # fmt: skip


def plain(seed=0, **changes):
    """A competition that is plain in every dimension but these."""
    return lay_out(PLAIN | changes, random.Random(seed), seed)


@pytest.mark.parametrize("first", [0, *(pytest.param(first, marks=pytest.mark.slow) for first in (50, 100, 150))])
def test_nothing_is_wrong_in_silence(first):
    failures = [
        "\n".join(shown(compose(seed), verdict))
        for seed, _, verdict in run_seeds(range(first, first + 50))
        if verdict.outcome in FAILURES
    ]
    assert not failures, f"{len(failures)} of 50:\n" + "\n\n".join(failures)


BESIDE = [  # tables that are not what they may be taken for: of all images, of some training images, of answers
    ("metadata", "0/1 columns"), ("metadata", "class folders"), ("metadata", "{file: label}"),
    ("smaller table", "part column"), ("baseline", "COCO"), ("baseline", "{file: label}"),
    ("solution", "table"), ("solution", "COCO"), ("solution", "metadata.jsonl"),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("junk", "layout"), BESIDE)
def test_a_table_beside_is_not_taken_for_the_train_or_test_table(seed, junk, layout, tmp_path):
    split = {"split": "train test", "below class": "none", "validation": "none"} if layout == "class folders" else {}
    numbering = "anew" if junk == "baseline" else "on"
    verdict = judge(plain(seed, layout=layout, junk=junk, numbering=numbering, **split), tmp_path)
    assert verdict.outcome in (RIGHT, QUESTION), verdict


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("container", ["zip", "folder", "nested zip"])
def test_a_plain_competition_is_right_to_the_last_file(seed, container, tmp_path):
    verdict = judge(plain(seed, container=container), tmp_path, whole=True)
    assert verdict.outcome == RIGHT, verdict


ALONE = {
    "junk": tuple(JUNK), "harmless": tuple(HARMLESS), "suffix": SUFFIXES, "ids": ID_STYLES, "dialect": DIALECTS,
    "encoding": ("utf-8-sig", "utf-16"), "depth": ("wrapped", "images deeper", "doubled"), "numbering": ("anew",), "extras": EXTRAS,
    "container": ("backslash zip", "tar.gz"), "sample": ("every class", "one label", "placeholder", "zero", "foreign cells"),
    "classes": tuple(name for name in FAMILIES if name != "grades"), "sample suffix": (".txt",),
}  # fmt: skip


@pytest.mark.parametrize(("dimension", "value"), [(name, value) for name, values in ALONE.items() for value in values])
def test_one_awkward_thing_alone_is_never_wrong(dimension, value, tmp_path):
    """Harmless changes to a plain competition: the truth is what it was."""
    made = plain(1, **{dimension: value})
    verdict = judge(made, tmp_path)
    assert verdict.outcome not in FAILURES, "\n".join(shown(made, verdict))


@pytest.mark.parametrize("seed", range(3))
def test_one_number_in_the_sample_does_not_make_numbered_folders_the_classes(seed, tmp_path):
    verdict = judge(plain(seed, layout="table per class", sample="zero", ids="plain"), tmp_path)
    assert verdict.outcome in (RIGHT, QUESTION), verdict


# -- the generator


def test_a_seed_gives_the_same_competition_twice():
    first, second = compose(7), compose(7)
    assert (first.plan, first.files, first.truth) == (second.plan, second.files, second.truth)


def test_every_dimension_and_mutation_is_drawn_and_no_two_images_are_alike():
    plans = [draw_plan(random.Random(seed)) for seed in range(3000)]
    for dimension, values in (("layout", LAYOUTS), ("junk", JUNK), ("harmless", HARMLESS)):
        assert {plan[dimension] for plan in plans} == set(values)
    assert {plan["harm"] for plan in plans} == {"none", *HARMFUL}
    for seed in range(100):
        truth = compose(seed).truth
        assert not set(truth.train) & set(truth.test) and len(truth.train) >= 6 and len(truth.test) >= 5


# -- the judge must be able to fail


def bent(monkeypatch, change):
    """Let the pipeline read something else than what is there, for inspect and ingest alike."""
    from pipeline.commands import inspection

    real = judging.read_layout

    def reads(*args):
        return change(real(*args))

    monkeypatch.setattr(judging, "read_layout", reads)
    monkeypatch.setattr(inspection, "read_layout", reads)


def turned(cells):
    """The cells from last to first."""
    return Texts(list(cells)[::-1])


@pytest.mark.parametrize(
    ("field", "detail"),
    [("train_labels", "classes are none"), ("train_members", "classes are none"), ("test_members", "a cell of")],
)
def test_turned_rows_are_wrong(field, detail, monkeypatch, tmp_path):
    bent(monkeypatch, lambda layout: dataclasses.replace(layout, **{field: turned(getattr(layout, field))}))
    made = plain(2)
    verdict = judge(made, tmp_path)
    assert (verdict.outcome, detail in verdict.detail) == (WRONG, True), verdict


def test_the_other_class_in_a_score_is_wrong(monkeypatch, tmp_path):
    made = plain(target="binary", classes="0 1", format="score", sample="half", **{"score column": "neutral"})
    bent(
        monkeypatch, lambda layout: dataclasses.replace(layout, target=dataclasses.replace(layout.target, positive="0"))
    )
    assert judge(made, tmp_path).outcome == WRONG


def test_images_that_are_left_out_are_wrong(monkeypatch, tmp_path):
    def shorter(layout):
        cut = {name: Texts(list(getattr(layout, name))[:-1]) for name in ("train_ids", "train_members", "train_labels")}
        return dataclasses.replace(layout, **cut)

    bent(monkeypatch, shorter)
    verdict = judge(plain(), tmp_path)
    assert verdict.outcome == WRONG and "training images are used" in verdict.detail


def test_two_accounts_are_found(monkeypatch, tmp_path):
    real, calls = judging.read_layout, []

    def reads(*args):
        calls.append(args)
        layout = real(*args)
        return layout if len(calls) == 1 else dataclasses.replace(layout, test_ids=turned(layout.test_ids))

    monkeypatch.setattr(judging, "read_layout", reads)
    assert judge(plain(), tmp_path).outcome == APART


def test_an_error_that_is_no_valueerror_is_a_crash(monkeypatch, tmp_path):
    bent(monkeypatch, lambda layout: layout.target.classes.index("nobody's") and {}["?"])
    with monkeypatch.context() as patch:
        patch.setattr(judging, "inspect_competition", lambda *args: {}["?"])
        assert judge(plain(), tmp_path).outcome == CRASH


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("which one?\n    competition.label: kind    # 3 values\n    competition.label: site", BAD_QUESTION),
        ("which one?\n    competition.label: COLUMN", UNCLEAR),
        ("what a mess", UNCLEAR),
    ],
)
def test_a_question_must_offer_the_right_line(text, outcome, monkeypatch, tmp_path):
    def refuses(*_):
        raise ValueError(text)

    monkeypatch.setattr(judging, "inspect_competition", refuses)
    monkeypatch.setattr(judging, "read_layout", refuses)
    made = plain()
    made.truth.answers["label"] = {"species"}
    assert judge(made, tmp_path).outcome == outcome


def test_the_right_line_settles_a_question(tmp_path):
    made = plain(
        target="binary", classes="cat dog", format="score", sample="half", **{"score column": "neutral"}, seed=4
    )
    verdict = judge(made, tmp_path)
    assert verdict.outcome == QUESTION and verdict.asked[-1].startswith("competition.positive: "), verdict


def test_finishing_where_nobody_could_know_is_wrong(tmp_path):
    made = plain()
    made.truth.must_ask = "nobody could know"
    assert judge(made, tmp_path).outcome == WRONG


def test_finishing_where_it_must_stop_is_wrong(tmp_path):
    made = plain()
    made.truth.stops = ("fire",)
    assert judge(made, tmp_path).outcome == WRONG


@pytest.mark.parametrize("harm", ["lose an image", "lose a test image", "lose a row", "two labels", "truncated image"])
def test_a_fault_is_refused_by_its_name(harm, tmp_path):
    verdict = judge(plain(harm=harm), tmp_path)
    assert verdict.outcome == REFUSAL, verdict


def test_a_line_is_read_as_yaml_reads_it():
    text = "choose:\n    competition.positive: yes\n    competition.label: FILE\n  x: competition.allow: [a b]"
    assert lines_to_paste(text) == [("positive", True), ("allow", ["a b"])]


def test_the_report_counts_and_names_seeds():
    results = [run_seed(seed) for seed in range(5)]
    lines = report(results, show=3)
    assert any(line.split()[0] == "right" for line in lines)
