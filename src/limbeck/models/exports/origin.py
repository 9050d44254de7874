"""What can be said of a model beyond its file: the run folder that it stands in, if it does."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from limbeck.errors import LimbeckError
from limbeck.models.artefact import read_card

_CONTROL = "control"
"""The student of a comparison that never sees the teacher."""


class Kept(Protocol):
    """A model in its file."""

    @property
    def file(self) -> Path:
        """It was read from."""
        ...

    @property
    def notes(self) -> Mapping[str, Any]:
        """What the file says besides."""
        ...


@dataclass(frozen=True)
class Origin:
    """Where a model comes from; whatever is not known is None or empty.

    Attributes:
        recipe: title of the recipe.
        method: of a comparison.
        losses: that it was trained with.
        teachers: networks that it learned from.
        dataset: that it was trained and measured on.
        accuracy: on the test images, a fraction.
        test: one sentence on the test.
        agreement: with the teacher, a fraction.
        seed: of its training.
        training: epochs, steps and batch size.
        limbeck: version, and commit where it is known.
    """

    recipe: str | None = None
    method: str | None = None
    losses: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    dataset: str | None = None
    accuracy: float | None = None
    test: str | None = None
    agreement: float | None = None
    seed: int | None = None
    training: str | None = None
    limbeck: str | None = None


def origin_of(source: Kept) -> Origin:
    """Read what the run folder around a model says of it; anything unreadable there is left out."""
    folder = source.file.absolute().parent
    own, result = _json(folder / "config.json"), _json(folder / "result.json")
    stage = folder.parents[1] if folder.parent.name == "trials" else folder
    config = own if stage == folder else _json(stage / "config.json")
    run, provenance = _json(stage.parent / "resolved.json"), _json(stage.parent / "provenance.json")
    stages = _mapping(run.get("stages"))
    config = config or dict(_mapping(stages.get(stage.name)))
    method = _text(source.notes.get("method"))
    taught = config.get("teacher") if method != _CONTROL else None
    numbers = _mapping(result.get("numbers"))
    used = [str(c) for c in result.get("components") or ()]
    return Origin(
        recipe=_text(run.get("title")) or _text(run.get("name")),
        method=method,
        losses=tuple(c.removeprefix("loss:") for c in used if c.startswith("loss:")),
        teachers=tuple(_teachers(taught, stages)),
        dataset=_dataset(config.get("test_source")) or _dataset(config.get("source")),
        accuracy=_value(numbers, "accuracy"),
        test=_text(result.get("summary")),
        agreement=_value(numbers, "agreement"),
        seed=source.notes.get("seed"),
        training=_training(_mapping(config.get("train"))),
        limbeck=_version(_mapping(provenance.get("limbeck"))),
    )


def _json(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        return dict(_mapping(json.loads(path.read_text(encoding="utf-8"))))
    return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _value(numbers: Mapping[str, Any], key: str) -> float | None:
    found = _mapping(numbers.get(key)).get("value")
    return float(found) if isinstance(found, int | float) else None


def _dataset(source: object) -> str | None:
    """The name of a set, or of its folder, without the path to it."""
    settings = _mapping(source)
    for key in ("path", "root"):
        place = _text(settings.get(key))
        if place is not None:
            hub = key == "path" and place.count("/") == 1 and not place.startswith((".", "/", "~"))
            return place if hub else Path(place).name or None
    name = _text(settings.get("name"))
    return name.rpartition("/")[2] if name else None


def _teachers(wanted: object, stages: Mapping[str, Any]) -> list[str]:
    if isinstance(wanted, str):
        return [_teacher(wanted, stages)]
    settings = _mapping(wanted)
    if "ema" in settings:
        return ["its own moving average"]
    if isinstance(settings.get("name"), str):
        return [str(settings["name"])]
    return [name for one in settings.values() for name in _teachers(one, stages)]


def _teacher(wanted: str, stages: Mapping[str, Any]) -> str:
    """The architecture behind the name of a stage or the path of a run."""
    model = _mapping(_mapping(stages.get(wanted)).get("model")).get("name")
    if isinstance(model, str):
        return model
    with contextlib.suppress(LimbeckError, OSError):
        return str(read_card(wanted)["spec"]["name"])
    return Path(wanted).name


def _training(train: Mapping[str, Any]) -> str | None:
    length = next((f"{train[key]} {key}" for key in ("steps", "epochs") if train.get(key)), None)
    if length is None:
        return None
    batch = f", batches of {train['batch_size']}" if train.get("batch_size") else ""
    optimizer = _text(_mapping(train.get("optimizer")).get("name"))
    return f"{length}{batch}{f', {optimizer}' if optimizer else ''}"


def _version(limbeck: Mapping[str, Any]) -> str | None:
    version, commit = _text(limbeck.get("version")), _text(limbeck.get("commit"))
    return f"{version} ({commit[:12]})" if version and commit else version
