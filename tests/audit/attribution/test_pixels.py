from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from limbeck.audit.attribution import (
    gradient_times_input,
    input_gradient,
    input_gradients,
    integrated_gradients,
    occlusion,
)
from limbeck.errors import ConfigError, MissingExtraError, ModelError

IMAGES = torch.rand(3, 2, 6, 6, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([0, 1, 1])


def linear() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 2)).requires_grad_(False)


def deep() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 16), nn.Softplus(), nn.Linear(16, 2))


def test_gradients_of_a_linear_network_are_its_weights() -> None:
    weights = linear()[1].weight[TARGETS].view_as(IMAGES)
    torch.testing.assert_close(input_gradients(linear(), IMAGES, TARGETS), weights)
    torch.testing.assert_close(input_gradient(linear(), IMAGES, TARGETS), weights.abs().amax(dim=1))
    torch.testing.assert_close(input_gradient(linear(), IMAGES, TARGETS, channels="sum"), weights.abs().sum(dim=1))
    torch.testing.assert_close(gradient_times_input(linear(), IMAGES, TARGETS), (weights * IMAGES).sum(dim=1))


def test_gradients_of_log_probabilities_weighted_by_them_cancel() -> None:
    net = deep()
    total = torch.zeros_like(IMAGES)
    for label in range(2):
        chosen = torch.full_like(TARGETS, label)
        weight = net(IMAGES).softmax(dim=1)[:, label, None, None]
        total += weight.detach()[..., None] * input_gradients(net, IMAGES, chosen, score="log_probability")
    assert total.abs().max() < 1e-6
    assert all(p.grad is None for p in net.parameters())


def test_integrated_gradients_add_up() -> None:
    pytest.importorskip("captum")
    net = deep()
    found = integrated_gradients(net, IMAGES, TARGETS, baseline=0.25)
    with torch.no_grad():
        gap = (net(IMAGES) - net(torch.full_like(IMAGES, 0.25))).gather(1, TARGETS[:, None])[:, 0]
    assert found.shape == (3, 6, 6)
    assert not found.requires_grad
    torch.testing.assert_close(found.sum(dim=(1, 2)), gap, rtol=1e-4, atol=1e-5)
    assert all(p.grad is None for p in net.parameters())


def test_occlusion_of_a_linear_network() -> None:
    pytest.importorskip("captum")
    found = occlusion(linear(), IMAGES, TARGETS, window=1, stride=1, baseline=0.5)
    weights = linear()[1].weight[TARGETS].view_as(IMAGES)
    torch.testing.assert_close(found, (weights * (IMAGES - 0.5)).sum(dim=1), rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="6 pixels"):
        occlusion(linear(), IMAGES, TARGETS)


def test_the_package_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingExtraError, match=r"limbeck\[audit\]"):
        integrated_gradients(linear(), IMAGES, TARGETS)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ConfigError, match="takes no layer"):
        input_gradient(linear(), IMAGES, TARGETS, layer="0")

    class Detached(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.detach().flatten(1)

    with pytest.raises(ModelError, match="takes no gradients"):
        input_gradient(Detached(), IMAGES, TARGETS)
