"""Distribution matching: synthetic images whose mean features are those of real ones [zhao2023dm]."""

from __future__ import annotations

from torch import Tensor

from limbeck.errors import ShapeError


def mean_distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """Squared distance of the mean features, summed over classes.

    Args:
        real: features by class, (classes, m, features); no gradient flows into them.
        synthetic: likewise, (classes, n, features).

    Returns:
        Scalar.

    Raises:
        ShapeError: classes or features that differ.
    """
    if real.ndim != 3 or synthetic.ndim != 3 or real.shape[::2] != synthetic.shape[::2]:
        raise ShapeError(
            "features by class have shapes (classes, m, features) and (classes, n, features); got "
            f"{tuple(real.shape)} and {tuple(synthetic.shape)}."
        )
    return (real.detach().mean(1) - synthetic.mean(1)).square().sum()
