"""What a source had to leave out, said wherever its images are counted."""

from __future__ import annotations

from collections.abc import Mapping

from limbeck.protocols import DetectionSource
from limbeck.runs.folder import StageFolder


def left_out_notes(source: DetectionSource, split: str) -> list[str]:
    """A line for each reason to leave annotations or images out.

    Args:
        source: of the split.
        split: its name.
    """
    return [f"left out of the {split} split: {count} x {why}" for why, count in source.skipped.items()]


def write_left_out(folder: StageFolder, splits: Mapping[str, DetectionSource]) -> dict[str, dict[str, int]]:
    """A table of what was left out, where anything was.

    Args:
        folder: of the stage.
        splits: name of each split that the stage read -> its source.

    Returns:
        Split -> reason -> how many, as a result has it; without the splits that are whole.
    """
    found = {split: dict(source.skipped) for split, source in splits.items() if source.skipped}
    if found:
        folder.write_table(
            "left_out",
            {
                "title": "Left out of the data",
                "columns": [
                    {"key": "split", "label": "Split"},
                    {"key": "reason", "label": "Reason"},
                    {"key": "count", "label": "Count", "unit": "count", "better": "lower"},
                ],
                "rows": [
                    {"split": split, "reason": reason, "count": count}
                    for split, reasons in found.items()
                    for reason, count in reasons.items()
                ],
                "note": "Annotations and images that cannot be used; the source was told on_bad: skip.",
            },
        )
    return found
