"""The gradient of a detector's confidence."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.audit.detectors.gradient_maps import gradient_maps, mass
from limbeck.errors import ShapeError
from limbeck.numerics.boxes import pairwise_iou

FAMILIES = ("small_ssd", "retinanet", "fcos", "faster_rcnn")


class Looking(nn.Module):
    """Certain of a box by the mean of one column of pixels."""

    def __init__(self, columns):
        super().__init__()
        self.columns = columns

    def forward(self, images):
        return [
            {
                "boxes": torch.tensor([[0.0, 0.0, 4.0, 4.0], [4.0, 4.0, 8.0, 8.0]]),
                "labels": torch.tensor([1, 2]),
                "scores": torch.stack([torch.sigmoid(image[:, :, c].mean()) for c in self.columns]),
            }
            for image in images
        ]


@pytest.fixture
def image():
    return torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(4))


def test_a_map_shows_the_pixels_that_count():
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [4.0, 4.0, 8.0, 8.0], [0.0, 4.0, 4.0, 8.0]])
    images = [torch.rand(3, 8, 8), torch.rand(3, 8, 10)]
    labels = torch.tensor([0, 1, 1])
    maps = gradient_maps(Looking((1, 6)), images, [boxes, boxes[1:]], [labels, labels[1:]], iou=0.5)
    assert [tuple(one.shape) for one in maps] == [(3, 3, 8, 8), (2, 3, 8, 10)]
    wanted = torch.zeros(3, 3, 8, 8)
    wanted[0, :, :, 1] = wanted[1, :, :, 6] = 1 / 24  # the logit undoes the sigmoid; no detection is at the third
    torch.testing.assert_close(maps[0], wanted)
    assert maps[1][0].nonzero()[:, 2].unique().tolist() == [6]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_keeps_the_gradient_of_its_scores(detectors, image, family):
    detector = detectors(family).double().eval().requires_grad_(False)
    lowest = detector.roi_heads if family == "faster_rcnn" else detector
    lowest.score_thresh = 0.0
    image = image.double()
    with torch.no_grad():
        found = detector([image])[0]
    at = int(found["labels"].nonzero()[0])
    box, label = found["boxes"][at : at + 1], found["labels"][at : at + 1] - 1
    map_ = gradient_maps(detector, [image], [box], [label], iou=0.5)[0][0]
    assert map_.shape == (3, 64, 64)
    assert bool(map_.isfinite().all())

    def logit(pixels):
        with torch.no_grad():
            now = detector([pixels])[0]
        same = (now["labels"] == label + 1) & (pairwise_iou(box, now["boxes"])[0] >= 0.5)
        return torch.logit(now["scores"][same].max())

    step = torch.zeros_like(image)
    step.view(-1)[map_.abs().argmax()] = 1e-6
    slope = float(logit(image + step) - logit(image - step)) / 2e-6
    # Proposals of a two-stage detector move with the picture; the gradient holds them fixed.
    rough = 0.1 if family == "faster_rcnn" else 2e-3
    assert slope == pytest.approx(float(map_.view(-1)[map_.abs().argmax()]), rel=rough)


def test_batching_changes_nothing(detectors, image):
    detector = detectors("small_ssd").double().eval().requires_grad_(False)
    images = [image.double(), image.double().flip(2)]
    with torch.no_grad():
        found = [detector([one])[0] for one in images]
    boxes, labels = [one["boxes"][:2] for one in found], [one["labels"][:2] - 1 for one in found]
    together = gradient_maps(detector, images, boxes, labels, iou=0.5)
    for number in range(2):
        alone = gradient_maps(detector, *([one[number]] for one in (images, boxes, labels)), iou=0.5)[0]
        torch.testing.assert_close(together[number], alone)
        assert bool((alone.abs().sum(dim=(1, 2, 3)) > 0).all())


def test_nothing_is_left_behind(detectors, image):
    detector = detectors("small_ssd").eval().requires_grad_(False)
    gradient_maps(detector, [image], [torch.tensor([[0.0, 0, 9, 9]])], [torch.tensor([0])], iou=0.5)
    assert not image.requires_grad
    assert all(p.grad is None for p in detector.parameters())


def test_lists_of_different_lengths():
    with pytest.raises(ShapeError, match="1 images, 0 lists of boxes"):
        gradient_maps(Looking((0, 1)), [torch.rand(3, 8, 8)], [], [], iou=0.5)


class TestMass:
    def test_the_whole_is_all(self):
        maps = torch.rand(2, 7, 5)
        found = mass(maps, torch.tensor([[0.0, 0.0, 5.0, 7.0]]).expand(2, 4), 3)
        torch.testing.assert_close(found.sum(dim=(1, 2)), maps.double().sum(dim=(1, 2)))

    def test_cells_of_whole_pixels_are_pooled(self):
        maps = torch.rand(1, 8, 8)
        found = mass(maps, torch.tensor([[0.0, 0.0, 8.0, 8.0]]), 4)
        pooled = 4 * torch.nn.functional.avg_pool2d(maps.double(), 2)
        torch.testing.assert_close(found, pooled)

    def test_parts_of_pixels_count_in_part(self):
        maps = torch.zeros(1, 4, 4)
        maps[0, 1, 2] = 8.0
        found = mass(maps, torch.tensor([[2.25, 0.0, 4.0, 1.5]]), 1)
        assert found.item() == pytest.approx(8 * 0.75 * 0.5)
