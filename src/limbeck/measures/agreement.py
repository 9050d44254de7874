"""How closely a student's predictions follow its teacher's, right or wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.bounds import Positive
from limbeck.numerics.checks import require_above, require_same, require_samples
from limbeck.numerics.divergence import softened_kl


def agreement(student: Tensor, teacher: Tensor) -> float:
    """Fraction of samples for which both predict the same class.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).

    Returns:
        A fraction.

    Example:
        >>> agreement(torch.eye(2), torch.tensor([[2.0, 1.0], [2.0, 1.0]]))
        0.5
    """
    require_same("agreement", "n c", student=student, teacher=teacher)
    require_samples("agreement", student)
    return (student.argmax(dim=1) == teacher.argmax(dim=1)).double().mean().item()


@torch.no_grad()
def kl_to_teacher(student: Tensor, teacher: Tensor, *, temperature: Positive = 1.0) -> float:
    """Mean Kullback-Leibler divergence of the student's probabilities from the teacher's.

    Args:
        student: logits, shape (n, classes).
        teacher: logits, shape (n, classes).
        temperature: divides both logits, > 0.

    Returns:
        Nats.

    Example:
        >>> kl_to_teacher(torch.eye(2), torch.eye(2))
        0.0
    """
    require_same("kl_to_teacher", "n c", student=student, teacher=teacher)
    require_above("kl_to_teacher", 0, temperature=temperature)
    require_samples("kl_to_teacher", student)
    return softened_kl(student, teacher, temperature=temperature).double().mean().item()
