"""A network as a graph that needs no class of its own: images in, logits out, any number of images."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.models.data_config import DataConfig
from limbeck.models.exports.exported import COMPILED, HALVED, first_line
from limbeck.models.exports.source import Source, logits_of, normalised

Normalise = Literal["inside", "outside"]
Precision = Literal["float32", "float16", "bfloat16"]


class Deployed(nn.Module):
    """A network with its normalisation, as a program ships it; float32 in and out, whatever it computes with.

    Args:
        network: in eval mode.
        data: its normalisation.
        normalise: inside it, so that images are in [0, 1]; or left to whoever calls.
        precision: what the network computes with.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, data: DataConfig, *, normalise: Normalise, precision: Precision
    ) -> None:
        super().__init__()
        self.network = network.to(getattr(torch, precision))
        self.dtype = getattr(torch, precision)
        self.inside = normalise == "inside"
        if self.inside:
            shape = (1, len(data.mean), 1, 1)
            self.register_buffer("mean", torch.tensor(data.mean).view(shape))
            self.register_buffer("std", torch.tensor(data.std).view(shape))

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, c, h, w) to logits (n, C), both float32."""
        prepared = (images - self.mean) / self.std if self.inside else images
        return logits_of(self.network(prepared.to(self.dtype))).float()


def captured(source: Source, *, normalise: Normalise, precision: Precision) -> torch.export.ExportedProgram:
    """Trace a network into a graph.

    Args:
        source: the model; its network changes its precision.
        normalise: inside the graph or outside.
        precision: what the graph computes with.

    Raises:
        ModelError: the network does what no graph can hold, such as asking for values of its input; the message
            names the module.
    """
    deployed = Deployed(source.model, source.data, normalise=normalise, precision=precision).eval()
    batch = torch.export.Dim("batch")
    try:
        program = torch.export.export(deployed, (source.images[:2],), dynamic_shapes={"images": {0: batch}})
    except Exception as error:  # the tracer raises whatever it likes
        raise ModelError(
            f"{source.name} cannot be captured as a graph with any number of images: "
            f"{culprit(error, source.model)}{first_line(error)}. Its weights alone: --format state-dict."
        ) from error
    forget_paths(program)
    return program


def taken(source: Source, normalise: Normalise) -> Tensor:
    """The example images as a program takes them."""
    return source.images if normalise == "inside" else normalised(source.images, source.data)


def tolerance_of(precision: Precision) -> float:
    """Times the largest logit."""
    return HALVED.get(precision, COMPILED)


def reads(source: Source, normalise: Normalise, precision: Precision) -> str:
    """One sentence on what a program takes and gives."""
    what = (
        "with values in [0, 1], not normalised: the program does that"
        if normalise == "inside"
        else f"normalised outside: {source.normalisation}"
    )
    inner = "" if precision == "float32" else f" It computes in {precision}."
    return (
        f"It takes `images`, float32 of shape {source.shape}, {what}; and gives `logits`, float32 of shape "
        f"(batch, {source.classes}).{inner}"
    )


def facts(source: Source, normalise: Normalise, precision: Precision) -> dict[str, Any]:
    """What a program file says of itself, as JSON."""
    return {
        "architecture": source.name,
        "class_names": list(source.class_names),
        "input": reads(source, normalise, precision),
        "input_shape": list(source.data.input_shape),
        "normalise": normalise,
        "mean": list(source.data.mean),
        "std": list(source.data.std),
        "precision": precision,
    }


def module_path(error: BaseException, model: nn.Module) -> str | None:
    """The innermost module of a network that was running when an error arose."""
    paths = {id(module): path for path, module in model.named_modules() if path}
    found = None
    for one in _chain(error):
        for frame, _ in traceback.walk_tb(one.__traceback__):
            found = paths.get(id(frame.f_locals.get("self")), found)
    return found


def culprit(error: BaseException, model: nn.Module) -> str:
    """The module that could not be captured, as the beginning of a sentence; nothing where none is to blame."""
    path = module_path(error, model)
    return "" if path is None else f"in module '{path}' ({type(model.get_submodule(path)).__name__}), "


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came of, the outermost first."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return iter(chain)


def forget_paths(program: torch.export.ExportedProgram) -> None:
    """Drop the lines of code that nodes came from: they hold paths of this machine."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
