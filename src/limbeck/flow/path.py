"""The straight path between data (t = 0) and noise (t = 1), and what can be read off a velocity on it.

All functions take images (n, c, h, w) and times (n,), and are exact for any coupling of data and noise.
"""

from __future__ import annotations

from torch import Tensor

from limbeck.errors import InputError

END = 1e-5
"""How far from 0 and 1 times stay: sigma = t / (1 - t) has to be finite."""


def per_image(t: Tensor, like: Tensor) -> Tensor:
    """Times (n,) as a tensor that multiplies images (n, ...)."""
    return t.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


def point(x: Tensor, z: Tensor, t: Tensor) -> Tensor:
    """x_t = (1 - t) x + t z.

    Example:
        >>> import torch
        >>> point(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), torch.tensor([0.25])).item()
        0.25
    """
    at = per_image(t, x)
    return (1 - at) * x + at * z


def data_of(x_t: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
    """The data that a velocity points back to, x_t - t v."""
    return x_t - per_image(t, x_t) * velocity


def noise_of(x_t: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
    """The noise that a velocity points to, x_t + (1 - t) v."""
    return x_t + (1 - per_image(t, x_t)) * velocity


def velocity_to_data(x_t: Tensor, data: Tensor, t: Tensor) -> Tensor:
    """The velocity of a data prediction, (x_t - x) / t; needs t > 0."""
    return (x_t - data) / per_image(t, x_t)


def velocity_to_noise(x_t: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """The velocity of a noise prediction, (z - x_t) / (1 - t); needs t < 1."""
    return (noise - x_t) / (1 - per_image(t, x_t))


def require_times(t: Tensor) -> None:
    """Make sure that times lie between data and noise.

    Raises:
        InputError: one is outside [0, 1] or not a number.
    """
    outside = ~((t >= 0) & (t <= 1))
    if bool(outside.any()):
        raise InputError(
            f"times run from 0 (data) to 1 (noise); got {float(t[outside][0]):g}. A model that counts steps "
            "or noise "
            "levels is told so by its parameterisation."
        )
