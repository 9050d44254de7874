"""Attacks by name. A leaf: no attack is imported here."""

from __future__ import annotations

from limbeck.registry import Registry

FILES = {
    "fgsm": "fgsm",
    "ifgsm": "ifgsm",
    "pgd": "pgd",
    "pgd_l2": "pgd_l2",
    "mifgsm": "mifgsm",
    "sign_noise": "sign_noise",
}
"""Name of an attack -> file of this package that defines it."""

ATTACKS = Registry("attack", {name: f"limbeck.audit.attacks.{file}" for name, file in FILES.items()})
register = ATTACKS.register
