"""Grey images on a background of a random colour: a shift of domain that keeps every shape."""

from __future__ import annotations

from typing import Literal

import torch

from limbeck.bounds import Nested, NonNegativeInt, PositiveInt
from limbeck.errors import DataError
from limbeck.seeding import derive, uniforms
from limbeck.sources.arrays import ArraySource
from limbeck.sources.nesting import chosen, nested

_CHUNK = 4096


def tinted(
    *,
    of: Nested,
    split: Literal["train", "test"] = "train",
    seed: NonNegativeInt = 0,
    limit: PositiveInt | None = None,
    per_class: PositiveInt | None = None,
    subset_seed: NonNegativeInt = 0,
) -> ArraySource:
    r"""Grey images of light things on a dark background, with a random colour for the background of each image.

    .. math:: x_c = v + (1 - v)\, u_c

    with v the grey value in [0, 1] and u the colour, uniform in [0, 1) for each channel. The colour depends on
    `seed`, the split and the number of the image alone.

    Args:
        of: a grey source as in a recipe, e.g. `{name: parquet, root: data/mnist}`.
        split: train or test.
        seed: another seed paints other colours.
        limit: at most so many images, spread evenly over the classes.
        per_class: exactly so many images of each class.
        subset_seed: another seed makes another choice of images.

    Raises:
        DataError: images in colour; data that is not there.
        ConfigError: no such source, or settings that it does not have.

    Example:
        >>> tinted(of="digits", split="test").image_shape
        (3, 8, 8)

    References:
        "Colour" in the experiment on domains that only the teacher saw, Ojha et al., Section 5.1
        [ojha2023knowledge]; the paper does not say how digit and colour are mixed, and this is one way.
    """
    source = nested(of, split=split, what="source 'tinted'")
    found = tinted_of(source, seed=derive(seed, "tint", split))
    return chosen(found, limit=limit, per_class=per_class, seed=subset_seed)


def tinted_of(source: ArraySource, *, seed: int = 0) -> ArraySource:
    """A grey source at hand on random colours, as `tinted` does it.

    Args:
        source: grey images; classes and groups are kept.
        seed: of the colours.

    Raises:
        DataError: images in colour.
    """
    require_grey(source, "source 'tinted'")
    colours = uniforms(torch.arange(len(source)), seed=seed, epoch=1, draws=3)[:, :, None, None]
    images = torch.empty((len(source), 3, *source.image_shape[1:]), dtype=torch.uint8)
    for start in range(0, len(source), _CHUNK):
        value = source.images[start : start + _CHUNK].float() / 255
        mixed = value + (1 - value) * colours[start : start + _CHUNK]
        images[start : start + _CHUNK] = (mixed * 255).round().to(torch.uint8)
    return ArraySource(
        images, source.labels, source.class_names, groups=source.groups, group_names=source.group_names
    )


def require_grey(source: ArraySource, what: str) -> None:
    """Make sure that images have one channel.

    Raises:
        DataError: they have more.
    """
    if source.image_shape[0] != 1:
        raise DataError(
            f"{what} takes grey images, and these have {source.image_shape[0]} channels. "
            "Give the source in it channels: 1."
        )
