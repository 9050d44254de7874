"""Consistency models: every point of a path is mapped to the same data.

The map is the flow's data prediction f(x_t, t) = x_t - t v(x_t, t), which is the identity at t = 0 by itself, so
that a flow's weights are a good start and one step is Euler's.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from limbeck.bounds import Fraction, PositiveInt
from limbeck.flow.kernels import time_of_sigma
from limbeck.flow.methods._base import Call, Ground, Method, WithTarget, frozen_of, require_teacher, same_draws
from limbeck.flow.path import data_of, per_image, point
from limbeck.flow.sigma_solver import sigma_grid
from limbeck.flow.velocity import Flow, Predicts
from limbeck.losses.pseudo_huber import pseudo_huber, squared_error
from limbeck.protocols import Batch

Loss = Literal["l2", "huber", "perceptual"]
_SIGMAS = (0.002, 80.0)
"""EDM's lowest and highest noise level."""


def consistency_distillation(
    ground: Ground, *, levels: PositiveInt = 40, target_ema: Fraction = 0.95, loss: Loss = "huber"
) -> Method:
    """Neighbours on the teacher's path, one Heun step apart, have the same data.

    The stage's times and objective are not used; levels are drawn uniformly. Pairs are asked about on their own
    chords; the published method draws noise that is independent of the data, as `on_data` does.

    Args:
        ground: student, teacher, a perceptual distance where the loss asks for one.
        levels: noise levels on EDM's grid; 40 in the paper on ImageNet 64, 18 on CIFAR-10.
        target_ema: decay of the network that the target is from, 0.95 in the paper on ImageNet 64; 0 is the
            student itself.
        loss: l2, huber, or perceptual, the stage's distance, which the paper uses (LPIPS).

    Raises:
        ConfigError: no teacher, or one that does not predict velocities.

    References:
        Song et al., Consistency Models, ICML 2023 [song2023consistency].
    """
    teacher = require_teacher(ground, "consistency_distillation")
    root = WithTarget(ground.student, copy.deepcopy(ground.student))
    return _Consistency(ground, root, teacher, (levels, levels), 1 - target_ema, loss, passes=4)


def consistency_training(
    ground: Ground,
    *,
    first_levels: PositiveInt = 2,
    last_levels: PositiveInt = 150,
    target_ema: Fraction = 0.0,
    loss: Loss = "huber",
) -> Method:
    """Without a teacher: the neighbour is a point of the same chord, on a grid that grows finer.

    N(k) = ceil(sqrt(k/K ((s1 + 1)^2 - s0^2) + s0^2) - 1) + 1 levels at step k of K.

    Args:
        ground: student, a perceptual distance where the loss asks for one.
        first_levels: s0, 2 in the paper.
        last_levels: s1, 150 in the paper on LSUN, 200 on ImageNet 64.
        target_ema: decay of the network that the target is from; 0, the student itself, is the improved
            training's.
        loss: l2, huber, or perceptual, the stage's distance.

    References:
        Song et al., Consistency Models, ICML 2023 [song2023consistency].
    """
    root = WithTarget(ground.student, copy.deepcopy(ground.student))
    levels = (first_levels, last_levels)
    return _Consistency(ground, root, None, levels, 1 - target_ema, loss, passes=2)


@dataclass
class _Consistency:
    ground: Ground
    root: nn.Module
    teacher: Flow | None
    levels: tuple[int, int]
    share: float
    loss: Loss
    passes: int
    predicts: Predicts = "consistency"
    needs_pairs: bool = False
    _now: int = field(default=-1, init=False)
    _grids: dict[int, Tensor] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        # EDM's levels, as far as the teacher has seen them; sampling begins at the highest one trained.
        low, high = (sigma / (1 + sigma) for sigma in _SIGMAS)
        if self.teacher is not None:
            low, high = max(low, self.teacher.trained[0]), min(high, self.teacher.trained[1])
        self._range = (low, high)
        self.ground.student.trained = self._range

    def losses(self, call: Call, batch: Batch) -> Tensor:
        """Distance of the student's data to the target's at the next lower level."""
        assert isinstance(self.root, WithTarget)
        x, labels = batch["x"], batch["labels"]
        number = int(batch["number"])
        if number != self._now:  # once a step, of however many batches it is made
            self.root.take(self.share if number else 1.0)
            self._now = number
        z = batch.get("z")
        z = torch.randn_like(x) if z is None else z
        grid = self._grid(number, x)
        place = torch.randint(len(grid) - 1, (len(x),), device=x.device)
        t, lower = grid[place], grid[place + 1]
        here = point(x, z, t)
        with same_draws(x.device) as again:
            mine = data_of(here, call(here, t, labels), t)
            with torch.no_grad():
                there = self._neighbour(x, z, here, t, lower, labels)
                target = self.root.target
                target.train(self.root.student.training)
                again()  # the same units are dropped in both networks
                wanted = data_of(there, target(there, lower, labels), lower)
        if self.loss == "perceptual":
            assert self.ground.distance is not None
            return self.ground.distance(mine, wanted)
        if self.loss == "l2":
            return squared_error(mine, wanted)
        # Huber's knee of consistency training, 0.00054 sqrt(d), and its weight 1 / (difference of levels).
        knee = 0.00054 * math.sqrt(x[0].numel())
        weight = 1 / (t / (1 - t) - lower / (1 - lower)).clamp_min(1e-3) if self.teacher is None else 1.0
        return weight * pseudo_huber(mine, wanted, c=knee, per_value=False)

    def _neighbour(
        self, x: Tensor, z: Tensor, here: Tensor, t: Tensor, lower: Tensor, labels: Tensor | None
    ) -> Tensor:
        if self.teacher is None:
            return point(x, z, lower)
        teacher = self.teacher.eval()
        step = per_image(lower - t, x)
        first = teacher(here, t, labels)
        second: Tensor = teacher(here + step * first, lower, labels)
        neighbour: Tensor = here + step * (first + second) / 2
        return neighbour

    def _grid(self, number: int, x: Tensor) -> Tensor:
        """Falling times at EDM's noise levels, as fine as it is the turn of this step."""
        low, high = self.levels
        done = min(number / max(self.ground.steps, 1), 1.0)
        count = math.ceil(math.sqrt(done * ((high + 1) ** 2 - low**2) + low**2) - 1) + 1
        count = max(count, 2)
        if count not in self._grids:
            low_sigma, high_sigma = (t / (1 - t) for t in self._range)
            sigmas = sigma_grid(count, sigma_min=low_sigma, sigma_max=high_sigma)[:-1]
            self._grids[count] = time_of_sigma(torch.tensor(sigmas, dtype=torch.float64)).to(x)
        return self._grids[count]

    def frozen(self) -> Mapping[str, nn.Module]:
        return frozen_of(self.ground, teacher=self.teacher is not None)
