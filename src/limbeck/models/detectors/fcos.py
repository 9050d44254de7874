"""FCOS over any classifier, with plain or distributional sides."""

from __future__ import annotations

from collections.abc import Sequence

from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from limbeck.bounds import Fraction, NonNegativeInt, Positive, PositiveInt
from limbeck.models.detectors.backbones import Pyramid, body_of
from limbeck.models.detectors.distributional_head import DistributionalHead
from limbeck.models.detectors.settings import sizing

STRIDES = (8, 16, 32)
LEVEL_STRIDES = (8, 16, 32, 64, 128)


def fcos(
    *,
    num_classes: PositiveInt,
    backbone: str = "torchvision/resnet18",
    pretrained_backbone: bool = False,
    frozen_norms: bool = False,
    fpn_channels: PositiveInt = 256,
    bins: NonNegativeInt = 0,
    size: Sequence[PositiveInt] | None = None,
    min_size: PositiveInt | Sequence[PositiveInt] = 800,
    max_size: PositiveInt = 1333,
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
    center_radius: Positive = 1.5,
    score_threshold: Fraction = 0.2,
    nms_threshold: Fraction = 0.6,
    detections: PositiveInt = 100,
) -> FCOS:
    """FCOS [tian2019fcos]: a pyramid of strides 8 to 128, a point a cell that predicts distances to four sides.

    Args:
        num_classes: classes of objects, the background not among them.
        backbone: "torchvision/<classifier>", "timm/<model>" or "limbeck/<model>", with maps of strides
            8, 16 and 32.
        pretrained_backbone: fetch its weights; its layers up to stride 4 and its batch norms then stay as they
            are.
        frozen_norms: batch norms that never change, without fetching.
        fpn_channels: of every level of the pyramid and of the heads; a multiple of 32, for their group norms.
        bins: 0 for a distance for each side; otherwise a distribution over 0, 1, ..., `bins` strides for each
            side, whose mean is the distance [li2020gfl], trained by its distribution focal loss as well; 16 is the
            paper's. Localisation can then be distilled as a distribution.
        size: height and width that images are resized to, whatever their aspect ratio; by their sides unless
            given.
        min_size: pixels of the shorter side after resizing; one of several is drawn for each image in training.
        max_size: what the longer side never exceeds.
        mean: subtracted from each channel of an image in [0, 1]; ImageNet's.
        std: divides each channel afterwards; ImageNet's.
        center_radius: strides around an object's centre within which points may be its.
        score_threshold: below it, no detection.
        nms_threshold: overlap above which the less certain of two detections of a class is dropped.
        detections: at most, an image.

    Returns:
        torchvision's `FCOS`.

    Raises:
        ModelError: a backbone that does not serve.
    """
    if fpn_channels % 32:
        raise ValueError("fpn_channels has to be a multiple of 32, for the heads' group norms of 32 groups")
    body = body_of(backbone, strides=STRIDES, pretrained=pretrained_backbone, frozen_norms=frozen_norms)
    head = DistributionalHead(fpn_channels, num_classes + 1, bins) if bins else None
    return FCOS(
        Pyramid(body, fpn_channels, LastLevelP6P7(fpn_channels, fpn_channels)),
        num_classes + 1,
        **sizing(size, min_size, max_size),
        image_mean=list(mean),
        image_std=list(std),
        anchor_generator=AnchorGenerator(
            tuple((stride,) for stride in LEVEL_STRIDES), ((1.0,),) * len(LEVEL_STRIDES)
        ),
        head=head,
        center_sampling_radius=center_radius,
        score_thresh=score_threshold,
        nms_thresh=nms_threshold,
        detections_per_img=detections,
    )
