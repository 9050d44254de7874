"""Changes of images under which a network may or may not keep its mind; the same for every network.

Functions of (images, index): images in [0, 1], shape (n, c, h, w), floats; `index` (n,), int64, from which each
image's draws come, so that an image is changed the same way in any batch. At strength 0 the images come back bit
for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy

_PUBLIC = {
    "CueConflict": "cue_conflict",
    "blend_cues": "cue_conflict",
    "colour_change": "colour",
    "crop_pair": "crops",
    "cue_conflict": "cue_conflict",
    "cue_conflict_folder": "cue_folder",
    "phase_swap": "phase_swap",
    "rotated": "rotation",
    "scaled": "scaling",
    "shift_pair": "shifts",
}

if TYPE_CHECKING:
    from limbeck.audit.transforms.colour import colour_change
    from limbeck.audit.transforms.crops import crop_pair
    from limbeck.audit.transforms.cue_conflict import CueConflict, blend_cues, cue_conflict
    from limbeck.audit.transforms.cue_folder import cue_conflict_folder
    from limbeck.audit.transforms.phase_swap import phase_swap
    from limbeck.audit.transforms.rotation import rotated
    from limbeck.audit.transforms.scaling import scaled
    from limbeck.audit.transforms.shifts import shift_pair

__all__ = [
    "CueConflict",
    "blend_cues",
    "colour_change",
    "crop_pair",
    "cue_conflict",
    "cue_conflict_folder",
    "phase_swap",
    "rotated",
    "scaled",
    "shift_pair",
]

make_lazy(__name__)
