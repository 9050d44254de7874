"""Where samples come from: sources by name, whole-batch augmentations, and the loader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy
from limbeck.sources._registry import AUGMENTATIONS, AUGMENTS, SOURCES, register, register_augmentation

_PUBLIC = {
    **AUGMENTATIONS,
    "ArraySource": "arrays",
    "FolderSource": "folder",
    "Loader": "loader",
    "Mix": "mixing",
    "Subset": "subset",
    "arrays": "arrays",
    "as_source": "building",
    "build": "building",
    "digits": "digits",
    "folder": "folder",
    "normalise": "loader",
    "parquet": "parquet",
}

if TYPE_CHECKING:
    from limbeck.sources.arrays import ArraySource, arrays
    from limbeck.sources.augment import brightness, contrast, crop, cutout, flip, rotate, translate
    from limbeck.sources.augment_colour import colour_jitter, greyscale
    from limbeck.sources.augment_policies import rand_augment, trivial_augment
    from limbeck.sources.augment_regions import random_erasing, random_resized_crop
    from limbeck.sources.building import as_source, build
    from limbeck.sources.digits import digits
    from limbeck.sources.folder import FolderSource, folder
    from limbeck.sources.loader import Loader, normalise
    from limbeck.sources.mixing import Mix
    from limbeck.sources.parquet import parquet
    from limbeck.sources.subset import Subset

__all__ = [
    "AUGMENTS",
    "SOURCES",
    "ArraySource",
    "FolderSource",
    "Loader",
    "Mix",
    "Subset",
    "arrays",
    "as_source",
    "brightness",
    "build",
    "colour_jitter",
    "contrast",
    "crop",
    "cutout",
    "digits",
    "flip",
    "folder",
    "greyscale",
    "normalise",
    "parquet",
    "rand_augment",
    "random_erasing",
    "random_resized_crop",
    "register",
    "register_augmentation",
    "rotate",
    "translate",
    "trivial_augment",
]

make_lazy(__name__)
