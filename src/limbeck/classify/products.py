"""What a classification stage leaves behind: the model file, numbers, tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from limbeck.classify.data import Data
from limbeck.classify.fitting import Fitted
from limbeck.engine import Machine
from limbeck.engine.evaluate import Evaluation
from limbeck.measures import flops, parameters
from limbeck.models import save
from limbeck.runs.folder import StageFolder

MODEL_FILE = "model.safetensors"
_CONFUSION_CLASSES = 40
"""Above so many classes a confusion matrix shows the most confused ones alone."""


def write_classifier(
    folder: StageFolder,
    fitted: Fitted,
    *,
    data: Data,
    machine: Machine,
    components: Sequence[str],
    notes: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the model and everything that the report shows of it; `result.json` comes last.

    Args:
        folder: of the stage.
        fitted: model and measurements.
        data: what it was trained and measured on.
        machine: where it was trained.
        components: what was used, as "kind:name", for citations.
        notes: kept inside the model file.

    Returns:
        The result, as written.
    """
    numbers = classifier_numbers(fitted, data)
    result = {
        "kind": "classifier",
        "model": MODEL_FILE,
        "numbers": numbers,
        "summary": f"{fitted.test.accuracy:.2%} of {fitted.test.images} test images are classified correctly.",
        "peak_memory_bytes": fitted.fit.peak_memory_bytes,
        "components": sorted(set(components)),
    }
    if machine.main:
        spec = spec_of_model(fitted.model)
        facts = getattr(fitted.model, "limbeck_data", data.config)
        save(fitted.model, folder.path / MODEL_FILE, spec=spec, data=facts, notes=dict(notes))
        write_evaluation(folder, fitted.test, data.class_names)
        folder.write_result(result)
    machine.wait()
    return result


def classifier_numbers(fitted: Fitted, data: Data) -> dict[str, dict[str, Any]]:
    """The numbers of one classifier, with units and which way is better."""
    numbers: dict[str, dict[str, Any]] = {
        "accuracy": _number(fitted.test.accuracy, "fraction", "higher"),
        **cost_numbers(fitted.model, data.train.image_shape),
        "seconds": _number(fitted.fit.seconds, "s", "lower"),
    }
    if fitted.test.agreement is not None:
        numbers["agreement"] = _number(fitted.test.agreement, "fraction", "higher")
    if fitted.validation is not None:
        numbers["validation_accuracy"] = _number(fitted.validation.accuracy, "fraction", "higher")
    if fitted.fit.best_epoch is not None:
        numbers["best_epoch"] = _number(fitted.fit.best_epoch, "epoch", None)
    return numbers


def cost_numbers(model: nn.Module, image_shape: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Parameters and FLOPs of one image (c, h, w), what a model costs to run."""
    example = torch.zeros(1, *image_shape, device=next(model.parameters()).device)
    return {
        "parameters": _number(parameters(model), "count", "lower"),
        "flops": _number(flops(model, example), "FLOP per image", "lower"),
    }


def write_evaluation(folder: StageFolder, found: Evaluation, class_names: Sequence[str]) -> None:
    """Accuracy by class as a table; confusion, and agreement with the teacher, as figures."""
    per_class = found.per_class
    counts = found.confusion.sum(1).long().tolist()
    folder.write_table(
        "classes",
        {
            "title": "Accuracy by class",
            "columns": [
                {"key": "class", "label": "Class"},
                {"key": "accuracy", "label": "Accuracy", "unit": "fraction", "better": "higher"},
                {"key": "images", "label": "Test images", "unit": "count"},
            ],
            "rows": [
                {"class": name, "accuracy": value, "images": count}
                for name, value, count in zip(class_names, per_class, counts, strict=True)
            ],
        },
    )
    shown = most_confused(found, _CONFUSION_CLASSES)
    names = [class_names[i] for i in shown]
    some = "" if len(shown) == len(class_names) else f" The {len(shown)} least accurate classes are shown."
    matrices = {"confusion": ("Confusion", "label", found.confusion)}
    if found.agreement_counts is not None:
        matrices["agreement"] = ("Agreement with the teacher", "teacher", found.agreement_counts)
    for name, (title, rows, counts_by_class) in matrices.items():
        folder.write_figure(
            name,
            {
                "title": title,
                "caption": f"Test images by {rows} (rows) and prediction (columns).{some}",
                "kind": "matrix",
                "rows": names,
                "columns": names,
                "values": counts_by_class[shown][:, shown].long().tolist(),
                "x_label": "predicted",
                "y_label": rows,
            },
        )


def most_confused(found: Evaluation, limit: int) -> list[int]:
    """Indices of the classes to show: all if they fit, else the least accurate ones, in their own order."""
    accuracy = torch.tensor(found.per_class).nan_to_num(1.0)
    if len(accuracy) <= limit:
        return list(range(len(accuracy)))
    return sorted(accuracy.argsort()[:limit].tolist())


def spec_of_model(model: nn.Module) -> dict[str, Any]:
    """How a model is rebuilt: the spec that built it, or the class of a module that came from outside."""
    spec = getattr(model, "limbeck_spec", None)
    if spec is not None:
        return dict(spec)
    return {"name": f"{type(model).__module__}:{type(model).__qualname__}"}


def _number(value: float, unit: str, better: str | None) -> dict[str, Any]:
    return {"value": value, "unit": unit, **({"better": better} if better else {})}
