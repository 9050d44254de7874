"""The model card: a README.md with the front matter that the Hugging Face hub reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from limbeck.errors import InputError
from limbeck.models.exports.exported import Comparison
from limbeck.models.exports.origin import Origin, origin_of
from limbeck.models.exports.page import Page, numbers
from limbeck.models.exports.source import Source


def checked_licence(licence: str | None) -> str | None:
    """An identifier such as `apache-2.0`.

    Raises:
        InputError: it is none.
    """
    if licence is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", licence):
        raise InputError(f"licence '{licence}': an identifier is wanted, such as apache-2.0, mit or cc-by-4.0.")
    return None if licence is None else licence.lower()


def write_card(
    folder: Path,
    source: Source,
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
        source: the model.
        title: its heading.
        library: `library_name` of the front matter.
        usage: lines of Python that load it.
        reads: one sentence on what it takes and gives.
        compared: how it was checked.
        licence: of the weights; unknown unless given.
    """
    origin = origin_of(source)
    Page(
        front=_front(source, origin, library, title, licence),
        title=title,
        summary=_summary(source, origin),
        usage=usage,
        reads=reads,
        classes=source.class_names,
        order="in the order of the logits",
        facts=_training(source, origin),
        heading="Training",
        compared=compared,
        licence=licence,
    ).write(folder)


def _front(source: Source, origin: Origin, library: str, title: str, licence: str | None) -> dict[str, Any]:
    distilled = bool(origin.teachers)
    found: dict[str, Any] = {
        "library_name": library,
        "license": licence or "unknown",
        "pipeline_tag": "image-classification",
        "tags": [
            "image-classification",
            *(["knowledge-distillation"] if distilled else []),
            source.name.rpartition("/")[2].split(":")[-1],
            "limbeck",
        ],
    }
    if base := _base_model(source):
        found["base_model"] = base
    if distilled:
        found["teacher"] = list(origin.teachers)
    if origin.dataset:
        found["datasets"] = [origin.dataset]
    found["metrics"] = ["accuracy"]
    if origin.accuracy is not None:
        dataset = origin.dataset or "test images"
        found["model-index"] = [
            {
                "name": title,
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {"type": dataset, "name": dataset},
                        "metrics": [{"type": "accuracy", "value": origin.accuracy}],
                    }
                ],
            }
        ]
    return found


def _base_model(source: Source) -> str | None:
    """The repository on the hub that the weights began with, where the spec names one."""
    if not source.spec.get("pretrained"):
        return None
    owner, _, rest = source.name.partition("/")
    if owner == "timm" and "." in rest:
        return source.name
    return rest if owner == "hf" and rest.count("/") == 1 and not rest.startswith((".", "/")) else None


def _summary(source: Source, origin: Origin) -> str:
    kind = f"`{source.name}`, {sum(p.numel() for p in source.model.parameters()):,} parameters"
    taught = (
        f", taught by {' and '.join(f'`{t}`' if '/' in t or t.isidentifier() else t for t in origin.teachers)}"
    )
    where = f" on {origin.dataset}" if origin.dataset else ""
    measured = f" {origin.test}" if origin.test else ""
    learned = taught if origin.teachers else ""
    return f"An image classifier for {source.classes} classes{where}: {kind}{learned}.{measured}"


def _training(source: Source, origin: Origin) -> dict[str, str | None]:
    data = source.data
    facts: dict[str, str | None] = {
        "architecture": f"`{source.name}`",
        "data": origin.dataset,
        "images": f"{' x '.join(map(str, data.input_shape))} (channels, height, width)",
        "normalisation": f"mean {numbers(data.mean)}, deviation {numbers(data.std)}, of images in [0, 1]",
        "teacher": ", ".join(origin.teachers),
        "method": origin.method,
        "losses": ", ".join(origin.losses),
        "length": origin.training,
        "seed": None if origin.seed is None else str(origin.seed),
        "recipe": origin.recipe,
        "test accuracy": None if origin.accuracy is None else f"{origin.accuracy:.2%}",
        "agreement with the teacher": None if origin.agreement is None else f"{origin.agreement:.2%}",
        "trained with": f"Limbeck {origin.limbeck}" if origin.limbeck else None,
    }
    return facts
