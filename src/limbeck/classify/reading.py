"""How a loss reads what a tap found: a map stays a map, tokens become a map or one vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor, nn

from limbeck.classify.task import FEATURES, MAP_LISTS, MAPS
from limbeck.errors import TapError
from limbeck.models.feature_taps import FeatureTap, last_feature
from limbeck.numerics.tokens import tokens_to_vector
from limbeck.taps import probe

Kind = Literal["map", "vector", "any"]


@dataclass(frozen=True)
class Feature:
    """One tapped feature.

    Attributes:
        shape: of one sample, as it is read.
        read: from what the tap found to what the loss takes.
    """

    shape: tuple[int, ...]
    read: Callable[[Tensor], Tensor]


def kind_of(inputs: Sequence[str]) -> Kind:
    """What a loss wants of a tap, by the names of its parameters."""
    if set(inputs) & {*MAPS, *MAP_LISTS}:
        return "map"
    return "vector" if set(inputs) & set(FEATURES) else "any"


def features_at(model: nn.Module, example: Tensor, paths: Sequence[str], kind: Kind) -> list[Feature]:
    """The features behind tap paths, as a loss of that kind reads them.

    Args:
        model: any classifier.
        example: a batch of images, normalised.
        paths: exact tap paths.
        kind: map, vector, or any for what is there.

    Raises:
        TapError: tokens of which nothing says how they lie in the image.
    """
    found = probe(model, example, paths)
    readers = {path: _reader(model, example, path, found[path], kind) for path in paths}
    return [Feature(tuple(readers[path](found[path]).shape[1:]), readers[path]) for path in paths]


def _reader(model: nn.Module, example: Tensor, path: str, found: Tensor, kind: Kind) -> Callable[[Tensor], Tensor]:
    if kind == "any" or found.dim() not in (3, 4) or (kind == "vector" and found.dim() == 4):
        return _as_it_is
    layout = _layout(model, example)
    if kind == "vector":
        prefix = layout.prefix if layout is not None else 0
        return partial(tokens_to_vector, prefix=prefix, pool="class" if prefix else "mean")
    if found.dim() == 4:
        behind = layout is not None and layout.layout == "channels_last"
        return layout.as_map if behind and layout is not None else _as_it_is
    if layout is None or layout.layout != "tokens":
        raise TapError(
            f"taps: '{path}' reads tokens {tuple(found.shape)}, and nothing in {type(model).__name__} says how "
            "they lie in the image. Tap a layer with maps, or take a loss on vectors."
        )
    return layout.as_map


def _layout(model: nn.Module, example: Tensor) -> FeatureTap | None:
    try:
        return last_feature(model, example)
    except TapError:
        return None


def _as_it_is(found: Tensor) -> Tensor:
    return found
