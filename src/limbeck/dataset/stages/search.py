"""The stage `dataset.search`: which age of expert labels best at which budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from limbeck.dataset.config import Labels, SearchStage
from limbeck.dataset.flat import Flat
from limbeck.dataset.labelling import expert_logits
from limbeck.dataset.labels import entropy
from limbeck.dataset.selection import pick
from limbeck.dataset.stages._shared import Setting, expert_model, labels_by, number, open_setting, recipe_of
from limbeck.dataset.stages.knowledge import write_knowledge
from limbeck.dataset.students import accuracy, spread, train_student
from limbeck.dataset.trajectories import Trajectories
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.seeding import derive

HARD = "hard"


@dataclass(frozen=True)
class Knowledge:
    """What a label knows.

    Attributes:
        epoch: of the expert; None for hard labels.
        k: largest probabilities that are kept; None for all.
    """

    epoch: float | None
    k: int | None = None

    @property
    def name(self) -> str:
        """In tables and trials."""
        if self.epoch is None:
            return HARD
        return f"e{self.epoch:g}" + ("" if self.k is None else f"-top{self.k}")


def run_search(config: SearchStage, folder: StageFolder, context: StageContext) -> None:
    """Students for every budget, label and seed; then the tables and figures over them."""
    setting = open_setting(config, context)
    experts = setting.trajectories(config.experts)
    ages = _ages(setting, experts, config.epochs)
    known = [Knowledge(None), *(Knowledge(e) for e in config.epochs)]
    known += [Knowledge(e, k) for e in config.epochs for k in config.top_k if 0 < k < setting.real.classes]
    rows = []
    for ipc in sorted(config.ipcs):
        for knowledge in known:
            found = [_student(setting, config, folder, experts, ipc, knowledge, s) for s in config.students.seeds]
            rows.append(_row(ipc, knowledge, found, ages))
    write_knowledge(folder, config, rows, setting.real)


def _student(
    setting: Setting,
    config: SearchStage,
    folder: StageFolder,
    experts: Trajectories,
    ipc: int,
    knowledge: Knowledge,
    seed: int,
) -> dict[str, float]:
    """One student with images of its own; a finished one is read back."""
    trial = folder.trial(f"{ipc}-{knowledge.name}-s{seed}")
    if not trial.finished:
        trial.begin({"ipc": ipc, "knowledge": vars(knowledge), "seed": seed})
        real = setting.real
        rows = pick(
            real.train.labels.cpu(), ipc, seed=derive(setting.seed, "images", seed), class_names=real.class_names
        )
        images, labels = real.train.images[rows.to(real.device)], real.train.labels[rows.to(real.device)]
        targets, nats, mass = labels, 0.0, 1.0
        if knowledge.epoch is not None:
            wanted = Labels(epoch=knowledge.epoch, beta=config.beta, top_k=knowledge.k)
            targets = labels_by(setting, experts, wanted, images)
            nats, mass = float(entropy(targets).mean()), float(targets.sum(1).mean())
        recipe = recipe_of(config.students)
        if ipc in config.student_epochs:
            recipe = replace(recipe, epochs=config.student_epochs[ipc])
        model = setting.builder(config.model or expert_model(experts))(derive(seed, "student"))
        train_student(model, images, targets, recipe, seed=seed)
        numbers = {
            "accuracy": number(accuracy(model, real.test), "fraction", "higher"),
            "validation_accuracy": number(accuracy(model, real.choosing), "fraction", "higher"),
            "entropy": number(nats, "nats"),
            "mass": number(mass, "fraction"),
        }
        trial.write_result(
            {
                "kind": "student",
                "numbers": numbers,
                "summary": f"{numbers['accuracy']['value']:.2%} of the test images.",
            }
        )
    return {name: float(found["value"]) for name, found in trial.result()["numbers"].items()}


def _ages(setting: Setting, experts: Trajectories, epochs: Sequence[float]) -> dict[float, float]:
    """Validation accuracy of the labelling expert at each age."""
    real, net = setting.real, Flat(setting.builder(expert_model(experts))(0))
    found = {}
    for epoch in epochs:
        weights = experts.weights(0, experts.at(epoch)).to(real.device)
        logits = expert_logits(net, weights, real.choosing.images)
        found[epoch] = float((logits.argmax(1) == real.choosing.labels).to(torch.float64).mean())
    return found


def _row(
    ipc: int, knowledge: Knowledge, found: Sequence[Mapping[str, float]], ages: Mapping[float, float]
) -> dict[str, Any]:
    test, deviation = spread([f["accuracy"] for f in found])
    held, _ = spread([f["validation_accuracy"] for f in found])
    return {
        "ipc": ipc,
        "label": knowledge.name,
        "epoch": knowledge.epoch,
        "k": knowledge.k,
        "accuracy": test,
        "accuracy_sd": deviation,
        "students": len(found),
        "validation": held,
        "entropy": spread([f["entropy"] for f in found])[0],
        "mass": spread([f["mass"] for f in found])[0],
        "expert": None if knowledge.epoch is None else ages[knowledge.epoch],
    }
