"""One self-contained page about a run, from its folder alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from limbeck.files import atomic_write
from limbeck.report.costs import cost_figures, cost_table
from limbeck.report.curves import curve_figures
from limbeck.report.facts import byline, environment, files_of, model_path
from limbeck.report.figures import Drawing, colours_of, draw
from limbeck.report.groups import groups_of, mean_and_sd, number_of
from limbeck.report.outcome import sentence, states_of, tiles_of
from limbeck.report.tables import Table, table_of
from limbeck.runs import RunFolder, StageFolder

_LEGEND_FROM = 2


@dataclass(frozen=True, slots=True)
class _Chapter:
    """What belongs together under one heading."""

    title: str
    lines: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    images: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    """What one stage contributes to a section."""

    title: str
    drawings: tuple[Drawing, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
    images: tuple[tuple[str, str], ...] = ()


def build(run_path: Path | str) -> str:
    """The report of a run as HTML; it loads nothing from anywhere and runs no script.

    Args:
        run_path: the run's folder; the run may be unfinished.

    Returns:
        The whole page.

    Raises:
        RunFolderError: it is no run folder.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    run = RunFolder.open(run_path)
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("page.html").render(**_contents(run))


def write(run_path: Path | str, out: Path | str | None = None) -> Path:
    """Write the report of a run.

    Args:
        run_path: the run's folder.
        out: where to; `report.html` in the run's folder if left out.

    Returns:
        Where it was written.

    Raises:
        RunFolderError: it is no run folder, or the report may not be written there.
    """
    path = Path(out) if out is not None else Path(run_path) / "report.html"
    atomic_write(path, build(run_path))
    return path


def _contents(run: RunFolder) -> dict[str, Any]:
    stages = run.stages()
    states = states_of(run)
    colours = colours_of(group.label for stage in stages for group in groups_of(stage) if group.label)
    costs = cost_table(stages)
    return {
        "run": run.name,
        "title": str(run.resolved.get("title") or run.name),
        "finished": bool(states) and all(state.state == "finished" for state in states),
        "outcome": sentence(states),
        "byline": byline(run),
        "states": states,
        "tiles": tiles_of(stages),
        "leads": [_table(table) for stage in stages for table in stage.tables().values() if table.get("lead")],
        "headlines": _headlines(stages, colours),
        "chapters": [chapter for stage in stages for chapter in _chapters(stage, colours)],
        "curves": [part for stage in stages if (part := _curves(stage, colours)).drawings],
        "comparisons": [part for stage in stages if (part := _comparison(stage)).tables],
        "agreements": [part for stage in stages for part in _agreement(stage)],
        "costs": table_of(costs) if costs else None,
        "cost_drawings": [draw(figure, colours, small=True) for figure in cost_figures(stages)],
        "recipe": run.recipe_text,
        "resolved": json.dumps(run.resolved, indent=2, ensure_ascii=False),
        "facts": environment(run.provenance),
        "model": json.dumps(model, ensure_ascii=False) if (model := model_path(run, stages)) else None,
        "files": files_of(run, stages),
    }


def _headlines(stages: Sequence[StageFolder], colours: Mapping[str, str]) -> list[Drawing]:
    found = [
        draw(figure, colours)
        for stage in stages
        for figure in _loose(stage, "figures", stage.figures()).values()
        if figure.get("kind") not in ("lines", "matrix")
    ]
    if found:
        return found
    bars = [bar for stage in stages for bar in _accuracies(stage)]
    if len(bars) < 2:
        return []
    title = "Test accuracy" if all(stage.finished for stage in stages) else "Test accuracy so far"
    caption = "Of what is finished; mean over seeds with one standard deviation where there are several."
    return [draw({"kind": "bars", "title": title, "caption": caption, "unit": "fraction", "bars": bars}, colours)]


def _accuracies(stage: StageFolder) -> Iterable[dict[str, Any]]:
    for group in groups_of(stage):
        values = number_of(group.results(), "accuracy")
        mean, sd = mean_and_sd(values)
        if mean is not None:
            points = values if len(values) > 1 else []
            yield {"label": group.label or stage.name, "value": mean, "error": sd, "points": points}


def _curves(stage: StageFolder, colours: Mapping[str, str]) -> _Part:
    groups = [group.label for group in groups_of(stage) if group.label]
    own = [f for f in _loose(stage, "figures", stage.figures()).values() if f.get("kind") == "lines"]
    learnt = curve_figures(stage)
    # Several methods: the first figure, their accuracy, is drawn large, and their colours are named once.
    leads = bool(learnt) and len(groups) >= _LEGEND_FROM
    drawn = [draw(figure, colours, small=at > 0 or not leads) for at, figure in enumerate(learnt)]
    # A stage's own figures have lines of their own; alone, the first of them is the large one.
    drawn += [
        draw(figure, _own_colours(figure, colours), small=bool(learnt) or at > 0) for at, figure in enumerate(own)
    ]
    return _Part(
        title=stage.name,
        drawings=tuple(drawn),
        legend=tuple((label, colours[label]) for label in groups) if leads else (),
    )


def _own_colours(figure: Mapping[str, Any], colours: Mapping[str, str]) -> Mapping[str, str]:
    """The page's colours where the lines are its methods, colours of the figure's own where they are not."""
    labels = [str(series.get("label", "")) for series in figure.get("series", ())]
    known = all(label in colours for label in labels)
    return colours if known or len(labels) < 2 else colours_of(labels)


def _comparison(stage: StageFolder) -> _Part:
    has_trials = bool(stage.trials())
    # A single model's accuracy by class is seen in its confusion matrix.
    found = _loose(stage, "tables", stage.tables())
    tables = [_table(data) for name, data in found.items() if has_trials or name != "classes"]
    return _Part(title=stage.name, tables=tuple(table for table in tables if table is not None))


def _agreement(stage: StageFolder) -> list[_Part]:
    """Matrices, pictures and per-class tables: of the stage, and of the trial that its result names as best."""
    shown = [(stage.name, stage)]
    model = stage.result().get("model") if stage.finished else None
    if isinstance(model, str) and PurePosixPath(model).parts[:1] == ("trials",) and ".." not in model:
        name = PurePosixPath(model).parts[1]
        trial = StageFolder(stage.path / "trials" / name, name)
        about = trial.config() or {}
        title = f"{about['method']}, seed {about.get('seed')}" if about.get("method") else name
        shown.append((f"{stage.name}: {title}", trial))
    parts = []
    for title, folder in shown:
        figures = _loose(folder, "figures", folder.figures()).values()
        drawings = [draw(figure) for figure in figures if figure.get("kind") == "matrix"]
        given = _loose(folder, "tables", folder.tables()).values()
        tables = [] if folder.trials() else [_table(data) for data in given]
        pictures = _loose(folder, "images", folder.images()).values()
        images = [(_data_uri(png), caption) for png, caption in pictures]
        part = _Part(title, tuple(drawings), (), tuple(t for t in tables if t is not None), tuple(images))
        if part.drawings or part.tables or part.images:
            parts.append(part)
    return parts


def _chapters(stage: StageFolder, colours: Mapping[str, str]) -> list[_Chapter]:
    """The chapters of a stage in order; a name that nothing answers to is passed over."""
    figures, tables, images = stage.figures(), stage.tables(), stage.images()
    found = []
    for chapter in stage.chapters().values():
        drawn = [
            draw(figures[name], _own_colours(figures[name], colours))
            for name in chapter.get("figures", ())
            if name in figures
        ]
        shown = [_table(tables[name]) for name in chapter.get("tables", ()) if name in tables]
        pictures = [images[name] for name in chapter.get("images", ()) if name in images]
        found.append(
            _Chapter(
                title=str(chapter.get("title", "")),
                lines=tuple((str(line[0]), str(line[1])) for line in chapter.get("lines", ()) if len(line) == 2),
                notes=tuple(str(line) for line in chapter.get("notes", ())),
                drawings=tuple(drawn),
                images=tuple((_data_uri(png), caption) for png, caption in pictures),
                tables=tuple(table for table in shown if table is not None),
            )
        )
    return found


_Value = TypeVar("_Value")


def _loose(stage: StageFolder, kind: str, found: Mapping[str, _Value]) -> dict[str, _Value]:
    """What stands in no chapter and does not lead the page."""
    taken = {name for chapter in stage.chapters().values() for name in chapter.get(kind, ())}
    return {
        name: value
        for name, value in found.items()
        if name not in taken and not (isinstance(value, Mapping) and value.get("lead"))
    }


def _table(data: Mapping[str, Any]) -> Table | None:
    try:
        return table_of(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        title = str(data.get("title") or "Table")
        return Table(title, (), (), (), note=f"This table cannot be shown: {type(error).__name__}: {error}.")


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
