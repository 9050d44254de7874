"""Distillation in three lines of Python, with the names that recipes use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.classify.config import EmaTeacher, ModelSpec, Objective, Training
from limbeck.classify.data import Data, split_data
from limbeck.classify.fitting import fit_classifier
from limbeck.classify.methods import METHODS
from limbeck.classify.products import MODEL_FILE, write_classifier
from limbeck.classify.stages import as_teacher, build_student, components_of_objective, pretrained_teacher
from limbeck.classify.teachers import Teacher
from limbeck.classify.teaching import ONE, Teaching, reference_of, refuse_guessing
from limbeck.engine import Machine
from limbeck.engine.processes import is_main, wait_for_all
from limbeck.errors import ConfigError, DataError, ModelError
from limbeck.models import load
from limbeck.protocols import Source
from limbeck.runs.asked import folder_for
from limbeck.runs.folder import RunFolder
from limbeck.seeding import generator
from limbeck.sources import SOURCES, as_source
from limbeck.sources import build as build_source
from limbeck.sources.nesting import without_limits
from limbeck.sources.streaming import part_of
from limbeck.specs import Spec, checked

STAGE = "student"
TEST_SHARE = 0.2
"""Held out for testing where a source has no test split and none is given."""


@dataclass(frozen=True)
class Distilled:
    """What training or distilling gave.

    Attributes:
        model: the trained network in eval mode, on the device; nothing of the teacher is in it.
        folder: the run folder, with records, model file and everything that a report needs.
        numbers: accuracy, agreement with the teacher, parameters, FLOPs an image, seconds.
    """

    model: nn.Module
    folder: Path
    numbers: Mapping[str, float]

    @property
    def model_file(self) -> Path:
        """One file that `limbeck.load` rebuilds the model from."""
        return self.folder / STAGE / MODEL_FILE


def distill(
    teacher: nn.Module | str | Path | Mapping[str, Any] | Sequence[Any],
    model: nn.Module | str | Mapping[str, Any],
    source: Any,
    *,
    terms: str | Sequence[Mapping[str, Any]] | Mapping[str, Any] = "kd",
    test_source: Any = None,
    train: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str | None = None,
    weak_teacher: bool = False,
    progress: bool = False,
) -> Distilled:
    """Train a student with a teacher; a distilled model and a run folder come out.

    Args:
        teacher: a module, a model file or run folder, or a pretrained model by name ("timm/resnet50"); a list of
            these for several, named teacher1, teacher2, ...; or {"ema": 0.999} for the student's own average.
        model: the student: a module, or a name with settings as in a recipe ("resnet8x4").
        source: a name with settings as in a recipe ("digits"), a folder of images, a pair of arrays
            (images, labels), a torchvision-style data set, or a `Source`.
        terms: a published method by name, a list of terms as in a recipe, or a mapping of terms, views and head.
        test_source: what to measure on; a named source's own test split, else a fifth of the source.
        train: the training block of a recipe: epochs, batch_size, optimizer, schedule, augment, ...
        seed: of everything that is drawn.
        out: the run folder; `runs/<model>-<method>-s<seed>` unless given. An unfinished one is continued.
        device: a torch device; what is found unless given.
        weak_teacher: go on with a teacher that does no better than guessing.
        progress: show a progress bar.

    Raises:
        ConfigError: settings that do not validate, every problem at once.
        ModelError: teacher, student and data do not fit together.

    Example:
        >>> import limbeck, tempfile
        >>> budget = {"epochs": 1, "batch_size": 32}
        >>> out = tempfile.mkdtemp()
        >>> big = limbeck.train("resnet8", "digits", train=budget, out=f"{out}/big")
        >>> small = limbeck.distill(big.model, "resnet8", "digits", terms="kd", train=budget, out=f"{out}/small")
        >>> sorted(small.numbers)
        ['accuracy', 'agreement', 'flops', 'parameters', 'seconds']
    """
    with _as_it_was(teacher):
        return _run(
            "distill",
            teacher=teacher,
            model=model,
            source=source,
            terms=terms,
            test_source=test_source,
            train=train,
            seed=seed,
            out=out,
            device=device,
            weak_teacher=weak_teacher,
            progress=progress,
        )


def train(
    model: nn.Module | str | Mapping[str, Any],
    source: Any,
    *,
    test_source: Any = None,
    train: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str | None = None,
    progress: bool = False,
) -> Distilled:
    """Train a classifier on labels alone: a teacher, or the control that every claim needs.

    Arguments, errors and result are those of `distill`.
    """
    return _run(
        "train",
        teacher=None,
        model=model,
        source=source,
        terms="control",
        test_source=test_source,
        train=train,
        seed=seed,
        out=out,
        device=device,
        progress=progress,
    )


@contextmanager
def _as_it_was(teacher: Any) -> Iterator[None]:
    """A module that teaches is frozen for the time being; its owner gets it back as it was."""
    networks = [
        t for t in (teacher if isinstance(teacher, list | tuple) else [teacher]) if isinstance(t, nn.Module)
    ]
    modes = [(m, m.training) for network in networks for m in network.modules()]
    learning = [(p, p.requires_grad) for network in networks for p in network.parameters()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, wanted in learning:
            parameter.requires_grad_(wanted)


def _run(
    verb: str,
    *,
    teacher: Any,
    model: Any,
    source: Any,
    terms: Any,
    test_source: Any,
    train: Mapping[str, Any] | None,
    seed: int,
    out: str | Path | None,
    device: str | None,
    progress: bool,
    weak_teacher: bool = False,
) -> Distilled:
    objective: Objective = checked("terms", Objective, terms)
    training: Training = checked("train", Training, dict(train or {}))
    machine = Machine(device=device, precision=training.precision)
    data = _data(source, test_source, training.validation, seed)
    teaching = _teaching(teacher, data, machine) if verb == "distill" else Teaching()
    student = _student(model, data, seed)
    asked = {
        "kind": f"classify.{verb}",
        "model": _named(model),
        "source": _named(source),
        **objective.model_dump(mode="json"),
        "train": training.model_dump(mode="json"),
        "seed": seed,
        **({"teacher": _named(teacher)} if verb == "distill" else {}),
    }
    path = Path(out) if out is not None else Path("runs") / _run_name(model, terms, seed)
    prepared = folder_for(path, asked, stage=STAGE, call=f"limbeck.{verb}(...)") if is_main() else None
    wait_for_all(device)
    run = prepared or RunFolder.open(path)
    with run.lock() if is_main() else nullcontext():
        folder = run.stage(STAGE)
        if folder.finished:
            result = folder.result()
            into = model if isinstance(model, nn.Module) else None
            student = load(folder.path / MODEL_FILE, device=str(machine.device), into=into)
        else:
            if is_main():
                folder.begin(asked)
            reference = reference_of(teaching, data, machine)
            if not weak_teacher:
                refuse_guessing(teaching, reference)
            fitted = fit_classifier(
                student,
                objective,
                data=data,
                training=training,
                machine=machine,
                records=folder,
                seed=seed,
                teaching=teaching,
                reference=reference,
                title=path.name,
                progress=progress,
            )
            losses = components_of_objective(objective)
            notes = {"stage": f"classify.{verb}", "seed": seed}
            result = write_classifier(folder, fitted, data=data, machine=machine, components=losses, notes=notes)
            student = fitted.model
    return Distilled(student, path, {name: n["value"] for name, n in result["numbers"].items()})


def _data(source: Any, test_source: Any, validation: float, seed: int) -> Data:
    named = _as_spec(source)
    if named is not None and named.name in SOURCES:
        train: Source = build_source(named.name, split="train", **named.settings)
        settings = without_limits(named.settings)
        test = (
            as_source(test_source)
            if test_source is not None
            else build_source(named.name, split="test", **settings)
        )
        return split_data(train, test, validation=validation, seed=seed)
    train = as_source(source)
    if test_source is not None:
        return split_data(train, as_source(test_source), validation=validation, seed=seed)
    with suppress(DataError):  # a folder that has a test split of its own
        if isinstance(source, str | Path):
            return split_data(train, as_source(source, split="test"), validation=validation, seed=seed)
    order = torch.randperm(len(train), generator=generator(seed, "test share")).tolist()
    held = max(round(TEST_SHARE * len(train)), 1)
    return split_data(part_of(train, order[held:]), part_of(train, order[:held]), validation=validation, seed=seed)


def _teaching(teacher: Any, data: Data, machine: Machine) -> Teaching:
    if isinstance(teacher, Mapping) and set(teacher) == {"ema"}:
        return Teaching(average=checked("teacher", EmaTeacher, teacher).ema)
    if isinstance(teacher, list | tuple):
        if not teacher:
            raise ConfigError("teacher: the list is empty; give at least one.")
        return Teaching({f"teacher{i}": _teacher(one, data, machine) for i, one in enumerate(teacher, 1)})
    return Teaching({ONE: _teacher(teacher, data, machine)})


def _teacher(teacher: Any, data: Data, machine: Machine) -> Teacher:
    if isinstance(teacher, nn.Module):
        return as_teacher(teacher, data, machine)
    if isinstance(teacher, str | Path) and Path(teacher).exists():
        return as_teacher(load(Path(teacher)), data, machine)
    if not isinstance(teacher, Mapping) and "/" not in str(teacher):
        raise ModelError(
            f"teacher '{teacher}': there is no such file, and a network of that name without weights has "
            "nothing to teach. Train it first (limbeck.train), or give a model file or a pretrained name."
        )
    named = dict(teacher) if isinstance(teacher, Mapping) else {"name": str(teacher)}
    return pretrained_teacher(checked("teacher", ModelSpec, {"pretrained": True, **named}), data, machine)


def _student(model: Any, data: Data, seed: int) -> nn.Module:
    if isinstance(model, nn.Module):
        return model
    return build_student(checked("model", ModelSpec, model), data, seed=seed)


def _as_spec(value: Any) -> Spec | None:
    if isinstance(value, str):
        return Spec(name=value)
    return Spec(**value) if isinstance(value, Mapping) and "name" in value else None


def _named(value: Any) -> Any:
    if isinstance(value, str | Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_named(one) for one in value]
    if isinstance(value, Mapping):
        return dict(value)
    spec = getattr(value, "limbeck_spec", None)
    return spec if spec is not None else f"python object {type(value).__qualname__}"


def _run_name(model: Any, terms: Any, seed: int) -> str:
    spec = None if isinstance(model, nn.Module) else _as_spec(model)
    name = (spec.name if spec is not None else type(model).__name__).replace("/", "-")
    method = terms if isinstance(terms, str) and terms in METHODS else "custom"
    return f"{name}-{method}-s{seed}"
