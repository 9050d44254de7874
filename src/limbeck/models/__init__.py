"""Networks by name, and the one-file artefact that a trained one is kept in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy
from limbeck.models._registry import CIFAR, MODELS, register

_PUBLIC = {
    **{name: f"cifar.{file}" for name, file in CIFAR.items()},
    "DataConfig": "data_config",
    "build": "building",
    "classifier_of": "classifier",
    "data_config": "data_config",
    "export_hf": "exports.hugging_face",
    "export_onnx": "exports.onnx_file",
    "export_state_dict": "exports.state_dict",
    "export_timm": "exports.timm_folder",
    "export_torch": "exports.torch_program",
    "known_stages": "stages",
    "last_feature": "feature_taps",
    "load": "artefact",
    "pooled_map": "reused_head",
    "push": "exports.push",
    "read_card": "artefact",
    "reuse_head": "reused_head",
    "save": "artefact",
    "stage_taps": "cifar.stages",
    "stages_of": "cifar.stages",
}

if TYPE_CHECKING:
    from limbeck.models.artefact import load, read_card, save
    from limbeck.models.building import build
    from limbeck.models.cifar.bottleneck_resnet import (
        resnet50_cifar,
    )
    from limbeck.models.cifar.convnet import (
        convnet,
        convnet3,
        convnet4,
    )
    from limbeck.models.cifar.mobilenet_v2 import (
        mobilenet_v2,
        mobilenet_v2_half,
    )
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
    from limbeck.models.cifar.shufflenet_v1 import (
        shufflenet_v1,
    )
    from limbeck.models.cifar.shufflenet_v2 import (
        shufflenet_v2,
    )
    from limbeck.models.cifar.stages import (
        stage_taps,
        stages_of,
    )
    from limbeck.models.cifar.vgg import (
        vgg8,
        vgg11,
        vgg13,
        vgg16,
        vgg19,
    )
    from limbeck.models.cifar.wide_resnet import (
        wrn_16_1,
        wrn_16_2,
        wrn_40_1,
        wrn_40_2,
    )
    from limbeck.models.classifier import classifier_of
    from limbeck.models.data_config import DataConfig, data_config
    from limbeck.models.exports.hugging_face import export_hf
    from limbeck.models.exports.onnx_file import export_onnx
    from limbeck.models.exports.push import push
    from limbeck.models.exports.state_dict import export_state_dict
    from limbeck.models.exports.timm_folder import export_timm
    from limbeck.models.exports.torch_program import export_torch
    from limbeck.models.feature_taps import last_feature
    from limbeck.models.reused_head import pooled_map, reuse_head
    from limbeck.models.stages import known_stages

__all__ = [
    "MODELS",
    "DataConfig",
    "build",
    "classifier_of",
    "convnet",
    "convnet3",
    "convnet4",
    "data_config",
    "export_hf",
    "export_onnx",
    "export_state_dict",
    "export_timm",
    "export_torch",
    "known_stages",
    "last_feature",
    "load",
    "mobilenet_v2",
    "mobilenet_v2_half",
    "pooled_map",
    "push",
    "read_card",
    "register",
    "resnet8",
    "resnet8x4",
    "resnet14",
    "resnet20",
    "resnet32",
    "resnet32x4",
    "resnet44",
    "resnet50_cifar",
    "resnet56",
    "resnet110",
    "reuse_head",
    "save",
    "shufflenet_v1",
    "shufflenet_v2",
    "stage_taps",
    "stages_of",
    "vgg8",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "wrn_16_1",
    "wrn_16_2",
    "wrn_40_1",
    "wrn_40_2",
]

make_lazy(__name__)
