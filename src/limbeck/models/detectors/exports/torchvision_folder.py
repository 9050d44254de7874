"""A folder with the weights and a Python file that rebuilds the detector with torchvision alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.ssd import SSD

from limbeck.errors import ModelError
from limbeck.files import atomic_write
from limbeck.models.detectors.artefact import save
from limbeck.models.detectors.exports.candidates import decider
from limbeck.models.detectors.exports.card import write_detector_card
from limbeck.models.detectors.exports.source import DetectorSource, Found, compare_boxes, open_detector
from limbeck.models.exports.card import checked_licence
from limbeck.models.exports.exported import RELOADED, Comparison, Exported
from limbeck.models.exports.staging import Target, staged
from limbeck.version import __version__

FILE, CONFIG, CODE = "model.safetensors", "config.json", "detector.py"
OWN = ("small_ssd", "ssd", "retinanet", "fcos", "faster_rcnn")
"""Detectors of Limbeck's that the Python file can build."""
_PORTABLE = Path(__file__).parent / "portable"
_NOT_FOR_BUILDERS = (
    "pretrained",
    "pretrained_backbone",
    "frozen_norms",
    "norm_epsilon",
    "trainable_backbone_layers",
)
_THRESHOLDS = ("score_thresh", "nms_thresh", "detections_per_img", "topk_candidates")


def export_torchvision(
    path_in: str | Path,
    path_out: str | Path,
    *,
    images: Sequence[Tensor] | None = None,
    licence: str | None = None,
    repository: str | None = None,
    force: bool = False,
) -> Exported:
    """Write the weights, a `config.json` that describes the detector, and a `detector.py` that rebuilds it.

    `detector.py` needs torch, torchvision and safetensors, and timm where the backbone is one of timm's. The file
    of the weights says of itself what `limbeck.load` needs; nothing else of the run goes with it.

    Args:
        path_in: a detector's file, or the folder of a stage or of a run that holds exactly one.
        path_out: a folder; or a file named `.safetensors`, which is the weights alone.
        images: to compare on, in [0, 1], (3, h, w) each at the detector's own size; photographs, noise and others
            unless given.
        licence: of the weights, for the card, e.g. `apache-2.0`.
        repository: `owner/name` that the folder is going to, for the card.
        force: replace what is there.

    Raises:
        InputError: `path_out` is named like another format.
        RunFolderError: something is there already.
        CheckpointError: there is no detector.
        ModelError: a detector of somebody else's code, or what was written finds other objects.
    """
    target = Target.of(path_out, FILE, force=force)
    licence = checked_licence(licence)
    with staged(target) as folder:
        source = open_detector(path_in, images=images)
        config = config_of(source)
        save(source.detector, folder / FILE, class_names=source.class_names)
        atomic_write(folder / CONFIG, json.dumps(config, indent=2) + "\n")
        shutil.copyfile(_PORTABLE / CODE, folder / CODE)
        compared = (_compared(source, folder),)
        if not target.alone:
            title = target.title(repository)
            needs = " and timm" if _uses_timm(config) else ""
            write_detector_card(
                folder,
                source,
                title=title,
                library="torchvision",
                usage=_usage(repository, title),
                reads=(
                    "Images are RGB, float32 of shape (3, height, width), of any size, with values in [0, 1], not "
                    "normalised. For each, `predict` gives `boxes` (k, 4) as x1, y1, x2, y2 in its pixels, "
                    f"`labels` (k,) from 0 to {source.classes - 1}, and `scores` (k,), the most certain first. "
                    f"`{CODE}` needs torch, torchvision, safetensors{needs}. The detector is one of "
                    "torchvision's; called as such, it counts labels from 1."
                ),
                compared=compared,
                licence=licence,
            )
        files = (target.path.name,) if target.alone else ("README.md", CONFIG, CODE, FILE)
    usage = f"import limbeck\n\ndetector = limbeck.load({str(target.path)!r})" if target.alone else None
    return Exported(target.path, files, compared, usage or _usage(None, str(target.path)))


def config_of(source: DetectorSource) -> dict[str, Any]:
    """What `config.json` says, read off the detector itself.

    Raises:
        ModelError: a detector of somebody else's code.
    """
    detector: Any = source.detector
    builder = source.name.removeprefix("torchvision/") if source.name.startswith("torchvision/") else None
    if builder is None and source.name not in OWN:
        raise ModelError(
            f"'{source.name}' is neither a detector of torchvision's nor of Limbeck's, so no file of Limbeck's "
            "can rebuild it without its code. What holds it: --format torch or onnx."
        )
    transform, part = detector.transform, decider(detector)
    config: dict[str, Any] = {
        "format": "limbeck detector",
        "limbeck": __version__,
        "family": source.family,
        "classes": source.classes,
        "class_names": list(source.class_names),
        "torchvision": None,
        "transform": {
            "min_size": list(transform.min_size),
            "max_size": transform.max_size,
            "image_mean": list(transform.image_mean),
            "image_std": list(transform.image_std),
            "size_divisible": transform.size_divisible,
            "fixed_size": None if transform.fixed_size is None else list(transform.fixed_size),
        },
        "thresholds": {name: getattr(part, name) for name in _THRESHOLDS if hasattr(part, name)},
        "norm_epsilon": _norm_epsilon(detector),
    }
    if builder is not None:
        kept = {key: value for key, value in source.settings.items() if key not in _NOT_FOR_BUILDERS}
        return {**config, "torchvision": {"builder": builder, "settings": kept}}
    config |= {"anchors": _anchors(detector), "backbone": _backbone(source)}
    if source.family == "FCOS":
        config["bins"] = int(source.settings.get("bins", 0))
    if source.family == "Faster R-CNN":
        config["stages"] = _stages(detector)
    return config


def _norm_epsilon(detector: Any) -> float | None:
    """Of frozen norms, which somebody else's weights may have brought; None where the network's own is right."""
    frozen = [m for m in detector.backbone.modules() if type(m).__name__.startswith("FrozenBatchNorm")]
    return float(frozen[0].eps) if frozen else None


def _anchors(detector: Any) -> dict[str, Any]:
    if isinstance(detector, SSD):
        boxes = detector.anchor_generator
        return {key: getattr(boxes, key) for key in ("aspect_ratios", "scales", "steps", "clip")}
    made = detector.rpn.anchor_generator if hasattr(detector, "rpn") else detector.anchor_generator
    return {"sizes": made.sizes, "aspect_ratios": made.aspect_ratios}


def _backbone(source: DetectorSource) -> dict[str, Any]:
    backbone: Any = source.detector.backbone
    if source.name == "small_ssd":
        return {
            "kind": "small",
            "stem": backbone.stem[0].out_channels,
            "channels": [block.conv1.out_channels for block in backbone.blocks],
        }
    body = backbone.body
    library, _, name = str(source.settings.get("backbone", "torchvision/resnet18")).partition("/")
    network = body.network
    said = {
        "library": library,
        # Without the tag of its weights, which are in the file.
        "name": name.partition(".")[0] if library == "timm" else name,
        "layers": dict(network.return_layers)
        if isinstance(network, IntermediateLayerGetter)
        else list(network.feature_info.out_indices),
        "places": list(body.places),
        "channels": list(body.channels),
    }
    if source.name == "ssd":
        return {"kind": "ladder", "body": said, "channels": backbone.out_channels[len(body.channels) :]}
    return {"kind": "pyramid", "body": said, "channels": backbone.out_channels}


def _stages(detector: Any) -> dict[str, Any]:
    rpn, pool = detector.rpn, detector.roi_heads.box_roi_pool
    return {
        "first": {
            "rpn_pre_nms_top_n_test": rpn._pre_nms_top_n["testing"],
            "rpn_post_nms_top_n_test": rpn._post_nms_top_n["testing"],
            "rpn_nms_thresh": rpn.nms_thresh,
            "rpn_score_thresh": rpn.score_thresh,
        },
        "pool": {
            "featmap_names": list(pool.featmap_names),
            "output_size": pool.output_size[0],
            "sampling_ratio": pool.sampling_ratio,
        },
        "channels": detector.roi_heads.box_head.fc7.out_features,
    }


def _uses_timm(config: dict[str, Any]) -> bool:
    library = config.get("backbone", {}).get("body", {}).get("library")
    return bool(library == "timm")


def _compared(source: DetectorSource, folder: Path) -> Comparison:
    from limbeck.models.detectors.exports.portable import detector as portable

    try:
        again: nn.Module = portable.load(folder)
    except Exception as error:  # whatever builders raise
        raise ModelError(f"the export was refused: {CODE} cannot rebuild {source.name} ({error}).") from error

    def call(image: Tensor, threshold: float | None) -> Found:
        if threshold is not None:
            decider(again).score_thresh = threshold
        return portable.predict(again, [image])[0]

    reader = f"torchvision {torchvision.__version__}"
    return compare_boxes(source, call, reader=reader, tolerance=RELOADED)


def _usage(repository: str | None, folder: str) -> str:
    lines, given = ["import sys", "", "import torch", ""], repr(folder)
    if repository is not None:
        lines = ["import sys", "", "import torch", "from huggingface_hub import snapshot_download", ""]
        given = f'snapshot_download("{repository}")'
    return "\n".join(
        [
            *lines,
            f"sys.path.insert(0, {given})",
            "from detector import load, predict",
            "",
            "detector = load()",
            "found = predict(detector, [torch.rand(3, 480, 640)])",
        ]
    )
