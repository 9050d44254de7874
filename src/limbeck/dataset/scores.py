"""Scores that hold a set's images apart from its labels and its augmentation (DD-Ranking)."""

from __future__ import annotations

import math

from limbeck.errors import DataError


def hard_label_recovery(full_hard: float, synthetic_hard: float) -> float:
    """HLR: what hard labels on the set lose against all real images; smaller is better. Fractions."""
    _fractions(full_hard, synthetic_hard)
    return full_hard - synthetic_hard


def label_robust_score(
    *, full_hard: float, synthetic_hard: float, synthetic: float, random: float, weight: float = 0.5
) -> float:
    """LRS in [0, 1]: gain over random images, less what hard labels do not recover.

    Args:
        full_hard: accuracy on all real images with hard labels, a fraction.
        synthetic_hard: of the set with hard labels.
        synthetic: of the set with its own labels.
        random: of random real images with those labels.
        weight: of the gain over random images.

    Raises:
        DataError: accuracies that are no fractions; percentages would go into an exponential.
    """
    _fractions(full_hard, synthetic_hard, synthetic, random)
    alpha = weight * (synthetic - random) - (1 - weight) * hard_label_recovery(full_hard, synthetic_hard)
    return _squashed(alpha)


def augmentation_robust_score(
    *, synthetic: float, random: float, synthetic_plain: float, random_plain: float, weight: float = 0.5
) -> float:
    """ARS in [0, 1]: gain over random images with augmentation and without.

    Args:
        synthetic: accuracy of the set with its augmentation, a fraction.
        random: of random real images with that augmentation.
        synthetic_plain: of the set without augmentation.
        random_plain: of random real images without.
        weight: of the gain with augmentation.

    Raises:
        DataError: accuracies that are no fractions.
    """
    _fractions(synthetic, random, synthetic_plain, random_plain)
    return _squashed(weight * (synthetic - random) + (1 - weight) * (synthetic_plain - random_plain))


def _squashed(value: float) -> float:
    return (math.exp(value) - math.exp(-1)) / (math.e - math.exp(-1))


def _fractions(*values: float) -> None:
    for value in values:
        if value < 0 or value > 1:
            raise DataError(
                f"accuracies are fractions between 0 and 1 here; got {value}. Divide percentages by 100."
            )
