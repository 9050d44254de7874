"""Scenes whose objects are known, and detectors that say what they are told to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.audit.detectors import DetectorExamination, DetectorPanel, DetectorSubject
from limbeck.models.detectors import build_detector
from limbeck.protocols import DetectionSample

NAMES = ("circle", "square", "cross")
SIZE = 64


class Scenes:
    """Images of rectangles; the first pixel holds the image's number."""

    class_names = NAMES
    category_ids = (1, 2, 7)
    mean, std = (0.4, 0.4, 0.4), (0.2, 0.2, 0.2)
    fingerprint = "scenes"

    def __init__(self, count=12, objects=4, crowd=False):
        draw = torch.Generator().manual_seed(0)
        self.samples, self.skipped = [], {}
        corners = torch.tensor([[2.0, 2.0], [36.0, 2.0], [2.0, 36.0], [36.0, 36.0]])
        for number in range(count):
            k = 0 if number == 2 else objects
            image = (torch.rand(3, SIZE, SIZE, generator=draw) * 90).to(torch.uint8)
            start = corners[:k] + (torch.rand(k, 2, generator=draw) * 6).round()
            boxes = torch.cat((start, start + 12 + (torch.rand(k, 2, generator=draw) * 8).round()), dim=1)
            for x1, y1, x2, y2 in boxes.int().tolist():
                image[:, y1:y2, x1:x2] = 200
            image[0, 0, 0] = number
            crowds = torch.zeros(k, dtype=torch.bool)
            crowds[:1] = crowd
            areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
            self.samples.append(
                DetectionSample(image, boxes, (torch.arange(k) + number) % 3, crowds, number + 1, areas)
            )
        self.box_counts = [len(s.boxes) for s in self.samples]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


class Told(nn.Module):
    """A detector that finds in an image what was written down for it, labels from 0."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def forward(self, images):
        made = [self.found[round(float(image[0, 0, 0]) * 255)] for image in images]
        return [{**one, "labels": one["labels"] + 1} for one in made]


def said(boxes, labels, scores):
    return {
        "boxes": torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.as_tensor(labels, dtype=torch.int64),
        "scores": torch.as_tensor(scores, dtype=torch.float32),
    }


@pytest.fixture
def scenes():
    return Scenes


@pytest.fixture
def finding():
    """What a detector finds that finds each object with a chance, some as another class, a little off."""

    def make(source, seed, chance=0.6, confuses=0.2, shift=1.5):
        draw = torch.Generator().manual_seed(seed)
        found = []
        for number in range(len(source)):
            sample = source[number]
            k = len(sample.boxes)
            there = torch.rand(k, generator=draw) < chance
            wrong = torch.rand(k, generator=draw) < confuses
            labels = torch.where(wrong, (sample.labels + 1) % 3, sample.labels)
            boxes = sample.boxes + (torch.rand(k, 4, generator=draw) - 0.5) * 2 * shift
            scores = 0.6 + 0.4 * torch.rand(k, generator=draw)
            found.append(said(boxes[there], labels[there], scores[there]))
        return found

    return make


@pytest.fixture
def sitting():
    """An examination from what the detectors say: a list for the teacher, and lists by name for the others."""

    def make(source, teacher, students, controls=(), **settings):
        def subject(name, role, what, method, seed):
            return DetectorSubject(name, role, what if isinstance(what, nn.Module) else Told(what), method, seed)

        panel = DetectorPanel(
            subject("teacher", "teacher", teacher, "", None),
            tuple(subject(f"kd-s{n}", "student", what, "kd", n) for n, what in enumerate(students)),
            tuple(subject(f"control-s{n}", "control", what, "control", n) for n, what in enumerate(controls)),
        )
        return DetectorExamination(panel, source, **settings)

    return make


@pytest.fixture
def detectors():
    """name -> a tiny detector of three classes, the same weights each time."""

    def make(name, seed=0, **settings):
        torch.manual_seed(seed)
        sizes = {"small_ssd": {"size": (SIZE, SIZE)}}.get(
            name, {"size": (SIZE, SIZE), "fpn_channels": 64, "backbone": "torchvision/resnet18"}
        )
        return build_detector(name, **{"num_classes": 3, **sizes, **settings})

    return make
