"""Where a network looks: maps of what in an image spoke for a class, and how alike two such maps are.

Every attribution is `name(network, images, targets, *, layer=None, ...)`: images in [0, 1], the classes asked
about, and the tap path (relative to the wrapped model) of the map that is read, found unless given. It returns one
map for each image, shape (n, h, w), unscaled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.audit.attribution._registry import ATTRIBUTIONS, FILES, register
from limbeck.lazy import make_lazy

_PUBLIC = {
    **FILES,
    "counted_in_all": "similarity",
    "display": "display",
    "input_gradients": "pixel_gradients",
    "map_cosine": "similarity",
    "map_layer": "layers",
    "pointing_game": "pointing",
    "read_map": "reading",
    "wins": "similarity",
}

if TYPE_CHECKING:
    from limbeck.audit.attribution.attention_rollout import attention_rollout
    from limbeck.audit.attribution.display import display
    from limbeck.audit.attribution.grad_cam import grad_cam
    from limbeck.audit.attribution.grad_cam_pp import grad_cam_pp
    from limbeck.audit.attribution.gradient_times_input import gradient_times_input
    from limbeck.audit.attribution.hires_cam import hires_cam
    from limbeck.audit.attribution.input_gradient import input_gradient
    from limbeck.audit.attribution.integrated_gradients import integrated_gradients
    from limbeck.audit.attribution.layer_cam import layer_cam
    from limbeck.audit.attribution.layers import map_layer
    from limbeck.audit.attribution.occlusion import occlusion
    from limbeck.audit.attribution.pixel_gradients import input_gradients
    from limbeck.audit.attribution.pointing import pointing_game
    from limbeck.audit.attribution.reading import read_map
    from limbeck.audit.attribution.similarity import counted_in_all, map_cosine, wins

__all__ = [
    "ATTRIBUTIONS",
    "attention_rollout",
    "counted_in_all",
    "display",
    "grad_cam",
    "grad_cam_pp",
    "gradient_times_input",
    "hires_cam",
    "input_gradient",
    "input_gradients",
    "integrated_gradients",
    "layer_cam",
    "map_cosine",
    "map_layer",
    "occlusion",
    "pointing_game",
    "read_map",
    "register",
    "wins",
]

make_lazy(__name__)
