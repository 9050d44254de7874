"""The stage `dataset.synthesize`: a small set of learned images, at once or subset by subset (SeqMatch)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.dataset._registry import SYNTHESES
from limbeck.dataset.config import SynthesizeStage
from limbeck.dataset.experts import ExpertRecipe, digest_of
from limbeck.dataset.flat import Flat
from limbeck.dataset.image_set import ImageSet, Subset, load, save
from limbeck.dataset.methods._base import Ground, Learned
from limbeck.dataset.picture import grid_png
from limbeck.dataset.stages._shared import (
    SET_FILE,
    TRAJECTORIES,
    Setting,
    expert_model,
    ipc_within,
    lessons_of,
    number,
    on_device,
    open_setting,
    recipe_of,
)
from limbeck.dataset.stages.experts import train_all
from limbeck.dataset.students import accuracy
from limbeck.dataset.synthesis import Synthesised, synthesise
from limbeck.dataset.teaching import teach
from limbeck.dataset.trajectories import Trajectories, begin
from limbeck.errors import ConfigError
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.seeding import derive, generator
from limbeck.specs import Spec


@dataclass(frozen=True)
class _Part:
    """One subset on its way.

    Attributes:
        index: counted from 0.
        ipc: its images per class.
        before: the finished subsets, in order.
        factor: of their decoding.
    """

    index: int
    ipc: int
    before: tuple[Subset, ...]
    factor: int


@dataclass(frozen=True)
class Sources:
    """What a set is learnt from, beside the real images.

    Attributes:
        experts: trajectories, or None.
        teacher: a trained classifier, or None.
        model: spec of the networks that are drawn, or None.
        build: seed -> such a network.
    """

    experts: Trajectories | None
    teacher: nn.Module | None
    model: Spec | None
    build: Callable[[int], nn.Module]


def _no_network(method: str, seed: int) -> nn.Module:
    raise ConfigError(f"model: {method} draws networks of its own beside the teacher; name one.")


def run_synthesize(config: SynthesizeStage, folder: StageFolder, context: StageContext) -> None:
    """Learn the subsets in order; finished ones are read back, an unfinished one resumes."""
    setting = open_setting(config, context)
    config = sized(config, setting)
    experts = setting.trajectories(config.experts) if config.experts is not None else None
    model = config.model or (expert_model(experts) if experts is not None else None)
    teacher = setting.teacher(config.teacher) if config.teacher is not None else None
    if model is None and teacher is None:
        raise ConfigError("model: which network shall the set be learnt with? Name one, or experts that have one.")
    build = setting.builder(model) if model is not None else partial(_no_network, config.method.name)
    subsets: list[Subset] = []
    rows: list[dict[str, Any]] = []
    factor = 1
    for index, ipc in enumerate(config.parts):
        part = _Part(index, ipc, tuple(subsets), factor)
        trial = folder if len(config.parts) == 1 else folder.trial(f"subset-{index + 1}")
        file = trial.path / f"part-{SET_FILE}"
        if not file.exists():
            if trial is not folder:
                trial.begin({"subset": index + 1, "ipc": ipc, "kind": config.kind})
            found = _learn(setting, config, trial, part, Sources(experts, teacher, model, build))
            _write_part(setting, config, file, found)
        done = load(file)
        subsets += on_device(done, setting.device).subsets
        factor = done.factor
        rows.append({"subset": index + 1, "ipc": ipc, **done.provenance["synthesis"]})
        if trial is not folder:
            trial.write_result({"kind": "image set", "numbers": {}, "summary": f"{ipc} images per class."})
    _write(setting, config, folder, subsets, rows, factor)


def sized(config: SynthesizeStage, setting: Setting) -> SynthesizeStage:
    """The configuration with images per class, where it gives a budget in megabytes.

    Raises:
        ConfigError: no set of every class fits, or fewer images than subsets.
    """
    if config.megabytes is None:
        return config
    settings = config.method.settings
    soft = config.teacher is not None or settings.get("lr_labels") is not None
    ipc = ipc_within(config.megabytes, setting.real, soft=soft)
    wanted = config.subsets if isinstance(config.subsets, int) else sum(config.subsets)
    if ipc < wanted or (not isinstance(config.subsets, int) and ipc != wanted):
        raise ConfigError(f"subsets: {config.subsets} do not fit {ipc} images per class, which the budget holds.")
    return config.model_copy(update={"ipc": ipc})


def _learn(
    setting: Setting,
    config: SynthesizeStage,
    trial: StageFolder,
    part: _Part,
    sources: Sources,
) -> Synthesised:
    start, labels = _first_images(setting, config, part)
    frozen = None
    if part.before:
        images = torch.cat([s.images for s in part.before])
        soft = [s.soft for s in part.before if s.soft is not None]
        targets = torch.cat([s.labels for s in part.before])
        frozen = (images, torch.cat(soft) if len(soft) == len(part.before) else targets)
    spec = _method(config, part.index)
    following, build = sources.experts, sources.build
    if following is not None and part.before and config.segment == "regenerate":
        assert sources.model is not None
        following = _regenerated(setting, config, trial, part, following, sources.model, build)
    ground = Ground(
        start=start,
        labels=labels,
        real=setting.real,
        build=build,
        seed=derive(setting.seed, "subset", part.index),
        frozen=frozen,
        trajectories=following,
        initial=partial(_taught, setting, config, part, build),
        teacher=sources.teacher,
    )
    identity = json.dumps(
        {
            "method": spec.model_dump(),
            "config": config.model_dump(mode="json", exclude={"iterations", "log_every"}),
            "seed": setting.seed,
            "start": digest_of(start),
            "before": digest_of(frozen[0]) if frozen is not None else None,
        },
        sort_keys=True,
    )
    judge = None
    if config.judge_every is not None:
        judge = _judge(setting, config, part, build)
    return synthesise(
        SYNTHESES[spec.name](ground, **spec.settings),
        iterations=config.iterations,
        folder=trial.path / "checkpoints",
        records=trial,
        identity=identity,
        judge=judge,
        judge_every=config.judge_every or config.iterations,
        log_every=config.log_every,
        title=trial.name,
        shown=setting.context.progress,
    )


def _method(config: SynthesizeStage, index: int) -> Spec:
    """The method's spec for one subset: the stage's, with what differs later.

    Raises:
        ConfigError: a setting that the method does not have.
    """
    settings = dict(config.method.settings)
    if 0 < index <= len(config.later):
        changes = dict(config.later[index - 1])
        unknown = sorted(set(changes) - set(SYNTHESES.describe(config.method.name).settings))
        if unknown:
            raise ConfigError(f"later[{index - 1}]: {config.method.name} has no setting '{unknown[0]}'.")
        settings |= changes
    if config.segment == "slice" and "start_epochs" in settings and len(config.parts) > 1:
        low, high = settings["start_epochs"]
        width, parts = high - low, len(config.parts)
        settings["start_epochs"] = (low + index * width // parts, low + (index + 1) * width // parts)
    return Spec(name=config.method.name, **settings)


def _first_images(setting: Setting, config: SynthesizeStage, part: _Part) -> tuple[Tensor, Tensor]:
    """Images to begin with and their classes, class by class; no real image begins two subsets."""
    real = setting.real
    if config.start_from is not None:
        given = setting.image_set(config.start_from)
        first = sum(config.parts[: part.index])
        rows = torch.cat([(given.labels == c).nonzero()[first : first + part.ipc, 0] for c in range(real.classes)])
        if len(rows) != part.ipc * real.classes:
            raise ConfigError(f"start_from: the set has fewer than {config.ipc} images of some class.")
        return given.images[rows], given.labels[rows]
    labels = torch.arange(real.classes, device=real.device).repeat_interleave(part.ipc)
    if config.initialise == "noise":
        shape = (len(labels), *real.image_shape)
        noise = torch.randn(shape, generator=generator(setting.seed, "first images", part.index))
        return noise.to(real.device), labels
    chosen = []
    before = sum(config.parts[: part.index])
    for label, rows in enumerate(real.rows):
        assert config.ipc is not None
        if len(rows) < config.ipc:
            raise ConfigError(
                f"ipc: {config.ipc} images per class are asked for, class '{real.class_names[label]}' has "
                f"{len(rows)} training images."
            )
        order = torch.randperm(len(rows), generator=generator(setting.seed, "first images", label))
        chosen.append(rows[order[before : before + part.ipc].to(rows.device)])
    return real.train.images[torch.cat(chosen)], labels


def _taught(
    setting: Setting, config: SynthesizeStage, part: _Part, build: Callable[[int], nn.Module], seed: int
) -> nn.Module:
    """A network that has learnt the earlier subsets, in their order."""
    model = build(seed)
    if not part.before:
        return model
    kind = "soft" if part.before[0].soft is not None else "hard"
    lessons = lessons_of(part.before, kind, factor=part.factor, preprocess=setting.real.preprocess)
    return teach(model, lessons, recipe_of(config.students), seed=derive(seed, "earlier subsets"))


def _regenerated(
    setting: Setting,
    config: SynthesizeStage,
    trial: StageFolder,
    part: _Part,
    experts: Trajectories,
    model: Spec,
    build: Callable[[int], nn.Module],
) -> Trajectories:
    """Experts that begin as networks which have learnt the earlier subsets (SeqMatch, section 3.2)."""
    place = trial.path / TRAJECTORIES
    known = {k: v for k, v in experts.card.recipe.items() if k in ExpertRecipe.__dataclass_fields__}
    card = replace(
        experts.card,
        model=model.model_dump(),
        epochs=tuple(float(e) for e in range(config.regenerated + 1)),
        begins=digest_of(*(s.images for s in part.before)),
    )
    begin(place, card, setting.real.preprocess)

    def start(expert: int) -> Tensor:
        return Flat(
            _taught(setting, config, part, build, derive(setting.seed, "expert", part.index, expert))
        ).start()

    inner = replace(setting, seed=derive(setting.seed, "regenerated", part.index))
    train_all(inner, start, place, card, ExpertRecipe(**known), len(experts), half=False)
    return Trajectories(place)


def _judge(
    setting: Setting, config: SynthesizeStage, part: _Part, build: Callable[[int], nn.Module]
) -> Callable[[Learned], float]:
    recipe = recipe_of(config.students)

    def judge(learned: Learned) -> float:
        subset = Subset(learned.images, learned.labels, learned.soft, learned.lr)
        kind = "soft" if learned.soft is not None else "hard"
        lessons = lessons_of(
            (*part.before, subset), kind, factor=learned.factor, preprocess=setting.real.preprocess
        )
        found = []
        for seed in config.students.seeds:
            model = teach(build(derive(seed, "judge")), lessons, recipe, seed=derive(seed, "judge"))
            found.append(accuracy(model, setting.real.choosing))
        return sum(found) / len(found)

    return judge


def _write_part(setting: Setting, config: SynthesizeStage, file: Path, found: Synthesised) -> None:
    learned = found.learned
    facts = {"iteration": found.iteration, "seconds": found.seconds, "lr": learned.lr}
    if found.validation is not None:
        facts["validation_accuracy"] = found.validation
    one = ImageSet(
        subsets=(Subset(learned.images, learned.labels, learned.soft, learned.lr),),
        class_names=setting.real.class_names,
        preprocess=setting.real.preprocess,
        augment=str(config.method.settings.get("augment", "")),
        factor=learned.factor,
        provenance={"synthesis": facts},
    )
    save(one, file)


def _write(
    setting: Setting,
    config: SynthesizeStage,
    folder: StageFolder,
    subsets: Sequence[Subset],
    rows: Sequence[dict[str, Any]],
    factor: int,
) -> None:
    whole = ImageSet(
        subsets=tuple(subsets),
        class_names=setting.real.class_names,
        preprocess=setting.real.preprocess,
        augment=recipe_of(config.students).augment,
        factor=factor,
        provenance={
            "made by": config.kind,
            "method": config.method.model_dump(mode="json"),
            "subsets": list(rows),
            "source": config.source.model_dump(mode="json"),
            "data": setting.real.fingerprint,
            "seed": setting.seed,
            "protocol": asdict(recipe_of(config.students)),
        },
    )
    save(whole, folder.path / SET_FILE)
    folder.write_image("set", grid_png(whole), f"The set as pixels, a class a row: {config.ipc} images per class.")
    folder.write_table(
        "subsets",
        {
            "title": "Subsets",
            "columns": [
                {"key": "subset", "label": "Subset"},
                {"key": "ipc", "label": "Images per class", "unit": "count"},
                {"key": "iteration", "label": "Iteration kept", "unit": "count"},
                {"key": "lr", "label": "Learned rate"},
                {
                    "key": "validation_accuracy",
                    "label": "Validation accuracy",
                    "unit": "fraction",
                    "better": "higher",
                },
                {"key": "seconds", "label": "Synthesis", "unit": "s", "better": "lower"},
            ],
            "rows": list(rows),
        },
    )
    seconds = sum(row["seconds"] for row in rows)
    folder.write_result(
        {
            "kind": "image set",
            "set": SET_FILE,
            "numbers": {
                "images": number(len(whole.labels), "count"),
                "bytes": number(whole.bytes, "bytes", "lower"),
                "label_bytes": number(whole.label_bytes, "bytes", "lower"),
                "seconds": number(seconds, "s", "lower"),
            },
            "summary": f"{config.ipc} images per class by {config.method.name}"
            + (f" in {len(rows)} subsets" if len(rows) > 1 else "")
            + f"; {whole.bytes:,} bytes with their labels.",
            "components": sorted([f"synthesis:{config.method.name}", f"source:{config.source.name}"]),
        }
    )
