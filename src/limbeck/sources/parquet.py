"""Image classification sets in Parquet files, laid out as Hugging Face does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from limbeck.bounds import Fraction, NonNegativeInt, PositiveInt
from limbeck.errors import DataError, MissingExtraError, did_you_mean
from limbeck.sources.arrays import ArraySource, as_labels, check_labels
from limbeck.sources.decoding import Reading, decode_all
from limbeck.sources.places import SPLIT_WORDS, entries, existing, listed, split_of
from limbeck.sources.selection import choose, split_rows

IMAGE_COLUMNS = ("image", "img", "images")
LABEL_COLUMNS = ("label", "labels", "fine_label", "target")


def parquet(
    *,
    root: str,
    split: Literal["train", "test"] = "train",
    limit: PositiveInt | None = None,
    per_class: PositiveInt | None = None,
    subset_seed: NonNegativeInt = 0,
    size: PositiveInt | None = None,
    channels: Literal[1, 3] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    ignore_label: int | str | None = None,
    class_names: Sequence[str] | None = None,
    group_column: str | None = None,
    test_share: Fraction = 0.2,
    skip_broken: bool = False,
) -> ArraySource:
    """A folder with `train.parquet` and `test.parquet`, or one Parquet file, with encoded images and labels.

    Shards (`train-00000-of-00002.parquet`) and a `data/` folder are found too; a validation split stands in for a
    missing test split. Images are decoded once, into memory.

    Args:
        root: the folder or file.
        split: train or test.
        limit: at most so many images, spread evenly over the classes.
        per_class: exactly so many images of each class.
        subset_seed: another seed makes another choice of images.
        size: resize to so many pixels, the shorter side first, then cut the middle out.
        channels: 1 for grey, 3 for colour; grey where every image is grey unless given.
        image_column: `image`, `img` or `images` unless given.
        label_column: `label`, `labels`, `fine_label` or `target` unless given.
        ignore_label: rows with this label are left out, e.g. -1 where it stands for "none of the classes".
        class_names: in the order of the labels; those of the file unless given.
        group_column: a column of whole numbers or texts that says which group an image belongs to, for measures of
            the worst group.
        test_share: of each class, held out as test from a single file without splits; 1 makes all of it test.
        skip_broken: leave images out that cannot be decoded, and say how many, instead of stopping.

    Raises:
        DataError: nothing at `root`, no such split or column, a damaged file, broken images.
        MissingExtraError: pyarrow is not installed.
    """
    path = existing(root, what="source 'parquet'")
    files, held_out = _files(path, split)
    what = f"source 'parquet' ({files[0]})"
    table, columns = _read(files, image_column, label_column, group_column, what)
    if ignore_label is not None:
        table = _without(table, columns[1], ignore_label, what)
    labels, names = _labels(table, columns[1], class_names, what)
    check_labels(labels, len(labels), names)
    groups, group_names = (None, ()) if group_column is None else _groups(table, group_column, what)
    rows = torch.arange(len(labels))
    if held_out:
        rows = split_rows(labels, len(names), split=split, share=test_share, what=what)
    chosen = choose(labels[rows], names, limit=limit, per_class=per_class, seed=subset_seed)
    rows = rows if chosen is None else rows[chosen]
    blobs = _blobs(table.column(columns[0]).take(rows.numpy()), rows.tolist(), what)
    images, kept = decode_all(
        blobs, reading=Reading(size, channels, skip_broken), name=lambda i: f"image of row {rows[i]}", what=what
    )
    rows = rows[kept]
    return ArraySource(
        images,
        labels[rows],
        names,
        groups=None if groups is None else groups[rows],
        group_names=group_names,
    )


def _files(root: Path, split: str) -> tuple[list[Path], bool]:
    """Files of a split, and whether the split has still to be cut out of them."""
    if root.is_file():
        said = split_of(root.name)
        if said not in (None, split):
            raise DataError(
                f"source 'parquet': {root} is a {said} split by its name, and the {split} split was asked for. "
                "Give its folder as root, or name the other file in test_source."
            )
        return [root], said is None
    for folder in (root, root / "data"):
        if folder.is_dir():
            for word in SPLIT_WORDS[split]:
                shards = sorted({*folder.glob(f"{word}.parquet"), *folder.glob(f"{word}-*.parquet")})
                if shards:
                    return shards, False
    there = entries(root)
    single = [name for name in there if name.endswith(".parquet")]
    if len(single) == 1 and split_of(single[0]) is None:
        return [root / single[0]], True
    wanted = " or ".join(f"{word}.parquet" for word in SPLIT_WORDS[split][:3])
    raise DataError(f"source 'parquet': {root}/ has no {split} split ({wanted}). It holds: {listed(there)}.")


def _read(
    files: Sequence[Path], image_column: str | None, label_column: str | None, group_column: str | None, what: str
) -> tuple[Any, tuple[str, str]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError.of("pyarrow", "hf", "reading Parquet files") from error
    try:
        there = pq.read_schema(files[0]).names
        columns = (
            _column("image", image_column, IMAGE_COLUMNS, there, what),
            _column("label", label_column, LABEL_COLUMNS, there, what),
        )
        read = list(columns)
        if group_column is not None:
            read.append(_column("group", group_column, (), there, what))
        table = pa.concat_tables([pq.read_table(file, columns=list(dict.fromkeys(read))) for file in files])
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{what}: the file is no Parquet, or damaged ({reason}). Copy or make it again."
        ) from error
    if table.num_rows == 0:
        raise DataError(f"{what}: the file has no rows.")
    return table, columns


def _column(kind: str, given: str | None, usual: Sequence[str], there: Sequence[str], what: str) -> str:
    if given is not None and given not in there:
        raise DataError(
            f"{what}: there is no column '{given}'.{did_you_mean(given, there)} It has: {listed(there)}."
        )
    found = given if given is not None else next((name for name in usual if name in there), None)
    if found is None:
        raise DataError(
            f"{what}: there is no {kind} column ({', '.join(usual)}). It has: {listed(there)}. "
            f"Name it with {kind}_column."
        )
    return found


def _without(table: Any, column: str, label: int | str, what: str) -> Any:
    """The rows that have another label, or none."""
    rows = [i for i, value in enumerate(table.column(column).to_pylist()) if value != label]
    if not rows:
        raise DataError(f"{what}: every row has the label {label!r} in '{column}', which ignore_label leaves out.")
    return table.take(rows)


def _groups(table: Any, column: str, what: str) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Numbers of groups and their names: those of the file, or the values themselves, sorted."""
    values = table.column(column)
    if values.null_count:
        raise DataError(f"{what}: {values.null_count} rows have no '{column}'.")
    found = values.to_pylist()
    if not all(type(value) in (int, str) for value in found):
        raise DataError(f"{what}: groups are whole numbers or texts; column '{column}' is of type {values.type}.")
    names = _class_names(table.schema.metadata or {}, column)
    if names is not None and not isinstance(found[0], str):
        low, high = min(found), max(found)
        if low < 0 or high >= len(names):
            raise DataError(
                f"{what}, column '{column}': {len(names)} names belong to 0 to {len(names) - 1}; "
                f"these values reach from {low} to {high}."
            )
        return torch.tensor(found, dtype=torch.int64), tuple(names)
    kinds = sorted(set(found))
    place = {value: i for i, value in enumerate(kinds)}
    return torch.tensor([place[value] for value in found], dtype=torch.int64), tuple(map(str, kinds))


def _labels(
    table: Any, column: str, class_names: Sequence[str] | None, what: str
) -> tuple[torch.Tensor, tuple[str, ...]]:
    values = table.column(column)
    if values.null_count:
        raise DataError(f"{what}: {values.null_count} rows have no '{column}'.")
    names = class_names if class_names is not None else _class_names(table.schema.metadata or {}, column)
    try:
        return as_labels(values.to_numpy() if str(values.type) != "string" else values.to_pylist(), names)
    except DataError as error:
        raise DataError(f"{what}, column '{column}': {error}") from error


def _class_names(metadata: dict[bytes, bytes], column: str) -> list[str] | None:
    """Names from the file's metadata; those of the column, or those of the file if it speaks of one column."""
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


def _blobs(column: Any, rows: Sequence[int], what: str) -> list[bytes]:
    values = column.to_pylist()
    blobs: list[Any] = [value.get("bytes") if isinstance(value, dict) else value for value in values]
    bad = next((i for i, blob in enumerate(blobs) if not isinstance(blob, bytes)), None)
    if bad is not None:
        raise DataError(
            f"{what}: row {rows[bad]} holds no image bytes but {str(values[bad])[:80]!r}. "
            "An image column holds encoded files: binary, or a struct with a field 'bytes'."
        )
    return blobs
