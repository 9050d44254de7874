"""A comparison's table as Markdown, with everything that its figures mean nothing without.

Run: python -m bench.results_table RUN STAGE --out results/NAME.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from limbeck.report.tables import table_of
from limbeck.runs.folder import RunFolder


def markdown(run: RunFolder, stage: str) -> str:
    folder = run.stage(stage)
    data = folder.tables()["comparison"]
    table = table_of(data)
    rows = [
        "| " + " | ".join(f"**{c}**" if (n, at) in table.best else c for at, c in enumerate(row)) + " |"
        for n, row in enumerate(table.rows)
    ]
    align = "|" + "|".join("---:" if numeric else "---" for numeric in table.numeric) + "|"
    found = run.provenance
    config = folder.config() or {}
    seeds = [
        f"| {trial.name} | {trial.result()['numbers']['accuracy']['value']:.4f} "
        f"| {trial.result()['numbers']['agreement']['value']:.4f} |"
        for trial in folder.trials()
    ]
    shown = ("epochs", "batch_size", "optimizer", "schedule", "augment")
    train = json.dumps({key: config["train"][key] for key in shown})
    hardware = found["hardware"]
    return "\n".join(
        [
            f"# {run.resolved['title']}",
            "",
            folder.result()["summary"],
            "",
            "| " + " | ".join(table.headers) + " |",
            align,
            *rows,
            "",
            table.note,
            "",
            f"- command: `{' '.join(found['command'])}`",
            f"- commit: {found['limbeck'].get('commit')}; Limbeck {found['limbeck']['version']}, "
            f"torch {found['packages']['torch']}, Python {found['python']}",
            f"- hardware: {json.dumps(hardware)}",
            f"- seeds: {config['seeds']}; student {config['model']['name']}",
            f"- source: `{json.dumps(config['source'])}`",
            f"- training: `{train}`",
            "",
            "## Single seeds",
            "",
            "| trial | accuracy | agreement |",
            "|---|---:|---:|",
            *seeds,
            "",
        ]
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("stage")
    arguments.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    given.out.write_text(markdown(RunFolder.open(given.run), given.stage))


if __name__ == "__main__":
    main()
