"""Attacks by name on sets of any size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from limbeck.audit.attacks._registry import ATTACKS
from limbeck.audit.attacks.steps import numbered
from limbeck.errors import ConfigError, did_you_mean


def craft(
    attack: str,
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    index: Tensor | None = None,
    batch_size: int = 250,
    **settings: Any,
) -> Tensor:
    """Adversarial images of a whole set, a batch at a time.

    Args:
        attack: name in `ATTACKS`.
        network: images in [0, 1] to logits.
        images: in [0, 1], shape (n, c, h, w).
        labels: true classes, shape (n,), int64.
        index: number of each image in its set, shape (n,), int64; random starts depend on it alone.
        batch_size: images at a time; without influence on the result but for rounding.
        settings: of the attack.

    Returns:
        Shape and kind of `images`.

    Raises:
        UnknownNameError: no such attack.
        ConfigError: a setting that the attack does not have, or a budget out of range.
        DataError: images outside [0, 1].
    """
    function = ATTACKS[attack]
    known = ATTACKS.describe(attack)
    for name in settings:
        if name not in known.settings:
            raise ConfigError(
                f"attack '{attack}' has no setting '{name}'.{did_you_mean(name, known.settings)} "
                f"It has: {', '.join(known.settings)}."
            )
    numbers = numbered(images, index)
    found = []
    for part, classes, places in zip(*(t.split(batch_size) for t in (images, labels, numbers)), strict=True):
        numbering = (places,) if "index" in known.inputs else ()
        found.append(function(network, part, classes, *numbering, **settings))
    return torch.cat(found) if found else images.clone()
