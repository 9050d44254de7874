"""WKD on proposals, pyramids and pooled proposals: the losses of classification, assembled."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.losses import wkd_feature, wkd_logit
from limbeck.losses.detection import wkd_maps, wkd_pooled, wkd_rois


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rois_are_the_mean_over_proposals() -> None:
    student, teacher, labels = draw(5, 4, seed=0), draw(5, 4, seed=1), torch.tensor([0, 2, 0, 3, 1])
    cost = draw(4, 4, seed=2).abs()
    values = wkd_logit(student, teacher, labels, cost, transport_weight=30.0, temperature=2.0)
    torch.testing.assert_close(wkd_rois(student, teacher, labels, cost), values.mean())


def test_maps_are_the_sum_over_levels_of_the_mean_over_images() -> None:
    shapes = {"student_shapes": [(4, 8, 8), (3, 4, 4)], "teacher_shapes": [(6, 8, 8), (3, 4, 4)]}
    student = [draw(2, *shape, seed=i) for i, shape in enumerate(shapes["student_shapes"])]
    teacher = [draw(2, *shape, seed=5 + i) for i, shape in enumerate(shapes["teacher_shapes"])]
    loss = wkd_maps(**shapes, weight=0.5).double()
    wanted = wkd_feature(loss.adapters.layers[0](student[0]), teacher[0], grid=4, mean_weight=2.0).mean()
    wanted = (
        wanted + wkd_feature(student[1], teacher[1], grid=3, mean_weight=2.0).mean()
    )  # 4 cells: one pixel each
    torch.testing.assert_close(loss(student, teacher), 0.5 * wanted)


@pytest.mark.parametrize(
    ("size", "grid"), [((1, 1), None), ((1, 2), 1), ((2, 2), 1), ((2, 3), 2), ((3, 3), 2), ((1, 7), 4)]
)
def test_small_maps_use_fewer_cells(size: tuple[int, int], grid: int | None) -> None:
    student, teacher = draw(2, 3, *size, seed=0), draw(2, 3, *size, seed=1)
    loss = wkd_maps(student_shapes=[(3, *size)], teacher_shapes=[(3, *size)], weight=1.0)
    if grid is None:
        wanted = 2 * (student - teacher).square().sum(dim=(1, 2, 3))
    else:
        wanted = wkd_feature(student, teacher, grid=grid, mean_weight=2.0)
    torch.testing.assert_close(loss([student], [teacher]), wanted.mean())


def test_pooled_are_the_mean_over_proposals() -> None:
    student, teacher = draw(5, 3, 7, 7, seed=0), draw(5, 3, 7, 7, seed=1)
    loss = wkd_pooled(student_shape=(3, 7, 7), teacher_shape=(3, 7, 7), grid=2)
    wanted = 0.02 * wkd_feature(student, teacher, grid=2, mean_weight=2.0).mean()
    torch.testing.assert_close(loss(student, teacher), wanted)
    with pytest.raises(ConfigError, match="grid"):
        wkd_pooled(student_shape=(3, 7, 7), teacher_shape=(3, 7, 7), grid=0)
