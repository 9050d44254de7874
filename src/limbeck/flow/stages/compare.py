"""The stage `flow.compare`: choices beside one another, over several seeds, at an equal budget."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.flow.artefact import load, save
from limbeck.flow.config import CompareStage, Learning
from limbeck.flow.scoring import Judge, used_columns
from limbeck.flow.stages._shared import FLOW_FILE, Setting, number, open_setting
from limbeck.flow.stages.distill import Lessons, components_of, learn, lessons_of
from limbeck.flow.stages.score import HEADLINES, TITLES, ground_of, title_of, write_curves, write_pictures
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder


def run_compare(config: CompareStage, folder: StageFolder, context: StageContext) -> None:
    """Train and measure every student; finished ones are read back."""
    setting = open_setting(config, context)
    widest = next(
        (v for v in config.variants.values() if v.distance is not None), next(iter(config.variants.values()))
    )
    lessons = lessons_of(setting, widest, config.teacher, config.pairs, config.real_pairs, config.features)
    guidance = lessons.pairs.manifest.guidance if lessons.pairs is not None else None
    judge = ground_of(setting, config, classes=lessons.teacher.classes, teacher=lessons.teacher, guidance=guidance)
    found: dict[str, list[list[dict[str, Any]]]] = {}
    for name, reference in {"teacher": config.teacher, **config.seeded}.items():
        flow = setting.flow(reference)
        found[name] = [judge.rows(flow)]
        if setting.machine.main:
            write_pictures(folder, judge, name, flow, most=1)
    costs: dict[str, dict[str, Any]] = {}
    for name, variant in config.variants.items():
        given = _with_distance(setting, variant, lessons, config)
        for seed in config.seeds:
            trial = folder.trial(f"{_plain(name)}-s{seed}")
            if not trial.finished:
                _student(setting, config, name, given, trial, judge, seed)
            setting.machine.wait()
            result = trial.result()
            found.setdefault(name, []).append(result["rows"])
            costs[name] = result["costs"]
        if setting.machine.main:
            first = folder.trial(f"{_plain(name)}-s{config.seeds[0]}")
            write_pictures(folder, judge, name, load(first.path / FLOW_FILE, device=setting.device), most=1)
    if setting.machine.main:
        _write(config, folder, judge, found, costs)


def _with_distance(setting: Setting, variant: Learning, lessons: Lessons, config: CompareStage) -> Lessons:
    distance = setting.distance(variant.distance, config.features)
    return Lessons(lessons.teacher, lessons.pairs, lessons.real, distance)


def _student(
    setting: Setting,
    config: CompareStage,
    name: str,
    lessons: Lessons,
    trial: StageFolder,
    judge: Judge,
    seed: int,
) -> None:
    variant = config.variants[name]
    if setting.machine.main:
        trial.begin({"method": name, "learning": variant.model_dump(mode="json"), "seed": seed})
    setting.machine.wait()
    training = config.train
    passes = None
    if config.equal == "passes":
        passes = training.steps * training.batch_size * training.accumulation  # reflow's: one a step and image
    fitted = learn(setting, variant, lessons, training, records=trial, seed=seed, title=trial.name, passes=passes)
    if setting.machine.main:
        save(fitted.flow, trial.path / FLOW_FILE, class_names=lessons.teacher.class_names)
        rows = judge.rows(fitted.flow)
        costs = {"steps": fitted.fit.steps, "passes": fitted.passes, "train_seconds": fitted.fit.seconds}
        trial.write_result(
            {
                "kind": "flow",
                "model": FLOW_FILE,
                "rows": rows,
                "costs": costs,
                "numbers": {"seconds": number(fitted.fit.seconds, "s", "lower")},
                "summary": f"{fitted.fit.steps:,} steps.",
            }
        )


def _write(
    config: CompareStage,
    folder: StageFolder,
    judge: Judge,
    found: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]],
    costs: Mapping[str, Mapping[str, Any]],
) -> None:
    rows: list[dict[str, Any]] = [{"flow": "real data against real data", **judge.floor()}]
    for name, seeds in found.items():
        for place in range(len(seeds[0])):
            cells = [rows_of_seed[place] for rows_of_seed in seeds]
            rows.append({"flow": name, **_mean(cells)})
    spread = [key for key in (*HEADLINES, "coupling") if any(f"{key}_spread" in row for row in rows)]
    columns: list[dict[str, Any]] = [{"key": "flow", "label": "Flow"}]
    for column in used_columns(rows):
        columns.append(column)
        if column["key"] in spread:
            columns.append({"key": f"{column['key']}_spread", "label": "± over seeds"})
    note = f"Mean and standard deviation over seeds {', '.join(map(str, config.seeds))}."
    folder.write_table("scores", {"title": title_of(judge), "columns": columns, "rows": rows, "note": note})
    folder.write_table("costs", _costs(costs, config))
    write_curves(folder, rows)
    head = next(key for key in HEADLINES if key in rows[1])
    one = {row["flow"]: row[head] for row in rows if row.get("evaluations") == config.scoring.evaluations[0]}
    best = min(one, key=lambda name: one[name])
    folder.write_figure(
        "one",
        {
            "title": f"{TITLES[head][0].upper()}{TITLES[head][1:]} with {config.scoring.evaluations[0]} "
            "evaluation",
            "caption": "Lower is better.",
            "kind": "bars",
            "x_label": TITLES[head],
            "bars": [{"label": name, "value": value} for name, value in one.items() if name != "teacher"],
        },
    )
    teacher = one.get("teacher")
    beside = f" against the teacher's {teacher:.4g}" if teacher is not None else ""
    folder.write_result(
        {
            "kind": "comparison",
            "numbers": {f"best_{head}": number(one[best], "", "lower")},
            "summary": f"With {config.scoring.evaluations[0]} network evaluation, '{best}' has the lowest "
            f"{TITLES[head]}: {one[best]:.4g}{beside}; real data against real data {rows[0][head]:.4g}.",
            "components": sorted(set().union(*(components_of(v) for v in config.variants.values()))),
        }
    )


def _mean(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key in cells[0]:
        values = [cell[key] for cell in cells if cell.get(key) is not None]
        row[key] = values[0] if key == "evaluations" else statistics.fmean(values)
        if len(values) > 1 and key in (*HEADLINES, "coupling"):
            row[f"{key}_spread"] = statistics.stdev(values)
    return row


def _costs(costs: Mapping[str, Mapping[str, Any]], config: CompareStage) -> dict[str, Any]:
    return {
        "title": "What training cost",
        "columns": [
            {"key": "flow", "label": "Flow"},
            {"key": "steps", "label": "Steps", "unit": "count"},
            {"key": "passes", "label": "Forward passes", "unit": "count", "better": "lower"},
            {"key": "train_seconds", "label": "Training", "unit": "s", "better": "lower"},
        ],
        "rows": [{"flow": name, **cost} for name, cost in costs.items()],
        "note": f"Equal {config.equal}; forward passes of student and teachers for each image, as the paper "
        "counts.",
    }


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
