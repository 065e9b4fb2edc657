"""Milliseconds to turn an image file into the store: Foldboard's ingest against plain Pillow, in turns in one run.

Files: made-up photographs of 400x533 (or `--archive`, every JPEG of a competition's zip). Pillow opens, converts and
resizes one after the other, as a Dataset does. The last column is the mean difference of the pixels, in grey levels.

    python -m benchmarks.ingest
    python -m benchmarks.ingest --archive path/to/signs.zip --sizes 64 100
    python -m benchmarks.ingest --archive path/to/cifar10.zip --sizes 32 --images 60000
"""

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.archive.archive import open_archive
from pipeline.images.store_writer import write_store

JPEG = (".jpg", ".jpeg")
NUM_PHOTOGRAPHS = 300  # different ones


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="take the JPEG files of this competition instead")
    parser.add_argument("--images", type=int, default=2100, help="at most; default: %(default)s")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[64, 128, 224], help="store's side; default: %(default)s"
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns for each; default: %(default)s")
    return parser.parse_args()


def photographs(count: int) -> dict[str, bytes]:
    """Name -> JPEG of 400x533, smooth shapes with a sensor's noise; from `NUM_PHOTOGRAPHS` on they come again."""
    contents = []
    for number in range(min(count, NUM_PHOTOGRAPHS)):
        draws = np.random.default_rng(number)
        coarse = Image.fromarray(draws.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((533, 400), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = np.clip(smooth + draws.normal(0, 4, (400, 533, 1)).astype(np.int16), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(noisy).save(stream, format="JPEG", quality=90)
        contents.append(stream.getvalue())
    return {f"{number}.jpg": contents[number % NUM_PHOTOGRAPHS] for number in range(count)}


def from_archive(path: Path, count: int) -> dict[str, bytes]:
    """Name -> content of the first JPEG files of a competition."""
    with open_archive(path) as archive:
        names = [name for name in archive.names if name.lower().endswith(JPEG)]
        return {name: archive.read(name) for name in names[:count]}


def by_pillow(files: dict[str, bytes], size: int) -> tuple[float, np.ndarray]:
    """(seconds, store) of the plain way."""
    store = np.empty((len(files), size, size, 3), dtype=np.uint8)
    started = time.perf_counter()
    for row, content in enumerate(files.values()):
        with Image.open(io.BytesIO(content)) as image:
            store[row] = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    return time.perf_counter() - started, store


def by_foldboard(files: dict[str, bytes], size: int, folder: Path) -> tuple[float, np.ndarray]:
    """(seconds, store) of ingest's own function: hashing, the report and the memory map included."""
    path = folder / "store.npy"
    started = time.perf_counter()
    report = write_store(path, list(files), files.__getitem__, size=size, fit="squash", title="")
    seconds = time.perf_counter() - started
    assert not report.failures
    return seconds, np.load(path)


def main() -> None:
    """Print the table."""
    args = parse_args()
    files = photographs(args.images) if args.archive is None else from_archive(args.archive, args.images)
    print(f"{len(files)} JPEG files, {statistics.fmean(map(len, files.values())) / 1000:.1f} kB each")
    print(f"{'store':>8} {'Pillow':>10} {'Foldboard':>10} {'ratio':>7} {'difference':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            plain, own = [], []
            for _ in range(args.rounds):
                seconds, expected = by_pillow(files, size)
                plain.append(seconds / len(files) * 1000)
                seconds, store = by_foldboard(files, size, Path(folder))
                own.append(seconds / len(files) * 1000)
            difference = np.abs(store.astype(np.int16) - expected).mean()
            before, after = statistics.median(plain), statistics.median(own)
            print(f"{size:>5} px {before:>7.2f} ms {after:>7.2f} ms {before / after:>6.2f}x {difference:>11.2f}")


if __name__ == "__main__":
    main()
