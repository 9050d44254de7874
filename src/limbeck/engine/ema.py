"""Exponential moving average of a module's weights, kept beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Average of every floating-point entry of a state dict; counters are copied.

    Held as tensors and not as a copy of the module: a copy would carry along whatever hooks are on it.

    Args:
        module: whose weights are averaged.
        decay: weight of the past at each step, 0 to 1.
        start: up to this step the average is a copy of the weights.
        warm_up: average shorter at first, min(decay, (1 + k) / (10 + k)) at the k-th step after the start, so that
            a random initialisation is forgotten quickly.
    """

    def __init__(self, module: nn.Module, decay: float, *, start: int = 0, warm_up: bool = False) -> None:
        self.decay = decay
        self._start, self._warm_up = start, warm_up
        current = module.state_dict()  # views of the module's own tensors, valid as long as it trains in place
        self.state = {name: value.detach().clone() for name, value in current.items()}
        averaged = [name for name, value in current.items() if value.is_floating_point()]
        self._averages = [self.state[name] for name in averaged]
        self._weights = [current[name].detach() for name in averaged]
        self._counters = [(self.state[n], current[n]) for n in current if n not in set(averaged)]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take one step's weights into the average.

        Args:
            step: optimizer steps done, this one among them.
        """
        decay = self.decay if step > self._start else 0.0
        if self._warm_up:
            after = step - self._start
            decay = min(decay, (1 + after) / (10 + after))
        torch._foreach_lerp_(self._averages, self._weights, 1.0 - decay)
        for kept, current in self._counters:
            kept.copy_(current)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over an average from a checkpoint."""
        for name, value in state.items():
            self.state[name].copy_(value)

    @contextmanager
    def swapped(self, module: nn.Module) -> Iterator[None]:
        """The averaged weights inside the module for the length of the block."""
        own = {name: value.detach().clone() for name, value in module.state_dict().items()}
        module.load_state_dict(self.state)
        try:
            yield
        finally:
            module.load_state_dict(own)
