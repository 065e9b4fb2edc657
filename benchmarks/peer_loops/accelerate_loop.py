"""accelerate: the plain loop of its quick tour, prepared by Accelerator."""

import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy

from benchmarks.peer_loops import common


def main() -> None:
    """Train and report."""
    args = common.parse_args()
    accelerator = Accelerator(mixed_precision="bf16" if args.tuned else None)
    model = common.network(args)
    if args.tuned:
        model = model.to(memory_format=torch.channels_last)
    optimizer = common.sgd(model)
    train, valid = common.torchvision_loaders(args)
    schedule = common.one_cycle(optimizer, args.epochs * len(train))
    model, optimizer, train, valid, schedule = accelerator.prepare(model, optimizer, train, valid, schedule)

    clock = common.Clock()
    for _ in range(args.epochs):
        model.train()
        clock.start()
        for images, targets in train:
            optimizer.zero_grad()
            loss = cross_entropy(model(common.laid_out(images, tuned=args.tuned)), targets)
            accelerator.backward(loss)
            optimizer.step()
            schedule.step()
            clock.count(len(images))
        clock.stop()
        accuracy = held_out_accuracy(accelerator, model, valid, tuned=args.tuned)
    common.report(clock, accuracy)


def held_out_accuracy(
    accelerator: Accelerator, model: torch.nn.Module, valid: torch.utils.data.DataLoader, *, tuned: bool
) -> float:
    """Share of held-out images predicted right."""
    model.eval()
    num_correct = num_images = 0
    for images, targets in valid:
        with torch.no_grad():
            predicted = model(common.laid_out(images, tuned=tuned)).argmax(dim=1)
        predicted, targets = accelerator.gather_for_metrics((predicted, targets))
        num_correct += (predicted == targets).sum().item()
        num_images += len(targets)
    return num_correct / num_images


if __name__ == "__main__":
    main()
