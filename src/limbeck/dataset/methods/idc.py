"""IDC: several training images in each stored one, matched class by class [kim2022idc]."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.bounds import Fraction, NonNegativeInt, Positive, PositiveInt
from limbeck.dataset import idc_augment
from limbeck.dataset.flat import Flat
from limbeck.dataset.formation import decode, mixed_start, pixel_rate
from limbeck.dataset.matching.gradients import DISTANCES
from limbeck.dataset.methods._base import Ground, Learned, Momentum, classes_of
from limbeck.dataset.students import Recipe, mixed_loss
from limbeck.seeding import derive, generator

AT_MOST = 128
"""Synthetic images of a class that one match looks at."""
FIX_EVERY, FIX_EVERY_LATER = 1, 50
"""Iterations that a network lives for: IDC's default, and SeqMatch's where there are earlier subsets to learn."""
_NETWORK = Recipe(batch_size=64, lr=0.01, momentum=0.9, weight_decay=5e-4)


class IDC:
    """Class-wise gradient matching of decoded images; the network trains on real images between two matches.

    Pixels live in [0, 1] here and are normalised on the way into the network. With earlier subsets (SeqMatch)
    every iteration begins with a copy of a network that has learnt them, and which lives for `fix_every`
    iterations; without, the network itself lives, and learns, for so long.

    Args:
        ground: what it begins with.
        factor: tiles along each side of a stored image.
        inner: matches of an iteration.
        fix_every: iterations that a network, or its beginning, lives for.
        batch_real: real images of each class.
        lr_images: effective rate of the pixels.
        momentum: of the pixels; a step for one class carries the momentum of all on, as published.
        real_images: that the network sees between two matches.
        warm_up: passes over all real images before a network's first match.
        cutmix: share of the network's steps with CutMix.
        distance: name of one of `DISTANCES`.
        augment: families of IDC's augmentation; with CutMix, the network trains without `cutout`.
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
        warm_up: int,
        cutmix: float,
        distance: str,
        augment: str,
    ) -> None:
        self.ground, self.factor, self.inner, self.fix_every = ground, factor, inner, fix_every
        self.batch_real, self.real_images, self.augment = batch_real, real_images, augment
        self.warm_up, self.cutmix, self.distance = warm_up, cutmix, DISTANCES[distance]
        self.augment_network = idc_augment.without(augment, "cutout") if cutmix else augment
        self.images = _start(ground, factor)
        self._sgd = Momentum({"images": self.images}, {"images": lr_images}, momentum=momentum)
        self._before = _pixels_by_class(ground)
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
            for _ in range(self.warm_up):
                self._train(net, len(ground.real.train), draws)
        begun = self.weights, self.velocity
        network, total = net.write(self.weights), self.images.new_zeros(())
        for _ in range(self.inner):
            for label in range(ground.real.classes):
                total += self._match(network, label, draws)
            self._train(net, self.real_images, draws)
        self.images.clamp_(0, 1)
        if ground.frozen is not None:  # SeqMatch: every iteration starts where the earlier subsets lead
            self.weights, self.velocity = begun
        return {"loss": float(total) / self.inner / ground.real.classes}

    def _begin(self, weights: Tensor) -> None:
        self.weights, self.velocity = weights.clone(), torch.zeros_like(weights)

    def _match(self, network: nn.Module, label: int, draws: torch.Generator) -> Tensor:
        """Move the images by one class's distance, which is returned."""
        ground, rows = self.ground, self.ground.rows[label]
        parameters = [p for p in network.parameters() if p.requires_grad]
        real = ground.real.batch(label, self.batch_real, generator=draws)
        pixels = self.images[rows].detach().requires_grad_(True)
        stored = [*([self._before[label]] if self._before else []), pixels]
        mine = torch.cat([self._some(decode(part, part, self.factor)[0], draws) for part in stored])
        both = torch.cat([real, ground.real.preprocess.apply(mine)])
        drawn = idc_augment.draw(self.augment, tuple(both.shape), generator=draws, device=both.device)
        both = idc_augment.apply(both, drawn)
        wanted = _gradient(network, parameters, both[: len(real)].detach(), label, keep=False)
        found = _gradient(network, parameters, both[len(real) :], label, keep=True)
        loss = self.distance(wanted, found)
        gradient = torch.zeros_like(self.images)
        (gradient[rows],) = torch.autograd.grad(loss, pixels)
        self._sgd.step({"images": gradient})
        return loss.detach()

    def _some(self, images: Tensor, draws: torch.Generator) -> Tensor:
        """At most `AT_MOST` of them."""
        if len(images) <= AT_MOST:
            return images
        return images[torch.randperm(len(images), generator=draws)[:AT_MOST].to(images.device)]

    def _train(self, net: Flat, images: int, draws: torch.Generator) -> None:
        """Some real images of training, each augmented by itself, by SGD with momentum."""
        train = self.ground.real.train
        rows = torch.randperm(len(train), generator=draws)[:images].to(train.images.device)
        for part in rows.split(_NETWORK.batch_size):
            batch, labels = train.images[part], train.labels[part]
            drawn = idc_augment.draw(
                self.augment_network, tuple(batch.shape), generator=draws, device=batch.device, siamese=False
            )
            batch = idc_augment.apply(batch, drawn)
            point = self.weights.detach().requires_grad_(True)
            loss = mixed_loss(partial(net.logits, point), batch, labels, self.cutmix, draws)
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


def _pixels_by_class(ground: Ground) -> list[Tensor]:
    """Stored images of the earlier subsets, as pixels: what is decoded and padded is pixels."""
    if ground.frozen is None:
        return []
    labels = classes_of(ground.frozen[1])
    pixels = ground.real.preprocess.invert(ground.frozen[0])
    return [pixels[labels == label] for label in range(ground.real.classes)]


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
    fix_every: PositiveInt | None = None,
    batch_real: PositiveInt = 64,
    lr_images: Positive = 5e-3,
    base_size: PositiveInt = 32,
    momentum: Fraction = 0.5,
    real_images: PositiveInt = 2000,
    warm_up: NonNegativeInt = 0,
    cutmix: Fraction = 0.5,
    distance: Literal[
        "convolution_squared", "convolution_absolute", "convolution_mean_absolute", "convolution_cosine"
    ] = "convolution_squared",
    augment: str = "color_crop_cutout",
) -> IDC:
    """Several training images in each stored one, matched class by class on a network that learns real images.

    Args:
        ground: what it begins with.
        factor: tiles along each side of a stored image; 1 is IDC-I.
        inner: matches of an iteration.
        fix_every: iterations that a network lives for; unless given 1, and 50 after earlier subsets, which the
            network has to learn first.
        batch_real: real images of each class.
        lr_images: rate of the pixels for ten images per class; scaled by images per class and by area.
        base_size: the size that `lr_images` is for: 32 for CIFAR, 28 for MNIST, 224 for ImageNet.
        momentum: of the pixels.
        real_images: that the network sees between two matches; 2000 for CIFAR, 500 for other data.
        warm_up: passes over all real images before a network's first match; 10 for ten classes of ImageNet.
        cutmix: share of the network's steps with CutMix; 1 for ImageNet.
        distance: over weights of convolutions, squared (CIFAR, SVHN) or absolute (other data, with other rates).
        augment: families; colour and cutout always, one of the others beside them.

    References:
        Dataset Condensation via Efficient Synthetic-Data Parameterization, ICML 2022 [kim2022idc]; defaults are
        those of CIFAR-10. With earlier subsets: Sequential Subset Matching, NeurIPS 2023 [du2023seqmatch].
    """
    if fix_every is None:
        fix_every = FIX_EVERY if ground.frozen is None else FIX_EVERY_LATER
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
        warm_up=warm_up,
        cutmix=cutmix,
        distance=distance,
        augment=augment,
    )
