"""The data sets of torchvision."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from limbeck.bounds import NonNegativeInt, PositiveInt
from limbeck.errors import DataError, UnknownNameError, did_you_mean
from limbeck.sources.arrays import ArraySource, as_labels, as_pixels, check_labels, resized
from limbeck.sources.decoding import sizes_differ
from limbeck.sources.selection import choose

DATASETS = {
    "caltech256": "Caltech256",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "dtd": "DTD",
    "eurosat": "EuroSAT",
    "fashion_mnist": "FashionMNIST",
    "fgvc_aircraft": "FGVCAircraft",
    "flowers102": "Flowers102",
    "food101": "Food101",
    "gtsrb": "GTSRB",
    "kmnist": "KMNIST",
    "mnist": "MNIST",
    "oxford_iiit_pet": "OxfordIIITPet",
    "qmnist": "QMNIST",
    "stl10": "STL10",
    "svhn": "SVHN",
    "usps": "USPS",
}
"""Name -> class of `torchvision.datasets`."""

_WITHOUT_SPLITS = ("caltech256", "eurosat")
_TRAIN_SPLIT = {"oxford_iiit_pet": "trainval"}


def torchvision_source(
    dataset: str,
    /,
    *,
    root: str,
    split: Literal["train", "test"] = "train",
    download: bool = False,
    limit: PositiveInt | None = None,
    per_class: PositiveInt | None = None,
    subset_seed: NonNegativeInt = 0,
    size: PositiveInt | None = None,
) -> ArraySource:
    """A data set of torchvision by name, e.g. `torchvision/cifar10`, read into memory.

    Args:
        dataset: the name.
        root: the folder that torchvision keeps its data in.
        split: train or test.
        download: fetch it if it is not there.
        limit: at most so many images, spread evenly over the classes.
        per_class: exactly so many images of each class.
        subset_seed: another seed makes another choice of images.
        size: resize to so many pixels, the shorter side first, then cut the middle out.

    Raises:
        UnknownNameError: no set of that name.
        DataError: it is not there, or cannot be fetched.
    """
    if dataset not in DATASETS:
        raise UnknownNameError(
            f"unknown source 'torchvision/{dataset}'.{did_you_mean(dataset, DATASETS)} "
            f"Known: {', '.join(DATASETS)}."
        )
    if dataset in _WITHOUT_SPLITS:
        raise DataError(
            f"torchvision/{dataset} has no train and test split in torchvision; "
            "fetch it once and use the source 'folder', which can hold a share out."
        )
    from torchvision import datasets

    kind = getattr(datasets, DATASETS[dataset])
    wanted: dict[str, Any] = {"root": root, "download": download}
    if "train" in inspect.signature(kind).parameters:
        wanted["train"] = split == "train"
    else:
        wanted["split"] = _TRAIN_SPLIT.get(dataset, "train") if split == "train" else "test"
    try:
        found = kind(**wanted)
    except (RuntimeError, OSError) as error:  # what it raises where files are missing or cannot be fetched
        way_out = "Check the network." if download else "Fetch it with download: true."
        raise DataError(f"torchvision/{dataset}: cannot be read from {root} ({error}). {way_out}") from error
    return from_dataset(found, limit=limit, per_class=per_class, subset_seed=subset_seed, size=size)


def from_dataset(
    dataset: Any,
    *,
    limit: int | None = None,
    per_class: int | None = None,
    subset_seed: int = 0,
    size: int | None = None,
) -> ArraySource:
    """Read a map-style data set of (image, label) pairs into memory.

    Args:
        dataset: with `len` and indexing; images are Pillow images or arrays. `data` and `targets` (or `labels`)
            are used directly where it has them and no transform.
        limit: at most so many images.
        per_class: exactly so many of each class.
        subset_seed: another seed makes another choice.
        size: resize to so many pixels.

    Raises:
        DataError: its items are no pairs of image and label.
    """
    what = f"data set {type(dataset).__name__}"
    if len(dataset) == 0:
        raise DataError(f"{what} is empty.")
    labels, names = as_labels(_targets(dataset, what), _class_names(dataset))
    check_labels(labels, len(labels), names)
    rows = choose(labels, names, limit=limit, per_class=per_class, seed=subset_seed)
    rows = torch.arange(len(labels)) if rows is None else rows
    raw = None if _transformed(dataset) else getattr(dataset, "data", None)
    if isinstance(raw, np.ndarray | Tensor) and len(raw) == len(labels):
        images = resized(as_pixels(raw[rows] if isinstance(raw, Tensor) else raw[rows.numpy()]), size)
    else:
        images = _decoded(dataset, rows.tolist(), size, what)
    return ArraySource(images, labels[rows], names)


def _transformed(dataset: Any) -> bool:
    return any(getattr(dataset, n, None) is not None for n in ("transform", "transforms", "target_transform"))


def _targets(dataset: Any, what: str) -> Any:
    for name in ("targets", "labels", "_labels"):
        found = getattr(dataset, name, None)
        if found is not None and len(found) == len(dataset) and getattr(dataset, "target_transform", None) is None:
            return found if isinstance(found, Tensor) else np.asarray(found)
    return np.asarray([_pair(dataset, i, what)[1] for i in range(len(dataset))])


def _pair(dataset: Any, index: int, what: str) -> tuple[Any, Any]:
    item = dataset[index]
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise DataError(
            f"{what}: its items have to be pairs (image, label); item {index} is a {type(item).__name__}."
        )
    return item[0], item[1]


def _class_names(dataset: Any) -> Sequence[str] | None:
    names = getattr(dataset, "classes", None)
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return list(names)
    return None


def _decoded(dataset: Any, rows: Sequence[int], size: int | None, what: str) -> Tensor:
    images: list[Tensor] = []
    for row in rows:
        image = _pair(dataset, row, what)[0]
        try:
            image = resized(as_pixels(_batch_of_one(image)), size)
        except (DataError, TypeError, ValueError) as error:
            raise DataError(f"{what}, item {row}: {error}") from error
        if images and image.shape[2:] != images[0].shape[2:]:
            shapes = tuple(images[0].shape[2:]), tuple(image.shape[2:])
            raise sizes_differ(what, f"item {rows[0]}", shapes[0], f"item {row}", shapes[1])
        images.append(image)
    channels = max(image.shape[1] for image in images)
    return torch.cat([image.expand(-1, channels, -1, -1) for image in images])


def _batch_of_one(image: Any) -> Any:
    if isinstance(image, Tensor):
        return image[None]
    if hasattr(image, "convert"):  # a Pillow image
        image = image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")
    return np.asarray(image)[None]
