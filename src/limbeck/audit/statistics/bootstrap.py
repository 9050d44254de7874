"""The numbers of several networks on other draws of the same images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from limbeck import seeding
from limbeck.audit.tally import Tally
from limbeck.errors import ShapeError

DRAWS = 2000
"""Resampled sets of images: the standard error of a standard error is then 1.6 % of it."""
_CELLS = 1 << 20
"""Weights held at a time (8 MiB); the draws do not depend on anything but the seed and the number of images."""


def weightings(images: int, *, draws: int = DRAWS, seed: int = 0) -> Iterator[Tensor]:
    """How often each image is drawn when as many as there are are drawn with replacement.

    Args:
        images: in the set.
        draws: sets wanted.
        seed: the same seed and number of images give the same sets, so that numbers of different networks, and of
            different questions on the same images, are paired.

    Yields:
        Blocks of weights, shape (b, images), float64; `draws` rows in all, each adding up to `images`.
    """
    rows = max(1, min(draws, _CELLS // max(1, images)))
    one = torch.ones((), dtype=torch.float64)
    for block, start in enumerate(range(0, draws, rows)):
        size = min(rows, draws - start)
        generator = seeding.generator(seed, "bootstrap", images, block)
        drawn = torch.randint(images, (size, images), generator=generator)
        yield torch.zeros(size, images, dtype=torch.float64).scatter_add_(1, drawn, one.expand(size, images))


def replicated(tallies: Mapping[str, Tally], *, draws: int = DRAWS, seed: int = 0) -> dict[str, Tensor]:
    """Paired bootstrap over images: each number on `draws` resampled sets, the same sets for all networks.

    The replicates of a difference are the differences of the replicates; what two networks share on an image
    cancels in it.

    Args:
        tallies: name of a network -> its number, all on the same images in the same order.
        draws: resampled sets.
        seed: of the draws.

    Returns:
        Name -> numbers, shape (draws,), float64; not finite where a set leaves nothing to count.

    Raises:
        ShapeError: tallies of different numbers of images, which cannot be paired.

    Example:
        >>> from limbeck.audit.tally import share
        >>> right = share(torch.tensor([1.0, 1.0, 0.0, 1.0]))
        >>> twice = replicated({"a": right, "b": right}, draws=50)
        >>> twice["a"].shape, bool((twice["a"] == twice["b"]).all())
        (torch.Size([50]), True)

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6 [efron1993introduction].
    """
    sizes = {name: len(tally.columns) for name, tally in tallies.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ShapeError(f"networks can only be compared on the same images; counted were {listed} images.")
    if not any(sizes.values()):
        return {name: torch.full((draws,), torch.nan, dtype=torch.float64) for name in tallies}
    # One product for all networks: the weights are by far the largest array and are read once.
    columns = torch.cat([tally.columns for tally in tallies.values()], dim=1).to(torch.float64)
    widths = [tally.columns.shape[1] for tally in tallies.values()]
    found: dict[str, list[Tensor]] = {name: [] for name in tallies}
    for weights in weightings(len(columns), draws=draws, seed=seed):
        sums = (weights @ columns).split(widths, dim=1)
        for (name, tally), part in zip(tallies.items(), sums, strict=True):
            found[name].append(tally.summary(part))
    return {name: torch.cat(parts) for name, parts in found.items()}
