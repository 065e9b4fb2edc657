"""The contenders of benchmarks/league.py: each trains from random weights for so many CPU seconds, in its own way.

A contender is a process of its own that reads `--images`/train/CLASS/ and `--images`/valid/CLASS/, chooses how many
epochs fit into `--budget` from a speed that it measures, trains, predicts the held-out images, and ends with one line
of JSON. The clock is the process's CPU time: imports, reading and training count, the measuring of the speed and the
peers' predicting do not. Ours counts its predicting too, for the budget of its recipe does.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pipeline.base import allocator

if __name__ == "__main__" and "ours" in sys.argv:
    allocator.restart()  # as the stages train and infer do; before torch is imported

import numpy as np
import torch
from PIL import Image

from pipeline.commands.inspection import MAX_PROBES, SURELY
from pipeline.commands.suggestion import Facts, Speed, network_for, suggested_recipe
from pipeline.images.decode import decode_image
from pipeline.training.fold import FoldData

SHIPPED = Path(__file__).resolve().parents[2] / "params.yaml"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels
MANY = 100_000
MEASURED_S = 5.0  # of CPU time, at least
NUM_LOOKED_AT = 200  # images whose size is read
STOCK_STEM_FROM = 40  # pixels: for smaller images Lightning's tutorial changes the first layers


@dataclass(frozen=True)
class Trained:
    """What a contender's training gives."""

    network: torch.nn.Module
    accuracy: Callable[[], float]  # of the held-out images
    recipe: str  # in words


# of one epoch or more, of so many images each (drawn anew for each epoch where they are not all), from random weights
Train = Callable[[int, int], Trained]


def main() -> None:
    """Train and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peer_loops.from_scratch", description=__doc__)
    parser.add_argument("contender", choices=("ours", *PEERS))
    parser.add_argument("--images", type=Path, required=True, help="folder with train/CLASS/ and valid/CLASS/")
    parser.add_argument("--budget", type=float, required=True, help="CPU seconds")
    parser.add_argument("--side", type=int, help="of the peers' images, pixels; default: the files' own")
    parser.add_argument("--num-folds", type=int, required=True, help="of which this is one, for our recipe")
    args = parser.parse_args()
    started = time.time()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    if args.contender == "ours":
        found = _ours(args.images, args.budget, args.num_folds)
    else:
        side = args.side or own_side(args.images)
        found = _peer(PEERS[args.contender](args.images, side), args.images, args.budget, side)
    line = json.dumps(found | {"wall_s": round(time.time() - started, 1)})
    print(f"\n{line}", flush=True)  # fastai's progress bar ends no line


def _peer(train: tuple[Train, int], images: Path, budget_s: float, side: int) -> dict[str, Any]:
    from benchmarks.ingredients import forward_flop

    fit, batch_size = train
    before = time.process_time()
    image_s = _measured(fit, batch_size)
    measuring_s = time.process_time() - before
    num_train = sum(1 for _ in images.glob("train/*/*"))
    left_s = budget_s + measuring_s - time.process_time()
    epochs, each = epochs_within(left_s / image_s, num_train, batch_size)
    trained = fit(epochs, each)
    cpu_s = time.process_time() - measuring_s
    return {
        "accuracy": trained.accuracy(), "epochs": round(epochs * each / num_train, 2), "cpu_s": round(cpu_s, 1),
        "measuring_s": round(measuring_s, 1), "side": side, "recipe": trained.recipe,
        "pflop": round(3e-15 * forward_flop(trained.network, side) * epochs * each, 4),
    }  # fmt: skip


def epochs_within(num_images: float, num_train: int, batch_size: int) -> tuple[int, int]:
    """(epochs, images an epoch): as many images as are affordable, less than a batch an epoch left over.

    The fewest epochs; each is cut to whole batches where they are not all of `num_train`, so that a schedule fits any
    budget, also one of less than an epoch. Raises ValueError where not even a batch is affordable.
    """
    batch = min(batch_size, num_train)
    if num_images < batch:
        raise ValueError(f"the budget is enough for {num_images:.0f} images, a batch has {batch}: give more minutes")
    epochs = min(math.ceil(num_images / num_train), int(num_images // batch))
    each = int(num_images / epochs)
    return epochs, num_train if each >= num_train else each // batch * batch


def _measured(fit: Train, batch_size: int) -> float:
    """CPU seconds that an image takes in training, reading included; what is there once a training is left out."""
    fit(1, batch_size)  # the first steps are slower
    once, more = _cpu_seconds(fit, 1, batch_size), 1
    while (taken := _cpu_seconds(fit, 1 + more, batch_size) - once) < MEASURED_S:
        more *= min(8, max(2, math.ceil(MEASURED_S / max(taken, 0.1))))
    return taken / (more * batch_size)


def _cpu_seconds(fit: Train, epochs: int, each: int) -> float:
    before = time.process_time()
    fit(epochs, each)
    return time.process_time() - before


def own_side(images: Path) -> int:
    """Median shorter side of the training files, pixels."""
    files = sorted(images.glob("train/*/*"))
    return int(statistics.median(min(Image.open(file).size) for file in files[:: max(1, len(files) // NUM_LOOKED_AT)]))


# -- timm: the parts of its script train.py (which no package holds), with the script's defaults


def _timm(images: Path, side: int, *, bf16: bool = False) -> tuple[Train, int]:
    from timm import create_model
    from timm.data import create_dataset, create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2

    batch_size, cpu = 128, torch.device("cpu")
    warmup: Any = 5 / 300  # of all epochs, as of the script's
    num_classes = len(list((images / "train").iterdir()))
    autocast = partial(torch.autocast, "cpu", dtype=torch.bfloat16, enabled=bf16)

    def loader(split: str, count: int | None) -> Any:
        dataset = create_dataset("", root=str(images), split=split, is_training=count is not None)
        found = create_loader(
            dataset, input_size=(3, side, side), batch_size=batch_size, is_training=count is not None, device=cpu,
            num_workers=0, persistent_workers=False, interpolation="random" if count else "bicubic", crop_pct=0.95,
            mean=MEAN, std=STD,
        )  # fmt: skip
        if count is not None and count < len(dataset):
            _draw(found.loader, count)
        return found

    def fit(epochs: int, each: int) -> Trained:
        model = create_model("resnet18", num_classes=num_classes)
        optimizer = create_optimizer_v2(model, "sgd", lr=0.1 * batch_size / 256, weight_decay=2e-5, momentum=0.9)
        batches = loader("train", each)
        schedule, _ = create_scheduler_v2(
            optimizer, "cosine", num_epochs=epochs, warmup_epochs=warmup * epochs, warmup_lr=1e-5, min_lr=0,
            step_on_epochs=False, updates_per_epoch=len(batches),
        )  # fmt: skip
        loss_of = LabelSmoothingCrossEntropy(0.1)
        model.train()
        updates = 0
        for _ in range(epochs):
            for pixels, targets in batches:
                with autocast():
                    loss = loss_of(model(pixels), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                updates += 1
                schedule.step_update(num_updates=updates)
        recipe = "resnet18, random resized crop, flip, colour jitter, SGD 0.05, cosine, smoothing 0.1, batch 128"
        return Trained(model, lambda: _accuracy(model, loader("valid", None), autocast), recipe)

    return fit, batch_size


def _draw(loader: Any, count: int) -> None:
    """Let an epoch be `count` images, drawn anew each time without replacement."""
    loader.batch_sampler.sampler = torch.utils.data.RandomSampler(loader.dataset, num_samples=count)


def _accuracy(model: torch.nn.Module, batches: Any, autocast: Any) -> float:
    model.eval()
    num_correct = num_images = 0
    for pixels, targets in batches:
        with torch.no_grad(), autocast():
            predicted = model(pixels).argmax(dim=1)
        num_correct += int((predicted == targets).sum())
        num_images += len(targets)
    return num_correct / num_images


# -- fastai: what its documentation shows for training from scratch


def _fastai_loaders(images: Path, side: int, item: list[Any], batch: list[Any]) -> Any:
    from fastai.vision.all import ImageDataLoaders

    return ImageDataLoaders.from_folder(
        images, train="train", valid="valid", item_tfms=item, batch_tfms=batch, bs=64, num_workers=0,
        device=torch.device("cpu"),
    )  # fmt: skip


def _fastai(learner: Callable[[Any], Any], schedule: Callable[[Any, int], None], loaders: Any, recipe: str) -> Train:
    from fastai.vision.all import Callback, CancelValidException

    class NotNow(Callback):
        def before_validate(self) -> None:
            """The held-out images are predicted once, after training."""
            raise CancelValidException

    def fit(epochs: int, each: int) -> Trained:
        loaders.train.n = each
        loaders.train.get_idxs = lambda: torch.randperm(len(loaders.train.dataset))[:each].tolist()
        made = learner(loaders)
        with made.no_bar(), made.no_logging(), made.added_cbs(NotNow()):
            schedule(made, epochs)
        return Trained(made.model, lambda: float(made.validate()[1]), recipe)

    return fit


def _fastai_resnet18(images: Path, side: int) -> tuple[Train, int]:
    from fastai.vision.all import Resize, accuracy, aug_transforms, resnet18, vision_learner

    return _fastai(
        lambda loaders: vision_learner(loaders, resnet18, pretrained=False, metrics=accuracy),
        lambda learner, epochs: learner.fit_one_cycle(epochs),
        _fastai_loaders(images, side, [Resize(side)], aug_transforms()),
        "vision_learner(resnet18, pretrained=False), aug_transforms(), fit_one_cycle at its 0.001, Adam, batch 64",
    ), 64


def _fastai_xresnet18(images: Path, side: int) -> tuple[Train, int]:
    from fastai.vision.all import (
        FlipItem,
        LabelSmoothingCrossEntropy,
        Learner,
        Mish,
        Normalize,
        RandomResizedCrop,
        accuracy,
        imagenet_stats,
        ranger,
        xresnet18,
    )

    num_classes = len(list((images / "train").iterdir()))
    return _fastai(
        lambda loaders: Learner(
            loaders, xresnet18(n_out=num_classes, act_cls=Mish), loss_func=LabelSmoothingCrossEntropy(),
            opt_func=partial(ranger, mom=0.9, sqr_mom=0.99, eps=1e-6, beta=0.0), metrics=accuracy,
        ),
        lambda learner, epochs: learner.fit_flat_cos(epochs, 1e-2, wd=1e-2),
        _fastai_loaders(
            images, side, [RandomResizedCrop(side, min_scale=0.35), FlipItem(0.5)],
            [Normalize.from_stats(*imagenet_stats)],
        ),
        "its train_imagenette.py with xresnet18: Mish, crops from 0.35, flip, ranger 0.01, flat then cosine, batch 64",
    ), 64  # fmt: skip


# -- Lightning: its tutorial "CIFAR10 ~94% baseline"


def _lightning(images: Path, side: int, *, bf16: bool = False) -> tuple[Train, int]:
    import lightning
    from torch.nn import functional as F
    from torchvision import datasets, models, transforms

    batch_size = 64  # the tutorial's without a GPU
    ready = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    sized = [transforms.Resize((side, side))] if side != own_side(images) else []
    light = [transforms.RandomCrop(side, padding=side // 8), transforms.RandomHorizontalFlip()]
    train = datasets.ImageFolder(str(images / "train"), transforms.Compose([*sized, *light, *ready]))
    valid = datasets.ImageFolder(str(images / "valid"), transforms.Compose([*sized, *ready]))
    small = side < STOCK_STEM_FROM

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = models.resnet18(weights=None, num_classes=len(train.classes))
            if small:
                self.model.conv1 = torch.nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
                self.model.maxpool = torch.nn.Identity()

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            """(B, 3, S, S) -> (B, C) logarithms of probabilities."""
            return F.log_softmax(self.model(pixels), dim=1)

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            """Loss of a batch."""
            return F.nll_loss(self(batch[0]), batch[1])

        def configure_optimizers(self) -> dict[str, Any]:
            """SGD and one cycle, by step."""
            optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
            steps = int(self.trainer.estimated_stepping_batches)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def fit(epochs: int, each: int) -> Trained:
        sampler = torch.utils.data.RandomSampler(train, num_samples=min(each, len(train)))
        with tempfile.TemporaryDirectory() as folder:
            trainer = lightning.Trainer(
                max_epochs=epochs, accelerator="cpu", precision="bf16-mixed" if bf16 else None, logger=False,
                enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                default_root_dir=folder,
            )  # fmt: skip
            model = Classifier()
            trainer.fit(model, torch.utils.data.DataLoader(train, batch_size=batch_size, sampler=sampler))
        held_out = torch.utils.data.DataLoader(valid, batch_size=batch_size)
        autocast = partial(torch.autocast, "cpu", dtype=torch.bfloat16, enabled=bf16)
        stem = "3x3 stem without pooling" if small else "stock stem"
        recipe = f"torchvision's resnet18 with {stem}, padded crop, flip, SGD, one cycle to 0.1, batch 64"
        return Trained(model, lambda: _accuracy(model, held_out, autocast), recipe)

    return fit, batch_size


# -- ours: what `python -m pipeline inspect --recipe` suggests, for any budget, on one core


def _ours(images: Path, budget_s: float, num_folds: int) -> dict[str, Any]:
    from benchmarks.ingredients import recipe_of, trained

    allocator.keep_freed_memory()
    files = [sorted(images.glob(f"{part}/*/*")) for part in ("train", "valid")]
    labels = [[unquote(file.parent.name) for file in part] for part in files]
    facts = Facts(
        num_train=len(files[0]) + len(files[1]), side=own_side(images), classes=sorted(set(labels[0])),
        metric="accuracy", several=False, num_folds=num_folds, budget_s=num_folds * budget_s,
    )  # fmt: skip
    speed, folds, measuring_s = Speed(gpu=False, network=network_for(facts)), {}, 0.0
    for _ in range(MAX_PROBES + 1):
        suggested, seconds = suggested_recipe(facts, speed)
        side, width = suggested["images"]["side"], suggested["model"]["width"]
        changes = {f"{part}.{key}": value for part, keys in suggested.items() for key, value in keys.items()}
        recipe = recipe_of(SHIPPED, {key: value for key, value in changes.items() if key != "images.side"})
        if side not in folds:
            folds[side] = _our_fold(files, labels, side)
        if speed.measured(side, width) or seconds < SURELY * facts.budget_s:
            break
        before = time.process_time()
        speed.learn(side, width, _our_speed(folds[side], recipe))
        measuring_s += time.process_time() - before
    found = trained(folds[side], recipe)
    shown = ", ".join(f"{key} {value}" for key, value in changes.items())
    return {
        "accuracy": found["accuracy"], "epochs": recipe["train"].epochs, "pflop": found["pflop"], "side": side,
        "cpu_s": round(time.process_time() - measuring_s, 1), "measuring_s": round(measuring_s, 1), "recipe": shown,
    }  # fmt: skip


def _our_fold(files: list[list[Path]], labels: list[list[str]], side: int) -> tuple[FoldData, np.ndarray]:
    store = np.stack([decode_image(file.read_bytes(), side, "squash").pixels for part in files for file in part])
    classes = sorted(set(labels[0]))
    rows = np.arange(len(store))
    fold = FoldData(
        fold="0", store=torch.from_numpy(store), train_rows=rows[: len(files[0])], valid_rows=rows[len(files[0]) :],
        targets=np.array([classes.index(label) for part in labels for label in part]), target_kind="single_label",
        num_classes=len(classes),
    )  # fmt: skip
    return fold, store


class _EnoughError(Exception):
    """What was to be timed is timed."""


def _our_speed(data: tuple[FoldData, np.ndarray], recipe: dict[str, Any]) -> float:
    """Images that training takes in a CPU second."""
    from benchmarks.ingredients import trained

    fold, store = data
    train = dataclasses.replace(recipe["train"], epochs=MANY, valid_every=MANY)  # until the clock ends it
    few = dataclasses.replace(fold, train_rows=fold.train_rows[: 4 * train.batch_size], valid_rows=fold.valid_rows[:2])
    marks = []

    def clock(*_: Any) -> None:
        marks.append(time.process_time())
        if marks[-1] - marks[0] > MEASURED_S:
            raise _EnoughError

    with contextlib.suppress(_EnoughError):
        trained((few, store), recipe | {"train": train}, report=clock)
    return len(few.train_rows) * (len(marks) - 1) / (marks[-1] - marks[0])


PEERS: dict[str, Callable[[Path, int], tuple[Train, int]]] = {
    "timm": _timm,
    "timm bf16": partial(_timm, bf16=True),
    "fastai": _fastai_resnet18,
    "fastai xresnet18": _fastai_xresnet18,
    "lightning": _lightning,
    "lightning bf16": partial(_lightning, bf16=True),
}

if __name__ == "__main__":
    main()
