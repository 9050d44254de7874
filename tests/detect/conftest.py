"""Tiny detectors, data and teachers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from limbeck.detect.classifier import ClassifierTeacher
from limbeck.models import DataConfig, build
from limbeck.models.detectors import build_detector
from limbeck.models.detectors.watching import Watch
from limbeck.protocols import DetectionSample

NAMES = ("circle", "square", "cross")


class Shapes:
    """Six images of rectangles, one of them without objects; a source that knows no file."""

    class_names = NAMES
    category_ids = (1, 2, 7)
    mean, std = (0.4, 0.4, 0.4), (0.2, 0.2, 0.2)
    fingerprint = "shapes"

    def __init__(self, count=6, size=64):
        draw = torch.Generator().manual_seed(0)
        self.samples = []
        for number in range(count):
            image = (torch.rand(3, size, size, generator=draw) * 60).to(torch.uint8)
            k = 0 if number == 2 else 1 + number % 3
            start = torch.rand(k, 2, generator=draw) * (size * 0.5)
            side = 10 + torch.rand(k, 2, generator=draw) * (size * 0.35)
            boxes = torch.cat((start, start + side), dim=1).round()
            for x1, y1, x2, y2 in boxes.int().tolist():
                image[:, y1:y2, x1:x2] = 200
            labels = torch.arange(k) % 3
            crowd = torch.zeros(k, dtype=torch.bool)
            areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
            self.samples.append(DetectionSample(image, boxes, labels, crowd, number + 1, areas))
        self.box_counts = [len(s.boxes) for s in self.samples]
        self.skipped = {}

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


@pytest.fixture
def shapes():
    return Shapes()


@pytest.fixture
def batch(shapes):
    """Images and targets of the whole source, numbered."""
    images = [s.image.float() / 255 for s in shapes.samples]
    targets, first = [], 0
    for s in shapes.samples:
        objects = torch.arange(first, first + len(s.boxes))
        targets.append({"boxes": s.boxes.clone(), "labels": s.labels.clone(), "objects": objects})
        first += len(s.boxes)
    return {"images": images, "targets": targets, "index": torch.arange(len(images)), "number": 0}


@pytest.fixture
def detectors():
    """name -> a tiny detector of three classes, the same weights each time."""

    def make(name, seed=0, **settings):
        torch.manual_seed(seed)
        sizes = {"small_ssd": {"size": (64, 64)}}.get(
            name, {"size": (64, 64), "fpn_channels": 32, "backbone": "torchvision/resnet18"}
        )
        return build_detector(name, num_classes=3, **{**sizes, **settings})

    return make


@pytest.fixture
def classifier():
    """A classifier of the three shapes, 16 pixels, with fresh weights."""
    torch.manual_seed(3)
    model = build("resnet8", num_classes=3, in_channels=3).eval()
    for p in model.parameters():
        p.data.mul_(1.5)
    return model


@pytest.fixture
def classifier_teacher(classifier):
    facts = DataConfig((3, 16, 16), (0.4,) * 3, (0.2,) * 3, NAMES)
    return ClassifierTeacher(classifier, facts, NAMES)


@pytest.fixture
def watched(detectors):
    """A frozen detector that teaches."""

    def make(name, **settings):
        return Watch(detectors(name, seed=9, **settings).eval().requires_grad_(False))

    return make


@pytest.fixture
def names():
    return NAMES


@pytest.fixture
def records(tmp_path):
    lines = []

    def write_scalars(values):
        lines.append(dict(values))

    def truncate_scalars(step):
        lines[:] = [line for line in lines if line["step"] <= step]

    return SimpleNamespace(
        path=tmp_path, lines=lines, write_scalars=write_scalars, truncate_scalars=truncate_scalars
    )
