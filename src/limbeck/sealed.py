"""Tensors with a card and a checksum in one safetensors file, read through memory maps.

The metadata key `limbeck` holds a JSON card; its `sha256` covers the rest of the card and every tensor. Nothing
in a
file is ever executed, and a file that was cut short or changed is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from limbeck.errors import CheckpointError
from limbeck.files import atomic_write

_KINDS: Mapping[str, Any] = {
    "U8": np.uint8,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "I32": np.int32,
    "I64": np.int64,
}


def write_sealed(path: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write tensors and what is to be known of them, whole or not at all.

    Args:
        path: its folder exists.
        tensors: by name; of the kinds uint8, float16, float32, float64, int32, int64.
        card: plain JSON values; `sha256` is added.

    Raises:
        StorageError: the disk is full or broke.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    said = json.loads(json.dumps(dict(card), allow_nan=False))
    sums = {name: value.reshape(-1).view(torch.uint8).numpy() for name, value in plain.items()}
    said["sha256"] = _digest(said, sums)
    atomic_write(path, safetensors.torch.save(plain, {"limbeck": json.dumps(said)}))


class Sealed:
    """An open file.

    Args:
        path: of it.
        again: what to do about a damaged one, as a sentence.

    Raises:
        CheckpointError: missing, cut short, or not one of ours.
    """

    def __init__(self, path: Path, *, again: str) -> None:
        self.path, self._again = path, again
        header, start = self._header()
        whole = self._mapped()
        try:
            card = json.loads(header["__metadata__"]["limbeck"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is not one of Limbeck's files: it has no card. {again}") from error
        self.card: dict[str, Any] = dict(card)
        self.tensors = {
            name: self._part(whole, name, about, start) for name, about in header.items() if name != "__metadata__"
        }

    def verify(self) -> None:
        """Compare the checksum.

        Raises:
            CheckpointError: the file was changed.
        """
        said = {key: value for key, value in self.card.items() if key != "sha256"}
        found = _digest(said, {name: value.reshape(-1).view(np.uint8) for name, value in self.tensors.items()})
        if found != self.card.get("sha256"):
            raise CheckpointError(
                f"{self.path} is damaged: its checksum is {found[:12]}..., written was "
                f"{str(self.card.get('sha256'))[:12]}... {self._again}"
            )

    def rows(self, name: str, at: Any) -> Tensor:
        """Some rows of a tensor, copied out of the map.

        Args:
            name: of the tensor.
            at: an index or slice as NumPy takes it.
        """
        return torch.from_numpy(np.array(self.tensors[name][at]))

    def _header(self) -> tuple[dict[str, Any], int]:
        try:
            with self.path.open("rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                text = stream.read(min(length, 10_000_000))
        except FileNotFoundError as error:
            raise CheckpointError(f"{self.path} is missing. {self._again}") from error
        except OSError as error:
            raise CheckpointError(f"cannot read {self.path}: {error.strerror or error}.") from error
        try:
            header = json.loads(text)
        except ValueError as error:
            raise CheckpointError(f"{self.path} is damaged: its header cannot be read. {self._again}") from error
        if not isinstance(header, dict):
            raise CheckpointError(f"{self.path} is damaged: its header is no table. {self._again}")
        return header, 8 + length

    def _mapped(self) -> np.ndarray[Any, Any]:
        """The whole file. NumPy's maps keep it open, and a store of many files would run out of descriptors."""
        size = self.path.stat().st_size
        mapped: Tensor = torch.from_file(str(self.path), size=size, dtype=torch.uint8)
        whole: np.ndarray[Any, Any] = mapped.numpy()
        whole.flags.writeable = False
        return whole

    def _part(self, whole: np.ndarray[Any, Any], name: str, about: Any, start: int) -> np.ndarray[Any, Any]:
        try:
            kind, shape = _KINDS[about["dtype"]], tuple(about["shape"])
            if 0 in shape:
                return np.zeros(shape, kind)
            first, last = (start + place for place in about["data_offsets"])
            part: np.ndarray[Any, Any] = whole[first:last].view(kind).reshape(shape)
            return part
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{self.path} is cut short or damaged at '{name}' ({error}). {self._again}"
            ) from error


def _digest(card: Mapping[str, Any], contents: Mapping[str, np.ndarray[Any, Any]]) -> str:
    digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name in sorted(contents):
        digest.update(f"{name} {contents[name].size}\n".encode())
        digest.update(np.ascontiguousarray(contents[name]).data)
    return digest.hexdigest()
