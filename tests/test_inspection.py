"""inspect: its account, and what it writes into params.yaml, where nothing of the user's may be lost."""

import os
import re

import pytest
import yaml
from conftest import ROOT, competition_files, csv_bytes, write_zip

from pipeline import __main__ as command
from pipeline.base.params import CompetitionParams, load_section
from pipeline.commands import inspection
from pipeline.commands.folds import run_folds
from pipeline.commands.inspection import holds_demos_recipe
from pipeline.commands.plan import read_plan
from pipeline.commands.suggestion import MAX_EPOCHS, WIDTHS, Speed, budget_seconds


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    return path


@pytest.fixture
def raw(tmp_path):
    return write_zip(tmp_path / "animals.zip", competition_files())


def inspect(raw, params, *flags, probe=("--no-probe",)):
    command.main(["inspect", str(raw), "--params", str(params), *flags, *probe])
    return yaml.safe_load(params.read_text())


def test_the_account_says_what_was_understood(raw, params, capsys):
    before = params.read_text()
    inspect(raw, params)
    out = capsys.readouterr().out
    for line in (
        "files        ", "30 labelled, 9 to predict", "12x12 (39); PNG RGB", "images train/{id}.png", "target       single_label",
        "classes      3: a cat 10, bird 10, dog, large 10", "submission   label: one label a row; columns id, label",
        "metric       accuracy (higher is better)", "recipe       for 10m (--budget), about 1 min", "problems     none in tables and names",
    ):  # fmt: skip
        assert line in out, line
    assert params.read_text() == before, "without --write nothing is written"


def test_other_metrics_that_the_organisers_words_speak_of_are_told(raw, params, capsys):
    files = competition_files()
    files["docs/README.md"] = (
        b"# Animals\nOur last year's winner had an accuracy of 0.9.\n\n## Evaluation\n\nYou are judged by <b>macro "
        b"F1</b> on 30% of the rows.\nThe log loss of our baseline is on a page of its own.\nNo map is there.\n\nx\ny\n"
        b"Thanks go to the authors of mean average precision.\n"
    )
    write_zip(raw, files)
    written = inspect(raw, params, "--write")
    out = capsys.readouterr().out
    assert "'docs/README.md: You are judged by macro F1 on 30% of the rows.' may ask for another: " in out
    assert re.findall(r"another: competition.metric: (\w+)", out) == ["macro_f1", "log_loss"]
    assert written["competition"]["metric"] == "accuracy", "it is told, not taken"
    params.write_text(params.read_text().replace("metric: accuracy ", "metric: macro_f1 ", 1))
    inspect(raw, params)
    assert "macro_f1" not in capsys.readouterr().out.split("may ask")[1]


@pytest.mark.slow
def test_a_recipe_is_written_for_the_machine_as_measured(raw, params, capsys, monkeypatch):
    inspect(raw, params, "--recipe", probe=())
    assert "measuring" not in capsys.readouterr().out, "far within the budget"
    monkeypatch.setattr(inspection, "SURELY", 0.0)
    written = inspect(raw, params, "--recipe", "--budget", "1h", probe=())
    out = capsys.readouterr().out
    speed = re.search(r"measuring    airbench of width \d+ at 12 px …\n +([\d,]+) images/s", out)
    assert speed and int(speed.group(1).replace(",", "")) > 0
    assert re.search(r"recipe       for 1h \(--budget\), about \d+ min for all folds as measured here", out)
    assert written["model"]["name"] == "airbench" and written["train"]["optimizer"] == "muon"
    plan = read_plan(params)
    assert plan and plan.budget == "1h" and 0 < plan.expected_s < 3600


@pytest.mark.parametrize("slower", [1, 30, 1000])
@pytest.mark.parametrize("budget", ["10m", "3h"])
def test_what_is_timed_is_within_the_machines_reach(raw, params, monkeypatch, slower, budget):
    """However slow it is: a step of what a fast machine could do may take minutes on it."""
    monkeypatch.setattr(inspection, "SURELY", 0.0)
    timed = []

    def measured(recipe, params, layout, num_folds):
        side, width = recipe["images"]["side"], recipe["model"]["width"]
        timed.append((width, recipe["train"]["epochs"] * len(layout.train_ids) * (num_folds - 1)))
        return Speed(gpu=False)(side, width) / slower

    monkeypatch.setattr(inspection, "_measured", measured)
    inspect(raw, params, "--recipe", "--budget", budget, probe=())
    assert timed[0][0] == min(WIDTHS["airbench"])
    cheapest = min(WIDTHS["airbench"])
    for width, images in timed:
        assert width == cheapest or images * slower / Speed(gpu=False)(12, width) <= budget_seconds(budget)


def test_a_machine_that_cannot_be_measured_gets_a_recipe_and_is_told(raw, params, capsys, monkeypatch):
    monkeypatch.setattr(inspection, "SURELY", 0.0)
    params.write_text(params.read_text().replace("device: auto ", "device: cuda:7 ", 1))
    inspect(raw, params, "--recipe", probe=())
    out = capsys.readouterr().out
    assert re.search(r"not measured \(.*cuda:7.*\); the recipe is for two fast cores", out)
    assert "on two fast cores" in out


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
    assert written["train"]["epochs"] == MAX_EPOCHS and "is for the demo's" in capsys.readouterr().out
    written["train"]["epochs"] = 7
    params.write_text(yaml.safe_dump(written))
    other = write_zip(tmp_path / "other.zip", competition_files())
    assert inspect(other, params, "--write")["train"]["epochs"] == 7
    assert "wrote section `competition` of" in capsys.readouterr().out
    assert inspect(other, params, "--recipe")["train"]["epochs"] == MAX_EPOCHS


def test_naming_the_competition_first_does_not_keep_the_demos_recipe(raw, params):
    text = params.read_text().replace("raw: data/demo/digits.zip", f"raw: {raw}")
    params.write_text(text)
    assert inspect(raw, params, "--write")["train"]["epochs"] == MAX_EPOCHS


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


def test_what_is_not_understood_is_named_all_the_same_so_that_nobody_trains_another(raw, params):
    before = params.read_text()
    write_zip(raw, {"readme.txt": b"?"})
    with pytest.raises(ValueError, match=r"(?s)no image among 1 files.*still names another competition"):
        inspect(raw, params)
    assert params.read_text() == before, "without --write nothing is written"
    with pytest.raises(ValueError, match=r"(?s)no image among 1 files.*names this competition from now on"):
        inspect(raw, params, "--write")
    section = load_section(params, "competition", CompetitionParams)
    assert section == CompetitionParams(raw=str(raw)), "and all else is as before any"
    after = params.read_text()
    with pytest.raises(ValueError, match=r"no image among 1 files.*suffixes: [^\n]*$"):
        inspect(raw, params, "--write")
    assert params.read_text() == after
    with pytest.raises(ValueError, match="does not exist"):
        inspect(raw.with_name("mistyped.zip"), params, "--write")
    assert params.read_text() == after, "a mistyped name is no competition"


def test_a_competition_that_params_do_not_name_is_noted(raw, params, capsys):
    inspect(raw, params)
    assert "still names another competition, which `dvc repro` would train" in capsys.readouterr().out
    inspect(raw, params, "--write")
    assert "still names" not in capsys.readouterr().out
    inspect(raw, params)
    assert "still names" not in capsys.readouterr().out


def cats_and_dogs(raw):
    files = competition_files(labels=("cat", "dog"))
    files["sample_submission.csv"] = re.sub(rb",\w+\n", b",0.5\n", files["sample_submission.csv"]).replace(
        b",0.5", b",label", 1
    )
    return write_zip(raw, files)


def test_the_printed_line_alone_settles_the_question(raw, params, tmp_path, monkeypatch):
    """Pasted after a failed --write, in its section; pasted as a line of its own it is not passed over."""
    monkeypatch.chdir(tmp_path)
    cats_and_dogs(raw)
    with pytest.raises(ValueError, match="which class does 1 mean") as error:
        inspect(raw, params, "--write")
    line = next(line.strip() for line in str(error.value).splitlines() if line.endswith("dog"))
    key, _, value = line.removeprefix("competition.").partition(": ")
    text = params.read_text()
    params.write_text(re.sub(rf"(?m)^  {key}: auto", f"  {key}: {value}", text))
    assert inspect(raw, params, "--write")["competition"]["positive"] == "dog"
    params.write_text(f"{text}\n{line}\n")
    with pytest.raises(ValueError, match="competition.positive stands beside section `competition`; write it inside"):
        inspect(raw, params, "--write")


def test_settings_of_an_earlier_archive_of_the_same_name_are_told(workplace, capsys):
    """Labels 0 and 1 become 1 and 2: `positive: 1`, which inspect wrote, would be the other class in silence."""

    def written(labels):
        files = competition_files(labels=labels)
        files["sample_submission.csv"] = re.sub(rb",\w+\n", b",0.5\n", files["sample_submission.csv"]).replace(
            b",0.5", b",label", 1
        )
        write_zip(workplace.raw, files)

    def told():
        workplace.params = yaml.safe_load(params.read_text())
        workplace.run_data()
        inspect(workplace.raw, params)
        return [line for line in capsys.readouterr().out.splitlines() if "has changed since `inspect` wrote" in line]

    params = workplace.root / "params.yaml"
    workplace.save()
    written(("0", "1"))
    inspect(workplace.raw, params, "--write")
    assert told() == []
    os.utime(workplace.raw, (0, 0))
    assert told() == [], "another time, the same files"
    written(("1", "2"))
    lines = told()
    assert len(lines) == 2, "by ingest, by inspect"
    assert all("read afresh it asks: " in line and "raw.zip --fresh --write`" in line for line in lines), lines
    written(("no", "yes"))
    with pytest.raises(ValueError, match="competition.positive is '1'"):
        told()
    assert "it would be competition.positive: yes (is 1)" in capsys.readouterr().out
    assert inspect(workplace.raw, params, "--write", "--fresh")["competition"]["positive"] == "yes"
    assert told() == []

    def columns(*names):
        files = competition_files()
        cells = [[n % (place + 2) // (place + 1) for place in range(len(names))] for n in range(30)]
        files["train.csv"] = csv_bytes(("id", *names), [(f"{n:03d}", *row) for n, row in enumerate(cells)])
        rows = [(f"9{n:02d}", *[0.5] * len(names)) for n in range(9)]
        write_zip(workplace.raw, files | {"sample_submission.csv": csv_bytes(("id", *names), rows)})

    columns("rain", "fog")
    assert inspect(workplace.raw, params, "--write", "--fresh")["competition"]["label"] == ["rain", "fog"]
    columns("rain", "fog", "snow")
    lines = told()
    assert lines and all(
        "would be competition.label: ['rain', 'fog', 'snow'] (is ['rain', 'fog'])" in line for line in lines
    )


def test_after_a_failed_inspect_ingest_asks_the_same_question_and_never_takes_the_demo(workplace, tmp_path):
    """What `dvc repro` runs first; the demo, which params.yaml named before, would go through."""
    demo, raw = workplace.raw, cats_and_dogs(tmp_path / "theirs.zip")
    workplace.save()
    with pytest.raises(ValueError, match="which class does 1 mean") as asked:
        inspect(raw, tmp_path / "params.yaml", "--write")
    workplace.params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    with pytest.raises(ValueError, match="which class does 1 mean") as again:
        workplace.run_data()
    assert str(asked.value).startswith(str(again.value)) and demo.is_file()


def test_a_folder_without_git_is_told_how_to_become_one(raw, params, tmp_path, monkeypatch, capsys):
    inspect(raw, params, "--write")
    assert "next: git init && python -m pipeline folds" in capsys.readouterr().out
    (tmp_path / ".dvc").mkdir()
    for name in ("dvc.yaml", ".dvc/config"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is not a git repository, .* run `git init`, then this again"):
        run_folds(jobs=1, device="cpu", logs=tmp_path / "logs")


def test_classes_of_few_images_get_the_lines_that_they_need(raw, params, capsys):
    files = competition_files(per_class=4, labels=("oak", "elm", "fir"))
    files["train.csv"] = files["train.csv"].replace(b",fir", b",yew", 1)
    write_zip(raw, files)
    written = inspect(raw, params, "--write")
    assert "classes have fewer images than folds" in capsys.readouterr().out
    assert written["split"]["small_classes"] == "allow"
    assert written["competition"]["allow"] == ["classes of fewer than 2 images"]
    inspect(raw, params)
    assert "problems     none in tables and names" in capsys.readouterr().out


def test_what_was_set_for_the_last_competition_and_its_recipe_are_told(raw, params, capsys):
    inspect(raw, params, "--write")
    capsys.readouterr()
    inspect(raw, params, "--write")
    assert "note" not in capsys.readouterr().out
    text = params.read_text().replace("metric: accuracy ", "metric: macro_f1 ", 1)
    params.write_text(text.replace("corrections: none ", "corrections: fixes.csv ", 1))
    inspect(write_zip(raw.with_name("animals_v2.zip"), competition_files()), params, "--write")
    out = capsys.readouterr().out
    assert f"what stood there for {raw} counts no more: corrections: fixes.csv, metric: macro_f1" in out
    assert f"the recipe stays as it was for {raw}" in out
