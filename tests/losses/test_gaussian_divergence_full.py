from __future__ import annotations

import torch
from torch.distributions import MultivariateNormal, kl_divergence

from limbeck.losses import gaussian_bhattacharyya_full, gaussian_kl_full, gaussian_log_euclidean

DRAW = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (torch.randn(3, 4, 5, 5, generator=DRAW, dtype=torch.float64) for _ in range(2))


def _moments(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    covariance = torch.stack([torch.cov(x.flatten(1), correction=0) for x in maps])
    return maps.mean(dim=(2, 3)), covariance + 1e-3 * torch.eye(maps.shape[1])


def test_kl_agrees_with_torch_distributions() -> None:
    s, t = (MultivariateNormal(mean, covariance) for mean, covariance in map(_moments, (STUDENT, TEACHER)))
    torch.testing.assert_close(gaussian_kl_full(STUDENT, TEACHER), kl_divergence(t, s))


def test_bhattacharyya_by_its_formula() -> None:
    (mean_s, cov_s), (mean_t, cov_t) = _moments(STUDENT), _moments(TEACHER)
    middle, gap = (cov_s + cov_t) / 2, (mean_t - mean_s)[:, :, None]
    shift = (gap.mT @ torch.linalg.inv(middle) @ gap).squeeze()
    determinants = torch.linalg.det(middle) / (torch.linalg.det(cov_s) * torch.linalg.det(cov_t)).sqrt()
    torch.testing.assert_close(gaussian_bhattacharyya_full(STUDENT, TEACHER), shift / 8 + determinants.log() / 2)
    torch.testing.assert_close(
        gaussian_bhattacharyya_full(TEACHER, STUDENT), gaussian_bhattacharyya_full(STUDENT, TEACHER)
    )


def test_log_euclidean_by_its_formula() -> None:
    logarithms = []
    for mean, covariance in map(_moments, (STUDENT, TEACHER)):
        for m, c in zip(mean, covariance, strict=True):
            embedded = torch.cat(
                [torch.cat([c + torch.outer(m, m), m[:, None]], 1), torch.cat([m, m.new_ones(1)])[None]]
            )
            values, vectors = torch.linalg.eigh(embedded)
            logarithms.append(vectors @ values.log().diag() @ vectors.T)
    wanted = torch.stack([(a - b).norm() for a, b in zip(logarithms[:3], logarithms[3:], strict=True)])
    torch.testing.assert_close(gaussian_log_euclidean(STUDENT, TEACHER), wanted)


def test_more_channels_than_pixels() -> None:
    student, teacher = (torch.randn(2, 12, 2, 3, generator=DRAW) for _ in range(2))
    for loss in (gaussian_kl_full, gaussian_bhattacharyya_full, gaussian_log_euclidean):
        student.requires_grad_()
        values = loss(student, teacher)
        (gradient,) = torch.autograd.grad(values.sum(), student)
        assert values.isfinite().all()
        assert gradient.isfinite().all()
