"""Sources inside other sources: written as in a recipe, held in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.bounds import Nested
from limbeck.errors import ConfigError, DataError
from limbeck.protocols import Source
from limbeck.sources._registry import SOURCES
from limbeck.sources.arrays import ArraySource
from limbeck.sources.building import build
from limbeck.sources.selection import choose
from limbeck.sources.streaming.source import StreamSource

HELD_BYTES = 8 * 2**30
"""Derived sources keep their images in memory; more than this is refused."""
TRAIN_ONLY = ("per_class", "limit")
"""Settings of a source that make the training split smaller; a stage leaves the test split whole."""
_NESTED = ("of", "patches")


def nested(thing: Nested, *, split: Literal["train", "test"], what: str) -> ArraySource:
    """A source written as in a recipe, `{name: parquet, root: ...}` or `digits`, with its images in memory.

    Args:
        thing: name and settings, without a split.
        split: train or test.
        what: the source that it is part of, for messages.

    Raises:
        ConfigError: it has no name, or gives the split, which is not its own to say.
        DataError: the data is not there, cannot be used, or cannot be held in memory.

    Example:
        >>> len(nested({"name": "digits", "per_class": 3}, split="train", what="source 'mine'"))
        30
    """
    settings = {"name": thing} if isinstance(thing, str) else dict(thing)
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(
            f"{what}: a source inside it needs a name, one of {', '.join(SOURCES)}; "
            f"got {', '.join(map(str, thing)) or 'nothing'}."
        )
    if "split" in settings:
        raise ConfigError(f"{what}, source '{name}' in it: the split is given from outside; leave it out.")
    return in_memory(build(name, split=split, **settings), what=f"{what}, source '{name}' in it")


def in_memory(source: Source, *, what: str = "the source") -> ArraySource:
    """The images of any source with numbered images, as one block of pixels.

    Args:
        source: map-style; its groups are kept.
        what: for messages.

    Raises:
        ConfigError: its images are cut at random while training, which would be lost.
        DataError: it is read in its own order only, or is too large.
    """
    if isinstance(source, ArraySource):
        return source
    if isinstance(source, StreamSource):
        raise DataError(
            f"{what}: it is read from front to back; a source inside another has its images by number."
        )
    if getattr(source, "random_crop", None) is not None:
        raise ConfigError(
            f"{what}: random_crop reads each image anew, and a source inside another keeps its images. "
            "Leave it out, and use the augmentation random_resized_crop."
        )
    channels, height, width = source.image_shape
    if len(source) * channels * height * width > HELD_BYTES:
        raise DataError(
            f"{what}: {len(source)} images of {source.image_shape} do not fit in {HELD_BYTES >> 30} GiB, "
            "and a source inside another is held there. Choose a smaller size, or a limit."
        )
    images = torch.empty((len(source), channels, height, width), dtype=torch.uint8)
    labels = torch.empty(len(source), dtype=torch.int64)
    for index in range(len(source)):
        images[index], labels[index] = source[index]
    return ArraySource(
        images,
        labels,
        source.class_names,
        groups=getattr(source, "groups", None),
        group_names=getattr(source, "group_names", ()),
    )


def taken(source: ArraySource, rows: Tensor) -> ArraySource:
    """Some images of a source, with their groups; mean and deviation are those of these images.

    Args:
        source: the whole.
        rows: shape (k,), int64.
    """
    groups = None if source.groups is None else source.groups[rows]
    return ArraySource(
        source.images[rows],
        source.labels[rows],
        source.class_names,
        groups=groups,
        group_names=source.group_names,
    )


def chosen(
    source: ArraySource, *, limit: int | None = None, per_class: int | None = None, seed: int = 0
) -> ArraySource:
    """A balanced choice of images; the source itself where neither number is given.

    Raises:
        DataError: a class has too few images.
    """
    rows = choose(source.labels, source.class_names, limit=limit, per_class=per_class, seed=seed)
    return source if rows is None else taken(source, rows)


def without_limits(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a source for the whole of a split: `limit` and `per_class` left out, also of sources in it.

    Example:
        >>> without_limits({"limit": 5, "of": [{"name": "digits", "per_class": 3, "size": 16}]})
        {'of': [{'name': 'digits', 'size': 16}]}
    """
    return {k: _whole(v) if k in _NESTED else v for k, v in settings.items() if k not in TRAIN_ONLY}


def _whole(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_limits(value)
    return [_whole(part) for part in value] if isinstance(value, list | tuple) else value
