"""timm and torchvision under the same contract as the zoo."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from limbeck.bounds import PositiveInt
from limbeck.errors import ModelError, did_you_mean
from limbeck.models.classifier import classifier_of
from limbeck.models.data_config import DataConfig

_LOGGER = logging.getLogger("limbeck")


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
        raise _explained(f"timm/{architecture}", error, pretrained, wanted) from error
    assert isinstance(model, nn.Module)
    if pretrained:
        facts: Any = model.pretrained_cfg
        _tell_new_head(f"timm/{architecture}", facts.get("num_classes"), num_classes)
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
        raise _explained(f"torchvision/{architecture}", error, pretrained, wanted) from error
    assert isinstance(model, nn.Module)
    if weights is not None:
        classes = len(weights.meta["categories"])
        if num_classes not in (None, classes):
            _tell_new_head(f"torchvision/{architecture}", classes, num_classes)
            _replace_head(model, classes, num_classes)
    if in_channels != 3:
        _replace_stem(model, in_channels)
    if weights is not None:
        model.limbeck_data = _torchvision_data(weights, num_classes, in_channels)  # type: ignore[assignment]
    return model


def _replace_head(model: nn.Module, classes: int, num_classes: int | None) -> None:
    path, old = classifier_of(model, classes)
    assert num_classes is not None
    new: nn.Module
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_classes, bias=old.bias is not None)
    else:
        new = nn.Conv2d(old.in_channels, num_classes, 1, bias=old.bias is not None)
    model.set_submodule(path, new)


def _replace_stem(model: nn.Module, in_channels: int) -> None:
    path, old = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    assert isinstance(old, nn.Conv2d)
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        # The sum over channels answers to a grey image as before; spread over more channels it keeps its scale.
        new.weight.copy_(old.weight.sum(1, keepdim=True).expand_as(new.weight) / in_channels)
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    model.set_submodule(path, new)


def _torchvision_data(weights: Any, num_classes: int | None, in_channels: int) -> DataConfig:
    preset = weights.transforms()
    mean, std, size = tuple(preset.mean), tuple(preset.std), preset.crop_size[0]
    if in_channels != len(mean):
        mean, std = (sum(mean) / len(mean),) * in_channels, (sum(std) / len(std),) * in_channels
    names = tuple(weights.meta["categories"])
    kept = names if num_classes in (None, len(names)) else ()
    return DataConfig(input_shape=(in_channels, size, size), mean=mean, std=std, class_names=kept)


def _tell_new_head(name: str, classes: int | None, num_classes: int | None) -> None:
    if num_classes is not None and classes != num_classes:
        _LOGGER.warning(
            "%s: its weights are for %s classes; the classifier for %d classes is new and untrained.",
            name,
            classes,
            num_classes,
        )


def _explained(name: str, error: Exception, pretrained: bool, settings: dict[str, Any]) -> ModelError:
    reason = f"{type(error).__name__}: {str(error).strip()[:400]}"
    if pretrained and not isinstance(error, TypeError):
        return ModelError(
            f"the pretrained weights of '{name}' could not be fetched ({reason}). Check the network or the cache, "
            "or build it with pretrained: false and train it; a timm model also takes a file that you have: "
            "pretrained_cfg_overlay: {file: weights.safetensors}."
        )
    given = ", ".join(f"{k}={v!r}" for k, v in settings.items()) or "no settings"
    return ModelError(f"'{name}' cannot be built with {given} ({reason}).")
