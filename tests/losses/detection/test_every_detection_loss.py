"""What holds for every loss from detector to detector; one without a row in the table below fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import limbeck.losses.detection as package
from limbeck.errors import ShapeError
from limbeck.losses.detection import DETECTION_LOSSES

N, A, R, C = 2, 5, 6, 3
Inputs = dict[str, Any]
FOUNDED_ELSEWHERE = {name for name in DETECTION_LOSSES if name.startswith(("kd_cls", "kd_loc"))}
"""From classifier to detector: one value for each positive, tested in their own files."""


@dataclass(frozen=True)
class Row:
    inputs: Inputs
    supplied: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SHAPES = {"student_shapes": [(4, 6, 8), (3, 3, 4)], "teacher_shapes": [(6, 6, 8), (3, 3, 4)]}
MAPS = {
    "student_maps": [draw(N, *shape, seed=i) for i, shape in enumerate(SHAPES["student_shapes"])],
    "teacher_maps": [draw(N, *shape, seed=10 + i) for i, shape in enumerate(SHAPES["teacher_shapes"])],
}
BOXES = {"boxes": [torch.tensor([[0.1, 0.1, 0.4, 0.6], [0.3, 0.2, 0.9, 0.8]]), torch.zeros(0, 4)]}
MASKS = {"anchor_masks": [draw(N, 6, 8, seed=20) > 0, draw(N, 3, 4, seed=21) > 0]}
ROIS = {"student_logits": draw(R, C + 1, seed=2), "teacher_logits": draw(R, C + 1, seed=3)}
LABELS = {"proposal_labels": torch.tensor([0, 1, 3, 0, 2, 0])}
DENSE = draw(N, A, C, seed=4), draw(N, A, C, seed=5)
MATCHES = {"anchor_matches": torch.tensor([[0, -1, -2, 1, -1], [-1, -1, -1, -2, -1]])}
SIDES = draw(N, A, 4, 7, seed=6), draw(N, A, 4, 7, seed=7)
POSITIVES = {"side_positives": MATCHES["anchor_matches"] >= 0}
REGION = {"side_region": torch.tensor([[True, True, False, False, False], [False, True, False, False, True]])}


def corners(seed: int) -> Tensor:
    points = 20 * draw(N, A, 2, 2, seed=seed).abs()
    return torch.cat((points.amin(dim=2), points.amax(dim=2)), dim=2)


TABLE = {
    "fgfi": Row(MAPS | MASKS, SHAPES),
    "defeat": Row(MAPS | BOXES, SHAPES),
    "fkd": Row(MAPS, SHAPES, {"strides": (2,), "reductions": (2,)}),
    "fgd": Row(MAPS | BOXES, SHAPES),
    "mgd": Row(MAPS, SHAPES),
    "pkd": Row(MAPS, SHAPES),
    "cwd": Row(MAPS, SHAPES),
    "wkd_maps": Row(MAPS, SHAPES, {"grid": 2}),
    "wkd_pooled": Row(
        {"student_pooled": draw(R, 4, 7, 7, seed=8), "teacher_pooled": draw(R, 5, 7, 7, seed=9)},
        {"student_shape": (4, 7, 7), "teacher_shape": (5, 7, 7)},
    ),
    "defeat_proposals": Row(ROIS | LABELS),
    "wkd_rois": Row(ROIS | LABELS | {"cost": 1 - torch.eye(C + 1, dtype=torch.float64)}),
    "crosskd_classes": Row({"crossed_logits": DENSE[0], "teacher_class_logits": DENSE[1]} | MATCHES),
    "crosskd_boxes": Row(
        {"crossed_boxes": corners(1), "teacher_boxes": corners(2), "teacher_class_logits": DENSE[1]} | MATCHES
    ),
    "crosskd_sides": Row(
        {"crossed_sides": SIDES[0], "teacher_sides": SIDES[1], "teacher_class_logits": DENSE[1]} | MATCHES
    ),
    "ld": Row({"student_sides": SIDES[0], "teacher_sides": SIDES[1]} | POSITIVES | REGION),
    "ld_summed": Row(
        {"student_sides": SIDES[0], "teacher_sides": SIDES[1], "student_class_logits": DENSE[0]}
        | POSITIVES
        | REGION
    ),
    "ld_classes": Row({"student_class_logits": DENSE[0], "teacher_class_logits": DENSE[1]} | POSITIVES),
}
NAMES = sorted(TABLE)
MODULES = sorted(name for name in NAMES if inspect.isclass(DETECTION_LOSSES[name]))
ON_MAPS = sorted(name for name in NAMES if "student_maps" in TABLE[name].inputs)
IDLE_AT_FIRST = ("relations", "relation_adapters", "attention")
"""Weights of blocks that start as the identity: most have no slope before the last layer has moved."""


def make(name: str) -> Callable[..., Tensor]:
    row = TABLE[name]
    if name not in MODULES:
        return DETECTION_LOSSES[name]
    torch.manual_seed(0)
    module = DETECTION_LOSSES[name](**row.supplied, **row.settings).double().eval()
    assert isinstance(module, nn.Module)
    return module


def call(name: str, inputs: Inputs, loss: Callable[..., Tensor] | None = None) -> Tensor:
    loss = make(name) if loss is None else loss
    torch.manual_seed(1)  # MGD's masks
    return loss(*inputs.values())


def changed(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The inputs with their activations changed; boxes, labels and costs stay."""

    def one(key: str, value: Tensor) -> Tensor:
        return change(value) if value.is_floating_point() and key not in ("boxes", "cost") else value

    return {k: [one(k, x) for x in v] if isinstance(v, list) else one(k, v) for k, v in inputs.items()}


def tensors(value: Any) -> list[Tensor]:
    return value if isinstance(value, list) else [value]


def test_every_loss_has_a_row_and_a_public_name() -> None:
    assert set(TABLE) | FOUNDED_ELSEWHERE == set(DETECTION_LOSSES)
    assert not set(TABLE) & FOUNDED_ELSEWHERE
    assert set(TABLE) <= set(package.__all__)
    assert all(getattr(package, name) is DETECTION_LOSSES[name] for name in TABLE)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_and_settings_are_known_without_an_import(name: str) -> None:
    component, row = DETECTION_LOSSES.describe(name), TABLE[name]
    assert component.inputs == tuple(row.inputs)
    assert set(row.supplied) | set(row.settings) <= set(component.settings)
    assert all(setting.required == (key in row.supplied) for key, setting in component.settings.items())
    assert all(setting.doc for setting in component.settings.values())
    assert component.summary.endswith(".")
    assert "References:" in component.doc
    called = inspect.getdoc(DETECTION_LOSSES[name].forward if name in MODULES else DETECTION_LOSSES[name]) or ""
    assert "Returns:" in called
    assert all(f"{key}: " in called for key in row.inputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_scalar_with_true_gradients(name: str) -> None:
    loss, inputs = make(name), TABLE[name].inputs
    assert call(name, inputs, loss).shape == ()
    assert call(name, inputs, loss) > 0
    key = next(iter(inputs))
    students = [x.clone().requires_grad_() for x in tensors(inputs[key])]
    scale = 1 / float(call(name, inputs, loss).detach())  # published weights are small numbers
    if name == "fgd":
        return  # absolute differences of attentions: checked below

    def value(*own: Tensor) -> Tensor:
        given = inputs | {key: list(own) if isinstance(inputs[key], list) else own[0]}
        return scale * call(name, given, loss)

    if name not in ("fkd", "ld_summed"):  # a mask and a score are constants of the step there
        assert torch.autograd.gradcheck(value, tuple(students), atol=1e-5, rtol=1e-3, fast_mode=True)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_student_and_the_weights_and_no_teacher(name: str) -> None:
    loss = make(name)
    inputs = changed(TABLE[name].inputs, lambda x: x.clone().requires_grad_())
    call(name, inputs, loss).backward()
    for position, (key, value) in enumerate(inputs.items()):
        for x in tensors(value):
            if position == 0:
                assert x.grad is not None
                assert x.grad.isfinite().all()
                assert x.grad.abs().max() > 0
            else:
                assert x.grad is None, key
    if isinstance(loss, nn.Module):
        for key, weight in loss.named_parameters():
            assert weight.grad is not None, key
            assert weight.grad.isfinite().all()
            if not any(part in key for part in IDLE_AT_FIRST):
                assert weight.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_under_autocast(name: str) -> None:
    loss = make(name)
    half = changed(TABLE[name].inputs, lambda x: x.to(torch.bfloat16))
    wanted = call(name, changed(half, lambda x: x.double()), loss)
    if isinstance(loss, nn.Module):
        loss.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = call(name, half, loss)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), wanted, rtol=0.03, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_extreme_inputs_stay_finite(name: str) -> None:
    loss = make(name)
    if isinstance(loss, nn.Module):
        loss.float()
    inputs = changed(TABLE[name].inputs, lambda x: (1e3 * x).float().requires_grad_())
    value = call(name, inputs, loss)
    value.backward()
    assert value.isfinite()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in tensors(next(iter(inputs.values()))))


def nothing(name: str) -> Inputs:
    """The inputs of a batch in which no image has an object, or without proposals."""
    inputs = dict(TABLE[name].inputs)
    if "boxes" in inputs:
        inputs["boxes"] = [torch.zeros(0, 4) for _ in range(N)]
    if "anchor_masks" in inputs:
        inputs["anchor_masks"] = [torch.zeros_like(x) for x in inputs["anchor_masks"]]
    if "anchor_matches" in inputs:
        inputs["anchor_matches"] = torch.full((N, A), -2)
    for key in ("side_positives", "side_region"):
        if key in inputs:
            inputs[key] = torch.zeros(N, A, dtype=torch.bool)
    for key in ("student_logits", "teacher_logits", "proposal_labels", "student_pooled", "teacher_pooled"):
        if key in inputs:
            inputs[key] = inputs[key][:0]
    return inputs


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_objects_is_finite_and_uses_the_same_weights(name: str) -> None:
    loss = make(name)
    inputs = changed(nothing(name), lambda x: x.clone().requires_grad_())
    value = call(name, inputs, loss)
    value.backward()
    assert value.isfinite()
    if name not in ON_MAPS or name == "fgfi":
        assert value == 0
    assert all(x.grad is not None and x.grad.isfinite().all() for x in tensors(next(iter(inputs.values()))))
    if isinstance(loss, nn.Module):
        assert all(weight.grad is not None for weight in loss.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_shapes_that_do_not_fit_are_refused(name: str) -> None:
    inputs = dict(TABLE[name].inputs)
    teacher = list(inputs)[1]
    value = inputs[teacher]
    inputs[teacher] = [x[:, :-1] for x in value] if isinstance(value, list) else value[:, :-1]
    with pytest.raises(ShapeError, match=r"\(|channels"):
        call(name, inputs)


@pytest.mark.parametrize("name", ON_MAPS)
def test_other_levels_than_announced_are_refused(name: str) -> None:
    row = TABLE[name]
    fewer = row.inputs | {"student_maps": row.inputs["student_maps"][:1]}
    with pytest.raises(ShapeError, match="student_maps"):
        call(name, fewer)
    with pytest.raises(ShapeError, match="1 levels of the student and 2"):
        DETECTION_LOSSES[name](**row.supplied | {"student_shapes": [(4, 6, 8)]})
    with pytest.raises(ShapeError, match="expected maps"):
        DETECTION_LOSSES[name](**row.supplied | {"student_shapes": [(4,), (3,)]})


@pytest.mark.parametrize("name", MODULES)
def test_a_checkpoint_brings_the_same_value_back(name: str) -> None:
    row, values = TABLE[name], []
    torch.manual_seed(2)
    loss = DETECTION_LOSSES[name](**row.supplied, **row.settings).double()
    call(name, row.inputs, loss)
    torch.manual_seed(3)
    again = DETECTION_LOSSES[name](**row.supplied, **row.settings).double()
    again.load_state_dict(loss.state_dict())
    values = [call(name, row.inputs, each) for each in (loss, again)]
    assert torch.equal(*values)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"wkd_rois", "mgd"}))
def test_zero_where_student_and_teacher_agree(name: str) -> None:
    """With adapters that change nothing; transport has an entropic bias, and MGD sees the student masked."""
    inputs = dict(TABLE[name].inputs)
    own, taught = list(inputs)[:2]
    inputs[own] = inputs[taught]
    if name in MODULES:
        outside = {k: TABLE[name].supplied[k.replace("student", "teacher")] for k in TABLE[name].supplied}
        torch.manual_seed(0)
        loss = DETECTION_LOSSES[name](**outside, **TABLE[name].settings).double()
        pass_through(loss)
        value = call(name, inputs, loss)
    else:
        value = call(name, inputs)
    assert value.abs() < 1e-12


def pass_through(loss: nn.Module) -> None:
    """Make adapters the identity; blocks that start as the identity are left."""
    for key, module in loss.named_modules():
        if any(part in key for part in ("_relations", "generators")):
            continue
        if isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight)
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Linear):
            nn.init.eye_(module.weight)
            nn.init.zeros_(module.bias)


@pytest.mark.parametrize("name", ON_MAPS)
def test_levels_of_one_position_work(name: str) -> None:
    """The last level of a small image, in a batch of one, in training mode."""
    row = TABLE[name]
    loss = DETECTION_LOSSES[name](student_shapes=[(4, 1, 1)], teacher_shapes=[(6, 1, 1)], **row.settings).train()
    inputs: Inputs = {"s": [torch.randn(1, 4, 1, 1).requires_grad_()], "t": [torch.randn(1, 6, 1, 1)]}
    if "boxes" in row.inputs:
        inputs["boxes"] = [torch.tensor([[0.2, 0.2, 0.5, 0.5]])]
    if "anchor_masks" in row.inputs:
        inputs["anchor_masks"] = [torch.ones(1, 1, 1, dtype=torch.bool)]
    value = call(name, inputs, loss)
    value.backward()
    assert value.isfinite()
    assert inputs["s"][0].grad.isfinite().all()
