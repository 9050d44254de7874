"""Questions by name. A leaf: no question is imported here."""

from __future__ import annotations

from limbeck.registry import Registry

FILES = {
    "fidelity": "fidelity",
    "calibration": "calibration",
    "classes": "classes",
    "mistakes": "mistakes",
    "localisation": "localisation",
    "gradients": "gradients",
    "adversarial": "adversarial",
    "colour": "invariance",
    "crops": "invariance",
    "shifts": "invariance",
    "rotation": "invariance",
    "scale": "invariance",
    "corruptions": "corruptions",
    "domains": "domains",
    "shape_bias": "shape_bias",
    "bias": "bias",
    "representations": "representations",
    "boundaries": "boundaries",
    "interventions": "interventions",
    "barrier": "barrier",
}
"""Name of a question -> file of this package that defines it."""

QUESTIONS = Registry("question", {name: f"limbeck.audit.questions.{file}" for name, file in FILES.items()})
register = QUESTIONS.register

NEEDS_GRADIENTS = frozenset({"localisation", "gradients", "adversarial"})
"""Questions that differentiate the networks."""
