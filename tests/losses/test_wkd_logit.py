"""The identities and limits of WKD on logits."""

from __future__ import annotations

import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses import kd, wkd_logit, wkd_target, wkd_transport, wkd_transport_all, wkd_transport_converged

GUARD = 1e-8
problems = st.builds(
    lambda seed, samples, classes: problem(seed, samples, classes),
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.integers(3, 9),
)
few = settings(max_examples=15, deadline=None, derandomize=True)


def problem(seed: int, samples: int = 4, classes: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    student, teacher = (2 * torch.randn(samples, classes, generator=draw, dtype=torch.float64) for _ in range(2))
    cost = torch.rand(classes, classes, generator=draw, dtype=torch.float64)
    labels = torch.randint(classes, (samples,), generator=draw)
    return student, teacher, labels, ((cost + cost.T) / 2).fill_diagonal_(0)


def per_sample(
    student: Tensor, teacher: Tensor, labels: Tensor, cost: Tensor, temperature: float, reg: float, its: int
) -> Tensor:
    """The definition, one sample at a time, the target's row and column really removed."""
    values = []
    for s, t, y in zip(student, teacher, labels.tolist(), strict=True):
        keep = [k for k in range(len(s)) if k != y]
        a, b = F.softmax(s[keep] / temperature, 0), F.softmax(t[keep] / temperature, 0)
        ground = cost[keep][:, keep].clamp_min(0) + 1e-8
        kernel = torch.exp(-ground / reg)
        u = torch.full_like(a, 1 / len(keep))
        for _ in range(its):
            v = b / (kernel.T @ u + GUARD)
            u = a / (kernel @ v + GUARD)
        values.append((u[:, None] * kernel * v * ground).sum())
    return torch.stack(values)


@few
@given(problems, st.integers(1, 20), st.booleans())
def test_shared_kernel_equals_the_per_sample_form(
    drawn: tuple[Tensor, Tensor, Tensor, Tensor], iterations: int, symmetric: bool
) -> None:
    student, teacher, labels, cost = drawn
    if not symmetric:
        cost = cost.triu() * 2
    student.requires_grad_()
    ours = wkd_transport(student, teacher, labels, cost, temperature=2.0, reg=0.1, iterations=iterations)
    naive = per_sample(student, teacher, labels, cost, 2.0, 0.1, iterations)
    torch.testing.assert_close(ours, naive, rtol=1e-12, atol=1e-14)
    gradients = [torch.autograd.grad(values.sum(), student)[0] for values in (ours, naive)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-13)


@few
@given(problems, st.floats(-50, 50))
def test_shifting_logits_changes_nothing(drawn: tuple[Tensor, Tensor, Tensor, Tensor], shift: float) -> None:
    student, teacher, labels, cost = drawn
    torch.testing.assert_close(
        wkd_logit(student + shift, teacher - shift, labels, cost), wkd_logit(student, teacher, labels, cost)
    )


@few
@given(problems)
def test_gradient_sums_to_zero_and_is_the_target_terms_at_the_label(
    drawn: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    student, teacher, labels, cost = drawn
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(wkd_logit(student, teacher, labels, cost).sum(), student)
    assert gradient.sum(dim=1).abs().max() < 1e-10
    rows = torch.arange(len(labels))
    p_s, p_t = F.softmax(student, 1)[rows, labels], F.softmax(teacher, 1)[rows, labels]
    torch.testing.assert_close(gradient[rows, labels], p_t * (p_s - 1), rtol=1e-9, atol=1e-12)
    (transport,) = torch.autograd.grad(wkd_transport(student, teacher, labels, cost).sum(), student)
    assert (transport[rows, labels] == 0).all()


@few
@given(problems, st.randoms(use_true_random=False))
def test_renaming_classes_changes_nothing(drawn: tuple[Tensor, Tensor, Tensor, Tensor], random: object) -> None:
    student, teacher, labels, cost = drawn
    order = list(range(student.shape[1]))
    random.shuffle(order)  # type: ignore[attr-defined]
    place = torch.tensor([order.index(k) for k in range(len(order))])
    torch.testing.assert_close(
        wkd_logit(student[:, order], teacher[:, order], place[labels], cost[order][:, order]),
        wkd_logit(student, teacher, labels, cost),
    )


def test_zero_cost_leaves_the_floor() -> None:
    student, teacher, labels, cost = problem(0)
    values = wkd_transport(student, teacher, labels, torch.zeros_like(cost))
    torch.testing.assert_close(values, torch.full_like(values, 1e-8), rtol=1e-3, atol=0.0)


def test_three_classes_by_hand() -> None:
    """Two classes remain, distributions (a, 1 - a) and (b, 1 - b): exact transport moves |a - b|."""
    student, teacher = torch.tensor([[0.0, 9.0, 1.0]]).double(), torch.tensor([[0.0, 9.0, -1.0]]).double()
    cost = 1 - torch.eye(3, dtype=torch.float64)
    a, b = (torch.sigmoid(z[0, 0] - z[0, 2]) for z in (student, teacher))
    label = torch.tensor([1])
    value = wkd_transport_converged(student, teacher, label, cost, temperature=1.0, reg=0.02)
    torch.testing.assert_close(value[0], (a - b).abs(), rtol=1e-6, atol=1e-9)


@few
@given(problems)
def test_constant_cost_tends_to_total_variation_from_above(
    drawn: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    student, teacher, labels, cost = drawn
    constant = torch.full_like(cost, 0.7).fill_diagonal_(0)
    kept = F.one_hot(labels, student.shape[1]).bool()
    q_s, q_t = (F.softmax(z.masked_fill(kept, -torch.inf), 1) for z in (student, teacher))
    exact = 0.7 * (q_s - q_t).abs().sum(dim=1) / 2
    gaps = [
        wkd_transport_converged(student, teacher, labels, constant, temperature=1.0, reg=reg, tolerance=1e-9)
        - exact
        for reg in (0.3, 0.1, 0.03)
    ]
    assert (gaps[-1] > -1e-6).all()
    assert (gaps[0] + 1e-7 >= gaps[1]).all()
    assert (gaps[1] + 1e-7 >= gaps[2]).all()
    assert gaps[2].max() < 1e-2


@few
@given(problems)
def test_converged_value_agrees_with_pot_and_bounds_exact_transport(
    drawn: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    student, teacher, labels, cost = drawn
    values = wkd_transport_converged(student, teacher, labels, cost, temperature=2.0, reg=0.1, tolerance=1e-11)
    for s, t, y, value in zip(student, teacher, labels.tolist(), values, strict=True):
        keep = [k for k in range(len(s)) if k != y]
        a, b = (F.softmax(z[keep] / 2, 0).numpy() for z in (s, t))
        ground = (cost[keep][:, keep] + 1e-8).numpy()
        theirs = ot.sinkhorn2(a, b, ground, 0.1, method="sinkhorn_log", stopThr=1e-12, numItermax=20_000)
        assert value.item() == pytest.approx(float(theirs), rel=1e-7, abs=1e-10)
        assert ot.emd2(a, b, ground) <= value.item() + 1e-9


@few
@given(problems)
def test_only_the_converged_value_is_symmetric(drawn: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    student, teacher, labels, cost = drawn
    exact = {"temperature": 1.0, "reg": 0.1, "tolerance": 1e-11}
    torch.testing.assert_close(
        wkd_transport_converged(student, teacher, labels, cost, **exact),
        wkd_transport_converged(teacher, student, labels, cost, **exact),
        rtol=1e-7,
        atol=1e-10,
    )


def test_truncated_value_is_not_symmetric_and_may_lie_below_exact_transport() -> None:
    student, teacher, labels, cost = problem(1)
    there = wkd_transport(student, teacher, labels, cost, temperature=1.0, reg=0.02)
    back = wkd_transport(teacher, student, labels, cost, temperature=1.0, reg=0.02)
    assert (there - back).abs().max() > 1e-3
    converged = wkd_transport_converged(student, teacher, labels, cost, temperature=1.0, reg=0.02)
    assert (there < converged).any()


def test_many_iterations_approach_the_converged_value() -> None:
    student, teacher, labels, cost = problem(2)
    truncated = wkd_transport(student, teacher, labels, cost, temperature=2.0, reg=0.2, iterations=2000)
    converged = wkd_transport_converged(student, teacher, labels, cost, temperature=2.0, reg=0.2)
    torch.testing.assert_close(truncated, converged, rtol=1e-4, atol=1e-6)


def test_no_transport_weight_leaves_the_target_term() -> None:
    student, teacher, labels, cost = problem(3)
    torch.testing.assert_close(
        wkd_logit(student, teacher, labels, cost, transport_weight=0.0), wkd_target(student, teacher, labels)
    )
    rows = torch.arange(len(labels))
    wanted = -F.softmax(teacher, 1)[rows, labels] * F.log_softmax(student, 1)[rows, labels]
    torch.testing.assert_close(wkd_target(student, teacher, labels), wanted)


def test_without_separation_no_class_is_left_out() -> None:
    student, teacher, _, cost = problem(4)
    padded = [F.pad(z, (0, 1), value=5.0) for z in (student, teacher)]  # an extra class, as the label
    extra = torch.full((len(student),), student.shape[1])
    torch.testing.assert_close(
        wkd_transport_all(student, teacher, cost, temperature=2.0),
        wkd_transport(*padded, extra, F.pad(cost, (0, 1, 0, 1)), temperature=2.0),
    )


def test_single_precision_stays_close_with_a_thousand_classes() -> None:
    student, teacher, labels, cost = problem(5, samples=2, classes=1000)
    cost = 1 - torch.exp(-cost)
    results = []
    for dtype in (torch.float32, torch.float64):
        s = student.to(dtype).requires_grad_()
        values = wkd_transport(s, teacher.to(dtype), labels, cost.to(dtype), temperature=2.0)
        results.append([x.double() for x in (values, *torch.autograd.grad(values.sum(), s))])
    for single, double in zip(*results, strict=True):
        assert ((single - double).norm() / double.norm()) < 2e-5


def test_confident_teacher() -> None:
    student, teacher, labels, cost = problem(6)
    teacher[torch.arange(len(labels)), labels] += 60
    student = student.float().requires_grad_()
    for sign in (1, -1):
        values = wkd_logit(student, sign * teacher.float(), labels, cost.float(), temperature=1.0)
        (gradient,) = torch.autograd.grad(values.sum(), student)
        assert values.isfinite().all()
        assert gradient.isfinite().all()


def test_nothing_of_batch_by_classes_by_classes_is_allocated() -> None:
    student, teacher, labels, cost = problem(7, samples=16, classes=60)
    student.requires_grad_()
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
        wkd_logit(student, teacher, labels, cost)
    assert max(sizes) <= 60 * 60
    assert len(sizes) > 10


def test_bad_input_is_explained() -> None:
    student, teacher, labels, cost = problem(8)
    with pytest.raises(ShapeError, match=r"cost has shape \(5, 5\), but the logits have 6 classes"):
        wkd_logit(student, teacher, labels, cost[:5, :5])
    with pytest.raises(ShapeError, match="at least 2 classes, got 1"):
        wkd_transport(student[:, :1], teacher[:, :1], labels * 0, cost[:1, :1])
    with pytest.raises(ConfigError, match="reg must be above 0"):
        wkd_transport(student, teacher, labels, cost, reg=0.0)
    with pytest.raises(ConfigError, match="raise reg"):
        wkd_transport_converged(student, teacher, labels, cost, reg=1e-4)
    with pytest.raises(ConfigError, match=r"after 3 iterations .* Raise max_iterations"):
        wkd_transport_converged(student, teacher, labels, cost, reg=0.01, max_iterations=3)


def test_differs_from_kd_in_what_similar_classes_cost() -> None:
    teacher = torch.tensor([[0.0, 4.0, 0.0, 0.0]]).double()
    near, far = (torch.tensor([z]).double() for z in ([0.0, 0.0, 4.0, 0.0], [0.0, 0.0, 0.0, 4.0]))
    cost = 0.9 * (1 - torch.eye(4, dtype=torch.float64))
    cost[1, 2] = cost[2, 1] = 0.1
    label = torch.tensor([0])
    assert wkd_transport(near, teacher, label, cost, temperature=1.0) < wkd_transport(
        far, teacher, label, cost, temperature=1.0
    )
    torch.testing.assert_close(kd(near, teacher), kd(far, teacher))
