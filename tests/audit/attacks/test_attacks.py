from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.audit.attacks import (
    ATTACKS,
    attack_normalised,
    choose_budget,
    craft,
    fgsm,
    fooled,
    ifgsm,
    on_successful,
    pgd,
    pgd_l2,
    sign_noise,
)
from limbeck.errors import ConfigError, DataError, ModelError, ShapeError, UnknownNameError

IMAGES = torch.rand(6, 1, 5, 5, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))


def linear() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(25, 3))


def predicted(net: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return net.eval()(images).argmax(dim=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "pgd_l2"])
@given(eps=st.floats(0.001, 0.5))
@settings(max_examples=8, deadline=None)
def test_inside_the_ball_and_the_pixels(name: str, dtype: torch.dtype, eps: float) -> None:
    steps = {} if name in ("fgsm", "sign_noise") else {"step": eps / 2}
    images = IMAGES.to(dtype)
    found = craft(name, network().to(dtype), images, LABELS, eps=eps, **steps)
    assert found.dtype == dtype
    assert (found - images).abs().max() <= eps + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert not found.requires_grad


@given(eps=st.floats(0.01, 2.0))
@settings(max_examples=10, deadline=None)
def test_inside_the_euclidean_ball(eps: float) -> None:
    found = pgd_l2(network(), IMAGES, LABELS, eps=eps, step=eps / 2)
    assert (found - IMAGES).flatten(1).norm(dim=1).max() <= eps * (1 + 1e-5)
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "sign_noise"])
def test_the_loss_of_a_linear_network_does_not_fall(name: str) -> None:
    net = linear()
    if name.startswith("pgd"):
        found = craft(name, net, IMAGES, LABELS, start=0.0)
    else:
        found = craft(name, net, IMAGES, LABELS)
    before, after = (F.cross_entropy(net(x), LABELS, reduction="none") for x in (IMAGES, found))
    assert bool((after >= before - 1e-6).all())


def test_one_long_step_is_fgsm() -> None:
    assert torch.equal(
        ifgsm(network(), IMAGES, LABELS, step=8 / 255, iterations=1), fgsm(network(), IMAGES, LABELS)
    )


def test_dead_pixels_stay() -> None:
    net = linear()
    net[1].weight.data[:, :5] = 0
    for name in ("fgsm", "ifgsm", "mifgsm"):
        found = craft(name, net, IMAGES, LABELS)
        assert torch.equal(found.flatten(1)[:, :5], IMAGES.flatten(1)[:, :5])
    net[1].weight.data.zero_()
    assert torch.equal(pgd_l2(net, IMAGES, LABELS, start=0.0), IMAGES)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_network_is_left_alone(name: str) -> None:
    net = network().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    images = IMAGES.clone()
    craft(name, net, images, LABELS)
    assert net.training
    assert torch.equal(images, IMAGES)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("name", ATTACKS)
def test_batches_do_not_matter(name: str) -> None:
    net = network()
    state = torch.get_rng_state()
    whole = craft(name, net, IMAGES, LABELS, index=torch.arange(6) + 40)
    parts = craft(name, net, IMAGES, LABELS, index=torch.arange(6) + 40, batch_size=4)
    torch.testing.assert_close(whole, parts)
    assert torch.equal(torch.get_rng_state(), state)


def test_random_starts() -> None:
    net = linear()
    index = torch.tensor([7])
    one = pgd(net, IMAGES[:1], LABELS[:1], index, seed=1, iterations=1, step=0.001)
    assert torch.equal(one, pgd(net, IMAGES[:1], LABELS[:1], index, seed=1, iterations=1, step=0.001))
    assert not torch.equal(one, pgd(net, IMAGES[:1], LABELS[:1], index, seed=2, iterations=1, step=0.001))
    assert torch.equal(pgd(net, IMAGES, LABELS, start=0.0, iterations=5), ifgsm(net, IMAGES, LABELS))


def test_noise() -> None:
    grey = torch.full((4, 3, 8, 8), 0.5)
    found = sign_noise(None, grey, torch.zeros(4, dtype=torch.int64), eps=0.1)
    assert torch.allclose((found - grey).abs(), torch.full_like(grey, 0.1))
    assert abs((found > grey).double().mean().item() - 0.5) < 0.1


def test_fooling() -> None:
    net = network()
    teacher = fooled(predicted(net, IMAGES), predicted(net, fgsm(net, IMAGES, LABELS, eps=0.5)))
    assert teacher.sum() > 0
    itself = on_successful(teacher, teacher)
    assert itself.nanmean() == 1
    assert int((~itself.isnan()).sum()) == int(teacher.sum())
    assert on_successful(teacher, torch.zeros(6)).isnan().all()
    assert fooled(predicted(net, IMAGES), predicted(net, IMAGES)).sum() == 0
    with pytest.raises(ShapeError, match="argmax"):
        fooled(torch.rand(3), torch.rand(3))
    with pytest.raises(ShapeError, match="same images"):
        on_successful(teacher, teacher[:3])


def test_a_budget_is_found() -> None:
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(200, 1, 5, 5, generator=generator)
    net = linear().eval()
    labels = predicted(net, images)
    budget = choose_budget(net, images, labels, wanted=0.5, tolerance=0.03)
    assert budget.rate == pytest.approx(0.5, abs=0.03)
    assert budget.step == budget.eps / 4
    assert budget.count == 200
    again = predicted(net, ifgsm(net, images, labels, **budget.settings))
    assert fooled(labels, again).mean().item() == pytest.approx(budget.rate)
    most = choose_budget(net, images, labels, wanted=0.999, tolerance=1e-6)
    assert most.eps <= 64 / 255 + 1e-9

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.sum(dim=(1, 2, 3)) * 0 + 1, x.sum(dim=(1, 2, 3)) * 0], dim=1)

    never = choose_budget(Constant(), images, torch.zeros(200, dtype=torch.int64))
    assert never.rate == 0


def test_normalised_images() -> None:
    net = network()
    mean, std = (0.4,), (0.25,)
    found = attack_normalised(net, (IMAGES - 0.4) / 0.25, LABELS, mean=mean, std=std, eps=0.1, step=0.05)
    assert (found * 0.25 + 0.4 - IMAGES).abs().max() <= 0.1 + 1e-5
    with pytest.raises(DataError, match="normalised by something else"):
        attack_normalised(net, IMAGES * 9, LABELS, mean=mean, std=std)
    with pytest.raises(ConfigError, match="above 0"):
        attack_normalised(net, IMAGES, LABELS, mean=mean, std=(0.0,))


@pytest.mark.parametrize("eps", [0.0, -0.1, 8.0, float("nan")])
def test_a_budget_out_of_range(eps: float) -> None:
    for name in ("fgsm", "sign_noise"):
        with pytest.raises(ConfigError, match=r"units of \[0, 1\]"):
            craft(name, network(), IMAGES, LABELS, eps=eps)


def test_what_is_wrong_is_said() -> None:
    net = network()
    with pytest.raises(ConfigError, match="8 looks like 8/255"):
        ifgsm(net, IMAGES, LABELS, eps=8)
    with pytest.raises(ConfigError, match="at most 5; got 128"):
        pgd_l2(net, IMAGES, LABELS, eps=128)
    with pytest.raises(ConfigError, match="step is in units"):
        ifgsm(net, IMAGES, LABELS, step=2.5)
    with pytest.raises(ConfigError, match="longer than the ball"):
        ifgsm(net, IMAGES, LABELS, eps=0.1, step=0.3)
    with pytest.raises(ConfigError, match="at least 1"):
        ifgsm(net, IMAGES, LABELS, iterations=0)
    with pytest.raises(DataError, match="divided by 255"):
        ifgsm(net, IMAGES * 255, LABELS)
    with pytest.raises(DataError, match="divide by 255"):
        ifgsm(net, (IMAGES * 255).to(torch.uint8), LABELS)
    with pytest.raises(DataError, match="look normalised"):
        ifgsm(net, (IMAGES - 0.5) * 2, LABELS)
    with pytest.raises(DataError, match="labels run from 0 to 3"):
        ifgsm(net, IMAGES, LABELS.clamp_min(1) * 2 - 1 - (LABELS == 0).long())
    with pytest.raises(ShapeError, match="labels"):
        ifgsm(net, IMAGES, LABELS[:2])
    with pytest.raises(ConfigError, match="Did you mean 'iterations'"):
        craft("ifgsm", net, IMAGES, LABELS, iteration=3)
    with pytest.raises(UnknownNameError, match="Did you mean 'ifgsm'"):
        craft("ifgms", net, IMAGES, LABELS)
    with pytest.raises(ConfigError, match=r"85 % is 0\.85"):
        choose_budget(net, IMAGES, LABELS, wanted=85)

    class Rounds(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().flatten(1)

    with pytest.raises(ModelError, match="takes no gradients"):
        fgsm(Rounds(), IMAGES, LABELS)
