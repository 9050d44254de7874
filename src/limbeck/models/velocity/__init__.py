"""Networks over images and time: what flows, diffusion models and samplers are made of.

A network is called `network(x, time, labels)`: x of shape (n, c, h, w); time (n,), whatever number the
parameterisation conditions on; labels (n,) int64, where -1 means no class, or None. It returns the shape of x.
One that was built with `interval=True` takes a fourth argument (n,), the length of the interval that an average
velocity is over. Points in the plane are images of shape (2, 1, 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy

_PUBLIC = {"build_velocity_network": "building"}

if TYPE_CHECKING:
    from limbeck.models.velocity.building import build_velocity_network

__all__ = ["build_velocity_network"]

make_lazy(__name__)
