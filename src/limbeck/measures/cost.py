"""What a model costs: parameters and floating-point operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> int:
    """Number of parameters, trainable or not; shared ones count once.

    Args:
        model: any module.

    Returns:
        A count.

    Example:
        >>> parameters(nn.Linear(3, 2))
        8
    """
    return sum(parameter.numel() for parameter in model.parameters())


def flops(model: nn.Module, example: Tensor) -> int:
    """Floating-point operations of one forward pass, two for each multiplication with addition.

    Counted are matrix products, convolutions and attention; elementwise operations are not. The model is run once,
    in eval mode and without gradient, and left in the mode it was in.

    Args:
        model: any module of one tensor.
        example: its input; a batch of one image gives operations an image.

    Returns:
        A count.

    Example:
        >>> flops(nn.Linear(3, 2), torch.zeros(1, 3))
        12
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(example)
        return int(counter.get_total_flops())
    finally:
        for module, training in modes.items():
            module.training = training
