"""Measures about a teacher and its students against values of independent implementations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from limbeck.measures import (
    CkaMap,
    agreement,
    brier_score,
    cohen_kappa,
    expected_calibration_error,
    hsic_unbiased,
    js_divergence,
    kl_to_teacher,
    linear_cka,
    linear_cka_unbiased,
    maximum_calibration_error,
    negative_log_likelihood,
    plane_through,
    predictions_on,
    rbf_cka,
    rbf_cka_unbiased,
    same_regions,
    shape_bias,
    top_k_overlap,
)

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "golden" / "audit"
CASES: dict[str, dict[str, Any]] = (
    {case["name"]: case for case in json.loads((FOLDER / "cases.json").read_text())["cases"]}
    if (FOLDER / "cases.json").is_file()
    else {}
)
pytestmark = pytest.mark.skipif(not CASES, reason=f"golden values are not at {FOLDER}")


def arrays(name: str) -> dict[str, Tensor]:
    with np.load(FOLDER / f"{name}.npz") as content:
        return {key: torch.from_numpy(np.asarray(content[key])) for key in content.files}


def double(wanted: Tensor) -> Any:
    return pytest.approx(wanted.item(), rel=1e-6)


def single(wanted: Tensor) -> Any:
    return pytest.approx(wanted.item(), rel=1e-4, abs=1e-5)


def test_predictions() -> None:
    case = arrays("prediction_agreement")
    teacher, student = case["teacher_logits"], case["student_logits"]
    assert agreement(student, teacher) == double(case["top1_agreement"])
    assert agreement(student, teacher) == double(case["top1_agreement_float64"])
    assert top_k_overlap(student, teacher, k=3) == double(case["overlap_top3"])
    assert top_k_overlap(student, teacher, k=5) == double(case["overlap_top5"])
    assert kl_to_teacher(student, teacher) == double(case["kl_teacher_student"])
    assert js_divergence(student, teacher) == double(case["js"])
    assert cohen_kappa(student, student) == 1


def test_calibration() -> None:
    case = arrays("prediction_agreement")
    logits, labels = case["student_logits"], case["labels"]
    assert expected_calibration_error(logits, labels, bins=10) == double(case["ece10_student_fidelity_paper"])
    assert expected_calibration_error(logits, labels, bins=10) == single(case["ece10_l1_student_torchmetrics"])
    assert expected_calibration_error(logits, labels, bins=15) == single(case["ece15_l1_student_torchmetrics"])
    assert maximum_calibration_error(logits, labels, bins=15) == single(case["mce15_student_torchmetrics"])
    assert brier_score(logits, labels) == double(case["brier_student"])
    assert negative_log_likelihood(logits, labels) == double(case["nll_student"])


def test_shape_bias() -> None:
    case = arrays("shape_bias")
    found = shape_bias(case["response"], case["shape_class"], case["texture_class"])
    assert found.bias == double(case["shape_bias"])
    assert found.shape_fraction == double(case["fraction_correct_shape"])
    assert found.texture_fraction == double(case["fraction_correct_texture"])


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["kind"] == "cka"])
def test_cka(name: str) -> None:
    case = arrays(name)
    x, y = case["X"], case["Y"]
    assert linear_cka(x, y) == double(case["linear_biased"])
    assert linear_cka_unbiased(x, y) == double(case["linear_unbiased"])
    assert hsic_unbiased(x, y) == double(case["hsic_unbiased_xy"])
    assert hsic_unbiased(x, x) == double(case["hsic_unbiased_xx"])
    assert hsic_unbiased(y, y) == double(case["hsic_unbiased_yy"])
    assert rbf_cka(x, y, width=1.0, median="nonzero") == double(case["rbf_median_nonzero"])
    assert rbf_cka(x, y, width=0.5, median="all") == double(case["rbf_median_all_0p5"])
    assert rbf_cka(x, y, width=1.0, median="all") == double(case["rbf_median_all_1p0"])
    assert rbf_cka_unbiased(x, y, width=0.5, median="all") == double(case["linear_unbiased_rbf_0p5"])


def test_cka_in_batches() -> None:
    case = arrays("cka_minibatch")
    size = CASES["cka_minibatch"]["batch_size"]
    gathered = CkaMap()
    for start in range(0, 48, size):
        rows = slice(start, start + size)
        gathered.update(*({layer: case[f"f{side}_{layer}"][rows] for layer in "ab"} for side in (1, 2)))
    torch.testing.assert_close(gathered.result(), case["cka_float64"], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(gathered.result().float(), case["cka"], rtol=1e-4, atol=1e-5)


def network(case: dict[str, Tensor], side: int) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 4))
    prefix = f"net{side}."
    net.load_state_dict({key.removeprefix(prefix): x for key, x in case.items() if key.startswith(prefix)})
    return net


def test_decision_boundaries() -> None:
    case = arrays("decision_boundary")
    sides = network(case, 1), network(case, 2)
    shares = []
    for row, images in enumerate(case["triplets"]):
        plane = plane_through(images)
        grid = plane.grid(resolution=20, margin=0.1)
        torch.testing.assert_close(grid.float(), case["coefficients"][row], rtol=1e-4, atol=1e-5)
        found = [predictions_on(net, plane, grid) for net in sides]
        for predictions, name in zip(found, ("pred_a", "pred_b"), strict=True):
            assert torch.equal(predictions, case[name][row])
        shares.append(same_regions(*found))
        assert shares[-1] == double(case["iou_per_triplet"][row])
    assert sum(shares) / len(shares) == double(case["iou"])
