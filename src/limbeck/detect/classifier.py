"""The classifier that teaches: its logits for crops, and the maps of its first layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.models import DataConfig
from limbeck.models.outputs import logits_of
from limbeck.sources.loader import normalise
from limbeck.taps import Taps, resolve, stem_tap

STEM = "@stem"


class ClassifierTeacher:
    """A frozen classifier of the objects that a detector is to find.

    Args:
        model: on its device; put into eval mode, without gradients of its own.
        data: what it was trained on; `limbeck_data` of a classifier of Limbeck's.
        class_names: of the detector's data, in the order of its labels. A classifier that knows the same
            classes in
            another order has its logits put into this one.
        crop_size: pixels a side of its crops; those of its own input unless given.

    Raises:
        ModelError: other classes than the detector's, or images of another kind.
    """

    def __init__(
        self,
        model: nn.Module,
        data: DataConfig,
        class_names: Sequence[str],
        *,
        crop_size: int | None = None,
    ) -> None:
        if data.input_shape[0] not in (1, 3):
            raise ModelError(f"the classifier takes {data.input_shape[0]} channels; crops have 1 or 3.")
        self.model = model.eval().requires_grad_(False)
        self.data = data
        self.crop_size = crop_size or data.input_shape[1]
        self._order = _order_of(data.class_names, class_names)
        self._taps: dict[tuple[str, ...], Taps] = {}
        self._classes = len(class_names)
        found = self.logits(torch.zeros(1, 3, self.crop_size, self.crop_size, device=self._device))
        if found.shape[1] != len(class_names):
            raise ModelError(
                f"the classifier tells {found.shape[1]} classes apart, the detector's data have "
                f"{len(class_names)} "
                f"({', '.join(class_names[:4])}...). Train it on the objects of these data: source: object_crops."
            )

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def logits(self, crops: Tensor) -> Tensor:
        """Logits for crops in [0, 1], (k, 3, s, s): (k, classes) in the detector's order, without gradient."""
        if len(crops) == 0:
            return crops.new_zeros((0, self._classes))
        with torch.no_grad():
            found = logits_of(self.model(self._prepared(crops)))
        return found if self._order is None else found[:, self._order]

    def maps(self, crops: Tensor, taps: Sequence[str]) -> list[Tensor]:
        """Maps of its first layers, with the gradient to the crops; the layers behind are not run."""
        tapped = self._tapped(tuple(taps))
        read = tapped.read(self._prepared(crops))
        return [read[path] for path in tapped.paths]

    def close(self) -> None:
        """Take the hooks off."""
        for taps in self._taps.values():
            taps.close()
        self._taps = {}

    def _prepared(self, crops: Tensor) -> Tensor:
        if self.data.input_shape[0] == 1:
            crops = crops.mean(1, keepdim=True)
        return normalise(crops, self.data.mean, self.data.std)

    def _tapped(self, taps: tuple[str, ...]) -> Taps:
        if taps not in self._taps:
            size = self.crop_size
            example = torch.zeros(1, self.data.input_shape[0], size, size, device=self._device)
            paths = [stem_tap(self.model, example) if tap == STEM else tap for tap in taps]
            self._taps[taps] = Taps(self.model, [found for path in paths for found in resolve(self.model, path)])
        return self._taps[taps]


def _order_of(known: Sequence[str], wanted: Sequence[str]) -> list[int] | None:
    """Where each of the detector's classes is among the classifier's; None where the order is the same."""
    if not known or list(known) == list(wanted):
        return None
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ModelError(
            f"the classifier does not know '{missing[0]}' ({len(missing)} of {len(wanted)} classes are "
            f"missing); it "
            f"knows {', '.join(list(known)[:6])}{'...' if len(known) > 6 else ''}. Train it on the objects of the "
            "detector's data: source: object_crops."
        )
    if len(known) > len(wanted):
        beyond = next(name for name in known if name not in wanted)
        raise ModelError(
            f"the classifier has {len(known)} classes, the detector {len(wanted)}: '{beyond}' is none of the "
            "detector's. Soft labels are shares of the very same classes; train it on the detector's objects: "
            "source: object_crops."
        )
    return [list(known).index(name) for name in wanted]
