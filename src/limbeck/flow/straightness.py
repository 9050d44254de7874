"""How straight the paths of a flow are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.errors import ConfigError


def straightness(states: Sequence[Tensor]) -> Tensor:
    """Mean squared difference between each step, stretched to the whole, and the chord from end to end.

    Args:
        states: from noise to data, N + 1 of them, each (n, ...), on a uniform grid.

    Returns:
        (n,): 0 for a straight path, and for every path of one step.

    Raises:
        ConfigError: fewer than two states.

    Example:
        >>> straightness([torch.zeros(1, 1), torch.ones(1, 1), torch.full((1, 1), 2.0)]).item()
        0.0
    """
    if len(states) < 2:
        raise ConfigError("straightness needs the states of a path: sample(..., keep=True).")
    steps = len(states) - 1
    chord = states[0] - states[-1]
    off = [((a - b) * steps - chord).square().flatten(1).mean(1) for a, b in itertools.pairwise(states)]
    return torch.stack(off).mean(0)


def curvature(states: Sequence[Tensor]) -> Tensor:
    """Mean angle between the steps of a path and its chord, in degrees.

    Args:
        states: from one end to the other, each (n, ...); the grid need not be uniform.

    Returns:
        (n,).

    Raises:
        ConfigError: fewer than two states.
    """
    if len(states) < 2:
        raise ConfigError("curvature needs the states of a path: sample(..., keep=True).")
    chord = (states[0] - states[-1]).flatten(1)
    steps = [(a - b).flatten(1) for a, b in itertools.pairwise(states)]
    angles = [torch.nn.functional.cosine_similarity(s, chord).clamp(-1, 1).acos() for s in steps]
    return torch.rad2deg(torch.stack(angles).mean(0))


def coupling_error(made: Tensor, by_teacher: Tensor) -> Tensor:
    """Mean squared difference to what the teacher makes of the same noise.

    Args:
        made: (n, ...).
        by_teacher: the same shape, from many steps of the teacher.

    Returns:
        (n,).
    """
    return (made - by_teacher).square().flatten(1).mean(1)
