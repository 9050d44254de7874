"""Listening to the insides of a detector for the length of one forward pass.

torchvision's detectors have no interface for what distillation needs: which prediction belongs to which object. It
is heard at a few of their methods. These are private, so their parameters are checked before anything is built on
them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import torchvision
from torch import nn

from limbeck.errors import ModelError


@dataclass(frozen=True)
class Seam:
    """A method that is relied on.

    Attributes:
        owner: dotted path of the object inside the detector; "" for the detector itself.
        method: of the owner.
        parameters: its parameters' names, in order, without self.
    """

    owner: str
    method: str
    parameters: tuple[str, ...]


def at(detector: nn.Module, path: str) -> Any:
    """The object at a dotted path, which need not be a module."""
    found: Any = detector
    for part in path.split(".") if path else ():
        found = getattr(found, part)
    return found


def check(detector: nn.Module, seams: Sequence[Seam]) -> None:
    """Make sure that a detector has the methods that are relied on.

    Raises:
        ModelError: a method is not there or takes other parameters; names both and torchvision's version.
    """
    kind = type(detector).__name__
    for seam in seams:
        where = f"{kind}.{seam.owner}.{seam.method}" if seam.owner else f"{kind}.{seam.method}"
        try:
            found = tuple(inspect.signature(getattr(at(detector, seam.owner), seam.method)).parameters)
        except AttributeError as error:
            raise ModelError(
                f"torchvision {torchvision.__version__}: {where} is not there ({error}), and the detector cannot "
                f"be watched without it. Expected: {seam.method}({', '.join(seam.parameters)})."
            ) from error
        if found != seam.parameters:
            raise ModelError(
                f"torchvision {torchvision.__version__}: {where} takes ({', '.join(found)}); expected was "
                f"({', '.join(seam.parameters)}). The detector cannot be watched; it was changed, or this "
                "torchvision is not one that Limbeck knows."
            )


class Recording:
    """What is heard of a detector inside the block; at its end the detector is as it was.

    Nothing stays between steps, so a copy of the detector, its state and its export know nothing of this.

    Attributes:
        found: by name.
    """

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def output(self, module: nn.Module, name: str) -> None:
        """Keep what a module returns."""

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self.found[name] = output

        self._undo.callback(module.register_forward_hook(hook).remove)

    def outputs(self, module: nn.Module, name: str) -> None:
        """Keep what a module returns each time it is called, in order."""
        kept = self.found.setdefault(name, [])

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            kept.append(output)

        self._undo.callback(module.register_forward_hook(hook).remove)

    def around(self, owner: Any, method: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Put something around a method of one object."""
        before = vars(owner).get(method)  # a wrapper of somebody else's
        setattr(owner, method, wrap(getattr(owner, method)))

        def undo() -> None:
            delattr(owner, method)
            if before is not None:
                setattr(owner, method, before)

        self._undo.callback(undo)
