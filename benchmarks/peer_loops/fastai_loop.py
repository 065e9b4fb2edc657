"""fastai: ImageDataLoaders.from_folder and Learner.fit_one_cycle."""

from functools import partial

import torch
from fastai.vision.all import (
    AMPMode,
    Callback,
    ChannelsLast,
    CropPad,
    CrossEntropyLossFlat,
    FlipItem,
    ImageDataLoaders,
    Learner,
    MixedPrecision,
    Normalize,
    OptimWrapper,
    RandomCrop,
    accuracy,
)

from benchmarks.peer_loops import common


class Timer(Callback):
    """The clock around the training part of an epoch."""

    def __init__(self, clock: common.Clock) -> None:
        self.clock = clock

    def before_train(self) -> None:
        """Before the loader's iterator is made."""
        self.clock.start()

    def after_batch(self) -> None:
        """After a step, or a held-out batch."""
        if self.training:
            self.clock.count(len(self.xb[0]))

    def after_train(self) -> None:
        """Before the held-out pass."""
        self.clock.stop()


class MixedPrecisionHere(MixedPrecision):
    """fastai's callback, on the device the model is on: its own opens autocast for CUDA alone."""

    def before_fit(self) -> None:
        """Replace the context, keep the rest."""
        super().before_fit()
        self.autocast = torch.autocast(self.dls.device.type, dtype=torch.bfloat16)


def main() -> None:
    """Train and report."""
    args = common.parse_args()
    loaders = ImageDataLoaders.from_folder(
        args.images,
        train="train",
        valid="valid",
        bs=args.batch_size,
        val_bs=args.batch_size,
        num_workers=args.workers,
        item_tfms=[CropPad(common.SIZE + 2 * common.PADDING), RandomCrop(common.SIZE), FlipItem()],
        batch_tfms=[Normalize.from_stats(args.mean, args.std)],
    )
    sgd = partial(OptimWrapper, opt=torch.optim.SGD, momentum=common.MOMENTUM, nesterov=True)
    clock = common.Clock()
    learner = Learner(
        loaders,
        common.network(args),
        loss_func=CrossEntropyLossFlat(),
        opt_func=sgd,
        metrics=accuracy,
        cbs=[Timer(clock), *([ChannelsLast(), MixedPrecisionHere(AMPMode.BF16)] if args.tuned else [])],
    )
    learner.fit_one_cycle(args.epochs, common.PEAK_LR, pct_start=common.WARMUP, wd=common.WEIGHT_DECAY)
    common.report(clock, learner.recorder.values[-1][-1])


if __name__ == "__main__":
    main()
