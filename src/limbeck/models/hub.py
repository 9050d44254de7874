"""timm and torchvision under the same contract as the zoo."""

from __future__ import annotations

from typing import Any

from torch import nn

from limbeck.bounds import PositiveInt
from limbeck.errors import ModelError, did_you_mean
from limbeck.models.adapting import explained, replace_head, replace_stem, spread, tell_new_head
from limbeck.models.data_config import DataConfig


def timm_model(
    architecture: str,
    /,
    *,
    num_classes: PositiveInt | None = None,
    in_channels: PositiveInt = 3,
    pretrained: bool = False,
    **settings: Any,
) -> nn.Module:
    """A model of timm by its name there, e.g. `timm/resnet18` or `timm/resnet18.a1_in1k`.

    Args:
        architecture: timm's name, with a weights tag if one is wanted.
        num_classes: outputs; those of the weights unless given.
        in_channels: 1 for grey images, 3 for colour.
        pretrained: fetch weights; needs a network, or them in timm's cache.
        settings: handed to `timm.create_model`, e.g. `img_size` or `drop_path_rate`.

    Raises:
        ModelError: no such architecture, a setting that it does not take, or weights that cannot be fetched.
    """
    import timm

    base = architecture.split(".")[0]
    if not timm.is_model(base):
        raise ModelError(
            f"timm {timm.__version__} has no model '{architecture}'.{did_you_mean(base, timm.list_models())} "
            f"timm.list_models('*{base[:4]}*') lists similar ones."
        )
    wanted = {**settings, **({} if num_classes is None else {"num_classes": num_classes})}
    try:
        model = timm.create_model(architecture, pretrained=pretrained, in_chans=in_channels, **wanted)
    except Exception as error:  # timm, its download clients and its models raise whatever they like
        raise explained(f"timm/{architecture}", error, pretrained, wanted) from error
    assert isinstance(model, nn.Module)
    if pretrained:
        facts: Any = model.pretrained_cfg
        tell_new_head(f"timm/{architecture}", facts.get("num_classes"), num_classes)
    return model


def torchvision_model(
    architecture: str,
    /,
    *,
    num_classes: PositiveInt | None = None,
    in_channels: PositiveInt = 3,
    pretrained: bool = False,
    **settings: Any,
) -> nn.Module:
    """A classifier of torchvision by its name there, e.g. `torchvision/resnet18`.

    Args:
        architecture: torchvision's name.
        num_classes: outputs; 1000 unless given.
        in_channels: 1 for grey images, 3 for colour; the first layer is replaced where it is not 3.
        pretrained: fetch torchvision's default weights; needs a network, or them in torch's cache.
        settings: handed to `torchvision.models.get_model`.

    Raises:
        ModelError: no such architecture, a setting that it does not take, or weights that cannot be fetched.
    """
    from torchvision import models as zoo

    known = zoo.list_models(module=zoo)
    if architecture not in known:
        raise ModelError(f"torchvision has no classifier '{architecture}'.{did_you_mean(architecture, known)}")
    wanted = dict(settings)
    if not pretrained and num_classes is not None:
        wanted["num_classes"] = num_classes
    try:
        weights = zoo.get_model_weights(architecture).DEFAULT if pretrained else None
        model = zoo.get_model(architecture, weights=weights, **wanted)
    except Exception as error:  # as above
        raise explained(f"torchvision/{architecture}", error, pretrained, wanted) from error
    assert isinstance(model, nn.Module)
    if weights is not None:
        classes = len(weights.meta["categories"])
        if num_classes not in (None, classes):
            tell_new_head(f"torchvision/{architecture}", classes, num_classes)
            replace_head(model, classes, num_classes)
    if in_channels != 3:
        replace_stem(model, in_channels)
    if weights is not None:
        model.limbeck_data = _torchvision_data(weights, num_classes, in_channels)  # type: ignore[assignment]
    return model


def _torchvision_data(weights: Any, num_classes: int | None, in_channels: int) -> DataConfig:
    preset = weights.transforms()
    mean, std, size = tuple(preset.mean), tuple(preset.std), preset.crop_size[0]
    names = tuple(weights.meta["categories"])
    kept = names if num_classes in (None, len(names)) else ()
    return DataConfig(
        input_shape=(in_channels, size, size),
        mean=spread(mean, in_channels),
        std=spread(std, in_channels),
        class_names=kept,
    )
