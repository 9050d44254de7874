"""The stage `dataset.label`: real images, or a set made before, with labels of an expert."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limbeck.dataset.config import LabelStage
from limbeck.dataset.flat import Flat
from limbeck.dataset.image_set import ImageSet, Subset, save
from limbeck.dataset.labelling import expert_logits
from limbeck.dataset.labels import entropy, second_guess
from limbeck.dataset.picture import grid_png
from limbeck.dataset.selection import difficulty, pick
from limbeck.dataset.stages._shared import (
    SET_FILE,
    Setting,
    expert_model,
    ipc_within,
    labels_by,
    number,
    open_setting,
)
from limbeck.dataset.trajectories import Trajectories
from limbeck.errors import ConfigError
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder

_SHOWN = 40
"""More classes than this make a picture that nobody can read."""


def run_label(config: LabelStage, folder: StageFolder, context: StageContext) -> None:
    """Pick or take images, label them, and say what the labels know."""
    setting = open_setting(config, context)
    experts = setting.trajectories(config.experts) if config.experts is not None else None
    if config.megabytes is not None:
        ipc = ipc_within(config.megabytes, setting.real, soft=config.labels is not None)
        config = config.model_copy(update={"ipc": ipc})
    found = setting.image_set(config.set) if config.set is not None else picked(setting, config, experts)
    if config.labels is not None:
        assert experts is not None
        wanted = config.labels
        if found.factor > 1:
            raise ConfigError(
                f"set: each of its images holds {found.factor} x {found.factor} training images, and a soft "
                f"label is "
                "of one image. Label sets whose factor is 1."
            )
        subsets = tuple(replace(s, soft=labels_by(setting, experts, wanted, s.images)) for s in found.subsets)
        about = {**found.provenance, "labels": wanted.model_dump(mode="json"), "experts": experts.card.digest}
        if wanted.top_k is not None and not wanted.renormalise:
            about["truncated"] = True
        found = replace(found, subsets=subsets, provenance=about)
    save(found, folder.path / SET_FILE)
    _write(folder, config, setting, found)


def picked(setting: Setting, config: LabelStage, experts: Trajectories | None) -> ImageSet:
    """Real images of every class by the stage's strategy."""
    real = setting.real
    assert config.ipc is not None
    scores, features = _evidence(setting, config, experts)
    rows = pick(
        real.train.labels.cpu(),
        config.ipc,
        strategy=config.select,
        seed=setting.seed,
        scores=scores,
        features=features,
        class_names=real.class_names,
    ).to(real.device)
    about = {"made by": config.kind, "select": config.select, "seed": setting.seed, "data": real.fingerprint}
    return ImageSet(
        subsets=(Subset(real.train.images[rows], real.train.labels[rows], None, None),),
        class_names=real.class_names,
        preprocess=real.preprocess,
        augment="",
        provenance={**about, "source": config.source.model_dump(mode="json")},
    )


def _evidence(
    setting: Setting, config: LabelStage, experts: Trajectories | None
) -> tuple[Tensor | None, Tensor | None]:
    """Difficulty and features of the training images, where the strategy looks at them."""
    if experts is None or config.select == "random":
        return None, None
    real, net = setting.real, Flat(setting.builder(expert_model(experts))(0))
    epoch = experts.card.epochs[-1] if config.select_epoch is None else config.select_epoch
    weights = experts.weights(0, experts.at(epoch)).to(real.device)
    if config.select in ("herding", "kmeans"):
        with torch.no_grad():
            parts = [net.embed(weights, part) for part in real.train.images.split(1024)]
        return None, torch.cat(parts).cpu()
    logits = expert_logits(net, weights, real.train.images)
    return difficulty(logits.softmax(1), real.train.labels).cpu(), None


def _write(folder: StageFolder, config: LabelStage, setting: Setting, found: ImageSet) -> None:
    names = found.class_names
    folder.write_image("set", grid_png(found), "The set as pixels, a class a row.")
    numbers: dict[str, Any] = {
        "images": number(len(found.labels), "count"),
        "bytes": number(found.bytes, "bytes", "lower"),
        "label_bytes": number(found.label_bytes, "bytes", "lower"),
    }
    said = f"{len(found.labels):,} images with hard labels; {found.bytes:,} bytes."
    soft = found.soft
    if soft is not None:
        nats = entropy(soft)
        numbers["entropy"] = number(float(nats.mean()), "nats")
        mass = float(soft.sum(1).mean())
        right = float((soft.argmax(1) == found.labels).double().mean())
        numbers["mass"] = number(mass, "fraction")
        numbers["label_accuracy"] = number(right, "fraction", "higher")
        said = (
            f"{len(found.labels):,} images with soft labels of {float(nats.mean()):.2f} nats, right for "
            f"{right:.1%}; "
            f"{found.bytes:,} bytes, {found.label_bytes:,} of them labels."
        )
        folder.write_table(
            "labels",
            {
                "title": "Labels by class",
                "columns": [
                    {"key": "class", "label": "Class"},
                    {"key": "entropy", "label": "Entropy (nats)"},
                    {"key": "entropy_sd", "label": "± sd"},
                ],
                "rows": [
                    {
                        "class": name,
                        "entropy": float(nats[found.labels == c].mean()),
                        "entropy_sd": float(nats[found.labels == c].std(correction=0)),
                    }
                    for c, name in enumerate(names)
                ],
            },
        )
        if len(names) <= _SHOWN:
            folder.write_figure(
                "second_guess",
                {
                    "title": "Second guesses",
                    "caption": "Mean probability that labels of a class (rows) give to every other class, in "
                    "per cent.",
                    "kind": "matrix",
                    "rows": list(names),
                    "columns": list(names),
                    "values": (100 * second_guess(soft, found.labels)).round(decimals=1).tolist(),
                    "x_label": "other class",
                    "y_label": "class",
                },
            )
    folder.write_result(
        {
            "kind": "image set",
            "set": SET_FILE,
            "numbers": numbers,
            "summary": said,
            "components": [f"source:{config.source.name}"],
        }
    )
