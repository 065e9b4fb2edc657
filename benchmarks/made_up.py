"""A made-up competition of any size: small JPEG images whose class can be learnt, in the plain Kaggle layout."""

import zipfile
from pathlib import Path

import numpy as np
import simplejpeg
from tqdm import tqdm

from pipeline.base.files import table_bytes

COLUMNS = ("id", "label")
NUM_CLASSES = 10
QUALITY = 90


def write_competition(path: Path, num_train: int, *, size: int = 32, test_share: float = 0.1) -> None:
    """A zip of `num_train` labelled and `test_share` as many unlabelled images of `size` px, no two alike.

    A class is a smooth pattern of its own; an image is that pattern moved and brightened, with noise of its own.
    """
    num_test = max(1, round(test_share * num_train))
    patterns = _patterns(size)
    train, test = [], []
    with zipfile.ZipFile(path, "w") as handle:
        for number in tqdm(range(num_train + num_test), path.name, unit=" images", disable=None):
            label = number % NUM_CLASSES
            name = f"{number:07d}"
            content = simplejpeg.encode_jpeg(_image(patterns[label], number), QUALITY)
            if number < num_train:
                train.append((name, f"class {label}"))
                handle.writestr(f"train/{name}.jpg", content)
            else:
                test.append((name, "class 0"))
                handle.writestr(f"test/{name}.jpg", content)
        handle.writestr("train.csv", table_bytes(COLUMNS, train))
        handle.writestr("sample_submission.csv", table_bytes(COLUMNS, test))


def _patterns(size: int) -> np.ndarray:
    """(NUM_CLASSES, size, size, 3) int16: sums of a few slow waves."""
    draws = np.random.default_rng(0)
    steps = np.linspace(0, 2 * np.pi, size, endpoint=False)
    waves = [
        np.sin(down * steps[:, None] + across * steps[None, :] + phase)
        for down, across, phase in zip(*draws.integers(0, 4, (2, 90)), draws.uniform(0, 2 * np.pi, 90), strict=True)
    ]
    channels = np.stack(waves).reshape(NUM_CLASSES, 3, 3, size, size).sum(axis=2)
    return np.ascontiguousarray((128 + 30 * channels).transpose(0, 2, 3, 1)).astype(np.int16)


def _image(pattern: np.ndarray, number: int) -> np.ndarray:
    draws = np.random.default_rng(number)
    down, across = draws.integers(0, len(pattern), 2)
    moved = np.roll(pattern, (down, across), axis=(0, 1)) + draws.integers(-30, 31)
    noise = draws.integers(-40, 41, pattern.shape, dtype=np.int16)
    return np.clip(moved + noise, 0, 255).astype(np.uint8)
