"""Masks and weights against loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.numerics.boxes import pairwise_diou, pairwise_iou
from limbeck.numerics.imitation import atss_thresholds, box_mask, box_weights, imitation_mask, valuable_region

SIZES, EACH = [(4, 6), (2, 3)], [2, 3]
COUNTS = [48, 18]
NONE = torch.zeros(0, 4)


def anchors_of() -> Tensor:
    rows = []
    for (h, w), each, stride in zip(SIZES, EACH, (4, 8), strict=True):
        for y in range(h):
            for x in range(w):
                for k in range(each):
                    cx, cy, half = (x + 0.5) * stride, (y + 0.5) * stride, stride * (k + 1) / 2
                    rows.append([cx - half, cy - half / (k + 1), cx + half, cy + half / (k + 1)])
    return torch.tensor(rows)


ANCHORS = anchors_of()
BOXES = torch.tensor([[1.0, 1.0, 7.0, 5.0], [10.0, 2.0, 24.0, 15.0], [3.0, 2.0, 8.0, 8.0]])


def test_imitation_mask_is_the_loop() -> None:
    masks = imitation_mask(ANCHORS, BOXES, sizes=SIZES, anchors_per_position=EACH)
    overlaps, start = pairwise_iou(ANCHORS, BOXES), 0
    best = [max(float(v) for v in overlaps[:, k]) for k in range(len(BOXES))]
    for mask, (h, w), each in zip(masks, SIZES, EACH, strict=True):
        assert mask.shape == (h, w)
        for y in range(h):
            for x in range(w):
                here = overlaps[start : start + each]
                start += each
                wanted = any(float(here[i, k]) > best[k] / 2 for i in range(each) for k in range(len(BOXES)))
                assert bool(mask[y, x]) == wanted
    assert any(mask.any() for mask in masks)
    assert not all(mask.all() for mask in masks)


def test_imitation_mask_is_the_union_over_objects() -> None:
    options = {"sizes": SIZES, "anchors_per_position": EACH}
    whole = imitation_mask(ANCHORS, BOXES, **options)
    apart = [imitation_mask(ANCHORS, box[None], **options) for box in BOXES]
    for level, mask in enumerate(whole):
        assert torch.equal(mask, torch.stack([masks[level] for masks in apart]).any(dim=0))


def test_without_objects_or_overlap_nothing_is_imitated() -> None:
    for boxes in (NONE, torch.tensor([[500.0, 500.0, 510.0, 510.0]])):
        masks = imitation_mask(ANCHORS, boxes, sizes=SIZES, anchors_per_position=EACH)
        assert not any(mask.any() for mask in masks)
    with pytest.raises(ShapeError, match=r"66 anchors.*have 60"):
        imitation_mask(ANCHORS, BOXES, sizes=SIZES, anchors_per_position=[2, 2])


def relative() -> Tensor:
    return torch.tensor([[0.1, 0.1, 0.45, 0.5], [0.3, 0.4, 1.0, 0.9], [0.6, 0.05, 0.62, 0.1]])


def test_box_mask_is_the_loop_and_a_union() -> None:
    mask = box_mask(relative(), size=(7, 9))
    for y in range(7):
        for x in range(9):
            inside = any(
                x + 1 > float(b[0]) * 9 and x < float(b[2]) * 9 and y + 1 > float(b[1]) * 7 and y < float(b[3]) * 7
                for b in relative()
            )
            assert bool(mask[y, x]) == inside, (y, x)
    assert torch.equal(mask, torch.stack([box_mask(b[None], size=(7, 9)) for b in relative()]).any(dim=0))
    assert not box_mask(NONE, size=(7, 9)).any()
    assert box_mask(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), size=(3, 3)).all()


def test_box_weights_are_the_loop() -> None:
    foreground, background = box_weights(relative(), size=(7, 9))
    wanted = torch.zeros(7, 9)
    for box in relative().tolist():
        left, top = math.floor(box[0] * 9), math.floor(box[1] * 7)
        right, bottom = math.ceil(box[2] * 9), math.ceil(box[3] * 7)
        weight = 1 / ((right - left + 1) * (bottom - top + 1))
        for y in range(top, min(bottom, 6) + 1):
            for x in range(left, min(right, 8) + 1):
                wanted[y, x] = max(float(wanted[y, x]), weight)
    torch.testing.assert_close(foreground, wanted)
    torch.testing.assert_close(background, (wanted == 0).float() / (wanted == 0).sum())


def test_box_weights_without_objects_and_without_background() -> None:
    foreground, background = box_weights(NONE, size=(2, 2))
    assert foreground.sum() == 0
    assert torch.equal(background, torch.full((2, 2), 0.25))
    _, background = box_weights(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), size=(2, 2))
    assert background.sum() == 0


def test_atss_thresholds_are_the_loop() -> None:
    anchors = ANCHORS + torch.rand(66, 1, generator=torch.Generator().manual_seed(0))  # no two equally far
    thresholds = atss_thresholds(anchors, BOXES, counts=COUNTS, nearest=5)
    overlaps = pairwise_iou(anchors, BOXES)
    for k, box in enumerate(BOXES.tolist()):
        distances = [
            math.dist(((a[0] + a[2]) / 2, (a[1] + a[3]) / 2), ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
            for a in anchors.tolist()
        ]
        nearest = sorted(range(48), key=distances.__getitem__)[:5]
        nearest += sorted(range(48, 66), key=distances.__getitem__)[:5]
        values = overlaps[nearest, k]
        torch.testing.assert_close(thresholds[k], values.mean() + values.std())


def test_atss_without_objects_and_with_one_anchor() -> None:
    assert atss_thresholds(ANCHORS, NONE, counts=COUNTS).shape == (0,)
    few = atss_thresholds(ANCHORS[:1], BOXES, counts=[1])
    torch.testing.assert_close(few, pairwise_iou(ANCHORS[:1], BOXES)[0])
    with pytest.raises(ShapeError, match="66 anchors"):
        atss_thresholds(ANCHORS, BOXES, counts=[3])


def test_atss_takes_all_anchors_of_a_small_level() -> None:
    anchors = ANCHORS[::7]
    values = pairwise_iou(anchors, BOXES)
    wanted = values.mean(dim=0) + values.std(dim=0)
    torch.testing.assert_close(atss_thresholds(anchors, BOXES, counts=[len(anchors)], nearest=99), wanted)


def test_valuable_region_is_the_loop() -> None:
    thresholds = torch.tensor([0.5, 0.4, 0.3])
    region = valuable_region(ANCHORS, BOXES, thresholds=thresholds, fraction=0.25)
    overlaps = pairwise_diou(ANCHORS, BOXES)
    for i in range(len(ANCHORS)):
        wanted = any(0.25 * float(t) <= float(v) < float(t) for v, t in zip(overlaps[i], thresholds, strict=True))
        assert bool(region[i]) == wanted
    assert region.any()
    assert not valuable_region(ANCHORS, NONE, thresholds=torch.zeros(0)).any()
