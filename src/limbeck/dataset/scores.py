"""Scores that hold a set's images apart from its labels and its augmentation [li2025ddranking].

Accuracies are fractions here. The released program puts percentages into the exponentials, which leaves [0, 1];
its documentation means fractions.
"""

from __future__ import annotations

import math

from limbeck.errors import ConfigError, DataError


def hard_label_recovery(full_hard: float, synthetic_hard: float) -> float:
    """HLR: what hard labels on the set lose against all real images; smaller is better.

    Args:
        full_hard: accuracy on all real images with hard labels, a fraction.
        synthetic_hard: of the set with hard labels.

    Raises:
        DataError: accuracies that are no fractions.
    """
    _fractions(full_hard, synthetic_hard)
    return full_hard - synthetic_hard


def improvement_over_random(synthetic: float, random: float) -> float:
    """IOR: what a set gains over as many random real images that are treated alike; larger is better.

    Args:
        synthetic: accuracy of the set with its own labels, loss and augmentation, a fraction.
        random: of random real images with the same, labels by the same teacher.

    Raises:
        DataError: accuracies that are no fractions.
    """
    _fractions(synthetic, random)
    return synthetic - random


def label_robust_score(
    *, full_hard: float, synthetic_hard: float, synthetic: float, random: float, weight: float = 0.5
) -> float:
    """LRS in [0, 1]: gain over random images, less what hard labels do not recover.

    Args:
        full_hard: accuracy on all real images with hard labels, a fraction.
        synthetic_hard: of the set with hard labels.
        synthetic: of the set with its own labels.
        random: of random real images with those labels.
        weight: of the gain over random images, 0 to 1.

    Raises:
        DataError: accuracies that are no fractions.
        ConfigError: a weight outside 0 to 1.
    """
    _share(weight)
    gain, lost = improvement_over_random(synthetic, random), hard_label_recovery(full_hard, synthetic_hard)
    return _squashed(weight * gain - (1 - weight) * lost)


def augmentation_robust_score(
    *, synthetic: float, random: float, synthetic_plain: float, random_plain: float, weight: float = 0.5
) -> float:
    """ARS in [0, 1]: gain over random images with augmentation and without.

    Args:
        synthetic: accuracy of the set with its augmentation, a fraction.
        random: of random real images with that augmentation.
        synthetic_plain: of the set without augmentation.
        random_plain: of random real images without.
        weight: of the gain with augmentation, 0 to 1.

    Raises:
        DataError: accuracies that are no fractions.
        ConfigError: a weight outside 0 to 1.
    """
    _share(weight)
    with_it = improvement_over_random(synthetic, random)
    without = improvement_over_random(synthetic_plain, random_plain)
    return _squashed(weight * with_it + (1 - weight) * without)


def _squashed(value: float) -> float:
    return (math.exp(value) - math.exp(-1)) / (math.e - math.exp(-1))


def _share(weight: float) -> None:
    if not 0 <= weight <= 1:
        raise ConfigError(f"weight: {weight} is not between 0 and 1.")


def _fractions(*values: float) -> None:
    for value in values:
        if not 0 <= value <= 1:  # also true of what is no number
            raise DataError(
                f"accuracies are fractions between 0 and 1 here; got {value}. Divide percentages by 100."
            )
