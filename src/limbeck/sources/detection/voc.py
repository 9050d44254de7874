"""PASCAL VOC's annotations: one XML file an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
import torch

from limbeck.bounds import NonNegativeInt, PositiveInt
from limbeck.errors import DataError, did_you_mean
from limbeck.sources.detection.checking import Findings, Floats, numbers_of_box, refuse_fractions, well_placed
from limbeck.sources.detection.files import FileDetectionSource, ImageRecord, check_size, header_size, some_rows
from limbeck.sources.detection.places import SPLITS, check_split, words_of
from limbeck.sources.folder import SUFFIXES
from limbeck.sources.places import entries, existing, listed

_LAYOUT = "[xmin, ymin, xmax, ymax]"
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def voc(
    *,
    root: str,
    split: Literal["train", "validation", "test"] = "train",
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    years: Sequence[PositiveInt] | None = None,
    class_names: Sequence[str] | None = None,
    difficult: Literal["ignore", "keep"] = "ignore",
    one_based: bool = True,
    size: Sequence[PositiveInt] | PositiveInt | None = None,
    limit: PositiveInt | None = None,
    subset_seed: NonNegativeInt = 0,
    on_bad: Literal["refuse", "skip"] = "refuse",
    in_memory: bool | None = None,
) -> FileDetectionSource:
    """Images with boxes as PASCAL VOC keeps them: `Annotations/*.xml`, `ImageSets/Main/*.txt`, `JPEGImages/`.

    Splits are the image sets train, val and test; where there is no test, val stands in. Images without objects
    are kept. Image ids count the images of the split from 1, category ids the classes from 1.

    Args:
        root: the folder of a set, or one that holds `VOC2007/`, `VOC2012/`, ...
        split: train, validation or test.
        train: image set of that split, e.g. "trainval".
        validation: likewise.
        test: likewise.
        years: of which `VOC<year>/` folders; all that have the image set unless given.
        class_names: only these classes, in this order, objects of others being left out; unless given, all names
            that occur in any annotation, in the order of the alphabet (for VOC itself, its 20 classes).
        difficult: "ignore" makes crowds of objects marked as difficult: training leaves them out, and evaluation
            counts them neither as found nor as missed, as VOC's own does; "keep" treats them as any other.
        one_based: coordinates count pixels from 1 and xmax and ymax belong to the object, as VOC has it; false for
            files that mean corners of boxes counted from 0, as many other tools write them.
        size: height and width in pixels, or one number for both, that images are resized to with their boxes.
        limit: at most so many images.
        subset_seed: another seed makes another choice of images.
        on_bad: stop at the first bad annotation or image, or leave all such out and count them in `skipped`.
        in_memory: decode everything at once; unless given, whatever fits in 1 GiB.

    Raises:
        DataError: nothing at `root`, no such image set, XML that cannot be read, and, naming the file, the image
            and the object: boxes that are not four numbers, without area or outside their image, missing images or
            ones of another size.

    References:
        The visual object classes challenge [everingham2010pascal].
    """
    place = existing(root, what="source 'voc'")
    given = {"train": train, "validation": validation, "test": test}
    check_split(split, what="source 'voc'")
    sets = _image_sets(_folders(place, years), split, given)
    findings = Findings(on_bad)
    names = tuple(class_names) if class_names is not None else _all_names(sorted({folder for folder, _ in sets}))
    if not names or len(set(names)) != len(names):
        raise DataError(f"class_names: each class once, at least one; got {', '.join(names) or 'none'}.")
    stems = [(folder, stem) for folder, file in sets for stem in _stems(file)]
    if not stems:
        raise DataError(f"source 'voc': {', '.join(str(file) for _, file in sets)} names no image.")
    rows = some_rows(len(stems), limit, subset_seed)
    records = _Reader(names, class_names is not None, difficult == "ignore", one_based, findings).records(
        [(row + 1, *stems[row]) for row in rows]
    )
    return FileDetectionSource(
        records,
        names,
        range(1, len(names) + 1),
        what=f"source 'voc' ({', '.join(str(file) for _, file in sets)})",
        findings=findings,
        size=check_size(size),
        in_memory=in_memory,
    )


def _folders(root: Path, years: Sequence[int] | None) -> list[Path]:
    """The folders that hold annotations: the root itself, or those of the years in it."""
    if not root.is_dir():
        raise DataError(f"source 'voc': {root} is a file; give the folder that holds Annotations/.")
    if years is not None:
        return [existing(root / f"VOC{year}", what="source 'voc', setting years") for year in years]
    if (root / "Annotations").is_dir():
        return [root]
    if (root / "VOCdevkit").is_dir():
        return _folders(root / "VOCdevkit", None)
    found = [root / n for n in entries(root) if n.startswith("VOC") and (root / n / "Annotations").is_dir()]
    if not found:
        raise DataError(
            f"source 'voc': {root}/ holds neither Annotations/ nor VOC<year>/Annotations/. "
            f"It holds: {listed(entries(root))}."
        )
    return found


def _image_sets(folders: Sequence[Path], split: str, given: Mapping[str, str | None]) -> list[tuple[Path, Path]]:
    """Folders with the list of the split's images in each."""
    name = given[split]
    words = (str(name),) if name is not None else words_of(split, given)
    for word in words:
        files = [(folder, folder / "ImageSets" / "Main" / f"{word}.txt") for folder in folders]
        found = [(folder, file) for folder, file in files if file.is_file()]
        if found:
            return found
    place = folders[0] / "ImageSets" / "Main"
    there = [n.removesuffix(".txt") for n in entries(place)] if place.is_dir() else []
    raise DataError(
        f"source 'voc': {place}/ has no image set of the {split} split ({name or SPLITS[split][0]}.txt)."
        f"{did_you_mean(words[0], there)} It holds: {listed(there)}. Name one in the setting {split}."
    )


def _stems(file: Path) -> list[str]:
    """Names of images; a class's own list has a 1 or -1 behind each."""
    found: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(_text(file).splitlines(), 1):
        if not line.strip():
            continue
        stem = line.split()[0]
        if stem in seen:
            raise DataError(f"{file}: line {number}: image {stem} is listed twice; list each once.")
        seen.add(stem)
        found.append(stem)
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file}: {error}.") from error


def _parsed(file: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        line, column = error.position
        reason = str(error).split(":")[0]
        raise DataError(
            f"{file}: line {line}, column {column + 1}: {reason}. The file is no complete XML; copy it anew."
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror or error}.") from error


def _all_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """Every class name of the set, whatever the split, so that labels mean the same in all of them."""
    found = {
        (thing.findtext("name") or "").strip()
        for folder in folders
        for file in sorted((folder / "Annotations").glob("*.xml"))
        for thing in _parsed(file).findall("object")
    }
    if not found - {""}:
        raise DataError(f"source 'voc': there is no object in {folders[0] / 'Annotations'}/.")
    return tuple(sorted(found - {""}))


@dataclass(frozen=True, slots=True)
class _Thing:
    """An object of the file; crowd if it is to be ignored."""

    place: int
    name: str
    label: int | None
    box: tuple[float, float, float, float]
    crowd: bool


class _Reader:
    """XML files to records."""

    def __init__(
        self, names: Sequence[str], chosen: bool, ignore_difficult: bool, one_based: bool, findings: Findings
    ) -> None:
        self._label = {name: label for label, name in enumerate(names)}
        self._chosen = chosen
        self._ignore_difficult = ignore_difficult
        self._first = 1 if one_based else 0
        self._findings = findings

    def records(self, images: Sequence[tuple[int, Path, str]]) -> list[ImageRecord]:
        """Of (image id, folder, stem)."""
        files: dict[Path, dict[str, Path]] = {}
        found: list[ImageRecord] = []
        for image_id, folder, stem in images:
            if folder not in files:
                files[folder] = _pictures(folder / "JPEGImages")
            about = folder / "Annotations" / f"{stem}.xml"
            if not about.is_file():
                raise DataError(
                    f"source 'voc': there is no {about}, but image {stem} is listed. Add the file, with no object "
                    "if there is none, or remove the image from the list."
                )
            found += self._record(image_id, stem, about, files[folder], folder)
        return found

    def _record(
        self, image_id: int, stem: str, about: Path, files: Mapping[str, Path], folder: Path
    ) -> list[ImageRecord]:
        root = _parsed(about)
        file = files.get(stem, folder / "JPEGImages" / f"{stem}.jpg")
        shape = self._shape(root, about, file, image_id)
        if shape is None:
            return []
        where = f"image {image_id} ({file.name})"
        things = [
            t for place, e in enumerate(root.findall("object"), 1) if (t := self._thing(e, place, about, where))
        ]
        given = np.array([thing.box for thing in things], dtype=np.float64).reshape(-1, 4)
        refuse_fractions(given, about, _LAYOUT)
        self._refuse_zero(given, things, about, where)
        cut, good = well_placed(
            given - np.array([self._first, self._first, 0, 0]),
            np.tile(np.array(shape, dtype=np.float64), (len(things), 1)),
            self._findings,
            lambda i: about,
            lambda i: f"object {things[i].place} ({things[i].name}) of {where}",
            lambda i: str([round(v, 4) for v in things[i].box]),
            _LAYOUT,
        )
        kept = [i for i, thing in enumerate(things) if good[i] and thing.label is not None]
        boxes = torch.from_numpy(cut[kept].astype(np.float32).reshape(-1, 4))
        return [
            ImageRecord(
                image_id=image_id,
                file=file,
                about=about,
                height=shape[0],
                width=shape[1],
                boxes=boxes,
                labels=torch.tensor([things[i].label for i in kept], dtype=torch.int64),
                crowd=torch.tensor([things[i].crowd for i in kept], dtype=torch.bool),
                areas=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            )
        ]

    def _shape(self, root: ElementTree.Element, about: Path, file: Path, image_id: int) -> tuple[int, int] | None:
        """Height and width as annotated, or as the file has them where that is missing or zero."""
        height, width = (_number(root.findtext(f"size/{side}")) for side in ("height", "width"))
        if height and width and height > 0 and width > 0:
            return int(height), int(width)
        try:
            return header_size(file)
        except OSError as error:
            self._findings.report(
                "missing image file" if isinstance(error, FileNotFoundError) else "broken image file",
                about,
                f"image {image_id} ({file.name})",
                f"the annotations give no size, and the file cannot be read ({error})",
                "Give the size, and the file",
            )
        return None

    def _thing(self, element: ElementTree.Element, place: int, about: Path, where: str) -> _Thing | None:
        name = (element.findtext("name") or "").strip()
        which = f"object {place} ({name or 'no name'}) of {where}"
        label = self._label.get(name)
        if label is None and (not self._chosen or not name):
            known = listed(self._label)
            self._findings.report(
                "unknown category", about, which, "its name is no class", f"Give it one of: {known}"
            )
            return None
        texts = [element.findtext(f"bndbox/{side}") for side in _SIDES]
        box = numbers_of_box([_number(text) for text in texts])
        if box is None:
            shown = "[" + ", ".join("missing" if text is None else text.strip() for text in texts) + "]"
            self._findings.report(
                "not four numbers",
                about,
                which,
                f"the box {shown} is not four finite numbers",
                f"Boxes are {_LAYOUT} in pixels",
            )
            return None
        difficult = (element.findtext("difficult") or "0").strip() not in ("", "0")
        return _Thing(place, name, label, box, difficult and self._ignore_difficult)

    def _refuse_zero(self, boxes: Floats, things: Sequence[_Thing], about: Path, where: str) -> None:
        """Boxes that count from 0 where they should count from 1 would all be off by a pixel."""
        if not self._first or self._findings.on_bad == "skip":
            return
        for box, thing in zip(boxes, things, strict=True):
            if -0.5 < min(box[:2]) < 0.5:
                raise DataError(
                    f"{about}: object {thing.place} ({thing.name}) of {where}: the box {list(thing.box)} begins "
                    "at 0, but VOC counts pixels from 1. For files that count from 0 set one_based: false."
                )


def _pictures(folder: Path) -> dict[str, Path]:
    """Image files by their names without ending."""
    if not folder.is_dir():
        return {}
    return {Path(n).stem: folder / n for n in entries(folder) if Path(n).suffix.lower() in SUFFIXES}


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
