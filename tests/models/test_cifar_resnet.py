import pytest
import torch

from limbeck.errors import ModelError
from limbeck.models import build
from limbeck.models._registry import CIFAR
from limbeck.models.cifar.resnet import CifarResNet
from limbeck.taps import Taps

# Published in millions, for 100 classes.
COUNTS = {
    "resnet8": 83_892,
    "resnet14": 181_108,
    "resnet20": 278_324,
    "resnet32": 472_756,
    "resnet44": 667_188,
    "resnet56": 861_620,
    "resnet110": 1_736_564,
    "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860,
}


def test_every_member_of_the_zoo_has_a_count():
    assert set(COUNTS) == {name for name, file in CIFAR.items() if file == "resnet"}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_parameter_counts_are_those_of_the_literature(name, count):
    assert sum(p.numel() for p in build(name, num_classes=100).parameters()) == count


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (9, 3), (28, 1), (32, 3), (64, 3)])
def test_any_input_size_from_8_pixels(size, channels):
    net = build("resnet8", num_classes=7, in_channels=channels).eval()
    assert net(torch.zeros(2, channels, size, size)).shape == (2, 7)


def test_taps_have_the_shapes_of_the_literature():
    net = build("resnet8x4", num_classes=10).eval()
    with Taps(net, ["layer1", "layer2", "layer3", "avgpool", "fc:input", "layer3.0.relu:input"]) as taps:
        net(torch.rand(2, 3, 32, 32))
        read = taps.take()
    assert {path: tuple(value.shape[1:]) for path, value in read.items()} == {
        "layer1": (64, 32, 32),
        "layer2": (128, 16, 16),
        "layer3": (256, 8, 8),
        "avgpool": (256, 1, 1),
        "fc:input": (256,),
        "layer3.0.relu:input": (256, 8, 8),
    }
    assert read["layer3.0.relu:input"].min() < 0 <= read["layer3"].min()


def test_every_parameter_gets_a_gradient():
    net = build("resnet14", num_classes=5)
    net(torch.rand(4, 3, 16, 16)).logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("depth", [2, 9, 18])
def test_depths_that_make_no_network(depth):
    with pytest.raises(ModelError, match=rf"a depth of 6n \+ 2 .* not {depth}"):
        CifarResNet(depth=depth, widths=(16, 16, 32, 64), num_classes=10, in_channels=3)


def test_no_class():
    with pytest.raises(ModelError, match=r"num_classes and in_channels of at least 1, not 0 and 3"):
        build("resnet8", num_classes=0)
