"""Ways of making a small set, by name."""

from __future__ import annotations

from limbeck.registry import Registry

_METHODS = "limbeck.dataset.methods"

SYNTHESES = Registry(
    "synthesis",
    {
        "dm": f"{_METHODS}.dm",
        "mtt": f"{_METHODS}.trajectory",
        "tesla": f"{_METHODS}.trajectory",
        "datm": f"{_METHODS}.trajectory",
        "dc": f"{_METHODS}.dc",
        "dsa": f"{_METHODS}.dc",
        "idc": f"{_METHODS}.idc",
        "sre2l": f"{_METHODS}.sre2l",
        "rded": f"{_METHODS}.rded",
    },
)
"""`name(ground, *, settings) -> Method`."""
