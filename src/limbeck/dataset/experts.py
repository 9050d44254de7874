"""Training experts on real images, with their weights kept along the way."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.dataset import dsa
from limbeck.dataset.flat import Flat
from limbeck.dataset.real import Split
from limbeck.dataset.trajectories import Card, expert_file, write_expert
from limbeck.engine.checkpoint import read_checkpoint, write_checkpoint
from limbeck.engine.interrupt import StopFlag
from limbeck.errors import CheckpointError, Interrupted, NonFiniteError
from limbeck.seeding import generator

_LOGGER = logging.getLogger("limbeck")
SAVE_AFTER = 10.0
"""Seconds between two checkpoints of an expert that is being trained."""


@dataclass(frozen=True)
class ExpertRecipe:
    """How an expert is trained.

    Attributes:
        batch_size: images a step.
        lr: constant rate of SGD; small on purpose, so that early training is finely resolved.
        momentum: of SGD; the published experts have none.
        weight_decay: of SGD; the published experts have none.
        augment: families of DSA, one drawn a step.
    """

    batch_size: int = 256
    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    augment: str = dsa.STRATEGY


def train_expert(
    net: Flat,
    train: Split,
    recipe: ExpertRecipe,
    *,
    number: int,
    seed: int,
    folder: Path,
    card: Card,
    start: Callable[[], Tensor],
    dtype: torch.dtype = torch.float32,
    look: Callable[[float, Tensor], None] | None = None,
    stop: StopFlag | None = None,
) -> None:
    """Train one expert and write its snapshots; a finished one is left alone, an unfinished one continued.

    The same seed gives the same bits, whether or not it was interrupted on the way.

    Args:
        net: the network as a function of its weights.
        train: real images.
        recipe: how.
        number: of the expert, which also goes into its seed.
        seed: of all experts.
        folder: of the trajectories, begun before.
        card: of the folder; its epochs say when snapshots are taken.
        start: the weights to begin with, asked for only if they are needed.
        dtype: of the file.
        look: called with epoch and weights at every snapshot.
        stop: tells when to save and leave.

    Raises:
        NonFiniteError: the loss became infinite or not a number.
        Interrupted: asked to stop; the state is saved.
    """
    if expert_file(folder, number).exists():
        return
    batches = -(-len(train) // recipe.batch_size)
    wanted = [round(epoch * batches) for epoch in card.epochs]
    partial = folder / f"expert-{number:04d}.partial"
    state = _resume(partial, card) or _fresh(start())
    theta, momentum, step, snapshots = state.theta, state.momentum, state.step, list(state.snapshots)
    theta, momentum = theta.to(train.images.device), momentum.to(train.images.device)
    saved = time.monotonic()
    while len(snapshots) < len(wanted):
        if step == wanted[len(snapshots)]:
            snapshots.append(theta.cpu().clone())
            if look is not None:
                look(card.epochs[len(snapshots) - 1], theta)
            if not bool(torch.isfinite(theta).all()):
                raise NonFiniteError(
                    f"expert {number} is not finite after {step} steps; a rate of {recipe.lr:g} is too high."
                )
            continue
        epoch, at = divmod(step, batches)
        order = torch.randperm(len(train), generator=generator(seed, "expert", number, "order", epoch))
        for rows in order.split(recipe.batch_size)[at:]:
            theta, momentum = _sgd(net, theta, momentum, train, rows, recipe, (seed, number, step))
            step += 1
            if step == wanted[len(snapshots)]:
                break
            if stop:
                _save(partial, card, theta, momentum, step, snapshots)
                raise Interrupted(
                    f"expert {number}: stopped by {stop.name} after step {step}; the state is saved. The same "
                    "command continues."
                )
        if time.monotonic() - saved > SAVE_AFTER:
            _save(partial, card, theta, momentum, step, snapshots)
            saved = time.monotonic()
    write_expert(folder, number, snapshots, card, dtype=dtype)
    partial.unlink(missing_ok=True)


def _sgd(
    net: Flat,
    theta: Tensor,
    momentum: Tensor,
    train: Split,
    rows: Tensor,
    recipe: ExpertRecipe,
    counters: tuple[int, int, int],
) -> tuple[Tensor, Tensor]:
    seed, number, step = counters
    place = rows.to(train.images.device)
    draws = generator(seed, "expert", number, "augment", step)
    images = dsa.augment(train.images[place], recipe.augment, generator=draws)
    point = theta.detach().requires_grad_(True)
    loss = F.cross_entropy(net.logits(point, images), train.labels[place])
    (gradient,) = torch.autograd.grad(loss, point)
    if recipe.weight_decay:
        gradient = gradient + recipe.weight_decay * theta
    if recipe.momentum:
        # The first step of torch's SGD takes the gradient itself, which a buffer of zeros gives as well.
        momentum = recipe.momentum * momentum + gradient
        gradient = momentum
    return theta - recipe.lr * gradient, momentum


@dataclass(frozen=True)
class _State:
    theta: Tensor
    momentum: Tensor
    step: int
    snapshots: Sequence[Tensor]


def _fresh(theta: Tensor) -> _State:
    return _State(theta.detach(), torch.zeros_like(theta), 0, [])


def _save(file: Path, card: Card, theta: Tensor, momentum: Tensor, step: int, snapshots: Sequence[Tensor]) -> None:
    state = {"store": card.digest, "step": step, "theta": theta.cpu(), "momentum": momentum.cpu()}
    write_checkpoint(file, {**state, "snapshots": list(snapshots)})


def _resume(file: Path, card: Card) -> _State | None:
    """Where an interrupted expert was; None where there is nothing, or half of a file."""
    if not file.exists():
        return None
    try:
        found = read_checkpoint(file)
    except CheckpointError as error:
        _LOGGER.warning("%s The expert begins anew, and comes to the same.", error)
        return None
    if found["store"] != card.digest:
        raise CheckpointError(f"{file} belongs to other trajectories; remove it.")
    return _State(found["theta"], found["momentum"], int(found["step"]), found["snapshots"])


def digest_of(*tensors: Tensor) -> str:
    """Short digest of some tensors, to say what experts began from."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]
