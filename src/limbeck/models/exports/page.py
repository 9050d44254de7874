"""The page of a model card, whatever the model is: front matter, use, facts, checks, licence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.files import atomic_write
from limbeck.models.exports.exported import Comparison
from limbeck.version import __version__

SHOWN_CLASSES = 20


@dataclass(frozen=True)
class Page:
    """What a model card says.

    Attributes:
        front: front matter that the Hugging Face hub reads.
        title: the heading.
        summary: one paragraph.
        usage: lines of Python that load it.
        reads: what it takes and gives.
        classes: names in the order of the labels, if it has any.
        order: how they are ordered: "by label", "in the order of the logits".
        facts: name -> text; those without text are left out.
        heading: of the facts.
        compared: how it was checked.
        licence: of the weights; unknown unless given.
    """

    front: Mapping[str, Any]
    title: str
    summary: str
    usage: str
    reads: str
    classes: Sequence[str]
    order: str
    facts: Mapping[str, str | None]
    heading: str
    compared: Sequence[Comparison]
    licence: str | None

    def write(self, folder: Path) -> None:
        """Write README.md into an export, whole or not at all."""
        parts = [
            "---",
            *(f"{key}: {json.dumps(value)}" for key, value in self.front.items()),  # JSON is YAML too
            "---",
            "",
            f"# {self.title}",
            "",
            self.summary,
            "",
            "## Use",
            "",
            "```python",
            self.usage,
            "```",
            "",
            self.reads,
            "",
            *self._classes(),
            f"## {self.heading}",
            "",
            "| | |",
            "|---|---|",
            *(f"| {key} | {_cell(value)} |" for key, value in self._facts().items() if value),
            "",
            "## How it was checked",
            "",
            *[f"- {one}" for one in self.compared],
            "",
            "## Licence",
            "",
            f"`{self.licence}`"
            if self.licence
            else "Not stated by whoever exported the model; those of its data and of its teacher may bind it.",
            "",
        ]
        atomic_write(folder / "README.md", "\n".join(parts))

    def _classes(self) -> list[str]:
        names = self.classes
        if not names:
            return []
        shown = ", ".join(f"{i} {name}" for i, name in enumerate(names[:SHOWN_CLASSES]))
        more = f", and {len(names) - SHOWN_CLASSES} more" if len(names) > SHOWN_CLASSES else ""
        return [f"Classes, {self.order}: {shown}{more}.", ""]

    def _facts(self) -> dict[str, str | None]:
        return {**self.facts, "exported with": f"Limbeck {__version__}"}


def numbers(values: Sequence[float]) -> str:
    """Numbers in a row.

    Example:
        >>> numbers((0.5, 0.25))
        '0.5, 0.25'
    """
    return ", ".join(f"{value:.6g}" for value in values)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
