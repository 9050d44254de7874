"""KD_loc: what a box is pulled towards, and what it does not depend on; recorded values are in tests/golden."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import ShapeError
from limbeck.losses.detection.kd_loc import crop_distance, kd_loc_features, kd_loc_pixels
from limbeck.numerics.crops import box_crops

DRAW = torch.Generator().manual_seed(0)
CROPS = torch.rand(3, 3, 16, 16, generator=DRAW, dtype=torch.float64)
OTHERS = torch.rand(3, 3, 16, 16, generator=DRAW, dtype=torch.float64)
OBJECT = torch.tensor([[20.0, 16.0, 44.0, 40.0]], dtype=torch.float64)


def bright_rectangle() -> torch.Tensor:
    image = torch.zeros(1, 3, 60, 64, dtype=torch.float64)
    image[:, :, 16:40, 20:44] = 1
    return image


def located(box: torch.Tensor) -> torch.Tensor:
    image, owner = bright_rectangle(), torch.tensor([0])
    crops = [box_crops(image, owner, b, size=32) for b in (box, OBJECT)]
    return kd_loc_pixels(*crops).mean()


def test_the_right_box_costs_nothing() -> None:
    assert float(located(OBJECT)) == 0
    assert float(kd_loc_features([CROPS, OTHERS], [CROPS, OTHERS]).sum()) == 0


def pull(side: int, off: float) -> float:
    """The gradient of a side so many pixels outside of the object (below 0: inside), outwards above 0."""
    outwards = -1.0 if side < 2 else 1.0
    box = OBJECT.clone()
    box[0, side] += outwards * off
    box.requires_grad_()
    located(box).backward()
    assert box.grad is not None
    return outwards * float(box.grad[0, side])


@pytest.mark.parametrize("side", range(4))
def test_a_box_that_is_too_large_is_pulled_in_and_one_too_small_hardly_out(side: int) -> None:
    assert pull(side, 4.0) > 0
    assert pull(side, -1.5) < 0  # bilinear sampling still sees the edge
    assert abs(pull(side, -4.0)) < pull(side, 4.0) / 10  # a plain object looks the same at every zoom


def test_pooled_differences_naively() -> None:
    found = crop_distance(CROPS, OTHERS, pool=4)
    for one, other, value in zip(CROPS, OTHERS, found, strict=True):
        cells = (one - other).reshape(3, 4, 4, 4, 4).mean((2, 4))
        torch.testing.assert_close(value, cells.abs().mean())


def test_pixels_are_in_grey_levels() -> None:
    torch.testing.assert_close(kd_loc_pixels(CROPS, OTHERS), 255 * crop_distance(CROPS, OTHERS, pool=4))
    torch.testing.assert_close(kd_loc_pixels(0.5 * CROPS, 0.5 * OTHERS), 0.5 * kd_loc_pixels(CROPS, OTHERS))


def test_taps_are_averaged_and_their_pools_double() -> None:
    found = kd_loc_features([CROPS, OTHERS], [OTHERS, CROPS], pool=2)
    wanted = (crop_distance(CROPS, OTHERS, pool=2) + crop_distance(CROPS, OTHERS, pool=4)) / 2
    torch.testing.assert_close(found, wanted)


def test_positives_do_not_know_each_other() -> None:
    twice = kd_loc_pixels(CROPS.repeat(2, 1, 1, 1), OTHERS.repeat(2, 1, 1, 1))
    torch.testing.assert_close(twice.mean(), kd_loc_pixels(CROPS, OTHERS).mean())


def test_true_crops_get_no_gradient_and_none_are_fine() -> None:
    true = OTHERS.clone().requires_grad_()
    kd_loc_pixels(CROPS.clone().requires_grad_(), true).sum().backward()
    assert true.grad is None
    assert kd_loc_pixels(CROPS[:0], OTHERS[:0]).shape == (0,)


def test_shapes_are_checked() -> None:
    with pytest.raises(ShapeError, match=r"\(3, 3, 16, 16\) and \(3, 3, 8, 8\)"):
        kd_loc_pixels(CROPS, OTHERS[..., :8, :8])
    with pytest.raises(ShapeError, match="the same taps on both sides"):
        kd_loc_features([CROPS], [])
