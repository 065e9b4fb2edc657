"""A bundle as Kaggle's notebooks take it: the very script runs in Kaggle's layout, read-only, without network."""

import json
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from bundles import bundled
from conftest import LABELS, csv_bytes, encoded, image_of, write_zip

from pipeline import __main__ as command
from pipeline.archive.archive import unpack_outermost
from pipeline.base.params import CompetitionParams, load_section
from pipeline.competition.schema import read_schema
from pipeline.leaderboard.sites._kernel import Kernel, default_name, script, write_kernel
from pipeline.leaderboard.sites._rehearsal import absent_modules, rehearse, run_as_kaggle, verify_kernel


@pytest.fixture(scope="module")
def here(finished, tmp_path_factory):
    """A copy of a finished run, with its bundle."""
    root = tmp_path_factory.mktemp("kernel") / "place"
    shutil.copytree(finished.root, root)
    bundled(finished, root / "submissions/bundle.zip")
    return root


def written(here, *more):
    command.main(["bundle", "kernel", "--user", "somebody", "--competition", "birds", *more])


def test_the_command_writes_what_kaggles_client_sends_and_the_script_makes_the_submission(here, monkeypatch, capsys):
    monkeypatch.chdir(here)
    written(here, "--verify", "--gpu")
    out = capsys.readouterr().out
    assert "identical: submissions/submission.csv" in out and "network refused" in out
    assert "kaggle datasets create -p submissions/kernel/dataset" in out
    kernel = json.loads((here / "submissions/kernel/kernel/kernel-metadata.json").read_text())
    assert kernel["dataset_sources"] == ["somebody/birds-foldboard"] == [kernel["id"]]
    assert kernel["competition_sources"] == ["birds"] and kernel["enable_internet"] is False and kernel["is_private"]
    assert kernel["enable_gpu"] and (here / "submissions/kernel/kernel" / kernel["code_file"]).is_file()
    dataset = json.loads((here / "submissions/kernel/dataset/dataset-metadata.json").read_text())
    assert dataset["id"] == "somebody/birds-foldboard" and 6 <= len(dataset["title"]) <= 50


def hidden(folder):
    """Other test images, more of them, one that cannot be read and one that is missing."""
    shutil.rmtree(folder / "test")
    (folder / "test").mkdir()
    ids = [f"h{n:03d}" for n in range(24)]
    for number, name in enumerate(ids[:-1]):
        content = b"no image" if number == 5 else encoded(image_of(number % 3, 500 + number))
        (folder / "test" / f"{name}.png").write_bytes(content)
    rows = [(name, LABELS[0]) for name in ids]
    (folder / "sample_submission.csv").write_bytes(csv_bytes(("id", "label"), rows))


@pytest.mark.slow
@pytest.mark.parametrize("unpacked", [False, True])
def test_hidden_test_images_that_are_more_and_partly_broken_give_a_valid_file(here, finished, tmp_path, unpacked):
    kernel = Kernel(user="somebody", competition="birds", name="birds-foldboard", gpu=False, time_limit_s=3600)
    write_kernel(here / "submissions/bundle.zip", tmp_path, kernel, "sample_submission.csv")
    found = rehearse(
        tmp_path, competition=load_section(here / "params.yaml", "competition", CompetitionParams),
        python=command.sys.executable, unpacked=unpacked, change=hidden,
    )  # fmt: skip
    assert len(found.content.splitlines()) == 25
    assert any("1 of 24 ids of the sample have no image" in line for line in found.said)
    assert any(re.search(r"1 of \d+ images cannot be read", line) for line in found.said)  # of its block


def packed_sample(folder):
    """As older competitions hand it out; Kaggle mounts it as it is."""
    sample = folder / "sample_submission.csv"
    with zipfile.ZipFile(folder / "sample_submission.csv.zip", "w") as archive:
        archive.write(sample, sample.name)
    sample.unlink()


def another_stages_sample(folder):
    (folder / "stage1").mkdir()
    (folder / "stage1/sample_submission.csv").write_text("id,label\nx1,bird\n")


def brackets(folder):
    (folder / "sample_submission.csv").rename(folder / "sample[v2].csv")


@pytest.mark.slow
@pytest.mark.parametrize("change", [packed_sample, another_stages_sample, brackets])
def test_the_sample_is_found_where_it_lies(here, tmp_path, change):
    kernel = Kernel(user="somebody", competition="birds", name="birds-foldboard", gpu=False, time_limit_s=3600)
    name = "sample[v2].csv" if change is brackets else "sample_submission.csv"
    write_kernel(here / "submissions/bundle.zip", tmp_path, kernel, name)
    found = rehearse(
        tmp_path, competition=load_section(here / "params.yaml", "competition", CompetitionParams),
        python=command.sys.executable, change=change,
    )  # fmt: skip
    assert found.content == (here / "submissions/submission.csv").read_bytes()


def test_archives_inside_the_competitions_are_laid_out_as_they_are(tmp_path):
    """As the site mounts them: a rehearsal that unpacks them would not show what is not found there."""
    files = {"sample_submission.csv": b"id,label\n1,a\n"}
    inner = write_zip(tmp_path / "inner.zip", {"test/1.png": b"1"}).read_bytes()
    raw = write_zip(tmp_path / "raw.zip", files | {"test.zip": inner})
    unpack_outermost(raw, tmp_path / "out")
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*")}
    assert found == files | {"test.zip": inner}


@pytest.mark.slow
def test_a_submission_that_is_not_the_bundles_is_named_with_its_row(here, tmp_path):
    kernel = Kernel(user="somebody", competition="birds", name="birds-foldboard", gpu=False, time_limit_s=3600)
    write_kernel(here / "submissions/bundle.zip", tmp_path, kernel, "sample_submission.csv")
    other = tmp_path / "other.csv"
    rows = (here / "submissions/submission.csv").read_text().splitlines()
    other.write_text("\n".join([*rows[:2], rows[2].split(",")[0] + ",nothing", *rows[3:], ""]))
    with pytest.raises(ValueError, match="row 2 is the first of 1 that differ"):
        verify_kernel(
            tmp_path, competition=load_section(here / "params.yaml", "competition", CompetitionParams),
            schema=read_schema(here / "data/competition/schema.json"), submission=other, python=command.sys.executable,
        )  # fmt: skip


def test_another_bundle_than_the_scripts_is_refused_by_the_script(here, tmp_path):
    """As when the site still mounts an older version of the data set."""
    kernel = Kernel(user="somebody", competition="birds", name="birds-foldboard", gpu=False, time_limit_s=3600)
    _, code = write_kernel(here / "submissions/bundle.zip", tmp_path, kernel, "sample_submission.csv")
    path = code / "predict_offline.py"
    digest = re.search("MANIFEST_SHA256 = '([0-9a-f]{64})'", path.read_text())[1]
    path.write_text(path.read_text().replace(digest, "0" * 64))
    with pytest.raises(ValueError, match="the bundle is another .* than this kernel was written for"):
        verify_kernel(
            tmp_path, competition=load_section(here / "params.yaml", "competition", CompetitionParams),
            schema=read_schema(here / "data/competition/schema.json"),
            submission=here / "submissions/submission.csv", python=command.sys.executable,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "x"}, "6 to 50"),
        ({"user": "a b"}, "--user"),
        ({"time_limit_s": 60}, "above 300 s"),
        ({"time_limit_s": float("inf")}, "and a number"),
        ({"time_limit_s": float("nan")}, "and a number"),
    ],
)
def test_names_that_kaggle_does_not_take_are_refused(changed, said):
    sound = {"user": "somebody", "competition": "birds", "name": "birds-foldboard", "gpu": False, "time_limit_s": 3600}
    with pytest.raises(ValueError, match=said):
        Kernel(**(sound | changed))


def test_the_script_keeps_a_reserve_of_the_time():
    assert "TIME_LIMIT_S = 3300" in script("sample_submission.csv", "0" * 64, 3600)


def test_of_what_is_installed_only_what_kaggles_image_has_is_there():
    absent = set(absent_modules())
    assert {"simplejpeg", "dvc", "kaggle"} <= absent
    assert not absent & {"torch", "torchvision", "timm", "numpy", "pandas", "PIL", "sklearn", "safetensors", "tqdm"}


def test_neither_the_first_process_nor_what_it_starts_finds_the_others(tmp_path):
    probe = "try:\n    import simplejpeg\nexcept ModuleNotFoundError as error:\n    print(error)\n"
    script = tmp_path / "probe.py"
    script.write_text(
        f"{probe}import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', {probe!r}], "
        "capture_output=True, text=True).stdout)\n"
    )
    _, done = run_as_kaggle(tmp_path, Path(sys.executable), [str(script)], {}, site=tmp_path / "site")
    assert done.stdout.count("'simplejpeg': it is not in Kaggle's image") == 2, done.stdout + done.stderr


@pytest.mark.parametrize(
    "competition", ["birds", "a-very-long-name-of-a-competition-with-a-hyphen-at-39", "x--y", "Ünï"]
)
def test_the_default_name_is_one_that_kaggle_makes_of_its_title(competition):
    name = default_name(competition)
    Kernel(user="somebody", competition="birds", name=name, gpu=False, time_limit_s=3600)
    assert "--" not in name and len(name) <= 50
