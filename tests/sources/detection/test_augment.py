from functools import partial

import pytest
import torch

from limbeck.errors import ConfigError
from limbeck.sources._registry import DETECTION_AUGMENTATIONS
from limbeck.sources.detection import (
    DETECTION_AUGMENTS,
    View,
    brightness,
    flip,
    flip_vertical,
    iou_crop,
    keeps_objects,
    photometric_distort,
    random_crop,
    scale_jitter,
    zoom_out,
)

FIXED = {"flip", "flip_vertical", "brightness", "photometric_distort"}
COLOURS = torch.tensor([[250, 20, 20], [20, 250, 20], [20, 20, 250]], dtype=torch.uint8)
BOXES = torch.tensor([[4.0, 6.0, 24.0, 18.0], [40.0, 8.0, 52.0, 40.0], [10.0, 30.0, 34.0, 44.0]])


def rectangles(colours=COLOURS, ground=120):
    """An image with one filled rectangle for each box, each in a colour of its own."""
    image = torch.full((3, 48, 64), ground, dtype=torch.uint8)
    for (x1, y1, x2, y2), colour in zip(BOXES.int().tolist(), colours, strict=True):
        image[:, y1:y2, x1:x2] = colour[:, None, None]
    return View(image, BOXES.clone(), torch.tensor([5, 6, 7]), torch.tensor([100, 101, 102]))


def draws(seed):
    return torch.Generator().manual_seed(seed)


def bounds(image, colour, tolerance=60):
    """The smallest box around the pixels of a colour; None where there are none."""
    close = (image.int() - colour.int()[:, None, None]).abs().amax(0) <= tolerance
    if not close.any():
        return None
    rows, columns = close.any(1).nonzero().flatten(), close.any(0).nonzero().flatten()
    return torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=torch.float32)


REGIONS = [
    (partial(flip, probability=1.0), 0),
    (partial(flip_vertical, probability=1.0), 0),
    (partial(zoom_out, probability=1.0), 0),
    (iou_crop, 0),
    (partial(random_crop, probability=1.0), 0),
    (scale_jitter, 1.5),
    (partial(scale_jitter, scale=(0.3, 3.0), visible=0.1), 2.5),
]


@pytest.mark.parametrize(
    ("change", "slack"), REGIONS, ids=lambda c: getattr(getattr(c, "func", c), "__name__", "")
)
def test_boxes_stay_with_their_pixels(change, slack):
    seen = 0
    for seed in range(40):
        view = change(rectangles(), draws(seed))
        assert len(view.boxes) == len(view.labels) == len(view.objects)
        assert view.objects.tolist() == [95 + label for label in view.labels.tolist()]
        for box, label in zip(view.boxes, view.labels.tolist(), strict=True):
            # Resized rectangles have soft edges, so up to a pixel or two may be missing at each side.
            found = bounds(view.image, COLOURS[label - 5])
            assert found is not None
            assert (found - box).abs().max() <= slack
            seen += 1
        assert bool((view.boxes >= 0).all())
        assert bool((view.boxes[:, 2:] <= torch.tensor([view.width, view.height])).all())
        assert bool((view.boxes[:, 2:] - view.boxes[:, :2] >= 1).all())
    assert seen >= 40


def test_what_vanishes_takes_its_label_and_number_along():
    gone = {len(iou_crop(rectangles(), draws(seed)).boxes) for seed in range(40)}
    assert {1, 2, 3} <= gone


def test_flips_are_torchvisions():
    from torchvision.transforms.v2 import functional as F
    from torchvision.tv_tensors import BoundingBoxes

    view = rectangles()
    boxes = BoundingBoxes(view.boxes, format="XYXY", canvas_size=(48, 64))
    for change, turn in ((flip, F.horizontal_flip), (flip_vertical, F.vertical_flip)):
        turned = change(view, draws(0), probability=1.0)
        assert torch.equal(turned.image, turn(view.image))
        assert torch.equal(turned.boxes, turn(boxes).as_subclass(torch.Tensor))
        assert type(turned.image) is type(turned.boxes) is torch.Tensor
        assert change(view, draws(0), probability=0.0) is view


def test_zoom_out_keeps_the_pixels():
    view = rectangles()
    out = zoom_out(view, draws(3), scale=(2.0, 2.0), probability=1.0, fill=(0.2, 0.4, 0.6))
    assert out.image.shape == (3, 96, 128)
    left, top = (out.boxes[0] - view.boxes[0])[:2].int().tolist()
    assert torch.equal(out.image[:, top : top + 48, left : left + 64], view.image)
    outside = out.image.clone()
    outside[:, top : top + 48, left : left + 64] = torch.tensor([51, 102, 153], dtype=torch.uint8)[:, None, None]
    assert {tuple(c) for c in outside.flatten(1).T.tolist()} == {(51, 102, 153)}


def test_iou_crop_keeps_what_it_promises():
    for seed in range(30):
        view = rectangles()
        part = iou_crop(view, draws(seed), overlaps=(0.3,), scale=(0.2, 1.0))
        shift = part.boxes[:1, :2] - view.boxes[part.objects - 100][:1, :2]
        if part.image.shape == view.image.shape:
            continue
        assert 0.5 <= part.width / part.height <= 2
        assert len(part.boxes) >= 1
        assert shift.shape == (1, 2)
    nothing = iou_crop(rectangles(), draws(0), overlaps=(0.99,), trials=2, rounds=2)
    assert nothing.image.shape == (3, 48, 64)


def test_scale_jitter_keeps_the_size_of_the_image():
    small = scale_jitter(rectangles(), draws(0), scale=(0.5, 0.5))
    assert small.image.shape == (3, 48, 64)
    torch.testing.assert_close(small.boxes, BOXES / 2)
    assert small.image[:, 47, 63].tolist() == [124, 116, 104]
    large = scale_jitter(rectangles(), draws(0), scale=(3.0, 3.0), visible=0.9)
    assert large.image.shape == (3, 48, 64)
    assert len(large.boxes) < 3


def test_little_of_an_object_is_none():
    for seed in range(20):
        view = random_crop(rectangles(), draws(seed), visible=1.0, probability=1.0)
        sides = view.boxes[:, 2:] - view.boxes[:, :2]
        whole = BOXES[view.objects - 100]
        assert torch.equal(sides, whole[:, 2:] - whole[:, :2])


def test_brightness():
    view = rectangles()
    same = brightness(view, draws(1), strength=0.0)
    assert torch.equal(same.image, view.image)
    values = {int(brightness(view, draws(seed)).image[0, 0, 0]) for seed in range(20)}
    assert min(values) >= 96
    assert max(values) <= 144
    assert len(values) > 5


def test_photometric_distort_changes_colours_alone():
    view = rectangles()
    assert torch.equal(photometric_distort(view, draws(0), probability=0.0).image, view.image)
    found = [photometric_distort(view, draws(seed)) for seed in range(20)]
    assert all(torch.equal(f.boxes, view.boxes) for f in found)
    assert len({tuple(f.image.flatten().tolist()) for f in found}) > 10
    for changed in found:
        # Every rectangle stays one of a single colour.
        x1, y1, x2, y2 = BOXES[1].int().tolist()
        assert len(changed.image[:, y1:y2, x1:x2].flatten(1).unique(dim=1).T) == 1
        assert changed.image.dtype == torch.uint8


@pytest.mark.parametrize("name", sorted(DETECTION_AUGMENTATIONS))
def test_the_generator_decides_alone(name):
    change = DETECTION_AUGMENTS[name]
    state = torch.get_rng_state()
    view = rectangles()
    kept = view.image.clone(), view.boxes.clone()
    first, second = change(view, draws(7)), change(rectangles(), draws(7))
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.boxes, second.boxes)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(view.image, kept[0])
    assert torch.equal(view.boxes, kept[1])
    others = [change(rectangles(), draws(seed)) for seed in range(30)]
    assert any(o.image.shape != view.image.shape or not torch.equal(o.image, view.image) for o in others)


@pytest.mark.parametrize("name", sorted(DETECTION_AUGMENTATIONS))
def test_images_without_objects(name):
    for seed in range(10):
        empty = View(
            torch.zeros(3, 20, 30, dtype=torch.uint8),
            torch.zeros(0, 4),
            torch.zeros(0, dtype=torch.int64),
            torch.zeros(0, dtype=torch.int64),
        )
        view = DETECTION_AUGMENTS[name](empty, draws(seed))
        assert view.boxes.shape == (0, 4)
        assert len(view.labels) == len(view.objects) == 0
        assert min(view.image.shape) >= 1


def test_which_keep_their_objects():
    assert {name for name in DETECTION_AUGMENTS if keeps_objects(DETECTION_AUGMENTS[name])} == FIXED
    assert keeps_objects(partial(flip, probability=0.3))


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="zoom_out: the canvas is at least as large as the image"):
        zoom_out(rectangles(), draws(0), scale=(0.5, 2.0))
    with pytest.raises(ConfigError, match="random_crop: a part is at most as large as the image"):
        random_crop(rectangles(), draws(0), scale=(0.5, 2.0))
    with pytest.raises(
        ConfigError, match="scale_jitter: a range has two numbers above 0, the smaller first; got 2"
    ):
        scale_jitter(rectangles(), draws(0), scale=(2.0, 0.5))
