"""The flow that is taken out, with the noise that every copy of it is compared on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ModelError
from limbeck.flow.artefact import load
from limbeck.flow.sampling import default_solver, generation_grid, sample, solver_of
from limbeck.flow.solvers import Solver
from limbeck.flow.velocity import Flow
from limbeck.models.artefact import find, read_card
from limbeck.models.exports.exported import Comparison, first_line
from limbeck.seeding import normals

IMAGES = "the images from {} noises"
VELOCITIES = "the velocities at {} points"
EXACT = 1e-5
"""The same sums; times the largest value, or 1 where that is below."""
_EXAMPLES = 8


@dataclass(frozen=True)
class FlowSource:
    """A trained flow and noise to compare copies of it on.

    Attributes:
        file: it was read from.
        flow: in eval mode, on the CPU, without gradients.
        spec: name and settings that rebuild its network.
        notes: what its file says besides.
        noise: standard normal, (8, c, h, w), float32.
        labels: (8,) int64, the last of them no class; None for a flow without classes.
    """

    file: Path
    flow: Flow
    spec: Mapping[str, Any]
    notes: Mapping[str, Any]
    noise: Tensor
    labels: Tensor | None

    @property
    def name(self) -> str:
        """Of the network."""
        return str(self.spec["name"])

    @property
    def shape(self) -> str:
        """Of what it makes, in words."""
        return f"(batch, {', '.join(str(side) for side in self.flow.image_shape)})"


@dataclass(frozen=True)
class Plan:
    """How an exported sampler walks: the rule that the flow is made for, on fixed times.

    Attributes:
        rule: Euler's, or jumps with new noise for consistency models.
        grid: falling times, the last of them 0.
    """

    rule: Solver
    grid: tuple[float, ...]

    @property
    def evaluations(self) -> int:
        """Of the network for each sample."""
        return len(self.grid) - 1

    def __str__(self) -> str:
        times = ", ".join(f"{t:.5g}" for t in self.grid)
        return (
            f"{self.evaluations} network evaluation{'s' * (self.evaluations > 1)} ({self.rule.name}, t = {times})"
        )


def open_flow(path: str | Path) -> FlowSource:
    """Read a flow that is to be exported.

    Args:
        path: a flow's file, or the folder of a stage or of a run that holds exactly one.

    Raises:
        CheckpointError: there is none, it is damaged, or the file holds a classifier.
        ModelError: its network cannot be built here.
    """
    file = find(Path(path))
    flow = load(file).requires_grad_(False)
    noise = normals(torch.arange(_EXAMPLES), seed=0, shape=flow.image_shape)
    labels = torch.arange(_EXAMPLES) % flow.classes if flow.classes else None
    if labels is not None:
        labels[-1] = -1
    return FlowSource(file, flow, read_card(file)["spec"], flow.notes, noise, labels)


def plan_of(flow: Flow, evaluations: int | None, times: Sequence[float] | None) -> Plan:
    """The times of a sampler, as `limbeck.flow.sample` takes them.

    Raises:
        ConfigError: a budget that cannot be spent, or times that do not fall.
    """
    rule = solver_of(default_solver(flow))
    return Plan(rule, generation_grid(rule, evaluations, times, begin=flow.begin))


def compare_images(
    source: FlowSource, plan: Plan, call: Callable[[Tensor, Tensor | None], Tensor], *, reader: str
) -> Comparison:
    """Sample with a copy and with `limbeck.flow.sample` from the same noise.

    Raises:
        ModelError: the copy cannot be run, or its images differ by more than 1e-5.
    """
    wanted = _parted(lambda z, y: sample(source.flow, z, y, times=plan.grid).x, source.noise, source.labels)
    return _compared(wanted, call, source, reader=reader, of=IMAGES)


def compare_velocities(
    source: FlowSource, call: Callable[[Tensor, Tensor | None], Tensor], *, reader: str
) -> Comparison:
    """Ask a copy and the flow for the velocity of the same points, half way.

    Args:
        source: the flow.
        call: (points, labels) to velocities at `halves` of them.
        reader: what read the copy.

    Raises:
        ModelError: the copy cannot be run, or its velocities differ by more than 1e-5.
    """
    wanted = _parted(
        lambda x, y: source.flow(x, halves(x), y, *interval_of(source.flow, x)), source.noise, source.labels
    )
    return _compared(wanted, call, source, reader=reader, of=VELOCITIES)


def halves(x: Tensor) -> Tensor:
    """The time 0.5 for each point."""
    return torch.full((x.shape[0],), 0.5)


def interval_of(flow: Flow, x: Tensor) -> tuple[Tensor, ...]:
    """The interval from 0 to 0.5, for flows of average velocities."""
    return (halves(x),) if flow.predicts == "average velocity" else ()


def _compared(
    wanted: Tensor, call: Callable[[Tensor, Tensor | None], Tensor], source: FlowSource, *, reader: str, of: str
) -> Comparison:
    try:
        found = _parted(call, source.noise, source.labels)
    except Exception as error:  # whatever a foreign program raises
        raise ModelError(f"the export was refused: {reader} cannot run it ({first_line(error)}).") from error
    allowed = EXACT * max(1.0, float(wanted.abs().max()))
    if found.shape != wanted.shape:
        raise ModelError(
            f"the export was checked and refused: read by {reader}, it gives {tuple(found.shape)} where the flow "
            f"gives {tuple(wanted.shape)}."
        )
    difference = float((found - wanted).abs().max())
    if not difference <= allowed:  # also where it is no number
        raise ModelError(
            f"the export was checked and refused: read by {reader}, {of.format(len(found))} differ by up to "
            f"{difference:.3g}; {allowed:.3g} is allowed."
        )
    return Comparison(reader, len(found), difference, allowed, of)


@torch.no_grad()
def _parted(call: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, labels: Tensor | None) -> Tensor:
    """The first of the examples alone and the rest together: no batch size is special."""
    rows = (slice(0, 1), slice(1, None))
    return torch.cat([call(x[part], None if labels is None else labels[part]) for part in rows])
