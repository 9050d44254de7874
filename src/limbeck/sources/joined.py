"""Several sources one after the other: a teacher of many domains, or groups of chosen sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from limbeck.bounds import Nested, NonNegativeInt, PositiveInt
from limbeck.errors import ConfigError, DataError
from limbeck.sources.arrays import ArraySource
from limbeck.sources.nesting import chosen, nested

_WHAT = "source 'joined'"


def joined(
    *,
    of: Sequence[Nested],
    split: Literal["train", "test"] = "train",
    names: Sequence[str] | None = None,
    limit: PositiveInt | None = None,
    per_class: PositiveInt | None = None,
    subset_seed: NonNegativeInt = 0,
) -> ArraySource:
    """Sources with the same classes and image shape, one after the other, in memory.

    The part that an image came from is its group: `groups` and `group_names` of the result. A `limit` inside a
    part sets how many images that part gives, so that groups can be of any sizes; in a recipe it holds for
    training alone. Mean and deviation are those of all images together.

    Args:
        of: sources as in a recipe, e.g. `[{name: parquet, root: pacs/photo, size: 48}, ...]`; grey images become
            grey images with three channels where another part has colour.
        split: train or test.
        names: of the parts; the last part of each `root`, or the source's name, unless given.
        limit: at most so many images of the whole, spread evenly over the classes.
        per_class: exactly so many images of each class, of the whole.
        subset_seed: another seed makes another choice of images.

    Raises:
        ConfigError: no parts, another number of names, two parts of one name, no such source or setting.
        DataError: the classes or the image shapes of two parts differ; data that is not there.

    Example:
        >>> both = joined(of=["digits", {"name": "tinted", "of": "digits", "limit": 100}])
        >>> both.image_shape, both.group_names, torch.bincount(both.groups).tolist()
        ((3, 8, 8), ('digits', 'tinted'), [1297, 100])

    References:
        Domains that only the teacher saw: Ojha et al., Section 5.1 [ojha2023knowledge].
    """
    if not of:
        raise ConfigError(f"{_WHAT}: `of` lists the sources to join; it is empty.")
    names = _names(of, names)
    parts = [nested(part, split=split, what=f"{_WHAT}, part '{n}'") for part, n in zip(of, names, strict=True)]
    return chosen(joined_of(parts, names), limit=limit, per_class=per_class, seed=subset_seed)


def joined_of(parts: Sequence[ArraySource], names: Sequence[str]) -> ArraySource:
    """Sources at hand, one after the other, as `joined` does it.

    Args:
        parts: with the same classes in the same order, height and width.
        names: of the parts, which become the groups.

    Raises:
        DataError: the classes or the image shapes of two parts differ.
    """
    channels = max(part.image_shape[0] for part in parts)
    for part, name in zip(parts[1:], names[1:], strict=True):
        _check_classes(parts[0].class_names, names[0], part.class_names, name)
    for part, name in zip(parts, names, strict=True):
        if part.image_shape[1:] != parts[0].image_shape[1:] or part.image_shape[0] not in (1, channels):
            raise DataError(
                f"{_WHAT}: part '{name}' has images of {part.image_shape} and part '{names[0]}' of "
                f"{parts[0].image_shape}. Give both the same size, e.g. size: {min(parts[0].image_shape[1:])}."
            )
    counts = torch.tensor([len(part) for part in parts])
    return ArraySource(
        torch.cat([part.images.expand(-1, channels, -1, -1) for part in parts]),
        torch.cat([part.labels for part in parts]),
        parts[0].class_names,
        groups=torch.arange(len(parts)).repeat_interleave(counts),
        group_names=names,
    )


def _check_classes(first: Sequence[str], first_name: str, other: Sequence[str], name: str) -> None:
    if tuple(first) == tuple(other):
        return
    at = next((i for i, (a, b) in enumerate(zip(first, other, strict=False)) if a != b), None)
    if at is None:
        said = f"'{first_name}' has {len(first)} classes and '{name}' has {len(other)}"
    else:
        said = f"class {at} is '{first[at]}' in '{first_name}' and '{other[at]}' in '{name}'"
    raise DataError(
        f"{_WHAT}: the parts need the same classes in the same order; {said}. "
        "The source 'relabelled' brings one set to the classes of another."
    )


def _names(of: Sequence[Nested], given: Sequence[str] | None) -> tuple[str, ...]:
    if given is not None and len(given) != len(of):
        raise ConfigError(f"{_WHAT}: {len(of)} parts need {len(of)} names; got {len(given)}.")
    names = tuple(given) if given is not None else tuple(_derived(part) for part in of)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is None:
        return names
    if given is not None:
        raise ConfigError(f"{_WHAT}: two parts are named '{twice}'.")
    return tuple(f"{name}-{i + 1}" if names.count(name) > 1 else name for i, name in enumerate(names))


def _derived(part: Nested) -> str:
    if isinstance(part, str):
        return part
    root = part.get("root")
    return Path(root).name if isinstance(root, str) and Path(root).name else str(part.get("name", "part"))
