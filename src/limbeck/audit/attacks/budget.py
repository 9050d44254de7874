"""How strong an attack has to be: neither so weak that nothing is fooled nor so strong that everything is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.audit.attacks.crafting import craft
from limbeck.audit.attacks.fooling import fooled
from limbeck.errors import ConfigError
from limbeck.models.outputs import logits_of
from limbeck.taps import evaluating

# Quarters of a grey level, up to 64 of them.
_UNIT = 0.25 / 255
_MOST = 256
_STEPS_IN_EPS = 4


@dataclass(frozen=True, slots=True)
class Budget:
    """Of an attack in the largest change of a pixel.

    Attributes:
        eps: largest change of a pixel, in units of [0, 1].
        step: of one iteration, a quarter of `eps`.
        iterations: passes forward and back.
        rate: share of the images that fooled the attacked network.
        count: images that it was chosen on.
    """

    eps: float
    step: float
    iterations: int
    rate: float
    count: int

    @property
    def settings(self) -> dict[str, float | int]:
        """As the attack takes them."""
        return {"eps": self.eps, "step": self.step, "iterations": self.iterations}


def choose_budget(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    wanted: float = 0.85,
    tolerance: float = 0.02,
    attack: str = "ifgsm",
    iterations: int = 5,
    batch_size: int = 250,
) -> Budget:
    """The budget with which an attack fools about a wanted share of the images; a dozen attacks at most.

    It is looked for among quarters of a grey level (1/1020) up to 64/255 by halving the interval, since stronger
    attacks fool more; of those tried the one nearest to the wanted share is taken. Where even the strongest fools
    too few, or the weakest too many, that one is returned: compare `rate` with what was wanted.

    Args:
        network: the one to attack, images in [0, 1] to logits.
        images: in [0, 1], shape (n, c, h, w); a few hundred are enough.
        labels: true classes, shape (n,), int64.
        wanted: share of the images, between 0 and 1; 0.85 is about that of all teachers in the paper.
        tolerance: how near is near enough to stop.
        attack: one with `eps`, `step` and `iterations` that clips every pixel.
        iterations: of the attack.
        batch_size: images at a time.

    Raises:
        ConfigError: a share outside (0, 1), no images, or an attack without these settings.

    References:
        Table 6 of [ojha2023knowledge] has the shares; how its budget was chosen is not told.
    """
    if not 0 < wanted < 1:
        raise ConfigError(f"choose_budget: the wanted share is between 0 and 1, got {wanted:g}; 85 % is 0.85.")
    if attack not in ("ifgsm", "pgd", "mifgsm"):
        raise ConfigError(f"choose_budget: takes ifgsm, pgd or mifgsm, got '{attack}'.")
    if len(images) == 0:
        raise ConfigError("choose_budget: needs images to attack.")
    before = _predictions(network, images, batch_size)
    tried: dict[int, Budget] = {}

    def attempt(level: int) -> Budget:
        eps = level * _UNIT
        settings: dict[str, Any] = {"eps": eps, "step": eps / _STEPS_IN_EPS, "iterations": iterations}
        changed = craft(attack, network, images, labels, batch_size=batch_size, **settings)
        rate = fooled(before, _predictions(network, changed, batch_size)).mean().item()
        tried[level] = Budget(eps, eps / _STEPS_IN_EPS, iterations, rate, len(images))
        return tried[level]

    low, high = 0, _MOST + 1
    level = 16  # 4/255: between the budgets of small images and of photographs
    while low < level < high:
        budget = attempt(level)
        if abs(budget.rate - wanted) <= tolerance:
            return budget
        low, high = (level, high) if budget.rate < wanted else (low, level)
        # Double while no upper end is known: strong attacks are seldom needed.
        level = min(2 * level, _MOST) if high > _MOST and level < _MOST else (low + high) // 2
    return min(tried.values(), key=lambda budget: (abs(budget.rate - wanted), budget.eps))


@torch.no_grad()
def _predictions(network: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    with evaluating(network):
        return torch.cat([logits_of(network(part)).argmax(dim=1).cpu() for part in images.split(batch_size)])
