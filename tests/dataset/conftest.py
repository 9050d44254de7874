"""Recorded cases of the authors' programs, and tiny networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

Case = tuple[dict[str, Any], dict[str, Tensor]]


@pytest.fixture
def golden(shared: Path) -> Callable[[str], Case]:
    """Name of a case -> its parameters (with rtol and atol) and its arrays as double-precision tensors."""
    folder = shared / "golden/dataset"
    index = {case["name"]: case for case in json.loads((folder / "cases.json").read_text())["cases"]}

    def load(name: str) -> Case:
        found = index[name]
        with np.load(folder / found["file"], allow_pickle=False) as arrays:
            tensors = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        return {**found["params"], "rtol": found["rtol"], "atol": found["atol"]}, tensors

    return load


@pytest.fixture
def convnet() -> Callable[..., nn.Module]:
    """The network of a recorded case, in double precision."""
    from limbeck.models import build

    def make(params: dict[str, Any]) -> nn.Module:
        return build(
            "convnet",
            depth=params["depth"],
            width=params["width"],
            image_size=params["im_size"],
            in_channels=params.get("channels", 3),
            num_classes=params["classes"],
        ).double()

    return make


@pytest.fixture
def close() -> Callable[[Tensor, Tensor, dict[str, Any]], None]:
    """Equality to the recorded tolerance."""

    def check(found: Tensor, wanted: Tensor, params: dict[str, Any]) -> None:
        torch.testing.assert_close(found.to(wanted.dtype), wanted, rtol=params["rtol"], atol=params["atol"])

    return check
