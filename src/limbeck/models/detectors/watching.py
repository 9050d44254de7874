"""Seeing what a detector does in a step of training, without changing the detector."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from limbeck.errors import ModelError, ShapeError
from limbeck.models.detectors.families import family_of
from limbeck.models.detectors.families.family import Parts
from limbeck.models.detectors.seams import Recording, at, check
from limbeck.models.detectors.seen import Seen


class Watch:
    """Looks over a detector's shoulder: its losses as ever, and what it matched and predicted on the way.

    Listeners are put on for the length of a forward pass and taken off after it, so a copy of the detector, its
    state and its export never hold any. The losses are the very same, bit by bit, as without.

    Args:
        detector: of any family, built by anybody.

    Raises:
        ModelError: a model of no known family, or a torchvision whose insides are others than expected.

    Example:
        >>> from limbeck.models.detectors import build_detector
        >>> watch = Watch(build_detector("small_ssd", num_classes=2, size=(64, 64)))
        >>> target = {"boxes": torch.tensor([[4.0, 4.0, 30.0, 30.0]]), "labels": torch.tensor([1])}
        >>> losses, seen = watch.forward([torch.rand(3, 64, 64), torch.rand(3, 64, 64)], [target, target])
        >>> sorted(losses), seen.positives.logits.shape[1], seen.head
        (['bbox_regression', 'classification'], 3, 'softmax')
    """

    def __init__(self, detector: nn.Module) -> None:
        self.family = family_of(detector)
        check(detector, self.family.seams)
        self.detector: Any = detector

    def forward(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Mapping[str, Tensor]],
        *,
        through: Callable[..., Any] | None = None,
    ) -> tuple[dict[str, Tensor], Seen]:
        """One step of training up to its losses.

        Args:
            images: float, shape (3, h, w) each, in [0, 1], on the detector's device.
            targets: of each image `boxes` (k, 4) x1, y1, x2, y2 in its pixels, `labels` (k,) int64 of 0..C-1, and
                anything else, which is handed on to `Seen.targets`. An image may have none.
            through: what to call in place of the detector, where it is wrapped, as for several processes.

        Returns:
            The detector's own losses by name, and what was seen, both with their graph; nothing of it is kept
            here.

        Raises:
            ModelError: the detector is in eval mode.
            ShapeError: other numbers of images and targets.
        """
        detector = self.detector
        if not detector.training:
            raise ModelError("a detector in eval mode has no losses; call .train() first, or use Watch.look.")
        if len(images) != len(targets) or not images:
            raise ShapeError(f"a step takes images and a target for each; got {len(images)} and {len(targets)}.")
        inside = [{**target, "labels": target["labels"] + 1} for target in targets]
        with Recording() as recording:
            recording.output(detector.transform, "transformed")
            recording.output(detector.backbone, "features")
            self.family.record(detector, recording)
            losses: dict[str, Tensor] = (through or detector)(list(images), inside)
            found = recording.found
        transformed, resized = found["transformed"]
        objects = [{**new, "labels": old["labels"]} for new, old in zip(resized, targets, strict=True)]
        parts = self.family.read(detector, found)
        return losses, self._seen(transformed, objects, _levels(found["features"]), parts)

    def look(self, images: Sequence[Tensor]) -> Seen:
        """What a frozen detector, in eval mode, makes of images: features, and what a one-stage head says of them.

        Of a two-stage detector there is nothing behind the backbone; `rois` runs its second stage where it is
        asked to. Computed without gradients.

        Args:
            images: float, shape (3, h, w) each, in [0, 1], on the detector's device.

        Raises:
            ModelError: the detector is in training mode.
        """
        self._frozen()
        with torch.no_grad():
            transformed, _ = self.detector.transform(list(images))
            return self._looked(transformed)

    def look_as(self, seen: Seen, *, heads: bool = True) -> Seen:
        """What a frozen detector makes of the input that another one was given: the same sizes, padding and scale.

        Resizing is not done again and may have been random; the normalisation is changed to this detector's own.

        Args:
            seen: of the other one.
            heads: run a one-stage head as well; features alone are cheaper.

        Raises:
            ModelError: the detector is in training mode.
        """
        self._frozen()
        with torch.no_grad():
            return self._looked(ImageList(self._renormalised(seen), list(seen.sizes)), heads=heads)

    def close(self) -> None:
        """Let go of the detector. It holds no trace of the watch, neither before nor after."""
        self.detector = None

    def _looked(self, images: ImageList, *, heads: bool = True) -> Seen:
        features = _levels(self.detector.backbone(images.tensors))
        parts = self.family.look(self.detector, images, features) if heads else Parts(anchors=None)
        return self._seen(images, (), features, parts)

    def _seen(
        self,
        images: ImageList,
        targets: Sequence[Mapping[str, Tensor]],
        features: Mapping[str, Tensor],
        parts: Parts,
    ) -> Seen:
        mean, std = self._normalisation()
        return Seen(
            images=images.tensors,
            sizes=[(int(height), int(width)) for height, width in images.image_sizes],
            mean=mean,
            std=std,
            targets=targets,
            features=features,
            head=self.family.head,
            anchors=parts.anchors,
            anchors_per_cell=at(self.detector, self.family.anchor_generator).num_anchors_per_location(),
            positives=parts.positives,
            dense=parts.dense,
            proposals=parts.proposals,
        )

    def _normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        transform = self.detector.transform
        return tuple(map(float, transform.image_mean)), tuple(map(float, transform.image_std))

    def _renormalised(self, seen: Seen) -> Tensor:
        mean, std = self._normalisation()
        if (mean, std) == (seen.mean, seen.std):
            return seen.images
        like = seen.images.new_tensor
        scale = like(seen.std) / like(std)
        shift = (like(seen.mean) - like(mean)) / like(std)
        images = seen.images * scale.view(3, 1, 1) + shift.view(3, 1, 1)
        for image, (height, width) in zip(images, seen.sizes, strict=True):
            image[:, height:] = 0  # padding is zero after normalisation
            image[:, :, width:] = 0
        return images

    def _frozen(self) -> None:
        if self.detector.training:
            raise ModelError(
                "only a detector in eval mode is looked at; call .eval() first, or watch it with forward."
            )


def _levels(features: Any) -> Mapping[str, Tensor]:
    return OrderedDict([("0", features)]) if isinstance(features, Tensor) else features
