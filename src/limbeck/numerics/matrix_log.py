"""Logarithm of positive definite matrices with a gradient that survives equal eigenvalues."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CLOSE = 1e-5
"""Relative gap of two eigenvalues below which their divided difference is taken at their mean."""


def matrix_log(matrices: Tensor) -> Tensor:
    """Matrix logarithm of symmetric positive definite matrices, shape (n, k, k).

    Differentiating an eigendecomposition divides by gaps between eigenvalues, which a ridge makes zero. Here
    backward uses the divided differences of the logarithm instead (Daleckii and Krein).

    Example:
        >>> matrix_log(torch.eye(2)[None])
        tensor([[[0., 0.],
                 [0., 0.]]])
    """
    return cast(Tensor, _MatrixLog.apply(matrices))


class _MatrixLog(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrices: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrices)
        values = values.clamp_min(torch.finfo(values.dtype).tiny)
        ctx.save_for_backward(values, vectors)
        logarithm: Tensor = (vectors * values.log()[:, None, :]) @ vectors.mT
        return logarithm

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        values, vectors = ctx.saved_tensors
        row, column = values[:, :, None], values[:, None, :]
        gap = row - column
        close = gap.abs() <= CLOSE * torch.maximum(row, column)
        slopes = torch.where(close, 2 / (row + column), (row.log() - column.log()) / gap.where(~close, 1.0))
        inner = vectors.mT @ ((upstream + upstream.mT) / 2) @ vectors
        return cast(Tensor, vectors @ (slopes * inner) @ vectors.mT)
