"""What one-stage families share: a head over all anchors, and a loss that is told which of them have an object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ModelError
from limbeck.models.detectors.seams import Recording, Seam
from limbeck.models.detectors.seen import Dense, Positives

Decode = Callable[[Tensor, Tensor], Tensor]
"""From deltas (k, 4) and anchors (k, 4) to boxes (k, 4)."""

LOSS_PARAMETERS = ("targets", "head_outputs", "anchors", "matched_idxs")
COMMON_SEAMS = (
    Seam("transform", "forward", ("images", "targets")),
    Seam("anchor_generator", "forward", ("image_list", "feature_maps")),
)


def record_loss(owner: Any, recording: Recording) -> None:
    """Hear what a `compute_loss` with matches is given."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def compute_loss(
            targets: list[dict[str, Tensor]],
            head_outputs: dict[str, Tensor],
            anchors: list[Tensor],
            matched_idxs: list[Tensor],
        ) -> Any:
            recording.found.update(outputs=head_outputs, anchors=anchors, matched=matched_idxs)
            return original(targets, head_outputs, anchors, matched_idxs)

        return compute_loss

    recording.around(owner, "compute_loss", wrap)


def logits_and_deltas(outputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The two outputs that every one-stage head has.

    Raises:
        ModelError: they go by other names.
    """
    try:
        return outputs["cls_logits"], outputs["bbox_regression"]
    except KeyError as error:
        raise ModelError(
            f"the detector's head gives {', '.join(outputs)}; expected were 'cls_logits' and 'bbox_regression'."
        ) from error


def positives(
    logits: Tensor, deltas: Tensor, anchors: Sequence[Tensor], matched: Tensor, decode: Decode, first_column: int
) -> Positives:
    """The anchors with an object, of all images at once.

    Args:
        logits: (n, A, C+1).
        deltas: (n, A, 4).
        anchors: of each image, (A, 4).
        matched: (n, A).
        decode: of the detector's box coder.
        first_column: of the logits that means something; 1 where the background has none.
    """
    count = matched.shape[1]
    image, anchor = torch.where(matched >= 0)
    flat = image * count + anchor
    chosen = deltas.flatten(0, 1).index_select(0, flat)
    boxes = decode(_single(chosen), torch.cat(list(anchors)).index_select(0, flat))
    return Positives(
        image=image,
        object=matched[image, anchor],
        logits=logits.flatten(0, 1).index_select(0, flat)[:, first_column:],
        boxes=boxes,
    )


def dense(
    outputs: Mapping[str, Tensor],
    anchors: Sequence[Tensor],
    matched: Tensor | None,
    decode: Decode,
    first_column: int,
    towers: tuple[Sequence[Sequence[Tensor]], Sequence[Sequence[Tensor]]] = ((), ()),
) -> Dense:
    """The head's outputs, with boxes on demand."""
    logits, deltas = logits_and_deltas(outputs)

    def decoded(some: Tensor) -> Tensor:
        boxes = decode(_single(some).flatten(0, 1), torch.cat(list(anchors)))
        return boxes.view(*some.shape[:2], 4)

    return Dense(
        class_logits=logits[..., first_column:],
        box_deltas=deltas,
        side_logits=outputs.get("side_logits"),
        matched=matched,
        class_towers=towers[0],
        box_towers=towers[1],
        decode=decoded,
    )


def _single(deltas: Tensor) -> Tensor:
    """Deltas in float32 at least: half precision is off by whole pixels on large images."""
    return deltas.float() if deltas.dtype in (torch.float16, torch.bfloat16) else deltas
