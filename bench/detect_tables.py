"""A comparison of detectors as Markdown: scores, what errors cost, AP by overlap, paired differences.

A paired difference is that of two detectors of the same seed, in points; its mean over seeds, with the half-width
of a 95 % t-interval.

Run: python -m bench.detect_tables RUN STAGE [--control control]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t as student_t

SCORES = ("AP", "AP50", "AP75")
ERRORS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
Results = Mapping[str, Sequence[Mapping[str, Any]]]


def results_of(run: Path, stage: str) -> dict[str, list[dict[str, Any]]]:
    """Method -> result of each seed, in the order of the seeds."""
    folder = run / stage / "trials"
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for path in sorted(folder.glob("*/result.json")):
        said = json.loads((path.parent / "config.json").read_text())
        overlaps = json.loads((path.parent / "figures" / "overlaps.json").read_text())["series"][0]
        result = json.loads(path.read_text())
        result["by_iou"] = dict(zip(overlaps["x"], overlaps["y"], strict=True))
        found.setdefault(said["method"], []).append((said["seed"], result))
    order = ["control", *json.loads((run / stage / "config.json").read_text())["methods"]]
    return {name: [r for _, r in sorted(found[name], key=lambda one: one[0])] for name in order if name in found}


def number(key: str) -> Callable[[Mapping[str, Any]], float]:
    """A number of a result, in percent."""
    return lambda result: 100 * float(result["numbers"].get(key, {"value": math.nan})["value"])


def cell(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def difference(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Mean of the paired differences, its interval, and how many are above 0."""
    gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
    above = f"{sum(g > 0 for g in gaps)}/{len(gaps)}"
    if len(gaps) < 2:
        return f"{gaps[0]:+.1f}"
    half = student_t.ppf(0.975, len(gaps) - 1) * statistics.stdev(gaps) / math.sqrt(len(gaps))
    return f"{statistics.fmean(gaps):+.1f} ± {half:.1f} ({above})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def markdown(results: Results, control: str) -> str:
    """All tables."""
    base = results[control]
    lines = ["## Scores", ""]
    columns = [*SCORES, "seconds"]
    rows = []
    for name, found in results.items():
        seconds = statistics.fmean(r["numbers"]["seconds"]["value"] for r in found)
        rows.append([name, *(cell([number(key)(r) for r in found]) for key in SCORES), f"{seconds:.0f}"])
    lines += table(["", *columns], rows)
    lines += ["## Paired differences to the control, in points", ""]
    keys = [*SCORES, "error_Cls", "error_Loc", "error_Bkg", "error_Miss"]
    rows = [
        [name, *(difference([number(k)(r) for r in found], [number(k)(r) for r in base]) for k in keys)]
        for name, found in results.items()
        if name != control
    ]
    lines += table(["", *(key.replace("error_", "cost of ") for key in keys)], rows)
    lines += ["## What each kind of error costs, in points of AP50 (TIDE)", ""]
    rows = [
        [name, *(cell([number(f"error_{k}")(r) for r in found]) for k in ERRORS)]
        for name, found in results.items()
    ]
    lines += table(["", *ERRORS], rows)
    lines += ["## AP by the overlap asked for, mean over seeds", ""]
    overlaps = list(base[0]["by_iou"])
    rows = [
        [name, *(f"{100 * statistics.fmean(r['by_iou'][iou] for r in found):.1f}" for iou in overlaps)]
        for name, found in results.items()
    ]
    lines += table(["", *(f"{float(iou):.2f}" for iou in overlaps)], rows)
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("stage")
    arguments.add_argument("--control", default="control")
    given = arguments.parse_args()
    print(markdown(results_of(given.run, given.stage), given.control))


if __name__ == "__main__":
    main()
