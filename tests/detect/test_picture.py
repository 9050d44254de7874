"""Images with boxes: where lines and labels are drawn, and that nothing breaks at the edges."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from limbeck.detect.picture import SIDE, before_and_after, boxes_png, drawn
from limbeck.protocols import DetectionSample

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def sample(height=60, width=80, boxes=((10, 20, 40, 50),), labels=(0,)):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    crowd = torch.zeros(len(boxes), dtype=torch.bool)
    labels = torch.tensor(labels, dtype=torch.int64)
    return DetectionSample(torch.zeros(3, height, width, dtype=torch.uint8), boxes, labels, crowd, 1, boxes[:, 0])


def found(*scores, label=1):
    boxes = torch.tensor([[20.0, 20, 60, 50]] * len(scores)).reshape(-1, 4)
    return {
        "boxes": boxes,
        "labels": torch.full((len(scores),), label),
        "scores": torch.tensor(scores),
    }


def opened(png):
    return Image.open(io.BytesIO(png)).convert("RGB")


def colours(image):
    return set(image.get_flattened_data() if hasattr(image, "get_flattened_data") else image.getdata())


def test_lines_lie_on_the_edges_of_the_box():
    one = sample()
    image = drawn(one.image, one.boxes, one.labels)
    factor = SIDE / 80
    assert image.size == (SIDE, round(60 * factor))
    for x, y in ((10, 35), (40, 35), (25, 50)):
        assert image.getpixel((round(x * factor), round(y * factor))) == BLUE
    assert image.getpixel((round(25 * factor), round(35 * factor))) == (0, 0, 0)


def test_uncertain_boxes_are_left_out():
    assert ORANGE not in colours(opened(boxes_png(sample(), found(0.2), class_names="ab", least=0.3)))
    assert ORANGE in colours(opened(boxes_png(sample(), found(0.2, 0.4), class_names="ab", least=0.3)))


def test_pictures_stand_side_by_side():
    two = opened(boxes_png(sample(), found(0.9), class_names="ab", least=0.3))
    three = opened(before_and_after(sample(), found(0.9), found(), class_names="ab", least=0.3))
    assert two.width < three.width <= 3 * SIDE + 100
    assert two.width > 2 * SIDE


@pytest.mark.parametrize("shape", [(8, 200), (200, 8), (1, 1), (1000, 1400)])
def test_images_of_any_shape(shape):
    height, width = shape
    one = sample(height, width, boxes=[(0, 0, width, height)])
    assert opened(boxes_png(one, found(0.9), class_names=("a long name of a class", "b"), least=0)).width > SIDE


def test_boxes_at_the_edges_and_beyond():
    one = sample(boxes=[(0, 0, 80, 60), (79, 59, 80, 60), (70, 0, 80, 4)], labels=[0, 1, 1])
    there = {"boxes": torch.tensor([[-5.0, -5, 90, 70], [50, 50, 40, 40]]), "labels": torch.tensor([0, 1])}
    image = opened(boxes_png(one, {**there, "scores": torch.ones(2)}, class_names="ab", least=0))
    assert {BLUE, ORANGE} <= colours(image)


def test_nothing_to_draw():
    image = opened(boxes_png(sample(boxes=[], labels=[]), found(), class_names="ab", least=0))
    assert colours(image) <= {(0, 0, 0), (255, 255, 255)} or image.width > SIDE


def test_titles_of_any_length_and_classes_that_are_there():
    one = sample(labels=[1])
    named = opened(
        before_and_after(one, found(0.9), found(0.9), class_names="ab", least=0, titles=("x" * 99, "y"))
    )
    plain = opened(before_and_after(one, found(0.9), found(0.9), class_names="ab", least=0))
    assert named.size == plain.size
    assert ORANGE in colours(plain.crop((0, plain.height - 30, 40, plain.height)))  # the only class there
    assert BLUE not in colours(plain)


def test_many_classes_share_colours_and_take_several_lines():
    boxes = [(x, y, x + 4, y + 4) for x in range(0, 70, 7) for y in range(0, 50, 9)]
    one = sample(boxes=boxes, labels=list(range(len(boxes))))
    names = [f"class {n}" for n in range(len(boxes))]
    image = opened(boxes_png(one, found(), class_names=names, least=0))
    assert len(colours(image)) > 8
    assert image.height > opened(boxes_png(sample(), found(), class_names=names, least=0)).height
