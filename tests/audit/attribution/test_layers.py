from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.audit.attribution import map_layer, read_map
from limbeck.audit.attribution.token_grids import as_maps, grid_of
from limbeck.errors import TapError
from limbeck.models import build

SMALL = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LARGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("resnet8", "layer3"),
        ("wrn_16_1", "relu"),
        ("vgg8", "layer4"),
        ("mobilenet_v2_half", "head"),
        ("shufflenet_v2", "relu2"),
        ("convnet3", "layer3.activation"),
    ],
)
def test_networks_for_small_images(name: str, path: str) -> None:
    assert map_layer(build(name, num_classes=3), SMALL) == path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("resnet18", "layer4"),
        ("mobilenet_v3_small", "features"),
        ("densenet121", "features:activation"),
    ],
)
def test_torchvision(name: str, path: str) -> None:
    net = getattr(torchvision.models, name)(weights=None, num_classes=3)
    assert map_layer(net, LARGE) == path
    maps, gradients = read_map(net, LARGE, torch.tensor([1]))
    assert maps.shape == gradients.shape
    if name != "mobilenet_v3_small":  # ends in a Hardswish
        assert maps.min() >= 0


def test_poolings_at_the_end_are_passed_over() -> None:
    features = torchvision.models.vgg.make_layers([4, "M", 8, 8, "M"])
    net = nn.Sequential(features, nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Dropout(), nn.Linear(8 * 49, 3))
    assert map_layer(net, SMALL) == "0.6"
    assert read_map(net, SMALL, torch.tensor([0]))[0].shape == (1, 8, 16, 16)


@pytest.mark.parametrize(("name", "path"), [("test_resnet", "layer4"), ("test_vit", "blocks.5.norm1")])
def test_timm(name: str, path: str) -> None:
    net = timm.create_model(name, num_classes=3, img_size=64) if "vit" in name else timm.create_model(name)
    assert map_layer(net, LARGE) == path


def test_the_wrapped_model_is_the_root() -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = build("resnet8", num_classes=3)

        def forward(self, images: Tensor) -> Tensor:
            return self.model(2 * images - 1)

    assert map_layer(Wrapper(), SMALL) == "layer3"


def test_a_functional_activation_is_seen() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3)
            self.drop = nn.Dropout(0.25)
            self.fc = nn.Linear(54, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.conv2(F.relu(self.conv1(x))))
            return self.fc(self.drop(F.max_pool2d(x, 2)).flatten(1))

    net = Plain()
    images = torch.rand(2, 1, 10, 10)
    assert map_layer(net, images) == "conv2:activation"
    maps, _ = read_map(net, images, torch.tensor([0, 2]))
    assert maps.shape == (2, 6, 6, 6)
    assert torch.equal(maps, net.conv2(net.conv1(images).relu()).relu())


def test_nothing_to_look_at() -> None:
    with pytest.raises(TapError, match="neither a map"):
        map_layer(nn.Sequential(nn.Flatten(), nn.Linear(3072, 2)), SMALL)


def test_channels_last_and_tokens() -> None:
    assert as_maps(torch.zeros(2, 7, 7, 32), height=28, width=28).shape == (2, 32, 7, 7)
    assert as_maps(torch.zeros(2, 32, 7, 7), height=28, width=28).shape == (2, 32, 7, 7)
    tokens = torch.arange(9.0).view(1, 9, 1)
    assert as_maps(tokens, height=16, width=32).flatten().tolist() == list(range(1, 9))
    assert grid_of(261, height=224, width=224) == (5, 16, 16)
    with pytest.raises(TapError, match="make up no grid"):
        grid_of(6, height=8, width=8, prefix=0)
