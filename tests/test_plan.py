"""The plan that inspect writes and folds reads: of the recipe it was made for, and of no other."""

import pytest
import yaml
from conftest import ROOT

from pipeline.commands.plan import Plan, read_plan, write_plan
from pipeline.commands.scores_seen import SEEN, seen_lines
from pipeline.commands.suggestion import Facts, budget_seconds


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    write_plan(path, budget="1h", expected_s=2951.26)
    return path


def edited(params, section, key, value):
    found = yaml.safe_load(params.read_text())
    found[section][key] = value
    params.write_text(yaml.safe_dump(found))


def test_it_comes_back_as_written_beside_the_params_file(params):
    found = read_plan(params)
    assert found and (found.budget, found.budget_s, found.expected_s) == ("1h", 3600.0, 2951.3)
    assert [path.name for path in (params.parent / "data").iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    ("section", "key", "value", "holds"),
    [
        ("train", "epochs", 99, False), ("images", "side", 31, False), ("compute", "device", "cuda:7", False),
        ("competition", "raw", "data/raw/other.zip", False), ("split", "num_folds", 3, False),
        ("folds", "0", {"epochs": 2}, False), ("competition", "metric", "log_loss", True),
        ("infer", "batch_size", 1, True),
    ],
)  # fmt: skip
def test_it_holds_until_what_takes_time_is_edited(params, section, key, value, holds):
    edited(params, section, key, value)
    assert (read_plan(params) is not None) == holds


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"budget": "2 days", "expected_s": 1.0, "of": ""}', "\x00", "1"])
def test_a_damaged_plan_is_no_plan(params, text):
    (params.parent / "data/plan.json").write_text(text)
    assert read_plan(params) is None
    (params.parent / "data/plan.json").unlink()
    assert read_plan(params) is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (2700, "15 min within the budget of 1h"),
        (3660, "60 s over the budget of 1h"),
        (5400, "30 min over the budget of 1h"),
    ],
)
def test_what_was_kept_is_said(seconds, said):
    whole = Plan(budget="1h", expected_s=2951.3, of="").kept(seconds)
    assert whole == f"{seconds / 60:.0f} min in all; 49 min were expected, {said}"


def facts(**changed):
    return Facts(
        **{"num_train": 50_000, "side": 32, "classes": [str(n) for n in range(10)], "metric": "accuracy", "several": False,
           "num_folds": 5} | changed
    )  # fmt: skip


def test_scores_are_shown_of_sets_of_the_same_kind_within_the_budget():
    assert "0.884 in 10m" in "".join(seen_lines(facts(), "10m"))
    assert "in 1h" in "".join(seen_lines(facts(), "3h")) and "in 10m" not in "".join(seen_lines(facts(), "3h"))
    assert seen_lines(facts(several=True), "10m") == [], "50,000 images of several labels were never tried"
    assert seen_lines(facts(classes=[str(n) for n in range(1_000)]), "10m") == []
    for seen in SEEN:
        assert all(budget_seconds(budget) for budget in seen.scores)
