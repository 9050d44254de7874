"""The stage `dataset.evaluate`: what small sets are worth, and whether their images or their labels earn it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.dataset.config import EvaluateStage
from limbeck.dataset.flat import Flat
from limbeck.dataset.image_set import ImageSet, Subset, load
from limbeck.dataset.scores import augmentation_robust_score, label_robust_score
from limbeck.dataset.selection import pick
from limbeck.dataset.stages._shared import (
    Setting,
    expert_model,
    labels_by,
    lessons_of,
    number,
    open_setting,
    recipe_of,
    set_file,
)
from limbeck.dataset.stages.kept import called, check_writable, keep, method_of, replicate
from limbeck.dataset.students import Recipe, accuracy, spread, train_student
from limbeck.dataset.teaching import teach
from limbeck.dataset.trajectories import Trajectories
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.seeding import derive

AUGMENTED, PLAIN = "augmented", "plain"


@dataclass(frozen=True)
class Cell:
    """One line of the table: a set with its labels, learnt in one way by one network.

    Attributes:
        row: name in the table.
        model: name of the network.
        labels: "hard" or "soft".
        mode: "sequence" or "union".
        augment: "augmented" or "plain".
    """

    row: str
    model: str
    labels: str
    mode: str
    augment: str = AUGMENTED

    def trial(self, config: EvaluateStage) -> str:
        """Name of its trials: what tells it apart from the others of the stage."""
        parts = [self.row.replace(" ", "_").replace(",", ""), self.labels]
        parts += [self.model] if len(config.models) > 1 else []
        parts += [self.mode] if self.mode == "sequence" else []
        parts += [self.augment] if self.augment == PLAIN else []
        return "-".join(parts)


@dataclass(frozen=True)
class _Judge:
    setting: Setting
    config: EvaluateStage
    folder: StageFolder
    counted: list[tuple[Cell, int, str]] = field(default_factory=list)
    """Seed and trial of every student that the table counts."""

    def students(self, cell: Cell, found: ImageSet) -> dict[str, Any]:
        """Mean over seeds of a cell, at the rate that does best on validation images."""
        seeds = self.config.students.seeds
        rates: list[float | None] = [None, *self.config.students.rates]
        best = rates[0]
        if len(rates) > 1:
            first = {rate: self._student(cell, found, seeds[0], rate)["validation"] for rate in rates}
            best = max(rates, key=lambda rate: first[rate])
        results = [self._student(cell, found, seed, best) for seed in seeds]
        self.counted.extend((cell, seed, self._trial(cell, seed, best).name) for seed in seeds)
        mean, deviation = spread([r["test"] for r in results])
        line: dict[str, Any] = {"accuracy": mean, "accuracy_sd": deviation, "rate": best or self._rate(found)}
        if all(r["validation"] is not None for r in results):
            line["validation"], _ = spread([r["validation"] for r in results])
        return line

    def _rate(self, found: ImageSet) -> float:
        recipe = recipe_of(self.config.students)
        learned = found.subsets[-1].lr if recipe.learned_rate else None
        return recipe.lr if learned is None else learned

    def _student(self, cell: Cell, found: ImageSet, seed: int, rate: float | None) -> dict[str, Any]:
        """One student; a finished one is read back."""
        trial = self._trial(cell, seed, rate)
        if trial.finished:
            return _measured(trial)
        trial.begin({"cell": vars(cell), "seed": seed, "rate": rate})
        recipe = recipe_of(self.config.students)
        if cell.augment == PLAIN:
            recipe = replace(recipe, augment="")
        if rate is not None:
            recipe = replace(recipe, lr=rate, learned_rate=False)
        model = self.fresh(cell.model, seed)
        lessons = lessons_of(
            found.subsets, cell.labels, factor=found.factor, preprocess=self.setting.real.preprocess
        )
        teach(model, lessons, recipe, seed=seed, mode="sequence" if cell.mode == "sequence" else "union")
        return self.measure(trial, model)

    def _trial(self, cell: Cell, seed: int, rate: float | None) -> StageFolder:
        tried = "" if rate is None else f"-lr{rate:g}"
        return self.folder.trial(f"{cell.trial(self.config)}{tried}-s{seed}")

    def fresh(self, model: str, seed: int) -> nn.Module:
        """A network with the weights of a seed."""
        return self.setting.builder(self.config.models[model])(derive(seed, "student"))

    def measure(self, trial: StageFolder, model: nn.Module) -> dict[str, Any]:
        """Write what a student came to."""
        real = self.setting.real
        held = accuracy(model, real.validation) if real.validation is not None else None
        test = accuracy(model, real.test)
        numbers = {"accuracy": number(test, "fraction", "higher")}
        if held is not None:
            numbers["validation_accuracy"] = number(held, "fraction", "higher")
        file = {}
        if self.config.keep_students:
            file = {"model": keep(model, trial, real, {"stage": "dataset.evaluate", **(trial.config() or {})})}
        summary = f"{test:.2%} of the test images."
        trial.write_result({"kind": "student", "numbers": numbers, "summary": summary, **file})
        return _measured(trial)


def _measured(trial: StageFolder) -> dict[str, Any]:
    numbers = trial.result()["numbers"]
    held = numbers.get("validation_accuracy")
    return {"test": numbers["accuracy"]["value"], "validation": None if held is None else held["value"]}


def run_evaluate(config: EvaluateStage, folder: StageFolder, context: StageContext) -> None:
    """Train students on every set, with every kind of label, beside random real images at the same budget."""
    setting = open_setting(config, context)
    if config.keep_students:  # refused before anything is trained
        for name, reference in config.sets.items():
            made_with = load(set_file(context.inputs[reference])).preprocess
            check_writable(name, made_with, setting.real.preprocess)
    experts = setting.trajectories(config.experts) if config.experts is not None else None
    judge = _Judge(setting, config, folder)
    rows: list[dict[str, Any]] = []
    budgets: dict[str, ImageSet] = {}
    for name, reference in config.sets.items():
        found = _softened(setting, config, experts, setting.image_set(reference))
        budgets[name] = found
        rows += _lines(judge, name, found)
    for ipc in sorted({found.ipc for found in budgets.values()}):
        like = next(found for found in budgets.values() if found.ipc == ipc)
        for control in config.controls:
            found = _control(setting, config, experts, control, like)
            rows += _lines(judge, control_name(control, ipc), found)
    full = _full(judge) if config.full else None
    scores = _scores(config, rows, {name: found.ipc for name, found in budgets.items()}, full)
    _write(folder, config, rows, scores, full, _kept(judge, {found.ipc for found in budgets.values()}))


def _kept(judge: _Judge, budgets: Collection[int]) -> list[dict[str, Any]]:
    """The students of the table as methods with seeds, and the trial of each; none unless they are kept."""
    config = judge.config
    if not config.keep_students:
        return []
    names = {
        control_name(control, ipc): called(control, control_name(control, ipc), config.sets, budgets)
        for control in config.controls
        for ipc in budgets
    }
    found = []
    for cell, seed, trial in judge.counted:
        name, seed = replicate(names.get(cell.row, cell.row), seed, config)
        method = method_of(
            name,
            model=cell.model,
            labels=cell.labels,
            mode=cell.mode,
            augment=cell.augment,
            config=config,
        )
        found.append({"method": method, "seed": seed, "trial": trial})
    return found


def control_name(control: str, ipc: int) -> str:
    """How real images at a budget are called in the table."""
    return f"{control} {ipc} per class"


def _lines(judge: _Judge, name: str, found: ImageSet) -> list[dict[str, Any]]:
    config = judge.config
    several = len(found.subsets) > 1
    modes = ("sequence", "union") if several and config.sequence else ("union",)
    kinds = [kind for kind in config.labels if kind == "hard" or found.soft is not None]
    rows = []
    for model in config.models:
        for kind in kinds:
            for mode in modes:
                for augment in (AUGMENTED, PLAIN) if config.robust else (AUGMENTED,):
                    cell = Cell(name, model, kind, mode, augment)
                    line = judge.students(cell, found)
                    rows.append(
                        {
                            "set": name,
                            "model": model,
                            "labels": kind,
                            "mode": mode if several else "",
                            "augment": augment,
                            "ipc": found.ipc,
                            "bytes": found.image_bytes + (found.label_bytes if kind == "soft" else 0),
                            **line,
                        }
                    )
    return rows


def _softened(setting: Setting, config: EvaluateStage, experts: Trajectories | None, found: ImageSet) -> ImageSet:
    """A set with soft labels: its own, or the experts'; none where a stored image holds several."""
    if found.soft is not None or config.soft is None or experts is None or "soft" not in config.labels:
        return found
    if found.factor > 1:
        return found
    wanted = config.soft
    return replace(
        found,
        subsets=tuple(replace(s, soft=labels_by(setting, experts, wanted, s.images)) for s in found.subsets),
    )


def _control(
    setting: Setting, config: EvaluateStage, experts: Trajectories | None, kind: str, like: ImageSet
) -> ImageSet:
    """Real images, as many of each class as the set stores, labelled by the same experts."""
    real = setting.real
    features: Tensor | None = None
    if kind != "random":
        if experts is None:
            from limbeck.errors import ConfigError

            raise ConfigError(
                f"controls: {kind} looks at an expert's features: experts: <a dataset.experts stage>."
            )
        net = Flat(setting.builder(expert_model(experts))(0))
        weights = experts.weights(0, experts.snapshots - 1).to(real.device)
        with torch.no_grad():
            features = torch.cat([net.embed(weights, p) for p in real.train.images.split(1024)]).cpu()
    rows = pick(
        real.train.labels.cpu(),
        like.ipc,
        strategy=kind,
        seed=derive(setting.seed, "control"),
        features=features,
        class_names=real.class_names,
    ).to(real.device)
    found = ImageSet(
        subsets=(Subset(real.train.images[rows], real.train.labels[rows], None, None),),
        class_names=real.class_names,
        preprocess=real.preprocess,
        augment=like.augment,
        provenance={},
    )
    return _softened(setting, config, experts, found)


def _full(judge: _Judge) -> float:
    """Accuracy of the first network on all real training images."""
    setting, config = judge.setting, judge.config
    trial = judge.folder.trial("all-real-images")
    if not trial.finished:
        trial.begin({"epochs": config.full_epochs})
        model = judge.fresh(next(iter(config.models)), config.students.seeds[0])
        train = setting.real.train
        recipe = Recipe(
            epochs=config.full_epochs, lr=0.02, schedule="cosine", augment=recipe_of(config.students).augment
        )
        train_student(model, train.images, train.labels, recipe, seed=0)
        judge.measure(trial, model)
    return float(_measured(trial)["test"])


def _bar(config: EvaluateStage, row: Mapping[str, Any]) -> dict[str, Any]:
    parts = [row["set"], row["labels"]]
    parts += [row["model"]] if len(config.models) > 1 else []
    parts += ["in sequence"] if row["mode"] == "sequence" else []
    parts += [row["augment"]] if row["augment"] == PLAIN else []
    return {"label": ", ".join(parts), "value": row["accuracy"], "error": row["accuracy_sd"]}


def _scores(
    config: EvaluateStage, rows: Sequence[Mapping[str, Any]], budgets: Mapping[str, int], full: float | None
) -> list[dict[str, Any]]:
    """What the images and what the labels are worth, for every set, by the first network."""
    first = next(iter(config.models))

    def value(name: str, kind: str, augment: str = AUGMENTED) -> float:
        found = [
            r["accuracy"]
            for r in rows
            if (r["set"], r["model"], r["labels"], r["augment"]) == (name, first, kind, augment)
        ]
        return float(found[0]) if found else math.nan

    scores = []
    for name in config.sets:
        control = control_name("random", budgets[name])
        own = "soft" if not math.isnan(value(name, "soft")) else "hard"
        line: dict[str, Any] = {
            "set": name,
            "images": value(name, "hard") - value(control, "hard"),
            "images_soft": value(name, "soft") - value(control, "soft"),
            "labels": value(control, "soft") - value(control, "hard"),
        }
        if full is not None:
            line["hlr"] = full - value(name, "hard")
            line["lrs"] = label_robust_score(
                full_hard=full,
                synthetic_hard=value(name, "hard"),
                synthetic=value(name, own),
                random=value(control, own),
            )
        if config.robust:
            line["ars"] = augmentation_robust_score(
                synthetic=value(name, own),
                random=value(control, own),
                synthetic_plain=value(name, own, PLAIN),
                random_plain=value(control, own, PLAIN),
            )
        scores.append(line)
    return scores


def _write(
    folder: StageFolder,
    config: EvaluateStage,
    rows: Sequence[Mapping[str, Any]],
    scores: Sequence[Mapping[str, Any]],
    full: float | None,
    kept: Sequence[Mapping[str, Any]],
) -> None:
    count = len(config.students.seeds)
    whole = "" if full is None else f" All real images with hard labels: {full:.1%}."
    columns: list[dict[str, Any]] = [
        {"key": "set", "label": "Set"},
        {"key": "model", "label": "Network"},
        {"key": "labels", "label": "Labels"},
        {"key": "accuracy", "label": "Accuracy", "unit": "fraction", "better": "higher"},
        {"key": "accuracy_sd", "label": "± sd", "unit": "fraction"},
        {"key": "rate", "label": "Rate"},
        {"key": "ipc", "label": "Images per class", "unit": "count"},
        {"key": "bytes", "label": "Bytes", "unit": "bytes", "better": "lower"},
    ]
    if any(row["mode"] for row in rows):
        columns.insert(3, {"key": "mode", "label": "Student"})
    if config.robust:
        columns.insert(3, {"key": "augment", "label": "Images seen"})
    folder.write_table(
        "students",
        {
            "title": f"Students of small sets, {count} seeds",
            "columns": columns,
            "rows": list(rows),
            "note": f"Test accuracy after the last epoch; nothing was chosen by it.{whole}",
        },
    )
    folder.write_figure(
        "students",
        {
            "title": f"Students of small sets: {folder.name}",
            "caption": f"Test accuracy, mean of {count} seeds with one standard deviation.",
            "kind": "bars",
            "unit": "fraction",
            "bars": [_bar(config, row) for row in rows],
        },
    )
    if "hard" in config.labels:
        folder.write_table(
            "worth",
            {
                "title": "Images or labels?",
                "columns": [
                    {"key": "set", "label": "Set"},
                    {"key": "images", "label": "Images, hard labels", "unit": "fraction", "better": "higher"},
                    {"key": "images_soft", "label": "Images, soft labels", "unit": "fraction", "better": "higher"},
                    {"key": "labels", "label": "Labels, random images", "unit": "fraction", "better": "higher"},
                    *([{"key": "hlr", "label": "HLR", "unit": "fraction", "better": "lower"}] if full else []),
                    *([{"key": "lrs", "label": "LRS", "better": "higher"}] if full else []),
                    *([{"key": "ars", "label": "ARS", "better": "higher"}] if config.robust else []),
                ],
                "rows": list(scores),
                "note": "Gains in accuracy: of the set's images over random real ones with the same labels, "
                "and of soft "
                "labels over hard ones on random images.",
            },
        )
    best = max(rows, key=lambda row: row["accuracy"])
    folder.write_result(
        {
            "kind": config.output,
            "numbers": {
                # Of the first set, as its protocol has it: what a published table reports.
                "accuracy": number(rows[0]["accuracy"], "fraction", "higher"),
                "best_accuracy": number(best["accuracy"], "fraction", "higher"),
            },
            "summary": f"{best['set']} with {best['labels']} labels comes first: {best['accuracy']:.1%} of "
            f"the test "
            f"images ({best['model']}, {count} seeds).",
            "components": sorted(f"model:{spec.name}" for spec in config.models.values()),
            **({"kept": list(kept)} if kept else {}),
        }
    )
