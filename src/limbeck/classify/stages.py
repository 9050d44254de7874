"""The stages of classification, each from its configuration to its product, top to bottom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from torch import Tensor, nn

from limbeck.classify.config import ClassifierStage, DistillStage, Term, TrainStage
from limbeck.classify.data import Data, evaluation_stream, load_data
from limbeck.classify.fitting import fit_classifier, teacher_guesses
from limbeck.classify.products import write_classifier
from limbeck.classify.teachers import Teacher
from limbeck.engine import Machine
from limbeck.errors import ModelError
from limbeck.models import build, data_config, load
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.seeding import seed_everything
from limbeck.specs import Spec


def run_train(config: TrainStage, folder: StageFolder, context: StageContext) -> None:
    """Train a classifier on labels alone."""
    seed = stage_seed(config, context)
    machine = Machine(device=context.device, precision=config.train.precision)
    data = load_data(config, seed=seed)
    model = build_student(config.model, data, seed=seed)
    terms = train_terms(config)
    fitted = fit_classifier(
        model,
        terms,
        data=data,
        training=config.train,
        machine=machine,
        records=folder,
        seed=seed,
        title=folder.name,
        progress=context.progress,
    )
    write_classifier(
        folder,
        fitted,
        data=data,
        machine=machine,
        components=components_of(config, terms),
        notes={"stage": "classify.train", "seed": seed},
    )


def run_distill(config: DistillStage, folder: StageFolder, context: StageContext) -> None:
    """Train a student with a teacher."""
    seed = stage_seed(config, context)
    machine = Machine(device=context.device, precision=config.train.precision)
    data = load_data(config, seed=seed)
    teacher = find_teacher(config.teacher, data, machine, context)
    student = build_student(config.model, data, seed=seed)
    fitted = fit_classifier(
        student,
        config.terms,
        data=data,
        training=config.train,
        machine=machine,
        records=folder,
        seed=seed,
        teacher=teacher,
        reference=teacher_guesses(teacher, data, machine),
        title=folder.name,
        progress=context.progress,
    )
    write_classifier(
        folder,
        fitted,
        data=data,
        machine=machine,
        components=components_of(config, config.terms),
        notes={"stage": "classify.distill", "seed": seed},
    )


def train_terms(config: TrainStage) -> list[Term]:
    """The objective of training on labels alone."""
    return [Term.model_validate({"loss": {"name": "cross_entropy", "label_smoothing": config.label_smoothing}})]


def stage_seed(config: ClassifierStage, context: StageContext) -> int:
    """The stage's own seed, or the run's."""
    return context.seed if config.seed is None else config.seed


def build_student(spec: Spec, data: Data, *, seed: int) -> nn.Module:
    """A network for the classes and channels of the data; the same initial weights for the same seed."""
    seed_everything(seed, "weights")
    settings = {"in_channels": data.train.image_shape[0], **spec.settings}
    return build(spec.name, **{"num_classes": len(data.class_names), **settings})


def find_teacher(wanted: str | Spec, data: Data, machine: Machine, context: StageContext) -> Teacher:
    """The teacher that a stage names: a finished stage, a file, or a model by name.

    Raises:
        CheckpointError: the file is damaged or not a model of ours.
        ModelError: it does not fit the data.
    """
    if isinstance(wanted, str):
        return loaded_teacher(context.inputs[wanted], data, machine)
    return pretrained_teacher(wanted, data, machine)


def pretrained_teacher(wanted: Spec, data: Data, machine: Machine) -> Teacher:
    """A teacher with weights of its library.

    Raises:
        ModelError: no weights are asked for, or they were trained on other classes, so that its head would be new.
    """
    if not wanted.settings.get("pretrained"):
        raise ModelError(
            f"teacher '{wanted.name}': a network without weights has nothing to teach. Say pretrained: true where "
            "its library has weights, name an earlier stage, or give a model file."
        )
    model = build(wanted.name, **{"in_channels": data.train.image_shape[0], **wanted.settings})
    knows = getattr(model, "num_classes", None)
    if knows is not None and knows != len(data.class_names):
        raise ModelError(
            f"teacher '{wanted.name}': its weights know {knows} classes, the data has {len(data.class_names)}; a "
            "new head would teach noise. Fine-tune it first (kind: classify.train with this model), then teach."
        )
    return as_teacher(model, data, machine)


def loaded_teacher(path: Path, data: Data, machine: Machine) -> Teacher:
    """A teacher from a model file, a stage's folder or a run's folder."""
    return as_teacher(load(path), data, machine)


def as_teacher(model: nn.Module, data: Data, machine: Machine) -> Teacher:
    """A module as a frozen teacher; a module that knows no normalisation is given the data's."""
    model.to(machine.device).eval().requires_grad_(False)
    facts = getattr(model, "limbeck_data", None) or data_config(model) or data.config

    def images() -> Iterator[tuple[Tensor, Tensor]]:
        batches: Iterable[dict[str, Tensor]] = evaluation_stream(data.train, machine=machine, whole=True).epoch(1)
        return ((batch["images"], batch["labels"]) for batch in batches)

    return Teacher(model, facts, data.example(machine.device), images)


def components_of(config: ClassifierStage, terms: Iterable[Term]) -> list[str]:
    """What a stage uses, as "kind:name"."""
    found = [f"model:{config.model.name}", f"source:{config.source.name}"]
    for term in terms:
        found.append(f"loss:{term.loss.name}")
        if isinstance(term.projector, Spec):
            found.append(f"projector:{term.projector.name}")
        if term.cost is not None:
            found.append(f"class cost:{term.cost.name}")
    return found
