"""What is wrong with a recipe, and where: a dotted path with a line, or an option of the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from limbeck.errors import ConfigError

Path = tuple[str | int, ...]
"""Keys and list positions from the top of a recipe."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written.

    Attributes:
        line: in the file, counted from 1; None for a value from the command line.
        option: the option as given, for a value from the command line.
    """

    line: int | None = None
    option: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: of the value.
        text: what was given, what is allowed, the way out.
        origin: of the value.
    """

    path: Path
    text: str
    origin: Origin = Origin()

    def __str__(self) -> str:
        place = dotted(self.path)
        if self.origin.option:
            return f"{self.origin.option}: {self.text}"
        if self.origin.line is not None:
            place = f"line {self.origin.line}" + (f", {place}" if place else "")
        return f"{place}: {self.text}" if place else self.text


class Origins:
    """Origin of every value of a recipe by path.

    Args:
        known: what is known at the start.
    """

    def __init__(self, known: Mapping[Path, Origin] | None = None) -> None:
        self._known = dict(known or {})

    def __setitem__(self, path: Path, origin: Origin) -> None:
        self._known[path] = origin

    def __contains__(self, path: Path) -> bool:
        return path in self._known

    def of(self, path: Path) -> Origin:
        """The origin of a value, or of the nearest one around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self._known:
                return self._known[path[:length]]
        return Origin()

    def move(self, source: Path, target: Path) -> None:
        """Let a value and all inside it come from where another stands."""
        self.forget(target)
        inside = {p: o for p, o in self._known.items() if p[: len(source)] == source}
        self._known |= {(*target, *p[len(source) :]): o for p, o in inside.items()}

    def forget(self, path: Path) -> None:
        """Drop a value and all inside it."""
        self._known = {p: o for p, o in self._known.items() if p[: len(path)] != path}


def dotted(path: Path) -> str:
    """A path as it is written for people and for `--set`.

    Example:
        >>> dotted(("stages", "student", "terms", 0, "weight"))
        'stages.student.terms.0.weight'
    """
    return ".".join(str(part) for part in path)


def refuse(name: str, problems: Iterable[Problem]) -> None:
    """Raise one error with every problem, in the order of the lines.

    Raises:
        ConfigError: there is at least one.
    """
    found = sorted(dict.fromkeys(problems), key=lambda p: (p.origin.line is None, p.origin.line or 0))
    if found:
        raise ConfigError.of(name, [str(problem) for problem in found])
