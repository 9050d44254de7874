"""Taps on modules they have never seen."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from limbeck.errors import TapError
from limbeck.taps import Taps, evaluating, first_tensor, last_feature_map, probe, resolve, tap_points


def net() -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 4, 3, padding=1),
            norm=nn.BatchNorm2d(4),
            relu=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            fc=nn.Linear(4, 5),
        )
    )


def test_reads_outputs_and_inputs_of_the_same_pass():
    model, images = net().eval(), torch.randn(2, 3, 8, 8)
    with Taps(model, ["relu", "fc:input", ""]) as taps:
        logits = model(images)
        read = taps.take()
    assert torch.equal(read[""], logits)
    assert torch.equal(model.fc(read["fc:input"]), logits)
    assert torch.equal(read["relu"], model.relu(model.norm(model.conv(images))))


def test_gradient_flows_through_what_was_read():
    model = net()
    with Taps(model, ["relu"]) as taps:
        model(torch.randn(2, 3, 8, 8))
        taps.take()["relu"].sum().backward()
    assert model.conv.weight.grad is not None


def test_patterns_match_and_close_leaves_no_trace():
    model = net()
    taps = Taps(model, ["re*", "n?rm"])
    assert taps.paths == ("relu", "norm")
    taps.close()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("rleu", "Did you mean 'relu'"),
        ("layer9.*", "no module 'layer9.*' in Sequential"),
        ("relu:output", "only ':input' is understood"),
    ],
)
def test_unknown_paths_name_what_is_near(path, message):
    with pytest.raises(TapError, match=message.replace("*", r"\*")):
        resolve(net(), path)


def test_a_tap_that_does_not_fire_is_an_error():
    model = net()
    model.unused = nn.Linear(1, 1)
    model.forward = lambda x: model.conv(x)  # type: ignore[method-assign]
    with Taps(model, ["unused"]) as taps:
        model(torch.zeros(1, 3, 4, 4))
        with pytest.raises(TapError, match="'unused' did not fire"):
            taps.take()


def test_probe_leaves_the_mode_and_the_statistics_alone():
    model = net().train()
    before = model.norm.running_mean.clone()
    shapes = {k: tuple(v.shape) for k, v in probe(model, torch.randn(2, 3, 8, 8), ["relu", "fc:input"]).items()}
    assert shapes == {"relu": (2, 4, 8, 8), "fc:input": (2, 4)}
    assert model.training
    assert torch.equal(model.norm.running_mean, before)


def test_mixed_modes_are_restored_one_by_one():
    model = net().train()
    model.norm.eval()
    with evaluating(model):
        assert not any(m.training for m in model.modules())
    assert model.training
    assert not model.norm.training


def test_tap_points_list_everything_in_order_with_shapes():
    points = tap_points(net(), torch.zeros(2, 3, 8, 8))
    assert [p.path for p in points] == ["conv", "norm", "relu", "pool", "flat", "fc", ""]
    assert points[2].shape == (2, 4, 8, 8)
    assert last_feature_map(net(), torch.zeros(2, 3, 8, 8)) == "relu"


def test_a_network_without_maps_asks_for_taps():
    with pytest.raises(TapError, match="puts out no feature map"):
        last_feature_map(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.zeros(1, 3, 2, 2))


def test_tensors_are_found_in_tuples_dicts_and_nothing():
    tensor = torch.zeros(1)
    assert first_tensor((None, {"a": [tensor]})) is tensor
    assert first_tensor("text") is None


def test_taps_survive_compilation():
    model = net().eval()
    with Taps(model, ["relu"]) as taps:
        compiled = torch.compile(model, backend="eager")
        compiled(torch.zeros(1, 3, 4, 4))
        assert taps.take()["relu"].shape == (1, 4, 4, 4)


def test_what_was_overwritten_in_place_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    with Taps(model, ["0"]) as taps, torch.no_grad():
        model(torch.randn(1, 3, 2, 2))
        with pytest.raises(TapError, match="'0' put out was overwritten in place"):
            taps.take()
    with Taps(model, ["1"]) as taps, torch.no_grad():
        model(torch.randn(1, 3, 2, 2))
        assert float(taps.take()["1"].min()) >= 0


def test_inputs_given_by_keyword_are_read():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x):
            return self.inner(input=x)

    model, x = Outer(), torch.randn(4, 3)
    with Taps(model, ["inner:input"]) as taps:
        model(x)
        assert torch.equal(taps.take()["inner:input"], x)
