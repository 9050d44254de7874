"""Maps of two networks brought to one size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def to_smaller(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps in the height and the width of the smaller one; larger ones are averaged.

    Args:
        student: shape (n, c, h, w).
        teacher: shape (n, c', h', w').

    Example:
        >>> import torch
        >>> a, b = to_smaller(torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 4, 4))
        >>> a.shape, b.shape
        (torch.Size([1, 2, 4, 4]), torch.Size([1, 3, 4, 4]))
    """
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    resized = [x if tuple(x.shape[2:]) == size else F.adaptive_avg_pool2d(x, size) for x in (student, teacher)]
    return resized[0], resized[1]
