"""From a difference and its interval to one of three answers, with the reason in a sentence."""

from __future__ import annotations

import math
from enum import StrEnum

from limbeck.audit.evidence import Evidence
from limbeck.audit.statistics.differences import NO_CONTROL, Comparison
from limbeck.audit.statistics.estimates import Estimate
from limbeck.report.quantities import plain

_MOST = 1000.0
"""Times more images or seeds beyond which nobody is told to collect them."""


class Verdict(StrEnum):
    """Whether a property of the teacher reached its students."""

    TRANSFERRED = "transferred"
    NOT_TRANSFERRED = "not transferred"
    CANNOT_TELL = "cannot tell"


def decide(
    evidence: Evidence, found: Comparison, p_corrected: float, *, alpha: float = 0.05, tests: int = 1
) -> tuple[Verdict, str]:
    """The verdict about one number of one method, and why.

    The rules apply in this order. Nothing can be told without controls, where the number is undefined, or where
    the teacher has nothing that the controls lack. An interval below the margin excludes a transfer that matters.
    A difference that stays above zero after correction is a transfer, unless it shows as much with the property
    taken out. Everything else was measured too coarsely.

    Args:
        evidence: the number, its margin and its unit.
        found: students against controls.
        p_corrected: of the difference, corrected for all primary numbers of the method.
        alpha: chance of a false claim that is accepted.
        tests: how many were corrected for, for the words.
    """
    difference, unit, margin = found.difference, evidence.unit, evidence.margin
    if difference.reason == NO_CONTROL:
        return Verdict.CANNOT_TELL, "No control student was given, so nothing can be said about transfer."
    if not difference.defined:
        return Verdict.CANNOT_TELL, f"There is no interval to judge by: {difference.reason}."
    if found.gap is not None and not gap_open(found.gap, margin):
        return Verdict.CANNOT_TELL, _no_gap(found.gap, evidence)
    if difference.high < margin:
        if difference.high < 0:
            moved = f"moved away from the teacher by {amount(-difference.value, unit)}"
            return Verdict.NOT_TRANSFERRED, f"{_who(found)} {moved} ({_interval(difference, unit)})."
        excluded = f"An effect of {amount(margin, unit)} is excluded"
        shown = f"the difference is {signed(difference.value, unit)} ({_interval(difference, unit)})"
        return Verdict.NOT_TRANSFERRED, f"{excluded}: {shown}."
    if difference.value > 0 and p_corrected < alpha:
        doubt = _unspecific(evidence, found)
        return (
            (Verdict.CANNOT_TELL, doubt) if doubt else (Verdict.TRANSFERRED, _moved(evidence, found, p_corrected))
        )
    return Verdict.CANNOT_TELL, _too_coarse(evidence, found, p_corrected, alpha, tests)


def gap_open(gap: Estimate, margin: float) -> bool:
    """Whether the teacher has something that the controls lack: more than the margin, and more than chance."""
    return gap.defined and abs(gap.value) > margin and gap.low * gap.high > 0


def amount(value: float, unit: str) -> str:
    """A difference in words, fractions in points of a percentage.

    Example:
        >>> amount(0.0312, "fraction"), amount(0.0312, "nats"), amount(0.5, "")
        ('3.1 points', '0.031 nats', '0.5')
    """
    if unit == "fraction":
        return f"{_short(100 * value)} points"
    return f"{plain(float(f'{value:.2g}'))} {unit}".strip()


def signed(value: float, unit: str) -> str:
    """The same with its sign.

    Example:
        >>> signed(0.0312, "fraction"), signed(-0.2, "nats")
        ('+3.1 points', '−0.2 nats')
    """
    return f"{'−' if value < 0 else '+'}{amount(abs(value), unit)}"


def _short(points: float) -> str:
    # One decimal, and two where one would print a number as nothing.
    return f"{points:.1f}" if abs(points) >= 0.1 or points == 0 else f"{points:.2g}"


def _interval(found: Estimate, unit: str) -> str:
    scale = 100 if unit == "fraction" else 1
    low, high = (f"{scale * end:.3g}".replace("-", "−") for end in (found.low, found.high))
    return f"{100 * found.confidence:g} % interval {low} to {high}"


def _p(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.2g}"


def _no_gap(gap: Estimate, evidence: Evidence) -> str:
    if not gap.defined:
        return f"Whether the teacher differs from the controls could not be computed: {gap.reason}."
    shown = f"it differs by {signed(gap.value, evidence.unit)} ({_interval(gap, evidence.unit)})"
    needed = f"and {amount(evidence.margin, evidence.unit)} are the least that matters"
    return f"The teacher has nothing of it that the controls lack: {shown}, {needed}."


def _who(found: Comparison) -> str:
    return "The students" if len(found.per_seed) > 1 else "The student"


def _moved(evidence: Evidence, found: Comparison, p_corrected: float) -> str:
    unit, difference = evidence.unit, found.difference
    facts = f"{_interval(difference, unit)}, corrected {_p(p_corrected)}"
    if evidence.kind == "likeness":
        nearer = f"more like the teacher than the controls by {amount(difference.value, unit)}"
        words = f"{_who(found)} {'are' if len(found.per_seed) > 1 else 'is'} {nearer}"
    else:
        closed = f"{100 * found.gap_closed:.0f} % of the gap"
        if found.gap_closed > 2:
            closed += ": farther past it than the controls are short of it"
        words = f"{_who(found)} moved {amount(difference.value, unit)} towards the teacher, {closed}"
    # Two seeds say so little about their spread that the promise of alpha is not quite kept.
    few = {1: "; other seeds of the method were not tried", 2: "; two seeds are few"}
    return f"{words} ({facts}){few.get(len(found.per_seed), '')}."


def _unspecific(evidence: Evidence, found: Comparison) -> str:
    if evidence.specificity is None:
        return ""
    what, specific, beyond = evidence.specificity_note or "the property taken out", found.specific, found.beyond
    if specific is None or beyond is None or not beyond.defined:
        reason = beyond.reason if beyond is not None else "not measured"
        return f"Whether the transfer is specific could not be computed with {what}: {reason}."
    if beyond.low > 0:
        return ""
    shown = f"{signed(specific.value, evidence.unit)} there, {signed(found.difference.value, evidence.unit)} here"
    return f"Not shown to be more than with {what}: {shown} (difference {_interval(beyond, evidence.unit)})."


def _too_coarse(evidence: Evidence, found: Comparison, p_corrected: float, alpha: float, tests: int) -> str:
    difference, unit = found.difference, evidence.unit
    shown = f"{signed(difference.value, unit)} ({_interval(difference, unit)})"
    remedy = _remedy(difference, evidence, found.images, len(found.per_seed))
    if difference.low > 0:
        many = f"among {tests} tests" if tests > 1 else f"at a level of {alpha:g}"
        return f"The difference of {shown} does not stand out {many} (corrected {_p(p_corrected)}); {remedy}."
    return f"The interval holds both no effect and one of {amount(evidence.margin, unit)}: {shown}; {remedy}."


def _remedy(found: Estimate, evidence: Evidence, images: int, seeds: int) -> str:
    """What would settle it: an interval half as wide as the margin, or a narrower one where it is that already."""
    margin, counted = evidence.margin, evidence.counted
    target = margin if found.half_width > margin else margin / 2
    if seeds > 1 and found.seeds_dominate:
        for more in range(seeds + 1, 101):
            if found.half_width_with(seeds=more / seeds) <= target:
                return f"more seeds would tell, about {more}"
        return "far more seeds would be needed"
    factor = 1.0
    while factor < _MOST:
        factor *= 1.1
        if found.half_width_with(images=factor) <= target:
            return f"about {_round_up(factor * images):,} {counted} would tell, {images:,} were counted"
    return (
        f"more {counted} and more seeds would be needed" if found.seeds else f"far more {counted} would be needed"
    )


def _round_up(count: float) -> int:
    """To two significant digits."""
    step = int(10 ** max(0, math.floor(math.log10(count)) - 1))
    return math.ceil(count / step) * step
