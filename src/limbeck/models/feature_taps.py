"""Where any classifier has its last features, and in what layout: a map, a map with channels behind, or tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from limbeck.errors import ModelError, ShapeError, TapError
from limbeck.models.cifar.stages import stages_of
from limbeck.models.classifier import classifier_of
from limbeck.numerics.tokens import channels_first, tokens_to_map
from limbeck.taps import TapPoint, tap_points

Layout = Literal["map", "channels_last", "tokens"]

# Tokens in front of the patches: a class token, one for a teacher, at most a few registers.
_MOST = 8
# Parts whose tensors have four dimensions, or three, without being features of the image.
_INNER = ("attn", "attention", "mlp", "rel_pos", "relative_position", "intermediate")


@dataclass(frozen=True, slots=True)
class FeatureTap:
    """A tap and how to read it.

    Attributes:
        path: tap path.
        layout: of what it reads: (n, d, h, w), (n, h, w, d) or (n, tokens, d).
        prefix: tokens in front of the patches.
        grid: height and width of the map.
    """

    path: str
    layout: Layout
    grid: tuple[int, int]
    prefix: int = 0

    def as_map(self, features: Tensor) -> Tensor:
        """What the tap read, as a map (n, d, h, w).

        Raises:
            ShapeError: the tap read something of another layout.
        """
        if self.layout == "tokens":
            return tokens_to_map(features, prefix=self.prefix, grid=self.grid)
        if features.ndim != 4:
            raise ShapeError(f"'{self.path}' should have read a map, not a tensor of {tuple(features.shape)}.")
        return channels_first(features) if self.layout == "channels_last" else features


def last_feature(model: nn.Module, example: Tensor) -> FeatureTap:
    """The last features of more than one place before the classifier.

    Networks of the zoo are read at the end of their last stage, as the literature does; of all others it is the
    last module whose output has the form of the image: a map, a map with its channels behind (Swin), or tokens of
    which all but a few in front make a grid (ViT).

    Args:
        model: any classifier.
        example: a batch of images, as large as those it will see.

    Raises:
        TapError: nothing of that form.

    Example:
        >>> import timm, torch
        >>> vit = timm.create_model("test_vit", img_size=32, num_classes=3)
        >>> last_feature(vit, torch.zeros(1, 3, 32, 32))
        FeatureTap(path='norm', layout='tokens', grid=(2, 2), prefix=1)
    """
    height, width = example.shape[-2:]
    points = [point for point in _before_classifier(model, example) if point.path]
    stages = stages_of(model)
    if stages is not None:
        points = [point for point in points if point.path == stages[-1].output] or points
    for point in reversed(points):
        inner = any(word in part for part in point.path.split(".") for word in _INNER)
        if inner or not point.shape or point.shape[0] != example.shape[0]:
            continue
        found = _map(point, height, width) or _tokens(point, height, width, _known_prefix(model))
        if found is not None:
            return found
    raise TapError(
        f"taps: {type(model).__name__} puts out neither a feature map nor tokens of a grid for images of "
        f"{height} x {width}. Larger images may leave more than one place; else name the taps in the term: "
        "taps: {student: ..., teacher: ...}."
    )


def _before_classifier(model: nn.Module, example: Tensor) -> list[TapPoint]:
    points = tap_points(model, example)
    logits = next((point.shape for point in points if not point.path), ())
    try:
        head = classifier_of(model, logits[1])[0] if len(logits) > 1 else ""
    except ModelError:
        return points
    at = next((i for i, point in enumerate(points) if point.path == head), len(points))
    return points[:at]


def _map(point: TapPoint, height: int, width: int) -> FeatureTap | None:
    if len(point.shape) != 4:
        return None
    _, a, b, c = point.shape
    if _like(b, c, height, width):
        return FeatureTap(point.path, "map", (b, c))
    if _like(a, b, height, width):
        return FeatureTap(point.path, "channels_last", (a, b))
    return None


def _tokens(point: TapPoint, height: int, width: int, known: int | None) -> FeatureTap | None:
    if len(point.shape) != 3:
        return None
    count = point.shape[1]
    common = math.gcd(height, width)
    rows, columns = height // common, width // common
    side = math.isqrt((count - (known or 0)) // (rows * columns)) if count > (known or 0) else 0
    grid = (rows * side, columns * side)
    prefix = count - grid[0] * grid[1]
    if side < 1 or prefix > _MOST or (known is not None and prefix != known) or not _like(*grid, height, width):
        return None
    return FeatureTap(point.path, "tokens", grid, prefix)


def _like(a: int, b: int, height: int, width: int) -> bool:
    """Whether a x b places, more than one, can be those of an image of that height and width."""
    return a * b > 1 and a <= height and b <= width and abs(a * width - b * height) <= max(height, width)


def _known_prefix(model: nn.Module) -> int | None:
    """Number of tokens in front, where a timm model says it."""
    found = getattr(model, "num_prefix_tokens", None)
    return found if isinstance(found, int) else None
