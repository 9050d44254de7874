"""`limbeck export`: take a model or a small set out, for programs that know nothing of Limbeck."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limbeck.cli import options
from limbeck.cli.console import say
from limbeck.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limbeck.models.exports._registry import Format
    from limbeck.models.exports.exported import Exported

DATASET = "dataset"
"""The format of image sets; every other one is of models."""
KINDS = {"classifier": "state-dict", "flow": "safetensors", "detector": "torchvision"}
"""What a file may hold, and its format unless one is named: the weights."""
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
        str | None,
        typer.Option(
            "--format",
            help="state-dict, timm, hf, onnx or torch; of a flow safetensors, torch or diffusers; of a detector "
            "torchvision, onnx or torch; dataset for an image set. The weights unless given.",
        ),
    ] = None,
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
    evaluations: Annotated[
        int | None,
        typer.Option("--evaluations", help="torch, diffusers, of a flow: network evaluations for a sample; 1."),
    ] = None,
    times: Annotated[
        str | None,
        typer.Option("--times", metavar="T,T,...", help="torch, diffusers, of a flow: where steps begin: 1,0.8."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="HxW", help="onnx, torch, of a detector: height and width of the images."),
    ] = None,
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

    What was written is read back as such a program would read it, and compared with the model.
    """
    _require_format(form)
    given: dict[str, Any] = {"normalise": normalise, "precision": precision, "opset": opset}
    given |= {"evaluations": evaluations, "times": _times(times), "size": _size(size)}
    if private and push is None:
        raise InputError("--private is for a repository on the hub: say --push owner/name too.")
    if form == DATASET and push is not None:
        # A push makes a repository of models, where `datasets` would not look.
        raise InputError(
            f"--push uploads models. Export without it, then: hf upload {push} {out} --repo-type dataset"
        )

    if form == DATASET:
        _settings(DATASET, {}, given)

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
        kind = _kind(model)
        form = form or KINDS[kind]
        refuse_set(model, form)
        formats = _formats(kind)
        if form not in formats:
            others = " or ".join(f"a {other}" for other in KINDS if form in _formats(other))
            raise InputError(
                f"{model} holds a {kind}, and the format {form} is of {others}. There are {', '.join(formats)}."
            )
        settings = _settings(form, formats, given)
        exporter = _exporter(kind, formats[form].exporter)
        with imports_allowed(load_plugins(plugin or [])):
            written = exporter(model, out, **settings, licence=licence, repository=push, force=force)
    _tell(written)
    if push is not None:
        say(f"pushed   {limbeck.models.push(written, push, private=private)}")


def _formats(kind: str) -> Mapping[str, Format]:
    """Of one kind of model, by name."""
    from limbeck.flow.exports import _registry as flows
    from limbeck.models.detectors.exports import _registry as detectors
    from limbeck.models.exports import _registry as classifiers

    return {"classifier": classifiers.FORMATS, "flow": flows.FORMATS, "detector": detectors.FORMATS}[kind]


def _exporter(kind: str, name: str) -> Callable[..., Exported]:
    import limbeck.flow.exports
    import limbeck.models.detectors.exports

    places = {"classifier": limbeck.models, "flow": limbeck.flow.exports}
    found: Callable[..., Exported] = getattr(places.get(kind, limbeck.models.detectors.exports), name)
    return found


def _require_format(form: str | None) -> None:
    classifiers, flows, detectors = (_formats(kind) for kind in KINDS)
    known = tuple(dict.fromkeys((*classifiers, DATASET, *flows, *detectors)))
    if form is not None and form not in known:
        raise InputError(
            f"--format {form}:{did_you_mean(form, known)} There are {', '.join((*classifiers, DATASET))}; "
            f"of a flow {', '.join(flows)}; of a detector {', '.join(detectors)}."
        )


def _kind(model: Path) -> str:
    """What the file holds; what cannot be read is left to the exporter's own message."""
    from limbeck.errors import CheckpointError
    from limbeck.models.artefact import holds_detector, holds_flow, read_card

    try:
        card = read_card(model)
    except CheckpointError:
        return "classifier"
    if holds_detector(card):
        return "detector"
    return "flow" if holds_flow(card) else "classifier"


def _times(given: str | None) -> tuple[float, ...] | None:
    if given is None:
        return None
    try:
        return tuple(float(part) for part in given.split(","))
    except ValueError as error:
        raise InputError(f"--times {given}: numbers between commas are wanted, falling, e.g. 1,0.8.") from error


def _size(given: str | None) -> tuple[int, int] | None:
    if given is None:
        return None
    height, _, width = given.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise InputError(f"--size {given}: height and width are wanted, e.g. 480x640.")
    return int(height), int(width)


def _settings(form: str, formats: Mapping[str, Format], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was said, if the format has it."""
    settings = {key: value for key, value in given.items() if value is not None}
    having_any = formats[form].settings if form in formats else ()
    for key, value in settings.items():
        if key not in having_any:
            having = [
                f"{name}{of}"
                for kind, of in (("classifier", ""), ("flow", " of a flow"), ("detector", " of a detector"))
                for name, one in _formats(kind).items()
                if key in one.settings
            ]
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
