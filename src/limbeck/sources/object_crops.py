"""The objects of a detection source, cut out: what a classifier is trained on that is to teach a detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.bounds import NonNegative, NonNegativeInt, PositiveInt
from limbeck.errors import DataError
from limbeck.numerics.crops import box_crops
from limbeck.protocols import DetectionSource
from limbeck.sources.arrays import ArraySource
from limbeck.sources.detection.building import from_mapping
from limbeck.sources.selection import choose


def object_crops(
    *,
    of: Mapping[str, Any],
    split: Literal["train", "test"] = "train",
    size: PositiveInt = 32,
    smallest: NonNegative = 1.0,
    test_split: Literal["validation", "test"] = "test",
    limit: PositiveInt | None = None,
    per_class: PositiveInt | None = None,
    subset_seed: NonNegativeInt = 0,
) -> ArraySource:
    """The annotated objects of a set of images with boxes, each resampled to a square as distillation does it.

    Classes, their order, mean and deviation are those of the detection source: a teacher of crops and a detector
    then normalise alike. Crowds are left out.

    Args:
        of: a detection source as in a recipe, e.g. `{name: coco, root: my/set}`; its images may be of any sizes.
        split: train or test.
        size: pixels a side of a crop.
        smallest: pixels that a box is wide and high at least; smaller objects are left out.
        test_split: the split of the detection source that stands for test; validation keeps test untouched.
        limit: at most so many objects, spread evenly over the classes.
        per_class: exactly so many objects of each class.
        subset_seed: another seed makes another choice of objects.

    Raises:
        DataError: the data is not there or cannot be used, no object is left, fewer than two classes.
        ConfigError: no such detection source, or settings that it does not have.

    Example:
        >>> crops = object_crops(of={"name": "digit_scenes", "count": 20}, size=16)
        >>> crops.image_shape, len(crops.class_names)
        ((3, 16, 16), 10)

    References:
        The teacher of the method that lets classifiers teach detectors [guo2021distilling].
    """
    source = from_mapping(of, split="train" if split == "train" else test_split)
    return crops_of(
        source, size=size, smallest=smallest, limit=limit, per_class=per_class, subset_seed=subset_seed
    )


def crops_of(
    source: DetectionSource,
    *,
    size: int = 32,
    smallest: float = 1.0,
    limit: int | None = None,
    per_class: int | None = None,
    subset_seed: int = 0,
) -> ArraySource:
    """The objects of any detection source, as `object_crops` cuts them.

    Args:
        source: images with boxes.
        size: pixels a side of a crop.
        smallest: pixels that a box is wide and high at least.
        limit: at most so many objects, spread evenly over the classes.
        per_class: exactly so many objects of each class.
        subset_seed: another seed makes another choice of objects.

    Raises:
        DataError: no object is left, fewer than two classes.
    """
    labels: list[Tensor] = []
    crops: list[Tensor] = []
    seen = 0
    for index in range(len(source)):
        sample = source[index]
        seen += len(sample.boxes)
        good = ~sample.crowd & ((sample.boxes[:, 2:] - sample.boxes[:, :2]) >= smallest).all(1)
        boxes = sample.boxes[good]
        image = sample.image[None].to(torch.float32)
        cut = box_crops(image, torch.zeros(len(boxes), dtype=torch.int64), boxes, size=size)
        crops.append(cut.round().clamp(0, 255).to(torch.uint8))
        labels.append(sample.labels[good])
    label = torch.cat(labels)
    if len(label) == 0:
        raise DataError(
            f"source 'object_crops': none of {seen} objects is at least {smallest:g} pixels wide and high."
        )
    rows = choose(label, source.class_names, limit=limit, per_class=per_class, seed=subset_seed)
    images = torch.cat(crops)
    if rows is not None:
        images, label = images[rows], label[rows]
    return ArraySource(images, label, source.class_names, mean=source.mean, std=source.std)
