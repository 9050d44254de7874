"""Common corruptions of images in five severities, for images of any size [hendrycks2019corruptions].

Every corruption is a function `name(images, index, *, severity, seed)`: images in [0, 1], shape (n, c, h, w), c 1
or 3; `index` (n,), int64, from which each image's draws come, so that an image is corrupted the same way in any
batch. What comes back has the 256 levels of a stored picture. The constants of each severity are those of the
published sets: of the one for 32 x 32 images up to 48 pixels, of the one for 224 x 224 above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.audit.corruptions._registry import CORRUPTIONS, FILES, STANDARD, register
from limbeck.lazy import make_lazy

_PUBLIC = dict(FILES)

if TYPE_CHECKING:
    from limbeck.audit.corruptions.blur import defocus_blur, gaussian_blur, glass_blur, motion_blur, zoom_blur
    from limbeck.audit.corruptions.digital import (
        contrast,
        elastic_transform,
        jpeg_compression,
        pixelate,
        saturate,
    )
    from limbeck.audit.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
    from limbeck.audit.corruptions.weather import brightness, fog, frost, snow, spatter

__all__ = [
    "CORRUPTIONS",
    "STANDARD",
    "brightness",
    "contrast",
    "defocus_blur",
    "elastic_transform",
    "fog",
    "frost",
    "gaussian_blur",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "jpeg_compression",
    "motion_blur",
    "pixelate",
    "register",
    "saturate",
    "shot_noise",
    "snow",
    "spatter",
    "speckle_noise",
    "zoom_blur",
]

make_lazy(__name__)
