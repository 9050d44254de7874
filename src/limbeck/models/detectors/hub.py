"""The detectors that torchvision ships."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from limbeck.bounds import NonNegative, PositiveInt
from limbeck.errors import ModelError, did_you_mean
from limbeck.models.adapting import explained, tell_new_head
from limbeck.models.detectors.backbones import freeze_norms
from limbeck.models.detectors.families import family_of

OTHER_TASKS = ("maskrcnn", "keypointrcnn")


def torchvision_detector(
    architecture: str,
    /,
    *,
    num_classes: PositiveInt,
    pretrained: bool = False,
    pretrained_backbone: bool = False,
    frozen_norms: bool = False,
    norm_epsilon: NonNegative | None = None,
    **settings: Any,
) -> nn.Module:
    """A detector of torchvision by the name of its builder, e.g. `torchvision/fasterrcnn_resnet50_fpn`.

    Args:
        architecture: torchvision's name.
        num_classes: classes of objects, the background not among them; the COCO weights have 90.
        pretrained: fetch weights trained on COCO; the class scores are new where the classes are others.
        pretrained_backbone: fetch the backbone's weights trained on ImageNet.
        frozen_norms: batch norms that never change, without fetching; what torchvision does where it fetches.
        norm_epsilon: of such norms, for weights that were trained with another one.
        settings: handed to the builder, e.g. `min_size`, `trainable_backbone_layers` or `box_score_thresh`.

    Raises:
        ModelError: no such detector, a setting that it does not take, or weights that cannot be fetched.
    """
    from torchvision import models
    from torchvision.models import detection

    known = [name for name in models.list_models(module=detection) if not name.startswith(OTHER_TASKS)]
    name = f"torchvision/{architecture}"
    if architecture not in known:
        other = " It takes masks or keypoints to learn from." if architecture.startswith(OTHER_TASKS) else ""
        raise ModelError(
            f"torchvision has no detector of boxes '{architecture}'.{other}{did_you_mean(architecture, known)} "
            f"Known: {', '.join(known)}."
        )
    _refuse_unknown(name, models.get_model_builder(architecture), settings)
    weights = models.get_model_weights(architecture).DEFAULT if pretrained else None
    # The builder's own choice of backbone weights is the right one: SSD's are normalised in a way of their own.
    backbone: dict[str, Any] = {} if pretrained_backbone or pretrained else {"weights_backbone": None}
    classes = num_classes + 1 if weights is None else len(weights.meta["categories"])
    try:
        model: nn.Module = models.get_model(
            architecture, weights=weights, num_classes=classes, **backbone, **settings
        )
        if classes != num_classes + 1:
            tell_new_head(name, classes - 1, num_classes)
            fresh = models.get_model(
                architecture, weights=None, weights_backbone=None, num_classes=num_classes + 1, **settings
            )
            _take_class_layers(model, fresh)
    except Exception as error:  # builders and download clients raise whatever they like
        raise explained(name, error, pretrained or pretrained_backbone, settings) from error
    if frozen_norms:
        freeze_norms(model.get_submodule("backbone"), norm_epsilon)
    return model


def _take_class_layers(model: nn.Module, fresh: nn.Module) -> None:
    """Put new layers for other classes in place of those of a pre-trained detector."""
    path = family_of(model).class_layers
    model.set_submodule(path, fresh.get_submodule(path))
    head = getattr(getattr(model, "head", None), "classification_head", None)
    if head is not None and hasattr(head, "num_classes"):
        head.num_classes = fresh.get_submodule("head.classification_head").num_classes


def _refuse_unknown(name: str, builder: Any, settings: dict[str, Any]) -> None:
    """The constructors of torchvision ignore what they do not know; a slip of the pen would go unseen."""
    family = inspect.signature(builder).return_annotation
    known = {*inspect.signature(builder).parameters, *inspect.signature(family.__init__).parameters, "fixed_size"}
    known -= {"self", "kwargs", "weights", "weights_backbone", "num_classes", "backbone", "progress", "size"}
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise ModelError(
            f"'{name}' has no setting '{unknown[0]}'.{did_you_mean(unknown[0], known)} "
            f"It has: {', '.join(sorted(known))}."
        )
