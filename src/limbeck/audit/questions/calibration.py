"""Is the student as sure of itself as the teacher, rightly or wrongly?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination
from limbeck.audit.questions._registry import register
from limbeck.audit.questions._shared import of_everyone, of_learners, representatives
from limbeck.audit.tally import Tally, share
from limbeck.bounds import PositiveInt


@register
def calibration(exam: Examination, *, images: PositiveInt | None = None, bins: PositiveInt = 15) -> Answer:
    """Expected calibration error, Brier score, likelihood, and whether the student is as confident as the teacher.

    Args:
        exam: networks and images.
        images: at most so many; all of the audit's unless given.
        bins: of equal width in confidence. The error depends on their number and is too high for few images.

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017 [guo2017calibration].
    """
    material = exam.material if images is None else exam.material.part(images)
    labels = material.labels
    probabilities = {one.name: F.softmax(exam.logits(one, material).double(), dim=1) for one in exam.panel}
    theirs = probabilities[exam.panel.teacher.name].amax(dim=1)

    def trait(measure: str, title: str, tallies: dict[str, Tally], **more: Any) -> Evidence:
        return Evidence("calibration", measure, title, "trait", tallies, better="lower", **more)

    evidence = (
        Evidence(
            "calibration",
            "confidence",
            "Distance to the teacher's confidence",
            "likeness",
            of_learners(exam.panel, lambda one: (probabilities[one.name].amax(dim=1) - theirs).abs()),
            alike="lower",
            margin=0.01,
        ),
        trait(
            "ece",
            "Expected calibration error",
            of_everyone(exam.panel, lambda one: ece_tally(probabilities[one.name], labels, bins=bins)),
            margin=0.01,
            constants={"bins": bins},
            note=f"{bins} bins of equal width, {len(material):,} images; biased upwards for few images.",
        ),
        trait(
            "brier",
            "Brier score",
            of_everyone(exam.panel, lambda one: _brier(probabilities[one.name], labels)),
            unit="",
            primary=False,
        ),
        trait(
            "nll",
            "Negative log-likelihood",
            of_everyone(
                exam.panel, lambda one: -_of_label(probabilities[one.name], labels).clamp_min(1e-300).log()
            ),
            unit="nats",
            primary=False,
        ),
        Evidence(
            "calibration",
            "overconfidence",
            "Confidence over accuracy",
            "trait",
            of_everyone(exam.panel, lambda one: share(_overconfidence(probabilities[one.name], labels))),
            margin=0.01,
            primary=False,
            note="Mean confidence less accuracy: above zero for networks that are too sure.",
        ),
    )
    series: list[dict[str, object]] = []
    for one in representatives(exam.panel):
        confidence, right = _sure(probabilities[one.name], labels)
        place = _bin(confidence, bins)
        counts = torch.bincount(place, minlength=bins)
        means = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, confidence) / counts
        accuracy = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, right) / counts
        filled = counts >= 5
        word = one.method or one.name
        series.append({"label": word, "x": means[filled].tolist(), "y": accuracy[filled].tolist()})
    series.append({"label": "calibrated", "x": [0.0, 1.0], "y": [0.0, 1.0], "faint": True})
    figure = {
        "title": "Reliability",
        "caption": "Accuracy of the predictions of each confidence; on the diagonal a network is as right as "
        "it is "
        "sure. Bins of fewer than five images are left out; one network of each kind.",
        "kind": "lines",
        "series": series,
        "x_label": "confidence",
        "y_label": "accuracy",
        "unit": "fraction",
        "bounds": [0.0, 1.0],
    }
    return Answer(evidence, figures={"reliability": figure})


def ece_tally(probabilities: Tensor, labels: Tensor, *, bins: int) -> Tally:
    """The expected calibration error from the sums in each bin.

    Args:
        probabilities: shape (n, classes), float64.
        labels: shape (n,).
        bins: of equal width, open on the left.
    """
    confidence, right = _sure(probabilities, labels)
    gaps = F.one_hot(_bin(confidence, bins), bins).double() * (right - confidence)[:, None]
    columns = torch.cat([gaps, torch.ones(len(labels), 1, dtype=torch.float64)], dim=1)
    return Tally(columns, lambda sums: sums[..., :bins].abs().sum(dim=-1) / sums[..., bins])


def _sure(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    confidence, predicted = probabilities.max(dim=1)
    return confidence, (predicted == labels).double()


def _bin(confidence: Tensor, bins: int) -> Tensor:
    return ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)


def _of_label(probabilities: Tensor, labels: Tensor) -> Tensor:
    return probabilities.gather(1, labels[:, None])[:, 0]


def _brier(probabilities: Tensor, labels: Tensor) -> Tensor:
    return (probabilities - F.one_hot(labels, probabilities.shape[1])).square().sum(dim=1)


def _overconfidence(probabilities: Tensor, labels: Tensor) -> Tensor:
    confidence, right = _sure(probabilities, labels)
    return confidence - right
