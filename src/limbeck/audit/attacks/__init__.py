"""Images changed a little so that a network errs, and whom else they fool.

Every attack is `name(network, images, labels, ...)` with images in [0, 1]; attacks that draw random numbers take
each image's `index` as well. Distances are in units of [0, 1], whatever normalisation the network has inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.audit.attacks._registry import ATTACKS, FILES, register
from limbeck.lazy import make_lazy

_PUBLIC = {
    **FILES,
    "Budget": "budget",
    "attack_normalised": "normalised",
    "choose_budget": "budget",
    "craft": "crafting",
    "fooled": "fooling",
    "on_successful": "fooling",
}

if TYPE_CHECKING:
    from limbeck.audit.attacks.budget import Budget, choose_budget
    from limbeck.audit.attacks.crafting import craft
    from limbeck.audit.attacks.fgsm import fgsm
    from limbeck.audit.attacks.fooling import fooled, on_successful
    from limbeck.audit.attacks.ifgsm import ifgsm
    from limbeck.audit.attacks.mifgsm import mifgsm
    from limbeck.audit.attacks.normalised import attack_normalised
    from limbeck.audit.attacks.pgd import pgd
    from limbeck.audit.attacks.pgd_l2 import pgd_l2
    from limbeck.audit.attacks.sign_noise import sign_noise

__all__ = [
    "ATTACKS",
    "Budget",
    "attack_normalised",
    "choose_budget",
    "craft",
    "fgsm",
    "fooled",
    "ifgsm",
    "mifgsm",
    "on_successful",
    "pgd",
    "pgd_l2",
    "register",
    "sign_noise",
]

make_lazy(__name__)
