from __future__ import annotations

import pytest
import torch

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.numerics.checks import (
    class_indices,
    require_above,
    require_cost,
    require_same,
    require_samples,
)

LOGITS = torch.zeros(3, 4)


def test_shapes() -> None:
    require_same("x", "n c", student=LOGITS, teacher=LOGITS)
    with pytest.raises(
        ShapeError, match=r"x: shapes must be equal, \(n, c\); got student \(3, 4\), teacher \(3, 2\)"
    ):
        require_same("x", "n c", student=LOGITS, teacher=LOGITS[:, :2])
    with pytest.raises(ShapeError, match=r"x: expected shape \(n, c\), got student \(3,\)"):
        require_same("x", "n c", student=LOGITS[:, 0])
    with pytest.raises(ShapeError, match=r"expected \(4, 4\)"):
        require_cost("x", LOGITS, 4)


def test_numbers() -> None:
    require_above("x", 0, a=0.1, b=3)
    with pytest.raises(ConfigError, match="x: b must be above 0, got 0"):
        require_above("x", 0, a=0.1, b=0)


def test_labels() -> None:
    assert class_indices("x", torch.tensor([0, 3, 1], dtype=torch.int32), LOGITS).tolist() == [0, 3, 1]
    assert class_indices("x", torch.eye(4)[:3], LOGITS).tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="labels run from 0 to 4"):
        class_indices("x", torch.tensor([0, 4, 1]), LOGITS)
    with pytest.raises(ShapeError, match=r"labels have shape \(2,\)"):
        class_indices("x", torch.tensor([0, 1]), LOGITS)
    with pytest.raises(DataError, match="no samples"):
        require_samples("x", LOGITS[:0])
