"""`limbeck show`: one component, stage, method or recipe in full; the tap points of a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from limbeck.cli.catalogue import registries
from limbeck.cli.console import heading, paragraphs, say, show_rows
from limbeck.errors import InputError, UnknownNameError, did_you_mean
from limbeck.registry import Component, Registry


def show(
    name: Annotated[
        str, typer.Argument(help="A loss, model, source, projector, stage, method, recipe or model file.")
    ],
    taps: Annotated[bool, typer.Option("--taps", help="List a model's tap points with their shapes.")] = False,
    shape: Annotated[
        str, typer.Option("--input", help="For --taps: channels,height,width of an image.")
    ] = "3,32,32",
    classes: Annotated[int, typer.Option("--classes", min=1, help="For --taps: number of classes.")] = 10,
) -> None:
    """Describe what a name stands for.

    Settings with their types, defaults and source; for a model also its tap points.
    """
    if taps:
        return _taps(name, shape, classes)
    found = [(word, registry) for word, registry in registries().items() if name in registry]
    for word, registry in found:
        _component(word, registry.describe(name))
    if found:
        return None
    if _method(name) or _stage(name) or _recipe(name) or _model_file(name):
        return None
    raise UnknownNameError(
        f"nothing is named '{name}'.{did_you_mean(name, _all_names())} `limbeck list` shows all."
    )


def _component(word: str, component: Component) -> None:
    heading(f"{component.name}  ({word})")
    body = re.split(r"^(?:Args|Returns|Raises|Example|References):", component.doc, flags=re.MULTILINE)[0]
    paragraphs(_plain(body))
    if component.inputs:
        say()
        say(f"reads     {', '.join(component.inputs)}")
    if component.settings:
        heading("settings")
        show_rows(
            ["name", "type", "default", "what it is"],
            [
                [s.name, s.annotation_text, "required" if s.required else repr(s.default), _plain(s.doc)]
                for s in component.settings.values()
            ],
        )
    reference = re.search(r"^References:\n((?:[ \t]+.*\n?|\n)+)", component.doc + "\n", flags=re.MULTILINE)
    if reference:
        heading("source")
        paragraphs(_plain(reference.group(1)))


def _plain(text: str) -> str:
    return text.replace("``", "").replace("`", "")


def _method(name: str) -> bool:
    from limbeck.classify.methods import METHODS

    if name not in METHODS:
        return False
    heading(f"{name}  (method)")
    for key, value in METHODS[name].items():
        if key == "terms":
            for term in value:
                say(f"- {_flow(term)}")
        else:
            say(f"{key}: {_flow(value)}")
    return True


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return str(value)


def _stage(name: str) -> bool:
    from limbeck.recipes.kinds import STAGES

    if name not in STAGES:
        return False
    model = STAGES[name].config_class()
    heading(f"{name}  (stage)")
    say((model.__doc__ or "").strip())
    more = "".join(f"; {kind} with {field}: true" for field, kind in model.OUTPUT_WITH.items())
    say(f"writes    {model.OUTPUT}{more}")
    heading("fields")
    rows = []
    for field, info in model.model_fields.items():
        if field != "kind":
            default = "required" if info.is_required() else _default(info.default)
            rows.append([field, default, " ".join((info.description or "").split())])
    show_rows(["name", "default", "what it is"], rows)
    for part, inner in _parts(model):
        heading(part)
        known = [
            [
                field,
                _default(info.get_default(call_default_factory=True)),
                " ".join((info.description or "").split()),
            ]
            for field, info in inner.model_fields.items()
        ]
        show_rows(["name", "default", "what it is"], known)
    return True


def _parts(model: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a stage that have fields of their own."""
    from limbeck.specs import Config, Spec

    for field, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Config) and not issubclass(kind, Spec):
            yield field, kind


def _default(value: Any) -> str:
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        given = value.model_dump(exclude_defaults=True)
        return str(given.get("name", "defaults below"))
    return repr(value)


def _recipe(name: str) -> bool:
    from limbeck.recipes import catalogue

    if name not in catalogue.names():
        return False
    say(catalogue.read(name)[1].rstrip())
    variants = catalogue.variants(name)
    if variants:
        # A comment, so that what is printed is still the recipe: `limbeck show NAME > mine.yaml`.
        say(f"# {len(variants)} variants (limbeck run {name} --variant NAME): {', '.join(variants)}")
    return True


def _model_file(name: str) -> bool:
    from pathlib import Path

    if not Path(name).exists():
        return False
    from limbeck.models import read_card

    card = read_card(name)
    heading(f"{name}  (model)")
    show_rows(["fact", "value"], [[key, _flow(value)] for key, value in card.items()])
    return True


def _taps(name: str, shape: str, classes: int) -> None:
    from pathlib import Path

    if not re.fullmatch(r"\d+,\d+,\d+", shape):
        raise InputError(f"--input is channels,height,width, e.g. 3,32,32 (got '{shape}').")
    import torch

    from limbeck.models import build, load
    from limbeck.taps import tap_points

    size = tuple(int(part) for part in shape.split(","))
    found = Path(name).exists()
    model = load(name) if found else build(name, num_classes=classes, in_channels=size[0])
    points = tap_points(model, torch.zeros(2, *size))
    heading(f"{name}: tap points for images of {shape}, in the order in which they run")
    rows = [[p.path or '""', p.kind, " x ".join(map(str, p.shape[1:])) or "-"] for p in points]
    show_rows(["tap", "module", "output, one image"], rows)
    say()
    say("Put ':input' behind a tap to read what goes into the module.")


def _all_names() -> list[str]:
    from limbeck.classify.methods import METHODS
    from limbeck.recipes import catalogue
    from limbeck.recipes.kinds import STAGES

    kinds: list[Registry] = list(registries().values())
    return [*(n for r in kinds for n in r), *METHODS, *STAGES, *catalogue.names()]
