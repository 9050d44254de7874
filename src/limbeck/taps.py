"""Read what flows inside any unmodified `nn.Module`, by module path.

A tap is written as a dotted module path (`layer3.1`), with `:input` behind it for what goes into the module.
`""` and `"."` stand for the model's own output. Hooks go on before the model is wrapped for several
processes or compiled, and survive both.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import TapError, did_you_mean


@dataclass(frozen=True, slots=True)
class TapPoint:
    """A place that can be tapped.

    Attributes:
        path: dotted module path.
        kind: class name of the module.
        shape: shape of its output for the example, batch first; empty where it is no tensor.
    """

    path: str
    kind: str
    shape: tuple[int, ...]


class _AllRead(Exception):
    """Ends a forward pass that has been read far enough."""


class Taps:
    """Hooks on a model that keep what the named modules put out in the last forward pass.

    Args:
        model: any module; it is not changed, and `close` removes every trace.
        paths: module paths, `:input` allowed, glob patterns allowed (`layer?.0`).

    Raises:
        TapError: a path that matches no module, with the nearest one.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
        >>> with Taps(net, ["0", "1:input"]) as taps:
        ...     _ = net(torch.zeros(4, 3))
        ...     {path: tuple(value.shape) for path, value in taps.take().items()}
        {'0': (4, 2), '1:input': (4, 2)}
    """

    def __init__(self, model: nn.Module, paths: Iterable[str]) -> None:
        self.paths: tuple[str, ...] = tuple(
            dict.fromkeys(found for path in paths for found in resolve(model, path))
        )
        self._model = model
        self._stops = False
        self._values: dict[str, Tensor] = {}
        self._versions: dict[str, int] = {}
        self._handles = [self._hook(model, path) for path in self.paths]

    def read(self, *inputs: Any) -> dict[str, Tensor]:
        """Run the model only until every tap has read; the layers behind cost nothing.

        Args:
            inputs: of the model.

        Raises:
            TapError: a module that did not run, or put out no tensor.

        Example:
            >>> class Unreachable(nn.Module):
            ...     def forward(self, x): raise AssertionError
            >>> with Taps(nn.Sequential(nn.ReLU(), Unreachable()), ["0"]) as taps:
            ...     taps.read(torch.tensor([-1.0, 1.0]))
            {'0': tensor([0., 1.])}
        """
        self._values, self._stops = {}, True
        try:
            with suppress(_AllRead):
                self._model(*inputs)
        finally:
            self._stops = False
        return self.take()

    def take(self) -> dict[str, Tensor]:
        """What was read since the last call, by path; the taps are empty afterwards.

        Raises:
            TapError: a module that did not run, or put out no tensor.
        """
        silent = [path for path in self.paths if path not in self._values]
        if silent:
            raise TapError(
                f"taps: {', '.join(repr(p) for p in silent)} did not fire in the last forward pass: the module "
                "did not run, or its output holds no tensor. `limbeck show MODEL --taps` lists what fires."
            )
        for path, value in self._values.items():
            if _version(value) != self._versions[path]:
                raise TapError(
                    f"taps: what '{path}' put out was overwritten in place by a later module (a ReLU with "
                    "inplace=True, say), so it is no longer what was tapped. Tap that module instead."
                )
        values, self._values = self._values, {}
        return values

    def clear(self) -> None:
        """Forget what was read, e.g. after an evaluation."""
        self._values = {}

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._values = {}

    def __enter__(self) -> Taps:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _hook(self, model: nn.Module, path: str) -> torch.utils.hooks.RemovableHandle:
        module, _, side = path.partition(":")
        target = model if module in ("", ".") else model.get_submodule(module)

        def read_output(_: nn.Module, __: Any, output: Any) -> None:
            self._keep(path, output)

        def read_input(_: nn.Module, arguments: Any, keywords: Any) -> None:
            self._keep(path, (arguments, keywords))

        if side == "input":
            return target.register_forward_pre_hook(read_input, with_kwargs=True)
        return target.register_forward_hook(read_output)

    def _keep(self, path: str, value: Any) -> None:
        tensor = first_tensor(value)
        if tensor is not None:
            self._values[path] = tensor
            self._versions[path] = _version(tensor)
            if self._stops and len(self._values) == len(self.paths):
                raise _AllRead


def _version(tensor: Tensor) -> int:
    """How often a tensor was written to; not known while compiling and under inference mode."""
    return 0 if torch.compiler.is_compiling() or tensor.is_inference() else tensor._version


def resolve(model: nn.Module, path: str) -> list[str]:
    """The tap paths that one path or pattern stands for.

    Raises:
        TapError: nothing matches.
    """
    module, colon, side = path.partition(":")
    if colon and side != "input":
        raise TapError(f"taps: '{path}' ends in ':{side}'; only ':input' is understood behind a module path.")
    names = [name for name, _ in model.named_modules() if name]
    if module in ("", "."):
        return [path]
    if module in names:
        return [path]
    matches = [name + colon + side for name in names if fnmatch.fnmatchcase(name, module)]
    if not matches:
        raise TapError(
            f"taps: no module '{module}' in {type(model).__name__}.{did_you_mean(module, names)} "
            f"Its children: {', '.join(n for n, _ in model.named_children())}. "
            "`limbeck show MODEL --taps` lists every path."
        )
    return matches


def probe(model: nn.Module, example: Tensor, paths: Sequence[str]) -> Mapping[str, Tensor]:
    """What the taps read for one example batch, in eval mode without gradient; the mode is restored.

    Args:
        model: any module.
        example: a batch of inputs.
        paths: tap paths, exact.

    Raises:
        TapError: a path that does not exist or does not fire.
    """
    with Taps(model, paths) as taps, evaluating(model), torch.no_grad():
        model(example)
        return taps.take()


def tap_points(model: nn.Module, example: Tensor) -> list[TapPoint]:
    """Every module that runs on an example, in the order in which they finish.

    Args:
        model: any module.
        example: a batch of inputs.
    """
    found: list[TapPoint] = []
    paths = {module: name for name, module in model.named_modules()}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        tensor = first_tensor(output)
        shape = tuple(tensor.shape) if tensor is not None else ()
        found.append(TapPoint(paths[module], type(module).__name__, shape))

    handles = [module.register_forward_hook(note) for module in paths]
    try:
        with evaluating(model), torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return found


def stem_tap(model: nn.Module, example: Tensor) -> str:
    """What the second convolution is given: the stem's map, with its activation and its pooling.

    Args:
        model: any module.
        example: a batch of inputs.

    Raises:
        TapError: the model has fewer than two convolutions.
    """
    modules = dict(model.named_modules())
    found = [p.path for p in tap_points(model, example) if isinstance(modules[p.path], nn.Conv2d)]
    if len(found) < 2:
        raise TapError(
            f"taps: {type(model).__name__} has {len(found)} convolution(s), so there is no stem in front of a "
            "second. Name the taps in the term; `limbeck show MODEL --taps` lists what fires."
        )
    return f"{found[1]}:input"


def last_feature_map(model: nn.Module, example: Tensor) -> str:
    """Path of the last module that puts out a map of more than one pixel.

    Raises:
        TapError: the model has none, as transformers of plain tokens do.
    """
    for point in reversed(tap_points(model, example)):
        if len(point.shape) == 4 and point.shape[2] * point.shape[3] > 1 and point.path:
            return point.path
    raise TapError(
        f"taps: {type(model).__name__} puts out no feature map (n, c, h, w) for inputs of shape "
        f"{tuple(example.shape)}. Name the taps in the term: taps: {{student: ..., teacher: ...}}."
    )


def stage_maps(model: nn.Module, example: Tensor) -> list[str]:
    """Path of the last module that puts out a map of each size, the largest size first.

    In a convolutional network these are the outputs of its stages, whatever the stages are called.

    Args:
        model: any module.
        example: a batch of inputs.
    """
    last: dict[int, str] = {}
    for point in tap_points(model, example):
        if len(point.shape) == 4 and point.shape[2] * point.shape[3] > 1 and point.path:
            last[point.shape[2] * point.shape[3]] = point.path
    return [last[size] for size in sorted(last, reverse=True)]


def preactivations(model: nn.Module, example: Tensor) -> list[str]:
    """What the last ReLU of each map size is given, as `:input` paths, the largest size first.

    Those ReLUs are told not to work in place, which would overwrite what is read and changes nothing else.

    Args:
        model: any module.
        example: a batch of inputs.
    """
    last: dict[int, str] = {}
    for point in tap_points(model, example):
        if "ReLU" in point.kind and len(point.shape) == 4 and point.shape[2] * point.shape[3] > 1:
            last[point.shape[2] * point.shape[3]] = point.path
    for path in last.values():
        module = model.get_submodule(path)
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    return [f"{last[size]}:input" for size in sorted(last, reverse=True)]


def norm_before(model: nn.Module, example: Tensor, path: str) -> nn.Module:
    """The last batch norm on the main path that ran before a tapped module and has the channels of its map.

    Args:
        model: any module.
        example: a batch of inputs.
        path: a tap path of a map, `:input` or not.

    Raises:
        TapError: there is none, as in networks with other norms.
    """
    target, channels = path.partition(":")[0], probe(model, example, [path])[path].shape[1]
    latest: nn.Module | None = None
    found: nn.Module | None = None
    for point in tap_points(model, example):
        if point.path == target:
            found = latest  # a ReLU that runs several times is read the last time
        module = model.get_submodule(point.path)
        side_path = any(word in point.path for word in ("downsample", "shortcut"))
        if isinstance(module, nn.BatchNorm2d) and module.num_features == channels and not side_path:
            latest = module
    if found is not None:
        return found
    raise TapError(
        f"taps: no batch norm of {channels} channels runs before '{path}' in {type(model).__name__}, and the loss "
        "takes its margin from there. Use a teacher with batch norm, or another loss."
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; afterwards every module is in the mode it was in before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def first_tensor(value: Any) -> Tensor | None:
    """The tensor in a module's output: itself, or the first in a tuple, list, mapping or Hugging Face output."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return next((t for t in map(first_tensor, value) if t is not None), None)
    return None
