"""What was written, and how far its logits are from the model's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from limbeck.errors import ModelError
from limbeck.models.exports.source import Source, parted

RELOADED = 1e-5
"""The same weights in the same code: sums may be ordered otherwise where memory is aligned otherwise."""
COMPILED = 1e-4
"""The same network as another graph in float32."""
HALVED = {"float16": 3e-2, "bfloat16": 1e-1}
"""A graph that computes with 11 or 8 significant bits."""


@dataclass(frozen=True)
class Comparison:
    """How a copy was compared with the model.

    Attributes:
        reader: what read the copy.
        images: how many were compared.
        difference: the largest between two logits.
        allowed: above it the export is refused.
        of: what was compared, where it is not the logits of images.
    """

    reader: str
    images: int
    difference: float
    allowed: float
    of: str = "the logits of {} images"

    def __str__(self) -> str:
        return (
            f"read by {self.reader}: {self.of.format(self.images)} differ by at most {self.difference:.2g} "
            f"({self.allowed:.2g} is allowed)"
        )


@dataclass(frozen=True)
class Exported:
    """What an export left behind.

    Attributes:
        path: the file or folder.
        files: that were written; in a folder, their paths in it.
        compared: with the model, one entry for each program that reads it.
        usage: lines of Python that load it.
    """

    path: Path
    files: tuple[str, ...]
    compared: tuple[Comparison, ...]
    usage: str

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        folder = self.path if self.path.is_dir() else self.path.parent
        return {name: (folder / name).stat().st_size for name in self.files}


def compare(
    source: Source, call: Callable[[Tensor], object], images: Tensor, *, reader: str, tolerance: float
) -> Comparison:
    """Run a copy on the example images and compare its logits.

    Args:
        source: the model.
        call: the copy; takes images, gives logits.
        images: the examples as the copy takes them.
        reader: what read the copy, for messages.
        tolerance: times the largest logit, or 1 where that is below.

    Raises:
        ModelError: the copy cannot be run, or its logits differ by more.
    """
    try:
        found = parted(call, images)
    except Exception as error:  # whatever a foreign program raises
        raise ModelError(f"the export was refused: {reader} cannot run it ({first_line(error)}).") from error
    scale = max(1.0, float(source.logits.abs().max()))
    if found.shape != source.logits.shape:
        raise ModelError(
            f"the export was checked and refused: read by {reader}, the model gives {found.shape[1]} logits, "
            f"not {source.classes}."
        )
    difference = float((found - source.logits).abs().max())
    if not difference <= tolerance * scale:  # also where it is no number
        raise ModelError(
            f"the export was checked and refused: read by {reader}, the model gives logits that differ by up to "
            f"{difference:.3g}; {tolerance * scale:.3g} is allowed."
        )
    return Comparison(reader, len(images), difference, tolerance * scale)


def first_line(error: BaseException, limit: int = 240) -> str:
    """The type of a foreign error and the first line that it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
