"""Classifiers of torchvision and timm as the body of a detector: feature maps by their stride."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, FeaturePyramidNetwork

from limbeck.errors import ModelError, did_you_mean
from limbeck.models.adapting import explained
from limbeck.models.building import build

PROBE = 64
"""Side of the picture that strides are measured with: two cells at stride 32."""
KEPT_STRIDE = 4
"""Pre-trained layers up to the map of this stride are not trained, as torchvision has it for its ResNets."""


class Maps(nn.Module):
    """A network whose output is a list of feature maps.

    Args:
        network: gives the maps of all its strides, as a list or a table.
        places: of the maps that are wanted.
        channels: of each of these.
        strides: of each of these.
    """

    def __init__(
        self, network: nn.Module, places: Sequence[int], channels: Sequence[int], strides: Sequence[int]
    ) -> None:
        super().__init__()
        self.network = network
        self.places = tuple(places)
        self.channels = tuple(channels)
        self.strides = tuple(strides)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The maps that are wanted, the finest first."""
        maps = self.all_maps(x)
        # Some transformers of timm keep their channels last.
        return [
            maps[place] if maps[place].shape[1] == channels else maps[place].permute(0, 3, 1, 2).contiguous()
            for place, channels in zip(self.places, self.channels, strict=True)
        ]

    def all_maps(self, x: Tensor) -> list[Tensor]:
        """Those that are not wanted as well; they are on the way."""
        found: Any = self.network(x)
        return list(found.values()) if isinstance(found, dict) else list(found)


class Pyramid(nn.Module):
    """A feature pyramid over a body: `{"0": finest, ...}`, all of the same channels [lin2017fpn].

    Args:
        body: of a classifier.
        channels: of every level.
        extra: the coarser levels beyond the body's.
    """

    def __init__(self, body: Maps, channels: int, extra: ExtraFPNBlock) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramidNetwork(list(body.channels), channels, extra_blocks=extra)
        self.out_channels = channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """All levels, the finest first."""
        maps = OrderedDict((str(level), found) for level, found in enumerate(self.body(x)))
        levels: dict[str, Tensor] = self.fpn(maps)
        return levels


def body_of(name: str, *, strides: Sequence[int], pretrained: bool, frozen_norms: bool) -> Maps:
    """The body of a classifier.

    Args:
        name: "torchvision/<classifier>", "timm/<model>" or "limbeck/<model>".
        strides: of the maps that are wanted.
        pretrained: fetch the library's default weights. The layers up to stride 4 then stay as they are, and batch
            norms keep their statistics: a detector's batches are too small to learn them anew.
        frozen_norms: have such batch norms without fetching weights, to load weights into.

    Raises:
        ModelError: no such classifier, none with these strides, or weights that cannot be fetched.
    """
    library, _, architecture = name.partition("/")
    if library == "torchvision" and architecture:
        body = _torchvision(architecture, strides, pretrained)
    elif library == "timm" and architecture:
        body = _timm(architecture, strides, pretrained)
    elif library == "limbeck" and architecture:
        body = _limbeck(architecture, strides, pretrained)
    else:
        raise ModelError(
            f"a backbone is 'torchvision/<classifier>', 'timm/<model>' or 'limbeck/<model>', not '{name}'."
        )
    if pretrained or frozen_norms:
        freeze_norms(body)
    if pretrained:
        _keep_first_layers(body)
    return body


def freeze_norms(network: nn.Module, epsilon: float | None = None) -> None:
    """Put batch norms that never change in place of those of a network.

    Args:
        network: changed in place.
        epsilon: of the new norms; that of the old ones unless given.
    """
    from timm.layers import freeze_batch_norm_2d

    freeze_batch_norm_2d(network)
    if epsilon is not None:
        for module in network.modules():
            if type(module).__name__.startswith("FrozenBatchNorm"):
                module.eps = epsilon  # type: ignore[assignment]


def _torchvision(architecture: str, strides: Sequence[int], pretrained: bool) -> Maps:
    known = torchvision_models.list_models(module=torchvision_models)
    if architecture not in known:
        raise ModelError(f"torchvision has no classifier '{architecture}'.{did_you_mean(architecture, known)}")
    weights = torchvision_models.get_model_weights(architecture).DEFAULT if pretrained else None
    try:
        model: Any = torchvision_models.get_model(architecture, weights=weights)
    except Exception as error:  # download clients raise whatever they like
        raise explained(f"torchvision/{architecture}", error, pretrained, {}) from error
    return _following(f"torchvision/{architecture}", model, strides)


def _limbeck(architecture: str, strides: Sequence[int], pretrained: bool) -> Maps:
    if pretrained:
        raise ModelError(
            f"'limbeck/{architecture}' has no weights to fetch; leave out pretrained_backbone, and begin with a "
            "classifier of your own: start_backbone: <stage or model file>."
        )
    return _following(f"limbeck/{architecture}", build(architecture, num_classes=1), strides)


def _following(name: str, model: nn.Module, strides: Sequence[int]) -> Maps:
    """Maps of a network whose children follow each other."""
    features = getattr(model, "features", None)
    trunk: nn.Module = features if isinstance(features, nn.Sequential) else model
    ends = _ends(trunk)
    _refuse_missing(name, strides, ends)
    wanted = [stride for stride in ends if stride <= max(strides)]
    getter = IntermediateLayerGetter(trunk, {ends[stride][0]: str(stride) for stride in wanted})
    return Maps(getter, [wanted.index(s) for s in strides], [ends[s][1] for s in strides], strides)


def _ends(trunk: nn.Module) -> dict[int, tuple[str, int]]:
    """The last child at each stride and its channels, where the children of a network follow each other."""
    found: dict[int, tuple[str, int]] = {}
    was_training = trunk.training
    trunk.eval()
    with torch.no_grad():
        x = torch.zeros(1, 3, PROBE, PROBE)
        for name, child in trunk.named_children():
            try:
                x = child(x)
            except (RuntimeError, TypeError, ValueError):  # behind the maps, or no sequence
                break
            if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[-1] != x.shape[-2] or x.shape[-1] < 2:
                break
            found[PROBE // x.shape[-1]] = (name, x.shape[1])
    trunk.train(was_training)
    return found


def _timm(architecture: str, strides: Sequence[int], pretrained: bool) -> Maps:
    import timm

    base = architecture.split(".")[0]
    if not timm.is_model(base):
        raise ModelError(
            f"timm {timm.__version__} has no model '{architecture}'.{did_you_mean(base, timm.list_models())}"
        )
    try:
        network: Any = timm.create_model(architecture, pretrained=pretrained, features_only=True)
        has = network.feature_info.reduction()
        _refuse_missing(f"timm/{architecture}", strides, has)
        places = [len(has) - 1 - has[::-1].index(stride) for stride in strides]
        if places[-1] < len(has) - 1:  # layers behind the last map would only be in the way
            used = tuple(range(places[-1] + 1))
            network = timm.create_model(architecture, pretrained=pretrained, features_only=True, out_indices=used)
    except ModelError:
        raise
    except Exception as error:  # timm and its models raise whatever they like
        raise explained(f"timm/{architecture}", error, pretrained, {"features_only": True}) from error
    channels = network.feature_info.channels()
    return Maps(network, places, [channels[place] for place in places], strides)


def _refuse_missing(name: str, strides: Sequence[int], has: Any) -> None:
    missing = [stride for stride in strides if stride not in has]
    if missing:
        raise ModelError(
            f"'{name}' has no map of stride {missing[0]} to build a detector on; found were strides "
            f"{', '.join(str(stride) for stride in sorted(set(has))) or 'none'}. Residual and mobile networks "
            "have 4, 8, 16 and 32."
        )


def _keep_first_layers(body: Maps) -> None:
    """Stop training what a map of stride 4 is made of: the parameters that it has a gradient in."""
    was_training = body.training
    body.eval()
    with torch.enable_grad():
        maps = body.all_maps(torch.zeros(1, 3, PROBE, PROBE))
        finest = [level for level in maps if PROBE // KEPT_STRIDE in level.shape[1:3]]
        parameters = [p for p in body.parameters() if p.requires_grad]
        if finest:
            gradients = torch.autograd.grad(finest[-1].sum(), parameters, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.requires_grad_(gradient is None)
    body.train(was_training)
