"""Learning-rate schedules as pure functions of progress, so a resumed run needs no scheduler state."""

from __future__ import annotations

import math
from typing import Annotated

from annotated_types import Gt, Lt

from limbeck.bounds import Fraction, Positive


def constant(progress: float, epochs: float) -> float:
    """The same learning rate throughout."""
    return 1.0


def cosine(progress: float, epochs: float, *, final: Fraction = 0.0) -> float:
    """Half a cosine from 1 down to `final`.

    Args:
        progress: epochs done so far, fractional.
        epochs: epochs in all.
        final: factor at the end, 0 to 1.

    Example:
        >>> cosine(0.0, 10.0), round(cosine(5.0, 10.0), 3), cosine(10.0, 10.0)
        (1.0, 0.5, 0.0)
    """
    done = min(progress / epochs, 1.0)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * done))


def multi_step(
    progress: float,
    epochs: float,
    *,
    milestones: tuple[Positive, ...] = (150, 180, 210),
    factor: Positive = 0.1,
) -> float:
    """Multiply the learning rate by `factor` after each milestone.

    The defaults are those of the CIFAR-100 distillation literature (240 epochs).

    Args:
        progress: epochs done so far, fractional.
        epochs: epochs in all.
        milestones: epochs after which the rate drops.
        factor: what it is multiplied by.

    Example:
        >>> [round(multi_step(e, 240.0), 4) for e in (0.0, 149.9, 150.0, 215.0)]
        [1.0, 1.0, 0.1, 0.001]
    """
    return float(factor ** sum(progress >= milestone for milestone in milestones))


def one_cycle(
    progress: float,
    epochs: float,
    *,
    rise: Annotated[float, Gt(0), Lt(1)] = 0.3,
    start: Fraction = 0.04,
    final: Fraction = 4e-6,
) -> float:
    """Half a cosine up from `start` to 1, and another down to `final`; momentum stays as it is.

    The defaults are those of PyTorch's `OneCycleLR` (a 25th of the rate, then a 10,000th of that).

    Args:
        progress: epochs done so far, fractional.
        epochs: epochs in all.
        rise: share of the training after which the rate is highest, above 0 and below 1.
        start: factor at the beginning, 0 to 1.
        final: factor at the end, 0 to 1.

    Example:
        >>> [round(one_cycle(e, 10.0), 3) for e in (0.0, 1.5, 3.0, 6.5, 10.0)]
        [0.04, 0.52, 1.0, 0.5, 0.0]

    References:
        Super-convergence [smith2019superconvergence].
    """
    done = min(progress / epochs, 1.0)
    if done < rise:
        return cosine(1.0 - done / rise, 1.0, final=start)
    return cosine((done - rise) / (1.0 - rise), 1.0, final=final)


def warmed_up(factor: float, progress: float, warmup_epochs: float) -> float:
    """A schedule's factor under linear warm-up over the first epochs.

    Example:
        >>> warmed_up(1.0, 0.5, 2.0), warmed_up(0.5, 3.0, 2.0)
        (0.25, 0.5)
    """
    return factor * min(progress / warmup_epochs, 1.0) if warmup_epochs > 0 else factor
