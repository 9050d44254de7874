"""How much more like the teacher a method's students are than the controls."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from limbeck.audit.evidence import Evidence
from limbeck.audit.statistics.bootstrap import DRAWS, replicated
from limbeck.audit.statistics.estimates import Estimate, Part, estimate
from limbeck.audit.statistics.seeds import Couples, Groups, groups_of, over_seeds
from limbeck.audit.subjects import Member, Members
from limbeck.audit.tally import Tally

NO_CONTROL = "no control was given"
"""Reason of a comparison without controls."""


@dataclass(frozen=True)
class Comparison:
    """One number of one method against the controls; positive is towards the teacher.

    Attributes:
        difference: students less controls, turned so that positive is more like the teacher.
        per_seed: name of a student -> its own difference.
        matched: whether each student was compared with the control of its own seed; if not, with the mean of all
            controls.
        gap: teacher less the mean of the controls, as it is, for traits.
        gap_closed: the difference as a fraction of the gap, for traits.
        specific: the difference with the property taken out, where that was measured.
        beyond: `difference` less `specific`, on the same resampled images where the images are the same.
        images: that count.
    """

    difference: Estimate
    per_seed: Mapping[str, float] = field(default_factory=dict)
    matched: bool = False
    gap: Estimate | None = None
    gap_closed: float = math.nan
    specific: Estimate | None = None
    beyond: Estimate | None = None
    images: int = 0

    @property
    def scope(self) -> str:
        """What the interval speaks about: one student says nothing about others of its method."""
        return "the method" if len(self.per_seed) > 1 else "these networks"


def compare(
    evidence: Evidence, panel: Members, *, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> dict[str, Comparison]:
    """Every method's students against the controls, with intervals over images and seeds.

    A student is compared with the control of its own seed where each student of the method has one, otherwise with
    the mean of all controls (the spread of a single control over seeds is taken to be the students'). Positive is
    more alike for likenesses, and the teacher's side of the controls for traits.

    Args:
        evidence: one number of all networks.
        panel: who they are.
        confidence: of the intervals.
        draws: resampled sets of images.
        seed: of the draws; the same for all evidence of an audit.

    Returns:
        Method -> comparison, in the order of the panel.

    Raises:
        ShapeError: tallies of different numbers of images.
    """
    numbers = _Numbers.of(evidence.tallies, draws, seed)
    taken_out = None if evidence.specificity is None else _Numbers.of(evidence.specificity, draws, seed)
    teacher, controls = panel.teacher.name, [control.name for control in panel.controls]
    gap, sign = None, -1.0 if evidence.alike == "lower" else 1.0
    if evidence.kind == "trait" and controls:
        gap = numbers.contrast([teacher], controls, (), confidence)
        sign = -1.0 if gap.value < 0 else 1.0
    turned = numbers.times(sign)
    groups = groups_of(panel)
    found = {}
    for method in panel.methods:
        students = tuple(student for student in panel.students if student.method == method)
        found[method] = _compared(turned, students, panel.controls, gap, confidence, groups)
        if taken_out is not None and controls:
            other = taken_out.times(sign)
            specific = _compared(other, students, panel.controls, None, confidence, groups).difference
            # The same comparison of what each network shows beyond it: paired over images, seeds and networks.
            beyond = _compared(turned.less(other), students, panel.controls, None, confidence, groups).difference
            found[method] = replace(found[method], specific=specific, beyond=beyond)
    return found


@dataclass(frozen=True)
class _Numbers:
    """Values and replicates by network."""

    values: Mapping[str, float]
    copies: Mapping[str, Tensor]
    rows: Mapping[str, Tensor]

    @classmethod
    def of(cls, tallies: Mapping[str, Tally], draws: int, seed: int) -> _Numbers:
        values = {name: tally.value for name, tally in tallies.items()}
        rows = {name: (tally.columns != 0).any(dim=1) for name, tally in tallies.items()}
        return cls(values, replicated(tallies, draws=draws, seed=seed), rows)

    def times(self, sign: float) -> _Numbers:
        values = {name: sign * value for name, value in self.values.items()}
        return _Numbers(values, {name: sign * copies for name, copies in self.copies.items()}, self.rows)

    def less(self, other: _Numbers) -> _Numbers:
        shared = [name for name in self.values if name in other.values]
        values = {name: self.values[name] - other.values[name] for name in shared}
        copies = {name: self.copies[name] - other.copies[name] for name in shared}
        # The smaller of the two sets of images limits what is known of their difference.
        fewer = {name: min(self.rows[name], other.rows[name], key=lambda rows: int(rows.sum())) for name in shared}
        return _Numbers(values, copies, fewer)

    def images(self, names: Iterable[str]) -> int:
        """Images that count for any of these networks."""
        rows = [self.rows[name] for name in names if name in self.rows]
        if not rows or any(len(row) != len(rows[0]) for row in rows):
            return min((int(row.sum()) for row in rows), default=0)
        return int(torch.stack(rows).any(dim=0).sum())

    def lacking(self, names: Sequence[str]) -> str:
        """Why these networks cannot be compared, or nothing."""
        missing = [name for name in names if name not in self.values]
        if missing:
            return f"not measured for {', '.join(missing)}"
        undefined = [name for name in names if not math.isfinite(self.values[name])]
        return f"undefined for {', '.join(undefined)}" if undefined else ""

    def contrast(self, left: Sequence[str], right: Sequence[str], seeds: Sequence[Part], level: float) -> Estimate:
        """Mean of some networks less the mean of others."""
        problem = self.lacking([*left, *right])
        if problem:
            return Estimate(math.nan, confidence=level, reason=problem)
        value = statistics.fmean(self.values[name] for name in left)
        value -= statistics.fmean(self.values[name] for name in right)
        copies = sum(self.copies[name] for name in left) / len(left) - (
            sum(self.copies[name] for name in right) / len(right)
        )
        assert isinstance(copies, Tensor)
        return estimate(value, copies, self.images([*left, *right]), seeds, level)


def _compared(
    numbers: _Numbers,
    students: Sequence[Member],
    controls: Sequence[Member],
    gap: Estimate | None,
    level: float,
    groups: Groups,
) -> Comparison:
    names = [student.name for student in students]
    if not controls:
        return Comparison(Estimate(math.nan, confidence=level, reason=NO_CONTROL), images=0)
    couples = _couples(students, controls)
    others = [control.name for _, control in couples] or [control.name for control in controls]
    problem = numbers.lacking([*names, *others])
    images = numbers.images([*names, *others])
    if problem:
        nothing = Estimate(math.nan, confidence=level, reason=problem)
        return Comparison(nothing, dict.fromkeys(names, math.nan), bool(couples), gap, images=images)
    if couples:
        per_seed = {a.name: numbers.values[a.name] - numbers.values[b.name] for a, b in couples}
    else:
        centre = statistics.fmean(numbers.values[name] for name in others)
        per_seed = {name: numbers.values[name] - centre for name in names}
    difference = numbers.contrast(
        names, others, over_seeds(numbers.values, names, others, groups, couples=couples, per_seed=per_seed), level
    )
    closed = difference.value / abs(gap.value) if gap is not None and gap.value else math.nan
    return Comparison(difference, per_seed, bool(couples), gap, closed, images=images)


def _couples(students: Sequence[Member], controls: Sequence[Member]) -> Couples:
    """Each student with the control of its seed, or nothing unless all have one of their own."""
    by_seed: dict[int | None, list[Member]] = {}
    for control in controls:
        by_seed.setdefault(control.seed, []).append(control)
    seeds = [student.seed for student in students]
    if None in seeds or len(set(seeds)) < len(seeds) or any(len(by_seed.get(seed, [])) != 1 for seed in seeds):
        return ()
    return tuple((student, by_seed[student.seed][0]) for student in students)
