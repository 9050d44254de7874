"""Whether two networks of one architecture lie in one valley: the loss on the line between their weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError, DataError, ModelError
from limbeck.taps import first_tensor


class Barrier(NamedTuple):
    """The loss on the way from one network to another."""

    height: float
    """Largest excess over the straight line between the two ends' losses; 0 where there is none."""
    shares: Tensor
    """Weight of the first network at each point, from 0 to 1, shape (points,), float64."""
    losses: Tensor
    """Loss at each point, shape (points,), float64."""


def loss_barrier(
    network_a: nn.Module,
    network_b: nn.Module,
    loss: Callable[[nn.Module], float],
    *,
    statistics: Sequence[Tensor] = (),
    points: PositiveInt = 11,
) -> Barrier:
    r"""How much the loss rises between two networks above the line between their losses.

    .. math:: \max_a \left[ L(a \theta_1 + (1 - a) \theta_2) - a L(\theta_1) - (1 - a) L(\theta_2) \right]

    The statistics of BatchNorm are measured anew at every point, the ends included: those in the middle of two
    networks' belong to no network, and a barrier found with them is an artefact. Neither network is changed.

    Args:
        network_a: one network.
        network_b: another of the same architecture.
        loss: of a network in eval mode, say `mean_cross_entropy(batches)`; the network is only lent.
        statistics: batches of training inputs, on the networks' device, for the statistics of BatchNorm; each
            batch weighs the same. Needed only where there is BatchNorm.
        points: equally spaced on the line, both ends among them.

    Returns:
        Height, shares and losses.

    Raises:
        ModelError: networks that are not of one architecture, with the first difference.
        DataError: BatchNorm, but no batches for its statistics.
        ConfigError: fewer than two points.

    Example:
        >>> first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(first.weight, 1.0), nn.init.constant_(second.weight, -1.0)
        >>> loss_barrier(first, second, lambda net: 1 - float(net.weight.detach() ** 2), points=3).height
        1.0

    References:
        Frankle et al., Linear Mode Connectivity and the Lottery Ticket Hypothesis, ICML 2020, section 2
        [frankle2020linear]; Jordan et al., REPAIR: REnormalizing Permuted Activations for Interpolation Repair,
        ICLR 2023, on the statistics [jordan2023repair].
    """
    if points < 2:
        raise ConfigError(f"loss_barrier: needs at least the 2 ends, got points={points!r}.")
    _require_alike(network_a, network_b)
    between = copy.deepcopy(network_a).eval()
    norms = [m for m in between.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if norms and not len(statistics):
        raise DataError(
            "loss_barrier: the networks have BatchNorm, whose statistics have to be measured between them; give "
            "batches of training inputs as `statistics`."
        )
    ends = network_a.state_dict(), network_b.state_dict()
    shares = torch.linspace(0, 1, points, dtype=torch.float64)
    losses = []
    for share in shares.tolist():
        _interpolate(between, *ends, share)
        _measure_statistics(between, norms, statistics)
        losses.append(float(loss(between.eval())))
    found = torch.tensor(losses, dtype=torch.float64)
    line = torch.lerp(found[0], found[-1], shares)
    return Barrier((found - line).max().item(), shares, found)


def mean_cross_entropy(batches: Sequence[tuple[Tensor, Tensor]]) -> Callable[[nn.Module], float]:
    """A loss for `loss_barrier`: the mean cross entropy over all samples.

    Args:
        batches: inputs and labels (n,), on the networks' device.

    Returns:
        From a network to nats.

    Raises:
        DataError: no samples.

    Example:
        >>> round(mean_cross_entropy([(torch.zeros(2, 2), torch.tensor([0, 1]))])(nn.Identity()), 4)
        0.6931
    """
    if not sum(len(labels) for _, labels in batches):
        raise DataError("mean_cross_entropy: no samples to measure on.")

    @torch.no_grad()
    def mean(network: nn.Module) -> float:
        sums = [
            F.cross_entropy(_logits(network, inputs).double(), labels, reduction="sum").item()
            for inputs, labels in batches
        ]
        return sum(sums) / sum(len(labels) for _, labels in batches)

    return mean


def _logits(network: nn.Module, inputs: Tensor) -> Tensor:
    found = first_tensor(network(inputs))
    if found is None:
        raise ModelError(f"mean_cross_entropy: {type(network).__name__} puts out no tensor.")
    return found


@torch.no_grad()
def _interpolate(network: nn.Module, first: dict[str, Tensor], second: dict[str, Tensor], share: float) -> None:
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            # Exact at both ends, and everywhere between two equal numbers.
            tensor.copy_(torch.lerp(second[name], first[name].to(second[name].device), share))


@torch.no_grad()
def _measure_statistics(network: nn.Module, norms: Sequence[_BatchNorm], batches: Sequence[Tensor]) -> None:
    """Only BatchNorm trains meanwhile: dropout would change what reaches it."""
    if not norms:
        return
    rates = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    for batch in batches:
        network(batch)
    for norm, rate in zip(norms, rates, strict=True):
        norm.momentum = rate
        norm.eval()


def _require_alike(network_a: nn.Module, network_b: nn.Module) -> None:
    modules = [{name: type(m).__name__ for name, m in net.named_modules()} for net in (network_a, network_b)]
    tensors = [
        {name: f"{tuple(t.shape)} of {t.dtype}" for name, t in net.state_dict().items()}
        for net in (network_a, network_b)
    ]
    for what, (first, second) in (("module", modules), ("tensor", tensors)):
        for name in dict.fromkeys([*first, *second]):
            if first.get(name) != second.get(name):
                raise ModelError(
                    f"loss_barrier: both networks must be of one architecture, but {what} '{name}' is "
                    f"{first.get(name, 'missing')} in the first and {second.get(name, 'missing')} in the second."
                )
