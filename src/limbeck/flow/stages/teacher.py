"""The stage `flow.teacher`: a model that was trained elsewhere becomes a flow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from torch import Tensor, nn

from limbeck.errors import CheckpointError, ConfigError, ModelError
from limbeck.flow.artefact import fingerprint, save
from limbeck.flow.config import TeacherStage
from limbeck.flow.direction import require_direction
from limbeck.flow.picture import picture_of
from limbeck.flow.sampling import sample
from limbeck.flow.stages._shared import FLOW_FILE, number, open_setting
from limbeck.flow.stages.train import labels_in_turn, normals_of
from limbeck.flow.velocity import Flow
from limbeck.measures import parameters
from limbeck.models.velocity import build_velocity_network
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.specs import Spec

if TYPE_CHECKING:
    from limbeck.models.velocity.diffusers_networks import DiffusersFacts


def run_teacher(config: TeacherStage, folder: StageFolder, context: StageContext) -> None:
    """Build the network, fill it, check the direction of its time, and write it as a flow."""
    setting = open_setting(config, context, one_process=True)
    place = Path(config.weights).expanduser()
    flow = flow_of_diffusers(place, config) if place.is_dir() else flow_of_weights(place, config)
    flow = flow.to(setting.device).eval().requires_grad_(False)
    require_direction(flow)
    save(flow, folder.path / FLOW_FILE, class_names=config.class_names)
    made = sample(
        flow, normals_of(flow, setting, count=20), labels_in_turn(flow, 20, setting), evaluations=35, solver="heun"
    )
    picture = picture_of(made.x)
    if picture is not None:
        folder.write_image("samples", picture, f"Samples with {made.evaluations} network evaluations (Heun).")
    folder.write_result(
        {
            "kind": "flow",
            "model": FLOW_FILE,
            "numbers": {"parameters": number(parameters(flow.network), "count")},
            "summary": f"A teacher of {tuple(flow.image_shape)}, {flow.parameterisation.name}, trained from "
            f"t = {flow.trained[0]:.4g} to {flow.trained[1]:.5g}; fingerprint {fingerprint(flow)[:12]}.",
            "components": [f"parameterisation:{flow.parameterisation.name}"],
        }
    )


def flow_of_weights(file: Path, config: TeacherStage) -> Flow:
    """A flow from a state dict.

    Raises:
        ConfigError: network, shape or parameterisation are not said.
        CheckpointError: no such file, a pickle, or names and shapes that do not fit.
    """
    shape, parameterisation = require_described(config)
    assert config.network is not None
    network = build_velocity_network(
        config.network.name, image_shape=shape, classes=config.classes, **config.network.settings
    )
    fill(network, read_state(file), file, prefix=config.prefix)
    return Flow(
        network,
        parameterisation,
        image_shape=shape,
        classes=config.classes,
        rounds=config.rounds,
    )


def require_described(config: TeacherStage) -> tuple[tuple[int, int, int], Spec]:
    """Shape and parameterisation of a state dict, which cannot say them itself.

    Raises:
        ConfigError: network, shape or parameterisation are not said.
    """
    if config.network is None or config.parameterisation is None or config.image_shape is None:
        lacking = next(n for n in ("network", "parameterisation", "image_shape") if getattr(config, n) is None)
        raise ConfigError(
            f"{lacking}: a state dict does not say what it is of; name network, parameterisation and image_shape."
        )
    return config.image_shape, config.parameterisation


def read_state(file: Path) -> dict[str, Tensor]:
    """Tensors by name; nothing in the file is executed.

    Raises:
        CheckpointError: missing, unreadable, or holding more than tensors.
    """
    if not file.is_file():
        raise CheckpointError(f"weights: there is no file at {file}.")
    try:
        if file.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(file))
        state: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # each library has its own for a file that is not what it says
        raise CheckpointError(
            f"weights: {file} is no state dict that can be read without executing it "
            f"({type(error).__name__}). EDM's "
            ".pkl files hold whole programs: load one in a sandbox with its authors' code and write "
            "safetensors.torch.save_file(net.state_dict(), ...)."
        ) from error
    for key in ("ema", "state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"weights: {file} holds more than tensors by name.")
    return dict(state)


def fill(network: nn.Module, state: dict[str, Tensor], file: Path, *, prefix: str = "") -> None:
    """Load a state dict, strictly.

    Raises:
        CheckpointError: names or shapes that do not fit.
    """
    named = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    wanted = network.state_dict()
    missing, extra = sorted(set(wanted) - set(named)), sorted(set(named) - set(wanted))
    shapes = [n for n in wanted if n in named and wanted[n].shape != named[n].shape]
    if missing or extra or shapes:
        said = [
            f"it lacks {len(missing)} ({missing[0]}, ...)" if missing else "",
            f"it has {len(extra)} more ({extra[0]}, ...)" if extra else "",
            f"{shapes[0]} is {tuple(named[shapes[0]].shape)}, {tuple(wanted[shapes[0]].shape)} is needed"
            if shapes
            else "",
        ]
        raise CheckpointError(
            f"weights: {file} does not fit the network: {'; '.join(filter(None, said))}. Are resolution, "
            "channels, "
            "settings and prefix those that it was trained with?"
        )
    network.load_state_dict(named)


def flow_of_diffusers(folder: Path, config: TeacherStage) -> Flow:
    """A flow from a Diffusers folder; what the stage says goes before what the folder says."""
    from limbeck.models.velocity.diffusers_networks import from_folder

    size = config.image_shape[-1] if config.image_shape is not None else None
    network, facts = from_folder(folder, image_size=size)
    if config.image_shape is not None and tuple(config.image_shape) != facts.image_shape:
        raise ModelError(
            f"image_shape: {tuple(config.image_shape)} is asked for; the model in {folder} has "
            f"{facts.image_shape}."
        )
    if facts.autoencoder is not None:
        raise ModelError(
            f"{folder} holds a model of {facts.autoencoder}'s latents; decode and encode them outside, and "
            "give the "
            "folder of the U-Net or transformer alone to distil it among latents."
        )
    parameterisation = config.parameterisation or _spec_of(facts, folder)
    classes = config.classes or facts.classes
    return Flow(network, parameterisation, image_shape=facts.image_shape, classes=classes, rounds=config.rounds)


def _spec_of(facts: DiffusersFacts, folder: Path) -> Spec:
    """What a folder's scheduler says of its model's output.

    Raises:
        ConfigError: nothing, or a schedule that is not known here.
    """
    if facts.prediction_type == "flow":
        return Spec(name="velocity", time_scale=float(facts.steps or 1000))
    if facts.prediction_type is None or facts.beta_schedule not in (
        "linear",
        "scaled_linear",
        "squaredcos_cap_v2",
    ):
        raise ConfigError(
            f"parameterisation: the scheduler in {folder} ({facts.scheduler or 'none'}) does not say how "
            "its model's "
            "output becomes a velocity; say it, as {name: ddpm, predicts: epsilon} or {name: velocity, "
            "time_scale: 1000}."
        )
    return Spec(
        name="ddpm",
        schedule=facts.beta_schedule,
        beta_start=facts.beta_start,
        beta_end=facts.beta_end,
        steps=facts.steps,
        predicts=facts.prediction_type,
    )
