"""Parts of a network that keep their weights, and parts that move faster or slower."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping

from torch import nn

from limbeck.errors import ConfigError, did_you_mean


def freeze(student: nn.Module, patterns: Iterable[str]) -> list[nn.Module]:
    """Modules that keep their weights from now on.

    Args:
        student: changed in place.
        patterns: module paths, or patterns such as "layer?" and "*.bn1".

    Returns:
        The modules, to be kept in eval mode.

    Raises:
        ConfigError: a pattern that matches nothing.
    """
    modules = dict(student.named_modules())
    frozen: list[nn.Module] = []
    for pattern in patterns:
        found = [module for name, module in modules.items() if name and fnmatch.fnmatchcase(name, pattern)]
        if not found:
            near = did_you_mean(pattern, modules)
            children = ", ".join(name for name, _ in student.named_children())
            raise ConfigError(f"freeze: no module '{pattern}' in the student.{near} Its children: {children}.")
        for module in found:
            module.requires_grad_(False)
        frozen += found
    return frozen


def rate_factors(student: nn.Module, factors: Mapping[str, float], *, prefix: str) -> dict[str, float]:
    """Factor of the learning rate of each parameter that has one.

    Args:
        student: whose parameters.
        factors: module path or pattern -> factor; the first that matches counts.
        prefix: what stands before the student's names in the trainable module.

    Raises:
        ConfigError: a pattern that matches no parameter.
    """
    found: dict[str, float] = {}
    for pattern, factor in factors.items():
        matching = [
            name
            for name, _ in student.named_parameters()
            if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"{pattern}.*")
        ]
        if not matching:
            children = ", ".join(name for name, _ in student.named_children())
            near = did_you_mean(pattern, [name for name, _ in student.named_modules() if name])
            raise ConfigError(f"lr_factors: '{pattern}' matches no parameter.{near} Its children: {children}.")
        for name in matching:
            found.setdefault(prefix + name, factor)
    return found
