"""Run the stages of a recipe in order: skip what is finished, resume what is not, refuse what was changed."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from limbeck.engine.processes import is_main, wait_for_all
from limbeck.errors import ConfigError, Interrupted, RunFolderError, UnknownNameError, did_you_mean
from limbeck.protocols import StageContext
from limbeck.recipes.kinds import STAGES, StageKind, load_attribute
from limbeck.recipes.reuse import take_over
from limbeck.recipes.schema import Recipe
from limbeck.runs.folder import RunFolder, StageFolder
from limbeck.runs.provenance import provenance


def default_folder(recipe: Recipe) -> Path:
    """Where a run goes unless told: the same for the same recipe and seed, so that running again continues."""
    folder = Path("runs") / recipe.name
    if recipe.variant is not None:
        folder = folder / recipe.variant
    return folder / f"{'smoke-' if recipe.smoke else ''}s{recipe.seed}"


def run_recipe(
    recipe: Recipe,
    out: Path,
    *,
    command: Sequence[str],
    fresh: Sequence[str] = (),
    reuse: Sequence[Path] = (),
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
        reuse: run folders, or folders of them, whose finished stages are taken over where nothing differs.
        device: a torch device; what is found unless given.
        progress: show progress bars.
        kinds: the stage kinds that exist.

    Returns:
        The folder, with every stage finished.

    Raises:
        ConfigError: a finished or begun stage has other settings now.
        RunFolderError: there is no run at a path of `reuse`, or what would be taken over is damaged.
        Interrupted: a signal asked for a stop; the state is saved.
        LimbeckError: whatever a stage raises on purpose; it is recorded first.
    """
    unknown = [name for name in fresh if name not in recipe.stages]
    if unknown:
        known = ", ".join(recipe.stages)
        hint = did_you_mean(unknown[0], recipe.stages)
        raise UnknownNameError(f"--fresh {unknown[0]}: the recipe has no such stage.{hint} Stages: {known}.")
    if not is_main():  # the main process prepares the folder; the others only take part in the training
        wait_for_all(device)
        run = RunFolder.open(out)
        _run_stages(recipe, run, kinds, device, progress=False)
        return run
    run = _open(recipe, out, command)
    with run.lock():
        again = _to_begin_again(recipe, fresh)
        _refuse_changes(recipe, run, but=again)
        _begin_again(run, again)
        run.amend(recipe_text=recipe.text, resolved=recipe.resolved)
        # Before the other processes are let go: they ask each stage's folder whether it is finished.
        taken = take_over(recipe, run, reuse, but=again)
        wait_for_all(device)
        _run_stages(recipe, run, kinds, device, progress, taken)
    return run


def _open(recipe: Recipe, out: Path, command: Sequence[str]) -> RunFolder:
    if (out / "resolved.json").exists():
        return RunFolder.open(out)
    more = {} if recipe.variant is None else {"variant": recipe.variant}
    return RunFolder.create(
        out, recipe_text=recipe.text, resolved=recipe.resolved, provenance=provenance(list(command), **more)
    )


def _to_begin_again(recipe: Recipe, fresh: Sequence[str]) -> list[str]:
    """The stages that were asked for, and every stage that builds on them."""
    wanted = set(fresh)
    for name in recipe.stages:
        if wanted & set(recipe.references.get(name, ())):
            wanted.add(name)
    return [name for name in recipe.stages if name in wanted]


def _begin_again(run: RunFolder, stages: Sequence[str]) -> None:
    for name in stages:
        aside = run.stage(name).reset()
        if aside is not None:
            run.event("reset", stage=name, moved_to=aside.name)


def _refuse_changes(recipe: Recipe, run: RunFolder, *, but: Sequence[str]) -> None:
    problems = []
    for name in (n for n in recipe.stages if n not in but):
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


def _run_stages(
    recipe: Recipe,
    run: RunFolder,
    kinds: Mapping[str, StageKind],
    device: str | None,
    progress: bool,
    taken: Collection[str] = (),
) -> None:
    for name in recipe.stages:
        folder = run.stage(name)
        if folder.finished:
            if name not in taken:
                _note(run, "skipped", name)
        else:
            _run_stage(recipe, folder, run, kinds[recipe.kinds[name]], device, progress)
        wait_for_all(device)


def _run_stage(
    recipe: Recipe, folder: StageFolder, run: RunFolder, kind: StageKind, device: str | None, progress: bool
) -> None:
    name = folder.name
    _note(run, "resumed" if folder.begun else "started", name)
    if is_main():
        folder.begin(recipe.stage_config(name))
    inputs = {value: _artefact(value, recipe, run) for value in recipe.references.get(name, ())}
    context = StageContext(seed=recipe.seed, inputs=inputs, device=device, progress=progress, smoke=recipe.smoke)
    try:
        load_attribute(kind.run)(recipe.stages[name], folder, context)
        _require_result(folder)
    except (Interrupted, KeyboardInterrupt) as error:
        _note(run, "interrupted", name, reason=str(error))
        raise
    except Exception as error:
        _note(run, "failed", name, error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        raise
    _note(run, "finished", name)


def _note(run: RunFolder, kind: str, stage: str, **more: str) -> None:
    if is_main():
        run.event(kind, stage=stage, **more)


def _artefact(value: str, recipe: Recipe, run: RunFolder) -> Path:
    return run.stage(value).path if value in recipe.stages else Path(value)


def _require_result(folder: StageFolder) -> None:
    if not folder.finished:
        raise RunFolderError(f"stage '{folder.name}' ended without writing {folder.path / 'result.json'}.")
