"""What the peers' loops share: command line, recipe, augmentation, clock and report.

A loop is a process of its own in the peers' environment: it trains ResNet9 on `--images`/train/CLASS/*.jpg, looks at
`--images`/valid after every epoch, and ends with one line of JSON.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from pipeline.models.resnet9 import ResNet9

NUM_CLASSES = 10
SIZE = 32  # pixels
PADDING = 4  # pixels on each side before the random crop
PEAK_LR = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARMUP = 0.2  # share of the steps in which the learning rate rises
SEED = 0


def parse_args() -> argparse.Namespace:
    """Command line of a loop, as benchmarks.peers writes it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path, required=True, help="folder with train/CLASS/ and valid/CLASS/")
    parser.add_argument("--width", type=int, required=True, help="of ResNet9")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True, help="processes of the data loader")
    parser.add_argument("--mean", type=float, nargs=3, required=True, help="of the channels, 0 to 1")
    parser.add_argument("--std", type=float, nargs=3, required=True, help="of the channels, 0 to 1")
    parser.add_argument("--tuned", action="store_true", help="bf16 and channels_last; else the peer's defaults")
    return parser.parse_args()


def network(args: argparse.Namespace) -> ResNet9:
    """The model of all contenders."""
    torch.manual_seed(SEED)
    return ResNet9(num_classes=NUM_CLASSES, width=args.width)


def sgd(model: torch.nn.Module) -> torch.optim.Optimizer:
    """Nesterov's SGD as torch offers it."""
    return torch.optim.SGD(model.parameters(), lr=PEAK_LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)


def one_cycle(optimizer: torch.optim.Optimizer, num_steps: int) -> torch.optim.lr_scheduler.OneCycleLR:
    """torch's one-cycle schedule, stepped after each batch."""
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, total_steps=num_steps, pct_start=WARMUP)


def torchvision_loaders(args: argparse.Namespace) -> tuple[torch.utils.data.DataLoader, torch.utils.data.DataLoader]:
    """(train, valid): ImageFolder and DataLoader, as torchvision's documentation shows them."""
    from torchvision import datasets, transforms

    ready = [transforms.ToTensor(), transforms.Normalize(args.mean, args.std)]
    light = [transforms.RandomCrop(SIZE, padding=PADDING), transforms.RandomHorizontalFlip()]
    train = datasets.ImageFolder(args.images / "train", transforms.Compose([*light, *ready]))
    valid = datasets.ImageFolder(args.images / "valid", transforms.Compose(ready))
    loading = {"batch_size": args.batch_size, "num_workers": args.workers}
    return (
        torch.utils.data.DataLoader(train, shuffle=True, **loading),
        torch.utils.data.DataLoader(valid, **loading),
    )


def laid_out(images: torch.Tensor, *, tuned: bool) -> torch.Tensor:
    """(B, 3, H, W) as it is, or in channels_last."""
    return images.to(memory_format=torch.channels_last) if tuned else images


class Clock:
    """Images per second of each epoch's training; passes over held-out images do not count."""

    def __init__(self) -> None:
        self.speeds: list[float] = []

    def start(self) -> None:
        """An epoch begins: its loader too has yet to start."""
        self.num_images = 0
        self.started = time.perf_counter()

    def count(self, num_images: int) -> None:
        """A step has been made."""
        self.num_images += num_images

    def stop(self) -> None:
        """The epoch's last step has been made."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.speeds.append(self.num_images / (time.perf_counter() - self.started))


def report(clock: Clock, accuracy: float) -> None:
    """The line of JSON that benchmarks.peers reads."""
    print(json.dumps({"images_per_s": clock.speeds, "accuracy": accuracy}), flush=True)
