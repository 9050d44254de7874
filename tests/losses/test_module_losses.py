"""What holds for every loss that is a module or takes several maps; `test_every_loss` sends them here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limbeck.errors import ShapeError
from limbeck.losses import LOSSES

N = 3
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Row:
    inputs: Inputs
    supplied: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def _draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SHAPES = {"student_shape": (3, 4, 4), "teacher_shape": (5, 4, 4)}
MANY = {"student_shapes": [(3, 4, 4), (4, 2, 2), (4,)], "teacher_shapes": [(2, 4, 4), (5, 2, 2), (6,)]}
MAPS = {"student_map": _draw(N, 3, 4, 4, seed=1), "teacher_map": _draw(N, 5, 4, 4, seed=2)}
LISTS = {
    "student_maps": [_draw(N, *shape, seed=i) for i, shape in enumerate(MANY["student_shapes"])],
    "teacher_maps": [_draw(N, *shape, seed=10 + i) for i, shape in enumerate(MANY["teacher_shapes"])],
}
VECTORS = {
    "student_features": _draw(N, 4, seed=3),
    "teacher_features": _draw(N, 6, seed=4),
    "index": torch.tensor([7, 0, 11]),
}
TABLE = {
    "cc": Row(
        {key: VECTORS[key] for key in ("student_features", "teacher_features")},
        {"student_shape": (4,), "teacher_shape": (6,)},
        {"dim": 5},
    ),
    "crd": Row(
        VECTORS,
        {"student_shape": (4,), "teacher_shape": (6,), "class_of": torch.arange(12) % 3},
        {"negatives": 5, "dim": 4},
    ),
    "reviewkd": Row(LISTS, MANY),
    "vid": Row(MAPS, SHAPES),
    "reviewkd_hcl": Row(
        {"student_maps": LISTS["student_maps"], "teacher_maps": [1 - x for x in LISTS["student_maps"]]}
    ),
    "ofd": Row(
        {
            "student_map": _draw(N, 5, 4, 4, seed=5),
            "teacher_map": MAPS["teacher_map"],
            "margin": -torch.rand(5).double(),
        }
    ),
}
NAMES = sorted(TABLE)
MODULES = sorted(name for name in NAMES if inspect.isclass(LOSSES[name]))


def make(name: str) -> Callable[..., Tensor]:
    """In eval mode, so that nothing depends on the batch or is remembered."""
    row = TABLE[name]
    if name not in MODULES:
        return LOSSES[name]
    torch.manual_seed(0)
    module = LOSSES[name](**row.supplied, **row.settings).double().eval()
    assert isinstance(module, nn.Module)
    if name == "crd":
        module.scale.fill_(20.0)  # set once in training, and constant ever after
    return module


def tensors(value: Any) -> list[Tensor]:
    return value if isinstance(value, list) else [value]


def changed(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The inputs with their floating tensors changed."""
    return {
        key: [change(x) for x in value]
        if isinstance(value, list)
        else change(value)
        if value.is_floating_point()
        else value
        for key, value in inputs.items()
    }


def test_rows_that_stand_here_are_losses() -> None:
    assert set(NAMES) <= set(LOSSES)
    assert len(NAMES) >= 5
    assert MODULES == ["cc", "crd", "reviewkd", "vid"]


@pytest.mark.parametrize("name", NAMES)
def test_inputs_and_settings_are_known_without_an_import(name: str) -> None:
    component, row = LOSSES.describe(name), TABLE[name]
    assert component.inputs == tuple(row.inputs)
    assert set(row.supplied) | set(row.settings) <= set(component.settings)
    assert all(setting.required == (key in row.supplied) for key, setting in component.settings.items())
    assert all(setting.doc for setting in component.settings.values())
    assert component.summary.endswith(".")
    assert "References:" in component.doc
    called = inspect.getdoc(LOSSES[name].forward if name in MODULES else LOSSES[name]) or ""
    assert "Returns:" in called
    assert all(f"{key}: " in called for key in row.inputs)


@pytest.mark.parametrize("name", NAMES)
def test_one_number_for_each_sample_or_for_the_whole_batch(name: str) -> None:
    loss, inputs = make(name), TABLE[name].inputs
    values = loss(*inputs.values())
    assert values.dtype == torch.float64
    assert values.isfinite().all()
    assert values.shape == (() if getattr(LOSSES[name], "relational", False) else (N,))
    if values.dim():
        for i in range(N):
            one = {
                k: [x[i : i + 1] for x in v] if isinstance(v, list) else v if k == "margin" else v[i : i + 1]
                for k, v in inputs.items()
            }
            torch.testing.assert_close(loss(*one.values()), values[i : i + 1])


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_student_and_weights(name: str) -> None:
    loss, inputs = make(name), TABLE[name].inputs
    key = next(iter(inputs))
    students = [x.clone().requires_grad_() for x in tensors(inputs[key])]
    weights = dict(loss.named_parameters()) if isinstance(loss, nn.Module) else {}

    def value(*values: Tensor) -> Tensor:
        own = list(values[: len(students)])
        given = inputs | {key: own if isinstance(inputs[key], list) else own[0]}
        if not isinstance(loss, nn.Module):
            return loss(*given.values())
        replaced = dict(zip(weights, values[len(students) :], strict=True))
        return torch.func.functional_call(loss, replaced, tuple(given.values()))

    assert torch.autograd.gradcheck(value, (*students, *weights.values()), atol=1e-6)
    value(*students, *weights.values()).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in weights.values())


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_reaches_the_teacher(name: str) -> None:
    inputs = changed(TABLE[name].inputs, lambda x: x.clone().requires_grad_())
    make(name)(*inputs.values()).sum().backward()
    for key, value in inputs.items():
        for x in tensors(value):
            if key.startswith("student"):
                assert x.grad is not None
                assert x.grad.isfinite().all()
            else:
                assert x.grad is None, key


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_under_autocast(name: str) -> None:
    loss = make(name)
    half = changed(TABLE[name].inputs, lambda x: x.to(torch.bfloat16))
    wide = changed(half, lambda x: x.double())
    wanted = loss(*wide.values())
    if isinstance(loss, nn.Module):
        loss.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = loss(*half.values())
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.double(), wanted, rtol=0.03, atol=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_extreme_inputs_stay_finite(name: str) -> None:
    loss = make(name)
    if isinstance(loss, nn.Module):
        loss.float()
    inputs = changed(TABLE[name].inputs, lambda x: (1e3 * x).float().requires_grad_())
    values = loss(*inputs.values())
    values.sum().backward()
    assert values.isfinite().all()
    student = tensors(next(iter(inputs.values())))
    assert all(x.grad is not None and x.grad.isfinite().all() for x in student)


@pytest.mark.parametrize("name", NAMES)
def test_other_channels_than_announced_are_refused(name: str) -> None:
    inputs = dict(TABLE[name].inputs)
    teacher = list(inputs)[1]
    inputs[teacher] = changed({teacher: inputs[teacher]}, lambda x: x[:, :-1])[teacher]
    with pytest.raises(ShapeError, match=r"\("):
        make(name)(*inputs.values())


@pytest.mark.parametrize("name", MODULES)
def test_a_checkpoint_brings_the_same_value_back(name: str) -> None:
    row = TABLE[name]
    torch.manual_seed(1)
    loss = LOSSES[name](**row.supplied, **row.settings).double()
    loss(*row.inputs.values())
    torch.manual_seed(2)
    again = LOSSES[name](**row.supplied, **row.settings).double()
    again.load_state_dict(loss.state_dict())
    for module in (loss, again):
        module.train()
    assert torch.equal(loss(*row.inputs.values()), again(*row.inputs.values()))
    assert all(
        torch.equal(a, b) for a, b in zip(loss.state_dict().values(), again.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"cc", "crd"}))
def test_an_empty_batch_gives_no_values(name: str) -> None:
    inputs = {
        k: [x[:0] for x in v] if isinstance(v, list) else v if k == "margin" else v[:0]
        for k, v in TABLE[name].inputs.items()
    }
    assert make(name)(*inputs.values()).shape == (0,)
