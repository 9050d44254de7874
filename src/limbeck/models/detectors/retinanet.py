"""RetinaNet over any classifier."""

from __future__ import annotations

from collections.abc import Sequence

from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from limbeck.bounds import Fraction, Positive, PositiveInt
from limbeck.models.detectors.backbones import Pyramid, body_of
from limbeck.models.detectors.settings import sizing

STRIDES = (8, 16, 32)
LEVEL_STRIDES = (8, 16, 32, 64, 128)
OCTAVES = 3


def retinanet(
    *,
    num_classes: PositiveInt,
    backbone: str = "torchvision/resnet18",
    pretrained_backbone: bool = False,
    frozen_norms: bool = False,
    fpn_channels: PositiveInt = 256,
    size: Sequence[PositiveInt] | None = None,
    min_size: PositiveInt | Sequence[PositiveInt] = 800,
    max_size: PositiveInt = 1333,
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
    anchor_scale: Positive = 4.0,
    aspect_ratios: Sequence[Positive] = (0.5, 1.0, 2.0),
    foreground_iou: Fraction = 0.5,
    background_iou: Fraction = 0.4,
    score_threshold: Fraction = 0.05,
    nms_threshold: Fraction = 0.5,
    detections: PositiveInt = 300,
) -> RetinaNet:
    """RetinaNet [lin2017retinanet]: a pyramid of strides 8 to 128, nine anchors a cell, a yes or no a class.

    Args:
        num_classes: classes of objects, the background not among them.
        backbone: "torchvision/<classifier>", "timm/<model>" or "limbeck/<model>", with maps of strides
            8, 16 and 32.
        pretrained_backbone: fetch its weights; its layers up to stride 4 and its batch norms then stay as they
            are.
        frozen_norms: batch norms that never change, without fetching.
        fpn_channels: of every level of the pyramid and of the heads.
        size: height and width that images are resized to, whatever their aspect ratio; by their sides unless
            given.
        min_size: pixels of the shorter side after resizing; one of several is drawn for each image in training.
        max_size: what the longer side never exceeds.
        mean: subtracted from each channel of an image in [0, 1]; ImageNet's.
        std: divides each channel afterwards; ImageNet's.
        anchor_scale: side of a level's smallest anchors in strides of the level; three a level, a third of an
            octave apart. 4 is the paper's, 32 pixels at stride 8; smaller for smaller objects.
        aspect_ratios: height to width of the anchors.
        foreground_iou: overlap from which an anchor has an object.
        background_iou: overlap below which it has none.
        score_threshold: below it, no detection.
        nms_threshold: overlap above which the less certain of two detections of a class is dropped.
        detections: at most, an image.

    Returns:
        torchvision's `RetinaNet`.

    Raises:
        ModelError: a backbone that does not serve.
    """
    body = body_of(backbone, strides=STRIDES, pretrained=pretrained_backbone, frozen_norms=frozen_norms)
    sizes = tuple(
        tuple(anchor_scale * stride * 2 ** (octave / OCTAVES) for octave in range(OCTAVES))
        for stride in LEVEL_STRIDES
    )
    return RetinaNet(
        Pyramid(body, fpn_channels, LastLevelP6P7(fpn_channels, fpn_channels)),
        num_classes + 1,
        **sizing(size, min_size, max_size),
        image_mean=list(mean),
        image_std=list(std),
        anchor_generator=AnchorGenerator(sizes, (tuple(aspect_ratios),) * len(sizes)),
        score_thresh=score_threshold,
        nms_thresh=nms_threshold,
        detections_per_img=detections,
        fg_iou_thresh=foreground_iou,
        bg_iou_thresh=background_iou,
    )
