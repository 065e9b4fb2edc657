"""Upload and download: Kaggle's own client, none of it replaced, and a server on the loopback; the same for Dacon."""

import base64
import hashlib
import json
import re
import shlex
import shutil
import signal
import socket
import sys
import threading
import zlib

import pytest
import requests
import yaml
from conftest import ROOT, competition_files, write_zip
from kaggle_server import TOKEN, Server, World
from upload_project import Project

from pipeline.base.files import write_json
from pipeline.competition.schema import Schema, SubmissionFormat, Target, write_schema
from pipeline.leaderboard.site import RefusedError
from pipeline.leaderboard.sites import kaggle

SAMPLE = b"id,label\n007,cat\n008,cat\n009,cat\n"
GOOD = b"id,label\n007,cat\n008,dog\n009,cat\n"
ECHO = {"code": 403, "message": f"You must accept this competition's rules (Bearer {TOKEN})"}


@pytest.fixture
def project(tmp_path):
    """Whatever a test does: the planted token and the signed address are in no output and no file of the project."""
    with Server(World()) as server:
        place = Project(tmp_path, server)
        labels = SubmissionFormat(kind="label", id_column="id", columns=("id", "label"), value_columns=("label",))
        schema = Schema(
            target=Target(kind="single_label", columns=("label",), classes=("cat", "dog")),
            submission=labels,
            metric="accuracy",
        )
        write_schema(tmp_path / "data/competition/schema.json", schema)
        (tmp_path / "data/competition/sample_submission.csv").write_bytes(SAMPLE)
        (tmp_path / "submissions").mkdir()
        (tmp_path / "submissions/submission.csv").write_bytes(GOOD)
        receipt = {"sha256": hashlib.sha256(GOOD).hexdigest(), "metric": "accuracy"}
        receipt["folds"] = {"score_mean": 0.91, "score_standard_error": 0.01}
        write_json(tmp_path / "submissions/receipt.json", receipt)
        shipped = (ROOT / "params.yaml").read_text().replace("data/demo/digits.zip ", "data/raw/digits.zip  ")
        (tmp_path / "params.yaml").write_text(
            "# mine\n" + shipped.replace("# the organiser's archive or folder", "# theirs")
        )
        yield place
        secrets = (TOKEN, "signed-secret")
        assert not [secret for secret in secrets if secret in place.said]
        assert "Traceback" not in place.said
        for path in tmp_path.rglob("*"):
            if path.is_file():
                assert not [secret for secret in secrets if secret.encode() in path.read_bytes()], path


def test_a_submission_is_sent_scored_and_written_down(project):
    code, out = project.upload()
    assert code == 0, out
    assert "digits on Kaggle (from competition.raw in params.yaml" in out
    assert "allowance    5 submissions left today" in out
    assert "submitted    reference 41000001" in out
    assert "score        public 0.93125, private not shown yet" in out
    assert list(project.world.files.values()) == [GOOD]
    assert [call for call in project.world.calls if call != "IntrospectToken"] == [
        "GetCompetition", "GetSubmissionLimits", "StartSubmissionUpload", "PUT", "CreateSubmission", "GetSubmission",
    ]  # fmt: skip
    [entry] = project.ledger.submissions()
    assert (entry.status, entry.public_score, entry.private_score) == ("complete", 0.93125, None)
    assert (entry.reference, entry.competition, entry.cv_score) == ("41000001", "digits", 0.91)
    assert project.world.submissions[0]["description"] == f"wider net [{entry.submission}]"


def test_pending_is_waited_for_through_trouble(project):
    project.world.outcomes = [
        {"status": "PENDING"},
        {"status": "COMPLETE", "publicScore": "0.5", "privateScore": "0.25"},
    ]
    code, out = project.upload("--competition", "others-2026")
    assert code == 0 and "others-2026 on Kaggle (from --competition)" in out
    assert "public 0.5, private 0.25" in out
    assert project.world.calls.count("GetSubmission") == 2


def test_a_score_that_does_not_come_is_no_failure(project):
    project.world.outcomes = [{"status": "PENDING"}]
    code, out = project.upload("--wait", "1")
    assert code == 0 and "`python -m pipeline ledger sync` enters it" in out
    assert project.ledger.submissions()[0].status == "sent"
    project.world.submissions[0] |= {"status": "COMPLETE", "publicScore": "0.75"}
    code, out = project.run("ledger", "sync")
    assert code == 0, out
    assert project.ledger.submissions()[0].public_score == 0.75


def test_trouble_while_waiting_is_said_once_and_the_list_is_asked(project):
    project.world.trouble["GetSubmission"] = (404, {"code": 404, "message": "Not found"}, {})
    project.world.outcomes = []
    project.world.before["CreateSubmission"] = lambda: project.world.submissions[0].update(
        status="COMPLETE", publicScore="0.5"
    )
    code, out = project.upload()
    assert code == 0 and "public 0.5" in out
    project.world.trouble |= {"GetSubmission": (503, {}, {})}
    project.root.joinpath("submissions/submission.csv").write_bytes(GOOD.replace(b"dog", b"cat"))
    code, out = project.upload("--wait", "3")
    assert code == 0 and out.count("trouble of its own (503)") == 1


def test_the_servers_reason_is_told_when_it_cannot_score(project):
    project.world.outcomes = [{"status": "ERROR", "errorDescription": f"Evaluation Exception: no column x {TOKEN}"}]
    code, out = project.upload()
    assert code == 2
    assert "Kaggle took 41000001 but could not score it: Evaluation Exception: no column x ***; correct it" in out
    assert project.ledger.submissions()[0].status == "error"


# call, its answer, facts of the competition, what is said
REFUSALS = {
    "rules not accepted": ("StartSubmissionUpload", (403, ECHO, {}), {}, "accept its rules at https://www.kaggle.com/competitions/digits/rules"),
    "rules, without a word": ("GetSubmissionLimits", (403, {"code": 403, "message": "Permission 'competitions.participate' was denied"}, {}), {}, "you have not joined digits: accept its rules"),
    "joined, yet 403": ("GetSubmissionLimits", (403, {"code": 403, "message": "Permission 'competitions.participate' was denied"}, {}), {"userHasEntered": True}, "give the right one as --competition"),
    "wrong slug": ("GetSubmissionLimits", (404, {"code": 404, "message": "Not found"}, {}), None, "Kaggle has no competition 'digits'"),
    "notebooks only": ("StartSubmissionUpload", (400, {"error": {"code": 400, "message": "This competition only accepts Submissions from Notebooks."}}, {}), {}, "takes notebooks only, and there is none that makes submissions/submission.csv"),
    "daily limit": ("CreateSubmission", (400, {"code": 400, "message": "Your team has used its daily Submission allowance (5) today"}, {}), {"userHasEntered": True}, "the day's count starts again at 00:00 UTC"),
    "closed": ("StartSubmissionUpload", (400, {"code": 400, "message": "The competition deadline has passed"}, {}), {}, "takes no submissions any more"),
    "disabled": ("CreateSubmission", (403, {}, {}), {"submissionsDisabled": True}, "takes no submissions any more"),
    "token refused": ("GetSubmissionLimits", (401, {"code": 401, "message": "Unauthenticated"}, {}), {}, "https://www.kaggle.com/settings/api"),
    "too fast": ("GetSubmissionLimits", (429, {"code": 429, "message": "Too many requests"}, {"Retry-After": "37"}), {}, "slow down (429): send this command again in 37 s"),
    "too fast to submit": ("CreateSubmission", (429, {}, {}), {}, "send this command again in some minutes"),
    "5xx": ("StartSubmissionUpload", (503, {}, {}), {}, "Kaggle has trouble of its own (503): try again in some minutes"),
    "a page in between": ("GetSubmissionLimits", (200, b"<html>log in</html>", {"Content-Type": "text/html"}), {}, "Kaggle's answer cannot be understood"),
    "connection lost": ("StartSubmissionUpload", (None, b"", {}), {}, "no answer from 127.0.0.1"),
    "upload host refuses": ("PUT", (403, b"blocked", {}), {}, "the upload host 127.0.0.1 does not take the file (it answers 403)"),
    "upload host breaks off": ("PUT", (None, b"", {}), {}, "Nothing was submitted; allow that host"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSALS)
def test_each_failure_is_one_sentence_that_says_what_to_do(project, case):
    call, answer, facts, message = REFUSALS[case]
    project.world.trouble[call] = answer
    if facts is None:
        project.world.trouble["GetCompetition"] = answer
    else:
        project.world.facts = facts
    code, out = project.upload()
    assert code == 2
    errors = [line for line in out.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and out.endswith(errors[0] + "\n") and message in errors[0], out
    assert project.world.submissions == []
    assert project.world.calls.count("CreateSubmission") == (call == "CreateSubmission"), "asked once"
    project.world.trouble = {}
    assert project.upload()[0] == 0, "what was clearly not taken can be sent again"


def test_a_spent_day_is_refused_before_anything_is_sent(project):
    project.world.left, project.world.made_today = 0, 5
    code, out = project.upload()
    assert code == 2 and "is left today (5 were made): the count starts again at 00:00 UTC, in " in out
    project.world.limited_by_total = True
    code, out = project.upload()
    assert code == 2 and "all 5 that the competition allows were made" in out
    assert not {"StartSubmissionUpload", "PUT", "CreateSubmission"} & set(project.world.calls)


def test_nobody_on_a_team_yet_is_left_to_the_server(project):
    project.world.left = 0
    code, out = project.upload()
    assert code == 0 and "Kaggle counts no submission of yours here yet" in out


@pytest.mark.parametrize("variables", [{"KAGGLE_API_TOKEN": ""}, {}], ids=["no credentials", "an expired token"])
def test_without_a_login_the_way_to_one_is_told(project, variables):
    project.world.active = bool(variables)
    code, out = project.upload(**variables)
    assert code == 2 and "Kaggle does not know who you are: click Generate New Token" in out
    assert out.count("Generate New Token") == 1, "the client's own help stays unseen"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_network_down_and_upload_host_unreachable(project):
    nowhere = f"http://127.0.0.1:{free_port()}"
    code, out = project.upload(TEST_KAGGLE_URL=nowhere)
    assert code == 2 and "no answer from 127.0.0.1 (ConnectionError): look at the connection, proxy and firewall" in out
    project.world.upload_url = nowhere
    code, out = project.upload()
    assert code == 2 and "the upload host 127.0.0.1 does not take the file (ConnectionError)" in out
    assert project.world.submissions == [] and project.ledger.submissions() == []


def test_a_slow_upload_ends_at_its_deadline(project):
    silent = socket.create_server(("127.0.0.1", 0))
    project.world.upload_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    code, out = project.upload("--deadline", "1")
    silent.close()
    assert code == 2 and "the line is too slow. Nothing was submitted" in out


@pytest.mark.parametrize(
    "answer", [(503, {}, {}), (None, b"", {}), (200, {"message": "fine"}, {}), (200, b"<html>", {})]
)
def test_an_unclear_answer_is_looked_up_and_never_sent_again(project, answer):
    project.world.trouble["CreateSubmission"] = answer
    code, out = project.upload()
    assert code == 2 and "Kaggle may have taken it" in out and "ledger sync" in out
    code, out = project.upload()
    assert code == 2 and "submissions/submission.csv was sent at" in out
    assert project.world.calls.count("CreateSubmission") == 1


def test_a_submission_whose_answer_was_lost_is_found_in_the_list(project):
    def lose():
        raise ConnectionAbortedError

    project.server.handle_error = lambda *error: None
    project.world.before["CreateSubmission"] = lose
    code, out = project.upload()
    assert code == 0 and "submitted    reference 41000001" in out
    assert project.world.calls.count("CreateSubmission") == 1


def test_killed_between_upload_and_row_nothing_is_lost_or_sent_twice(project):
    reached, killed = threading.Event(), threading.Event()

    def hold():
        reached.set()
        killed.wait(30)

    project.server.handle_error = lambda *error: None
    project.world.before["CreateSubmission"] = hold
    process = project.start("upload", "-m", "wider net")
    assert reached.wait(30)
    process.send_signal(signal.SIGKILL)
    killed.set()
    project.finish(process)
    assert [entry.status for entry in project.ledger.submissions()] == ["intended"]
    code, out = project.upload()
    assert code == 2 and "so it was not sent now" in out
    project.world.submissions[0] |= {"status": "COMPLETE", "publicScore": "0.75"}
    code, out = project.run("ledger", "sync")
    assert code == 0, out
    [entry] = project.ledger.submissions()
    assert (entry.status, entry.reference, entry.public_score) == ("complete", "41000001", 0.75)
    assert len(project.world.submissions) == 1


def interrupted_in(project, call):
    """(exit code, output) of an upload that gets Ctrl-C while the server holds `call`."""
    reached, ended = threading.Event(), threading.Event()
    project.server.handle_error = lambda *error: None
    project.world.before[call] = lambda: reached.set() or ended.wait(30)
    process = project.start("upload", "-m", "wider net")
    assert reached.wait(30)
    process.send_signal(signal.SIGINT)
    found = project.finish(process)
    ended.set()
    return found


@pytest.mark.parametrize(
    ("call", "said", "statuses"),
    [
        ("StartSubmissionUpload", "interrupted: nothing was submitted", []),
        ("CreateSubmission", "interrupted: Kaggle may have taken the file (fb-", ["intended"]),
        ("GetSubmission", "interrupted: Kaggle has the submission, reference 41000001; ", ["sent"]),
    ],
)
def test_ctrl_c_says_how_things_stand_at_the_site(project, call, said, statuses):
    code, out = interrupted_in(project, call)
    assert code == 130 and said in out.splitlines()[-1], out
    assert [entry.status for entry in project.ledger.submissions()] == statuses


THIRD = """
from pipeline.leaderboard.site import Site

class Third(Site):
    title = "The Third"
    competition_help = "a word"

    @classmethod
    def connect(cls, args):
        found = cls()
        found.slug = args.competition
        return found

    def allowance(self):
        return "as many as you like"

    def deliver(self, content, file_name):
        return lambda description: f"third-{len(content)}"
"""


def test_a_site_is_one_new_file(project, tmp_path):
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline")
    (tmp_path / "pipeline/leaderboard/sites/third.py").write_text(THIRD)
    code, out = project.upload("--site", "third", "--competition", "word")
    assert code == 0 and f"submitted    reference third-{len(GOOD)}" in out, out
    assert "The Third shows it on its site only; enter it: `python -m pipeline ledger score third-" in out
    assert [(entry.site, entry.competition) for entry in project.ledger.submissions()] == [("third", "word")]
    assert "third" in project.run("upload", "--help")[1] and "third" in project.run("ledger", "--help")[1]
    code, out = project.run("ledger", "sync")
    assert code == 2 and "The Third gives no list of submissions" in out
    code, out = project.run("download", "word", "--site", "third")
    assert code == 2 and "The Third gives no files to programs" in out


def test_only_its_own_file_knows_a_site_by_name():
    files = [path for path in (ROOT / "pipeline").rglob("*.py") if path.parent.name not in ("sites", "scoring")]
    assert not [path for path in files if re.search("kaggle|dacon", path.read_text().lower())]


def test_the_same_file_and_an_invalid_one_are_refused_without_a_call(project):
    assert project.upload()[0] == 0
    project.world.calls.clear()
    code, out = project.upload()
    assert code == 2 and "would get the same score again" in out
    project.root.joinpath("submissions/submission.csv").write_bytes(GOOD.replace(b"007", b"7"))
    code, out = project.upload()
    assert code == 2 and "'7' (the sample has '007')" in out
    code, out = project.upload("nowhere.csv")
    assert code == 2 and "nowhere.csv is not there" in out
    assert project.world.calls == []


def test_a_message_too_long_to_keep_its_token_is_refused_before_anything_is_asked(project):
    code, out = project.run("upload", "-m", "ä" * 401)
    assert code == 2 and "it has 401 characters, at most 400" in out
    assert project.world.calls == [] and not (project.root / "submissions/ledger.csv").exists()


def test_check_as_a_table_and_for_machines(project):
    code, out = project.run("check")
    assert not project.ledger.path.exists(), "it only reads"
    assert code == 0 and "OK       unknown labels" in out and "3 labels" in out
    assert out.splitlines()[-1].startswith("submissions/submission.csv: OK (")
    mine = project.root / "mine.csv"
    mine.write_bytes(GOOD.replace(b"dog", b"Dog"))
    code, out = project.run("check", "mine.csv")
    assert code == 2 and "REFUSED  unknown labels" in out and "first: 008 = 'Dog', meant 'dog'?" in out
    code, out = project.run("check", "mine.csv", "--json")
    verdict, _ = json.JSONDecoder().raw_decode(out[out.index("{") :])
    assert code == 2 and verdict["verdict"] == "REFUSED"
    assert {check["status"] for check in verdict["checks"]} == {"OK", "REFUSED"}
    intents = {"sha256": hashlib.sha256(GOOD).hexdigest(), "message": "one", "site": "kaggle", "slug": "digits"}
    for arrives in (False, True):
        intent = project.ledger.intend(**intents, receipt=None)
        project.ledger.confirm(intent, "1") if arrives else project.ledger.fail(intent, "no answer")
        code, out = project.run("check")
        assert ("WARN     identical to an earlier submission" in out) == arrives
    write_json(project.root / "mine.json", {"notes": "of my own"})
    code, out = project.run("check", "mine.csv")
    assert code == 2 and "mine.json is no receipt of `submit`" in out
    changed = project.root / "submissions/submission.csv"
    changed.write_bytes(GOOD.replace(b"dog", b"cat"))
    code, out = project.run("check")
    assert code == 0 and "WARN     changed since it was written" in out


def archive_of(tmp_path):
    """A competition of 300 KB: what comes of the last 64 KiB before a break is not kept."""
    return write_zip(tmp_path / "made.zip", competition_files() | {"notes.bin": bytes(300_000)}).read_bytes()


def test_download_puts_the_zip_in_place_and_into_params(project, tmp_path):
    world = project.world
    world.archive = archive_of(tmp_path)
    md5 = base64.b64encode(hashlib.md5(world.archive).digest()).decode()
    world.headers = {"x-goog-hash": f"crc32c=AAAAAA==,md5={md5}"}
    code, out = project.run("download", "others-2026")
    assert code == 0, out
    zipped = tmp_path / "data/raw/others-2026.zip"
    assert zipped.read_bytes() == world.archive
    section = yaml.safe_load((tmp_path / "params.yaml").read_text())["competition"]
    assert section["raw"] == "data/raw/others-2026.zip"
    assert "# theirs" in (tmp_path / "params.yaml").read_text()
    assert [path.name for path in zipped.parent.iterdir()] == ["others-2026.zip"]
    code, out = project.run("download", "others-2026")
    assert code == 0 and "is there already" in out


def test_a_broken_download_goes_on_where_it_stopped(project, tmp_path):
    world = project.world
    world.archive, world.break_after = archive_of(tmp_path), 200_000
    params = (tmp_path / "params.yaml").read_bytes()
    code, out = project.run("download", "digits")
    assert code == 2 and "the download broke off" in out and "run the same command again to go on" in out
    zipped = tmp_path / "data/raw/digits.zip"
    assert not zipped.exists() and (tmp_path / "params.yaml").read_bytes() == params
    have = zipped.with_name("digits.zip.part").stat().st_size
    assert have == 3 * 65536
    code, out = project.run("download", "digits")
    assert code == 0 and world.ranges[-1] == f"bytes={have}-"
    assert zipped.read_bytes() == world.archive


def test_a_part_of_an_older_file_is_not_gone_on_with(project, tmp_path):
    world = project.world
    world.archive, world.break_after = archive_of(tmp_path), 200_000
    assert project.run("download", "digits")[0] == 2
    world.headers = {"ETag": '"two"'}
    assert project.run("download", "digits")[0] == 0
    assert "bytes=" not in "".join(world.ranges[1:])


@pytest.mark.parametrize("damage", ["no archive", "another MD5"])
def test_a_damaged_download_leaves_all_as_it_was(project, tmp_path, damage):
    world = project.world
    zipped = tmp_path / "data/raw/digits.zip"
    zipped.parent.mkdir(parents=True)
    zipped.write_bytes(b"the old one")
    params = (tmp_path / "params.yaml").read_bytes()
    world.archive = archive_of(tmp_path)
    if damage == "no archive":
        world.archive = zlib.compress(world.archive)
    else:
        world.headers = {"x-goog-hash": f"md5={base64.b64encode(bytes(16)).decode()}"}
    code, out = project.run("download", "digits")
    assert code == 2 and "the download is damaged and was thrown away" in out
    assert zipped.read_bytes() == b"the old one" and (tmp_path / "params.yaml").read_bytes() == params
    assert [path.name for path in zipped.parent.iterdir()] == ["digits.zip"]


def test_download_says_what_to_do_about_rules(project):
    project.world.trouble["DownloadDataFiles"] = (403, ECHO, {})
    code, out = project.run("download", "digits")
    assert code == 2 and "accept its rules at https://www.kaggle.com/competitions/digits/rules" in out


def test_the_pages_lines_work_as_they_stand(project, tmp_path):
    page = (ROOT / "docs/submitting.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line) for kind, block in blocks if not kind for line in block.splitlines()]
    ours = [words[3:] for words in lines if words[:3] == ["python", "-m", "pipeline"]]
    assert [words[0] for words in ours] == ["download", "inspect", "check", "upload", "ledger"]
    project.world.archive = archive_of(tmp_path)
    for words in ours:
        code, out = project.run(*words)
        assert code == 0, out


def test_dacon_gets_one_form_with_the_file(project):
    code, out = project.upload("--site", "dacon")
    assert code == 0, out
    assert "competition  236000 on Dacon" in out and "`python -m pipeline ledger score dacon-" in out
    [form] = project.world.forms
    [entry] = project.ledger.submissions()
    texts = {name: content.decode() for name, (file_name, content) in form.items() if file_name is None}
    assert texts == {
        "cpt_id": "236000", "team_name": "팀 A", "file_name": "submission.csv", "api_token": TOKEN, "api_version": "2.0",
        "memo": f"wider net [{entry.submission}]",
    }  # fmt: skip
    assert form["file"] == ("submission.csv", GOOD)
    code, out = project.run("ledger", "score", entry.reference, "0.9312")
    assert code == 0 and project.ledger.submissions()[0].public_score == 0.9312
    code, out = project.upload("--site", "dacon")
    assert code == 2 and "would get the same score again" in out and len(project.world.forms) == 1


DACON = {
    "total": ({"message": "over_max_count"}, "every submission that the competition allows was made"),
    "daily": ({"message": "day_max_count"}, "15:00 UTC"),
    "echo": ({"message": f"bad token {TOKEN}"}, "Dacon answers bad token ***: check DACON_API_TOKEN"),
    **{
        f"code {code}": ({"message": "wrong", "data": code}, f"Dacon refused the file: {text}")
        for codes, text in (
            ((1, 901, "901"), "the header"), ((2, 902), "the file cannot be read as a CSV"), ((3, 903), "the number of rows"),
            ((4, 904), "a value"), ((21,), "a column has another type"), ((9021,), "it holds characters"), ((77,), "code 77"),
        )
        for code in codes
    },
}  # fmt: skip


@pytest.mark.parametrize("case", DACON)
def test_each_word_of_dacon_is_one_sentence(project, case):
    project.world.dacon, message = DACON[case]
    code, out = project.upload("--site", "dacon")
    assert code == 2 and message in out.splitlines()[-1]
    assert project.ledger.submissions()[0].status == "failed"


def test_dacon_without_a_clear_answer_is_not_asked_again(project):
    for answer in ((500, {}, {}), (None, b"", {}), (200, b"<html>", {})):
        project.world.trouble["Dacon"] = answer
        name = f"mine{answer[0]}.csv"
        project.root.joinpath(name).write_bytes(
            GOOD + b""
            if answer[0] == 500
            else GOOD.replace(b"\n", b"\r\n")
            if answer[0]
            else GOOD.replace(b"dog", b"cat")
        )
        code, out = project.upload(name, "--site", "dacon")
        assert code == 2 and "Dacon may have taken the file" in out, out
        code, out = project.upload(name, "--site", "dacon")
        assert code == 2 and "was sent at" in out
    assert len(project.world.forms) == 3
    project.world.trouble["Dacon"] = (403, {}, {})
    project.root.joinpath("x.csv").write_bytes(GOOD.replace(b"cat", b"dog"))
    code, out = project.upload("x.csv", "--site", "dacon")
    assert code == 2 and "127.0.0.1 answers 403: look at token, number and team" in out


def test_dacon_names_what_is_missing_before_it_is_asked(project):
    code, out = project.upload("--site", "dacon", DACON_API_TOKEN="", DACON_TEAM_NAME="")
    assert code == 2 and "Dacon needs DACON_TEAM_NAME, DACON_API_TOKEN" in out
    assert project.world.forms == []


def test_dacon_takes_100_megabytes_at_most():
    from pipeline.leaderboard.sites.dacon import MAX_BYTES, Dacon

    client = Dacon("1", team="a", token=TOKEN)
    with pytest.raises(ValueError, match="has 100,000,001 bytes, Dacon takes 100,000,000"):
        client.deliver(b"x" * (MAX_BYTES + 1), "big.csv")


def test_without_kaggles_client_the_requirements_to_install_are_told(monkeypatch):
    monkeypatch.setattr(requests.Session, "send", requests.Session.send)  # the client's import is prepared by another
    monkeypatch.setitem(sys.modules, "kaggle.api.kaggle_api_extended", None)
    kaggle._client_class.cache_clear()
    try:
        with (
            pytest.raises(RefusedError, match=r"Kaggle's client is not installed .*requirements-extra.txt"),
            kaggle._one_sentence(str),
        ):
            kaggle._client_class()
    finally:
        kaggle._client_class.cache_clear()
