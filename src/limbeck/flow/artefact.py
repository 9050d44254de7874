"""A trained flow as one safetensors file that rebuilds itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from limbeck.errors import CheckpointError
from limbeck.flow.velocity import Flow
from limbeck.models import DataConfig, artefact
from limbeck.models.velocity import build_velocity_network
from limbeck.specs import Spec

FILE = artefact.FILE_NAME


def save(
    flow: Flow, path: str | Path, *, class_names: tuple[str, ...] = (), notes: Mapping[str, Any] | None = None
) -> None:
    """Write a flow, whole or not at all.

    Args:
        flow: whose network was built by name.
        path: of the file; its folder exists.
        class_names: in the order of the labels.
        notes: anything worth keeping, as JSON.
    """
    spec = getattr(flow.network, "limbeck_spec", None)
    if spec is None:
        raise CheckpointError(
            "this flow's network does not know how it was built; make it with "
            "limbeck.models.velocity.build_velocity_network(name, ...)."
        )
    channels = flow.image_shape[0]
    data = DataConfig(flow.image_shape, (0.5,) * channels, (0.5,) * channels, class_names)
    artefact.save(flow.network, path, spec=spec, data=data, notes={"flow": flow.facts(), **(notes or {})})


def load(path: str | Path, *, device: str | torch.device = "cpu") -> Flow:
    """Rebuild a flow, in eval mode; `flow.class_names` and `flow.notes` come with it.

    Args:
        path: a model file, or the folder of a stage or of a run that holds exactly one.
        device: where it goes.

    Raises:
        CheckpointError: not a flow of ours, damaged, or of a newer format.
        ModelError: its network cannot be built here.
    """
    card = artefact.read_card(path)
    facts = dict(card.get("notes", {})).get("flow")
    if not isinstance(facts, dict):
        raise CheckpointError(
            f"{path} holds a model, but no flow: nothing in it says what its output means. Is it a classifier?"
        )
    spec = dict(card["spec"])
    network = build_velocity_network(
        str(spec.pop("name")),
        image_shape=tuple(spec.pop("image_shape")),
        classes=int(spec.pop("classes", 0)),
        **{key: tuple(value) if isinstance(value, list) else value for key, value in spec.items()},
    )
    artefact.load(path, into=network)
    flow = Flow(
        network,
        Spec(**facts["parameterisation"]),
        image_shape=tuple(facts["image_shape"]),
        classes=facts["classes"],
        predicts=facts["predicts"],
        rounds=facts["rounds"],
        trained=tuple(facts["trained"]),
    )
    flow.class_names = tuple(card["data"]["class_names"])
    flow.notes = dict(card["notes"])
    return flow.to(device).eval()


def fingerprint(flow: Flow) -> str:
    """Digest of a flow's weights and meaning: the same flow has the same, wherever it lies."""
    digest = hashlib.sha256(repr(sorted(flow.facts().items())).encode())
    for name, value in sorted(flow.network.state_dict().items()):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
