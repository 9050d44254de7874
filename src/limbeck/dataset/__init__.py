"""Data-set distillation: small sets that train good models, and whether their images or their labels did it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy

_PUBLIC = {
    "Ground": "methods._base",
    "ImageSet": "image_set",
    "PROTOCOLS": "students",
    "Recipe": "students",
    "Subset": "image_set",
    "Trajectories": "trajectories",
    "export_set": "hub_folder",
    "fit_whitening": "preprocess",
    "load": "image_set",
    "matching_gradient": "matching.trajectories",
    "pick": "selection",
    "save": "image_set",
    "soft_labels": "labelling",
    "teach": "teaching",
    "tesla_gradient": "matching.trajectories",
    "train_student": "students",
}

if TYPE_CHECKING:
    from limbeck.dataset.hub_folder import export_set
    from limbeck.dataset.image_set import ImageSet, Subset, load, save
    from limbeck.dataset.labelling import soft_labels
    from limbeck.dataset.matching.trajectories import matching_gradient, tesla_gradient
    from limbeck.dataset.methods._base import Ground
    from limbeck.dataset.preprocess import fit_whitening
    from limbeck.dataset.selection import pick
    from limbeck.dataset.students import PROTOCOLS, Recipe, train_student
    from limbeck.dataset.teaching import teach
    from limbeck.dataset.trajectories import Trajectories

__all__ = [
    "PROTOCOLS",
    "Ground",
    "ImageSet",
    "Recipe",
    "Subset",
    "Trajectories",
    "export_set",
    "fit_whitening",
    "load",
    "matching_gradient",
    "pick",
    "save",
    "soft_labels",
    "teach",
    "tesla_gradient",
    "train_student",
]

make_lazy(__name__)
