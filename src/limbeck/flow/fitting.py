"""Training a flow with the engine's loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from limbeck.engine import FitResult, Machine, fit
from limbeck.engine._registry import OPTIMIZERS, SCHEDULES
from limbeck.flow._registry import METHODS, OBJECTIVES, TIMES
from limbeck.flow.config import FlowTraining
from limbeck.flow.methods._base import Ground, Method, student_of
from limbeck.flow.objectives import Chord, Distance
from limbeck.flow.task import FlowTask
from limbeck.flow.velocity import Flow
from limbeck.protocols import Records, Stream
from limbeck.specs import Spec


@dataclass(frozen=True)
class Fitted:
    """A trained flow.

    Attributes:
        flow: with the averaged weights, in eval mode.
        fit: what the loop did.
        averages: decay -> the flow's weights under that average.
        passes: forward passes of networks in training, for all images; backward passes are not counted.
    """

    flow: Flow
    fit: FitResult
    averages: dict[float, dict[str, Tensor]]
    passes: int


def method_of(
    spec: Spec,
    *,
    student: Flow,
    teacher: Flow | None,
    times: Spec,
    objective: Spec,
    distance: Distance | None,
    steps: int,
    world: int,
) -> Method:
    """A method with all it works with."""
    found: Method = METHODS[spec.name](
        Ground(
            student=student,
            teacher=teacher,
            times=partial(TIMES[times.name], **times.settings),
            objective=_objective(objective),
            distance=distance,
            steps=steps,
            world=world,
        ),
        **spec.settings,
    )
    return found


def _objective(spec: Spec) -> Callable[[Chord, Tensor, Distance | None], Tensor]:
    return partial(OBJECTIVES[spec.name], **spec.settings)


def fit_flow(
    method: Method,
    stream: Stream,
    training: FlowTraining,
    *,
    machine: Machine,
    records: Records,
    seed: int,
    label_dropout: float = 0.0,
    title: str = "flow",
    progress: bool = False,
    steps: int | None = None,
) -> Fitted:
    """Train a method's student; goes on where it was left.

    Args:
        method: on the machine's device.
        stream: its batches.
        training: how.
        machine: where.
        records: where scalars and checkpoints go.
        seed: of all that is drawn.
        label_dropout: share of labels left out.
        title: for the progress line.
        progress: show it.
        steps: other than the training's.
    """
    task = FlowTask(
        method, label_dropout=label_dropout, accumulation=training.accumulation, epoch_batches=len(stream)
    )
    epoch_steps = math.ceil(len(stream) / training.accumulation)
    optimizer, schedule = training.optimizer, training.schedule
    count = steps if steps is not None else training.steps
    done = fit(
        task,
        stream,
        machine=machine,
        records=records,
        optimizer=partial(OPTIMIZERS[optimizer.name], **optimizer.settings),
        schedule=partial(SCHEDULES[schedule.name], **schedule.settings),
        steps=count,
        warmup_epochs=training.warmup_steps / epoch_steps,
        accumulation=training.accumulation,
        clip_norm=training.clip_norm,
        ema_decay=training.ema or None,
        ema_warm_up=training.ema_warm_up,
        compile_module=training.compile,
        seed=seed,
        checkpoint_every=training.checkpoint_every,
        log_every=training.log_every,
        title=title,
        progress=progress,
    )
    flow = student_of(method.root)
    flow.predicts = method.predicts
    passes = method.passes * count * stream.batch_size * training.accumulation
    averages = {decay: _of_network(state, method.root, flow) for decay, state in done.averages.items()}
    return Fitted(flow.eval(), done, averages, passes)


def _of_network(state: Any, root: nn.Module, flow: Flow) -> dict[str, Tensor]:
    prefix = "network." if root is flow else "student.network."
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
