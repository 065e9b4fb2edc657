"""Reads nothing. Writes the competition that ships with scikit-learn: its zip, and its solution beside it.

Source: UCI "Optical Recognition of Handwritten Digits" test set, 1,797 images of 8x8, 17 grey levels, as
`sklearn.datasets.load_digits` ships it; written as a leaderboard site hands a competition out.
"""

import argparse
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.base import console
from pipeline.base.files import table_bytes, whole_file, write_bytes

NUM_TEST = 360  # a fifth; the other 1,437 are labelled
SEED = 20


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.digits", description=__doc__)
    parser.add_argument("--archive", type=Path, required=True, help="zip to write, as a leaderboard site hands it out")
    parser.add_argument("--solution", type=Path, required=True, help="CSV to write: the labels of the test images")
    args = parser.parse_args(argv)

    write_digits(args.archive, args.solution)
    console.say(f"wrote {args.archive} and {args.solution}")


def write_digits(archive: Path, solution: Path) -> None:
    """Write the zip (PNG files, train.csv, sample_submission.csv) and the test labels kept aside.

    The same bytes at every call. Ids are shuffled four-digit numbers, leading zeros included, so that neither
    file order nor id order tells the label.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))
    rows = [(f"{number:04d}", index, str(digits.target[index])) for number, index in enumerate(order)]
    test, train = rows[:NUM_TEST], rows[NUM_TEST:]

    with whole_file(archive) as part, zipfile.ZipFile(part, "w") as handle:
        _add(handle, "train.csv", table_bytes(("id", "label"), [(name, label) for name, _, label in train]))
        _add(handle, "sample_submission.csv", table_bytes(("id", "label"), [(name, "0") for name, _, _ in test]))
        for folder, part_rows in (("train", train), ("test", test)):
            for name, index, _ in part_rows:
                _add(handle, f"{folder}/{name}.png", _png(digits.images[index]))
    write_bytes(solution, table_bytes(("id", "label"), [(name, label) for name, _, label in test]))


def _add(handle: zipfile.ZipFile, name: str, content: bytes) -> None:
    handle.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)  # a fixed date: fixed bytes


def _png(image: np.ndarray) -> bytes:
    """image (8, 8) float, 0 to 16 -> grey PNG, 0 to 255."""
    stream = io.BytesIO()
    Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


if __name__ == "__main__":
    console.run(main)
