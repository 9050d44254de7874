"""Losses by name. A leaf: no loss is imported here."""

from __future__ import annotations

from typing import Any, TypeVar

from limbeck.registry import Registry

Loss = TypeVar("Loss", bound=Any)

FILES = {
    "cross_entropy": "cross_entropy",
    "sigmoid_focal": "sigmoid_focal",
    "noisy_labels": "noisy_labels",
    "kd": "kd",
    "hint": "hint",
    "wkd_target": "wkd_logit",
    "wkd_transport": "wkd_logit",
    "wkd_transport_all": "wkd_logit",
    "wkd_transport_converged": "wkd_logit",
    "wkd_logit": "wkd_logit",
    "wkd_feature": "wkd_feature",
    "wkd_feature_full": "wkd_feature",
    "direction_alignment": "projector_ensemble",
    "gaussian_kl": "gaussian_divergence",
    "gaussian_symmetric_kl": "gaussian_divergence",
    "gaussian_bhattacharyya": "gaussian_divergence",
    "gaussian_kl_full": "gaussian_divergence_full",
    "gaussian_bhattacharyya_full": "gaussian_divergence_full",
    "gaussian_log_euclidean": "gaussian_divergence_full",
    "laplace_w2": "channel_families",
    "laplace_kl": "channel_families",
    "exponential_w2": "channel_families",
    "exponential_kl": "channel_families",
    "histogram_kl": "activation_histogram",
    "channel_histogram_kl": "activation_histogram",
    "sorted_w2": "activation_histogram",
    "pixel_mmd": "pixel_matching",
    "pixel_mmd_polynomial": "pixel_matching",
    "pixel_transport": "pixel_matching",
    "dkd": "dkd",
    "nkd": "nkd",
    "dist": "dist",
    "mld": "mld",
    "mld_batch": "mld",
    "mld_class": "mld",
    "mld_instance": "mld",
    "at": "at",
    "nst": "nst",
    "sp": "sp",
    "ickd": "ickd",
    "rkd": "rkd",
    "rkd_distance": "rkd",
    "rkd_angle": "rkd",
    "pkt": "pkt",
    "cc": "cc",
    "crd": "crd",
    "ofd": "ofd",
    "reviewkd": "reviewkd",
    "reviewkd_hcl": "reviewkd",
    "simkd": "simkd",
    "vid": "vid",
}
"""Name of a loss -> file of this package that defines it."""

LOSSES = Registry("loss", {name: f"limbeck.losses.{file}" for name, file in FILES.items()})
register = LOSSES.register

DETECTION_FILES = {
    "kd_cls": "kd_cls",
    "kd_cls_softmax": "kd_cls",
    "kd_cls_sigmoid": "kd_cls",
    "kd_cls_sigmoid_l1": "kd_cls",
    "kd_loc_pixels": "kd_loc",
    "kd_loc_features": "kd_loc",
    "fgfi": "fgfi",
    "defeat": "defeat",
    "defeat_proposals": "defeat",
    "fkd": "fkd",
    "fgd": "fgd",
    "mgd": "mgd",
    "pkd": "pkd",
    "cwd": "cwd",
    "crosskd_classes": "crosskd",
    "crosskd_boxes": "crosskd",
    "crosskd_sides": "crosskd",
    "ld": "localisation_distillation",
    "ld_summed": "localisation_distillation",
    "ld_classes": "localisation_distillation",
    "wkd_rois": "wkd_rois",
    "wkd_maps": "wkd_maps",
    "wkd_pooled": "wkd_maps",
}
"""Name of a loss of detectors -> file of `limbeck.losses.detection` that defines it."""

DETECTION_LOSSES = Registry(
    "detection loss", {name: f"limbeck.losses.detection.{file}" for name, file in DETECTION_FILES.items()}
)


def relational(loss: Loss) -> Loss:
    """Mark a loss that relates the samples of a batch to each other.

    Under several processes a task gives such a loss the whole batch of all of them, so that its value does not
    depend on how the batch was split.

    Example:
        >>> @relational
        ... def spread(student_features): return student_features.var()
        >>> spread.relational
        True
    """
    loss.relational = True
    return loss
