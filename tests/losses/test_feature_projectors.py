from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import ShapeError
from limbeck.losses import BottleneckProjector, ConvProjector


@pytest.mark.parametrize(
    ("student", "teacher", "kernel", "kind"),
    [
        ((3, 6, 6), (5, 6, 6), (1, 1), nn.Conv2d),
        ((3, 8, 8), (5, 4, 4), (3, 3), nn.Conv2d),
        ((3, 4, 4), (5, 8, 8), (4, 4), nn.ConvTranspose2d),
        ((3, 7, 9), (5, 5, 5), (3, 5), nn.Conv2d),
        ((3, 2, 2), (5, 1, 1), (3, 3), nn.Conv2d),
    ],
)
def test_sizes_are_bridged(
    student: tuple[int, int, int], teacher: tuple[int, int, int], kernel: tuple[int, int], kind: type[nn.Module]
) -> None:
    projector = ConvProjector(student_shape=student, teacher_shape=teacher)
    assert type(projector.conv) is kind
    assert projector.conv.kernel_size == kernel
    projected = projector(torch.randn(2, *student))
    assert projected.shape == (2, *teacher)
    assert (projected >= 0).all()


def test_impossible_sizes_are_explained() -> None:
    with pytest.raises(ShapeError, match=r"from 4x4 \(student\) to 6x6 \(teacher\).*exactly half"):
        ConvProjector(student_shape=(3, 4, 4), teacher_shape=(5, 6, 6))
    with pytest.raises(ShapeError, match=r"4x4 \(student\) and 8x8 \(teacher\).*ConvProjector"):
        BottleneckProjector(student_shape=(3, 4, 4), teacher_shape=(5, 8, 8))
    with pytest.raises(ShapeError, match=r"needs shapes \(channels, height, width\), got \(3,\)"):
        ConvProjector(student_shape=(3,), teacher_shape=(5, 6, 6))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="hidden must be at least 1"):
        BottleneckProjector(student_shape=(3, 4, 4), teacher_shape=(5, 4, 4), hidden=0)


def test_bottleneck_is_linear_up_to_its_norm() -> None:
    projector = BottleneckProjector(student_shape=(3, 4, 4), teacher_shape=(5, 4, 4), hidden=2).double()
    assert [name for name, _ in projector.named_children()] == ["conv1", "conv2", "conv3", "bn"]
    for convolution in (projector.conv1, projector.conv2, projector.conv3):
        nn.init.zeros_(convolution.bias)
    x, y = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def linear(z: torch.Tensor) -> torch.Tensor:
        return projector.conv3(projector.conv2(projector.conv1(z)))

    torch.testing.assert_close(linear(x + 2 * y), linear(x) + 2 * linear(y))
