"""Networks of Diffusers: built, saved by Diffusers, read back, and folders that cannot be read."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from limbeck.errors import CheckpointError, MissingExtraError, ModelError, ShapeError
from limbeck.models.velocity.building import build_velocity_network
from limbeck.models.velocity.diffusers_networks import diffusers_transformer, diffusers_unet, from_folder

diffusers = pytest.importorskip("diffusers")

UNET = {"width": 8, "multiples": (1, 2), "blocks": 1, "attention": (4,), "dropout": 0.0}
TRANSFORMER = {"width": 16, "depth": 2, "heads": 2}


@pytest.fixture
def unet() -> Callable[..., nn.Module]:
    def make(**changes) -> nn.Module:
        torch.manual_seed(0)
        return diffusers_unet(image_shape=(2, 8, 8), **{**UNET, **changes}).eval()

    return make


@pytest.fixture
def transformer() -> Callable[..., nn.Module]:
    def make(**changes) -> nn.Module:
        torch.manual_seed(0)
        network = diffusers_transformer(image_shape=(2, 8, 8), **{**TRANSFORMER, **changes})
        for weight in network.parameters():
            # Away from the zeros that it begins with.
            nn.init.normal_(weight, std=0.1)
        return network.eval()

    return make


def inputs(n: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 2, 8, 8, generator=generator), torch.tensor([0.0, 12.25, 900.5])[:n]


def pipeline(folder: Path, network: nn.Module, scheduler: object, part: str = "unet") -> Path:
    network.model.save_pretrained(folder / part)
    scheduler.save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "DDPMPipeline",
        part: ["diffusers", type(network.model).__name__],
        "scheduler": ["diffusers", type(scheduler).__name__],
        "safety_checker": [None, None],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_a_unet_is_called_as_diffusers_calls_it(unet: Callable[..., nn.Module]) -> None:
    network, (x, time) = unet(), inputs()
    torch.testing.assert_close(network(x, time), network.model(x, time).sample)
    assert not torch.allclose(network(x, time), network(x, time + 0.5), atol=1e-5), "times are not rounded"


def test_a_class_is_added_and_none_is_nothing(unet: Callable[..., nn.Module]) -> None:
    network, (x, time) = unet(classes=3), inputs()
    labels = torch.tensor([0, 2, 1])
    torch.testing.assert_close(network(x, time, labels), network.model(x, time, labels).sample)
    none = network(x, time)
    torch.testing.assert_close(network(x, time, torch.full((3,), -1)), none)
    with torch.no_grad():
        network.model.class_embedding.weight.zero_()
    torch.testing.assert_close(network(x, time, labels), none)


def test_no_class_of_a_transformer_is_its_last_row(transformer: Callable[..., nn.Module]) -> None:
    network, (x, time) = transformer(classes=3), inputs()
    labels = torch.tensor([0, 2, 1])
    torch.testing.assert_close(network(x, time, labels), network.model(x, time, labels).sample)
    none = network(x, time)
    torch.testing.assert_close(none, network.model(x, time, torch.full((3,), 3)).sample)
    torch.testing.assert_close(network(x, time, torch.full((3,), -1)), none)
    assert not torch.allclose(network(x, time, labels), none, atol=1e-5)


def test_a_transformer_without_classes(transformer: Callable[..., nn.Module]) -> None:
    network, (x, time) = transformer(), inputs()
    assert network.classes == 0
    assert network(x, time).shape == x.shape


def test_labels_are_not_dropped_by_the_model(transformer: Callable[..., nn.Module]) -> None:
    network, (x, time) = transformer(classes=3).train(), inputs(1)
    x, time, labels = x.expand(64, -1, -1, -1), time.expand(64), torch.zeros(64, dtype=torch.int64)
    out = network(x, time, labels)
    torch.testing.assert_close(out, out[:1].expand_as(out))


def test_a_transformer_begins_with_nothing() -> None:
    x, time = inputs()
    network = diffusers_transformer(image_shape=(2, 8, 8), classes=3, **TRANSFORMER)
    assert not network(x, time).detach().any()
    network.model.proj_out_2.weight.data.normal_()
    for block in network.model.transformer_blocks:
        tokens = torch.randn(2, 16, 16)
        given = {"timestep": time[:2], "class_labels": torch.tensor([0, 1])}
        torch.testing.assert_close(block(tokens, **given), tokens)


def test_every_parameter_of_a_unet_takes_part(unet: Callable[..., nn.Module]) -> None:
    network, (x, time) = unet(classes=3).train(), inputs()
    network(x, time, torch.tensor([0, -1, 2])).square().sum().backward()
    assert not [name for name, weight in network.named_parameters() if weight.grad is None]


def test_half_precision(unet: Callable[..., nn.Module], transformer: Callable[..., nn.Module]) -> None:
    x, time = inputs()
    for network in (unet(classes=3), transformer(classes=3)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            halved = network(x, time)
        torch.testing.assert_close(halved.float(), network(x, time), rtol=0.1, atol=0.1)


def test_a_folder_of_a_model_is_read_back(
    unet: Callable[..., nn.Module], transformer: Callable[..., nn.Module], tmp_path: Path
) -> None:
    x, time = inputs()
    labels = torch.tensor([0, -1, 2])
    for network in (unet(classes=3), transformer(classes=3)):
        name = type(network.model).__name__
        network.model.save_pretrained(tmp_path / name)
        found, facts = from_folder(tmp_path / name)
        assert torch.equal(found(x, time, labels), network(x, time, labels))
        assert not found.training
        assert (facts.model, facts.image_shape, facts.classes) == (name, (2, 8, 8), 3)
        assert facts.scheduler is facts.prediction_type is facts.alphas_cumprod is facts.steps is None

        spec = json.loads(json.dumps(found.limbeck_spec))
        rebuilt = build_velocity_network(spec.pop("name"), **spec).eval()
        rebuilt.load_state_dict(found.state_dict())
        assert torch.equal(rebuilt(x, time, labels), network(x, time, labels))


def test_a_pipeline_says_how_it_was_trained(unet: Callable[..., nn.Module], tmp_path: Path) -> None:
    scheduler = diffusers.DDPMScheduler(
        num_train_timesteps=100, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"
    )
    network, (x, time) = unet(), inputs()
    found, facts = from_folder(pipeline(tmp_path, network, scheduler))
    assert torch.equal(found(x, time), network(x, time))
    assert (facts.scheduler, facts.prediction_type, facts.steps) == ("DDPMScheduler", "v_prediction", 100)
    assert (facts.beta_schedule, facts.beta_start, facts.beta_end) == ("squaredcos_cap_v2", 1e-4, 0.02)
    assert torch.equal(facts.alphas_cumprod, scheduler.alphas_cumprod)
    assert facts.autoencoder is None
    assert not facts.learned_sigma


def test_a_pipeline_of_a_flow(transformer: Callable[..., nn.Module], tmp_path: Path) -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    folder = pipeline(tmp_path, transformer(classes=3), scheduler, "transformer")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "vae": ["diffusers", "AutoencoderKL"]}))
    _, facts = from_folder(folder)
    assert (facts.prediction_type, facts.steps, facts.alphas_cumprod) == ("flow", 1000, None)
    assert facts.autoencoder == "AutoencoderKL"


def test_schedules_that_were_given_and_schedules_of_another_kind(
    unet: Callable[..., nn.Module], tmp_path: Path
) -> None:
    folder = pipeline(tmp_path / "given", unet(), diffusers.DDPMScheduler(trained_betas=[0.1, 0.2, 0.3]))
    _, facts = from_folder(folder)
    assert (facts.beta_schedule, facts.beta_start) == ("trained", None)
    torch.testing.assert_close(facts.alphas_cumprod, torch.tensor([0.9, 0.72, 0.504]))
    _, facts = from_folder(pipeline(tmp_path / "edm", unet(), diffusers.EDMEulerScheduler()))
    assert (facts.scheduler, facts.prediction_type, facts.alphas_cumprod) == ("EDMEulerScheduler", None, None)


def test_a_pipeline_in_one_folder(unet: Callable[..., nn.Module], tmp_path: Path) -> None:
    folder = pipeline(tmp_path, unet(), diffusers.DDPMScheduler())
    for file in (*(folder / "unet").iterdir(), *(folder / "scheduler").iterdir()):
        file.rename(folder / file.name)
    (folder / "unet").rmdir()
    (folder / "scheduler").rmdir()
    assert from_folder(folder)[1].prediction_type == "epsilon"


def test_variances_that_were_learned_are_left_out(transformer: Callable[..., nn.Module], tmp_path: Path) -> None:
    network, (x, time) = transformer(classes=3, config={"out_channels": 4}), inputs()
    network.model.save_pretrained(tmp_path)
    found, facts = from_folder(tmp_path)
    assert facts.learned_sigma
    assert torch.equal(found(x, time), network.model(x, time, torch.full((3,), 3)).sample[:, :2])


@pytest.mark.parametrize("settings", [{"variant": "fp16"}, {"max_shard_size": "5KB"}])
def test_other_names_of_weights(unet: Callable[..., nn.Module], tmp_path: Path, settings: dict[str, str]) -> None:
    network, (x, time) = unet(), inputs()
    network.model.save_pretrained(tmp_path, **settings)
    assert not (tmp_path / "diffusion_pytorch_model.safetensors").exists()
    assert torch.equal(from_folder(tmp_path)[0](x, time), network(x, time))


def test_old_names_of_attention_are_understood(unet: Callable[..., nn.Module], tmp_path: Path) -> None:
    network, (x, time) = unet(), inputs()
    network.model.save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    weights = {}
    for key, weight in load_file(file).items():
        for new, old in names.items():
            key = key.replace(new, old)
        weights[key] = weight
    save_file(weights, file)
    assert any(".proj_attn." in key for key in weights)
    assert torch.equal(from_folder(tmp_path)[0](x, time), network(x, time))


def test_half_precision_is_read_into_single(unet: Callable[..., nn.Module], tmp_path: Path) -> None:
    unet().half().model.save_pretrained(tmp_path)
    found, _ = from_folder(tmp_path)
    assert {weight.dtype for weight in found.parameters()} == {torch.float32}


def test_a_size_that_is_not_said(unet: Callable[..., nn.Module], tmp_path: Path) -> None:
    unet(config={"sample_size": None}).model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="does not say the size of images; give image_size"):
        from_folder(tmp_path)
    assert from_folder(tmp_path, image_size=8)[1].image_shape == (2, 8, 8)


def test_folders_that_cannot_be_read(unet: Callable[..., nn.Module], tmp_path: Path) -> None:
    good = tmp_path / "good"
    unet().model.save_pretrained(good)
    weights = load_file(good / "diffusion_pytorch_model.safetensors")
    config = json.loads((good / "config.json").read_text())
    count = iter(range(100))

    def folder() -> Path:
        return Path(shutil.copytree(good, tmp_path / f"bad{next(count)}"))

    def refused(place: Path, match: str) -> None:
        with pytest.raises(CheckpointError, match=match):
            from_folder(place)

    refused(tmp_path / "none", "is not a folder; nothing is fetched")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "neither a config.json nor a model_index.json")
    bad = folder()
    (bad / "config.json").write_text("{")
    refused(bad, r"config.json cannot be read")
    (bad / "config.json").write_text(json.dumps({**config, "_class_name": "UNet2DConditionModel"}))
    refused(bad, "is of a UNet2DConditionModel; read are UNet2DModel and DiTTransformer2DModel")
    (bad / "config.json").write_text(json.dumps({**config, "out_channels": 5}))
    refused(bad, "cannot be read|do not fit its config.json|takes 2 channels and gives 5")
    (bad / "config.json").write_text(json.dumps({**config, "class_embed_type": "timestep"}))
    refused(bad, "takes something else than labels")
    bad = folder()
    save_file(
        {k: v for k, v in weights.items() if k != "conv_in.bias"}, bad / "diffusion_pytorch_model.safetensors"
    )
    refused(bad, r"do not fit its config.json: missing keys \['conv_in.bias'\]")
    save_file({**weights, "more": torch.zeros(1)}, bad / "diffusion_pytorch_model.safetensors")
    refused(bad, r"unexpected keys \['more'\]")
    (bad / "diffusion_pytorch_model.safetensors").write_bytes(b"nonsense")
    refused(bad, "the UNet2DModel in .* cannot be read")
    (bad / "diffusion_pytorch_model.safetensors").rename(bad / "diffusion_pytorch_model.bin")
    refused(bad, "diffusion_pytorch_model.bin, a pickle")
    (bad / "diffusion_pytorch_model.bin").unlink()
    refused(bad, r"holds no diffusion_pytorch_model.safetensors\.")


def test_pipelines_that_cannot_be_read(unet: Callable[..., nn.Module], tmp_path: Path) -> None:
    folder = pipeline(tmp_path, unet(), diffusers.DDPMScheduler())
    settings = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    for name in ("DDPMPipeline", "NoScheduler"):
        (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({**settings, "_class_name": name}))
        with pytest.raises(CheckpointError, match=f"is of a {name}"):
            from_folder(folder)
    (folder / "model_index.json").write_text(json.dumps({"vae": ["diffusers", "AutoencoderKL"]}))
    with pytest.raises(CheckpointError, match="no unet and no transformer; it has: vae"):
        from_folder(folder)


def test_nothing_is_fetched(
    monkeypatch: pytest.MonkeyPatch, unet: Callable[..., nn.Module], tmp_path: Path
) -> None:
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    from_folder(pipeline(tmp_path, unet(), diffusers.DDPMScheduler()))


def test_says_what_cannot_be(unet: Callable[..., nn.Module], transformer: Callable[..., nn.Module]) -> None:
    x, time = inputs()
    with pytest.raises(ModelError, match="28 x 14 cannot be halved 3 times"):
        diffusers_unet(image_shape=(1, 28, 14))
    with pytest.raises(ModelError, match="12 channels cannot be divided among heads of attention of 8"):
        diffusers_unet(image_shape=(1, 8, 8), width=12, multiples=(1,))
    with pytest.raises(ModelError, match="UNet2DModel has no setting 'drop_out'"):
        unet(config={"drop_out": 0.1})
    with pytest.raises(ModelError, match="UNet2DModel cannot be built"):
        unet(config={"down_block_types": ["NoBlock", "NoBlock"]})
    with pytest.raises(ModelError, match="square images, not 8 x 16"):
        diffusers_transformer(image_shape=(1, 8, 16))
    with pytest.raises(ModelError, match="7 x 7 cannot be cut into patches of 2 x 2"):
        diffusers_transformer(image_shape=(1, 7, 7))
    with pytest.raises(ModelError, match="width of 16 cannot be divided among 3 heads"):
        diffusers_transformer(image_shape=(1, 8, 8), width=16, heads=3)
    for make in (unet, transformer):
        with pytest.raises(ModelError, match="a network that knows none"):
            make()(x, time, torch.tensor([0, 1, -1]))
        with pytest.raises(ModelError, match="label 3 is beyond the 3 classes"):
            make(classes=3)(x, time, torch.tensor([0, 3, -1]))
        with pytest.raises(ModelError, match="know no interval"):
            make()(x, time, None, time)
        with pytest.raises(ShapeError, match=r"\(n, 2, 8, 8\), not \(3, 2, 4, 4\)"):
            make()(x[..., :4, :4], time)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"limbeck\[flow\]"):
        diffusers_unet(image_shape=(2, 8, 8), **UNET)
