"""A set of images that stays where it is and is read chunk by chunk."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.sources.arrays import pixel_statistics
from limbeck.sources.decoding import Reading, broken_file, decode, decode_crop, sizes_differ, to_tensor
from limbeck.sources.places import listed
from limbeck.sources.streaming.order import shuffled_order
from limbeck.sources.streaming.retries import Retries, said
from limbeck.sources.streaming.shards import Reader, Row, Shards

BUFFER = 8192
"""Rows that are shuffled among each other unless a source says otherwise."""
_STATISTICS_IMAGES = 2000
_STATISTICS_CHUNKS = 16
_CHUNKS_KEPT = 4
_LOGGER = logging.getLogger("limbeck")


class StreamSource:
    """Images in shards, with everything that other sources have; train on it with a `StreamLoader`.

    Single images can be asked for too, which reads the whole chunk that holds them.

    Args:
        shards: where rows come from.
        class_names: in the order of the labels.
        reading: size, channels (three unless given) and what to do with damaged images.
        mean: of each channel in [0, 1]; estimated from about 2,000 images, spread over the set, unless given.
        std: likewise.
        buffer: rows that are shuffled among each other; about so many encoded images are in memory at once, and
            twice as many with `workers`.
        retries: for errors of file system and network.
        random_crop: smallest share of the area of a random part, which training takes of each image; None takes
            all of it.
        rows: rows of the shards that belong to it, ascending; all unless given.

    Raises:
        ConfigError: `random_crop` without a size.
        DataError: fewer than two classes or one named twice; statistics or rows that do not fit.
    """

    def __init__(
        self,
        shards: Shards,
        class_names: Sequence[str],
        *,
        reading: Reading | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        buffer: int = BUFFER,
        retries: Retries | None = None,
        random_crop: float | None = None,
        rows: Tensor | None = None,
    ) -> None:
        reading = reading or Reading()
        self.shards = shards
        self.class_names: tuple[str, ...] = tuple(class_names)
        self.reading = replace(reading, channels=reading.channels or 3)
        self.random_crop = random_crop
        self.buffer = buffer
        self.retries = retries or Retries()
        self.damaged: set[int] = set()
        """Rows that could not be decoded so far and were left out."""
        self._rows = rows
        self._given = (mean, std)
        self._whole: StreamSource | None = None
        self._label_of = {name: label for label, name in enumerate(self.class_names)}
        self._kept: OrderedDict[int, list[Row]] = OrderedDict()
        self._reader: Reader | None = None
        self._lock = threading.Lock()
        self._starts = torch.tensor([0, *shards.sizes]).cumsum(0)
        self.bounds: Tensor = self._starts if rows is None else torch.searchsorted(rows, self._starts)
        """Index of the first row of every chunk, and the number of rows at the end."""
        self._check()

    def part(self, rows: Sequence[int] | Tensor) -> StreamSource:
        """Some images of this source, in the order of the set, with the source's normalisation.

        Args:
            rows: indices, in any order.

        Raises:
            DataError: none, or one out of range.
        """
        chosen = torch.as_tensor(rows, dtype=torch.int64).sort().values
        if len(chosen) and not 0 <= int(chosen[0]) <= int(chosen[-1]) < len(self):
            raise DataError(f"{self.shards.what}: rows reach from {int(chosen[0])} to {int(chosen[-1])}.")
        part = StreamSource(
            self.shards,
            self.class_names,
            reading=self.reading,
            mean=self._given[0],
            std=self._given[1],
            buffer=self.buffer,
            retries=self.retries,
            random_crop=self.random_crop,
            rows=chosen if self._rows is None else self._rows[chosen],
        )
        part._whole = self._whole or self
        part.damaged = self.damaged
        return part

    def __len__(self) -> int:
        return int(self.bounds[-1])

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width: as the settings say, or as the first image has it."""
        channels, size = self.reading.channels or 3, self.reading.size
        if size is not None:
            return channels, size, size
        _, height, width = (self._whole or self).first(1)[0].shape
        return channels, height, width

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel: as given, or of about 2,000 images spread over the set."""
        given = self._given[0]
        return tuple(given) if given is not None else (self._whole or self)._statistics[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel: as given, or of the same images."""
        given = self._given[1]
        return tuple(given) if given is not None else (self._whole or self)._statistics[1]

    @cached_property
    def labels(self) -> Tensor:
        """The label of every image, shape (n,), int64; a pass over the labels, not over the images."""
        whole = [self._label(raw, partial("row {}".format, i)) for i, raw in enumerate(self._raw_labels())]
        labels = torch.tensor(whole, dtype=torch.int64)
        return labels if self._rows is None else labels[self._rows]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the shards' names, sizes and row counts and of how they are read; not of the pixels."""
        facts = json.dumps(
            [dict(self.shards.manifest), repr((self.reading, self.random_crop)), self.class_names], sort_keys=True
        )
        digest = hashlib.blake2b(facts.encode(), digest_size=8)
        if self._rows is not None:
            digest.update(self._rows.numpy().data)
        return digest.hexdigest()

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image as uint8 (c, h, w) and its label; its whole chunk is read.

        Raises:
            IndexError: there is no such index.
            DataError: the image or its shard is damaged.
        """
        return self._single(index, None)

    def view(self, index: int, draws: Sequence[float]) -> tuple[Tensor, int]:
        """A random part of one image as uint8 (c, size, size), and its label; the whole without `random_crop`.

        Args:
            index: of the image.
            draws: four uniform numbers in [0, 1).
        """
        return self._single(index, draws)

    def _single(self, index: int, draws: Sequence[float] | None) -> tuple[Tensor, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        chunk, row = (int(found[0]) for found in self.locate(torch.tensor([index])))
        rows = self._read_kept(chunk)
        image = self.image(rows, chunk, row, draws)
        if isinstance(image, OSError):
            raise broken_file(self.shards.what, self.shards.row_name(chunk, row), image)
        return image, self.label(rows, chunk, row)

    def __repr__(self) -> str:
        chunks = len(self.shards.sizes)
        return f"StreamSource({self.shards.what}, {len(self)} images in {chunks} chunks)"

    def first(self, count: int) -> Tensor:
        """The first images that can be read, shape (count, c, h, w), uint8.

        Raises:
            DataError: none can.
        """
        found: list[Tensor] = []
        for index in range(len(self)):
            chunk, row = (int(at[0]) for at in self.locate(torch.tensor([index])))
            image = self._readable(self._read_kept(chunk), chunk, row)
            found += [] if image is None else [image]
            if len(found) == count:
                break
        if not found:
            raise DataError(f"{self.shards.what}: none of {len(self)} images can be decoded.")
        return torch.stack(found)

    def order(self, *, seed: int, epoch: int) -> Tensor:
        """Indices in the order of a shuffled epoch, shape (n,), int64."""
        visits = self.shards.visits(seed, epoch)
        return shuffled_order(visits, self.bounds, buffer=self.buffer, seed=seed, epoch=epoch)

    def locate(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Chunk, and row within it, of each index; shape of `index`, int64."""
        rows = index if self._rows is None else self._rows[index]
        chunks = torch.searchsorted(self._starts, rows, right=True) - 1
        return chunks, rows - self._starts[chunks]

    def read(self, reader: Reader, chunk: int, stop: threading.Event | None = None) -> list[Row]:
        """All rows of a chunk, with retries.

        Raises:
            DataError: it cannot be read; shard and position are named.
        """
        place = self.shards.place(chunk)
        try:
            rows = self.retries.call(
                lambda: reader.read(chunk), what=f"{self.shards.what}: {place}", before=reader.close, stop=stop
            )
        except DataError:
            raise
        except Exception as error:  # readers of other libraries raise anything
            missing = isinstance(error, FileNotFoundError)
            raise DataError(
                f"{self.shards.what}: {place} {'is gone' if missing else 'cannot be read'} ({said(error)}). "
                "Bring the shard back or restore its connection."
            ) from error
        if len(rows) != self.shards.sizes[chunk]:
            raise DataError(
                f"{self.shards.what}: {place} was announced with {self.shards.sizes[chunk]} rows and has "
                f"{len(rows)}. The set has changed since it was opened, or was not written to its end."
            )
        return rows

    def image(
        self, rows: Sequence[Row], chunk: int, row: int, draws: Sequence[float] | None = None
    ) -> Tensor | OSError:
        """A row's image as uint8 (c, h, w), or why it cannot be decoded.

        Args:
            rows: of the chunk.
            chunk: its number.
            row: in the chunk.
            draws: four uniform numbers in [0, 1), for a random part; None takes the image as it is.

        Raises:
            DataError: it has another size than the others.
        """
        blob = rows[row][0]
        if not isinstance(blob, bytes):
            return OSError(f"the row holds no image bytes but {str(blob)[:80]!r}")
        try:
            if draws is None or self.random_crop is None:
                pixels = decode(blob, self.reading)
            else:
                pixels = decode_crop(blob, self.reading, draws, smallest=self.random_crop)
        except OSError as error:
            return error
        image = to_tensor(pixels, self.reading.channels or 3)
        shape = self.__dict__.get("image_shape")
        if shape is not None and tuple(image.shape) != shape:
            name = self.shards.row_name(chunk, row)
            raise sizes_differ(self.shards.what, "the first image", shape[1:], name, image.shape[1:])
        return image

    def label(self, rows: Sequence[Row], chunk: int, row: int) -> int:
        """A row's label.

        Raises:
            DataError: it is missing, or no class.
        """
        return self._label(rows[row][1], lambda: self.shards.row_name(chunk, row))

    def stand_in(
        self, rows: Sequence[Row], chunk: int, row: int, draws: Sequence[float] | None = None
    ) -> tuple[Tensor, int, int]:
        """Image, label and index of the next row of the chunk that can be decoded, for one that cannot.

        Raises:
            DataError: no row of the chunk can.
        """
        first, end = int(self.bounds[chunk]), int(self.bounds[chunk + 1])
        near = self.locate(torch.arange(first, end))[1].tolist()
        at = near.index(row)
        for step in range(1, len(near)):
            place = (at + step) % len(near)
            image = self._readable(rows, chunk, near[place], draws)
            if image is not None:
                return image, self.label(rows, chunk, near[place]), first + place
        raise DataError(
            f"{self.shards.what}: none of the {len(near)} images of {self.shards.place(chunk)} can be decoded."
        )

    def leave_out(self, chunk: int, row: int, reason: OSError) -> None:
        """Count a damaged image.

        Raises:
            DataError: damaged images are not to be left out.
        """
        name = self.shards.row_name(chunk, row)
        if not self.reading.skip_broken:
            raise broken_file(self.shards.what, name, reason)
        number = int(self._starts[chunk]) + row
        if not self.damaged:
            _LOGGER.warning("%s: left out %s, which cannot be decoded (%s).", self.shards.what, name, reason)
        self.damaged.add(number)

    def _readable(
        self, rows: Sequence[Row], chunk: int, row: int, draws: Sequence[float] | None = None
    ) -> Tensor | None:
        image = self.image(rows, chunk, row, draws)
        if isinstance(image, OSError):
            self.leave_out(chunk, row, image)
            return None
        return image

    def _label(self, raw: Any, name: Any) -> int:
        found = self._label_of.get(raw) if isinstance(raw, str) else raw
        if isinstance(found, int) and 0 <= found < len(self.class_names):
            return int(found)
        what = "has no label" if raw is None else f"has the label {raw!r}"
        raise DataError(
            f"{self.shards.what}: {name()} {what}; there are {len(self.class_names)} classes, 0 to "
            f"{len(self.class_names) - 1}: {listed(self.class_names)}. "
            "Mend the label, or name all classes with class_names."
        )

    def _raw_labels(self) -> list[Any]:
        found = self.shards.labels()
        if len(found) != sum(self.shards.sizes):
            raise DataError(
                f"{self.shards.what}: {sum(self.shards.sizes)} rows were announced, and {len(found)} have labels."
            )
        return found

    def _read_kept(self, chunk: int) -> list[Row]:
        """A chunk for single rows; the last few stay in memory."""
        with self._lock:
            if self._reader is None:
                self._reader = self.shards.reader()
            if chunk not in self._kept:
                self._kept[chunk] = self.read(self._reader, chunk)
                self._reader.close()  # single rows are asked for once in a while: no file stays open for them
            self._kept.move_to_end(chunk)
            while len(self._kept) > _CHUNKS_KEPT:
                self._kept.popitem(last=False)
            return self._kept[chunk]

    @cached_property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        chunks = self.shards.spread(_STATISTICS_CHUNKS)
        most = -(-_STATISTICS_IMAGES // len(chunks))
        found: list[Tensor] = []
        reader = self.shards.reader()
        try:
            for chunk in chunks:
                rows = self.read(reader, chunk)
                step = max(1, len(rows) // most)
                images = [self._readable(rows, chunk, row) for row in range(0, len(rows), step)][:most]
                found += [image for image in images if image is not None]
        finally:
            reader.close()
        if not found:
            raise DataError(f"{self.shards.what}: no image of those that mean and std are estimated from decodes.")
        if len({image.shape for image in found}) > 1:
            other = next(image for image in found if image.shape != found[0].shape)
            raise sizes_differ(self.shards.what, "one", found[0].shape[1:], "another", other.shape[1:])
        mean, std = pixel_statistics(torch.stack(found))
        _LOGGER.info(
            "%s: mean %s and std %s, estimated from %d of %d images.",
            self.shards.what,
            [round(value, 4) for value in mean],
            [round(value, 4) for value in std],
            len(found),
            len(self),
        )
        return mean, std

    def _check(self) -> None:
        what, classes = self.shards.what, len(self.class_names)
        if len(self) == 0:
            raise DataError(f"{what}: there are no images.")
        if classes < 2:
            raise DataError(
                f"{what}: a classifier needs at least two classes; there is {listed(self.class_names)}. "
                "Give class_names if more exist."
            )
        if len(set(self.class_names)) != classes:
            twice = next(name for name in self.class_names if self.class_names.count(name) > 1)
            raise DataError(f"{what}: two classes are named '{twice}'.")
        channels = self.reading.channels
        for name, values in zip(("mean", "std"), self._given, strict=True):
            if values is not None and len(values) != channels:
                raise DataError(f"{what}: {name} has {len(values)} values; the images have {channels} channels.")
        if self.random_crop is not None and self.reading.size is None:
            raise ConfigError(f"{what}: random_crop cuts images to one size; give size, e.g. size: 224.")
        if self.buffer < 1:
            raise DataError(f"{what}: buffer is at least 1, got {self.buffer}.")
