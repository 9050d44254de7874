"""One student, several methods, several seeds, an equal budget: which method is worth it for this pair?"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.classify.config import CompareStage, Objective
from limbeck.classify.data import Data, load_data
from limbeck.classify.fitting import fit_classifier
from limbeck.classify.products import cost_numbers, write_classifier
from limbeck.classify.stages import components_of, find_student, find_teaching, stage_seed
from limbeck.classify.teaching import Teaching, reference_of, refuse_guessing
from limbeck.engine import Machine
from limbeck.engine.evaluate import Guesses
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder

CONTROL = "control"
"""The row of the undistilled student: the same budget, labels alone."""
CONTROL_OBJECTIVE = Objective.model_validate("control")


@dataclass(frozen=True)
class _Setting:
    """What all trials of a comparison share."""

    config: CompareStage
    data: Data
    teaching: Teaching
    reference: Guesses | None
    machine: Machine
    context: StageContext


def run_compare(config: CompareStage, folder: StageFolder, context: StageContext) -> None:
    """Distil the student by every method with every seed, beside an undistilled control."""
    machine = Machine(device=context.device, precision=config.train.precision)
    data = load_data(config, seed=stage_seed(config, context))
    teaching = find_teaching(config, data, machine, context)
    reference = reference_of(teaching, data, machine)
    if not (config.weak_teacher or context.smoke):
        refuse_guessing(teaching, reference)
    setting = _Setting(config, data, teaching, reference, machine, context)
    methods: dict[str, Objective] = {CONTROL: CONTROL_OBJECTIVE, **config.methods}
    results = {
        method: [_trial(setting, folder, method, objective, seed) for seed in config.seeds]
        for method, objective in methods.items()
    }
    teacher_row = _teacher_row(setting)
    if machine.main:
        write_comparison(folder, results, teacher_row, seeds=config.seeds)
    machine.wait()


def _trial(setting: _Setting, folder: StageFolder, method: str, objective: Objective, seed: int) -> dict[str, Any]:
    """One student; a finished one is read back, an unfinished one resumes."""
    trial = folder.trial(f"{method}-s{seed}")
    if trial.finished:
        return trial.result()
    config, data = setting.config, setting.data
    # Of its own: what Accelerate holds of a trial goes with the trial, and no loss scale carries over.
    machine = Machine(device=setting.context.device, precision=config.train.precision)
    if machine.main:
        trial.begin({"method": method, "seed": seed, **objective.model_dump(mode="json")})
    fitted = fit_classifier(
        find_student(config, data, setting.context, seed=seed),
        objective,
        data=data,
        training=config.train,
        machine=machine,
        records=trial,
        seed=seed,
        # The control never sees the teacher; only its agreement is measured.
        teaching=setting.teaching if method != CONTROL else None,
        reference=setting.reference,
        title=trial.name,
        progress=setting.context.progress,
    )
    result = write_classifier(
        trial,
        fitted,
        data=data,
        machine=machine,
        components=components_of(config, objective),
        notes={"stage": "classify.compare", "method": method, "seed": seed},
    )
    if machine.main:
        shutil.rmtree(trial.path / "checkpoints", ignore_errors=True)  # many trials, little worth once finished
    return result


def write_comparison(
    folder: StageFolder,
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    teacher_row: Mapping[str, Any] | None,
    *,
    seeds: Sequence[int],
) -> None:
    """The table, the picture and the verdict of a comparison.

    Args:
        folder: of the stage.
        results: method -> result of each seed, in the order of the seeds; the control is among them.
        teacher_row: the teacher's line of the table; None where the student teaches itself.
        seeds: what they were.
    """
    rows = [_row(method, found, results[CONTROL]) for method, found in results.items()]
    chosen_by, best = _best(rows, results)
    folder.write_table(
        "comparison",
        {
            "title": f"Equal budget, {len(seeds)} seeds ({', '.join(map(str, seeds))})",
            "columns": [
                {"key": "method", "label": "Method"},
                {"key": "accuracy", "label": "Accuracy", "unit": "fraction", "better": "higher"},
                {"key": "accuracy_sd", "label": "± sd", "unit": "fraction"},
                {"key": "difference", "label": "Over control", "unit": "points", "better": "higher"},
                {"key": "wins", "label": "Seeds won"},
                {"key": "agreement", "label": "Agreement", "unit": "fraction", "better": "higher"},
                {"key": "parameters", "label": "Parameters", "unit": "count"},
                {"key": "flops", "label": "FLOPs", "unit": "FLOP per image"},
                {"key": "seconds", "label": "Training", "unit": "s"},
            ],
            "rows": [*([teacher_row] if teacher_row is not None else []), *rows],
            "note": f"Ranked by {chosen_by}. "
            "Every student starts from the same weights as the control of its seed and sees the same "
            "images in the same order. Over control: difference of the means; seeds won: seeds in which the "
            "method beats the control of that seed.",
        },
    )
    folder.write_figure(
        "accuracy",
        {
            "title": "Test accuracy by method",
            "caption": "Mean over seeds with one standard deviation; dots are single seeds.",
            "kind": "bars",
            "unit": "fraction",
            "bars": [
                {
                    "label": row["method"],
                    "value": row["accuracy"],
                    "error": row["accuracy_sd"],
                    "points": [r["numbers"]["accuracy"]["value"] for r in results[row["method"]]],
                }
                for row in rows
            ],
            "references": [{"label": "teacher", "value": teacher_row["accuracy"]}] if teacher_row else [],
        },
    )
    winner = results[best["method"]]
    folder.write_result(
        {
            "kind": "comparison",
            "numbers": {
                "accuracy": {"value": best["accuracy"], "unit": "fraction", "better": "higher"},
                "difference": {"value": best["difference"], "unit": "points", "better": "higher"},
            },
            "best": best["method"],
            "model": f"trials/{best['method']}-s{seeds[0]}/{winner[0]['model']}",
            "chosen_by": chosen_by,
            "summary": _verdict(best, rows, chosen_by),
            "components": sorted({c for found in results.values() for r in found for c in r["components"]}),
        }
    )


def _row(method: str, found: Sequence[Mapping[str, Any]], control: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def values(name: str, of: Sequence[Mapping[str, Any]] = found) -> list[float]:
        return [result["numbers"][name]["value"] for result in of]

    accuracy, baseline = values("accuracy"), values("accuracy", control)
    row: dict[str, Any] = {
        "method": method,
        "accuracy": statistics.fmean(accuracy),
        "accuracy_sd": statistics.stdev(accuracy) if len(accuracy) > 1 else None,
        "agreement": statistics.fmean(values("agreement")) if "agreement" in found[0]["numbers"] else None,
        "parameters": values("parameters")[0],
        "flops": values("flops")[0],
        "seconds": statistics.fmean(values("seconds")),
    }
    if method != CONTROL:
        row["difference"] = 100 * (row["accuracy"] - statistics.fmean(baseline))
        row["wins"] = f"{sum(a > b for a, b in zip(accuracy, baseline, strict=True))} of {len(accuracy)}"
    return row


def _best(
    rows: Sequence[Mapping[str, Any]], results: Mapping[str, Sequence[Mapping[str, Any]]]
) -> tuple[str, Mapping[str, Any]]:
    """What ranks the methods (the held-out share where there is one) and the first in rank."""
    taught = [row for row in rows if row["method"] != CONTROL]
    held_out = "validation_accuracy"
    if not all(held_out in result["numbers"] for row in taught for result in results[row["method"]]):
        return "test accuracy", max(taught, key=lambda row: row["accuracy"])

    def by_validation(row: Mapping[str, Any]) -> float:
        return statistics.fmean(result["numbers"][held_out]["value"] for result in results[row["method"]])

    return "validation accuracy", max(taught, key=by_validation)


def _verdict(best: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], chosen_by: str) -> str:
    beaten = [row["method"] for row in rows if row.get("difference", 0) > 0]
    if not beaten:
        return "No method beat the undistilled control at this budget."
    return (
        f"{best['method']} comes first in {chosen_by}: {best['accuracy']:.2%} on the test set, "
        f"{best['difference']:+.2f} points over the undistilled control ({best['wins']} seeds won). "
        f"{len(beaten)} of {len(rows) - 1} methods beat the control."
    )


def _teacher_row(setting: _Setting) -> dict[str, Any] | None:
    if setting.reference is None:
        return None
    costs = [
        cost_numbers(teacher.model, teacher.data.input_shape) for teacher in setting.teaching.teachers.values()
    ]
    return {
        "method": "teacher" if len(costs) == 1 else f"{len(costs)} teachers",
        "accuracy": setting.reference.accuracy,
        "agreement": 1.0,
        **{name: sum(cost[name]["value"] for cost in costs) for name in costs[0]},
    }
