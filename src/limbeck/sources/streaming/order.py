"""The order of a streamed epoch: chunks shuffled, then rows within windows of chunks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from limbeck.seeding import derive, permutation


def shuffled_order(visits: Tensor, bounds: Tensor, *, buffer: int, seed: int, epoch: int) -> Tensor:
    """Every index once, in an order that needs about `buffer` rows in memory at a time.

    Chunks are taken in the order of `visits` and gathered in windows of about equally many rows; within a window
    all orders of its rows are equally likely. So a row may stand next to any row of the chunks that came into its
    window, and with `buffer` of at least the whole set every order of the set is equally likely.

    Args:
        visits: chunks in the order in which they are read, shape (chunks,), int64.
        bounds: index of the first row of every chunk, and the number of rows at the end, shape (chunks + 1,).
        buffer: rows of a window; it has at most one chunk more.
        seed: of the order.
        epoch: counted from 1.

    Returns:
        Shape (rows,), int64.

    Example:
        >>> bounds = torch.tensor([0, 3, 5, 9])
        >>> order = shuffled_order(torch.tensor([2, 0, 1]), bounds, buffer=4, seed=0, epoch=1)
        >>> sorted(order[:4].tolist()), sorted(order[4:].tolist())
        ([5, 6, 7, 8], [0, 1, 2, 3, 4])
    """
    found = []
    for number, chunks in enumerate(windows(visits, bounds, buffer=buffer)):
        rows = torch.cat([torch.arange(int(bounds[c]), int(bounds[c + 1])) for c in chunks.tolist()])
        found.append(rows[permutation(len(rows), derive(seed, "window", number), epoch)])
    return torch.cat(found)


def windows(visits: Tensor, bounds: Tensor, *, buffer: int) -> Iterator[Tensor]:
    """The visits, cut where about equally many rows come together: `buffer` and one chunk at the most."""
    sizes = (bounds[1:] - bounds[:-1])[visits]
    visits, sizes = visits[sizes > 0], sizes[sizes > 0]
    total = int(sizes.sum())
    count = max(1, -(-total // buffer))
    ends = sizes.cumsum(0)
    first = 0
    for number in range(1, count + 1):
        # The first chunk that reaches the cut is the window's last.
        last = int(torch.searchsorted(ends, torch.tensor(-(-total * number // count)))) + 1
        if last > first:
            yield visits[first:last]
        first = max(first, last)
