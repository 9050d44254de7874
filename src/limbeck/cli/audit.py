"""`limbeck audit`: what was transferred from a teacher to its students, for whatever networks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from limbeck.cli import options
from limbeck.cli.run import execute
from limbeck.errors import CheckpointError, ConfigError, InputError

_IS_METHOD = re.compile(r"[\w -]+")
LIBRARIES = ("timm/", "torchvision/", "hf/")


def audit(
    teacher: Annotated[
        str,
        typer.Option(
            "--teacher",
            metavar="MODEL",
            help="A model file, a run folder, an exported folder, or timm/NAME, torchvision/NAME, hf/OWNER/NAME.",
        ),
    ],
    student: Annotated[
        list[str],
        typer.Option(
            "--student",
            metavar="[NAME=]MODEL",
            help="The same; NAME is the method, or METHOD-sSEED. A comparison's folder brings all its students "
            "and controls. Repeatable.",
        ),
    ],
    control: Annotated[
        list[str] | None,
        typer.Option(
            "--control",
            metavar="[NAME=]MODEL",
            help="The student trained without the teacher. Without one no transfer is claimed. Of a comparison "
            "of small sets, the name of a method: random. Repeatable.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="A source by name, a folder, a Parquet file, or {name: ..., ...}; that of the teacher's run "
            "unless "
            "given.",
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="test; train, or validation for detectors.")] = "test",
    images: Annotated[
        int | None, typer.Option("--images", min=1, help="At most so many images; 2,000 unless given.")
    ] = None,
    ask: Annotated[
        list[str] | None,
        typer.Option(
            "--ask",
            metavar="QUESTION",
            help="A question of `limbeck list questions`, or {name: adversarial, eps: 0.03}; the standard "
            "ones unless "
            "given. Repeatable.",
        ),
    ] = None,
    domain: Annotated[
        list[str] | None,
        typer.Option("--domain", metavar="NAME=DATA", help="Images of another distribution. Repeatable."),
    ] = None,
    foreign: Annotated[
        str | None,
        typer.Option(
            "--foreign", metavar="MODEL", help="An unrelated network, to make attacks on for comparison."
        ),
    ] = None,
    placebo: Annotated[
        Path | None,
        typer.Option("--placebo", metavar="RUN", help="A comparison whose teacher lacks the property."),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option("--precision", metavar="SHARE", help="Refuse fewer images than ± this needs: 0.02."),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-on",
            metavar="CONDITION",
            help="Leave with code 3 if it holds: 'worst_group_drop>0.05'. Repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything drawn.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="The run folder; runs/audit/sSEED unless given.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin again; the old run is kept aside.")] = False,
    device: options.Device = None,
    plugin: options.Plugins = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no tables; errors only.")] = False,
) -> None:
    """Ask in which ways students became like their teacher.

    Every property gets a verdict: transferred, not transferred, cannot tell. The run folder has the report,
    audit.json and the recipe, which `limbeck run` repeats.
    """
    from limbeck.recipes.plugins import load_plugins
    from limbeck.recipes.schema import load_recipe
    from limbeck.registry import imports_allowed

    stage = _stage(teacher, student, control or [], data, split, domain or [], foreign)
    if images is not None:
        stage["images"] = images
    if ask:
        stage["questions"] = [_question(one) for one in ask]
    if domain and "questions" not in stage:
        from limbeck.audit.config import STANDARD

        stage["questions"] = [*STANDARD, "domains"]
    if placebo is not None:
        stage["placebo"] = str(placebo)
    if precision is not None:
        stage["statistics"] = {"precision": precision}
    if fail_on:
        stage["fail_on"] = list(fail_on)
    recipe = {"title": f"Audit of {_called(teacher)}", "seed": seed, "stages": {"audit": stage}}
    with imports_allowed(load_plugins(plugin or [])):
        # YAML holds JSON, and the run folder keeps the recipe as it was given.
        checked = load_recipe(json.dumps(recipe, indent=2), name="audit", where="limbeck audit")
        execute(checked, out, fresh=["audit"] if fresh else [], device=device, quiet=quiet)


def _stage(
    teacher: str,
    students: list[str],
    controls: list[str],
    data: str | None,
    split: str,
    domains: list[str],
    foreign: str | None,
) -> dict[str, Any]:
    stage: dict[str, Any] = {"kind": "audit.compare", "teacher": _model(teacher), "students": {}, "controls": {}}
    for text in students:
        name, reference = _named(text, default="student", taken=stage["students"])
        if isinstance(reference, str) and _compares(reference):
            if "comparison" in stage:
                raise ConfigError("--student: one comparison's folder at a time; name further students singly.")
            stage["comparison"] = reference
        else:
            stage["students"][name] = reference
    for text in controls:
        if "comparison" in stage and _IS_METHOD.fullmatch(text) and not Path(text).exists():
            stage["control"] = text
            continue
        name, reference = _named(text, default="control", taken=stage["controls"])
        stage["controls"][name] = reference
    if isinstance(stage["teacher"], str) and _detects(Path(stage["teacher"])):
        stage["kind"] = "audit.detectors"
        for option, given in (("--domain", domains), ("--foreign", foreign)):
            if given:
                raise ConfigError(f"{option} is for classifiers, and {teacher} is a detector.")
    stage["source"] = _source(data, detects=stage["kind"] == "audit.detectors") if data else _own_source(teacher)
    stage["split"] = split
    if domains:
        pairs = [text.partition("=") for text in domains]
        wrong = next(
            (text for text, (_, sign, rest) in zip(domains, pairs, strict=True) if not sign or not rest), None
        )
        if wrong is not None:
            raise ConfigError(f"--domain '{wrong}': write NAME=DATA, for example sketch=pacs/sketch.")
        stage["domains"] = {name: _source(rest) for name, _, rest in pairs}
    if foreign is not None:
        stage["foreign"] = _model(foreign)
    return {key: value for key, value in stage.items() if value != {}}


def _named(text: str, *, default: str, taken: dict[str, Any]) -> tuple[str, str | dict[str, Any]]:
    """Name and model; an unnamed one is called after the option, and after its number from the second on."""
    name, sign, rest = text.partition("=")
    if sign and not Path(text).exists() and not text.startswith("{"):
        if name in taken:
            raise ConfigError(f"--{default} '{text}': '{name}' was given already. Tell seeds apart: {name}-s1=...")
        return name, _model(rest)
    name = default if not taken else f"{default}-s{len(taken)}"
    if name != default and default in taken:
        taken[f"{default}-s0"] = taken.pop(default)
    return name, _model(text)


def _model(text: str) -> str | dict[str, Any]:
    if text.startswith(LIBRARIES) and not Path(text).exists():
        return {"name": text, "pretrained": True}
    if text.startswith("{"):
        return _mapping(text, "a model")
    if not Path(text).expanduser().exists():
        raise CheckpointError(
            f"there is no model at {text}: no such file or folder. Networks of libraries are written timm/NAME, "
            "torchvision/NAME or hf/OWNER/NAME."
        )
    return text


def _compares(reference: str) -> bool:
    path = Path(reference)
    return (path / "trials").is_dir() or len(
        [p for p in path.glob("*/trials") if ".old-" not in p.parent.name]
    ) == 1


def _detects(path: Path) -> bool:
    from limbeck.models.artefact import holds_detector, read_card

    try:
        return holds_detector(read_card(path))
    except InputError:
        return False


def _source(text: str, *, detects: bool = False) -> dict[str, Any]:
    from limbeck.errors import DataError, did_you_mean
    from limbeck.sources._registry import DETECTION_SOURCES, SOURCES

    if text.startswith("{"):
        return _mapping(text, "a source")
    registry, path = (DETECTION_SOURCES if detects else SOURCES), Path(text).expanduser()
    if text in registry and not path.exists():
        return {"name": text}
    if not path.exists():
        raise DataError(
            f"--data '{text}' is neither a source nor a path.{did_you_mean(text, registry)} "
            f"Sources: {', '.join(registry)}."
        )
    if detects:
        return {"name": "voc" if (path / "Annotations").is_dir() else "coco", "root": text}
    if path.is_file() or any(path.glob("*.parquet")) or any(path.glob("data/*.parquet")):
        return {"name": "parquet", "root": text, "test_share": 1.0}  # a set without splits is shown whole
    return {"name": "folder", "root": text, "test_share": 1.0}


def _own_source(teacher: str) -> dict[str, Any]:
    """What the teacher's own stage was measured on."""
    path = Path(teacher)
    places = [path, path.parent, *sorted(p.parent for p in path.glob("*/model.safetensors"))]
    for place in places:
        try:
            config = json.loads((place / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        found = isinstance(config, dict) and (config.get("test_source") or config.get("source"))
        if isinstance(found, dict):
            return {
                key: value
                for key, value in found.items()
                if value is not None and key not in ("per_class", "limit")
            }
    raise ConfigError(
        f"--data is missing: {teacher} does not say which images it was measured on. Give a source, a folder with "
        "one subfolder for each class, or a Parquet file."
    )


def _question(text: str) -> str | dict[str, Any]:
    return _mapping(text, "a question") if text.startswith("{") else text


def _mapping(text: str, what: str) -> dict[str, Any]:
    from limbeck.recipes.text import parse

    found = parse(text, f"'{text}'").data
    if not isinstance(found, dict) or "name" not in found:
        raise ConfigError(f"'{text}' is to be {what}: {{name: ..., setting: value}}.")
    return found


def _called(reference: str) -> str:
    path = Path(reference)
    return path.parent.name if path.is_file() else reference.rstrip("/").split("/")[-1]
