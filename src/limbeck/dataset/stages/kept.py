"""Students of small sets as model files, and what they are called where they are compared."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from limbeck.dataset.config import EvaluateStage
from limbeck.dataset.preprocess import Normalisation, Preprocess
from limbeck.dataset.real import Real
from limbeck.errors import ConfigError
from limbeck.models import DataConfig, save
from limbeck.runs.folder import StageFolder

MODEL_FILE = "model.safetensors"
_NUMBERED = re.compile(r"(?P<name>.+)-s(?P<number>\d+)")


def check_writable(name: str, made_with: Preprocess, preprocess: Preprocess) -> None:
    """Make sure that one mean and deviation of each channel say how the images of a set were prepared.

    Args:
        name: of the set, for the message.
        made_with: how its images were prepared.
        preprocess: how the stage prepares test images.

    Raises:
        ConfigError: they were whitened, or normalised in another way than test images are.
    """
    if not isinstance(made_with, Normalisation) or not isinstance(preprocess, Normalisation):
        raise ConfigError(
            f"keep_students: the set '{name}' was made with {made_with.name}, and a model file says a mean and a "
            "deviation of each channel, nothing else. Make the set with whiten: false, or leave keep_students out."
        )
    theirs, ours = (torch.tensor([*one.mean, *one.std], dtype=torch.float64) for one in (made_with, preprocess))
    if theirs.shape != ours.shape or not torch.allclose(theirs, ours, atol=1e-3):
        raise ConfigError(
            f"keep_students: the set '{name}' was normalised with mean {list(made_with.mean)} and std "
            f"{list(made_with.std)}, test images are with mean {list(preprocess.mean)} and std "
            f"{list(preprocess.std)}, and a model file says one of them. Give this stage the set's: mean: [...], "
            "std: [...]."
        )


def keep(model: nn.Module, trial: StageFolder, real: Real, notes: Mapping[str, Any]) -> str:
    """Write a student into its trial's folder, with its spec, its normalisation and its classes.

    Args:
        model: made by `limbeck.models.build`.
        trial: begun.
        real: the data that it was measured on.
        notes: where it comes from.

    Returns:
        Name of the file.
    """
    preprocess = real.preprocess
    assert isinstance(preprocess, Normalisation)  # see check_writable
    facts = DataConfig(real.image_shape, preprocess.mean, preprocess.std, real.class_names)
    spec: Any = model.limbeck_spec
    save(model, trial.path / MODEL_FILE, spec=spec, data=facts, notes=notes)
    return MODEL_FILE


def called(control: str, row: str, sets: Collection[str], budgets: Collection[int]) -> str:
    """What real images are called beside the sets: short where nothing else could be meant.

    Args:
        control: how they were picked.
        row: their name in the table.
        sets: names of the sets.
        budgets: images per class of them all.

    Example:
        >>> called("random", "random 10 per class", ["dm"], {10})
        'random'
        >>> called("random", "random 10 per class", ["dm", "larger"], {10, 50})
        'random 10 per class'
    """
    return control if len(set(budgets)) == 1 and control not in sets else row


def replicate(name: str, seed: int, config: EvaluateStage) -> tuple[str, int]:
    """Sets named dm-s0, dm-s1 are one method that was made several times, where each has a single student.

    Their students then differ by the set and not by the luck of training, and a spread over them is one over sets.

    Args:
        name: of the set, or of the real images.
        seed: of its student.
        config: of the stage.

    Returns:
        The name without its number, and the number in place of the seed; both as they were otherwise.
    """
    found = _NUMBERED.fullmatch(name) if len(config.students.seeds) == 1 else None
    return (name, seed) if found is None else (found["name"], int(found["number"]))


def method_of(name: str, *, model: str, labels: str, mode: str, augment: str, config: EvaluateStage) -> str:
    """A set as a method of a comparison: its name, and what tells its students from the others of that name.

    Args:
        name: of the set, or of the real images.
        model: name of the network.
        labels: "hard" or "soft".
        mode: "sequence" or "union".
        augment: "augmented" or "plain".
        config: of the stage.
    """
    parts = [name]
    parts += [labels] if labels == "soft" and "hard" in config.labels else []
    parts += [model] if len(config.models) > 1 else []
    parts += ["in sequence"] if mode == "sequence" else []
    parts += [augment] if augment == "plain" else []
    return " ".join(parts)
