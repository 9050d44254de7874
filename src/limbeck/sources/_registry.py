"""Sources and augmentations by name. A leaf: none is imported here."""

from __future__ import annotations

from limbeck.registry import Registry

SOURCES = Registry(
    "source",
    {
        "digits": "limbeck.sources.digits",
        "arrays": "limbeck.sources.arrays",
        "folder": "limbeck.sources.folder",
        "parquet": "limbeck.sources.parquet",
        "torchvision/*": "limbeck.sources.torchvision_sets",
    },
)
register = SOURCES.register

AUGMENTATIONS = ("crop", "flip", "translate", "rotate", "cutout", "brightness", "contrast")

AUGMENTS = Registry("augmentation", dict.fromkeys(AUGMENTATIONS, "limbeck.sources.augment"))
register_augmentation = AUGMENTS.register
