"""Trajectory matching: MTT [cazenavette2022dataset], TESLA [cui2023tesla], DATM [guo2024datm]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from limbeck.bounds import Fraction, NonNegative, NonNegativeInt, Positive, PositiveInt
from limbeck.dataset import dsa
from limbeck.dataset.flat import Flat
from limbeck.dataset.matching.trajectories import (
    Logits,
    Matched,
    Step,
    matching_gradient,
    minibatches,
    tesla_gradient,
)
from limbeck.dataset.methods._base import Ground, Learned, Momentum
from limbeck.dataset.trajectories import Trajectories
from limbeck.errors import ConfigError
from limbeck.seeding import generator

SMALLEST_RATE = 1e-6
"""A learned rate below nothing would climb the loss and never come back."""


class Gradient(Protocol):
    """One of the gradients of `limbeck.dataset.matching.trajectories`."""

    def __call__(
        self,
        logits: Logits,
        start: Tensor,
        target: Tensor,
        images: Tensor,
        targets: Tensor,
        lr: Tensor,
        steps: list[Step],
    ) -> Matched:
        """The matched segment."""
        ...


class TrajectoryMatching:
    """Images, a learned rate and, if wanted, learned soft labels that lead a network along an expert's way.

    Args:
        ground: what it begins with; earlier subsets are in every minibatch's pool, and never changed (SeqMatch).
        steps: of the inner loop (T).
        expert_epochs: that a segment spans (M), in snapshots.
        start_epochs: a segment begins at a snapshot in [low, high), counted as the experts' snapshots are.
        batch_size: images an inner step; all of the subset unless given.
        lr: initial rate of the inner loop (alpha).
        lr_images: rate of the pixels.
        lr_lr: rate of alpha.
        lr_labels: rate of the label logits; None keeps the labels hard and fixed.
        momentum: of pixels and alpha.
        momentum_labels: of the label logits.
        augment: families of DSA, one drawn an inner step.
        skip_above: leave an iteration out whose loss is higher (DATM).
        grows_from: first upper end of the starts, which then grows (DATM); None for the whole interval at once.
        grows_for: iterations until the upper end is reached.
        gradient: exact, or TESLA's.

    Raises:
        ConfigError: an interval without a start, or soft labels without a beginning.
        CheckpointError: experts of another network or of other classes.
    """

    def __init__(
        self,
        ground: Ground,
        *,
        steps: int = 30,
        expert_epochs: int = 2,
        start_epochs: tuple[int, int] = (0, 20),
        batch_size: int | None = None,
        lr: float = 0.01,
        lr_images: float = 100.0,
        lr_lr: float = 1e-5,
        lr_labels: float | None = None,
        momentum: float = 0.5,
        momentum_labels: float = 0.9,
        augment: str = "color_crop_cutout_flip_scale_rotate",
        skip_above: float | None = None,
        grows_from: int | None = None,
        grows_for: int = 1,
        gradient: Gradient = matching_gradient,
    ) -> None:
        if ground.trajectories is None:
            raise ConfigError("this method follows experts: experts: <a stage of kind dataset.experts>.")
        self.ground, self.images = ground, ground.start.detach().clone()
        self.trajectories, self.steps, self.expert_epochs = ground.trajectories, steps, expert_epochs
        self.net = Flat(ground.build(ground.seed))
        self.trajectories.require(self.net, ground.real.class_names, ground.real.image_shape, None)
        self.low, self.high = start_epochs
        self.grows_from, self.grows_for = grows_from, grows_for
        _check_interval(self.low, grows_from or self.high, expert_epochs, self.trajectories)
        _check_interval(self.low, self.high, expert_epochs, self.trajectories)
        if lr <= 0:
            raise ConfigError(f"lr: {lr} leads nowhere; the inner rate is above 0.")
        self.batch_size, self.augment, self.skip_above = batch_size or len(ground.labels), augment, skip_above
        self.gradient = gradient
        self.lr = torch.tensor(lr, device=self.images.device, dtype=self.images.dtype)
        self.label_logits: Tensor | None = None
        self._sgd = Momentum(
            {"images": self.images, "lr": self.lr}, {"images": lr_images, "lr": lr_lr}, momentum=momentum
        )
        self._label_sgd: Momentum | None = None
        if lr_labels is not None:
            self.label_logits = first_logits(self.net, self.trajectories, self.images, ground.labels)
            self._label_sgd = Momentum(
                {"labels": self.label_logits}, {"labels": lr_labels}, momentum=momentum_labels
            )

    def iteration(self, number: int) -> dict[str, float]:
        """Match one segment of one expert."""
        expert, first = self._segment(number)
        begin, end = (
            w.to(self.images) for w in self.trajectories.segment(expert, first, first + self.expert_epochs)
        )
        leaf, probabilities = self._probabilities()
        images, targets = self._pool(self.ground.labels if probabilities is None else probabilities.detach())
        draws = generator(self.ground.seed, "trajectory", number)
        steps = []
        for rows in minibatches(len(images), self.batch_size, self.steps, generator=draws):
            shape = (len(rows), *images.shape[1:])
            drawn = dsa.draw(self.augment, shape, generator=draws, device=images.device)
            steps.append(Step(rows.to(images.device), drawn))
        found = self.gradient(self.net.logits, begin, end, images, targets, self.lr, steps)
        loss = float(found.loss)
        used = self.skip_above is None or loss <= self.skip_above
        if used:
            before = len(images) - len(self.images)
            self._sgd.step({"images": found.images[before:], "lr": found.lr})
            self.lr.clamp_(min=SMALLEST_RATE)
            if self._label_sgd is not None and found.targets is not None and leaf is not None:
                assert probabilities is not None
                (pull,) = torch.autograd.grad(probabilities, leaf, found.targets[before:])
                self._label_sgd.step({"labels": pull})
        scalars = {"loss": loss, "lr": float(self.lr)}
        return scalars if self.skip_above is None else {**scalars, "skipped": float(not used)}

    def _segment(self, number: int) -> tuple[int, int]:
        """Which expert (each once before any twice), and where its segment begins."""
        experts = len(self.trajectories)
        round_, at = divmod(number, experts)
        expert = int(torch.randperm(experts, generator=generator(self.ground.seed, "experts", round_))[at])
        high = self.high
        if self.grows_from is not None:
            high = growing_end(self.grows_from, self.high, self.grows_for, number)
        draw = generator(self.ground.seed, "segment", number)
        return expert, int(torch.randint(self.low, high, (1,), generator=draw))

    def _probabilities(self) -> tuple[Tensor | None, Tensor | None]:
        """The label logits as a leaf, and the probabilities that they stand for."""
        if self.label_logits is None:
            return None, None
        leaf = self.label_logits.detach().requires_grad_(True)
        return leaf, leaf.softmax(1)

    def _pool(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Images and targets of all subsets, earlier ones first."""
        if self.ground.frozen is None:
            return self.images, targets
        before = self.ground.frozen[1]
        if targets.is_floating_point() and not before.is_floating_point():
            before = nn.functional.one_hot(before, targets.shape[1]).to(targets)
        if before.is_floating_point() and not targets.is_floating_point():
            targets = nn.functional.one_hot(targets, before.shape[1]).to(before)
        return torch.cat([self.ground.frozen[0], self.images]), torch.cat([before, targets])

    def state(self) -> dict[str, Tensor]:
        """Images, rate, label logits and their momentum."""
        labels = self._label_sgd.state() if self._label_sgd is not None else {}
        return {**self._sgd.state(), **labels}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """All of it as it was."""
        self._sgd.load_state(state)
        if self._label_sgd is not None:
            self._label_sgd.load_state(state)

    def learned(self) -> Learned:
        """Images, labels, soft labels and the rate."""
        soft = self.label_logits.softmax(1) if self.label_logits is not None else None
        return Learned(self.images.detach().clone(), self.ground.labels, soft, float(self.lr))


@torch.no_grad()
def first_logits(net: Flat, trajectories: Trajectories, images: Tensor, labels: Tensor) -> Tensor:
    """Mean logits of the finished experts that classify an image right; of all of them where none does.

    Args:
        net: the experts' network.
        trajectories: of the experts.
        images: (n, c, h, w).
        labels: (n,).

    Returns:
        Logits (n, classes).
    """
    logits = torch.stack(
        [
            net.logits(trajectories.weights(expert, trajectories.snapshots - 1).to(images), images)
            for expert in range(len(trajectories))
        ]
    )
    right = (logits.argmax(2) == labels).to(logits)[:, :, None]
    none = right.sum(0) == 0
    return torch.where(none, logits.mean(0), (logits * right).sum(0) / right.sum(0).clamp(min=1))


def growing_end(first: int, last: int, over: int, iteration: int) -> int:
    """The upper end of the starts, exclusive, which grows linearly from easy to hard (DATM).

    Args:
        first: at iteration 0.
        last: from iteration `over` on.
        over: iterations of growth.
        iteration: counted from 0.
    """
    return min(first + int((last - first) * iteration / over), last)


def _check_interval(low: int, high: int, span: int, trajectories: Trajectories) -> None:
    if high <= low:
        raise ConfigError(f"start_epochs: [{low}, {high}) is empty; the upper end is above the lower one.")
    if high - 1 + span >= trajectories.snapshots:
        raise ConfigError(
            f"start_epochs: a segment from {high - 1} ends at snapshot {high - 1 + span}; the experts in "
            f"{trajectories.folder} have snapshots 0 to {trajectories.snapshots - 1}. Train them longer, or "
            f"lower the "
            "upper end."
        )


def mtt(
    ground: Ground,
    *,
    steps: PositiveInt = 30,
    expert_epochs: PositiveInt = 2,
    start_epochs: tuple[NonNegativeInt, PositiveInt] = (0, 20),
    batch_size: PositiveInt | None = None,
    lr: Positive = 0.01,
    lr_images: Positive = 100.0,
    lr_lr: NonNegative = 1e-5,
    lr_labels: Positive | None = None,
    momentum: Fraction = 0.5,
    augment: str = "color_crop_cutout_flip_scale_rotate",
) -> TrajectoryMatching:
    """Matching training trajectories with the exact gradient in constant memory; learns the rate too.

    Args:
        ground: what it begins with.
        steps: of the inner loop (T).
        expert_epochs: that a segment spans (M), in snapshots.
        start_epochs: a segment begins at a snapshot in [low, high).
        batch_size: images an inner step; all of the subset unless given.
        lr: initial rate of the inner loop (alpha).
        lr_images: rate of the pixels; 100 to 10,000 in the paper, growing with classes and size.
        lr_lr: rate of alpha; 1e-7 for one image a class of CIFAR-10.
        lr_labels: rate of the label logits; unless given, labels stay hard and fixed.
        momentum: of pixels and alpha.
        augment: families of DSA, one drawn an inner step.

    References:
        Dataset Distillation by Matching Training Trajectories, CVPR 2022 [cazenavette2022dataset]; defaults are
        those of CIFAR-10 with 10 images a class.
    """
    return TrajectoryMatching(
        ground,
        steps=steps,
        expert_epochs=expert_epochs,
        start_epochs=start_epochs,
        batch_size=batch_size,
        lr=lr,
        lr_images=lr_images,
        lr_lr=lr_lr,
        lr_labels=lr_labels,
        momentum=momentum,
        augment=augment,
    )


def tesla(
    ground: Ground,
    *,
    steps: PositiveInt = 50,
    expert_epochs: PositiveInt = 2,
    start_epochs: tuple[NonNegativeInt, PositiveInt] = (0, 5),
    batch_size: PositiveInt | None = None,
    lr: Positive = 0.01,
    lr_images: Positive = 1000.0,
    lr_lr: NonNegative = 1e-7,
    momentum: Fraction = 0.5,
    augment: str = "color_crop_cutout_flip_scale_rotate",
) -> TrajectoryMatching:
    """MTT's objective with TESLA's gradient, which leaves out how an image moves later iterates; not MTT.

    Args:
        ground: what it begins with.
        steps: of the inner loop (T).
        expert_epochs: that a segment spans (M), in snapshots.
        start_epochs: a segment begins at a snapshot in [low, high).
        batch_size: images an inner step; all of the subset unless given.
        lr: initial rate of the inner loop (alpha).
        lr_images: rate of the pixels. The released program applies half of the formula's gradient: its published
            rates correspond to half of them here.
        lr_lr: rate of alpha.
        momentum: of pixels and alpha.
        augment: families of DSA, one drawn an inner step.

    References:
        Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory, ICML 2023 [cui2023tesla]; defaults are
        those of CIFAR-10 with one image a class.
    """
    return TrajectoryMatching(
        ground,
        steps=steps,
        expert_epochs=expert_epochs,
        start_epochs=start_epochs,
        batch_size=batch_size,
        lr=lr,
        lr_images=lr_images,
        lr_lr=lr_lr,
        momentum=momentum,
        augment=augment,
        gradient=tesla_gradient,
    )


def datm(
    ground: Ground,
    *,
    steps: PositiveInt = 80,
    expert_epochs: PositiveInt = 2,
    start_epochs: tuple[NonNegativeInt, PositiveInt] = (0, 20),
    grows_from: PositiveInt | None = 10,
    grows_for: PositiveInt = 1000,
    batch_size: PositiveInt | None = None,
    lr: Positive = 0.01,
    lr_images: Positive = 100.0,
    lr_lr: NonNegative = 1e-5,
    lr_labels: Positive = 2.0,
    momentum: Fraction = 0.5,
    skip_above: Positive = 1.0,
    augment: str = "color_crop_cutout_flip_scale_rotate",
) -> TrajectoryMatching:
    """Difficulty-aligned: starts chosen by budget, learned soft labels, far-off segments skipped.

    Args:
        ground: what it begins with.
        steps: of the inner loop (T).
        expert_epochs: that a segment spans (M), in snapshots.
        start_epochs: a segment begins at a snapshot in [low, high): early ones for few images, late ones for many.
        grows_from: first upper end, which grows to `high`; null for the whole interval at once.
        grows_for: iterations until the upper end is reached.
        batch_size: images an inner step; all of the subset unless given.
        lr: initial rate of the inner loop (alpha).
        lr_images: rate of the pixels.
        lr_lr: rate of alpha.
        lr_labels: rate of the label logits, which begin as the mean logits of the experts that are right.
        momentum: of pixels and alpha; label logits have 0.9.
        skip_above: leave out segments with a higher loss.
        augment: families of DSA, one drawn an inner step.

    References:
        Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching, ICLR 2024 [guo2024datm];
        defaults are those of CIFAR-10 with 10 images a class.
    """
    return TrajectoryMatching(
        ground,
        steps=steps,
        expert_epochs=expert_epochs,
        start_epochs=start_epochs,
        grows_from=grows_from,
        grows_for=grows_for,
        batch_size=batch_size,
        lr=lr,
        lr_images=lr_images,
        lr_lr=lr_lr,
        lr_labels=lr_labels,
        momentum=momentum,
        skip_above=skip_above,
        augment=augment,
    )
