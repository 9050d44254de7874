"""A pipeline folder that Diffusers loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import MissingExtraError
from limbeck.files import atomic_write
from limbeck.flow.exports.card import write_flow_card
from limbeck.flow.exports.program import velocity_program, write_program
from limbeck.flow.exports.source import FlowSource, Plan, compare_images, compare_velocities, open_flow, plan_of
from limbeck.models.exports.card import checked_licence
from limbeck.models.exports.exported import Comparison, Exported
from limbeck.models.exports.staging import Target, staged
from limbeck.models.velocity.diffusers_networks import DiffusersNetwork

INDEX = "model_index.json"
_PORTABLE = Path(__file__).parent / "portable"
_SCHEDULER = "FlowMatchEulerDiscreteScheduler"
_STEPS = 1000
"""What Diffusers multiplies a flow's time by."""


def export_diffusers(
    path_in: str | Path,
    path_out: str | Path,
    *,
    evaluations: int | None = None,
    times: Sequence[float] | None = None,
    licence: str | None = None,
    repository: str | None = None,
    force: bool = False,
) -> Exported:
    """Write a folder that Diffusers loads as a pipeline, without Limbeck.

    It loads by `DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)`.
    Diffusers has no pipeline of its own that samples from an image flow without text, so the folder brings a
    `pipeline.py` of a page, which is run only where it is trusted. A network of Diffusers' own whose output is the
    velocity at time 1000 t is written by its `save_pretrained` into `unet` or `transformer` and loads without any
    foreign code; a U-Net gets one class more, the last, for no class. Any other flow goes into `velocity` as a
    program of torch.export that gives its velocity, with the `program.py` that reads it. The scheduler is
    `FlowMatchEulerDiscreteScheduler`, and nothing in the folder is a pickle.

    Args:
        path_in: a flow's file, or the folder of a stage or of a run that holds exactly one.
        path_out: a folder.
        evaluations: that the pipeline spends unless it is told otherwise; 1 unless given, or unless `times` are.
        times: where its steps begin unless it is told otherwise, falling, as in `limbeck.flow.sample`.
        licence: of the weights, for the card, e.g. `apache-2.0`.
        repository: `owner/name` that the folder is going to, for the card.
        force: replace what is there.

    Raises:
        InputError: `path_out` is named like another format.
        RunFolderError: something is there already.
        CheckpointError: there is no flow.
        ConfigError: evaluations that cannot be spent, or times that do not fall.
        ModelError: the network cannot be captured, or what was written gives other images.
        MissingExtraError: Diffusers is not installed.
    """
    diffusers = _diffusers()
    target = Target.of(path_out, INDEX, force=force, may_be_alone=False)
    licence = checked_licence(licence)
    with staged(target) as folder:
        source = open_flow(path_in)
        plan = plan_of(source.flow, evaluations, times)
        part, kind = _network(source, folder)
        _scheduler(source).save_pretrained(folder / "scheduler")
        shutil.copyfile(_PORTABLE / "pipeline.py", folder / "pipeline.py")
        index = _index(source, plan, part, kind, diffusers.__version__)
        atomic_write(folder / INDEX, json.dumps(index, indent=2) + "\n")
        compared = _compared(source, plan, folder, part, diffusers)
        write_flow_card(
            folder,
            source,
            title=target.title(repository),
            library="diffusers",
            usage=_usage(source, repository or target.title(None)),
            reads=(
                f"It spends {plan} unless `num_inference_steps` or `times` say otherwise. `output_type` is pil, "
                "np and pt as everywhere in Diffusers, or latent: the flow's own values, in [-1, 1] up to what it "
                "overshoots. `trust_remote_code` lets Diffusers run the `.py` files of this folder: read them."
            ),
            compared=compared,
            licence=licence,
        )
        files = tuple(sorted(str(f.relative_to(folder).as_posix()) for f in folder.rglob("*") if f.is_file()))
    return Exported(target.path, files, compared, _usage(source, str(target.path)))


def is_native(source: FlowSource) -> bool:
    """Whether Diffusers' own classes say it all: its network, told 1000 t, gives the velocity."""
    settings = source.flow.parameterisation.settings
    return (
        isinstance(source.flow.network, DiffusersNetwork)
        and source.flow.parameterisation.name == "velocity"
        and settings.get("direction", "data_to_noise") == "data_to_noise"
        and settings.get("time_scale", 1.0) == _STEPS
    )


def _network(source: FlowSource, folder: Path) -> tuple[str, tuple[str, str]]:
    """Write the network; the name of the part, and the library and class that read it."""
    network = source.flow.network
    if is_native(source):
        assert isinstance(network, DiffusersNetwork)
        part = "transformer" if network.is_transformer else "unet"
        model = network.model if network.is_transformer or not network.classes else _with_no_class(network)
        model.save_pretrained(folder / part, safe_serialization=True)  # type: ignore[operator]
        return part, ("diffusers", type(model).__name__)
    (folder / "velocity").mkdir()
    write_program(velocity_program(source), folder / "velocity" / "velocity.pt2", source.flow.facts())
    shutil.copyfile(_PORTABLE / "program.py", folder / "velocity" / "program.py")
    return "velocity", ("program", "VelocityProgram")


def _with_no_class(network: DiffusersNetwork) -> Any:
    """A U-Net with one class more that adds nothing, so that Diffusers' own class knows "no class"."""
    model: Any = network.model
    settings = {key: value for key, value in model.config.items() if not key.startswith("_")}
    wider = type(model)(**{**settings, "num_class_embeds": network.classes + 1})
    state = model.state_dict()
    rows = state["class_embedding.weight"]
    wider.load_state_dict({**state, "class_embedding.weight": torch.cat([rows, torch.zeros_like(rows[:1])])})
    return wider.eval()


def _scheduler(source: FlowSource) -> Any:
    kind = getattr(_diffusers(), _SCHEDULER)
    renewed = {"stochastic_sampling": True} if source.flow.predicts == "consistency" else {}
    return kind(num_train_timesteps=_STEPS, shift=1.0, **renewed)


def _index(source: FlowSource, plan: Plan, part: str, kind: tuple[str, str], version: str) -> dict[str, Any]:
    flow = source.flow
    absent: dict[str, Any] = {name: [None, None] for name in ("unet", "transformer", "velocity")}
    return {
        "_class_name": ["pipeline", "FlowPipeline"],
        "_diffusers_version": version,
        "scheduler": ["diffusers", _SCHEDULER],
        **absent,
        part: list(kind),
        "flow": {
            "image_shape": list(flow.image_shape),
            "classes": flow.classes,
            "class_names": list(flow.class_names),
            "predicts": flow.predicts,
            "begin": flow.begin,
            "times": list(plan.grid),
        },
    }


def _compared(source: FlowSource, plan: Plan, folder: Path, part: str, diffusers: Any) -> tuple[Comparison, ...]:
    """Put the pipeline together from its files, as Diffusers would, without running code from the folder."""
    from limbeck.flow.exports.portable.pipeline import FlowPipeline
    from limbeck.flow.exports.portable.program import VelocityProgram

    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    reader: Any = VelocityProgram if part == "velocity" else getattr(diffusers, index[part][1])
    scheduler = getattr(diffusers, _SCHEDULER).from_pretrained(folder / "scheduler")
    network = reader.from_pretrained(str(folder / part))
    pipeline = FlowPipeline(scheduler, **{part: network}, flow=index["flow"])
    pipeline.set_progress_bar_config(disable=True)
    name = f"Diffusers {diffusers.__version__}"

    def velocity(x: Tensor, labels: Tensor | None) -> Tensor:
        found: Tensor = pipeline._velocity(x, 0.5, 0.0, labels)
        return found

    def images(noise: Tensor, labels: Tensor | None) -> Tensor:
        found: Tensor = pipeline(len(noise), labels, latents=noise, output_type="latent", return_dict=False)[0]
        return found

    compared = compare_velocities(source, velocity, reader=name)
    if source.flow.predicts == "consistency" and plan.evaluations > 1:
        return (compared,)  # its later noises are its own
    return (compared, compare_images(source, plan, images, reader=name))


def _usage(source: FlowSource, path: str) -> str:
    labels = f", class_labels=[i % {source.flow.classes} for i in range(16)]" if source.flow.classes else ""
    return "\n".join(
        [
            "from diffusers import DiffusionPipeline",
            "",
            "pipeline = DiffusionPipeline.from_pretrained(",
            f"    {path!r}, custom_pipeline={path!r}, trust_remote_code=True",
            ")",
            f"images = pipeline(batch_size=16{labels}).images",
        ]
    )


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtraError.of("diffusers", "flow", "exporting a pipeline of Diffusers") from error
    return diffusers
