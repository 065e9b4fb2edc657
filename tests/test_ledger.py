"""The ledger: rows are only added, survive a crash, two writers and a merge; and what the scores say."""

import csv
import dataclasses
import io
import multiprocessing
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import ROOT

from pipeline import __main__ as command
from pipeline.commands.comparison import revision_of
from pipeline.leaderboard import judgement
from pipeline.leaderboard import ledger as ledger_module
from pipeline.leaderboard.ledger import COLUMNS, Entry, Ledger, description
from pipeline.leaderboard.site import SentSubmission
from pipeline.leaderboard.sync import sync

SHA = "ab12" * 16


def receipt(score, error=0.01, sha256=SHA, metric="accuracy"):
    return {"sha256": sha256, "metric": metric, "folds": {"score_mean": score, "score_standard_error": error}}


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "submissions" / "ledger.csv")


def intend(ledger, sha256=SHA, message="first try", **options):
    return ledger.intend(sha256=sha256, message=message, site="kaggle", slug="digits", **{"receipt": None} | options)


def test_a_submissions_rows_are_one_entry_and_the_newest_cell_counts(ledger):
    intent = intend(ledger, receipt=receipt(0.91), message='a, "quoted"\nmessage = 1')
    ledger.confirm(intent, "4711")
    ledger.record_score("4711", public=0.9, private=None, status="COMPLETE")
    ledger.record_score("4711", public=0.9312, private=0.92)
    [entry] = ledger.submissions()
    assert (entry.submission, entry.reference, entry.status) == (intent, "4711", "complete")
    assert (entry.public_score, entry.private_score, entry.cv_score, entry.cv_standard_error) == (
        0.9312,
        0.92,
        0.91,
        0.01,
    )
    assert entry.message == 'a, "quoted" message = 1'
    lines = ledger.path.read_text().splitlines()
    assert len(lines) == 5 and lines[0] == ",".join(COLUMNS), "a row a fact, each one line"


def test_a_known_fact_adds_no_row(ledger):
    ledger.confirm(intend(ledger), "4711")
    for _ in range(2):
        ledger.record_score("4711", public=0.5, private=None)
    assert len(ledger.path.read_text().splitlines()) == 4


def test_rows_are_only_ever_added(ledger):
    before = b""
    intent = intend(ledger)
    for step in (lambda: ledger.confirm(intent, "1"), lambda: ledger.record_score("1", public=0.5, private=None)):
        before = ledger.path.read_bytes()
        step()
        assert ledger.path.read_bytes().startswith(before)


def test_a_file_that_was_or_may_have_been_sent_is_known_and_a_failed_one_may_be_sent_again(ledger):
    assert ledger.sent_before(SHA) is None
    intent = intend(ledger)
    assert ledger.sent_before(SHA) == ledger.submissions()[0].time, "nobody knows whether the upload happened"
    ledger.fail(intent, "403: accept the rules")
    assert ledger.sent_before(SHA) is None
    ledger.confirm(intend(ledger), "7")
    assert ledger.sent_before(SHA) is not None
    assert ledger.submissions()[0].reason == "403: accept the rules"


def test_a_receipt_of_another_file_tells_no_score(ledger):
    intend(ledger, receipt=receipt(0.9, sha256="cd" * 32))
    assert ledger.submissions()[0].cv_score is None


@pytest.mark.parametrize("kept", [1, 30, -20])
def test_a_torn_last_row_is_moved_aside_said_and_the_ledger_goes_on(ledger, capsys, kept):
    ledger.confirm(intend(ledger), "1")
    whole = ledger.path.read_bytes()
    intend(ledger, sha256="cd" * 32)
    row = ledger.path.read_bytes()[len(whole) :]
    torn = row[:kept]
    ledger.path.write_bytes(whole + torn)
    assert [entry.reference for entry in ledger.submissions()] == ["1"]
    assert f"ends in a torn row of {len(torn)} bytes" in capsys.readouterr().out
    assert ledger.path.read_bytes() == whole + torn, "who reads changes nothing"
    intend(ledger, sha256="cd" * 32)
    assert f"ended in a torn row of {len(torn)} bytes" in capsys.readouterr().out
    assert ledger.path.read_bytes().startswith(whole) and len(ledger.submissions()) == 2
    assert ledger.path.with_name("ledger.csv.torn").read_bytes() == torn + b"\n"


def test_reading_writes_nothing_be_it_read_only_or_not_there(ledger, monkeypatch):
    assert ledger.submissions() == []
    assert not ledger.path.parent.exists()
    intend(ledger)
    modes, opened = [], Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode="r", **more: modes.append(mode) or opened(path, mode, **more))
    assert len(ledger.submissions()) == 1
    assert modes == ["rb"], "root may write where the mode forbids it, so the mode is looked at"


def test_zeros_after_a_power_cut_and_a_torn_header_are_torn_rows_too(ledger):
    intend(ledger)
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole + b"\0" * 90)
    assert len(ledger.submissions()) == 1
    ledger.path.write_bytes(whole[:40])
    assert ledger.submissions() == []
    intend(ledger)
    assert len(ledger.submissions()) == 1


def test_a_row_that_lacks_its_newline_alone_is_kept(ledger):
    ledger.confirm(intend(ledger), "1")
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole[:-1])
    intend(ledger, sha256="cd" * 32)
    assert [entry.reference for entry in ledger.submissions()] == ["1", ""]
    assert not ledger.path.with_name("ledger.csv.torn").exists()


def test_the_marks_of_a_merge_are_named_by_line(ledger):
    intend(ledger)
    ledger.path.write_bytes(ledger.path.read_bytes() + b"<<<<<<< HEAD\n")
    with pytest.raises(ValueError, match=r"1 lines are not rows, first \[3\]"):
        ledger.submissions()


def test_rows_read_the_same_in_any_order_and_after_a_spreadsheet_saved_them(ledger):
    ledger.confirm(intend(ledger), "1")
    ledger.record_score("1", public=0.7, private=None)
    entries = ledger.submissions()
    header, *rows = ledger.path.read_text().splitlines()
    ledger.path.write_bytes("\r\n".join(["\ufeff" + header, *reversed(rows), rows[0], "", "", ""]).encode())
    assert ledger.submissions() == entries


def test_time_moves_on_though_the_clock_is_set_back(ledger, monkeypatch):
    intent = intend(ledger)

    class Clock(datetime):
        @classmethod
        def now(cls, zone):
            return datetime.now(zone) - timedelta(days=3)

    monkeypatch.setattr(ledger_module, "datetime", Clock)
    ledger.confirm(intent, "1")
    assert ledger.submissions()[0].status == "sent"


def write_many(path, number):
    for row in range(20):
        intend(Ledger(path), sha256=f"{number:032x}{row:032x}", message="m" * 500)


def test_processes_that_write_at_once_lose_no_row_and_tear_none(ledger):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(ledger.path, number)) for number in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(ledger.submissions()) == 40
    assert len({entry.sha256 for entry in ledger.submissions()}) == 40
    assert not ledger.path.with_name("ledger.csv.torn").exists()


def git(folder, *words):
    named = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *named, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "-q", "-b", "main")
    for name in (".gitattributes", ".gitignore"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "params.yaml").write_text("a: 1\n")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "start")
    return tmp_path


@pytest.mark.parametrize("common", [False, True])
def test_two_branches_of_the_ledger_merge_without_a_conflict(repository, common):
    ledger = Ledger(repository / "submissions" / "ledger.csv")

    def commit(message):
        git(repository, "add", "-A")
        git(repository, "commit", "-qm", message)

    if common:
        intend(ledger, message="common")
        commit("book")
    git(repository, "checkout", "-q", "-b", "other")
    ledger.confirm(intend(ledger, sha256="cd" * 32, message="theirs"), "2")
    commit("theirs")
    git(repository, "checkout", "-q", "main")
    ledger.confirm(intend(ledger, sha256="ef" * 32, message="ours"), "3")
    commit("ours")
    git(repository, "merge", "-q", "--no-edit", "other")
    expected = [*(["common"] if common else []), "theirs", "ours"]
    assert [entry.message for entry in ledger.submissions()] == expected
    assert {entry.reference for entry in ledger.submissions()} - {""} == {"2", "3"}


def test_git_lets_the_ledger_through_and_it_does_not_make_the_tree_dirty(repository):
    ledger = Ledger(repository / "submissions" / "ledger.csv")
    intend(ledger)
    assert "submissions/" in git(repository, "status", "--porcelain")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "book")
    intend(ledger)
    (repository / "params.yaml").write_text("a: 2\n")
    intend(ledger)
    trees = [entry.git_tree for entry in ledger.submissions()]
    assert trees == ["clean", "clean", "changed: params.yaml"]
    assert ledger.submissions()[-1].git_commit == git(repository, "rev-parse", "HEAD")


def test_the_run_of_a_file_that_was_made_elsewhere_is_said_to_be_another(repository):
    """What `show ROW` would compare is the run of that commit, whatever was sent."""
    ledger = Ledger(repository / "submissions" / "ledger.csv")
    for made in (receipt(0.9), receipt(0.9, sha256="cd" * 32)):
        intend(ledger, receipt=made)
    [own, others] = [revision_of(entry, repository) for entry in ledger.submissions()]
    assert own == (git(repository, "rev-parse", "HEAD"), ())
    assert others[0] == own[0] and "row 2 is a file that the run of that commit did not make" in others[1][0]


def test_a_dvc_lock_that_was_never_committed_is_no_clean_tree(repository):
    git(repository, "rm", "-q", "--cached", "dvc.lock")
    git(repository, "commit", "-qm", "lock gone")
    ledger = Ledger(repository / "submissions" / "ledger.csv")
    intend(ledger)
    assert ledger.submissions()[0].git_tree == "changed: dvc.lock (not in git)"


def test_the_experiment_whose_lock_this_is_gives_its_name(repository):
    git(repository, "update-ref", "refs/exps/ab/cdef/longer-run", "HEAD")
    ledger = Ledger(repository / "submissions" / "ledger.csv")
    intend(ledger)
    (repository / "dvc.lock").write_text("another: lock\n")
    intend(ledger)
    assert [entry.experiment for entry in ledger.submissions()] == ["longer-run", ""]


class Site:
    """A site's list."""

    name, slug = "kaggle", "digits"

    def __init__(self, *sent):
        self.sent = sent

    def submissions(self):
        return list(self.sent)


def sent(reference, text, *, status="complete", public=0.8, ago=timedelta(0), error=""):
    return SentSubmission(
        reference=reference, description=text, time=datetime.now(UTC) - ago, status=status, public_score=public,
        private_score=None, error=error,
    )  # fmt: skip


def settle(ledger, *listed):
    return sync(ledger, Site(*listed))


def test_a_crash_between_upload_and_row_is_settled_by_the_token(ledger):
    intent = intend(ledger, message="width 64")
    other = intend(ledger, message="width 64", sha256="cd" * 32)
    lines = settle(ledger, sent("99", description("width 64", intent)))
    first, second = ledger.submissions()
    assert (first.reference, first.status, first.public_score) == ("99", "complete", 0.8)
    assert (second.submission, second.status) == (other, "intended"), "it may be under way at this moment"
    assert f"99: this is {intent}, whose row was never finished" in lines
    before = ledger.path.read_bytes()
    settle(ledger, sent("99", description("width 64", intent)))
    assert ledger.path.read_bytes() == before, "a second sync learns nothing"


def test_a_description_that_lost_its_token_is_matched_by_text_and_time_if_only_one_fits(ledger):
    intend(ledger, message="width 64")
    settle(ledger, sent("98", "width 64", ago=timedelta(days=2)))
    assert ledger.submissions()[0].reference == ""
    settle(ledger, sent("99", "width 64"))
    assert ledger.submissions()[0].reference == "99"


def test_a_servers_refusal_is_entered_with_its_reason(ledger):
    intent = intend(ledger)
    settle(ledger, sent("5", description("x", intent), status="error", public=None, error="row 3: bad label"))
    assert (ledger.submissions()[0].status, ledger.submissions()[0].reason) == ("error", "row 3: bad label")


def test_an_old_intent_that_the_server_does_not_list_failed(ledger, monkeypatch):
    intent = intend(ledger)
    monkeypatch.setattr("pipeline.leaderboard.sync.UNDER_WAY", timedelta(0))
    lines = settle(ledger)
    assert ledger.submissions()[0].status == "failed"
    assert any("the file may be sent again" in line for line in lines)
    settle(ledger, sent("6", description("late", intent)))
    assert ledger.submissions()[0].reference == "6", "what the server shows later counts"


def test_what_others_sent_is_named_and_not_entered(ledger):
    intend(ledger)
    lines = settle(ledger, sent("1", "from the web page"), sent("2", "theirs [fb-00000000]"))
    assert any("sent without Foldboard" in line for line in lines)
    assert any("from another copy of the ledger: merge that" in line for line in lines)
    assert len(ledger.submissions()) == 1


def test_find_takes_reference_row_token_and_prefix_and_says_what_is_there(ledger):
    intent = intend(ledger)
    ledger.confirm(intent, "4711")
    intend(ledger, sha256="ab12" * 8 + "cd" * 16)
    for wanted in ("4711", "1", intent, SHA[:40]):
        assert ledger.find(wanted).submission == intent
    with pytest.raises(ValueError, match=r"'ab12ab12' names 2 of 2 submissions in .* \(row 1, row 2\)"):
        ledger.find("ab12ab12")
    with pytest.raises(ValueError, match=r"'ab12' names 0 of 2 submissions"):
        ledger.find("ab12")


def entry(number, cv_score, public=None, error=0.01, metric="accuracy"):
    return Entry(
        number=number, time=f"2026-01-{number:02d}T00:00:00.000Z", submission=f"fb-{number:08x}", status="complete",
        metric=metric, cv_score=cv_score, cv_standard_error=error, public_score=public, sha256=f"{number:064x}",
    )  # fmt: skip


def test_spearman_is_scipys_with_ties():
    from scipy.stats import spearmanr

    xs, ys = [0.1, 0.4, 0.4, 0.9, 0.2, 0.4], [3.0, 1.0, 2.0, 2.0, 5.0, 9.0]
    assert judgement.spearman(xs, ys) == pytest.approx(spearmanr(xs, ys).statistic)
    assert judgement.spearman([1, 1, 1], [1, 2, 3]) is None


@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("log_loss", -1)])
def test_final_two_are_best_cv_and_best_public_inside_the_noise_in_the_metrics_direction(metric, sign):
    shift = 0 if sign == 1 else 1
    made = [(0.90, 0.99), (0.952, 0.93), (0.955, 0.94), (0.957, 0.90)]
    entries = [
        entry(at, shift + sign * cv, shift + sign * public, metric=metric) for at, (cv, public) in enumerate(made, 1)
    ]
    first, second, alike = judgement.final_two(entries)
    assert (first.number, second.number) == (4, 3), "row 1's public score is a lottery ticket"
    assert [one.number for one in alike] == [2, 3]
    text = "\n".join(judgement.words(entries))
    assert "1st: row 4, the best CV score" in text and "2nd: row 3, the best public score" in text
    assert "inside the standard error: it may be chance" in text


def test_a_file_is_judged_once_at_its_newest_place_and_each_notebook_by_itself():
    first, second, again = entry(1, 0.8), entry(2, 0.9), dataclasses.replace(entry(3, 0.8), sha256=entry(1, 0.8).sha256)
    assert judgement.judged([first, second, again]) == [second, again]
    assert judgement.judged([first, dataclasses.replace(second, status="intended")]) == [first], "it may never arrive"
    about = "try (notebook me/it version 1, data set version 1, bundle {0}{0}, script {0}{0})"
    notebooks = [dataclasses.replace(first, number=at, message=about.format(f"{at:06x}")) for at in (1, 2)]
    assert judgement.judged(notebooks) == notebooks, "the same public answers, other models"


def test_a_gain_beyond_the_noise_is_told_from_a_loss():
    assert "better by more than the standard error" in "\n".join(judgement.words([entry(1, 0.8), entry(2, 0.9)]))
    assert "worse by more than the standard error" in "\n".join(judgement.words([entry(1, 0.9), entry(2, 0.8)]))


def test_correlation_says_when_it_is_no_more_than_chance():
    agreeing = [entry(at, at / 10, at / 10) for at in range(1, 8)]
    assert "+1.00 (Spearman, CV against public, 7 submissions): cross-validation and leaderboard agree" in "\n".join(
        judgement.words(agreeing)
    )
    assert "no more than chance gives" in "\n".join(judgement.words(agreeing[:3]))
    assert "2 submissions have both scores" in "\n".join(judgement.words(agreeing[:2]))


@pytest.mark.parametrize(
    ("metric", "score", "odd"),
    [
        ("accuracy", "93.1", True), ("quadratic_weighted_kappa", "-0.2", False), ("log_loss", "1.7", False),
        ("log_loss", "-0.3", True), ("own:metric", "93.1", False),
    ],
)  # fmt: skip
def test_a_score_that_its_metric_cannot_give_is_entered_with_a_warning(
    tmp_path, capsys, monkeypatch, metric, score, odd
):
    monkeypatch.chdir(tmp_path)
    ledger = Ledger(tmp_path / "submissions" / "ledger.csv")
    ledger.confirm(intend(ledger, receipt=receipt(0.5, metric=metric)), "ref")
    command.main(["ledger", "score", "ref", "--", score])
    assert (f"warning: {float(score):g} is no {metric}" in capsys.readouterr().out) == odd
    assert ledger.submissions()[0].public_score == float(score)


def test_the_command_shows_the_table_and_writes_plot_and_points(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="has no submission yet"):
        command.main(["ledger"])
    ledger = Ledger(tmp_path / "submissions" / "ledger.csv")
    for at, (cv_score, public) in enumerate([(0.9, 0.89), (0.92, 0.9), (0.95, None)], start=1):
        sha256 = f"{at:064x}"
        intent = intend(ledger, sha256=sha256, receipt=receipt(cv_score, sha256=sha256))
        ledger.confirm(intent, f"ref{at}")
        ledger.record_score(f"ref{at}", public=public, private=None, status="complete")
    with pytest.raises(ValueError, match="nan is no score"):
        command.main(["ledger", "score", "ref3", "nan"])
    command.main(["ledger", "score", "ref3", "0.9312", "--private", "0.91"])
    out = capsys.readouterr().out
    assert "public 0.9312, private 0.91" in out and "warning" not in out
    command.main(["ledger"])
    out = capsys.readouterr().out
    assert "0.9500 ± 0.0100  0.93120" in out and "final        1st: row 3" in out
    rows = list(csv.DictReader(io.StringIO((tmp_path / "submissions/leaderboard.csv").read_text())))
    assert [row["public_score"] for row in rows] == ["0.89", "0.9", "0.9312"]
    assert (tmp_path / "submissions/leaderboard.png").read_bytes().startswith(b"\x89PNG")
