"""A method as a task of the engine."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from limbeck.flow.methods._base import Method
from limbeck.protocols import Batch, StepOutput


class FlowTask:
    """Optimise a method's losses.

    Args:
        method: with its networks.
        label_dropout: share of labels that are left out, for guidance.
        accumulation: batches a step.
        epoch_batches: batches an epoch, whose last step may have fewer; needed to count steps where several
            batches make one.
    """

    def __init__(
        self,
        method: Method,
        *,
        label_dropout: float = 0.0,
        accumulation: int = 1,
        epoch_batches: int | None = None,
    ) -> None:
        self.method = method
        self.trainable: nn.Module = method.root
        self.frozen: Mapping[str, nn.Module] = method.frozen()
        self._label_dropout = label_dropout
        self._accumulation, self._epoch_batches = accumulation, epoch_batches

    def step(self, batch: Batch) -> StepOutput:
        """Mean loss of a batch."""
        batch = {**batch, "number": self._step_of(int(batch["number"]))}
        labels = batch["labels"]
        if labels is not None and self._label_dropout:
            left_out = torch.rand(len(labels), device=labels.device) < self._label_dropout
            batch = {**batch, "labels": labels.masked_fill(left_out, -1)}
        loss = self.method.losses(self.trainable, batch).mean()
        return StepOutput(loss, {self.name: loss.detach()})

    def _step_of(self, batch: int) -> int:
        """The optimizer step that a batch belongs to; methods follow schedules of steps."""
        if self._epoch_batches is None:
            return batch // self._accumulation
        epochs, place = divmod(batch, self._epoch_batches)
        return epochs * -(-self._epoch_batches // self._accumulation) + place // self._accumulation

    @property
    def name(self) -> str:
        """Of its only term, for the records."""
        return "flow"

    def start_epoch(self, epoch: int, epochs: float) -> None:
        """Nothing follows a schedule of epochs."""
