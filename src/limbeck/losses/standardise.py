"""Logit standardisation: only the shape of the logits is matched, not their mean or spread [sun2024logit]."""

from __future__ import annotations

from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.numerics.precision import promoted

EPS = 1e-7
"""Added to the deviation, as in the released program."""


def standardise(logits: Tensor) -> Tensor:
    r"""Logits with mean 0 and deviation 1 over the classes of each sample.

    A transform of any loss on logits, applied to student and teacher alike: the student no longer has to have the
    teacher's magnitudes, only its proportions.

    .. math:: \zeta(z)_k = \frac{z_k - \bar z}{s + 10^{-7}}

    with s the unbiased standard deviation over the classes.

    Args:
        logits: shape (n, classes), two classes or more.

    Returns:
        Shape of `logits`, at least float32; the gradient flows through mean and deviation.

    Raises:
        ShapeError: not two classes at least.

    Example:
        >>> import torch
        >>> standardise(torch.tensor([[1.0, 3.0]]))
        tensor([[-0.7071,  0.7071]])

    References:
        Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024 [sun2024logit].
    """
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise ShapeError(
            f"standardise: expected logits (n, classes) of two classes or more, got {tuple(logits.shape)}."
        )
    (z,) = promoted(logits)
    return (z - z.mean(dim=1, keepdim=True)) / (EPS + z.std(dim=1, keepdim=True))
