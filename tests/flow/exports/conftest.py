"""Tiny flows in files, and a process without Limbeck that reads exports."""

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
from torch import nn

from limbeck.flow import Flow, save
from limbeck.models.velocity import build_velocity_network
from limbeck.specs import Spec

THOUSAND = Spec(name="velocity", time_scale=1000)
SMALL = {"width": 8, "multiples": (1, 2), "blocks": 1, "attention": (4,)}
CASES: dict[str, dict[str, Any]] = {
    "points": {"network": "mlp", "shape": (2, 1, 1), "width": 8},
    "classes": {"network": "small_unet", "shape": (1, 8, 8), "classes": 3, "width": 8},
    "edm": {"network": "mlp", "shape": (1, 4, 4), "meaning": "edm", "width": 8},
    "averages": {
        "network": "mlp",
        "shape": (1, 4, 4),
        "width": 8,
        "predicts": "average velocity",
        "interval": True,
    },
    "jumps": {"network": "mlp", "shape": (1, 4, 4), "width": 8, "predicts": "consistency"},
    "unet": {"network": "diffusers_unet", "shape": (1, 8, 8), "classes": 2, "meaning": THOUSAND, **SMALL},
    "unet-edm": {"network": "diffusers_unet", "shape": (1, 8, 8), "meaning": "edm", **SMALL},
    "transformer": {
        "network": "diffusers_transformer",
        "shape": (1, 8, 8),
        "classes": 2,
        "meaning": THOUSAND,
        "width": 16,
        "depth": 1,
        "heads": 2,
    },
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


def make(
    file: Path,
    *,
    network: str,
    shape: tuple[int, int, int],
    classes: int = 0,
    meaning: Spec | str = "velocity",
    predicts: str = "velocity",
    **settings: Any,
) -> Path:
    torch.manual_seed(0)
    net = build_velocity_network(network, image_shape=shape, classes=classes, **settings)
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.1)  # away from the zeros that some begin with
    flow = Flow(net, meaning, image_shape=shape, classes=classes, predicts=predicts)
    save(flow, file, class_names=tuple("abc"[:classes]))
    return file


@pytest.fixture(scope="session")
def flow_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Name of a case -> its file; not to be written to."""
    folder = tmp_path_factory.mktemp("flows")

    def file(case: str) -> Path:
        if "diffusers" in CASES[case]["network"]:
            pytest.importorskip("diffusers")
        path = folder / f"{case}.safetensors"
        return path if path.exists() else make(path, **CASES[case])

    return file


@pytest.fixture
def alone(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in a process in which Limbeck cannot be imported."""

    def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        end = "\nassert not any(name.split('.')[0] == 'limbeck' for name in sys.modules)\n"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _ALONE + code + end, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(tmp_path / "modules")},
        )
        assert done.returncode == 0, done.stderr
        return done

    return run
