"""Weights with a config.json: anyone can rebuild the flow."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

import limbeck
from limbeck.errors import ModelError, RunFolderError
from limbeck.flow import export_safetensors
from limbeck.models.velocity import build_velocity_network


def test_the_two_files_rebuild_the_network(flow_file, tmp_path):
    written = export_safetensors(flow_file("classes"), tmp_path / "out")
    assert written.files == ("README.md", "config.json", "model.safetensors")
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["parameterisation"] == {"name": "velocity"}
    assert (config["classes"], config["class_names"]) == (3, ["a", "b", "c"])
    network = build_velocity_network(**config["network"]).eval()
    network.load_state_dict(load_file(tmp_path / "out/model.safetensors"))
    flow = limbeck.load(flow_file("classes"))
    x, t, labels = torch.randn(4, 1, 8, 8), torch.rand(4), torch.tensor([0, 1, 2, -1])
    assert torch.equal(network(x, t, labels), flow(x, t, labels))


@pytest.mark.parametrize("case", ["points", "edm", "averages", "unet"])
def test_limbeck_loads_the_folder_and_the_file(flow_file, tmp_path, case):
    export_safetensors(flow_file(case), tmp_path / "out")
    export_safetensors(flow_file(case), tmp_path / "alone.safetensors")
    flow = limbeck.load(flow_file(case))
    for path in (tmp_path / "out", tmp_path / "alone.safetensors"):
        again = limbeck.load(path)
        assert again.facts() == flow.facts()
        for name, weight in flow.state_dict().items():
            assert torch.equal(again.state_dict()[name], weight)


def test_nothing_else_of_the_run_goes_with_it(flow_file, tmp_path):
    from limbeck.flow import save

    flow = limbeck.load(flow_file("points"))
    save(flow, tmp_path / "noted.safetensors", notes={"where": "/home/somebody"})
    export_safetensors(tmp_path / "noted.safetensors", tmp_path / "out")
    for file in (tmp_path / "out").iterdir():
        assert b"/home/somebody" not in file.read_bytes(), file


def test_weights_that_differ_are_refused(flow_file, tmp_path, monkeypatch):
    from limbeck.flow.exports import weights_file

    true = weights_file.config_of
    monkeypatch.setattr(
        weights_file, "config_of", lambda source: true(source) | {"parameterisation": {"name": "data"}}
    )
    with pytest.raises(ModelError, match="checked and refused"):
        export_safetensors(flow_file("points"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_only_on_request(flow_file, tmp_path):
    export_safetensors(flow_file("points"), tmp_path / "out")
    with pytest.raises(RunFolderError, match="is not empty"):
        export_safetensors(flow_file("edm"), tmp_path / "out")
    export_safetensors(flow_file("edm"), tmp_path / "out", force=True)
    assert limbeck.load(tmp_path / "out").parameterisation.name == "edm"
