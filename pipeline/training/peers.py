"""Processes that train one fold together: each has its share of every batch, and all have the same weights.

The gradients' sum is the whole batch's gradient, whichever share is larger, so that optimiser, schedule, averaged
weights, clipping and loss scale, which come after it, are the same on each. One flat sum a step instead of torch's
DistributedDataParallel: that one orders its buckets anew after its first step, and a sum of three or more depends on
where in a bucket it lies, so that a run that was resumed would round otherwise than one that was not.
"""

import contextlib
import datetime
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipeline.base import console
from pipeline.loop.batches import Wanted
from pipeline.loop.device import device_named
from pipeline.loop.engine import BatchSource
from pipeline.loop.epoch_meter import BatchResults
from pipeline.loop.streams import seed_torch
from pipeline.training.joint_norm import join_norms
from pipeline.training.launch import LOST_PEER, RANK, RENDEZVOUS, PeerLostError, among_peers, end_with_launcher

PATIENCE = datetime.timedelta(minutes=30)  # for the slowest to join in; a process that died is noticed at once
POLL_S = 0.01


@dataclass(frozen=True)
class Peers:
    """The processes of one fold, and which of them this is; as the loop's `Ranks`."""

    rank: int
    number: int
    device: torch.device
    store: dist.Store

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def share(self, num_images: int) -> slice:
        """Of a batch; shares differ by one image at most."""
        return slice(num_images * self.rank // self.number, num_images * (self.rank + 1) // self.number)

    def joined(self, results: BatchResults, num_images: int, gradients: Sequence[Tensor]) -> BatchResults:
        """The results of all, in the order of the batch; each of the gradients becomes its sum over all."""
        assert results.losses is not None and results.correct is not None
        own = torch.cat([results.probs, results.losses[:, None], results.correct[:, None].float()], dim=1)
        rows = own.new_zeros(num_images, own.shape[1])
        rows[self.share(num_images)] = own  # a sum with zeros is exact
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), rows.flatten()])
        with among_peers():
            dist.all_reduce(flat)
        *sums, rows = flat.split([*(gradient.numel() for gradient in gradients), rows.numel()])
        for gradient, found in zip(gradients, sums, strict=True):
            gradient.copy_(found.view(gradient.shape))
        rows = rows.view(num_images, -1)
        return BatchResults(rows[:, :-2], rows[:, -2], rows[:, -1])

    def join(self, network: nn.Module, *, smallest: int) -> None:
        """Make ready to train it together: weights and buffers of all become the first's, batch norms one.

        smallest: images of the smallest batch. Raises ValueError where these are fewer than processes.
        """
        if smallest < self.number:
            raise ValueError(
                f"compute.ranks is {self.number}, but the smallest batch of this fold has {smallest} images (batches "
                f"are as even as they can be); set compute.ranks to {smallest} at most, or another train.batch_size"
            )
        join_norms(network)
        for tensor in (*network.parameters(), *network.buffers()):
            flat = tensor.detach().flatten().clone()
            with among_peers():
                dist.broadcast(flat, src=0)
            tensor.detach().copy_(flat.view(tensor.shape))

    def wanted(self, partners: Wanted | None = None) -> Wanted:
        """For `Batches`: this process's own images; behind them, where images are mixed, the `partners` of these."""

        def own(step: int, num_images: int) -> np.ndarray:
            positions = np.arange(num_images)[self.share(num_images)]
            return positions if partners is None else np.concatenate([positions, partners(step, num_images)[positions]])

        return own

    def with_own_draws(self, batches: BatchSource, key: tuple[int, int, int], *, first: int) -> BatchSource:
        """key: seed, fold and epoch; first: the number of the first batch in it."""
        return OwnDraws(batches, key, first, self.rank)

    def told(self, key: str, text: str) -> str:
        """What the first says under this key, which is used once; others wait for it."""
        with among_peers():
            if self.first:
                self.store.set(key, text)
            return self.store.get(key).decode()

    def end(self) -> None:
        """Wait until all have come here: who left earlier could break what the others are still about."""
        with among_peers():
            self.store.add("ended", 1)
            while self.store.add("ended", 0) < self.number:
                time.sleep(POLL_S)


class OwnDraws:
    """Batches, before each of which torch's generator is set by its key, the step and the rank.

    So dropout differs between shares, and a run that is resumed from the first one's state goes on as it would have.
    """

    def __init__(self, batches: BatchSource, key: tuple[int, int, int], first: int, rank: int) -> None:
        self.batches, self.key, self.first, self.rank = batches, key, first, rank
        self.num_images = batches.num_images

    def __iter__(self) -> Iterator[Any]:
        for step, batch in enumerate(self.batches, start=self.first):
            seed_torch("rank", *self.key, step, self.rank)
            yield batch


@contextlib.contextmanager
def peers(number: int, device: str) -> Iterator[Peers]:
    """Among the `number` processes that `launch` started, of which this is one.

    device: as params.yaml names it. Ends the process, with a code for `launch`, where another one was lost. Raises
    ValueError where there are not as many devices.
    """
    rank = int(os.environ[RANK])
    end_with_launcher()
    own = _own_device(rank, number, device)
    try:
        with among_peers():
            store = dist.FileStore(os.environ[RENDEZVOUS], number)
            store.set_timeout(PATIENCE)
            dist.init_process_group(
                "nccl" if own.type == "cuda" else "gloo", store=store, rank=rank, world_size=number, timeout=PATIENCE
            )
        joined = Peers(rank, number, own, store)
        yield joined
        joined.end()
        dist.destroy_process_group()
    except PeerLostError as error:
        Path(f"{os.environ[RENDEZVOUS]}.{rank}").write_text(str(error), encoding="utf-8")
        raise SystemExit(LOST_PEER) from None
    except KeyboardInterrupt:
        raise SystemExit(console.INTERRUPTED) from None  # said once, by who started us


def _own_device(rank: int, number: int, name: str) -> torch.device:
    device = device_named(name)
    if device.type == "cpu":
        return device
    if device.type != "cuda" or name not in ("auto", "cuda"):
        raise ValueError(
            f"compute.ranks is {number}, but compute.device {name} is one device, {device}; set compute.ranks to 1, or "
            "compute.device to cuda or cpu"
        )
    count = torch.cuda.device_count()
    if count < number:
        raise ValueError(
            f"compute.ranks is {number}, a device each, but {count} CUDA devices are visible; set compute.ranks to "
            f"{count}, or compute.device to cpu"
        )
    own = device_named(f"cuda:{rank}")
    torch.cuda.set_device(own)
    return own
