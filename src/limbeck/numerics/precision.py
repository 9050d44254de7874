"""Arithmetic in float32 or better, whatever precision the networks run in."""

from __future__ import annotations

import torch
from torch import Tensor


def promoted(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in their common precision, at least float32.

    Half precision has too few digits for softmax, distances and transport; float64 stays float64, so that
    gradients can be checked.

    Example:
        >>> [t.dtype for t in promoted(torch.zeros(1, dtype=torch.bfloat16), torch.zeros(1))]
        [torch.float32, torch.float32]
    """
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return tuple(tensor.to(dtype) for tensor in tensors)


def no_autocast(tensor: Tensor) -> torch.autocast:
    """A context in which matrix products keep the precision of their inputs, on the tensor's device."""
    return torch.autocast(device_type=tensor.device.type, enabled=False)
