"""timm: its loader, optimiser, scheduler and metrics in the order of its training script.

The script itself, train.py, is in neither timm's wheel nor its source package; only its git repository has it.
"""

import argparse
from contextlib import nullcontext

import torch
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, accuracy
from torchvision import transforms

from benchmarks.peer_loops import common

WARMUP_LR = 1e-5  # the script's default


def loader(args: argparse.Namespace, split: str, device: torch.device) -> torch.utils.data.DataLoader:
    """timm's loader with its prefetcher: uint8 batches, normalised on the device."""
    train = split == "train"
    dataset = create_dataset("", root=str(args.images), split=split, is_training=train)
    found = create_loader(
        dataset,
        input_size=(3, common.SIZE, common.SIZE),
        batch_size=args.batch_size,
        is_training=train,
        no_aug=True,
        mean=tuple(args.mean),
        std=tuple(args.std),
        crop_pct=1.0,
        num_workers=args.workers,
        device=device,
    )
    if train:  # timm has no padded crop: put before its own conversion, as DeiT does for small images
        light = [transforms.RandomCrop(common.SIZE, padding=common.PADDING), transforms.RandomHorizontalFlip()]
        dataset.transform = transforms.Compose([*light, dataset.transform.transforms[-1]])
    return found


def main() -> None:
    """Train and report."""
    args = common.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = common.network(args).to(device)
    if args.tuned:
        model = model.to(memory_format=torch.channels_last)
    autocast = torch.autocast(device.type, dtype=torch.bfloat16) if args.tuned else nullcontext()
    optimizer = create_optimizer_v2(  # "sgd" is Nesterov's
        model, "sgd", lr=common.PEAK_LR, weight_decay=common.WEIGHT_DECAY, momentum=common.MOMENTUM
    )
    train, valid = loader(args, "train", device), loader(args, "valid", device)
    schedule, _ = create_scheduler_v2(
        optimizer,
        num_epochs=args.epochs,
        warmup_lr=WARMUP_LR,
        warmup_epochs=common.WARMUP * args.epochs,
        step_on_epochs=False,
        updates_per_epoch=len(train),
    )
    loss_of = torch.nn.CrossEntropyLoss()

    clock = common.Clock()
    num_updates = 0
    for _ in range(args.epochs):
        model.train()
        clock.start()
        losses = AverageMeter()
        for images, targets in train:
            with autocast:
                loss = loss_of(model(common.laid_out(images, tuned=args.tuned)), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            num_updates += 1
            schedule.step_update(num_updates=num_updates, metric=losses.avg)
            losses.update(loss.item(), len(images))
            clock.count(len(images))
        clock.stop()
        top1 = AverageMeter()
        model.eval()
        for images, targets in valid:
            with torch.no_grad(), autocast:
                logits = model(common.laid_out(images, tuned=args.tuned))
            top1.update(accuracy(logits, targets)[0].item() / 100, len(images))
    common.report(clock, top1.avg)


if __name__ == "__main__":
    main()
