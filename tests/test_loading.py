"""`limbeck.load` gives back what was trained, whatever it was."""

from __future__ import annotations

import pytest
import torch

import limbeck
from limbeck.errors import CheckpointError
from limbeck.flow import Flow, sample
from limbeck.flow import save as save_flow
from limbeck.models import DataConfig, build, save
from limbeck.models import load as load_classifier
from limbeck.models.velocity import build_velocity_network


@pytest.fixture
def flow() -> Flow:
    torch.manual_seed(0)
    return Flow(build_velocity_network("mlp", image_shape=(2, 1, 1), width=8), image_shape=(2, 1, 1), rounds=1)


@pytest.mark.parametrize("place", ["stage/model.safetensors", "stage", "."])
def test_a_flow_from_its_file_its_stage_or_its_run(tmp_path, flow, place):
    (tmp_path / "stage").mkdir()
    save_flow(flow, tmp_path / "stage/model.safetensors")
    again = limbeck.load(tmp_path / place)
    assert isinstance(again, Flow)
    assert again.rounds == 1
    assert not again.training
    noise = torch.randn(3, 2, 1, 1)
    assert torch.equal(sample(again, noise).x, sample(flow, noise).x)


def test_a_flow_into_a_network_that_is_there(tmp_path, flow):
    save_flow(flow, tmp_path / "model.safetensors")
    network = build_velocity_network("mlp", image_shape=(2, 1, 1), width=8)
    again = limbeck.load(tmp_path / "model.safetensors", into=network)
    assert again.network is network
    assert torch.equal(network.enter.weight, flow.network.enter.weight)


def test_a_classifier(tmp_path):
    net = build("resnet8", num_classes=2, in_channels=1)
    data = DataConfig(input_shape=(1, 8, 8), mean=(0.0,), std=(1.0,), class_names=("cat", "dog"))
    save(net, tmp_path / "model.safetensors", spec=net.limbeck_spec, data=data)
    again = limbeck.load(tmp_path)
    assert again.limbeck_data.class_names == ("cat", "dog")
    assert torch.equal(again(torch.zeros(2, 1, 8, 8)), net.eval()(torch.zeros(2, 1, 8, 8)))


def test_a_flow_is_not_read_as_a_classifier(tmp_path, flow):
    save_flow(flow, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"holds a flow, no classifier: limbeck\.load"):
        load_classifier(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        limbeck.load(tmp_path)
