"""Recipes by path or by their name in the library."""

from __future__ import annotations

import re
from pathlib import Path

from limbeck.errors import InputError, UnknownNameError, did_you_mean

LIBRARY = Path(__file__).with_name("library")


def names() -> list[str]:
    """Names of the shipped recipes, such as demo/digits."""
    found = (path.relative_to(LIBRARY).with_suffix("") for path in LIBRARY.rglob("*.yaml"))
    return sorted(name.as_posix() for name in found if name.name != "tables")


def read(recipe: str) -> tuple[str, str]:
    """Name and text of a recipe.

    Args:
        recipe: path of a YAML file, or a name in the library.

    Raises:
        UnknownNameError: neither exists.
        InputError: the file is no text, or cannot be read.
    """
    path = Path(recipe)
    if not path.is_file() and recipe in names():
        path, name = LIBRARY / f"{recipe}.yaml", recipe
    elif path.is_file():
        name = path.stem
    else:
        raise UnknownNameError(
            f"recipe '{recipe}': no such file, and none of that name in the library."
            f"{did_you_mean(recipe, names())} The library has: {', '.join(names())}."
        )
    try:
        return name, path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"recipe {path}: not a text file (byte {error.start} is no UTF-8).") from error
    except OSError as error:
        raise InputError(f"recipe {path}: cannot be read: {error.strerror or error}.") from error


def summary(name: str) -> str:
    """The title of a shipped recipe."""
    for line in (LIBRARY / f"{name}.yaml").read_text(encoding="utf-8").splitlines():
        if line.startswith("title:"):
            return line.removeprefix("title:").strip()
    return ""


def variants(name: str) -> list[str]:
    """Names of a shipped recipe's variants, in their order; read by eye, as parsing every recipe takes long."""
    text = (LIBRARY / f"{name}.yaml").read_text(encoding="utf-8")
    block = re.search(r"^variants:\n((?:(?: .*)?\n)*)", text, flags=re.MULTILINE)
    return re.findall(r"^  ([a-z][a-z0-9_-]*):", block.group(1), flags=re.MULTILINE) if block else []
