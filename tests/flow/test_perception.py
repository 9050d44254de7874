from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import ConfigError, ModelError
from limbeck.flow.perception import classifier, lpips_vgg, penultimate
from limbeck.losses.feature_distance import feature_distance
from limbeck.models import DataConfig, build


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("vgg") / "vgg.pth"
    torch.save({f"features.{name}": value for name, value in make_layers(cfgs["D"]).state_dict().items()}, file)
    return file


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_lpips_is_that_of_its_package_with_mean_pooling(vgg_file, capsys):
    import lpips

    theirs = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    state = torch.load(vgg_file, weights_only=True)
    for part in (theirs.net.slice1, theirs.net.slice2, theirs.net.slice3, theirs.net.slice4, theirs.net.slice5):
        for name, layer in part.named_children():
            if isinstance(layer, nn.Conv2d):
                layer.load_state_dict({k: state[f"features.{name}.{k}"] for k in ("weight", "bias")})
            if isinstance(layer, nn.MaxPool2d):
                setattr(part, name, nn.AvgPool2d(2, 2))
    ours = lpips_vgg(vgg_weights=str(vgg_file), size=32)
    a, b = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(ours(a, b), theirs(a, b).flatten(), rtol=1e-3, atol=1e-6)
        assert float(ours(a, a).abs().max()) == 0
        assert ours(a[:, :1], b[:, :1]).shape == (3,)
    moved = a.clone().requires_grad_()
    ours(moved, b).sum().backward()
    assert moved.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in ours.parameters())


def test_wrong_weights_are_said(tmp_path):
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="vgg16"):
        lpips_vgg(vgg_weights=str(tmp_path / "w.pth"))
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="vgg16"):
        lpips_vgg(vgg_weights=str(tmp_path / "w.safetensors"))


def trained():
    net = build("resnet8", num_classes=3, in_channels=1)
    net.limbeck_data = DataConfig((1, 8, 8), (0.3,), (0.4,), ("a", "b", "c"))
    return net


def test_a_classifier_is_a_distance_and_features():
    net = trained()
    distance = classifier(net)
    a, b = torch.rand(2, 4, 1, 8, 8) * 2 - 1
    assert float(distance(a, a).abs().max()) < 1e-9
    assert (distance(a, b) > 0).all()
    features = penultimate(net)
    found = features(a)
    assert found.shape == (4, net.fc.in_features)
    with torch.no_grad():
        seen = ((a + 1) / 2 - 0.3) / 0.4
        torch.testing.assert_close(net.fc(found), net(seen))
    assert features(torch.zeros(2, 1, 16, 16)).shape == found[:2].shape  # resized to what it knows
    with pytest.raises(ModelError, match="1 channels, these have 3"):
        features(torch.zeros(2, 3, 8, 8))
    with pytest.raises(ConfigError, match="features:"):
        classifier(None)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_places_without_features_are_equal_in_half_precision(kind):
    nothing = torch.zeros(2, 3, 2, 2, dtype=kind)
    assert feature_distance([nothing], [nothing], weights=[torch.ones(3)]).tolist() == [0.0, 0.0]


def test_distances_are_measured_in_single_precision():
    torch.manual_seed(0)
    distance = classifier(trained())
    a, b = torch.randn(2, 4, 1, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = distance(a, b)
    assert torch.equal(mixed, distance(a, b))
