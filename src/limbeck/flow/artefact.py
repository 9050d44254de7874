"""A trained flow as one safetensors file that rebuilds itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

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


def load(path: str | Path, *, device: str | torch.device = "cpu", into: nn.Module | None = None) -> Flow:
    """Rebuild a flow, in eval mode; `flow.class_names` and `flow.notes` come with it.

    Args:
        path: a model file, or the folder of a stage or of a run that holds exactly one.
        device: where it goes.
        into: take this network instead of building one, for networks whose class is not to be imported by name.

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
    network = network_of(card["spec"]) if into is None else into
    artefact.load(path, into=network)
    flow = flow_of(network, facts)
    flow.class_names = tuple(card["data"]["class_names"])
    flow.notes = dict(card["notes"])
    return flow.to(device).eval()


def network_of(spec: Mapping[str, Any]) -> nn.Module:
    """A network with fresh weights from the spec that a file keeps.

    Raises:
        ModelError: it cannot be built here.
    """
    settings = dict(spec)
    return build_velocity_network(
        str(settings.pop("name")),
        image_shape=tuple(settings.pop("image_shape")),
        classes=int(settings.pop("classes", 0)),
        **{key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()},
    )


def flow_of(network: nn.Module, facts: Mapping[str, Any]) -> Flow:
    """A flow of a network, from what `Flow.facts` said of it."""
    return Flow(
        network,
        Spec(**facts["parameterisation"]),
        image_shape=tuple(facts["image_shape"]),
        classes=facts["classes"],
        predicts=facts["predicts"],
        rounds=facts["rounds"],
        trained=tuple(facts["trained"]),
    )


def fingerprint(flow: Flow) -> str:
    """Digest of a flow's weights and meaning: the same flow has the same, wherever it lies."""
    digest = hashlib.sha256(repr(sorted(flow.facts().items())).encode())
    for name, value in sorted(flow.network.state_dict().items()):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
