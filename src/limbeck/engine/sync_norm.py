"""Batch norm over the images of all processes, on any device."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics are those of the whole batch of all processes.

    On CUDA torch has a fused one (`torch.nn.SyncBatchNorm`); this one also runs on CPUs, where it makes runs on
    several processes give the numbers of one.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the base class's name)
        """Normalise a batch, shape (n, c, ...)."""
        if not self.training or dist.get_world_size() == 1:
            output: Tensor = super().forward(input)
            return output
        images = input.float()
        axes = [0, *range(2, images.dim())]
        own = images.numel() / images.shape[1]
        sums = torch.cat([images.sum(axes), images.square().sum(axes), images.new_tensor([own])])
        total, squares, count = _Total.apply(sums).split([self.num_features, self.num_features, 1])
        mean = total / count
        variance = squares / count - mean.square()
        self._remember(mean.detach(), variance.detach(), float(count.detach()))
        shape = [1, -1] + [1] * (images.dim() - 2)
        normal = (images - mean.view(shape)) * (variance.view(shape).clamp_min(0) + self.eps).rsqrt()
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        result: Tensor = normal.to(input.dtype)
        return result

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: float) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / max(count - 1, 1), share)


def synchronised(module: nn.Module) -> nn.Module:
    """Make every batch norm inside a module one over all processes; weights, names and statistics stay.

    Args:
        module: changed in place, and returned.
    """
    for layer in module.modules():
        if type(layer) is nn.BatchNorm2d:
            # The class alone changes: hooks, taps and references to the layer stay valid.
            layer.__class__ = SyncedBatchNorm
    return module


class _Total(torch.autograd.Function):
    """Sum over processes; the gradient of a sum is summed as well."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        whole = values.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        whole = gradient.clone()
        dist.all_reduce(whole)
        return whole
