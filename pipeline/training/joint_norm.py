"""Batch norms that normalise by the whole batch where each process has a share of it.

torch's SyncBatchNorm takes tensors on a GPU alone (2.14.1), and replaces modules, of which timm has its own.
This is its algorithm by operations that every device has, so that what is tested on CPUs is what runs on GPUs.
"""

import types
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pipeline.training.launch import among_peers


def join_norms(network: nn.Module) -> None:
    """From now on its batch norms take mean and variance over all processes in training; modules and names stay.

    Those that keep the statistics they have (`keep_statistics`) are as before. Raises ValueError for a batch norm that
    does more than normalise, but for timm's, which ends with its activation.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            behind = [name for name, _ in module.named_children()]
            if behind not in ([], ["drop", "act"]):
                raise ValueError(
                    f"compute.ranks is more than 1, and this network has a {type(module).__name__} with {behind}, "
                    "whose statistics cannot be taken over several processes; set compute.ranks to 1"
                )
            module.forward = types.MethodType(_forward, module)  # type: ignore[method-assign]


def _forward(self: Any, x: Tensor) -> Tensor:
    """Of a batch norm; x (B, C, …), at least one value a channel."""
    if not self.training:
        return type(self).forward(self, x)
    mean, variance, count = _statistics(x)
    if self.track_running_stats:
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        with torch.no_grad():
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * (count / (count - 1)), share)  # as torch: of the population
    normed = _Normalise.apply(x, self.weight, self.bias, mean, variance, count, self.eps)
    for layer in self.children():  # timm's dropout and activation
        normed = layer(normed)
    return normed


@torch.no_grad()
def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), variance (C,) and number () of a channel's values, of all processes, float32; the same on each."""
    zeros = torch.zeros(x.shape[1], device=x.device)
    mean, variance = torch.batch_norm_update_stats(x, zeros, torch.ones_like(zeros), 0.0)  # the fused kernel
    own = torch.cat([mean, variance, mean.new_full((1,), x.numel() // x.shape[1])])
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    with among_peers():
        dist.all_gather(parts, own)
    every = torch.stack(parts)
    count = every[:, -1].sum()
    shares = every[:, -1:] / count
    means, variances = every[:, : len(mean)], every[:, len(mean) : -1]
    whole = (shares * means).sum(dim=0)
    return whole, (shares * (variances + (means - whole) ** 2)).sum(dim=0), count


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, with the gradient through mean and variance of all."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, count: Tensor,
        eps: float,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), count)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, count = ctx.saved_tensors
        scale = torch.ones_like(mean) if weight is None else weight
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, scale, None, None, mean, inverse, True, 0.0, [False, True, True]
        )  # the fused kernel: sums over this process's own images
        sums = torch.cat([of_weight, of_bias])
        with among_peers():
            dist.all_reduce(sums)
        along, plain = sums.view(2, -1) / count
        scale = scale * inverse
        slope = -scale * inverse * along
        shift = -scale * plain - slope * mean
        shape = (1, -1, *[1] * (x.ndim - 2))
        of_x = torch.addcmul(torch.addcmul(shift.view(shape), slope.view(shape), x), scale.view(shape), gradient)
        affine = weight is not None
        return of_x.to(x.dtype), of_weight if affine else None, of_bias if affine else None, None, None, None, None
