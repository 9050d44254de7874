"""A flow as graphs that need no class of Limbeck's: its sampler, and its velocity alone."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.errors import ModelError
from limbeck.files import atomic_write
from limbeck.flow.exports.source import FlowSource, Plan, halves
from limbeck.flow.sampling import Field
from limbeck.flow.velocity import Flow
from limbeck.models.exports.exported import first_line
from limbeck.models.exports.program import culprit, forget_paths

FACTS = "limbeck.json"
"""Of the entries in a program's file: what it takes, gives and was made from."""


class Sampler(nn.Module):
    """Noise to images, with every evaluation written out one after the other.

    Args:
        flow: in eval mode.
        plan: rule and times.
    """

    def __init__(self, flow: Flow, plan: Plan) -> None:
        super().__init__()
        self.flow, self.plan = flow, plan

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Noise (n, c, h, w) and labels (n,) to images."""
        grid = self.plan.grid
        return self.plan.rule.run(Field(self.flow, self.flow, labels), noise * grid[0], grid, False).x


class Velocity(nn.Module):
    """The flow's velocity, with labels and intervals by name where it has them.

    Args:
        flow: in eval mode.
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(
        self, x: Tensor, t: Tensor, labels: Tensor | None = None, interval: Tensor | None = None
    ) -> Tensor:
        """Points (n, c, h, w) and times (n,) to velocities."""
        found: Tensor = self.flow(x, t, labels, *(() if interval is None else (interval,)))
        return found


def sampler_program(source: FlowSource, plan: Plan) -> torch.export.ExportedProgram:
    """Trace `sampler(noise)`, or `sampler(noise, labels)` for a flow with classes, for any number of noises.

    Raises:
        ModelError: the network does what no graph can hold.
    """
    given = {"noise": source.noise} | ({} if source.labels is None else {"labels": source.labels})
    return _captured(source, lambda flow: Sampler(flow, plan), tuple(given), given)


def velocity_program(source: FlowSource) -> torch.export.ExportedProgram:
    """Trace `velocity(x, t)`, with `labels=` and `interval=` where the flow has them, for any number of points.

    Raises:
        ModelError: the network does what no graph can hold.
    """
    given = {"x": source.noise, "t": halves(source.noise)}
    if source.labels is not None:
        given["labels"] = source.labels
    if source.flow.predicts == "average velocity":
        given["interval"] = halves(source.noise)
    return _captured(source, Velocity, ("x", "t"), given)


def write_program(program: torch.export.ExportedProgram, file: Path, said: Mapping[str, Any]) -> None:
    """Write a program with what it says of itself."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={FACTS: json.dumps(said)})
    atomic_write(file, buffer.getvalue())


def _captured(
    source: FlowSource, wrap: Any, positional: tuple[str, ...], given: Mapping[str, Tensor]
) -> torch.export.ExportedProgram:
    flow = source.flow.like(_any_batch(source.flow.network)).eval()
    module = wrap(flow).eval()
    batch = torch.export.Dim("batch")
    try:
        with torch.no_grad():
            program = torch.export.export(
                module,
                tuple(given[name] for name in positional),
                {name: tensor for name, tensor in given.items() if name not in positional},
                dynamic_shapes={name: {0: batch} for name in given},
                strict=False,
            )
    except Exception as error:  # the tracer raises whatever it likes
        raise ModelError(
            f"{source.name} cannot be captured as a graph with any number of images: "
            f"{culprit(error, module)}{first_line(error)}. Its weights alone: --format safetensors."
        ) from error
    forget_paths(program)
    return program


class _Doubled(nn.Module):
    """Diffusers' upsampling without its branch on the size of the batch, which only reorders memory."""

    def __init__(self, conv: nn.Module | None) -> None:
        super().__init__()
        self.conv = nn.Identity() if conv is None else conv

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return found


def _any_batch(network: nn.Module) -> nn.Module:
    """A copy of a network in which nothing asks how many images there are."""
    found = copy.deepcopy(network)
    for path, module in list(found.named_modules()):
        if type(module).__name__ != "Upsample2D" or not type(module).__module__.startswith("diffusers."):
            continue
        if module.norm is None and module.interpolate and not module.use_conv_transpose and module.name == "conv":
            owner, _, name = path.rpartition(".")
            setattr(found.get_submodule(owner), name, _Doubled(module.conv if module.use_conv else None))
    return found
