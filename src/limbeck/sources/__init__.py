"""Where samples come from: sources by name, whole-batch augmentations, and the loader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy
from limbeck.sources._registry import AUGMENTATIONS, AUGMENTS, SOURCES, register, register_augmentation

_PUBLIC = {
    **AUGMENTATIONS,
    "ArraySource": "arrays",
    "DetectionLoader": "detection.loader",
    "FolderSource": "folder",
    "Loader": "loader",
    "Mix": "mixing",
    "StreamLoader": "streaming.loader",
    "StreamSource": "streaming.source",
    "Subset": "subset",
    "arrays": "arrays",
    "as_source": "building",
    "blended": "blended",
    "build": "building",
    "build_detection": "detection.building",
    "digits": "digits",
    "folder": "folder",
    "hf_stream": "streaming.hf_stream",
    "joined": "joined",
    "loader_of": "streaming.loader",
    "normalise": "loader",
    "object_crops": "object_crops",
    "parquet": "parquet",
    "parquet_stream": "streaming.parquet_stream",
    "part_of": "streaming.loader",
    "relabelled": "relabelled",
    "tinted": "tinted",
}

if TYPE_CHECKING:
    from limbeck.sources.arrays import ArraySource, arrays
    from limbeck.sources.augment import brightness, contrast, crop, cutout, flip, rotate, translate
    from limbeck.sources.augment_colour import colour_jitter, greyscale
    from limbeck.sources.augment_policies import rand_augment, trivial_augment
    from limbeck.sources.augment_regions import random_erasing, random_resized_crop
    from limbeck.sources.augment_tones import (
        autocontrast,
        equalise,
        gaussian_blur,
        invert,
        posterise,
        sharpen,
        solarise,
    )
    from limbeck.sources.blended import blended
    from limbeck.sources.building import as_source, build
    from limbeck.sources.detection.building import build_detection
    from limbeck.sources.detection.loader import DetectionLoader
    from limbeck.sources.digits import digits
    from limbeck.sources.folder import FolderSource, folder
    from limbeck.sources.joined import joined
    from limbeck.sources.loader import Loader, normalise
    from limbeck.sources.mixing import Mix
    from limbeck.sources.object_crops import object_crops
    from limbeck.sources.parquet import parquet
    from limbeck.sources.relabelled import relabelled
    from limbeck.sources.streaming.hf_stream import hf_stream
    from limbeck.sources.streaming.loader import StreamLoader, loader_of, part_of
    from limbeck.sources.streaming.parquet_stream import parquet_stream
    from limbeck.sources.streaming.source import StreamSource
    from limbeck.sources.subset import Subset
    from limbeck.sources.tinted import tinted

__all__ = [
    "AUGMENTS",
    "SOURCES",
    "ArraySource",
    "DetectionLoader",
    "FolderSource",
    "Loader",
    "Mix",
    "StreamLoader",
    "StreamSource",
    "Subset",
    "arrays",
    "as_source",
    "autocontrast",
    "blended",
    "brightness",
    "build",
    "build_detection",
    "colour_jitter",
    "contrast",
    "crop",
    "cutout",
    "digits",
    "equalise",
    "flip",
    "folder",
    "gaussian_blur",
    "greyscale",
    "hf_stream",
    "invert",
    "joined",
    "loader_of",
    "normalise",
    "object_crops",
    "parquet",
    "parquet_stream",
    "part_of",
    "posterise",
    "rand_augment",
    "random_erasing",
    "random_resized_crop",
    "register",
    "register_augmentation",
    "relabelled",
    "rotate",
    "sharpen",
    "solarise",
    "tinted",
    "translate",
    "trivial_augment",
]

make_lazy(__name__)
