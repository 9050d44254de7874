"""Begin with the weights of a trained detector; only heads for other classes start anew."""

from __future__ import annotations

import pytest
import torch

from limbeck.detect.starting import start_backbone, start_from
from limbeck.errors import CheckpointError, ModelError
from limbeck.models import DataConfig, build
from limbeck.models import save as save_classifier
from limbeck.models.detectors import build_detector, save

DATA = DataConfig(input_shape=(3, 32, 32), mean=(0.5,) * 3, std=(0.2,) * 3)
SMALL = {"size": (64, 64), "fpn_channels": 32, "backbone": "torchvision/resnet18"}
SETTINGS = {"small_ssd": {"size": (64, 64), "width": 4}}


def detector(name, classes, seed):
    torch.manual_seed(seed)
    return build_detector(name, num_classes=classes, **SETTINGS.get(name, SMALL))


@pytest.fixture
def saved(tmp_path):
    def make(name, classes=3):
        net = detector(name, classes, 5)
        save(net, tmp_path / "model.safetensors", class_names=tuple("abcdefg"[:classes]))
        return net, tmp_path / "model.safetensors"

    return make


@pytest.mark.parametrize("name", ["small_ssd", "retinanet", "fcos", "faster_rcnn"])
def test_the_same_classes_take_everything(name, saved):
    trained, file = saved(name)
    net = detector(name, 3, 0)
    assert start_from(net, file) == []
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), trained.parameters(), strict=True))


@pytest.mark.parametrize("name", ["small_ssd", "retinanet", "fcos", "faster_rcnn"])
def test_other_classes_take_all_but_the_class_layers(name, saved):
    trained, file = saved(name, classes=5)
    net = detector(name, 3, 0)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    fresh = start_from(net, file)
    assert fresh
    assert all("head" in key or "box_predictor" in key for key in fresh)
    known = trained.state_dict()
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key] if key in fresh else known[key])
    assert not any("backbone" in key for key in fresh)


@pytest.mark.parametrize("name", ["small_ssd", "retinanet", "fcos", "faster_rcnn"])
def test_as_many_classes_of_other_names_are_other_classes(name, saved):
    trained, file = saved(name)
    net = detector(name, 3, 0)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    for names in (("a", "c", "b"), ("x", "y", "z")):
        fresh = start_from(net, file, class_names=names)
        assert fresh
        assert all("classification_head" in key or "box_predictor" in key for key in fresh)
        for key, value in net.state_dict().items():
            assert torch.equal(value, before[key] if key in fresh else trained.state_dict()[key])
    assert start_from(net, file, class_names=("a", "b", "c")) == []


def test_only_the_layers_of_classes_may_differ(saved, tmp_path):
    _, file = saved("faster_rcnn")
    other = build_detector("faster_rcnn", num_classes=3, box_channels=64, **SMALL)
    with pytest.raises(ModelError, match=r"'roi_heads.box_head.fc6.weight' is missing on one side or of another"):
        start_from(other, file)


def test_another_width_is_refused_and_nothing_is_changed(saved):
    _, file = saved("small_ssd")
    torch.manual_seed(0)
    net = build_detector("small_ssd", num_classes=3, size=(64, 64), width=8)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(ModelError, match=r"start_from: .*does not fit the detector: 'backbone.*of another shape"):
        start_from(net, file)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_another_family_is_refused(saved):
    _, file = saved("retinanet")
    with pytest.raises(ModelError, match="does not fit"):
        start_from(detector("faster_rcnn", 3, 0), file)


def test_files_without_a_detector_are_refused(tmp_path):
    net = build("resnet8", num_classes=2, in_channels=3)
    save_classifier(
        net,
        tmp_path / "model.safetensors",
        spec=net.limbeck_spec,
        data=DataConfig((3, 8, 8), (0.5,) * 3, (0.5,) * 3),
    )
    with pytest.raises(CheckpointError, match="no detector"):
        start_from(detector("small_ssd", 3, 0), tmp_path)
    with pytest.raises(CheckpointError, match="nowhere"):
        start_from(detector("small_ssd", 3, 0), tmp_path / "nowhere")


def quarter(tmp_path):
    torch.manual_seed(1)
    net = build("quarter_resnet50", num_classes=4)
    save_classifier(net, tmp_path / "body.safetensors", data=DATA, spec=net.limbeck_spec)
    return net, tmp_path / "body.safetensors"


@pytest.mark.parametrize("frozen", [False, True])
def test_a_body_takes_the_weights_of_a_classifier(frozen, tmp_path):
    trained, file = quarter(tmp_path)
    net = build_detector(
        "retinanet", num_classes=3, backbone="limbeck/quarter_resnet50", frozen_norms=frozen, fpn_channels=32
    )
    assert start_backbone(net, file) > 200
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        *_, last = net.eval().backbone.body(images)
        torch.testing.assert_close(last, trained.eval().forward_features(images))


def test_a_body_may_be_the_features_of_a_classifier(tmp_path):
    torch.manual_seed(1)
    name = "torchvision/mobilenet_v3_small"
    trained = build(name, num_classes=4)
    save_classifier(trained, tmp_path / "body.safetensors", data=DATA, spec=trained.limbeck_spec)
    net = build_detector("retinanet", num_classes=3, backbone=name, fpn_channels=32)
    assert start_backbone(net, tmp_path / "body.safetensors") > 100
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        *_, last = net.eval().backbone.body(images)
        torch.testing.assert_close(last, trained.eval().features(images))


def test_a_body_of_another_kind_is_refused(tmp_path):
    _, file = quarter(tmp_path)
    with pytest.raises(ModelError, match=r"is no classifier like the detector's body: 'conv1.weight'"):
        start_backbone(detector("retinanet", 3, 0), file)
    with pytest.raises(ModelError, match="the detector's body is no classifier"):
        start_backbone(detector("small_ssd", 3, 0), file)
