"""The model card of a flow: a README.md with the front matter that the Hugging Face hub reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limbeck.flow.exports.source import FlowSource
from limbeck.models.exports.exported import Comparison
from limbeck.models.exports.origin import Origin, origin_of
from limbeck.models.exports.page import Page

_POINTS = (2, 1, 1)


def write_flow_card(
    folder: Path,
    source: FlowSource,
    *,
    title: str,
    library: str,
    usage: str,
    reads: str,
    compared: tuple[Comparison, ...],
    licence: str | None,
) -> None:
    """Write README.md into an export.

    Args:
        folder: of the export.
        source: the flow.
        title: its heading.
        library: `library_name` of the front matter.
        usage: lines of Python that load it.
        reads: what it takes and gives.
        compared: how it was checked.
        licence: of the weights; unknown unless given.
    """
    origin = origin_of(source)
    Page(
        front=_front(source, origin, library, licence),
        title=title,
        summary=_summary(source, origin),
        usage=usage,
        reads=reads,
        classes=source.flow.class_names,
        order="by label",
        facts=_facts(source, origin),
        heading="Facts",
        compared=compared,
        licence=licence,
    ).write(folder)


def _front(source: FlowSource, origin: Origin, library: str, licence: str | None) -> dict[str, Any]:
    flow, found = source.flow, {"library_name": library, "license": licence or "unknown"}
    more: dict[str, Any] = {}
    if tuple(flow.image_shape) != _POINTS and not flow.classes:
        more["pipeline_tag"] = "unconditional-image-generation"
    distilled = bool(origin.teachers) or flow.predicts != "velocity" or (flow.rounds or 0) >= 1
    tags = ["flow-matching", *(["distillation"] if distilled else []), source.name.split(":")[-1], "limbeck"]
    more["tags"] = tags
    if origin.dataset:
        more["datasets"] = [origin.dataset]
    return found | more


def _summary(source: FlowSource, origin: Origin) -> str:
    flow = source.flow
    what = "points in the plane" if tuple(flow.image_shape) == _POINTS else f"images of {_size(source)}"
    kind = {
        "velocity": "A flow",
        "average velocity": "A flow of average velocities",
        "consistency": "A consistency model",
    }
    classes = f" of {flow.classes} classes" if flow.classes else ""
    where = f", trained on {origin.dataset}" if origin.dataset else ""
    count = sum(p.numel() for p in flow.network.parameters())
    measured = f" {origin.test}" if origin.test else ""
    return (
        f"{kind[flow.predicts]} that makes {what}{classes} from noise{where}: `{source.name}`, {count:,} "
        f"parameters.{measured}"
    )


def _size(source: FlowSource) -> str:
    channels, height, width = source.flow.image_shape
    return f"{height} x {width} with {channels} channel{'s' * (channels > 1)}"


def _facts(source: FlowSource, origin: Origin) -> dict[str, str | None]:
    flow = source.flow
    settings = ", ".join(f"{key} {value}" for key, value in flow.parameterisation.settings.items())
    facts: dict[str, str | None] = {
        "network": f"`{source.name}`",
        "makes": " x ".join(map(str, flow.image_shape)) + " (channels, height, width), values in [-1, 1]",
        "time": "0 is data, 1 is noise; x_t = (1 - t) x + t z",
        "output": f"{flow.parameterisation.name}{f' ({settings})' if settings else ''}, read as {flow.predicts}",
        "times trained": f"{flow.trained[0]:.5g} to {flow.trained[1]:.5g}",
        "reflows": None if flow.rounds is None else str(flow.rounds),
        "data": origin.dataset,
        "teacher": ", ".join(origin.teachers),
        "method": origin.method,
        "length": origin.training,
        "recipe": origin.recipe,
        "trained with": f"Limbeck {origin.limbeck}" if origin.limbeck else None,
    }
    return facts
