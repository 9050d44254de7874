"""IDC: several training images in each stored one, matched class by class [kim2022idc]."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.bounds import Fraction, Positive, PositiveInt
from limbeck.dataset import idc_augment
from limbeck.dataset.flat import Flat
from limbeck.dataset.formation import decode, mixed_start, pixel_rate
from limbeck.dataset.matching.gradients import DISTANCES
from limbeck.dataset.methods._base import Ground, Learned, Momentum, classes_of
from limbeck.dataset.students import Recipe, mixed_loss
from limbeck.seeding import derive, generator

AT_MOST = 128
"""Synthetic images of a class that one match looks at."""
_NETWORK = Recipe(lr=0.01, momentum=0.9, weight_decay=5e-4, cutmix=0.5)


class IDC:
    """Class-wise gradient matching of decoded images; the network trains on real images between two matches.

    Pixels live in [0, 1] here and are normalised on the way into the network. With earlier subsets (SeqMatch)
    every iteration begins with a copy of a network that has learnt them; without, a network lives for `fix_every`
    iterations.

    Args:
        ground: what it begins with.
        factor: tiles along each side of a stored image.
        inner: matches of an iteration.
        fix_every: iterations that a network, or its beginning, lives for.
        batch_real: real images of each class.
        lr_images: effective rate of the pixels.
        momentum: of the pixels.
        real_images: that the network sees between two matches.
        distance: name of one of `DISTANCES`.
        augment: families of IDC's augmentation.
    """

    def __init__(
        self,
        ground: Ground,
        *,
        factor: int,
        inner: int,
        fix_every: int,
        batch_real: int,
        lr_images: float,
        momentum: float,
        real_images: int,
        distance: str,
        augment: str,
    ) -> None:
        self.ground, self.factor, self.inner, self.fix_every = ground, factor, inner, fix_every
        self.batch_real, self.real_images, self.augment = batch_real, real_images, augment
        self.distance = DISTANCES[distance]
        self.images = _start(ground, factor)
        self._sgd = Momentum({"images": self.images}, {"images": lr_images}, momentum=momentum)
        size = Flat(ground.build(ground.seed)).size
        # What a living network needs to go on: its weights and its optimizer's momentum.
        self.weights = torch.zeros(size, device=ground.start.device)
        self.velocity = torch.zeros_like(self.weights)

    def iteration(self, number: int) -> dict[str, float]:
        """`inner` matches of every class, with training on real images between them."""
        ground, draws = self.ground, generator(self.ground.seed, "idc", number)
        round_, at = divmod(number, self.fix_every)
        build = ground.initial or ground.build
        net = Flat(build(derive(ground.seed, "idc", "network", round_)) if at == 0 else ground.build(0))
        if at == 0:
            self._begin(net.start())
        start = self.weights.clone()
        network = net.write(self.weights)
        total = 0.0
        for _ in range(self.inner):
            for label in range(ground.real.classes):
                total += self._match(network, label, draws)
            self._train(net, draws)
        self.images.clamp_(0, 1)
        if ground.frozen is not None:  # SeqMatch: every iteration starts where the earlier subsets lead
            self._begin(start)
        return {"loss": total / self.inner / ground.real.classes}

    def _begin(self, weights: Tensor) -> None:
        self.weights.copy_(weights)
        self.velocity.zero_()

    def _match(self, network: nn.Module, label: int, draws: torch.Generator) -> float:
        ground, rows = self.ground, self.ground.rows[label]
        parameters = [p for p in network.parameters() if p.requires_grad]
        real = ground.real.batch(label, self.batch_real, generator=draws)
        pixels = self.images[rows].detach().requires_grad_(True)
        mine = self._some(ground.real.preprocess.apply(decode(pixels, rows, self.factor)[0]), draws)
        if ground.frozen is not None:
            before = ground.frozen[0][classes_of(ground.frozen[1]) == label]
            mine = torch.cat([self._some(decode(before, before, self.factor)[0], draws), mine])
        drawn = idc_augment.draw(self.augment, tuple(mine.shape), generator=draws, device=mine.device)
        both = idc_augment.apply(torch.cat([real, mine]), drawn)
        wanted = _gradient(network, parameters, both[: len(real)].detach(), label, keep=False)
        found = _gradient(network, parameters, both[len(real) :], label, keep=True)
        loss = self.distance(wanted, found)
        (pull,) = torch.autograd.grad(loss, pixels)
        # One step a class, as published: a class's momentum moves its own images alone.
        gradient = torch.zeros_like(self.images)
        gradient[rows] = pull
        mask = torch.zeros(len(self.images), 1, 1, 1, device=pull.device)
        mask[rows] = 1
        self._step(gradient, mask)
        return loss.item()

    @torch.no_grad()
    def _step(self, gradient: Tensor, mask: Tensor) -> None:
        buffer = self._sgd.buffers["images"]
        buffer.copy_(torch.where(mask > 0, self._sgd.momentum * buffer + gradient, buffer))
        self.images.sub_(mask * buffer, alpha=self._sgd.rates["images"])

    def _some(self, images: Tensor, draws: torch.Generator) -> Tensor:
        """At most `AT_MOST` of them."""
        if len(images) <= AT_MOST:
            return images
        return images[torch.randperm(len(images), generator=draws)[:AT_MOST].to(images.device)]

    def _train(self, net: Flat, draws: torch.Generator) -> None:
        """Some real images of training, with CutMix, by SGD with momentum."""
        train = self.ground.real.train
        rows = torch.randperm(len(train), generator=draws)[: self.real_images].to(train.images.device)
        for part in rows.split(64):
            drawn = idc_augment.draw(
                self.augment, tuple(train.images[part].shape), generator=draws, device=train.images.device
            )
            point = self.weights.detach().requires_grad_(True)
            batch = idc_augment.apply(train.images[part], drawn)
            loss = mixed_loss(partial(net.logits, point), batch, train.labels[part], 0.5, draws)
            (gradient,) = torch.autograd.grad(loss, point)
            gradient = gradient + _NETWORK.weight_decay * self.weights
            self.velocity = _NETWORK.momentum * self.velocity + gradient
            self.weights = self.weights - _NETWORK.lr * self.velocity
        net.write(self.weights)

    def state(self) -> dict[str, Tensor]:
        """Images, momentum, and the living network."""
        living = {"weights": self.weights.cpu().clone(), "velocity": self.velocity.cpu().clone()}
        return {**self._sgd.state(), **living}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """All of it as it was."""
        self._sgd.load_state(state)
        self.weights = state["weights"].to(self.images.device).clone()
        self.velocity = state["velocity"].to(self.images.device).clone()

    def learned(self) -> Learned:
        """Images in the space of networks, with their factor."""
        images = self.ground.real.preprocess.apply(self.images.detach().clamp(0, 1))
        return Learned(images, self.ground.labels, factor=self.factor)


def _start(ground: Ground, factor: int) -> Tensor:
    """First images in [0, 1]: tiles of shrunk real images."""
    real, draws = ground.real, generator(ground.seed, "idc", "start")
    found = real.preprocess.invert(ground.start).clamp(0, 1)
    if factor == 1:
        return found
    for label, rows in enumerate(ground.rows):
        pool = real.preprocess.invert(real.batch(label, len(rows) * factor**2, generator=draws))
        found[rows] = mixed_start(pool.clamp(0, 1), len(rows), factor)
    return found


def _gradient(
    network: nn.Module, parameters: list[nn.Parameter], images: Tensor, label: int, *, keep: bool
) -> tuple[Tensor, ...]:
    labels = torch.full((len(images),), label, device=images.device)
    return torch.autograd.grad(F.cross_entropy(network(images), labels), parameters, create_graph=keep)


def idc(
    ground: Ground,
    *,
    factor: PositiveInt = 2,
    inner: PositiveInt = 100,
    fix_every: PositiveInt = 100,
    batch_real: PositiveInt = 64,
    lr_images: Positive = 5e-3,
    base_size: PositiveInt = 32,
    momentum: Fraction = 0.5,
    real_images: PositiveInt = 2000,
    distance: Literal["convolution_squared", "convolution_absolute"] = "convolution_squared",
    augment: str = "color_crop_cutout",
) -> IDC:
    """Several training images in each stored one, matched class by class on a network that learns real images.

    Args:
        ground: what it begins with.
        factor: tiles along each side of a stored image; 1 is IDC-I.
        inner: matches of an iteration.
        fix_every: iterations that a network lives for.
        batch_real: real images of each class.
        lr_images: rate of the pixels for ten images per class; scaled by images per class and by area.
        base_size: the size that `lr_images` is for: 32 for CIFAR, 28 for MNIST, 224 for ImageNet.
        momentum: of the pixels.
        real_images: that the network sees between two matches.
        distance: over weights of convolutions, squared (CIFAR, SVHN) or absolute (other data).
        augment: families; colour and cutout always, one of the others beside them.

    References:
        Dataset Condensation via Efficient Synthetic-Data Parameterization, ICML 2022 [kim2022idc].
    """
    ipc = len(ground.labels) // ground.real.classes
    return IDC(
        ground,
        factor=factor,
        inner=inner,
        fix_every=fix_every,
        batch_real=batch_real,
        lr_images=pixel_rate(lr_images, ipc, ground.real.image_shape[-1], base=base_size),
        momentum=momentum,
        real_images=real_images,
        distance=distance,
        augment=augment,
    )
