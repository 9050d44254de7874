"""The small print: provenance, files, and how to load the model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.report.quantities import quantity
from limbeck.runs import RunFolder, StageFolder

_WHAT = {
    "recipe.yaml": "the recipe, as given",
    "resolved.json": "every value that it came to",
    "provenance.json": "versions, commit, hardware, command",
    "events.jsonl": "what happened, and when",
    "config.json": "what this stage was asked",
    "result.json": "what it came to; its presence means finished",
    "scalars.jsonl": "losses and measures by step",
    "model.safetensors": "the trained model: weights and what rebuilds them",
    "tables": "tables of this page",
    "figures": "figures of this page",
    "images": "pictures of this page",
    "checkpoints": "training state, to continue from",
    "trials": "a folder for each method and seed",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and what is to be said of it."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class File:
    """A file or folder of a run, with its size as text."""

    path: str
    what: str
    size: str


def environment(provenance: Mapping[str, Any]) -> list[Fact]:
    """Provenance as names and values; what this release does not know is listed as it is.

    Args:
        provenance: as `runs` wrote it, by this release or another.
    """
    left = dict(provenance)
    facts = []
    if isinstance(left.get("command"), list):
        facts.append(Fact("Command", shlex.join(map(str, left.pop("command")))))
    if "time" in left:
        facts.append(Fact("Begun", moment(left.pop("time"))))
    if isinstance(left.get("limbeck"), Mapping):
        facts.append(Fact("Limbeck", _version(left.pop("limbeck"))))
    if "python" in left:
        facts.append(Fact("Python", str(left.pop("python"))))
    if isinstance(left.get("packages"), Mapping):
        known = [f"{name} {version}" for name, version in left.pop("packages").items() if version]
        facts.append(Fact("Packages", ", ".join(known)))
    if isinstance(left.get("hardware"), Mapping):
        facts += _hardware(left.pop("hardware"))
    return facts + [Fact(name, value) for name, value in _flat(left) if value]


def byline(run: RunFolder) -> list[str]:
    """When, with what and where, in a few words each.

    Args:
        run: any.
    """
    known = run.provenance
    hardware = known["hardware"] if isinstance(known.get("hardware"), Mapping) else {}
    limbeck = known["limbeck"] if isinstance(known.get("limbeck"), Mapping) else {}
    gpus = hardware.get("gpus") or []
    machine = gpus[0] if gpus else hardware.get("processor")
    seed = run.resolved.get("seed")
    words = [
        moment(known["time"]) if known.get("time") else None,
        f"Limbeck {limbeck['version']}" if limbeck.get("version") else None,
        f"seed {seed}" if seed is not None else None,
        f"{len(gpus)} × {machine}" if len(gpus) > 1 else machine,
        f"{hardware['cores']} cores" if hardware.get("cores") and not gpus else None,
    ]
    return [str(word) for word in words if word]


def model_path(run: RunFolder, stages: Sequence[StageFolder]) -> str | None:
    """The model file of the last finished stage that has one, as a path for the reader's own code.

    Args:
        run: any.
        stages: of the run.
    """
    for stage in reversed(stages):
        model = stage.result().get("model") if stage.finished else None
        if isinstance(model, str) and (stage.path / model).is_file():
            return (run.path / stage.name / model).as_posix()
    return None


def files_of(run: RunFolder, stages: Sequence[StageFolder]) -> list[File]:
    """What the run's folder holds: its files, and one line for each folder inside a stage.

    Args:
        run: any.
        stages: of the run.
    """
    entries = [path for path in sorted(run.path.iterdir()) if path.is_file()]
    for stage in stages:
        if stage.path.is_dir():
            entries += sorted(stage.path.iterdir(), key=lambda p: (p.is_dir(), p.name))
    shown = [path for path in entries if not path.name.startswith(".") and path.name != "report.html"]
    return [
        File(
            path.relative_to(run.path).as_posix() + ("/" if path.is_dir() else ""),
            _WHAT.get(path.name, ""),
            quantity(_size(path), "bytes"),
        )
        for path in shown
    ]


def moment(time: Any) -> str:
    """A time stamp without the letters of ISO 8601.

    Example:
        >>> moment("2026-11-20T10:12:03+00:00")
        '2026-11-20 10:12 UTC'
    """
    date, separator, rest = str(time).partition("T")
    return f"{date} {rest[:5]} UTC" if separator and rest.endswith("+00:00") else str(time)


def _version(limbeck: Mapping[str, Any]) -> str:
    version = str(limbeck.get("version", "unknown"))
    if not limbeck.get("commit"):
        return version
    changed = ", with uncommitted changes" if limbeck.get("dirty") else ""
    return f"{version}, commit {str(limbeck['commit'])[:12]}{changed}"


def _hardware(hardware: Mapping[str, Any]) -> list[Fact]:
    left = dict(hardware)
    cores = left.pop("cores", None)
    processor = left.pop("processor", None)
    memory = left.pop("memory_bytes", None)
    gpus = left.pop("gpus", None) or []
    facts = []
    if processor:
        facts.append(Fact("Processor", f"{processor}, {cores} cores" if cores else str(processor)))
    facts.append(Fact("Graphics", ", ".join(map(str, gpus)) if gpus else "none used or found"))
    if memory:
        facts.append(Fact("Memory", quantity(memory, "bytes")))
    return facts + [Fact(name.capitalize(), value) for name, value in _flat(left) if value]


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in _flat(item, f"{prefix} {key}".strip())]
    if isinstance(value, list):
        return [(prefix, ", ".join(map(str, value)))]
    return [(prefix, "" if value is None else quantity(value))]


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
        return path.stat().st_size
    except OSError:
        return 0
