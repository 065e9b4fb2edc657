"""`show`: the run's page with the ledger, seconds and machine; two runs beside each other; where to open it."""

import copy
import re
import shutil
import threading
import urllib.request

import numpy as np
import pytest
from browser import looked_at, opened_browser
from conftest import Workplace

from pipeline import __main__ as command
from pipeline.base.files import read_arrays, read_json, write_arrays
from pipeline.commands import show
from pipeline.leaderboard.ledger import Ledger


def copy_of(place, root):
    """The same run elsewhere, to be changed."""
    other = Workplace(root)
    shutil.copytree(place.root, root, dirs_exist_ok=True)
    other.params = copy.deepcopy(place.params)
    return other


@pytest.fixture
def here(finished, tmp_path, monkeypatch):
    """A copy of a finished run, in which commands are called."""
    place = copy_of(finished, tmp_path / "here")
    monkeypatch.chdir(place.root)
    for name in show.DISPLAYS:
        monkeypatch.delenv(name, raising=False)
    return place


def shown(*words):
    command.main(["show", *words])


def sent(place, message, *, sha256=None, cv=0.9, public=0.88):
    ledger = Ledger(place.path("submissions/ledger.csv"))
    receipt = read_json(place.path("submissions/receipt.json"))
    name = sha256 or receipt["sha256"]
    folds = {"score_mean": cv, "score_standard_error": 0.01}
    token = ledger.intend(
        sha256=name, message=message, site="kaggle", slug="birds", receipt={**receipt, "sha256": name, "folds": folds}
    )
    ledger.confirm(token, f"ref-{message}")
    ledger.record_score(f"ref-{message}", public=public, private=None)


def test_without_a_browser_it_says_where_the_page_lies(here, capsys):
    shown()
    out = capsys.readouterr().out
    assert here.path("data/show/index.html").resolve().as_uri() in out and "--serve" in out


def test_an_unfinished_run_is_refused_with_what_to_type(here):
    here.path("submissions/receipt.json").unlink()
    with pytest.raises(ValueError, match=r"receipt\.json is not there yet; run `python -m pipeline folds`"):
        shown()


def test_params_that_have_moved_on_are_said(here, capsys):
    here.params["train"]["epochs"] = 77
    here.save()
    shown("--no-open")
    assert "is not that of the run shown (1 key: train.epochs)" in capsys.readouterr().out


def test_the_ledger_seconds_and_machine_are_on_the_page(here):
    for number in range(3):
        sent(here, f"try {number}", sha256=f"{number}" * 64, cv=0.9 + number / 100, public=0.8 + number / 100)
    sent(here, "<i>the one</i>", cv=0.95, public=0.91)
    shown("--no-open")
    with opened_browser() as browser, looked_at(browser, here.path("data/show/index.html")) as page:
        rows = page.rows("#ledger")
        assert [row[7] for row in rows] == ["try 0", "try 1", "try 2", "<i>the one</i>"]
        assert [row[3] for row in rows] == ["0.90000", "0.91000", "0.92000", "0.95000"]
        assert [row[5] for row in rows] == ["0.80000", "0.81000", "0.82000", "0.91000"]
        assert any("1st: row 4" in line for line in page.texts("#judgement li"))
        assert "public score 0.91000" in page.texts("#verdict")[0]
        facts = dict(page.rows("#facts"))
        assert "Python 3" in facts["versions there"] and not page.complaints and not page.asked
        seconds = read_json(here.path("data/seconds/0.json"))["seconds"]
        assert f"fold 0 {seconds:,.1f}" in facts["seconds of training"]


def test_the_stages_page_knows_nothing_of_the_world(here):
    here.run("report")
    before = here.path("data/report/index.html").read_bytes()
    sent(here, "first")
    here.run("report")
    assert here.path("data/report/index.html").read_bytes() == before


def worse(place, root, count):
    """A copy of the run in which so many images of fold 0 are answered as sure as before, but wrong."""
    other = copy_of(place, root)
    path = other.path("data/oof/0.npz")
    arrays = read_arrays(path, ("image_ids", "probs"))
    probs = arrays["probs"].copy()
    rows = np.flatnonzero(right_rows(place, arrays))[:count]
    probs[rows] = np.roll(probs[rows], 1, axis=1)
    write_arrays(path, {"image_ids": arrays["image_ids"], "probs": probs})
    other.params["train"]["peak_lr"] = 0.123
    other.save()
    return other, arrays["image_ids"][rows].tolist()


def right_rows(place, arrays):
    lines = place.path("data/competition/train.csv").read_text().splitlines()[1:]
    label_of = dict(line.replace('"', "").split(",", 1) for line in lines)
    classes = read_json(place.path("data/competition/target.json"))["classes"]
    answers = arrays["probs"].argmax(axis=1)
    return np.array([classes[at] == label_of[name] for name, at in zip(arrays["image_ids"], answers, strict=True)])


def test_two_runs_stand_beside_each_other(here, tmp_path, capsys):
    other, spoilt = worse(here, tmp_path / "other", 4)
    shown(str(other.root), "--no-open")
    assert re.search(r"accuracy \+0\.\d+ ± 0\.\d+, fold by fold: (no )?gain", capsys.readouterr().out)
    with opened_browser() as browser, looked_at(browser, here.path("data/show/index.html")) as page:
        sides = page.texts("#sides")[0]
        assert sides.startswith("4 right in the first alone, 0 right in the second alone") and "McNemar" in sides
        assert sorted(page.texts("#compared .cards > li > bdi")) == sorted(spoilt)
        rows = page.rows("#compared-folds")
        first = read_json(here.path("data/report/scores.json"))["folds"]["by_fold"]
        assert [row[1] for row in rows] == [f"{scores['score']:.4f}" for scores in first.values()]
        assert float(rows[0][1]) - float(rows[0][2]) == pytest.approx(4 / 15, abs=2e-4) and rows[1][1] == rows[1][2]
        keys = [row[0] for row in page.rows("#compared table:last-of-type")]
        assert "train.peak_lr" in page.texts("#compared")[0] and keys
        assert not page.complaints and not page.asked


def test_the_same_run_twice_does_not_differ(here, tmp_path, capsys):
    other = copy_of(here, tmp_path / "other")
    shown(".", str(other.root), "--no-open")
    assert "+0.0000 ± 0.0000, fold by fold: no gain: nothing changes" in capsys.readouterr().out


def test_a_run_of_other_folds_is_refused(here, tmp_path):
    other = copy_of(here, tmp_path / "other")
    zero, one = (other.path(f"data/oof/{fold}.npz") for fold in "01")
    shutil.move(zero, tmp_path / "zero")
    shutil.move(one, zero)
    shutil.move(tmp_path / "zero", one)
    with pytest.raises(ValueError, match="other folds"):
        shown(str(other.root), "--no-open")


def test_what_is_no_run_is_refused(here):
    with pytest.raises(ValueError, match="neither a folder"):
        shown("nothing", "--no-open")
    with pytest.raises(ValueError, match="3 runs are named"):
        shown("a", "b", "c")
    with pytest.raises(ValueError, match="names 0 of 0 submissions"):
        shown("3", "--no-open")


def test_served_on_loopback_it_is_the_page_and_nothing_else(here, monkeypatch, capsys):
    servers = []
    kept = show.http.server.ThreadingHTTPServer.serve_forever
    started = threading.Event()

    def serve(server, *words):
        servers.append(server)
        started.set()
        kept(server, *words)

    monkeypatch.setattr(show.http.server.ThreadingHTTPServer, "serve_forever", serve)
    thread = threading.Thread(target=shown, args=("--serve",))
    thread.start()
    assert started.wait(60)
    host, port = servers[0].server_address
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert answer.read() == here.path("data/show/index.html").read_bytes()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/params.yaml")
    finally:
        servers[0].shutdown()
        thread.join()
    assert host == "127.0.0.1" and f"http://127.0.0.1:{port}/ until Ctrl-C" in capsys.readouterr().out
