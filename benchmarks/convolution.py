"""The weight gradient of 3x3 convolutions on the CPU in bfloat16: torch's own (oneDNN) against a product over patches.

Milliseconds of the forward pass and of each gradient, the best of some rounds, for the shapes of resnet9 and airbench
at width 64 and 32 px; `ratio` is how many times as long torch's weight gradient takes as ours.

    python -m benchmarks.convolution
"""

import argparse
import functools
import time
from collections.abc import Callable

from pipeline.base import allocator

if __name__ == "__main__":
    allocator.restart()  # before torch is imported

import torch
from torch import Tensor

from pipeline.models.layers import SMALL_MAP, weight_gradient

SHAPES = (
    (24, 64, 31), (64, 64, 15), (64, 256, 15), (256, 256, 7), (256, 256, 3), (128, 128, 16), (256, 512, 8),
    (512, 512, 4),
)  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512, help="in a batch; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    args = parser.parse_args()
    allocator.keep_freed_memory()
    print(f"{args.images} images, {torch.get_num_threads()} threads; ours is used up to {SMALL_MAP} pixels")
    print(
        "| channels | side | forward | input gradient | weight gradient | ours | ratio |\n|---|---|---|---|---|---|---|"
    )
    for before, after, side in SHAPES:
        x, weight = torch.randn(args.images, before, side, side), torch.randn(after, before, 3, 3)
        x, weight = (tensor.bfloat16().contiguous(memory_format=torch.channels_last) for tensor in (x, weight))
        y = torch.nn.functional.conv2d(x, weight, padding=1)
        calls: list[Callable[[], Tensor]] = [
            functools.partial(torch.nn.functional.conv2d, x, weight, padding=1),
            functools.partial(_gradient, y, x, weight, 0),
            functools.partial(_gradient, y, x, weight, 1),
            functools.partial(weight_gradient, y, x),
        ]
        timed = [_best_ms(args.rounds, call) for call in calls]
        columns = " | ".join(f"{ms:.1f}" for ms in timed)
        print(f"| {before} to {after} | {side} | {columns} | {timed[2] / timed[3]:.1f} |", flush=True)


def _gradient(y: Tensor, x: Tensor, weight: Tensor, of: int) -> Tensor:
    asked = [of == 0, of == 1, False]
    return torch.ops.aten.convolution_backward(y, x, weight, [0], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, asked)[of]


def _best_ms(rounds: int, work: Callable[[], Tensor]) -> float:
    work()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


if __name__ == "__main__":
    main()
