from __future__ import annotations

import torch

from limbeck.numerics.matrix_log import matrix_log

DRAW = torch.Generator().manual_seed(0)


def _positive(size: int = 4) -> torch.Tensor:
    root = torch.randn(2, size, size, generator=DRAW, dtype=torch.float64)
    return root @ root.mT + 0.1 * torch.eye(size, dtype=torch.float64)


def test_inverse_of_the_exponential() -> None:
    matrices = _positive()
    torch.testing.assert_close(torch.linalg.matrix_exp(matrix_log(matrices)), matrices)


def test_gradient_also_with_equal_eigenvalues() -> None:
    repeated = torch.diag(torch.tensor([1.0, 1.0, 1.0, 3.0], dtype=torch.float64)).expand(1, 4, 4)
    for matrices in (_positive(), repeated):
        assert torch.autograd.gradcheck(
            lambda x: matrix_log((x + x.mT) / 2), matrices.clone().requires_grad_(), atol=1e-5
        )
