"""A second stage on given proposals."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import ModelError
from limbeck.models.detectors import Watch, rois


def test_own_proposals_give_what_was_seen(make, batch):
    detector = make("faster_rcnn")
    _, seen = Watch(detector).forward(*batch(2, 0, 3))
    logits, deltas, pooled = rois(detector, seen.features, seen.proposals.boxes, seen.sizes)
    assert torch.equal(pooled, seen.proposals.pooled)
    assert torch.equal(logits, seen.proposals.logits)
    assert deltas.shape == (len(logits), 4 * 4)


def test_teacher_on_the_proposals_of_its_student(make, batch):
    student, teacher = make("faster_rcnn"), make("faster_rcnn", fpn_channels=64).eval()
    _, seen = Watch(student).forward(*batch(2, 3))
    looked = Watch(teacher).look_as(seen)
    logits, _, pooled = rois(teacher, looked.features, seen.proposals.boxes, seen.sizes)
    assert logits.shape == seen.proposals.logits.shape
    assert pooled.shape == (len(logits), 64, 7, 7)


def test_one_stage_has_none(make):
    with pytest.raises(ModelError, match="no second stage"):
        rois(make("small_ssd"), {}, [], [])
