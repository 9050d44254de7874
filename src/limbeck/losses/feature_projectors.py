"""Projectors of feature maps: trained with the student, thrown away with the teacher.

The convolution bridges channels and sizes; batch norm and ReLU bring the result to the range of a teacher's
activations. In training mode batch statistics are used, so projectors are in training mode with the student.
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn

from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError, ShapeError
from limbeck.numerics.transfer_block import TransferProjector as TransferProjector

Shape = tuple[int, int, int]
"""Channels, height, width."""


class ConvProjector(nn.Module):
    """One convolution, batch norm, ReLU.

    The kernel follows the sizes: 1x1 for equal sizes; 3x3 with stride 2 where the student's map is twice the
    teacher's; transposed 4x4 with stride 2 where it is half; otherwise, for a larger student, a kernel that
    just fits without padding.

    Args:
        student_shape: channels, height and width of the student's map.
        teacher_shape: channels, height and width of the teacher's map.

    Raises:
        ShapeError: no kernel leads from the student's size to the teacher's.

    Example:
        >>> projector = ConvProjector(student_shape=(8, 4, 4), teacher_shape=(16, 8, 8))
        >>> projector(torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 16, 8, 8])

    References:
        The regressor of common FitNets programs [romero2015fitnets] and of WKD-F [lv2024wasserstein].
    """

    def __init__(self, *, student_shape: Shape, teacher_shape: Shape) -> None:
        super().__init__()
        self.conv = _bridge(_checked(student_shape), _checked(teacher_shape))
        self.bn = nn.BatchNorm2d(teacher_shape[0])

    def forward(self, student_map: Tensor) -> Tensor:
        """Project a map, shape (n, c, h, w)."""
        return torch.relu(cast(Tensor, self.bn(self.conv(student_map))))


class BottleneckProjector(nn.Module):
    """Convolutions 1x1, 3x3, 1x1 with nothing in between, then batch norm and ReLU; equal sizes only.

    Without an activation in between the three are one linear map with a 3x3 window and few parameters.

    Args:
        student_shape: channels, height and width of the student's map.
        teacher_shape: channels, height and width of the teacher's map.
        hidden: channels in the middle.

    Raises:
        ShapeError: the maps differ in height or width.

    Example:
        >>> projector = BottleneckProjector(student_shape=(8, 4, 4), teacher_shape=(16, 4, 4), hidden=4)
        >>> projector(torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 16, 4, 4])

    References:
        WKD-F's projector on ImageNet [lv2024wasserstein].
    """

    def __init__(self, *, student_shape: Shape, teacher_shape: Shape, hidden: PositiveInt = 256) -> None:
        super().__init__()
        student, teacher = _checked(student_shape), _checked(teacher_shape)
        if student[1:] != teacher[1:]:
            raise ShapeError(
                f"BottleneckProjector: maps are {student[1]}x{student[2]} (student) and "
                f"{teacher[1]}x{teacher[2]} (teacher); it needs equal sizes. Use ConvProjector, or tap layers "
                "of equal size."
            )
        if hidden < 1:
            raise ShapeError(f"BottleneckProjector: hidden must be at least 1, got {hidden}.")
        self.conv1 = nn.Conv2d(student[0], hidden, 1)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.conv3 = nn.Conv2d(hidden, teacher[0], 1)
        self.bn = nn.BatchNorm2d(teacher[0])

    def forward(self, student_map: Tensor) -> Tensor:
        """Project a map, shape (n, c, h, w)."""
        return torch.relu(cast(Tensor, self.bn(self.conv3(self.conv2(self.conv1(student_map))))))


class ConnectorProjector(nn.Module):
    """A 1x1 convolution without bias and batch norm; no activation, and the size stays.

    Args:
        student_shape: channels, height and width of the student's map.
        teacher_shape: channels, height and width of the teacher's map; only its channels matter.
        init: of the convolution; "default" is that of `torch.nn.Conv2d`, "fan_out" is normal with a standard
            deviation of sqrt(2 / channels of the teacher).

    Raises:
        ShapeError: shapes that are no maps.
        ConfigError: an initialisation that does not exist.

    Example:
        >>> projector = ConnectorProjector(student_shape=(8, 4, 4), teacher_shape=(16, 8, 8))
        >>> projector(torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 16, 4, 4])

    References:
        The connector of the overhaul of feature distillation, there with "fan_out" [heo2019comprehensive].
    """

    def __init__(
        self, *, student_shape: Shape, teacher_shape: Shape, init: Literal["default", "fan_out"] = "default"
    ) -> None:
        super().__init__()
        if init not in ("default", "fan_out"):
            raise ConfigError(f"ConnectorProjector: unknown init '{init}'. Known: default, fan_out.")
        channels, out = _checked(student_shape)[0], _checked(teacher_shape)[0]
        self.conv = nn.Conv2d(channels, out, 1, bias=False)
        self.bn = nn.BatchNorm2d(out)
        if init == "fan_out":
            nn.init.normal_(self.conv.weight, std=math.sqrt(2 / out))

    def forward(self, student_map: Tensor) -> Tensor:
        """Project a map, shape (n, c, h, w)."""
        return cast(Tensor, self.bn(self.conv(student_map)))


def _checked(shape: Shape) -> Shape:
    if len(shape) != 3 or min(shape) < 1:
        raise ShapeError(f"A projector of maps needs shapes (channels, height, width), got {tuple(shape)}.")
    return shape


def _bridge(student: Shape, teacher: Shape) -> nn.Conv2d | nn.ConvTranspose2d:
    (channels, *size), (out, *wanted) = student, teacher
    if size == wanted:
        return nn.Conv2d(channels, out, 1)
    if size == [2 * side for side in wanted]:
        return nn.Conv2d(channels, out, 3, stride=2, padding=1)
    if [2 * side for side in size] == wanted:
        return nn.ConvTranspose2d(channels, out, 4, stride=2, padding=1)
    kernel = [a - b + 1 for a, b in zip(size, wanted, strict=True)]
    if min(kernel) >= 1:
        return nn.Conv2d(channels, out, (kernel[0], kernel[1]))
    raise ShapeError(
        f"ConvProjector: no convolution from {size[0]}x{size[1]} (student) to {wanted[0]}x{wanted[1]} (teacher): "
        "the student's map must be at least as large as the teacher's, or exactly half. Tap an earlier layer of "
        "the student or a later one of the teacher."
    )
