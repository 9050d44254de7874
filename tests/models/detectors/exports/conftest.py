"""Tiny detectors in files, and a process without Limbeck that reads exports."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limbeck.models.detectors import build_detector, predict, save

SIDE = 64
PYRAMID = {"backbone": "torchvision/resnet18", "fpn_channels": 64, "size": (SIDE, SIDE)}
CASES: dict[str, dict[str, Any]] = {
    "small_ssd": {"size": (SIDE, SIDE)},
    "ssd": {"backbone": "timm/test_resnet", "size": (SIDE, SIDE), "extra_channels": 32},
    "retinanet": {**PYRAMID, "fpn_channels": 32, "anchor_scale": 2.0},
    "fcos": {**PYRAMID, "score_threshold": 0.45},
    "fcos_bins": {**PYRAMID, "bins": 8},
    "faster_rcnn": {**PYRAMID, "fpn_channels": 32, "box_channels": 32, "anchor_scale": 4.0},
    "torchvision/ssdlite320_mobilenet_v3_large": {},
    "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn": {"min_size": 64, "max_size": 96},
}
_ALONE = """
import sys
class NoLimbeck:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "limbeck":
            raise ImportError("limbeck is not here")
sys.meta_path.insert(0, NoLimbeck())
sys.path = [p for p in sys.path if not p.endswith("/src")]
"""


@pytest.fixture(scope="session", autouse=True)
def _no_trace() -> Iterator[None]:
    """Torch describes each step of a capture at length to whoever listens to its log, as pytest does."""
    logger = logging.getLogger("torch.__trace")
    before, logger.propagate = logger.propagate, False
    yield
    logger.propagate = before


def lively(detector: nn.Module) -> nn.Module:
    """Weights with which boxes differ from each other as those of a trained detector do."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in detector.named_parameters():
            if name.endswith("cls_logits.weight"):
                weight.normal_(0, 0.1, generator=generator)
            elif name.endswith("cls_logits.bias"):
                weight.zero_()
            elif weight.ndim == 4 and "mobilenet" in detector.limbeck_spec["name"]:
                weight.normal_(0, weight[0].numel() ** -0.5, generator=generator)
    return detector.eval()


def make(file: Path, case: str, **settings: Any) -> Path:
    torch.manual_seed(0)
    detector = build_detector(case.removesuffix("_bins"), num_classes=3, **{**CASES[case], **settings})
    save(lively(detector), file, class_names=("cat", "dog", "owl"), notes={"secret": str(file)})
    return file


@pytest.fixture(scope="session")
def detector_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Name of a case -> its file; not to be written to."""
    folder = tmp_path_factory.mktemp("detectors")

    def file(case: str) -> Path:
        path = folder / f"{case.replace('/', '-')}.safetensors"
        return path if path.exists() else make(path, case)

    return file


@pytest.fixture(scope="session")
def certain_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector with something in noise and nothing in a plain image; not to be written to."""
    torch.manual_seed(0)
    detector: Any = lively(build_detector("small_ssd", num_classes=3, **CASES["small_ssd"]))
    noise, plain = torch.rand(3, SIDE, SIDE), torch.full((3, SIDE, SIDE), 0.5)
    heads = list(detector.head.classification_head.module_list)
    for head in heads:
        nn.init.normal_(head.weight, std=0.5)
    for _ in range(100):
        if not len(predict(detector, [plain])[0]["scores"]):
            break
        for head in heads:
            head.bias.data.view(-1, 4)[:, 0] += 0.25
    assert len(predict(detector, [noise])[0]["scores"]) > 3
    path = tmp_path_factory.mktemp("certain") / "model.safetensors"
    save(detector, path, class_names=("cat", "dog", "owl"))
    return path


@pytest.fixture
def pictures() -> Callable[[int, int], list[Tensor]]:
    """Noise, a smooth image and a plain one."""

    def draw(height: int, width: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(5)
        noise, coarse = (
            torch.rand(3, height, width, generator=generator),
            torch.rand(1, 3, 5, 5, generator=generator),
        )
        smooth = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0]
        return [noise, smooth, torch.full((3, height, width), 0.5)]

    return draw


@pytest.fixture
def alone() -> Callable[..., None]:
    """Run code in a process in which Limbeck cannot be imported."""

    def run(code: str, *arguments: object) -> None:
        end = "\nassert not any(name.split('.')[0] == 'limbeck' for name in sys.modules)\n"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _ALONE + code + end, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        assert done.returncode == 0, done.stderr

    return run
