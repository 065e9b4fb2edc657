"""How much faster several ranks train a fold than one does: `python -m benchmarks.ranks --ranks 2`.

Trains ResNet9 alone, on as many threads as a rank has and on those of all, and in ranks, in turns, on images made up;
prints images/s, and ratios of the medians. On CUDA threads do not count.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from pipeline.base import allocator
from pipeline.base.files import read_json, write_json
from pipeline.base.params import AugmentParams, TrainParams
from pipeline.loop.device import Compute, autocast_dtype, device_named
from pipeline.loop.epoch_meter import Outcome
from pipeline.loop.streams import seed_torch
from pipeline.models.networks import Normalised, create_model
from pipeline.training.fold import EpochRecord, FoldData, train_fold
from pipeline.training.launch import is_rank, run_ranks
from pipeline.training.peers import Peers, peers

NUM_CLASSES = 10


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranks", description=__doc__)
    parser.add_argument("--ranks", type=int, default=2, help="default: %(default)s; on CUDA a device each")
    parser.add_argument("--width", type=int, default=16, help="of ResNet9; default: %(default)s")
    parser.add_argument("--side", type=int, default=32, help="pixels; default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=128, help="of all ranks together; default: %(default)s")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--epochs", type=int, default=4, help="of each run, the first of which does not count")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--out", type=Path, help="of a rank: where the first one writes")
    return parser.parse_args()


def speeds(args: argparse.Namespace, joined: Peers | None) -> list[float]:
    """Images/s of each epoch's training but the first's."""
    seed_torch("first weights", 0)
    device = device_named(args.device) if joined is None else joined.device
    pixels = np.random.default_rng(0).integers(0, 256, (args.images, args.side, args.side, 3), dtype=np.uint8)
    rows = np.arange(args.images)
    model = Normalised(
        create_model("resnet9", num_classes=NUM_CLASSES, options={"width": args.width}), (0.5,) * 3, (0.25,) * 3
    )
    data = FoldData(
        fold="0", store=torch.from_numpy(pixels), train_rows=rows, valid_rows=rows[:64], targets=rows % NUM_CLASSES,
        target_kind="single_label", num_classes=NUM_CLASSES,
    )  # fmt: skip
    train = TrainParams(
        seed=0, epochs=args.epochs, batch_size=args.batch_size, optimizer="sgd", peak_lr=0.01, momentum=0.9,
        weight_decay=5e-4, warmup=0.2, label_smoothing=0.1, ema_decay=0.0, tta="none", valid_every=args.epochs,
    )  # fmt: skip
    augment = AugmentParams(crop_padding=4, crop_fill="reflect", flip=True, cutout=8, policy="none")
    found: list[float] = []

    def note(record: EpochRecord, outcome: Outcome) -> None:
        found.append(outcome.num_images / outcome.seconds)

    train_fold(
        model, data, train=train, augment=augment, report=note, peers=joined,
        compute=Compute(device=device, dtype=autocast_dtype(args.precision, device)),
    )  # fmt: skip
    return found[1:]


def main() -> None:
    """Measure in turns and print; as a rank, train."""
    args = parse_args()
    allocator.keep_freed_memory()
    if is_rank():
        with peers(args.ranks, args.device) as joined:
            found = speeds(args, joined)
        if joined.first:
            write_json(args.out, found)
        return
    threads = torch.get_num_threads()
    share = max(1, threads // args.ranks)
    few, alone, together = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "speeds.json"
        for _ in range(args.rounds):
            torch.set_num_threads(share)
            few += speeds(args, None)
            torch.set_num_threads(threads)
            alone += speeds(args, None)
            argv = [*sys.argv[1:], "--out", str(out)]
            run_ranks("benchmarks.ranks", argv, args.ranks, title="benchmark", threads=threads)
            together += read_json(out)
    print(
        f"ResNet9 width {args.width}, {args.side} px, batch {args.batch_size}, {args.device}, precision "
        f"{args.precision}, torch {torch.__version__}, median (lowest to highest) of {len(alone)} epochs"
    )
    for title, found in (
        (f"1 rank, threads: {share}", few),
        (f"1 rank, threads: {threads}", alone),
        (f"{args.ranks} ranks, threads each: {share}", together),
    ):
        print(f"{title:28} {statistics.median(found):8,.0f} images/s ({min(found):,.0f} to {max(found):,.0f})")
    ratios = [statistics.median(together) / statistics.median(found) for found in (few, alone)]
    print(f"ranks against one of as many threads as each has {ratios[0]:.2f}, as all have {ratios[1]:.2f}")


if __name__ == "__main__":
    main()
