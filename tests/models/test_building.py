import pytest
import torch
from torch import nn

from limbeck.errors import InputError, ModelError, UnknownNameError
from limbeck.models import MODELS, build
from limbeck.registry import imports_allowed


def test_the_spec_rebuilds_the_model():
    net = build("resnet8", num_classes=4, in_channels=1)
    spec = dict(net.limbeck_spec)
    again = build(spec.pop("name"), **spec)
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in again.state_dict().items()}


def test_the_registry_knows_settings_without_torch():
    described = MODELS.describe("resnet8x4")
    assert list(described.settings) == ["num_classes", "in_channels"]
    assert described.settings["num_classes"].required
    assert "resnet32x4" in described.summary
    assert "timm/resnet18" in MODELS
    assert MODELS.describe("timm/resnet18").open_ended


def test_unknown_model():
    with pytest.raises(UnknownNameError, match=r"unknown model 'resnet8x3'. Did you mean 'resnet8x4'\?"):
        build("resnet8x3", num_classes=10)


def test_unknown_setting():
    with pytest.raises(ModelError, match=r"'resnet8' has no setting 'num_clases'. Did you mean 'num_classes'\?"):
        build("resnet8", num_clases=10)


def test_missing_setting():
    with pytest.raises(ModelError, match=r"model 'resnet8' needs the setting 'num_classes'"):
        build("resnet8")


def test_own_class_is_imported_only_when_allowed():
    name = "torch.nn:Linear"
    with pytest.raises(InputError, match=r"names code outside Limbeck"):
        build(name, in_features=3, out_features=2)
    with imports_allowed():
        net = build(name, in_features=3, out_features=2, num_classes=9, in_channels=3)
        assert isinstance(net, nn.Linear)
        assert net.limbeck_spec == {"name": name, "in_features": 3, "out_features": 2}
        with pytest.raises(ModelError, match=r"has no setting 'in_feature'. Did you mean 'in_features'"):
            build(name, in_feature=3)
        with pytest.raises(ModelError, match=r"cannot be built with in_features=3"):
            build(name, in_features=3)
        with pytest.raises(ModelError, match=r"gave a Size, not a torch.nn.Module"):
            build("torch:Size")


def test_same_seed_same_weights():
    torch.manual_seed(3)
    first = build("resnet8", num_classes=2).fc.weight
    torch.manual_seed(3)
    assert torch.equal(first, build("resnet8", num_classes=2).fc.weight)
