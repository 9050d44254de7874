"""Whether a model is as right as it is sure."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.nn import functional as F

from limbeck.bounds import PositiveInt
from limbeck.errors import DataError
from limbeck.numerics.checks import class_indices, require_above, require_same, require_samples
from limbeck.numerics.confidence_bins import confidence_bins


@torch.no_grad()
def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Mean negative log probability of the label (cross entropy).

    Args:
        logits: shape (n, classes).
        labels: shape (n,), or one-hot (n, classes).

    Returns:
        Nats.

    Example:
        >>> round(negative_log_likelihood(torch.zeros(1, 2), torch.tensor([0])), 4)
        0.6931
    """
    require_same("negative_log_likelihood", "n c", logits=logits)
    require_samples("negative_log_likelihood", logits)
    index = class_indices("negative_log_likelihood", labels, logits).to(logits.device)
    return F.cross_entropy(logits.double(), index).item()


@torch.no_grad()
def expected_calibration_error(logits: Tensor, labels: Tensor, *, bins: PositiveInt = 15) -> float:
    """Mean gap between confidence and accuracy over bins of equal width in confidence.

    Args:
        logits: shape (n, classes).
        labels: shape (n,), or one-hot (n, classes).
        bins: how many.

    Returns:
        A fraction between 0 and 1; each bin counts by its share of the samples. It depends on the number of bins
        and is biased upwards for few samples: say how many of both.

    Example:
        >>> expected_calibration_error(torch.tensor([[100.0, 0.0]] * 2), torch.tensor([0, 1]))
        0.5

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017 [guo2017calibration].
    """
    index = _checked("expected_calibration_error", logits, labels, bins)
    found = reliability(logits, index, bins=bins)
    return float((found.counts * found.gaps).nansum() / found.counts.sum())


@torch.no_grad()
def maximum_calibration_error(logits: Tensor, labels: Tensor, *, bins: PositiveInt = 15) -> float:
    """Largest gap between confidence and accuracy of any bin in which there are samples.

    A bin counts however few samples it has; look at `reliability` before trusting the number.

    Args:
        logits: shape (n, classes).
        labels: shape (n,), or one-hot (n, classes).
        bins: how many, of equal width in confidence.

    Returns:
        A fraction between 0 and 1.

    Example:
        >>> maximum_calibration_error(torch.tensor([[100.0, 0.0]] * 2), torch.tensor([0, 1]))
        0.5

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 5 [guo2017calibration].
    """
    index = _checked("maximum_calibration_error", logits, labels, bins)
    gaps = reliability(logits, index, bins=bins).gaps
    return float(gaps[~gaps.isnan()].max())


@torch.no_grad()
def brier_score(logits: Tensor, labels: Tensor) -> float:
    """Mean squared distance of the probabilities from the label, summed over the classes.

    Args:
        logits: shape (n, classes).
        labels: shape (n,), or one-hot (n, classes).

    Returns:
        Between 0 and 2; (classes - 1) / classes for a uniform guess.

    Example:
        >>> brier_score(torch.zeros(1, 2), torch.tensor([0]))
        0.5

    References:
        Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather Review 1950
        [brier1950verification].
    """
    require_same("brier_score", "n c", logits=logits)
    require_samples("brier_score", logits)
    index = class_indices("brier_score", labels, logits).to(logits.device)
    probabilities = F.softmax(logits.double(), dim=1)
    right = F.one_hot(index, logits.shape[1])
    return (probabilities - right).square().sum(dim=1).mean().item()


class Reliability(NamedTuple):
    """What a reliability diagram shows; a bin without samples has NaN for accuracy and confidence."""

    edges: Tensor
    """Edges of the bins, 0 to 1, shape (bins + 1,), float64; bins are open on the left, closed on the right."""
    counts: Tensor
    """Samples of each bin, shape (bins,), int64."""
    accuracy: Tensor
    """Fraction of them that are predicted right, shape (bins,), float64."""
    confidence: Tensor
    """Their mean probability of the predicted class, shape (bins,), float64."""

    @property
    def gaps(self) -> Tensor:
        """Distance of accuracy and confidence, shape (bins,), float64."""
        return (self.accuracy - self.confidence).abs()


@torch.no_grad()
def reliability(logits: Tensor, labels: Tensor, *, bins: PositiveInt = 15) -> Reliability:
    """Accuracy against confidence, in bins of equal width in confidence.

    Args:
        logits: shape (n, classes).
        labels: shape (n,), or one-hot (n, classes).
        bins: how many; 15 is usual, but the values of another paper need its own number.

    Returns:
        Edges, counts, accuracies and confidences of the bins, on the CPU.

    Example:
        >>> found = reliability(torch.tensor([[100.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1]), bins=2)
        >>> found.counts.tolist(), found.accuracy.tolist()
        ([0, 4], [nan, 0.75])

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 2 [guo2017calibration].
    """
    index = _checked("reliability", logits, labels, bins)
    place, confidence, right = (x.cpu() for x in confidence_bins(logits, index, bins=bins))
    counts = torch.bincount(place, minlength=bins)
    accuracies, confidences = (
        torch.zeros(bins, dtype=torch.float64).index_add_(0, place, x) / counts for x in (right, confidence)
    )
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    return Reliability(edges, counts, accuracies, confidences)


COLDEST, HOTTEST = 1e-3, 1e3
"""Temperatures are looked for between these."""


@torch.no_grad()
def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that, dividing the logits, makes the labels likeliest.

    Fit it on other samples than those it is judged on. The likelihood has one maximum in the inverse temperature,
    and that is found to all digits.

    Args:
        logits: shape (n, classes).
        labels: shape (n,), or one-hot (n, classes).

    Returns:
        Between 0.001, for logits that put every label first, and 1000, for logits that say nothing about labels;
        above 1 for a network that is too sure.

    Raises:
        DataError: logits that are not finite.

    Example:
        >>> round(fit_temperature(torch.tensor([[2.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])), 4)
        1.8205

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2 [guo2017calibration].
    """
    index = _checked("fit_temperature", logits, labels, 1)
    if not bool(logits.isfinite().all()):
        raise DataError("fit_temperature: the logits hold infinite or undefined numbers.")
    values = logits.double()
    values = values - values.gather(1, index[:, None])

    def slope(log_inverse: float) -> float:
        """Of the mean negative log likelihood over the inverse temperature, in which it is convex."""
        weights = F.softmax(values * math.exp(log_inverse), dim=1)
        return (weights * values).sum(dim=1).mean().item()

    low, high = -math.log(HOTTEST), -math.log(COLDEST)
    if slope(low) >= 0:
        return HOTTEST
    if slope(high) <= 0:
        return COLDEST
    return math.exp(-brentq(slope, low, high, xtol=1e-13))


def _checked(where: str, logits: Tensor, labels: Tensor, bins: int) -> Tensor:
    require_same(where, "n c", logits=logits)
    require_above(where, 0, bins=bins)
    require_samples(where, logits)
    return class_indices(where, labels, logits).to(logits.device)
