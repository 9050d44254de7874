"""Whatever Hugging Face's `datasets` can stream."""

from __future__ import annotations

import io
import itertools
import json
import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.bounds import Fraction, NonNegative, NonNegativeInt, PositiveInt
from limbeck.errors import DataError, MissingExtraError
from limbeck.files import atomic_write
from limbeck.seeding import permutation
from limbeck.sources.decoding import Reading
from limbeck.sources.places import SPLIT_WORDS, listed
from limbeck.sources.streaming.columns import IMAGE_COLUMNS, LABEL_COLUMNS, column_of
from limbeck.sources.streaming.retries import Retries, said
from limbeck.sources.streaming.shards import Reader, Row
from limbeck.sources.streaming.source import BUFFER, StreamSource

STRETCH = 128
"""Rows of a shard that are read at once."""
SHARDS_AT_ONCE = 8
"""Shards that an epoch reads side by side unless a source says otherwise."""
_COUNTED_AT_ONCE = 4
_LOGGER = logging.getLogger("limbeck")


def hf_stream(
    *,
    path: str,
    config: str | None = None,
    data_files: str | list[str] | dict[str, Any] | None = None,
    data_dir: str | None = None,
    revision: str | None = None,
    split: Literal["train", "test"] = "train",
    train_split: str | None = None,
    test_split: str | None = None,
    size: PositiveInt | None = None,
    channels: Literal[1, 3] = 3,
    image_column: str | None = None,
    label_column: str | None = None,
    class_names: list[str] | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    samples: PositiveInt | None = None,
    counts: str | None = None,
    buffer: PositiveInt = 8192,
    shards_at_once: PositiveInt = 8,
    skip_broken: bool = False,
    random_crop: Fraction | None = None,
    crop_share: Fraction = 1.0,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
    retries: NonNegativeInt = 5,
    retry_wait: NonNegative = 1.0,
) -> StreamSource:
    """A set streamed by Hugging Face's `datasets`: `load_dataset(path, config, streaming=True)`.

    An epoch draws the order of the shards, reads several side by side and shuffles rows within windows of about
    `buffer` rows. That is done here and not by `IterableDataset.shuffle`, whose buffer is lost when a run is
    resumed. To tell where a batch lies, the rows of each shard have to be known: they are counted once, which
    reads the set.

    Args:
        path: of a set on the Hub, or a format: "parquet", "webdataset", "imagefolder", "json", "arrow".
        config: of a set with several.
        data_files: for a format: a path, a list, or a mapping of split names to them.
        data_dir: for a format: a folder.
        revision: of a set on the Hub.
        split: train or test.
        train_split: what the set calls it; `train` or `training` unless given.
        test_split: what the set calls it; `test`, `testing`, `val`, `valid` or `validation` unless given.
        size: resize to so many pixels, the shorter side first, then cut the middle out.
        channels: 1 for grey, 3 for colour.
        image_column: `image`, `img`, `images`, `jpg` or `png` unless given.
        label_column: `label`, `labels`, `fine_label`, `target` or `cls` unless given.
        class_names: in the order of the labels; the set's unless given.
        mean: of each channel, with pixels in [0, 1]; estimated from about 2,000 images unless given.
        std: likewise.
        samples: images that the split must have; a set of a single shard is then not counted.
        counts: JSON file for the rows of each shard; `{split}` in it stands for the split. It is written once they
            are counted, and read from then on.
        buffer: images that are shuffled among each other and in memory, encoded, at once; `workers` doubles it.
        shards_at_once: shards that are read side by side; more mix a set better whose shards are sorted.
        skip_broken: leave images out that cannot be decoded, and count them, instead of stopping.
        random_crop: in training, a random part of each image with at least this share of its area (0.08 on
            ImageNet), brought to `size`.
        crop_share: of the shorter side, that the middle square keeps when `size` is given.
        interpolation: when sizes change.
        retries: further attempts after an error of file system or network.
        retry_wait: seconds before the first of them; doubled before each further one.

    Raises:
        ConfigError: `random_crop` without `size`.
        DataError: no such set, split or column; fewer rows than announced; labels that are no classes.
        MissingExtraError: datasets is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError.of("datasets", "hf", "streaming with Hugging Face's datasets") from error
    again = Retries(retries, retry_wait)
    what = f"source 'hf_stream' ({path})"
    load = partial(
        datasets.load_dataset,
        path,
        config,
        data_files=data_files,
        data_dir=data_dir,
        revision=revision,
        streaming=True,
    )
    try:
        splits = again.call(load, what=what)
    except Exception as error:  # builders of sets raise anything
        raise DataError(f"{what}: the set cannot be opened ({said(error)}).") from error
    wanted = train_split if split == "train" else test_split
    named = next((n for n in ([wanted] if wanted else SPLIT_WORDS[split]) if n in splits), None)
    if named is None:
        looked = wanted or " or ".join(SPLIT_WORDS[split])
        raise DataError(
            f"{what}: there is no {split} split ({looked}). The set has: {listed(splits)}. "
            f"Name it with {split}_split, or name other data in test_source."
        )
    return from_iterable(
        splits[named],
        what=f"{what[:-1]}, {named})",
        size=size,
        channels=channels,
        image_column=image_column,
        label_column=label_column,
        class_names=class_names,
        mean=mean,
        std=std,
        samples=samples,
        counts=None if counts is None else counts.replace("{split}", split),
        buffer=buffer,
        shards_at_once=shards_at_once,
        skip_broken=skip_broken,
        random_crop=random_crop,
        crop_share=crop_share,
        interpolation=interpolation,
        retries=retries,
        retry_wait=retry_wait,
    )


def from_iterable(
    dataset: Any,
    *,
    what: str = "the IterableDataset",
    size: int | None = None,
    channels: Literal[1, 3] = 3,
    image_column: str | None = None,
    label_column: str | None = None,
    class_names: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    samples: int | None = None,
    counts: str | Path | None = None,
    buffer: int = BUFFER,
    shards_at_once: int = SHARDS_AT_ONCE,
    skip_broken: bool = False,
    random_crop: float | None = None,
    crop_share: float = 1.0,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
    retries: int = 5,
    retry_wait: float = 1.0,
) -> StreamSource:
    """A `datasets.IterableDataset` that is at hand, mapped or filtered perhaps, as a source. For use from Python.

    Args:
        dataset: unshuffled; the same rows whenever it is run through.
        what: its name in messages.
        size: as in `hf_stream`, like all that follow.
        channels: 1 for grey, 3 for colour.
        image_column: of encoded images, or of Pillow's or arrays.
        label_column: of class indices or names.
        class_names: in the order of the labels.
        mean: of each channel.
        std: likewise.
        samples: that it must have.
        counts: JSON file for the rows of each shard.
        buffer: images shuffled among each other.
        shards_at_once: shards read side by side.
        skip_broken: leave out what cannot be decoded.
        random_crop: smallest share of the area of a random part.
        crop_share: of the shorter side.
        interpolation: when sizes change.
        retries: further attempts after an error of file system or network.
        retry_wait: seconds before the first of them.

    Raises:
        DataError: it is shuffled already, or cannot be used.
        MissingExtraError: datasets is not installed.
    """
    again = Retries(retries, retry_wait)
    shards = HubShards(
        dataset,
        what=what,
        image_column=image_column,
        label_column=label_column,
        samples=samples,
        counts=None if counts is None else Path(counts),
        shards_at_once=shards_at_once,
        retries=again,
    )
    return StreamSource(
        shards,
        class_names if class_names is not None else shards.class_names(),
        reading=Reading(size, channels, skip_broken, crop_share, interpolation),
        mean=mean,
        std=std,
        buffer=buffer,
        retries=again,
        random_crop=random_crop,
    )


class HubShards:
    """Stretches of the shards of an `IterableDataset`; a shard can only be read from its beginning on.

    Args:
        dataset: unshuffled.
        what: its name in messages.
        image_column: one of the usual unless given.
        label_column: likewise.
        samples: that it must have.
        counts: file for the rows of each shard.
        shards_at_once: shards read side by side.
        retries: for counting.

    Raises:
        DataError: it is shuffled, has other columns, or other rows than announced.
        MissingExtraError: datasets is not installed.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        what: str,
        image_column: str | None = None,
        label_column: str | None = None,
        samples: int | None = None,
        counts: Path | None = None,
        shards_at_once: int = SHARDS_AT_ONCE,
        retries: Retries | None = None,
    ) -> None:
        try:
            import datasets
        except ImportError as error:
            raise MissingExtraError.of("datasets", "hf", "streaming with Hugging Face's datasets") from error
        self.what = what
        self._retries = retries or Retries()
        self._shards_at_once = shards_at_once
        if not isinstance(dataset, datasets.IterableDataset):
            raise DataError(
                f"{what}: a {type(dataset).__name__} is no IterableDataset. Load it with streaming=True, or use "
                "dataset.to_iterable_dataset()."
            )
        if _shuffled(dataset):
            raise DataError(
                f"{what}: it is shuffled, and a shuffle buffer is lost when a run is resumed. Give it unshuffled; "
                "it is shuffled here, in an order that survives that."
            )
        there = list(dataset.features) if dataset.features is not None else list(self._example(dataset))
        self.columns = (
            column_of("image", image_column, IMAGE_COLUMNS, there, what),
            column_of("label", label_column, LABEL_COLUMNS, there, what),
        )
        self._feature = (dataset.features or {}).get(self.columns[1])
        image = (dataset.features or {}).get(self.columns[0])
        if isinstance(image, datasets.Image):
            # Decoded here, by several threads and to the size that is wanted.
            dataset = dataset.cast_column(self.columns[0], datasets.Image(decode=False))
        self._dataset = dataset
        self.rows = self._counted(samples, counts)
        if samples is not None and samples != sum(self.rows):
            raise DataError(
                f"{what}: {samples} samples were announced, and {len(self.rows)} shards have {sum(self.rows)}. "
                "Is a shard missing? Otherwise correct samples."
            )
        self._stretches = [
            (shard, first, min(STRETCH, rows - first))
            for shard, rows in enumerate(self.rows)
            for first in range(0, rows, STRETCH)
        ]
        self._labels: list[Any] | None = None

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Rows of every stretch."""
        return tuple(rows for _, _, rows in self._stretches)

    @property
    def manifest(self) -> Mapping[str, Sequence[int]]:
        """Number of every shard -> rows."""
        return {f"shard {shard}": (rows,) for shard, rows in enumerate(self.rows)}

    def visits(self, seed: int, epoch: int) -> Tensor:
        """Shards in random order, several side by side, each from its beginning to its end."""
        waiting = iter(permutation(len(self.rows), seed, epoch).tolist())
        chunks: dict[int, list[int]] = {}
        for chunk, (shard, _, _) in enumerate(self._stretches):
            chunks.setdefault(shard, []).append(chunk)
        full = (deque(chunks[shard]) for shard in waiting if shard in chunks)
        lanes = list(itertools.islice(full, self._shards_at_once))
        order: list[int] = []
        while lanes:
            for place, lane in enumerate(lanes):
                order.append(lane.popleft())
                if not lane:  # read to its end: another shard takes its place
                    lanes[place] = next(full, lane)
            lanes = [lane for lane in lanes if lane]
        return torch.tensor(order, dtype=torch.int64)

    def spread(self, count: int) -> list[int]:
        """Stretches from the beginnings of shards, at even distances."""
        by_place = sorted(range(len(self._stretches)), key=lambda chunk: self._stretches[chunk][1])
        begin = sum(first == 0 for _, first, _ in self._stretches)
        if begin >= count:
            return [by_place[number * begin // count] for number in range(count)]
        return sorted(by_place[:count])

    def reader(self) -> Reader:
        """One that goes on where it stands in each shard."""
        return _HubReader(self)

    def labels(self) -> list[Any]:
        """The label of every row, from a pass over the set."""
        if self._labels is None:
            self._labels = [label for found in self._label_pass() for label in found]
        return self._labels

    def class_names(self) -> list[str]:
        """From the set's features; else the texts, or the numbers up to the largest label."""
        names = getattr(self._feature, "names", None)
        if names:
            return [str(name) for name in names]
        labels = self.labels()
        if any(isinstance(label, str) for label in labels):
            return sorted({label for label in labels if isinstance(label, str)})
        largest = max((label for label in labels if isinstance(label, int)), default=0)
        return [str(number) for number in range(largest + 1)]

    def place(self, chunk: int) -> str:
        """Shard and rows."""
        shard, first, rows = self._stretches[chunk]
        return f"shard {shard} of {len(self.rows)} (rows {first} to {first + rows - 1})"

    def row_name(self, chunk: int, row: int) -> str:
        """Shard and row in the shard."""
        shard, first, _ = self._stretches[chunk]
        return f"shard {shard} of {len(self.rows)}, row {first + row}"

    def stretch(self, chunk: int) -> tuple[int, int, int]:
        """Shard, first row and number of rows."""
        return self._stretches[chunk]

    def iterate(self, shard: int, start: int) -> Iterator[Mapping[str, Any]]:
        """The rows of a shard from one on."""
        part = self._dataset.shard(num_shards=self._dataset.num_shards, index=shard)
        return iter(part.skip(start) if start else part)

    def _counted(self, samples: int | None, counts: Path | None) -> list[int]:
        """Rows of each shard."""
        shards = self._dataset.num_shards
        if shards == 1 and samples is not None:
            return [samples]
        if counts is not None and counts.is_file():
            try:
                rows = [int(row) for row in json.loads(counts.read_text())["rows"]]
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{counts} holds no row counts ({said(error)}); remove it.") from error
            if len(rows) != shards:
                raise DataError(
                    f"{counts} has the rows of {len(rows)} shards, and {self.what} has {shards}: the set has "
                    "changed. Remove the file, so that they are counted again."
                )
            return rows
        _LOGGER.info("%s: counting the rows of %d shards.", self.what, shards)
        found = self._label_pass()
        self._labels = [label for labels in found for label in labels]
        rows = [len(labels) for labels in found]
        if counts is not None:
            counts.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(counts, json.dumps({"rows": rows}) + "\n")
        return rows

    def _label_pass(self) -> list[list[Any]]:
        only = self._dataset.select_columns([self.columns[1]])
        shards = only.num_shards

        def of(shard: int) -> list[Any]:
            part = only.shard(num_shards=shards, index=shard)
            try:
                return self._retries.call(
                    lambda: [row[self.columns[1]] for row in part], what=f"{self.what}: shard {shard} of {shards}"
                )
            except Exception as error:  # builders of sets raise anything
                raise DataError(
                    f"{self.what}: shard {shard} of {shards} cannot be read ({said(error)})."
                ) from error

        with ThreadPoolExecutor(min(_COUNTED_AT_ONCE, shards)) as pool:
            return list(pool.map(of, range(shards)))

    def _example(self, dataset: Any) -> Mapping[str, Any]:
        try:
            example: Mapping[str, Any] = self._retries.call(lambda: next(iter(dataset), {}), what=self.what)
        except Exception as error:  # builders of sets raise anything
            raise DataError(f"{self.what}: the set cannot be read ({said(error)}).") from error
        return example


class _HubReader:
    """Keeps an iterator for each shard that is under way."""

    def __init__(self, shards: HubShards) -> None:
        self._shards = shards
        self._under_way: dict[int, tuple[Iterator[Mapping[str, Any]], int]] = {}

    def read(self, chunk: int) -> list[Row]:
        shards = self._shards
        shard, first, count = shards.stretch(chunk)
        rows, at = self._under_way.pop(shard, (None, 0))
        if rows is None or at > first:
            rows, at = shards.iterate(shard, first), first
        image, label = shards.columns
        found: list[Row] = []
        try:
            for number, row in enumerate(rows, at):
                if number >= first:
                    found.append((_encoded(row[image]), row[label]))
                if number == first + count - 1:
                    break
        except (OSError, DataError):
            raise
        except KeyError as error:
            raise DataError(f"{shards.what}: {shards.place(chunk)} has no column {error}.") from error
        if first + count < shards.rows[shard]:
            self._under_way[shard] = rows, first + count
        elif len(found) == count and next(rows, None) is not None:
            raise DataError(
                f"{shards.what}: shard {shard} was announced with {shards.rows[shard]} rows and has more. The "
                "set has changed since its rows were counted."
            )
        return found

    def close(self) -> None:
        for rows, _ in self._under_way.values():
            close = getattr(rows, "close", None)
            if close is not None:
                close()
        self._under_way.clear()


def _encoded(value: Any) -> bytes | None:
    """An image as the bytes of a file, whatever a set holds."""
    if isinstance(value, bytes) or value is None:
        return value
    if isinstance(value, dict):
        blob, path = value.get("bytes"), value.get("path")
        if blob is None and path:
            import fsspec  # type: ignore[import-untyped]  # comes with torch

            with fsspec.open(path, "rb") as file:
                return bytes(file.read())
        return blob
    from PIL import Image

    picture = value if isinstance(value, Image.Image) else Image.fromarray(torch.as_tensor(value).numpy())
    if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        picture = picture.convert("RGB")
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _shuffled(dataset: Any) -> bool:
    """Whether a shuffle is anywhere in it; `datasets` does not say so in public."""
    inner = getattr(dataset, "_ex_iterable", None)
    while inner is not None:
        if "Shuffled" in type(inner).__name__:
            return True
        inner = getattr(inner, "ex_iterable", None)
    return False
