"""MeanFlow: the mean velocity over an interval, so that one step crosses it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limbeck.bounds import Fraction, NonNegative, Positive
from limbeck.errors import ConfigError
from limbeck.flow.methods._base import Call, Ground, Method, chord_of, frozen_of
from limbeck.flow.path import END, per_image
from limbeck.flow.velocity import Predicts
from limbeck.losses.pseudo_huber import squared_error
from limbeck.protocols import Batch


def mean_flow(
    ground: Ground,
    *,
    mean: float = -4.0,
    std: Positive = 1.6,
    share_equal: Fraction = 0.25,
    power: NonNegative = 0.75,
    floor: Positive = 1e-2,
) -> Method:
    """Learn u(x_t, r, t) = v - (t - r) du/dt, with the derivative along the path by forward differentiation.

    v is z - x of the chord. On a teacher's pairs it is Re-MeanFlow, whose authors keep the U-shaped times; on data
    with independent noise, logit-normal times are usual. The stage's objective is not used.

    Args:
        ground: student with `interval: true`, times.
        mean: of the logit of r, which is then cut to at most t; -4 in the released configuration for CIFAR-10.
        std: of the logit of r; 1.6 there.
        share_equal: share of the batch where r = t, which is plain flow matching.
        power: of the weight 1 / (error + floor)^power, where the error is the mean over an image's values.
        floor: of that weight.

    Raises:
        ConfigError: several processes; a forward derivative through the wrapper of several processes would leave
            its gradients unsummed.

    References:
        Geng et al., Mean Flows for One-step Generative Modeling, NeurIPS 2025 [geng2025mean].
    """
    if ground.world > 1:
        raise ConfigError("mean_flow trains in one process: start it without accelerate launch.")
    return _MeanFlow(ground, ground.student, mean, std, share_equal, power, floor)


@dataclass
class _MeanFlow:
    ground: Ground
    root: nn.Module
    mean: float
    std: float
    share_equal: float
    power: float
    floor: float
    predicts: Predicts = "average velocity"
    passes: int = 2
    needs_pairs: bool = False

    def __post_init__(self) -> None:
        # Beyond the times that a diffusion teacher has seen, what its network is told of the time grows without
        # bound, and the derivative with it. Sampling then begins where training ends.
        teacher, student = self.ground.teacher, self.ground.student
        self._last = student.begin if teacher is None else teacher.begin
        student.trained = (END, self._last)

    def _times(self, quantile: Tensor) -> Tensor:
        return self.ground.times(quantile).clamp(max=self._last)

    def losses(self, call: Call, batch: Batch) -> Tensor:
        """Weighted squared error of the mean velocity."""
        chord = chord_of(batch, self._times)
        labels, t, v = batch["labels"], chord.t, chord.velocity
        n = len(t)
        r = torch.minimum(torch.sigmoid(self.mean + self.std * torch.randn_like(t)), t)
        r = torch.where(torch.rand(n, device=t.device) < self.share_equal, t, r)
        flow = self.root

        def average(x: Tensor, time: Tensor, length: Tensor) -> Tensor:
            found: Tensor = flow(x, time, labels, length)
            return found

        # r stays while t moves, so the length of the interval grows with t.
        ones = torch.ones_like(t)
        with warnings.catch_warnings():
            # Torch scripts its own derivative rules the first time that it is asked for one, and warns of it.
            warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
            u, rate = torch.func.jvp(  # type: ignore[misc]  # without has_aux there are two
                average, (chord.point, t, t - r), (v, ones, ones)
            )
        target = (v - per_image(t - r, v) * rate).detach()
        error = squared_error(u, target)
        return error / (error.detach() + self.floor).pow(self.power)

    def frozen(self) -> Mapping[str, nn.Module]:
        return frozen_of(self.ground)
