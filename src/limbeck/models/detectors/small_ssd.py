"""A small single-shot detector for experiments on one processor."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD

from limbeck.bounds import Positive, PositiveInt

CHANNELS = (16, 32, 64, 64, 64)
"""Of the five blocks, at width 8."""
HEADS = 4


def small_ssd(
    *,
    num_classes: PositiveInt,
    size: Sequence[PositiveInt] = (120, 160),
    width: PositiveInt = 8,
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
    scales: Sequence[Positive] = (0.08, 0.17, 0.34, 0.6, 0.8),
) -> SSD:
    """A stem and five residual blocks of stride 2 under SSD heads [liu2016ssd]: 0.3 million parameters at width 8.

    Heads sit on the last four maps, of strides 8 to 64, with four default boxes a cell of aspect ratios 1, 2 and
    1/2. Nothing of it is pre-trained.

    Args:
        num_classes: classes of objects, the background not among them.
        size: height and width that images are resized to, whatever their aspect ratio.
        width: channels of the stem; all others grow with it.
        mean: subtracted from each channel of an image in [0, 1]; ImageNet's.
        std: divides each channel afterwards; ImageNet's.
        scales: side of each map's default boxes relative to the image, and one more; the first is best a little
            below the size of the usual object.

    Returns:
        torchvision's `SSD`.

    Example:
        >>> net = small_ssd(num_classes=3)
        >>> sum(p.numel() for p in net.parameters())
        297224
    """
    height, across = size
    if len(scales) != HEADS + 1:
        raise ValueError(f"{HEADS} maps take {HEADS + 1} scales; got {len(scales)}")
    boxes = DefaultBoxGenerator([[2]] * HEADS, scales=list(scales))
    return SSD(
        _Backbone(width),
        boxes,
        (across, height),  # torchvision wants the width first here
        num_classes + 1,
        image_mean=list(mean),
        image_std=list(std),
    )


class _Backbone(nn.Module):
    """Maps of strides 8, 16, 32, 64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = [c * width // 8 for c in CHANNELS]
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        ends = zip([width, *channels], channels, strict=False)
        self.blocks = nn.ModuleList(_Block(before, after) for before, after in ends)
        self.out_channels = channels[-HEADS:]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.stem(x)
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return OrderedDict((str(level), found) for level, found in enumerate(maps[-HEADS:]))


class _Block(nn.Module):
    """Two convolutions, the first of stride 2, beside a strided 1x1 convolution."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=2, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x), inplace=True)
