"""The stages of classification, each from its configuration to its product, top to bottom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor, nn

from limbeck.classify.adapting import start_from
from limbeck.classify.config import ClassifierStage, CompareStage, DistillStage, EmaTeacher, Objective, TrainStage
from limbeck.classify.data import Data, evaluation_stream, load_data
from limbeck.classify.fitting import fit_classifier
from limbeck.classify.products import write_classifier
from limbeck.classify.teachers import Teacher
from limbeck.classify.teaching import ONE, Teaching, reference_of, refuse_guessing
from limbeck.engine import Machine
from limbeck.engine.evaluate import Guesses
from limbeck.errors import ConfigError, ModelError
from limbeck.models import build, data_config, load
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.seeding import seed_everything
from limbeck.specs import Spec


def run_train(config: TrainStage, folder: StageFolder, context: StageContext) -> None:
    """Train a classifier on labels alone."""
    machine = Machine(device=context.device, precision=config.train.precision)
    data = load_data(config, seed=stage_seed(config, context))
    _run(config, train_objective(config), folder, context, data, machine, Teaching(), None)


def run_distill(config: DistillStage, folder: StageFolder, context: StageContext) -> None:
    """Train a student with whoever teaches."""
    machine = Machine(device=context.device, precision=config.train.precision)
    data = load_data(config, seed=stage_seed(config, context))
    teaching = find_teaching(config, data, machine, context)
    reference = reference_of(teaching, data, machine)
    if not (config.weak_teacher or context.smoke):
        refuse_guessing(teaching, reference)
    _run(config, config, folder, context, data, machine, teaching, reference)


def _run(
    config: ClassifierStage,
    objective: Objective,
    folder: StageFolder,
    context: StageContext,
    data: Data,
    machine: Machine,
    teaching: Teaching,
    reference: Guesses | None,
) -> None:
    seed = stage_seed(config, context)
    fitted = fit_classifier(
        find_student(config, data, context, seed=seed),
        objective,
        data=data,
        training=config.train,
        machine=machine,
        records=folder,
        seed=seed,
        teaching=teaching,
        reference=reference,
        title=folder.name,
        progress=context.progress,
    )
    write_classifier(
        folder,
        fitted,
        data=data,
        machine=machine,
        components=components_of(config, objective),
        notes={"stage": config.kind, "seed": seed},  # type: ignore[attr-defined]
    )


def train_objective(config: TrainStage) -> Objective:
    """The objective of training on labels alone."""
    if config.terms is not None:
        return Objective(terms=config.terms)
    return Objective.model_validate(
        [{"loss": {"name": "cross_entropy", "label_smoothing": config.label_smoothing}}]
    )


def stage_seed(config: ClassifierStage, context: StageContext) -> int:
    """The stage's own seed, or the run's."""
    return context.seed if config.seed is None else config.seed


def build_student(spec: Spec, data: Data, *, seed: int) -> nn.Module:
    """A network for the classes and channels of the data; the same initial weights for the same seed."""
    seed_everything(seed, "weights")
    settings = {"in_channels": data.train.image_shape[0], **spec.settings}
    return build(spec.name, **{"num_classes": len(data.class_names), **settings})


def find_student(config: ClassifierStage, data: Data, context: StageContext, *, seed: int) -> nn.Module:
    """The network that a stage trains, with its own initial weights or with trained ones.

    Raises:
        CheckpointError: `start_from` leads to no intact model.
        ModelError: its weights do not fit the network.
    """
    student = build_student(config.model, data, seed=seed)
    if config.start_from is None:
        return student
    return start_from(student, context.inputs[config.start_from], classes=len(data.class_names))


def find_teaching(
    config: DistillStage | CompareStage, data: Data, machine: Machine, context: StageContext
) -> Teaching:
    """Everyone who teaches in a stage.

    Raises:
        CheckpointError: a file is damaged or not a model of ours.
        ModelError: a teacher does not fit the data.
    """
    if isinstance(config.teacher, EmaTeacher):
        if config.stored is not None:
            raise ConfigError(
                "stored: the student's own average changes at every step; nothing of it can be stored."
            )
        return Teaching(average=config.teacher.ema)
    several = isinstance(config.teacher, Mapping)
    wanted = config.teacher if isinstance(config.teacher, Mapping) else {ONE: config.teacher}
    teachers = {name: find_teacher(one, data, machine, context) for name, one in wanted.items()}
    if several and not teachers:
        raise ConfigError("teacher: the mapping is empty; name at least one teacher.")
    return Teaching(teachers, stored=context.inputs[config.stored] if config.stored is not None else None)


def find_teacher(wanted: str | Spec, data: Data, machine: Machine, context: StageContext) -> Teacher:
    """One teacher: of a finished stage, from a file, or a model by name.

    Raises:
        CheckpointError: the file is damaged or not a model of ours.
        ModelError: it does not fit the data.
    """
    if isinstance(wanted, str):
        return as_teacher(load(context.inputs[wanted]), data, machine)
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


def as_teacher(model: nn.Module, data: Data, machine: Machine) -> Teacher:
    """A module as a frozen teacher; a module that knows no normalisation is given the data's."""
    model.to(machine.device).eval().requires_grad_(False)
    facts = getattr(model, "limbeck_data", None) or data_config(model) or data.config

    def images() -> Iterator[tuple[Tensor, Tensor]]:
        batches: Iterable[dict[str, Tensor]] = evaluation_stream(data.train, machine=machine, whole=True).epoch(1)
        return ((batch["images"], batch["labels"]) for batch in batches)

    return Teacher(model, facts, data.example(machine.device), images)


def components_of(config: ClassifierStage, objective: Objective) -> list[str]:
    """What a stage uses, as "kind:name"."""
    found = [f"model:{config.model.name}", f"source:{config.source.name}", *components_of_objective(objective)]
    return [*found, *(f"augmentation:{a.name}" for a in config.train.augment)]


def components_of_objective(objective: Objective) -> list[str]:
    """What an objective uses, as "kind:name"."""
    found: list[str] = []
    for term in objective.terms:
        found.append(f"loss:{term.loss.name}")
        if isinstance(term.projector, Spec):
            found.append(f"projector:{term.projector.name}")
        if term.cost is not None:
            found.append(f"class cost:{term.cost.name}")
    return [*found, *(f"augmentation:{a.name}" for view in objective.views.values() for a in view)]
