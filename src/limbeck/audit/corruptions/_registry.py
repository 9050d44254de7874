"""Corruptions by name. A leaf: no corruption is imported here."""

from __future__ import annotations

from limbeck.registry import Registry

FILES = {
    "gaussian_noise": "noise",
    "shot_noise": "noise",
    "impulse_noise": "noise",
    "defocus_blur": "blur",
    "glass_blur": "blur",
    "motion_blur": "blur",
    "zoom_blur": "blur",
    "snow": "weather",
    "frost": "weather",
    "fog": "weather",
    "brightness": "weather",
    "contrast": "digital",
    "elastic_transform": "digital",
    "pixelate": "digital",
    "jpeg_compression": "digital",
    "speckle_noise": "noise",
    "gaussian_blur": "blur",
    "spatter": "weather",
    "saturate": "digital",
}
"""Name of a corruption -> file of this package that defines it."""

STANDARD = tuple(FILES)[:15]
"""The fifteen that the mean corruption error is taken over; the other four were set apart for validation."""

CORRUPTIONS = Registry("corruption", {name: f"limbeck.audit.corruptions.{file}" for name, file in FILES.items()})
register = CORRUPTIONS.register
