"""The identities and limits of WKD on feature maps."""

from __future__ import annotations

import math

import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.losses import wkd_feature, wkd_feature_full

few = settings(max_examples=15, deadline=None, derandomize=True)
maps = st.builds(
    lambda seed, channels, height, width: drawn(seed, channels, height, width),
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.integers(4, 8),
    st.integers(4, 8),
)


def drawn(seed: int, channels: int = 3, height: int = 6, width: int = 6) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    shape = (2, channels, height, width)
    return tuple(torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


@few
@given(maps, st.integers(1, 3), st.floats(0, 5))
def test_loops_agree(pair: tuple[Tensor, Tensor], grid: int, mean_weight: float) -> None:
    values = wkd_feature(*pair, grid=grid, mean_weight=mean_weight)
    height, width = pair[0].shape[2:]
    for s, t, value in zip(*pair, values, strict=True):
        total = 0.0
        for a in range(grid):
            rows = slice(math.floor(a * height / grid), math.ceil((a + 1) * height / grid))
            for b in range(grid):
                columns = slice(math.floor(b * width / grid), math.ceil((b + 1) * width / grid))
                for k in range(len(s)):
                    x, y = s[k, rows, columns].flatten(), t[k, rows, columns].flatten()
                    sigma_x, sigma_y = (z.var().add(1e-5).sqrt() for z in (x, y))
                    total += float(mean_weight * (x.mean() - y.mean()) ** 2 + (sigma_x - sigma_y) ** 2)
        assert value.item() == pytest.approx(total / grid**2, rel=1e-10, abs=1e-12)


@few
@given(maps)
def test_shift_and_scale(pair: tuple[Tensor, Tensor]) -> None:
    teacher = pair[0]
    shift = torch.linspace(-1, 2, teacher.shape[1], dtype=torch.float64)
    shifted = teacher + shift[:, None, None]
    torch.testing.assert_close(
        wkd_feature(shifted, teacher, mean_weight=1.0), shift.square().sum().expand(2), rtol=1e-9, atol=1e-12
    )
    mean = teacher.mean(dim=(2, 3), keepdim=True)
    wanted = 4 * teacher.var(dim=(2, 3)).sum(dim=1)
    scaled = wkd_feature(mean + 3 * (teacher - mean), teacher, eps=1e-14)
    torch.testing.assert_close(scaled, wanted, rtol=1e-6, atol=1e-9)


@few
@given(maps, st.integers(0, 100))
def test_order_of_pixels_does_not_matter(pair: tuple[Tensor, Tensor], seed: int) -> None:
    student, teacher = pair
    order = torch.randperm(student[0, 0].numel(), generator=torch.Generator().manual_seed(seed))
    shuffled = student.flatten(2)[:, :, order].reshape(student.shape)
    torch.testing.assert_close(wkd_feature(shuffled, teacher), wkd_feature(student, teacher))
    torch.testing.assert_close(wkd_feature_full(shuffled, teacher), wkd_feature_full(student, teacher))


def test_order_within_a_cell_does_not_matter_but_across_cells_it_does() -> None:
    student, teacher = drawn(0, height=4, width=4)
    swapped = student.clone()
    swapped[:, :, 0, :2] = student[:, :, 0, :2].flip(2)
    torch.testing.assert_close(wkd_feature(swapped, teacher, grid=2), wkd_feature(student, teacher, grid=2))
    assert (
        wkd_feature(student.flip(2), teacher, grid=2) - wkd_feature(student, teacher, grid=2)
    ).abs().min() > 1e-6


@few
@given(maps)
def test_diagonal_form_is_pots_distance_squared(pair: tuple[Tensor, Tensor]) -> None:
    values = wkd_feature(*pair, mean_weight=1.0)
    for s, t, value in zip(*pair, values, strict=True):
        moments = [(x.mean(dim=(1, 2)).numpy(), (x.var(dim=(1, 2)) + 1e-5).diag().numpy()) for x in (s, t)]
        (mean_s, cov_s), (mean_t, cov_t) = moments
        root = ot.gaussian.bures_wasserstein_distance(mean_s, mean_t, cov_s, cov_t)
        assert value.item() == pytest.approx(float(root) ** 2, rel=1e-7, abs=1e-10)


@few
@given(maps)
def test_full_form_is_pots_distance_squared_where_that_exists(pair: tuple[Tensor, Tensor]) -> None:
    values = wkd_feature_full(*pair)
    for s, t, value in zip(*pair, values, strict=True):
        (mean_s, cov_s), (mean_t, cov_t) = (
            (x.flatten(1).mean(1).numpy(), torch.cov(x.flatten(1), correction=0).reshape(len(x), -1).numpy())
            for x in (s, t)
        )
        root = ot.gaussian.bures_wasserstein_distance(mean_s, mean_t, cov_s, cov_t)
        assert value.item() == pytest.approx(float(root) ** 2, rel=1e-6, abs=1e-9)


def test_full_form_survives_fewer_pixels_than_channels() -> None:
    student, teacher = drawn(1, channels=20, height=2, width=3)
    student.requires_grad_()
    values = wkd_feature_full(student, teacher)
    (gradient,) = torch.autograd.grad(values.sum(), student)
    assert (values > 0).all()
    assert gradient.isfinite().all()
    step = 1e-6
    with torch.no_grad():
        direction = torch.randn(student.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        slope = (
            wkd_feature_full(student + step * direction, teacher)
            - wkd_feature_full(student - step * direction, teacher)
        ).sum() / (2 * step)
    torch.testing.assert_close(slope, (gradient * direction).sum(), rtol=1e-6, atol=1e-8)


def test_constant_maps_have_a_gradient() -> None:
    student = torch.ones(1, 2, 4, 4, requires_grad=True)
    wkd_feature(student, torch.zeros(1, 2, 4, 4)).sum().backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("grid", [4, 5])
def test_cells_of_one_pixel_are_refused(grid: int) -> None:
    student, teacher = drawn(2, height=4, width=4)
    with pytest.raises(ShapeError, match=f"wkd_feature: grid {grid} on a 4x4 map leaves cells of one pixel"):
        wkd_feature(student, teacher, grid=grid)


def test_feature_vectors_are_refused_with_the_expected_shape() -> None:
    with pytest.raises(ShapeError, match=r"expected shape \(n, c, h, w\), got student_map \(2, 3\)"):
        wkd_feature(torch.zeros(2, 3), torch.zeros(2, 3))
