"""Small trained-looking networks, saved."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from limbeck.models import DataConfig, build, save

CHANNELS = {1: ((0.25,), (0.5,)), 3: ((0.49, 0.48, 0.44), (0.25, 0.24, 0.26))}


class Saved(NamedTuple):
    net: nn.Module
    path: Path
    data: DataConfig

    def logits(self, images: Tensor) -> Tensor:
        """Of images in [0, 1], without the code under test."""
        shape = (-1, 1, 1)
        prepared = (images - torch.tensor(self.data.mean).view(shape)) / torch.tensor(self.data.std).view(shape)
        with torch.no_grad():
            found = self.net.float()(prepared)
        return getattr(found, "logits", found)


@pytest.fixture(scope="session", autouse=True)
def _no_trace() -> Iterator[None]:
    """Torch describes each step of a capture at length to whoever listens to its log, as pytest does."""
    logger = logging.getLogger("torch.__trace")
    before, logger.propagate = logger.propagate, False
    yield
    logger.propagate = before


@pytest.fixture(scope="session")
def saved() -> Callable[..., Saved]:
    """Build a network by name, give its batch norms a past, save it into a folder."""

    def make(name: str, folder: Path, *, channels: int = 1, size: int = 32, **settings: Any) -> Saved:
        torch.manual_seed(0)
        net = build(name, num_classes=3, in_channels=channels, **settings).eval()
        with torch.no_grad():
            for module in net.modules():  # statistics and weights that would show if they were lost
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.1)
                    module.running_var.uniform_(0.5, 2)
        mean, std = CHANNELS[channels]
        data = DataConfig(
            input_shape=(channels, size, size), mean=mean, std=std, class_names=("cat", "dog", "owl")
        )
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "model.safetensors"
        save(net, path, spec=net.limbeck_spec, data=data)
        return Saved(net, path, data)

    return make


@pytest.fixture
def digits() -> Tensor:
    """Ten real images of handwritten digits in [0, 1], 1 x 32 x 32."""
    from sklearn.datasets import load_digits

    pixels = torch.from_numpy(load_digits().images[:10]).float() / 16
    return nn.functional.interpolate(pixels[:, None], size=(32, 32), mode="bilinear")


class ReadsValues(nn.Module):
    """What no graph can hold: it asks for the values of its input."""

    def forward(self, images: Tensor) -> Tensor:
        return images * 2 if images.sum() > 0 else images


class Bessel(nn.Module):
    """What ONNX has no operator for."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.special.bessel_j0(images)


class Odd(nn.Module):
    """A network with one unusual part."""

    def __init__(self, *, part: str, num_classes: int, in_channels: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 4, 3), {"values": ReadsValues, "bessel": Bessel}[part]())
        self.head = nn.Linear(4, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.stem(images).mean(dim=(2, 3)))


@pytest.fixture
def odd(saved: Callable[..., Saved], monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], Saved]:
    """A network with a part that some format cannot hold."""
    from limbeck.models import MODELS

    def odd_net(*, part: str, num_classes: int, in_channels: int = 1) -> nn.Module:
        return Odd(part=part, num_classes=num_classes, in_channels=in_channels)

    monkeypatch.setattr(MODELS, "_registered", {**MODELS._registered, "odd_net": odd_net})
    return lambda part, folder: saved("odd_net", folder, part=part)
