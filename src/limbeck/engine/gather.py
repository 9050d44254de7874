"""The whole batch of all processes, for losses that relate its samples to each other."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def gathered(part: Tensor) -> Tensor:
    """This process's samples and those of all others, in the order of the batch; differentiable.

    Every process then computes the same value of the whole batch. In the backward pass the gradients of all
    processes are added up, and since gradients of weights are averaged over processes afterwards, each weight gets
    the gradient that one process with the whole batch would have computed.

    Args:
        part: the own samples, shape (n, ...); n may differ between processes.

    Returns:
        Shape (N, ...), N over all processes; `part` itself where there is one process.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return part
    whole: Tensor = _Gather.apply(part)
    return whole


def gathered_objects(part: list[Any]) -> list[Any]:
    """The lists of all processes one after the other, in every process; they travel pickled among themselves.

    Args:
        part: this process's.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return part
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, part)
    return [one for found in parts for one in found]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        count = torch.tensor([len(part)], device=part.device)
        counts = [torch.zeros_like(count) for _ in range(dist.get_world_size())]
        dist.all_gather(counts, count)
        sizes = [int(c) for c in counts]
        # Collectives want equal shapes; parts of one batch differ by one sample at most.
        padding = [0, 0] * (part.dim() - 1) + [0, max(sizes) - len(part)]
        padded = F.pad(part, padding).contiguous()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        ctx.first, ctx.size = sum(sizes[: dist.get_rank()]), len(part)
        return torch.cat([p[:size] for p, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        whole = gradient.contiguous()
        dist.all_reduce(whole)
        return whole[ctx.first : ctx.first + ctx.size]
