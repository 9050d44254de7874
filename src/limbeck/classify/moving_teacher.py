"""A teacher that is the student itself, a little behind: the moving average of its weights."""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor, nn


class MovingTeacher(nn.Module):
    """Exponential moving average of a student, always in eval mode, never given a gradient.

    It belongs under the task's root, so that checkpoints hold it and a resumed run goes on with the same average.

    Args:
        student: copied as it stands, before any hook is put on it.
        decay: weight of the past at each optimizer step, between 0 and 1.

    References:
        Tarvainen, Valpola, Mean teachers are better role models, NeurIPS 2017 [tarvainen2017mean].
    """

    def __init__(self, student: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.network = copy.deepcopy(student).eval().requires_grad_(False)
        self._seen: int | None = None

    def train(self, mode: bool = True) -> Self:
        """It stays in eval mode, whatever the root around it is told."""
        return super().train(False)

    @torch.no_grad()
    def follow(self, student: nn.Module) -> None:
        """Take in the student's weights, once for each step of its optimizer.

        Asked again before the next step, as with accumulated batches, it does nothing.
        """
        marker = next(p for p in student.parameters() if p.requires_grad)._version
        if marker == self._seen:
            return
        self._seen = marker
        own, current = self.network.state_dict(), student.state_dict()
        for name, kept in own.items():
            if kept.is_floating_point():
                kept.lerp_(current[name], 1.0 - self.decay)
            else:
                kept.copy_(current[name])

    def forward(self, images: Tensor) -> object:
        """What the average puts out for normalised images."""
        return self.network(images)
