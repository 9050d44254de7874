"""A sitting of small convolutional networks: the teacher itself as one student, others as student and control."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from limbeck.audit.examination import Examination, Material
from limbeck.audit.subjects import Network, Panel, Role, Subject
from limbeck.models.data_config import DataConfig
from limbeck.seeding import generator

CLASSES = 4
NAMES = tuple(f"c{k}" for k in range(CLASSES))


class Conv(nn.Module):
    """Two stages and a linear layer, with fixed weights; every class is predicted about as often."""

    def __init__(self, channels: int, seed: int, images: Tensor) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, CLASSES)
        draws = generator(seed, "weights")
        with torch.no_grad():
            for one in (p for p in self.parameters() if p.ndim > 1):
                one.copy_(torch.randn(one.shape, generator=draws) / one[0].numel() ** 0.5)
            self.train()(images)
            for norm in (self.first[1], self.second[1]):
                norm.momentum = 1.0
            self(images)
            logits = self.eval()(images)
            self.fc.weight.div_(logits.std(dim=0)[:, None] / 3)
            self.fc.bias.copy_(-3 * (logits - self.fc.bias).mean(dim=0) / logits.std(dim=0))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.pool(self.second(self.first(images))).flatten(1))


def smooth(count: int, shape: tuple[int, int, int], seed: int) -> Tensor:
    """Bytes with large structures, so that networks see more than noise."""
    coarse = torch.rand(count, shape[0], 4, 4, generator=generator(seed, "images"))
    return (nn.functional.interpolate(coarse, size=shape[1:], mode="bicubic").clamp(0, 1) * 255).round().byte()


@pytest.fixture(scope="session")
def examined() -> Callable[..., Examination]:
    """Students `same-s0` (the teacher once more) and `other-s0`, control `control-s0`, and images.

    The teacher is right on four of five images; the others, which know nothing of the labels, by chance.
    """

    def build(
        count: int = 240,
        shape: tuple[int, int, int] = (1, 12, 12),
        *,
        controls: bool = True,
        batch_size: int = 60,
        **more: object,
    ) -> Examination:
        images = smooth(count, shape, 3)
        data = DataConfig(shape, (0.5,) * shape[0], (0.25,) * shape[0], NAMES)
        nets = [Conv(shape[0], seed, (images.float() / 255 - 0.5) / 0.25) for seed in (1, 2, 3)]

        def subject(name: str, role: Role, net: nn.Module, method: str = "") -> Subject:
            return Subject(name, role, Network(copy.deepcopy(net), data), method, 0 if method else None)

        panel = Panel(
            subject("teacher", "teacher", nets[0]),
            (subject("same-s0", "student", nets[0], "same"), subject("other-s0", "student", nets[1], "other")),
            (subject("control-s0", "control", nets[2], "control"),) if controls else (),
        )
        with torch.no_grad():
            right = panel.teacher.network(images.float() / 255).argmax(dim=1)
        labels = torch.where(torch.arange(count) % 5 == 0, (right + 1) % CLASSES, right)
        return Examination(panel, Material(images, labels, NAMES), seed=7, batch_size=batch_size, **more)

    return build
