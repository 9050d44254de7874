"""What an audit found out: one number of one method, with everything that is needed to believe it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limbeck.audit.evidence import Kind
    from limbeck.audit.statistics.verdicts import Verdict


@dataclass(frozen=True)
class Spread:
    """One number of several networks.

    Attributes:
        values: name of a network -> its number; NaN where it is undefined.

    Example:
        >>> spread = Spread({"kd-s0": 0.5, "kd-s1": 0.7})
        >>> round(spread.mean, 3), round(spread.sd, 3)
        (0.6, 0.141)
    """

    values: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Of the networks; NaN without any."""
        return statistics.fmean(self.values.values()) if self.values else math.nan

    @property
    def sd(self) -> float:
        """Standard deviation over the networks (n - 1 in the denominator); NaN for fewer than two."""
        if len(self.values) < 2 or math.isnan(self.mean):
            return math.nan
        return statistics.stdev(self.values.values())


@dataclass(frozen=True)
class Finding:
    """One number of one method against the controls.

    Differences are positive towards the teacher, whatever the sign of the number itself.

    Attributes:
        question: name of the question.
        measure: name of the number.
        title: in a few words.
        unit: of all numbers here; "fraction", "nats", "".
        kind: likeness or trait.
        method: of the students.
        primary: whether it is judged by itself.
        teacher: the teacher's number, for traits; NaN for likenesses.
        control: of the controls.
        student: of the method's students.
        difference: students less controls; NaN where it is undefined.
        low: lower end of its interval, NaN where there is none.
        high: upper end.
        confidence: of all intervals.
        p: of the difference, two-sided; NaN where there is none.
        p_corrected: for all primary numbers of the method; NaN for the others.
        images: that count for any of the networks.
        seeds: students of the method.
        error_images: standard error of the difference that comes from the images.
        error_seeds: the one that comes from the seeds; NaN for one seed.
        per_seed: name of a student -> its own difference.
        matched: whether students were compared with the control of their own seed, or with the mean of all.
        gap: teacher less controls with its interval, and whether it is more than the margin and chance (`open`);
            for traits.
        gap_closed: the difference as a fraction of the gap; NaN for likenesses.
        specificity: `difference` with the property taken out, and `beyond` it, with intervals; where measured.
        verdict: None for numbers that are not primary.
        reason: one sentence.
        scope: "the method" or, with one seed, "these networks".
        margin: smaller differences do not matter.
        better: whether a user would rather have more or less of it, if either.
        chance: of a network that has nothing to do with the teacher, where known.
        constants: everything the number depends on.
        note: what a reader has to know.
    """

    question: str
    measure: str
    title: str
    unit: str
    kind: Kind
    method: str
    primary: bool
    teacher: float
    control: Spread
    student: Spread
    difference: float
    low: float
    high: float
    confidence: float
    p: float
    p_corrected: float
    images: int
    seeds: int
    error_images: float
    error_seeds: float
    per_seed: Mapping[str, float]
    matched: bool
    gap: Mapping[str, Any] | None
    gap_closed: float
    specificity: Mapping[str, Any] | None
    verdict: Verdict | None
    reason: str
    scope: str
    margin: float
    better: str | None = None
    chance: float | None = None
    constants: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def name(self) -> str:
        """Question and measure in one: `adversarial.fooled`."""
        return f"{self.question}.{self.measure}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; what is not a finite number becomes null."""
        found = {place.name: getattr(self, place.name) for place in fields(self)}
        for role in ("control", "student"):
            spread = found[role]
            found[role] = {"mean": spread.mean, "sd": spread.sd, "values": spread.values}
        plain = _plain(found)
        assert isinstance(plain, dict)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, str):
        # An enumeration's member is text already, but would be written with its class.
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
