"""How long the folds will still take: right where they go on as they went, whatever is done, waiting or resumed."""

import re
import sys
from pathlib import Path

import pytest

from pipeline.commands import fold_pool
from pipeline.commands.time_left import TimeLeft


def line(fold, epoch):
    return f"fold {fold} epoch {epoch}: train_loss 0.5000, train_accuracy 0.9000, 100 images/s"


def simulated(seconds_an_epoch, *, epochs=4, folds=5, jobs=2, at_epoch=1):
    """(estimate when each fold at work has ended `at_epoch`, what is truly left) of folds of which the last share the cores."""
    left = TimeLeft(dict.fromkeys(map(str, range(folds)), epochs))
    for fold in range(jobs):
        left.begin(str(fold), 0.0)
    for epoch in range(1, at_epoch + 1):
        for fold in range(jobs):
            left.read(str(fold), line(fold, epoch), epoch * seconds_an_epoch)
    return left.seconds(at_epoch * seconds_an_epoch), (folds / jobs * epochs - at_epoch) * seconds_an_epoch


@pytest.mark.parametrize(("folds", "jobs"), [(4, 2), (5, 2), (5, 5), (1, 1)])
@pytest.mark.parametrize("at_epoch", [1, 3, 4])
def test_folds_that_go_on_as_they_went_take_what_is_said(folds, jobs, at_epoch):
    said, true = simulated(30.0, folds=folds, jobs=jobs, at_epoch=at_epoch)
    assert said == pytest.approx(true)


def test_nothing_is_said_before_an_epoch_has_ended():
    left = TimeLeft({"0": 4})
    assert left.seconds(0.0) is None and left.said(0.0) == "no epoch has ended yet"
    left.begin("0", 0.0)
    left.read("0", "warning: fold 0 has no image to learn 1 of 3 classes from", 5.0)
    assert left.seconds(9.0) is None


def test_the_time_since_the_last_epoch_counts_and_never_falls_below_nothing():
    left = TimeLeft({"0": 4})
    left.begin("0", 0.0)
    left.read("0", line(0, 2), 20.0)
    assert left.seconds(25.0) == pytest.approx(15.0)
    assert left.seconds(90.0) == 0.0


def test_a_resumed_fold_is_judged_by_what_it_did_since():
    left = TimeLeft({"0": 10})
    left.begin("0", 0.0)
    left.read("0", "fold 0: resumed at step 5,000 of 10,000", 1.0)
    left.read("0", line(0, 6), 10.0)
    assert left.seconds(10.0) == pytest.approx(40.0), "10 s an epoch, four to come"


def test_what_is_done_has_failed_or_only_infers_takes_no_time():
    left = TimeLeft({"0": 4, "1": 4, "2": 0})
    left.begin("2", 0.0)
    left.begin("0", 0.0)
    left.read("0", line(0, 4), 40.0)
    left.end("0")
    left.begin("1", 41.0)
    assert left.seconds(41.0) == pytest.approx(40.0), "as long as the first, which had 10 s an epoch"
    left.end("1")
    assert left.seconds(60.0) == 0.0


def test_a_fold_with_more_epochs_takes_longer():
    left = TimeLeft({"0": 4, "1": 12})
    left.begin("0", 0.0)
    left.read("0", line(0, 1), 10.0)
    assert left.seconds(10.0) == pytest.approx(30 + 120)


def test_people_are_told_minutes_and_when_and_that_growing_images_take_longer():
    left = TimeLeft({"0": 4})
    left.begin("0", 0.0)
    left.read("0", line(0, 1), 600.0)
    assert re.fullmatch(r"about 30 min left, until \d\d:\d\d", left.said(600.0))
    assert left.said(600.0, growing=True).startswith("at least 30 min left")
    assert left.said(2390.0) == "about 10 s left"
    assert left.said(2400.0) == "training is all but over", "what comes after is not estimated"


def test_without_a_terminal_a_line_a_minute(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    now = [0.0]
    monkeypatch.setattr(fold_pool.time, "monotonic", lambda: now[0])
    screen = fold_pool.Screen({"0": 4, "1": 4})
    fold = fold_pool.Fold("0", fold_pool.deque(), None, Path())
    screen.begin(fold)
    for second in range(0, 150, 5):
        now[0] = float(second)
        if second % 30 == 0 and second:
            screen.left.read("0", line(0, second // 30), now[0])
        screen.tick()
    screen.close()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2, "at 60 s and at 120 s"
    assert lines[0].startswith("folds: 0 of 2 done, about 3 min left, until ")
    assert lines[1].startswith("folds: 0 of 2 done, about 2 min left, until ")


def test_networks_of_a_fold_follow_each_other():
    left = TimeLeft({"0": 8})  # two networks of four epochs
    left.begin("0", 0.0)
    for network, epoch, now in ((1, 4, 40.0), (2, 1, 50.0)):
        left.read("0", f"fold 0 network {network}/2 epoch {epoch}: train_loss 0.5", now)
    assert left.seconds(50.0) == pytest.approx(30.0)
    left = TimeLeft({"0": 8})
    left.begin("0", 0.0)
    left.read("0", "fold 0 network 2/2: resumed at step 500 of 1,000", 1.0)
    left.read("0", "fold 0 network 2/2 epoch 3: train_loss 0.5", 11.0)
    assert left.seconds(11.0) == pytest.approx(11.0)


def test_the_budget_is_compared_with_the_end_that_is_expected():
    left = TimeLeft({"0": 4})
    left.begin("0", 0.0)
    left.read("0", line(0, 1), 600.0)
    assert re.fullmatch(
        r"about 30 min left, until \d\d:\d\d, 20 min within the budget", left.said(600.0, deadline=3600.0)
    )
    assert left.said(600.0, deadline=1800.0).endswith(", 10 min over the budget")
