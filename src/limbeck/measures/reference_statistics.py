"""Means and covariances of reference features in files, others' and our own."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.files import atomic_write
from limbeck.measures.frechet import Moments


def read_statistics(file: Path) -> tuple[Tensor, Tensor]:
    """Mean and covariance of reference features.

    Args:
        file: `.npz` with the arrays `mu` and `sigma`, as EDM and most implementations of the FID publish them, or
            `.safetensors` as `write_statistics` writes it. Nothing is unpickled.

    Returns:
        Mean (d,) and covariance (d, d), float64.

    Raises:
        ConfigError: no such file, or another kind of file.
        DataError: a damaged file, arrays missing, of wrong shapes, or not finite.
    """
    file = Path(file)
    if not file.is_file():
        raise ConfigError(
            f"no reference statistics at {file}; expected an .npz with mu and sigma, or .safetensors."
        )
    if file.suffix not in (".npz", ".safetensors"):
        raise ConfigError(
            f"cannot read reference statistics from {file}: expected an .npz with mu and sigma, or .safetensors "
            "of limbeck.measures.write_statistics. Pickles are not opened."
        )
    found = _from_npz(file) if file.suffix == ".npz" else _from_safetensors(file)
    mean, covariance = found["mu"].double(), found["sigma"].double()
    width = mean.numel()
    if mean.dim() != 1 or tuple(covariance.shape) != (width, width):
        raise DataError(
            f"{file}: expected mu (d,) and sigma (d, d), got {tuple(mean.shape)} and {tuple(covariance.shape)}."
        )
    if not (torch.isfinite(mean).all() and torch.isfinite(covariance).all()):
        raise DataError(f"{file} holds infinite or undefined numbers.")
    return mean, covariance


def write_statistics(file: Path, moments: Moments, *, note: str = "") -> None:
    """Write the moments of reference features.

    Args:
        file: to be written, `.safetensors`; its folder exists.
        moments: of the features.
        note: what they are of (data, network, resizing); kept in the file's header.

    Raises:
        ConfigError: another suffix.
        DataError: fewer than two samples.
        StorageError: the disk is full or broke.

    Example:
        >>> import tempfile
        >>> gathered = Moments()
        >>> gathered.update(torch.tensor([[0.0, 0.0], [2.0, 4.0]]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_statistics(Path(folder) / "two.safetensors", gathered)
        ...     mean, covariance = read_statistics(Path(folder) / "two.safetensors")
        >>> mean.tolist()
        [1.0, 2.0]
    """
    import safetensors.torch

    file = Path(file)
    if file.suffix != ".safetensors":
        raise ConfigError(f"reference statistics are written as .safetensors, not to {file}.")
    tensors = {"mu": moments.mean.cpu().contiguous(), "sigma": moments.covariance.cpu().contiguous()}
    card = {"limbeck": json.dumps({"count": moments.count, "note": note})}
    atomic_write(file, safetensors.torch.save(tensors, card))


def _from_npz(file: Path) -> dict[str, Tensor]:
    try:
        arrays = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            arrays = {"one array without a name": arrays}
        # A foreign file may hold more than is needed here, of types that torch does not know.
        wanted = {"mu", "sigma"} & set(arrays)
        if len(wanted) < 2:
            raise DataError(_missing(file, list(arrays)))
        return {name: torch.from_numpy(arrays[name]) for name in wanted}
    except DataError:
        raise
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {file}: {error}") from error


def _missing(file: Path, found: list[str]) -> str:
    missing = [name for name in ("mu", "sigma") if name not in found]
    return f"{file} has no {' and no '.join(missing)}; it holds {', '.join(found) or 'nothing'}."


def _from_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: dict[str, Tensor] = load_file(file)
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    if not {"mu", "sigma"} <= set(found):
        raise DataError(_missing(file, list(found)))
    return found
