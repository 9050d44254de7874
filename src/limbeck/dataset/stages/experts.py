"""The stage `dataset.experts`: real training, written down as it goes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.dataset.config import ExpertsStage
from limbeck.dataset.experts import ExpertRecipe, train_expert
from limbeck.dataset.flat import Flat
from limbeck.dataset.labelling import expert_logits
from limbeck.dataset.real import Real
from limbeck.dataset.stages._shared import TRAJECTORIES, Setting, number, open_setting
from limbeck.dataset.trajectories import Card, Trajectories, begin
from limbeck.engine.interrupt import stop_flag
from limbeck.engine.progress import Progress
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.seeding import derive
from limbeck.specs import Spec


def run_experts(config: ExpertsStage, folder: StageFolder, context: StageContext) -> None:
    """Train the experts; finished ones stay, an unfinished one goes on where it was."""
    setting = open_setting(config, context)
    real, build = setting.real, setting.builder(config.model)
    recipe = ExpertRecipe(config.batch_size, config.lr, config.momentum, config.weight_decay, config.augment)
    card = Card(
        model=config.model.model_dump(),
        parameters=Flat(build(0)).size,
        epochs=config.taken,
        class_names=real.class_names,
        image_shape=real.image_shape,
        data=real.fingerprint,
        preprocess=real.preprocess.name,
        recipe={**vars(recipe), "seed": setting.seed, "validation": config.validation},
    )
    place = folder.path / TRAJECTORIES
    begin(place, card, real.preprocess)
    train_all(setting, build_weights(build, setting.seed), place, card, recipe, config.experts, config.half)
    write_experts(folder, Trajectories(place), real, setting, config)


def build_weights(build: Callable[[int], nn.Module], seed: int) -> Callable[[int], Tensor]:
    """Expert -> its initial weights; its weights and its data follow seeds of their own."""

    def start(expert: int) -> Tensor:
        return Flat(build(derive(seed, "expert", expert))).start()

    return start


def train_all(
    setting: Setting,
    start: Callable[[int], Tensor],
    place: Path,
    card: Card,
    recipe: ExpertRecipe,
    experts: int,
    half: bool,
) -> None:
    """All experts of a folder, one after another."""
    net = Flat(setting.builder(Spec(**card.model))(0))
    title = "experts"
    with stop_flag() as stop, Progress(title, steps=experts, shown=setting.context.progress) as progress:
        for expert in range(experts):
            train_expert(
                net,
                setting.real.train,
                recipe,
                number=expert,
                seed=setting.seed,
                folder=place,
                card=card,
                start=partial(start, expert),
                dtype=torch.float16 if half else torch.float32,
                stop=stop,
            )
            progress.update(step=expert + 1, epoch=expert + 1, loss=float("nan"))


def write_experts(
    folder: StageFolder, found: Trajectories, real: Real, setting: Setting, config: ExpertsStage
) -> None:
    """How good and how sure the experts are at each age: what early stopping is about."""
    net = Flat(setting.builder(config.model)(0))
    judged = real.validation or real.train
    on = "validation" if real.validation is not None else "training"
    rows: list[dict[str, Any]] = []
    for snapshot, epoch in enumerate(found.card.epochs):
        right, entropy = [], []
        for expert in range(len(found)):
            probabilities = expert_logits(net, found.weights(expert, snapshot).to(real.device), judged.images)
            probabilities = probabilities.double().softmax(1)
            right.append((probabilities.argmax(1) == judged.labels).double().mean().item())
            entropy.append(-(probabilities * probabilities.clamp(min=1e-30).log()).sum(1).mean().item())
        rows.append({"epoch": epoch, "accuracy": sum(right) / len(right), "entropy": sum(entropy) / len(entropy)})
    folder.write_table(
        "experts",
        {
            "title": f"Experts by age, mean of {len(found)}",
            "columns": [
                {"key": "epoch", "label": "Epoch", "unit": "epoch"},
                {"key": "accuracy", "label": f"Accuracy ({on})", "unit": "fraction", "better": "higher"},
                {"key": "entropy", "label": "Entropy of labels (nats)"},
            ],
            "rows": rows,
        },
    )
    folder.write_figure(
        "experts",
        {
            "title": "Experts by age",
            "caption": f"Mean accuracy of {len(found)} experts on {len(judged)} {on} images at each snapshot.",
            "kind": "lines",
            "x_label": "epoch",
            "y_label": "accuracy",
            "unit": "fraction",
            "series": [{"label": on, "x": [r["epoch"] for r in rows], "y": [r["accuracy"] for r in rows]}],
        },
    )
    size = sum(path.stat().st_size for path in found.folder.glob("*.safetensors"))
    folder.write_result(
        {
            "kind": "trajectories",
            "trajectories": TRAJECTORIES,
            "numbers": {
                "experts": number(len(found), "count"),
                "snapshots": number(found.snapshots, "count"),
                "validation_accuracy": number(rows[-1]["accuracy"], "fraction", "higher"),
                "bytes": number(size, "bytes", "lower"),
            },
            "summary": f"{len(found)} experts with {found.snapshots} snapshots each; the last are right on "
            f"{rows[-1]['accuracy']:.1%} of {len(judged)} {on} images.",
            "components": sorted([f"model:{config.model.name}", f"source:{config.source.name}"]),
        }
    )
