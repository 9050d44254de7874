"""Distillation in three lines of Python, with the names that recipes use."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from limbeck.classify.config import ModelSpec, Terms, Training
from limbeck.classify.data import TRAIN_ONLY, Data, split_data
from limbeck.classify.fitting import fit_classifier, teacher_guesses
from limbeck.classify.methods import METHODS
from limbeck.classify.products import MODEL_FILE, write_classifier
from limbeck.classify.stages import as_teacher, build_student, pretrained_teacher
from limbeck.classify.teachers import Teacher
from limbeck.engine import Machine
from limbeck.engine.processes import is_main, wait_for_all
from limbeck.errors import ConfigError, DataError, ModelError
from limbeck.models import load
from limbeck.protocols import Source
from limbeck.runs.folder import RunFolder
from limbeck.runs.provenance import provenance
from limbeck.seeding import generator
from limbeck.sources import SOURCES, Subset, as_source
from limbeck.sources import build as build_source
from limbeck.specs import Spec

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
    teacher: nn.Module | str | Path | Mapping[str, Any],
    model: nn.Module | str | Mapping[str, Any],
    source: Any,
    *,
    terms: str | Sequence[Mapping[str, Any]] = "kd",
    test_source: Any = None,
    train: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str | None = None,
    progress: bool = False,
) -> Distilled:
    """Train a student with a teacher; a distilled model and a run folder come out.

    Args:
        teacher: a module, a model file or run folder, or a pretrained model by name ("timm/resnet50").
        model: the student: a module, or a name with settings as in a recipe ("resnet8x4").
        source: a name with settings as in a recipe ("digits"), a folder of images, a pair of arrays
            (images, labels), a torchvision-style data set, or a `Source`.
        terms: a published method by name, or a list of terms as in a recipe.
        test_source: what to measure on; a named source's own test split, else a fifth of the source.
        train: the training block of a recipe: epochs, batch_size, optimizer, schedule, augment, ...
        seed: of everything that is drawn.
        out: the run folder; `runs/<model>-<method>-s<seed>` unless given. An unfinished one is continued.
        device: a torch device; what is found unless given.
        progress: show a progress bar.

    Raises:
        ConfigError: settings that do not validate, every problem at once.
        ModelError: teacher, student and data do not fit together.

    Example:
        >>> import limbeck, tempfile
        >>> budget = {"steps": 2, "batch_size": 16}
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
    if not isinstance(teacher, nn.Module):
        yield
        return
    modes = [(m, m.training) for m in teacher.modules()]
    learning = [(p, p.requires_grad) for p in teacher.parameters()]
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
) -> Distilled:
    objective = _checked("terms", Terms, terms)
    training: Training = _checked("train", Training, dict(train or {}))
    machine = Machine(device=device, precision=training.precision)
    data = _data(source, test_source, training.validation, seed)
    teaching = _teacher(teacher, data, machine) if verb == "distill" else None
    student = _student(model, data, seed)
    asked = {
        "kind": f"classify.{verb}",
        "model": _named(model),
        "source": _named(source),
        "terms": [t.model_dump(mode="json") for t in objective],
        "train": training.model_dump(mode="json"),
        "seed": seed,
        **({"teacher": _named(teacher)} if verb == "distill" else {}),
    }
    path = Path(out) if out is not None else Path("runs") / _run_name(model, terms, seed)
    prepared = _folder(path, asked, verb) if is_main() else None
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
            fitted = fit_classifier(
                student,
                objective,
                data=data,
                training=training,
                machine=machine,
                records=folder,
                seed=seed,
                teacher=teaching,
                reference=teacher_guesses(teaching, data, machine) if teaching is not None else None,
                title=path.name,
                progress=progress,
            )
            losses = [f"loss:{t.loss.name}" for t in objective]
            notes = {"stage": f"classify.{verb}", "seed": seed}
            result = write_classifier(folder, fitted, data=data, machine=machine, components=losses, notes=notes)
            student = fitted.model
    return Distilled(student, path, {name: n["value"] for name, n in result["numbers"].items()})


def _folder(path: Path, asked: Mapping[str, Any], verb: str) -> RunFolder:
    if not (path / "resolved.json").exists():
        recipe = json.dumps({"title": path.name, "stages": {STAGE: asked}}, indent=2, default=str)
        resolved = {"title": path.name, "seed": asked["seed"], "stages": {STAGE: dict(asked)}}
        return RunFolder.create(
            path, recipe_text=recipe, resolved=resolved, provenance=provenance([f"limbeck.{verb}(...)"])
        )
    run = RunFolder.open(path)
    changes = run.stage(STAGE).compare(dict(asked))
    if changes:
        raise ConfigError(
            f"{path} holds a run with other settings:\n  " + "\n  ".join(changes) + "\nGive another `out`."
        )
    return run


def _checked(what: str, kind: Any, value: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        problems = [
            f"{'.'.join([what, *(str(p) for p in problem['loc'])])}: {problem['msg']} (got {problem['input']!r})"
            for problem in error.errors()
        ]
        raise ConfigError.of(f"the argument '{what}'", problems) from error


def _data(source: Any, test_source: Any, validation: float, seed: int) -> Data:
    named = _as_spec(source)
    if named is not None and named.name in SOURCES:
        train: Source = build_source(named.name, split="train", **named.settings)
        settings = {k: v for k, v in named.settings.items() if k not in TRAIN_ONLY}
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
    return split_data(Subset(train, order[held:]), Subset(train, order[:held]), validation=validation, seed=seed)


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
    return pretrained_teacher(_checked("teacher", ModelSpec, {"pretrained": True, **named}), data, machine)


def _student(model: Any, data: Data, seed: int) -> nn.Module:
    if isinstance(model, nn.Module):
        return model
    return build_student(_checked("model", ModelSpec, model), data, seed=seed)


def _as_spec(value: Any) -> Spec | None:
    if isinstance(value, str):
        return Spec(name=value)
    return Spec(**value) if isinstance(value, Mapping) and "name" in value else None


def _named(value: Any) -> Any:
    if isinstance(value, str | Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    spec = getattr(value, "limbeck_spec", None)
    return spec if spec is not None else f"python object {type(value).__qualname__}"


def _run_name(model: Any, terms: Any, seed: int) -> str:
    spec = None if isinstance(model, nn.Module) else _as_spec(model)
    name = (spec.name if spec is not None else type(model).__name__).replace("/", "-")
    method = terms if isinstance(terms, str) and terms in METHODS else "custom"
    return f"{name}-{method}-s{seed}"
