"""The ground cost between classes that WKD-L transports over, taken from the teacher or from a file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from limbeck.bounds import NonNegative, PositiveInt
from limbeck.classify.reading import features_at
from limbeck.classify.teachers import Teacher
from limbeck.errors import DataError, InputError
from limbeck.models import classifier_of
from limbeck.models.feature_taps import last_feature
from limbeck.numerics.class_relations import cosine_distance, linear_cka_distance, relation_cost
from limbeck.taps import Taps


def prototypes(teacher: Teacher, /, *, kappa: NonNegative = 1.0) -> Tensor:
    """Cosine distance between the rows of the teacher's classifier.

    Args:
        teacher: with a linear classifier.
        kappa: sharpness of cost = 1 - exp(-kappa * distance); 0 takes the distance itself.

    Returns:
        Cost, shape (C, C), float32.

    References:
        The prototype option of WKD-L [lv2024wasserstein].
    """
    _, layer = classifier_of(teacher.model, teacher.classes)
    weight = layer.weight.detach().float().flatten(1)
    return relation_cost(cosine_distance(weight), kappa=kappa)


def cka(
    teacher: Teacher, /, *, tap: str | None = None, rows: PositiveInt = 2048, kappa: NonNegative = 1.0
) -> Tensor:
    """One minus linear CKA between classes, over teacher features of training images.

    Args:
        teacher: with training images at hand.
        tap: module path; the last feature map unless given, whose every position is a row. "" takes logits,
            as the authors do on ImageNet.
        rows: rows a class, at most; 32,000 in the authors' CIFAR setting (500 images of 8 x 8 positions).
        kappa: sharpness of cost = 1 - exp(-kappa * distance); 0 takes the distance itself.

    Returns:
        Cost, shape (C, C), float32.

    Raises:
        DataError: a class has fewer than two rows.

    References:
        The default of WKD-L [lv2024wasserstein], section 3.1.
    """
    return relation_cost(linear_cka_distance(_class_rows(teacher, tap, rows)), kappa=kappa)


def file(teacher: Teacher, /, *, path: str) -> Tensor:
    """A cost of the user's own.

    Args:
        teacher: for the number of classes.
        path: a safetensors file with one tensor, named `cost`, of shape (C, C).

    Raises:
        InputError: no such file, no such tensor, or another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        cost: Tensor = load_file(Path(path))["cost"].float()
    except (OSError, KeyError, SafetensorError) as error:
        raise InputError(f"class cost: cannot read the tensor 'cost' from {path}: {error}") from error
    classes = teacher.classes
    if tuple(cost.shape) != (classes, classes):
        raise InputError(f"class cost: {path} holds shape {tuple(cost.shape)}, needed is ({classes}, {classes}).")
    return cost


def _class_rows(teacher: Teacher, tap: str | None, rows: int) -> Tensor:
    """Features by class, shape (C, rows, d), as many rows for each class as the poorest class has."""
    example = teacher.prepared(teacher.example)
    path = last_feature(teacher.model, example).path if tap is None else tap
    (feature,) = features_at(teacher.model, example, [path], "any" if tap is not None else "map")
    found: dict[int, list[Tensor]] = {}
    classes = teacher.classes
    with Taps(teacher.model, [path]) as taps, torch.no_grad():
        for images, labels in teacher.images():
            teacher.model(teacher.prepared(images))
            features = feature.read(taps.take()[path]).float()
            features = features.flatten(2).transpose(1, 2) if features.ndim == 4 else features.flatten(1)[:, None]
            for label in labels.unique().tolist():
                found.setdefault(label, []).append(features[labels == label].flatten(0, 1).cpu())
            if len(found) == classes and all(sum(map(len, part)) >= rows for part in found.values()):
                break
    counts = {label: sum(map(len, found.get(label, []))) for label in range(classes)}
    fewest = min(counts, key=lambda label: counts[label])
    if counts[fewest] < 2:
        raise DataError(f"class cost: class {fewest} has {counts[fewest]} feature rows; CKA needs at least 2.")
    keep = min(rows, counts[fewest])
    return torch.stack([torch.cat(found[label])[:keep] for label in range(classes)])
