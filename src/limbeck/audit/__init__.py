"""Audit: in which ways a student became like its teacher, whether that is more than chance, and what it inherited.

The contrast is always with a control: the same network trained without the teacher. Every number is kept image by
image, so that its interval can be drawn over images and seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy

_PUBLIC = {
    "Answer": "evidence",
    "Audit": "outcome",
    "Evidence": "evidence",
    "Examination": "examination",
    "Finding": "findings",
    "Material": "examination",
    "Network": "subjects",
    "Panel": "subjects",
    "QUESTIONS": "questions._registry",
    "Subject": "subjects",
    "Tally": "tally",
    "Verdict": "statistics.verdicts",
    "audit": "api",
    "register": "questions._registry",
    "share": "tally",
}

if TYPE_CHECKING:
    from limbeck.audit.api import audit
    from limbeck.audit.evidence import Answer, Evidence
    from limbeck.audit.examination import Examination, Material
    from limbeck.audit.findings import Finding
    from limbeck.audit.outcome import Audit
    from limbeck.audit.questions._registry import QUESTIONS, register
    from limbeck.audit.statistics.verdicts import Verdict
    from limbeck.audit.subjects import Network, Panel, Subject
    from limbeck.audit.tally import Tally, share

__all__ = [
    "QUESTIONS",
    "Answer",
    "Audit",
    "Evidence",
    "Examination",
    "Finding",
    "Material",
    "Network",
    "Panel",
    "Subject",
    "Tally",
    "Verdict",
    "audit",
    "register",
    "share",
]

make_lazy(__name__)
