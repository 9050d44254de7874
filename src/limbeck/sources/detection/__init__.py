"""Images with boxes: sources by name, augmentations that keep boxes with their objects, and the loader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy
from limbeck.sources._registry import (
    DETECTION_AUGMENTATIONS,
    DETECTION_AUGMENTS,
    DETECTION_SOURCES,
    register_detection_augmentation,
    register_detection_source,
)

_PUBLIC = {
    **DETECTION_AUGMENTATIONS,
    "DetectionLoader": "loader",
    "DetectionSample": "sample",
    "DigitScenes": "digit_scenes",
    "FileDetectionSource": "files",
    "View": "sample",
    "build_detection": "building",
    "coco": "coco",
    "digit_scenes": "digit_scenes",
    "keeps_objects": "augment",
    "voc": "voc",
}

if TYPE_CHECKING:
    from limbeck.sources.detection.augment import (
        brightness,
        flip,
        flip_vertical,
        keeps_objects,
        photometric_distort,
    )
    from limbeck.sources.detection.augment_regions import iou_crop, random_crop, scale_jitter, zoom_out
    from limbeck.sources.detection.building import build_detection
    from limbeck.sources.detection.coco import coco
    from limbeck.sources.detection.digit_scenes import DigitScenes, digit_scenes
    from limbeck.sources.detection.files import FileDetectionSource
    from limbeck.sources.detection.loader import DetectionLoader
    from limbeck.sources.detection.sample import DetectionSample, View
    from limbeck.sources.detection.voc import voc

__all__ = [
    "DETECTION_AUGMENTS",
    "DETECTION_SOURCES",
    "DetectionLoader",
    "DetectionSample",
    "DigitScenes",
    "FileDetectionSource",
    "View",
    "brightness",
    "build_detection",
    "coco",
    "digit_scenes",
    "flip",
    "flip_vertical",
    "iou_crop",
    "keeps_objects",
    "photometric_distort",
    "random_crop",
    "register_detection_augmentation",
    "register_detection_source",
    "scale_jitter",
    "voc",
    "zoom_out",
]

make_lazy(__name__)
