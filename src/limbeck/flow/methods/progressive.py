"""Progressive distillation: one step of the student for two of its teacher, then the student teaches."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError
from limbeck.flow.methods._base import Call, Ground, Method, WithTarget, frozen_of, require_teacher
from limbeck.flow.objectives import Chord
from limbeck.flow.path import END, per_image
from limbeck.flow.velocity import Predicts
from limbeck.protocols import Batch


def progressive(ground: Ground, *, start: PositiveInt = 16) -> Method:
    """Halve the number of steps again and again, from `start` steps of the student down to one.

    The stages of two steps and of one get twice the iterations of the others, as in the consistency models'
    comparison. Pairs are asked about on their own chords; the published method draws independent noise.

    Args:
        ground: student, teacher, objective; the stage's times are not used, since the grids give them.
        start: steps of the first student, a power of two; its teacher takes twice as many.

    Raises:
        ConfigError: no teacher of velocities, one of another network, a start that is no power of two, or fewer
            training steps than stages.

    References:
        Salimans and Ho, Progressive Distillation for Fast Sampling of Diffusion Models, ICLR 2022
        [salimans2022progressive].
    """
    if start & (start - 1):
        raise ConfigError(f"progressive: start is a power of two (4, 8, 16, ...); got {start}.")
    teacher = require_teacher(ground, "progressive")
    root = WithTarget(ground.student, copy.deepcopy(teacher))
    if [p.shape for p in root.student.parameters()] != [p.shape for p in root.target.parameters()]:
        raise ConfigError("progressive: every student becomes a teacher, so both have the same network.")
    return _Progressive(ground, root, _stages(start, ground.steps))


@dataclass
class _Progressive:
    ground: Ground
    root: nn.Module
    stages: list[tuple[int, int]]
    """(first step, grid steps) of each stage."""
    predicts: Predicts = "velocity"
    passes: int = 3
    needs_pairs: bool = False
    _now: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        # A teacher knows nothing of later times than it was trained on, and then its student neither.
        assert self.ground.teacher is not None
        self._begin = self.ground.teacher.begin
        self.ground.student.trained = (END, self._begin)

    def losses(self, call: Call, batch: Batch) -> Tensor:
        """The student's one step against the mean velocity of the teacher's two."""
        assert isinstance(self.root, WithTarget)
        number = int(batch["number"])
        steps = [grid for first, grid in self.stages if first <= number][-1]
        if number != self._now and any(first == number for first, _ in self.stages[1:]):
            self.root.take(1.0)  # the student of the stage before teaches from here on
        self._now = number
        x = batch["x"]
        z = batch.get("z")
        z = torch.randn_like(x) if z is None else z
        place = torch.randint(1, steps + 1, (len(x),), device=x.device)
        width = self._begin / steps
        chord = Chord(x, z, place.to(x.dtype) * width)
        with torch.no_grad():
            target = self._two_steps(chord, width, batch["labels"])
        # The objective compares with z - x of the chord: a chord from the target's far end has just this velocity.
        at = per_image(chord.t, x)
        aimed = Chord(chord.point - at * target, chord.point + (1 - at) * target, chord.t)
        return self.ground.objective(aimed, call(chord.point, chord.t, batch["labels"]), self.ground.distance)

    def _two_steps(self, chord: Chord, width: float, labels: Tensor | None) -> Tensor:
        assert isinstance(self.root, WithTarget)
        teacher, t = self.root.target.eval(), chord.t
        first = teacher(chord.point, t, labels)
        middle = chord.point - width / 2 * first
        second = teacher(middle, t - width / 2, labels)
        mean: Tensor = (first + second) / 2
        return mean

    def frozen(self) -> Mapping[str, nn.Module]:
        return frozen_of(self.ground)


def _stages(start: int, steps: int) -> list[tuple[int, int]]:
    grids = [start >> halving for halving in range(int(math.log2(start)) + 1)]
    shares = [2 if grid <= 2 else 1 for grid in grids]
    if steps < sum(shares):
        raise ConfigError(f"progressive: {len(grids)} stages need more than {steps} steps; give a smaller start.")
    firsts = [round(steps * sum(shares[:i]) / sum(shares)) for i in range(len(grids))]
    return list(zip(firsts, grids, strict=True))
