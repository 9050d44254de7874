"""What holds for every loss of the registry; a loss without a row in the table below fails."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.losses import LOSSES

N, C = 3, 5
Inputs = dict[str, Tensor]


def _draw(*shape: int, seed: int, positive: bool = False) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.abs() + 0.1 if positive else values


def _logits() -> Inputs:
    return {"student": _draw(N, C, seed=1), "teacher": _draw(N, C, seed=2)}


def _labels() -> Inputs:
    return {"labels": torch.tensor([0, 3, 4])}


def _cost() -> Inputs:
    cost = _draw(C, C, seed=3).abs() / 2
    return {"cost": (cost + cost.T).fill_diagonal_(0)}


def _maps(height: int = 4, channels: int = 3, positive: bool = False) -> Inputs:
    shape = (N, channels, height, 4)
    return {
        "student_map": _draw(*shape, seed=4, positive=positive),
        "teacher_map": _draw(*shape, seed=5, positive=positive),
    }


TABLE: dict[str, tuple[Inputs, dict[str, Any]]] = {
    "cross_entropy": ({"student": _logits()["student"]} | _labels(), {}),
    "sigmoid_focal": ({"student": _logits()["student"]} | _labels(), {}),
    "noisy_labels": ({"student": _logits()["student"]} | _labels() | {"index": torch.tensor([4, 0, 9])}, {}),
    "kd": (_logits(), {}),
    "hint": (_maps(), {}),
    "wkd_target": (_logits() | _labels(), {}),
    "wkd_transport": (_logits() | _labels() | _cost(), {"temperature": 2.0}),
    "wkd_transport_all": (_logits() | _cost(), {"temperature": 2.0}),
    "wkd_transport_converged": (_logits() | _labels() | _cost(), {"temperature": 2.0, "tolerance": 1e-11}),
    "wkd_logit": (_logits() | _labels() | _cost(), {"transport_weight": 10.0}),
    "wkd_feature": (_maps(), {"grid": 2}),
    "wkd_feature_full": (_maps(), {}),
    "direction_alignment": (
        {"student_features": _draw(N, 6, seed=6), "teacher_features": _draw(N, 6, seed=7)},
        {},
    ),
    "gaussian_kl": (_maps(), {}),
    "gaussian_symmetric_kl": (_maps(), {}),
    "gaussian_bhattacharyya": (_maps(), {}),
    "gaussian_kl_full": (_maps(), {}),
    "gaussian_bhattacharyya_full": (_maps(), {}),
    "gaussian_log_euclidean": (_maps(), {}),
    "laplace_w2": (_maps(), {}),
    "laplace_kl": (_maps(), {}),
    "exponential_w2": (_maps(positive=True), {}),
    "exponential_kl": (_maps(positive=True), {}),
    "histogram_kl": (_maps(), {}),
    "channel_histogram_kl": (_maps(), {}),
    "sorted_w2": (_maps(), {}),
    "pixel_mmd": (_maps(), {}),
    "pixel_mmd_polynomial": (_maps(), {}),
    "pixel_transport": (_maps(), {}),
    "simkd": (_maps(), {}),
    "dkd": (_logits() | _labels(), {}),
    "nkd": (_logits() | _labels(), {}),
    "mld_instance": (_logits(), {"temperatures": (2.0, 5.0)}),
    "at": (_maps(), {}),
    "nst": (_maps(), {}),
    "ickd": (_maps(), {}),
}
IN_A_TABLE_OF_THEIR_OWN = {
    *("cc", "crd", "ofd", "reviewkd", "reviewkd_hcl", "vid"),  # test_module_losses
    *(
        "dist",
        "mld",
        "mld_batch",
        "mld_class",
        "pkt",
        "rkd",
        "rkd_angle",
        "rkd_distance",
        "sp",
    ),  # ..._relational_...
}
NOT_A_TOTAL_GRADIENT = {"pixel_transport"}  # moves along a plan held fixed: the gradient of another objective
NOT_ZERO_AT_EQUALITY = {
    "cross_entropy",
    "sigmoid_focal",
    "noisy_labels",
    "wkd_target",
    "wkd_transport",
    "wkd_transport_all",
    "wkd_transport_converged",
    "wkd_logit",
    "pixel_transport",
    "nkd",
}
BRIDGES_CHANNELS = {"at", "nst"}
SAME_AT_EQUALITY = sorted(set(TABLE) - NOT_ZERO_AT_EQUALITY)
NAMES = sorted(TABLE)


def call(name: str, inputs: Inputs, **changes: Any) -> Tensor:
    return LOSSES[name](*inputs.values(), **TABLE[name][1] | changes)


def student_of(name: str) -> str:
    return next(key for key in TABLE[name][0] if key.startswith("student"))


def test_every_loss_has_a_row() -> None:
    assert set(TABLE) | IN_A_TABLE_OF_THEIR_OWN == set(LOSSES)
    assert len(LOSSES) >= 27


@pytest.mark.parametrize("name", NAMES)
def test_row_gives_the_positional_parameters_in_order(name: str) -> None:
    assert LOSSES.describe(name).inputs == tuple(TABLE[name][0])


@pytest.mark.parametrize("name", NAMES)
def test_documentation_names_every_parameter_and_its_source(name: str) -> None:
    component = LOSSES.describe(name)
    assert component.summary.endswith(".")
    assert "Returns:" in component.doc
    assert all(setting.doc for setting in component.settings.values())
    assert all(f"    {parameter}: " in component.doc for parameter in component.inputs)
    if name != "cross_entropy":
        assert "References:" in component.doc


@pytest.mark.parametrize("name", NAMES)
def test_one_finite_number_for_each_sample_independent_of_the_others(name: str) -> None:
    inputs, _ = TABLE[name]
    values = call(name, inputs)
    assert values.shape == (N,)
    assert values.dtype == torch.float64
    assert values.isfinite().all()
    for i in range(N):
        one = {key: x if key == "cost" else x[i : i + 1] for key, x in inputs.items()}
        torch.testing.assert_close(call(name, one), values[i : i + 1])


@pytest.mark.parametrize("name", sorted(set(NAMES) - NOT_A_TOTAL_GRADIENT))
def test_gradient_of_the_student(name: str) -> None:
    inputs, _ = TABLE[name]
    key = student_of(name)
    assert torch.autograd.gradcheck(
        lambda x: call(name, inputs | {key: x}), inputs[key].clone().requires_grad_(), atol=1e-6
    )


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_reaches_the_teacher_or_the_cost(name: str) -> None:
    inputs = {key: x.clone() for key, x in TABLE[name][0].items()}
    for x in inputs.values():
        if x.is_floating_point():
            x.requires_grad_()
    call(name, inputs).sum().backward()
    for key, x in inputs.items():
        if key == student_of(name):
            assert x.grad is not None
            assert x.grad.isfinite().all()
            assert x.grad.abs().max() > 0
        else:
            assert x.grad is None, key


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_under_autocast(name: str, dtype: torch.dtype) -> None:
    half = {key: x.to(dtype) if x.is_floating_point() else x for key, x in TABLE[name][0].items()}
    wide = {key: x.double() if x.is_floating_point() else x for key, x in half.items()}
    changes = {"tolerance": 1e-8} if name == "wkd_transport_converged" else {}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = call(name, half, **changes)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.double(), call(name, wide, **changes), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", SAME_AT_EQUALITY)
def test_zero_with_zero_gradient_where_student_equals_teacher(name: str) -> None:
    inputs, _ = TABLE[name]
    key, teacher_key = list(inputs)[:2]
    teacher = inputs[teacher_key]
    student = teacher.clone().requires_grad_()
    values = call(name, inputs | {key: student})
    assert values.abs().max() < 1e-9
    values.sum().backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"pixel_mmd_polynomial"}))
def test_extreme_inputs_stay_finite(name: str) -> None:
    inputs, _ = TABLE[name]
    scale = 1e3 if "student" in inputs or "student_features" in inputs else 30.0
    inputs = {
        key: x.float() * scale if x.is_floating_point() and key != "cost" else x for key, x in inputs.items()
    }
    student = inputs[student_of(name)].requires_grad_()
    changes = {"tolerance": 1e-5} if name == "wkd_transport_converged" else {}
    values = call(name, inputs, **changes)
    assert values.isfinite().all()
    values.sum().backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


TAUGHT_BY_LABELS = {"cross_entropy", "sigmoid_focal", "noisy_labels"}


@pytest.mark.parametrize("name", sorted(set(NAMES) - TAUGHT_BY_LABELS - BRIDGES_CHANNELS))
def test_shapes_that_differ_are_refused_with_both_shown(name: str) -> None:
    inputs = dict(TABLE[name][0])
    key = student_of(name)
    inputs[key] = inputs[key][:, :-1]
    with pytest.raises(ShapeError) as caught:
        call(name, inputs)
    message = str(caught.value)
    assert str(tuple(inputs[key].shape)) in message
    assert str((N, inputs[key].shape[1] + 1)[:2])[:-1] in message


VARIANCES = {"wkd_feature", "gaussian_kl", "gaussian_symmetric_kl", "gaussian_bhattacharyya"}  # torch warns


@pytest.mark.parametrize("name", sorted(set(NAMES) - VARIANCES))
def test_an_empty_batch_gives_no_values(name: str) -> None:
    empty = {key: x if key == "cost" else x[:0] for key, x in TABLE[name][0].items()}
    assert call(name, empty).shape == (0,)
