"""Networks by name, and the one-file artefact that a trained one is kept in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy
from limbeck.models._registry import CIFAR_RESNETS, MODELS, register

_PUBLIC = {
    **dict.fromkeys(CIFAR_RESNETS, "cifar.resnet"),
    "DataConfig": "data_config",
    "build": "building",
    "classifier_of": "classifier",
    "data_config": "data_config",
    "export_state_dict": "export",
    "export_timm": "export",
    "load": "artefact",
    "read_card": "artefact",
    "save": "artefact",
}

if TYPE_CHECKING:
    from limbeck.models.artefact import load, read_card, save
    from limbeck.models.building import build
    from limbeck.models.cifar.resnet import (
        resnet8,
        resnet8x4,
        resnet14,
        resnet20,
        resnet32,
        resnet32x4,
        resnet44,
        resnet56,
        resnet110,
    )
    from limbeck.models.classifier import classifier_of
    from limbeck.models.data_config import DataConfig, data_config
    from limbeck.models.export import export_state_dict, export_timm

__all__ = [
    "MODELS",
    "DataConfig",
    "build",
    "classifier_of",
    "data_config",
    "export_state_dict",
    "export_timm",
    "load",
    "read_card",
    "register",
    "resnet8",
    "resnet8x4",
    "resnet14",
    "resnet20",
    "resnet32",
    "resnet32x4",
    "resnet44",
    "resnet56",
    "resnet110",
    "save",
]

make_lazy(__name__)
