"""The layout of `audit.json`, for programs that read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from limbeck.specs import Config

FORMAT = 1
"""Version of the layout; a later release reads earlier ones."""


class Spread(Config):
    """One number of several networks."""

    mean: float | None
    """Null where it is undefined."""
    sd: float | None
    """Over the networks; null for fewer than two."""
    values: Mapping[str, float | None]
    """Name of a network -> its number."""


class FindingRecord(Config):
    """One number of one method against the controls."""

    question: str
    """Name of the question."""
    measure: str
    """Name of the number within it."""
    title: str
    """The same in a few words."""
    unit: str
    """Of all numbers here."""
    kind: Literal["likeness", "trait"]
    """Measured between the teacher and another network, or on one network alone."""
    method: str
    """Of the students."""
    primary: bool
    """Whether it has a verdict."""
    teacher: float | None
    """The teacher's number, for traits."""
    control: Spread
    """Of the controls."""
    student: Spread
    """Of the method's students."""
    difference: float | None
    """Students less controls; above zero is towards the teacher."""
    low: float | None
    """Lower end of its interval."""
    high: float | None
    """Upper end."""
    confidence: float
    """Of the intervals."""
    p: float | None
    """Two-sided."""
    p_corrected: float | None
    """For all primary numbers of the method; null for the others."""
    images: int
    """That count."""
    seeds: int
    """Students of the method."""
    error_images: float | None
    """Standard error that comes from the images."""
    error_seeds: float | None
    """Standard error that comes from the seeds."""
    per_seed: Mapping[str, float | None]
    """Name of a student -> its own difference."""
    matched: bool
    """Whether students were compared with the control of their own seed."""
    gap: Mapping[str, Any] | None
    """Teacher less controls, for traits."""
    gap_closed: float | None
    """The difference as a fraction of the gap."""
    specificity: Mapping[str, Any] | None
    """The difference with the property taken out, and what is beyond it."""
    verdict: Literal["transferred", "not transferred", "cannot tell"] | None
    """Null for numbers that are not primary."""
    reason: str
    """One sentence."""
    scope: str
    """What the verdict is about: the method, or these networks."""
    margin: float
    """Smaller differences do not matter."""
    better: Literal["higher", "lower"] | None
    """Of the number for its own sake."""
    chance: float | None
    """For a network that has nothing to do with the teacher."""
    constants: Mapping[str, Any]
    """Everything that the number depends on."""
    note: str
    """What a reader has to know."""


class Member(Config):
    """One network."""

    name: str
    """Within the audit."""
    method: str = "control"
    """How it was distilled."""
    seed: int | None = None
    """Of its training."""


class AuditRecord(Config):
    """The content of `audit.json`."""

    format: Literal[1]
    """Version of the layout."""
    limbeck: str
    """Release that wrote it."""
    teacher: str
    """Name of the teacher."""
    students: tuple[Member, ...]
    """Distilled from it."""
    controls: tuple[Member, ...]
    """Trained without it."""
    placebos: tuple[Member, ...]
    """Distilled from a teacher without the property."""
    foreign: bool
    """Whether an unrelated network was given."""
    data: Mapping[str, Any]
    """What they were shown."""
    questions: tuple[Mapping[str, Any], ...]
    """What was asked, with every setting."""
    skipped: Mapping[str, str]
    """What was left out, with the reason."""
    statistics: Mapping[str, Any]
    """How findings became verdicts."""
    findings: tuple[FindingRecord, ...]
    """Every number of every method."""
    quantities: Mapping[str, Mapping[str, float | None]]
    """Numbers that conditions can ask for: name -> method -> number."""
    verdicts: Mapping[str, Mapping[str, Literal["transferred", "not transferred", "cannot tell"]]]
    """Verdicts that conditions can ask for: name -> method -> verdict."""
    conditions: tuple[str, ...]
    """On which the audit was to fail."""
    broken: tuple[str, ...]
    """Those that hold, with what was found; empty when the audit is passed."""
