"""Every kind of teacher, with the exact network of a Gaussian, gives the exact velocity of the Gaussian."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import ModelError
from limbeck.flow._registry import PARAMETERISATIONS
from limbeck.flow.direction import require_direction
from limbeck.flow.velocity import Flow, Guided
from limbeck.specs import Spec

MEAN, STD = 0.4, 0.3
T = torch.tensor([0.02, 0.1, 0.35, 0.5, 0.8, 0.9, 0.98], dtype=torch.float64)


def exact(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Oracle 2 of the page: the flow of N(m, s^2) and independent noise."""
    t, s = t.view(-1, 1, 1, 1), STD**2
    return -MEAN + (t - (1 - t) * s) / ((1 - t) ** 2 * s + t**2) * (x - (1 - t) * MEAN)


def denoised(y: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    sigma = sigma.view(-1, 1, 1, 1)
    return (STD**2 * y + sigma**2 * MEAN) / (STD**2 + sigma**2)


class Exact(nn.Module):
    """A network that was trained perfectly, whatever it was asked to put out."""

    def __init__(self, output):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.output = output

    def forward(self, x, time, labels=None):
        return self.output(x, time.view(-1, 1, 1, 1))


def edm_inner(x, c_noise, sd=0.5):
    sigma = (4 * c_noise).exp()
    size = sigma**2 + sd**2
    y = x * size.sqrt()
    return (denoised(y, sigma.flatten()) - sd**2 / size * y) / (sigma * sd / size.sqrt())


def ve_inner(y, c_noise):
    sigma = 2 * c_noise.exp()
    return (denoised(y, sigma.flatten()) - y) / sigma


def vp_inner(x, time, steps=1000):
    T = time / (steps - 1)
    sigma = torch.expm1(19.9 * T**2 / 2 + 0.1 * T).sqrt()
    y = x * (1 + sigma**2).sqrt()
    return (y - denoised(y, sigma.flatten())) / sigma


def ddpm_inner(predicts):
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    log_bar = torch.cumsum(torch.log1p(-betas), 0)
    table = (torch.expm1(-log_bar)).log() / 2

    def output(x, step):
        low = step.floor().long().clamp(max=998)
        log_sigma = table[low] + (step - low) * (table[low + 1] - table[low])
        sigma = log_sigma.exp()
        alpha = 1 / (1 + sigma**2).sqrt()
        data = denoised(x / alpha, sigma.flatten())
        noise = (x - alpha * data) / (sigma * alpha)
        if predicts == "sample":
            return data
        return noise if predicts == "epsilon" else alpha * noise - sigma * alpha * data

    return output


def flow_data(x, t):
    t_flat = t.flatten()
    return x - t * exact(x, t_flat)


NETWORKS = {
    "velocity": ({}, lambda x, t: exact(x, t.flatten())),
    "velocity backwards": (
        {"name": "velocity", "direction": "noise_to_data", "time_scale": 999.0},
        lambda x, t: -exact(x, 1 - t.flatten() / 999),
    ),
    "data": ({}, flow_data),
    "noise": ({}, lambda x, t: x + (1 - t) * exact(x, t.flatten())),
    "edm": ({}, edm_inner),
    "edm_ve": ({}, ve_inner),
    "edm_vp": ({}, vp_inner),
    "ddpm": ({}, ddpm_inner("epsilon")),
    "ddpm velocity": ({"name": "ddpm", "predicts": "v_prediction"}, ddpm_inner("v_prediction")),
    "ddpm data": ({"name": "ddpm", "predicts": "sample"}, ddpm_inner("sample")),
}


def built(name):
    settings, output = NETWORKS[name]
    return Flow(Exact(output), Spec(**{"name": name, **settings}), image_shape=(1, 2, 2), rounds=0)


def test_all_are_tested():
    assert set(PARAMETERISATIONS) <= {{**{"name": n}, **s}["name"] for n, (s, _) in NETWORKS.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_velocity_is_exact(name):
    x = torch.randn(len(T), 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(built(name)(x, T), exact(x, T), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_denoiser_is_exact(name):
    flow = built(name)
    sigma = torch.tensor([0.02, 0.3, 2.0, 30.0], dtype=torch.float64)
    y = torch.randn(4, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * sigma.view(
        -1, 1, 1, 1
    )
    torch.testing.assert_close(flow.denoise(y, sigma), denoised(y, sigma), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["edm", "velocity"])
def test_ends_are_finite_in_single_precision(name):
    flow = built(name)
    x = torch.randn(2, 1, 2, 2)
    assert flow(x.double(), torch.tensor([0.0, 1.0], dtype=torch.float64)).isfinite().all() or name == "edm"
    assert flow(x.double(), torch.tensor([1e-5, 1 - 1e-5], dtype=torch.float64)).isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_direction_is_right(name):
    flow = _single(built(name))
    require_direction(flow)
    require_direction(flow, MEAN + STD * torch.randn(200, 1, 2, 2, generator=torch.Generator().manual_seed(3)))


def _single(flow):
    inner = flow.network

    class Cast(nn.Module):
        def __init__(self):
            super().__init__()
            self.anchor = nn.Parameter(torch.zeros(1))

        def forward(self, x, time, labels=None):
            return inner(x.double(), time.double()).float()

    flow.network = Cast()
    return flow


@pytest.mark.parametrize(
    "output",
    [
        lambda x, t: -exact(x, t.flatten()),
        lambda x, t: -exact(x, 1 - t.flatten()),
    ],
)
def test_reversed_time_is_refused(output):
    flow = _single(Flow(Exact(output), image_shape=(1, 2, 2)))
    with pytest.raises(ModelError, match=r"backwards.*noise_to_data"):
        require_direction(flow)
    real = MEAN + STD * torch.randn(200, 1, 2, 2, generator=torch.Generator().manual_seed(3))
    with pytest.raises(ModelError, match="on real data"):
        require_direction(flow, real)


def test_trained_range_is_where_sampling_begins():
    assert built("edm").begin == pytest.approx(80 / 81)
    assert built("velocity").begin == 1 - 1e-5
    assert built("edm_vp").begin == pytest.approx(0.99347, abs=1e-4)


def test_guidance_goes_beyond_the_class():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.anchor = nn.Parameter(torch.zeros(1))

        def forward(self, x, time, labels=None):
            return labels.to(x.dtype).view(-1, 1, 1, 1).expand_as(x)

    flow = Flow(Two(), image_shape=(1, 2, 2), classes=5)
    found = Guided(flow, 2.0)(torch.zeros(1, 1, 2, 2), torch.tensor([0.5]), torch.tensor([3]))
    assert (found == -1 + 2 * (3 - -1)).all()
    with pytest.raises(ModelError, match="needs labels"):
        Guided(flow, 2.0)(torch.zeros(1, 1, 2, 2), torch.tensor([0.5]))
    with pytest.raises(ModelError, match="beyond the 5 classes"):
        flow(torch.zeros(1, 1, 2, 2), torch.tensor([0.5]), torch.tensor([5]))


def test_a_velocity_of_diffusion_keeps_its_digits_near_the_data():
    meaning = PARAMETERISATIONS["ddpm"](predicts="v_prediction")
    x = torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    t = torch.full((4,), 1e-5)
    exact = meaning.velocity(lambda x, time, labels: 0.3 * x, x.double(), t.double(), None)
    found = meaning.velocity(lambda x, time, labels: 0.3 * x, x, t, None)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)


def test_times_told_at_the_ends_are_those_of_training():
    told = []
    meaning = PARAMETERISATIONS["edm"]()
    for t in (0.0, 1e-5):
        meaning.velocity(
            lambda x, time, labels: told.append(time) or x, torch.zeros(1, 1, 1, 1), torch.tensor([t]), None
        )
    assert torch.equal(told[0], told[1])
