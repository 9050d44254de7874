"""MixUp and CutMix: two images in one, and their labels in the same shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import DataError


@dataclass(frozen=True)
class Mixture:
    """How one batch is mixed: the share of each image that stays, and where the other comes in.

    Attributes:
        share: of the image itself, 0 to 1.
        box: top, bottom, left, right of the region that the partner fills; None blends the whole images.
    """

    share: float
    box: tuple[int, int, int, int] | None = None

    def images(self, images: Tensor, partners: Tensor) -> Tensor:
        """Mixed images, shape (n, c, h, w) as both."""
        if self.box is None:
            return images if self.share == 1 else torch.lerp(partners, images, self.share)
        top, bottom, left, right = self.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
        return mixed

    def targets(self, labels: Tensor, others: Tensor, classes: int) -> Tensor:
        """Labels in the same shares, shape (n, classes), float32, rows sum to one."""
        own, other = (F.one_hot(found, classes).float() for found in (labels, others))
        return self.share * own + (1 - self.share) * other


@dataclass(frozen=True)
class Mix:
    """Random mixtures, one for each batch.

    The partner of an image is the next of the whole batch, and that of the last one the first: a batch is mixed
    alike however it is split over processes, and a process fetches one image more than its own.

    Attributes:
        mixup: parameter of the beta distribution of MixUp's shares; 0 leaves MixUp out.
        cutmix: likewise of CutMix.
        probability: share of batches that are mixed at all.
        switch: share of mixed batches that take CutMix, where both are on.

    References:
        MixUp [zhang2018mixup] and CutMix [yun2019cutmix], combined as in common ImageNet recipes.
    """

    mixup: float = 0.8
    cutmix: float = 1.0
    probability: float = 1.0
    switch: float = 0.5

    def __post_init__(self) -> None:
        if min(self.mixup, self.cutmix) < 0 or not 0 <= self.probability <= 1 or not 0 <= self.switch <= 1:
            raise DataError(
                f"mix: mixup and cutmix are at least 0, probability and switch lie in [0, 1]; got {self.mixup}, "
                f"{self.cutmix}, {self.probability} and {self.switch}."
            )

    def draw(self, seed: int, height: int, width: int) -> Mixture:
        """The mixture of one batch, a pure function of the seed.

        Args:
            seed: of this batch.
            height: of its images.
            width: likewise.

        Example:
            >>> Mix(mixup=0).draw(1, 8, 8).box is not None, Mix(cutmix=0).draw(1, 8, 8).box
            (True, None)
        """
        numbers = np.random.default_rng(seed)
        if numbers.random() >= self.probability or self.mixup == self.cutmix == 0:
            return Mixture(1.0)
        cuts = self.cutmix > 0 and (self.mixup == 0 or numbers.random() < self.switch)
        alpha = self.cutmix if cuts else self.mixup
        share = float(numbers.beta(alpha, alpha))
        if not cuts:
            return Mixture(share)
        side = (1 - share) ** 0.5
        box = []
        for length in (height, width):
            middle, half = int(numbers.integers(length)), int(length * side) // 2
            box += [max(middle - half, 0), min(middle + half, length)]
        top, bottom, left, right = box
        # The share is that of the pixels, after the box was cut off at the border.
        return Mixture(1 - (bottom - top) * (right - left) / (height * width), (top, bottom, left, right))
