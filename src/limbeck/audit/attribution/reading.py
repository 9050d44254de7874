"""One layer's map and the gradient of a class score with respect to it, in one pass forward and one back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.audit.attribution.layers import ACTIVATION, Watch, map_layer, wrapped
from limbeck.audit.attribution.token_grids import as_maps
from limbeck.errors import DataError, ShapeError, TapError
from limbeck.models.outputs import logits_of
from limbeck.taps import evaluating, first_tensor, resolve


def read_map(
    network: nn.Module, images: Tensor, targets: Tensor, layer: str | None = None
) -> tuple[Tensor, Tensor]:
    """What a layer puts out, and the gradient of each image's class score with respect to it.

    The score is the logit, before any softmax. What lies in front of the layer runs without gradients, so the cost
    backwards is that of what lies behind. The network is left as it was; its parameters get no gradient and may be
    frozen. A later module may overwrite the map in place: what is returned is a copy.

    Args:
        network: images to logits (n, classes).
        images: in [0, 1], shape (n, c, h, w).
        targets: the class asked about, shape (n,), int64.
        layer: tap path relative to `network.model`, `:input` or `:activation` allowed behind it; found by
            `map_layer` unless given. Of tokens the class tokens are left out.

    Returns:
        Maps and gradients, both (n, channels, rows, columns).

    Raises:
        TapError: no such layer (with the nearest), one that does not run, or one without influence on the logits.
        DataError: maps or gradients that are not finite.
        ShapeError: targets of another shape or kind.
    """
    require_targets(images, targets)
    if layer is None:
        layer = map_layer(network, images[:1])
    reader = _Reader(wrapped(network), layer)
    with reader, evaluating(network), torch.no_grad():
        logits = logits_of(network(images))
    score = class_scores(logits, targets)
    leaf = reader.leaf
    if leaf is None:
        raise TapError(
            f"attribution: layer '{layer}' did not fire: the module did not run, or its output holds no tensor. "
            "`limbeck show MODEL --taps` lists what fires."
        )
    gradient = _gradient(score, leaf, layer)
    if leaf.shape[0] != len(images):
        raise TapError(
            f"attribution: layer '{layer}' puts out {leaf.shape[0]} rows for {len(images)} images (windows of "
            "them, say), so its maps belong to no image. Take a layer that keeps the images apart."
        )
    maps, gradients = (reader.maps(values.detach()) for values in (leaf, gradient))
    _require_finite(layer, maps, gradients)
    if leaf.ndim == 3 and not bool(gradients.any()) and bool(gradient.any()):
        raise TapError(
            f"attribution: no token of '{layer}' but the class token has any influence on the logits, so every "
            "map would be zero. Take the normalised input of the last block's attention ('blocks.11.norm1', say)."
        )
    return maps, gradients


def class_scores(logits: Tensor, targets: Tensor) -> Tensor:
    """The logit of each image's class, shape (n,).

    Raises:
        DataError: a class that the network does not know.
    """
    low, high = (int(targets.min()), int(targets.max())) if len(targets) else (0, 0)
    if low < 0 or high >= logits.shape[1]:
        raise DataError(
            f"attribution: classes run from {low} to {high}, but the network has {logits.shape[1]} "
            f"(0 to {logits.shape[1] - 1})."
        )
    return logits.gather(1, targets.to(logits.device)[:, None])[:, 0]


def require_targets(images: Tensor, targets: Tensor) -> None:
    """Require one class for each image.

    Raises:
        ShapeError: images or targets of another shape or kind.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise ShapeError(
            f"attribution: images are floats in [0, 1] of shape (n, c, h, w); got {images.dtype} of shape "
            f"{tuple(images.shape)}."
        )
    if tuple(targets.shape) != (len(images),) or targets.dtype != torch.int64:
        raise ShapeError(
            f"attribution: expected one class (int64) for each of {len(images)} images; got {targets.dtype} of "
            f"shape {tuple(targets.shape)}."
        )


def _gradient(score: Tensor, leaf: Tensor, layer: str) -> Tensor:
    found = torch.autograd.grad(score.sum(), leaf, allow_unused=True)[0] if score.requires_grad else None
    if found is None:
        raise TapError(
            f"attribution: the logits do not depend on what '{layer}' puts out, or the network takes no gradients "
            "(it detaches, or runs in inference mode). Take a layer on the way to the logits."
        )
    return found


def _require_finite(layer: str, maps: Tensor, gradients: Tensor) -> None:
    for what, values in (("puts out values", maps), ("has gradients", gradients)):
        broken = ~values.isfinite().flatten(1).all(dim=1)
        if bool(broken.any()):
            raise DataError(
                f"attribution: layer '{layer}' {what} that are not finite, first for image "
                f"{int(broken.nonzero()[0])} of the batch ({int(broken.sum())} of {len(values)} in all). "
                "Are the images finite, and did the training of the network converge?"
            )


class _Reader:
    """Puts a leaf in the place of what a layer puts out; gradients begin there."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        path, _, side = layer.partition(":")
        self.side = side
        self.leaf: Tensor | None = None
        self.size = (1, 1)
        # Unknown paths and sides are told apart by the taps, which know the nearest name.
        name = resolve(model, path if side == ACTIVATION else layer)[0].partition(":")[0]
        self._model = model
        self._target = model if name in ("", ".") else model.get_submodule(name)
        self._prefix: int | None = getattr(model, "num_prefix_tokens", None)
        self._stack = ExitStack()

    def __enter__(self) -> _Reader:
        watch = Watch(self._replaced)
        hooks = [self._model.register_forward_pre_hook(self._note_size, with_kwargs=True)]
        if self.side == "input":
            hooks.append(self._target.register_forward_pre_hook(self._replace_input, with_kwargs=True))
        elif self.side == ACTIVATION:
            hooks.append(self._target.register_forward_hook(lambda _, __, output: watch.expect(output)))
            self._stack.enter_context(watch)
        else:
            hooks.append(self._target.register_forward_hook(lambda _, __, output: self._swapped(output)))
        for hook in hooks:
            self._stack.callback(hook.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def maps(self, values: Tensor) -> Tensor:
        """What was read, or its gradient, as (n, c, rows, columns)."""
        height, width = self.size
        return as_maps(values, height=height, width=width, prefix=self._prefix)

    def _note_size(self, _: nn.Module, arguments: Any, keywords: Any) -> None:
        given = first_tensor((arguments, keywords))
        if given is not None and given.ndim == 4:
            self.size = (given.shape[2], given.shape[3])

    def _replaced(self, tensor: Tensor) -> Tensor:
        """The leaf's copy, which later modules may overwrite; a module that runs twice is read the last time."""
        torch.set_grad_enabled(True)  # until the block around the forward pass ends
        self.leaf = tensor.detach().clone().requires_grad_()
        return self.leaf.clone()

    def _swapped(self, output: Any) -> Any:
        """The output with the leaf in the place of its first tensor."""
        tensor = first_tensor(output)
        if tensor is None or not tensor.is_floating_point():
            return output
        return _exchanged(output, tensor, self._replaced(tensor))

    def _replace_input(self, _: nn.Module, arguments: Any, keywords: Any) -> Any:
        tensor = first_tensor((arguments, keywords))
        if tensor is None or not tensor.is_floating_point():
            return None
        return _exchanged((arguments, keywords), tensor, self._replaced(tensor))


def _exchanged(value: Any, old: Tensor, new: Tensor) -> Any:
    """The same structure with one tensor in the place of another, wherever that stands."""
    if value is old:
        return new
    if isinstance(value, Mapping):
        changed = {key: _exchanged(item, old, new) for key, item in value.items()}
        return changed if type(value) is dict else type(value)(**changed)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_exchanged(item, old, new) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(_exchanged(item, old, new) for item in value)
    return value
