"""One shard: some rows of what a teacher put out, as a safetensors file that knows whose it is.

The metadata key `limbeck` holds a JSON card: the store's digest, seed, epoch, first row, and a SHA-256 over the
rest of the card and every tensor. Rows are read through memory maps, so a batch costs its own bytes and no more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from limbeck.classify.stored.contents import Contents, ShardKey
from limbeck.errors import CheckpointError
from limbeck.files import atomic_write

_NUMPY: Mapping[str, Any] = {  # NumPy has no bfloat16: its bits are read as whole numbers
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.int16,
    "I16": np.int16,
    "I32": np.int32,
}
_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int16": "I16", "int32": "I32"}
AGAIN = "Run the stage that stores the teacher's outputs again; it keeps what is intact."


def write_shard(folder: Path, key: ShardKey, tensors: Mapping[str, Tensor], *, store: str, first: int) -> None:
    """Write a shard, whole or not at all.

    Args:
        folder: of the store.
        key: which one.
        tensors: by name, on the CPU, rows first.
        store: digest of the store.
        first: number of the first row within the pass.

    Raises:
        StorageError: the disk is full or broke.
    """
    plain = {name: value.contiguous() for name, value in tensors.items()}
    card: dict[str, Any] = {"store": store, "seed": key.seed, "epoch": key.epoch, "first": first}
    digest = _begun(card)
    for name in sorted(plain):
        _add(digest, name, plain[name].reshape(-1).view(torch.uint8).numpy().data)
    card["sha256"] = digest.hexdigest()
    atomic_write(folder / key.file_name, safetensors.torch.save(plain, {"limbeck": json.dumps(card)}))


class Shard:
    """A shard's rows, on disk.

    Args:
        folder: of the store.
        key: which one.
        contents: of each view.
        store: digest of the store.
        span: rows of the pass that it has to hold.

    Raises:
        CheckpointError: it is missing, damaged, or belongs to another store.
    """

    def __init__(self, folder: Path, key: ShardKey, *, contents: Contents, store: str, span: range) -> None:
        self.file = folder / key.file_name
        self._contents = contents
        header, start = _header(self.file)
        card = _card(header, self.file)
        if card.get("store") != store:
            raise CheckpointError(
                f"{self.file} belongs to another store ({str(card.get('store'))[:12]}..., this one is "
                f"{store[:12]}...). Was it copied here? Remove it and store the teacher's outputs again."
            )
        said = (card.get("seed"), card.get("epoch"), card.get("first"))
        if said != (key.seed, key.epoch, span.start):
            raise CheckpointError(
                f"{self.file} holds seed {said[0]}, epoch {said[1]} from row {said[2]} on, and its name says "
                f"seed {key.seed}, epoch {key.epoch} from row {span.start} on. Was it renamed? {AGAIN}"
            )
        self._card = card
        self._maps = {
            name: self._mapped(header, name, kind, (len(span), *shape), start)
            for name, (kind, shape) in contents.tensors().items()
        }

    def verify(self) -> None:
        """Compare the checksum.

        Raises:
            CheckpointError: the file was changed or damaged.
        """
        digest = _begun({key: value for key, value in self._card.items() if key != "sha256"})
        for name in sorted(self._maps):
            _add(digest, name, self._maps[name].reshape(-1).view(np.uint8).data)
        if digest.hexdigest() != self._card.get("sha256"):
            raise CheckpointError(
                f"{self.file} is damaged: its checksum is {digest.hexdigest()[:12]}..., written was "
                f"{str(self._card.get('sha256'))[:12]}... {AGAIN}"
            )

    @property
    def index(self) -> np.ndarray[Any, Any]:
        """Which image each row is of, shape (rows,), int32."""
        return self._maps["index"]

    def rows(self, at: np.ndarray[Any, Any], names: Iterable[str]) -> dict[str, Tensor]:
        """Some rows of some tensors.

        Args:
            at: positions in the shard, in any order.
            names: of the tensors.

        Returns:
            By name; numbers with a fraction come as float32, classes as int64.
        """
        found = {}
        for name in names:
            value = torch.from_numpy(np.asarray(self._maps[name][at]))
            kind = self._contents.tensors()[name][0]
            if kind == "bfloat16":
                value = value.view(torch.bfloat16)
            found[name] = value.long() if kind.startswith("int") else value.float()
        return found

    def _mapped(
        self, header: Mapping[str, Any], name: str, kind: str, shape: tuple[int, ...], start: int
    ) -> np.ndarray[Any, Any]:
        about = header.get(name)
        if not isinstance(about, dict) or (about.get("dtype"), about.get("shape")) != (_NAMES[kind], list(shape)):
            has = f"{about.get('dtype')} {about.get('shape')}" if isinstance(about, dict) else "absent"
            raise CheckpointError(
                f"{self.file} is damaged: '{name}' is {has}, the store has {_NAMES[kind]} {list(shape)}. {AGAIN}"
            )
        try:
            return np.memmap(self.file, _NUMPY[_NAMES[kind]], "r", start + about["data_offsets"][0], shape)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise CheckpointError(f"{self.file} is damaged: cut short ({error}). {AGAIN}") from error


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where the numbers begin."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            text = stream.read(min(length, 10_000_000))
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is missing. {AGAIN}") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {file}: {error.strerror or error}.") from error
    try:
        header = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{file} is damaged: its header cannot be read ({error}). {AGAIN}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{file} is damaged: its header is no table. {AGAIN}")
    return header, 8 + length


def _card(header: Mapping[str, Any], file: Path) -> dict[str, Any]:
    metadata = header.get("__metadata__")
    try:
        card = json.loads(metadata["limbeck"])  # type: ignore[index]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} is no shard of a store: it has no card ({error!r}). {AGAIN}") from error
    if not isinstance(card, dict):
        raise CheckpointError(f"{file} is damaged: its card is no table. {AGAIN}")
    return card


def _begun(card: Mapping[str, Any]) -> Any:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode())


def _add(digest: Any, name: str, content: memoryview) -> None:
    digest.update(f"{name} {len(content)}\n".encode())
    digest.update(content)
