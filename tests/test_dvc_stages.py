"""What changes after a finished run, and the stages that `dvc repro` runs then: these and no others.

`python -m pytest tests/test_dvc_stages.py -s` prints the table.
"""

import csv
import io
import re

import pytest
from conftest import competition_files, csv_bytes, encoded, image_of, write_zip
from project import Project

pytestmark = pytest.mark.slow

FOLDS = ("0", "1")
TEACH, TRAIN, INFER = ({f"{stage}@{fold}" for fold in FOLDS} for stage in ("teach", "train", "infer"))
SENT = {"submit", "report"}
SCORED = {"evaluate", *SENT}
METRIC = "from my_helper import VALUE\n\ndef score(truth, answers, classes):\n    return {}\n\nscore.takes = 'labels'\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"), num_folds=len(FOLDS))
    (project.root / "my_metric.py").write_text(METRIC.format("VALUE"))
    (project.root / "my_helper.py").write_text("VALUE = 0.5\n")
    project.ran()
    project.kept = tmp_path_factory.mktemp("kept") / "files"
    project.keep(project.kept)
    return project


@pytest.fixture(autouse=True)
def back(project):
    """After the test, the project as it was."""
    yield
    project.restore(project.kept)


def set_param(section, key, value):
    def change(project):
        project.params[section][key] = value

    return change


def with_corrections(*lines):
    """A file of corrections, which the project has not had."""

    def change(project):
        (project.root / "mine.csv").write_text("\n".join(["image_id,label", *lines]) + "\n")
        project.params["competition"]["corrections"] = "mine.csv"

    return change


def with_fold_seed(project):
    project.params["folds"]["1"] = {"seed": 5}


def with_files(edit):
    """A change of the archive: edit(files) of the competition's files."""

    def change(project):
        files = competition_files()
        edit(files)
        write_zip(project.root / "raw.zip", files)

    return change


def rows(files, name):
    return list(csv.reader(io.StringIO(files[name].decode())))


def one_more_test_image(files):
    files["test/950.png"] = encoded(image_of(1, 4321))
    header, *body = rows(files, "sample_submission.csv")
    files["sample_submission.csv"] = csv_bytes(header, [*body, ("950", "bird")])


def test_rows_in_another_order(files):
    header, *body = rows(files, "sample_submission.csv")
    files["sample_submission.csv"] = csv_bytes(header, [*body[1:], body[0]])


def a_label_corrected(files):
    header, *body = rows(files, "train.csv")
    body[4][1] = "bird"
    files["train.csv"] = csv_bytes(header, body)


def an_idle_file(files):
    files["readme.txt"] = b"have fun"


def a_training_image_replaced(files):
    files["train/004.png"] = encoded(image_of(1, 999))


def edited(path):
    def change(project):
        file = project.root / path
        file.write_text(file.read_text() + "\n# an edit\n")

    return change


test_rows_in_another_order.__test__ = False
TABLE = [
    # what changes, how, stages that must run, stages that may
    ("competition.metric", set_param("competition", "metric", "macro_f1"), {"ingest", *SCORED}, set()),
    ("competition.sample", set_param("competition", "sample", "sample_submission.csv"), {"ingest"}, SCORED),
    ("competition.submission", set_param("competition", "submission", "label"), {"ingest"}, SCORED),
    ("competition.allow", set_param("competition", "allow", ["image without row"]), {"ingest", "audit"}, {"report"}),
    ("competition.corrections", with_corrections("004,bird"), {"ingest", *TEACH, *TRAIN, *INFER, *SCORED}, set()),
    ("corrections that say what the organiser says", with_corrections("004,a cat"), {"ingest"}, set()),
    ("a file beside the images", with_files(an_idle_file), {"ingest"}, {"report"}),
    ("a test image added", with_files(one_more_test_image), {"ingest", "decode_test", "audit", "embed_test", "neighbours", *TEACH, *INFER, *SENT}, set()),
    ("test rows re-ordered", with_files(test_rows_in_another_order), {"ingest", "decode_test", "audit", "embed_test", "neighbours", *TEACH, *INFER, *SENT}, set()),
    ("blend.how", set_param("blend", "how", "mean"), {"evaluate", "report"}, {"submit"}),
    ("folds.'1'.seed", with_fold_seed, {"teach@1", "train@1", "infer@1", *SCORED}, set()),
    ("pseudo.confidence", set_param("pseudo", "confidence", 0.1), {*TEACH, *TRAIN, *INFER, *SCORED}, set()),
    ("infer.batch_size", set_param("infer", "batch_size", 3), set(INFER), SENT),
    ("infer.precision", set_param("infer", "precision", "fp32"), set(INFER), SENT),
    ("split.seed", set_param("split", "seed", 9), {"split", "neighbours", *TEACH, *TRAIN, *INFER, *SCORED}, set()),
    ("images.side", set_param("images", "side", 16), {"decode_train", "decode_test", "audit", "embed_train", "embed_test", "neighbours", *TEACH, *TRAIN, *INFER, *SCORED}, {"split"}),
    ("a training label corrected", with_files(a_label_corrected), {"ingest", "audit", "split", "neighbours", *TEACH, *TRAIN, *INFER, *SCORED}, set()),
    ("a training image replaced", with_files(a_training_image_replaced), {"ingest", "decode_train", "audit", "embed_train", "neighbours", *TEACH, *TRAIN, *INFER, *SCORED}, {"split"}),
    ("the augmentation's code edited", edited("pipeline/training/augment.py"), {*TEACH, *TRAIN}, {*INFER, *SCORED}),
    ("the decoder's code edited", edited("pipeline/images/decode.py"), {"decode_train", "decode_test"}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "must", "may"), TABLE, ids=[row[0] for row in TABLE])
def test_what_changes_runs_these_stages_and_no_others(project, name, change, must, may):
    change(project)
    project.save()
    ran = project.ran()
    print(f"\n| {name} | {', '.join(ran)} |")
    assert must <= set(ran) <= must | may
    assert "up to date" in project.dvc("status")


def test_an_edit_of_a_users_own_metric_scores_again(project):
    project.params["competition"]["metric"] = "my_metric:score"
    project.save()
    assert project.ran() == ["ingest", "evaluate", "submit", "report"]
    assert project.ran() == []
    (project.root / "my_metric.py").write_text(METRIC.format("0.25"))
    assert project.ran() == ["ingest", "evaluate", "submit", "report"]
    print("\n| a user's metric function edited | ingest, evaluate, submit, report |")
    assert re.search(r"0\.25", project.dvc("metrics", "show"))
    (project.root / "my_metric.py").write_text(METRIC.format("VALUE"))
    (project.root / "my_helper.py").write_text("VALUE = 0.75\n")
    assert "edited since it scored" in project.pipeline("verify", fails=True)
    assert project.ran() == ["ingest", "evaluate", "submit", "report"], "what it imports is watched too"
    assert re.search(r"0\.75", project.dvc("metrics", "show"))
    assert "verify" not in project.pipeline("verify")
    (project.root / "costs.txt").write_text("0.125")
    (project.root / "my_helper.py").write_text("VALUE = float(open('costs.txt').read())\n")
    assert project.ran() == ["ingest", "evaluate", "submit", "report"]
    (project.root / "costs.txt").write_text("0.375")
    assert project.ran() == ["ingest", "evaluate", "submit", "report"], "what its code names in quotes is watched too"
    project.dvc("commit", "-f", "ingest")
    for command in ("repro", "folds", "check", "verify"):
        assert "is a copy of your file" in project.pipeline(command, fails=True)
    project.dvc("repro", "-f", "ingest")
    assert "up to date" in project.dvc("status")


def test_an_edit_of_a_users_corrections_trains_again_what_learns_from_them(project):
    with_corrections("004,bird", "005,")(project)
    project.save()
    ran = project.ran()
    assert {"ingest", *TRAIN} <= set(ran) and not {"audit", "split", "decode_train"} & set(ran)
    assert "verify" not in project.pipeline("verify")
    (project.root / "mine.csv").write_text("image_id,label\n007,\n")
    assert "your own file was edited since ingest read it" in project.pipeline("verify", fails=True)
    assert {"ingest", *TRAIN} <= set(project.ran())
    print("\n| a user's file of corrections edited | ingest, train@k, infer@k, evaluate, submit, report |")
    project.dvc("commit", "-f", "ingest")
    assert "corrections.csv is a copy of your file" in project.pipeline("folds", fails=True)
    project.dvc("repro", "-f", "ingest")
    assert "up to date" in project.dvc("status")


def test_an_image_of_a_damaged_archive_is_decoded_again_where_the_message_says(project):
    """The fingerprint of a zip's member is that of its directory, which the damage leaves as it was."""
    raw = project.root / "raw.zip"
    sound, start = raw.read_bytes(), raw.read_bytes().index(b"\x89PNG") + 40
    raw.write_bytes(sound[:start] + bytes(8) + sound[start + 8 :])
    assert "unreadable training image: 1" in project.dvc("repro", "-f", "decode_train", "audit", fails=True)
    raw.write_bytes(sound)
    message = project.dvc("repro", fails=True)
    assert "unreadable training image: 1" in message
    project.dvc("repro", "-f", *re.search(r"dvc repro -f ([\w ]+)`", message)[1].split())
    project.dvc("repro")
    raw.write_bytes(sound[:start] + bytes(8) + sound[start + 8 :])
    project.params["competition"]["allow"] = ["unreadable training image"]
    project.save()
    project.dvc("repro", "-f", "decode_train", "audit")
    raw.write_bytes(sound)
    assert "warning: 1 images could not be read when they were decoded" in project.dvc("repro"), "not in silence"
    project.dvc("repro", "-f", "decode_train", "decode_test")


def test_a_submission_of_an_earlier_state_or_another_competition_is_told(project):
    """Stages that are run alone leave a score that is not the submission's; `inspect --write` names the next data."""
    with_fold_seed(project)
    project.save()
    for stage in ("teach@1", "train@1", "evaluate", "submit", "report"):  # without infer@1
        project.dvc("repro", "-s", stage)
    said = "train@1 has made data/models/1.json anew since infer@1 read it"
    assert said in project.pipeline("verify", fails=True)
    assert f"warning: this submission is of an earlier state: {said}" in project.pipeline("check")
    project.ran()
    project.pipeline("verify")
    assert "earlier state" not in project.pipeline("check")
    with_files(one_more_test_image)(project)
    assert "raw.zip is another file than ingest read" in project.pipeline("check")
    project.params["competition"]["raw"] = "next.zip"
    project.save()
    for words in (["check"], ["upload", "-m", "x"]):
        assert "is of raw.zip, but params.yaml names next.zip by now" in project.pipeline(*words, fails=True)
