"""`limbeck export`: take a model or a small set out, for programs that know nothing of Limbeck."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limbeck.cli import options
from limbeck.cli.console import say
from limbeck.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from limbeck.models.exports.exported import Exported

DATASET = "dataset"
"""The format of image sets; every other one is of models."""
_CHOICES = {"normalise": ("inside", "outside"), "precision": ("float32", "float16", "bfloat16")}


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file or image set, a stage's folder or a run folder.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="A folder; or a file named .safetensors, .onnx or .pt2, which is written alone."
        ),
    ],
    form: Annotated[
        str, typer.Option("--format", help="state-dict, timm, hf, onnx or torch; dataset for an image set.")
    ] = "state-dict",
    normalise: Annotated[
        str | None,
        typer.Option(
            "--normalise", help="onnx, torch: inside (it takes images in [0, 1]; the default) or outside."
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="onnx, torch: float32, float16, or (torch) bfloat16.")
    ] = None,
    opset: Annotated[int | None, typer.Option("--opset", help="onnx: version of its operators, from 18.")] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="Of the weights, for the model card: apache-2.0, mit, ...")
    ] = None,
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="OWNER/NAME", help="Upload the folder to the Hugging Face hub as well."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository on the hub a private one.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
    plugin: options.Plugins = None,
) -> None:
    """Take a model or a small set out, for programs without Limbeck.

    A model is read back as such a program would read it, and its logits are compared.
    """
    from limbeck.models.exports._registry import FORMATS

    if form not in (*FORMATS, DATASET):
        known = (*FORMATS, DATASET)
        raise InputError(f"--format {form}:{did_you_mean(form, known)} There are {', '.join(known)}.")
    settings = _settings(form, normalise=normalise, precision=precision, opset=opset)
    if private and push is None:
        raise InputError("--private is for a repository on the hub: say --push owner/name too.")
    if form == DATASET and push is not None:
        # A push makes a repository of models, where `datasets` would not look.
        raise InputError(
            f"--push uploads models. Export without it, then: hf upload {push} {out} --repo-type dataset"
        )

    import limbeck.models
    from limbeck.dataset.hub_folder import export_set, refuse_set
    from limbeck.recipes.plugins import load_plugins
    from limbeck.registry import imports_allowed

    if push is not None:
        from limbeck.models.exports.push import checked_repository

        if out.suffix in (".safetensors", ".onnx", ".pt2"):
            raise InputError(f"--push uploads a folder with a model card: --out {out.with_suffix('')}, not {out}.")
        checked_repository(push)
    if form == DATASET:
        written = export_set(model, out, licence=licence, force=force)
    else:
        refuse_set(model, form)
        exporter = getattr(limbeck.models, FORMATS[form].exporter)
        with imports_allowed(load_plugins(plugin or [])):
            written = exporter(model, out, **settings, licence=licence, repository=push, force=force)
    _tell(written)
    if push is not None:
        say(f"pushed   {limbeck.models.push(written, push, private=private)}")


def _settings(form: str, **given: Any) -> dict[str, Any]:
    """What was said, if the format has it."""
    from limbeck.models.exports._registry import FORMATS

    settings = {key: value for key, value in given.items() if value is not None}
    having_any = FORMATS[form].settings if form in FORMATS else ()
    for key, value in settings.items():
        if key not in having_any:
            having = [name for name, one in FORMATS.items() if key in one.settings]
            raise InputError(f"--{key}: the format {form} has no such setting; {' and '.join(having)} do.")
        choices = _CHOICES.get(key, (value,))
        if value not in choices:
            raise InputError(f"--{key} {value}:{did_you_mean(value, choices)} There are {', '.join(choices)}.")
    return settings


def _tell(written: Exported) -> None:
    folder = written.path.is_dir()
    say(str(written.path))
    width = max(26, *(len(name) + 1 for name in written.files))
    for name, size in written.sizes.items():
        if folder:
            say(f"  {name:<{width}}{size:>15,} bytes")
        else:
            say(f"size     {size:,} bytes")
    for one in written.compared:
        say(f"checked  {one}")
    first, *more = [line for line in written.usage.splitlines() if line]
    say(f"load     {first}")
    for line in more:
        say(f"         {line}")
