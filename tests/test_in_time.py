"""A bundle with a time limit: done in time, every image answered, fewer folds where time is short, and said so."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from bundles import bundled
from conftest import Workplace, competition_files, csv_bytes, encoded, image_of, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.bundle.in_time import Pace, predict_in_time


class Clock:
    """Time that passes when work is done."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        self.now += seconds


def simulated(num_images, limit, *, decoding, predicting, num_folds=5, multiple=32, loading=0.0):
    clock = Clock()
    calls = []

    def predict(fold, rows):
        if not [called for called, _ in calls if called == fold]:
            clock.work(loading)
        calls.append((fold, rows))
        clock.work(predicting * len(rows))

    pace = Pace(limit, num_folds, clock)
    reached = predict_in_time(
        num_images, pace, multiple=multiple, decode=lambda rows: clock.work(decoding * len(rows)), predict=predict
    )
    return reached, clock.now, calls


def test_with_time_enough_every_image_gets_every_fold_once():
    reached, _, calls = simulated(1000, 1e9, decoding=1e-3, predicting=1e-3)
    assert (reached.folds == 5).all() and not list(reached.lines(5))
    seen = sorted((fold, row) for fold, rows in calls for row in rows)
    assert seen == [(fold, row) for fold in range(5) for row in range(1000)]


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_in_less_time_all_images_get_fewer_folds(share):
    whole = 20_000 * (1e-3 + 5 * 2e-3)
    reached, took, _ = simulated(20_000, share * whole, decoding=1e-3, predicting=2e-3)
    assert reached.folds.min() >= 1 and took <= share * whole
    assert reached.folds.mean() >= 0.75 * (share * 11e-3 - 1e-3) / 2e-3, "most of the time is used"
    [line] = reached.lines(5)
    assert line.startswith("warning: time is short: ") and f"of {20_000:,} images by" in line


def test_in_no_time_for_one_fold_as_many_images_as_fit_are_reached():
    reached, took, _ = simulated(10_000, 10.0, decoding=1e-3, predicting=4e-3)
    assert 1500 <= (reached.folds > 0).sum() <= 2100 and took <= 10.0 + 1.0
    assert any(
        re.fullmatch(r"warning: time is over: [\d,]+ of 10,000 images get the .*", line) for line in reached.lines(5)
    )


def test_loading_a_model_is_not_taken_for_the_time_of_an_image():
    reached, took, _ = simulated(100_000, 32_400.0, decoding=1e-3, predicting=2e-3, loading=10.0)
    assert (reached.folds == 5).all() and took < 2000


@pytest.mark.parametrize("multiple", [32, 512])
def test_the_limit_is_not_overrun_by_a_batch_of_slow_images(multiple):
    reached, took, _ = simulated(9_000, 3_300.0, decoding=0.0, predicting=0.9, loading=10.0, multiple=multiple)
    assert took <= 3_300.0 and (reached.folds > 0).sum() > 2_500


@settings(max_examples=60, deadline=None)
@given(
    num_images=st.integers(1, 5000), limit=st.floats(0, 60), decoding=st.floats(0, 0.01), predicting=st.floats(0, 0.01),
    num_folds=st.integers(1, 7), multiple=st.integers(1, 512),
)  # fmt: skip
def test_no_row_is_predicted_twice_by_a_fold_and_counts_are_what_was_called(
    num_images, limit, decoding, predicting, num_folds, multiple
):
    reached, _, calls = simulated(
        num_images, limit, decoding=decoding, predicting=predicting, num_folds=num_folds, multiple=multiple
    )
    counted = np.zeros(num_images, dtype=int)
    for fold, rows in calls:
        assert (counted[rows.start : rows.stop] == fold).all(), "folds come in order, without gaps"
        counted[rows.start : rows.stop] += 1
    assert (counted == reached.folds).all()


# -- a real bundle


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run with three folds, which writes probabilities."""
    place = Workplace(tmp_path_factory.mktemp("place"))
    files = competition_files(per_class=12)
    files["sample_submission.csv"] = csv_bytes(
        ("id", "bird", "a cat", "dog, large"), [(f"9{n:02d}", 0, 0, 0) for n in range(9)]
    )
    write_zip(place.raw, files)
    place.params["folds"] = {"0": {}, "1": {}, "2": {}}
    place.params["split"]["num_folds"] = 3
    place.run_all()
    return place


@pytest.fixture(scope="module")
def unpacked(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    with zipfile.ZipFile(bundled(place, folder / "bundle.zip")) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """(images, sample) of more test images than the run ever saw, of other ids."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "images").mkdir()
    ids = [f"h{n:04d}" for n in range(1500)]
    for number, name in enumerate(ids):
        (folder / "images" / f"{name}.png").write_bytes(encoded(image_of(number % 3, number)))
    (folder / "sample_submission.csv").write_bytes(
        csv_bytes(("id", "bird", "a cat", "dog, large"), [(name, 0, 0, 0) for name in ids])
    )
    return folder / "images", folder / "sample_submission.csv"


def predict(unpacked, images, sample, out, *more, fails=False, code=""):
    start = f"{code}import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path('predict.py', run_name='__main__')"
    words = [sys.executable, "-c", start, "predict.py", "--images", images, "--sample", sample, "--out", out, *more]
    done = subprocess.run(list(map(str, words)), cwd=unpacked, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stderr
    return done.stdout + done.stderr


def rows_of(path):
    return {line.split(",")[0]: np.array(line.split(",")[1:], float) for line in path.read_text().splitlines()[1:]}


@pytest.mark.slow
def test_with_time_enough_the_file_is_the_same(place, unpacked, tmp_path):
    said = predict(
        unpacked,
        place.raw,
        place.path("data/competition/sample_submission.csv"),
        tmp_path / "a.csv",
        "--time-limit",
        600,
    )
    assert "warning" not in said
    assert (tmp_path / "a.csv").read_bytes() == place.path("submissions/submission.csv").read_bytes()


@pytest.mark.slow
def test_without_time_every_row_is_the_prior_and_it_is_said(unpacked, many, tmp_path):
    said = predict(unpacked, *many, tmp_path / "a.csv", "--time-limit", 0)
    assert "warning: time is over: 1,500 of 1,500 images get the training images' shares" in said
    cards = [json.loads(path.read_text()) for path in sorted((unpacked / "models").glob("*.json"))]
    prior = np.mean([card["prior"] for card in cards], axis=0)
    assert all(np.allclose(row, prior / prior.sum(), atol=1e-6) for row in rows_of(tmp_path / "a.csv").values())


@pytest.mark.slow
def test_a_run_that_is_told_to_end_leaves_a_valid_file(unpacked, many, tmp_path):
    """SIGTERM in the middle: rows that were reached are predicted, the others have the prior."""
    out = tmp_path / "a.csv"
    slow = (
        "import time, pipeline.bundle.offline as o; kept = o.predict_store\n"
        "o.predict_store = lambda *a, **k: (time.sleep(1.0), kept(*a, **k))[1]\n"
    )
    start = f"import sys; sys.path.insert(0, '.')\n{slow}import runpy; sys.argv = sys.argv[1:]\nrunpy.run_path('predict.py', run_name='__main__')"
    words = [sys.executable, "-c", start, "predict.py", "--images", many[0], "--sample", many[1], "--out", out]
    process = subprocess.Popen(
        list(map(str, [*words, "--time-limit", "600"])), cwd=unpacked, stdout=subprocess.PIPE, text=True
    )
    lines = []
    while "for now" not in (line := process.stdout.readline()):
        assert process.poll() is None
        lines.append(line)
    assert len(rows_of(out)) == 1500, "valid from the first second on"
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "warning: time is over: " in rest
    reached = 1500 - int(re.search(r"over: ([\d,]+) of", rest)[1].replace(",", ""))
    assert 0 < reached < 1500
    rows = list(rows_of(out).values())
    assert len(rows) == 1500 and np.ptp(rows[reached:], axis=0).max() == 0 and np.ptp(rows[:reached], axis=0).max() > 0


@pytest.mark.slow
def test_an_image_that_cannot_be_read_or_is_missing_gets_the_prior_where_asked(place, unpacked, many, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(many[0], images)
    (images / "h0003.png").write_bytes(b"no image")
    (images / "h0007.png").unlink()
    said = predict(unpacked, images, many[1], tmp_path / "a.csv", fails=True)
    assert "1 of 1500 ids of the sample have no image" in said
    said = predict(unpacked, images, many[1], tmp_path / "a.csv", "--unreadable", "prior")
    assert "1 of 1500 ids of the sample have no image" in said and "1 of 1500 images cannot be read" in said
    predict(unpacked, *many, tmp_path / "whole.csv")
    spoilt, whole = rows_of(tmp_path / "a.csv"), rows_of(tmp_path / "whole.csv")
    assert [name for name in whole if not np.array_equal(whole[name], spoilt[name])] == ["h0003", "h0007"]
    assert np.array_equal(spoilt["h0003"], spoilt["h0007"])


@pytest.mark.slow
def test_without_simplejpeg_pillow_decodes_and_says_so(unpacked, many, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(30):
        big = np.kron(image_of(number % 3, number), np.ones((8, 8, 1), dtype=np.uint8))
        (images / f"h{number:04d}.jpg").write_bytes(encoded(big, "JPEG", quality=90))
    sample = tmp_path / "sample_submission.csv"
    sample.write_bytes(csv_bytes(("id", "bird", "a cat", "dog, large"), [(f"h{n:04d}", 0, 0, 0) for n in range(30)]))
    predict(unpacked, images, sample, tmp_path / "with.csv")
    said = predict(
        unpacked, images, sample, tmp_path / "without.csv", code="import sys; sys.modules['simplejpeg'] = None; "
    )
    assert "simplejpeg is not installed" in said
    found, other = rows_of(tmp_path / "with.csv"), rows_of(tmp_path / "without.csv")
    assert max(np.abs(found[name] - other[name]).max() for name in found) < 0.2
