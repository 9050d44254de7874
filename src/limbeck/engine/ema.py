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
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take one step's weights into the average."""
        current = module.state_dict()
        names = [n for n, v in self.state.items() if v.is_floating_point()]
        torch._foreach_lerp_(
            [self.state[n] for n in names], [current[n].detach() for n in names], 1.0 - self.decay
        )
        for name in self.state.keys() - set(names):
            self.state[name].copy_(current[name])

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
