"""What a classifier puts out, whatever it is wrapped in."""

from __future__ import annotations

from torch import Tensor

from limbeck.errors import ModelError


def logits_of(output: object) -> Tensor:
    """The logits in a model's output: the tensor itself, or `.logits` of a Hugging Face output.

    Raises:
        ModelError: there is no tensor of shape (n, C) in it.
    """
    found = getattr(output, "logits", output)
    if isinstance(found, dict):
        found = found.get("logits")
    if isinstance(found, tuple | list) and found:
        found = found[0]
    if isinstance(found, Tensor) and found.ndim == 2:
        return found
    shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    raise ModelError(f"a classifier has to put out logits of shape (n, C); this one puts out {shape}.")
