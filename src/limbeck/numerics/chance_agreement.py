"""Agreement beyond what two answers share by being frequent."""

from __future__ import annotations

import torch
from torch import Tensor


def kappa(agreed: Tensor, left: Tensor, right: Tensor) -> Tensor:
    r"""Cohen's kappa from counts.

    .. math:: \kappa = \frac{A - A_e}{1 - A_e}, \quad A_e = \sum_c P(\hat t = c) P(\hat s = c)

    Args:
        agreed: how often both gave the same answer, shape (...).
        left: how often one of them gave each answer, shape (..., answers).
        right: the same of the other, shape (..., answers), with the same total.

    Returns:
        At most 1, 0 by chance, shape (...); NaN where both always give one and the same answer, or none at all.

    Example:
        >>> kappa(torch.tensor(3.0), torch.tensor([2.0, 2.0]), torch.tensor([2.0, 2.0]))
        tensor(0.5000)
    """
    total = left.sum(dim=-1)
    expected = (left * right).sum(dim=-1) / total.square()
    return torch.where(expected < 1, (agreed / total - expected) / (1 - expected), torch.nan)
