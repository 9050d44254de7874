"""What a store keeps of each view, how many bytes that takes, and how it is cut into shards."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from limbeck.classify.stored.views import Views
from limbeck.errors import CheckpointError, ConfigError

DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Kinds of numbers that outputs are kept in."""
SHARD_BYTES = 64 * 2**20
"""A shard is about so large: small enough to lose little when stopped, large enough to need few files."""
HEADER_BYTES = 2048
"""Room that a shard's header takes at most in a plan."""


@dataclass(frozen=True)
class Contents:
    """What is kept of each view.

    Attributes:
        classes: C.
        top: how many of the largest logits; None keeps all.
        taps: module path -> shape of its feature, without the batch.
        dtype: "float32", "float16" or "bfloat16".

    Raises:
        ConfigError: as many logits as there are classes, or more.
    """

    classes: int
    top: int | None
    taps: Mapping[str, tuple[int, ...]]
    dtype: str

    def __post_init__(self) -> None:
        if self.top is not None and not 1 <= self.top < self.classes:
            raise ConfigError(
                f"outputs.logits: the {self.top} largest of {self.classes} logits leave none out; "
                f"use at most {self.classes - 1}, or full."
            )

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name in a shard -> kind of number and shape of one row; `index` says which image the row is of."""
        if self.top is None:
            found: dict[str, tuple[str, tuple[int, ...]]] = {"logits": (self.dtype, (self.classes,))}
        else:
            place = "int16" if self.classes <= 2**15 else "int32"
            found = {
                "top_logits": (self.dtype, (self.top,)),
                "top_classes": (place, (self.top,)),
                "rest": ("float32", ()),
            }
        return (
            {"index": ("int32", ())}
            | found
            | {f"tap:{path}": (self.dtype, shape) for path, shape in self.taps.items()}
        )

    @property
    def row_bytes(self) -> int:
        """Bytes of one view."""
        sizes = {**DTYPE_BYTES, "int16": 2, "int32": 4}
        return sum(sizes[kind] * math.prod(shape) for kind, shape in self.tensors().values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        taps = {path: list(shape) for path, shape in sorted(self.taps.items())}
        return {"classes": self.classes, "top": self.top, "taps": taps, "dtype": self.dtype}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Contents:
        """The inverse of `to_dict`.

        Raises:
            CheckpointError: a value is missing or of another kind.
        """
        try:
            if values["dtype"] not in DTYPE_BYTES:
                raise ValueError(values["dtype"])
            return cls(
                classes=int(values["classes"]),
                top=None if values["top"] is None else int(values["top"]),
                taps={str(path): tuple(int(s) for s in shape) for path, shape in values["taps"].items()},
                dtype=values["dtype"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"what a store says it holds is damaged ({error!r}): {values}") from error


@dataclass(frozen=True, order=True)
class ShardKey:
    """One shard: some rows of one pass.

    Attributes:
        seed: of the views; None where all passes are the same.
        epoch: likewise.
        part: number of the shard within the pass; it begins at row `part * rows` of the grid.
    """

    seed: int | None
    epoch: int | None
    part: int

    @property
    def file_name(self) -> str:
        """Of the shard in the store's folder."""
        views = "all" if self.epoch is None else f"seed{self.seed}-epoch{self.epoch:04d}"
        return f"{views}-part{self.part:04d}.safetensors"


@dataclass(frozen=True)
class Grid:
    """How the rows of a pass are cut into shards, in the order in which the teacher saw them.

    Attributes:
        samples: images of the set.
        rows: in every shard but the last of a pass.
    """

    samples: int
    rows: int

    @property
    def parts(self) -> int:
        """Shards of one pass."""
        return math.ceil(self.samples / self.rows)

    def span(self, part: int) -> range:
        """The rows of the pass that are in a shard."""
        return range(part * self.rows, min((part + 1) * self.rows, self.samples))

    def keys(self, views: Views) -> Iterator[ShardKey]:
        """Every shard of a store, pass by pass."""
        for seed, epoch in views.passes():
            for part in range(self.parts):
                yield ShardKey(seed, epoch, part)


@dataclass(frozen=True)
class StorePlan:
    """What a store will cost.

    Attributes:
        passes: of the teacher over the training set.
        images: that the teacher will see.
        shards: files.
        bytes: on disk, at most.
    """

    passes: int
    images: int
    shards: int
    bytes: int

    def __str__(self) -> str:
        noun = "pass" if self.passes == 1 else "passes"
        return (
            f"{self.passes:,} {noun} of the teacher over {self.images // max(self.passes, 1):,} images, "
            f"{self.bytes:,} bytes in {self.shards:,} files"
        )


def plan(contents: Contents, views: Views, *, samples: int, batch_size: int) -> StorePlan:
    """What a store will cost, before it is begun.

    Args:
        contents: of each view.
        views: seeds, epochs and augmentation.
        samples: images of the training set.
        batch_size: of the teacher.

    Example:
        >>> contents = Contents(classes=100, top=None, taps={}, dtype="float16")
        >>> print(plan(contents, Views(seeds=(0,), epochs=3), samples=50_000, batch_size=64))
        1 pass of the teacher over 50,000 images, 10,202,048 bytes in 1 files
    """
    grid = grid_of(contents, samples=samples, batch_size=batch_size)
    passes = len(views.passes())
    size = passes * (samples * contents.row_bytes + grid.parts * HEADER_BYTES)
    return StorePlan(passes=passes, images=passes * samples, shards=passes * grid.parts, bytes=size)


def grid_of(contents: Contents, *, samples: int, batch_size: int) -> Grid:
    """Shards of whole batches, about `SHARD_BYTES` each."""
    batches = max(1, SHARD_BYTES // (contents.row_bytes * batch_size))
    return Grid(samples, min(batches * batch_size, math.ceil(samples / batch_size) * batch_size))
