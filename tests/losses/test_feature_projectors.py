from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses import BottleneckProjector, ConnectorProjector, ConvProjector, TransferProjector


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


@pytest.mark.parametrize("init", ["default", "fan_out"])
def test_connector_changes_channels_alone(init: str) -> None:
    torch.manual_seed(0)
    projector = ConnectorProjector(student_shape=(200, 4, 4), teacher_shape=(50, 8, 8), init=init)  # type: ignore[arg-type]
    projected = projector(torch.randn(4, 200, 6, 6))
    assert projected.shape == (4, 50, 6, 6)
    assert (projected < 0).any()
    assert projector.conv.bias is None
    wanted = (2 / 50) ** 0.5 if init == "fan_out" else (1 / 200 / 3) ** 0.5
    assert float(projector.conv.weight.detach().std()) == pytest.approx(wanted, rel=0.05)


def test_connector_names_an_unknown_start() -> None:
    with pytest.raises(ConfigError, match=r"unknown init 'fan_in'\. Known: default, fan_out"):
        ConnectorProjector(student_shape=(3, 4, 4), teacher_shape=(5, 4, 4), init="fan_in")  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "out"), [((8, 8), (4, 4)), ((4, 4), (4, 4)), ((2, 2), (2, 2)), ((8, 2), (4, 2))])
def test_transfer_averages_a_larger_map(size: tuple[int, int], out: tuple[int, int]) -> None:
    torch.manual_seed(0)
    projector = TransferProjector(student_shape=(3, *size), teacher_shape=(6, 4, 4)).eval()
    maps = torch.randn(2, 3, *size)
    projected = projector(maps)
    assert projected.shape == (2, 6, *out)
    assert (projected >= 0).all()
    torch.testing.assert_close(projector(torch.nn.functional.adaptive_avg_pool2d(maps, out)), projected)


def test_transfer_is_as_narrow_as_told() -> None:
    parameters = [
        sum(
            p.numel()
            for p in TransferProjector(student_shape=(8, 4, 4), teacher_shape=(16, 4, 4), factor=f).parameters()
        )
        for f in (1, 2, 8)
    ]
    assert parameters == [8 * m + 9 * m * m + 16 * m + 2 * (2 * m + 16) for m in (16, 8, 2)]
    with pytest.raises(ShapeError, match="between 1 and the teacher's 16 channels, got 17"):
        TransferProjector(student_shape=(8, 4, 4), teacher_shape=(16, 4, 4), factor=17)
    with pytest.raises(ShapeError, match=r"needs shapes \(channels, height, width\), got \(8,\)"):
        TransferProjector(student_shape=(8,), teacher_shape=(16, 4, 4))  # type: ignore[arg-type]
