"""The page of a run in a real browser, from file://, with the network cut: what it shows is what the files say."""

import dataclasses
import importlib.resources
import json

import numpy as np
import pandas as pd
import pytest
from browser import looked_at, opened_browser
from conftest import Workplace
from sklearn.metrics import cohen_kappa_score, f1_score

from benchmarks.made_up_run import write_run
from pipeline.base.files import read_arrays, read_json
from pipeline.commands.places import REPORTED
from pipeline.panels import classes
from pipeline.panels.reliability import reliability
from pipeline.panels.report import run_page
from pipeline.panels.run import Sources, read_run
from pipeline.scoring.decision import Decision
from pipeline.submission.answers import answers_of, predicted_counts

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }} & </script>")
pytestmark = pytest.mark.slow  # in a browser, most of them

KINDS = {
    "single_label": ("red fox", "수달", "بومة"),
    "binary": ("0", "1"),
    "multi_label": ("cloudy", "haze", "river", "road"),
    "ordinal": ("0", "1", "2", "3"),
}


@pytest.fixture(scope="module")
def browser():
    with opened_browser() as found:
        yield found


def made(root, classes, **options):
    """A made-up run, and its page by the real stages."""
    place = Workplace(root)
    place.params = write_run(root, classes, **options)
    for stage in ("evaluate", "submit", "report"):
        place.run(stage)
    return place


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return {kind: made(tmp_path_factory.mktemp(kind), KINDS[kind], kind=kind, num_train=90) for kind in KINDS}


@pytest.fixture(scope="module")
def forty(tmp_path_factory):
    names = [f"class number {n}" for n in range(40)]
    return made(
        tmp_path_factory.mktemp("forty"),
        names,
        num_train=400,
        nearest=3,
        drift={"auc": 0.71, "error_by_chance": 0.03, "auc_with_classes_mixed_alike": 0.66},
    )


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    names = [f"n{n:08d}" for n in range(1000)]
    return made(tmp_path_factory.mktemp("thousand"), names, num_train=3000, num_test=500, skill=0.6)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return made(tmp_path_factory.mktemp("hostile"), HOSTILE, prefix="</script><b onclick=alert(2)>", num_train=60)


def page_of(place):
    return place.path("data/report/index.html")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_without_a_request_or_a_complaint(places, browser, kind, dark):
    with looked_at(browser, page_of(places[kind]), dark=dark) as page:
        assert not page.asked and not page.complaints
        pictures = page.tab.evaluate("Array.from(document.images).every(image => image.complete && image.naturalWidth)")
        assert pictures and page.tab.evaluate("document.images.length") > 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_verdict_is_what_the_scores_say(places, browser, kind):
    scores, receipt = (
        read_json(places[kind].path(name)) for name in ("data/report/scores.json", "submissions/receipt.json")
    )
    with looked_at(browser, page_of(places[kind])) as page:
        assert page.texts("#score") == [f"{scores['oof']['score']:.4f}"]
        folds = scores["folds"]
        assert page.texts("#folds-score") == [f"{folds['score_mean']:.4f} ± {folds['score_standard_error']:.4f}"]
        page.tab.click("#verdict details summary")
        assert [row[2] for row in page.rows("#folds")] == [f"{s['score']:.4f}" for s in folds["by_fold"].values()]
        assert receipt["sha256"] in page.texts("#verdict")[0]
        shown = page.texts("#warnings li")
        assert [line for line in receipt["warnings"] if line not in shown] == []


@pytest.mark.parametrize("kind", KINDS)
def test_figures_by_class_are_those_of_the_csv(places, browser, kind):
    table = pd.read_csv(places[kind].path("data/report/per_class.csv"), dtype={"label": str})
    with looked_at(browser, page_of(places[kind])) as page:
        rows = page.rows("#classes-table")
    assert [row[:3] for row in rows] == [[r.label, str(r.images), str(r.predicted)] for r in table.itertuples()]
    for row, true in zip(rows, table.itertuples(), strict=True):
        for cell, value in zip(row[3:6], (true.precision, true.recall, true.f1), strict=True):
            point, interval = cell.split()
            low, high = map(float, interval.split("–"))
            assert point == f"{value:.3f}" and low - 0.005 <= value <= high + 0.005


def test_the_confusion_is_that_of_the_csv(places, browser):
    table = pd.read_csv(places["single_label"].path("data/report/confusion.csv"))
    counts = table.pivot_table(index="true", columns="predicted", values="images")
    labels = list(KINDS["single_label"])
    with looked_at(browser, page_of(places["single_label"])) as page:
        rows = page.rows("#confusion-table")
        assert [row[0] for row in rows] == labels
        assert [[int(cell) for cell in row[1:]] for row in rows] == counts.loc[labels, labels].to_numpy().tolist()
        page.tab.check("input[value=share]")
        shares = np.array([[float(cell) for cell in row[1:]] for row in page.rows("#confusion-table")])
        assert np.allclose(shares.sum(axis=1), 1, atol=0.002)


def test_of_several_labels_each_stands_against_the_rest(places, browser):
    table = pd.read_csv(places["multi_label"].path("data/report/confusion.csv"))
    with looked_at(browser, page_of(places["multi_label"])) as page:
        for row in page.rows("#confusion-table"):
            label = row[0]
            own = table[table["true"].isin([label, f"not {label}"])].set_index(["true", "predicted"])["images"]
            names = (label, label), (f"not {label}", label), (label, f"not {label}"), (f"not {label}", f"not {label}")
            assert [int(cell) for cell in row[1:]] == [own[pair] for pair in names]


def test_an_image_of_several_labels_is_wrong_in_one_of_them(places, browser):
    place = places["multi_label"]
    _, image_ids = out_of_fold(place)
    table = pd.read_csv(place.path("data/report/confusion.csv"))
    wrong = table[table["true"].str.startswith("not ") != table["predicted"].str.startswith("not ")]["images"].sum()
    with looked_at(browser, page_of(place)) as page:
        said = page.texts("#mistakes-said")[0]
    assert "have at least one wrong label" in said
    assert wrong / len(KINDS["multi_label"]) <= int(said.split()[0]) <= min(wrong, len(image_ids))


def test_a_cell_opens_the_images_behind_it(places, browser):
    with looked_at(browser, page_of(places["single_label"])) as page:
        cell = page.tab.query_selector("button[data-cell]")
        i, j = map(int, cell.get_attribute("data-cell").split(","))
        cell.focus()
        page.tab.keyboard.press("Enter")
        ids = page.texts("#cell-images bdi")
        assert 0 < len(ids) <= int(cell.get_attribute("data-images"))
        assert KINDS["single_label"][i] in page.texts("#cell-title")[0]
    place = places["single_label"]
    truth = pd.read_csv(place.path("data/competition/train.csv"), dtype=str).set_index("image_id")["label"]
    answers = {}
    for fold in place.params["folds"]:
        found = read_arrays(place.path(f"data/oof/{fold}.npz"), ("image_ids", "probs"))
        answers |= dict(zip(found["image_ids"].tolist(), found["probs"].argmax(axis=1).tolist(), strict=True))
    assert all(truth[name] == KINDS["single_label"][i] and answers[name] == j for name in ids)


def test_tables_sort_and_search(forty, browser):
    with looked_at(browser, page_of(forty)) as page:
        page.tab.click("#classes-table th:nth-child(5) button")
        recalls = [float(row[4].split()[0]) for row in page.rows("#classes-table")]
        assert recalls == sorted(recalls) and len(recalls) == 40
        page.tab.click("#classes-table th:nth-child(5) button")
        assert [float(row[4].split()[0]) for row in page.rows("#classes-table")] == sorted(recalls, reverse=True)
        page.tab.fill("input[data-search]", "NUMBER 17")
        assert [row[0] for row in page.rows("#classes-table")] == ["class number 17"]


def test_mistakes_say_how_many_filter_and_give_their_ids(forty, browser):
    with looked_at(browser, page_of(forty)) as page:
        said = page.texts("#mistakes-said")[0]
        right = read_json(forty.path("data/report/scores.json"))["oof"]["accuracy"]
        assert int(said.split()[0]) == round(400 * (1 - right)) and "60 most confident" in said
        fold = "1"
        page.tab.select_option("[data-cards=mistake-cards] select[data-by=fold]", fold)
        cards = page.tab.query_selector_all("#mistake-cards > li:not([hidden])")
        assert cards and all(f"fold {fold}" in card.inner_text() for card in cards)
        page.tab.click("[data-cards=mistake-cards] [data-all]")
        ids = page.tab.input_value("[data-cards=mistake-cards] textarea").splitlines()
        assert len(ids) == len(cards) and set(ids) == {
            card.query_selector("input").get_attribute("value") for card in cards
        }
        assert "AUC of 0.710 (0.5 is chance, ± 0.030); 0.660 once" in page.texts("#drift")[0]
        nearest = page.tab.query_selector_all("#mistake-cards .nearest img")
        assert len(nearest) == 3 * 24


def test_values_show_on_hover(places, browser):
    rows = pd.read_csv(places["single_label"].path("data/report/curves.csv"))
    first = rows[rows["valid_loss"].notna()].iloc[0]
    with looked_at(browser, page_of(places["single_label"])) as page:
        page.tab.hover("#learning circle[data-tip]")
        assert page.texts("#tip") == [f"fold {int(first.fold)}, epoch {int(first.epoch)}: {first.valid_loss:.5g}"]


def test_panels_of_a_kind_are_there_and_others_are_not(places, browser):
    expected = {
        "single_label": {"Calibration", "Confidence"},
        "binary": {"Calibration", "Scores", "Threshold", "ROC", "Precision and recall"},
        "multi_label": {"Calibration", "Scores", "Threshold"},
        "ordinal": {"Calibration", "Confidence", "Expected grades", "Cuts"},
    }
    for kind, titles in expected.items():
        with looked_at(browser, page_of(places[kind])) as page:
            assert set(page.texts("#reliability h3")) == titles
            assert bool(page.rows("#distances")) == (kind == "ordinal")


def out_of_fold(place):
    """(N, C) probabilities, and ids, in the order of the folds."""
    found = [read_arrays(place.path(f"data/oof/{fold}.npz"), ("image_ids", "probs")) for fold in place.params["folds"]]
    return np.concatenate([part["probs"] for part in found]), [name for part in found for name in part["image_ids"]]


def truth_of(place, image_ids):
    labels = pd.read_csv(place.path("data/competition/train.csv"), dtype=str).set_index("image_id")["label"]
    return labels.loc[image_ids].to_numpy()


def tips_of(page, chart):
    """name -> [(x, y)], of what a chart says of its points."""
    found = {}
    dots = f"svg[aria-label='{chart}'] circle[data-tip]"
    for tip in page.tab.eval_on_selector_all(dots, "found => found.map(one => one.dataset.tip)"):
        name, _, numbers = tip.partition(", ")
        x, y = numbers.split(": ")
        found.setdefault(name, []).append((float(x.split()[-1]), float(y)))
    return found


def test_a_cut_that_moves_scores_as_scikit_learn_does(places, browser):
    place = places["ordinal"]
    probs, image_ids = out_of_fold(place)
    true = truth_of(place, image_ids).astype(int)
    grades = probs.astype(np.float64) @ np.arange(4)
    cuts = read_json(place.path("data/report/decision.json"))["cuts"]
    with looked_at(browser, page_of(place)) as page:
        curves = tips_of(page, "metric by cut")
    assert list(curves) == ["cut 1", "cut 2", "cut 3"]
    for at, points in enumerate(curves.values()):
        assert any(x == pytest.approx(cuts[at], abs=1e-4) for x, _ in points)
        for x, y in points:
            moved = [*cuts[:at], x, *cuts[at + 1 :]]
            kappa = cohen_kappa_score(true, np.searchsorted(moved, grades, side="right"), weights="quadratic")
            assert y == pytest.approx(kappa, abs=0.02)  # a tip rounds its x, and one image may change sides


def test_classes_with_thresholds_of_their_own_show_each(tmp_path, browser):
    place = made(tmp_path, KINDS["multi_label"], kind="multi_label", metric="macro_f1", num_train=90)
    probs, image_ids = out_of_fold(place)
    labels = truth_of(place, image_ids)
    thresholds = read_json(place.path("data/report/decision.json"))["thresholds"]
    with looked_at(browser, page_of(place)) as page:
        assert set(page.texts("#reliability h3")) == {"Calibration", "Scores", "Thresholds"}
        tips = page.tab.eval_on_selector_all(
            "svg[aria-label='F1 by threshold'] [data-tip]", "found => found.map(one => one.dataset.tip)"
        )
    for at, label in enumerate(KINDS["multi_label"]):
        true = np.array([label in json.loads(cell) for cell in labels])
        value = f1_score(true, probs[:, at].astype(np.float64) >= thresholds[at])
        assert f"{label}: {thresholds[at]:.5g} chosen, F1 {value:.3f}" in tips


def test_what_classes_are_multiplied_by_stands_beside_them(tmp_path):
    place = made(tmp_path, KINDS["single_label"], num_train=60)
    run = read_run(Sources(**{key: place.path(path) for key, path in vars(REPORTED).items()}))
    assert not classes.by_class(run)["mark"]
    found = classes.by_class(dataclasses.replace(run, decision=Decision(factors=(0.5, 1.0, 2.0))))
    assert found["mark"] == "factor" and [row["mark"] for row in found["rows"]] == [0.5, 1.0, 2.0]


def test_ranks_are_no_probabilities(tmp_path):
    """Of a blend by ranks the reliability of its numbers is not judged."""
    place = made(tmp_path, KINDS["single_label"], num_train=60)
    run = read_run(Sources(**{key: place.path(path) for key, path in vars(REPORTED).items()}))
    assert reliability(run) and not run.by_rank
    by_rank = dataclasses.replace(run, blend=run.blend | {"how": "rank"})
    assert reliability(by_rank) is None
    assert "by ranks" in run_page(by_rank).decode()


def test_what_was_allowed_is_a_warning(tmp_path, browser):
    place = made(tmp_path, KINDS["binary"], kind="binary", num_train=60)
    audit = place.path("data/report/audit.json")
    audit.write_text(json.dumps(read_json(audit) | {"allowed_problems": {"unreadable images": 1234}}))
    place.run("report")
    with looked_at(browser, page_of(place)) as page:
        assert "unreadable images: 1,234 (allowed by competition.allow)" in page.texts("#warnings li")


def test_cells_without_a_value_stay_last(forty, browser):
    with looked_at(browser, page_of(forty)) as page:
        page.tab.evaluate(
            "document.querySelectorAll('#classes-table tbody tr').forEach((row, at) => "
            "{ if (at % 7 === 0) row.children[4].dataset.value = ''; })"
        )
        for _ in range(2):
            page.tab.click("#classes-table th:nth-child(5) button")
            values = page.tab.eval_on_selector_all(
                "#classes-table tbody tr", "rows => rows.map(row => row.children[4].dataset.value)"
            )
            assert [value == "" for value in values] == [False] * 34 + [True] * 6


@pytest.mark.parametrize("kind", [*KINDS, "forty", "hostile"])
def test_on_paper_nothing_is_shut_clipped_or_wider_than_the_sheet(places, forty, hostile, browser, kind):
    with looked_at(browser, page_of({"forty": forty, "hostile": hostile, **places}[kind]), width=720) as page:
        page.tab.emulate_media(media="print")
        page.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.tab.evaluate("Array.from(document.querySelectorAll('details')).every(one => one.open)")
        assert page.texts("section h2") and not page.tab.is_visible("nav") and not page.tab.is_visible(".controls")
        clipped = page.tab.evaluate(
            "Array.from(document.querySelectorAll('.tall, .scroll')).filter(one => one.scrollHeight > one.clientHeight + 1"
            " || one.getBoundingClientRect().right > innerWidth).map(one => one.outerHTML.slice(0, 200))"
        )
        assert clipped == []
        assert page.tab.evaluate("document.documentElement.scrollWidth") <= 720


def test_the_prior_is_that_of_the_receipt(places, browser):
    labels = read_json(places["single_label"].path("submissions/receipt.json"))["labels"]
    with looked_at(browser, page_of(places["single_label"])) as page:
        assert {row[0]: int(row[5]) for row in page.rows("#prior-table")} == labels


def test_ranked_answers_are_compared_with_ranked_answers(places):
    """Of a list of two each class is an answer twice as often, in the submission and out of fold."""
    place = places["single_label"]
    run = read_run(Sources(**{key: place.path(path) for key, path in vars(REPORTED).items()}))
    ranked = dataclasses.replace(run.schema.submission, kind="ranked", most=2, separator=" ")
    answers = answers_of(run.found.probs[:40], run.found.decided[:40], run.schema.target, ranked)
    receipt = run.receipt | {"labels": predicted_counts(answers, run.schema.target)}
    found = classes.prior(
        dataclasses.replace(run, schema=dataclasses.replace(run.schema, submission=ranked), receipt=receipt)
    )
    assert found["odd"] == 0 and sum(row["out_of_fold"] for row in found["rows"]) == pytest.approx(2)


def test_hostile_names_are_text(hostile, browser):
    with looked_at(browser, page_of(hostile)) as page:
        assert not page.dialogs and not page.asked and not page.complaints
        assert [row[0] for row in page.rows("#classes-table")] == list(HOSTILE)
        for cell in page.tab.query_selector_all("button[data-cell]"):
            cell.click()
        assert page.texts("#cell-images bdi")[0].startswith("</script><b onclick=alert(2)>")
        assert page.tab.query_selector("b") is None and page.tab.query_selector("img[onerror]") is None
        assert not page.dialogs and not page.complaints


def test_a_script_that_is_not_the_pages_does_not_run(places, browser, tmp_path):
    text = page_of(places["single_label"]).read_text()
    other = tmp_path / "index.html"
    other.write_text(text.replace("</body>", "<script>document.title = 'altered'</script></body>"))
    with looked_at(browser, other) as page:
        assert page.tab.title() != "altered" and any("Content Security Policy" in line for line in page.complaints)


@pytest.mark.parametrize("kind", [*KINDS, "forty", "thousand", "hostile"])
@pytest.mark.parametrize("width", [400, 2000])
def test_no_width_scrolls_sideways(places, forty, thousand, hostile, browser, kind, width):
    place = {"forty": forty, "thousand": thousand, "hostile": hostile, **places}[kind]
    with looked_at(browser, page_of(place), width=width) as page:
        assert page.tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("kind", "dark"), [("forty", False), *((kind, dark) for kind in KINDS for dark in (False, True))]
)
def test_axe_finds_nothing_serious(places, forty, browser, kind, dark):
    axe = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    with looked_at(browser, page_of({"forty": forty, **places}[kind]), dark=dark) as page:
        page.tab.click("#verdict details summary")
        page.tab.evaluate(axe)  # through the debugger, which no policy binds
        found = page.tab.evaluate("axe.run()")
    serious = [
        (violation["id"], violation["nodes"][0]["html"][:200])
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_many_classes_show_their_worst_pairs_and_a_picture(thousand, browser):
    with looked_at(browser, page_of(thousand)) as page:
        counts = [int(row[2]) for row in page.rows("#confusion-table")]
        assert len(counts) == 60 and counts == sorted(counts, reverse=True)
        assert page.tab.evaluate("document.querySelector('.raster').naturalWidth") == 1000
        assert len(page.rows("#classes-table")) == 1000
        assert not page.asked and not page.complaints


def test_pages_are_small(places, thousand):
    assert page_of(places["single_label"]).stat().st_size < 1_500_000
    assert page_of(thousand).stat().st_size < 6_000_000


def test_the_same_run_gives_the_same_bytes(places):
    place = places["ordinal"]
    before = page_of(place).read_bytes()
    page_of(place).unlink()
    place.run("report")
    assert page_of(place).read_bytes() == before


def test_a_run_that_does_not_belong_together_is_refused(places, tmp_path):
    place = made(tmp_path, KINDS["binary"], kind="binary", num_train=30)
    place.path("data/report/decision.json").write_text(json.dumps({"thresholds": [0.5]}))
    with pytest.raises(ValueError, match="dvc repro -f -s evaluate"):
        place.run("report")
