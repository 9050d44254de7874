"""Packages whose public names load on first use, so that importing a package costs nothing.

A function often has the name of its file (`losses/kd.py` defines `kd`). Importing that file makes Python bind
the module under the same name in the package, in front of the function. `LazyPackage` refuses that binding, so
`from limbeck.losses import kd` is the function, whatever was imported before.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any


class LazyPackage(ModuleType):
    """A package that finds its public names in the table `_PUBLIC`: name -> file inside the package."""

    _PUBLIC: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        if name == "_PUBLIC" or name not in self._PUBLIC:
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        return getattr(importlib.import_module(f"{self.__name__}.{self._PUBLIC[name]}"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in self._PUBLIC:
            return
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._PUBLIC})


def make_lazy(package: str) -> None:
    """Turn a package into a `LazyPackage`; called once, at the end of its `__init__.py`.

    Example:
        >>> import limbeck.losses.kd
        >>> callable(limbeck.losses.kd)
        True
    """
    sys.modules[package].__class__ = LazyPackage
