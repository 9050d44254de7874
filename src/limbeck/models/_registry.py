"""Models by name. A leaf: no model is imported here."""

from __future__ import annotations

from limbeck.registry import Registry

CIFAR = {
    "resnet8": "resnet",
    "resnet14": "resnet",
    "resnet20": "resnet",
    "resnet32": "resnet",
    "resnet44": "resnet",
    "resnet56": "resnet",
    "resnet110": "resnet",
    "resnet8x4": "resnet",
    "resnet32x4": "resnet",
    "convnet": "convnet",
    "convnet3": "convnet",
    "convnet4": "convnet",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v2_half": "mobilenet_v2",
    "resnet50_cifar": "bottleneck_resnet",
    "shufflenet_v1": "shufflenet_v1",
    "shufflenet_v2": "shufflenet_v2",
    "vgg8": "vgg",
    "vgg11": "vgg",
    "vgg13": "vgg",
    "vgg16": "vgg",
    "vgg19": "vgg",
    "wrn_16_1": "wide_resnet",
    "wrn_16_2": "wide_resnet",
    "wrn_40_1": "wide_resnet",
    "wrn_40_2": "wide_resnet",
}
"""The networks for small images, each with its file in `limbeck.models.cifar`."""

MODELS = Registry(
    "model",
    {
        **{name: f"limbeck.models.cifar.{file}" for name, file in CIFAR.items()},
        "quarter_resnet50": "limbeck.models.thin_resnet",
        "reused_head": "limbeck.models.reused_head",
        "hf/*": "limbeck.models.hugging_face",
        "timm/*": "limbeck.models.hub",
        "torchvision/*": "limbeck.models.hub",
    },
)
register = MODELS.register

DETECTORS = Registry(
    "detector",
    {
        "faster_rcnn": "limbeck.models.detectors.faster_rcnn",
        "fcos": "limbeck.models.detectors.fcos",
        "retinanet": "limbeck.models.detectors.retinanet",
        "small_ssd": "limbeck.models.detectors.small_ssd",
        "ssd": "limbeck.models.detectors.ssd",
        "ssd512_vgg16": "limbeck.models.detectors.ssd512",
        "torchvision/*": "limbeck.models.detectors.hub",
    },
)
"""`name(*, num_classes, settings)` -> a detector of torchvision's classes; see `limbeck.models.detectors`."""

VELOCITY_NETWORKS = Registry(
    "velocity network",
    {
        "adm": "limbeck.models.velocity.dhariwal_unet",
        "ddpmpp": "limbeck.models.velocity.song_unet",
        "diffusers_transformer": "limbeck.models.velocity.diffusers_networks",
        "diffusers_unet": "limbeck.models.velocity.diffusers_networks",
        "mlp": "limbeck.models.velocity.mlp",
        "ncsnpp": "limbeck.models.velocity.song_unet",
        "small_unet": "limbeck.models.velocity.small_unet",
    },
)
"""`name(*, image_shape, classes, settings) -> network(x, time, labels)`; see `limbeck.models.velocity`."""
