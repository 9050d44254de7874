"""Classifiers as bodies of detectors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import ModelError
from limbeck.models.detectors import build_detector
from limbeck.models.detectors.backbones import body_of, freeze_norms

ALL = (4, 8, 16, 32)


@pytest.mark.parametrize(
    "backbone",
    [
        "torchvision/resnet18",
        "torchvision/mobilenet_v3_small",
        "torchvision/efficientnet_b0",
        "torchvision/convnext_tiny",
        "torchvision/densenet121",
        "timm/resnet10t",
        "timm/mobilenetv3_small_050",
        "timm/test_efficientnet",
        "limbeck/quarter_resnet50",
    ],
)
def test_maps_have_the_strides_and_channels_that_they_say(backbone):
    body = body_of(backbone, strides=ALL, pretrained=False, frozen_norms=False).eval()
    with torch.no_grad():
        maps = body(torch.rand(1, 3, 64, 96))
    assert [(level.shape[2], level.shape[3]) for level in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert tuple(level.shape[1] for level in maps) == body.channels


def test_maps_with_channels_last_are_turned():
    body = body_of("timm/swin_tiny_patch4_window7_224", strides=(4, 8), pretrained=False, frozen_norms=False)
    with torch.no_grad():
        assert [level.shape[1] for level in body.eval()(torch.rand(1, 3, 224, 224))] == [96, 192]


def test_layers_behind_the_last_map_are_left_out():
    body = body_of("timm/test_resnet", strides=(8, 16), pretrained=False, frozen_norms=False)
    every = body_of("timm/test_resnet", strides=ALL, pretrained=False, frozen_norms=False)
    assert len(list(body.parameters())) < len(list(every.parameters()))
    sum(level.sum() for level in body(torch.rand(2, 3, 64, 64))).backward()
    assert all(parameter.grad is not None for parameter in body.parameters())


def test_frozen_norms_never_change():
    for backbone in ("torchvision/resnet18", "timm/test_resnet"):
        body = body_of(backbone, strides=(8, 16, 32), pretrained=False, frozen_norms=True).train()
        before = {key: value.clone() for key, value in body.state_dict().items()}
        body(torch.rand(2, 3, 64, 64))
        assert all(torch.equal(value, before[key]) for key, value in body.state_dict().items())
        assert not any(isinstance(module, nn.BatchNorm2d) for module in body.modules())


def test_freezing_keeps_the_function_and_takes_an_epsilon():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=0.1)).eval()
    net[1].running_var.fill_(2.0)
    x = torch.rand(1, 3, 8, 8)
    expected = net(x)
    freeze_norms(net)
    torch.testing.assert_close(net(x), expected)
    freeze_norms(net, 0.0)
    assert net[1].eps == 0.0


def test_first_layers_of_fetched_weights_stay(monkeypatch):
    """What torchvision leaves alone in its own builders: the stem and the first stage."""
    import torchvision

    real = torchvision.models.get_model
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: real(name))
    detector = build_detector("retinanet", num_classes=2, fpn_channels=32, pretrained_backbone=True)
    stays = {name.split(".")[3] for name, p in detector.named_parameters() if not p.requires_grad}
    moves = {name.split(".")[3] for name, p in detector.named_parameters() if p.requires_grad and "body" in name}
    assert stays == {"conv1", "layer1"}
    assert moves == {"layer2", "layer3", "layer4"}
    spec = detector.limbeck_spec
    assert spec["pretrained_backbone"] is False
    assert spec["frozen_norms"] is True
    again = build_detector(**spec)
    again.load_state_dict(detector.state_dict())


def test_refusals():
    with pytest.raises(ModelError, match="a backbone is"):
        build_detector("ssd", num_classes=2, backbone="resnet18")
    with pytest.raises(ModelError, match=r"no classifier 'resnet19'.*resnet18"):
        build_detector("ssd", num_classes=2, backbone="torchvision/resnet19")
    with pytest.raises(ModelError, match=r"no map of stride 8.*found were strides 16"):
        build_detector("ssd", num_classes=2, backbone="timm/test_vit")
    with pytest.raises(ModelError, match="no map of stride 8"):
        build_detector("ssd", num_classes=2, backbone="torchvision/swin_t")


def test_a_model_of_ours_has_no_weights_to_fetch():
    with pytest.raises(ModelError, match="start_backbone"):
        body_of("limbeck/quarter_resnet50", strides=ALL, pretrained=True, frozen_norms=False)
