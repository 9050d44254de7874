"""SRe2L: images that a trained classifier recognises and that look, layer by layer, like its training data."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.bounds import Fraction, NonNegative, NonNegativeInt, Positive, PositiveInt
from limbeck.dataset.methods._base import Ground, Learned
from limbeck.errors import ModelError
from limbeck.seeding import generator


class Statistics:
    """Distance of each batch norm's input from what the norm has seen in training.

    Args:
        model: with batch norms that keep running statistics.
        first_weight: weight of the first norm; the others count once.

    Raises:
        ModelError: it has none.
    """

    def __init__(self, model: nn.Module, *, first_weight: float) -> None:
        self.norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None]
        if not self.norms:
            raise ModelError(
                f"the teacher {type(model).__name__} has no batch norm with running statistics, which the "
                f"images are "
                "matched on. Take one that has, e.g. a ResNet."
            )
        self.weights = [first_weight, *[1.0] * (len(self.norms) - 1)]

    def distance(self, model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, classes) and the weighted distance of means and variances, a scalar."""
        found: list[Tensor] = []

        def look(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            x = inputs[0]
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            found.append((variance - norm.running_var).norm() + (mean - norm.running_mean).norm())

        handles = [norm.register_forward_pre_hook(look) for norm in self.norms]
        try:
            logits = model(images)
        finally:
            for handle in handles:
                handle.remove()
        total = torch.stack([w * f for w, f in zip(self.weights, found, strict=True)]).sum()
        return logits, total


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
        low, high = (ground.real.preprocess.apply(torch.full_like(self.images[:1], v)) for v in (0.0, 1.0))
        self._low, self._high = low, high

    def iteration(self, number: int) -> dict[str, float]:
        """One step of every image, in batches that hold as many classes as they can."""
        draws = generator(self.ground.seed, "sre2l", number)
        gradient, total = torch.zeros_like(self.images), 0.0
        order = torch.argsort(torch.arange(len(self.images)) % self._ipc, stable=True).to(self.images.device)
        for rows in order.split(self.batch_size):
            pixels = self.images[rows].detach().requires_grad_(True)
            logits, distance = self.statistics.distance(self.teacher, self._view(pixels, draws))
            loss = F.cross_entropy(logits, self.ground.labels[rows]) + self.weight * distance
            (gradient[rows],) = torch.autograd.grad(loss, pixels)
            total += loss.item() * len(rows)
        self._adam(gradient, number)
        return {"loss": total / len(self.images)}

    @property
    def _ipc(self) -> int:
        return max(len(self.images) // self.ground.real.classes, 1)

    def _view(self, images: Tensor, draws: torch.Generator) -> Tensor:
        """A random crop, enlarged, mirrored for half of the images, and rolled."""
        size = images.shape[-1]
        if self.crop < 1:
            share = math.sqrt(self.crop + (1 - self.crop) * float(torch.rand(1, generator=draws)))
            side = max(1, round(size * share))
            top, left = (int(torch.randint(size - side + 1, (1,), generator=draws)) for _ in range(2))
            images = F.interpolate(
                images[:, :, top : top + side, left : left + side], size=(size, size), mode="bilinear"
            )
        mirrored = (torch.rand(len(images), generator=draws) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        if not self.jitter:
            return images
        by = torch.randint(-self.jitter, self.jitter + 1, (2,), generator=draws).tolist()
        return images.roll(by, dims=(2, 3))

    @torch.no_grad()
    def _adam(self, gradient: Tensor, number: int) -> None:
        """Adam with the paper's betas (0.5, 0.9) and a cosine schedule; pixels stay in the valid range."""
        rate = self.lr * 0.5 * (1 + math.cos(math.pi * number / self.iterations))
        self._first.mul_(0.5).add_(gradient, alpha=0.5)
        self._second.mul_(0.9).addcmul_(gradient, gradient, value=0.1)
        first = self._first / (1 - 0.5 ** (number + 1))
        second = (self._second / (1 - 0.9 ** (number + 1))).sqrt() + 1e-8
        self.images.sub_(rate * first / second)
        self.images.copy_(torch.minimum(torch.maximum(self.images, self._low), self._high))

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
