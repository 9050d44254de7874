"""Where networks change their minds: on planes through images, between two images, along directions.

Networks here are any callable from images (n, ...) to logits (n, classes), in eval mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.bounds import NonNegative, Positive, PositiveInt
from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.numerics.checks import require_above
from limbeck.numerics.rank_correlation import spearman

Classifier = Callable[[Tensor], Tensor]
"""Images (n, ...) to logits (n, classes)."""


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane through three images, with axes of unit length from the first.

    Attributes:
        origin: the first image, shape (...).
        axes: directions at right angles, shape (2, ...); the first leads to the second image.
        corners: the three images in the plane's coordinates, shape (3, 2), float64.
    """

    origin: Tensor
    axes: Tensor
    corners: Tensor

    def grid(self, *, resolution: PositiveInt = 50, margin: NonNegative = 0.1) -> Tensor:
        """Coordinates of a grid over the three images.

        Args:
            resolution: points along each axis; 50 for numbers, 500 for pictures.
            margin: how far it reaches beyond the extent of the three images, over that extent.

        Returns:
            Shape (resolution^2, 2), float64; the first coordinate varies slowest.

        Raises:
            ConfigError: a resolution below 2, or a negative margin.

        Example:
            >>> plane_through(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])).grid(resolution=2, margin=0.0)
            tensor([[0., 0.],
                    [0., 1.],
                    [2., 0.],
                    [2., 1.]], dtype=torch.float64)
        """
        require_above("Plane.grid", 1, resolution=resolution)
        if not margin >= 0:
            raise ConfigError(f"Plane.grid: margin must be at least 0, got {margin!r}.")
        low, high = self.corners.amin(dim=0), self.corners.amax(dim=0)
        reach = margin * (high - low)
        ends = torch.stack([low - reach, high + reach]).tolist()
        lines = [torch.linspace(a, b, resolution, dtype=torch.float64) for a, b in zip(*ends, strict=True)]
        return torch.cartesian_prod(*lines)

    def images(self, coordinates: Tensor) -> Tensor:
        """The points as images, not clipped to any range.

        Args:
            coordinates: shape (k, 2).

        Returns:
            Shape (k, ...), of the images' type and on their device.
        """
        found: Tensor = coordinates.to(self.origin) @ self.axes.flatten(1)
        return self.origin + found.view(-1, *self.origin.shape)


@torch.no_grad()
def plane_through(images: Tensor) -> Plane:
    """The plane through three images.

    Args:
        images: shape (3, ...). With the first two exchanged it is the same plane, but its grid is turned.

    Returns:
        The plane.

    Raises:
        ShapeError: not three images.
        DataError: images on one line, or numbers that are not finite.

    Example:
        >>> plane_through(torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]])).corners.tolist()
        [[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]]

    References:
        Somepalli et al., Can Neural Nets Learn the Same Model Twice?, CVPR 2022, section 3 [somepalli2022can].
    """
    if images.dim() < 2 or len(images) != 3 or not images.is_floating_point():
        raise ShapeError(
            f"plane_through: expected three images (3, ...) of real numbers, got {tuple(images.shape)} of "
            f"{images.dtype}."
        )
    if not bool(images.isfinite().all()):
        raise DataError("plane_through: the images hold infinite or undefined numbers.")
    origin, first, second = images.detach().double().flatten(1)
    first, second = first - origin, second - origin
    lengths = first.norm(), second.norm()
    first_axis = first / lengths[0]
    along = second @ first_axis
    across = second - along * first_axis
    across = across - (across @ first_axis) * first_axis  # twice: rounding of the first would tilt a thin triangle
    height = across.norm()
    if not (lengths[0] > 0 and height > 1e-9 * lengths[1]):
        raise DataError("plane_through: the three images lie on one line, so there is no one plane through them.")
    corners = [[0.0, 0.0], [lengths[0].item(), 0.0], [along.item(), height.item()]]
    axes = torch.stack([first_axis, across / height]).to(images.dtype).unflatten(1, images.shape[1:])
    return Plane(images[0].detach(), axes, torch.tensor(corners, dtype=torch.float64))


@torch.no_grad()
def predictions_on(
    network: Classifier, plane: Plane, coordinates: Tensor, *, batch_size: PositiveInt = 256
) -> Tensor:
    """The class that a network predicts at points of a plane.

    Args:
        network: images to logits.
        plane: of images as the network takes them.
        coordinates: shape (k, 2), say of `Plane.grid`.
        batch_size: points at once.

    Returns:
        Classes, shape (k,), int64.

    Example:
        >>> plane = plane_through(torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]]))
        >>> predictions_on(lambda images: images, plane, torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
        tensor([0, 1])
    """
    require_above("predictions_on", 0, batch_size=batch_size)
    parts = [_predictions(network, plane.images(part)) for part in coordinates.split(batch_size)]
    return torch.cat(parts)


def same_regions(first: Tensor, second: Tensor) -> float:
    """Share of points at which two networks predict the same class; called IoU where it comes from.

    Args:
        first: classes at the points of a plane, any shape.
        second: the other network's, the same shape.

    Returns:
        A fraction.

    Raises:
        ShapeError: shapes that differ.
        DataError: no points.

    Example:
        >>> same_regions(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 0]))
        0.75

    References:
        Somepalli et al., Can Neural Nets Learn the Same Model Twice?, CVPR 2022, section 3 [somepalli2022can].
    """
    if first.shape != second.shape:
        raise ShapeError(
            f"same_regions: predictions at the same points; got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    if not first.numel():
        raise DataError("same_regions: no points to compare at.")
    return (first == second).double().mean().item()


@torch.no_grad()
def class_changes(
    network: Classifier, starts: Tensor, ends: Tensor, *, steps: PositiveInt = 100, batch_size: PositiveInt = 256
) -> Tensor:
    """How often the predicted class changes on the way from one image to another.

    Args:
        network: images to logits.
        starts: images, shape (n, ...).
        ends: images, shape (n, ...).
        steps: equal steps that the way is cut into; a region thinner than one may be missed.
        batch_size: points at once.

    Returns:
        Changes, shape (n,), int64.

    Raises:
        ShapeError: unequal shapes.

    Example:
        >>> net = lambda x: torch.cat([x.square(), torch.ones_like(x)], dim=1)
        >>> class_changes(net, torch.tensor([[-2.0], [0.0]]), torch.tensor([[2.0], [0.5]])).tolist()
        [2, 0]
    """
    _same_shape("class_changes", starts=starts, ends=ends)
    require_above("class_changes", 0, steps=steps, batch_size=batch_size)
    changes = torch.zeros(len(starts), dtype=torch.int64, device=starts.device)
    places = torch.linspace(0, 1, steps + 1, dtype=torch.float64).tolist()
    for rows in torch.arange(len(starts), device=starts.device).split(batch_size):
        before = None
        for place in places:
            here = _predictions(network, torch.lerp(starts[rows], ends[rows], place))
            if before is not None:
                changes[rows] += (here != before).to(changes)
            before = here
    return changes


@torch.no_grad()
def margins(
    network: Classifier,
    images: Tensor,
    directions: Tensor,
    *,
    longest: Positive,
    steps: PositiveInt = 50,
    halvings: PositiveInt = 10,
    batch_size: PositiveInt = 256,
) -> Tensor:
    r"""How far each image is from another decision along a direction.

    .. math:: \min \{ t > 0 : \arg\max f(x + t d) \ne \arg\max f(x) \}, \quad |d| = 1

    The way is walked in equal steps until the class changes; the place is then found by halving that step.

    Args:
        network: images to logits; it is given points outside the range of pixels too.
        images: shape (n, ...).
        directions: shape (n, ...), of any length: towards other images, along an adversarial perturbation. Take
            the same for both networks that are to be compared.
        longest: where to give up, as a Euclidean distance between images.
        steps: walked to `longest`; a region thinner than a step may be missed.
        halvings: of the step in which the class changes; the error is longest / steps / 2^halvings.
        batch_size: images at once.

    Returns:
        Distances, shape (n,), float64; infinite where the class has not changed by `longest`, NaN where the
        direction is zero.

    Raises:
        ShapeError: unequal shapes.
        ConfigError: a setting that is not positive.

    Example:
        >>> net = lambda x: torch.cat([x, 1 - x], dim=1)
        >>> margins(net, torch.zeros(2, 1), torch.tensor([[3.0], [-1.0]]), longest=2.0).round(decimals=3)
        tensor([0.5000,    inf], dtype=torch.float64)
    """
    _same_shape("margins", images=images, directions=directions)
    require_above("margins", 0, longest=longest, steps=steps, halvings=halvings, batch_size=batch_size)
    found = [
        _margins(network, some, towards, longest, steps, halvings)
        for some, towards in zip(images.split(batch_size), directions.split(batch_size), strict=True)
    ]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64, device=images.device)


def margin_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's correlation of two networks' margins: whether the same images are near a boundary for both.

    Args:
        first: margins of one network, shape (n,); infinite ones share the last rank.
        second: of the other for the same images and directions, shape (n,).

    Returns:
        Between -1 and 1, images with NaN on a side left out; NaN where fewer than two are left, or a side does not
        vary.

    Raises:
        ShapeError: not two vectors of one length.

    Example:
        >>> margin_correlation(torch.tensor([0.1, 0.3, float("inf")]), torch.tensor([1.0, 2.0, 3.0]))
        1.0
    """
    if first.dim() != 1 or first.shape != second.shape:
        raise ShapeError(
            f"margin_correlation: expected two vectors (n,), got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    kept = ~(first.isnan() | second.isnan())
    if int(kept.sum()) < 2:
        return float("nan")
    return spearman(first[kept], second[kept]).item()


def _margins(
    network: Classifier, images: Tensor, directions: Tensor, longest: float, steps: int, halvings: int
) -> Tensor:
    sizes = directions.detach().double().flatten(1).norm(dim=1)
    form = (len(images), *[1] * (images.dim() - 1))
    units = directions / sizes.where(sizes > 0, torch.ones_like(sizes)).to(directions).view(form)
    own = _predictions(network, images)

    def changed(rows: Tensor, distances: Tensor) -> Tensor:
        moved = images[rows] + distances.to(images).view(-1, *form[1:]) * units[rows]
        return _predictions(network, moved) != own[rows]

    high = torch.full((len(images),), torch.inf, dtype=torch.float64, device=images.device)
    left = (sizes > 0).nonzero().flatten()
    for step in range(1, steps + 1):
        if not len(left):
            break
        here = torch.full((len(left),), longest * step / steps, dtype=torch.float64, device=images.device)
        crossed = changed(left, here)
        high[left[crossed]] = here[crossed]
        left = left[~crossed]
    over = high.isfinite().nonzero().flatten()
    if len(over):
        low, top = high[over] - longest / steps, high[over]
        for _ in range(halvings):
            middle = (low + top) / 2
            beyond = changed(over, middle)
            low, top = torch.where(beyond, low, middle), torch.where(beyond, middle, top)
        high[over] = top
    return torch.where(sizes > 0, high, torch.nan)


def _predictions(network: Classifier, images: Tensor) -> Tensor:
    logits = network(images)
    if logits.dim() != 2 or len(logits) != len(images):
        raise ShapeError(
            f"expected logits (n, classes) for {len(images)} images, but the network gave {tuple(logits.shape)}."
        )
    return logits.argmax(dim=1)


def _same_shape(where: str, **tensors: Tensor) -> None:
    if len({tuple(t.shape) for t in tensors.values()}) > 1 or any(t.dim() < 2 for t in tensors.values()):
        shown = ", ".join(f"{name} {tuple(t.shape)}" for name, t in tensors.items())
        raise ShapeError(f"{where}: expected images (n, ...) of equal shapes, got {shown}.")
