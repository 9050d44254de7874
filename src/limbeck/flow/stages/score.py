"""The stage `flow.score`: samplers measured by the number of their network evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.flow.config import CompareStage, ScoreStage
from limbeck.flow.perception import penultimate
from limbeck.flow.picture import picture_of
from limbeck.flow.scoring import Judge, judge_of, used_columns
from limbeck.flow.stages._shared import Setting, number, open_setting
from limbeck.flow.velocity import Flow
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder

HEADLINES = ("fid", "frechet", "sliced_wasserstein")
"""What a curve and a summary are about: the first of these that was measured."""
TITLES = {"fid": "FID", "frechet": "Fréchet distance on features", "sliced_wasserstein": "sliced W2"}


def run_score(config: ScoreStage, folder: StageFolder, context: StageContext) -> None:
    """Measure every flow on the same ground."""
    setting = open_setting(config, context, one_process=True)
    flows = {name: setting.flow(reference) for name, reference in config.flows.items()}
    teacher = setting.flow(config.teacher) if config.teacher is not None else None
    judge = ground_of(setting, config, classes=max(f.classes for f in flows.values()), teacher=teacher)
    rows: list[dict[str, Any]] = [{"flow": "real data against real data", **judge.floor()}]
    for name, flow in flows.items():
        rows += [{"flow": name, **row} for row in judge.rows(flow)]
        write_pictures(folder, judge, name, flow)
    write_table(folder, rows, title=title_of(judge))
    write_curves(folder, rows)
    measured = [row for row in rows if "evaluations" in row]
    head = next(key for key in HEADLINES if key in measured[0])
    best = min(measured, key=lambda row: row[head])
    folder.write_result(
        {
            "kind": "scores",
            "numbers": {
                f"best_{head}": number(best[head], "", "lower"),
                **{
                    f"{row['flow']}_{head}_{row['evaluations']}": number(row[head], "", "lower")
                    for row in measured
                },
            },
            "summary": f"Lowest {TITLES[head]}: {best[head]:.4g}, {best['flow']} with {best['evaluations']} "
            "evaluations; "
            f"real data against real data {rows[0][head]:.4g}.",
            "components": ["measure:sliced_wasserstein"],
        }
    )


def ground_of(
    setting: Setting,
    config: ScoreStage | CompareStage,
    *,
    classes: int,
    teacher: Flow | None,
    guidance: float | None = None,
) -> Judge:
    """The judge of a stage."""
    features = penultimate(setting.classifier(config.features)) if config.features is not None else None
    return judge_of(
        config.scoring,
        setting.reference,
        classes=classes,
        device=setting.device,
        teacher=teacher,
        teacher_evaluations=config.teacher_evaluations,
        features=features,
        guidance=guidance,
    )


def title_of(judge: Judge) -> str:
    """What a table is about."""
    return f"{len(judge.noise):,} samples of each flow"


def write_pictures(folder: StageFolder, judge: Judge, name: str, flow: Flow, *, most: int = 2) -> None:
    """Samples with the fewest evaluations, from the same noise for every flow."""
    for count in judge.scoring.evaluations[:most]:
        made = judge.samples(flow, count)
        some = made.x[:40] if made.x.shape[1:] != (2, 1, 1) else made.x
        picture = picture_of(some, columns=20)
        if picture is not None:
            plain = "".join(c if c.isalnum() else "-" for c in name)
            folder.write_image(f"{plain}-{count}", picture, f"{name}: {made.evaluations} evaluations.")


def write_table(
    folder: StageFolder, rows: Sequence[Mapping[str, Any]], *, title: str, name: str = "scores"
) -> None:
    """All numbers of all flows."""
    plain = [dict(row) for row in rows]
    columns = [{"key": "flow", "label": "Flow"}, *used_columns(plain)]
    folder.write_table(name, {"title": title, "columns": columns, "rows": plain})


def write_curves(folder: StageFolder, rows: Sequence[Mapping[str, Any]]) -> None:
    """Quality against evaluations, for the headline measure and for the coupling error."""
    for key in (*HEADLINES, "coupling"):
        series: dict[str, dict[str, Any]] = {}
        for row in rows:
            if "evaluations" in row and row.get(key) is not None:
                line = series.setdefault(row["flow"], {"label": row["flow"], "x": [], "y": []})
                line["x"].append(row["evaluations"])
                line["y"].append(row[key])
        if series and any(len(line["x"]) > 1 for line in series.values()):
            label = TITLES.get(key, "coupling error")
            folder.write_figure(
                key,
                {
                    "title": f"{label[0].upper()}{label[1:]} against network evaluations",
                    "caption": "Lower is better; both axes are logarithmic.",
                    "kind": "lines",
                    "x_label": "network evaluations",
                    "y_label": label,
                    "log": True,
                    "log_x": True,
                    "series": list(series.values()),
                },
            )
