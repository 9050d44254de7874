"""Which layer an attribution reads: the last map behind the last convolution, with its last non-linearity."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from limbeck.audit.attribution.token_grids import fits_grid, places
from limbeck.errors import TapError
from limbeck.taps import evaluating, first_tensor

ACTIVATION = "activation"
"""What stands behind a module path for what a function, not a module, makes of its output: `conv2:activation`."""

ACTIVATIONS: frozenset[Callable[..., Any]] = frozenset(
    {
        torch.relu,
        torch.relu_,
        Tensor.relu,
        Tensor.relu_,
        F.relu,
        F.relu6,
        F.leaky_relu,
        F.elu,
        F.gelu,
        F.silu,
        F.mish,
        F.hardswish,
    }
)
"""Functions that networks apply to a map without a module of their own."""

# What comes behind the last map and only sums it up, or does nothing in eval mode.
_PASSED_OVER = re.compile("Pool|Dropout|Identity|Flatten")
_ATTENTION = re.compile("attention|attn", re.IGNORECASE)
_ROWS = 2


def wrapped(network: nn.Module) -> nn.Module:
    """The model that tap paths are relative to: `network.model`, or the network itself."""
    model = getattr(network, "model", network)
    return model if isinstance(model, nn.Module) else network


def map_layer(model: nn.Module, example: Tensor) -> str:
    """Tap path of the map that Grad-CAM and its relatives read.

    In a convolutional network this is the output of the last stage after its last non-linearity and before the
    pooling: `layer4` of a ResNet, the last ReLU of a VGG, `features` of a MobileNet, EfficientNet or DenseNet.
    Where the non-linearity is a function and no module (DenseNet, many small networks), `:activation` stands
    behind the path. In a transformer it is the normalised input of the last block's attention (`blocks.11.norm1`):
    with class-token pooling the other tokens of the last block's output have no influence on the logits.

    Args:
        model: a classifier; of one that wraps another as `.model` the path is relative to that one.
        example: what `model` takes, one image is enough, shape (n, c, h, w).

    Returns:
        A path for `read_map` and the attributions.

    Raises:
        TapError: there is no map and no grid of tokens.

    References:
        The layer of Grad-CAM [selvaraju2017grad].

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 2))
        >>> map_layer(net, torch.zeros(1, 1, 8, 8))
        '1'
    """
    inner = wrapped(model)
    runs = _runs(inner, model, example)
    place = _last_map(runs, example.shape[2] / example.shape[3])
    attention, tokens = _last_attention(runs), _last_tokens(runs)
    if attention > place:
        found = _source(runs, runs[attention].given)
        if found is not None:
            return found
    if tokens > place:
        return runs[tokens].path
    if place >= 0:
        path = runs[place].path
        return f"{path}:{ACTIVATION}" if _activated(inner, model, example, path) else path
    raise TapError(
        f"attribution: {type(inner).__name__} puts out neither a map (n, c, h, w) of more than one pixel nor "
        f"tokens that make up a grid, for inputs of shape {tuple(example.shape)}. Name the layer; "
        "`limbeck show MODEL --taps` lists what fires."
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One run of a module."""

    path: str
    kind: str
    single: bool
    given: Tensor | None
    output: Tensor | None


def _runs(inner: nn.Module, model: nn.Module, example: Tensor) -> list[_Run]:
    """Every run of every module inside `inner`, in the order in which they finish."""
    found: list[_Run] = []
    names = {module: name for name, module in inner.named_modules() if name}

    def note(module: nn.Module, arguments: Any, keywords: Any, output: Any) -> None:
        plain = output if isinstance(output, Tensor) else None
        single = next(module.children(), None) is None
        given = first_tensor((arguments, keywords))
        found.append(_Run(names[module], type(module).__name__, single, given, plain))

    handles = [module.register_forward_hook(note, with_kwargs=True) for module in names]
    try:
        with evaluating(model), torch.no_grad():
            model(_twice(example))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _twice(example: Tensor) -> Tensor:
    """Two images tell what has a row for each image from tables and windows."""
    return example[:1].expand(_ROWS, *example.shape[1:]).contiguous()


def _last_map(runs: list[_Run], ratio: float) -> int:
    """Where the last map of more than one pixel stands, poolings passed over; -1 without any."""
    for place in reversed(range(len(runs))):
        output = runs[place].output
        if output is None or output.ndim != 4 or output.shape[0] != _ROWS or places(output, ratio) <= 1:
            continue
        # A container puts out the tensor of its last child; what works in place, that of what stands before it.
        same = [run for run in runs if run.output is output]
        if same[0].single and all(_PASSED_OVER.search(run.kind) for run in same if run.single):
            continue
        if not _PASSED_OVER.search(runs[place].kind):
            return place
    return -1


def _last_attention(runs: list[_Run]) -> int:
    for place in reversed(range(len(runs))):
        given = runs[place].given
        if (
            _ATTENTION.search(runs[place].kind)
            and given is not None
            and given.ndim == 3
            and given.shape[0] == _ROWS
        ):
            return place
    return -1


def _source(runs: list[_Run], tensor: Tensor | None) -> str | None:
    """The module that put out this very tensor."""
    return next((run.path for run in reversed(runs) if run.output is not None and run.output is tensor), None)


def _last_tokens(runs: list[_Run]) -> int:
    """Where the last tokens stand that fill a grid, none of them a class token: they are averaged at the end."""
    for place in reversed(range(len(runs))):
        output = runs[place].output
        if output is None or output.ndim != 3 or output.shape[0] != _ROWS or _PASSED_OVER.search(runs[place].kind):
            continue
        if fits_grid(output.shape[1]):
            return place
    return -1


def _activated(inner: nn.Module, model: nn.Module, example: Tensor, path: str) -> bool:
    """Whether a function works on what the module puts out, before anything else could."""
    watch = Watch()
    handle = inner.get_submodule(path).register_forward_hook(lambda _, __, output: watch.expect(output))
    try:
        with evaluating(model), torch.no_grad(), watch:
            model(_twice(example))
    finally:
        handle.remove()
    return watch.seen


class Watch(TorchFunctionMode):
    """Waits for an activation that is applied to one tensor.

    Args:
        replace: called with what the activation made of it; its result goes on through the network.
    """

    def __init__(self, replace: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.seen = False
        self._expected: Tensor | None = None
        self._replace = replace

    def expect(self, tensor: Any) -> None:
        """Wait for this tensor from now on."""
        self._expected = tensor if isinstance(tensor, Tensor) else None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function; hand on the activation of the tensor that is waited for."""
        awaited = func in ACTIVATIONS and bool(args) and args[0] is self._expected and self._expected is not None
        result = func(*args, **(kwargs or {}))
        if not awaited:
            return result
        self.seen, self._expected = True, None
        return result if self._replace is None else self._replace(result)
