"""The detectors of torchvision by name, each of them watched."""

from __future__ import annotations

import pytest
import torch
import torchvision

from limbeck.errors import ModelError
from limbeck.models.detectors import Watch, build_detector

TINY = {"min_size": 64, "max_size": 64}
BUILDERS = {
    "ssd300_vgg16": {},
    "ssdlite320_mobilenet_v3_large": {},
    "retinanet_resnet50_fpn": TINY,
    "retinanet_resnet50_fpn_v2": TINY,
    "fcos_resnet50_fpn": TINY,
    "fasterrcnn_resnet50_fpn": {**TINY, "box_batch_size_per_image": 16},
    "fasterrcnn_resnet50_fpn_v2": {**TINY, "box_batch_size_per_image": 16},
}


@pytest.mark.parametrize(
    "builder", [pytest.param(name, marks=[pytest.mark.slow] * (name == "ssd300_vgg16")) for name in BUILDERS]
)
def test_every_builder_is_watched(builder, batch):
    detector = build_detector(f"torchvision/{builder}", num_classes=3, **BUILDERS[builder])
    watch = Watch(detector)
    for counts in ((3, 0), (0, 0)):
        images, targets = batch(*counts)
        with torch.no_grad():
            losses, seen = watch.forward(images, targets)
        assert all(torch.isfinite(loss) for loss in losses.values())
        assert (len(seen.positives.image) > 0) == (sum(counts) > 0)
        assert not (seen.positives.image == 1).any()
        assert seen.positives.boxes.shape == (len(seen.positives.image), 4)
        assert seen.positives.logits.shape[1] == (4 if seen.head == "softmax" else 3)


def test_one_of_them_quickly(batch):
    detector = build_detector("torchvision/ssdlite320_mobilenet_v3_large", num_classes=3)
    _, seen = Watch(detector).forward(*batch(2, 0))
    assert seen.mean == (0.5, 0.5, 0.5)
    assert seen.positives.logits.shape[1] == 4


def test_other_classes_than_the_weights_have(monkeypatch, caplog):
    """A pre-trained detector keeps everything but the layers of its classes."""
    real = torchvision.models.get_model
    trained = {}

    def get_model(name, *, weights, **settings):
        model = real(name, **{**settings, "weights": None, "weights_backbone": None})
        if weights is not None:
            trained["model"] = {key: value.clone() for key, value in model.state_dict().items()}
        return model

    monkeypatch.setattr(torchvision.models, "get_model", get_model)
    detector = build_detector("torchvision/fcos_resnet50_fpn", num_classes=3, pretrained=True, **TINY)
    assert "are for 90 classes" in caplog.text
    assert detector.head.classification_head.num_classes == 4
    new = [key for key, value in detector.state_dict().items() if not _same(value, trained["model"][key])]
    assert new == ["head.classification_head.cls_logits.weight"] or set(new) == {
        "head.classification_head.cls_logits.weight",
        "head.classification_head.cls_logits.bias",
    }
    assert detector.limbeck_spec["pretrained"] is False
    assert Watch(detector.eval()).look([torch.rand(3, 64, 64)]).dense.class_logits.shape[-1] == 3


def _same(one, other):
    return one.shape == other.shape and torch.equal(one, other)


def test_frozen_norms_are_made_again():
    detector = build_detector(
        "torchvision/fcos_resnet50_fpn", num_classes=3, frozen_norms=True, norm_epsilon=1e-3, **TINY
    )
    frozen = [m for m in detector.modules() if type(m).__name__ == "FrozenBatchNorm2d"]
    assert frozen
    assert all(module.eps == 1e-3 for module in frozen)


def test_refusals():
    with pytest.raises(ModelError, match=r"no detector of boxes 'fcos_resnet51_fpn'.*fcos_resnet50_fpn"):
        build_detector("torchvision/fcos_resnet51_fpn", num_classes=2)
    with pytest.raises(ModelError, match="takes masks or keypoints"):
        build_detector("torchvision/maskrcnn_resnet50_fpn", num_classes=2)
    with pytest.raises(ModelError, match=r"no setting 'min_sizes'.*'min_size'"):
        build_detector("torchvision/fcos_resnet50_fpn", num_classes=2, min_sizes=64)
