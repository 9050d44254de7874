"""The stage `dataset.ablate`: the same images, labels with something taken away or put in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limbeck.dataset.config import AblateStage
from limbeck.dataset.flat import Flat
from limbeck.dataset.labelling import expert_logits
from limbeck.dataset.labels import (
    entropy,
    erase_class,
    expert_labels,
    smoothed_like,
    swap,
    tempered_like,
    top_k,
)
from limbeck.dataset.real import Split
from limbeck.dataset.selection import pick
from limbeck.dataset.stages._shared import Setting, expert_model, number, open_setting, recipe_of
from limbeck.dataset.students import accuracy, spread, train_student
from limbeck.dataset.trajectories import Trajectories
from limbeck.errors import ConfigError
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.seeding import derive

WHOLE = "whole"


@dataclass(frozen=True)
class Change:
    """One way of labelling the images of a seed.

    Attributes:
        name: in the table.
        images: (n, c, h, w).
        targets: (n,) or (n, classes).
        of: the class that is measured alone; None for all.
    """

    name: str
    images: Tensor
    targets: Tensor
    of: int | None = None


def run_ablate(config: AblateStage, folder: StageFolder, context: StageContext) -> None:
    """Students of every changed label, measured against the whole label."""
    setting = open_setting(config, context)
    experts = setting.trajectories(config.experts)
    found: dict[str, list[dict[str, float]]] = {}
    for seed in config.students.seeds:
        for change in changes(setting, config, experts, seed):
            found.setdefault(change.name, []).append(_student(setting, config, folder, experts, change, seed))
    rows = [_row(name, measured, found) for name, measured in found.items()]
    _write(folder, config, rows)


def changes(setting: Setting, config: AblateStage, experts: Trajectories, seed: int) -> list[Change]:
    """Every way of labelling, on the images of one seed.

    Raises:
        ConfigError: a rank or a class that does not exist.
    """
    real = setting.real
    _check(config, real.classes)
    rows = pick(
        real.train.labels.cpu(),
        config.ipc,
        seed=derive(setting.seed, "images", seed),
        class_names=real.class_names,
    ).to(real.device)
    images, labels = real.train.images[rows], real.train.labels[rows]
    net = Flat(setting.builder(expert_model(experts))(0))

    def logits(snapshot: int) -> Tensor:
        return expert_logits(net, experts.weights(0, snapshot).to(real.device), images)

    whole = expert_labels(logits(experts.at(config.epoch)), beta=config.beta)
    nats = entropy(whole)
    found = [
        Change("hard", images, labels),
        Change(WHOLE, images, whole),
        Change("smoothed, same entropy", images, smoothed_like(whole, labels)),
        Change("last expert, same entropy", images, tempered_like(logits(experts.snapshots - 1), nats)),
    ]
    found += [Change(f"swap {k}", images, swap(whole, k)) for k in config.swaps]
    found += [Change(f"top {k}", images, top_k(whole, k)) for k in config.tops]
    for label in config.erase:
        name, others = real.class_names[label], labels != label
        found += [
            Change(f"{name}: whole", images, whole, label),
            Change(f"{name}: without its images", images[others], whole[others], label),
            Change(f"{name}: erased from other labels", images, erase_class(whole, labels, label), label),
        ]
    return found


def _check(config: AblateStage, classes: int) -> None:
    for field, values, highest in (
        ("swaps", config.swaps, classes - 1),
        ("tops", config.tops, classes),
        ("erase", config.erase, classes - 1),
    ):
        for value in values:
            if value > highest:
                raise ConfigError(f"{field}: {value} is more than {highest}; the data has {classes} classes.")


def _student(
    setting: Setting,
    config: AblateStage,
    folder: StageFolder,
    experts: Trajectories,
    change: Change,
    seed: int,
) -> dict[str, float]:
    """One student; a finished one is read back."""
    name = "".join(c if c.isalnum() else "_" for c in change.name)
    trial = folder.trial(f"{name}-s{seed}")
    if not trial.finished:
        trial.begin({"change": change.name, "seed": seed})
        model = setting.builder(config.model or expert_model(experts))(derive(seed, "student"))
        train_student(model, change.images, change.targets, recipe_of(config.students), seed=seed)
        test = setting.real.test
        if change.of is not None:
            mine = test.labels == change.of
            test = Split(test.images[mine], test.labels[mine])
        soft = change.targets.is_floating_point()
        numbers = {
            "accuracy": number(accuracy(model, test), "fraction", "higher"),
            "entropy": number(float(entropy(change.targets).mean()) if soft else 0.0, "nats"),
            "mass": number(float(change.targets.sum(1).mean()) if soft else 1.0, "fraction"),
        }
        said = f"{numbers['accuracy']['value']:.2%} of the test images."
        trial.write_result({"kind": "student", "numbers": numbers, "summary": said})
    return {key: float(value["value"]) for key, value in trial.result()["numbers"].items()}


def _row(
    name: str, measured: Sequence[Mapping[str, float]], found: Mapping[str, Sequence[Mapping[str, float]]]
) -> dict[str, Any]:
    mean, deviation = spread([m["accuracy"] for m in measured])
    reference = found.get(f"{name.partition(':')[0]}: whole", found[WHOLE])
    base, _ = spread([m["accuracy"] for m in reference])
    return {
        "label": name,
        "accuracy": mean,
        "accuracy_sd": deviation,
        "of_whole": mean / base if base else None,
        "entropy": spread([m["entropy"] for m in measured])[0],
        "mass": spread([m["mass"] for m in measured])[0],
    }


def _write(folder: StageFolder, config: AblateStage, rows: Sequence[Mapping[str, Any]]) -> None:
    folder.write_table(
        "labels",
        {
            "title": f"What in a label does the work, {config.ipc} images per class, "
            f"{len(config.students.seeds)} seeds",
            "columns": [
                {"key": "label", "label": "Label"},
                {"key": "accuracy", "label": "Accuracy", "unit": "fraction", "better": "higher"},
                {"key": "accuracy_sd", "label": "± sd", "unit": "fraction"},
                {"key": "of_whole", "label": "Of the whole label's", "unit": "fraction", "better": "higher"},
                {"key": "entropy", "label": "Entropy (nats)"},
                {"key": "mass", "label": "Mass", "unit": "fraction"},
            ],
            "rows": list(rows),
            "note": "Swap k: the k-th largest probability changes places with the smallest. Top k: the others "
            "are zero, not "
            "renormalised. Lines that begin with a class are measured on that class alone.",
        },
    )
    folder.write_figure(
        "labels",
        {
            "title": "What in a label does the work",
            "caption": "Test accuracy, mean over seeds with one standard deviation.",
            "kind": "bars",
            "unit": "fraction",
            "bars": [{"label": r["label"], "value": r["accuracy"], "error": r["accuracy_sd"]} for r in rows],
        },
    )
    swapped = [row for row in rows if row["label"].startswith("swap ")]
    if len(swapped) > 1:
        folder.write_figure(
            "swaps",
            {
                "title": "Which ranks carry information",
                "caption": "Accuracy of students whose labels have the k-th largest probability swapped with "
                "the smallest.",
                "kind": "lines",
                "x_label": "rank k",
                "y_label": "accuracy",
                "unit": "fraction",
                "series": [
                    {
                        "label": "swapped",
                        "x": [int(row["label"].split()[1]) for row in swapped],
                        "y": [row["accuracy"] for row in swapped],
                    }
                ],
            },
        )
    values = {row["label"]: row["accuracy"] for row in rows}
    folder.write_result(
        {
            "kind": "evaluation",
            "numbers": {"accuracy": number(values[WHOLE], "fraction", "higher")},
            "summary": f"Whole labels {values[WHOLE]:.1%}, hard ones {values['hard']:.1%}, smoothed ones of "
            f"the same entropy "
            f"{values['smoothed, same entropy']:.1%}.",
            "components": [f"source:{config.source.name}"],
        }
    )
