"""From what a recipe or a command line names to networks and images, checked against each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.audit.config import CompareStage
from limbeck.audit.examination import Examination, Material
from limbeck.audit.statistics.intervals import needed
from limbeck.audit.subjects import Network, Panel, Role, Subject
from limbeck.errors import ConfigError, DataError, ModelError, RunFolderError, TapError, did_you_mean
from limbeck.models import build, data_config
from limbeck.models.reading import read_classifier
from limbeck.protocols import Source, StageContext
from limbeck.runs.records import read_json
from limbeck.seeding import generator
from limbeck.sources import Loader, Subset, loader_of, part_of
from limbeck.sources import build as build_source
from limbeck.sources.nesting import without_limits
from limbeck.specs import Spec

CONTROL = "control"
_SEEDED = re.compile(r"(?P<method>.+)-s(?P<seed>\d+)")


@dataclass(frozen=True)
class Named:
    """A network by its name in the audit, before it is opened."""

    name: str
    role: Role
    method: str
    seed: int | None
    what: str | Spec | nn.Module


def split_name(name: str) -> tuple[str, int | None]:
    """Method and seed in a student's name.

    Example:
        >>> split_name("kd-s1"), split_name("kd")
        (('kd', 1), ('kd', None))
    """
    found = _SEEDED.fullmatch(name)
    return (found["method"], int(found["seed"])) if found else (name, None)


def trials_of(folder: Path, *, prefix: str = "", control: str = CONTROL) -> list[Named]:
    """Every finished student of a comparison, and its controls.

    Args:
        folder: of the stage, or of a run that holds one comparison.
        prefix: before the methods' names.
        control: the method that had no teacher; whatever its name, it is called control from here on.

    Raises:
        RunFolderError: no comparison there, one that is not finished, or one that kept no student.
    """
    place, found = _comparison(folder), []
    for method, seed, trial in _listed(place) or _trials(place):
        role: Role = "control" if method == control else "student"
        method = prefix + (CONTROL if method == control else method)
        found.append(Named(f"{method}-s{seed}", role, method, seed, str(trial)))
    return sorted(found, key=lambda one: (one.method, one.seed or 0))


def _listed(place: Path) -> list[tuple[str, int, Path]]:
    """What the stage itself lists: trials may hold more, such as rates that were tried."""
    result = read_json(place / "result.json")
    kept = result.get("kept", []) if isinstance(result, dict) else []
    return [(str(one["method"]), int(one["seed"]), place / "trials" / str(one["trial"])) for one in kept]


def _trials(place: Path) -> list[tuple[str, int, Path]]:
    found = []
    for trial in sorted(place.glob("trials/*/")):
        config, result = read_json(trial / "config.json"), read_json(trial / "result.json")
        if ".old-" in trial.name or not isinstance(config, dict):
            continue
        if not isinstance(result, dict):
            raise RunFolderError(f"{trial} is not finished; run the comparison to its end, then audit it.")
        if "method" not in config:
            raise RunFolderError(
                f"{place} has trials and no networks to audit: its stage is not finished, or kept none of its "
                "students. dataset.evaluate keeps them with keep_students: true."
            )
        found.append((str(config["method"]), int(config["seed"]), trial))
    return found


def _comparison(folder: Path) -> Path:
    if (folder / "trials").is_dir():
        return folder
    inside = sorted({place.parent for place in folder.glob("*/trials") if ".old-" not in place.parent.name})
    if len(inside) != 1:
        what = f"holds {len(inside)} comparisons ({', '.join(p.name for p in inside)})" if inside else "holds none"
        raise RunFolderError(f"{folder} is to be a comparison's folder, and {what}. Give the folder of the stage.")
    return inside[0]


def named_by(config: CompareStage, context: StageContext) -> list[Named]:
    """Everyone whom a stage names, the teacher first.

    Raises:
        ConfigError: a name twice, or a control that the comparison does not have.
        RunFolderError: a comparison that cannot be read.
    """

    def at(reference: str | Spec) -> str | Spec:
        return str(context.inputs[reference]) if isinstance(reference, str) else reference

    found = [Named("teacher", "teacher", "", None, at(config.teacher))]
    if config.comparison is not None:
        found += _compared(config, context.inputs[config.comparison])
    for name, reference in config.students.items():
        found.append(Named(name, "student", *split_name(name), at(reference)))
    for name, reference in config.controls.items():
        found.append(Named(name, "control", CONTROL, split_name(name)[1], at(reference)))
    if config.placebo is not None:
        for one in trials_of(context.inputs[config.placebo], prefix="placebo ", control=config.control):
            if one.method != f"placebo {CONTROL}":
                found.append(Named(one.name, "placebo", one.method, one.seed, one.what))
    if config.foreign is not None:
        found.append(Named("foreign", "foreign", "", None, at(config.foreign)))
    names = [one.name for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(f"audit: two networks are named '{twice}'. Name them by seed: {twice}-s0, {twice}-s1.")
    return found


def _compared(config: CompareStage, folder: Path) -> list[Named]:
    """The students of a comparison and their control, which is looked for by its name."""
    found = trials_of(folder, control=config.control)
    methods = list(dict.fromkeys(one.method for one in found if one.role == "student"))
    if config.control != CONTROL and CONTROL in methods:
        raise ConfigError(
            f"audit: control: '{config.control}', and the comparison has a '{CONTROL}' of its own, which never "
            "saw a teacher. Leave control out; a method is audited beside the others."
        )
    if all(one.role == "student" for one in found) and (config.control != CONTROL or not config.controls):
        raise ConfigError(
            f"audit: the comparison {config.comparison} has no method '{config.control}'."
            f"{did_you_mean(config.control, methods)} Name the one that the others are held against, control: "
            f"{methods[-1] if methods else '...'}; it has: {', '.join(methods) or 'none'}."
        )
    return found


def open_panel(
    named: Sequence[Named],
    material: Material,
    *,
    layers: Mapping[str, str],
    device: torch.device,
    data: Source | None = None,
) -> Panel:
    """Open every network and make sure that all can be shown the same images.

    Args:
        named: the teacher first.
        material: what they will be shown.
        layers: method, `teacher` or `control` -> module path for attributions.
        device: where they go.
        data: whose normalisation is given to networks that know none.

    Raises:
        CheckpointError: a file that is damaged or cannot be read safely.
        ConfigError: no student, a student named like a control, or a layer of a method that is not there.
        ModelError: other classes, another order, other channels.
        TapError: a layer that does not exist.
    """
    _check_names(named, layers)
    subjects = []
    for one in named:
        model = _opened(one, material)
        facts = data_config(model)
        if facts is None and data is not None:
            facts = _facts_of(data)
        if facts is None:
            raise ModelError(
                f"audit: {one.name} does not say how its images are normalised. Give its module an attribute "
                "limbeck_data, a limbeck.models.DataConfig."
            )
        layer = layers.get(_key(one))
        if layer is not None:
            _check_layer(one.name, model, layer)
        network = Network(model, facts).to(device)
        check_network(one.name, network, material)
        subjects.append(Subject(one.name, one.role, network, one.method, one.seed, layer))

    def of(role: Role) -> tuple[Subject, ...]:
        return tuple(subject for subject in subjects if subject.role == role)

    if not of("student"):
        raise ConfigError("audit: no student was given; students: {kd: <stage or file>}, or comparison.")
    foreign = of("foreign")
    return Panel(of("teacher")[0], of("student"), of("control"), foreign[0] if foreign else None, of("placebo"))


def _key(one: Named) -> str:
    """What a network is called in `layers`."""
    return one.method or one.role


def _check_names(named: Sequence[Named], layers: Mapping[str, str]) -> None:
    wrong = next((one for one in named if one.role == "student" and one.method == CONTROL), None)
    if wrong is not None:
        raise ConfigError(
            f"audit: a student is named '{wrong.name}', and '{CONTROL}' stands for networks that had no teacher. "
            "Name it after its method, or give it as a control."
        )
    known = list(dict.fromkeys(_key(one) for one in named))
    for method in layers:
        if method not in known:
            raise ConfigError(
                f"audit: layers: nobody's method is '{method}'.{did_you_mean(method, known)} There are: "
                f"{', '.join(known)}."
            )


def _check_layer(name: str, model: nn.Module, path: str) -> None:
    """A layer that was named and does not exist is a slip, whatever becomes of the questions that read it."""
    names = [one for one, _ in model.named_modules() if one]
    if path.partition(":")[0] not in names:
        raise TapError(
            f"audit: layers: {name} ({type(model).__name__}) has no module '{path}'.{did_you_mean(path, names)} "
            f"Its children: {', '.join(child for child, _ in model.named_children()) or 'none'}."
        )


def _facts_of(data: Source) -> Any:
    from limbeck.models import DataConfig

    return DataConfig(tuple(data.image_shape), tuple(data.mean), tuple(data.std), tuple(data.class_names))


def _opened(one: Named, material: Material) -> nn.Module:
    if isinstance(one.what, nn.Module):
        return one.what
    if isinstance(one.what, str):
        return read_classifier(one.what)
    if not one.what.settings.get("pretrained"):
        raise ModelError(
            f"audit: {one.name} ('{one.what.name}') is a network without weights, so there is nothing to audit. "
            "Say pretrained: true where its library has weights, or give a model file."
        )
    return build(one.what.name, **{"in_channels": material.images.shape[1], **one.what.settings})


def check_network(name: str, network: Network, material: Material) -> None:
    """Make sure that a network takes the images and tells their classes apart, in their order.

    Raises:
        ModelError: it does not; the message says what it knows and what the data have.
    """
    wants, gets = network.data.input_shape[0], material.images.shape[1]
    if wants != gets:
        raise ModelError(
            f"audit: {name} takes images of {wants} channels, and those of {material.name} have {gets}. "
            f"Say channels: {wants} on the source."
        )
    example = material.images[:2].to(next(network.parameters(), torch.zeros(())).device).float() / 255
    try:
        with torch.no_grad():
            classes = network(example).shape[1]
    except RuntimeError as error:
        raise ModelError(
            f"audit: {name} cannot take images of {material.name} resized to {network.data.input_shape}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    known = material.class_names
    if classes != len(known):
        raise ModelError(
            f"audit: {name} tells {classes} classes apart, and {material.name} has {len(known)} "
            f"({', '.join(known[:4])}, ...). All networks and the images need the same classes."
        )
    names = network.data.class_names
    if names and len(names) != classes:
        raise ModelError(
            f"audit: {name} puts out {classes} logits and names {len(names)} classes; its file is wrong."
        )
    if names and names != known:
        at = next(i for i, (a, b) in enumerate(zip(names, known, strict=True)) if a != b)
        raise ModelError(
            f"audit: class {at} is '{names[at]}' for {name} and '{known[at]}' in {material.name}. All "
            f"networks and "
            "the images need the same classes in the same order."
        )


def material_of(source: Source, *, name: str, count: int | None, seed: int) -> Material:
    """Images of a source in memory, in random order, so that any first part of them is a random sample.

    Args:
        source: of the split that is to be shown.
        name: for titles and messages.
        count: at most so many; all for None.
        seed: of the order.

    Raises:
        DataError: no image, or images of one class alone.
    """
    if len(source) == 0:
        raise DataError(f"audit: {name} has no images.")
    rows = torch.randperm(len(source), generator=generator(seed, "audit", "order"))[: count or len(source)]
    images, labels = _read(source, rows)
    if len(labels.unique()) < 2:
        only = tuple(source.class_names)[int(labels[0])]
        raise DataError(
            f"audit: all {len(labels)} images of {name} are of class '{only}'. Agreement and accuracy say nothing "
            "about a single class; give images of at least two."
        )
    groups = getattr(source, "groups", None)
    return Material(
        images,
        labels,
        tuple(source.class_names),
        name,
        None if groups is None else torch.as_tensor(groups, dtype=torch.int64)[rows],
        () if groups is None else tuple(getattr(source, "group_names", ())),
    )


def _read(source: Source, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = getattr(source, "images", None), getattr(source, "labels", None)
    if isinstance(images, torch.Tensor) and isinstance(labels, torch.Tensor) and images.dtype == torch.uint8:
        return images[rows], labels[rows].to(torch.int64)
    chosen = part_of(source, rows)  # what is not shown is not read
    loader: Loader = loader_of(chosen)(chosen, batch_size=256, seed=0, shuffle=False)
    parts = [(batch["images"], batch["labels"]) for batch in loader.epoch(1)]
    whole = torch.cat([(part * 255).round().to(torch.uint8) for part, _ in parts])
    known = torch.cat([part for _, part in parts]).to(torch.int64)
    if not isinstance(chosen, Subset):  # a stream is read in its own order
        order = rows.argsort().argsort()
        order = order[order < len(whole)]
        return whole[order], known[order]
    return whole, known


def open_source(spec: Spec, split: str, **more: Any) -> Source:
    """The split of a source that is shown; settings that make training sets smaller leave a test split whole."""
    settings = dict(spec.settings) if split == "train" else without_limits(spec.settings)
    return build_source(spec.name, split=split, **settings, **more)  # type: ignore[arg-type]


def check_channels(name: str, domain: Source, material: Material) -> None:
    """Make sure that the images of a domain have as many channels as those of the audit.

    Raises:
        DataError: they do not.
    """
    own, theirs = material.images.shape[1], domain.image_shape[0]
    if own != theirs:
        raise DataError(
            f"audit: the images of domain '{name}' have {theirs} channels, those of {material.name} {own}. Say "
            f"channels: {own} on its source."
        )


def check_size(material: Material, precision: float | None) -> None:
    """Refuse a set that is too small for the precision that was asked for.

    Raises:
        DataError: with the size needed.
    """
    if precision is None or len(material) >= needed(precision):
        return
    raise DataError(
        f"audit: {len(material):,} images of {material.name} give a share to within "
        f"±{100 * 0.98 / len(material) ** 0.5:.1f} points at best, and ±{100 * precision:.1f} was asked for, "
        f"which "
        f"needs {needed(precision):,}. Give more images, or ask for less precision."
    )


def open_examination(config: CompareStage, context: StageContext, device: torch.device) -> Examination:
    """Everything that the questions of a stage may look at.

    Raises:
        InputError: networks or images that do not go together; see `open_panel` and `material_of`.
    """
    seed = context.seed if config.seed is None else config.seed
    source = open_source(config.source, config.split)
    material = material_of(source, name=config.source.name, count=config.images, seed=seed)
    check_size(material, config.statistics.precision)
    domains = {}
    for name, spec in config.domains.items():
        one = open_source(spec, config.split)
        if tuple(one.class_names) != material.class_names:
            raise DataError(
                f"audit: domain '{name}' has {len(one.class_names)} classes "
                f"({', '.join(list(one.class_names)[:4])}, ...), the images have {len(material.class_names)} "
                f"({', '.join(material.class_names[:4])}, ...). Both need the same, in the same order; the source "
                "'relabelled' maps one set's classes to another's."
            )
        check_channels(name, one, material)
        domains[name] = material_of(one, name=name, count=config.images, seed=seed)
    panel = open_panel(named_by(config, context), material, layers=config.layers, device=device, data=source)
    return Examination(panel, material, domains=domains, seed=seed, batch_size=config.batch_size, device=device)
