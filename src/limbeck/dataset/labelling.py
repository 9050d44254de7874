"""Soft labels from expert trajectories."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.dataset import dsa
from limbeck.dataset.flat import Flat
from limbeck.dataset.labels import expert_labels, top_k
from limbeck.dataset.trajectories import Trajectories
from limbeck.errors import ConfigError
from limbeck.seeding import generator

_BATCH = 1024


@torch.no_grad()
def expert_logits(net: Flat, weights: Tensor, images: Tensor) -> Tensor:
    """Logits (n, classes) of images (n, c, h, w) with an expert's weights (parameters,)."""
    return torch.cat([net.logits(weights, part) for part in images.split(_BATCH)])


def averaged(trajectories: Trajectories, expert: int, snapshot: int, decay: float) -> Tensor:
    """An exponential moving average of an expert's weights over its snapshots, (parameters,).

    Args:
        trajectories: of the experts.
        expert: which.
        snapshot: the last one to count.
        decay: weight of the past at each snapshot; 0 is the snapshot itself.
    """
    mean = trajectories.weights(expert, snapshot if decay == 0 else 0)
    for at in range(1, snapshot + 1 if decay else 0):
        mean = decay * mean + (1 - decay) * trajectories.weights(expert, at)
    return mean


def soft_labels(
    net: Flat,
    trajectories: Trajectories,
    images: Tensor,
    *,
    epoch: float,
    beta: float = 1.0,
    experts: int = 1,
    ema: float = 0.0,
    views: int = 1,
    k: int | None = None,
    renormalise: bool = False,
    augment: str = dsa.STRATEGY,
    seed: int = 0,
) -> Tensor:
    """Probabilities that experts of one age give to images, (n, classes).

    Args:
        net: the experts' network.
        trajectories: of the experts.
        images: (n, c, h, w), in the space of networks.
        epoch: of the snapshot.
        beta: multiplies the logits: an inverse temperature.
        experts: the mean of so many experts' logits, then one softmax.
        ema: decay of an average of weights over snapshots.
        views: the plain image and views - 1 augmented ones, whose probabilities are averaged.
        k: keep so many of the largest probabilities.
        renormalise: let those sum to one.
        augment: families of the augmented views.
        seed: of the views.

    Raises:
        ConfigError: no such snapshot, or fewer experts than asked for.
    """
    if experts > len(trajectories):
        raise ConfigError(f"experts: {experts} are asked for, {trajectories.folder} holds {len(trajectories)}.")
    snapshot = trajectories.at(epoch)
    weights = [averaged(trajectories, e, snapshot, ema).to(images) for e in range(experts)]
    total: Tensor | None = None
    for view in range(views):
        seen = images
        if view:
            seen = dsa.augment(images, augment, generator=generator(seed, "label view", view))
        logits = torch.stack([expert_logits(net, w, seen) for w in weights])
        found = expert_labels(logits, beta=beta)
        total = found if total is None else total + found
    assert total is not None
    probabilities = total / views
    return probabilities if k is None else top_k(probabilities, k, renormalise=renormalise)
