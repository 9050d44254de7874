"""Boxes against torchvision, with gradients, and where boxes have no area."""

from __future__ import annotations

import pytest
import torch
import torchvision.ops
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.numerics.boxes import area, centres, clip, diou, giou, pairwise_diou, pairwise_iou


def draw(count: int, seed: int) -> Tensor:
    points = 20 * torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cat((points.amin(dim=1), points.amax(dim=1)), dim=1)


FIRST, SECOND = draw(7, 0), draw(5, 1)


def test_area_and_clip() -> None:
    torch.testing.assert_close(area(FIRST), torchvision.ops.box_area(FIRST))
    wild = FIRST * 2 - 10
    torch.testing.assert_close(clip(wild, size=(12, 15)), torchvision.ops.clip_boxes_to_image(wild, (12, 15)))
    assert torch.equal(centres(torch.tensor([0.0, 2.0, 4.0, 6.0])), torch.tensor([2.0, 4.0]))


def test_pairs_are_those_of_torchvision() -> None:
    torch.testing.assert_close(pairwise_iou(FIRST, SECOND), torchvision.ops.box_iou(FIRST, SECOND))
    torch.testing.assert_close(pairwise_diou(FIRST, SECOND), torchvision.ops.distance_box_iou(FIRST, SECOND))


def test_elementwise_forms_are_the_diagonal_of_the_pairs() -> None:
    first = FIRST[:5]
    wanted = torchvision.ops.generalized_box_iou(first, SECOND).diagonal()
    torch.testing.assert_close(giou(first, SECOND), wanted)
    wanted = torchvision.ops.distance_box_iou(first, SECOND).diagonal()
    torch.testing.assert_close(diou(first, SECOND), wanted)
    shaped = giou(first.reshape(1, 5, 4), SECOND.reshape(1, 5, 4))
    torch.testing.assert_close(shaped, giou(first, SECOND)[None])


@pytest.mark.parametrize("overlap", [giou, diou])
def test_gradients(overlap) -> None:
    first = FIRST[:5].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: overlap(x, SECOND), first)
    assert overlap(SECOND, SECOND).sub(1).abs().max() < 1e-12


def test_boxes_without_area_are_finite() -> None:
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0]], requires_grad=True)
    values = giou(point, point.detach()) + diou(point, point.detach()) + pairwise_iou(point, point.detach())[0]
    values.sum().backward()
    assert values.isfinite().all()
    assert point.grad is not None
    assert point.grad.isfinite().all()


def test_no_boxes_and_half_precision() -> None:
    none = torch.zeros(0, 4)
    assert pairwise_iou(none, SECOND).shape == (0, 5)
    assert pairwise_iou(FIRST, none).shape == (7, 0)
    assert giou(none, none).shape == (0,)
    assert giou(FIRST.bfloat16(), FIRST.bfloat16()).dtype == torch.float32


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"pairwise_iou.*\(7, 3\)"):
        pairwise_iou(FIRST[:, :3], SECOND)
    with pytest.raises(ShapeError, match=r"giou.*\(7, 4\).*\(5, 4\)"):
        giou(FIRST, SECOND)
