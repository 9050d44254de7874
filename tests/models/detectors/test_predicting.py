"""Prediction in the pixels of the given images, with labels from 0."""

from __future__ import annotations

import torch

from limbeck.models.detectors import predict


def test_boxes_labels_scores(name, make):
    detector = make(name)
    images = [torch.rand(3, 40, 100), torch.rand(3, 90, 50)]
    found = predict(detector, images)
    assert detector.training
    expected = detector.eval()(images)
    for image, prediction, raw in zip(images, found, expected, strict=True):
        kept = raw["labels"] > 0
        assert torch.equal(prediction["labels"], raw["labels"][kept] - 1)
        assert torch.equal(prediction["boxes"], raw["boxes"][kept])
        assert torch.equal(prediction["scores"], raw["scores"][kept])
        assert not prediction["boxes"].requires_grad
        if len(prediction["boxes"]):
            assert prediction["boxes"][:, 2].max() <= image.shape[2] + 1e-3
            assert prediction["boxes"][:, 3].max() <= image.shape[1] + 1e-3


def test_mode_of_each_module_is_restored(make):
    detector = make("small_ssd")
    detector.backbone.stem.eval()
    predict(detector, [torch.rand(3, 64, 64)])
    assert detector.training
    assert not detector.backbone.stem.training
    assert not predict(detector.eval(), [torch.rand(3, 64, 64)])[0]["scores"].requires_grad
    assert not detector.training


def test_unused_column_of_sigmoid_heads_is_no_class(make):
    detector = make("retinanet")
    torch.nn.init.zeros_(detector.head.classification_head.cls_logits.weight)
    bias = detector.head.classification_head.cls_logits.bias
    bias.data = torch.tensor([4.0, -4.0, 2.0, -4.0]).repeat(len(bias) // 4)
    (found,) = predict(detector, [torch.rand(3, 64, 64)])
    assert set(found["labels"].tolist()) == {1}
