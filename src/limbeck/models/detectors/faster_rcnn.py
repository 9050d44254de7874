"""Faster R-CNN over any classifier."""

from __future__ import annotations

from collections.abc import Sequence

from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from limbeck.bounds import Fraction, Positive, PositiveInt
from limbeck.models.detectors.backbones import Pyramid, body_of
from limbeck.models.detectors.settings import sizing

STRIDES = (4, 8, 16, 32)
LEVEL_STRIDES = (4, 8, 16, 32, 64)
POOLED = 7


def faster_rcnn(
    *,
    num_classes: PositiveInt,
    backbone: str = "torchvision/resnet18",
    pretrained_backbone: bool = False,
    frozen_norms: bool = False,
    fpn_channels: PositiveInt = 256,
    box_channels: PositiveInt = 1024,
    size: Sequence[PositiveInt] | None = None,
    min_size: PositiveInt | Sequence[PositiveInt] = 800,
    max_size: PositiveInt = 1333,
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
    anchor_scale: Positive = 8.0,
    aspect_ratios: Sequence[Positive] = (0.5, 1.0, 2.0),
    proposals: PositiveInt = 2000,
    proposals_tested: PositiveInt = 1000,
    sampled: PositiveInt = 512,
    positive_fraction: Fraction = 0.25,
    foreground_iou: Fraction = 0.5,
    score_threshold: Fraction = 0.05,
    nms_threshold: Fraction = 0.5,
    detections: PositiveInt = 100,
) -> FasterRCNN:
    """Faster R-CNN [ren2015fasterrcnn] over a feature pyramid [lin2017fpn] of strides 4 to 64.

    Args:
        num_classes: classes of objects, the background not among them.
        backbone: "torchvision/<classifier>", "timm/<model>" or "limbeck/<model>", with maps of strides
            4, 8, 16 and 32.
        pretrained_backbone: fetch its weights; its layers up to stride 4 and its batch norms then stay as they
            are.
        frozen_norms: batch norms that never change, without fetching.
        fpn_channels: of every level of the pyramid.
        box_channels: of the two layers of the second stage.
        size: height and width that images are resized to, whatever their aspect ratio; by their sides unless
            given.
        min_size: pixels of the shorter side after resizing; one of several is drawn for each image in training.
        max_size: what the longer side never exceeds.
        mean: subtracted from each channel of an image in [0, 1]; ImageNet's.
        std: divides each channel afterwards; ImageNet's.
        anchor_scale: side of a level's anchors in strides of the level. 8 is the paper's, 32 pixels at stride 4;
            smaller for smaller objects.
        aspect_ratios: height to width of the anchors.
        proposals: of the first stage an image and level before, and an image after suppression, in training.
        proposals_tested: the same in prediction.
        sampled: proposals an image that the second stage learns from.
        positive_fraction: of these with an object, at most.
        foreground_iou: overlap from which a proposal has an object, and below which it is background.
        score_threshold: below it, no detection.
        nms_threshold: overlap above which the less certain of two detections of a class is dropped.
        detections: at most, an image.

    Returns:
        torchvision's `FasterRCNN`.

    Raises:
        ModelError: a backbone that does not serve.
    """
    body = body_of(backbone, strides=STRIDES, pretrained=pretrained_backbone, frozen_norms=frozen_norms)
    sizes = tuple((anchor_scale * stride,) for stride in LEVEL_STRIDES)
    return FasterRCNN(
        Pyramid(body, fpn_channels, LastLevelMaxPool()),
        **sizing(size, min_size, max_size),
        image_mean=list(mean),
        image_std=list(std),
        rpn_anchor_generator=AnchorGenerator(sizes, (tuple(aspect_ratios),) * len(sizes)),
        rpn_pre_nms_top_n_train=proposals,
        rpn_pre_nms_top_n_test=proposals_tested,
        rpn_post_nms_top_n_train=proposals,
        rpn_post_nms_top_n_test=proposals_tested,
        box_roi_pool=MultiScaleRoIAlign([str(k) for k in range(len(STRIDES))], POOLED, sampling_ratio=2),
        box_head=TwoMLPHead(fpn_channels * POOLED**2, box_channels),
        box_predictor=FastRCNNPredictor(box_channels, num_classes + 1),
        box_score_thresh=score_threshold,
        box_nms_thresh=nms_threshold,
        box_detections_per_img=detections,
        box_fg_iou_thresh=foreground_iou,
        box_bg_iou_thresh=foreground_iou,
        box_batch_size_per_image=sampled,
        box_positive_fraction=positive_fraction,
    )
