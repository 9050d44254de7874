"""What every method is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.flow.objectives import Chord, Distance
from limbeck.flow.velocity import Flow, Predicts
from limbeck.protocols import Batch

Call = Callable[..., Tensor]
"""The student as the loop wraps it: (x, t, labels, *interval) to a velocity."""


@dataclass(frozen=True)
class Ground:
    """What a method works with.

    Attributes:
        student: the flow that learns.
        teacher: the flow that made the pairs, or None.
        times: uniform quantiles (n,) to training times.
        objective: (chord, velocity, distance) to a loss for each image, (n,).
        distance: a perceptual one, or None.
        steps: optimizer steps in all.
        world: processes.
    """

    student: Flow
    teacher: Flow | None
    times: Callable[[Tensor], Tensor]
    objective: Callable[[Chord, Tensor, Distance | None], Tensor]
    distance: Distance | None
    steps: int
    world: int = 1


class Method(Protocol):
    """A method bound to its networks: what the training loop asks for.

    Attributes:
        root: everything that is trained and checkpointed; called like the student.
        predicts: what the student's velocity is for in the end.
        passes: forward passes of the network for each image and step, teachers' among them; the paper's unit of
            cost.
        needs_pairs: whether data and noise have to belong together.
    """

    root: nn.Module
    predicts: Predicts
    passes: int
    needs_pairs: bool

    def losses(self, call: Call, batch: Batch) -> Tensor:
        """Loss of each image, (n,).

        Args:
            call: the student as the loop wraps it.
            batch: "x" data and "labels" (or None), "z" the noise of a pair where there is one, "number" of the
                optimizer step counted from the start of training, the same for all batches of a step.
        """
        ...

    def frozen(self) -> Mapping[str, nn.Module]:
        """Teachers that it asks."""
        ...


class WithTarget(nn.Module):
    """A student beside a copy of itself that no gradient reaches, so that both are in the checkpoint.

    Args:
        student: that learns.
        target: the copy.
    """

    def __init__(self, student: Flow, target: Flow) -> None:
        super().__init__()
        self.student = student
        self.target = target.requires_grad_(False)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None, *interval: Tensor) -> Tensor:
        """The student's velocity."""
        found: Tensor = self.student(x, t, labels, *interval)
        return found

    @torch.no_grad()
    def take(self, share: float) -> None:
        """Let the copy take over a share of the student's weights, 1 for all of them."""
        for kept, now in zip(self.target.parameters(), self.student.parameters(), strict=True):
            kept.lerp_(now, share)
        # Weights belong to their buffers: a student that began afresh has frequencies of its own.
        for buffer, current in zip(self.target.buffers(), self.student.buffers(), strict=True):
            buffer.copy_(current)


def student_of(root: nn.Module) -> Flow:
    """The flow in a method's root."""
    found = root.student if isinstance(root, WithTarget) else root
    assert isinstance(found, Flow)
    return found


def chord_of(batch: Batch, times: Callable[[Tensor], Tensor]) -> Chord:
    """Data, noise and a time drawn for each image from torch's own generator."""
    x, z = batch["x"], batch.get("z")
    quantile = torch.rand(len(x), device=x.device)
    return Chord(x, z if z is not None else torch.randn_like(x), times(quantile))


def require_teacher(ground: Ground, method: str) -> Flow:
    """The teacher.

    Raises:
        ConfigError: there is none, or one without velocities.
    """
    if ground.teacher is None:
        raise ConfigError(f"{method} asks a teacher while it trains: teacher: <a stage or a flow's file>.")
    if ground.teacher.predicts != "velocity":
        raise ConfigError(f"{method} needs a teacher of velocities; this one predicts {ground.teacher.predicts}.")
    return ground.teacher


@contextmanager
def same_draws(device: torch.device) -> Iterator[Callable[[], None]]:
    """Gives a function that sets torch's generator back to where it was, so that dropout drops the same again."""
    cuda = device.type == "cuda"
    before = torch.cuda.get_rng_state(device) if cuda else torch.get_rng_state()

    def again() -> None:
        if cuda:
            torch.cuda.set_rng_state(before, device)
        else:
            torch.set_rng_state(before)

    yield again


@dataclass
class Plain:
    """A method that trains the student alone.

    Attributes:
        ground: what it was given.
        root: the student.
        passes: forward passes for each image and step.
        predicts: a velocity.
        needs_pairs: whether data and noise have to belong together.
    """

    ground: Ground
    passes: int = 1
    predicts: Predicts = "velocity"
    needs_pairs: bool = True
    root: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        self.root = self.ground.student

    def losses(self, call: Call, batch: Batch) -> Tensor:
        """The objective on a chord at a drawn time."""
        chord = chord_of(batch, self.ground.times)
        return self.ground.objective(chord, call(chord.point, chord.t, batch["labels"]), self.ground.distance)

    def frozen(self) -> Mapping[str, nn.Module]:
        """None but a perceptual network."""
        return frozen_of(self.ground)


def frozen_of(ground: Ground, *, teacher: bool = False) -> Mapping[str, nn.Module]:
    """The perceptual network and, if asked for, the teacher."""
    found: dict[str, nn.Module] = {}
    if isinstance(ground.distance, nn.Module):
        found["distance"] = ground.distance
    if teacher and ground.teacher is not None:
        found["teacher"] = ground.teacher
    return found
