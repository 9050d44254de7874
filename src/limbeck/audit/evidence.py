"""What a question about a teacher and its students brings to light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from limbeck.audit.tally import Tally

Kind = Literal["likeness", "trait"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """One number about every student and control, image by image, and how to read it.

    A *likeness* is measured between the teacher and one other network: what was transferred is how much more like
    the teacher the student is than the control. A *trait* is measured on one network alone, the teacher among
    them: what was transferred is how far the student moved from the control towards the teacher.

    Attributes:
        question: name of the question, as in a recipe.
        measure: name of the number; with the question it is unique within an audit.
        title: the same in a few words, for tables.
        kind: likeness or trait.
        tallies: name of a student or control -> its number; for a trait the teacher's under its name too.
        unit: as the report writes units: "fraction", "nats", "" for a plain number.
        alike: whether a higher or a lower likeness is more like the teacher; of no meaning for traits.
        margin: a smaller difference does not matter, in the unit.
        primary: whether it gets a verdict of its own; the others are shown beneath it.
        better: whether a user would rather have more or less of it, if either.
        chance: the number for a network that has nothing to do with the teacher, where known.
        specificity: the same numbers for the same networks with the property taken out (another attack, other
            images, noise); a transfer that shows there as much is none of this property.
        specificity_note: what was taken out, in a few words.
        constants: everything that the number depends on (budgets, layers, seeds, counts), as JSON.
        note: anything a reader has to know.
        counted: what the rows of the tallies are, and the interval draws anew: images, batches of them, planes.
    """

    question: str
    measure: str
    title: str
    kind: Kind
    tallies: Mapping[str, Tally]
    unit: str = "fraction"
    alike: Literal["higher", "lower"] = "higher"
    margin: float = 0.02
    primary: bool = True
    better: Literal["higher", "lower"] | None = None
    chance: float | None = None
    specificity: Mapping[str, Tally] | None = None
    specificity_note: str = ""
    constants: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    counted: str = "images"

    @property
    def name(self) -> str:
        """Question and measure in one: `adversarial.fooled`."""
        return f"{self.question}.{self.measure}"


@dataclass(frozen=True, eq=False)
class Answer:
    """All that a question gives back.

    Attributes:
        evidence: numbers with their images, the most telling first.
        tables: name -> table as `StageFolder.write_table` takes it.
        figures: name -> figure as `StageFolder.write_figure` takes it.
        pictures: name -> (PNG as bytes, title, caption).
        numbers: name -> plain numbers for `audit.json`, beside those of the evidence.
    """

    evidence: tuple[Evidence, ...] = ()
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pictures: Mapping[str, tuple[bytes, str, str]] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
