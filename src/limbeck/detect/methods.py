"""Published ways to teach a detector, as terms under a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KD_CLS: Mapping[str, Any] = {"loss": "kd_cls", "weight": 0.4}
KD_LOC_PIXELS: Mapping[str, Any] = {"loss": "kd_loc_pixels", "weight": 0.15}
KD_LOC_FEATURES: Mapping[str, Any] = {"loss": "kd_loc_features", "weight": 0.15}
PKD: Mapping[str, Any] = {"loss": "pkd"}

FGD_TWO_STAGE: Mapping[str, float] = {
    "foreground_weight": 5e-5,
    "background_weight": 2.5e-5,
    "attention_weight": 5e-5,
    "relation_weight": 5e-7,
}
FGD_FCOS: Mapping[str, float] = {
    "foreground_weight": 1.6e-3,
    "background_weight": 8e-4,
    "attention_weight": 8e-4,
    "relation_weight": 8e-6,
    "temperature": 0.8,
}

METHODS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "alone": (),
    # Guo et al. 2021, with the weights of the released configuration.
    "kd_cls": (KD_CLS,),
    "kd_loc": (KD_LOC_PIXELS, KD_LOC_FEATURES),
    "pixels": (KD_LOC_PIXELS,),
    "dicod": (KD_CLS, KD_LOC_PIXELS, KD_LOC_FEATURES),
    # From a larger detector; the losses carry their published weights.
    "fgfi": ({"loss": "fgfi"},),
    "defeat": ({"loss": "defeat"},),
    "defeat_two_stage": ({"loss": "defeat"}, {"loss": "defeat_proposals"}),
    "fkd": ({"loss": "fkd"},),
    "fgd": ({"loss": "fgd"},),
    "fgd_two_stage": ({"loss": {"name": "fgd", **FGD_TWO_STAGE}},),
    "fgd_fcos": ({"loss": {"name": "fgd", **FGD_FCOS}},),
    "mgd": ({"loss": "mgd"},),
    "mgd_two_stage": ({"loss": {"name": "mgd", "weight": 5e-7, "masked": 0.45}},),
    "pkd": (PKD,),
    "cwd": ({"loss": "cwd"},),
    "crosskd": ({"loss": "crosskd_classes"}, {"loss": "crosskd_boxes"}),
    "ld": ({"loss": "ld"}, {"loss": "ld_classes"}),
    "wkd_l": ({"loss": "wkd_rois"},),
    "wkd_f": ({"loss": "wkd_pooled"},),
    "wkd_maps": ({"loss": "wkd_maps"},),
    # Both kinds of teacher at once: the losses are simply added, as in the paper's table 2.
    "dicod+pkd": (KD_CLS, KD_LOC_PIXELS, KD_LOC_FEATURES, PKD),
}
"""Name -> terms. Each is what `limbeck.detect` takes for `method`."""


def default_method(*, classifier: bool, detector: bool, labels: bool) -> tuple[Mapping[str, Any], ...]:
    """What these teachers usually do: their terms are simply added, as in the paper's table 2.

    Args:
        classifier: one teaches.
        detector: a larger one teaches.
        labels: a classifier's soft labels are stored.

    Example:
        >>> [term["loss"] for term in default_method(classifier=False, detector=True, labels=True)]
        ['kd_cls', 'pkd']
    """
    first = METHODS["dicod"] if classifier else METHODS["kd_cls"] if labels else ()
    return (*first, *(METHODS["pkd"] if detector else ()))
