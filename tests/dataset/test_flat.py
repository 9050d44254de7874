"""Networks as functions of a vector: recorded ConvNets, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.dataset.flat import Flat
from limbeck.errors import ModelError, ShapeError
from limbeck.models import build


@pytest.mark.parametrize("number", range(4))
def test_convnets_agree_with_the_recorded_program(golden, close, convnet, number):
    params, a = golden(f"convnet_{number}")
    net = Flat(convnet(params))
    assert net.size == params["num_params"]
    vector = a["flat_param"].requires_grad_(True)
    logits = net.logits(vector, a["x"])
    close(logits, a["logits"], params)
    close(net.embed(vector, a["x"]), a["embedding"], params)
    (gradient,) = torch.autograd.grad((logits * a["v"]).sum(), vector)
    close(gradient, a["grad_flat_param"], params)


def test_the_literature_s_sizes():
    assert Flat(build("convnet3", num_classes=10)).size == 320_010
    assert Flat(build("convnet4", num_classes=200)).size == 857_160


def test_weights_go_in_and_come_out():
    net = Flat(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))
    vector = torch.arange(float(net.size))
    net.write(vector)
    assert torch.equal(net.start(), vector)
    images = torch.rand(2, 1, 2, 2)
    assert torch.equal(net.model(images), net.logits(vector, images))


def test_another_architecture_s_weights_are_refused():
    with pytest.raises(ShapeError, match="14 numbers, Linear has 15"):
        Flat(nn.Linear(4, 3)).tensors(torch.zeros(14))


def test_running_statistics_are_refused():
    with pytest.raises(ModelError, match=r"running statistics.*instance"):
        Flat(nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2)))
