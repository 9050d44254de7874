from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from limbeck.errors import ConfigError, DataError, ModelError
from limbeck.measures import loss_barrier, mean_cross_entropy


def network(seed, width=6):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(4, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(), nn.Linear(width, 3)
    )


INPUTS = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(40) % 3
LOSS = mean_cross_entropy([(INPUTS[:30], LABELS[:30]), (INPUTS[30:], LABELS[30:])])
STATISTICS = INPUTS.split(10)


def test_one_network_has_no_barrier_with_itself() -> None:
    found = loss_barrier(network(0), network(0), LOSS, statistics=STATISTICS)
    assert found.height == 0
    assert found.losses.unique().numel() == 1
    assert found.shares.tolist() == pytest.approx([i / 10 for i in range(11)])


def test_ends_and_middle_by_hand() -> None:
    first, second = network(0), network(1)
    found = loss_barrier(first, second, LOSS, statistics=STATISTICS, points=5)
    for share, wanted in zip(found.shares.tolist(), found.losses.tolist(), strict=True):
        between = copy.deepcopy(first)
        with torch.no_grad():
            for mixed, a, b in zip(between.parameters(), first.parameters(), second.parameters(), strict=True):
                mixed.copy_(share * a + (1 - share) * b)
            between.eval()
            hidden = [between[0](batch) for batch in STATISTICS]
            between[1].running_mean.copy_(torch.stack([h.mean(0) for h in hidden]).mean(0))
            between[1].running_var.copy_(torch.stack([h.var(0) for h in hidden]).mean(0))
            assert LOSS(between) == pytest.approx(wanted, rel=1e-5)
    line = found.shares * found.losses[-1] + (1 - found.shares) * found.losses[0]
    assert found.height == pytest.approx((found.losses - line).max().item())
    back = loss_barrier(second, first, LOSS, statistics=STATISTICS, points=5)
    assert back.height == pytest.approx(found.height)
    assert back.losses.tolist() == pytest.approx(found.losses.flip(0).tolist())


def test_statistics_are_measured_anew() -> None:
    """Scaled weights in front of BatchNorm are the same network; with old statistics they would not be."""
    first = network(0)
    second = copy.deepcopy(first)
    with torch.no_grad():
        second[0].weight.mul_(50)
    found = loss_barrier(first, second, LOSS, statistics=STATISTICS)
    assert found.height == pytest.approx(0, abs=1e-3)


def test_given_networks_stay_as_they_are() -> None:
    sides = network(0), network(1)
    before = copy.deepcopy([side.state_dict() for side in sides])
    seen = []

    def loss(between):
        seen.append(between.training or any(m.training for m in between.modules()))
        return LOSS(between)

    loss_barrier(*sides, loss, statistics=STATISTICS, points=3)
    for side, state in zip(sides, before, strict=True):
        assert side.training
        assert side[1].momentum == 0.1
        for name, tensor in side.state_dict().items():
            assert torch.equal(tensor, state[name])
    assert seen == [False] * 3


def test_a_hill_between_two_valleys() -> None:
    first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.constant_(first.weight, 1.0)
    nn.init.constant_(second.weight, -1.0)
    hill = lambda net: (1 - float(net.weight.detach()) ** 2) ** 2 + float(net.weight.detach())  # noqa: E731
    assert loss_barrier(first, second, hill).height == pytest.approx(1)


def test_errors() -> None:
    with pytest.raises(
        ModelError, match=r"tensor '0\.weight' is \(6, 4\) of torch.float32 in the first and \(7, 4\)"
    ):
        loss_barrier(network(0), network(0, width=7), LOSS, statistics=STATISTICS)
    other = network(0)
    other[2] = nn.Tanh()
    with pytest.raises(ModelError, match="module '2' is ReLU in the first and Tanh"):
        loss_barrier(network(0), other, LOSS, statistics=STATISTICS)
    with pytest.raises(ModelError, match="module '5' is missing in the first and ReLU"):
        loss_barrier(network(0), nn.Sequential(*network(0), nn.ReLU()), LOSS, statistics=STATISTICS)
    with pytest.raises(DataError, match="have BatchNorm"):
        loss_barrier(network(0), network(1), LOSS)
    with pytest.raises(ConfigError, match="points=1"):
        loss_barrier(network(0), network(1), LOSS, statistics=STATISTICS, points=1)
    with pytest.raises(DataError, match="no samples"):
        mean_cross_entropy([])
