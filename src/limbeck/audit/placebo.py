"""Students of a teacher that lacks the property, as the control of specificity for every number at once."""

from __future__ import annotations

from dataclasses import replace

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.subjects import Panel

PREFIX = "placebo "


def with_placebo(answer: Answer, panel: Panel) -> Answer:
    """The same answer, each number with that of the placebo students beside it.

    What a student of the other teacher gains over the control as well, whatever distilling does by itself, is not
    the teacher's property (the paper's teacher T* without colour jitter, section 4.3).

    Args:
        answer: of one question.
        panel: with or without placebos.
    """
    if not panel.placebos:
        return answer
    return replace(answer, evidence=tuple(_beside(one, panel) for one in answer.evidence))


def _beside(evidence: Evidence, panel: Panel) -> Evidence:
    partners = {(one.method.removeprefix(PREFIX), one.seed): one.name for one in panel.placebos}
    tallies = {
        one.name: evidence.tallies[partners[one.method, one.seed]]
        for one in panel.students
        if (one.method, one.seed) in partners
    }
    if len(tallies) < len(panel.students) or evidence.question == "fidelity":
        return evidence  # to agree with another teacher's students tells nothing about this one's
    tallies |= {one.name: evidence.tallies[one.name] for one in panel.controls}
    if evidence.kind == "trait":
        tallies[panel.teacher.name] = evidence.tallies[panel.teacher.name]
    return replace(
        evidence, specificity=tallies, specificity_note="students of a teacher without the property (placebo)"
    )
