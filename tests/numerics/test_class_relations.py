from __future__ import annotations

import logging

import pytest
import torch

from limbeck.errors import ConfigError, ShapeError
from limbeck.numerics.class_relations import (
    cosine_distance,
    gram_cka,
    linear_cka_distance,
    polynomial_cka,
    rbf_cka,
    relation_cost,
)

DRAW = torch.Generator().manual_seed(0)
FEATURES = torch.randn(4, 30, 5, generator=DRAW, dtype=torch.float64)


def test_cka_of_a_class_with_itself_is_one() -> None:
    assert linear_cka_distance(FEATURES).diagonal().abs().max() < 1e-12
    for similarity in (rbf_cka(FEATURES, scale=1.0), polynomial_cka(FEATURES)):
        torch.testing.assert_close(similarity.diagonal(), torch.ones(4, dtype=torch.float64))
        torch.testing.assert_close(similarity, similarity.T)


def test_cka_ignores_rotation_scale_and_a_constant_row() -> None:
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=DRAW, dtype=torch.float64)).Q
    changed = FEATURES.clone()
    changed[0] = 3 * FEATURES[0] @ rotation + torch.arange(5)
    torch.testing.assert_close(linear_cka_distance(changed), linear_cka_distance(FEATURES))


def test_both_routes_agree() -> None:
    centred = FEATURES - FEATURES.mean(dim=1, keepdim=True)
    torch.testing.assert_close(1 - linear_cka_distance(FEATURES), gram_cka(centred @ centred.mT))
    torch.testing.assert_close(1 - linear_cka_distance(FEATURES), polynomial_cka(FEATURES, degree=1))


def test_few_samples_are_computed_and_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    few = FEATURES[:, :2]
    with caplog.at_level(logging.WARNING, logger="limbeck"):
        distance = linear_cka_distance(few)
    assert "biased towards 1" in caplog.text
    assert distance.abs().max() < 1e-9  # two samples look alike whatever they are


def test_features_without_spread_are_similar_to_nothing() -> None:
    constant = FEATURES.clone()
    constant[1] = 2.0
    distance = linear_cka_distance(constant)
    assert distance.isfinite().all()
    assert (distance[1] == 1).all()


def test_cosine_distance_leaves_no_graph_in_the_teacher() -> None:
    weight = torch.randn(4, 3, generator=DRAW, requires_grad=True)
    distance = cosine_distance(weight)
    assert not distance.requires_grad
    torch.testing.assert_close(distance, distance.T)
    assert cosine_distance(torch.zeros(2, 3)).isfinite().all()


def test_cost_of_a_distance() -> None:
    distance = torch.tensor([[0.0, 0.5], [0.5, 0.0]])
    torch.testing.assert_close(relation_cost(distance, kappa=2.0)[0, 1], 1 - torch.exp(torch.tensor(-1.0)))
    assert torch.equal(relation_cost(distance, kappa=0.0), distance)


def test_bad_input_is_explained() -> None:
    with pytest.raises(ShapeError, match=r"\(classes, d\), got \(3,\)"):
        cosine_distance(torch.zeros(3))
    with pytest.raises(ShapeError, match=r"at least 2 samples of each class, got \(3, 1, 2\)"):
        linear_cka_distance(torch.zeros(3, 1, 2))
    with pytest.raises(ConfigError, match="scale must be above 0"):
        rbf_cka(FEATURES, scale=0.0)
