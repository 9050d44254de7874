"""Losses by name. A leaf: no loss is imported here."""

from __future__ import annotations

from limbeck.registry import Registry

FILES = {
    "cross_entropy": "cross_entropy",
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
}
"""Name of a loss -> file of this package that defines it."""

LOSSES = Registry("loss", {name: f"limbeck.losses.{file}" for name, file in FILES.items()})
register = LOSSES.register
