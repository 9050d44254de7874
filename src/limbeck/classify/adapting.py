"""Adapting a trained network: begin with its weights, keep some of them, move others faster."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import nn

from limbeck.errors import ConfigError, ModelError, did_you_mean
from limbeck.models import classifier_of, load


def start_from(student: nn.Module, path: Path, *, classes: int) -> nn.Module:
    """Give a student the weights of a trained model; a classifier for another number of classes starts anew.

    Args:
        student: changed in place, and returned.
        path: model file, or folder of a stage or run.
        classes: number of classes of the student.

    Raises:
        CheckpointError: no intact model there.
        ModelError: anything but the classifier differs.
    """
    model = load(path)
    known, own = model.state_dict(), student.state_dict()
    head, _ = classifier_of(student, classes)
    belongs = {name for name in own if name.startswith(f"{head}.")}
    fitting = {name: value for name, value in known.items() if name in own and value.shape == own[name].shape}
    missing = sorted(set(own) - set(fitting) - belongs)
    beyond = sorted(set(known) - set(own) - belongs)
    if missing or beyond:
        what = f"'{missing[0]}' is missing or of another shape" if missing else f"it has '{beyond[0]}' besides"
        raise ModelError(
            f"start_from: {path} holds a {type(model).__name__} that does not fit the student, a "
            f"{type(student).__name__}: {what} ({len(missing) + len(beyond)} differences). Only the classifier "
            "may differ."
        )
    student.load_state_dict({**own, **fitting})
    facts = getattr(model, "limbeck_data", None)
    if facts is not None:
        student.limbeck_data = facts  # its weights want this normalisation
    return student


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
