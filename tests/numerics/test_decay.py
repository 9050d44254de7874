from __future__ import annotations

import pytest

from limbeck.numerics.decay import cosine_decay


def test_shape_of_the_schedule() -> None:
    factors = [cosine_decay(epoch, start=150, total=240) for epoch in range(1, 241)]
    assert factors[:150] == [1.0] * 150
    assert factors[194] == pytest.approx(0.5)
    assert factors[-1] == 0
    assert factors == sorted(factors, reverse=True)


def test_from_the_first_epoch_never_and_beyond_the_end() -> None:
    assert cosine_decay(1, start=0, total=2) == pytest.approx(0.5)
    assert cosine_decay(5, start=5, total=5) == 1.0
    assert cosine_decay(9, start=2, total=5) == 0.0
