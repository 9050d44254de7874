"""Published result tables: what papers report, cell by cell, and which recipe reproduces it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from limbeck.errors import ConfigError, UnknownNameError, did_you_mean
from limbeck.recipes import text as yaml_text
from limbeck.recipes.catalogue import LIBRARY
from limbeck.recipes.problems import explain
from limbeck.specs import Config

FILE = "tables.yaml"
_Text = Annotated[str, Field(min_length=1)]


class Cell(Config):
    """One number of a table, and how to get it."""

    row: _Text
    """What the row is called, usually a method."""
    column: _Text
    """What the column is called, usually a pair of networks."""
    recipe: str | None
    """The recipe that reproduces it, by its name in the library; null where none can."""
    variant: str | None = None
    """The recipe's variant."""
    stage: str = "student"
    """The stage whose number stands for the cell."""
    number: str = "accuracy"
    """The number of that stage's result; shares are shown in percent."""
    method: str | None = None
    """Whose number, of an audit: a method, control or teacher; the mean over its networks counts."""
    reported: float
    """The published number, in the table's unit."""
    spread: float | None = None
    """Its published standard deviation, if one was given."""
    source: _Text
    """Where it was published: a README, a table, a log."""
    verified: bool = True
    """False for numbers that were not looked up in the publication itself."""
    note: str = ""
    """What to know about it."""
    reason: str = ""
    """Why no recipe reproduces it."""

    @model_validator(mode="after")
    def _recipe_or_reason(self) -> Self:
        if self.recipe is None and not self.reason:
            raise ValueError("recipe is null, so a reason is needed: why does no recipe reproduce this cell?")
        if self.recipe is None and self.variant is not None:
            raise ValueError(f"variant '{self.variant}' belongs to no recipe; name the recipe, or remove it")
        if self.recipe is not None and self.reason:
            raise ValueError("a cell with a recipe needs no reason; say what differs in 'note'")
        return self


class PublishedTable(Config):
    """Rows and columns of published numbers."""

    title: _Text
    """What the table shows."""
    unit: _Text = "top-1 %"
    """Of every number."""
    better: Literal["higher", "lower"] = "higher"
    """What a good number is; said above the table where it is the lower one."""
    note: str = ""
    """What to know about the whole of it."""
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)]
    """The numbers; rows and columns stand in the order in which they first appear here."""

    @model_validator(mode="after")
    def _one_cell_a_place(self) -> Self:
        seen: set[tuple[str, str]] = set()
        twice = []
        for cell in self.cells:
            place = (cell.row, cell.column)
            if place in seen:
                twice.append(f"row '{cell.row}', column '{cell.column}'")
            seen.add(place)
        if twice:
            raise ValueError(f"two cells stand in the same place: {'; '.join(twice)}")
        return self

    @property
    def heading(self) -> str:
        """Title and unit, and what a good number is where that is the lower one."""
        lower = ", lower is better" if self.better == "lower" else ""
        return f"{self.title} ({self.unit}{lower})"

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows, in order."""
        return tuple(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(dict.fromkeys(cell.column for cell in self.cells))


class Tables(Config):
    """The tables of one folder of the library."""

    same_data: tuple[str, ...] = ()
    """Sources that hold the same images, so that a run from any counts: [torchvision/cifar100, parquet]."""
    tables: Annotated[Mapping[str, PublishedTable], Field(min_length=1)]
    """Name -> table."""


def names() -> list[str]:
    """Names of the published tables, such as cifar100/homogeneous."""
    return list(_shipped())


def find(name: str) -> tuple[PublishedTable, Tables]:
    """A table by name, with the file that it stands in.

    Raises:
        UnknownNameError: there is none of that name.
    """
    known = _shipped()
    if name not in known:
        listed = ", ".join(known)
        raise UnknownNameError(f"no table is named '{name}'.{did_you_mean(name, known)} There are: {listed}.")
    file = known[name]
    return file.tables[name.rpartition("/")[2]], file


@cache
def _shipped() -> Mapping[str, Tables]:
    """Every table of the library by name, each with its file."""
    found: dict[str, Tables] = {}
    for path in sorted(LIBRARY.rglob(FILE)):
        file = load(path)
        folder = path.parent.relative_to(LIBRARY).as_posix()
        found |= {f"{folder}/{name}": file for name in file.tables}
    return found


def load(path: Path) -> Tables:
    """Read and check a file of tables.

    Args:
        path: of the YAML file.

    Raises:
        ConfigError: every problem at once, each with its line.
    """
    return parse(path.read_text(encoding="utf-8"), str(path))


def parse(text: str, where: str) -> Tables:
    """Check the text of a file of tables.

    Args:
        text: of the file.
        where: the file, for messages.

    Raises:
        ConfigError: every problem at once, each with its line.
    """
    document = yaml_text.parse(text, where)
    problems = [(line, f"line {line}: {said}") for line, said in document.problems]
    if not isinstance(document.data, dict):
        raise ConfigError(f"{where}: a file of tables is a mapping with 'tables'.")
    found = None
    try:
        found = Tables.model_validate(document.data)
    except ValidationError as error:
        for place, said in explain(error, document.data, Tables, "a file of tables"):
            line = document.line(place) or 0
            problems.append((line, f"{_dotted(place)} (line {line}): {said}"))
    if problems or found is None:
        raise ConfigError.of(where, [said for _, said in sorted(problems, key=lambda p: p[0])])
    return found


def _dotted(place: Sequence[Any]) -> str:
    return ".".join(str(part) for part in place) or "file"
