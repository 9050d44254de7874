"""Schedules of a term's weight over epochs."""

from __future__ import annotations

import math


def cosine_decay(epoch: float, *, start: float, total: float) -> float:
    r"""Factor of a weight: 1 up to an epoch, then half a cosine down to 0 at the last one.

    .. math:: \tfrac12 \left(1 + \cos\left(\pi \frac{e - e_0}{E - e_0}\right)\right), \quad e > e_0

    Args:
        epoch: counted from 1.
        start: the last epoch with factor 1 (e_0); 0 decays from the first epoch on.
        total: number of epochs (E).

    Returns:
        A factor between 0 and 1; 0 from the last epoch on, unless the decay never starts.

    Example:
        >>> [round(cosine_decay(e, start=2, total=4), 3) for e in (1, 2, 3, 4)]
        [1.0, 1.0, 0.5, 0.0]

    References:
        Schedule of the transport and feature terms of WKD [lv2024wasserstein].
    """
    if epoch <= start:
        return 1.0
    if epoch >= total:
        return 0.0
    return 0.5 * (1.0 + math.cos(math.pi * (epoch - start) / (total - start)))
