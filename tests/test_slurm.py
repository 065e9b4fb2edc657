"""Folds as Slurm jobs: by submitit's processes of this machine, and by a real Slurm of one node."""

import argparse
import importlib.util
import os
import re
import signal
import threading
import time

import psutil
import pytest
from elsewhere import Competition, Run, folds, until
from errands import job_of, make_home, states
from slurm import Slurm, needed

from pipeline.commands import fold_engine
from pipeline.engines import errand as errand_module
from pipeline.engines import slurm_job, slurm_options
from pipeline.engines.errand import Errand, LostError, Traffic
from pipeline.engines.placement import Need
from pipeline.engines.slurm_cluster import SlurmCluster
from tests.machines import PATIENCE_S
from tests.project import NAMES

LOCAL = ["cluster=local"]
ONE = Need(1)


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home")


@pytest.fixture
def cluster(tmp_path):
    found = SlurmCluster(str(tmp_path / "shared"), LOCAL)
    yield found
    found.close()


def carried(cluster, root, *words, meanwhile=lambda: None):
    """The exit code of a stage; meanwhile: called at each question."""
    link, end = cluster.open("a Slurm job", ONE)
    deadline = time.monotonic() + PATIENCE_S

    def watched(name, *args):
        assert time.monotonic() < deadline
        meanwhile()
        return link(name, *args)

    errand = Errand(job_of(root, *words), watched, root, node="n", traffic=Traffic(), wanted=lambda: True)
    try:
        errand.send()
        return errand.run()
    finally:
        end()


def workers(folder):
    """The processes of jobs whose files are there."""
    found = psutil.process_iter(["cmdline"])
    return [
        one
        for one in found
        if "submitit.core._submit" in (words := one.info["cmdline"] or []) and str(folder) in words[-1]
    ]


def test_a_job_takes_one_stage_after_the_other_and_leaves_files_by_hash_alone(home, cluster, tmp_path):
    for _ in range(2):
        assert carried(cluster, home) == 0
        assert (home / "data/out").read_bytes() == b"out"
    said = (home / "log").read_text()
    first, second = re.findall(r"(?m)^job (\d+) on \S+\n(?:from.*)\n10000000 3 ", said)
    assert first == second
    assert said.startswith(f"job {psutil.Process(int(first)).ppid()} waits in the queue\n")
    assert not list((tmp_path / "shared/work").iterdir())
    cluster.close()
    until(lambda: not workers(tmp_path))
    assert not list((tmp_path / "shared/jobs").iterdir())


def test_a_job_that_is_killed_is_lost_and_another_goes_on_from_the_state_that_came_home(home, cluster, tmp_path):
    def kill():
        if "0-f-1-000000005-b.pt" in states(home):
            for worker in workers(tmp_path):
                worker.kill()

    with pytest.raises(LostError, match=r"job \d+ on \S+: ENDED"):
        carried(cluster, home, str(tmp_path / "go_on"), meanwhile=kill)
    assert not (home / "data/out").exists()
    (tmp_path / "go_on").touch()
    assert carried(cluster, home, str(tmp_path / "go_on")) == 0
    assert re.findall("(?m)^from (.*)$", (home / "log").read_text()) == ["0-f-1-000000003-a.pt", "0-f-1-000000005-b.pt"]


def test_a_job_that_hears_nothing_ends_with_its_stage(home, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_job, "UNHEARD_S", 1.0)
    cluster = SlurmCluster(str(tmp_path / "shared"), LOCAL)

    def fall_silent():
        cluster._is_closed = "0-f-1-000000005-b.pt" in states(home)

    with pytest.raises(LostError, match="ENDED"):
        carried(cluster, home, str(tmp_path / "never"), meanwhile=fall_silent)
    until(lambda: not stages(tmp_path / "never"))


def stages(path):
    """The processes of stages that wait for it."""
    return [one for one in psutil.process_iter(["cmdline"]) if (one.info["cmdline"] or [""])[-1] == str(path)]


def test_a_stage_that_is_killed_alone_has_failed_and_perhaps_its_memory_ran_out(home, cluster, tmp_path):
    def kill():
        if "0-f-1-000000005-b.pt" in states(home):
            for stage in stages(tmp_path / "never"):
                stage.kill()

    assert carried(cluster, home, str(tmp_path / "never"), meanwhile=kill) == -signal.SIGKILL
    assert "perhaps for want of memory: ask for more (--slurm-options mem=…)" in (home / "log").read_text()


def test_a_stage_that_ends_because_its_job_is_to_end_is_lost_and_one_that_fails_has_failed(home, cluster, tmp_path):
    def cancel():
        if "0-f-1-000000005-b.pt" in states(home) and stages(tmp_path / "never"):
            stages(tmp_path / "never")[0].terminate()
            threading.Timer(1.0, workers(tmp_path)[0].terminate).start()

    with pytest.raises(LostError, match="ENDED"):
        carried(cluster, home, str(tmp_path / "never"), meanwhile=cancel)
    (home / "stage.py").write_text("raise SystemExit(3)")
    assert carried(cluster, home) == 3


def test_a_node_with_other_versions_gets_no_stage(home, cluster, monkeypatch):
    here = errand_module.about()
    monkeypatch.setattr(errand_module, "about", lambda: here | {"torch": "0.4"})
    with pytest.raises(LostError, match=rf"job \d+ on \S+ has torch {here['torch']} \(here 0.4\); install the same"):
        carried(cluster, home)


def test_a_job_that_slurm_begins_once_more_does_nothing(tmp_path):
    (tmp_path / slurm_job.BEGUN).touch()
    slurm_job.write(tmp_path / slurm_job.ORDER, {"number": 0})
    slurm_job.work(str(tmp_path))
    assert not (tmp_path / slurm_job.ANSWER).exists()


def chosen(*words):
    parser = argparse.ArgumentParser()
    fold_engine.add_arguments(parser)
    return fold_engine.where_of(parser.parse_args(words))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "slurm"], "needs --address FOLDER, on a file system that all nodes see"),
        (["--engine", "slurm", "--address", "x"], r"sbatch, squeue, scancel\), and they are not on PATH"),
        (["--engine", "slurm", "--address", "x", "--slurm-options", "partition:gpu"], "'partition:gpu' must be name=value"),
        (["--engine", "slurm", "--address", "x", "--slurm-options", "nodes=2"], "'nodes=2' is set by folds"),
        (["--engine", "slurm", "--address", "x", "--slurm-options", "cluster=moon"], "cluster=moon, must be slurm, or local"),
        (["--slurm-options", "partition=gpu"], "the engine is local, and only slurm has jobs"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_before_anything_runs(monkeypatch, words, said):
    monkeypatch.setattr(slurm_options.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=said):
        chosen(*words)


def test_without_submitit_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install submitit==[\d.]+ \(requirements-slurm.txt\)"):
        chosen("--engine", "slurm", "--address", "x")


def test_options_are_those_of_the_environment_and_reach_sbatch(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_options.shutil, "which", lambda name: name)
    monkeypatch.setenv(
        "FOLDBOARD_SLURM", "partition=gpu time=240 mem=16GB setup='module load cuda' reservation=ours exclusive"
    )
    where = chosen("--engine", "slurm", "--address", "x", "--gpus", "2")
    executor = slurm_options.Options(where.options).executor(tmp_path, Need(3, where.gpus))
    script = executor._make_submission_file_text("command", "uid").splitlines()
    for line in (
        "partition=gpu",
        "time=240",
        "mem=16GB",
        "reservation=ours",
        "exclusive",
        "cpus-per-task=3",
        "gpus-per-node=2",
    ):
        assert f"#SBATCH --{line}" in script
    assert script.index("module load cuda") < script.index("command")
    assert "#SBATCH --time" not in slurm_options.Options([]).executor(tmp_path, ONE)._make_submission_file_text("", "")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    needed()
    with Slurm(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.mark.slow
def test_what_slurm_refuses_is_said_as_it_says_it_and_a_job_that_waits_can_be_taken_back(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    cluster = SlurmCluster(str(tmp_path), ["partition=moon"])
    with pytest.raises(ValueError, match="Slurm takes no such job: .*invalid partition specified: moon"):
        cluster.open("a Slurm job", ONE)
    cluster.close()
    cluster = SlurmCluster(str(tmp_path), ["hold"])
    link, end = cluster.open("a Slurm job", ONE)
    link("begin", {}, "stage", [], {})
    until(lambda: list(slurm.queue().values()) == ["PENDING"])
    assert link("poll", 0, "")["code"] is None
    end()
    assert not slurm.queue(), "a job that waits is nobody's any more"
    cluster.close()
    monkeypatch.setenv("SLURM_CONF", str(slurm.without_controller()))
    with pytest.raises(ConnectionError, match="squeue gives no answer"):
        SlurmCluster(str(tmp_path), [])


@pytest.mark.slow
def test_jobs_that_are_cancelled_requeued_and_killed_change_no_byte(slurm, tmp_path):
    project = Competition(tmp_path / "project", epochs=120)
    project.forget("train@0", "train@1")
    command = folds("--engine", "slurm", "--address", str(tmp_path / "shared"))

    def begin():
        for path in (project.root / "data/logs").glob("*.log"):
            path.unlink()
        run = Run(project, command, os.environ | NAMES | slurm.environment)
        run.wait_for(r"epoch \d+:", "0", "1")
        return run

    def job(fold):
        return re.findall(r"(?m)^job (\d+) on", project.log(fold))[-1]

    run = begin()
    until(lambda: project.steps("0") and project.steps("1"))
    run.process.send_signal(signal.SIGINT)
    run.end(130)
    until(lambda: not slurm.queue())
    assert project.steps("0") and project.steps("1")

    run = begin()
    assert "resumed at step" in project.log("0") and "resumed at step" in project.log("1")
    slurm.says("scontrol", "requeue", job("0"))
    slurm.kill(job("1"))
    run.wait_for(r"(?s) is lost: job.*resumed at step.*epoch \d+:", "0", "1")
    slurm.says("scancel", job("0"))
    run.end()
    lost = [
        re.findall(r"(?m)^warning: a Slurm job is lost: job \d+ on \S+: (.*?),", project.log(fold)) for fold in "01"
    ]
    assert lost == [["PENDING again", "CANCELLED"], ["FAILED"]]
    project.check()
    until(lambda: not slurm.queue())
