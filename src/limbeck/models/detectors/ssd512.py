"""SSD512 over VGG-16, which torchvision does not ship."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torchvision.models import VGG16_Weights, vgg16
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD, SSDFeatureExtractorVGG

from limbeck.bounds import Fraction, PositiveInt
from limbeck.models.adapting import explained

SIZE = (512, 512)
STRIDES = (8, 16, 32, 64, 128, 256, 512)
RATIOS = ([2], [2, 3], [2, 3], [2, 3], [2, 3], [2], [2])
SCALES = (0.04, 0.1, 0.26, 0.42, 0.58, 0.74, 0.9, 1.06)
"""Sides of the default boxes for COCO, relative to the image."""


def ssd512_vgg16(
    *,
    num_classes: PositiveInt,
    pretrained_backbone: bool = False,
    mean: Sequence[float] = (0.48235, 0.45882, 0.40784),
    std: Sequence[float] = (0.00392156862745098, 0.00392156862745098, 0.00392156862745098),
    foreground_iou: Fraction = 0.5,
    score_threshold: Fraction = 0.01,
    nms_threshold: Fraction = 0.45,
    detections: PositiveInt = 200,
) -> SSD:
    """SSD512 [liu2016ssd]: `torchvision/ssd300_vgg16` at 512 pixels, with a seventh map and boxes to match.

    The maps are 64, 32, 16, 8, 4, 2 and 1 cells wide, as in the released program; all of VGG-16 is trained.

    Args:
        num_classes: classes of objects, the background not among them.
        pretrained_backbone: fetch VGG-16 as SSD begins with it, for grey levels from which a mean is subtracted.
        mean: subtracted from each channel of an image in [0, 1]; VGG's.
        std: divides each channel afterwards; 1/255 gives grey levels.
        foreground_iou: overlap from which an anchor has an object.
        score_threshold: below it, no detection.
        nms_threshold: overlap above which the less certain of two detections of a class is dropped.
        detections: at most, an image.

    Returns:
        torchvision's `SSD`.

    Raises:
        ModelError: weights that cannot be fetched.
    """
    try:
        features = vgg16(weights=VGG16_Weights.IMAGENET1K_FEATURES if pretrained_backbone else None).features
    except Exception as error:  # download clients raise whatever they like
        raise explained("ssd512_vgg16", error, pretrained_backbone, {}) from error
    return SSD(
        _seven_maps(SSDFeatureExtractorVGG(features, highres=True)),
        DefaultBoxGenerator([list(each) for each in RATIOS], scales=list(SCALES), steps=list(STRIDES)),
        SIZE,
        num_classes + 1,
        image_mean=list(mean),
        image_std=list(std),
        iou_thresh=foreground_iou,
        score_thresh=score_threshold,
        nms_thresh=nms_threshold,
        detections_per_img=detections,
    )


def _seven_maps(body: SSDFeatureExtractorVGG) -> SSDFeatureExtractorVGG:
    """Halve at each further map: torchvision's layers are those of SSD300, whose last maps have 3 cells and 1."""
    *_, tenth, eleventh, twelfth = body.extra
    for block, kernel, stride in ((tenth, 3, 2), (eleventh, 3, 2), (twelfth, 4, 1)):
        old = block[2]
        new = nn.Conv2d(old.in_channels, old.out_channels, kernel, stride=stride, padding=1)
        nn.init.xavier_uniform_(new.weight)
        assert new.bias is not None
        nn.init.zeros_(new.bias)
        block[2] = new
    return body
