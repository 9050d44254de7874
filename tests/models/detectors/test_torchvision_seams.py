"""The insides of torchvision that are relied on, pinned: a new torchvision that moves them fails here."""

from __future__ import annotations

import inspect

import pytest
import torch
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection._utils import BoxCoder, BoxLinearCoder
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.ssd import SSD

from limbeck.errors import ModelError
from limbeck.models.detectors import Watch
from limbeck.models.detectors.families import FAMILIES, family_of
from limbeck.models.detectors.seams import Recording, check

LOSS = ["self", "targets", "head_outputs", "anchors", "matched_idxs"]


def _parameters(function):
    return list(inspect.signature(function).parameters)


def test_ssd():
    assert _parameters(SSD.compute_loss) == LOSS
    assert _parameters(BoxCoder.decode_single) == ["self", "rel_codes", "boxes"]


def test_retinanet():
    assert _parameters(RetinaNetHead.compute_loss) == LOSS
    assert _parameters(RetinaNet.compute_loss) == LOSS[:-1]


def test_fcos():
    assert _parameters(FCOSHead.compute_loss) == LOSS
    assert _parameters(FCOS.compute_loss) == [*LOSS[:-1], "num_anchors_per_level"]
    assert _parameters(BoxLinearCoder.decode) == ["self", "rel_codes", "boxes"]


def test_faster_rcnn(make):
    assert _parameters(RoIHeads.select_training_samples) == ["self", "proposals", "targets"]
    detector = make("faster_rcnn")
    assert isinstance(detector, FasterRCNN)
    boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0]])
    target = {"boxes": boxes, "labels": torch.tensor([2])}
    proposals, matched, labels, _ = detector.roi_heads.select_training_samples([boxes + 40], [target])
    assert len(proposals) == len(matched) == len(labels) == 1
    assert labels[0].tolist() == [0, 2]  # the object's own box was added to the proposals
    assert matched[0].tolist() == [0, 0]


def test_outputs_of_dense_heads(make):
    levels = [torch.rand(1, 32, 8, 8)]
    assert set(make("retinanet").head(levels)) == {"cls_logits", "bbox_regression"}
    assert set(make("fcos").head(levels)) == {"cls_logits", "bbox_regression", "bbox_ctrness"}
    assert make("fcos").head.classification_head.num_classes == 4


def test_every_family_passes_its_check(name, make):
    detector = make(name)
    check(detector, family_of(detector).seams)
    assert type(detector) in FAMILIES


def test_another_signature_is_refused(make):
    class Other(SSD):
        def compute_loss(self, targets, outputs):
            raise AssertionError

    detector = make("small_ssd")
    detector.__class__ = Other
    with pytest.raises(
        ModelError, match=r"torchvision \d.*Other.compute_loss takes \(targets, outputs\); expected"
    ):
        Watch(detector)


def test_a_missing_method_is_refused(make):
    detector = make("retinanet")
    detector.head = torch.nn.Identity()
    with pytest.raises(ModelError, match=r"RetinaNet\.head\.compute_loss is not there"):
        Watch(detector)


def test_somebody_elses_wrapper_survives(make):
    detector = make("small_ssd")
    theirs = detector.compute_loss
    detector.compute_loss = theirs
    with Recording() as recording:
        recording.around(detector, "compute_loss", lambda original: lambda *args: original(*args))
        assert detector.compute_loss is not theirs
    assert vars(detector)["compute_loss"] is theirs
