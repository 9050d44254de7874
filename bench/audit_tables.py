"""The tables of an audit as Markdown, for results/: every number of every method, with its interval and verdict.

Run: python -m bench.audit_tables runs/RECIPE/s0 [STAGE]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

MARKS = {"transferred": "**T**", "not transferred": "N", "cannot tell": "?", None: ""}


def value(number: float | None, unit: str, sd: float | None = None) -> str:
    if number is None:
        return "–"
    factor, digits = (100, 1) if unit == "fraction" else (1, 3)
    spread = "" if sd is None else f" ± {factor * sd:.{digits}f}"
    return f"{factor * number:.{digits}f}{spread}"


def sentence(title: str) -> str:
    return title[:1].upper() + title[1:]


def difference(one: dict[str, Any]) -> str:
    if one["difference"] is None:
        return "–"
    factor, digits = (100, 1) if one["unit"] == "fraction" else (1, 3)
    text = f"{factor * one['difference']:+.{digits}f}"
    if one["low"] is not None:
        text += f" [{factor * one['low']:+.{digits}f}, {factor * one['high']:+.{digits}f}]"
    return f"{text} {MARKS[one['verdict']]}".strip()


def table(found: list[dict[str, Any]], methods: list[str]) -> str:
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for one in found:
        rows.setdefault(f"{one['question']}.{one['measure']}", {})[one["method"]] = one
    head = ["", "unit", "teacher", "control", *methods, *(f"{method}, towards the teacher" for method in methods)]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for by_method in rows.values():
        first = next(iter(by_method.values()))
        unit = "%" if first["unit"] == "fraction" else first["unit"]
        cells = [
            sentence(first["title"]),
            unit,
            value(first["teacher"], first["unit"]),
            value(first["control"]["mean"], first["unit"], first["control"]["sd"]),
            *(
                value(by_method[m]["student"]["mean"], first["unit"], by_method[m]["student"]["sd"])
                for m in methods
            ),
            *(difference(by_method[m]) for m in methods),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    run, stage = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "audit"
    record = json.loads((run / stage / "audit.json").read_text())
    methods = list(dict.fromkeys(one["method"] for one in record["students"]))
    for title, primary in (("With a verdict", True), ("Beneath", False)):
        print(f"## {title}\n\n{table([f for f in record['findings'] if f['primary'] is primary], methods)}\n")
    beyond = [one for one in record["findings"] if one["primary"] and one["specificity"]]
    if beyond:
        print("## The same with the property taken out\n")
        print("| | what was taken out | method | difference there | beyond it |\n|---|---|---|---:|---:|")
        for one in beyond:
            taken, unit = one["specificity"], one["unit"]
            more = taken.get("beyond") or {}
            interval = ""
            if more.get("low") is not None:
                interval = f" [{value(more['low'], unit)}, {value(more['high'], unit)}]"
            there = value(taken["difference"], unit)
            cells = [sentence(one["title"]), taken["note"], one["method"], there]
            print("| " + " | ".join(cells) + f" | {value(more.get('difference'), unit)}{interval} |")


if __name__ == "__main__":
    main()
