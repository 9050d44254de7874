"""Pipeline folders: Diffusers loads them in a process without Limbeck."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import limbeck
from limbeck.errors import MissingExtraError, RunFolderError
from limbeck.flow import export_diffusers, sample

diffusers = pytest.importorskip("diffusers")

CASES = ("classes", "averages", "edm", "unet", "unet-edm", "transformer", "jumps")
READER = """
import json
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file
folder, found = sys.argv[1], {}
for case in json.loads(sys.argv[2]):
    at = f"{folder}/{case}"
    try:
        DiffusionPipeline.from_pretrained(at, custom_pipeline=at)
    except ValueError as error:
        assert "trust_remote_code" in str(error)
    else:
        raise AssertionError("code was run that nobody trusted")
    pipeline = DiffusionPipeline.from_pretrained(at, custom_pipeline=at, trust_remote_code=True)
    pipeline.set_progress_bar_config(disable=True)
    given = load_file(f"{folder}/{case}.safetensors")
    labels = given.get("labels")
    found[case] = pipeline(class_labels=labels, latents=given["noise"], output_type="latent").images
    if case != "jumps":
        found[case + "-3"] = pipeline(
            class_labels=labels, latents=given["noise"], num_inference_steps=3, output_type="latent"
        ).images
    if case == "classes":
        guided = pipeline(class_labels=labels, latents=given["noise"], guidance_scale=2.0, output_type="latent")
        found["guided"] = guided.images
        first, again = (
            pipeline(batch_size=2, class_labels=[0, -1], generator=torch.Generator().manual_seed(3))
            for _ in range(2)
        )
        assert [image.size for image in first.images] == [(8, 8), (8, 8)]
        assert [image.tobytes() for image in first.images] == [image.tobytes() for image in again.images]
        arrays = pipeline(batch_size=2, output_type="np").images
        assert arrays.shape == (2, 8, 8, 1) and 0 <= arrays.min() <= arrays.max() <= 1
save_file(found, f"{folder}/found.safetensors")
"""


@pytest.mark.slow
def test_from_pretrained_gives_the_same_images_without_limbeck(flow_file, alone, tmp_path):
    wanted = {}
    for case in CASES:
        flow = limbeck.load(flow_file(case))
        steps = {"evaluations": 1} if case == "jumps" else {"times": (1, 0.8)}
        written = export_diffusers(flow_file(case), tmp_path / case, **steps)
        assert all(one.difference <= one.allowed for one in written.compared)
        noise = torch.randn(5, *flow.image_shape, generator=torch.Generator().manual_seed(1))
        labels = torch.tensor([0, 1, 0, -1, 1]) if flow.classes else None
        save_file(
            {"noise": noise, **({} if labels is None else {"labels": labels})}, tmp_path / f"{case}.safetensors"
        )
        wanted[case] = sample(flow, noise, labels, **steps).x
        if case != "jumps":
            wanted[f"{case}-3"] = sample(flow, noise, labels, evaluations=3).x
        if case == "classes":
            wanted["guided"] = sample(flow, noise, labels, guidance=2.0, **steps).x
    alone(READER, tmp_path, json.dumps(CASES))
    found = load_file(tmp_path / "found.safetensors")
    assert found.keys() == wanted.keys()
    for name, images in wanted.items():
        assert torch.allclose(found[name], images, atol=1e-5), name


def test_a_network_of_diffusers_is_written_by_diffusers(flow_file, tmp_path):
    written = export_diffusers(flow_file("unet"), tmp_path / "out", licence="apache-2.0")
    assert written.files == (
        "README.md",
        "model_index.json",
        "pipeline.py",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    )
    assert set(written.sizes) == set(written.files)
    index = json.loads((tmp_path / "out/model_index.json").read_text())
    assert index["unet"] == ["diffusers", "UNet2DModel"]
    assert index["velocity"] == [None, None]
    unet = diffusers.UNet2DModel.from_pretrained(tmp_path / "out/unet")
    flow = limbeck.load(flow_file("unet"))
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([0.1, 0.5, 0.9])
    with torch.no_grad():
        found = unet(x, 1000 * t, class_labels=torch.tensor([0, 1, 2])).sample  # the last is no class
        assert torch.allclose(found, flow(x, t, torch.tensor([0, 1, -1])), atol=1e-5)
    card = (tmp_path / "out/README.md").read_text()
    for part in ('library_name: "diffusers"', 'license: "apache-2.0"', "trust_remote_code", "flow-matching"):
        assert part in card
    assert str(tmp_path) not in card


def test_a_program_moves_with_its_pipeline(flow_file, tmp_path):
    from limbeck.flow.exports.portable.program import VelocityProgram

    export_diffusers(flow_file("averages"), tmp_path / "out")
    program = VelocityProgram.from_pretrained(str(tmp_path / "out/velocity")).to("meta")
    x, t = torch.empty(3, 1, 4, 4, device="meta"), torch.empty(3, device="meta")
    assert program(x, t, interval=t).device.type == program.device.type == "meta"
    with pytest.raises(ValueError, match="computes in float32"):
        program.to(torch.float16)


def test_consistency_models_get_new_noise_from_the_scheduler(flow_file, tmp_path):
    export_diffusers(flow_file("jumps"), tmp_path / "out", evaluations=2)
    scheduler = json.loads((tmp_path / "out/scheduler/scheduler_config.json").read_text())
    assert scheduler["stochastic_sampling"] is True


def test_an_export_takes_the_place_of_another(flow_file, tmp_path):
    export_diffusers(flow_file("unet"), tmp_path / "out")
    with pytest.raises(RunFolderError, match="is not empty"):
        export_diffusers(flow_file("unet"), tmp_path / "out", times=(1, 0.8))
    export_diffusers(flow_file("unet"), tmp_path / "out", times=(1, 0.8), force=True)
    assert json.loads((tmp_path / "out/model_index.json").read_text())["flow"]["times"] == [1 - 1e-5, 0.8, 0.0]


def test_the_extra_is_named(flow_file, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"limbeck\[flow\]"):
        export_diffusers(flow_file("points"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
