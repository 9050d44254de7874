"""SSD over any classifier."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD

from limbeck.bounds import Fraction, NonNegativeInt, Positive, PositiveInt
from limbeck.models.detectors.backbones import Maps, body_of

STRIDES = (8, 16, 32)


def ssd(
    *,
    num_classes: PositiveInt,
    backbone: str = "torchvision/resnet18",
    pretrained_backbone: bool = False,
    frozen_norms: bool = False,
    extra_levels: NonNegativeInt = 3,
    extra_channels: PositiveInt = 256,
    size: Sequence[PositiveInt] = (300, 300),
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
    aspect_ratios: Sequence[Positive] = (2.0, 3.0),
    scales: Sequence[Positive] | None = None,
    foreground_iou: Fraction = 0.5,
    score_threshold: Fraction = 0.01,
    nms_threshold: Fraction = 0.45,
    detections: PositiveInt = 200,
) -> SSD:
    """SSD [liu2016ssd]: heads of their own on maps of strides 8, 16, 32 and on further ones of half the size each.

    Args:
        num_classes: classes of objects, the background not among them.
        backbone: "torchvision/<classifier>", "timm/<model>" or "limbeck/<model>", with maps of strides
            8, 16 and 32.
        pretrained_backbone: fetch its weights; its layers up to stride 4 and its batch norms then stay as they
            are.
        frozen_norms: batch norms that never change, without fetching.
        extra_levels: maps beyond the body's, each by a convolution of stride 2.
        extra_channels: of these.
        size: height and width that images are resized to, whatever their aspect ratio.
        mean: subtracted from each channel of an image in [0, 1]; ImageNet's.
        std: divides each channel afterwards; ImageNet's.
        aspect_ratios: of the default boxes beside the two squares; each is used upright and lying.
        scales: side of a level's default boxes relative to the image, one more than there are levels; evenly from
            0.15 to 0.9 unless given, as torchvision has it.
        foreground_iou: overlap from which an anchor has an object.
        score_threshold: below it, no detection.
        nms_threshold: overlap above which the less certain of two detections of a class is dropped.
        detections: at most, an image.

    Returns:
        torchvision's `SSD`.

    Raises:
        ModelError: a backbone that does not serve.

    Example:
        >>> net = ssd(num_classes=3, size=(64, 96))
        >>> len(net.anchor_generator.scales)
        7
    """
    body = body_of(backbone, strides=STRIDES, pretrained=pretrained_backbone, frozen_norms=frozen_norms)
    ladder = _Ladder(body, extra_levels, extra_channels)
    levels = len(ladder.out_channels)
    if scales is not None and len(scales) != levels + 1:
        raise ValueError(f"{levels} levels take {levels + 1} scales; got {len(scales)}")
    height, width = size
    return SSD(
        ladder,
        DefaultBoxGenerator([list(aspect_ratios)] * levels, scales=None if scales is None else list(scales)),
        (width, height),  # torchvision wants the width first here
        num_classes + 1,
        image_mean=list(mean),
        image_std=list(std),
        iou_thresh=foreground_iou,
        score_thresh=score_threshold,
        nms_thresh=nms_threshold,
        detections_per_img=detections,
    )


class _Ladder(nn.Module):
    """The maps of a body and smaller ones on top of its last."""

    def __init__(self, body: Maps, extra: int, channels: int) -> None:
        super().__init__()
        self.body = body
        widths = [body.channels[-1], *[channels] * extra]
        self.extra = nn.ModuleList(_halving(before, after) for before, after in pairwise(widths))
        self.out_channels = [*body.channels, *widths[1:]]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = self.body(x)
        for block in self.extra:
            maps.append(block(maps[-1]))
        return OrderedDict((str(level), found) for level, found in enumerate(maps))


def _halving(before: int, after: int) -> nn.Sequential:
    """Half the channels, then half the size."""
    return nn.Sequential(
        nn.Conv2d(before, after // 2, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(after // 2, after, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
    )
