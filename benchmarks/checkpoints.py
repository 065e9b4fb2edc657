"""What saving states to resume from costs: `python -m benchmarks.checkpoints --width 64`.

Trains with and without saves, in turns; prints the share of the time that went into saving (at most 3 %).
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from pipeline.base import allocator
from pipeline.base.params import AugmentParams, TrainParams
from pipeline.loop.device import Compute, autocast_dtype, device_named
from pipeline.loop.streams import seed_torch
from pipeline.models.networks import Normalised, create_model
from pipeline.training.fold import FoldData, train_fold
from pipeline.training.resume import ResumeCheckpoints

NUM_CLASSES = 10
ALLOWED = 0.03


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkpoints", description=__doc__)
    parser.add_argument(
        "--width", type=int, default=16, help="of ResNet9: 64 makes states of 105 MB; default: %(default)s"
    )
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


def train(
    args: argparse.Namespace, store: torch.Tensor, device: torch.device, checkpoints: ResumeCheckpoints | None
) -> float:
    """Seconds of a fold with averaging, the largest state there is."""
    seed_torch("first weights", 0)
    rows = np.arange(args.images)
    model = Normalised(
        create_model("resnet9", num_classes=NUM_CLASSES, options={"width": args.width}), (0.5,) * 3, (0.25,) * 3
    )
    data = FoldData(
        fold="0", store=store, train_rows=rows, valid_rows=rows[:64], targets=rows % NUM_CLASSES,
        target_kind="single_label", num_classes=NUM_CLASSES,
    )  # fmt: skip
    train = TrainParams(
        seed=0, epochs=args.epochs, batch_size=128, optimizer="adamw", peak_lr=0.003, momentum=0.9, weight_decay=0.01,
        warmup=0.2, label_smoothing=0.1, ema_decay=0.99, tta="none", valid_every=args.epochs,
    )  # fmt: skip
    augment = AugmentParams(crop_padding=0, crop_fill="zeros", flip=True, cutout=0, policy="none")
    compute = Compute(device=device, dtype=autocast_dtype("auto", device))
    started = time.perf_counter()
    train_fold(
        model, data, train=train, augment=augment, compute=compute, report=lambda record, outcome: None,
        checkpoints=checkpoints,
    )  # fmt: skip
    return time.perf_counter() - started


def main() -> None:
    """Measure in turns, print, and fail above the allowed share."""
    args = parse_args()
    allocator.keep_freed_memory()
    device = device_named(args.device)
    pixels = np.random.default_rng(0).integers(0, 256, (args.images, 32, 32, 3), dtype=np.uint8)
    store = torch.from_numpy(pixels)
    without, with_saves, saving, num_saves = [], [], 0.0, 0
    for _ in range(args.rounds):
        without.append(train(args, store, device, None))
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = ResumeCheckpoints(Path(folder), "0", {})
            with_saves.append(train(args, store, device, checkpoints))
            saving += checkpoints.seconds
            num_saves += checkpoints.num_saves
            size = max((path.stat().st_size for path in Path(folder).iterdir()), default=0)
    share = saving / sum(with_saves)
    print(f"ResNet9 width {args.width}, adamw with averaging, {device}, {torch.get_num_threads()} threads")
    print(f"without saves {min(without):.1f} s, with {min(with_saves):.1f} s (best of {args.rounds})")
    each = saving / max(num_saves, 1)
    print(f"{num_saves} saves of {size / 1e6:.1f} MB, {each:.3f} s each: {share:.2%} of the time went into saving")
    if share > ALLOWED:
        raise SystemExit(f"more than {ALLOWED:.0%}")


if __name__ == "__main__":
    main()
