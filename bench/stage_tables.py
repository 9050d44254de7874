"""Tables of several stages of several runs as one Markdown page, with where they were made.

Run: python -m bench.stage_tables --title TITLE --out results/NAME.md RUN:STAGE:TABLE ...
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from limbeck.report.tables import table_of
from limbeck.runs.folder import RunFolder


def table_lines(data: dict[str, Any]) -> list[str]:
    """A table as Markdown; what the report prints bold is bold here."""
    table = table_of(data)
    rows = [
        "| " + " | ".join(f"**{c}**" if (n, at) in table.best else c for at, c in enumerate(row)) + " |"
        for n, row in enumerate(table.rows)
    ]
    align = "|" + "|".join("---:" if numeric else "---" for numeric in table.numeric) + "|"
    note = ["", table.note] if table.note else []
    return ["| " + " | ".join(table.headers) + " |", align, *rows, *note, ""]


def made_by(run: RunFolder) -> list[str]:
    """Command, commit and hardware of a run."""
    found = run.provenance
    hardware = found["hardware"]
    return [
        f"- command: `{' '.join(found['command'])}`",
        f"  commit: {found['limbeck'].get('commit') or 'see below'}; Limbeck {found['limbeck']['version']}, torch "
        f"{found['packages']['torch']}, Python {found['python']}; {hardware['processor']}, "
        f"{hardware['cores']} cores",
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("tables", nargs="+", help="RUN:STAGE:TABLE")
    arguments.add_argument("--title", required=True)
    arguments.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    lines, runs = [f"# {given.title}", ""], {}
    for one in given.tables:
        place, stage, name = one.split(":")
        run = runs.setdefault(place, RunFolder.open(Path(place)))
        data = json.loads((run.stage(stage).path / "tables" / f"{name}.json").read_text())
        lines += [f"## {data['title']} ({stage})", "", *table_lines(data)]
    lines += ["## Where these were made", ""]
    for run in runs.values():
        lines += made_by(run)
    given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
