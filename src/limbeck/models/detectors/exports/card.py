"""The model card of a detector: a README.md with the front matter that the Hugging Face hub reads."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from limbeck.models.detectors.exports.source import DetectorSource
from limbeck.models.exports.exported import Comparison
from limbeck.models.exports.origin import Origin, origin_of
from limbeck.models.exports.page import Page, numbers

_SCORES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
"""Of COCO's measures, those of a result that the card repeats."""


def write_detector_card(
    folder: Path,
    source: DetectorSource,
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
        source: the detector.
        title: its heading.
        library: `library_name` of the front matter.
        usage: lines of Python that load it.
        reads: what it takes and gives.
        compared: how it was checked.
        licence: of the weights; unknown unless given.
    """
    origin, scores = origin_of(source), scores_beside(source.file)
    Page(
        front=_front(source, origin, scores, library, title, licence),
        title=title,
        summary=_summary(source, origin),
        usage=usage,
        reads=reads,
        classes=source.class_names,
        order="by label",
        facts=_facts(source, origin, scores),
        heading="Facts",
        compared=compared,
        licence=licence,
    ).write(folder)


def scores_beside(file: Path) -> dict[str, float]:
    """COCO's measures that the result beside a detector's file has; none where there is no result."""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        numbers = json.loads((file.absolute().parent / "result.json").read_text(encoding="utf-8"))["numbers"]
        return {name: float(numbers[name]["value"]) for name in _SCORES if name in numbers}
    return {}


def _front(
    source: DetectorSource, origin: Origin, scores: dict[str, float], library: str, title: str, licence: str | None
) -> dict[str, Any]:
    distilled = bool(origin.teachers)
    found: dict[str, Any] = {
        "library_name": library,
        "license": licence or "unknown",
        "pipeline_tag": "object-detection",
        "tags": [
            "object-detection",
            *(["knowledge-distillation"] if distilled else []),
            source.name.rpartition("/")[2].split(":")[-1],
            "limbeck",
        ],
    }
    if distilled:
        found["teacher"] = list(origin.teachers)
    if origin.dataset:
        found["datasets"] = [origin.dataset]
    if scores:
        dataset = origin.dataset or "test images"
        found["model-index"] = [
            {
                "name": title,
                "results": [
                    {
                        "task": {"type": "object-detection"},
                        "dataset": {"type": dataset, "name": dataset},
                        "metrics": [{"type": name, "value": value} for name, value in scores.items()],
                    }
                ],
            }
        ]
    return found


def _summary(source: DetectorSource, origin: Origin) -> str:
    count = sum(p.numel() for p in source.detector.parameters())
    taught = f", taught by {' and '.join(f'`{name}`' for name in origin.teachers)}" if origin.teachers else ""
    where = f" on {origin.dataset}" if origin.dataset else ""
    measured = f" {origin.test}" if origin.test else ""
    classes = f"{source.classes} class{'es' * (source.classes > 1)}"
    return (
        f"A detector ({source.family}) of objects of {classes}{where}: `{source.name}`, {count:,} "
        f"parameters{taught}.{measured}"
    )


def _facts(source: DetectorSource, origin: Origin, scores: dict[str, float]) -> dict[str, str | None]:
    data = source.data
    facts: dict[str, str | None] = {
        "architecture": f"`{source.name}`",
        "family": source.family,
        "works at": f"{data.input_shape[1]} x {data.input_shape[2]} pixels (height, width)",
        "normalisation": f"mean {numbers(data.mean)}, deviation {numbers(data.std)}, of [0, 1]; inside",
        "data": origin.dataset,
        "teacher": ", ".join(origin.teachers),
        "method": origin.method,
        "losses": ", ".join(origin.losses),
        "length": origin.training,
        "seed": None if origin.seed is None else str(origin.seed),
        "recipe": origin.recipe,
        **{name: f"{value:.2%}" for name, value in scores.items()},
        "trained with": f"Limbeck {origin.limbeck}" if origin.limbeck else None,
    }
    return facts
