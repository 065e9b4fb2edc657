"""Size, seconds and peak memory of a run's page, by classes and images.

    python -m benchmarks.report

Each run is made up (`benchmarks/made_up_run.py`) and scored by the real stages; the page is made by the real stage in a
process of its own, whose memory is what it holds for itself (not the pages of mapped files).
"""

import argparse
import tempfile
from pathlib import Path

import yaml

from benchmarks.made_up_run import write_run
from benchmarks.scale import commands, measured

SIZES = ((10, 1_800), (1_000, 1_800), (10, 100_000), (1_000, 100_000))


def main() -> None:
    """Make, measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="single_label", help="of target; default: %(default)s")
    args = parser.parse_args()
    print("| classes | images | page MB | seconds | own MB |\n|---|---|---|---|---|")
    for num_classes, num_train in SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            classes = [f"n{number:08d}" for number in range(num_classes)]
            params = write_run(folder, classes, kind=args.kind, num_train=num_train, num_test=num_train // 10, side=32)
            (folder / "params.yaml").write_text(yaml.safe_dump(params))
            for stage in ("evaluate", "submit", "report"):
                seconds, own, _ = measured(commands()[stage], folder)
            size = (folder / "data/report/index.html").stat().st_size
            print(f"| {num_classes:,} | {num_train:,} | {size / 1e6:.2f} | {seconds:.1f} | {own:.0f} |", flush=True)


if __name__ == "__main__":
    main()
