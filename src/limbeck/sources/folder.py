"""Images on disk, one folder a class."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from limbeck.bounds import Fraction, NonNegativeInt, PositiveInt
from limbeck.errors import ConfigError, DataError, did_you_mean
from limbeck.protocols import Source
from limbeck.sources.arrays import ArraySource, check_labels, pixel_statistics
from limbeck.sources.decoding import (
    Reading,
    broken_file,
    decode,
    decode_all,
    decode_crop,
    sizes_differ,
    to_tensor,
)
from limbeck.sources.places import SPLIT_WORDS, entries, existing, listed
from limbeck.sources.selection import choose, split_rows

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif"})
MEMORY_BYTES = 2 * 2**30
"""Sets up to this size, decoded, are read into memory at once."""
_STATISTICS_IMAGES = 2000


def folder(
    *,
    root: str,
    split: Literal["train", "test"] = "train",
    limit: PositiveInt | None = None,
    per_class: PositiveInt | None = None,
    subset_seed: NonNegativeInt = 0,
    size: PositiveInt | None = None,
    channels: Literal[1, 3] | None = None,
    test_share: Fraction = 0.2,
    in_memory: bool | None = None,
    skip_broken: bool = False,
    random_crop: Fraction | None = None,
    crop_share: Fraction = 1.0,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
) -> Source:
    """A folder of images with one subfolder for each class, under `train/` and `test/` or without splits.

    `val/` or `validation/` stands in for a missing `test/`. Files that are no images are ignored.

    Args:
        root: the folder.
        split: train or test.
        limit: at most so many images, spread evenly over the classes.
        per_class: exactly so many images of each class.
        subset_seed: another seed makes another choice of images.
        size: resize to so many pixels, the shorter side first, then cut the middle out.
        channels: 1 for grey, 3 for colour; unless given, grey where all images are in memory and grey.
        test_share: of each class, held out as test where there are no splits; 1 makes all of it test.
        in_memory: decode everything at once; unless given, whatever fits in 2 GiB.
        skip_broken: leave images out that cannot be decoded, and say how many, instead of stopping.
        random_crop: in training, a random part of each image with at least this share of its area (0.08 on
            ImageNet), brought to `size`; images are then decoded from disk every time they are seen.
        crop_share: of the shorter side, that the middle square keeps when `size` is given; 0.875 is usual on
            ImageNet.
        interpolation: when sizes change.

    Raises:
        ConfigError: `random_crop` without `size`.
        DataError: nothing at `root`, no such split, no images, a class without images, broken images, images
            of different sizes without `size`.
    """
    path = existing(root, what="source 'folder'")
    if not path.is_dir():
        raise DataError(f"source 'folder': {path} is a file; give a folder with one subfolder for each class.")
    where, train = _split_folders(path, split)
    names = _class_names(train or where)
    files, labels = _files(where, names, complete=where == (train or where))
    what = f"source 'folder' ({where})"
    check_labels(labels, len(files), names)
    if train is None:
        rows = split_rows(labels, len(names), split=split, share=test_share, what=what)
        files, labels = [files[i] for i in rows.tolist()], labels[rows]
    chosen = choose(labels, names, limit=limit, per_class=per_class, seed=subset_seed)
    if chosen is not None:
        files, labels = [files[i] for i in chosen.tolist()], labels[chosen]
    if random_crop is not None and size is None:
        raise ConfigError("source 'folder': random_crop cuts images to one size; give size, e.g. size: 224.")
    reading = Reading(size, channels, skip_broken, crop_share, interpolation)
    if random_crop is not None:
        in_memory = False  # a part of the original is another one every time
    if in_memory is None:
        in_memory = _decoded_bytes(files, reading, what) <= MEMORY_BYTES
    if not in_memory:
        return FolderSource(where, files, labels, names, reading=reading, random_crop=random_crop)
    images, kept = decode_all(files, reading=reading, name=lambda i: str(files[i].relative_to(where)), what=what)
    return ArraySource(images, labels[kept], names)


class FolderSource:
    """Images that stay on disk and are decoded when they are asked for; use it with loader processes.

    Args:
        root: what file names in messages are relative to.
        files: one an image.
        labels: shape (n,), int64.
        class_names: in the order of the labels.
        reading: size and channels; three channels unless given.
        random_crop: smallest share of the area of a random part, for `view`; None has no such views.

    Raises:
        DataError: images of different sizes and no size to bring them to; broken files, at once where they are
            to be skipped and otherwise when they are read.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[Path],
        labels: Tensor,
        class_names: Sequence[str],
        *,
        reading: Reading,
        random_crop: float | None = None,
    ) -> None:
        self.root = root
        self.class_names: tuple[str, ...] = tuple(class_names)
        self.reading = replace(reading, channels=reading.channels or 3)
        self.random_crop = random_crop
        self._what = f"source 'folder' ({root})"
        kept = self._readable(files) if reading.skip_broken else list(range(len(files)))
        self.files = [files[i] for i in kept]
        self.labels = labels[kept]
        self.image_shape: tuple[int, int, int] = self._shape()

    @cached_property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel over at most 2,000 images, spread evenly over the classes."""
        return self._statistics[0]

    @cached_property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel over the same images."""
        return self._statistics[1]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of names, sizes, labels and reading; not of the pixels, which would take long."""
        digest = hashlib.blake2b(repr((self.reading, self.random_crop, self.class_names)).encode(), digest_size=8)
        for file, label in zip(self.files, self.labels.tolist(), strict=True):
            digest.update(f"{file.relative_to(self.root)}\0{file.stat().st_size}\0{label}\n".encode())
        return digest.hexdigest()

    @cached_property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        rows = choose(self.labels, self.class_names, limit=_STATISTICS_IMAGES)
        assert rows is not None
        return pixel_statistics(torch.stack([self[i][0] for i in rows.tolist()]))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image as uint8 (c, h, w) and its label."""
        file = self.files[index]
        name = str(file.relative_to(self.root))
        try:
            pixels = decode(file, self.reading)
        except OSError as error:
            raise broken_file(self._what, name, error) from error
        image = to_tensor(pixels, self.reading.channels or 3)
        if self.image_shape[1:] != tuple(image.shape[1:]):
            first = str(self.files[0].relative_to(self.root))
            raise sizes_differ(self._what, first, self.image_shape[1:], name, image.shape[1:])
        return image, int(self.labels[index])

    def view(self, index: int, draws: Sequence[float]) -> tuple[Tensor, int]:
        """A random part of one image as uint8 (c, size, size), and its label; the whole without `random_crop`.

        Args:
            index: of the image.
            draws: four uniform numbers in [0, 1).
        """
        if self.random_crop is None:
            return self[index]
        file = self.files[index]
        try:
            pixels = decode_crop(file, self.reading, draws, smallest=self.random_crop)
        except OSError as error:
            raise broken_file(self._what, str(file.relative_to(self.root)), error) from error
        return to_tensor(pixels, self.reading.channels or 3), int(self.labels[index])

    def __repr__(self) -> str:
        return f"FolderSource({self.root}, {len(self)} images {self.image_shape}, {len(self.class_names)} classes)"

    def _shape(self) -> tuple[int, int, int]:
        channels = self.reading.channels or 3
        if self.reading.size is not None:
            return channels, self.reading.size, self.reading.size
        height, width = decode(self.files[0], self.reading).shape[:2]
        return channels, height, width

    def _readable(self, files: Sequence[Path]) -> list[int]:
        kept: list[int] = []
        for start in range(0, len(files), 4096):
            part = files[start : start + 4096]
            _, good = decode_all(
                part,
                reading=self.reading,
                name=lambda i, part=part: str(part[i].relative_to(self.root)),  # type: ignore[misc]
                what=self._what,
            )
            kept += [start + i for i in good]
        return kept


def _split_folders(root: Path, split: str) -> tuple[Path, Path | None]:
    """The folder of a split and that of the training split; the root itself and None where there are no splits."""
    there = {name.lower(): root / name for name in entries(root) if (root / name).is_dir()}
    found = {s: next((there[w] for w in words if w in there), None) for s, words in SPLIT_WORDS.items()}
    train, wanted = found["train"], found[split]
    if train is None or set(there) - {w for words in SPLIT_WORDS.values() for w in words}:
        # Some subfolder is no split: then all are classes, even one that happens to be called "test".
        return root, None
    if wanted is None:
        raise DataError(
            f"source 'folder': {root}/ has no {split} split ({', '.join(SPLIT_WORDS[split])}). "
            f"It holds: {listed(entries(root))}. Add one, or name other data in test_source."
        )
    return wanted, train


def _class_names(root: Path) -> tuple[str, ...]:
    names = tuple(name for name in entries(root) if (root / name).is_dir())
    if not names:
        raise DataError(
            f"source 'folder': {root}/ has no subfolders; each class needs one, named after it. "
            f"It holds: {listed(entries(root))}."
        )
    return names


def _files(root: Path, names: Sequence[str], *, complete: bool) -> tuple[list[Path], Tensor]:
    """Images with labels; every class needs some in the split that names the classes."""
    strangers = sorted(p.name for p in root.iterdir() if p.is_dir() and p.name not in names and p.name[0] != ".")
    if strangers:
        raise DataError(
            f"source 'folder': {root}/{strangers[0]}/ is not among the classes of the training split "
            f"({listed(names)}).{did_you_mean(strangers[0], names)}"
        )
    files: list[Path] = []
    labels: list[int] = []
    empty: list[str] = []
    for label, name in enumerate(names):
        found = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
        files += found
        labels += [label] * len(found)
        if not found:
            empty.append(name)
    if not files:
        raise DataError(
            f"source 'folder': there is no image in {root}/ or the folders in it. "
            f"Images end in {', '.join(sorted(SUFFIXES))}."
        )
    if empty and complete:
        raise DataError(
            f"source 'folder': {len(empty)} of {len(names)} classes have no image: {listed(empty)}. "
            f"Remove their folders from {root}/, or put images in."
        )
    return files, torch.tensor(labels, dtype=torch.int64)


def _decoded_bytes(files: Sequence[Path], reading: Reading, what: str) -> int:
    """Memory for all images, judged by the first that can be read."""
    if reading.size is not None:
        return len(files) * 3 * reading.size**2
    for file in files:
        try:
            height, width = decode(file, reading).shape[:2]
        except OSError as error:
            if not reading.skip_broken:
                raise broken_file(what, file.name, error) from error
            continue
        return len(files) * 3 * int(height) * int(width)
    return 0
