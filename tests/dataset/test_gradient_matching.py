"""Gradient matching: recorded distances and gradients of DC and IDC."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from limbeck.dataset.flat import Flat
from limbeck.dataset.matching.gradients import DISTANCES
from limbeck.errors import ShapeError

RECORDED = {
    "dc_ours": "row_cosine",
    "dc_mse": "squared",
    "dc_cos": "cosine",
    "idc_mse": "convolution_squared",
    "idc_l1": "convolution_absolute",
    "idc_l1_mean": "convolution_mean_absolute",
    "idc_cos": "convolution_cosine",
}


def gradient(net, images, label, *, keep=False):
    labels = torch.full((len(images),), int(label))
    loss = F.cross_entropy(net(images), labels)
    return torch.autograd.grad(loss, list(net.parameters()), create_graph=keep)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", RECORDED)
def test_distances_agree_with_the_recorded_programs(golden, close, convnet, name, number):
    params, a = golden(f"gradmatch_{number}")
    net = Flat(convnet(params)).write(a["flat_param"])
    real = gradient(net, a["x_real"], a["label"])
    images = a["x_syn"].requires_grad_(True)
    loss = DISTANCES[RECORDED[name]](real, gradient(net, images, a["label"], keep=True))
    close(loss, a[name], params)
    (found,) = torch.autograd.grad(loss, images)
    close(found, a[f"{name}_grad_x_syn"], params)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_gradient_is_nowhere_from_itself(name):
    torch.manual_seed(0)
    one = [torch.randn(4, 3, 3, 3), torch.randn(4), torch.randn(5, 4)]
    assert float(DISTANCES[name](one, one)) == pytest.approx(0, abs=1e-4)
    assert float(DISTANCES[name](one, [-t for t in one])) > 1


def test_gradients_of_two_networks_are_refused():
    with pytest.raises(ShapeError, match="different networks"):
        DISTANCES["squared"]([torch.zeros(2, 2)], [torch.zeros(2, 3)])


def test_a_network_without_convolutions_has_no_such_distance():
    with pytest.raises(ShapeError, match="has none"):
        DISTANCES["convolution_squared"]([torch.zeros(2, 2)], [torch.zeros(2, 2)])
