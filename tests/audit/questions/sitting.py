"""A small sitting: a fixed network as teacher, itself as one student, others as another student and as control."""

from __future__ import annotations

import torch
from torch import nn

from limbeck.audit.corruptions.filters import smoothed
from limbeck.audit.examination import Examination, Material
from limbeck.audit.subjects import Network, Panel, Subject
from limbeck.models.data_config import DataConfig
from limbeck.seeding import generator

CLASSES = 5


class Random(nn.Module):
    """Classes of an image by a fixed random map of its pixels; each class is predicted about as often."""

    def __init__(self, inputs: int, seed: int) -> None:
        super().__init__()
        draw = generator(seed, "network")
        self.inner = nn.Linear(inputs, 32)
        self.outer = nn.Linear(32, CLASSES)
        with torch.no_grad():
            for layer in (self.inner, self.outer):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=draw) / layer.in_features**0.5)
                layer.bias.zero_()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(4 * self.inner(images.flatten(1))))


def subject(name: str, role: str, shape: tuple[int, ...], seed: int, method: str = "") -> Subject:
    data = DataConfig(shape, (0.5,) * shape[0], (0.25,) * shape[0], tuple(f"c{k}" for k in range(CLASSES)))
    network = Network(Random(torch.Size(shape).numel(), seed), data)
    return Subject(name, role, network, method=method, seed=0)


def sitting(*, shape: tuple[int, ...] = (3, 16, 16), count: int = 200, controls: bool = True) -> Examination:
    """Students `same-s0` (the teacher itself) and `other-s0`, control `control-s0`."""
    images = smoothed(torch.rand(count, *shape, generator=generator(3, "images")), 1.5)
    images = ((images - 0.5) * 4 + 0.5).clamp(0, 1)
    labels = torch.randint(CLASSES, (count,), generator=generator(3, "labels"))
    panel = Panel(
        subject("teacher", "teacher", shape, 0),
        (subject("same-s0", "student", shape, 0, "same"), subject("other-s0", "student", shape, 1, "other")),
        (subject("control-s0", "control", shape, 2, "control"),) if controls else (),
    )
    material = Material((images * 255).round().byte(), labels, tuple(f"c{k}" for k in range(CLASSES)))
    return Examination(panel, material, seed=7, batch_size=64)


def checked(answer) -> None:
    """What every answer has to hold: unique names, the right networks, figures that can be drawn, PNGs."""
    from limbeck.report.figures import draw
    from limbeck.report.tables import table_of

    names = [evidence.name for evidence in answer.evidence]
    assert len(set(names)) == len(names)
    assert answer.evidence[0].primary
    for evidence in answer.evidence:
        learners = {"same-s0", "other-s0", "control-s0"}
        assert set(evidence.tallies) == (learners | {"teacher"} if evidence.kind == "trait" else learners)
        if evidence.kind == "trait":
            assert torch.equal(evidence.tallies["teacher"].columns, evidence.tallies["same-s0"].columns)
    for figure in answer.figures.values():
        assert not draw(figure).problem
    for table in answer.tables.values():
        assert table_of(table).rows
    for picture, title, caption in answer.pictures.values():
        assert picture[:4] == b"\x89PNG"
        assert title
        assert caption
