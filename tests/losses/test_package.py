"""How the package of losses loads."""

from __future__ import annotations

import subprocess
import sys
from types import FunctionType

import limbeck.losses
from limbeck.losses import LOSSES


def test_names_are_functions_whatever_was_imported_before() -> None:
    import limbeck.losses.hint
    import limbeck.losses.kd
    from limbeck.losses import hint, kd

    assert isinstance(kd, FunctionType)
    assert isinstance(hint, FunctionType)
    assert isinstance(limbeck.losses.kd, FunctionType)
    assert LOSSES["kd"] is kd


def test_every_public_name_resolves_and_every_loss_is_public() -> None:
    assert set(LOSSES) <= set(limbeck.losses.__all__)
    for name in limbeck.losses.__all__:
        assert getattr(limbeck.losses, name) is not None
    assert set(limbeck.losses.__all__) <= set(dir(limbeck.losses))
    assert not hasattr(limbeck.losses, "no_such_loss")


def test_listing_and_describing_need_no_torch() -> None:
    program = (
        "import sys; from limbeck.losses import LOSSES; from limbeck.measures import MEASURES;"
        "[registry.describe(name) for registry in (LOSSES, MEASURES) for name in registry];"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
