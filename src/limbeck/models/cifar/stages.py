"""Where the literature reads the networks for small images: the ends of their stages, by module path.

Methods on several maps (attention transfer, overhaul distillation, knowledge review) read f1, f2, f3 and so on,
before or after the last activation; overhaul distillation takes its margin from the batch norm in front of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from limbeck.errors import ModelError, did_you_mean
from limbeck.models.cifar import bottleneck_resnet, mobilenet_v2, shufflenet_v1, shufflenet_v2


@dataclass(frozen=True, slots=True)
class StageTap:
    """The end of one stage.

    Attributes:
        output: tap path of the map that the stage puts out.
        preactivation: tap path of the same map before its last activation, of the same shape.
        norm: module path of the last batch norm in front of that activation, one number a channel of the map; None
            where no batch norm sees all of its channels.
    """

    output: str
    preactivation: str
    norm: str | None


def stage_taps(name: str, *, depth: int | None = None) -> tuple[StageTap, ...]:
    """Ends of the stages of a network for small images, the largest map first.

    The stem is none of them, nor is a 1x1 convolution behind the last stage. Networks halved three times have four
    stages, the others three.

    Args:
        name: of the zoo, e.g. "resnet32x4".
        depth: blocks of a `convnet`.

    Raises:
        ModelError: no network of the zoo.

    Example:
        >>> [stage.output for stage in stage_taps("resnet8")]
        ['layer1', 'layer2', 'layer3']
        >>> stage_taps("wrn_40_2")[2]
        StageTap(output='layer3', preactivation='relu:input', norm='bn')
    """
    if name.startswith("convnet"):
        return _convnet(int(name.removeprefix("convnet") or depth or 3))
    if name not in _STAGES:
        raise ModelError(
            f"the ends of the stages of '{name}' are not known.{did_you_mean(name, _STAGES)} "
            f"Known: {', '.join(_STAGES)}. Name the taps in the term: taps: {{student: [...], teacher: [...]}}."
        )
    return _STAGES[name]()


def stages_of(model: nn.Module) -> tuple[StageTap, ...] | None:
    """Ends of the stages of a network that `build` made, or None where it is none of the zoo.

    Args:
        model: any network.

    Example:
        >>> from limbeck.models import build
        >>> stages_of(build("vgg8", num_classes=2))[3].norm
        'layer4.bn1'
    """
    spec = getattr(model, "limbeck_spec", None) or {}
    name = str(spec.get("name", ""))
    if name not in _STAGES and name not in ("convnet", "convnet3", "convnet4"):
        return None
    return stage_taps(name, depth=spec.get("depth"))


def _residual(*blocks: int, norm: str) -> tuple[StageTap, ...]:
    """Blocks with a sum before the last activation; the norm is that of the branch which is not the shortcut."""
    ends = [f"layer{i}.{count - 1}" for i, count in enumerate(blocks, 1)]
    return tuple(
        StageTap(f"layer{i}", f"{end}.relu:input", f"{end}.{norm}" if norm else None)
        for i, end in enumerate(ends, 1)
    )


def _resnet(depth: int) -> tuple[StageTap, ...]:
    blocks = (depth - 2) // 6
    return _residual(blocks, blocks, blocks, norm="bn2")


def _wide_resnet() -> tuple[StageTap, ...]:
    """A stage ends in a bare sum; what comes next, the next stage or the end, normalises and activates it."""
    return (
        StageTap("layer1", "layer2.0.relu1:input", "layer2.0.bn1"),
        StageTap("layer2", "layer3.0.relu1:input", "layer3.0.bn1"),
        StageTap("layer3", "relu:input", "bn"),
    )


def _vgg(*convolutions: int) -> tuple[StageTap, ...]:
    return tuple(
        StageTap(f"layer{i}", f"layer{i}.relu:input", f"layer{i}.bn{count}")
        for i, count in enumerate(convolutions, 1)
    )


def _mobilenet_v2() -> tuple[StageTap, ...]:
    """Blocks end without an activation, so the map is its own preactivation."""
    groups = [blocks for _, _, blocks, _ in mobilenet_v2.GROUPS]
    ends = (("layer1", 1, groups[1]), ("layer2", 0, groups[2]), ("layer3", 1, groups[4]), ("layer4", 1, groups[6]))
    return tuple(StageTap(layer, layer, f"{layer}.{group}.{count - 1}.bn3") for layer, group, count in ends)


def _shufflenet_v1() -> tuple[StageTap, ...]:
    return _residual(*shufflenet_v1.BLOCKS, norm="bn3")


def _shufflenet_v2() -> tuple[StageTap, ...]:
    """Half of the channels pass the last block by, so its batch norm knows only the other half."""
    return _residual(*(count + 1 for count in shufflenet_v2.BLOCKS), norm="")


def _bottleneck_resnet() -> tuple[StageTap, ...]:
    return _residual(*bottleneck_resnet.BLOCKS, norm="bn3")


def _convnet(depth: int) -> tuple[StageTap, ...]:
    """Maps before pooling, so that both sides of the activation have one shape."""
    return tuple(StageTap(f"layer{i}.activation", f"layer{i}.activation:input", None) for i in range(1, depth + 1))


_STAGES: dict[str, Callable[[], tuple[StageTap, ...]]] = {
    "resnet8": lambda: _resnet(8),
    "resnet14": lambda: _resnet(14),
    "resnet20": lambda: _resnet(20),
    "resnet32": lambda: _resnet(32),
    "resnet44": lambda: _resnet(44),
    "resnet56": lambda: _resnet(56),
    "resnet110": lambda: _resnet(110),
    "resnet8x4": lambda: _resnet(8),
    "resnet32x4": lambda: _resnet(32),
    "resnet50_cifar": _bottleneck_resnet,
    "wrn_16_1": _wide_resnet,
    "wrn_16_2": _wide_resnet,
    "wrn_40_1": _wide_resnet,
    "wrn_40_2": _wide_resnet,
    "vgg8": lambda: _vgg(1, 1, 1, 1),
    "vgg11": lambda: _vgg(1, 2, 2, 2),
    "vgg13": lambda: _vgg(2, 2, 2, 2),
    "vgg16": lambda: _vgg(2, 3, 3, 3),
    "vgg19": lambda: _vgg(2, 4, 4, 4),
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v2_half": _mobilenet_v2,
    "shufflenet_v1": _shufflenet_v1,
    "shufflenet_v2": _shufflenet_v2,
}
