"""SRe2L: images that a trained classifier recognises and that look, layer by layer, like its training data.

Described in [yin2023sre2l].
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.bounds import Fraction, NonNegative, NonNegativeInt, Positive, PositiveInt
from limbeck.dataset.methods._base import Ground, Learned
from limbeck.dataset.recover import Statistics, random_view
from limbeck.errors import ConfigError, ModelError
from limbeck.seeding import generator


class SRe2L:
    """Recovering: every image is optimised by Adam under a cosine schedule; one iteration is one step of all.

    Args:
        ground: what it begins with; noise, in the paper.
        iterations: of the schedule.
        lr_images: Adam's rate at the beginning.
        statistics: weight of the batch norms' distance.
        first_weight: of the first batch norm.
        crop: smallest share of an image that a random crop keeps; 1 takes whole images.
        jitter: pixels by which images are rolled.
        batch_size: images that share their statistics.
        temperature: of the teacher's soft labels for the finished images.
    """

    def __init__(
        self,
        ground: Ground,
        *,
        iterations: int,
        lr_images: float,
        statistics: float,
        first_weight: float,
        crop: float,
        jitter: int,
        batch_size: int,
        temperature: float,
    ) -> None:
        if ground.teacher is None:
            raise ModelError("sre2l asks a trained classifier: teacher: <a stage of classify.train, or a file>.")
        self.ground, self.teacher = ground, ground.teacher
        self.iterations, self.lr, self.weight = iterations, lr_images, statistics
        self.crop, self.jitter, self.batch_size, self.temperature = crop, jitter, batch_size, temperature
        self.statistics = Statistics(ground.teacher, first_weight=first_weight)
        self.images = ground.start.detach().clone()
        self._first, self._second = torch.zeros_like(self.images), torch.zeros_like(self.images)

    def iteration(self, number: int) -> dict[str, float]:
        """One step of every image, in batches that hold as many classes as they can.

        Raises:
            ConfigError: the schedule is over.
        """
        if number >= self.iterations:
            raise ConfigError(
                f"iterations: the schedule of sre2l ends after {self.iterations}, where its rate is 0, and the "
                "stage goes on. Give both the same number."
            )
        draws = generator(self.ground.seed, "sre2l", number)
        gradient, total = torch.zeros_like(self.images), self.images.new_zeros(())
        order = torch.argsort(torch.arange(len(self.images)) % self._ipc, stable=True).to(self.images.device)
        for rows in order.split(self.batch_size):
            pixels = self.images[rows].detach().requires_grad_(True)
            view = random_view(pixels, crop=self.crop, jitter=self.jitter, draws=draws)
            logits, distance = self.statistics(view)
            loss = F.cross_entropy(logits, self.ground.labels[rows]) + self.weight * distance
            (gradient[rows],) = torch.autograd.grad(loss, pixels)
            total += loss.detach() * len(rows)
        self._adam(gradient, number)
        return {"loss": float(total) / len(self.images)}

    @property
    def _ipc(self) -> int:
        return max(len(self.images) // self.ground.real.classes, 1)

    @torch.no_grad()
    def _adam(self, gradient: Tensor, number: int) -> None:
        """Adam with the paper's betas (0.5, 0.9) and a cosine schedule; pixels stay in the valid range."""
        rate = self.lr * 0.5 * (1 + math.cos(math.pi * number / self.iterations))
        self._first.mul_(0.5).add_(gradient, alpha=0.5)
        self._second.mul_(0.9).addcmul_(gradient, gradient, value=0.1)
        first = self._first / (1 - 0.5 ** (number + 1))
        second = (self._second / (1 - 0.9 ** (number + 1))).sqrt() + 1e-8
        self.images.sub_(rate * first / second)
        preprocess = self.ground.real.preprocess
        self.images.copy_(preprocess.apply(preprocess.invert(self.images).clamp(0, 1)))

    def state(self) -> dict[str, Tensor]:
        """Images and Adam's moments."""
        found = {"images": self.images, "first": self._first, "second": self._second}
        return {name: value.detach().cpu().clone() for name, value in found.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """All of it as it was."""
        for name, value in (("images", self.images), ("first", self._first), ("second", self._second)):
            value.copy_(state[name])

    @torch.no_grad()
    def learned(self) -> Learned:
        """Images, and the teacher's soft labels of them."""
        images = self.images.detach().clone()
        logits = torch.cat([self.teacher(part) for part in images.split(256)])
        return Learned(images, self.ground.labels, (logits / self.temperature).softmax(1))


def sre2l(
    ground: Ground,
    *,
    iterations: PositiveInt = 1000,
    lr_images: Positive = 0.25,
    statistics: NonNegative = 0.01,
    first_weight: NonNegative = 10.0,
    crop: Fraction = 1.0,
    jitter: NonNegativeInt = 0,
    batch_size: PositiveInt = 100,
    temperature: Positive = 1.0,
) -> SRe2L:
    """Images that a classifier with batch norms recognises, with layer statistics like its training data's.

    Args:
        ground: what it begins with; the paper takes noise (initialise: noise).
        iterations: of the cosine schedule; the stage's `iterations` should be the same.
        lr_images: Adam's rate at the beginning.
        statistics: weight of the distance of batch-norm statistics.
        first_weight: of the first batch norm in that distance.
        crop: smallest share of an image that a random crop keeps (0.08 for ImageNet); 1 takes whole images.
        jitter: largest roll in pixels (32 for ImageNet).
        batch_size: images that share their statistics; consecutive ones are of consecutive classes.
        temperature: of the teacher's one soft label for each finished image.

    References:
        Squeeze, Recover and Relabel, NeurIPS 2023 [yin2023sre2l]; defaults are those of CIFAR-100. One stored
        label an image stands in for its 300 stored views.
    """
    return SRe2L(
        ground,
        iterations=iterations,
        lr_images=lr_images,
        statistics=statistics,
        first_weight=first_weight,
        crop=crop,
        jitter=jitter,
        batch_size=batch_size,
        temperature=temperature,
    )
