"""inspect: its account, and what it writes into params.yaml, where nothing of the user's may be lost."""

import pytest
import yaml
from conftest import ROOT, competition_files, write_zip

from pipeline import __main__ as command
from pipeline.inspection import holds_demos_recipe
from pipeline.suggestion import MOST_EPOCHS


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    return path


@pytest.fixture
def raw(tmp_path):
    return write_zip(tmp_path / "animals.zip", competition_files())


def inspect(raw, params, *flags):
    command.main(["inspect", str(raw), "--params", str(params), *flags])
    return yaml.safe_load(params.read_text())


def test_the_account_says_what_was_understood(raw, params, capsys):
    before = params.read_text()
    inspect(raw, params)
    out = capsys.readouterr().out
    for line in (
        "files        ", "30 labelled, 9 to predict", "12x12 (39); PNG RGB", "images train/{id}.png", "target       single_label",
        "classes      3: a cat 10, bird 10, dog, large 10", "submission   label: one label a row; columns id, label",
        "metric       accuracy (higher is better)", "recipe       to start from", "problems     none in tables and names",
    ):  # fmt: skip
        assert line in out, line
    assert params.read_text() == before, "without --write nothing is written"


def test_problems_are_told_before_ingest_meets_them(raw, params, capsys):
    files = competition_files()
    del files["train/004.png"]
    write_zip(raw, files)
    inspect(raw, params)
    out = capsys.readouterr().out
    assert "problems     ingest will stop at these:" in out and "id without image in train/: 1 (004)" in out


def test_writing_keeps_comments_and_every_other_key(raw, params):
    written = inspect(raw, params, "--write")
    assert written["competition"]["raw"] == str(raw)
    assert written["competition"]["train_images"] == "train/{id}.png"
    text, original = params.read_text(), (ROOT / "params.yaml").read_text()
    comments = [line.partition("#")[2] for line in original.splitlines()]
    assert [line.partition("#")[2] for line in text.splitlines()] == comments
    assert list(written) == list(yaml.safe_load(original))
    assert written["folds"] == {str(fold): {} for fold in range(5)} and "'0': {}" in text, "the quotes stay"


def test_the_demos_recipe_is_replaced_the_users_own_is_kept(raw, params, tmp_path, capsys):
    written = inspect(raw, params, "--write")
    assert written["train"]["epochs"] == MOST_EPOCHS and "made for the demo's" in capsys.readouterr().out
    written["train"]["epochs"] = 7
    params.write_text(yaml.safe_dump(written))
    other = write_zip(tmp_path / "other.zip", competition_files())
    assert inspect(other, params, "--write")["train"]["epochs"] == 7
    assert "wrote section `competition` of" in capsys.readouterr().out
    assert inspect(other, params, "--recipe")["train"]["epochs"] == MOST_EPOCHS


def test_naming_the_competition_first_does_not_keep_the_demos_recipe(raw, params):
    text = params.read_text().replace("raw: data/demo/digits.zip", f"raw: {raw}")
    params.write_text(text)
    assert inspect(raw, params, "--write")["train"]["epochs"] == MOST_EPOCHS


def test_the_shipped_recipe_is_known_as_the_demos(params):
    assert holds_demos_recipe(params)


def test_another_competition_starts_from_what_is_recognised(raw, params, tmp_path):
    written = inspect(raw, params, "--write")
    written["competition"] |= {"allow": ["image without row"], "encoding": "cp949", "label": "label"}
    params.write_text(yaml.safe_dump(written, sort_keys=False))
    assert inspect(raw, params, "--write")["competition"]["allow"] == ["image without row"], "the same competition"
    other = write_zip(tmp_path / "other.zip", competition_files())
    section = inspect(other, params, "--write")["competition"]
    assert (section["allow"], section["encoding"], section["raw"]) == ([], "auto", str(other))


def test_what_is_not_understood_writes_nothing(raw, params):
    before = params.read_text()
    write_zip(raw, {"readme.txt": b"?"})
    with pytest.raises(ValueError, match="no image among 1 files"):
        inspect(raw, params, "--write")
    assert params.read_text() == before
