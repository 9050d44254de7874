"""Losses of detectors; each returns what its paper weighs, so that a weight of 1 is the published one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy
from limbeck.losses._registry import DETECTION_FILES, DETECTION_LOSSES

_PUBLIC = {
    **DETECTION_FILES,
    "ChannelAdapters": "channel_adapters",
    "GlobalContext": "fgd",
    "NonLocalBlock": "fkd",
    "cwd_loss": "cwd",
    "defeat_loss": "defeat",
    "fgfi_loss": "fgfi",
    "kd_cls": "kd_cls",
    "pkd_loss": "pkd",
}

if TYPE_CHECKING:
    from limbeck.losses.detection.channel_adapters import ChannelAdapters
    from limbeck.losses.detection.crosskd import crosskd_boxes, crosskd_classes, crosskd_sides
    from limbeck.losses.detection.cwd import cwd, cwd_loss
    from limbeck.losses.detection.defeat import defeat, defeat_loss, defeat_proposals
    from limbeck.losses.detection.fgd import GlobalContext, fgd
    from limbeck.losses.detection.fgfi import fgfi, fgfi_loss
    from limbeck.losses.detection.fkd import NonLocalBlock, fkd
    from limbeck.losses.detection.kd_cls import kd_cls, kd_cls_sigmoid, kd_cls_sigmoid_l1, kd_cls_softmax
    from limbeck.losses.detection.kd_loc import kd_loc_features, kd_loc_pixels
    from limbeck.losses.detection.localisation_distillation import ld, ld_classes, ld_summed
    from limbeck.losses.detection.mgd import mgd
    from limbeck.losses.detection.pkd import pkd, pkd_loss
    from limbeck.losses.detection.wkd_maps import wkd_maps, wkd_pooled
    from limbeck.losses.detection.wkd_rois import wkd_rois

__all__ = [
    "DETECTION_LOSSES",
    "ChannelAdapters",
    "GlobalContext",
    "NonLocalBlock",
    "crosskd_boxes",
    "crosskd_classes",
    "crosskd_sides",
    "cwd",
    "cwd_loss",
    "defeat",
    "defeat_loss",
    "defeat_proposals",
    "fgd",
    "fgfi",
    "fgfi_loss",
    "fkd",
    "kd_cls",
    "kd_cls_sigmoid",
    "kd_cls_sigmoid_l1",
    "kd_cls_softmax",
    "kd_loc_features",
    "kd_loc_pixels",
    "ld",
    "ld_classes",
    "ld_summed",
    "mgd",
    "pkd",
    "pkd_loss",
    "wkd_maps",
    "wkd_pooled",
    "wkd_rois",
]

make_lazy(__name__)
