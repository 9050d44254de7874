"""Images of a detection source, as networks take them."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.detect.config import SourceSpec
from limbeck.errors import DataError
from limbeck.protocols import DetectionSample, DetectionSource
from limbeck.sources.detection.building import build_detection


def picture(source: DetectionSource, place: int, device: torch.device) -> Tensor:
    """One image without augmentation: float32 (3, h, w) in [0, 1]."""
    return source[place].image.to(device).to(torch.float32) / 255


def require_objects(source: DetectionSource, what: str) -> None:
    """Make sure that there is anything to find.

    Args:
        source: to learn from or to measure on.
        what: the word for it: "learn" or "measure".

    Raises:
        DataError: no image has a box.
    """
    if not any(source.box_counts):
        out = sum(source.skipped.values())
        left = f" {out:,} annotations or images were left out by on_bad: skip." if out else ""
        raise DataError(
            f"there is nothing to {what}: none of the {len(source):,} images of the split has a box "
            f"(classes {', '.join(list(source.class_names)[:6])}).{left}"
        )


def split_of(spec: SourceSpec, split: str) -> DetectionSource:
    """A split of a source as a recipe names it."""
    return build_detection(spec.name, split=split, **spec.settings)  # type: ignore[arg-type]


class SomeImages:
    """A detection source of fewer images, spread evenly over another's; what is known of all is that of the whole.

    Args:
        source: the whole.
        limit: how many at most.

    Example:
        >>> from limbeck.sources.detection import digit_scenes
        >>> some = SomeImages(digit_scenes(count=10), 3)
        >>> len(some), some.places
        (3, (0, 3, 6))
    """

    def __init__(self, source: DetectionSource, limit: int) -> None:
        count = min(limit, len(source))
        self.source = source
        self.places = tuple(len(source) * place // count for place in range(count))
        self.class_names, self.category_ids = source.class_names, source.category_ids
        self.mean, self.std, self.skipped = source.mean, source.std, source.skipped
        self.fingerprint = f"{source.fingerprint}/{count}"
        self.box_counts = [source.box_counts[place] for place in self.places]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> DetectionSample:
        """One image with its objects."""
        return self.source[self.places[index]]
