"""The very kernel script, run as Kaggle runs it, for every layout, target and format that ingest reads.

Without simplejpeg and whatever else Kaggle's image has not, on hidden test images: other ids, another number, one of
them no image; with samples as TSV, as UTF-16, with blank last lines. And cut at a third of its time.

    FOLDBOARD_KERNEL_FORMATS=all python -m pytest tests/test_kernel_formats.py -s     # all cells, prints the table
"""

import csv
import dataclasses
import functools
import io
import os
import re
import subprocess
import sys
import zipfile

import pytest
from bundles import bundled
from conftest import ROOT, Workplace, csv_bytes, encoded, write_zip
from made_up import CELLS, LAYOUTS, _sample, graded, labels_of, make, pixels_for

from pipeline.base.params import CompetitionParams, load_section
from pipeline.competition.schema import read_schema
from pipeline.leaderboard.sites._kernel import Kernel, organisers_sample_name, write_kernel
from pipeline.leaderboard.sites._rehearsal import rehearse, verify_kernel
from pipeline.stages import evaluate

pytestmark = pytest.mark.slow
NUM_HIDDEN, BROKEN = 34, 5  # images, and the one of them that is none
FORMS = {  # of a sample that ingest reads: (its name, what its bytes are made of)
    "plain": ("sampleSubmission.csv", lambda text: text.encode()),
    "TSV": ("sampleSubmission.tsv", lambda text: tabbed(text).encode()),
    "UTF-16": ("sampleSubmission.csv", lambda text: text.encode("utf-16")),
    "blank last lines": ("sampleSubmission.csv", lambda text: f"{text}\n\n".encode()),
    "byte order mark": ("sampleSubmission.csv", lambda text: text.replace("\n", "\r\n").encode("utf-8-sig")),
}
SOME = (  # each layout, each target, each format, each form of a sample once or more
    ("table", "multi_label", "list", "TSV"), ("path column", "single_label", "ranked", "blank last lines"),
    ("sub-folder column", "binary", "score", "plain"), ("shared folder", "single_label", "long", "UTF-16"),
    ("0/1 columns", "multi_label", "columns", "byte order mark"), ("class folders", "single_label", "label", "TSV"),
    ("file names", "single_label", "columns", "UTF-16"), ("COCO", "multi_label", "long", "plain"),
    ("table", "ordinal", "label", "blank last lines"),
)  # fmt: skip
ALL = [(*cell, list(FORMS)[at % len(FORMS)]) for at, cell in enumerate(CELLS)]
COMPLETE = os.environ.get("FOLDBOARD_KERNEL_FORMATS") == "all"


def tabbed(text):
    out = io.StringIO(newline="")
    csv.writer(out, delimiter="\t", lineterminator="\n").writerows(csv.reader(io.StringIO(text)))
    return out.getvalue()


def hidden(made, layout):
    """(the competition with other test images, how to put them in the place of the public ones)."""
    ids = [f"hd.{number:03d}" for number in range(NUM_HIDDEN)]
    truth = {name: labels_of(number, made.target) for number, name in enumerate(ids)}
    images = {
        name: encoded(pixels_for(labels, made.target, 900 + number))
        for number, (name, labels) in enumerate(truth.items())
    }
    images[ids[BROKEN]] = b"this is no image"
    other = dataclasses.replace(made, truth=truth, sample=_sample(ids, made.classes, made.kind, layout))
    folder = {"shared folder": "images", "COCO": "pictures/test"}.get(layout, "test")

    def swap(given, form):
        for path in (given / folder).iterdir():
            if path.name.startswith("te."):
                path.unlink()
        if layout == "path column":  # where the images lie is known from the table alone
            files = {name: f"unit {number % 3}/{1000 + number}.png" for number, name in enumerate(ids)}
            rows = [(name, f"./test/{file}") for name, file in files.items()]
            (given / "test.csv").write_bytes(csv_bytes(("ID", "img_path"), rows))
        else:
            files = {name: f"{name}.png" for name in ids}
        for name, file in files.items():
            place = given / folder / file
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(images[name])
        name, spelled = FORMS[form]
        (given / name).write_bytes(spelled(other.sample.decode()))

    return other, swap


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(layout, target, kind, form) -> the competition, and a folder in which all stages ran and the kernel lies."""

    @functools.cache
    def run(layout, target, kind, form):
        place, made = Workplace(tmp_path_factory.mktemp("place")), make(layout, target, kind)
        place.params["train"] |= {"epochs": 8, "batch_size": 8, "valid_every": 8}
        place.params["compute"]["precision"] = "fp32"
        files = {name: content for name, content in made.files.items() if name != "sampleSubmission.csv"}
        name, spelled = FORMS[form]
        write_zip(place.raw, files | {name: spelled(made.sample.decode())})
        place.params["competition"] |= made.settings
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(evaluate, "drawn", lambda name, draw: b"")
            place.run_all()
        bundle = bundled(place, place.path("bundle.zip"))
        kernel = Kernel(user="somebody", competition="birds", name="birds-foldboard", gpu=False, time_limit_s=3600)
        sample = place.path("data/competition/sample_submission.csv")
        write_kernel(bundle, place.path("kernel"), kernel, organisers_sample_name(place.path("params.yaml"), sample))
        return made, place

    return run


def competition_of(place):
    return load_section(place.path("params.yaml"), "competition", CompetitionParams)


def as_plain(content, form):
    """The rows of a submission in the make of this form of a sample, as plain CSV."""
    text = content.decode("utf-16" if form == "UTF-16" else "utf-8-sig").replace("\r\n", "\n")
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if form == "TSV" else ",")
    return csv_bytes(header, rows)


def answered(made, content, form):
    """(score, chance), of a submission made as this form of a sample."""
    return graded(made, as_plain(content, form))


@pytest.mark.parametrize(("layout", "target", "kind", "form"), ALL if COMPLETE else SOME)
def test_the_kernel_predicts_hidden_images_in_kaggles_layout(trained, layout, target, kind, form):
    made, place = trained(layout, target, kind, form)
    if COMPLETE:
        lines = verify_kernel(
            place.root / "kernel", competition=competition_of(place), python=sys.executable,
            schema=read_schema(place.path("data/competition/schema.json")),
            submission=place.path("submissions/submission.csv"),
        )  # fmt: skip
        assert any("simplejpeg is not installed" in line for line in lines)
        # in time, images go through in blocks: other batches round the eighth digit of a probability otherwise
        assert lines[-1].startswith("identical: ") or "; 0 other answers; " in lines[-1], lines
    other, swap = hidden(made, layout)
    found = rehearse(
        place.root / "kernel", competition=competition_of(place), python=sys.executable,
        unpacked=target == "multi_label", change=lambda given: swap(given, form),
    )  # fmt: skip
    assert any("images cannot be read" in line for line in found.said), found.said
    score, chance = answered(other, found.content, form)
    assert score > chance + 0.15, (score, chance)
    print(f"| {layout} | {target} | {kind} | {form} | {score:.2f} | {chance:.2f} |")


SLOW_S = 0.02  # an image in one fold, so that a third of the time is as much on any machine
CUT = f"""
import runpy, sys, time
sys.path.insert(0, ".")
import pipeline.bundle.offline as offline
kept = offline.predict_store
offline.predict_store = lambda model, card, images, *more, **options: (
    time.sleep({SLOW_S} * len(images)), kept(model, card, images, *more, **options)
)[1]
sys.argv = sys.argv[1:]
runpy.run_path("predict.py", run_name="__main__")
"""


@pytest.mark.parametrize("cell", [cell for cell in SOME if cell[2] in ("list", "ranked", "long")][:3])
def test_cut_at_a_third_of_its_time_it_writes_a_valid_file(trained, tmp_path, cell):
    """Rows that were reached are predicted, the others have the prior, and it is said how many those are."""
    made, place = trained(*cell)
    with zipfile.ZipFile(place.path("bundle.zip")) as archive:
        archive.extractall(tmp_path / "bundle")
    num_images, ids = 300, [f"te.{number:04d}" for number in range(300)]
    truth = {name: labels_of(number, made.target) for number, name in enumerate(ids)}
    (tmp_path / "test").mkdir()
    for number, (name, labels) in enumerate(truth.items()):
        (tmp_path / f"test/{name}.png").write_bytes(encoded(pixels_for(labels, made.target, 900 + number)))
    other = dataclasses.replace(made, truth=truth, sample=_sample(ids, made.classes, made.kind, cell[0]))
    name, spelled = FORMS[cell[3]]
    (tmp_path / name).write_bytes(spelled(other.sample.decode()))

    def predicted(limit):
        words = ["predict.py", "--images", tmp_path / "test", "--sample", tmp_path / name, "--time-limit", limit]
        words = [sys.executable, "-c", CUT, *words, "--out", tmp_path / "out.csv", "--unreadable", "prior"]
        done = subprocess.run(list(map(str, words)), cwd=tmp_path / "bundle", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout, (tmp_path / "out.csv").read_bytes()

    _, prior = predicted(0)
    said, content = predicted(num_images * 2 * SLOW_S / 3)
    lacking = re.search(r"warning: time is over: ([\d,]+) of 300 images get the training images' shares", said)
    assert lacking and 300 * 0.3 < int(lacking[1]) < 300 * 0.9, said
    answered(other, content, cell[3])  # valid
    rows, shares = (list(csv.reader(io.StringIO(as_plain(found, cell[3]).decode()))) for found in (content, prior))
    per_image = len(made.classes) if made.kind == "long" else 1
    reached = 1 + (300 - int(lacking[1])) * per_image
    assert rows[reached:] == shares[reached:] and rows[1:reached] != shares[1:reached]
    some = {row[0].rpartition("_")[0] if made.kind == "long" else row[0] for row in rows[1:reached]}
    part = dataclasses.replace(other, truth={name: labels for name, labels in truth.items() if name in some})
    part.sample = _sample(list(part.truth), made.classes, made.kind, cell[0])
    score, chance = graded(part, csv_bytes(rows[0], rows[1:reached]))
    assert score > chance + 0.15


def test_these_cells_have_every_layout_target_format_and_form():
    every = [set(values) for values in zip(*ALL, strict=True)]
    assert [set(values) for values in zip(*SOME, strict=True)] == every
    assert {cell[:3] for cell in ALL} == set(CELLS) and set(LAYOUTS) == every[0]
    page = (ROOT / "docs/code-competitions.md").read_text(encoding="utf-8")
    listed = {tuple(line.strip("| ").split(" | ")[:4]) for line in page.splitlines() if line.startswith("| ")}
    assert set(ALL) <= listed, "the page's table is that of FOLDBOARD_KERNEL_FORMATS=all"
