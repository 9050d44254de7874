"""Levels of two networks brought to one size, and checked."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from limbeck.errors import ShapeError
from limbeck.numerics.attention_maps import channel_attention, spatial_attention
from limbeck.numerics.channel_moments import restandardised, standardised
from limbeck.numerics.levels import require_equal, require_paired, resize_to


def test_resizing_is_bilinear_and_leaves_equal_sizes_alone() -> None:
    maps = [torch.rand(2, 3, 8, 6), torch.rand(2, 3, 4, 4)]
    resized = resize_to(maps, [torch.zeros(2, 5, 4, 5), torch.zeros(2, 5, 4, 4)])
    torch.testing.assert_close(resized[0], F.interpolate(maps[0], (4, 5), mode="bilinear", align_corners=False))
    assert resized[1] is maps[1]


def test_what_does_not_fit_is_named() -> None:
    maps = [torch.zeros(2, 3, 4, 4)]
    with pytest.raises(ShapeError, match="1 levels against 2"):
        resize_to(maps, maps * 2)
    with pytest.raises(ShapeError, match=r"level 0 has shape \(2, 3\)"):
        resize_to(maps, [torch.zeros(2, 3)])
    with pytest.raises(ShapeError, match=r"here: level 0 is \(2, 3, 4, 4\).*resize_to"):
        require_paired("here", maps, [torch.zeros(2, 3, 8, 8)])
    with pytest.raises(ShapeError, match="3 channels in the student and 4 in the teacher"):
        require_equal("here", maps, [torch.zeros(2, 4, 4, 4)])
    with pytest.raises(ShapeError, match="0 levels"):
        require_paired("here", [], [])


def test_statistics_are_removed_and_replaced() -> None:
    maps, like = torch.rand(2, 3, 4, 5).double(), 4 * torch.rand(1, 3, 6, 6).double() - 1
    values = standardised(maps)
    torch.testing.assert_close(values.mean(dim=(0, 2, 3)), torch.zeros(3).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(values.std(dim=(0, 2, 3)), torch.ones(3).double(), atol=1e-5, rtol=0)
    moved = restandardised(maps, like)
    torch.testing.assert_close(moved.mean(dim=(0, 2, 3)), like.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(moved.std(dim=(0, 2, 3)), like.std(dim=(0, 2, 3)), rtol=1e-4, atol=0)
    torch.testing.assert_close(restandardised(3 * maps + 2, like), moved, rtol=1e-4, atol=1e-5)
    with pytest.raises(ShapeError, match="equal channels"):
        restandardised(maps, like[:, :2])


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (2, 2, 3, 3)])
def test_constant_channels_are_zero_with_finite_gradients(shape: tuple[int, ...]) -> None:
    maps = torch.ones(shape, requires_grad=True)
    values = standardised(maps)
    values.square().sum().backward()
    assert values.abs().max() == 0
    assert maps.grad is not None
    assert maps.grad.isfinite().all()


def test_attentions_are_loops_of_mean_one() -> None:
    maps = torch.randn(2, 3, 2, 4, dtype=torch.float64)
    spatial, channel = spatial_attention(maps, temperature=0.5), channel_attention(maps, temperature=0.5)
    for n in range(2):
        raw = [[sum(abs(float(maps[n, c, y, x])) for c in range(3)) / 3 for x in range(4)] for y in range(2)]
        powers = torch.tensor(raw, dtype=torch.float64).div(0.5).exp()
        torch.testing.assert_close(spatial[n], 8 * powers / powers.sum())
        powers = torch.stack([maps[n, c].abs().mean() / 0.5 for c in range(3)]).exp()
        torch.testing.assert_close(channel[n], 3 * powers / powers.sum())
    torch.testing.assert_close(spatial.mean(dim=(1, 2)), torch.ones(2).double())
