"""The data-knowledge scaling law: accuracy over images per class, and what a label is worth in images.

The law of [qin2024label] is a family of curves; its formula is not published. The fits here are ours: a power law,
or a logistic in the log of the images where the curve is still convex there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import least_squares

from limbeck.errors import DataError

LEAST_POINTS = 4
REACH = 4.0
"""A fit says nothing beyond so many times the largest number of images it saw."""
_SMALLEST_ERROR = 1e-3

Array = Any


@dataclass(frozen=True)
class Fit:
    """A curve through accuracies.

    Attributes:
        form: "power": a - b n^-c; "logistic": a / (1 + (n0 / n)^c).
        parameters: (a, b, c) or (a, n0, c).
        residual: root mean square of the distances to the points, in accuracy.
        criterion: AICc of the weighted distances; smaller is better. With five points or fewer the correction
            does not exist and is left out, which changes nothing between forms with equally many parameters.
        largest: images per class of the last point.
    """

    form: Literal["power", "logistic"]
    parameters: tuple[float, float, float]
    residual: float
    criterion: float
    largest: float

    def __call__(self, images: float) -> float:
        """Accuracy at so many images per class, at least 0.

        Raises:
            DataError: no images, or more than four times as many as at the last point.
        """
        if not images > 0:
            raise DataError(f"images per class are above 0; got {images:g}.")
        if images > REACH * self.largest:
            raise DataError(
                f"the law was fitted up to {self.largest:g} images per class; {images:g} is more than "
                f"{REACH:g} times that. Train students with more images first."
            )
        return max(0.0, float(_FORMS[self.form](np.asarray(self.parameters), np.asarray(float(images)))))


def _power(p: Array, n: Array) -> Array:
    return p[0] - p[1] * n ** -p[2]


def _logistic(p: Array, n: Array) -> Array:
    return p[0] / (1 + (p[1] / n) ** p[2])


_FORMS: dict[str, Callable[[Array, Array], Array]] = {"power": _power, "logistic": _logistic}


def fit(
    images: Sequence[float],
    accuracy: Sequence[float],
    errors: Sequence[float] | None = None,
    *,
    ceiling: float = 1.0,
) -> Fit:
    """The better of the two forms, by AICc.

    Args:
        images: per class, distinct, at least four.
        accuracy: of students, fractions.
        errors: standard errors; points weigh by their inverse. None for points that weigh alike; errors below
            0.001, such as those of a single run, count as 0.001.
        ceiling: accuracy of all real data, which no curve exceeds.

    Raises:
        DataError: too few points, lists of different lengths, or values that are no fractions.
    """
    n, y = np.asarray(images, dtype=float), np.asarray(accuracy, dtype=float)
    if len(n) != len(y) or (errors is not None and len(errors) != len(n)):
        raise DataError(
            f"each number of images has one accuracy and one error; got {len(n)}, {len(y)} and "
            f"{len(n) if errors is None else len(errors)}."
        )
    if len(n) < LEAST_POINTS or len(set(images)) != len(n):
        raise DataError(
            f"a law with three parameters needs at least {LEAST_POINTS} different numbers of images per "
            f"class, each once; there are {len(set(images))} among {len(n)} points."
        )
    if not ((n > 0) & np.isfinite(n) & (y >= 0) & (y <= 1)).all():
        raise DataError("images per class are above 0, accuracies are fractions between 0 and 1.")
    spread = np.maximum(
        np.asarray(errors if errors is not None else np.ones_like(y), dtype=float), _SMALLEST_ERROR
    )
    if not (np.isfinite(spread) & (spread > 0)).all():
        raise DataError("standard errors are finite numbers.")
    top = max(ceiling, float(y.max()))
    middle = float(np.exp(np.log(n).mean()))
    starts = {
        "power": ([(top + y.max()) / 2, 0.5, 0.5], ([0, 0, 1e-3], [top, 2.0, 4.0])),
        "logistic": ([(top + y.max()) / 2, middle, 0.7], ([0, 1e-6, 1e-3], [top, 1e6, 6.0])),
    }
    found = []
    for form, (start, bounds) in starts.items():
        curve = _FORMS[form]
        solved = least_squares(
            lambda p, c=curve: (c(p, n) - y) / spread,
            np.clip(start, *(np.asarray(b) + s for b, s in zip(bounds, (1e-9, -1e-9), strict=True))),
            bounds=bounds,
        )
        distances = curve(solved.x, n) - y
        found.append(
            Fit(
                form=form,  # type: ignore[arg-type]
                parameters=(float(solved.x[0]), float(solved.x[1]), float(solved.x[2])),
                residual=float(np.sqrt((distances**2).mean())),
                criterion=_aicc(float(((distances / spread) ** 2).sum()), len(n)),
                largest=float(n.max()),
            )
        )
    return min(found, key=lambda f: f.criterion)


def _aicc(squares: float, points: int, parameters: int = 4) -> float:
    """Akaike's criterion with its correction for few points (three parameters and the variance)."""
    value = points * math.log(max(squares, 1e-12) / points) + 2 * parameters
    room = points - parameters - 1
    return value + (2 * parameters * (parameters + 1) / room if room > 0 else 0.0)


def data_equivalence(
    images: Sequence[float], soft: Sequence[float], hard_images: Sequence[float], hard: Sequence[float]
) -> list[float]:
    """How many images with hard labels one image with a soft label is worth, at each number of images.

    Args:
        images: per class, of the soft curve.
        soft: accuracies there.
        hard_images: per class, of the hard curve.
        hard: accuracies there.

    Returns:
        Ratios, one for each of `images`; infinite where the hard curve never gets so far, no number (NaN) where
        it begins above. Where the hard curve falls, its best accuracy so far stands.

    Raises:
        DataError: lists of different lengths, or a hard curve that does not rise.
    """
    if len(images) != len(soft) or len(hard_images) != len(hard):
        raise DataError(
            f"each number of images has one accuracy; got {len(images)} and {len(soft)} with soft labels, "
            f"{len(hard_images)} and {len(hard)} with hard ones."
        )
    order = np.argsort(hard_images)
    n = np.asarray(hard_images, dtype=float)[order]
    rising = np.maximum.accumulate(np.asarray(hard, dtype=float)[order])
    keep = np.concatenate([[True], np.diff(rising) > 0])
    if keep.sum() < 2:
        raise DataError("the curve of hard labels does not rise; nothing can be read off it.")
    inverse = PchipInterpolator(rising[keep], np.log(n[keep]), extrapolate=False)
    found = []
    for count, accuracy in zip(images, soft, strict=True):
        if accuracy > rising[-1]:
            found.append(math.inf)
        elif accuracy < rising[0]:
            found.append(math.nan)
        else:
            found.append(float(np.exp(inverse(accuracy))) / count)
    return found
