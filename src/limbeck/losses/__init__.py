"""Losses as plain functions of tensors, one published objective a file; usable alone in any training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy
from limbeck.losses._registry import FILES, LOSSES, register, relational

_PUBLIC = {
    **FILES,
    "CRD": "crd",
    "VID": "vid",
    "BottleneckProjector": "feature_projectors",
    "ConnectorProjector": "feature_projectors",
    "ConvProjector": "feature_projectors",
    "ProjectorEnsemble": "projector_ensemble",
    "ReviewKD": "reviewkd",
    "TransferProjector": "feature_projectors",
    "correlation_congruence": "cc",
    "crd_loss": "crd",
    "crd_remember": "crd",
    "ofd_margin": "ofd",
    "standardise": "standardise",
}

if TYPE_CHECKING:
    from limbeck.losses.activation_histogram import channel_histogram_kl, histogram_kl, sorted_w2
    from limbeck.losses.at import at
    from limbeck.losses.cc import cc, correlation_congruence
    from limbeck.losses.channel_families import exponential_kl, exponential_w2, laplace_kl, laplace_w2
    from limbeck.losses.crd import CRD, crd, crd_loss, crd_remember
    from limbeck.losses.cross_entropy import cross_entropy
    from limbeck.losses.dist import dist
    from limbeck.losses.dkd import dkd
    from limbeck.losses.feature_projectors import (
        BottleneckProjector,
        ConnectorProjector,
        ConvProjector,
        TransferProjector,
    )
    from limbeck.losses.gaussian_divergence import gaussian_bhattacharyya, gaussian_kl, gaussian_symmetric_kl
    from limbeck.losses.gaussian_divergence_full import (
        gaussian_bhattacharyya_full,
        gaussian_kl_full,
        gaussian_log_euclidean,
    )
    from limbeck.losses.hint import hint
    from limbeck.losses.ickd import ickd
    from limbeck.losses.kd import kd
    from limbeck.losses.mld import mld, mld_batch, mld_class, mld_instance
    from limbeck.losses.nkd import nkd
    from limbeck.losses.noisy_labels import noisy_labels
    from limbeck.losses.nst import nst
    from limbeck.losses.ofd import ofd, ofd_margin
    from limbeck.losses.pixel_matching import pixel_mmd, pixel_mmd_polynomial, pixel_transport
    from limbeck.losses.pkt import pkt
    from limbeck.losses.projector_ensemble import ProjectorEnsemble, direction_alignment
    from limbeck.losses.reviewkd import ReviewKD, reviewkd, reviewkd_hcl
    from limbeck.losses.rkd import rkd, rkd_angle, rkd_distance
    from limbeck.losses.sigmoid_focal import sigmoid_focal
    from limbeck.losses.simkd import simkd
    from limbeck.losses.sp import sp
    from limbeck.losses.standardise import standardise
    from limbeck.losses.vid import VID, vid
    from limbeck.losses.wkd_feature import wkd_feature, wkd_feature_full
    from limbeck.losses.wkd_logit import (
        wkd_logit,
        wkd_target,
        wkd_transport,
        wkd_transport_all,
        wkd_transport_converged,
    )

__all__ = [
    "CRD",
    "LOSSES",
    "VID",
    "BottleneckProjector",
    "ConnectorProjector",
    "ConvProjector",
    "ProjectorEnsemble",
    "ReviewKD",
    "TransferProjector",
    "at",
    "cc",
    "channel_histogram_kl",
    "correlation_congruence",
    "crd",
    "crd_loss",
    "crd_remember",
    "cross_entropy",
    "direction_alignment",
    "dist",
    "dkd",
    "exponential_kl",
    "exponential_w2",
    "gaussian_bhattacharyya",
    "gaussian_bhattacharyya_full",
    "gaussian_kl",
    "gaussian_kl_full",
    "gaussian_log_euclidean",
    "gaussian_symmetric_kl",
    "hint",
    "histogram_kl",
    "ickd",
    "kd",
    "laplace_kl",
    "laplace_w2",
    "mld",
    "mld_batch",
    "mld_class",
    "mld_instance",
    "nkd",
    "noisy_labels",
    "nst",
    "ofd",
    "ofd_margin",
    "pixel_mmd",
    "pixel_mmd_polynomial",
    "pixel_transport",
    "pkt",
    "register",
    "relational",
    "reviewkd",
    "reviewkd_hcl",
    "rkd",
    "rkd_angle",
    "rkd_distance",
    "sigmoid_focal",
    "simkd",
    "sorted_w2",
    "sp",
    "standardise",
    "vid",
    "wkd_feature",
    "wkd_feature_full",
    "wkd_logit",
    "wkd_target",
    "wkd_transport",
    "wkd_transport_all",
    "wkd_transport_converged",
]

make_lazy(__name__)
