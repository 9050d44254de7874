"""Everything that has a name, by the word that `limbeck list` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from limbeck.registry import Registry


def registries() -> Mapping[str, Registry]:
    """The registries, in the order in which they are listed; none of their components is imported."""
    from limbeck.audit.attacks._registry import ATTACKS
    from limbeck.audit.attribution._registry import ATTRIBUTIONS
    from limbeck.audit.corruptions._registry import CORRUPTIONS
    from limbeck.audit.detectors._registry import DETECTOR_QUESTIONS
    from limbeck.audit.questions._registry import QUESTIONS
    from limbeck.classify._registry import COSTS, PROJECTORS
    from limbeck.dataset._registry import SYNTHESES
    from limbeck.engine._registry import OPTIMIZERS, SCHEDULES
    from limbeck.flow import _registry as flow
    from limbeck.losses._registry import DETECTION_LOSSES, LOSSES
    from limbeck.measures._registry import MEASURES
    from limbeck.models._registry import DETECTORS, MODELS, VELOCITY_NETWORKS
    from limbeck.sources._registry import AUGMENTS, DETECTION_AUGMENTS, DETECTION_SOURCES, SOURCES

    return {
        "losses": LOSSES,
        "models": MODELS,
        "sources": SOURCES,
        "augmentations": AUGMENTS,
        "projectors": PROJECTORS,
        "costs": COSTS,
        "syntheses": SYNTHESES,
        "detectors": DETECTORS,
        "detection-losses": DETECTION_LOSSES,
        "detection-sources": DETECTION_SOURCES,
        "detection-augmentations": DETECTION_AUGMENTS,
        "networks": VELOCITY_NETWORKS,
        "parameterisations": flow.PARAMETERISATIONS,
        "times": flow.TIMES,
        "objectives": flow.OBJECTIVES,
        "distances": flow.DISTANCES,
        "samplers": flow.METHODS,
        "solvers": flow.SOLVERS,
        "targets": flow.TARGETS,
        "measures": MEASURES,
        "questions": QUESTIONS,
        "detector-questions": DETECTOR_QUESTIONS,
        "attributions": ATTRIBUTIONS,
        "attacks": ATTACKS,
        "corruptions": CORRUPTIONS,
        "optimizers": OPTIMIZERS,
        "schedules": SCHEDULES,
    }


def rows(what: str) -> list[tuple[str, str]]:
    """Name and one sentence of everything of one kind."""
    if what == "recipes":
        from limbeck.recipes import catalogue

        return [(name, catalogue.summary(name) + _some(catalogue.variants(name))) for name in catalogue.names()]
    if what == "stages":
        from limbeck.recipes.kinds import STAGES

        return [(name, (kind.config_class().__doc__ or "").split("\n")[0]) for name, kind in STAGES.items()]
    if what == "methods":
        from limbeck.classify.methods import METHODS

        return [(name, " + ".join(_term(term) for term in method["terms"])) for name, method in METHODS.items()]
    if what == "detection-methods":
        from limbeck.detect.methods import METHODS as TERMS

        return [(name, " + ".join(_term(t) for t in terms) or "labels alone") for name, terms in TERMS.items()]
    registry = registries()[what]
    return [(name, registry.describe(name.replace("*", "NAME")).summary) for name in registry]


def _some(variants: Sequence[str], shown: int = 6) -> str:
    """The names of a recipe's variants, as far as they fit; `limbeck show` has them all."""
    if not variants:
        return ""
    more = f" and {len(variants) - shown} more" if len(variants) > shown else ""
    return f". Variants: {', '.join(variants[:shown])}{more}"


def _term(term: Mapping[str, object]) -> str:
    loss = term["loss"]
    name = loss["name"] if isinstance(loss, Mapping) else loss
    weight = term.get("weight", 1.0)
    if isinstance(weight, tuple):
        return f"({', '.join(f'{w:g}' for w in weight)}) {name}"
    return str(name) if weight == 1.0 else f"{weight:g} {name}"


WORDS = (
    "recipes",
    "methods",
    "detection-methods",
    "stages",
    "losses",
    "models",
    "sources",
    "augmentations",
    "projectors",
    "costs",
    "syntheses",
    "detectors",
    "detection-losses",
    "detection-sources",
    "detection-augmentations",
    "networks",
    "parameterisations",
    "times",
    "objectives",
    "distances",
    "samplers",
    "solvers",
    "targets",
    "measures",
    "questions",
    "detector-questions",
    "attributions",
    "attacks",
    "corruptions",
    "optimizers",
    "schedules",
)
"""What `limbeck list` can list."""
