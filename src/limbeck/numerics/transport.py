r"""Entropic optimal transport between many pairs of distributions that share one ground cost.

The rows of a batch share the kernel :math:`K = \exp(-c / \varepsilon)`, so one iteration for the whole batch is
two products of an (n, classes) with a (classes, classes) matrix. A class that a sample leaves out has no mass in
either marginal: its scalings stay zero, so its row and column of the shared kernel never count.

Dimensions: n samples, C classes. Rows of a plan belong to the student, columns to the teacher.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.numerics.precision import no_autocast

GUARD = 1e-8
"""Added to denominators, as in the published WKD program; part of its loss, see `truncated_transport`."""


def truncated_transport(
    student: Tensor, teacher: Tensor, cost: Tensor, *, reg: float, iterations: int, excluded: Tensor | None = None
) -> Tensor:
    r"""Cost of the plan that a fixed number of Sinkhorn iterations reaches.

    Far from convergence this is another function than entropic transport, with its own gradient; published
    weights belong to it. The start, the order (teacher first, student last), the guard and the number of
    iterations are all part of the definition:

    .. math:: u_0 = 1/m, \quad v = q_T / (K^\top u + g), \quad u = q_S / (K v + g), \quad
        \ell = \sum_{ij} u_i K_{ij} c_{ij} v_j

    with m the number of classes that take part. Gradients flow through all iterations.

    Args:
        student: row marginals, shape (n, C).
        teacher: column marginals, shape (n, C).
        cost: ground cost c, shape (C, C), used as given.
        reg: strength of the entropy (epsilon), > 0.
        iterations: how often both scalings are updated.
        excluded: a class without mass in each sample, shape (n,).

    Returns:
        One value per sample, in units of the cost, shape (n,).

    Example:
        >>> q = torch.tensor([[0.5, 0.5]])
        >>> truncated_transport(q, q, 1 - torch.eye(2), reg=0.1, iterations=10).round(decimals=4)
        tensor([0.])
    """
    with no_autocast(student):
        kernel = torch.exp(-cost / reg)
        u, v = _scalings(student, teacher, kernel, iterations, excluded)
        return ((u @ (kernel * cost)) * v).sum(dim=1)


def truncated_plan(student: Tensor, teacher: Tensor, cost: Tensor, *, reg: float, iterations: int) -> Tensor:
    """The plans behind `truncated_transport`, for looking at: shape (n, C, C), too large for training."""
    with no_autocast(student):
        kernel = torch.exp(-cost / reg)
        u, v = _scalings(student, teacher, kernel, iterations, None)
        return u[:, :, None] * kernel * v[:, None, :]


def _scalings(
    student: Tensor, teacher: Tensor, kernel: Tensor, iterations: int, excluded: Tensor | None
) -> tuple[Tensor, Tensor]:
    classes = student.shape[1]
    u = torch.full_like(student, 1.0 / (classes if excluded is None else classes - 1), requires_grad=False)
    if excluded is not None:
        u = u.scatter(1, excluded[:, None], 0.0)
    v = torch.zeros_like(u)
    for _ in range(iterations):
        v = teacher / (u @ kernel + GUARD)
        u = student / (v @ kernel.T + GUARD)
    return u, v
