"""The stage `detect.evaluate`: detectors measured side by side."""

from __future__ import annotations

from limbeck.detect.config import EvaluateStage
from limbeck.detect.left_out import write_left_out
from limbeck.detect.products import summary_of, write_comparing_pictures, write_pictures, write_scores
from limbeck.detect.scoring import ERROR_WORDS
from limbeck.detect.stages._shared import open_setting
from limbeck.detect.units import number
from limbeck.measures.detection import compare_errors
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder


def run_evaluate(config: EvaluateStage, folder: StageFolder, context: StageContext) -> None:
    """Measure every detector on the same images."""
    setting = open_setting(config, context)
    judge = setting.judge
    scores = {name: judge(setting.detector(reference)) for name, reference in config.detectors.items()}
    if not setting.machine.main:
        return
    write_scores(folder, scores, judge)
    names = list(scores)
    first = names[0]
    if len(names) == 1:
        write_pictures(folder, judge, scores[first])
    for name in names[1:2]:
        write_comparing_pictures(folder, judge, (first, scores[first]), (name, scores[name]))
    for name in names[1:]:
        changes = compare_errors(scores[first].errors, scores[name].errors)
        folder.write_table(
            f"change-{name}",
            {
                "title": f"What changed from {first} to {name}",
                "columns": [
                    {"key": "category", "label": "Error"},
                    {"key": "before", "label": first, "unit": "fraction", "better": "lower"},
                    {"key": "after", "label": name, "unit": "fraction", "better": "lower"},
                    {"key": "change", "label": "Change", "unit": "fraction", "better": "lower"},
                ],
                "rows": [
                    {**change._asdict(), "category": ERROR_WORDS[change.category].capitalize()}
                    for change in changes
                ],
            },
        )
    best = max(names, key=lambda name: scores[name].coco.AP)
    folder.write_result(
        {
            "kind": "scores",
            "numbers": {
                f"{name}_{key}": number(value, "fraction", "higher")
                for name, found in scores.items()
                for key, value in (("AP", found.coco.AP), ("AP50", found.coco.AP50), ("AP75", found.coco.AP75))
            },
            "summary": f"{best}: {summary_of(scores[best], judge)}",
            "skipped": write_left_out(folder, {config.scoring.split: judge.source}),
            "components": [f"detection source:{config.source.name}"],
        }
    )
