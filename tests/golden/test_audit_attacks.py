"""Attacks against recorded values of an independent computation, and whom they fool."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.audit.attacks import (
    attack_normalised,
    fgsm,
    fooled,
    ifgsm,
    mifgsm,
    on_successful,
    pgd,
    pgd_l2,
)
from limbeck.audit.attacks.steps import loss_gradient
from limbeck.sources.loader import normalise

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "golden" / "audit"
CASES: list[dict[str, Any]] = (
    json.loads((FOLDER / "cases.json").read_text())["cases"] if (FOLDER / "cases.json").is_file() else []
)
pytestmark = pytest.mark.skipif(not CASES, reason=f"golden values are not at {FOLDER}")

ATTACKS: dict[str, Callable[..., Tensor]] = {
    "fgsm_8": partial(fgsm, eps=8 / 255),
    "ifgsm_8_2_5": ifgsm,
    "ifgsm_4_1_5": partial(ifgsm, eps=4 / 255, step=1 / 255),
    "pgd_linf_8_2_10_nostart": partial(pgd, start=0.0),
    "pgd_l2_0p5_0p1_7_nostart": partial(pgd_l2, start=0.0, iterations=7),
    "mifgsm_8_2_5": mifgsm,
}


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(c, id=c["name"]) for c in CASES if c["kind"] == kind] or [None]


def arrays(case: dict[str, Any]) -> dict[str, Tensor]:
    with np.load(FOLDER / case["file"]) as content:
        return {name: torch.from_numpy(content[name]) for name in content.files}


class RecordedNet(nn.Module):
    """The network that the recorded cases describe; it takes normalised images."""

    def __init__(self, values: dict[str, Tensor], stride: int) -> None:
        super().__init__()
        first, second, fc = (values[f"net.{name}.weight"] for name in ("conv1", "conv2", "fc"))
        self.conv1 = nn.Conv2d(first.shape[1], first.shape[0], 3, 1, 1)
        self.conv2 = nn.Conv2d(second.shape[1], second.shape[0], 3, stride, 1)
        self.fc = nn.Linear(fc.shape[1], fc.shape[0])
        self.to(fc.dtype).eval().requires_grad_(False)
        self.load_state_dict({n.removeprefix("net."): v for n, v in values.items() if n.startswith("net.")})

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.conv2(F.relu(self.conv1(x)))).mean(dim=(2, 3)))


class Pixels(nn.Module):
    """The same network behind its normalisation."""

    def __init__(self, net: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.net, self.mean, self.std = net, mean.tolist(), std.tolist()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(normalise(x, self.mean, self.std))


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("case", of_kind("attack"))
def test_attacks(case: dict[str, Any], name: str) -> None:
    values = arrays(case)
    net = Pixels(RecordedNet(values, case["stride2"]), values["mean"], values["std"])
    found = ATTACKS[name](net, values["images"], values["labels"])
    torch.testing.assert_close(found, values[f"adv_{name}"], rtol=0, atol=1e-6)
    assert torch.equal(net(found).argmax(dim=1), values[f"pred_{name}"])


@pytest.mark.parametrize("case", of_kind("attack"))
def test_gradient(case: dict[str, Any]) -> None:
    values = arrays(case)
    net = Pixels(RecordedNet(values, case["stride2"]), values["mean"], values["std"])
    found = loss_gradient(net, values["images"], values["labels"])
    # The recorded loss is a mean over the batch.
    scale = len(found) if not torch.allclose(found, values["grad0"], rtol=1e-6) else 1
    torch.testing.assert_close(found / scale, values["grad0"], rtol=1e-6, atol=1e-12)
    assert torch.equal(net(values["images"]).argmax(dim=1), values["clean_pred"])


@pytest.mark.parametrize("case", of_kind("attack_normalised"))
def test_normalised_images(case: dict[str, Any]) -> None:
    values = arrays(case)
    found = attack_normalised(
        RecordedNet(values, case["stride2"]),
        values["images_normalised"],
        values["labels"],
        mean=values["mean"].tolist(),
        std=values["std"].tolist(),
    )
    torch.testing.assert_close(found, values["adv_normalised"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", of_kind("fooling"))
def test_fooling(case: dict[str, Any]) -> None:
    values = arrays(case)
    teacher = fooled(values["teacher_clean"], values["teacher_adv"])
    student = on_successful(fooled(values["student_clean"], values["student_adv"]), teacher)
    assert teacher.mean().item() == pytest.approx(values["teacher_fooling"].item(), rel=1e-9)
    assert int((~student.isnan()).sum()) == values["n_successful"].item()
    assert student.nanmean().item() == pytest.approx(values["student_fooling_on_successful"].item(), rel=1e-9)
