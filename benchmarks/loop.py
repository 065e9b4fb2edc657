"""Images per second of a training epoch: Foldboard's loop, the bare model step, and the tutorial's loop.

All three train the same ResNet9 at the same batch size on the same made-up 32 px images, in turns within one run;
the table gives medians and ratios. Figures of one machine, one day: compare ratios, not numbers.

    python -m benchmarks.loop --width 16
"""

import argparse
import io
import statistics
import time

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import accuracy_score
from torch import nn
from torch.utils.data import DataLoader, Dataset

from pipeline.learning.augment import Augmentation
from pipeline.learning.batches import Batches, store_tensor
from pipeline.learning.device import autocast_dtype, device_named, keep_freed_memory
from pipeline.learning.engine import Mode, run_model
from pipeline.learning.models import Normalised
from pipeline.learning.resnet9 import ResNet9

NUM_CLASSES = 10
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=16, help="of ResNet9; default: %(default)s")
    parser.add_argument("--images", type=int, default=2048, help="an epoch; default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=128, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="turns for each; default: %(default)s")
    parser.add_argument("--policy", default="none", help="none, autoaugment, trivialaugment; default: %(default)s")
    parser.add_argument("--device", default="auto", help="default: %(default)s")
    return parser.parse_args()


def network(width: int, device: torch.device, *, channels_last: bool) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A fresh network on uint8 images, and its optimiser."""
    torch.manual_seed(0)
    model: nn.Module = Normalised(ResNet9(num_classes=NUM_CLASSES, width=width), MEAN, STD).to(device)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=channels_last)


def bare_epoch(args: argparse.Namespace, store: torch.Tensor, targets: torch.Tensor, device: torch.device) -> float:
    """Seconds of forward, backward and step on ready batches in memory: what no loop can beat."""
    model, optimizer = network(args.width, device, channels_last=True)
    dtype = autocast_dtype("auto", device)
    batches = [part.permute(0, 3, 1, 2) for part in store.split(args.batch_size)]
    parts = targets.split(args.batch_size)
    model.train()
    started = time.perf_counter()
    for images, labels in zip(batches, parts, strict=True):
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            logits = model(images)
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def our_epoch(args: argparse.Namespace, store: torch.Tensor, targets: torch.Tensor, device: torch.device) -> float:
    """Seconds of run_model in TRAIN with crop, flip and cutout (and `--policy`)."""
    model, optimizer = network(args.width, device, channels_last=True)
    transform = Augmentation(crop_padding=4, flip=True, cutout=8, policy=args.policy)
    rows = np.random.default_rng(0).permutation(len(store))
    labels = targets.cpu().numpy()[rows]
    batches = Batches(store, rows, labels, batch_size=args.batch_size, device=device, transform=transform)
    return run_model(
        model, batches, Mode.TRAIN, device=device, optimizer=optimizer, dtype=autocast_dtype("auto", device)
    ).seconds


class Files(Dataset):
    """The tutorial's dataset: encoded files opened with PIL, torchvision transforms one image at a time."""

    def __init__(self, store: torch.Tensor, targets: torch.Tensor) -> None:
        from torchvision import transforms

        self.files = []
        for pixels in store.cpu().numpy():
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, format="PNG")
            self.files.append(stream.getvalue())
        self.targets = targets.tolist()
        self.transform = transforms.Compose(
            [
                transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(io.BytesIO(self.files[row])).convert("RGB")), self.targets[row]


def tutorial_epoch(args: argparse.Namespace, files: Files, device: torch.device, workers: int) -> float:
    """Seconds of the loop this project grew out of: float32, NCHW, two waits for the device at every batch."""
    torch.manual_seed(0)
    model = ResNet9(num_classes=NUM_CLASSES, width=args.width).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loader = DataLoader(files, batch_size=args.batch_size, shuffle=True, num_workers=workers)
    model.train()
    started = time.perf_counter()
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        accuracy_score(labels.cpu().numpy(), logits.argmax(dim=1).cpu().numpy())
    return time.perf_counter() - started


def main() -> None:
    """Measure in turns, print the table."""
    args = parse_args()
    keep_freed_memory()
    device = device_named(args.device)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (args.images, 32, 32, 3), generator=generator, dtype=torch.uint8)
    store = store_tensor(pixels.numpy(), device)
    targets = (torch.arange(args.images) % NUM_CLASSES).to(device)
    files = Files(pixels, targets)

    runs = {
        "bare model step": lambda: bare_epoch(args, store, targets, device),
        "Foldboard": lambda: our_epoch(args, store, targets, device),
        "tutorial loop, 0 workers": lambda: tutorial_epoch(args, files, device, 0),
        "tutorial loop, 2 workers": lambda: tutorial_epoch(args, files, device, 2),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(args.rounds + 1):
        for name, run in runs.items():
            took = run()
            if turn:  # the first turn warms up
                seconds[name].append(took)

    print(
        f"ResNet9 width {args.width}, batch {args.batch_size}, {args.images} images of 32 px, policy {args.policy}, "
        f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, median of {args.rounds}"
    )
    ours = statistics.median(seconds["Foldboard"])
    print(f"{'':28}{'images/s':>10}{'Foldboard is':>16}")
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{name:28}{args.images / median:10,.0f}{median / ours:13.2f} x")


if __name__ == "__main__":
    main()
