"""Components from outside, behind an explicit flag: a file, a module, or an installed entry point."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from limbeck.errors import InputError, LimbeckError, did_you_mean

GROUP = "limbeck.plugins"
"""Entry-point group of installed packages that register components."""


def load_plugins(names: Sequence[str]) -> list[str]:
    """Import plugins, which register their components by doing so.

    Args:
        names: each a path to a Python file, an importable module (`module:name` works too), or the name of an
            installed entry point in the group `limbeck.plugins`.

    Returns:
        The modules that were named, whose code recipes may therefore name as `module:name`.

    Raises:
        InputError: a plugin that does not exist or does not import, with the line that failed.
    """
    loaded = []
    for name in names:
        try:
            loaded.append(_load(name).__name__)
        except LimbeckError:
            raise
        except Exception as error:
            raise InputError(f"plugin {name}: {_where(error)}{type(error).__name__}: {error}") from error
    return loaded


def _load(name: str) -> ModuleType:
    if name.endswith(".py") or Path(name).is_file():
        return _load_file(Path(name))
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if name in installed:
        loaded = installed[name].load()
        return loaded if isinstance(loaded, ModuleType) else sys.modules[installed[name].module]
    module = name.partition(":")[0]
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    try:
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(module)
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (None, module, module.partition(".")[0]):
            raise
        hint = did_you_mean(name, installed)
        listed = ", ".join(sorted(installed)) or "none"
        raise InputError(
            f"plugin '{name}': no such file, module or entry point.{hint} Installed entry points: {listed}."
        ) from error
    finally:
        sys.path.pop(0)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"plugin {path}: there is no such file.")
    name = f"limbeck_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"plugin {path}: not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # worker processes and pickles of classes look it up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _where(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    return f"line {frames[-1].lineno} of {Path(frames[-1].filename).name}: " if frames else ""
