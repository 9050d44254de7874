"""A detector and its file."""

from __future__ import annotations

import pytest
import torch

import limbeck
from limbeck import models
from limbeck.errors import CheckpointError
from limbeck.models import detectors
from limbeck.models.artefact import read_card


def test_round_trip(name, make, batch, tmp_path):
    detector = make(name)
    detectors.Watch(detector).forward(*batch(2, 2))  # moves the running statistics
    file = tmp_path / "model.safetensors"
    detectors.save(detector, file, class_names=("a", "b", "c"), notes={"trained_on": "scenes"})
    found = limbeck.load(file)
    assert not found.training
    assert type(found) is type(detector)
    assert found.limbeck_spec == detector.limbeck_spec
    assert found.limbeck_data.class_names == ("a", "b", "c")
    assert found.limbeck_data.input_shape == (3, 64, 64)
    assert found.limbeck_notes["trained_on"] == "scenes"
    assert found.limbeck_notes["detector"]["classes"] == 3
    detector.eval()
    features = detector.backbone(torch.ones(1, 3, 64, 64)), found.backbone(torch.ones(1, 3, 64, 64))
    for one, other in zip(features[0].values(), features[1].values(), strict=True):
        assert torch.equal(one, other)
    for key, value in detector.state_dict().items():
        assert torch.equal(value, found.state_dict()[key]), key


def test_others_are_refused_with_a_clear_word(make, tmp_path):
    file = tmp_path / "model.safetensors"
    detectors.save(make("small_ssd"), file)
    assert read_card(file)["notes"]["detector"]["family"] == "SSD"
    with pytest.raises(CheckpointError, match="holds a detector, no classifier"):
        models.load(file)
    net = models.build("resnet8", num_classes=2)
    data = models.DataConfig((3, 8, 8), (0.5,) * 3, (0.5,) * 3)
    models.save(net, file, spec=net.limbeck_spec, data=data)
    with pytest.raises(CheckpointError, match="no detector"):
        detectors.load(file)


def test_refusals_of_saving(make, tmp_path):
    detector = make("small_ssd")
    with pytest.raises(CheckpointError, match="3 classes, but 2 names"):
        detectors.save(detector, tmp_path / "m", class_names=("a", "b"))
    del detector.limbeck_spec
    with pytest.raises(CheckpointError, match="build_detector"):
        detectors.save(detector, tmp_path / "m")


def test_into_a_given_detector(make, tmp_path):
    file = tmp_path / "model.safetensors"
    detector = make("small_ssd")
    detectors.save(detector, file)
    other = make("small_ssd")
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    assert detectors.load(file, into=other) is other
    assert torch.equal(other.backbone.stem[0].weight, detector.backbone.stem[0].weight)
