"""Run folders with made-up but realistic numbers."""

from __future__ import annotations

import math
import random
import statistics
from pathlib import Path

from limbeck.runs import RunFolder, StageFolder

DIGITS = [str(d) for d in range(10)]
METHODS = {"control": (0.842, 0.009), "kd": (0.887, 0.006), "pefd": (0.893, 0.008), "wkd": (0.905, 0.005)}
TERMS = {
    "control": [],
    "kd": ["kd"],
    "pefd": ["direction_alignment"],
    "wkd": ["wkd_target", "wkd_transport", "wkd_feature"],
}
SEEDS = (0, 1, 2)
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6364f8cf500f00038501"
    "80a04d9bd70000000049454e44ae426082"
)
RECIPE = """# Run:    limbeck demo
# Cost:   about a minute on two cores.
title: A small network learns handwritten digits from a larger one
seed: 0
stages:
  teacher:
    kind: classify.train
    source: {name: digits}
    model: {name: resnet14}
    train: {epochs: 12, batch_size: 64, optimizer: {name: sgd, lr: 0.1}, augment: [{name: translate, pixels: 1}]}
  students:
    kind: classify.compare
    teacher: teacher
    source: {name: digits, per_class: 10}
    model: {name: resnet8}
    seeds: [0, 1, 2]
    methods: {kd: kd, pefd: pefd, wkd: wkd}
"""


def begun(path: Path, *, title: str = "A small network learns handwritten digits from a larger one") -> RunFolder:
    """A run of which nothing has begun."""
    provenance = {
        "time": "2026-11-20T10:12:03+00:00",
        "command": ["limbeck", "run", "demo/digits", "--out", "runs/demo digits"],
        "limbeck": {"version": "0.1.0", "commit": "586e17e5f7e21dc22776f029125ff65ff3423ee7", "dirty": True},
        "python": "3.11.7",
        "packages": {"torch": "2.15.0", "timm": None, "numpy": "2.4.6"},
        "hardware": {
            "host": "vm",
            "platform": "Linux-6.18-x86_64-with-glibc2.36",
            "processor": "AMD EPYC",
            "cores": 2,
            "memory_bytes": 25_276_510_208,
            "gpus": [],
        },
        "data": {"digits": "sha256:51f0"},
    }
    stages = {
        "teacher": {"kind": "classify.train", "model": {"name": "resnet14"}, "train": {"epochs": 12}},
        "students": {
            "kind": "classify.compare",
            "teacher": "teacher",
            "methods": {"kd": [], "pefd": [], "wkd": []},
        },
    }
    run = RunFolder.create(
        path, recipe_text=RECIPE, resolved={"title": title, "seed": 0, "stages": stages}, provenance=provenance
    )
    return run


def begin(run: RunFolder, name: str) -> StageFolder:
    stage = run.stage(name)
    stage.begin(run.resolved["stages"][name])
    run.event("started", stage=name)
    return stage


def train(
    stage: StageFolder, *, goal: float, terms: list[str], seed: int, steps: int = 400, until: int | None = None
) -> None:
    """Scalars that fall and rise as they do in training."""
    draw = random.Random(f"{stage.name}{seed}{goal}")
    stop = until or steps
    for step in range(5, stop + 1, 5):
        epoch = 1 + step // 10
        wave = lambda size: 1 + size * draw.gauss(0, 1)  # noqa: E731
        values = {"loss/cross_entropy": (2.3 * math.exp(-step / 90) + 0.05) * wave(0.08)}
        for number, term in enumerate(terms):
            values[f"loss/{term}"] = (1.5 + number) * (math.exp(-step / (60 + 40 * number)) + 0.08) * wave(0.06)
        lr = 0.05 * 0.5 * (1 + math.cos(math.pi * step / steps))
        stage.write_scalars({"step": step, "epoch": epoch, "loss": sum(values.values()), **values, "lr": lr})
        if step % 40 == 0:
            accuracy = goal - (goal - 0.1) * math.exp(-step / 80) + draw.gauss(0, 0.006)
            judged = {"test/accuracy": accuracy, "test/loss": 2.3 * math.exp(-step / 120) + 0.3}
            if stage.name != "teacher":
                judged["test/agreement"] = accuracy - 0.01
            stage.write_scalars({"step": step, "epoch": epoch, **judged})


def confusion(accuracy: float, seed: int) -> list[list[int]]:
    draw = random.Random(seed)
    matrix = [[0] * 10 for _ in DIGITS]
    for label in range(10):
        for _ in range(50):
            wrong = draw.choice([(label + 5) % 10, (label * 7 + 3) % 10, draw.randrange(10)])
            matrix[label][label if draw.random() < accuracy else wrong] += 1
    return matrix


def finish(
    stage: StageFolder, *, accuracy: float, parameters: int, flops: float, seconds: float, seed: int
) -> dict:
    """What a classifier stage leaves."""
    (stage.path / "model.safetensors").write_bytes(b"0" * parameters)
    matrix = confusion(accuracy, seed)
    stage.write_figure(
        "confusion",
        {
            "title": "Confusion",
            "caption": "Test images by label (rows) and prediction (columns).",
            "kind": "matrix",
            "rows": DIGITS,
            "columns": DIGITS,
            "values": matrix,
            "x_label": "predicted",
            "y_label": "label",
        },
    )
    stage.write_table(
        "classes",
        {
            "title": "Accuracy by class",
            "columns": [
                {"key": "class", "label": "Class"},
                {"key": "accuracy", "label": "Accuracy", "unit": "fraction", "better": "higher"},
                {"key": "images", "label": "Test images", "unit": "count"},
            ],
            "rows": [{"class": d, "accuracy": matrix[i][i] / 50, "images": 50} for i, d in enumerate(DIGITS)],
        },
    )
    numbers = {
        "accuracy": {"value": accuracy, "unit": "fraction", "better": "higher"},
        "parameters": {"value": parameters, "unit": "count", "better": "lower"},
        "flops": {"value": flops, "unit": "FLOP per image", "better": "lower"},
        "seconds": {"value": seconds, "unit": "s", "better": "lower"},
    }
    if "trials" in str(stage.path):
        numbers["agreement"] = {"value": accuracy - 0.008, "unit": "fraction", "better": "higher"}
    result = {
        "kind": "classifier",
        "model": "model.safetensors",
        "numbers": numbers,
        "summary": f"{accuracy:.2%} of 500 test images are classified correctly.",
        "peak_memory_bytes": 412_000_000 + 1_000_000 * seed,
        "components": ["loss:cross_entropy"],
    }
    stage.write_result(result)
    return result


def with_teacher(path: Path) -> RunFolder:
    run = begun(path)
    stage = begin(run, "teacher")
    train(stage, goal=0.98, terms=[], seed=0)
    finish(stage, accuracy=0.974, parameters=174_970, flops=3_260_000, seconds=14.2, seed=7)
    run.event("finished", stage="teacher")
    return run


def trials(run: RunFolder, *, only: int | None = None) -> dict[str, list[dict]]:
    stage = begin(run, "students")
    found: dict[str, list[dict]] = {}
    for method, (mean, sd) in METHODS.items():
        for seed in SEEDS:
            if only is not None and sum(map(len, found.values())) >= only:
                return found
            accuracy = mean + sd * (-1.1, 0.2, 0.9)[seed]
            trial = stage.trial(f"{method}-s{seed}")
            trial.begin({"method": method, "seed": seed})
            train(trial, goal=accuracy, terms=TERMS[method], seed=seed)
            seconds = 3.1 + len(TERMS[method]) + 0.1 * seed
            cost = {"parameters": 77_850, "flops": 1_270_000, "seconds": seconds}
            found.setdefault(method, []).append(finish(trial, accuracy=accuracy, seed=seed, **cost))
    return found


def complete(path: Path) -> RunFolder:
    """Teacher and a comparison of four methods with three seeds, finished."""
    run = with_teacher(path)
    found = trials(run)
    stage = run.stage("students")
    rows = []
    for method, results in found.items():
        accuracy = [r["numbers"]["accuracy"]["value"] for r in results]
        row = {
            "method": method,
            "accuracy": statistics.fmean(accuracy),
            "accuracy_sd": statistics.stdev(accuracy),
            "agreement": statistics.fmean(accuracy) - 0.008,
            "parameters": 77_850,
            "flops": 1_270_000,
            "seconds": results[0]["numbers"]["seconds"]["value"],
        }
        if method != "control":
            row |= {"difference": 100 * (row["accuracy"] - rows[0]["accuracy"]), "wins": "3 of 3"}
        rows.append(row)
    teacher = {"method": "teacher", "accuracy": 0.974, "agreement": 1.0, "parameters": 174_970, "flops": 3_260_000}
    stage.write_table(
        "comparison",
        {
            "title": "Equal budget, 3 seeds (0, 1, 2)",
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
            "rows": [teacher, *rows],
            "note": "Every student starts from the same weights as the control of its seed.",
        },
    )
    stage.write_figure(
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
                    "points": [r["numbers"]["accuracy"]["value"] for r in found[row["method"]]],
                }
                for row in rows
            ],
            "references": [{"label": "teacher", "value": 0.974}],
        },
    )
    stage.write_result(
        {
            "kind": "comparison",
            "numbers": {"accuracy": {"value": rows[-1]["accuracy"], "unit": "fraction", "better": "higher"}},
            "best": "wkd",
            "model": "trials/wkd-s0/model.safetensors",
            "summary": "wkd is best: 90.50%, +6.30 points over the undistilled control (3 of 3 seeds won). "
            "3 of 3 methods beat the control.",
            "components": ["loss:kd", "loss:wkd_target"],
        }
    )
    run.event("finished", stage="students")
    return run


def audited(path: Path) -> RunFolder:
    """Teacher and an audit: verdicts that lead the page, a chapter for each question, and one of odd contents."""
    run = with_teacher(path)
    stage = begin(run, "students")
    stage.write_table(
        "verdicts",
        {
            "title": "Verdicts",
            "lead": True,
            "columns": [
                {"key": "property", "label": "Property"},
                {"key": "kd", "label": "kd"},
                {"key": "at", "label": "at"},
                {"key": "teacher", "label": "teacher"},
            ],
            "rows": [
                {"property": "Looks where the teacher looks", "kd": "✓ transferred +12.1", "at": "? cannot tell"},
                {
                    "property": "Keeps its prediction when colours change (0.4)",
                    "kd": "✗ not transferred −0.3",
                    "at": "✓ transferred +4.0",
                    "teacher": "92.0 %",
                },
            ],
            "note": "Numbers: difference of student and control towards the teacher.",
        },
    )
    networks = ["teacher", "control", "kd", "at"]
    stage.write_figure(
        "adversarial-matrix",
        {
            "title": "Who is fooled by whose images",
            "caption": "Rows: attacked; columns: the one who looks.",
            "kind": "matrix",
            "unit": "fraction",
            "full": 1.0,
            "rows": networks,
            "columns": networks,
            "values": [[1.0 if a == b else 0.4 for b in networks] for a in networks[:-1]]
            + [[None, 0.1, 0.2, 1.0]],
            "x_label": "looks",
            "y_label": "attacked",
        },
    )
    stage.write_figure(
        "adversarial-fooled",
        {
            "title": "Fooled by the teacher's adversarial images",
            "caption": "Share of 850 images.",
            "kind": "bars",
            "unit": "fraction",
            "bars": [{"label": m, "value": v, "error": 0.02} for m, v in (("control", 0.4), ("kd", 0.6))],
        },
    )
    stage.write_image("adversarial-images", PNG, "Adversarial images. What the teacher saw.")
    columns = [{"key": "title", "label": "Number"}, {"key": "method", "label": "Method"}]
    stage.write_table(
        "adversarial-numbers",
        {"title": "All numbers", "columns": columns, "rows": [{"title": "Fooled", "method": "kd"}]},
    )
    stage.write_chapter(
        "01-adversarial",
        {
            "title": "Adversarial",
            "lines": [["✓ transferred · kd · Fooled", "The students are more like the teacher by 20 points."]],
            "notes": ["ifgsm with eps 8.00/255"],
            "figures": ["adversarial-fooled", "adversarial-matrix", "gone"],
            "images": ["adversarial-images", "gone"],
            "tables": ["adversarial-numbers", "gone"],
        },
    )
    stage.write_chapter("00-odd", {"title": HOSTILE, "lines": [[HOSTILE, HOSTILE]], "notes": [HOSTILE]})
    stage.write_chapter("02-bare", {"title": "Bare"})
    stage.write_result({"kind": "audit", "numbers": {}, "summary": "Of 2 properties these came: kd 1, at 1."})
    run.event("finished", stage="students")
    return run


def unfinished(path: Path) -> RunFolder:
    """Killed in the eighth of twelve trials."""
    run = with_teacher(path)
    trials(run, only=7)
    trial = run.stage("students").trial("pefd-s1")
    trial.begin({"method": "pefd", "seed": 1})
    train(trial, goal=0.89, terms=TERMS["pefd"], seed=1, until=150)
    with (trial.path / "scalars.jsonl").open("a") as file:
        file.write('{"step": 155, "epoch": 1')
    (trial.path / "result.json").write_text('{"kind": "classif')
    (trial.path / ".result.json.x8.tmp").write_text("{")
    return run


def failed(path: Path) -> RunFolder:
    """The teacher diverged."""
    run = begun(path)
    stage = begin(run, "teacher")
    train(stage, goal=0.9, terms=[], seed=0, until=120)
    stage.write_scalars({"step": 125, "epoch": 13, "loss": math.nan, "loss/cross_entropy": math.inf})
    error = "the term 'cross_entropy' became infinite at step 126. A smaller learning rate usually mends it."
    run.event("failed", stage="teacher", error=error)
    return run


def hostile(path: Path) -> RunFolder:
    """Every text that a user controls tries to be markup."""
    run = begun(path, title=HOSTILE)
    stage = begin(run, "teacher")
    stage.write_scalars({"step": 1, "epoch": 1, f"loss/{HOSTILE}": 1.0, "loss": 2.0, "test/accuracy": 0.5})
    stage.write_scalars({"step": 2, "epoch": 1, f"loss/{HOSTILE}": 0.5, "loss": 1.0, "test/accuracy": 0.6})
    about = {"title": HOSTILE, "caption": HOSTILE, "x_label": HOSTILE, "y_label": HOSTILE}
    names = [HOSTILE, "b"]
    stage.write_figure(
        "m", {**about, "kind": "matrix", "rows": names, "columns": names, "values": [[1, 2], [3, 4]]}
    )
    stage.write_figure(
        "b", {**about, "kind": "bars", "bars": [{"label": HOSTILE, "value": 1}, {"label": "b", "value": 2}]}
    )
    stage.write_figure("l", {**about, "kind": "lines", "series": [{"label": HOSTILE, "x": [0, 1], "y": [1, 2]}]})
    stage.write_figure("s", {**about, "kind": "scatter", "points": [{"label": HOSTILE, "x": 1, "y": 2}]})
    stage.write_figure("k", {**about, "kind": HOSTILE})
    stage.write_image("i", PNG, HOSTILE)
    column = {"key": "a", "label": HOSTILE}
    stage.write_table("t", {"title": HOSTILE, "columns": [column], "rows": [{"a": HOSTILE}], "note": HOSTILE})
    stage.write_table("broken", {"title": HOSTILE, "rows": HOSTILE})
    stage.write_result(
        {"kind": "classifier", "summary": HOSTILE, "numbers": {HOSTILE: {"value": HOSTILE, "unit": HOSTILE}}}
    )
    trial = begin(run, "students").trial("t-s0")
    trial.begin({"method": HOSTILE, "seed": 0})
    trial.write_scalars({"step": 1, "loss": 1.0})
    (run.path / "recipe.yaml").write_text(HOSTILE)
    run.event("failed", stage="students", error=HOSTILE)
    return run
