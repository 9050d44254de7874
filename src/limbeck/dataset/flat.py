"""A network as a function of one flat vector of its parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from limbeck.errors import ModelError, ShapeError


class Flat:
    """A network whose weights are handed in.

    Parameters stand in the vector in the order of registration. Networks that keep statistics of what they have
    seen are refused: inside an unrolled loop those would change behind the back of the gradient.

    Args:
        model: any module from images to logits; used for its structure, and for its weights by `start`.

    Raises:
        ModelError: it has no parameters, or buffers that change while it trains.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model.train()
        self.names = [name for name, _ in model.named_parameters()]
        self.shapes = [tuple(p.shape) for p in model.parameters()]
        self.sizes = [p.numel() for p in model.parameters()]
        self.size = sum(self.sizes)
        if not self.size:
            raise ModelError(f"{type(model).__name__} has no parameters; there is nothing to match.")
        keeps = next((n for n, b in model.named_buffers() if n.endswith(("running_mean", "running_var"))), None)
        if keeps is not None:
            raise ModelError(
                f"{type(model).__name__} keeps running statistics ('{keeps}'), which an unrolled training loop "
                "cannot differentiate through. Take a network with instance or group norm, e.g. "
                "{name: convnet3, norm: instance}."
            )
        last = [m for m in model.modules() if isinstance(m, nn.Linear)]
        self._head = last[-1] if last else None

    @property
    def layout(self) -> list[tuple[str, tuple[int, ...]]]:
        """Name and shape of every parameter, in order."""
        return list(zip(self.names, self.shapes, strict=True))

    def start(self) -> Tensor:
        """The module's own weights, shape (parameters,)."""
        return torch.cat([p.detach().reshape(-1) for p in self.model.parameters()])

    def tensors(self, vector: Tensor) -> dict[str, Tensor]:
        """The vector cut into named parameters; views, so gradients flow.

        Raises:
            ShapeError: a vector of another network.
        """
        if vector.shape != (self.size,):
            raise ShapeError(
                f"these weights have {vector.numel():,} numbers, {type(self.model).__name__} has {self.size:,}: "
                "they belong to another architecture."
            )
        parts = vector.split(self.sizes)
        return {n: p.view(s) for n, p, s in zip(self.names, parts, self.shapes, strict=True)}

    def logits(self, vector: Tensor, images: Tensor) -> Tensor:
        """Images (n, c, h, w) to logits (n, classes) with these weights (parameters,)."""
        found = functional_call(self.model, self.tensors(vector), (images,))
        assert isinstance(found, Tensor)
        return found

    def embed(self, vector: Tensor, images: Tensor) -> Tensor:
        """Images (n, c, h, w) to the input of the last linear layer, (n, features)."""
        if self._head is None:
            raise ModelError(
                f"{type(self.model).__name__} has no linear layer, whose input would be the features."
            )
        seen: list[Tensor] = []
        handle = self._head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            functional_call(self.model, self.tensors(vector), (images,))
        finally:
            handle.remove()
        return seen[-1]

    def write(self, vector: Tensor) -> nn.Module:
        """The module, now holding these weights."""
        with torch.no_grad():
            for parameter, value in zip(self.model.parameters(), self.tensors(vector).values(), strict=True):
                parameter.copy_(value)
        return self.model
