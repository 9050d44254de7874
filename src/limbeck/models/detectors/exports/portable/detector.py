"""The detector in this folder, for torch, torchvision and safetensors alone (and timm, if its backbone is timm's).

from detector import load, predict

detector = load()
(found,) = predict(detector, [image])  # float32 (3, h, w) in [0, 1]
names = [detector.class_names[label] for label in found["labels"]]
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.fcos import FCOSHead, FCOSRegressionHead
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool, LastLevelP6P7

WEIGHTS, CONFIG = "model.safetensors", "config.json"
Config = Mapping[str, Any]


def load(folder: str | Path = Path(__file__).parent, device: str | torch.device = "cpu") -> nn.Module:
    """The trained detector, in eval mode, a plain one of torchvision; its `class_names` are by label.

    Called as such, it gives torchvision's own labels, which are one higher, with the background at 0.
    """
    folder = Path(folder)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    detector = build(config)
    missing, unexpected = detector.load_state_dict(
        safetensors.torch.load_file(folder / WEIGHTS), strict=False, assign=False
    )
    # Norms that were frozen in training did not count their batches.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"{WEIGHTS} and {CONFIG} do not belong together: {[*missing, *unexpected][:3]}")
    return detector.to(device).eval()


def predict(detector: nn.Module, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
    """Find objects in images (3, h, w) in [0, 1], of any sizes.

    For each image `boxes` (k, 4) as x1, y1, x2, y2 in its pixels, `labels` (k,) from 0 and `scores` (k,).
    """
    with torch.no_grad():
        found = detector.eval()(list(images))
    kept = [one["labels"] > 0 for one in found]
    return [
        {"boxes": one["boxes"][rows], "labels": one["labels"][rows] - 1, "scores": one["scores"][rows]}
        for one, rows in zip(found, kept, strict=True)
    ]


def build(config: Config) -> nn.Module:
    """The detector that `config.json` describes, without its weights."""
    if config["torchvision"] is not None:
        builder, settings = config["torchvision"]["builder"], config["torchvision"]["settings"]
        detector: Any = models.get_model(
            builder, weights=None, weights_backbone=None, num_classes=config["classes"] + 1, **settings
        )
    else:
        detector = FAMILIES[config["family"]](config)
    detector.transform = GeneralizedRCNNTransform(**config["transform"])
    decides = getattr(detector, "roi_heads", detector)
    for name, value in config["thresholds"].items():
        setattr(decides, name, value)
    if config["norm_epsilon"] is not None:
        for module in detector.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = config["norm_epsilon"]
    detector.class_names = tuple(config["class_names"])
    assert isinstance(detector, nn.Module)
    return detector


def _ssd(config: Config) -> nn.Module:
    anchors = DefaultBoxGenerator(**config["anchors"])
    made: nn.Module = SSD(_backbone(config), anchors, config["transform"]["fixed_size"], config["classes"] + 1)
    return made


def _retinanet(config: Config) -> nn.Module:
    anchors = AnchorGenerator(**config["anchors"])
    made: nn.Module = RetinaNet(_backbone(config), config["classes"] + 1, anchor_generator=anchors)
    return made


def _fcos(config: Config) -> nn.Module:
    backbone, columns = _backbone(config), config["classes"] + 1
    head = DistributionalHead(backbone.out_channels, columns, config["bins"]) if config["bins"] else None
    anchors = AnchorGenerator(**config["anchors"])
    made: nn.Module = FCOS(backbone, columns, anchor_generator=anchors, head=head)
    return made


def _faster_rcnn(config: Config) -> nn.Module:
    backbone, stages = _backbone(config), config["stages"]
    side = stages["pool"]["output_size"]
    made: nn.Module = FasterRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(**config["anchors"]),
        **stages["first"],
        box_roi_pool=MultiScaleRoIAlign(**stages["pool"]),
        box_head=TwoMLPHead(backbone.out_channels * side**2, stages["channels"]),
        box_predictor=FastRCNNPredictor(stages["channels"], config["classes"] + 1),
    )
    return made


FAMILIES = {"SSD": _ssd, "RetinaNet": _retinanet, "FCOS": _fcos, "Faster R-CNN": _faster_rcnn}


def _backbone(config: Config) -> Any:
    said = config["backbone"]
    if said["kind"] == "small":
        return SmallBackbone(said["stem"], said["channels"])
    body = Maps(said["body"])
    if said["kind"] == "ladder":
        return Ladder(body, said["channels"])
    two_stage = config["family"] == "Faster R-CNN"
    return Pyramid(body, said["channels"], two_stage)


class SmallBackbone(nn.Module):
    """A stem and residual blocks of stride 2; the last four maps count."""

    def __init__(self, stem: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(stem), nn.ReLU(inplace=True)
        )
        self.blocks = nn.ModuleList(SmallBlock(*ends) for ends in pairwise([stem, *channels]))
        self.out_channels = list(channels[-4:])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Maps of strides 8, 16, 32, 64."""
        x, maps = self.stem(x), []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return OrderedDict((str(level), found) for level, found in enumerate(maps[-4:]))


class SmallBlock(nn.Module):
    """Two convolutions, the first of stride 2, beside a strided 1x1 convolution."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=2, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """To half the size."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class Maps(nn.Module):
    """A classifier of torchvision or timm, whose feature maps are its output."""

    def __init__(self, said: Config) -> None:
        super().__init__()
        if said["library"] == "torchvision":
            model: Any = models.get_model(said["name"], weights=None)
            trunk = model.features if isinstance(getattr(model, "features", None), nn.Sequential) else model
            self.network: nn.Module = IntermediateLayerGetter(trunk, said["layers"])
        else:
            import timm

            self.network = timm.create_model(
                said["name"], pretrained=False, features_only=True, out_indices=tuple(said["layers"])
            )
        self.places, self.channels = said["places"], said["channels"]

    def forward(self, x: Tensor) -> list[Tensor]:
        """The finest first."""
        found: Any = self.network(x)
        maps = list(found.values()) if isinstance(found, dict) else list(found)
        chosen = [(maps[place], channels) for place, channels in zip(self.places, self.channels, strict=True)]
        # Some transformers of timm keep their channels last.
        return [m if m.shape[1] == channels else m.permute(0, 3, 1, 2).contiguous() for m, channels in chosen]


class Ladder(nn.Module):
    """The maps of a body and smaller ones on top of its last."""

    def __init__(self, body: Maps, channels: Sequence[int]) -> None:
        super().__init__()
        self.body = body
        self.extra = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after // 2, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(after // 2, after, 3, stride=2, padding=1),
                nn.ReLU(inplace=True),
            )
            for before, after in pairwise([body.channels[-1], *channels])
        )
        self.out_channels = [*body.channels, *channels]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The finest first."""
        maps = self.body(x)
        for block in self.extra:
            maps.append(block(maps[-1]))
        return OrderedDict((str(level), found) for level, found in enumerate(maps))


class Pyramid(nn.Module):
    """A feature pyramid over a body."""

    def __init__(self, body: Maps, channels: int, two_stage: bool) -> None:
        super().__init__()
        self.body = body
        extra = LastLevelMaxPool() if two_stage else LastLevelP6P7(channels, channels)
        self.fpn = FeaturePyramidNetwork(body.channels, channels, extra_blocks=extra)
        self.out_channels = channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The finest first."""
        levels: dict[str, Tensor] = self.fpn(OrderedDict((str(k), found) for k, found in enumerate(self.body(x))))
        return levels


class DistributionalHead(FCOSHead):  # type: ignore[misc]
    """FCOS's head; each side is the mean of a distribution over 0, 1, ..., `bins` strides."""

    def __init__(self, channels: int, columns: int, bins: int) -> None:
        super().__init__(channels, 1, columns)
        self.regression_head = DistributionalSides(channels, bins)

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        """By torchvision's names."""
        sides, centerness = self.regression_head(x)
        steps = torch.arange(sides.shape[-1], device=sides.device, dtype=torch.float32)
        distances = sides.float().softmax(-1) @ steps
        return {
            "cls_logits": self.classification_head(x),
            "bbox_regression": distances,
            "bbox_ctrness": centerness,
        }


class DistributionalSides(FCOSRegressionHead):  # type: ignore[misc]
    """The tower of boxes, with more outputs a side."""

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__(channels, 1)
        self.bbox_reg = nn.Conv2d(channels, 4 * (bins + 1), 3, padding=1)

    def forward(self, x: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (n, A, 4, bins + 1) and centerness (n, A, 1)."""
        found = [self.conv(level) for level in x]
        sides = [self.bbox_reg(level).permute(0, 2, 3, 1).flatten(1, 2) for level in found]
        centerness = [self.bbox_ctrness(level).permute(0, 2, 3, 1).flatten(1, 2) for level in found]
        return torch.cat(sides, 1).unflatten(2, (4, -1)), torch.cat(centerness, 1)
