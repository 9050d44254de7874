"""Grey images blended with patches of photographs, as in MNIST-M."""

from __future__ import annotations

from typing import Literal

import torch

from limbeck.bounds import Nested, NonNegativeInt, PositiveInt
from limbeck.errors import DataError
from limbeck.seeding import derive, uniforms
from limbeck.sources.arrays import ArraySource
from limbeck.sources.nesting import chosen, nested
from limbeck.sources.tinted import require_grey

_CHUNK = 4096


def blended(
    *,
    of: Nested,
    patches: Nested,
    split: Literal["train", "test"] = "train",
    seed: NonNegativeInt = 0,
    limit: PositiveInt | None = None,
    per_class: PositiveInt | None = None,
    subset_seed: NonNegativeInt = 0,
) -> ArraySource:
    r"""Grey images over random patches of other images: the difference of the two without its sign.

    .. math:: x_c = |p_c - v|

    with v the grey value and p the patch: a random image of `patches`, cut to the size of the grey image at a
    random place. Image and place depend on `seed`, the split and the number of the grey image alone.

    Args:
        of: a grey source as in a recipe, e.g. `{name: parquet, root: data/mnist}`.
        patches: a source of images at least as large; the same split of it is used, its labels are not.
        split: train or test.
        seed: another seed takes other patches.
        limit: at most so many images, spread evenly over the classes.
        per_class: exactly so many images of each class.
        subset_seed: another seed makes another choice of images.

    Raises:
        DataError: `of` is in colour, patches smaller than its images; data that is not there.
        ConfigError: no such source, or settings that it does not have.

    Example:
        >>> blended(of="digits", patches={"name": "digits", "size": 16}).image_shape
        (3, 8, 8)

    References:
        MNIST-M: Ganin, Lempitsky, Unsupervised Domain Adaptation by Backpropagation, 2015, Section 4.1
        [ganin2015unsupervised], with patches of the photographs of BSDS500; a domain that only the teacher saw in
        Ojha et al., Section 5.1 [ojha2023knowledge].
    """
    source = nested(of, split=split, what="source 'blended'")
    found = blended_of(
        source, nested(patches, split=split, what="source 'blended', patches"), seed=derive(seed, "blend", split)
    )
    return chosen(found, limit=limit, per_class=per_class, seed=subset_seed)


def blended_of(source: ArraySource, patches: ArraySource, *, seed: int = 0) -> ArraySource:
    """A grey source at hand over random patches, as `blended` does it.

    Args:
        source: grey images; classes and groups are kept.
        patches: images at least as large, in colour or grey.
        seed: of the patches and places.

    Raises:
        DataError: `source` is in colour, or the patches are too small.
    """
    require_grey(source, "source 'blended'")
    (_, height, width), (_, high, wide) = source.image_shape, patches.image_shape
    if high < height or wide < width:
        raise DataError(
            f"source 'blended': patches of {high} x {wide} pixels are smaller than images of {height} x {width}. "
            f"Give patches size: {max(height, width)} or more."
        )
    draws = uniforms(torch.arange(len(source)), seed=seed, epoch=1, draws=3).double()
    number = (draws[:, 0] * len(patches)).long()
    top, left = (draws[:, 1] * (high - height + 1)).long(), (draws[:, 2] * (wide - width + 1)).long()
    images = torch.empty((len(source), 3, height, width), dtype=torch.uint8)
    for start in range(0, len(source), _CHUNK):
        part = slice(start, start + _CHUNK)
        rows = (top[part, None] + torch.arange(height))[:, :, None]
        columns = (left[part, None] + torch.arange(width))[:, None, :]
        # Indices on both sides of the slice put the channels last.
        cut = patches.images[number[part, None, None], :, rows, columns].permute(0, 3, 1, 2)
        images[part] = (cut.to(torch.int16) - source.images[part].to(torch.int16)).abs().to(torch.uint8)
    return ArraySource(
        images, source.labels, source.class_names, groups=source.groups, group_names=source.group_names
    )
