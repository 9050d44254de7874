"""Run the stages of a recipe in order: skip what is finished, resume what is not, refuse what was changed."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from limbeck.errors import ConfigError, Interrupted, RunFolderError, UnknownNameError, did_you_mean
from limbeck.protocols import StageContext
from limbeck.recipes.kinds import STAGES, StageKind, load_attribute
from limbeck.recipes.schema import Recipe
from limbeck.runs.folder import RunFolder, StageFolder
from limbeck.runs.provenance import provenance


def default_folder(recipe: Recipe) -> Path:
    """Where a run goes unless told: the same for the same recipe and seed, so that running again continues."""
    return Path("runs") / recipe.name / f"{'smoke-' if recipe.smoke else ''}s{recipe.seed}"


def run_recipe(
    recipe: Recipe,
    out: Path,
    *,
    command: Sequence[str],
    fresh: Sequence[str] = (),
    device: str | None = None,
    progress: bool = False,
    kinds: Mapping[str, StageKind] = STAGES,
) -> RunFolder:
    """Run a recipe in a folder, new or begun.

    Args:
        recipe: checked.
        out: the run's folder.
        command: what was typed, for the provenance.
        fresh: stages to begin again, with every stage that builds on them.
        device: a torch device; what is found unless given.
        progress: show progress bars.
        kinds: the stage kinds that exist.

    Returns:
        The folder, with every stage finished.

    Raises:
        ConfigError: a finished or begun stage has other settings now.
        Interrupted: a signal asked for a stop; the state is saved.
        LimbeckError: whatever a stage raises on purpose; it is recorded first.
    """
    unknown = [name for name in fresh if name not in recipe.stages]
    if unknown:
        known = ", ".join(recipe.stages)
        hint = did_you_mean(unknown[0], recipe.stages)
        raise UnknownNameError(f"--fresh {unknown[0]}: the recipe has no such stage.{hint} Stages: {known}.")
    run = _open(recipe, out, command)
    with run.lock():
        _begin_again(recipe, run, fresh)
        _refuse_changes(recipe, run)
        run.amend(recipe_text=recipe.text, resolved=recipe.resolved)
        for name in recipe.stages:
            _run_stage(recipe, name, run, kinds[recipe.kinds[name]], device, progress)
    return run


def _open(recipe: Recipe, out: Path, command: Sequence[str]) -> RunFolder:
    if (out / "resolved.json").exists():
        return RunFolder.open(out)
    return RunFolder.create(
        out, recipe_text=recipe.text, resolved=recipe.resolved, provenance=provenance(list(command))
    )


def _begin_again(recipe: Recipe, run: RunFolder, fresh: Sequence[str]) -> None:
    wanted = set(fresh)
    for name in recipe.stages:
        if wanted & {name, *recipe.references.get(name, ())}:
            wanted.add(name)
            aside = run.stage(name).reset()
            if aside is not None:
                run.event("reset", stage=name, moved_to=aside.name)


def _refuse_changes(recipe: Recipe, run: RunFolder) -> None:
    problems = []
    for name in recipe.stages:
        changes = run.stage(name).compare(recipe.stage_config(name))
        problems += [f"{name}.{change}" for change in changes]
    if problems:
        stages = list(dict.fromkeys(p.partition(".")[0] for p in problems))
        again = " ".join(f"--fresh {name}" for name in stages)
        raise ConfigError(
            f"{run.path} was begun with other settings:\n  "
            + "\n  ".join(problems)
            + f"\nBegin these stages again ({again}; the old ones are kept aside), or give another folder (--out)."
        )


def _run_stage(
    recipe: Recipe, name: str, run: RunFolder, kind: StageKind, device: str | None, progress: bool
) -> None:
    folder = run.stage(name)
    if folder.finished:
        run.event("skipped", stage=name)
        return
    run.event("resumed" if folder.begun else "started", stage=name)
    folder.begin(recipe.stage_config(name))
    inputs = {value: _artefact(value, recipe, run) for value in recipe.references.get(name, ())}
    context = StageContext(seed=recipe.seed, inputs=inputs, device=device, progress=progress)
    try:
        load_attribute(kind.run)(recipe.stages[name], folder, context)
        _require_result(folder)
    except (Interrupted, KeyboardInterrupt) as error:
        run.event("interrupted", stage=name, reason=str(error))
        raise
    except Exception as error:
        run.event("failed", stage=name, error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        raise
    run.event("finished", stage=name)


def _artefact(value: str, recipe: Recipe, run: RunFolder) -> Path:
    return run.stage(value).path if value in recipe.stages else Path(value)


def _require_result(folder: StageFolder) -> None:
    if not folder.finished:
        raise RunFolderError(f"stage '{folder.name}' ended without writing {folder.path / 'result.json'}.")
