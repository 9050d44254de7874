"""Direct regression from noise to data: the strongest and cheapest where one step is all that matters."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from limbeck.bounds import PositiveInt
from limbeck.flow.methods._base import Ground, Method, Plain
from limbeck.flow.times import steps_of


def direct(ground: Ground, *, k: PositiveInt = 1) -> Method:
    """Train on stored pairs at the times of a k-step sampler alone, 1, 1 - 1/k, ..., 1/k.

    Args:
        ground: student and objective; the stage's times are not used.
        k: steps of the sampler. 1 is knowledge distillation from noise to data. With more evaluations than k,
            samples get worse.

    References:
        Luhman and Luhman, Knowledge Distillation in Iterative Generative Models, 2021 [luhman2021knowledge].
    """
    return Plain(replace(ground, times=partial(steps_of, k=k)))
