"""params.yaml: what is wrong stops the stage, naming the key, the value and what is allowed."""

import dataclasses
import re

import pytest
import yaml
from conftest import ROOT

from pipeline.base import params as p

SECTIONS = p.SECTIONS
PARAM_FILES = [ROOT / "params.yaml", *sorted((ROOT / "recipes").glob("*.yaml"))]


@pytest.fixture
def written(tmp_path):
    """Write params.yaml with changes: a section name and key, or a whole section, to a value."""

    def write(section, key=None, value=None, *, drop=False):
        found = yaml.safe_load((ROOT / "params.yaml").read_text())
        if drop:
            del found[section][key]
        elif key is None:
            found[section] = value
        else:
            found[section][key] = value
        if section == "folds":
            found["split"]["num_folds"] = max(2, len(value)) if isinstance(value, dict) else 5
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(found))
        return path

    return write


@pytest.mark.parametrize("path", PARAM_FILES, ids=lambda path: path.name)
def test_every_params_file_that_ships_is_valid_and_complete(path):
    assert set(p.load_params(path)) == {*SECTIONS, "folds"}
    p.check_params(path)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        (
            "train",
            "epoch",
            3,
            "train.epoch (= 3) is not known; did you mean epochs? allowed: ['seed', 'seeds', 'epochs'",
        ),
        ("train", "epochs", 0, "train.epochs is 0; allowed: an integer from 1 to 100000"),
        ("train", "epochs", 2.5, "train.epochs is 2.5; allowed: an integer from 1"),
        ("train", "epochs", True, "train.epochs is True; allowed: an integer"),
        ("train", "epochs", None, "train.epochs is None; allowed: an integer"),
        ("train", "epochs", 10**400, "allowed: an integer from 1 to 100000"),
        ("train", "peak_lr", "fast", "train.peak_lr is 'fast'; allowed: a number from 1e-09 to 1000.0"),
        ("train", "peak_lr", float("nan"), "train.peak_lr is nan; allowed: a number"),
        (
            "augment",
            "policy",
            "randaugment",
            "augment.policy is 'randaugment'; allowed: none, autoaugment, trivialaugment",
        ),
        ("augment", "flip", "yes please", "augment.flip is 'yes please'; allowed: true, false, alternating, dihedral"),
        ("images", "side", "big", "images.side is 'big'; allowed: auto, or 8 to 4096 pixels"),
        ("images", "side", 4, "images.side is 4; allowed: an integer from 8 to 4096 or a string"),
        ("split", "small_classes", "skip", "split.small_classes is 'skip'; allowed: stop, allow"),
        ("split", "group", None, "split.group is None; allowed: a string"),
        ("split", "grup", "x", "split.grup (= 'x') is not known; did you mean group?"),
        ("model", "width", 4, "model.width is 4; allowed: an integer from 8 to 128"),
        ("images", "size", 64, "images.size is called images.side now; rename the key"),
        ("model", "options", [1], "model.options is [1]; allowed: a list of strings"),
        ("model", "options", ["a"], "model.options has 'a'; allowed: texts such as drop_rate=0.2"),
        ("model", "options", ["a=1", "a=2"], "model.options is ['a=1', 'a=2']: a key is there twice; delete one"),
        ("model", "options", ["a=[1"], "model.options: 'a=[1': its value is not valid YAML"),
        (
            "model",
            "options",
            {"cfg": {"a": None}, "size": 3},
            'a list of strings; write ["cfg={\\"a\\": null}", "size=3"]',
        ),
        ("competition", "positive", 7, "competition.positive is 7; allowed: a string; a text that looks like a number"),
        ("competition", "allow", [1], "competition.allow is [1]; allowed: a list of strings"),
    ],
)
def test_a_wrong_value_names_key_value_and_what_is_allowed(written, section, key, value, message):
    path = written(section, key, value)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        p.load_section(path, section, SECTIONS[section])
    assert str(path) in str(error.value)


def test_no_key_bears_a_name_that_dvc_leaves_out_of_its_run_cache_key(monkeypatch):
    """`images.size: 128` once gave the store of 64 px again: "cached - skipping run"."""
    from dvc.stage import cache

    monkeypatch.setattr(cache, "dict_sha256", lambda found, exclude: exclude)
    left_out = cache._get_cache_hash({})
    assert set(left_out) == {"size", "nfiles"}, "DVC changed: see whether other names are free now, or taken"

    def keys(value):
        return {
            key for key, part in value.items() for key in ({key} | (keys(part) if isinstance(part, dict) else set()))
        }

    names = {item.name for section in SECTIONS.values() for item in dataclasses.fields(section)}
    for path in PARAM_FILES:
        names |= keys(p.load_params(path))
    assert not names & set(left_out)
    kinds = {kind for section in SECTIONS.values() for key in p._keys(section) for kind in p._kinds(section, key)}
    assert kinds <= {str, int, float, bool, tuple}, "a mapping's keys are the user's choice"


def test_options_are_texts_whose_values_are_yaml(written):
    path = written("model", "options", ["drop_rate=0.2", "cfg={size: 3, deep: [1, {nfiles: 2}]}", "act=gelu", "x="])
    found = p.load_section(path, "model", p.ModelParams).keywords
    assert found == {"drop_rate": 0.2, "cfg": {"size": 3, "deep": [1, {"nfiles": 2}]}, "act": "gelu", "x": None}


@pytest.mark.parametrize("section", [*SECTIONS, "folds"])
def test_the_check_of_all_sections_finds_what_a_stage_that_does_not_run_would_not(written, section):
    p.check_params(written("train", "seed", 1))
    with pytest.raises(ValueError, match=f"{section}.* 'x'"):
        p.check_params(written(section, value="x"))


def test_a_missing_key_says_what_to_add(written):
    with pytest.raises(ValueError, match="train lacks warmup; allowed: a number from 0.0 to 0.9"):
        p.load_section(written("train", "warmup", drop=True), "train", p.TrainParams)


@pytest.mark.parametrize("path", PARAM_FILES, ids=lambda path: path.name)
def test_every_params_file_that_ships_shows_every_key_of_split(path):
    assert set(p.load_params(path)["split"]) == {item.name for item in dataclasses.fields(p.SplitParams)}


def test_a_params_file_from_before_the_later_keys_means_what_it_meant(written):
    path = written("split", value={"num_folds": 5, "seed": 3})
    assert p.load_section(path, "split", p.SplitParams) == p.SplitParams(
        num_folds=5, seed=3, group="none", time="none", date_order="auto", fold_column="none", small_classes="stop"
    )
    with pytest.raises(ValueError, match="split lacks seed; allowed: an integer from 0"):
        p.load_section(written("split", value={"num_folds": 5}), "split", p.SplitParams)


@pytest.mark.parametrize("key", ["group", "time"])
def test_a_fold_column_stands_alone(written, key):
    path = written("split", value={"num_folds": 5, "seed": 0, "fold_column": "mine", key: "x"})
    message = f"split.fold_column is 'mine' and split.{key} is 'x': a fold column already says which image lies where"
    with pytest.raises(ValueError, match=message):
        p.load_section(path, "split", p.SplitParams)


def test_a_section_that_is_no_mapping_is_refused(written):
    with pytest.raises(ValueError, match=re.escape("train is 'fast'; must be a mapping with the keys")):
        p.load_section(written("train", value="fast"), "train", p.TrainParams)


def test_a_number_may_be_written_with_an_exponent(tmp_path):
    text = (ROOT / "params.yaml").read_text().replace("weight_decay: 0.0005", "weight_decay: 5e-4")
    (tmp_path / "params.yaml").write_text(text)
    assert p.load_section(tmp_path / "params.yaml", "train", p.TrainParams).weight_decay == 5e-4


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ({0: {}, 1: {}}, "2 of 2 fold keys are not quoted, first [0, 1]; write '0': {}"),
        ({"0": {}, 1: {}}, "1 of 2 fold keys are not quoted, first [1]"),
        ({"0": {}, "2": {}}, "folds has the keys ['0', '2']; must be '0' to '1' without gaps"),
        ({"0": {}}, "folds has the keys ['0']; must be at least '0' and '1'"),
        ({}, "must be at least '0' and '1'"),
        (5, "folds is 5; must be a mapping"),
        ({"0": {}, "1": None}, "folds.1 is None; must be a mapping, {} for no overrides"),
    ],
)
def test_folds_must_be_quoted_and_complete(written, folds, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        p.load_folds(written("folds", value=folds))


def test_the_number_of_folds_and_their_names_must_agree(written):
    path = written("split", "num_folds", 4)
    with pytest.raises(
        ValueError, match=re.escape("folds names 5 folds ('0' to '4'), split.num_folds is 4; change the one")
    ):
        p.load_folds(path)


def test_a_folds_overrides_reach_that_fold_alone_and_are_checked(written):
    path = written("folds", value={"0": {}, "1": {"seed": 7, "peak_lr": 0.3}})
    assert (p.load_train(path, "1").seed, p.load_train(path, "1").peak_lr) == (7, 0.3)
    assert p.load_train(path, "0").seed == 0
    with pytest.raises(ValueError, match=re.escape("folds.1.sed (= 7) is not known; did you mean seed?")):
        p.load_train(written("folds", value={"0": {}, "1": {"sed": 7}}), "1")
    with pytest.raises(ValueError, match=re.escape("folds.0.epochs is -1; allowed: an integer from 1")):
        p.load_train(written("folds", value={"0": {"epochs": -1}, "1": {}}), "0")


def test_yaml_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("train: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ValueError, match="is not valid YAML"):
        p.load_params(path)


def test_compiling_is_off_in_a_file_from_before_it():
    assert p.parse_section({"device": "auto", "precision": "auto"}, "compute", p.ComputeParams).compile is False
