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
        "parquet_stream": "limbeck.sources.streaming.parquet_stream",
        "object_crops": "limbeck.sources.object_crops",
        "joined": "limbeck.sources.joined",
        "relabelled": "limbeck.sources.relabelled",
        "tinted": "limbeck.sources.tinted",
        "blended": "limbeck.sources.blended",
        "hf_stream": "limbeck.sources.streaming.hf_stream",
        "torchvision/*": "limbeck.sources.torchvision_sets",
    },
)
register = SOURCES.register

AUGMENTATIONS = {
    "crop": "augment",
    "flip": "augment",
    "translate": "augment",
    "rotate": "augment",
    "cutout": "augment",
    "brightness": "augment",
    "contrast": "augment",
    "colour_jitter": "augment_colour",
    "greyscale": "augment_colour",
    "random_resized_crop": "augment_regions",
    "random_erasing": "augment_regions",
    "gaussian_blur": "augment_tones",
    "posterise": "augment_tones",
    "solarise": "augment_tones",
    "equalise": "augment_tones",
    "autocontrast": "augment_tones",
    "sharpen": "augment_tones",
    "invert": "augment_tones",
    "rand_augment": "augment_policies",
    "trivial_augment": "augment_policies",
}
"""Name of an augmentation -> file of this package that defines it."""

AUGMENTS = Registry("augmentation", {name: f"limbeck.sources.{file}" for name, file in AUGMENTATIONS.items()})
register_augmentation = AUGMENTS.register

DETECTION_SOURCES = Registry(
    "detection source",
    {
        "coco": "limbeck.sources.detection.coco",
        "voc": "limbeck.sources.detection.voc",
        "digit_scenes": "limbeck.sources.detection.digit_scenes",
    },
)
register_detection_source = DETECTION_SOURCES.register

DETECTION_AUGMENTATIONS = {
    "flip": "augment",
    "flip_vertical": "augment",
    "brightness": "augment",
    "photometric_distort": "augment",
    "zoom_out": "augment_regions",
    "iou_crop": "augment_regions",
    "random_crop": "augment_regions",
    "scale_jitter": "augment_regions",
}
"""Name of an augmentation of images with boxes -> file of `limbeck.sources.detection` that defines it."""

DETECTION_AUGMENTS = Registry(
    "detection augmentation",
    {name: f"limbeck.sources.detection.{file}" for name, file in DETECTION_AUGMENTATIONS.items()},
)
register_detection_augmentation = DETECTION_AUGMENTS.register
