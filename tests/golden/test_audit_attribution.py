"""Grad-CAM and its relatives against recorded values of an independent package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.audit.attribution import ATTRIBUTIONS, display, map_cosine, read_map, wins

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "golden" / "audit"
CASES: list[dict[str, Any]] = (
    json.loads((FOLDER / "cases.json").read_text())["cases"] if (FOLDER / "cases.json").is_file() else []
)
pytestmark = pytest.mark.skipif(not CASES, reason=f"golden values are not at {FOLDER}")


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(c, id=c["name"]) for c in CASES if c["kind"] == kind] or [None]


def arrays(case: dict[str, Any]) -> dict[str, Tensor]:
    with np.load(FOLDER / case["file"]) as content:
        return {name: torch.from_numpy(content[name]) for name in content.files}


def agree(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


class RecordedNet(nn.Module):
    """The network that the recorded cases describe; its second ReLU works in place, or is a function."""

    def __init__(self, values: dict[str, Tensor], stride: int, *, functional: bool = False) -> None:
        super().__init__()
        first, second, fc = (values[f"net.{name}.weight"] for name in ("conv1", "conv2", "fc"))
        self.conv1 = nn.Conv2d(first.shape[1], first.shape[0], 3, 1, 1)
        self.conv2 = nn.Conv2d(second.shape[1], second.shape[0], 3, stride, 1)
        self.relu2 = F.relu if functional else nn.ReLU(inplace=True)
        self.fc = nn.Linear(fc.shape[1], fc.shape[0])
        self.to(fc.dtype).eval().requires_grad_(False)
        self.load_state_dict({n.removeprefix("net."): v for n, v in values.items() if n.startswith("net.")})

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.relu2(self.conv2(F.relu(self.conv1(x)))).mean(dim=(2, 3)))


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("case", of_kind("gradcam"))
def test_the_layer_is_found_and_read_as_recorded(case: dict[str, Any], functional: bool) -> None:
    values = arrays(case)
    net = RecordedNet(values, case["stride2"], functional=functional)
    maps, gradients = read_map(net, values["images"], values["labels"])
    agree(maps, values["activations"])
    agree(gradients, values["gradients"])


@pytest.mark.parametrize("case", of_kind("gradcam"))
def test_maps(case: dict[str, Any]) -> None:
    values = arrays(case)
    net, images, labels = RecordedNet(values, case["stride2"]), values["images"], values["labels"]
    size = (images.shape[2], images.shape[3])
    agree(ATTRIBUTIONS["grad_cam"](net, images, labels), values["cam_lowres"])
    names = {"grad_cam": "gradcam", "grad_cam_pp": "gradcampp", "hires_cam": "hirescam", "layer_cam": "layercam"}
    for name, recorded in names.items():
        agree(display(ATTRIBUTIONS[name](net, images, labels), size), values[recorded])
    before = ATTRIBUTIONS["grad_cam"](net, images, labels, layer="conv2")
    agree(display(before, size), values["gradcam_before_relu"])
    predicted = ATTRIBUTIONS["grad_cam"](net, images, net(images).argmax(dim=1), layer="relu2")
    agree(display(predicted, size), values["gradcam_predicted_class"])


@pytest.mark.parametrize("case", of_kind("cam_similarity"))
def test_similarity(case: dict[str, Any]) -> None:
    values = arrays(case)
    teacher, first, second = (values[name][:, None] for name in ("map_teacher", "map_student1", "map_student2"))
    one, two = map_cosine(teacher, first), map_cosine(teacher, second)
    valid = values["valid"]
    assert torch.equal(~(one.isnan() | two.isnan()), valid)
    agree(one[valid], values["cos1"][valid])
    agree(two[valid], values["cos2"][valid])
    strict = wins(one, two, ties="none")
    assert strict.nanmean().item() == pytest.approx(values["win_rate"].item(), abs=1e-6)
    assert wins(two, one).nanmean().item() == pytest.approx(1 - values["win_rate"].item(), abs=1e-6)
