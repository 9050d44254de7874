"""Attention rollout: which patches flow into what a transformer decides on, over all of its blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limbeck.audit.attribution.input_gradient import require_no_layer
from limbeck.audit.attribution.layers import wrapped
from limbeck.audit.attribution.reading import require_targets
from limbeck.audit.attribution.token_grids import grid_of
from limbeck.errors import ConfigError, DataError, ModelError, TapError
from limbeck.taps import evaluating, first_tensor


def attention_rollout(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    layer: str | None = None,
    heads: Literal["mean", "max", "min"] = "mean",
) -> Tensor:
    """Product over blocks of attention, half of it the residual path, from the class token to the patches.

    The map is the same for every class. Works for vision transformers of timm, torchvision and Hugging Face that
    attend to all tokens; the network computes its attention step by step meanwhile and afterwards as before.

    Args:
        network: images in [0, 1] to logits; see `limbeck.audit.subjects.Network`.
        images: in [0, 1], shape (n, c, h, w).
        targets: shape (n,), int64; without influence on the map.
        layer: has to be left out; all blocks are read.
        heads: how the heads of a block become one.

    Returns:
        Maps of the grid's size, shape (n, rows, columns), at least zero; over all tokens, the class token's share
        among them, they would sum to 1. Without a class token the mean over all tokens' maps.

    Raises:
        ModelError: a network without attention between all tokens (convolutional, or in windows).
        DataError: attention that is not finite.
        ConfigError: a layer was named.

    References:
        Attention rollout [abnar2020quantifying], section 3.
    """
    require_no_layer("attention_rollout", layer)
    require_targets(images, targets)
    if heads not in ("mean", "max", "min"):
        raise ConfigError(f"attention_rollout: heads is 'mean', 'max' or 'min', got {heads!r}.")
    model = wrapped(network)
    rollout = _Rollout(len(images), heads)
    with _attention(model, rollout), evaluating(network), torch.no_grad():
        network(images)
    flow = rollout.flow
    if flow is None or rollout.foreign:
        seen = f" in every block (attention of shape {rollout.foreign} was seen)" if rollout.foreign else ""
        raise ModelError(
            f"attention_rollout: {type(model).__name__} has no attention between all tokens of an image{seen}. It "
            "takes vision transformers of timm, torchvision and Hugging Face; use grad_cam for other networks."
        )
    if not bool(flow.isfinite().all()):
        row = int((~flow.isfinite()).flatten(1).any(dim=1).nonzero()[0])
        raise DataError(f"attention_rollout: the attention for image {row} of the batch is not finite.")
    prefix = getattr(model, "num_prefix_tokens", None)
    try:
        front, rows, columns = grid_of(flow.shape[1], height=rollout.size[0], width=rollout.size[1], prefix=prefix)
    except TapError as error:
        raise ModelError(f"attention_rollout: {type(model).__name__}: {error}") from error
    read = flow[:, 0] if front else flow.mean(dim=1)
    return read[:, front:].reshape(len(read), rows, columns)


class _Rollout:
    """The product so far; blocks are multiplied in as they run, and nothing else is kept."""

    def __init__(self, images: int, heads: str) -> None:
        self.flow: Tensor | None = None
        self.foreign: tuple[int, ...] = ()
        self.size = (1, 1)
        self._images = images
        self._heads = heads
        self._last: Tensor | None = None

    def add(self, weights: Any) -> None:
        """Multiply in one block.

        Args:
            weights: after the softmax, shape (n, heads, tokens, tokens); anything else is passed over.
        """
        if not isinstance(weights, Tensor) or weights.ndim != 4 or weights is self._last:
            return
        if weights.shape[2] != weights.shape[3]:
            return  # a pooling that attends to the tokens from outside
        if weights.shape[0] != self._images or (self.flow is not None and self.flow.shape[1] != weights.shape[2]):
            self.foreign = tuple(weights.shape)
            return
        self._last = weights  # modules inside each other hand on the same tensor
        weights = weights.float() if weights.dtype != torch.float64 else weights
        one = weights.mean(dim=1) if self._heads == "mean" else getattr(weights, f"a{self._heads}")(dim=1)
        one = one + torch.eye(one.shape[-1], dtype=one.dtype, device=one.device)
        one = one / one.sum(dim=-1, keepdim=True)
        self.flow = one if self.flow is None else one @ self.flow


@contextmanager
def _attention(model: nn.Module, rollout: _Rollout) -> Iterator[None]:
    """Inside the block every attention of the model shows its weights."""
    with ExitStack() as stack:

        def note_size(_: nn.Module, arguments: Any, keywords: Any) -> None:
            given = first_tensor((arguments, keywords))
            if given is not None and given.ndim == 4:
                rollout.size = (given.shape[2], given.shape[3])

        stack.callback(model.register_forward_pre_hook(note_size, with_kwargs=True).remove)
        for module in model.modules():
            for hook in _hooks(module, rollout, stack):
                stack.callback(hook.remove)
        yield


def _hooks(module: nn.Module, rollout: _Rollout, stack: ExitStack) -> list[torch.utils.hooks.RemovableHandle]:
    if isinstance(module, nn.MultiheadAttention):

        def ask(_: nn.Module, arguments: Any, keywords: Any) -> Any:
            return arguments, {**keywords, "need_weights": True, "average_attn_weights": False}

        return [
            module.register_forward_pre_hook(ask, with_kwargs=True),
            module.register_forward_hook(lambda _, __, output: rollout.add(output[1])),
        ]
    drop = getattr(module, "attn_drop", None)
    if isinstance(drop, nn.Module) and hasattr(
        module, "fused_attn"
    ):  # timm: dropout takes the weights, if not fused
        _set(stack, module, "fused_attn", False)
        return [drop.register_forward_hook(lambda _, __, output: rollout.add(output))]
    config: Any = getattr(module, "config", None)
    if "attention" in type(module).__name__.lower() and hasattr(config, "_attn_implementation"):  # Hugging Face
        _set(stack, config, "_attn_implementation", "eager")

        def second(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, tuple) and len(output) > 1:
                rollout.add(output[1])

        return [module.register_forward_hook(second)]
    return []


def _set(stack: ExitStack, holder: Any, name: str, value: Any) -> None:
    """Set an attribute until the stack unwinds."""
    before = getattr(holder, name)
    restore: Callable[..., None] = setattr
    setattr(holder, name, value)
    stack.callback(restore, holder, name, before)
