"""The identities and limits of direction alignment through an ensemble of projectors."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses import ProjectorEnsemble, direction_alignment

few = settings(max_examples=15, deadline=None, derandomize=True)
seeds = st.integers(0, 10_000)


def vectors(seed: int, dims: int = 7, count: int = 2) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(4, dims, generator=draw, dtype=torch.float64) for _ in range(count)]


def ensemble(student_dim: int = 5, teacher_dim: int = 7, **settings: object) -> ProjectorEnsemble:
    torch.manual_seed(0)
    return ProjectorEnsemble(student_dim=student_dim, teacher_dim=teacher_dim, **settings).double()  # type: ignore[arg-type]


@few
@given(seeds)
def test_half_the_squared_distance_of_directions(seed: int) -> None:
    f, t = vectors(seed)
    halves = (f / f.norm(dim=1, keepdim=True) - t / t.norm(dim=1, keepdim=True)).square().sum(dim=1) / 2
    torch.testing.assert_close(direction_alignment(f, t), halves)
    assert (direction_alignment(f, t) <= 2).all()
    assert (direction_alignment(f.relu(), t.relu()) <= 1 + 1e-12).all()
    torch.testing.assert_close(direction_alignment(f, 5 * t), direction_alignment(f, t))


@few
@given(seeds)
def test_gradient_is_orthogonal_and_shrinks_with_length(seed: int) -> None:
    f, t = vectors(seed)
    gradients = []
    for scale in (1.0, 3.0):
        scaled = (scale * f).requires_grad_()
        gradients += torch.autograd.grad(direction_alignment(scaled, t).sum(), scaled)
    assert (gradients[0] * f).sum(dim=1).abs().max() < 1e-12
    torch.testing.assert_close(gradients[1], gradients[0] / 3)


def test_identity_projector_on_equal_features_gives_zero() -> None:
    project = ensemble(4, 4, projectors=1)
    linear = project.projectors[0][0]  # type: ignore[index]
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)
    features = vectors(0, dims=4)[0].abs().requires_grad_()
    values = direction_alignment(project(features), features.detach())
    (gradient,) = torch.autograd.grad(values.sum(), features)
    assert values.abs().max() < 1e-12
    assert gradient.abs().max() < 1e-12


def test_relu_then_average() -> None:
    project = ensemble()
    student = vectors(1, dims=5)[0]
    wanted = sum(torch.relu(p[0](student)) for p in project.projectors) / 3  # type: ignore[index]
    torch.testing.assert_close(project(student), wanted)


def test_copies_of_one_projector_are_one_projector_for_ever() -> None:
    single = ensemble(projectors=1)
    copies = ensemble(projectors=3)
    for projector in copies.projectors:
        projector.load_state_dict(single.projectors[0].state_dict())
    student, teacher = vectors(2, dims=5)[0], vectors(3, dims=7)[0]
    torch.testing.assert_close(copies(student), single(student))
    optimizer = torch.optim.SGD(copies.parameters(), lr=0.5)
    for _ in range(5):
        optimizer.zero_grad()
        direction_alignment(copies(student), teacher).mean().backward()
        optimizer.step()
    first, *others = (projector[0].weight for projector in copies.projectors)  # type: ignore[index]
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("init", ["default", "orthogonal", "kaiming"])
def test_projectors_start_differently_and_stay_so(init: str) -> None:
    project = ensemble(init=init)
    student, teacher = vectors(2, dims=5)[0], vectors(3, dims=7)[0]
    optimizer = torch.optim.SGD(project.parameters(), lr=0.5)
    for _ in range(5):
        weights = [projector[0].weight for projector in project.projectors]  # type: ignore[index]
        assert all((a - b).norm() > 0.1 for a, b in pairwise(weights))
        optimizer.zero_grad()
        direction_alignment(project(student), teacher).mean().backward()
        optimizer.step()


def test_scale_and_order_of_projectors_do_not_matter() -> None:
    project = ensemble()
    student, teacher = vectors(4, dims=5)[0], vectors(5, dims=7)[0]
    wanted = direction_alignment(project(student), teacher)
    changed = copy.deepcopy(project)
    changed.projectors = nn.ModuleList(reversed(list(changed.projectors)))
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.mul_(4)
    torch.testing.assert_close(direction_alignment(changed(student), teacher), wanted)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for projector in changed.projectors:
            linear = projector[0]  # type: ignore[index]
            linear.weight.copy_(linear.weight[order])
            linear.bias.copy_(linear.bias[order])
    torch.testing.assert_close(direction_alignment(changed(student), teacher[:, order]), wanted)


def test_dead_projectors_and_dead_teachers_give_one_and_finite_gradients() -> None:
    project = ensemble()
    with torch.no_grad():
        for parameter in project.parameters():
            parameter.copy_(-parameter.abs())
    student = vectors(6, dims=5)[0].abs().requires_grad_()
    values = direction_alignment(project(student), vectors(7)[0])
    values.sum().backward()
    torch.testing.assert_close(values, torch.ones_like(values))
    assert student.grad is not None
    assert student.grad.isfinite().all()
    zero_teacher = direction_alignment(student, torch.zeros_like(student))
    torch.testing.assert_close(zero_teacher, torch.ones_like(zero_teacher))


def test_large_half_precision_features_do_not_overflow() -> None:
    huge = torch.full((1, 2048), 300.0, dtype=torch.float16)
    assert direction_alignment(huge, huge).abs().max() < 1e-5


def test_depth_width_and_activation() -> None:
    project = ensemble(depth=3, hidden_dim=11, activation="none", projectors=2)
    shapes = [tuple(p.shape) for n, p in project.named_parameters() if n.endswith("weight")]
    assert shapes == [(11, 5), (11, 11), (7, 11)] * 2
    assert (project(vectors(8, dims=5)[0]) < 0).any()
    assert sum(p.numel() for p in ensemble(256, 256).parameters()) == 3 * (256 * 256 + 256)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"projectors": 0}, "projectors must be above 0"),
        ({"depth": 0}, "depth must be above 0"),
        ({"activation": "rellu"}, "unknown activation 'rellu'. Did you mean 'relu'"),
        ({"init": "ortogonal"}, "unknown init 'ortogonal'. Did you mean 'orthogonal'"),
    ],
)
def test_settings_out_of_range(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ensemble(**changes)


def test_unprojected_features_of_another_size_name_the_way_out() -> None:
    with pytest.raises(ShapeError, match="ProjectorEnsemble"):
        direction_alignment(torch.zeros(2, 3), torch.zeros(2, 4))
