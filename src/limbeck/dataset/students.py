"""Training networks from scratch on a small set: the published protocols, on the device, without a loader."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.dataset import dsa
from limbeck.dataset.real import Split
from limbeck.errors import ConfigError, NonFiniteError
from limbeck.seeding import generator

Schedule = Literal["halfway", "quarters", "cosine", "sixths", "constant"]
_TEST_BATCH = 1024


@dataclass(frozen=True)
class Rate:
    """The learning rate of one epoch.

    Attributes:
        factor: of the base rate.
        restart: the optimizer begins anew, without momentum.
    """

    factor: float
    restart: bool = False


def halfway(epochs: int) -> list[Rate]:
    """E + 1 epochs; behind epoch E // 2 + 1 a tenth, with a new optimizer (DC, DSA, DM, MTT)."""
    turn = epochs // 2 + 1
    return [Rate(0.1 if e > turn else 1.0, restart=e == turn + 1) for e in range(epochs + 1)]


def quarters(epochs: int) -> list[Rate]:
    """E + 1 epochs; every E // 4 epochs times 0.3 (soft labels)."""
    return [Rate(0.3 ** (e // max(epochs // 4, 1))) for e in range(epochs + 1)]


def cosine(epochs: int) -> list[Rate]:
    """E + 1 epochs; half a cosine, the last epoch at rate zero (soft labels with AdamW)."""
    return [Rate(0.5 * (1 + math.cos(math.pi * e / epochs))) for e in range(epochs + 1)]


def sixths(epochs: int) -> list[Rate]:
    """E epochs; times 0.2 at 2/3 and at 5/6 (IDC)."""
    return [Rate(0.2 ** ((e >= 2 * epochs // 3) + (e >= 5 * epochs // 6))) for e in range(epochs)]


def constant(epochs: int) -> list[Rate]:
    """E epochs at one rate."""
    return [Rate(1.0)] * epochs


SCHEDULES: Mapping[str, Callable[[int], list[Rate]]] = {
    "halfway": halfway,
    "quarters": quarters,
    "cosine": cosine,
    "sixths": sixths,
    "constant": constant,
}


@dataclass(frozen=True)
class Recipe:
    """How a student is trained.

    Attributes:
        epochs: E of the schedule; the published ones run E + 1.
        batch_size: images a step, at most the whole set.
        optimizer: "sgd" or "adamw".
        lr: base rate; a learned rate of the set takes its place where `learned_rate` says so.
        momentum: of SGD.
        weight_decay: of either.
        schedule: name of one of `SCHEDULES`.
        augment: families of DSA, one drawn a step.
        cutmix: share of steps with CutMix, Beta(1, 1).
        learned_rate: take the rate that the set brings along, where it brings one.
    """

    epochs: int = 1000
    batch_size: int = 256
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "halfway"
    augment: str = dsa.STRATEGY
    cutmix: float = 0.0
    learned_rate: bool = False

    def rates(self) -> list[Rate]:
        """The rate of every epoch that is run."""
        return SCHEDULES[self.schedule](self.epochs)


PROTOCOLS: Mapping[str, Recipe] = {
    "dc": Recipe(epochs=300, augment=dsa.NONE),
    "dsa": Recipe(),
    "dm": Recipe(),
    "mtt": Recipe(learned_rate=True),
    "soft": Recipe(epochs=3000, schedule="quarters"),
    "soft_adamw": Recipe(epochs=3000, optimizer="adamw", lr=1e-3, weight_decay=0.01, schedule="cosine"),
    "idc": Recipe(batch_size=64, schedule="sixths", augment="color_crop_flip_scale_rotate", cutmix=0.5),
    "sre2l": Recipe(epochs=300, batch_size=1024, optimizer="adamw", lr=1e-3, weight_decay=0.01, schedule="cosine"),
}
"""The evaluation protocols of the literature, by the method that brought them."""


def protocol(name: str, **changes: object) -> Recipe:
    """A published protocol, with some of its values changed.

    Args:
        name: of `PROTOCOLS`.
        **changes: fields of `Recipe`.

    Raises:
        ConfigError: no such protocol.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol '{name}' is not one of {', '.join(PROTOCOLS)}.")
    return replace(PROTOCOLS[name], **changes)  # type: ignore[arg-type]


def train_student(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    lr: float | None = None,
) -> list[float]:
    """Train a network on a small set, in place.

    Args:
        model: on the device of the images.
        images: (n, c, h, w), in the space of networks.
        targets: class indices (n,) or probabilities (n, classes), which may sum to less than one.
        recipe: how.
        seed: of the order and the augmentation.
        lr: rate to take in place of the recipe's.

    Returns:
        Mean loss of every epoch.

    Raises:
        NonFiniteError: the loss became infinite or not a number.
    """
    base = recipe.lr if lr is None else lr
    draws = generator(seed, "student")
    optimizer = _optimizer(model, recipe)
    count, losses = len(images), []
    model.train()
    for epoch, rate in enumerate(recipe.rates()):
        if rate.restart:
            optimizer = _optimizer(model, recipe)
        for group in optimizer.param_groups:
            group["lr"] = base * rate.factor
        total = torch.zeros((), device=images.device)
        order = torch.randperm(count, generator=draws).to(images.device)
        for rows in order.split(recipe.batch_size):
            batch = dsa.augment(images[rows], recipe.augment, generator=draws)
            loss = mixed_loss(model, batch, targets[rows], recipe.cutmix, draws)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        losses.append(total / count)  # read in one go: no waiting for the device inside the loop
        if (epoch + 1) % 50 == 0 and not torch.isfinite(losses[-1]):
            raise NonFiniteError(_blown(epoch, base))
    found = torch.stack(losses).tolist()
    if not math.isfinite(found[-1]):
        raise NonFiniteError(_blown(len(found) - 1, base))
    return found


def _blown(epoch: int, rate: float) -> str:
    return f"the student's loss is not finite at epoch {epoch}; a rate of {rate:g} is too high for this set."


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def mixed_loss(
    network: Callable[[Tensor], Tensor],
    batch: Tensor,
    targets: Tensor,
    cutmix: float,
    draws: torch.Generator,
) -> Tensor:
    """Cross entropy of a batch, in a share of all calls after CutMix with Beta(1, 1).

    Args:
        network: images to logits.
        batch: (n, c, h, w).
        targets: class indices (n,) or probabilities (n, classes).
        cutmix: the share.
        draws: on the CPU.
    """
    if not cutmix or float(torch.rand(1, generator=draws)) >= cutmix:
        return F.cross_entropy(network(batch), targets)
    share = float(torch.rand(1, generator=draws))
    other = torch.randperm(len(batch), generator=draws).to(batch.device)
    batch, share = _cut(batch, other, share, draws)
    logits = network(batch)
    return share * F.cross_entropy(logits, targets) + (1 - share) * F.cross_entropy(logits, targets[other])


def _cut(batch: Tensor, other: Tensor, share: float, draws: torch.Generator) -> tuple[Tensor, float]:
    """A rectangle of 1 - share of the area from another image; the share that was left after clipping."""
    height, width = batch.shape[-2:]
    side = math.sqrt(1 - share)
    tall, wide = int(height * side), int(width * side)
    y, x = (int(torch.randint(size, (1,), generator=draws)) for size in (height, width))
    top, bottom = max(y - tall // 2, 0), min(y + tall // 2, height)
    left, right = max(x - wide // 2, 0), min(x + wide // 2, width)
    mixed = batch.clone()
    mixed[:, :, top:bottom, left:right] = batch[other][:, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (n, classes) of images (n, c, h, w), in eval mode, the mode restored afterwards."""
    before = model.training
    model.eval()
    try:
        return torch.cat([model(part) for part in images.split(_TEST_BATCH)])
    finally:
        model.train(before)


def accuracy(model: nn.Module, split: Split) -> float:
    """Fraction of a split that is classified correctly."""
    return float((predict(model, split.images).argmax(1) == split.labels).double().mean())


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1; 0 for one value)."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, 0.0
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
