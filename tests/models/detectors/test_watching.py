"""A watched detector trains as ever, and what is seen of it is what it did."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch import nn
from torchvision.ops import box_iou
from torchvision.ops.boxes import clip_boxes_to_image

from limbeck.errors import ModelError, ShapeError
from limbeck.models.detectors import Watch


def _trace(module: nn.Module):
    """Whatever a listener could leave in a module or in the plain objects that it holds."""
    return {
        path: (
            sorted(vars(part)),
            {name: len(value) for name, value in vars(part).items() if name.endswith("_hooks")},
        )
        for path, part in module.named_modules()
    }


@pytest.mark.parametrize("counts", [(3, 2), (2, 0), (0, 0)])
def test_losses_are_the_same_bit_by_bit(name, counts, make, batch):
    watched = make(name)
    plain = copy.deepcopy(watched)
    images, targets = batch(*counts)
    torch.manual_seed(5)
    losses, seen = Watch(watched).forward(images, targets)
    torch.manual_seed(5)
    expected = plain(images, [{**t, "labels": t["labels"] + 1} for t in targets])
    assert losses.keys() == expected.keys()
    for key, value in losses.items():
        assert torch.equal(value, expected[key]), key
    for key, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[key]), key
    assert set(seen.positives.image.tolist()) <= {i for i, count in enumerate(counts) if count}
    (sum(losses.values()) + seen.positives.boxes.sum() + seen.positives.logits.sum()).backward()


def test_no_trace_is_left(name, make, batch):
    detector = make(name)
    before, keys = _trace(detector), list(detector.state_dict())
    watch = Watch(detector)
    assert _trace(detector) == before
    _, seen = watch.forward(*batch(2, 1))
    assert _trace(detector) == before
    assert list(copy.deepcopy(detector).state_dict()) == list(detector.state_dict()) == keys
    images, targets = batch(2, 1)
    targets[0]["boxes"][0, 2:] = 0.0  # torchvision refuses it in the middle of its forward pass
    with pytest.raises(AssertionError, match="positive height and width"):
        watch.forward(images, targets)
    assert _trace(detector) == before
    watch.close()
    assert _trace(detector) == before
    del seen


def test_nothing_is_kept_alive(name, make, batch):
    watch = Watch(make(name))
    gc.collect()
    gc.disable()
    try:
        losses, seen = watch.forward(*batch(2, 1))
        image, level, box = (
            weakref.ref(seen.images),
            weakref.ref(seen.features["0"]),
            weakref.ref(seen.positives.boxes),
        )
        del losses, seen
        assert image() is level() is box() is None
    finally:
        gc.enable()


def test_seen_of_a_step(name, make, batch):
    detector = make(name)
    images, targets = batch(2, 3)
    _, seen = Watch(detector).forward(images, targets)
    assert seen.images.shape == (2, 3, 64, 64)
    assert seen.sizes == [(64, 64), (64, 64)]
    assert seen.mean == pytest.approx((0.485, 0.456, 0.406))
    torch.testing.assert_close(
        seen.images[0] * torch.tensor(seen.std).view(3, 1, 1) + torch.tensor(seen.mean).view(3, 1, 1), images[0]
    )
    assert seen.head == ("softmax" if name in ("small_ssd", "ssd", "faster_rcnn") else "sigmoid")
    assert seen.strides[0] == ((4, 4) if name == "faster_rcnn" else (8, 8))
    for given, found in zip(targets, seen.targets, strict=True):
        assert torch.equal(found["labels"], given["labels"])
        assert torch.equal(found["objects"], given["objects"])
        torch.testing.assert_close(found["boxes"], given["boxes"])
    cells = [level.shape[2] * level.shape[3] for level in seen.features.values()]
    assert len(seen.anchors) == 2
    assert len(seen.anchors[0]) == sum(c * k for c, k in zip(cells, seen.anchors_per_cell, strict=True))
    positives = seen.positives
    assert len(positives.image) > 0
    assert positives.logits.shape == (len(positives.image), 4 if seen.head == "softmax" else 3)
    assert positives.boxes.shape == (len(positives.image), 4)


def test_targets_follow_the_resizing(make, batch):
    images, targets = batch(2, 1, side=48)
    _, seen = Watch(make("small_ssd")).forward(images, targets)
    torch.testing.assert_close(seen.targets[0]["boxes"], targets[0]["boxes"] * 64 / 48)


@pytest.mark.parametrize("name", ["small_ssd", "ssd", "retinanet"])
def test_positives_are_those_of_the_matcher(name, make, batch):
    detector = make(name)
    _, seen = Watch(detector).forward(*batch(3, 2, 0))
    anchors = seen.anchors[0]
    for image, target in enumerate(seen.targets):
        mine = seen.positives.image == image
        if not len(target["boxes"]):
            assert not mine.any()
            continue
        matched = detector.proposal_matcher(box_iou(target["boxes"], anchors))
        assert torch.equal(seen.dense.matched[image], matched)
        assert torch.equal(seen.positives.object[mine], matched[matched >= 0])
        rows = seen.dense.class_logits[image, matched >= 0]
        assert torch.equal(seen.positives.logits[mine], rows)


@pytest.mark.parametrize("name", ["fcos", "fcos_bins"])
def test_positives_of_points(name, make, batch):
    """By the definition: near the centre, inside, of the right scale, and the smallest object of several."""
    _, seen = Watch(make(name)).forward(*batch(3, 2))
    sizes = torch.tensor([8.0, 16.0, 32.0, 64.0, 128.0])
    for image, target in enumerate(seen.targets):
        for number, anchor in enumerate(seen.anchors[image]):
            size = float(anchor[2] - anchor[0])
            x, y = float(anchor[0] + anchor[2]) / 2, float(anchor[1] + anchor[3]) / 2
            fits = []
            for place, (left, top, right, bottom) in enumerate(target["boxes"].tolist()):
                near = max(abs(x - (left + right) / 2), abs(y - (top + bottom) / 2)) < 1.5 * size
                sides = (x - left, y - top, right - x, bottom - y)
                lower = 0 if size == sizes[0] else 4 * size
                upper = float("inf") if size == sizes[-1] else 8 * size
                if near and min(sides) > 0 and lower < max(sides) < upper:
                    fits.append(((right - left) * (bottom - top), place))
            assert int(seen.dense.matched[image, number]) == (min(fits)[1] if fits else -1)


def test_boxes_are_those_that_torchvision_predicts(name, make, batch):
    """Every positive's box, clipped, is among those of torchvision's own postprocessing with all filters open."""
    detector = make(name)
    _, seen = Watch(detector).forward(*batch(2, 3))
    everything = _postprocessed(detector, seen)
    for image in range(2):
        mine = seen.positives.image == image
        clipped = clip_boxes_to_image(seen.positives.boxes[mine], seen.sizes[image])
        nearest = (clipped[:, None] - everything[image]["boxes"]).abs().amax(-1).amin(1)
        assert len(nearest) > 0
        assert nearest.max() == 0


def _postprocessed(detector, seen):
    if seen.dense is None:
        heads = detector.roi_heads
        heads.score_thresh, heads.nms_thresh, heads.detections_per_img = -1.0, 1.0, 10_000
        with torch.no_grad():
            _, deltas = heads.box_predictor(heads.box_head(seen.proposals.pooled))
        boxes, _, _ = heads.postprocess_detections(
            seen.proposals.logits, deltas, seen.proposals.boxes, list(seen.sizes)
        )
        return [{"boxes": found} for found in boxes]
    detector.score_thresh, detector.nms_thresh = -1.0, 1.0
    detector.topk_candidates = detector.detections_per_img = 100_000
    # The first column of a sigmoid head is cut off in `dense`; for boxes it does not matter.
    outputs = {"cls_logits": seen.dense.class_logits, "bbox_regression": seen.dense.box_deltas}
    if seen.head == "softmax":
        return detector.postprocess_detections(outputs, seen.anchors, seen.sizes)
    outputs["bbox_ctrness"] = torch.zeros_like(seen.dense.box_deltas[..., :1])
    lists = {key: [value] for key, value in outputs.items()}
    return detector.postprocess_detections(lists, [[found] for found in seen.anchors], seen.sizes)


def test_all_boxes_on_demand(name, make, batch):
    _, seen = Watch(make(name)).forward(*batch(2, 3))
    if seen.dense is None:
        return
    boxes = seen.dense.boxes()
    assert boxes.shape == seen.dense.box_deltas.shape
    assert torch.equal(boxes[seen.dense.matched >= 0], seen.positives.boxes)


def test_gradient_reaches_the_regression(name, make, batch):
    detector = make(name)
    if name == "fcos":
        nn.init.constant_(detector.head.regression_head.bbox_reg.bias, 1.0)  # off the edge of its ReLU
    _, seen = Watch(detector).forward(*batch(2, 3))
    seen.positives.boxes.pow(2).sum().backward()
    moved = {path for path, p in detector.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any("regression_head" in path or "bbox_pred" in path for path in moved)
    assert not any("classification_head" in path or "cls_score" in path for path in moved)
    assert any(path.startswith("backbone") for path in moved)


def test_columns_of_the_logits(name, make, batch):
    """The background comes first under a softmax and not at all under a sigmoid; labels count from 0 outside."""
    detector = make(name)
    _, targets = batch(2, 3)
    images, _ = batch(2, 3)
    predictor = {
        "small_ssd": lambda: detector.head.classification_head.module_list,
        "ssd": lambda: detector.head.classification_head.module_list,
        "faster_rcnn": lambda: [detector.roi_heads.box_predictor.cls_score],
    }.get(name, lambda: [detector.head.classification_head.cls_logits])()
    for layer in predictor:
        nn.init.zeros_(layer.weight)
        layer.bias.data = torch.arange(4.0).repeat(len(layer.bias) // 4)
    _, seen = Watch(detector).forward(images, targets)
    expected = torch.arange(4.0) if seen.head == "softmax" else torch.arange(1.0, 4.0)
    assert torch.equal(seen.positives.logits, expected.expand_as(seen.positives.logits))
    if seen.dense is not None:
        assert torch.equal(seen.dense.class_logits, expected.expand_as(seen.dense.class_logits))


def test_positives_are_float32_under_autocast(make, batch):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, seen = Watch(make("small_ssd")).forward(*batch(2, 3))
    assert seen.positives.boxes.dtype == torch.float32


def test_proposals_of_the_second_stage(make, batch):
    detector = make("faster_rcnn")
    images, targets = batch(2, 0, 3)
    watch = Watch(detector)
    torch.manual_seed(3)
    _, seen = watch.forward(images, targets)
    proposals, positives = seen.proposals, seen.positives
    assert (
        sum(map(len, proposals.boxes)) == len(proposals.labels) == len(proposals.logits) == len(proposals.pooled)
    )
    assert proposals.pooled.shape[1:] == (32, 7, 7)
    rows = proposals.labels > 0
    assert torch.equal(positives.logits, proposals.logits[rows])
    flat = torch.cat(list(proposals.boxes))[rows]
    for image, place, box, label in zip(
        positives.image.tolist(), positives.object.tolist(), flat, proposals.labels[rows].tolist(), strict=True
    ):
        assert seen.targets[image]["labels"][place] + 1 == label
        assert box_iou(box[None], seen.targets[image]["boxes"][place][None]).item() >= 0.5
    torch.manual_seed(3)
    _, again = watch.forward(images, targets)
    assert torch.equal(again.positives.image, positives.image)
    assert torch.equal(again.proposals.labels, proposals.labels)


def test_sampler_is_called_once(make, batch):
    detector = make("faster_rcnn")
    calls = []
    sampler = detector.roi_heads.fg_bg_sampler
    detector.roi_heads.fg_bg_sampler = lambda labels: calls.append(len(labels)) or sampler(labels)
    Watch(detector).forward(*batch(2, 3))
    assert calls == [2]


def test_towers_of_dense_heads(name, make, batch):
    detector = make(name)
    _, seen = Watch(detector).forward(*batch(2, 3))
    if seen.head == "softmax":
        assert seen.dense is None or not seen.dense.class_towers
        return
    for towers, head in (
        (seen.dense.class_towers, detector.head.classification_head),
        (seen.dense.box_towers, detector.head.regression_head),
    ):
        assert [len(level) for level in towers] == [4] * len(seen.features)
        for level, outputs in zip(seen.features.values(), towers, strict=True):
            assert torch.equal(outputs[-1], head.conv(level))


def test_sides_of_a_distributional_head(make, batch):
    _, seen = Watch(make("fcos_bins")).forward(*batch(2, 3))
    assert seen.dense.side_logits.shape == (2, len(seen.anchors[0]), 4, 9)
    expected = (seen.dense.side_logits.softmax(-1) * torch.arange(9)).sum(-1)
    torch.testing.assert_close(seen.dense.box_deltas, expected)


def test_look_at_a_frozen_detector(name, make, batch):
    detector = make(name).eval()
    images, _ = batch(1, 1)
    seen = Watch(detector).look(images)
    assert seen.positives is seen.proposals is None
    assert not any(level.requires_grad for level in seen.features.values())
    assert (seen.dense is None) == (name == "faster_rcnn")
    if seen.dense is not None:
        assert seen.dense.class_logits.shape[-1] == (4 if seen.head == "softmax" else 3)
        assert seen.dense.boxes().shape == (2, len(seen.anchors[0]), 4)
    expected = detector.backbone(detector.transform(images)[0].tensors)
    assert torch.equal(seen.features["0"], expected["0"])


def test_look_as_another_was_given(make):
    """Pictures of two sizes, padded by the student: the teacher sees the same in units of its own."""
    settings = {"size": None, "min_size": 48, "max_size": 80}
    student = make("retinanet", **settings)
    teacher = make("retinanet", **settings, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3)).eval()
    images = [torch.rand(3, 48, 64), torch.rand(3, 60, 48)]
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    _, seen = Watch(student).forward(images, [none, none])
    found, expected = Watch(teacher).look_as(seen), Watch(teacher).look(images)
    assert found.sizes == expected.sizes
    torch.testing.assert_close(found.images, expected.images, rtol=1e-4, atol=1e-5)
    assert found.mean == (0.5, 0.4, 0.3)


def test_through_a_wrapper(make, batch):
    detector = make("small_ssd")
    wrapped = nn.Sequential()
    wrapped.inner = detector
    losses, _ = Watch(detector).forward(
        *batch(2, 1), through=lambda images, targets: wrapped.inner(images, targets)
    )
    assert set(losses) == {"bbox_regression", "classification"}


def test_refusals(make, batch):
    images, targets = batch(1, 1)
    detector = make("small_ssd")
    with pytest.raises(ModelError, match="eval mode"):
        Watch(detector).look(images)
    with pytest.raises(ShapeError, match="got 2 and 1"):
        Watch(detector).forward(images, targets[:1])
    with pytest.raises(ModelError, match="no losses"):
        Watch(detector.eval()).forward(images, targets)
    with pytest.raises(ModelError, match="a Linear is no detector"):
        Watch(nn.Linear(1, 1))
