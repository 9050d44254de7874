"""RDED: the most recognisable crops of real images, tiled; nothing is optimised [sun2024rded]."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.bounds import Positive, PositiveInt
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


def tiled(patches: Tensor, ipc: int, factor: int, size: int) -> Tensor:
    """Patches joined to images; tile k takes patches from k ipc on.

    Args:
        patches: (ipc factor^2, c, h, h), the best first.
        ipc: images to make.
        factor: tiles along each side.
        size: of the images.

    Returns:
        (ipc, c, size, size).
    """
    side = size // factor
    shrunk: Tensor = F.interpolate(patches, size=(side, side))
    cells = shrunk.unflatten(0, (factor, factor, ipc))
    # (rows, columns, ipc, c, h, w) -> (ipc, c, rows h, columns w)
    joined: Tensor = cells.permute(2, 3, 0, 4, 1, 5).reshape(ipc, patches.shape[1], factor * side, factor * side)
    return joined


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
        temperature: of the teacher's soft labels.
    """

    def __init__(self, ground: Ground, *, factor: int, candidates: int, crops: int, temperature: float) -> None:
        if ground.teacher is None:
            raise ModelError("rded asks a trained classifier: teacher: <a stage of classify.train, or a file>.")
        size = ground.real.image_shape[-1]
        if size % factor:
            raise ConfigError(f"factor: {factor} tiles do not divide {size} pixels.")
        self.ground, self.teacher = ground, ground.teacher
        self.factor, self.candidates, self.crops, self.temperature = factor, candidates, crops, temperature
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
        patches = torch.stack([_crop(pool, side, draws) for _ in range(self.crops)])
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


def _crop(pool: Tensor, side: int, draws: torch.Generator) -> Tensor:
    """A random square of half to all of the area of each image, shrunk to the side of a tile."""
    share = 0.5 + 0.5 * torch.rand(len(pool), generator=draws).to(pool)
    half = share.sqrt()
    at = (1 - half)[:, None] * (2 * torch.rand(len(pool), 2, generator=draws).to(pool) - 1)
    zero = torch.zeros_like(half)
    matrix = torch.stack([torch.stack([half, zero, at[:, 0]], 1), torch.stack([zero, half, at[:, 1]], 1)], 1)
    grid = F.affine_grid(matrix, [len(pool), pool.shape[1], side, side], align_corners=False)
    return F.grid_sample(pool, grid, align_corners=False, padding_mode="border")


def rded(
    ground: Ground,
    *,
    factor: PositiveInt = 1,
    candidates: PositiveInt = 300,
    crops: PositiveInt = 5,
    temperature: Positive = 1.0,
) -> RDED:
    """The crops of real images that a trained classifier recognises best; as many iterations as classes.

    Args:
        ground: what it begins with.
        factor: tiles along each side of an image; 2 at 224 pixels, 1 for small images.
        candidates: real images of a class to look at.
        crops: of each candidate.
        temperature: of the teacher's one soft label for each image.

    References:
        On the Diversity and Realism of Distilled Dataset, CVPR 2024 [sun2024rded].
    """
    return RDED(ground, factor=factor, candidates=candidates, crops=crops, temperature=temperature)
