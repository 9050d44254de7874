"""What holds for every loss that relates the samples of a batch; `test_every_loss` sends them here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.errors import ShapeError
from limbeck.losses import LOSSES

N, C = 6, 5
Inputs = dict[str, Tensor]


def _draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LOGITS = {"student": _draw(N, C, seed=1), "teacher": _draw(N, C, seed=2)}
VECTORS = {"student_features": _draw(N, 4, seed=3), "teacher_features": _draw(N, 7, seed=4)}
MAPS = {"student_map": _draw(N, 3, 4, 4, seed=5), "teacher_map": _draw(N, 2, 5, 5, seed=6)}
TABLE: dict[str, tuple[Inputs, dict[str, Any]]] = {
    "dist": (LOGITS, {"temperature": 2.0}),
    "mld": (LOGITS, {}),
    "mld_batch": (LOGITS, {}),
    "mld_class": (LOGITS, {}),
    "pkt": (VECTORS, {}),
    "rkd": (VECTORS, {}),
    "rkd_angle": (VECTORS, {}),
    "rkd_distance": (VECTORS, {}),
    "sp": (MAPS, {}),
}
NAMES = sorted(TABLE)


def call(name: str, inputs: Inputs) -> Tensor:
    return LOSSES[name](*inputs.values(), **TABLE[name][1])


@pytest.mark.parametrize("name", NAMES)
def test_one_number_for_the_batch_and_marked(name: str) -> None:
    value = call(name, TABLE[name][0])
    assert value.shape == ()
    assert value.dtype == torch.float64
    assert value > 0
    assert LOSSES[name].relational


@pytest.mark.parametrize("name", NAMES)
def test_documentation_names_every_parameter_and_its_source(name: str) -> None:
    component = LOSSES.describe(name)
    assert component.inputs == tuple(TABLE[name][0])
    assert component.summary.endswith(".")
    assert "Returns:" in component.doc
    assert "References:" in component.doc
    assert all(setting.doc for setting in component.settings.values())
    assert all(f"    {parameter}: " in component.doc for parameter in component.inputs)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_of_the_student(name: str) -> None:
    inputs = TABLE[name][0]
    key = next(iter(inputs))
    student = inputs[key].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: call(name, inputs | {key: x}), student, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_reaches_the_teacher(name: str) -> None:
    inputs = {key: x.clone().requires_grad_() for key, x in TABLE[name][0].items()}
    call(name, inputs).backward()
    student, teacher = inputs.values()
    assert student.grad is not None
    assert student.grad.abs().max() > 0
    assert teacher.grad is None


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_batch_does_not_matter(name: str) -> None:
    inputs, order = TABLE[name][0], torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(call(name, {k: x[order] for k, x in inputs.items()}), call(name, inputs))


@pytest.mark.parametrize("name", NAMES)
def test_zero_with_zero_gradient_where_student_equals_teacher(name: str) -> None:
    key, teacher_key = TABLE[name][0]
    teacher = TABLE[name][0][teacher_key]
    student = teacher.clone().requires_grad_()
    value = call(name, {key: student, teacher_key: teacher})
    value.backward()
    assert value.abs() < 1e-5  # DIST adds 1e-8 to lengths that are small themselves
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_under_autocast(name: str, dtype: torch.dtype) -> None:
    half = {key: x.to(dtype) for key, x in TABLE[name][0].items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = call(name, half)
    assert value.dtype == torch.float32
    wide = call(name, {key: x.double() for key, x in half.items()})
    torch.testing.assert_close(value.double(), wide, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_edges_stay_finite(name: str) -> None:
    inputs = TABLE[name][0]
    for changed in (
        {k: x[:1] for k, x in inputs.items()},  # a batch of one
        {k: x[:1].expand_as(x) for k, x in inputs.items()},  # all samples alike
        {k: torch.zeros_like(x) for k, x in inputs.items()},
        {k: 1e3 * x.float() for k, x in inputs.items()},
    ):
        key = next(iter(changed))
        student = changed[key].clone().requires_grad_()
        value = call(name, changed | {key: student})
        value.backward()
        assert value.isfinite()
        assert student.grad is not None
        assert student.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_other_samples_are_refused_with_both_shapes(name: str) -> None:
    key, teacher_key = TABLE[name][0]
    inputs = dict(TABLE[name][0])
    inputs[key] = inputs[key][:-1]
    with pytest.raises(ShapeError) as caught:
        call(name, inputs)
    assert str(tuple(inputs[key].shape)) in str(caught.value)
    assert str(tuple(inputs[teacher_key].shape)) in str(caught.value)
