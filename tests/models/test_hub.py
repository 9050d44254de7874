import logging

import pytest
import torch
from torch import nn

from limbeck.errors import ModelError
from limbeck.models import build, classifier_of, data_config

timm = pytest.importorskip("timm")


@pytest.mark.parametrize(
    ("name", "head"),
    [("timm/resnet10t", "fc"), ("timm/test_convnext", "head.fc"), ("torchvision/squeezenet1_1", "classifier.1")],
)
def test_grey_small_and_other_classes(name, head):
    net = build(name, num_classes=7, in_channels=1).eval()
    assert net(torch.rand(2, 1, 64, 64)).flatten(1).shape == (2, 7)
    path, layer = classifier_of(net, 7)
    assert path == head
    assert net.get_submodule(path) is layer


def test_further_settings_reach_timm():
    net = build("timm/test_vit", num_classes=3, img_size=32)
    assert net(torch.rand(1, 3, 32, 32)).shape == (1, 3)


def test_without_pretrained_weights_there_are_no_data_facts():
    assert data_config(build("timm/resnet10t", num_classes=7)) is None


def test_a_foreign_timm_model_brings_its_normalisation():
    found = data_config(timm.create_model("resnet10t"))
    assert found.mean == pytest.approx((0.485, 0.456, 0.406))
    assert found.input_shape[0] == 3
    grey = data_config(timm.create_model("resnet10t", in_chans=1))
    assert grey.mean == (pytest.approx((0.485 + 0.456 + 0.406) / 3),)


def test_unknown_architectures():
    with pytest.raises(ModelError, match=r"timm .* has no model 'resnet18b'. Did you mean 'resnet18"):
        build("timm/resnet18b", num_classes=10)
    with pytest.raises(ModelError, match=r"torchvision has no classifier 'resnet181'. Did you mean 'resnet18'"):
        build("torchvision/resnet181", num_classes=10)


def test_unknown_setting_of_a_timm_model():
    with pytest.raises(ModelError, match=r"'timm/resnet10t' cannot be built with banana=1, num_classes=3"):
        build("timm/resnet10t", num_classes=3, banana=1)


def test_weights_that_cannot_be_fetched(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", offline)
    with pytest.raises(ModelError, match=r"weights of 'timm/resnet18' could not be fetched \(OSError: no route"):
        build("timm/resnet18", num_classes=10, pretrained=True)
    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", offline)
    with pytest.raises(ModelError, match=r"weights of 'torchvision/squeezenet1_1' could not be fetched"):
        build("torchvision/squeezenet1_1", num_classes=10, pretrained=True)


def test_pretrained_torchvision_keeps_its_facts_and_gets_a_new_head(monkeypatch, caplog):
    state = build("torchvision/squeezenet1_1", num_classes=1000).state_dict()
    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", lambda *_, **__: state)
    whole = build("torchvision/squeezenet1_1", pretrained=True)
    assert whole.limbeck_data.input_shape == (3, 224, 224)
    assert len(whole.limbeck_data.class_names) == 1000
    with caplog.at_level(logging.WARNING, "limbeck"):
        net = build("torchvision/squeezenet1_1", num_classes=5, in_channels=1, pretrained=True).eval()
    assert "weights are for 1000 classes; the classifier for 5 classes is new and untrained" in caplog.text
    assert net(torch.rand(1, 1, 64, 64)).shape == (1, 5)
    assert net.limbeck_data.class_names == ()
    # A grey image through the summed first layer is what three equal channels gave.
    grey = torch.rand(1, 1, 64, 64)
    stem, old = net.features[0], whole.features[0]
    assert torch.allclose(stem(grey), old(grey.expand(-1, 3, -1, -1)), atol=1e-5)


def test_a_network_without_a_linear_classifier():
    with pytest.raises(
        ModelError, match=r"no linear layer with 4 outputs. Its last linear layer is '0' with 3 out"
    ):
        classifier_of(nn.Sequential(nn.Linear(2, 3)), 4)
    with pytest.raises(ModelError, match=r"no linear layer with 4 outputs\.$"):
        classifier_of(nn.ReLU(), 4)
