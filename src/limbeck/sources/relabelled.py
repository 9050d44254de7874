"""A set with the classes of another: a natural shift for a classifier that knows only the other's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from limbeck.bounds import Nested, NonNegativeInt, PositiveInt
from limbeck.errors import DataError, did_you_mean
from limbeck.sources.arrays import ArraySource
from limbeck.sources.nesting import chosen, nested, taken
from limbeck.sources.places import listed

_WHAT = "source 'relabelled'"


def relabelled(
    *,
    of: Nested,
    classes: Sequence[str],
    split: Literal["train", "test"] = "train",
    mapping: Mapping[str | int, str | int] | None = None,
    drop_others: bool = False,
    limit: PositiveInt | None = None,
    per_class: PositiveInt | None = None,
    subset_seed: NonNegativeInt = 0,
) -> ArraySource:
    """A source whose images get the classes of another set; several of its classes may become one.

    Classes without any image are allowed, so that the order of the classes is that of the classifier. Mean and
    deviation are those of the images that are left.

    Args:
        of: a source as in a recipe.
        classes: names of the new classes, in the order of their labels.
        split: train or test.
        mapping: class of `of` -> new class, each by name or by number; unless given, classes keep their names.
        drop_others: leave images out whose class has no new class, instead of stopping.
        limit: at most so many of the images that are left, spread evenly over the classes.
        per_class: exactly so many images of each new class.
        subset_seed: another seed makes another choice of images.

    Raises:
        DataError: a class that does not exist on either side, a class without a new one, no image left.
        ConfigError: no such source, or settings that it does not have.

    Example:
        >>> parity = {str(n): "odd" if n % 2 else "even" for n in range(10)}
        >>> found = relabelled(of="digits", classes=["even", "odd"], mapping=parity)
        >>> len(found), found[1][1]
        (1297, 1)
    """
    source = nested(of, split=split, what=_WHAT)
    found = relabelled_of(source, classes, mapping, drop_others=drop_others)
    return chosen(found, limit=limit, per_class=per_class, seed=subset_seed)


def relabelled_of(
    source: ArraySource,
    classes: Sequence[str],
    mapping: Mapping[str | int, str | int] | None = None,
    *,
    drop_others: bool = False,
) -> ArraySource:
    """A source at hand with other classes, as `relabelled` does it.

    Args:
        source: the images.
        classes: names of the new classes.
        mapping: old class -> new class; unless given, classes keep their names.
        drop_others: leave images out whose class has no new class.

    Raises:
        DataError: a class that does not exist on either side, a class without a new one, no image left.
    """
    old = source.class_names
    table = torch.full((len(old),), -1, dtype=torch.int64)
    pairs = mapping if mapping is not None else {name: name for name in old if name in set(classes)}
    for before, after in pairs.items():
        table[_place(before, old, "the set")] = _place(after, classes, "the new classes")
    labels = table[source.labels]
    left = [name for i, name in enumerate(old) if table[i] < 0 and bool((source.labels == i).any())]
    if left and not drop_others:
        raise DataError(
            f"{_WHAT}: {len(left)} classes of the set have no new class: {listed(left)}. Add them to mapping, or "
            "leave their images out with drop_others: true."
        )
    rows = (labels >= 0).nonzero().flatten()
    if len(rows) == 0:
        raise DataError(
            f"{_WHAT}: no image is left; the set has the classes {listed(old)}, the new are {listed(classes)}. "
            "Say with mapping which becomes which."
        )
    kept = taken(source, rows)
    return ArraySource(kept.images, labels[rows], classes, groups=kept.groups, group_names=kept.group_names)


def _place(wanted: str | int, names: Sequence[str], where: str) -> int:
    """Position of a class given by name or number; a number may have become text on its way through JSON."""
    if isinstance(wanted, str) and wanted in names:
        return list(names).index(wanted)
    number = int(wanted) if isinstance(wanted, int) or wanted.isdecimal() else None
    if number is None or isinstance(wanted, bool) or not 0 <= number < len(names):
        raise DataError(
            f"{_WHAT}: {where} have no class {wanted!r}.{did_you_mean(str(wanted), names)} "
            f"There are {len(names)}: {listed(names)}."
        )
    return number
