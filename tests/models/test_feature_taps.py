import pytest
import torch
from torch import nn

from limbeck.errors import ShapeError, TapError
from limbeck.models import build, classifier_of, last_feature
from limbeck.taps import probe

SMALL_SWIN = {"embed_dim": 8, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4, "img_size": 64}

# Name, settings, side of the images, tap, layout, tokens in front, classifier.
NETS = [
    ("timm/vit_tiny_patch16_224", {"depth": 1, "img_size": 32}, 32, "norm", "tokens", 1, "head"),
    ("timm/deit_tiny_distilled_patch16_224", {"depth": 1, "img_size": 32}, 32, "norm", "tokens", 2, "head"),
    ("timm/swin_tiny_patch4_window7_224", SMALL_SWIN, 64, "norm", "channels_last", 0, "head.fc"),
    ("timm/test_convnext", {}, 64, "norm_pre", "map", 0, "head.fc"),
    ("timm/test_efficientnet", {}, 64, "bn2", "map", 0, "classifier"),
    ("timm/levit_128s", {"img_size": 64}, 64, "stages.1", "tokens", 0, "head.linear"),
    ("torchvision/vit_b_16", {"image_size": 32}, 32, "encoder", "tokens", 1, "heads.head"),
    ("torchvision/mobilenet_v2", {}, 64, "features", "map", 0, "classifier.1"),
    ("torchvision/efficientnet_b0", {}, 64, "features", "map", 0, "classifier.1"),
    ("torchvision/squeezenet1_1", {}, 64, "classifier.0", "map", 0, "classifier.1"),
    ("wrn_16_1", {}, 32, "layer3", "map", 0, "fc"),
    ("shufflenet_v2", {}, 32, "layer3", "map", 0, "fc"),
    ("mobilenet_v2_half", {}, 32, "layer4", "map", 0, "fc"),
]


@pytest.mark.parametrize(("name", "settings", "size", "path", "layout", "prefix", "head"), NETS)
def test_last_features_of_known_networks(name, settings, size, path, layout, prefix, head):
    net = build(name, num_classes=7, **settings)
    example = torch.rand(2, 3, size, size)
    found = last_feature(net, example)
    assert (found.path, found.layout, found.prefix) == (path, layout, prefix)
    read = probe(net, example, [path])[path]
    as_map = found.as_map(read)
    assert as_map.shape[0] == 2
    assert as_map.shape[2:] == found.grid
    assert classifier_of(net, 7)[0] == head


def test_images_that_are_no_square():
    net = build("timm/vit_tiny_patch16_224", num_classes=2, depth=1, img_size=(32, 64))
    found = last_feature(net, torch.rand(1, 3, 32, 64))
    assert (found.grid, found.prefix) == ((2, 4), 1)


def test_a_network_without_places():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(TapError, match=r"neither a feature map nor tokens of a grid for images of 2 x 2"):
        last_feature(net, torch.rand(1, 3, 2, 2))


def test_another_layout_than_announced():
    found = last_feature(build("resnet8", num_classes=2), torch.rand(1, 3, 16, 16))
    with pytest.raises(ShapeError, match=r"'layer3' should have read a map, not a tensor of \(2, 5\)"):
        found.as_map(torch.zeros(2, 5))
