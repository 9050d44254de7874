"""Small shards, and a set whose chunks can be watched."""

from __future__ import annotations

import io
import json
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from limbeck.seeding import permutation  # noqa: E402
from limbeck.sources.decoding import Reading  # noqa: E402
from limbeck.sources.streaming import Retries, StreamLoader, StreamSource  # noqa: E402


def encoded(pixels, kind="PNG"):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(stream, kind)
    return stream.getvalue()


def picture(number):
    """A grey image that says which it is, with some structure for augmentation."""
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    pixels[0, 0] = number
    return pixels


def write(path, rows, *, group=5, columns=("image", "label"), names=("a", "b", "c"), images=None, labels=None):
    """One shard of the rows with these numbers; the label is the number modulo three."""
    blobs = [encoded(picture(n)) for n in rows] if images is None else images
    table = pa.table(
        {
            columns[0]: [{"bytes": b, "path": None} for b in blobs],
            columns[1]: pa.array([n % 3 for n in rows] if labels is None else labels),
        }
    )
    if names is not None:
        features = {columns[0]: {"_type": "Image"}, columns[1]: {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)
    return path


def train_shards(root, sizes=(17, 12, 20, 8), *, group=5, **settings):
    """`train-0000i.parquet` with the rows 0, 1, 2, ... one after the other."""
    first = 0
    for number, size in enumerate(sizes):
        write(root / f"train-{number:05d}.parquet", range(first, first + size), group=group, **settings)
        first += size
    return root


class Chunk(list):
    """Rows that can be watched."""


class Memory:
    """Shards in memory that know how many of their chunks are alive."""

    what = "a set"

    def __init__(self, sizes):
        self.sizes = tuple(sizes)
        self.alive: set[int] = set()
        self.read: list[int] = []
        self.most = 0
        self.fail = {}

    @property
    def manifest(self):
        return {"all": self.sizes}

    def visits(self, seed, epoch):
        return permutation(len(self.sizes), seed, epoch)

    def spread(self, count):
        return list(range(min(count, len(self.sizes))))

    def labels(self):
        return [n % 3 for n in range(sum(self.sizes))]

    def place(self, chunk):
        return f"chunk {chunk}"

    def row_name(self, chunk, row):
        return f"chunk {chunk}, row {row}"

    def reader(self):
        return SimpleNamespace(read=self._read, close=lambda: None)

    def _read(self, chunk):
        self.read.append(chunk)
        if self.fail.get(chunk):
            raise self.fail[chunk].pop(0)
        first = sum(self.sizes[:chunk])
        rows = Chunk((encoded(picture(n % 256)), n % 3) for n in range(first, first + self.sizes[chunk]))
        self.alive.add(chunk)
        self.most = max(self.most, len(self.alive))
        weakref.finalize(rows, self.alive.discard, chunk)
        return rows


def memory(sizes, **settings):
    settings = {"reading": Reading(channels=1), "retries": Retries(2, 0.0), "buffer": 12, **settings}
    return StreamSource(Memory(sizes), ["a", "b", "c"], **settings)


def batches(source, *, number=2, start=0, **settings):
    settings = {"batch_size": 6, "seed": 4, **settings}
    return list(StreamLoader(source, **settings).epoch(number, start=start))


def joined(found, key="index"):
    return torch.cat([batch[key] for batch in found])


def together(parts):
    """The batches of all processes, each as one."""
    groups = list(zip(*parts, strict=True))
    return [{key: torch.cat([batch[key] for batch in group]) for key in group[0]} for group in groups]


def same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)
        assert all(a[key].dtype == b[key].dtype for key in a)


@pytest.fixture
def tools():
    """What the tests of this folder share."""
    return SimpleNamespace(
        encoded=encoded,
        picture=picture,
        write=write,
        train_shards=train_shards,
        memory=memory,
        batches=batches,
        joined=joined,
        same=same,
        together=together,
    )
