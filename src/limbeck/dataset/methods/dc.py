"""DC and DSA: images whose class-wise gradients are those of real images [zhao2021dataset; zhao2021dsa]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.bounds import Fraction, Positive, PositiveInt
from limbeck.dataset import dsa as siamese
from limbeck.dataset.matching.gradients import DISTANCES
from limbeck.dataset.methods._base import Ground, Learned, Momentum, classes_of
from limbeck.errors import ConfigError
from limbeck.seeding import derive, generator

LOOPS: Mapping[int, tuple[int, int]] = {
    1: (1, 1),
    10: (10, 50),
    20: (20, 25),
    30: (30, 20),
    40: (40, 15),
    50: (50, 10),
}
"""Images per class -> rounds of an iteration, and passes over the set that train the network between them."""
SETTLE = 16
"""Real images of each class that give batch norms their statistics before a match."""


class GradientMatching:
    """Every iteration draws a network and trains it on the set it teaches; every round moves the images.

    Args:
        ground: what it begins with.
        rounds: of an iteration; each moves the images once.
        passes: over the synthetic set between two rounds, which train the network.
        batch_real: real images of each class.
        lr_images: rate of the pixels.
        momentum: of the pixels.
        lr_network: rate of plain SGD between rounds.
        distance: name of one of `DISTANCES`.
        augment: families of DSA; the same draw on a class's real and synthetic images. "" is DC.
    """

    def __init__(
        self,
        ground: Ground,
        *,
        rounds: int,
        passes: int,
        batch_real: int,
        lr_images: float,
        momentum: float,
        lr_network: float,
        distance: str,
        augment: str,
    ) -> None:
        self.ground, self.rounds, self.passes, self.batch_real = ground, rounds, passes, batch_real
        self.lr_network, self.distance, self.augment = lr_network, DISTANCES[distance], augment
        self.images = ground.start.detach().clone()
        self._sgd = Momentum({"images": self.images}, {"images": lr_images}, momentum=momentum)

    def iteration(self, number: int) -> dict[str, float]:
        """One network, from its initialisation to where the set leads it."""
        seed = self.ground.seed
        build = self.ground.initial or self.ground.build
        network = build(derive(seed, "dc", "network", number)).train()
        draws = generator(seed, "dc", number)
        total = 0.0
        for round_ in range(self.rounds):
            total += self._match(network, draws)
            if round_ < self.rounds - 1:
                self._train(network, draws)
        return {"loss": total / self.rounds / self.ground.real.classes}

    def _match(self, network: nn.Module, draws: torch.Generator) -> float:
        """Move the images once; each class's graph is gone before the next one's is made.

        Class after class, and not all at once under `vmap`: the gradient of a weight for each class becomes a
        grouped convolution there, which takes two to four times as long on a CPU for any but the tiniest network.
        """
        ground, parameters = self.ground, [p for p in network.parameters() if p.requires_grad]
        self._settle(network, draws)
        gradient, total = torch.zeros_like(self.images), self.images.new_zeros(())
        for label, rows in enumerate(ground.rows):
            real = ground.real.batch(label, self.batch_real, generator=draws)
            pixels = self.images[rows].detach().requires_grad_(True)
            mine = pixels
            if ground.frozen is not None:
                mine = torch.cat([ground.frozen[0][classes_of(ground.frozen[1]) == label], mine])
            drawn = siamese.draw(self.augment, mine.shape, generator=draws, siamese=True, device=mine.device)
            wanted = _gradient(network, parameters, siamese.apply(real, drawn), label, keep=False)
            found = _gradient(network, parameters, siamese.apply(mine, drawn), label, keep=True)
            loss = self.distance(wanted, found)
            (gradient[rows],) = torch.autograd.grad(loss, pixels)
            total += loss.detach()
        self._sgd.step({"images": gradient})
        return float(total)

    @torch.no_grad()
    def _settle(self, network: nn.Module, draws: torch.Generator) -> None:
        """Show batch norms some of all classes, then freeze them: a batch of one class has other statistics."""
        norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if not norms:
            return
        real = self.ground.real
        network(torch.cat([real.batch(label, SETTLE, generator=draws) for label in range(real.classes)]))
        for norm in norms:
            norm.eval()

    def _train(self, network: nn.Module, draws: torch.Generator) -> None:
        network.train()
        optimizer = torch.optim.SGD(network.parameters(), lr=self.lr_network)
        images, labels = self.images.detach(), self.ground.labels
        if self.ground.frozen is not None:
            images = torch.cat([self.ground.frozen[0], images])
            labels = torch.cat([classes_of(self.ground.frozen[1]), labels])
        for _ in range(self.passes):
            for rows in torch.randperm(len(images), generator=draws).to(images.device).split(256):
                batch = siamese.augment(images[rows], self.augment, generator=draws)
                optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(network(batch), labels[rows]).backward()
                optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Images and momentum; networks live no longer than an iteration."""
        return self._sgd.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Images and momentum as they were."""
        self._sgd.load_state(state)

    def learned(self) -> Learned:
        """Images with their classes."""
        return Learned(self.images.detach().clone(), self.ground.labels)


def _gradient(
    network: nn.Module, parameters: list[nn.Parameter], images: Tensor, label: int, *, keep: bool
) -> tuple[Tensor, ...]:
    labels = torch.full((len(images),), label, device=images.device)
    loss = F.cross_entropy(network(images), labels)
    return torch.autograd.grad(loss, parameters, create_graph=keep)


def _loops(ground: Ground, rounds: int | None, passes: int | None) -> tuple[int, int]:
    """The published loops for the images per class, where none are given.

    Raises:
        ConfigError: nothing is published for this number.
    """
    ipc = len(ground.labels) // ground.real.classes
    known = LOOPS.get(ipc)
    if known is None and (rounds is None or passes is None):
        raise ConfigError(
            f"rounds and passes: nothing is published for {ipc} images per class (only "
            f"{', '.join(map(str, LOOPS))}); "
            "give both."
        )
    published = known or (1, 1)
    return rounds or published[0], passes or published[1]


def dc(
    ground: Ground,
    *,
    rounds: PositiveInt | None = None,
    passes: PositiveInt | None = None,
    batch_real: PositiveInt = 256,
    lr_images: Positive = 0.1,
    momentum: Fraction = 0.5,
    lr_network: Positive = 0.01,
    distance: Literal["row_cosine", "squared", "cosine"] = "row_cosine",
) -> GradientMatching:
    """Gradient matching without augmentation; the paper begins with noise (initialise: noise).

    Args:
        ground: what it begins with.
        rounds: of an iteration, each of which moves the images; by images per class unless given.
        passes: over the set between two rounds, which train the network; by images per class unless given.
        batch_real: real images of each class.
        lr_images: rate of the pixels.
        momentum: of the pixels.
        lr_network: rate of plain SGD between rounds.
        distance: of two gradients: row by row, squared, or of all as one vector.

    References:
        Dataset Condensation with Gradient Matching, ICLR 2021 [zhao2021dataset].
    """
    rounds, passes = _loops(ground, rounds, passes)
    return GradientMatching(
        ground,
        rounds=rounds,
        passes=passes,
        batch_real=batch_real,
        lr_images=lr_images,
        momentum=momentum,
        lr_network=lr_network,
        distance=distance,
        augment=siamese.NONE,
    )


def dsa(
    ground: Ground,
    *,
    rounds: PositiveInt | None = None,
    passes: PositiveInt | None = None,
    batch_real: PositiveInt = 256,
    lr_images: Positive = 0.1,
    momentum: Fraction = 0.5,
    lr_network: Positive = 0.01,
    distance: Literal["row_cosine", "squared", "cosine"] = "row_cosine",
    augment: str = "color_crop_cutout_flip_scale_rotate",
) -> GradientMatching:
    """Gradient matching with differentiable Siamese augmentation.

    Args:
        ground: what it begins with.
        rounds: of an iteration, each of which moves the images; by images per class unless given.
        passes: over the set between two rounds, which train the network; by images per class unless given.
        batch_real: real images of each class.
        lr_images: rate of the pixels.
        momentum: of the pixels.
        lr_network: rate of plain SGD between rounds.
        distance: of two gradients: row by row, squared, or of all as one vector.
        augment: families of DSA, the same draw on real and synthetic images of a class.

    References:
        Dataset Condensation with Differentiable Siamese Augmentation, ICML 2021 [zhao2021dsa].
    """
    rounds, passes = _loops(ground, rounds, passes)
    return GradientMatching(
        ground,
        rounds=rounds,
        passes=passes,
        batch_real=batch_real,
        lr_images=lr_images,
        momentum=momentum,
        lr_network=lr_network,
        distance=distance,
        augment=augment,
    )
