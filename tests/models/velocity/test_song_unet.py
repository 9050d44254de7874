"""DDPM++ and NCSN++: the recorded case, published sizes, and what a flow asks of a network."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from limbeck.errors import ModelError, ShapeError
from limbeck.models.velocity.edm_blocks import ResampledConv
from limbeck.models.velocity.song_unet import SongUNet, ddpmpp, ncsnpp

TINY = {"width": 8, "multiples": (1, 2), "blocks": 1, "attention": (4,)}


@pytest.fixture
def recorded(shared: Path) -> dict[str, Tensor]:
    """A tiny network of the authors' program with its weights and outputs."""
    with np.load(shared / "golden/flow/unet_songunet.npz", allow_pickle=False) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


@pytest.fixture
def tiny() -> Callable[..., nn.Module]:
    def make(**changes) -> nn.Module:
        torch.manual_seed(0)
        network = ncsnpp(image_shape=(2, 8, 8), **{**TINY, **changes})
        return roused(network).eval()

    return make


def roused(network: nn.Module) -> nn.Module:
    """Weights away from their nearly-zero beginning, so that every part shows in the output."""
    for name, weight in network.named_parameters():
        if "map_interval" not in name and weight.ndim > 1:
            nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    return network


def inputs(n: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 2, 8, 8, generator=generator), torch.rand(n, generator=generator)


def millions(network: nn.Module) -> float:
    return sum(weight.numel() for weight in network.parameters()) / 1e6


def test_equals_the_recorded_outputs(recorded: dict[str, Tensor]) -> None:
    network = SongUNet(
        resolution=8,
        in_channels=3,
        out_channels=3,
        augment_dim=9,
        width=16,
        multiples=(1, 2),
        channel_mult_emb=2,
        channel_mult_noise=2,
        blocks=1,
        attention=(4,),
        dropout=0.0,
        embedding="fourier",
        encoder="residual",
        resample_filter=(1, 3, 3, 1),
    ).eval()
    weights = {k.removeprefix("sd/model."): v for k, v in recorded.items() if k.startswith("sd/")}
    assert [*network.state_dict()] == [*weights], "the names and the order of a released checkpoint"
    network.load_state_dict(weights)
    x, time = recorded["x"], recorded["raw_noise_labels"]
    torch.testing.assert_close(network(x, time), recorded["raw"], rtol=1e-4, atol=1e-5)
    not_augmented = network(x, time, augment=torch.zeros(3, 9))
    torch.testing.assert_close(not_augmented, recorded["raw"], rtol=1e-4, atol=1e-5)


def test_published_sizes() -> None:
    with torch.device("meta"):
        assert millions(ddpmpp(image_shape=(3, 32, 32))) == pytest.approx(55.7, abs=0.05)
        assert millions(ddpmpp(image_shape=(3, 64, 64), multiples=(1, 2, 2, 2))) == pytest.approx(61.8, abs=0.05)
        assert millions(ncsnpp(image_shape=(3, 32, 32))) == pytest.approx(56.4, abs=0.05)
        assert millions(ncsnpp(image_shape=(3, 64, 64), multiples=(1, 2, 2, 2))) == pytest.approx(62.8, abs=0.05)


@pytest.mark.parametrize(
    ("encoder", "decoder", "adaptive"),
    list(product(["standard", "skip", "residual"], ["standard", "skip"], [False, True])),
)
def test_every_kind_of_encoder_and_decoder_learns(encoder: str, decoder: str, adaptive: bool) -> None:
    torch.manual_seed(0)
    network = roused(
        SongUNet(
            resolution=8,
            in_channels=2,
            out_channels=2,
            encoder=encoder,
            decoder=decoder,
            adaptive_scale=adaptive,
            resample_filter=(1, 3, 3, 1),
            augment_dim=9,
            classes=3,
            **TINY,
        )
    )
    x, time = inputs()
    out = network(x, time, torch.tensor([0, 2, -1]))
    assert out.shape == x.shape
    out.square().sum().backward()
    idle = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert not idle, "parameters outside the graph break training over several processes"
    assert ("enc.4x4_aux_skip.weight" in network.state_dict()) == (encoder == "skip")
    assert ("dec.8x8_aux_up.resample_filter" in network.state_dict()) == (decoder == "skip")


def test_without_weights_resampling_keeps_a_constant_inside() -> None:
    constant = torch.full((1, 2, 8, 8), 3.0)
    for taps in ((1, 1), (1, 3, 3, 1)):
        down = ResampledConv(2, 2, kernel=0, direction="down", taps=taps)(constant)
        up = ResampledConv(2, 2, kernel=0, direction="up", taps=taps)(constant)
        assert down.shape[-1] == 4
        assert up.shape[-1] == 16
        torch.testing.assert_close(down[..., 1:-1, 1:-1], torch.full((1, 2, 2, 2), 3.0))
        torch.testing.assert_close(up[..., 1:-1, 1:-1], torch.full((1, 2, 14, 14), 3.0))


def test_begins_with_nearly_nothing_and_uniform_weights() -> None:
    torch.manual_seed(0)
    network = ddpmpp(image_shape=(2, 8, 8), **TINY)
    x, time = inputs()
    assert float(network(x, time).detach().abs().max()) < 1e-3
    first = network.enc["8x8_conv"]
    assert float(first.weight.detach().abs().max()) <= (6 / (9 * (2 + 8))) ** 0.5
    assert not first.bias.detach().any()


def test_no_class_and_no_labels_are_the_same(tiny: Callable[..., nn.Module]) -> None:
    network, (x, time) = tiny(classes=3), inputs()
    none = network(x, time)
    torch.testing.assert_close(network(x, time, torch.full((3,), -1)), none)
    assert not torch.allclose(network(x, time, torch.tensor([0, 1, 2])), none, atol=1e-4)


def test_an_interval_changes_nothing_at_first(tiny: Callable[..., nn.Module]) -> None:
    flow, average, (x, time) = tiny(), tiny(interval=True), inputs()
    missing = average.load_state_dict(flow.state_dict(), strict=False)
    assert missing.missing_keys == ["map_interval.weight", "map_interval.bias"]
    assert not missing.unexpected_keys
    torch.testing.assert_close(average(x, time, None, time / 2), flow(x, time))
    nn.init.normal_(average.map_interval.weight)
    assert not torch.allclose(average(x, time, None, time / 2), flow(x, time), atol=1e-4)


# Torch compiles its rules for forward derivatives with something that it has deprecated itself.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", [ddpmpp, ncsnpp])
def test_forward_derivatives(kind: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    network = roused(kind(image_shape=(2, 8, 8), classes=3, interval=True, **TINY)).eval().double()
    x, time = (part.double() for part in inputs())
    labels, step = torch.tensor([0, 2, -1]), 1e-6
    to = (torch.randn_like(x), torch.ones_like(time), torch.ones_like(time))

    def at(x: Tensor, time: Tensor, interval: Tensor) -> Tensor:
        return network(x, time, labels, interval)

    here = (x, time, time / 2)
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


def test_says_what_cannot_be() -> None:
    with pytest.raises(ModelError, match=r"28 x 28 cannot be halved 3 times.*multiple of 8"):
        ddpmpp(image_shape=(1, 28, 28), multiples=(1, 2, 2, 2))
    with pytest.raises(ModelError, match="square images, not 8 x 16"):
        ncsnpp(image_shape=(1, 8, 16))
    with pytest.raises(ModelError, match="150 channels cannot be normalised in 32 groups"):
        ddpmpp(image_shape=(1, 8, 8), width=150, multiples=(1, 1))
    with pytest.raises(ModelError, match="width has to be even"):
        ddpmpp(image_shape=(1, 8, 8), width=9, multiples=(1, 1))


def test_says_what_it_was_not_built_for(tiny: Callable[..., nn.Module]) -> None:
    x, time = inputs()
    with pytest.raises(ModelError, match="label 3 is beyond the 3 classes"):
        tiny(classes=3)(x, time, torch.tensor([0, 3, -1]))
    with pytest.raises(ModelError, match="a network that knows none"):
        tiny()(x, time, torch.tensor([0, 1, -1]))
    with pytest.raises(ModelError, match="interval: true"):
        tiny()(x, time, None, time)
    with pytest.raises(ModelError, match=r"takes none: build it with augment_dim"):
        tiny(augment_dim=0)(x, time, augment=torch.zeros(3, 9))
    with pytest.raises(ModelError, match=r"takes \(3, 9\)"):
        tiny()(x, time, augment=torch.zeros(3, 6))
    with pytest.raises(ShapeError, match=r"\(n, 2, 8, 8\), not \(3, 2, 4, 4\)"):
        tiny()(x[..., :4, :4], time)
