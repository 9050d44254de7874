"""The block from a student's map to a teacher's that stays in the deployed network [chen2022knowledge]."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.bounds import PositiveInt
from limbeck.errors import ShapeError


class TransferProjector(nn.Module):
    """Convolutions 1x1, 3x3, 1x1 without bias, each with batch norm and ReLU, narrow in the middle.

    A student's map that is larger than the teacher's is averaged to the teacher's size first; a smaller one keeps
    its size.

    Args:
        student_shape: channels, height and width of the student's map.
        teacher_shape: channels, height and width of the teacher's map.
        factor: the middle has the teacher's channels divided by it; 2 in the paper's best results.

    Raises:
        ShapeError: shapes that are no maps, or a factor above the teacher's channels.

    Example:
        >>> projector = TransferProjector(student_shape=(8, 8, 8), teacher_shape=(16, 4, 4))
        >>> projector(torch.zeros(2, 8, 8, 8)).shape
        torch.Size([2, 16, 4, 4])

    References:
        The projector of SimKD [chen2022knowledge], section 3.2 and the released program.
    """

    def __init__(
        self, *, student_shape: tuple[int, int, int], teacher_shape: tuple[int, int, int], factor: PositiveInt = 2
    ) -> None:
        super().__init__()
        student, teacher = student_shape, teacher_shape
        if any(len(shape) != 3 or min(shape) < 1 for shape in (student, teacher)):
            raise ShapeError(
                "TransferProjector: needs shapes (channels, height, width), got "
                f"{tuple(student)} and {tuple(teacher)}."
            )
        if not 1 <= factor <= teacher[0]:
            raise ShapeError(
                f"TransferProjector: factor must be between 1 and the teacher's {teacher[0]} channels, "
                f"got {factor}."
            )
        middle = teacher[0] // factor
        self.size = (teacher[1], teacher[2])
        self.conv1 = nn.Conv2d(student[0], middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, teacher[0], 1, bias=False)
        self.bn3 = nn.BatchNorm2d(teacher[0])

    def forward(self, student_map: Tensor) -> Tensor:
        """Project a map, shape (n, c, h, w)."""
        out = student_map
        if out.shape[2] > self.size[0] or out.shape[3] > self.size[1]:
            out = F.adaptive_avg_pool2d(out, (min(out.shape[2], self.size[0]), min(out.shape[3], self.size[1])))
        out = torch.relu(self.bn1(self.conv1(out)))
        out = torch.relu(self.bn2(self.conv2(out)))
        return torch.relu(cast(Tensor, self.bn3(self.conv3(out))))
