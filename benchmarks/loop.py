"""Images per second of a pass: Foldboard's loop, the bare model step, and the loop of the tutorial it grew out of.

All train the same ResNet9 at the same batch size on the same made-up 32 px JPEG files. Each runs in a process of its
own, with the settings its user would have (the bare step and Foldboard with Foldboard's glibc settings, the tutorial
with glibc as it comes), started once; they take turns, and all others wait. The first turn of each warms up.

- bare model step: forward, backward and optimiser on ready batches in memory, in Foldboard's precision and memory
  order; in VALID and TEST the forward pass alone. No loop can beat it.
- Foldboard: `run_model` on the uint8 store, with crop, flip and cutout; and with AutoAugment before them. Off the CPU
  also with the store mapped from disk, as one that does not fit onto the device.
- tutorial: DataLoader over PIL and torchvision, float32, NCHW, two waits for the device and scikit-learn's
  accuracy at each batch. TRAIN has AutoAugment; VALID and TEST go through the same dataset without it (`--held-out
  augmented`: with it, as where one transform serves all) and build the graph for gradients, which the tutorial never
  turns off.

The ratio is the median, over rounds, of Foldboard's images/s by those of the contender in the same round (`of bare`:
by those of the bare step). Figures of one machine, one day: compare ratios, not numbers.

    python -m benchmarks.loop --width 16
    python -m benchmarks.loop --width 64 --batch-size 512 --images 50000 --modes train    # on a GPU
"""

import argparse
import contextlib
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import accuracy_score
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.made_up import NUM_CLASSES, write_competition
from pipeline.base import allocator
from pipeline.loop.batches import Batches, store_tensor
from pipeline.loop.device import autocast_dtype, device_named, memory_format, set_tf32
from pipeline.loop.engine import Mode, Stepper, run_model
from pipeline.models.networks import Normalised
from pipeline.models.resnet9 import ResNet9
from pipeline.training.augment import Augmentation

SIZE = 32
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
BARE, OURS, OURS_AUTOAUGMENT = "bare model step", "Foldboard", "Foldboard, autoaugment"
OURS_MAPPED = "Foldboard, store on disk"
WORKERS = {"tutorial, 0 workers": 0, "tutorial, 2 workers": 2}

Pass = Callable[[Mode], object]  # one pass over all images


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=16, help="of ResNet9; default: %(default)s")
    parser.add_argument("--images", type=int, default=1024, help="a pass; default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=128, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="turns for each; default: %(default)s")
    parser.add_argument("--device", default="auto", help="default: %(default)s")
    parser.add_argument("--modes", nargs="+", type=Mode, default=list(Mode), help="train valid test; default: all")
    parser.add_argument(
        "--cudnn-benchmark", action="store_true", help="let cuDNN try its algorithms, for all contenders"
    )
    parser.add_argument("--held-out", choices=("plain", "augmented"), default="plain", help="in the tutorial")
    return parser.parse_args()


def read_pixels(folder: Path) -> torch.Tensor:
    """(N, S, S, 3) uint8: the files of `folder`, in order of their names."""
    return torch.from_numpy(np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]))


def read_labels(folder: Path) -> torch.Tensor:
    """(N,) int64."""
    return torch.arange(len(list(folder.iterdir()))) % NUM_CLASSES


def our_network(args: argparse.Namespace, device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A network on uint8 images and its optimiser, as Foldboard makes them."""
    network = Normalised(ResNet9(num_classes=NUM_CLASSES, width=args.width), MEAN, STD)
    model = network.to(device).to(memory_format=memory_format(device))
    fused = device.type != "mps"
    return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=fused)


def bare(args: argparse.Namespace, folder: Path) -> Pass:
    """The model alone."""
    device = device_named(args.device)
    set_tf32("auto", device)
    model, optimizer = our_network(args, device)
    dtype = autocast_dtype("auto", device)
    images = read_pixels(folder).to(device).permute(0, 3, 1, 2).contiguous(memory_format=memory_format(device))
    batches = images.split(args.batch_size)
    targets = read_labels(folder).to(device).split(args.batch_size)

    def logits_of(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            return model(images)

    def one_pass(mode: Mode) -> None:
        model.train(mode is Mode.TRAIN)
        if mode is not Mode.TRAIN:
            with torch.inference_mode():
                for images in batches:
                    logits_of(images)
            return
        for images, labels in zip(batches, targets, strict=True):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(logits_of(images).float(), labels).backward()
            optimizer.step()

    return one_pass


def ours(args: argparse.Namespace, folder: Path, *, policy: str, mapped: bool) -> Pass:
    """`run_model`, from the store to the outcome."""
    device = device_named(args.device)
    set_tf32("auto", device)
    model, optimizer = our_network(args, device)
    pixels, labels = read_pixels(folder).numpy(), read_labels(folder).numpy()
    store = torch.from_numpy(on_disk(pixels, folder.parent)) if mapped else store_tensor(pixels, device)

    def one_pass(mode: Mode) -> None:
        training = mode is Mode.TRAIN
        rows = np.random.default_rng(0).permutation(len(store)) if training else np.arange(len(store))
        transform = Augmentation(crop_padding=4, flip=True, cutout=8, policy=policy) if training else None
        targets = None if mode is Mode.TEST else labels[rows]
        batches = Batches(store, rows, targets, batch_size=args.batch_size, device=device, transform=transform)
        dtype = autocast_dtype("auto", device)
        run_model(model, batches, mode, device=device, dtype=dtype, stepper=Stepper(optimizer) if training else None)

    return one_pass


def on_disk(pixels: np.ndarray, folder: Path) -> np.ndarray:
    """The store mapped from a file, as the stages read it."""
    path = folder / "store.npy"
    np.save(path, pixels)
    return np.load(path, mmap_mode="c")


class Files(Dataset):
    """The tutorial's dataset: files opened with PIL, torchvision transforms one image at a time."""

    def __init__(self, folder: Path, *, augmented: bool) -> None:
        from torchvision import transforms

        self.paths = sorted(folder.iterdir())
        self.targets = read_labels(folder).tolist()
        steps = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        if augmented:
            steps.insert(0, transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10))
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(self.paths[row]).convert("RGB")), self.targets[row]


def tutorial(args: argparse.Namespace, folder: Path, workers: int) -> Pass:
    """The loop this project grew out of."""
    device = device_named(args.device)
    model = ResNet9(num_classes=NUM_CLASSES, width=args.width).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss_fn = nn.CrossEntropyLoss()

    def one_pass(mode: Mode) -> None:
        training = mode is Mode.TRAIN
        files = Files(folder, augmented=training or args.held_out == "augmented")
        loader = DataLoader(files, batch_size=args.batch_size, shuffle=training, num_workers=workers)
        model.train(training)
        answers: list[int] = []
        for images, labels in loader:
            logits = model(images.to(device))
            if mode is Mode.TEST:
                answers.extend(logits.argmax(dim=1).cpu().tolist())
                continue
            loss = loss_fn(logits, labels.to(device))
            if training:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            loss.item()
            accuracy_score(labels.numpy(), logits.argmax(dim=1).cpu().numpy())

    return one_pass


def prepared(name: str, args: argparse.Namespace, folder: Path) -> Pass:
    """The contender of this name, in this process."""
    if name in WORKERS:
        return tutorial(args, folder, WORKERS[name])
    allocator.keep_freed_memory()
    if name == BARE:
        return bare(args, folder)
    policy = "autoaugment" if name == OURS_AUTOAUGMENT else "none"
    return ours(args, folder, policy=policy, mapped=name == OURS_MAPPED)


def contenders(args: argparse.Namespace) -> tuple[str, ...]:
    """Who takes part, in order."""
    mapped = () if device_named(args.device).type == "cpu" else (OURS_MAPPED,)
    return (BARE, OURS, OURS_AUTOAUGMENT, *mapped, *WORKERS)


def contend(name: str, args: argparse.Namespace, folder: Path, pipe: Connection, start_method: str) -> None:
    """In a process of its own: a pass for each mode that comes in, its seconds out, until the other end is closed."""
    multiprocessing.set_start_method(start_method, force=True)  # for DataLoader's workers; ours is passed on otherwise
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = args.cudnn_benchmark
    one_pass = prepared(name, args, folder)
    with contextlib.suppress(EOFError):
        while True:
            mode = pipe.recv()
            began = time.perf_counter()
            one_pass(mode)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            pipe.send(time.perf_counter() - began)


def measured(args: argparse.Namespace, folder: Path) -> dict[tuple[str, Mode], list[float]]:
    """Seconds of each contender in each mode, one for each round."""
    names = contenders(args)
    seconds: dict[tuple[str, Mode], list[float]] = {(name, mode): [] for name in names for mode in args.modes}
    with contextlib.ExitStack() as stack:
        pipes = {name: stack.enter_context(started(name, args, folder)) for name in names}
        for turn in range(args.rounds + 1):
            order = names if turn % 2 else names[::-1]  # drift of the machine favours nobody
            for mode, name in itertools.product(args.modes, order):
                pipes[name].send(mode)
                took = pipes[name].recv()
                if turn:  # the first warms up
                    seconds[name, mode].append(took)
    return seconds


def started(name: str, args: argparse.Namespace, folder: Path) -> Connection:
    """Our end of the pipe to a new process of this contender; closing it ends the process."""
    context = multiprocessing.get_context("spawn")  # forked, all would have the settings of the first
    here, there = context.Pipe()
    given = dict(os.environ)
    if name not in WORKERS:
        allocator.set_environment()  # as train does
    context.Process(
        target=contend, args=(name, args, folder, there, multiprocessing.get_start_method()), name=name
    ).start()
    os.environ.clear()
    os.environ.update(given)
    there.close()  # else we would wait for ever for a process that failed
    return here


def table(seconds: dict[tuple[str, Mode], list[float]], args: argparse.Namespace) -> list[str]:
    """A block of lines for each mode."""

    def ratio(name: str, other: str, mode: Mode) -> float:
        """How many times as fast as `other` `name` is."""
        pairs = zip(seconds[other, mode], seconds[name, mode], strict=True)
        return statistics.median(slow / fast for slow, fast in pairs)

    lines = []
    for mode in args.modes:
        lines.append(f"{mode.name:26}{'images/s':>10}{'of bare':>10}{'Foldboard is':>15}")
        for name in contenders(args):
            if name == OURS_AUTOAUGMENT and mode is not Mode.TRAIN:
                continue  # nothing is augmented there
            speed = args.images / statistics.median(seconds[name, mode])
            lines.append(f"{name:26}{speed:10,.0f}{ratio(name, BARE, mode):10.3f}{ratio(OURS, name, mode):13.2f} x")
    return lines


def main() -> None:
    """Make the files, measure in turns, print the table."""
    args = parse_args()
    with tempfile.TemporaryDirectory() as place:
        archive = Path(place, "made_up.zip")
        write_competition(archive, args.images, size=SIZE)
        with zipfile.ZipFile(archive) as handle:
            handle.extractall(place)
        seconds = measured(args, Path(place, "train"))
    print(
        f"ResNet9 width {args.width}, batch {args.batch_size}, {args.images} JPEG images of {SIZE} px, "
        f"{device_named(args.device)}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"median of {args.rounds} rounds, tutorial's held-out images {args.held_out}"
    )
    print("\n".join(table(seconds, args)))


if __name__ == "__main__":
    main()
