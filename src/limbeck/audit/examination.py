"""One sitting: the networks, the images in front of them, and what was computed once for every question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from limbeck.audit.subjects import Panel, Subject
from limbeck.errors import DataError


@dataclass(frozen=True, eq=False)
class Material:
    """Images that all networks are shown.

    Attributes:
        images: shape (n, c, h, w), uint8; the whole set.
        labels: shape (n,), int64.
        class_names: in the order of the logits.
        name: where they come from, for titles.
        groups: shape (n,), int64: the group of each image, or None.
        group_names: in their order.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    name: str = "images"
    groups: Tensor | None = None
    group_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, count: int) -> Material:
        """The first images, which are a random part of the set already.

        Args:
            count: how many at most.
        """
        if count >= len(self):
            return self
        groups = None if self.groups is None else self.groups[:count]
        return Material(
            self.images[:count], self.labels[:count], self.class_names, self.name, groups, self.group_names
        )


@dataclass(frozen=True, eq=False)
class Examination:
    """What a question may look at.

    Attributes:
        panel: the networks.
        material: test images in random order; a question takes a part of it.
        domains: name -> images of another distribution, with the same classes.
        seed: of everything random; every network sees the same draws.
        batch_size: images at a time.
        device: where the networks are.
        note: called with a few words whenever something takes a while.
    """

    panel: Panel
    material: Material
    domains: Mapping[str, Material] = field(default_factory=dict)
    seed: int = 0
    batch_size: int = 250
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    note: Callable[[str], None] = lambda _: None
    _kept: dict[tuple[str, int, int], tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def batches(self, material: Material) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Images in [0, 1] (float32, on the device), labels, and their numbers in the material (on the CPU)."""
        for rows in torch.arange(len(material)).split(self.batch_size):
            images = material.images[rows].to(self.device, torch.float32) / 255
            yield images, material.labels[rows].to(self.device), rows

    def logits(self, subject: Subject, images: Material | Tensor) -> Tensor:
        """Logits on the CPU, float32, shape (n, classes); those of a whole material are computed once.

        Args:
            subject: of the panel.
            images: a material, or images in [0, 1], shape (n, c, h, w).

        Raises:
            DataError: logits that are not finite.
        """
        if isinstance(images, Tensor):
            return self._computed(subject, (part.to(self.device) for part in images.split(self.batch_size)))
        shown = images.images
        key = (subject.name, shown.data_ptr(), len(shown))
        if key not in self._kept:
            # The images are kept as well: another material could get the memory of one that is gone.
            self._kept[key] = (shown, self._computed(subject, (part for part, _, _ in self.batches(images))))
        return self._kept[key][1]

    @torch.no_grad()
    def _computed(self, subject: Subject, batches: Iterator[Tensor]) -> Tensor:
        found = torch.cat([subject.network(part).float().cpu() for part in batches])
        if not bool(found.isfinite().all()):
            row = int((~found.isfinite()).any(dim=1).nonzero()[0])
            raise DataError(
                f"audit: {subject.name} puts out logits that are not finite (first for image {row}: "
                f"{_short(found[row].tolist())}). Its training diverged, or its file holds damaged weights."
            )
        return found

    def predictions(self, subject: Subject, images: Material | Tensor) -> Tensor:
        """Predicted classes on the CPU, shape (n,), int64."""
        return self.logits(subject, images).argmax(dim=1)


def _short(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values[:4]) + (", ..." if len(values) > 4 else "")
