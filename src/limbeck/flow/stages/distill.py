"""The stage `flow.distill`: a sampler of few steps from a teacher's pairs."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from limbeck.errors import ModelError
from limbeck.flow.artefact import fingerprint
from limbeck.flow.config import DistillStage, FlowTraining, Learning
from limbeck.flow.data import DataStream
from limbeck.flow.fitting import Fitted, fit_flow, method_of
from limbeck.flow.methods._base import Method
from limbeck.flow.pairs import Pairs, PairStream
from limbeck.flow.perception import FeatureDistance
from limbeck.flow.stages._shared import Setting, open_setting
from limbeck.flow.stages.train import write_flow
from limbeck.flow.velocity import Flow
from limbeck.models.velocity import build_velocity_network
from limbeck.protocols import Records, StageContext, Stream
from limbeck.runs.folder import StageFolder
from limbeck.seeding import derive, seed_everything
from limbeck.specs import Spec


@dataclass(frozen=True)
class Lessons:
    """What students learn from.

    Attributes:
        teacher: the flow that made the pairs.
        pairs: or None, for methods that learn from data alone.
        real: inverted pairs, or None.
        distance: a perceptual one, or None.
    """

    teacher: Flow
    pairs: Pairs | None
    real: Pairs | None
    distance: FeatureDistance | None


def run_distill(config: DistillStage, folder: StageFolder, context: StageContext) -> None:
    """Train the student, resuming where it was left."""
    setting = open_setting(config, context)
    lessons = lessons_of(setting, config, config.teacher, config.pairs, config.real_pairs, config.features)
    fitted = learn(
        setting,
        config,
        lessons,
        config.train,
        records=folder,
        seed=setting.seed,
        title=folder.name,
        network=config.network,
        begin=setting.flow(config.begin) if config.begin is not None else None,
    )
    if setting.machine.main:
        teacher = lessons.teacher
        write_flow(
            folder,
            fitted,
            setting,
            None,
            components=components_of(config),
            evaluations=1,
            notes={"teacher": fingerprint(teacher)},
            class_names=teacher.class_names,
        )


def lessons_of(
    setting: Setting, learning: Learning, teacher: str, pairs: str | None, real: str | None, features: str | None
) -> Lessons:
    """What a stage refers to, checked against its teacher.

    Raises:
        CheckpointError: pairs of another teacher.
        ModelError: pairs of other images.
    """
    flow = setting.flow(teacher)
    opened = [None if name is None else setting.pairs(name) for name in (pairs, real)]
    for found in opened:
        if found is not None:
            found.require_teacher(fingerprint(flow), name=teacher)
            if tuple(found.manifest.image_shape) != tuple(flow.image_shape):
                raise ModelError(
                    f"the pairs have images of {found.manifest.image_shape}, the teacher {flow.image_shape}."
                )
    return Lessons(flow, opened[0], opened[1], setting.distance(learning.distance, features))


def components_of(learning: Learning) -> set[str]:
    """What a student was made with, for citations."""
    found = {
        f"few-step method:{learning.method.name}",
        f"time distribution:{learning.times.name}",
        f"flow objective:{learning.objective.name}",
    }
    return found | ({f"perceptual distance:{learning.distance.name}"} if learning.distance is not None else set())


def learn(
    setting: Setting,
    learning: Learning,
    lessons: Lessons,
    training: FlowTraining,
    *,
    records: Records,
    seed: int,
    title: str,
    network: Spec | None = None,
    begin: Flow | None = None,
    passes: int | None = None,
) -> Fitted:
    """Train one student.

    Args:
        setting: machine and data.
        learning: its choices.
        lessons: what it learns from.
        training: how.
        records: of this student.
        seed: of its weights and of all that is drawn.
        title: for the progress line.
        network: another one than the teacher's.
        begin: the flow whose weights it begins with, instead of the teacher's.
        passes: take as many steps as so many forward passes pay for, instead of the training's.
    """
    build = partial(build_method, setting, learning, lessons, training, seed=seed, network=network, begin=begin)
    method = build()
    stream = _stream(setting, learning, lessons, training, seed=seed)
    steps = None
    if passes is not None:
        steps = max(1, passes // (method.passes * training.batch_size * training.accumulation))
    if steps is not None:
        method = build(steps=steps)
    return fit_flow(
        method,
        stream,
        training,
        machine=setting.machine,
        records=records,
        seed=derive(seed, "training"),
        label_dropout=learning.guidance_dropout,
        title=title,
        progress=setting.context.progress,
        steps=steps,
    )


def build_method(
    setting: Setting,
    learning: Learning,
    lessons: Lessons,
    training: FlowTraining,
    *,
    seed: int,
    network: Spec | None = None,
    begin: Flow | None = None,
    steps: int | None = None,
) -> Method:
    """The method with a student of its own."""
    student = student_of_teacher(
        lessons.teacher,
        seed=seed,
        fresh=learning.initialise == "random",
        dropout=learning.dropout,
        interval=learning.method.name == "mean_flow",
        network=network,
        begin=begin,
    ).to(setting.device)
    return method_of(
        learning.method,
        student=student,
        teacher=copy.deepcopy(lessons.teacher),
        times=learning.times,
        objective=learning.objective,
        distance=lessons.distance if learning.distance is not None else None,
        steps=steps if steps is not None else training.steps,
        world=setting.machine.world,
    )


def student_of_teacher(
    teacher: Flow,
    *,
    seed: int,
    fresh: bool,
    dropout: float | None,
    interval: bool,
    network: Spec | None = None,
    begin: Flow | None = None,
) -> Flow:
    """A flow with the teacher's meaning, trainable, that sees all times.

    Raises:
        ModelError: the teacher's network cannot have a dropout or an interval, or the flow to begin with means
            something else by its output.
    """
    if begin is not None and begin.parameterisation != teacher.parameterisation:
        raise ModelError(
            f"begin: its network gives {begin.parameterisation.name}, the teacher's "
            f"{teacher.parameterisation.name} (or with other settings), so its weights would mean something else "
            "in the student."
        )
    spec = dict(getattr(teacher.network, "limbeck_spec", {}))
    if network is not None:
        spec = {"name": network.name, **network.settings}
    changes: dict[str, object] = {}
    if dropout is not None:
        changes["dropout"] = dropout
    if interval:
        changes["interval"] = True
    name = str(spec.pop("name"))
    for key in ("image_shape", "classes"):
        spec.pop(key, None)
    spec = {key: tuple(value) if isinstance(value, list) else value for key, value in spec.items()}
    seed_everything(seed, "student")
    built = build_velocity_network(
        name, image_shape=teacher.image_shape, classes=teacher.classes, **{**spec, **changes}
    )
    if not fresh:
        _begin_with(built, (begin or teacher).network)
    rounds = 1 if teacher.rounds is None else teacher.rounds + 1
    student = teacher.like(built, rounds=rounds, trained=(1e-5, 1 - 1e-5), predicts="velocity")
    return student.train().requires_grad_(True)


def _begin_with(student: nn.Module, teacher: nn.Module) -> None:
    """The teacher's weights; what it lacks, as the layers of an interval, keeps its zeros."""
    found = student.load_state_dict(teacher.state_dict(), strict=False)
    foreign = [name for name in found.missing_keys if "interval" not in name] + list(found.unexpected_keys)
    if foreign:
        raise ModelError(f"the student cannot begin with the teacher's weights: '{foreign[0]}' is not in both.")


def _stream(
    setting: Setting, learning: Learning, lessons: Lessons, training: FlowTraining, *, seed: int
) -> Stream:
    machine = setting.machine
    given: dict[str, Any] = {
        "batch_size": training.batch_size,
        "seed": derive(seed, "order"),
        "rank": machine.rank,
        "world": machine.world,
    }
    if learning.on_data:
        return DataStream(setting.data, labelled=lessons.teacher.classes > 0, **given)
    assert lessons.pairs is not None
    return PairStream(
        lessons.pairs, real=lessons.real, real_share=learning.real_share, device=setting.device, **given
    )
