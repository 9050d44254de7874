"""Detectors by name."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import ModelError, UnknownNameError
from limbeck.models._registry import DETECTORS
from limbeck.models.detectors import build_detector


def test_small_ssd_is_the_one_of_the_measurements():
    """0.30 million parameters at width 8, 1.06 at width 16; strides 8 to 64, four boxes a cell."""
    count = {
        w: sum(p.numel() for p in build_detector("small_ssd", num_classes=3, width=w).parameters())
        for w in (8, 16)
    }
    assert round(count[8] / 1e6, 2) == 0.30
    assert round(count[16] / 1e6, 2) == 1.06
    net = build_detector("small_ssd", num_classes=3, size=(64, 128))
    levels = net.backbone(torch.zeros(1, 3, 64, 128))
    assert [tuple(level.shape[1:]) for level in levels.values()] == [
        (32, 8, 16),
        (64, 4, 8),
        (64, 2, 4),
        (64, 1, 2),
    ]
    assert net.anchor_generator.num_anchors_per_location() == [4] * 4


def test_the_first_default_box_has_the_first_scale():
    net = build_detector("small_ssd", num_classes=3, scales=(0.2, 0.3, 0.4, 0.5, 0.6))
    assert net.anchor_generator.scales == [0.2, 0.3, 0.4, 0.5, 0.6]
    with pytest.raises(ModelError, match="4 maps take 5 scales"):
        build_detector("small_ssd", num_classes=3, scales=(0.2, 0.3))


def test_size_is_height_and_width():
    net = build_detector("small_ssd", num_classes=3, size=(60, 80)).eval()
    images, _ = net.transform([torch.rand(3, 30, 30)])
    assert images.tensors.shape == (1, 3, 60, 80)
    net = build_detector("retinanet", num_classes=3, size=(64, 96), fpn_channels=32).eval()
    images, _ = net.transform([torch.rand(3, 30, 30)])
    assert images.tensors.shape == (1, 3, 64, 96)


def test_every_detector_describes_its_settings():
    for name in ("small_ssd", "ssd", "ssd512_vgg16", "retinanet", "fcos", "faster_rcnn", "torchvision/x"):
        component = DETECTORS.describe(name)
        assert component.settings["num_classes"].required
        assert all(setting.doc for setting in component.settings.values()), name


def test_anchor_sizes_are_the_published_ones():
    net = build_detector("retinanet", num_classes=1, fpn_channels=32)
    assert [sizes[0] for sizes in net.anchor_generator.sizes] == [32, 64, 128, 256, 512]
    net = build_detector("faster_rcnn", num_classes=1, fpn_channels=32, box_channels=8)
    assert [sizes[0] for sizes in net.rpn.anchor_generator.sizes] == [32, 64, 128, 256, 512]
    net = build_detector("fcos", num_classes=1, fpn_channels=32)
    assert net.anchor_generator.sizes == ((8,), (16,), (32,), (64,), (128,))


def test_ssd512_has_the_default_boxes_of_the_paper():
    net = build_detector("ssd512_vgg16", num_classes=80).eval()
    with torch.no_grad():
        levels = net.backbone(torch.zeros(1, 3, 512, 512))
    assert [level.shape[-1] for level in levels.values()] == [64, 32, 16, 8, 4, 2, 1]
    per_cell = net.anchor_generator.num_anchors_per_location()
    assert sum(n * level.shape[-1] ** 2 for n, level in zip(per_cell, levels.values(), strict=True)) == 24564


def test_unknown_names_and_settings():
    with pytest.raises(UnknownNameError, match=r"unknown detector 'retinanets'. Did you mean 'retinanet'"):
        build_detector("retinanets", num_classes=2)
    with pytest.raises(ModelError, match=r"no setting 'widht'.*'width'"):
        build_detector("small_ssd", num_classes=2, widht=8)
    with pytest.raises(ModelError, match="at least one class"):
        build_detector("small_ssd", num_classes=0)
    with pytest.raises(ModelError, match="multiple of 32"):
        build_detector("fcos", num_classes=2, fpn_channels=48)
    with pytest.raises(ModelError, match="6 levels take 7 scales"):
        build_detector("ssd", num_classes=2, scales=[0.1, 0.2])
    with pytest.raises(ModelError, match="height and width"):
        build_detector("fcos", num_classes=2, fpn_channels=32, size=(64,))
