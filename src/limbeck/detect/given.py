"""Networks that a caller hands over as they are: are they detectors, and of how many classes?"""

from __future__ import annotations

from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.ssd import SSD

from limbeck.errors import ModelError
from limbeck.protocols import DetectionSource

_FAMILIES: tuple[type[nn.Module], ...] = (SSD, RetinaNet, FCOS, FasterRCNN)
_COUNTS = (
    "head.classification_head.num_columns",
    "head.classification_head.num_classes",
    "roi_heads.box_predictor.cls_score.out_features",
)
"""Where torchvision's families say how many outputs there are for a box, the background among them."""


def require_detector(model: nn.Module, source: DetectionSource, *, what: str) -> nn.Module:
    """A detector that was handed over, if it fits the data.

    Args:
        model: anything.
        source: whose objects it is to find.
        what: the argument it was given as.

    Raises:
        ModelError: no detector of a family that can be watched, or one of another number of classes.
    """
    if not isinstance(model, _FAMILIES):
        raise ModelError(
            f"{what}: {type(model).__name__} is no detector. Needed is torchvision's SSD, RetinaNet, FCOS or "
            'FasterRCNN, as limbeck.models.detectors.build_detector makes them, or a name such as "small_ssd".'
        )
    classes, wanted = _classes(model), len(source.class_names)
    if classes is not None and classes != wanted:
        raise ModelError(
            f"{what}: the detector has {classes} classes beside the background, the data have {wanted} "
            f"({', '.join(list(source.class_names)[:6])}). Build it with num_classes={wanted}."
        )
    return model


def _classes(detector: nn.Module) -> int | None:
    """Without the background; None where a head of one's own does not say."""
    for path in _COUNTS:
        found: object = detector
        for part in path.split("."):
            found = getattr(found, part, None)
        if isinstance(found, int):
            return found - 1
    return None
