"""Images with boxes on disk, whatever format the annotations had."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.protocols import DetectionSample
from limbeck.seeding import generator
from limbeck.sources.decoding import Reading, decode
from limbeck.sources.detection.checking import Findings
from limbeck.sources.detection.sample import pixel_statistics

MEMORY_BYTES = 2**30
"""Sets up to this size, decoded and resized, are read into memory at once."""
_STATISTICS_IMAGES = 500
_READING = Reading(channels=3)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image file with its objects, in pixels of the file.

    Attributes:
        image_id: of the data set.
        file: of the image.
        about: the annotation file that speaks of it.
        height: of the file, in pixels.
        width: likewise.
        boxes: float32 (k, 4): x1, y1, x2, y2.
        labels: int64 (k,).
        crowd: bool (k,).
        areas: float32 (k,).
    """

    image_id: int
    file: Path
    about: Path
    height: int
    width: int
    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    areas: Tensor


class FileDetectionSource:
    """Image files with boxes. Small sets are decoded once and stay in memory.

    Args:
        records: one an image.
        class_names: in the order of the labels.
        category_ids: the data set's own numbers, in the same order.
        what: the source, for messages.
        findings: what to do about files that are missing, broken or of another size; what was left out so far.
        size: height and width that every image is resized to, with its boxes; None keeps the size of the files.
        in_memory: decode everything at once; unless given, whatever fits in 1 GiB.

    Raises:
        DataError: no image; a missing file; at once for sets in memory and otherwise when it is read, a file that
            cannot be decoded or whose size is not the one that the annotations give.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        class_names: Sequence[str],
        category_ids: Sequence[int],
        *,
        what: str,
        findings: Findings,
        size: tuple[int, int] | None = None,
        in_memory: bool | None = None,
    ) -> None:
        self.class_names: tuple[str, ...] = tuple(class_names)
        self.category_ids: tuple[int, ...] = tuple(category_ids)
        self.what = what
        self.size = size
        self._findings = findings
        records = _with_files(records, findings)
        if in_memory is None:
            in_memory = _decoded_bytes(records, size) <= MEMORY_BYTES
        self._pixels: _Pixels | None = None
        if in_memory and records:
            self._pixels, kept = _read_all(records, size, findings)
            records = [records[i] for i in kept]
        elif findings.on_bad == "skip":
            records = _with_good_headers(records, findings)
        if not records:
            raise DataError(f"{what}: there is no image{_left_out(findings)}.")
        self.records: tuple[ImageRecord, ...] = tuple(records)

    @property
    def skipped(self) -> Mapping[str, int]:
        """Why boxes or images were left out -> how many."""
        return dict(self._findings.skipped)

    @cached_property
    def box_counts(self) -> tuple[int, ...]:
        """Objects of each image, crowds included."""
        return tuple(len(record.boxes) for record in self.records)

    @cached_property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel over at most 500 images, spread evenly over the set."""
        return self._statistics[0]

    @cached_property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel over the same images."""
        return self._statistics[1]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of classes, boxes, size, names and lengths of the image files; not of the pixels."""
        facts = (self.class_names, self.category_ids, self.size)
        digest = hashlib.blake2b(repr(facts).encode(), digest_size=8)
        for record in self.records:
            length = record.file.stat().st_size
            digest.update(f"{record.image_id}\0{record.file.name}\0{length}\0{len(record.boxes)}\n".encode())
            for values in (record.boxes, record.labels, record.crowd, record.areas):
                digest.update(values.contiguous().numpy().data)
        return digest.hexdigest()

    @cached_property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        count = min(len(self), _STATISTICS_IMAGES)
        return pixel_statistics(self._image(i * len(self) // count) for i in range(count))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> DetectionSample:
        """One image with its objects.

        Raises:
            DataError: a file that cannot be decoded, or of another size than its annotations say.
        """
        record = self.records[index]
        boxes, areas = record.boxes, record.areas
        if self.size is not None:
            down, across = self.size[0] / record.height, self.size[1] / record.width
            # Rounding must not carry a box over the border.
            border = torch.tensor([self.size[1], self.size[0], self.size[1], self.size[0]], dtype=torch.float32)
            boxes = torch.minimum(boxes * torch.tensor([across, down, across, down]), border)
            areas = areas * (across * down)
        return DetectionSample(self._image(index), boxes, record.labels, record.crowd, record.image_id, areas)

    def __repr__(self) -> str:
        return f"FileDetectionSource({self.what}, {len(self)} images, {len(self.class_names)} classes)"

    def _image(self, index: int) -> Tensor:
        if self._pixels is not None:
            return self._pixels[index]
        return _as_tensor(_read(self.records[index], self.size))


class _Pixels:
    """Images of any sizes in one piece of memory, which loader processes share."""

    def __init__(self, images: Sequence[npt.NDArray[np.uint8]]) -> None:
        self._shapes = [image.shape[:2] for image in images]
        ends = np.cumsum([3 * height * width for height, width in self._shapes])
        self._starts = [0, *ends.tolist()]
        self._flat = torch.empty(int(ends[-1]), dtype=torch.uint8)
        for start, image in zip(self._starts, images, strict=False):
            self._flat[start : start + image.size] = _as_tensor(image).reshape(-1)

    def __getitem__(self, index: int) -> Tensor:
        start, end = self._starts[index], self._starts[index + 1]
        return self._flat[start:end].view(3, *self._shapes[index])


class _Bad(Exception):
    """An image that cannot be used: a reason to count, what is wrong, and what would be right."""


def header_size(file: Path) -> tuple[int, int]:
    """Height and width of an image file; nothing is decoded.

    Raises:
        OSError: it is no image.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.height, image.width
    except OSError:
        raise
    except Exception as error:  # broken files make Pillow's plugins raise anything
        raise OSError(f"{type(error).__name__}: {error}") from error


def some_rows(count: int, limit: int | None, seed: int) -> list[int]:
    """A seeded choice of at most `limit` of `count` rows, in their own order."""
    if limit is None or limit >= count:
        return list(range(count))
    chosen = torch.randperm(count, generator=generator(seed, "selection"))[:limit]
    return sorted(chosen.tolist())


def check_size(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """The setting `size` as height and width.

    Raises:
        DataError: neither one nor two whole numbers of at least 1.
    """
    if size is None:
        return None
    sides = [size, size] if isinstance(size, int) else list(size)
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 1 for side in sides):
        raise DataError(f"size is [height, width] in pixels, or one number for both; got {size!r}.")
    return sides[0], sides[1]


def _where(record: ImageRecord) -> str:
    return f"image {record.image_id} ({record.file.name})"


def _left_out(findings: Findings) -> str:
    if not findings.skipped:
        return ""
    reasons = ", ".join(f"{reason}: {count}" for reason, count in findings.skipped.items())
    return f" left; left out were {reasons}"


def _with_files(records: Sequence[ImageRecord], findings: Findings) -> list[ImageRecord]:
    """Those whose file is there; a folder is listed once, which is faster than asking for each file."""
    there: dict[Path, set[str]] = {}
    kept: list[ImageRecord] = []
    for record in records:
        parent = record.file.parent
        if parent not in there:
            there[parent] = {entry.name for entry in os.scandir(parent)} if parent.is_dir() else set()
        if record.file.name in there[parent]:
            kept.append(record)
            continue
        findings.report(
            "missing image file",
            record.about,
            _where(record),
            f"there is no file {record.file}",
            "Put it there, or name the folder of the images in the setting images",
        )
    return kept


def _with_good_headers(records: Sequence[ImageRecord], findings: Findings) -> list[ImageRecord]:
    """Those whose file looks as it should from outside, so that none is found bad in the middle of training."""

    def problem(record: ImageRecord) -> _Bad | None:
        try:
            _compare(record, header_size(record.file))
        except OSError as error:
            return _undecodable(error)
        except _Bad as bad:
            return bad
        return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = list(pool.map(problem, records))
    _report_all(zip(records, found, strict=True), findings)
    return [record for record, bad in zip(records, found, strict=True) if bad is None]


def _read_all(
    records: Sequence[ImageRecord], size: tuple[int, int] | None, findings: Findings
) -> tuple[_Pixels | None, list[int]]:
    """Pixels of every image that can be used, and which those are."""

    def pixels(record: ImageRecord) -> npt.NDArray[np.uint8] | _Bad:
        try:
            return _decoded(record, size)
        except _Bad as bad:
            return bad

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = list(pool.map(pixels, records))
    _report_all(((r, f if isinstance(f, _Bad) else None) for r, f in zip(records, found, strict=True)), findings)
    good = [(i, image) for i, image in enumerate(found) if not isinstance(image, _Bad)]
    return (_Pixels([image for _, image in good]) if good else None), [i for i, _ in good]


def _report_all(found: Iterable[tuple[ImageRecord, _Bad | None]], findings: Findings) -> None:
    for record, bad in found:
        if bad is not None:
            findings.report(bad.args[0], record.about, _where(record), bad.args[1], bad.args[2])


def _read(record: ImageRecord, size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    try:
        return _decoded(record, size)
    except _Bad as bad:
        _, wrong, right = bad.args
        message = f"{record.about}: {_where(record)}: {wrong}. {right}, or leave such data out with on_bad: skip."
        raise DataError(message) from bad


def _decoded(record: ImageRecord, size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    """Pixels (h, w, 3) of one file, resized."""
    from PIL import Image

    try:
        pixels = decode(record.file, _READING)
    except OSError as error:
        raise _undecodable(error) from error
    height, width = pixels.shape[:2]
    _compare(record, (height, width))
    if size is None or size == (height, width):
        return pixels
    picture = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _compare(record: ImageRecord, shape: tuple[int, int]) -> None:
    if shape == (record.height, record.width):
        return
    turned = " The sides are exchanged, as if the file were turned by its EXIF tag." * (
        shape == (record.width, record.height)
    )
    raise _Bad(
        "other image size",
        f"the file is {shape[1]}x{shape[0]} pixels (width x height), but the annotations say "
        f"{record.width}x{record.height}.{turned} Its boxes would be in the wrong places",
        "Correct the size or give the image that was annotated",
    )


def _undecodable(error: OSError) -> _Bad:
    return _Bad("broken image file", f"the file cannot be decoded ({error})", "Repair or replace it")


def _as_tensor(pixels: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C", copy=True))


def _decoded_bytes(records: Sequence[ImageRecord], size: tuple[int, int] | None) -> int:
    if size is not None:
        return 3 * size[0] * size[1] * len(records)
    return sum(3 * record.height * record.width for record in records)
