"""Optimizers under one signature: parameters in, settings by keyword."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from limbeck.bounds import Fraction, NonNegative, Positive


def sgd(
    parameters: Iterable[Any],
    *,
    lr: Positive = 0.05,
    momentum: Fraction = 0.9,
    weight_decay: NonNegative = 5e-4,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        parameters: parameters or groups.
        lr: learning rate; 0.05 is the CIFAR default of the distillation literature.
        momentum: 0 to 1.
        weight_decay: L2 penalty.
        nesterov: look-ahead momentum, as the authors of WKD use it.
    """
    return torch.optim.SGD(
        parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov and momentum > 0
    )


def adamw(
    parameters: Iterable[Any],
    *,
    lr: Positive = 1e-3,
    weight_decay: NonNegative = 0.01,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-8,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay.

    Args:
        parameters: parameters or groups.
        lr: learning rate.
        weight_decay: decoupled decay, a fraction of the weights per unit of learning rate.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        eps: added to the denominator.
    """
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, betas=(beta1, beta2), eps=eps)
