"""ADM: the recorded case, the published size, and what a flow asks of a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.models.velocity.dhariwal_unet import DhariwalUNet, adm

TINY = {"width": 8, "multiples": (1, 2), "blocks": 1, "attention": (4,), "head_channels": 8}


@pytest.fixture
def recorded(shared: Path) -> dict[str, Tensor]:
    """A tiny network of the authors' program with its weights and outputs."""
    with np.load(shared / "golden/flow/unet_dhariwal.npz", allow_pickle=False) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


@pytest.fixture
def tiny() -> Callable[..., nn.Module]:
    def make(**changes) -> nn.Module:
        torch.manual_seed(0)
        network = adm(image_shape=(2, 8, 8), **{**TINY, **changes})
        for name, weight in network.named_parameters():
            # Away from the zeros that they begin with, so that every part shows in the output.
            if "map_interval" not in name and weight.ndim > 1:
                nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
        return network.eval()

    return make


def inputs(n: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 2, 8, 8, generator=generator), torch.rand(n, generator=generator)


def test_equals_the_recorded_outputs(recorded: dict[str, Tensor]) -> None:
    network = DhariwalUNet(
        resolution=8,
        in_channels=3,
        out_channels=3,
        classes=5,
        width=16,
        multiples=(1, 2),
        channel_mult_emb=2,
        blocks=1,
        attention=(4,),
        dropout=0.0,
    ).eval()
    weights = {k.removeprefix("sd/model."): v for k, v in recorded.items() if k.startswith("sd/")}
    assert {*network.state_dict()} == {*weights}
    network.load_state_dict(weights)
    found = network(recorded["x"], recorded["raw_noise_labels"], recorded["labels"].argmax(1))
    torch.testing.assert_close(found, recorded["raw"], rtol=1e-4, atol=1e-5)


def test_published_size() -> None:
    with torch.device("meta"):
        network = adm(image_shape=(3, 64, 64), classes=1000)
    assert sum(w.numel() for w in network.parameters()) / 1e6 == pytest.approx(295.9, abs=0.05)
    assert network.enc["32x32_block0"].heads == 6
    assert network.dec["8x8_in0"].heads == 12
    assert network.enc["64x64_block0"].heads == 0


def test_begins_with_nothing() -> None:
    x, time = inputs()
    assert not adm(image_shape=(2, 8, 8), classes=3, **TINY)(x, time).detach().any()


def test_heads_do_not_mix_before_they_are_projected(tiny: Callable[..., nn.Module]) -> None:
    block = tiny().dec["4x4_in0"]
    assert block.heads == 2
    x = torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        block.proj.weight.copy_(torch.eye(16)[:, :, None, None])
        before = block._attention(x)
        block.qkv.weight[:24] *= 2  # query, key and value of the first head
        after = block._attention(x)
    assert not torch.allclose(before[:, :8], after[:, :8])
    torch.testing.assert_close(before[:, 8:], after[:, 8:])


def test_attention_is_that_of_torch(tiny: Callable[..., nn.Module]) -> None:
    block = tiny().dec["4x4_in0"]
    x = torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(2))
    parts = block.qkv(block.norm2(x)).view(2, 2, 8, 3, 16).permute(3, 0, 1, 4, 2)
    mixed = nn.functional.scaled_dot_product_attention(*parts).transpose(-1, -2).reshape(2, 16, 4, 4)
    torch.testing.assert_close(block._attention(x), block.proj(mixed))


def test_every_parameter_takes_part(tiny: Callable[..., nn.Module]) -> None:
    network, (x, time) = tiny(classes=3, interval=True, augment_dim=9), inputs()
    network(x, time, torch.tensor([0, 2, -1])).square().sum().backward()
    assert not [name for name, weight in network.named_parameters() if weight.grad is None]


def test_no_class_and_no_labels_are_the_same(tiny: Callable[..., nn.Module]) -> None:
    network, (x, time) = tiny(classes=3), inputs()
    none = network(x, time)
    torch.testing.assert_close(network(x, time, torch.full((3,), -1)), none)
    assert not torch.allclose(network(x, time, torch.tensor([0, 1, 2])), none, atol=1e-4)


def test_an_interval_changes_nothing_at_first(tiny: Callable[..., nn.Module]) -> None:
    flow, average, (x, time) = tiny(), tiny(interval=True), inputs()
    missing = average.load_state_dict(flow.state_dict(), strict=False)
    assert missing.missing_keys == ["map_interval.weight", "map_interval.bias"]
    torch.testing.assert_close(average(x, time, None, time / 2), flow(x, time))
    nn.init.normal_(average.map_interval.weight)
    assert not torch.allclose(average(x, time, None, time / 2), flow(x, time), atol=1e-4)


# Torch compiles its rules for forward derivatives with something that it has deprecated itself.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
def test_forward_derivatives(tiny: Callable[..., nn.Module]) -> None:
    network = tiny(classes=3, interval=True).double()
    x, time = (part.double() for part in inputs())
    labels, step = torch.tensor([0, 2, -1]), 1e-6
    here, to = (x, time, time / 2), (torch.randn_like(x), torch.ones_like(time), torch.ones_like(time))

    def at(x: Tensor, time: Tensor, interval: Tensor) -> Tensor:
        return network(x, time, labels, interval)

    out, slope = torch.func.jvp(at, here, to)
    torch.testing.assert_close(out, at(*here))
    ahead, behind = (at(*(h + s * t for h, t in zip(here, to, strict=True))) for s in (step, -step))
    torch.testing.assert_close(slope, (ahead - behind) / (2 * step), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(tiny: Callable[..., nn.Module], dtype: torch.dtype) -> None:
    network, (x, time) = tiny(classes=3), inputs()
    labels = torch.tensor([0, 2, -1])
    whole = network(x, time, labels)
    with torch.autocast("cpu", dtype=dtype):
        halved = network(x, time, labels)
        embedding = network._embedding(time, labels, None, None)
    assert embedding.dtype == torch.float32
    assert float((halved - whole).detach().abs().max()) < 0.1 * float(whole.detach().abs().max())
    entirely = network.to(dtype)(x.to(dtype), time.to(dtype), labels)
    assert entirely.dtype == dtype
    assert bool(entirely.isfinite().all())


def test_says_what_cannot_be(tiny: Callable[..., nn.Module]) -> None:
    x, time = inputs()
    with pytest.raises(ModelError, match="28 x 28 cannot be halved 3 times"):
        adm(image_shape=(1, 28, 28))
    with pytest.raises(ModelError, match="square images, not 8 x 16"):
        adm(image_shape=(1, 8, 16))
    with pytest.raises(ModelError, match="too few for a head of attention of 64; give head_channels: 16"):
        adm(image_shape=(1, 8, 8), width=8, multiples=(1, 2), attention=(4,))
    with pytest.raises(ModelError, match="20 channels cannot be divided among 3 heads"):
        adm(image_shape=(1, 8, 8), width=20, multiples=(1, 1), attention=(4,), head_channels=6)
    with pytest.raises(ModelError, match="label 3 is beyond the 3 classes"):
        tiny(classes=3)(x, time, torch.tensor([0, 3, -1]))
    with pytest.raises(ModelError, match="a network that knows none"):
        tiny()(x, time, torch.tensor([0, 1, -1]))
    with pytest.raises(ModelError, match="interval: true"):
        tiny()(x, time, None, time)
