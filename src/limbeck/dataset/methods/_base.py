"""What every way of making a small set has in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from limbeck.dataset.real import Real
from limbeck.dataset.trajectories import Trajectories


@dataclass(frozen=True)
class Ground:
    """What a method begins with.

    Attributes:
        start: initial images, (n, c, h, w), in the space of networks.
        labels: (n,), each class as often as every other.
        real: the data that the set shall stand for.
        build: seed -> a network with fresh weights, on the device.
        seed: of everything random in the method.
        frozen: images and targets of earlier subsets, which count and stay (SeqMatch); targets are class indices
            or probabilities.
        trajectories: of the experts, for methods that follow them.
        initial: seed -> a network that has learnt the earlier subsets; `build` where there are none.
        teacher: a trained classifier in eval mode, for methods that ask one.
    """

    start: Tensor
    labels: Tensor
    real: Real
    build: Callable[[int], nn.Module]
    seed: int
    frozen: tuple[Tensor, Tensor] | None = None
    trajectories: Trajectories | None = None
    initial: Callable[[int], nn.Module] | None = None
    teacher: nn.Module | None = None

    @property
    def rows(self) -> tuple[Tensor, ...]:
        """Rows of each class among the initial images."""
        return tuple((self.labels == c).nonzero()[:, 0] for c in range(self.real.classes))


@dataclass(frozen=True)
class Learned:
    """What a method came to.

    Attributes:
        images: (n, c, h, w), in the space of networks.
        labels: (n,), int64.
        soft: learned probabilities (n, classes), or None.
        lr: learned rate, or None.
        factor: images that one stored image is decoded into along each side.
    """

    images: Tensor
    labels: Tensor
    soft: Tensor | None = None
    lr: float | None = None
    factor: int = 1


class Method(Protocol):
    """A way of making a small set; its randomness is a function of its seed and of the iteration."""

    images: Tensor
    """The images that are learnt."""

    def iteration(self, number: int) -> dict[str, float]:
        """Improve the images once.

        Args:
            number: counted from 0.

        Returns:
            What to record, `loss` among it.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """Everything that is needed to go on with the next iteration, bit for bit."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there."""
        ...

    def learned(self) -> Learned:
        """What it came to so far."""
        ...


def classes_of(targets: Tensor) -> Tensor:
    """Class indices (n,) of class indices, or of probabilities (n, classes)."""
    return targets.argmax(1) if targets.is_floating_point() else targets


class Momentum:
    """SGD with momentum on some tensors, each with its own rate; gradients are handed in.

    Args:
        tensors: name -> leaf that is changed in place.
        rates: name -> learning rate.
        momentum: 0.5 in every published program.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], rates: Mapping[str, float], *, momentum: float = 0.5
    ) -> None:
        self.tensors, self.rates, self.momentum = dict(tensors), dict(rates), momentum
        self.buffers = {name: torch.zeros_like(value) for name, value in tensors.items()}

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Move by these gradients; tensors without one stay, and so do their buffers."""
        for name, gradient in gradients.items():
            buffer = self.buffers[name].mul_(self.momentum).add_(gradient)
            self.tensors[name].sub_(buffer, alpha=self.rates[name])

    def state(self) -> dict[str, Tensor]:
        """Tensors and buffers, on the CPU."""
        found = {name: value.detach().cpu().clone() for name, value in self.tensors.items()}
        return found | {f"momentum.{name}": value.cpu().clone() for name, value in self.buffers.items()}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Tensors and buffers as they were."""
        for name, value in self.tensors.items():
            value.copy_(state[name])
            self.buffers[name].copy_(state[f"momentum.{name}"])
