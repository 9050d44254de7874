"""What a trained detector leaves behind: its file, tables, curves, pictures, numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.detect.fitting import Fitted
from limbeck.detect.left_out import write_left_out
from limbeck.detect.picture import before_and_after, boxes_png
from limbeck.detect.scoring import CURVE_IOUS, ERROR_WORDS, MAIN_ERRORS, Judge, Scores
from limbeck.detect.units import number
from limbeck.measures import parameters
from limbeck.models.detectors.artefact import save
from limbeck.protocols import DetectionSource
from limbeck.runs.folder import StageFolder

MODEL_FILE = "model.safetensors"
RECALLS = [place / 100 for place in range(101)]


def write_detector(
    folder: StageFolder,
    fitted: Fitted,
    *,
    judge: Judge,
    source: DetectionSource,
    components: Sequence[str],
    notes: Mapping[str, Any],
    pictures: bool = True,
) -> dict[str, Any]:
    """Write a trained detector with all that is to be said of it.

    Args:
        folder: of the stage or the trial.
        fitted: the detector and its scores.
        judge: that measured it.
        source: it was trained on.
        components: what it was made with, as "kind:name".
        notes: kept in the model file.
        pictures: show some images with boxes.

    Returns:
        The result, as it is written.
    """
    scores, best = fitted.scores, fitted.fit.best_epoch
    save(fitted.model, folder.path / MODEL_FILE, class_names=tuple(source.class_names), notes=dict(notes))
    write_scores(folder, {folder.name: scores}, judge)
    if pictures:
        write_pictures(folder, judge, scores)
    result = {
        "kind": "detector",
        "model": MODEL_FILE,
        "numbers": {
            **scores.numbers(),
            "parameters": number(parameters(fitted.model), "count", "lower"),
            "extra_parameters": number(fitted.extra_parameters, "count"),
            "steps": number(fitted.fit.steps, "count"),
            "seconds": number(fitted.fit.seconds, "s", "lower"),
            **({} if best is None else {"best_epoch": number(best, "epoch")}),
        },
        "summary": summary_of(scores, judge),
        "peak_memory_bytes": fitted.fit.peak_memory_bytes,
        "components": sorted(components),
        "skipped": write_left_out(folder, {"train": source, judge.scoring.split: judge.source}),
    }
    folder.write_result(result)
    return result


def summary_of(scores: Scores, judge: Judge) -> str:
    """AP in a sentence, and which error costs most of it."""
    dearest = max(MAIN_ERRORS, key=lambda name: scores.errors.dAP[name])
    return (
        f"AP {scores.coco.AP:.1%} (AP50 {scores.coco.AP50:.1%}, AP75 {scores.coco.AP75:.1%}) on "
        f"{len(judge.source):,} images; {ERROR_WORDS[dearest]} errors cost most, "
        f"{100 * scores.errors.dAP[dearest]:.1f} points of AP{100 * scores.errors.foreground_iou:.0f}."
    )


def write_scores(folder: StageFolder, scores: Mapping[str, Scores], judge: Judge) -> None:
    """Tables and curves of one detector or several."""
    _write_average_precision(folder, scores)
    _write_classes(folder, scores, judge)
    _write_errors(folder, scores)
    _write_precision_recall(folder, scores)
    _write_overlaps(folder, scores, judge)


def _write_average_precision(folder: StageFolder, scores: Mapping[str, Scores]) -> None:
    keys = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
    folder.write_table(
        "average_precision",
        {
            "title": "Average precision",
            "columns": [
                {"key": "detector", "label": "Detector"},
                *({"key": key, "label": key, "unit": "fraction", "better": "higher"} for key in keys),
            ],
            "rows": [
                {"detector": name, **{key: _known(found.coco.numbers()[key]) for key in keys}}
                for name, found in scores.items()
            ],
            "note": "COCO's definitions: AP is the mean over overlaps (IoU) from 0.50 to 0.95 and over classes; "
            "APs, APm and APl count objects of up to 32², up to 96² and more pixels.",
        },
    )


def _write_classes(folder: StageFolder, scores: Mapping[str, Scores], judge: Judge) -> None:
    names = list(judge.source.class_names)
    objects = [0] * len(names)
    for target in judge.truth:
        for label in target["labels"].tolist():
            objects[label] += 1
    folder.write_table(
        "classes",
        {
            "title": "Average precision by class",
            "columns": [
                {"key": "class", "label": "Class"},
                {"key": "objects", "label": "Objects", "unit": "count"},
                *({"key": name, "label": name, "unit": "fraction", "better": "higher"} for name in scores),
            ],
            "rows": [
                {
                    "class": label,
                    "objects": objects[place],
                    **{name: _known(found.coco.by_class[label]) for name, found in scores.items()},
                }
                for place, label in enumerate(names)
            ],
        },
    )


def _write_errors(folder: StageFolder, scores: Mapping[str, Scores]) -> None:
    first = next(iter(scores.values())).errors
    folder.write_table(
        "errors",
        {
            "title": f"What each kind of error costs, in AP at an overlap of {first.foreground_iou:g}",
            "columns": [
                {"key": "detector", "label": "Detector"},
                *(
                    {"key": name, "label": ERROR_WORDS[name].capitalize(), "unit": "fraction", "better": "lower"}
                    for name in MAIN_ERRORS
                ),
                {"key": "FalsePos", "label": "All false positives", "unit": "fraction", "better": "lower"},
                {"key": "FalseNeg", "label": "All misses", "unit": "fraction", "better": "lower"},
            ],
            "rows": [{"detector": name, **found.errors.dAP} for name, found in scores.items()],
            "note": "TIDE's categories: the AP that would be gained if this kind of error alone were repaired. "
            "They do not add up to what is missing to 100 %.",
        },
    )
    caption = f"AP{100 * first.foreground_iou:.0f} that would be gained without them; lower is better."
    if len(scores) == 1:
        (name,) = scores
        _write_costs(
            folder,
            "errors",
            f"What each kind of error costs: {name}",
            caption,
            {ERROR_WORDS[kind]: first.dAP[kind] for kind in MAIN_ERRORS},
        )
        return
    # One figure a kind, so that a detector has the same colour in all; the table has the other kinds.
    for kind in ("Cls", "Loc"):
        _write_costs(
            folder,
            f"cost_{kind.lower()}",
            f"What {ERROR_WORDS[kind]} errors cost",
            caption,
            {name: found.errors.dAP[kind] for name, found in scores.items()},
        )


def _write_costs(folder: StageFolder, file: str, title: str, caption: str, costs: Mapping[str, float]) -> None:
    folder.write_figure(
        file,
        {
            "title": title,
            "caption": caption,
            "kind": "bars",
            "unit": "fraction",
            "bars": [{"label": label, "value": value} for label, value in costs.items()],
        },
    )


def _write_precision_recall(folder: StageFolder, scores: Mapping[str, Scores]) -> None:
    lines = []
    for name, found in scores.items():
        for iou, by_class in found.coco.precision.items():
            curves = [curve for curve in by_class.values() if curve[0] == curve[0]]
            if curves and (len(scores) == 1 or iou == CURVE_IOUS[0]):
                mean = [sum(values) / len(values) for values in zip(*curves, strict=True)]
                label = f"IoU {iou:g}" if len(scores) == 1 else name
                lines.append({"label": label, "x": RECALLS, "y": mean})
    if lines:
        folder.write_figure(
            "precision_recall",
            {
                "title": "Precision and recall",
                "caption": "Mean over classes."
                if len(scores) == 1
                else f"Mean over classes, at an overlap (IoU) of {CURVE_IOUS[0]:g}.",
                "kind": "lines",
                "unit": "fraction",
                "x_label": "recall",
                "y_label": "precision",
                "series": lines,
            },
        )


def _write_overlaps(folder: StageFolder, scores: Mapping[str, Scores], judge: Judge) -> None:
    folder.write_figure(
        "overlaps",
        {
            "title": "Average precision by the overlap asked for",
            "caption": "Better classes help at the left, better boxes at the right.",
            "kind": "lines",
            "unit": "fraction",
            "x_label": "overlap (IoU)",
            "y_label": "AP",
            "series": [
                {"label": name, "x": list(found.coco.by_iou), "y": list(found.coco.by_iou.values())}
                for name, found in scores.items()
            ],
        },
    )
    along = {name: judge.errors_along(found) for name, found in scores.items()}
    for kind in ("Cls", "Loc"):
        folder.write_figure(
            f"error_{kind.lower()}",
            {
                "title": f"Cost of {ERROR_WORDS[kind]} errors by the overlap asked for",
                "caption": "AP at that overlap that would be gained without them; lower is better.",
                "kind": "lines",
                "unit": "fraction",
                "x_label": "overlap (IoU)",
                "y_label": "AP gained",
                "series": [
                    {"label": name, "x": list(CURVE_IOUS), "y": [found[iou].dAP[kind] for iou in CURVE_IOUS]}
                    for name, found in along.items()
                ],
            },
        )


def write_pictures(folder: StageFolder, judge: Judge, scores: Scores) -> None:
    """Some images with the true boxes and those that were found."""
    for place in chosen_pictures(judge):
        sample, found = judge.source[place], scores.predictions[place]
        folder.write_image(
            f"boxes-{place}",
            boxes_png(sample, found, class_names=judge.source.class_names, least=judge.scoring.picture_score),
            f"Image {sample.image_id}: true boxes, and those found with a score of at least "
            f"{judge.scoring.picture_score:g}.",
        )


def write_comparing_pictures(
    folder: StageFolder, judge: Judge, before: tuple[str, Scores], after: tuple[str, Scores]
) -> None:
    """Some images with the boxes of two detectors."""
    for place in chosen_pictures(judge):
        sample = judge.source[place]
        folder.write_image(
            f"boxes-{place}",
            before_and_after(
                sample,
                before[1].predictions[place],
                after[1].predictions[place],
                class_names=judge.source.class_names,
                least=judge.scoring.picture_score,
                titles=(before[0], after[0]),
            ),
            f"Image {sample.image_id}: true boxes, {before[0]}, {after[0]}.",
        )


def chosen_pictures(judge: Judge) -> list[int]:
    """Images to show, spread over the set, those with objects."""
    with_objects = [place for place, target in enumerate(judge.truth) if len(target["boxes"])]
    wanted = judge.scoring.pictures
    if not with_objects or not wanted:
        return []
    step = max(1, len(with_objects) // wanted)
    return with_objects[::step][:wanted]


def _known(value: float) -> float | None:
    return value if value == value else None
