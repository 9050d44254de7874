"""Every number of an audit, compared, corrected together and judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from limbeck.audit.evidence import Evidence
from limbeck.audit.findings import Finding, Spread
from limbeck.audit.statistics.bootstrap import DRAWS
from limbeck.audit.statistics.corrections import CORRECTIONS
from limbeck.audit.statistics.differences import Comparison, compare
from limbeck.audit.statistics.estimates import Estimate
from limbeck.audit.statistics.verdicts import decide, gap_open
from limbeck.audit.subjects import Members
from limbeck.audit.tally import Tally
from limbeck.errors import ConfigError, did_you_mean

Correction = Literal["holm", "benjamini_hochberg", "none"]


def judge(
    evidence: Sequence[Evidence],
    panel: Members,
    *,
    alpha: float = 0.05,
    correction: Correction = "holm",
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Finding]:
    """What the evidence says about each method.

    All primary numbers of a method are corrected for one another, so that its verdicts do not depend on which
    other methods were audited beside it; the others get an interval and no verdict.

    Args:
        evidence: of all questions of one audit.
        panel: the networks that it is about.
        alpha: chance of a false claim that is accepted; intervals have the confidence 1 - alpha.
        correction: for many tests: "holm", "benjamini_hochberg" or "none".
        draws: resampled sets of images.
        seed: of the draws.

    Returns:
        One finding for each piece of evidence and method, in the order of the evidence.

    Raises:
        ConfigError: an alpha outside (0, 1), an unknown correction, or a number that occurs twice.
        ShapeError: evidence whose networks saw different numbers of images.
    """
    _check(evidence, alpha, correction)
    found = [
        (piece, method, comparison)
        for piece in evidence
        for method, comparison in compare(piece, panel, confidence=1 - alpha, draws=draws, seed=seed).items()
    ]
    corrected = [math.nan] * len(found)
    tests: dict[str, int] = {}
    for method in panel.methods:
        rows = [row for row, (piece, name, _) in enumerate(found) if name == method and piece.primary]
        tested = [found[row][2].difference.p for row in rows]
        tests[method] = sum(not math.isnan(p) for p in tested)
        for row, p in zip(rows, CORRECTIONS[correction](tested), strict=True):
            corrected[row] = p
    findings = []
    for (piece, method, comparison), p in zip(found, corrected, strict=True):
        finding = _finding(piece, method, comparison, panel, p)
        if piece.primary:
            verdict, reason = decide(piece, comparison, p, alpha=alpha, tests=tests[method])
            finding = replace(finding, verdict=verdict, reason=reason)
        findings.append(finding)
    return findings


def _check(evidence: Sequence[Evidence], alpha: float, correction: str) -> None:
    if not 0 < alpha < 1:
        raise ConfigError(f"audit: alpha is a chance between 0 and 1 (0.05, say); got {alpha:g}.")
    if correction not in CORRECTIONS:
        hint = did_you_mean(correction, CORRECTIONS)
        raise ConfigError(f"audit: unknown correction '{correction}'.{hint} Known: {', '.join(CORRECTIONS)}.")
    names = [piece.name for piece in evidence]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"audit: the number {twice[0]} was given twice; every question and measure counts once.")


def _finding(piece: Evidence, method: str, found: Comparison, panel: Members, p_corrected: float) -> Finding:
    students = [student.name for student in panel.students if student.method == method]
    difference = found.difference
    teacher = piece.tallies.get(panel.teacher.name) if piece.kind == "trait" else None
    over_seeds = sum(part.variance for part in difference.seeds)
    return Finding(
        question=piece.question,
        measure=piece.measure,
        title=piece.title,
        unit=piece.unit,
        kind=piece.kind,
        method=method,
        primary=piece.primary,
        teacher=math.nan if teacher is None else teacher.value,
        control=_spread(piece.tallies, [control.name for control in panel.controls]),
        student=_spread(piece.tallies, students),
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        confidence=difference.confidence,
        p=difference.p,
        p_corrected=p_corrected,
        images=found.images,
        seeds=len(students),
        error_images=math.nan if difference.images is None else math.sqrt(difference.images.variance),
        error_seeds=math.sqrt(over_seeds) if difference.seeds else math.nan,
        per_seed=dict(found.per_seed),
        matched=found.matched,
        gap=None if found.gap is None else {**_plain(found.gap), "open": gap_open(found.gap, piece.margin)},
        gap_closed=found.gap_closed,
        specificity=_specificity(piece, found),
        verdict=None,
        reason=difference.reason,
        scope=found.scope,
        margin=piece.margin,
        better=piece.better,
        chance=piece.chance,
        constants=dict(piece.constants),
        note=piece.note,
    )


def _spread(tallies: Mapping[str, Tally], names: Sequence[str]) -> Spread:
    return Spread({name: tallies[name].value if name in tallies else math.nan for name in names})


def _specificity(piece: Evidence, found: Comparison) -> dict[str, Any] | None:
    if found.specific is None or found.beyond is None:
        return None
    return {"note": piece.specificity_note, **_plain(found.specific), "beyond": _plain(found.beyond)}


def _plain(found: Estimate) -> dict[str, float]:
    return {"difference": found.value, "low": found.low, "high": found.high, "p": found.p}
