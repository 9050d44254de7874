"""COCO's annotations: one JSON file a split."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

import numpy as np
import torch
from torch import Tensor

from limbeck.bounds import NonNegativeInt, PositiveInt
from limbeck.errors import DataError, did_you_mean
from limbeck.sources.detection.checking import (
    Findings,
    numbers_of_box,
    refuse_corners,
    refuse_fractions,
    well_placed,
)
from limbeck.sources.detection.files import FileDetectionSource, ImageRecord, check_size, header_size, some_rows
from limbeck.sources.detection.places import SPLITS, check_split, words_of
from limbeck.sources.places import entries, existing, listed

_LAYOUT = "[x, y, width, height]"


def coco(
    *,
    root: str,
    split: Literal["train", "validation", "test"] = "train",
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    images: str | None = None,
    class_names: Sequence[str] | None = None,
    size: Sequence[PositiveInt] | PositiveInt | None = None,
    limit: PositiveInt | None = None,
    subset_seed: NonNegativeInt = 0,
    on_bad: Literal["refuse", "skip"] = "refuse",
    in_memory: bool | None = None,
) -> FileDetectionSource:
    """Images with boxes as COCO keeps them, COCO itself and any set in its format.

    Found without further settings are `annotations/train.json` (also `val`, `valid`, `validation`, `test`) with
    pictures in `images/`, and COCO's own `annotations/instances_train2017.json` with `train2017/`. Where a set has
    no test split, that of validation stands in. Images without boxes are kept. Classes are in the order of their
    ids, which may have gaps. Boxes reaching over the border by up to a pixel are cut off there. Crowds (`iscrowd`)
    are kept as such; grey images get three channels.

    Args:
        root: the folder of the set.
        split: train, validation or test.
        train: annotation file of that split, relative to `root`.
        validation: likewise.
        test: likewise.
        images: folder that the file names are relative to, itself relative to `root`.
        class_names: only these classes, in this order; objects of others are left out.
        size: height and width in pixels, or one number for both, that images are resized to with their boxes.
        limit: at most so many images.
        subset_seed: another seed makes another choice of images.
        on_bad: stop at the first bad annotation or image, or leave all such out and count them in `skipped`.
        in_memory: decode everything at once; unless given, whatever fits in 1 GiB.

    Raises:
        DataError: nothing at `root`, no such split, annotations that cannot be read, and, naming the file, the
            image and the annotation: duplicated ids, categories or images that are not listed, boxes that are not
            four numbers, without area or outside their image, missing images or ones of another size.

    References:
        Common objects in context [lin2014microsoft].
    """
    place = existing(root, what="source 'coco'")
    given = {"train": train, "validation": validation, "test": test}
    file = _annotations(place, check_split(split, what="source 'coco'"), given)
    findings = Findings(on_bad)
    content = _parsed(file)
    classes = _classes(content["categories"], file, class_names)
    pictures = _pictures(content["images"], file)
    folder = _image_folder(place, file, images, pictures)
    rows = some_rows(len(pictures), limit, subset_seed)
    _measure(pictures, folder, file, findings)
    objects = _objects(content["annotations"], file, pictures, classes, findings)
    return FileDetectionSource(
        [_record(pictures[row], folder, file, objects[row]) for row in rows if pictures[row].width > 0],
        classes.names,
        classes.ids,
        what=f"source 'coco' ({file})",
        findings=findings,
        size=check_size(size),
        in_memory=in_memory,
    )


@dataclass(slots=True)
class _Picture:
    """An entry of `images`; a height of 0 is not known yet."""

    image_id: int
    name: str
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class _Classes:
    names: tuple[str, ...]
    ids: tuple[int, ...]
    label_of: Mapping[int, int | None]
    """Category id -> label, None for a class that was not asked for."""


@dataclass(frozen=True, slots=True)
class _Objects:
    """Objects of one image."""

    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    areas: Tensor


def _annotations(root: Path, split: str, given: Mapping[str, str | None]) -> Path:
    """The annotation file of a split."""
    if not root.is_dir():
        raise DataError(
            f"source 'coco': {root} is a file; give the folder of the set, and annotations in {split}."
        )
    if given[split] is not None:
        return existing(root / str(given[split]), what=f"source 'coco', setting {split}")
    folder = root / "annotations"
    there = entries(folder) if folder.is_dir() else []
    for word in words_of(split, given):
        own = sorted(n for n in there if re.fullmatch(rf"instances_{word}_?\d*\.json", n))
        for name in (f"{word}.json", *own[-1:]):
            if name in there:
                return folder / name
    raise DataError(
        f"source 'coco': {folder}/ has no annotations of the {split} split ({SPLITS[split][0]}.json or "
        f"instances_{SPLITS[split][0]}*.json). It holds: {listed(there)}. Name the file in the setting {split}."
    )


def _parsed(file: Path) -> dict[str, list[Any]]:
    """The three lists of a COCO file."""
    try:
        content = json.loads(file.read_bytes())
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file}: line {error.lineno}, column {error.colno}: {error.msg}. The file is no complete JSON; "
            "copy it anew."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: byte {error.start}: not UTF-8. The file is no JSON; copy it anew.") from error
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror or error}.") from error
    if isinstance(content, list):
        raise DataError(
            f"{file}: a list, as detectors write their results. Annotations have images and categories."
        )
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            there = listed(content) if isinstance(content, dict) else "no keys"
            raise DataError(
                f"{file}: there is no list '{key}'; a COCO file has images, annotations and categories. "
                f"It has: {there}."
            )
        for place, entry in enumerate(content[key]):
            if not isinstance(entry, dict):
                raise DataError(f"{file}: {key}[{place}] is {_shown(entry)}; it has to be a mapping.")
    return content  # type: ignore[no-any-return]


def _classes(categories: Sequence[dict[str, Any]], file: Path, wanted: Sequence[str] | None) -> _Classes:
    names: dict[int, str] = {}
    for place, entry in enumerate(categories):
        number, name = entry.get("id"), entry.get("name")
        if not _whole(number) or not isinstance(name, str) or not name:
            raise DataError(
                f"{file}: categories[{place}] has id {_shown(number)} and name {_shown(name)}; "
                "it needs a whole number and a text."
            )
        if number in names:
            raise DataError(
                f"{file}: category id {number} is given twice, to '{names[number]}' and '{name}'; ids are unique."
            )
        if name in names.values():
            raise DataError(f"{file}: two categories are named '{name}'; names are unique.")
        names[number] = name
    if not names:
        raise DataError(f"{file}: there is no category; list each class with its id and name.")
    ids = sorted(names)
    if wanted is not None:
        id_of = {name: number for number, name in names.items()}
        for name in wanted:
            if name not in id_of:
                near = did_you_mean(name, id_of)
                raise DataError(f"{file}: there is no category '{name}'.{near} It has: {listed(id_of)}.")
        ids = [id_of[name] for name in wanted]
        if not ids or len(set(ids)) != len(ids):
            raise DataError(f"class_names: each class once, at least one; got {', '.join(wanted) or 'none'}.")
    label = {number: place for place, number in enumerate(ids)}
    return _Classes(tuple(names[number] for number in ids), tuple(ids), {n: label.get(n) for n in names})


def _pictures(images: Sequence[dict[str, Any]], file: Path) -> list[_Picture]:
    found: list[_Picture] = []
    seen: dict[int, str] = {}
    for place, entry in enumerate(images):
        number, name = entry.get("id"), entry.get("file_name")
        if not _whole(number) or not isinstance(name, str) or not name:
            raise DataError(
                f"{file}: images[{place}] has id {_shown(number)} and file_name {_shown(name)}; "
                "it needs a whole number and a text."
            )
        if number in seen:
            raise DataError(
                f"{file}: image id {number} is given twice, to {seen[number]} and {name}; ids are unique."
            )
        seen[number] = name
        height, width = entry.get("height"), entry.get("width")
        if height is None and width is None:
            height = width = 0
        elif not (_whole(height) and _whole(width) and height > 0 and width > 0):
            raise DataError(
                f"{file}: image {number} ({name}) has width {_shown(width)} and height {_shown(height)}; "
                "both are whole numbers of at least 1, in pixels."
            )
        found.append(_Picture(number, name, int(height), int(width)))
    if not found:
        raise DataError(f"{file}: there is no image.")
    return found


def _image_folder(root: Path, file: Path, given: str | None, pictures: Sequence[_Picture]) -> Path:
    """The folder that file names are relative to; the first of the usual ones in which the first image is."""
    if given is not None:
        return existing(root / given, what="source 'coco', setting images")
    stem = file.stem.removeprefix("instances_")
    folders = [root / "images", root / stem, root / "images" / stem, root, file.parent]
    for picture in pictures[:20]:  # the first ones may be missing
        for folder in folders:
            if (folder / picture.name).is_file():
                return folder
    raise DataError(
        f"{file}: image {pictures[0].image_id} ({pictures[0].name}) is in none of "
        f"{', '.join(f'{folder}/' for folder in folders)}. Name the folder of the images in the setting images."
    )


def _measure(pictures: Sequence[_Picture], folder: Path, file: Path, findings: Findings) -> None:
    """Ask the image files for sizes that the annotations do not give; one without either keeps 0."""
    for picture in pictures:
        if picture.width > 0:
            continue
        try:
            picture.height, picture.width = header_size(folder / picture.name)
        except OSError as error:
            findings.report(
                "missing image file" if isinstance(error, FileNotFoundError) else "broken image file",
                file,
                f"image {picture.image_id} ({picture.name})",
                f"the annotations give no width and height, and the file cannot be read ({error})",
                "Give both, and the file",
            )


def _objects(
    annotations: Sequence[dict[str, Any]],
    file: Path,
    pictures: Sequence[_Picture],
    classes: _Classes,
    findings: Findings,
) -> list[_Objects]:
    """The good objects of each image, in the order of the file."""
    row_of = {picture.image_id: row for row, picture in enumerate(pictures)}
    rows: list[int] = []
    kept: list[dict[str, Any]] = []
    boxes: list[tuple[float, float, float, float]] = []
    seen: set[int] = set()
    for place, entry in enumerate(annotations):
        found = _usable(entry, place, file, row_of, pictures, classes, seen, findings)
        if found is not None and pictures[found[0]].width > 0:
            kept.append(entry)
            rows.append(found[0])
            boxes.append(found[1])
    given = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    owner = np.array(rows, dtype=np.int64)
    shapes = np.array([(p.height, p.width) for p in pictures], dtype=np.float64)[owner]
    refuse_fractions(given, file, _LAYOUT)
    refuse_corners(given, shapes, file)
    cut, good = well_placed(
        np.concatenate((given[:, :2], given[:, :2] + given[:, 2:]), axis=1),
        shapes,
        findings,
        lambda i: file,
        lambda i: _where(kept[i], pictures[rows[i]]),
        lambda i: str(kept[i]["bbox"]),
        _LAYOUT,
    )
    label = np.array([classes.label_of[entry["category_id"]] for entry in kept], dtype=np.float64)
    crowd = np.array([bool(entry.get("iscrowd", 0)) for entry in kept], dtype=np.bool_)
    areas = np.array([_area(entry) for entry in kept], dtype=np.float64)
    areas = np.where(np.isnan(areas), (cut[:, 2] - cut[:, 0]) * (cut[:, 3] - cut[:, 1]), areas)
    # A class that was not asked for has no label, here NaN.
    chosen = (good & ~np.isnan(label)).nonzero()[0]
    chosen = chosen[owner[chosen].argsort(kind="stable")]
    counts = np.bincount(owner[chosen], minlength=len(pictures)).tolist()
    parts = (
        torch.from_numpy(values[chosen].astype(kind)).split(counts)
        for values, kind in ((cut, np.float32), (label, np.int64), (crowd, np.bool_), (areas, np.float32))
    )
    return [_Objects(*found) for found in zip(*parts, strict=True)]


def _usable(
    entry: dict[str, Any],
    place: int,
    file: Path,
    row_of: Mapping[int, int],
    pictures: Sequence[_Picture],
    classes: _Classes,
    seen: set[Any],
    findings: Findings,
) -> tuple[int, tuple[float, float, float, float]] | None:
    """The row of an annotation's image, and its box; None for one that is left out."""
    number, image_id = entry.get("id"), entry.get("image_id")
    if not _whole(number):
        wrong = f"the id is {_shown(number)}"
        findings.report("no annotation id", file, f"annotations[{place}]", wrong, "Give each a whole number")
        return None
    row = row_of.get(image_id) if _whole(image_id) else None
    if row is None:
        findings.report(
            "unknown image",
            file,
            f"annotation {number}",
            f"there is no image with the id {_shown(image_id)}",
            "List the image under images",
        )
        return None
    category = entry.get("category_id")
    box = numbers_of_box(entry.get("bbox"))
    if number not in seen and _whole(category) and category in classes.label_of and box is not None:
        seen.add(number)
        return row, box
    where = _where(entry, pictures[row])
    if number in seen:
        findings.report(
            "duplicated annotation id", file, where, f"the id {number} is given twice", "Give each its own"
        )
    elif not _whole(category) or category not in classes.label_of:
        findings.report(
            "unknown category",
            file,
            where,
            f"there is no category with the id {_shown(category)}",
            f"Known ids are {listed(map(str, sorted(classes.label_of)))}; list it under categories",
        )
    elif "bbox" not in entry:
        findings.report("no box", file, where, "it has no bbox", f"Give its box as {_LAYOUT}")
    else:
        findings.report(
            "not four numbers",
            file,
            where,
            f"the box {_shown(entry['bbox'])} is not four finite numbers",
            f"Boxes are {_LAYOUT} in pixels",
        )
    seen.add(number)
    return None


def _area(entry: dict[str, Any]) -> float:
    """The area that the file gives, of the object's mask; NaN where it gives none."""
    area = entry.get("area")
    known = isinstance(area, int | float) and not isinstance(area, bool) and 0 < area < 1e12
    return float(area) if known and area is not None else float("nan")


def _record(picture: _Picture, folder: Path, file: Path, objects: _Objects) -> ImageRecord:
    return ImageRecord(
        image_id=picture.image_id,
        file=folder / picture.name,
        about=file,
        height=picture.height,
        width=picture.width,
        boxes=objects.boxes,
        labels=objects.labels,
        crowd=objects.crowd,
        areas=objects.areas,
    )


def _where(entry: dict[str, Any], picture: _Picture) -> str:
    return f"annotation {entry.get('id')} of image {picture.image_id} ({picture.name})"


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A value from the file, not too long for a message."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
