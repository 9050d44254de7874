"""Comparisons of few-step samplers as Markdown: a measure against network evaluations, and paired changes.

A paired change is the ratio of a measure between two variants of the same seed: its geometric mean over seeds, and
in how many seeds it is below 1.

Run: python -m bench.flow_tables RUN:STAGE ... --measure coupling [--pair "A/B" ...]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any


def stage_rows(run: Path, stage: str) -> list[dict[str, Any]]:
    """The rows of a comparison's table."""
    found = json.loads((run / stage / "tables" / "scores.json").read_text())["rows"]
    return [dict(row) for row in found]


def by_seed(run: Path, stage: str) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """Variant -> seed -> its rows, from the trials."""
    found: dict[str, dict[int, list[dict[str, Any]]]] = {}
    variants = json.loads((run / stage / "config.json").read_text())["variants"]
    for name in variants:
        plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
        for trial in sorted((run / stage / "trials").glob(f"{plain}-*")):
            seed = trial.name.removeprefix(f"{plain}-").removeprefix("s")
            if seed.isdigit():
                result = json.loads((trial / "result.json").read_text())
                found.setdefault(name, {})[int(seed)] = result["rows"]
    return found


def measure_table(rows: list[dict[str, Any]], measure: str) -> list[str]:
    """A measure: flows down, evaluations across."""
    counts = sorted({row["evaluations"] for row in rows if row.get("evaluations")})
    lines = ["| | " + " | ".join(f"{count}" for count in counts) + " |", "|---|" + "---:|" * len(counts)]
    for name in dict.fromkeys(row["flow"] for row in rows):
        cells = []
        for count in counts:
            row = next((r for r in rows if r["flow"] == name and r.get("evaluations") == count), None)
            if row is None or row.get(measure) is None:
                cells.append("–")
                continue
            spread = row.get(f"{measure}_spread")
            cells.append(f"{row[measure]:.3g}" + (f" ± {spread:.1g}" if spread is not None else ""))
        if any(cell != "–" for cell in cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    floor = next((row for row in rows if "evaluations" not in row), None)
    if floor is not None and floor.get(measure) is not None:
        lines.append(f"| real data against real data | {floor[measure]:.3g} |" + " |" * (len(counts) - 1))
    return [*lines, ""]


def paired(groups: list[dict[str, dict[int, list[dict[str, Any]]]]], change: str, measure: str) -> str:
    """One line: before/after, ratio and wins at each number of evaluations, over all stages and seeds."""
    before, after = change.split("/")
    ratios: dict[int, list[float]] = {}
    for group in groups:
        for seed, rows in group[before].items():
            for a, b in zip(rows, group[after][seed], strict=True):
                if a.get(measure) is not None:
                    ratios.setdefault(a["evaluations"], []).append(b[measure] / a[measure])
    cells = [
        f"{math.exp(statistics.fmean(map(math.log, found))):.2f} ({sum(r < 1 for r in found)}/{len(found)})"
        for found in ratios.values()
    ]
    return f"| {before} → {after} | " + " | ".join(cells) + " |"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("stages", nargs="+", help="RUN:STAGE")
    arguments.add_argument("--measure", nargs="+", default=["coupling"])
    arguments.add_argument("--pair", nargs="*", default=[])
    given = arguments.parse_args()
    places = [(Path(run), stage) for run, stage in (place.split(":") for place in given.stages)]
    for measure in given.measure:
        for run, stage in places:
            rows = stage_rows(run, stage)
            if any(row.get(measure) is not None for row in rows):
                print(f"{stage}, {measure}:\n")
                print("\n".join(measure_table(rows, measure)))
        groups = [by_seed(run, stage) for run, stage in places]
        for change in given.pair:
            print(paired(groups, change, measure))


if __name__ == "__main__":
    main()
