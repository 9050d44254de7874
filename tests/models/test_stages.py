import pytest
import torch
from torch import nn

from limbeck.models import build, known_stages, stage_taps
from limbeck.taps import Taps

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def read(net, stages):
    paths = [path for stage in stages for path in (stage.output, stage.preactivation)]
    with Taps(net, paths) as taps:
        net(IMAGES)
        return taps.take()


@pytest.mark.parametrize(
    ("name", "act", "norm"),
    [
        ("timm/resnet10t", "act2", "bn2"),
        ("timm/resnet26t", "act3", "bn3"),
        ("torchvision/resnet18", "relu", "bn2"),
        ("torchvision/resnet50", "relu", "bn3"),
    ],
)
def test_residual_networks(name, act, norm):
    net = build(name, num_classes=3)
    for module in net.modules():  # timm begins with branches that add nothing
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    stages = known_stages(net, IMAGES)
    assert [stage.output for stage in stages] == ["layer1", "layer2", "layer3", "layer4"]
    assert stages[3].preactivation.endswith(f".{act}:input")
    assert stages[3].norm.endswith(f".{norm}")
    found = read(net, stages)
    for stage in stages:
        assert found[stage.preactivation].min() < 0
        assert torch.equal(found[stage.preactivation].relu(), found[stage.output])
        assert net.get_submodule(stage.norm).num_features == found[stage.output].shape[1]


def test_stages_that_end_with_an_activating_norm():
    net = build("timm/mobilenetv1_100", num_classes=3)
    stages = known_stages(net, IMAGES)
    found = read(net, stages)
    assert [found[stage.output].shape[-1] for stage in stages] == [16, 8, 4, 2]
    for stage in stages:
        assert stage.preactivation == f"{stage.norm}.act:input"
        assert torch.equal(found[stage.preactivation].clamp(0, 6), found[stage.output])


def test_stages_without_a_last_activation_are_their_own_preactivation():
    stages = known_stages(build("timm/test_convnext", num_classes=3), IMAGES)
    assert all(stage.preactivation == stage.output for stage in stages)
    assert all(stage.norm is None for stage in stages)


def test_the_zoo_has_its_table_and_others_have_none():
    assert known_stages(build("vgg8", num_classes=2), IMAGES) == stage_taps("vgg8")
    assert known_stages(nn.Conv2d(3, 2, 1), IMAGES) is None
