from __future__ import annotations

import pytest
import torch

from limbeck.numerics.precision import no_autocast, promoted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((torch.float16, torch.float16), torch.float32),
        ((torch.bfloat16, torch.float32), torch.float32),
        ((torch.float64, torch.float16), torch.float64),
    ],
)
def test_common_precision(given: tuple[torch.dtype, ...], wanted: torch.dtype) -> None:
    assert {x.dtype for x in promoted(*(torch.zeros(1, dtype=dtype) for dtype in given))} == {wanted}


def test_products_keep_their_precision() -> None:
    x = torch.eye(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with no_autocast(x):
            assert (x @ x).dtype == torch.float32
