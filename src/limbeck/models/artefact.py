"""A trained model as one safetensors file that rebuilds itself: weights, spec, data facts and a checksum.

The metadata key `limbeck` holds a JSON card. Its checksum covers the card, the table of tensors and every byte of
the weights, so a file that was cut short or changed is refused. Nothing in a file is ever executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from limbeck.errors import CheckpointError, InputError, ModelError
from limbeck.files import atomic_write
from limbeck.models.building import build
from limbeck.models.data_config import DataConfig

FORMAT = 1
FILE_NAME = "model.safetensors"
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def save(
    model: nn.Module,
    path: str | Path,
    *,
    spec: Mapping[str, Any],
    data: DataConfig,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write a model into one file, whole or not at all.

    Args:
        model: its parameters and buffers are written.
        path: its folder exists.
        spec: name and settings that `build` makes the same network from.
        data: what the model expects of its input.
        notes: anything worth keeping, as JSON.

    Raises:
        ModelError: the model holds a state that is no tensor, or a spec or notes that are no JSON.
        StorageError: the disk is full or broke.

    Example:
        >>> import tempfile
        >>> net = build("resnet8", num_classes=2, in_channels=1)
        >>> file = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> data = DataConfig(input_shape=(1, 8, 8), mean=(0.3,), std=(0.4,), class_names=("cat", "dog"))
        >>> save(net, file, spec=net.limbeck_spec, data=data)
        >>> load(file).limbeck_data.class_names
        ('cat', 'dog')
    """
    card = {"format": FORMAT, "spec": dict(spec), "data": data.to_dict(), "notes": dict(notes or {})}
    try:
        # Through JSON once, so that the checksum is over what a reader will see.
        card = json.loads(json.dumps(card, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ModelError(f"saving {path}: spec and notes have to be plain JSON values ({error}).") from error
    tensors = plain_tensors(model)
    table, body = _split(safetensors.torch.save(tensors), Path(path))
    card["sha256"] = _digest(card, table, body)
    atomic_write(Path(path), safetensors.torch.save(tensors, {"limbeck": json.dumps(card)}))


def load(path: str | Path, *, device: str = "cpu", into: nn.Module | None = None) -> nn.Module:
    """Rebuild a model from its file, in eval mode, with `limbeck_spec` and `limbeck_data`.

    Args:
        path: a model file, or the folder of a stage or of a run that holds exactly one.
        device: where the model goes.
        into: take this network instead of building one, for models whose class is not to be imported by name.

    Raises:
        CheckpointError: not a model of ours, damaged, of a newer format, a pickle, or made from code that may
            not be imported.
        ModelError: the network that the file names cannot be built here.
    """
    file = find(Path(path))
    content = _read(file)
    card = _card(content, file)
    _verify(card, content, file)
    if into is None and holds_flow(card):
        raise CheckpointError(f"{file} holds a flow, no classifier: limbeck.load or limbeck.flow.load reads it.")
    if into is None and holds_detector(card):
        raise CheckpointError(
            f"{file} holds a detector, no classifier: limbeck.load or limbeck.models.detectors.load reads it."
        )
    model = _rebuilt(card, file) if into is None else into
    _fill(model, safetensors.torch.load(content), file)
    model.limbeck_spec = dict(card["spec"])  # type: ignore[assignment]
    model.limbeck_data = DataConfig.from_dict(card["data"])  # type: ignore[assignment]
    return model.to(device).eval()


def read_card(path: str | Path) -> dict[str, Any]:
    """What a model file says about itself: format, spec, data, notes, sha256. The weights are not read.

    Raises:
        CheckpointError: not a model of ours.
    """
    file = find(Path(path))
    try:
        with file.open("rb") as stream:
            start = stream.read(8)
            length = int.from_bytes(start, "little")
            content = start + stream.read(min(length, 100_000_000))
    except OSError as error:
        raise CheckpointError(f"cannot read {file}: {error.strerror or error}.") from error
    return _card(content, file)


def holds_flow(card: Mapping[str, Any]) -> bool:
    """Whether a file's card is that of a flow, which `limbeck.flow` reads, rather than of a classifier."""
    notes = card.get("notes")
    return isinstance(notes, Mapping) and "flow" in notes


def holds_detector(card: Mapping[str, Any]) -> bool:
    """Whether a file's card is that of a detector, which `limbeck.models.detectors` reads."""
    notes = card.get("notes")
    return isinstance(notes, Mapping) and "detector" in notes


def find(path: Path) -> Path:
    """The one model file that a path stands for.

    Raises:
        CheckpointError: none, or several.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise CheckpointError(f"there is no model at {path}: no such file or folder.")
    if (path / FILE_NAME).is_file():
        return path / FILE_NAME
    found = sorted({*path.glob(f"*/{FILE_NAME}"), *path.glob(f"*/trials/*/{FILE_NAME}")})
    found = [file for file in found if ".old-" not in file.relative_to(path).as_posix()]  # kept aside by --fresh
    if len(found) == 1:
        return found[0]
    if not found:
        raise CheckpointError(
            f"{path} holds no {FILE_NAME}, neither itself nor in a stage's folder. Was its stage finished?"
        )
    listed = ", ".join(str(f.parent.relative_to(path)) for f in found[:6]) + (", ..." if len(found) > 6 else "")
    raise CheckpointError(f"{path} holds {len(found)} models ({listed}); give the folder of one of them.")


def plain_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers as contiguous CPU tensors that share no memory.

    Raises:
        ModelError: a state that is no tensor.
    """
    state = model.state_dict()
    other = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if other:
        raise ModelError(
            f"{type(model).__name__} keeps a state that is no tensor ('{other[0]}', a "
            f"{type(state[other[0]]).__name__}), which a safetensors file cannot hold."
        )
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {file}: {error.strerror or error}.") from error


def _split(content: bytes, file: Path) -> tuple[dict[str, Any], memoryview]:
    """The header and the weights of a safetensors file."""
    if content[8:9] != b"{":
        if content.startswith(_PICKLES):
            raise CheckpointError(
                f"{file} is a pickle (torch.save), which can run any code when it is opened; Limbeck does not "
                "open it. Load it yourself with torch.load(..., weights_only=True) and write it with "
                "limbeck.models.save."
            )
        raise CheckpointError(f"{file} is not a safetensors file ({len(content):,} bytes).")
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 + length:
        raise CheckpointError(
            f"{file} is cut short: its header has {length:,} bytes, the whole file {len(content):,}. "
            "Copy it again, or train the stage again."
        )
    try:
        header = json.loads(content[8 : 8 + length])
    except ValueError as error:
        raise CheckpointError(f"{file} is damaged: its header cannot be read ({error}).") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{file} is damaged: its header is no table.")
    return header, memoryview(content)[8 + length :]


def _card(content: bytes, file: Path) -> dict[str, Any]:
    header, _ = _split(content, file)
    metadata = header.get("__metadata__")
    text = metadata.get("limbeck") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(
            f"{file} is a safetensors file, but not a model of Limbeck's: nothing in it says how to rebuild the "
            "network. Build the network, read the weights with safetensors.torch.load_file, and write it with "
            "limbeck.models.save."
        )
    try:
        card = json.loads(text)
        version = card["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file} is damaged: its card cannot be read ({error!r}).") from error
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(
            f"{file} has model format {version!r}; this Limbeck reads up to {FORMAT}. Install a newer Limbeck."
        )
    return dict(card)


def _verify(card: Mapping[str, Any], content: bytes, file: Path) -> None:
    header, body = _split(content, file)
    found = _digest(card, header, body)
    if found != card.get("sha256"):
        raise CheckpointError(
            f"{file} is damaged: its checksum is {found[:12]}..., written was {str(card.get('sha256'))[:12]}... "
            f"({len(content):,} bytes; cut short or changed). Copy it again, or train the stage again."
        )
    if not isinstance(card.get("spec"), dict) or "name" not in card["spec"] or "data" not in card:
        raise CheckpointError(f"{file} is incomplete: its card lacks spec or data.")


def _digest(card: Mapping[str, Any], table: Mapping[str, Any], body: memoryview) -> str:
    said = {key: value for key, value in card.items() if key != "sha256"}
    tensors = {key: value for key, value in table.items() if key != "__metadata__"}
    digest = hashlib.sha256(json.dumps([said, tensors], sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()


def _rebuilt(card: Mapping[str, Any], file: Path) -> nn.Module:
    settings = dict(card["spec"])
    name = settings.pop("name")
    if settings.get("pretrained"):
        settings["pretrained"] = False  # the file has the weights; nothing is to be fetched
    try:
        return build(name, **settings)
    except ModelError as error:
        raise ModelError(
            f"{file}: {error} If the network needs arguments that the file does not have, build it yourself: "
            "limbeck.load(path, into=network)."
        ) from error
    except InputError as error:
        raise CheckpointError(
            f"{file} is rebuilt by '{name}': {error} In Python: with limbeck.registry.imports_allowed(): ..., "
            "or build the network yourself: limbeck.load(path, into=network)."
        ) from error


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], file: Path) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]]
        raise CheckpointError(
            f"{file} does not fit {type(model).__name__}: {' '.join(lines)} "
            "Was the network's code changed since, or another one given?"
        ) from error
