"""The model card: a README.md with the front matter that the Hugging Face hub reads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from limbeck.errors import InputError
from limbeck.files import atomic_write
from limbeck.models.exports.exported import Comparison
from limbeck.models.exports.origin import Origin, origin_of
from limbeck.models.exports.source import Source
from limbeck.version import __version__

_SHOWN_CLASSES = 20


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
    # JSON is YAML too, and nothing has to be escaped twice.
    front = [
        f"{key}: {json.dumps(value)}" for key, value in _front(source, origin, library, title, licence).items()
    ]
    parts = [
        "---",
        *front,
        "---",
        "",
        f"# {title}",
        "",
        _summary(source, origin),
        "",
        "## Use",
        "",
        "```python",
        usage,
        "```",
        "",
        reads,
        "",
        *_classes(source),
        "## Training",
        "",
        *_training(source, origin),
        "",
        "## How this file was checked",
        "",
        *[f"- {one}" for one in compared],
        "",
        "## Licence",
        "",
        f"`{licence}`"
        if licence
        else "Not stated by whoever exported the model; those of its data and of its teacher may bind it.",
        "",
    ]
    atomic_write(folder / "README.md", "\n".join(parts))


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


def _classes(source: Source) -> list[str]:
    names = source.class_names
    if not names:
        return []
    shown = ", ".join(f"{i} {name}" for i, name in enumerate(names[:_SHOWN_CLASSES]))
    more = f", and {len(names) - _SHOWN_CLASSES} more" if len(names) > _SHOWN_CLASSES else ""
    return [f"Classes, in the order of the logits: {shown}{more}.", ""]


def _training(source: Source, origin: Origin) -> list[str]:
    data = source.data
    facts = {
        "architecture": f"`{source.name}`",
        "data": origin.dataset,
        "images": f"{' x '.join(map(str, data.input_shape))} (channels, height, width)",
        "normalisation": f"mean {_numbers(data.mean)}, deviation {_numbers(data.std)}, of images in [0, 1]",
        "teacher": ", ".join(origin.teachers),
        "method": origin.method,
        "losses": ", ".join(origin.losses),
        "length": origin.training,
        "seed": None if origin.seed is None else str(origin.seed),
        "recipe": origin.recipe,
        "test accuracy": None if origin.accuracy is None else f"{origin.accuracy:.2%}",
        "agreement with the teacher": None if origin.agreement is None else f"{origin.agreement:.2%}",
        "trained with": f"Limbeck {origin.limbeck}" if origin.limbeck else None,
        "exported with": f"Limbeck {__version__}",
    }
    return ["| | |", "|---|---|", *(f"| {key} | {_cell(value)} |" for key, value in facts.items() if value)]


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
