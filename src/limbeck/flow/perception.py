"""Networks that look at images: perceptual distances for training, features for measuring.

A distance is named after its network; only the one with LPIPS's own weights is called LPIPS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from pickle import UnpicklingError

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError, MissingExtraError, ModelError
from limbeck.losses.feature_distance import feature_distance
from limbeck.models import data_config
from limbeck.numerics.precision import no_autocast, promoted
from limbeck.taps import Taps, stage_maps, tap_points

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_VGG_LAYERS = (3, 8, 15, 22, 29)
"""relu1_2, 2_2, 3_3, 4_3 and 5_3 among VGG-16's features."""
VGG_FILE = "vgg16-397923af.pth"


class FeatureDistance(nn.Module):
    """Distance of images in [-1, 1] on the features of a frozen network.

    Args:
        maps: images in [-1, 1] to feature maps, one a layer.
        network: what `maps` runs, so that it moves with this module.
        weights: of the channels of each layer, or None.
        name: what to call the distance.
        size: images are resized to so many pixels first, or None.
    """

    def __init__(
        self,
        maps: Callable[[Tensor], Sequence[Tensor]],
        network: nn.Module,
        *,
        name: str,
        weights: Sequence[Tensor] | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__()
        self._maps, self.name, self._size = maps, name, size
        self.network = network.eval().requires_grad_(False)
        self._layers = len(weights) if weights is not None else 0
        for layer, weight in enumerate(weights or ()):
            self.register_buffer(f"weight{layer}", weight.detach().flatten().clone())

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance of each image of `a` to that of `b`, (n,); gradients reach `a` alone."""
        weights = [getattr(self, f"weight{layer}") for layer in range(self._layers)] or None
        # A weight of 1/t would bring the rounding of half precision up to the size of the distance itself.
        with no_autocast(a):
            with torch.no_grad():
                wanted = self._seen(promoted(b)[0])
            return feature_distance(self._seen(promoted(a)[0]), wanted, weights=weights)

    def _seen(self, images: Tensor) -> Sequence[Tensor]:
        if self._size is not None and images.shape[-1] != self._size:
            images = F.interpolate(images, size=(self._size,) * 2, mode="bilinear", align_corners=False)
        return self._maps(images)


def lpips_vgg(
    model: nn.Module | None = None, *, vgg_weights: str = "vgg16-397923af.pth", size: PositiveInt = 224
) -> FeatureDistance:
    """LPIPS as the paper computes it: VGG-16 with mean pooling in place of max pooling, at 224 pixels.

    The linear heads come with the package `lpips`; VGG-16's own weights have to be a local file, because nothing
    is fetched here.

    Args:
        model: not used.
        vgg_weights: torchvision's `vgg16-397923af.pth` (IMAGENET1K_V1), or the same as safetensors.
        size: images are resized to so many pixels; the paper's 224 is much work for small images on a CPU.

    Raises:
        ConfigError: no such file, or another network's weights.
        MissingExtraError: the package lpips is not installed.

    References:
        Zhang et al. 2018 [zhang2018unreasonable].
    """
    network = _vgg(Path(vgg_weights).expanduser())
    mean = torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1)

    def maps(images: Tensor) -> list[Tensor]:
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        out = ((images + 1) / 2 - mean.to(images)) / std.to(images)
        found = []
        for place, layer in enumerate(network):
            out = layer(out)
            if place in _VGG_LAYERS:
                found.append(out)
        return found

    return FeatureDistance(maps, network, weights=_lpips_heads(), name="LPIPS (VGG-16)", size=size)


def classifier(model: nn.Module | None = None) -> FeatureDistance:
    """Unit-length features of a classifier at the end of each of its stages.

    Args:
        model: a trained classifier of Limbeck's; a recipe gives it as `features: <stage or file>`.

    Raises:
        ConfigError: no model.
        ModelError: one without feature maps.
    """
    if model is None:
        raise ConfigError(
            "distance: classifier needs a trained classifier: features: <a stage or a model's file>."
        )
    model = model.eval().requires_grad_(False)
    normalised = _normalised(model)
    example = normalised(torch.zeros(2, *_shape(model), device=next(model.parameters()).device))
    paths = stage_maps(model, example)
    if not paths:
        raise ModelError(f"{type(model).__name__} has no feature maps; a perceptual distance needs some.")

    def maps(images: Tensor) -> list[Tensor]:
        with Taps(model, paths) as taps:
            model(normalised(images))
            found = taps.take()
        return [found[path] for path in paths]

    return FeatureDistance(maps, model, name=f"perceptual distance on {type(model).__name__}")


def penultimate(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Images in [-1, 1] to what a classifier's last layer is given, (n, d).

    Args:
        model: a trained classifier of Limbeck's.
    """
    model = model.eval()
    normalised = _normalised(model)
    example = normalised(torch.zeros(2, *_shape(model), device=next(model.parameters()).device))
    last = [p.path for p in tap_points(model, example) if isinstance(_module(model, p.path), nn.Linear)]
    if not last:
        raise ModelError(f"{type(model).__name__} has no linear layer at its end to take features in front of.")

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        parts = []
        for part in images.split(500):
            with Taps(model, [f"{last[-1]}:input"]) as taps:
                model(normalised(part))
                parts.append(taps.take()[f"{last[-1]}:input"].flatten(1))
        return torch.cat(parts)

    return features


def _module(model: nn.Module, path: str) -> nn.Module:
    return model.get_submodule(path) if path else model


def _shape(model: nn.Module) -> tuple[int, ...]:
    facts = data_config(model)
    if facts is None:
        raise ModelError("this classifier does not say what its images are; save and load it with limbeck.models.")
    return facts.input_shape


def _normalised(model: nn.Module) -> Callable[[Tensor], Tensor]:
    facts = data_config(model)
    assert facts is not None or _shape(model)
    assert facts is not None
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (facts.mean, facts.std))
    channels, height, width = facts.input_shape

    def prepared(images: Tensor) -> Tensor:
        if images.shape[1] != channels:
            raise ModelError(
                f"the classifier looks at images of {channels} channels, these have {images.shape[1]}."
            )
        if tuple(images.shape[2:]) != (height, width):
            images = F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
        return ((images + 1) / 2 - mean.to(images)) / std.to(images)

    return prepared


def _vgg(file: Path) -> nn.Sequential:
    """The layers of VGG-16 up to relu5_3, with mean pooling in place of max pooling."""
    from torchvision.models.vgg import cfgs, make_layers

    if not file.is_file():
        raise ConfigError(
            f"LPIPS needs the weights of VGG-16 in a file, and there is none at {file}. Nothing is fetched: get"
            f" torchvision's {VGG_FILE} and give its path (distance: {{name: lpips_vgg, vgg_weights: ...}}), or"
            " take distance: classifier with a network of your own."
        )
    layers = make_layers(cfgs["D"])
    try:
        if file.suffix == ".safetensors":
            state = safetensors.torch.load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        named = {n.removeprefix("features."): value for n, value in state.items() if n.startswith("features.")}
        layers.load_state_dict(named)
    except (RuntimeError, TypeError, AttributeError, OSError, UnpicklingError, SafetensorError) as error:
        raise ConfigError(
            f"{file} does not hold the weights of torchvision's vgg16: {str(error)[:200]}"
        ) from error
    kept = [nn.AvgPool2d(2, 2) if isinstance(layer, nn.MaxPool2d) else layer for layer in layers]
    for layer in kept:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # the maps in between are what is compared
    return nn.Sequential(*kept[: _VGG_LAYERS[-1] + 1])


def _lpips_heads() -> list[Tensor]:
    from importlib.util import find_spec

    found = find_spec("lpips")
    if found is None or found.origin is None:
        raise MissingExtraError.of("lpips", "flow", "LPIPS")
    file = Path(found.origin).parent / "weights" / "v0.1" / "vgg.pth"
    state = torch.load(file, map_location="cpu", weights_only=True)
    return [state[f"lin{layer}.model.1.weight"] for layer in range(len(_VGG_LAYERS))]
