"""CC: the formula with loops, its dependence on the order of a batch, its embeddings."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses import cc, correlation_congruence

few = settings(max_examples=25, deadline=None, derandomize=True)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(seed: int, samples: int = 5) -> tuple[Tensor, Tensor]:
    return draw(samples, 4, seed=seed), draw(samples, 4, seed=seed + 1)


pairs = st.builds(pair, st.integers(0, 10_000), st.integers(2, 6))


def build(**settings: int) -> cc:
    torch.manual_seed(0)
    return cc(student_shape=(4,), teacher_shape=(6,), **settings).double()


def test_loops_agree() -> None:
    student, teacher = pair(0)
    gaps = [
        [abs(a - b) for a, b in zip(s, t, strict=True)]
        for s, t in zip(student.tolist(), teacher.tolist(), strict=True)
    ]
    wanted = sum(gaps[i][k] * gaps[i + 1][k] for i in range(4) for k in range(4)) / 4
    assert correlation_congruence(student, teacher).item() == pytest.approx(wanted, rel=1e-12)


@few
@given(pairs, st.floats(0.1, 10))
def test_a_common_move_changes_nothing_and_a_factor_counts_twice(
    points: tuple[Tensor, Tensor], scale: float
) -> None:
    value = correlation_congruence(*points)
    torch.testing.assert_close(correlation_congruence(*(x + 3 for x in points)), value, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(correlation_congruence(*(scale * x for x in points)), scale**2 * value)
    torch.testing.assert_close(correlation_congruence(*points[::-1]), value)


@few
@given(pairs)
def test_from_back_to_front_is_the_same(points: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(
        correlation_congruence(*(x.flip(0) for x in points)), correlation_congruence(*points)
    )


def test_another_order_is_another_value() -> None:
    student, teacher = pair(1)
    order = [0, 2, 1, 4, 3]
    value = correlation_congruence(student, teacher)
    assert not torch.allclose(correlation_congruence(student[order], teacher[order]), value, rtol=1e-3)


def test_zero_for_equal_embeddings_a_single_sample_and_none() -> None:
    student, teacher = pair(2)
    assert correlation_congruence(teacher, teacher) == 0
    for samples in (0, 1):
        own = student[:samples].clone().requires_grad_()
        value = correlation_congruence(own, teacher[:samples])
        value.backward()
        assert value == 0
        assert own.grad is not None


def test_module_embeds_both_and_trains_both() -> None:
    loss = build(dim=7)
    student, teacher = draw(5, 4, seed=0).requires_grad_(), draw(5, 6, seed=1).requires_grad_()
    value = loss(student, teacher)
    first, second = loss.embed_student, loss.embed_teacher
    wanted = correlation_congruence(student @ first.weight.T + first.bias, teacher @ second.weight.T + second.bias)
    torch.testing.assert_close(value, wanted)
    value.backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in loss.parameters())
    assert student.grad is not None
    assert teacher.grad is None
    assert {name: tuple(weight.shape) for name, weight in loss.named_parameters()} == {
        "embed_student.weight": (7, 4),
        "embed_student.bias": (7,),
        "embed_teacher.weight": (7, 6),
        "embed_teacher.bias": (7,),
    }


def test_published_length_of_the_embedding_and_mark() -> None:
    assert build().embed_student.out_features == 128
    assert cc.relational


def test_half_precision_features_meet_single_precision_weights() -> None:
    loss = cc(student_shape=(4,), teacher_shape=(6,), dim=5)
    value = loss(draw(3, 4, seed=0).half(), draw(3, 6, seed=1).bfloat16())
    assert value.dtype == torch.float32
    assert value.isfinite()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"cc: needs vectors, got a student feature of shape \(4, 2, 2\)"):
        cc(student_shape=(4, 2, 2), teacher_shape=(6,))
    with pytest.raises(ConfigError, match="cc: dim must be above 0"):
        cc(student_shape=(4,), teacher_shape=(6,), dim=0)
    with pytest.raises(ShapeError, match=r"cc: expected teacher_features \(n, 6\), got \(3, 5\)"):
        build()(draw(3, 4, seed=0), draw(3, 5, seed=1))
    with pytest.raises(ShapeError, match="correlation_congruence: shapes must be equal"):
        correlation_congruence(draw(3, 4, seed=0), draw(2, 4, seed=1))
