"""Boxes cut out of images: what the grid samples, whose gradient goes where, and which boxes can be cut at all."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from limbeck.errors import ShapeError
from limbeck.numerics.crops import box_crops, usable_boxes

DRAW = torch.Generator().manual_seed(0)
IMAGES = torch.rand(3, 2, 20, 30, generator=DRAW, dtype=torch.float64)


def boxes_in(count: int, seed: int = 1) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=draw, dtype=torch.float64) * torch.tensor([18.0, 10.0])
    side = 2 + torch.rand(count, 2, generator=draw, dtype=torch.float64) * 8
    return torch.cat((low, low + side), dim=1)


def one_by_one(images: torch.Tensor, owner: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
    """Each box with an affine grid and an image of its own."""
    height, width = images.shape[-2:]
    found = []
    for image, (x1, y1, x2, y2) in zip(images[owner], boxes, strict=True):
        zero = torch.zeros((), dtype=boxes.dtype)
        matrix = torch.stack(
            (
                torch.stack(((x2 - x1) / width, zero, (x1 + x2) / width - 1)),
                torch.stack((zero, (y2 - y1) / height, (y1 + y2) / height - 1)),
            )
        )
        grid = F.affine_grid(matrix[None], [1, 1, size, size], align_corners=False)
        found.append(F.grid_sample(image[None], grid, align_corners=False)[0])
    return torch.stack(found)


def test_one_tall_grid_is_a_grid_for_each_box() -> None:
    owner, boxes = torch.tensor([2, 0, 0, 2, 1]), boxes_in(5)
    found = box_crops(IMAGES, owner, boxes, size=7)
    torch.testing.assert_close(found, one_by_one(IMAGES, owner, boxes, 7))


def test_gradients_are_those_of_finite_differences() -> None:
    owner, boxes = torch.tensor([0, 1]), boxes_in(2, seed=4).requires_grad_()
    weights = torch.rand(2, 2, 5, 5, generator=DRAW, dtype=torch.float64)

    def value(at: torch.Tensor) -> torch.Tensor:
        return (box_crops(IMAGES, owner, at, size=5) * weights).sum()

    (gradient,) = torch.autograd.grad(value(boxes), boxes)
    for row in range(2):
        for side in range(4):
            step = torch.zeros_like(boxes)
            step[row, side] = 1e-6
            slope = (value(boxes + step) - value(boxes - step)) / 2e-6
            torch.testing.assert_close(gradient[row, side], slope.detach(), rtol=1e-4, atol=1e-5)


def test_the_whole_image_at_its_own_size_is_the_image() -> None:
    square = IMAGES[:, :, :, :20]
    boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0]], dtype=torch.float64)
    torch.testing.assert_close(box_crops(square, torch.tensor([1]), boxes, size=20)[0], square[1])


def test_padding_is_never_looked_at() -> None:
    padded = F.pad(IMAGES, (0, 10, 0, 12), value=99.0)
    owner, boxes = torch.tensor([0]), torch.tensor([[25.0, 15.0, 60.0, 60.0]], dtype=torch.float64)
    limits = torch.tensor([[20, 30]] * 3)
    crops = box_crops(padded, owner, boxes, size=4, limits=limits)
    inside = torch.tensor([[25.0, 15.0, 30.0, 20.0]], dtype=torch.float64)
    torch.testing.assert_close(crops, one_by_one(padded, owner, inside, 4))
    assert crops.max() < 50


def test_a_clamped_side_has_no_gradient() -> None:
    boxes = torch.tensor([[-3.0, 2.0, 12.0, 25.0]], dtype=torch.float64, requires_grad=True)
    box_crops(IMAGES, torch.tensor([0]), boxes, size=6).square().sum().backward()
    assert boxes.grad is not None
    assert boxes.grad[0, 0] == 0
    assert boxes.grad[0, 3] == 0
    assert boxes.grad[0, 1] != 0


def test_coordinates_stay_precise_in_half_precision() -> None:
    image = torch.arange(3000.0).expand(1, 1, 2, 3000) / 3000
    boxes = torch.tensor([[2001.0, 0.0, 2003.0, 2.0]])
    whole = box_crops(image, torch.tensor([0]), boxes, size=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = box_crops(image, torch.tensor([0]), boxes, size=2)
    torch.testing.assert_close(inside, whole)


def test_no_boxes_give_no_crops() -> None:
    none = box_crops(IMAGES, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), size=5)
    assert none.shape == (0, 2, 5, 5)


def test_shapes_are_checked() -> None:
    with pytest.raises(ShapeError, match=r"boxes \(k, 4\); got \(3, 2, 20, 30\), \(2,\), \(3, 4\)"):
        box_crops(IMAGES, torch.zeros(2, dtype=torch.int64), torch.zeros(3, 4), size=5)


@given(st.lists(st.floats(-40, 60), min_size=4, max_size=4), st.floats(0.5, 3))
def test_a_usable_box_is_never_mirrored(corners: list[float], least: float) -> None:
    box = torch.tensor([corners], dtype=torch.float64)
    if usable_boxes(box, torch.tensor([0]), torch.tensor([[20, 30]]), least=least):
        x1, y1, x2, y2 = corners
        assert min(x2, 30) - max(x1, 0) >= least
        assert min(y2, 20) - max(y1, 0) >= least
