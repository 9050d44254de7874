from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.losses import hint, simkd


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_for_equal_sizes_it_is_the_hint() -> None:
    student, teacher = draw(2, 3, 4, 4, seed=0), draw(2, 3, 4, 4, seed=1)
    assert torch.equal(simkd(student, teacher), hint(student, teacher))


@pytest.mark.parametrize(("own", "taught"), [((4, 4), (8, 8)), ((8, 8), (4, 4)), ((4, 8), (8, 4))])
def test_the_larger_side_is_averaged(own: tuple[int, int], taught: tuple[int, int]) -> None:
    student, teacher = draw(2, 3, *own, seed=0), draw(2, 3, *taught, seed=1)
    resized = [F.adaptive_avg_pool2d(x, (4, 4)) for x in (student, teacher)]
    torch.testing.assert_close(simkd(student, teacher), hint(*resized))
