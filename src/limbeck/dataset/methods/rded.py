"""RDED: the most recognisable crops of real images, tiled; nothing is optimised [sun2024rded]."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.bounds import Fraction, Positive, PositiveInt
from limbeck.dataset.formation import tiled
from limbeck.dataset.methods._base import Ground, Learned
from limbeck.errors import ConfigError, ModelError
from limbeck.seeding import generator


def best_crops(logits: Tensor, label: int) -> tuple[Tensor, Tensor]:
    """The crop of each image that is recognised best.

    Args:
        logits: of every crop, (crops, n, classes).
        label: the class.

    Returns:
        Cross entropies (crops, n), and the index of the best crop of each image (n,).
    """
    crops, images, classes = logits.shape
    labels = torch.full((crops * images,), label, device=logits.device)
    score = F.cross_entropy(logits.reshape(-1, classes), labels, reduction="none").view(crops, images)
    return score, score.argmin(0)


def zero_padded(patches: Tensor, size: int) -> Tensor:
    """Patches in the middle of an image of zeros, which is how a teacher judges them."""
    rest = size - patches.shape[-1]
    before = rest // 2
    padded: Tensor = F.pad(patches, (before, rest - before, before, rest - before))
    return padded


class RDED:
    """Selection of one class at each iteration, in the order of the classes.

    Args:
        ground: what it begins with.
        factor: tiles along each side of an image.
        candidates: real images of a class to look at.
        crops: of each candidate.
        crop: smallest share of an image's area that a crop keeps.
        temperature: of the teacher's soft labels.
    """

    def __init__(
        self, ground: Ground, *, factor: int, candidates: int, crops: int, crop: float, temperature: float
    ) -> None:
        if ground.teacher is None:
            raise ModelError("rded asks a trained classifier: teacher: <a stage of classify.train, or a file>.")
        size = ground.real.image_shape[-1]
        if factor > size:
            raise ConfigError(f"factor: {factor} tiles a side do not fit into {size} pixels.")
        self.ground, self.teacher = ground, ground.teacher
        self.factor, self.candidates, self.crops = factor, candidates, crops
        self.crop, self.temperature = crop, temperature
        self.images = ground.start.detach().clone()

    @torch.no_grad()
    def iteration(self, number: int) -> dict[str, float]:
        """Choose the crops of one class."""
        label = number % self.ground.real.classes
        rows, draws = self.ground.rows[label], generator(self.ground.seed, "rded", label)
        needed = len(rows) * self.factor**2
        pool = self.ground.real.batch(label, max(self.candidates, needed), generator=draws)
        if len(pool) < needed:
            name = self.ground.real.class_names[label]
            raise ConfigError(f"class '{name}' has {len(pool)} real images; {needed} tiles are asked for.")
        size = pool.shape[-1]
        side = size // self.factor
        patches = torch.stack([random_crop(pool, side, self.crop, draws) for _ in range(self.crops)])
        logits = torch.stack([self.teacher(zero_padded(p, size)) for p in patches])
        score, best = best_crops(logits, label)
        images = torch.arange(len(pool), device=pool.device)
        order = score[best, images].argsort(stable=True)[:needed]
        self.images[rows] = tiled(patches[best[order], order], len(rows), self.factor, size)
        return {"loss": float(score[best, images][order].mean())}

    def state(self) -> dict[str, Tensor]:
        """The images so far."""
        return {"images": self.images.cpu().clone()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """The images as they were."""
        self.images.copy_(state["images"])

    @torch.no_grad()
    def learned(self) -> Learned:
        """Images, and the teacher's soft labels of them."""
        logits = torch.cat([self.teacher(part) for part in self.images.split(256)])
        return Learned(self.images.clone(), self.ground.labels, (logits / self.temperature).softmax(1))


def random_crop(images: Tensor, side: int, smallest: float, draws: torch.Generator) -> Tensor:
    """A random square of each image, resized.

    Sampled at no less than the images' own resolution and averaged down, so that shrinking does not alias.

    Args:
        images: (n, c, h, h).
        side: of the crops.
        smallest: share of the area that a crop keeps; the shares are uniform from there to 1.
        draws: on the CPU.

    Returns:
        (n, c, side, side).
    """
    fine = -(-images.shape[-1] // side)
    share = smallest + (1 - smallest) * torch.rand(len(images), generator=draws).to(images)
    half = share.sqrt()
    at = (1 - half)[:, None] * (2 * torch.rand(len(images), 2, generator=draws).to(images) - 1)
    zero = torch.zeros_like(half)
    matrix = torch.stack([torch.stack([half, zero, at[:, 0]], 1), torch.stack([zero, half, at[:, 1]], 1)], 1)
    shape = [len(images), images.shape[1], fine * side, fine * side]
    grid = F.affine_grid(matrix, shape, align_corners=False)
    found = F.grid_sample(images, grid, align_corners=False, padding_mode="border")
    return F.avg_pool2d(found, fine)


def rded(
    ground: Ground,
    *,
    factor: PositiveInt = 1,
    candidates: PositiveInt = 300,
    crops: PositiveInt = 5,
    crop: Fraction = 0.08,
    temperature: Positive = 1.0,
) -> RDED:
    """The crops of real images that a trained classifier recognises best; as many iterations as classes.

    Args:
        ground: what it begins with.
        factor: tiles along each side of an image; 2 at 224 pixels, 1 for small images.
        candidates: real images of a class to look at.
        crops: of each candidate.
        crop: smallest share of an image's area that a crop keeps.
        temperature: of the teacher's one soft label for each image.

    References:
        On the Diversity and Realism of Distilled Dataset, CVPR 2024 [sun2024rded].
    """
    return RDED(ground, factor=factor, candidates=candidates, crops=crops, crop=crop, temperature=temperature)
