"""What a flow is trained to minimise, image by image.

Every function is `name(chord, velocity, distance, *, settings) -> (n,)`. The chord says where the velocity was
asked for; the distance is a perceptual one, for the objectives that have such a term. Once a flow is straight,
every distance that vanishes only at equality has the same optimum; on independent pairs only the squared one leads
to the flow (Lee et al. 2024, sections 3 and 4.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.bounds import NonNegative, Positive
from limbeck.errors import ConfigError
from limbeck.flow.path import data_of, point
from limbeck.losses.pseudo_huber import pseudo_huber, root_squared_error, squared_error

Distance = Callable[[Tensor, Tensor], Tensor]
"""Perceptual distance of two batches of images in [-1, 1], (n,)."""
Weighting = Literal["one", "1-t", "1/t"]


@dataclass(frozen=True)
class Chord:
    """Data and noise that belong together, and a time between them.

    Attributes:
        x: data, (n, c, h, w), in [-1, 1] for images.
        z: noise, the same shape.
        t: (n,), in (0, 1).
    """

    x: Tensor
    z: Tensor
    t: Tensor

    @property
    def point(self) -> Tensor:
        """x_t, where the velocity is asked for."""
        return point(self.x, self.z, self.t)

    @property
    def velocity(self) -> Tensor:
        """The direction from data to noise, z - x: what a velocity is trained to be."""
        return self.z - self.x


def l2(chord: Chord, velocity: Tensor, distance: Distance | None = None) -> Tensor:
    """Mean over the values of the squared error of the velocity: the paper's squared l2.

    Args:
        chord: data, noise and time.
        velocity: predicted, (n, c, h, w).
        distance: not used.
    """
    return squared_error(velocity, chord.velocity)


def rms(chord: Chord, velocity: Tensor, distance: Distance | None = None) -> Tensor:
    """Root of the mean squared error: what the released code does by default, under the name l2.

    Args:
        chord: data, noise and time.
        velocity: predicted, (n, c, h, w).
        distance: not used.
    """
    return root_squared_error(velocity, chord.velocity)


def huber(
    chord: Chord,
    velocity: Tensor,
    distance: Distance | None = None,
    *,
    c: Positive | None = None,
    source: Literal["code", "paper"] = "code",
) -> Tensor:
    """Pseudo-Huber error of the velocity: (sqrt(|e|^2 + c^2) - c) / d, e = v - (z - x) with d values.

    Args:
        chord: data, noise and time.
        velocity: predicted, (n, c, h, w).
        distance: not used.
        c: 0.00054 d unless given, as in the paper; not the 0.00054 sqrt(d) of consistency training.
        source: the released code divides by d, the paper's formula does not.
    """
    return pseudo_huber(velocity, chord.velocity, c=c, per_value=source == "code")


def perceptual(
    chord: Chord, velocity: Tensor, distance: Distance | None = None, *, weighting: Weighting = "one"
) -> Tensor:
    """Perceptual distance of the predicted data x_t - t v to the data.

    Args:
        chord: data, noise and time.
        velocity: predicted, (n, c, h, w).
        distance: the perceptual one.
        weighting: in t; 1/t undoes that the gradient on the velocity fades like t.

    Raises:
        ConfigError: no distance.
    """
    if distance is None:
        raise ConfigError("a perceptual objective needs distance: lpips_vgg or classifier with its weights.")
    found = distance(data_of(chord.point, velocity, chord.t), chord.x)
    return found * weight(chord.t, weighting).to(found.dtype)


def perceptual_huber(
    chord: Chord,
    velocity: Tensor,
    distance: Distance | None = None,
    *,
    c: Positive | None = None,
    weighting: Weighting = "1/t",
    huber_weighting: Weighting = "1-t",
    huber_weight: NonNegative = 1.0,
    source: Literal["code", "paper"] = "code",
) -> Tensor:
    """(1 - t) Huber + perceptual distance (E), or over t (F): LPIPS-Huber where the distance is LPIPS.

    Args:
        chord: data, noise and time.
        velocity: predicted, (n, c, h, w).
        distance: the perceptual one.
        c: of the Huber term, as in `huber`.
        weighting: of the perceptual term in t: "one" is the paper's E, "1/t" its F.
        huber_weighting: of the Huber term in t.
        huber_weight: of the Huber term; perceptual distances on other networks have other sizes.
        source: whether the Huber term is divided by the number of values (code) or not (paper).

    Raises:
        ConfigError: no distance.
    """
    seen = perceptual(chord, velocity, distance, weighting=weighting)
    felt = huber(chord, velocity, c=c, source=source)
    return huber_weight * weight(chord.t, huber_weighting).to(felt.dtype) * felt + seen


def weight(t: Tensor, weighting: Weighting) -> Tensor:
    """A weighting's values at times (n,)."""
    if weighting == "one":
        return torch.ones_like(t)
    return 1 - t if weighting == "1-t" else 1 / t
