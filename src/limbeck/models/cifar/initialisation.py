"""What the networks for small images check and how their weights begin."""

from __future__ import annotations

from torch import nn

from limbeck.errors import ModelError


def check_sizes(num_classes: int, in_channels: int) -> None:
    """Make sure that a network has something to take and something to tell.

    Raises:
        ModelError: fewer than one class or channel.
    """
    if num_classes < 1 or in_channels < 1:
        raise ModelError(
            f"a network needs num_classes and in_channels of at least 1, not {num_classes} and {in_channels}."
        )


def he_normal(model: nn.Module) -> None:
    """Convolutions from a normal distribution that keeps the variance of gradients, biases at zero.

    The variance is two over the number of outputs of a kernel, as if a grouped convolution were whole, which is
    what the programs of the distillation literature do.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
