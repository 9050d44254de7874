"""The stage `detect.compare`: one detector, several methods, several seeds, an equal budget."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.detect.config import CONTROL, CompareStage, Term, folder_word
from limbeck.detect.fitting import fit_detector
from limbeck.detect.labels import accuracy, label_objects
from limbeck.detect.left_out import write_left_out
from limbeck.detect.lesson import Teachers
from limbeck.detect.products import MODEL_FILE, write_comparing_pictures, write_detector
from limbeck.detect.scoring import ERROR_WORDS, HEADLINES, MAIN_ERRORS, Scores
from limbeck.detect.stages._shared import Setting, known_detector, open_setting
from limbeck.detect.stages.train import components_of
from limbeck.detect.units import number
from limbeck.engine import Machine
from limbeck.measures import parameters
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder

Results = Mapping[str, Sequence[Mapping[str, Any]]]


def run_compare(config: CompareStage, folder: StageFolder, context: StageContext) -> None:
    """Train the detector by every method with every seed, beside an undistilled control."""
    setting = open_setting(config, context)
    teachers = setting.teachers(config)
    methods: dict[str, Sequence[Term]] = {CONTROL: (), **config.methods}
    results = {
        name: [_trial(setting, config, folder, name, terms, teachers, seed) for seed in config.seeds]
        for name, terms in methods.items()
    }
    rows = _teacher_rows(setting, config, teachers)
    best = max(config.methods, key=lambda name: _mean(results[name], "AP"))
    shown = _scores_of(setting, folder, dict.fromkeys((CONTROL, best), config.seeds[0]))
    if setting.machine.main:
        write_comparing_pictures(folder, setting.judge, (CONTROL, shown[CONTROL]), (best, shown[best]))
        skipped = write_left_out(folder, {"train": setting.train, config.scoring.split: setting.judge.source})
        write_comparison(folder, results, rows, seeds=config.seeds, best=best, skipped=skipped)
    setting.machine.wait()


def _trial(
    setting: Setting,
    config: CompareStage,
    folder: StageFolder,
    name: str,
    terms: Sequence[Term],
    teachers: Teachers,
    seed: int,
) -> dict[str, Any]:
    """One detector; a finished one is read back, an unfinished one resumes."""
    trial = folder.trial(trial_name(name, seed))
    if trial.finished:
        return trial.result()
    # Of its own: what Accelerate holds of a trial goes with the trial, and no loss scale carries over.
    machine = Machine(device=setting.context.device, precision=config.train.precision)
    if machine.main:
        said = [term.model_dump(mode="json") for term in terms]
        trial.begin({"method": name, "seed": seed, "terms": said})
    fitted = fit_detector(
        setting.student(seed),
        terms,
        source=setting.train,
        training=config.train,
        machine=machine,
        records=trial,
        seed=seed,
        judge=setting.judge,
        validation=setting.validation,
        teachers=teachers,
        title=trial.name,
        progress=setting.context.progress,
    )
    if machine.main:
        components = [*components_of(config), *(f"detection loss:{term.loss.name}" for term in terms)]
        notes = {"stage": config.kind, "method": name, "seed": seed}
        write_detector(
            trial,
            fitted,
            judge=setting.judge,
            source=setting.train,
            components=components,
            notes=notes,
            pictures=False,
        )
        shutil.rmtree(trial.path / "checkpoints", ignore_errors=True)  # many trials, little worth once finished
    machine.wait()
    return trial.result()


def trial_name(method: str, seed: int) -> str:
    """Name of a trial's folder.

    Example:
        >>> trial_name("both, PKD", 0)
        'both--PKD-s0'
    """
    return f"{folder_word(method)}-s{seed}"


def _scores_of(setting: Setting, folder: StageFolder, trials: Mapping[str, int]) -> dict[str, Scores]:
    """What finished trials find, for pictures."""
    found = {}
    for name, seed in trials.items():
        path = folder.trial(trial_name(name, seed)).path / MODEL_FILE
        found[name] = setting.judge(known_detector(path, setting.train, setting.device, what=name))
    return found


def _teacher_rows(setting: Setting, config: CompareStage, teachers: Teachers) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if teachers.classifier is not None:
        source = setting.judge.source
        logits = label_objects(source, teachers.classifier, device=setting.device)
        rows.append(
            {
                "method": "classifier",
                "note": f"The classifier is right about {accuracy(logits, source):.1%} of the test objects.",
                "parameters": parameters(teachers.classifier.model),
            }
        )
    if teachers.detector is not None:
        scores = setting.judge(teachers.detector.detector)
        rows.append(
            {
                "method": "teacher",
                **{key: getattr(scores.coco, key) for key in HEADLINES},
                **{f"error_{name}": scores.errors.dAP[name] for name in MAIN_ERRORS},
                "parameters": parameters(teachers.detector.detector),
            }
        )
    return rows


def write_comparison(
    folder: StageFolder,
    results: Results,
    teacher_rows: Sequence[Mapping[str, Any]],
    *,
    seeds: Sequence[int],
    best: str,
    skipped: Mapping[str, Mapping[str, int]],
) -> None:
    """The tables, the pictures and the verdict of a comparison.

    Args:
        folder: of the stage.
        results: method -> result of each seed, in the order of the seeds; the control is among them.
        teacher_rows: lines of those who taught.
        seeds: what they were.
        best: the method with the largest AP.
        skipped: split -> reason -> what the source left out.
    """
    rows = [_row(name, found, results[CONTROL]) for name, found in results.items()]
    folder.write_table("comparison", _table(rows, teacher_rows, seeds))
    folder.write_table("errors", _error_table(results, teacher_rows))
    for key in HEADLINES:
        folder.write_figure(key.lower(), _bars(results, key, key, better="higher"))
    for kind in ("Cls", "Loc"):
        title = f"What {ERROR_WORDS[kind]} errors cost"
        folder.write_figure(f"error_{kind.lower()}", _bars(results, f"error_{kind}", title, better="lower"))
    won = next(row for row in rows if row["method"] == best)
    folder.write_result(
        {
            "kind": "comparison",
            "numbers": {
                "AP": number(won["AP"], "fraction", "higher"),
                "difference": number(won["difference"], "points", "higher"),
            },
            "best": best,
            "model": f"trials/{trial_name(best, seeds[0])}/{MODEL_FILE}",
            "chosen_by": "AP of the split that is measured",
            "summary": _verdict(won, rows),
            "skipped": skipped,
            "components": sorted({c for found in results.values() for r in found for c in r["components"]}),
        }
    )


def _row(name: str, found: Sequence[Mapping[str, Any]], control: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {"method": name}
    for key in HEADLINES:
        values = _values(found, key)
        row[key] = statistics.fmean(values)
        row[f"{key}_sd"] = statistics.stdev(values) if len(values) > 1 else None
    for kind in ("Cls", "Loc"):
        row[f"error_{kind}"] = _mean(found, f"error_{kind}")
    row["parameters"] = found[0]["numbers"]["parameters"]["value"]
    row["seconds"] = _mean(found, "seconds")
    if name != CONTROL:
        ours, theirs = _values(found, "AP"), _values(control, "AP")
        row["difference"] = 100 * (statistics.fmean(ours) - statistics.fmean(theirs))
        row["wins"] = f"{sum(a > b for a, b in zip(ours, theirs, strict=True))} of {len(ours)}"
    return row


def _table(
    rows: Sequence[Mapping[str, Any]], teachers: Sequence[Mapping[str, Any]], seeds: Sequence[int]
) -> dict[str, Any]:
    headlines = [
        column
        for key in HEADLINES
        for column in (
            {"key": key, "label": key, "unit": "fraction", "better": "higher"},
            {"key": f"{key}_sd", "label": "± sd", "unit": "fraction"},
        )
    ]
    drawn = f"{len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'} ({', '.join(map(str, seeds))})"
    return {
        "title": f"Equal budget, {drawn}",
        "columns": [
            {"key": "method", "label": "Method"},
            *headlines,
            {"key": "difference", "label": "AP over control", "unit": "points", "better": "higher"},
            {"key": "wins", "label": "Seeds won"},
            {"key": "parameters", "label": "Parameters", "unit": "count"},
            {"key": "seconds", "label": "Training", "unit": "s"},
        ],
        "rows": [*teachers, *rows],
        "note": "Every detector starts from the same weights as the control of its seed and sees the same images "
        "in the same order." + "".join(f" {row['note']}" for row in teachers if "note" in row),
    }


def _error_table(results: Results, teachers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "title": "What each kind of error costs",
        "columns": [
            {"key": "method", "label": "Method"},
            *(
                {"key": name, "label": ERROR_WORDS[name].capitalize(), "unit": "fraction", "better": "lower"}
                for name in MAIN_ERRORS
            ),
        ],
        "rows": [
            *(
                {"method": row["method"], **{name: row[f"error_{name}"] for name in MAIN_ERRORS}}
                for row in teachers
                if f"error_{MAIN_ERRORS[0]}" in row
            ),
            *(
                {"method": method, **{name: _mean(found, f"error_{name}") for name in MAIN_ERRORS}}
                for method, found in results.items()
            ),
        ],
        "note": "TIDE's categories, mean over seeds: the AP that would be gained if this kind alone were "
        "repaired.",
    }


def _bars(results: Results, key: str, title: str, *, better: str) -> dict[str, Any]:
    return {
        "title": title,
        "caption": "Mean over seeds with one standard deviation; dots are single seeds. "
        f"{better.capitalize()} is better.",
        "kind": "bars",
        "unit": "fraction",
        "bars": [
            {
                "label": method,
                "value": _mean(found, key),
                "error": statistics.stdev(_values(found, key)) if len(found) > 1 else None,
                "points": _values(found, key),
            }
            for method, found in results.items()
        ],
    }


def _values(found: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [float(result["numbers"].get(key, {"value": 0.0})["value"]) for result in found]


def _mean(found: Sequence[Mapping[str, Any]], key: str) -> float:
    return statistics.fmean(_values(found, key))


def _verdict(best: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    beaten = [row["method"] for row in rows if row.get("difference", 0) > 0]
    if not beaten:
        return "No method beat the undistilled control at this budget."
    control = rows[0]
    return (
        f"{best['method']} comes first: AP {best['AP']:.1%}, {best['difference']:+.1f} points over the "
        f"undistilled "
        f"control ({best['wins']} seeds won). Classification errors cost {100 * best['error_Cls']:.1f} points "
        f"(control {100 * control['error_Cls']:.1f}), localisation errors {100 * best['error_Loc']:.1f} (control "
        f"{100 * control['error_Loc']:.1f}). {len(beaten)} of {len(rows) - 1} methods beat the control."
    )
