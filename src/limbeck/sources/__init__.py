"""Where samples come from: sources by name, whole-batch augmentations, and the loader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy
from limbeck.sources._registry import AUGMENTATIONS, AUGMENTS, SOURCES, register, register_augmentation

_PUBLIC = {
    **dict.fromkeys(AUGMENTATIONS, "augment"),
    "ArraySource": "arrays",
    "FolderSource": "folder",
    "Loader": "loader",
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
    from limbeck.sources.building import as_source, build
    from limbeck.sources.digits import digits
    from limbeck.sources.folder import FolderSource, folder
    from limbeck.sources.loader import Loader, normalise
    from limbeck.sources.parquet import parquet
    from limbeck.sources.subset import Subset

__all__ = [
    "AUGMENTS",
    "SOURCES",
    "ArraySource",
    "FolderSource",
    "Loader",
    "Subset",
    "arrays",
    "as_source",
    "brightness",
    "build",
    "contrast",
    "crop",
    "cutout",
    "digits",
    "flip",
    "folder",
    "normalise",
    "parquet",
    "register",
    "register_augmentation",
    "rotate",
    "translate",
]

make_lazy(__name__)
