"""Lightning: a LightningModule and a Trainer with its default logger, checkpoints and progress bar."""

import argparse
from typing import Any

import lightning
import torch
from torch.nn.functional import cross_entropy
from torchmetrics.classification import MulticlassAccuracy

from benchmarks.peer_loops import common


class Classifier(lightning.LightningModule):
    """ResNet9 with its loss, metric, optimiser and schedule."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__()
        self.network = common.network(args)
        self.tuned = args.tuned
        if self.tuned:
            self.network = self.network.to(memory_format=torch.channels_last)
        self.accuracy = MulticlassAccuracy(common.NUM_CLASSES, average="micro")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, NUM_CLASSES) logits."""
        return self.network(common.laid_out(images, tuned=self.tuned))

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """Loss of a batch."""
        images, targets = batch
        loss = cross_entropy(self(images), targets)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        """Metric of a batch."""
        images, targets = batch
        self.accuracy(self(images), targets)
        self.log("accuracy", self.accuracy)

    def configure_optimizers(self) -> dict[str, Any]:
        """SGD and one cycle, by step."""
        optimizer = common.sgd(self)
        schedule = common.one_cycle(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Timer(lightning.Callback):
    """The clock around the training steps of an epoch; Lightning validates inside the epoch, after them."""

    def __init__(self, clock: common.Clock) -> None:
        self.clock = clock

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Before the loader's iterator is made."""
        self.clock.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Classifier, outputs: Any, batch: list[torch.Tensor], number: int
    ) -> None:
        """After the step."""
        self.clock.count(len(batch[0]))
        if number + 1 == trainer.num_training_batches:
            self.clock.stop()


def main() -> None:
    """Train and report."""
    args = common.parse_args()
    train, valid = common.torchvision_loaders(args)
    clock = common.Clock()
    trainer = lightning.Trainer(
        max_epochs=args.epochs, precision="bf16-mixed" if args.tuned else None, callbacks=[Timer(clock)]
    )
    trainer.fit(Classifier(args), train, valid)
    common.report(clock, trainer.callback_metrics["accuracy"].item())


if __name__ == "__main__":
    main()
