"""Parquet shards, read by row groups."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.bounds import Fraction, NonNegative, NonNegativeInt, PositiveInt
from limbeck.errors import DataError, MissingExtraError
from limbeck.seeding import generator, permutation
from limbeck.sources.decoding import Reading
from limbeck.sources.places import SPLIT_WORDS, existing, listed, split_of
from limbeck.sources.selection import split_rows
from limbeck.sources.streaming.columns import IMAGE_COLUMNS, LABEL_COLUMNS, column_of
from limbeck.sources.streaming.retries import Retries, said
from limbeck.sources.streaming.shards import Reader, Row
from limbeck.sources.streaming.source import StreamSource

ROW_GROUP_BYTES = 2**30
"""Row groups above this size are warned of, since one is the least that can be read."""
_OPEN_FILES = 16
_FOOTERS_AT_ONCE = 8
_LOGGER = logging.getLogger("limbeck")


def parquet_stream(
    *,
    root: str | list[str],
    split: Literal["train", "test"] = "train",
    limit: PositiveInt | None = None,
    subset_seed: NonNegativeInt = 0,
    size: PositiveInt | None = None,
    channels: Literal[1, 3] = 3,
    image_column: str | None = None,
    label_column: str | None = None,
    class_names: list[str] | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    samples: PositiveInt | None = None,
    buffer: PositiveInt = 8192,
    test_share: Fraction = 0.2,
    skip_broken: bool = False,
    random_crop: Fraction | None = None,
    crop_share: Fraction = 1.0,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
    retries: NonNegativeInt = 5,
    retry_wait: NonNegative = 1.0,
) -> StreamSource:
    """Parquet shards that do not fit into memory, on disk or behind a URL: row groups are read as they are needed.

    The footers of all files are read at once, the images only while training. An epoch takes row groups in random
    order and shuffles rows within windows of about `buffer` rows; where files are sorted by class, a window should
    span many row groups.

    Args:
        root: a folder, a file, a pattern (`data/train-*.parquet`), a URL that fsspec knows, or a list of them.
        split: train or test, told by the name of a file (`train-00000-of-00040.parquet`) or of its folder.
        limit: at most so many images: whole row groups, drawn at random, and a part of the last.
        subset_seed: another seed draws other row groups.
        size: resize to so many pixels, the shorter side first, then cut the middle out.
        channels: 1 for grey, 3 for colour.
        image_column: `image`, `img`, `images`, `jpg` or `png` unless given.
        label_column: `label`, `labels`, `fine_label`, `target` or `cls` unless given.
        class_names: in the order of the labels; from the files unless given.
        mean: of each channel, with pixels in [0, 1]; estimated from about 2,000 images unless given.
        std: likewise.
        samples: images that the split must have; whatever the files say unless given.
        buffer: images that are shuffled among each other and in memory, encoded, at once; `workers` doubles it.
        test_share: of each class, held out as test where no file speaks of a split.
        skip_broken: leave images out that cannot be decoded, and count them, instead of stopping.
        random_crop: in training, a random part of each image with at least this share of its area (0.08 on
            ImageNet), brought to `size`.
        crop_share: of the shorter side, that the middle square keeps when `size` is given.
        interpolation: when sizes change.
        retries: further attempts after an error of file system or network.
        retry_wait: seconds before the first of them; doubled before each further one.

    Raises:
        ConfigError: `random_crop` without `size`.
        DataError: no such files, split or column; a damaged file; labels that are no classes.
        MissingExtraError: pyarrow is not installed.
    """
    again = Retries(retries, retry_wait)
    files, held_out = _of_split(_found([root] if isinstance(root, str) else root), split, root)
    shards = ParquetShards(files, image_column=image_column, label_column=label_column, retries=again)
    if samples is not None and samples != sum(shards.sizes):
        raise DataError(
            f"{shards.what}: {samples} samples were announced, and {len(files)} files have {sum(shards.sizes)}. "
            "Is a shard missing? Otherwise correct samples."
        )
    if sum(shards.sizes) == 0:
        raise DataError(f"{shards.what}: the files have no rows.")
    source = StreamSource(
        shards,
        class_names if class_names is not None else shards.class_names(),
        reading=Reading(size, channels, skip_broken, crop_share, interpolation),
        mean=mean,
        std=std,
        buffer=buffer,
        retries=again,
        random_crop=random_crop,
    )
    shards.check_labels(len(source.class_names))
    if held_out:
        share = test_share
        rows = split_rows(source.labels, len(source.class_names), split=split, share=share, what=shards.what)
        source = source.part(rows)
    return source if limit is None or limit >= len(source) else source.part(_drawn(source, limit, subset_seed))


@dataclass(frozen=True)
class File:
    """One file.

    Attributes:
        path: on disk, or in the file system.
        name: for messages, with its folder.
        size: in bytes.
        system: an fsspec file system; None for files on disk.
    """

    path: str
    name: str
    size: int
    system: Any = None

    def open(self) -> Any:
        """As a `pyarrow.parquet.ParquetFile`."""
        import pyarrow.parquet as pq

        return pq.ParquetFile(self.path if self.system is None else self.system.open(self.path, "rb"))


@dataclass(frozen=True)
class _Footer:
    """What is known of a file from its end."""

    groups: tuple[int, ...]
    columns: tuple[str, ...]
    metadata: Mapping[bytes, bytes]
    text_labels: bool
    labels: tuple[int, int] | None
    """Smallest and largest label, where the file says so."""


class ParquetShards:
    """Row groups of Parquet files.

    Args:
        files: of one split.
        image_column: one of `IMAGE_COLUMNS` unless given.
        label_column: one of `LABEL_COLUMNS` unless given.
        retries: for reading footers and labels.

    Raises:
        DataError: a file is damaged or has other columns.
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(
        self,
        files: Sequence[File],
        *,
        image_column: str | None = None,
        label_column: str | None = None,
        retries: Retries | None = None,
    ) -> None:
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise MissingExtraError.of("pyarrow", "hf", "reading Parquet files") from error
        self.files = tuple(files)
        self.what = f"source 'parquet_stream' ({_together(files)})"
        self._retries = retries or Retries()
        there = self._schema_names(files[0])
        self.columns = (
            column_of("image", image_column, IMAGE_COLUMNS, there, f"{self.what}, {files[0].name}"),
            column_of("label", label_column, LABEL_COLUMNS, there, f"{self.what}, {files[0].name}"),
        )
        with ThreadPoolExecutor(min(_FOOTERS_AT_ONCE, len(files))) as pool:
            self._footers = list(pool.map(self._footer, files))
        self._groups = [(f, g) for f, footer in enumerate(self._footers) for g in range(len(footer.groups))]
        self._first_rows = [sum(self._footers[f].groups[:g]) for f, g in self._groups]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Rows of every row group."""
        return tuple(rows for footer in self._footers for rows in footer.groups)

    @property
    def manifest(self) -> Mapping[str, Sequence[int]]:
        """Name of every file -> bytes, and rows of each row group."""
        return {
            file.name: (file.size, *footer.groups) for file, footer in zip(self.files, self._footers, strict=True)
        }

    def visits(self, seed: int, epoch: int) -> Tensor:
        """All row groups in random order."""
        return permutation(len(self.sizes), seed, epoch)

    def spread(self, count: int) -> list[int]:
        """Row groups at even distances."""
        there = [chunk for chunk, rows in enumerate(self.sizes) if rows]
        count = min(count, len(there))
        return [there[number * len(there) // count] for number in range(count)]

    def reader(self) -> Reader:
        """One that keeps a few files open."""
        return _ParquetReader(self)

    def labels(self) -> list[Any]:
        """The label column of every file."""
        found: list[Any] = []
        for file in self.files:
            column = self._tried(file, lambda opened: opened.read(columns=[self.columns[1]]).column(0).to_pylist())
            found += column
        return found

    def place(self, chunk: int) -> str:
        """File, row group and rows."""
        file, group = self._groups[chunk]
        first = self._first_rows[chunk]
        last = first + max(self.sizes[chunk] - 1, 0)
        return f"{self.files[file].name}, row group {group} (rows {first} to {last})"

    def row_name(self, chunk: int, row: int) -> str:
        """File and row in the file."""
        return f"{self.files[self._groups[chunk][0]].name}, row {self._first_rows[chunk] + row}"

    def group(self, chunk: int) -> tuple[int, int]:
        """File, and row group in the file, by number."""
        return self._groups[chunk]

    def groups_of(self, file: int) -> int:
        """Row groups that a file had when the set was opened."""
        return len(self._footers[file].groups)

    def class_names(self) -> list[str]:
        """From the files' metadata; else the texts, or the numbers up to the largest label."""
        label = self.columns[1]
        named = next((n for f in self._footers if (n := _named(f.metadata, label)) is not None), None)
        if named is not None:
            return named
        if any(footer.text_labels for footer in self._footers):
            return sorted({str(value) for value in self.labels() if value is not None})
        known = [footer.labels for footer in self._footers if footer.groups]
        if all(found is not None for found in known):
            largest = max(found[1] for found in known if found is not None)
        else:
            numbers = [value for value in self.labels() if isinstance(value, int)]
            largest = max(numbers, default=0)
        return [str(number) for number in range(largest + 1)]

    def check_labels(self, classes: int) -> None:
        """Compare the smallest and largest labels that files announce with the number of classes.

        Raises:
            DataError: a label outside; the file is named.
        """
        for file, footer in zip(self.files, self._footers, strict=True):
            if footer.labels is not None and not 0 <= footer.labels[0] <= footer.labels[1] < classes:
                low, high = footer.labels
                raise DataError(
                    f"{self.what}: labels in column '{self.columns[1]}' of {file.name} reach from {low} to "
                    f"{high}; {classes} classes have labels 0 to {classes - 1}. Name all classes with class_names."
                )

    def _schema_names(self, file: File) -> list[str]:
        names: list[str] = self._tried(file, lambda opened: list(opened.schema_arrow.names))
        return names

    def _footer(self, file: File) -> _Footer:
        footer = self._tried(file, partial(_footer_of, label=self.columns[1]))
        assert isinstance(footer, _Footer)
        missing = next((name for name in self.columns if name not in footer.columns), None)
        if missing is not None:
            raise DataError(
                f"{self.what}: {file.name} has no column '{missing}', unlike {self.files[0].name}; "
                f"it has: {listed(footer.columns)}."
            )
        return footer

    def _tried(self, file: File, do: Any) -> Any:
        """What `do` makes of an open file, with retries."""
        import pyarrow as pa

        def once() -> Any:
            with file.open() as opened:
                return do(opened)

        try:
            return self._retries.call(once, what=f"{self.what}: {file.name}")
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{self.what}: {file.name} is no Parquet, or damaged ({said(error)}). Copy or make it again."
            ) from error


class _ParquetReader:
    """Keeps the files open that it read last."""

    def __init__(self, shards: ParquetShards) -> None:
        self._shards = shards
        self._open: OrderedDict[int, Any] = OrderedDict()

    def read(self, chunk: int) -> list[Row]:
        import pyarrow as pa

        shards = self._shards
        number, group = shards.group(chunk)
        try:
            file = self._file(number)
            if file.num_row_groups != shards.groups_of(number):
                raise DataError(
                    f"{shards.what}: {shards.files[number].name} had {shards.groups_of(number)} row groups and "
                    f"has {file.num_row_groups} now. The set has changed since it was opened."
                )
            table = file.read_row_group(group, columns=list(shards.columns), use_threads=False)
        except (pa.ArrowException, KeyError) as error:
            if isinstance(error, OSError):
                raise
            raise DataError(
                f"{shards.what}: {shards.place(chunk)} is damaged ({said(error)}). Copy or make the file again."
            ) from error
        images, labels = (table.column(name).to_pylist() for name in shards.columns)
        blobs = [value.get("bytes") if isinstance(value, dict) else value for value in images]
        return list(zip(blobs, labels, strict=True))

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close(force=True)

    def _file(self, number: int) -> Any:
        if number not in self._open:
            self._open[number] = self._shards.files[number].open()
        self._open.move_to_end(number)
        while len(self._open) > _OPEN_FILES:
            self._open.popitem(last=False)[1].close(force=True)
        return self._open[number]


def _footer_of(opened: Any, *, label: str) -> _Footer:
    metadata, schema = opened.metadata, opened.schema_arrow
    names = tuple(schema.names)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    largest = max((group.total_byte_size for group in groups), default=0)
    if largest > ROW_GROUP_BYTES:
        _LOGGER.warning(
            "a row group of %.1f GB is read at once; write the files again with smaller ones (row_group_size).",
            largest / 1e9,
        )
    text = label in names and str(schema.field(label).type) in ("string", "large_string", "string_view")
    return _Footer(
        groups=tuple(group.num_rows for group in groups),
        columns=names,
        metadata=dict(schema.metadata or {}),
        text_labels=text,
        labels=None if text else _range(groups, label),
    )


def _range(groups: Sequence[Any], label: str) -> tuple[int, int] | None:
    found: list[int] = []
    for group in groups:
        columns = [group.column(number) for number in range(group.num_columns)]
        statistics = next((c.statistics for c in columns if c.path_in_schema == label), None)
        if statistics is None or not statistics.has_min_max:
            return None
        found += [statistics.min, statistics.max]
    whole = found and all(isinstance(value, int) for value in found)
    return (min(found), max(found)) if whole else None


def _drawn(source: StreamSource, limit: int, seed: int) -> Tensor:
    bounds = source.bounds
    chunks = torch.randperm(len(bounds) - 1, generator=generator(seed, "limit"))
    rows = torch.cat([torch.arange(int(bounds[c]), int(bounds[c + 1])) for c in chunks.tolist()])
    return rows[:limit]


def _found(roots: Sequence[str]) -> list[File]:
    """All Parquet files below places, each place's sorted by name."""
    import fsspec  # type: ignore[import-untyped]  # comes with torch

    files: list[File] = []
    for root in roots:
        remote = "://" in root or "::" in root
        pattern = any(sign in root for sign in "*?[")
        if not remote:
            root = str(Path(root).expanduser())
            if not pattern or Path(root).exists():
                existing(root, what="source 'parquet_stream'")
        try:
            system, path = fsspec.core.url_to_fs(root)
            if system.isfile(path):
                paths = [path]
            elif pattern:
                paths = sorted(system.glob(path))
            else:
                paths = sorted(p for p in system.find(path, maxdepth=2) if p.endswith(".parquet"))
            files += [
                File(p, "/".join(p.split("/")[-2:]), int(system.size(p) or 0), system if remote else None)
                for p in paths
                if not p.split("/")[-1].startswith(".")
            ]
        except (OSError, ImportError, ValueError) as error:
            raise DataError(f"source 'parquet_stream': cannot list {root} ({said(error)}).") from error
    if not files:
        raise DataError(
            f"source 'parquet_stream': there is no Parquet file in {listed(roots)}. Give a folder that holds "
            "some, a pattern such as 'data/train-*.parquet', or a list."
        )
    return files


def _of_split(files: Sequence[File], split: str, root: str | Sequence[str]) -> tuple[list[File], bool]:
    """Files of a split, and whether it has still to be cut out of them."""
    for word in SPLIT_WORDS[split]:
        found = [file for file in files if _word(file) == word]
        if found:
            return found, False
    if all(_word(file) is None for file in files):
        return list(files), True
    words = " or ".join(f"{word}-*.parquet" for word in SPLIT_WORDS[split][:3])
    raise DataError(
        f"source 'parquet_stream': {root} has no {split} split ({words}). "
        f"It holds: {listed(file.name for file in files)}. Add one, or name other data in test_source."
    )


def _word(file: File) -> str | None:
    """The word for a split in a file's own name, or else in that of its folder."""
    for name in reversed(file.name.split("/")):
        if split_of(name) is not None:
            return name.lower().split(".")[0].replace("_", "-").split("-")[0]
    return None


def _together(files: Sequence[File]) -> str:
    return files[0].path if len(files) == 1 else f"{files[0].path} and {len(files) - 1} more"


def _named(metadata: Mapping[bytes, bytes], column: str) -> list[str] | None:
    """Class names of a column in a file's metadata, as `datasets` writes them; or those of the whole file."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        names = features.get(column, {}).get("names")
        if names is None and column not in features and column in LABEL_COLUMNS:
            names = json.loads(metadata.get(b"class_names", b"null"))
    except (ValueError, AttributeError):
        return None
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    return [str(name) for name in names] if isinstance(names, list) else None
