r"""Entropic transport run until its marginals are met, with the exact gradient of the converged value.

The iteration works on logarithms of the scalings and in float64 where the device has it. Backward does not
unroll it: differentiating the two marginal conditions gives a linear system of the same shape, solved by the same
kind of iteration. Memory is a few (n, C) matrices, however many iterations are needed.

Dimensions as in `limbeck.numerics.transport`.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from limbeck.errors import ConfigError
from limbeck.numerics.precision import no_autocast

CHECK_EVERY = 10
"""Iterations between looks at the error, each of which waits for the device."""
LARGEST_EXPONENT = 300.0
"""Largest cost / reg: beyond it products of kernel and scalings leave the range of float64."""


def converged_transport(
    student: Tensor, teacher: Tensor, cost: Tensor, *, reg: float, tolerance: float, max_iterations: int
) -> Tensor:
    r"""Transport cost of the optimal entropic plan, entropy not included.

    Args:
        student: row marginals, shape (n, C); rows sum to one, zeros allowed.
        teacher: column marginals, shape (n, C).
        cost: ground cost, shape (C, C), constant.
        reg: strength of the entropy, > 0.
        tolerance: largest allowed sum of absolute errors of a sample's column marginal.
        max_iterations: give up after so many.

    Returns:
        One value per sample, in units of the cost, shape (n,).

    Raises:
        ConfigError: not converged, or `reg` too small for the cost.

    Example:
        >>> q, p = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]])
        >>> converged_transport(q, p, 1 - torch.eye(2), reg=0.05, tolerance=1e-9, max_iterations=1000)
        tensor([0.2500])
    """
    largest = float(cost.detach().max()) / reg if cost.numel() else 0.0
    if not largest <= LARGEST_EXPONENT:
        raise ConfigError(
            f"converged transport: largest cost / reg is {largest:.0f}, at most {LARGEST_EXPONENT:.0f} can be "
            f"computed; raise reg (now {reg:g})."
        )
    dtype = torch.float32 if student.device.type == "mps" else torch.float64
    # Rows in half or single precision miss a sum of one by more than the tolerance may be.
    rows, columns = (q.to(dtype) / q.to(dtype).sum(dim=1, keepdim=True) for q in (student, teacher))
    wide_cost = cost.detach().to(dtype)
    value = cast(Tensor, _Converged.apply(rows, columns, wide_cost, reg, tolerance, max_iterations))
    return value.to(student.dtype)


class _Converged(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        cost: Tensor,
        reg: float,
        tolerance: float,
        max_iterations: int,
    ) -> Tensor:
        with no_autocast(student):
            kernel = torch.exp(-cost / reg)
            u, v = _solve(student, teacher, kernel, tolerance, max_iterations)
            weighted = kernel * cost
            ctx.save_for_backward(u, v, kernel, weighted)
            ctx.limits = tolerance, max_iterations
            # Every conditional distribution is normalised by itself, so the scale of u and v does not matter.
            return (student * (v @ weighted.T) / (v @ kernel.T)).sum(dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        u, v, kernel, weighted = ctx.saved_tensors
        with no_autocast(u):
            x, y = _adjoint(u, v, kernel, weighted, *ctx.limits)
        return upstream[:, None] * x, upstream[:, None] * y, None, None, None, None


def _solve(
    student: Tensor, teacher: Tensor, kernel: Tensor, tolerance: float, max_iterations: int
) -> tuple[Tensor, Tensor]:
    log_a, log_b = student.log(), teacher.log()
    f = torch.zeros_like(student)
    g = torch.zeros_like(teacher)
    error = float("inf")
    for iteration in range(1, max_iterations + 1):
        g = log_b - _log_product(f, kernel)
        f = log_a - _log_product(g, kernel.T)
        if iteration % CHECK_EVERY == 0 or iteration == max_iterations:
            column = torch.exp(g + _log_product(f, kernel))
            error = float((column - teacher).abs().sum(dim=1).amax()) if len(student) else 0.0
            if error <= tolerance:
                return _scaled(f), _scaled(g)
    raise ConfigError(
        f"converged transport: after {max_iterations} iterations the marginals are still off by {error:.1e} "
        f"(tolerance {tolerance:.1e}). Raise max_iterations, reg or tolerance, or check the logits for "
        "values that are not finite."
    )


def _log_product(log_scaling: Tensor, kernel: Tensor) -> Tensor:
    """Logarithm of the product of a scaling, given by its logarithm, with a kernel."""
    top = log_scaling.amax(dim=1, keepdim=True)
    tiny = torch.finfo(log_scaling.dtype).tiny
    return (torch.exp(log_scaling - top) @ kernel).clamp_min(tiny).log() + top


def _scaled(log_scaling: Tensor) -> Tensor:
    return torch.exp(log_scaling - log_scaling.amax(dim=1, keepdim=True))


def _adjoint(
    u: Tensor, v: Tensor, kernel: Tensor, weighted: Tensor, tolerance: float, max_iterations: int
) -> tuple[Tensor, Tensor]:
    r"""Derivatives of the value by row (x) and column (y) marginals, each up to a constant per sample.

    With plan P, marginals a, b and cost c they solve :math:`a x + P y = (P c) 1, \; b y + P^\top x = (P c)^\top 1`
    (P c elementwise).
    """
    tiny = torch.finfo(u.dtype).tiny
    rows, columns = (v @ kernel.T).clamp_min(tiny), (u @ kernel).clamp_min(tiny)
    row_cost, column_cost = (v @ weighted.T) / rows, (u @ weighted) / columns
    x, y = row_cost, torch.zeros_like(row_cost)
    scale = float(weighted.amax() / kernel.amax()) or 1.0
    change = float("inf")
    for iteration in range(1, max_iterations + 1):
        y = column_cost - ((u * x) @ kernel) / columns
        updated = row_cost - ((v * y) @ kernel.T) / rows
        if iteration % CHECK_EVERY == 0 or iteration == max_iterations:
            change = float((updated - x).abs().amax()) if len(u) else 0.0
        x = updated
        if change <= tolerance * scale:
            break
    return x, y
