"""`upload --notebook`: Kaggle's own client against a server on the loopback; each failure; a kill at any moment."""

import hashlib
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from kaggle_server import Server, World, environment
from upload_project import Project

from pipeline.leaderboard.sites._notebooks import failure
from pipeline.leaderboard.speed import Speed, in_time

SHORT = ("--competition", "birds", "--settle", "2", "--wait", "20", "--time-limit", "3600", "--measure", "0")


@pytest.fixture
def project(finished, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(finished.root, root)
    with Server(World(slug="birds")) as server:
        place = Project(root, server)
        place.world.output = {"submission.csv": (root / "submissions/submission.csv").read_bytes()}
        place.world.log = json.dumps([{"stream_name": "stdout", "time": 1, "data": "predicting\n"}])
        yield place


def send(project, *more):
    return project.upload("--notebook", *SHORT, *more)


def test_everything_is_sent_run_checked_submitted_and_written_down(project):
    code, out = send(project)
    assert code == 0, out
    assert "data set     somebody/birds-foldboard version 1 is ready" in out
    assert "kernel       somebody/birds-foldboard version 1" in out and "kernel       predicting" in out
    assert "the same rows as the submission made here" in out
    assert "submitted    reference 41000001" in out and "score        public 0.93125" in out
    world = project.world
    [bundle] = [world.files[token] for token in world.dataset_versions[0]]
    assert bundle == (project.root / "submissions/bundle.zip").read_bytes()
    [kernel] = world.kernels
    assert kernel["competitionDataSources"] == ["birds"] and kernel["datasetDataSources"] == [
        "somebody/birds-foldboard"
    ]
    assert "predict.py" in kernel["text"] and kernel["sessionTimeoutSeconds"] == 3600
    [entry] = project.ledger.submissions()
    assert (entry.status, entry.reference, entry.public_score) == ("complete", "41000001", 0.93125)
    assert "notebook somebody/birds-foldboard version 1, data set version 1, bundle " in entry.message
    assert world.submissions[0]["description"] == f"wider net [{entry.submission}]"


@pytest.mark.slow
def test_the_log_is_shown_as_it_comes_and_once_though_its_line_breaks(project):
    project.world.stream = ["loading\n", "half\nway\n", "written\n"]
    project.world.breaks = 2
    project.world.runs = [{"status": "QUEUED"}, *[{"status": "RUNNING"}] * 3, {"status": "COMPLETE"}]
    code, out = send(project)
    assert code == 0 and "kernel       is queued, 0 min after" in out and "kernel       is running" in out
    shown = [line.removeprefix("kernel       ") for line in out.splitlines() if line.startswith("kernel       ")]
    assert [line for line in shown if line in ("loading", "half", "way", "written")] == [
        "loading",
        "half",
        "way",
        "written",
    ]
    assert project.world.calls.count("LogStream") == 3


@pytest.mark.slow
def test_where_only_notebooks_are_taken_one_is_sent_unasked_and_said_before(project):
    project.world.facts["isKernelsSubmissionsOnly"] = True
    said = []
    project.world.before["StartBlobUpload"] = lambda: said.append(project.world.submissions[:])
    code, out = project.upload(*SHORT)
    assert code == 0, out
    assert "birds takes notebooks only: what makes the CSV is sent" in out
    told = out.index("becomes the data set somebody/birds-foldboard, private")
    assert told < out.index("data set     sending") and "one of the day's submissions" in out
    assert "StartSubmissionUpload" not in project.world.calls and len(project.world.submissions) == 1
    assert project.world.calls.index("GetCompetition") < project.world.calls.index("StartBlobUpload")


def test_where_a_csv_is_refused_for_a_notebook_one_is_sent(project):
    said = {"error": {"code": 400, "message": "This competition only accepts Submissions from Notebooks."}}
    project.world.trouble["CreateSubmission"] = (400, said, {})
    code, out = project.upload(*SHORT)
    assert code == 0 and "refused      birds takes notebooks only" in out, out
    statuses = [entry.status for entry in project.ledger.submissions()]
    assert statuses == ["failed", "complete"] and len(project.world.submissions) == 1


@pytest.mark.slow
def test_a_csv_made_elsewhere_is_not_answered_with_the_notebook_of_this_run(project):
    project.world.facts["isKernelsSubmissionsOnly"] = True
    rows = (project.root / "submissions/submission.csv").read_text().splitlines()
    other = "bird" if rows[1].split(",", 1)[1] != "bird" else "a cat"
    (project.root / "mine.csv").write_text("\n".join([rows[0], f"{rows[1].split(',')[0]},{other}", *rows[2:], ""]))
    code, out = project.upload("mine.csv", *SHORT)
    assert code == 2 and "there is none that makes mine.csv" in out, out
    assert "StartBlobUpload" not in project.world.calls and not project.world.submissions


def test_another_model_with_the_same_public_answers_is_another_submission(project):
    """The public test images of a code competition are few: their answers say little about those of the hidden ones."""
    assert send(project)[0] == 0
    project.world.runs = [{"status": "RUNNING"}, {"status": "COMPLETE"}]
    params = project.root / "params.yaml"
    params.write_text(
        re.sub(r"batch_size: \d+(?=\n  device: same)|(?<=infer:\n  batch_size: )\d+", "3", params.read_text())
    )
    code, out = send(project)
    assert code == 0 and "version 2 is ready" in out, out
    first, second = project.ledger.submissions()
    assert first.sha256 == second.sha256 and first.notebook != second.notebook
    assert (first.reference, second.reference) == ("41000001", "41000002")


@pytest.mark.slow
def test_another_models_unfinished_submission_is_not_taken_for_this_ones(project):
    """As after a kill in the last step, then a new model that answers the public images alike."""
    ledger, content = project.ledger, (project.root / "submissions/submission.csv").read_bytes()
    about = "old (notebook somebody/birds-foldboard version 1, data set version 1, bundle 0123456789ab, script 0123456789ab)"
    old = ledger.intend(
        sha256=hashlib.sha256(content).hexdigest(), message=about, site="kaggle", slug="birds", receipt=None
    )
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    project.world.submissions.append(
        {"ref": 41000001, "date": now, "description": f"old [{old}]", "status": "COMPLETE"}
    )
    code, out = send(project)
    assert code == 0 and "reference 41000002" in out, out
    assert project.run("ledger", "sync")[0] == 0
    assert [entry.reference for entry in ledger.submissions()] == ["41000001", "41000002"]


@pytest.mark.slow
def test_a_data_set_that_everybody_sees_is_not_written_to(project):
    project.world.dataset_versions.append(["mine"])
    project.world.is_private = False
    code, out = send(project)
    assert code == 2 and "is public: everybody would have your models" in out
    assert len(project.world.dataset_versions) == 1
    code, out = send(project, "--public")
    assert code == 0 and len(project.world.dataset_versions) == 2


@pytest.mark.slow
def test_a_file_that_does_not_arrive_is_no_data_set(project):
    project.world.trouble["PUT"] = (503, b"", {})
    code, out = send(project, "--deadline", "1")
    assert code == 2 and "blocks the upload host; allow it or give a longer --deadline" in out, out
    assert not project.world.dataset_versions and not project.world.submissions


@pytest.mark.slow
def test_what_another_user_sends_is_nothing_to_us(project, tmp_path):
    """The client keeps its notes below TMPDIR, which there is one of, and which another user's may lie in."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/.kaggle").write_bytes(b"not ours to write in")
    code, out = project.upload("--notebook", *SHORT, TMPDIR=str(tmp_path / "shared"))
    assert code == 0 and len(project.world.dataset_versions) == 1, out


@pytest.mark.slow
def test_gpu_time_is_said_before_anything_is_sent_and_none_left_stops(project):
    code, out = send(project, "--gpu")
    assert code == 0 and "quota        GPU 12.5 of 30.0 hours used this week, anew 2026-12-05 00:00" in out, out
    assert "kernel       is running, 0 min after it was pushed; GPU 12.5 of 30.0 hours" in out
    assert out.index("quota  ") < out.index("data set  ") and project.world.kernels[0]["enableGpu"]


@pytest.mark.slow
def test_a_speed_that_the_kernel_measured_is_judged_before_it_is_submitted(project):
    project.world.log = "speed        2.5 images/s by 2 folds, 4 by one, on cuda (measured on 120)\n"
    code, out = send(project, "--probe", "--expect", "100000")
    assert code == 2 and "by one fold 416.7: about 87% of them would only get the training images' shares" in out, out
    assert "PROBE_S = 10.0" in project.world.kernels[0]["text"] and not project.world.submissions
    project.world.runs = [{"status": "RUNNING"}, {"status": "COMPLETE"}]
    code, out = send(project, "--probe", "--expect", "1000")
    assert code == 0 and "in time      1,000 images by 2 folds take about 6.7 of the 55 minutes" in out, out
    assert len(project.world.kernels) == 1, "it has run already"


SPEED = {
    "stream_name": "stdout",
    "time": 2,
    "data": "speed        2.5 images/s by 2 folds, 4 by one, on cuda (measured on 120)\n",
}
NOISE = {"stream_name": "stderr", "time": 1, "data": "UserWarning: something\n"}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["array", "lines", "array cut off", "text"])
def test_a_speed_is_found_in_a_log_of_any_form(project, form):
    lines = [json.dumps(NOISE), json.dumps(SPEED)]
    project.world.log = {
        "array": f"[{lines[0]}\n,{lines[1]}\n]", "lines": "\n".join(lines), "array cut off": f"[{lines[0]}\n,{lines[1]}\n,",
        "text": NOISE["data"] + SPEED["data"],
    }[form]  # fmt: skip
    code, out = send(project, "--probe", "--expect", "100000")
    assert code == 2 and "by one fold 416.7" in out and '"data"' not in out, out
    assert not project.world.submissions


@pytest.mark.slow
@pytest.mark.parametrize("log", ["", "5", "[null, 5]"])
def test_a_log_without_the_speed_that_was_asked_for_is_said(project, log):
    project.world.log = log
    code, out = send(project, "--probe", "--expect", "100000")
    assert code == 0 and "in time      not known: the kernel's log does not tell its speed" in out, out


def test_what_a_failed_runs_log_happens_to_say_is_not_taken_for_a_quota():
    """Our own script says --time-limit, PyTorch says GPU where it knows none of that age."""
    words = "/usr/bin/python3 predict.py --unreadable prior --time-limit 32099.2"
    old = "If you want to use the Tesla P100-PCIE-16GB GPU with PyTorch, see https://pytorch.org"
    assert "GPU time is used up" not in failure("error", "", [words, old, "no kernel image is available"])
    full = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.89 GiB"
    assert failure("error", "", [words, full]).endswith("run `dvc repro`, and send again")


@pytest.mark.slow
def test_a_quota_that_kaggle_does_not_tell_stops_nothing(project):
    project.world.trouble["GetAcceleratorQuotaStatistics"] = (404, {"code": 404, "message": "no such call"}, {})
    code, out = send(project, "--gpu")
    assert code == 0 and "quota        not known: Kaggle refused (404)" in out, out


@pytest.mark.slow
def test_a_kernel_that_was_deleted_is_pushed_anew(project):
    gone = (404, {"code": 404, "message": "Not found"}, {})
    project.world.trouble["CreateCodeSubmission"] = gone
    assert send(project)[0] == 2
    project.world.trouble = {"GetKernelSessionStatus": gone}
    steps = project.root / "submissions/kernel/steps.json"
    steps.write_text(json.dumps(json.loads(steps.read_text()) | {"pushed_at": 0.0}))
    code, out = send(project)
    assert code == 2 and "the kernel is pushed anew" in out, out
    project.world.trouble = {}
    project.world.runs = [{"status": "RUNNING"}, {"status": "COMPLETE"}]
    code, out = send(project)
    assert code == 0 and len(project.world.kernels) == 2, out


@pytest.mark.slow
def test_an_unfinished_submission_of_a_clock_ahead_is_not_waited_for_longer(project):
    project.world.trouble["CreateCodeSubmission"] = (None, b"", {})
    assert send(project)[0] == 2
    ledger, steps = project.root / "submissions/ledger.csv", project.root / "submissions/kernel/steps.json"
    ledger.write_text(re.sub(r"(?m)^20\d\d", "2099", ledger.read_text()))
    steps.write_text(
        json.dumps(json.loads(steps.read_text()) | {"unanswered": "", "pushed_at": 0.0})
    )  # as after a kill
    project.world.trouble = {}
    code, out = send(project)
    assert code == 0 and len(project.world.submissions) == 1, out


def test_what_fits_with_fewer_folds_is_a_warning():
    said = in_time(Speed(by_all=1.0, by_one=5.0, num_folds=5, device="cpu"), 1000, 600.0)
    assert said.startswith("warning: 1,000 images by 5 folds take about 16.7 of the 10 minutes")


@pytest.mark.slow
def test_the_speed_is_measured_here_before_anything_is_sent(project):
    code, out = send(project, "--measure", "3", "--expect", "1000000000")
    assert code == 2 and re.search(r"speed +[\d.]+ images/s by 2 folds, [\d.]+ by one, on cpu .* here", out), out
    assert "would only get the training images' shares; train a smaller network" in out
    assert "StartBlobUpload" not in project.world.calls


@pytest.mark.slow
def test_of_two_at_once_one_sends(project):
    project.world.runs = [{"status": "RUNNING"}]
    first = project.start("upload", "-m", "wider net", "--notebook", *SHORT)
    while "SaveKernel" not in project.world.calls:
        assert first.poll() is None
        time.sleep(0.02)
    code, out = send(project)
    assert code == 2 and "another process is sending this notebook" in out, out
    project.world.runs = [{"status": "COMPLETE"}]
    code, out = project.finish(first)
    assert code == 0 and len(project.world.kernels) == len(project.world.submissions) == 1, out


@pytest.mark.slow
def test_the_same_submission_is_not_sent_twice(project):
    send(project)
    code, out = send(project)
    assert code == 2 and "was sent at" in out and len(project.world.submissions) == 1


@pytest.mark.slow
def test_what_is_there_is_not_sent_again(project):
    project.world.runs = [{"status": "RUNNING"}, {"status": "ERROR", "failureMessage": "boom"}]
    code, out = send(project)
    assert code == 2 and "boom" in out
    project.world.runs = [{"status": "RUNNING"}, {"status": "COMPLETE"}]
    code, out = send(project)
    assert code == 0 and "has this bundle already" in out
    assert len(project.world.dataset_versions) == 1
    assert len(project.world.kernels) == 2, "what failed is pushed once more"


@pytest.mark.slow
def test_the_end_of_an_older_version_is_not_taken_for_this_ones(project):
    project.world.runs = [
        {"status": "ERROR", "failureMessage": "of before"},
        {"status": "QUEUED"},
        {"status": "COMPLETE"},
    ]
    code, out = send(project)
    assert code == 0 and "of before" not in out, out


@pytest.mark.slow
def test_the_output_of_a_version_that_was_pushed_by_hand_since_is_not_taken_for_this_ones(project):
    """The site tells of the newest version's run alone."""
    project.world.before["GetKernelSessionStatus"] = lambda: (
        project.world.kernels.append({"text": "by hand"}) if len(project.world.kernels) == 1 else None
    )
    code, out = send(project)
    assert code == 2 and "version 2 of somebody/birds-foldboard was pushed since version 1" in out, out
    assert not project.world.submissions
    project.world.runs = [{"status": "RUNNING"}, {"status": "COMPLETE"}]
    code, out = send(project)
    assert code == 0 and "kernel       somebody/birds-foldboard version 3" in out, out


@pytest.mark.slow
def test_a_version_of_the_data_set_that_is_not_ours_is_not_taken_for_ours(project):
    """Somebody sent another version since: a kernel reads the newest, so ours is sent once more."""
    project.world.runs = [{"status": "RUNNING"}, {"status": "ERROR", "failureMessage": "boom"}]
    send(project)
    project.world.dataset_versions.append(["another's"])
    project.world.runs = [{"status": "RUNNING"}, {"status": "COMPLETE"}]
    code, out = send(project)
    assert code == 0 and "version 3 is ready" in out, out
    assert len(project.world.kernels) == 2


@pytest.mark.slow
def test_another_version_that_is_ready_is_not_waited_for_as_the_new_one(project):
    """After a second bundle was sent, the older version stays current for a while."""
    project.world.dataset_versions.append(["older"])
    project.world.hidden_versions = 3  # answers that do not know of the new one yet
    code, out = send(project)
    assert code == 0 and "version 2 is ready" in out, out


@pytest.mark.slow
def test_too_many_requests_are_waited_out(project):
    busy = (429, {"code": 429, "message": "slow down"}, {})
    project.world.trouble["GetKernelSessionStatus"] = busy
    process = project.start("upload", "-m", "wider net", "--notebook", *SHORT)
    while "GetKernelSessionStatus" not in project.world.calls:
        assert process.poll() is None
        time.sleep(0.02)
    del project.world.trouble["GetKernelSessionStatus"]
    code, out = project.finish(process)
    assert code == 0 and "waiting      " in out, out


@pytest.mark.slow
def test_a_data_set_that_cannot_be_asked_about_is_not_taken_for_none(project):
    project.world.dataset_versions.append(["older"])
    project.world.trouble["GetDatasetStatus"] = (401, {"code": 401, "message": "no"}, {})
    code, _ = send(project)
    assert code == 2 and "CreateDataset" not in project.world.calls


@pytest.mark.slow
def test_no_clear_answer_to_the_submission_is_not_followed_by_another(project):
    project.world.trouble["CreateCodeSubmission"] = (502, b"", {})
    code, out = send(project)
    assert code == 2
    del project.world.trouble["CreateCodeSubmission"]
    code, out = send(project)
    assert code == 2 and "ledger sync" in out and not project.world.submissions


LIMIT = (400, {"code": 400, "message": "Maximum weekly GPU quota of 30.00 hours reached."}, {})
FAILURES = {
    "quota used up": (lambda w: w.trouble.update(GetSubmissionLimits=(403, {"code": 403, "message": "limit"}, {})), "no submission to birds is left"),
    "gpu weekly limit": (lambda w: w.push_error.update(error="Maximum weekly GPU quota of 30.00 hours reached."), "leave --gpu out"),
    "gpu weekly limit, as an answer": (lambda w: w.trouble.update(SaveKernel=LIMIT), "leave --gpu out"),
    "kernel of another form": (lambda w: w.trouble.update(SaveKernel=(400, {"code": 400, "message": "Kernel title is not valid"}, {})), "Kaggle refused (400): see"),
    "no room for data sets": (lambda w: w.trouble.update(CreateDataset=(400, {"code": 400, "message": "Dataset storage limit exceeded"}, {})), "Kaggle refused (400): see"),
    "kernel that cannot be asked about": (lambda w: w.trouble.update(GetKernelSessionStatus=(401, {"code": 401, "message": "Unauthenticated"}, {})), "Kaggle does not know who you are"),
    "version that is not taken": (lambda w: w.trouble.update(CreateCodeSubmission=(404, {"code": 404, "message": "Notebook version not found"}, {})), "Kaggle refused (404): see"),
    "another name": (lambda w: setattr(w, "kernel_ref", "/code/somebody/birds-foldboard-2"), "give another --name"),
    "run failed": (lambda w: (w.runs.pop(), w.runs.append({"status": "ERROR", "failureMessage": ""})), "its log ends: predicting"),
    "timeout": (lambda w: (w.runs.pop(), w.runs.append({"status": "ERROR", "failureMessage": "Timed out after 32400 seconds"})), "--time-limit"),
    "out of memory": (lambda w: (w.runs.pop(), w.runs.append({"status": "ERROR", "failureMessage": "Your notebook tried to allocate more memory than is available."})), "lower infer.batch_size"),
    "stopped": (lambda w: (w.runs.pop(), w.runs.append({"status": "CANCEL_ACKNOWLEDGED"})), "push it again"),
    "internet must be off": (lambda w: w.push_error.update(error="Internet must be disabled for this competition"), "must have no network"),
    "dataset unreadable": (lambda w: (w.dataset_statuses.clear(), w.dataset_statuses.append("FAILED")), "could not read the data set"),
    "first dataset unreadable": (lambda w: (setattr(w, "is_numbered", False), w.dataset_statuses.clear(), w.dataset_statuses.append("FAILED")), "could not read the data set"),
    "slug taken": (lambda w: w.push_error.update(error='The requested title "x" is already in use by a kernel.'), "another by --name"),
    "phone not verified": (lambda w: w.trouble.update(SaveKernel=(403, {"code": 403, "message": "Phone verification is required"}, {})), "verify your phone number"),
    "rules not accepted": (lambda w: w.push_error.update(invalidCompetitionSources=["birds"]), "accept its rules first"),
    "no output": (lambda w: w.output.clear(), "wrote no submission.csv"),
    "output of another form": (lambda w: w.output.update({"submission.csv": b"id,label\n900,bird\n"}), "the kernel's output"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILURES)
def test_each_failure_is_one_sentence_that_says_what_to_do(project, name):
    change, said = FAILURES[name]
    change(project.world)
    code, out = send(project)
    assert code == 2 and said in out, out
    [last] = [line for line in out.splitlines() if line.startswith("error: ")]
    assert said in last and "Traceback" not in out
    assert not project.world.submissions
    of_a_file = ("Kaggle has no competition", "takes notebooks only: `python", "no submission to birds is left")
    assert name == "quota used up" or not any(words in last for words in of_a_file), "it is about a notebook"


@pytest.mark.slow
def test_answers_that_differ_in_many_rows_are_not_submitted_unless_asked(project):
    header, *rows = project.world.output["submission.csv"].decode().splitlines()
    other = [f"{row.split(',')[0]},{'bird' if 'bird' not in row else 'a cat'}" for row in rows]
    project.world.output["submission.csv"] = "\n".join([header, *other, ""]).encode()
    code, out = send(project)
    assert code == 2 and "answers otherwise than this machine in 9 rows" in out and not project.world.submissions, out
    project.world.runs = [{"status": "RUNNING"}, {"status": "COMPLETE"}]
    code, out = send(project, "--differing")
    assert code == 0 and len(project.world.submissions) == 1


@pytest.mark.slow
def test_an_output_that_differs_is_said_and_submitted(project):
    rows = project.world.output["submission.csv"].decode().splitlines()
    other = "bird" if rows[1].split(",", 1)[1] != "bird" else "a cat"
    project.world.output["submission.csv"] = "\n".join(
        [rows[0], f"{rows[1].split(',')[0]},{other}", *rows[2:], ""]
    ).encode()
    code, out = send(project)
    assert code == 0 and "not as made here: row 1" in out


@pytest.mark.slow
def test_a_data_set_that_is_still_processed_is_waited_for(project):
    project.world.dataset_statuses = ["BLOBS_RECEIVED", "BLOBS_DECOMPRESSED", "READY"]
    code, out = send(project)
    assert code == 0, out


PAGE = (ROOT / "docs/code-competitions.md").read_text(encoding="utf-8")
COMMANDS = [block.strip().splitlines() for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]


@pytest.mark.slow
@pytest.mark.parametrize("lines", COMMANDS[:2], ids=["by one command", "by hand"])
def test_the_page_is_followed_word_by_word(project, lines):
    """Its commands as they stand, NAME and SLUG filled in; what the site then holds is what the page says."""
    for line in lines:
        words = shlex.split(line.replace("NAME", "somebody").replace("SLUG", "birds"))
        if words[:3] == ["python", "-m", "pipeline"]:
            code, out = project.run(*words[3:])
        else:
            assert words[0] == "kaggle"
            env = os.environ | environment(project.server, project.root / "home")
            client = [sys.executable, "-c", "from kaggle.cli import main; main()", *words[1:]]
            done = subprocess.run(client, cwd=project.root, env=env, capture_output=True, text=True)
            code, out = done.returncode, done.stdout + done.stderr
        assert code == 0, (line, out)
    assert len(project.world.dataset_versions) == len(project.world.kernels) == 1
    [bundle] = [project.world.files[token] for token in project.world.dataset_versions[0]]
    assert bundle == (project.root / "submissions/bundle.zip").read_bytes()
    assert len(project.world.submissions) == (lines is COMMANDS[0])


def test_the_pages_third_command_is_the_tables():
    assert len(COMMANDS) == 3 and "tests/test_kernel_formats.py" in COMMANDS[2][0]


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_one_submission_and_one_row(finished, tmp_path):
    """Given again until it is through; then `ledger sync`. FOLDBOARD_KILLS=50 for more kills, and others."""
    times = int(os.environ.get("FOLDBOARD_KILLS", "4"))
    draws = random.Random(times)
    for number in range(times):
        root = tmp_path / f"project{number}"
        shutil.copytree(finished.root, root)
        with Server(World(slug="birds")) as server:
            project = Project(root, server)
            project.world.output = {"submission.csv": (root / "submissions/submission.csv").read_bytes()}
            calls = draws.randint(1, 14)
            process = project.start("upload", "-m", "wider net", "--notebook", *SHORT)
            while process.poll() is None and len(project.world.calls) < calls:
                time.sleep(0.005)
            time.sleep(draws.uniform(0, 0.05))
            process.kill()
            process.communicate()
            code, out = send(project)
            assert code == 0 or "was sent at" in out, out
            code, out = project.run("ledger", "sync")
            assert code == 0, out
            assert len(project.world.submissions) == 1, (calls, out)
            sent = [entry for entry in project.ledger.submissions() if entry.status != "failed"]
            assert len(sent) == 1 and sent[0].reference == "41000001", (calls, sent)
