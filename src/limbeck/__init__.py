"""Limbeck: distillation in all its forms.

Importing the package is free; every name below loads what it needs on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from limbeck.version import __version__

_PUBLIC = {
    "distill": "limbeck.classify",
    "train": "limbeck.classify",
    "load": "limbeck.loading",
    "Taps": "limbeck.taps",
}

__all__ = ["Taps", "__version__", "distill", "load", "train"]

if TYPE_CHECKING:
    from limbeck.classify import distill, train
    from limbeck.loading import load
    from limbeck.taps import Taps


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'limbeck' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
