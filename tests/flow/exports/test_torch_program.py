"""Samplers as programs: the same images as `limbeck.flow.sample`, without Limbeck."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.export.passes import move_to_device_pass

import limbeck
from limbeck.errors import CheckpointError, ConfigError, ModelError
from limbeck.flow import export_torch, sample
from limbeck.models import DataConfig, build, save

STEPS = {"points": {"evaluations": 3}, "classes": {"times": (1, 0.8)}, "jumps": {"evaluations": 2}}
CASES = [
    ("points", "jumps"),
    pytest.param(("classes", "edm", "averages", "unet", "transformer"), marks=pytest.mark.slow),
]
READER = """
import json
import torch
from safetensors.torch import load_file, save_file
found = {}
for case in json.loads(sys.argv[2]):
    given = load_file(f"{sys.argv[1]}/{case}.safetensors")
    sampler = torch.export.load(f"{sys.argv[1]}/{case}.pt2").module()
    found[case] = sampler(*given.values()) if len(given) == 1 else sampler(given["noise"], given["labels"])
save_file(found, f"{sys.argv[1]}/found.safetensors")
"""


@pytest.fixture(scope="module")
def noises():
    def make(flow, count):
        noise = torch.randn(count, *flow.image_shape, generator=torch.Generator().manual_seed(count))
        return noise, torch.arange(count) % (flow.classes + 1) - 1 if flow.classes else None

    return make


@pytest.mark.parametrize("cases", CASES, ids="-".join)
def test_the_same_images_for_any_number_of_noises_without_limbeck(flow_file, alone, noises, tmp_path, cases):
    wanted = {}
    for number, case in enumerate(cases):
        steps = STEPS.get(case, {})
        written = export_torch(flow_file(case), tmp_path / f"{case}.pt2", **steps)
        assert written.compared[0].difference <= written.compared[0].allowed
        flow = limbeck.load(flow_file(case))
        noise, labels = noises(flow, (1, 70, 5)[number % 3])
        save_file(
            {"noise": noise, **({} if labels is None else {"labels": labels})}, tmp_path / f"{case}.safetensors"
        )
        wanted[case] = sample(flow, noise, labels, **steps).x
    alone(READER, tmp_path, json.dumps(cases))
    found = load_file(tmp_path / "found.safetensors")
    for case in cases:
        assert torch.allclose(found[case], wanted[case], atol=1e-5), case


def test_a_batch_beyond_diffusers_own_branch(flow_file, noises, tmp_path):
    export_torch(flow_file("unet"), tmp_path / "s.pt2")
    flow = limbeck.load(flow_file("unet"))
    noise, labels = noises(flow, 65)
    sampler = torch.export.load(tmp_path / "s.pt2").module()
    found = sampler(noise, labels)
    assert not found.requires_grad
    assert torch.allclose(found, sample(flow, noise, labels).x, atol=1e-5)


def test_a_program_moves_as_a_whole(flow_file, tmp_path):
    export_torch(flow_file("classes"), tmp_path / "s.pt2")
    program = move_to_device_pass(torch.export.load(tmp_path / "s.pt2"), "meta")
    found = program.module()(torch.empty(3, 1, 8, 8, device="meta"), torch.empty(3, dtype=int, device="meta"))
    assert (found.device.type, found.shape) == ("meta", (3, 1, 8, 8))


def test_what_a_program_says_of_itself_and_its_card(flow_file, tmp_path, root):
    written = export_torch(flow_file("classes"), tmp_path / "out", times=(1, 0.8), licence="MIT")
    assert written.files == ("README.md", "sampler.pt2")
    extra = {"limbeck.json": ""}
    torch.export.load(tmp_path / "out/sampler.pt2", extra_files=extra)
    said = json.loads(extra["limbeck.json"])
    assert said["times"] == [1 - 1e-5, 0.8, 0.0]
    assert said["evaluations"] == 2
    assert said["class_names"] == ["a", "b", "c"]
    card = (tmp_path / "out/README.md").read_text()
    assert 'license: "mit"' in card
    assert "2 network evaluations (euler, t = 0.99999, 0.8, 0)" in card
    assert "0 a, 1 b, 2 c" in card
    content = (tmp_path / "out/sampler.pt2").read_bytes() + card.encode()
    for path in (str(tmp_path), str(root), sys.prefix, str(flow_file("classes").parent)):
        assert path.encode() not in content


def test_the_lines_of_the_card_run(flow_file, tmp_path):
    names: dict[str, object] = {}
    exec(export_torch(flow_file("classes"), tmp_path / "s.pt2").usage, names)
    assert names["images"].shape == (16, 1, 8, 8)


def test_what_is_refused_leaves_nothing_behind(flow_file, tmp_path):
    with pytest.raises(ConfigError, match="times fall from noise"):
        export_torch(flow_file("points"), tmp_path / "s.pt2", times=(0.5, 0.8))
    with pytest.raises(ConfigError, match="at least 1 network evaluation"):
        export_torch(flow_file("points"), tmp_path / "s.pt2", evaluations=0)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_differs_is_refused(flow_file, tmp_path, monkeypatch):
    from limbeck.flow.exports import torch_program

    true = torch_program.sampler_program

    def broken(source, plan):
        for weight in source.flow.parameters():
            weight.mul_(2)
        program = true(source, plan)
        for weight in source.flow.parameters():
            weight.div_(2)
        return program

    monkeypatch.setattr(torch_program, "sampler_program", broken)
    with pytest.raises(ModelError, match="checked and refused"):
        export_torch(flow_file("points"), tmp_path / "s.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_classifier_is_no_flow(tmp_path):
    net = build("resnet8", num_classes=2, in_channels=1)
    data = DataConfig(input_shape=(1, 8, 8), mean=(0.0,), std=(1.0,))
    save(net, tmp_path / "net.safetensors", spec=net.limbeck_spec, data=data)
    with pytest.raises(CheckpointError, match="holds a model, but no flow"):
        export_torch(tmp_path / "net.safetensors", tmp_path / "s.pt2")
