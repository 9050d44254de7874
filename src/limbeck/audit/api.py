"""An audit in a few lines of Python, with the names that recipes use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from limbeck.audit.asking import ask
from limbeck.audit.config import STANDARD, ModelSpec, QuestionSpec, Statistics
from limbeck.audit.examination import Examination
from limbeck.audit.opening import CONTROL, Named, check_channels, check_size, material_of, open_panel, split_name
from limbeck.audit.outcome import Audit, judged
from limbeck.audit.products import write_audit
from limbeck.engine import Machine
from limbeck.errors import ConfigError, DataError
from limbeck.protocols import Source
from limbeck.runs.asked import folder_for
from limbeck.sources import as_source
from limbeck.specs import Spec, checked

Model = nn.Module | str | Path | Mapping[str, Any]
STAGE = "audit"


def audit(
    teacher: Model,
    students: Mapping[str, Model] | Model,
    controls: Mapping[str, Model] | Model | None = None,
    *,
    source: Any,
    questions: Sequence[str | Mapping[str, Any]] = STANDARD,
    domains: Mapping[str, Any] | None = None,
    foreign: Model | None = None,
    layers: Mapping[str, str] | None = None,
    images: int | None = 2000,
    batch_size: int = 250,
    statistics: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str | None = None,
    progress: bool = False,
) -> Audit:
    """Ask in which ways students became like their teacher, next to controls trained without it.

    Args:
        teacher: a module that takes normalised images and gives logits (n, classes); a model file, run folder or
            exported folder; or a mapping of a model's name and settings with `pretrained`. A module that knows no
            normalisation (`limbeck_data`, or timm's `pretrained_cfg`) is given that of the source.
        students: method, or method-s<seed> -> the same; or a single student.
        controls: control-s<seed> -> the same; without any no transfer is claimed.
        source: images that none of them was trained on: a source, a pair of arrays (images, labels), a path, a
            data set, or a mapping of a source's name and settings; of one with splits the test split is taken.
        questions: by name, or mappings of name and settings.
        domains: name -> images of another distribution with the same classes.
        foreign: a network that has nothing to do with the others, for attacks to compare with.
        layers: method, "teacher" or "control" -> module path of the map that attributions read.
        images: at most so many, drawn at random; all of them for None.
        batch_size: images at a time.
        statistics: alpha, correction, draws and precision.
        seed: of everything drawn.
        out: a run folder to write, which `limbeck report` makes a page of.
        device: a torch device; what is found unless given.
        progress: say on the terminal what is under way.

    Returns:
        Findings with verdicts, and everything that a report shows.

    Raises:
        ConfigError: a question or setting that does not exist, or no student.
        ModelError: networks of other classes or channels than the images.
        DataError: images of a single class, too few for the precision asked for, or other classes in a domain.
        CheckpointError: a file that is damaged or cannot be read safely.

    Example:
        >>> import torch
        >>> from limbeck.audit import audit
        >>> draws = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> found = audit(net, {"kd": net}, {"control": other}, source="digits", questions=["fidelity"])
        >>> found.finding("fidelity.agreement").student.mean
        1.0
    """
    asked: tuple[Spec, ...] = checked(
        "questions", Annotated[tuple[QuestionSpec, ...], Field(min_length=1)], tuple(questions)
    )
    judging: Statistics = checked("statistics", Statistics, dict(statistics or {}))
    machine = Machine(device=device)
    shown = _test_split(source)
    material = material_of(shown, name=_called(source), count=images, seed=seed)
    check_size(material, judging.precision)
    others = {name: _test_split(one) for name, one in (domains or {}).items()}
    for name, one in others.items():
        if tuple(one.class_names) != material.class_names:
            raise DataError(f"audit: domain '{name}' has other classes than {material.name}, or another order.")
        check_channels(name, one, material)
    named = [
        Named("teacher", "teacher", "", None, _model("teacher", teacher)),
        *(
            Named(name, "student", *split_name(name), _model(name, one))
            for name, one in _mapping(students, "student").items()
        ),
        *(
            Named(name, "control", CONTROL, split_name(name)[1], _model(name, one))
            for name, one in _mapping(controls, CONTROL).items()
        ),
    ]
    if foreign is not None:
        named.append(Named("foreign", "foreign", "", None, _model("foreign", foreign)))
    names = [one.name for one in named]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"audit: two networks share a name among {', '.join(names)}; tell them apart: kd-s0, kd-s1."
        )
    with _left_as_found([one.what for one in named if isinstance(one.what, nn.Module)]):
        panel = open_panel(named, material, layers=layers or {}, device=machine.device, data=shown)
        exam = Examination(
            panel,
            material,
            domains={name: material_of(one, name=name, count=images, seed=seed) for name, one in others.items()},
            seed=seed,
            batch_size=batch_size,
            device=machine.device,
        )
        answers, skipped = ask(exam, asked, progress=progress)
    found = judged(
        panel,
        answers,
        data=facts_of(exam),
        questions=[question.model_dump(mode="json") for question in asked],
        statistics=judging.model_dump(mode="json"),
        seed=seed,
        skipped=skipped,
    )
    if out is not None:
        _write(Path(out), found, seed)
    return found


@contextmanager
def _left_as_found(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Modes and gradients of somebody's modules, who may be in the middle of training them."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    gradients = [(one, one.requires_grad) for module in modules for one in module.parameters()]
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
        for one, wanted in gradients:
            one.requires_grad_(wanted)


def facts_of(exam: Examination) -> dict[str, Any]:
    """What the networks were shown, for `audit.json`."""
    return {
        "name": exam.material.name,
        "images": len(exam.material),
        "classes": list(exam.material.class_names),
        "domains": {name: len(found) for name, found in exam.domains.items()},
    }


def _write(path: Path, found: Audit, seed: int) -> None:
    asked = {
        "kind": "audit.compare",
        "networks": [one.name for one in (found.panel.teacher, *found.panel.students, *found.panel.controls)],
        "questions": list(found.questions),
        "data": dict(found.data),
        "statistics": dict(found.statistics),
        "seed": seed,
    }
    run = folder_for(path, asked, stage=STAGE, call="limbeck.audit.audit(...)")
    with run.lock():
        folder = run.stage(STAGE)
        folder.begin(asked)
        write_audit(folder, found)


def _mapping(given: Any, word: str) -> Mapping[str, Model]:
    if given is None:
        return {}
    if isinstance(given, Mapping) and "name" not in given:
        return given
    return {word: given}


def _model(name: str, given: Model) -> str | Spec | nn.Module:
    if isinstance(given, nn.Module):
        return given
    if isinstance(given, Mapping):
        spec: Spec = checked(name, ModelSpec, dict(given))
        return spec
    return str(given)


def _test_split(source: Any) -> Source:
    if isinstance(source, Mapping) and "split" in source:
        raise ConfigError("source: 'split' is not said here; give the source itself to show another split.")
    return as_source(dict(source) if isinstance(source, Mapping) else source, split="test")


def _called(source: Any) -> str:
    if isinstance(source, Mapping):
        return str(source.get("name"))
    if isinstance(source, str | Path):
        return Path(source).name
    return type(source).__name__
