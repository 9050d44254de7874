"""What is wrong with boxes: said with file, image and annotation, or counted and left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from limbeck.errors import DataError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SLACK = 1.0
"""Pixels by which a box may reach over the border of its image: annotation tools round. It is cut off there."""

LEAST = 0.01
"""Pixels that a box is wide and high at least: less may vanish when it is rounded or scaled."""


class Findings:
    """What to do about bad data: stop at the first piece, or leave it out and count it.

    Args:
        on_bad: "refuse" or "skip".

    Attributes:
        skipped: reason -> how many were left out.

    Example:
        >>> findings = Findings("skip")
        >>> findings.report("no area", Path("train.json"), "annotation 7", "it is empty", "Remove it")
        >>> findings.skipped
        {'no area': 1}
    """

    def __init__(self, on_bad: Literal["refuse", "skip"]) -> None:
        if on_bad not in ("refuse", "skip"):
            raise DataError(f"on_bad is 'refuse' or 'skip', not {on_bad!r}.")
        self.on_bad = on_bad
        self.skipped: dict[str, int] = {}

    def report(self, reason: str, file: Path, where: str, wrong: str, right: str, *, count: int = 1) -> None:
        """One bad piece.

        Args:
            reason: in two or three words, the key of `skipped`.
            file: of the annotations.
            where: annotation and image.
            wrong: what is wrong.
            right: what would be right, without the full stop.
            count: pieces that go with it.

        Raises:
            DataError: bad data is refused.
        """
        if self.on_bad == "refuse":
            raise DataError(f"{file}: {where}: {wrong}. {right}, or leave such data out with on_bad: skip.")
        self.skipped[reason] = self.skipped.get(reason, 0) + count


def numbers_of_box(box: Any) -> tuple[float, float, float, float] | None:
    """Four finite numbers, or None.

    Example:
        >>> numbers_of_box([1, 2, 3.5, 4]), numbers_of_box([1, 2, 3]), numbers_of_box([1, 2, 3, float("nan")])
        ((1.0, 2.0, 3.5, 4.0), None, None)
    """
    if not isinstance(box, list | tuple) or len(box) != 4:
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in box):
        return None
    x, y, across, down = (float(v) for v in box)
    # Comparisons with NaN are false, and infinity is too large.
    return (x, y, across, down) if all(abs(v) < 1e12 for v in (x, y, across, down)) else None


def refuse_fractions(boxes: Floats, file: Path, layout: str) -> None:
    """Stop where all boxes of a file are fractions of their images.

    Raises:
        DataError: they are, whatever is done about single bad boxes.
    """
    if len(boxes) and boxes.min() >= 0 and boxes.max() <= 1 and (boxes % 1 != 0).any():
        raise DataError(
            f"{file}: every number of every box lies between 0 and 1, as if boxes were fractions of the image. "
            f"They are {layout} in pixels: multiply by the width and height of the image."
        )


def refuse_corners(boxes: Floats, shapes: Floats, file: Path) -> None:
    """Stop where boxes are corners instead of corner, width and height.

    Raises:
        DataError: many boxes reach out of their images as given, and all fit as corners.
    """
    x, y, across, down = boxes.T
    height, width = shapes.T
    out = (x + across > width + SLACK) | (y + down > height + SLACK)
    corners = (
        (across > x) & (down > y) & (across <= width + SLACK) & (down <= height + SLACK) & (x >= 0) & (y >= 0)
    )
    if len(boxes) >= 5 and out.mean() > 0.1 and corners.all():
        raise DataError(
            f"{file}: {int(out.sum())} of {len(boxes)} boxes reach out of their images, but all fit as corners "
            "[x1, y1, x2, y2]. COCO's boxes are [x, y, width, height]: width is x2 - x1, and height y2 - y1."
        )


def well_placed(
    corners: Floats,
    shapes: Floats,
    findings: Findings,
    file: Callable[[int], Path],
    where: Callable[[int], str],
    shown: Callable[[int], str],
    layout: str,
) -> tuple[Floats, Flags]:
    """Boxes cut off at the border of their images, and which of them may stay.

    Args:
        corners: x1, y1, x2, y2, shape (n, 4).
        shapes: height and width of each box's image, shape (n, 2).
        findings: what to do about bad ones.
        file: of a box, by position.
        where: annotation and image of a box, by position.
        shown: a box as it stands in the file, by position.
        layout: how boxes are written there.

    Raises:
        DataError: a box without area or outside its image, where that is refused.
    """
    x1, y1, x2, y2 = corners.T
    height, width = shapes.T
    empty = (x2 - x1 < LEAST) | (y2 - y1 < LEAST)
    out = (x1 < -SLACK) | (y1 < -SLACK) | (x2 > width + SLACK) | (y2 > height + SLACK)
    cut = np.stack((x1.clip(0), y1.clip(0), np.minimum(x2, width), np.minimum(y2, height)), axis=1)
    # What lies within the slack of the border, all of it, has nothing left.
    out |= ~empty & ((cut[:, 2] - cut[:, 0] < LEAST) | (cut[:, 3] - cut[:, 1] < LEAST))
    for row in (empty | out).nonzero()[0].tolist():
        if empty[row]:
            findings.report(
                "no area",
                file(row),
                where(row),
                f"the box {shown(row)} has no area",
                f"Boxes are {layout}, at least a little wide and high; correct or remove it",
            )
        else:
            size = f"{int(width[row])}x{int(height[row])}"
            findings.report(
                "outside the image",
                file(row),
                where(row),
                f"the box {shown(row)} reaches outside the image of {size} pixels (width x height)",
                f"Boxes are {layout} in pixels of the image; correct it",
            )
    return cut, ~(empty | out)
