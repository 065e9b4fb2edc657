"""Real `dvc` on a copy of the project: what is stale runs, and nothing else."""

import re
import shutil
import subprocess

import pytest

from tests.project import Project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """All stages have run, each in a process of its own."""
    project = Project(tmp_path_factory.mktemp("project"), warm=False)
    ran = project.ran()
    project.warm = True
    assert sorted(ran) == sorted(
        [
            "digits",
            "ingest",
            "decode_train",
            "decode_test",
            "audit",
            "split",
            "weights",
            "embed_train",
            "embed_test",
            "neighbours",
            *(f"{stage}@{fold}" for stage in ("teach", "train", "infer") for fold in "012"),
            "evaluate",
            "submit",
            "report",
        ]
    )
    return project


def test_a_second_repro_runs_nothing_and_status_is_clean(project):
    assert project.ran() == []
    assert "up to date" in project.dvc("status")


def test_git_sees_only_the_small_results(project):
    status = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=project.root, capture_output=True, text=True, check=True
    )
    new = {line[3:] for line in status.stdout.splitlines()}
    results = ("metrics.json", "scores.json", "seconds.json", "decision.json", "per_class.csv", "curves.csv", "confusion.csv", "blend.json")  # fmt: skip
    assert new == {"dvc.lock", *(f"data/report/{name}" for name in results)}


def test_metrics_plots_and_experiments_answer(project):
    header, *lines = project.dvc("metrics", "show").splitlines()
    assert header.split() == ["Path", "oof_score", "standard_error", "train_seconds"], "what fits a terminal"
    assert re.fullmatch(r"data/report/metrics.json +\d\.\d+ +\d\.\d+ +-", lines[0].strip())
    assert re.fullmatch(r"data/report/seconds.json +- +- +\d+\.\d+", lines[1].strip())
    assert "index.html" in project.dvc("plots", "show")
    html = (project.root / "dvc_plots" / "index.html").read_text()
    assert all(
        title in html
        for title in ("held-out loss by fold", "held-out accuracy by fold", "out-of-fold confusion", "mistakes.png")
    )
    shutil.rmtree(project.root / "dvc_plots")


def test_a_single_fold_is_rerun_on_demand(project):
    assert project.ran("-f", "-s", "train@2") == ["train@2"]
    assert project.ran() == [], "the same bytes came out"


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ({0: {}, 1: {}, 2: {}}, "3 of 3 fold keys are not quoted"),
        ({"0": {}, "1": {}, 2: {}}, "'<' not supported between instances of 'int' and 'str'"),  # DVC's own words
    ],
)
def test_unquoted_fold_keys_stop_and_say_so(project, folds, message):
    kept = project.params["folds"]
    project.params["folds"] = folds
    project.save()
    try:
        assert message in project.dvc("repro", fails=True)
    finally:
        project.params["folds"] = kept
        project.save()
        project.ran()


def test_a_fold_taken_away_stops_at_its_leftovers_then_reruns_what_follows_and_can_come_back(project):
    kept = dict(project.params["folds"])
    del project.params["folds"]["2"]
    project.save()
    assert "folds names 2 folds ('0' to '1'), split.num_folds is 3" in project.dvc("repro", fails=True)
    project.params["split"]["num_folds"] = 2
    project.save()
    message = project.dvc("repro", fails=True)
    assert "belong to no fold that params.yaml names (0, 1)" in message
    remedy = re.search(r"Delete them: (rm .*)", message)
    subprocess.run(remedy[1], shell=True, cwd=project.root, check=True)
    folds = {f"{stage}@{fold}" for stage in ("teach", "train", "infer") for fold in "01"}
    assert set(project.ran()) == {"split", "neighbours", *folds, "evaluate", "submit", "report"}
    project.params["folds"] = kept
    project.params["split"]["num_folds"] = 3
    project.save()
    project.ran()
    assert {path.name for path in (project.root / "data/oof").iterdir()} == {"0.npz", "1.npz", "2.npz"}
    assert "up to date" in project.dvc("status")


ODD_NAME = "raw $(touch pwned) `touch pwned`; touch 'pwned' \"수달\" ${HOME} {a}.zip"


def test_the_archives_name_never_reaches_a_shell(project):
    shutil.copy2(project.root / "raw.zip", project.root / ODD_NAME)
    project.params["competition"]["raw"] = ODD_NAME
    project.save()
    assert project.ran("ingest") == ["ingest"], "the parameter changed"
    assert project.ran("ingest") == []
    (project.root / ODD_NAME).write_bytes((project.root / ODD_NAME).read_bytes() + b" ")
    assert "ingest" in project.dvc("status"), "a dependency all the same"
    assert not list(project.root.rglob("pwned"))
    project.params["competition"]["raw"] = "raw.zip"
    project.save()
    project.ran()


def test_an_experiment_changes_the_result_and_shows_it(project):
    for words in (["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "result"]):
        subprocess.run(["git", *words], cwd=project.root, check=True)
    output = project.dvc("exp", "run", "-n", "longer", "-S", "train.epochs=2")
    assert {f"train@{fold}" for fold in "012"} <= set(re.findall(r"Running stage '(.+?)'", output))
    shown = project.dvc("exp", "show", "--csv")
    assert "longer" in shown
    assert "train.epochs" in shown
