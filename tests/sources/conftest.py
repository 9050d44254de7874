from __future__ import annotations

import io
import json

import numpy as np
import pytest


def encoded(pixels, kind="PNG"):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def encode():
    """Pixels as the bytes of an image file."""
    return encoded


@pytest.fixture
def make_folder(tmp_path):
    """Write a tree of image files: {"train/cat/1.png": pixels or bytes}."""

    def make(files, root=tmp_path / "set"):
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else encoded(content))
        return root

    return make


@pytest.fixture
def make_parquet(tmp_path):
    """Write one Parquet file of encoded images."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    def make(images, labels, name="train.parquet", *, columns=("image", "label"), metadata=None, struct=True):
        blobs = [i if isinstance(i, bytes) or i is None else encoded(i) for i in images]
        values = [{"bytes": b, "path": f"{i}.png"} for i, b in enumerate(blobs)] if struct else blobs
        table = pa.table(dict(zip(columns, (values, labels), strict=True)))
        if metadata is not None:
            table = table.replace_schema_metadata({k: json.dumps(v) for k, v in metadata.items()})
        path = tmp_path / "sets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        return path

    return make
