"""How each family of torchvision's detectors is read, a family a file."""

from __future__ import annotations

from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.ssd import SSD

from limbeck.errors import ModelError
from limbeck.models.detectors.families import sigmoid, softmax, two_stage
from limbeck.models.detectors.families.family import Family

FAMILIES: dict[type[nn.Module], Family] = {
    SSD: softmax.SSD_FAMILY,
    RetinaNet: sigmoid.RETINANET_FAMILY,
    FCOS: sigmoid.FCOS_FAMILY,
    FasterRCNN: two_stage.FASTER_RCNN_FAMILY,
}


def family_of(detector: nn.Module) -> Family:
    """The family that a detector belongs to, by its class.

    Raises:
        ModelError: to none.
    """
    for kind, family in FAMILIES.items():
        if isinstance(detector, kind):
            return family
    known = ", ".join(kind.__name__ for kind in FAMILIES)
    raise ModelError(
        f"a {type(detector).__name__} is no detector that can be read; these are: {known} of torchvision."
    )
