"""What every small velocity network begins with: numbers for the time, the class and the interval."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from limbeck.errors import ModelError


class Conditioning(nn.Module):
    """Time, class and interval as one vector.

    Args:
        width: of the vector.
        classes: 0 for an unconditional network.
        interval: whether the length of an interval is told as well; its layer begins at zero, so that a flow's
            weights give the same function at first.
        frequencies: sines and cosines of multiples of pi t.
    """

    def __init__(self, width: int, *, classes: int, interval: bool, frequencies: int = 8) -> None:
        super().__init__()
        self.classes = classes
        scales = math.pi * 2.0 ** torch.arange(frequencies).float().div(2)
        self.scales: Tensor
        self.register_buffer("scales", scales, persistent=False)
        self.time = nn.Sequential(nn.Linear(1 + 2 * frequencies, width), nn.SiLU(), nn.Linear(width, width))
        # Without a bias: no class at all is the zero vector, as in EDM.
        self.label = nn.Linear(classes, width, bias=False) if classes else None
        self.interval = nn.Linear(1 + 2 * frequencies, width) if interval else None
        if self.interval is not None:
            nn.init.zeros_(self.interval.weight)
            nn.init.zeros_(self.interval.bias)

    def forward(self, time: Tensor, labels: Tensor | None, interval: Tensor | None) -> Tensor:
        """Times (n,), labels (n,) or None, intervals (n,) or None, to (n, width)."""
        out: Tensor = self.time(self._waves(time))
        if self.label is not None:
            out = out + self.label(one_hot(labels, self.classes, out))
        elif labels is not None and not torch.compiler.is_compiling() and bool((labels >= 0).any()):
            raise ModelError("a class was given to a network that knows none; build it with classes: <how many>.")
        if interval is not None:
            if self.interval is None:
                raise ModelError(
                    "an interval was given to a network of instantaneous velocities; build it with interval: true."
                )
            out = out + self.interval(self._waves(interval))
        return out

    def _waves(self, time: Tensor) -> Tensor:
        angles = time.float()[:, None] * self.scales
        return torch.cat([time.float()[:, None], angles.sin(), angles.cos()], dim=1)


def one_hot(labels: Tensor | None, classes: int, like: Tensor) -> Tensor:
    """Labels as rows; -1 and None give rows of zeros.

    Raises:
        ModelError: a label beyond the number of classes.
    """
    rows = torch.zeros(like.shape[0], classes, dtype=like.dtype, device=like.device)
    if labels is None:
        return rows
    if not torch.compiler.is_compiling() and bool((labels >= classes).any()):
        raise ModelError(
            f"label {int(labels.max())} is beyond the {classes} classes of the network (0 to {classes - 1})."
        )
    known = (labels >= 0).to(like.dtype)[:, None]
    return rows.scatter(1, labels.clamp_min(0)[:, None], known)
