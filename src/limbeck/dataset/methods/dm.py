"""DM: synthetic images whose mean features in random networks are those of real images [zhao2023dm]."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from limbeck.bounds import Fraction, Positive, PositiveInt
from limbeck.dataset import dsa
from limbeck.dataset.flat import Flat
from limbeck.dataset.matching.distributions import mean_distance
from limbeck.dataset.methods._base import Ground, Learned, Momentum, classes_of
from limbeck.seeding import derive, generator

AT_ONCE = {"cpu": 128, "cuda": 4096}
"""Images of a pass through the network."""


class DM:
    """Distribution matching; no inner loop, a fresh random network at every iteration.

    Args:
        ground: what it begins with.
        lr_images: rate of the pixels.
        momentum: of the pixels.
        batch_real: real images of each class.
        augment: families of DSA, the same draw on real and synthetic images of a class.
    """

    def __init__(
        self, ground: Ground, *, lr_images: float, momentum: float, batch_real: int, augment: str
    ) -> None:
        self.ground, self.batch_real, self.augment = ground, batch_real, augment
        self.images = ground.start.detach().clone()
        self._sgd = Momentum({"images": self.images}, {"images": lr_images}, momentum=momentum)

    def iteration(self, number: int) -> dict[str, float]:
        """Match the mean features of all classes in one random network."""
        ground, device = self.ground, self.images.device
        net = Flat(ground.build(derive(ground.seed, "dm", "network", number)))
        weights = net.start()
        draws = generator(ground.seed, "dm", number)
        pixels = self.images.detach().requires_grad_(True)
        real, synthetic = [], []
        for label, rows in enumerate(ground.rows):
            chosen = ground.real.batch(label, self.batch_real, generator=draws)
            mine = pixels[rows]
            if ground.frozen is not None:
                mine = torch.cat([ground.frozen[0][classes_of(ground.frozen[1]) == label], mine])
            drawn = dsa.draw(self.augment, mine.shape, generator=draws, siamese=True, device=device)
            real.append(dsa.apply(chosen, drawn))
            synthetic.append(dsa.apply(mine, drawn))
        with torch.no_grad():
            wanted = _class_means(net, weights, real)
        found = _class_means(net, weights, synthetic)
        loss = mean_distance(wanted[:, None], found[:, None])
        (gradient,) = torch.autograd.grad(loss, pixels)
        self._sgd.step({"images": gradient})
        return {"loss": loss.item()}

    def state(self) -> dict[str, Tensor]:
        """Images and momentum."""
        return self._sgd.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Images and momentum as they were."""
        self._sgd.load_state(state)

    def learned(self) -> Learned:
        """Images with their classes."""
        return Learned(self.images.detach().clone(), self.ground.labels)


def _class_means(net: Flat, weights: Tensor, batches: list[Tensor]) -> Tensor:
    """Mean features of each class's images, (classes, features).

    Classes go through the network together as long as that pays: on a GPU all of them, on a CPU as many as stay in
    its cache. Networks without batch statistics give the same features either way.
    """
    most = AT_ONCE.get(batches[0].device.type, AT_ONCE["cuda"])
    groups: list[list[Tensor]] = [[]]
    for batch in batches:
        if groups[-1] and sum(map(len, groups[-1])) + len(batch) > most:
            groups.append([])
        groups[-1].append(batch)
    means = []
    for group in groups:
        features = net.embed(weights, torch.cat(group) if len(group) > 1 else group[0])
        means += [part.mean(0) for part in features.split([len(batch) for batch in group])]
    return torch.stack(means)


def dm(
    ground: Ground,
    *,
    lr_images: Positive = 1.0,
    momentum: Fraction = 0.5,
    batch_real: PositiveInt = 256,
    augment: str = "color_crop_cutout_flip_scale_rotate",
) -> DM:
    """Distribution matching: mean features in random networks; the cheapest method, no trajectories needed.

    Args:
        ground: what it begins with.
        lr_images: rate of the pixels; the paper's 1, and 10 from 100 images a class on.
        momentum: of the pixels.
        batch_real: real images of each class.
        augment: families of DSA, the same draw on real and synthetic images of a class.

    References:
        Dataset Condensation with Distribution Matching, WACV 2023 [zhao2023dm].
    """
    return DM(ground, lr_images=lr_images, momentum=momentum, batch_real=batch_real, augment=augment)
