"""Models by name. A leaf: no model is imported here."""

from __future__ import annotations

from limbeck.registry import Registry

CIFAR_RESNETS = (
    "resnet8",
    "resnet14",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "resnet8x4",
    "resnet32x4",
)

MODELS = Registry(
    "model",
    {
        **dict.fromkeys(CIFAR_RESNETS, "limbeck.models.cifar.resnet"),
        "timm/*": "limbeck.models.hub",
        "torchvision/*": "limbeck.models.hub",
    },
)
register = MODELS.register
