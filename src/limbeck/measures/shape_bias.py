"""Whether a network goes by shape or by texture: images with the shape of one class and the texture of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.errors import DataError, ShapeError


@dataclass(frozen=True)
class ShapeBias:
    """Counts of the decisions on cue-conflict images, and what is drawn from them.

    Attributes:
        images: all of them.
        conflicts: those whose shape and texture are of different classes; only these can tell.
        shape: conflicts decided for the class of the shape.
        texture: conflicts decided for the class of the texture.
    """

    images: int
    conflicts: int
    shape: int
    texture: int

    @property
    def bias(self) -> float:
        """Share of the decisions for the shape among those for either; NaN where there is neither."""
        decided = self.shape + self.texture
        return self.shape / decided if decided else float("nan")

    @property
    def shape_fraction(self) -> float:
        """Conflicts decided for the shape, over all images."""
        return self.shape / self.images

    @property
    def texture_fraction(self) -> float:
        """Conflicts decided for the texture, over all images."""
        return self.texture / self.images


def shape_bias(decisions: Tensor, shapes: Tensor, textures: Tensor) -> ShapeBias:
    """Of the decisions for the shape or for the texture of an image, how many are for the shape.

    Args:
        decisions: predicted class of each image, shape (n,), integers.
        shapes: class of its shape, shape (n,), integers.
        textures: class of its texture, shape (n,), integers.

    Returns:
        Counts, with `bias` (1 for shape alone, 0 for texture alone, about one half for a network that knows
        neither) and the two fractions. Images whose shape and texture agree enter none of the counts, but are
        among the images that the fractions are over.

    Raises:
        ShapeError: not three vectors of integers of one length.
        DataError: no images.

    Example:
        >>> found = shape_bias(torch.tensor([0, 1, 2, 0]), torch.tensor([0, 0, 0, 0]), torch.tensor([1, 1, 1, 0]))
        >>> found.bias, found.shape_fraction, found.conflicts
        (0.5, 0.25, 3)

    References:
        Geirhos et al., ImageNet-Trained CNNs Are Biased Towards Texture, ICLR 2019, section 3.2
        [geirhos2019imagenet].
    """
    sides = shape_decisions(decisions, shapes, textures)
    return ShapeBias(
        images=len(sides),
        conflicts=int((shapes != textures).sum()),
        shape=int((sides == 1).sum()),
        texture=int((sides == 0).sum()),
    )


def shape_decisions(decisions: Tensor, shapes: Tensor, textures: Tensor) -> Tensor:
    """For each image whether the decision was for its shape or for its texture; the mean is the shape bias.

    Args:
        decisions: predicted class of each image, shape (n,), integers.
        shapes: class of its shape, shape (n,), integers.
        textures: class of its texture, shape (n,), integers.

    Returns:
        1 for shape, 0 for texture, NaN where it was for neither or both are of one class; shape (n,), float64.

    Raises:
        ShapeError: not three vectors of integers of one length.
        DataError: no images.

    Example:
        >>> shape_decisions(torch.tensor([0, 1, 2]), torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1]))
        tensor([1., 0., nan], dtype=torch.float64)
    """
    given = {"decisions": decisions, "shapes": shapes, "textures": textures}
    if any(x.dim() != 1 or len(x) != len(decisions) or x.is_floating_point() for x in given.values()):
        shown = ", ".join(f"{name} {tuple(x.shape)} {x.dtype}" for name, x in given.items())
        raise ShapeError(f"shape_bias: expected three vectors of n integers, got {shown}.")
    if not len(decisions):
        raise DataError("shape_bias: no images to measure on.")
    conflict = shapes != textures
    found = torch.full(decisions.shape, torch.nan, dtype=torch.float64, device=decisions.device)
    found[conflict & (decisions == textures)] = 0.0
    found[conflict & (decisions == shapes)] = 1.0
    return found


@torch.no_grad()
def coarse_probabilities(probabilities: Tensor, members: Sequence[Sequence[int]]) -> Tensor:
    """Probabilities of coarse classes: the mean over the members of each, not their sum.

    A coarse class with many members gains nothing from their number; the values therefore do not add up to one.

    Args:
        probabilities: of the fine classes, shape (n, classes).
        members: for each coarse class the indices of the fine classes that belong to it; a fine class may belong
            to none.

    Returns:
        Shape (n, coarse classes); its argmax is the decision.

    Raises:
        ShapeError: probabilities that are no matrix.
        DataError: a coarse class without members, or an index that is no fine class.

    Example:
        >>> coarse_probabilities(torch.tensor([[0.5, 0.1, 0.3, 0.1]]), [[0, 1], [2]])
        tensor([[0.3000, 0.3000]])

    References:
        Geirhos et al., ImageNet-Trained CNNs Are Biased Towards Texture, ICLR 2019, section 2
        [geirhos2019imagenet].
    """
    if probabilities.dim() != 2:
        raise ShapeError(
            f"coarse_probabilities: expected probabilities (n, classes), got {tuple(probabilities.shape)}."
        )
    classes = probabilities.shape[1]
    for coarse, fine in enumerate(members):
        if not fine:
            raise DataError(f"coarse_probabilities: coarse class {coarse} has no members.")
        if min(fine) < 0 or max(fine) >= classes:
            raise DataError(
                f"coarse_probabilities: members of coarse class {coarse} run from {min(fine)} to {max(fine)}, but "
                f"there are {classes} classes (0 to {classes - 1})."
            )
    if not members:
        raise DataError("coarse_probabilities: no coarse classes.")
    return torch.stack([probabilities[:, list(fine)].mean(dim=1) for fine in members], dim=1)
